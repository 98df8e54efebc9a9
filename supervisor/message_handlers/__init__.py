"""Handlers: each sends messages to one destination, and is a module or package of its own.

The module ``_webhook`` with the class ``WebhookHandler`` is the handler of type "webhook"; nothing else registers it.
It is loaded when the handler is first named, and its client library when it first sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor._models.values import MessageHandler as MessageHandler
from supervisor.message_handlers import _registry

if TYPE_CHECKING:  # what type checkers and editors offer; a test names a line that is missing
    from supervisor.message_handlers._apprise import AppriseHandler as AppriseHandler
    from supervisor.message_handlers._console import ConsoleHandler as ConsoleHandler
    from supervisor.message_handlers._email import EmailHandler as EmailHandler
    from supervisor.message_handlers._healthchecks import HealthchecksHandler as HealthchecksHandler
    from supervisor.message_handlers._msgraph import MicrosoftGraphHandler as MicrosoftGraphHandler
    from supervisor.message_handlers._pagerduty import PagerDutyHandler as PagerDutyHandler
    from supervisor.message_handlers._sendgrid import SendGridHandler as SendGridHandler
    from supervisor.message_handlers._slack import SlackHandler as SlackHandler
    from supervisor.message_handlers._teams import TeamsHandler as TeamsHandler
    from supervisor.message_handlers._webhook import WebhookHandler as WebhookHandler


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    found = _registry.built_in_class(name.removesuffix("Handler").lower()) if name.endswith("Handler") else None
    if found is None and name.endswith("Handler"):  # its type is another word: MicrosoftGraphHandler, "msgraph"
        scheme = next((each for each, class_name in _registry.built_in().items() if class_name == name), "")
        found = _registry.built_in_class(scheme)
    if found is None or found.__name__ != name:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found


def __dir__() -> list[str]:
    return sorted(["MessageHandler", *_registry.built_in().values()])
