"""Handlers: each takes a message to one destination, and lives in a module of its own.

A handler's module is loaded when the handler is first named, and its client library when it first sends.
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

_MODULES = {
    "AppriseHandler": "_apprise",
    "ConsoleHandler": "_console",
    "EmailHandler": "_email.handler",
    "HealthchecksHandler": "_healthchecks",
    "SendGridHandler": "_sendgrid.handler",
    "SlackHandler": "_slack.handler",
    "WebhookHandler": "_webhook",
}

__getattr__ = loads(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
