"""Handlers: each takes a message to one destination, and lives in a module of its own.

A handler's module is loaded when the handler is first named, and its client library when it first sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.lazily import loads
from supervisor.models import MessageHandler

if TYPE_CHECKING:
    from supervisor.message_handlers.apprise import AppriseHandler
    from supervisor.message_handlers.console import ConsoleHandler
    from supervisor.message_handlers.email import EmailHandler
    from supervisor.message_handlers.healthchecks import HealthchecksHandler
    from supervisor.message_handlers.sendgrid import SendGridHandler
    from supervisor.message_handlers.slack import SlackHandler
    from supervisor.message_handlers.webhook import WebhookHandler

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
    "AppriseHandler": "apprise",
    "ConsoleHandler": "console",
    "EmailHandler": "email",
    "HealthchecksHandler": "healthchecks",
    "SendGridHandler": "sendgrid",
    "SlackHandler": "slack",
    "WebhookHandler": "webhook",
}

__getattr__ = loads(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
