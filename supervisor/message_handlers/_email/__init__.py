"""E-mail through an SMTP server.

In: a message and the handler's settings. Out: the message in MIME form, accepted by the server for its recipients.
From top to bottom: handler (settings), mailer (one message), connection and connect (SMTP), mime, protocol (values).
"""
