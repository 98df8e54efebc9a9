"""E-mail through Twilio SendGrid: the handler, and messages as the JSON that it takes."""
