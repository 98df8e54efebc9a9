"""How e-mail goes to an SMTP server: addresses, letters, the connection, and who of the recipients got it."""
