"""The command ``supervisor``: one module for each command, and what the larger ones are made of."""
