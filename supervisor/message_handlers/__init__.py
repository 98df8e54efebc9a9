"""Handlers: each sends messages to one destination, and is a module or package of its own.

A handler's module is loaded when the handler is first named, and its client library when it first sends. A new
handler is an import for type checkers, a row in ``_HANDLERS`` and a name in ``__all__`` here; tests name what is
missing elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._lazy import loads
from supervisor._models.values import MessageHandler

if TYPE_CHECKING:
    from supervisor.message_handlers._apprise import AppriseHandler
    from supervisor.message_handlers._console import ConsoleHandler
    from supervisor.message_handlers._email.handler import EmailHandler
    from supervisor.message_handlers._healthchecks import HealthchecksHandler
    from supervisor.message_handlers._sendgrid.handler import SendGridHandler
    from supervisor.message_handlers._slack.handler import SlackHandler
    from supervisor.message_handlers._webhook import WebhookHandler

__all__ = [
    "AppriseHandler",
    "ConsoleHandler",
    "EmailHandler",
    "HealthchecksHandler",
    "MessageHandler",
    "SendGridHandler",
    "SlackHandler",
    "WebhookHandler",
]

# The scheme, which configuration files call the type; the class; its module.
_HANDLERS = (
    ("apprise", "AppriseHandler", "_apprise"),
    ("console", "ConsoleHandler", "_console"),
    ("email", "EmailHandler", "_email.handler"),
    ("healthchecks", "HealthchecksHandler", "_healthchecks"),
    ("sendgrid", "SendGridHandler", "_sendgrid.handler"),
    ("slack", "SlackHandler", "_slack.handler"),
    ("webhook", "WebhookHandler", "_webhook"),
)

__getattr__ = loads(__name__, {name: module for _, name, module in _HANDLERS})


def __dir__() -> list[str]:
    return sorted(__all__)
