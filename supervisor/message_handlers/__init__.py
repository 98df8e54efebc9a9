"""Handlers: each sends messages to one destination, and is a module or package of its own.

A handler's module is loaded when the handler is first named, and its client library when it first sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._lazy import loads
from supervisor._models.values import MessageHandler
from supervisor.message_handlers._registry import MODULES

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

__getattr__ = loads(__name__, MODULES)


def __dir__() -> list[str]:
    return sorted(__all__)
