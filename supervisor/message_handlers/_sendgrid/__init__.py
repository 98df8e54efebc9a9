"""E-mail through SendGrid's Web API.

In: a message and the handler's settings. Out: a mail as JSON (mail_send), accepted by SendGrid (handler).
"""
