"""What scripts of version 3 import, made of the parts of version 4.

With one changed line such a script runs as before::

    from supervisor.compat import MessageDetails, SendGridHandler, Supervisor

Its messages are kept until they are delivered, and tried again, as all others. ``supervisor migrate FILE`` shows how
the script looks without this module. The blocks of ``supervisor.slack`` are still there.
"""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

from supervisor import message_handlers
from supervisor._hooks import on_uncaught
from supervisor._models import values
from supervisor._run.decorators import Supervisor as CurrentSupervisor
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers._options import Destination

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

    from supervisor import slack

__all__ = [
    "ConsoleHandler",
    "EmailHandler",
    "MessageDetails",
    "MessageHandler",
    "SendGridHandler",
    "SlackHandler",
    "Supervisor",
]

warnings.warn(
    "supervisor.compat is for scripts of version 3; `supervisor migrate FILE` shows the lines to change. In version 4, "
    'write: from supervisor import Supervisor, then Supervisor(handlers=[...]).notify("subject", "text")',
    DeprecationWarning,
    stacklevel=2,
)

_TAG = re.compile(
    r"</?(a|b|br|div|em|font|h[1-6]|hr|html|i|img|li|ol|p|pre|span|strong|table|td|tr|u|ul)\b[^<>]*>", re.IGNORECASE
)
"""What shows that a text was written as HTML, as version 3 sent each text by e-mail."""


def __dir__() -> list[str]:
    return sorted(__all__)


class MessageDetails:
    """A message that is filled in attribute by attribute.

    Attributes:
        subject: The headline.
        message: The text. If it has HTML tags in it, mail programs show it as HTML.
        attachments: The paths of files and directories to attach. What is assigned is added to the list: one path or a
            list of them. None and "" are ignored.
        slack_messages: Messages of :mod:`supervisor.slack`, whose blocks Slack shows instead of the text. What is
            assigned is added to the list: one message or a list of them.
    """

    def __init__(self) -> None:
        self.subject = ""
        self.message = ""
        self._attachments: list[Any] = []
        self._slack_messages: list[slack.Message] = []

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if isinstance(other, MessageDetails) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it can change

    def __repr__(self) -> str:
        return f"MessageDetails(subject={self.subject!r}, message={self.message!r}, attachments={self._attachments!r})"

    @property
    def attachments(self) -> list[Any]:
        """Return the list of attachments, which can be changed."""
        return self._attachments

    @attachments.setter
    def attachments(self, value: Any) -> None:
        self._attachments.extend(value if isinstance(value, list) else [value])

    @property
    def slack_messages(self) -> list[slack.Message]:
        """Return the list of messages for Slack, which can be changed."""
        return self._slack_messages

    @slack_messages.setter
    def slack_messages(self, value: slack.Message | list[slack.Message]) -> None:
        self._slack_messages.extend(value if isinstance(value, list) else [value])


class MessageHandler(ABC):
    """The base of handlers that a script defines itself."""

    @abstractmethod
    def send_message(self, message_details: Any) -> None:
        """Send one message.

        Args:
            message_details: What :meth:`Supervisor.notify` was given; of a failure, what supervisor wrote about it.
        """


class _FromSettings(MessageHandler):
    """A handler that is made from a dictionary of settings.

    Settings that are missing or wrong do not stop the script, as in version 3: each message warns instead.
    """

    _required: ClassVar[tuple[str, ...]] = ()

    def __init__(self, make: Any, settings: Mapping[str, Any], client_name: str, client_version: Any) -> None:
        self.client_name = client_name
        self.client_version = client_version
        self.current: Any = None
        self._problem = ""
        try:
            self.current = make(**settings, client_name=client_name, client_version=str(client_version))
        except (ConfigurationError, TypeError) as exc:
            self._problem = self._missing(settings) or str(exc)

    @property
    def name(self) -> str:
        """Return the name that messages wait under."""
        return str(self.current.name) if self.current is not None else type(self).__name__

    def send_message(self, message_details: Any) -> None:
        """Send one message now, and return when it was accepted. It is not kept.

        Args:
            message_details: A message of this module or of version 4.

        Raises:
            DeliveryError: It was not accepted; some handlers only warn, as in version 3.
        """
        if self.current is None:
            self._warn(f"{self._problem}. No message sent.")
            return
        try:
            self.current.send_message(_current_message(message_details))
        except DeliveryError as exc:
            self._refused(exc)

    def _missing(self, settings: Mapping[str, Any]) -> str:
        """Return which of the required settings are missing or empty."""
        channel = type(self).__name__.removesuffix("Handler")
        for name in self._required:
            if name not in settings:
                return f"Required {channel} {name} does not exist"
            if not settings[name]:
                return f"{channel} {name} exists but is empty"
        return ""

    def _refused(self, error: DeliveryError) -> None:
        raise error

    def _warn(self, text: str) -> None:
        warnings.warn(text, stacklevel=3)


class EmailHandler(_FromSettings):
    """Sends e-mail through an SMTP server, unencrypted unless ``email_settings`` has ``security``, as in version 3.

    Args:
        email_settings: ``smtpServer``, ``smtpPort``, ``from_address``, ``to_addresses``, and ``prefix`` for the
            beginning of each subject; other settings of :class:`supervisor.message_handlers.EmailHandler` as well.
        client_name: The name of the program, in the last line.
        client_version: Its version.
    """

    _required = ("smtpServer", "from_address", "to_addresses")

    def __init__(
        self,
        email_settings: Mapping[str, Any],
        client_name: str = "unknown client",
        client_version: Any = "not specified",
    ) -> None:
        self.email_settings = email_settings
        settings = {"security": "none", **email_settings}
        super().__init__(message_handlers.EmailHandler, settings, client_name, client_version)


class SendGridHandler(_FromSettings):
    """Sends e-mail through SendGrid.

    Args:
        sendgrid_settings: ``api_key``, ``from_address``, ``to_addresses``, and ``prefix`` for the beginning of each
            subject; other settings of :class:`supervisor.message_handlers.SendGridHandler` as well.
        client_name: The name of the program, in the last line.
        client_version: Its version.
    """

    _required = ("api_key", "from_address", "to_addresses")

    def __init__(
        self,
        sendgrid_settings: Mapping[str, Any],
        client_name: str = "unknown client",
        client_version: Any = "not specified",
    ) -> None:
        self.sendgrid_settings = sendgrid_settings
        super().__init__(message_handlers.SendGridHandler, sendgrid_settings, client_name, client_version)

    def _refused(self, error: DeliveryError) -> None:
        self._warn(f"Error sending to SendGrid: {error}")


class SlackHandler(_FromSettings):
    """Posts to Slack through an incoming webhook.

    Args:
        slack_settings: ``webhook_url``; other settings of :class:`supervisor.message_handlers.SlackHandler` as well.
        client_name: The name of the program, in the small print.
        client_version: Its version.
    """

    _required = ("webhook_url",)

    def __init__(
        self,
        slack_settings: Mapping[str, Any],
        client_name: str = "unknown client",
        client_version: Any = "not specified",
    ) -> None:
        self.slack_settings = slack_settings
        super().__init__(message_handlers.SlackHandler, slack_settings, client_name, client_version)

    def _refused(self, error: DeliveryError) -> None:
        self._warn(f"Error posting to Slack: {error}")


class ConsoleHandler(MessageHandler):
    """Prints the text of each message."""

    def send_message(self, message_details: Any) -> None:
        """Print the text."""
        print(message_details.message)  # noqa: T201 - this is what it is for


class Supervisor:
    """Sends messages to all its handlers, and what nobody caught.

    Args:
        handle_errors: True sends each exception that nobody caught in the process, and writes it to ``logger``.
        logger: A logger for these exceptions; None for none.
        log_path: The path of a log file to attach to them; None for none.

    Attributes:
        message_handlers: The handlers. Those that are put into the list get messages from then on.
    """

    def __init__(
        self,
        handle_errors: bool = True,  # noqa: FBT002 - as version 3 had it
        logger: logging.Logger | None = None,
        log_path: str | PathLike[str] | None = None,
    ) -> None:
        self.message_handlers: list[Any] = []
        self.logger = logger
        self.log_path = log_path
        self._added: list[Any] = []
        self._current = CurrentSupervisor(handle_errors=False, logger=logger, log_path=log_path)
        if handle_errors:
            on_uncaught(self._report)

    def add_message_handler(self, handler: Any) -> None:
        """Add a handler: one of this module, one of version 4, or any object with ``send_message``.

        Raises:
            ConfigurationError: It has no ``send_message``.
        """
        self.message_handlers.append(handler)
        self._add_new_ones()

    def notify(self, message: Any) -> None:
        """Send a message to all handlers; return when it is delivered, or after 30 seconds, when it is kept.

        Args:
            message: A message of this module or of version 4.
        """
        self._add_new_ones()
        for handler in self.message_handlers:
            if isinstance(handler, _FromSettings) and handler.current is None:
                handler.send_message(message)  # which warns that it cannot
        self._current.notify(_current_message(message))

    def _add_new_ones(self) -> None:
        for handler in self.message_handlers:
            if not any(handler is each for each in self._added):
                self._added.append(handler)
                usable = _usable(handler)
                if usable is not None:
                    self._current.add_message_handler(usable)

    def _report(self, error: BaseException, thread: str) -> None:
        self._add_new_ones()
        self._current._tell_uncaught(error, thread)  # noqa: SLF001 - what handle_errors=True of version 4 calls


class _Adapter:
    """A handler of version 3, or what a script uses as one, that gets messages as they were in version 3."""

    def __init__(self, handler: Any) -> None:
        self.name = f"{type(handler).__module__}.{type(handler).__qualname__}"
        self._handler = handler

    def send_message(self, details: Any, /) -> Any:
        """Send one message."""
        return self._handler.send_message(_former_message(details))


def _usable(handler: Any) -> Any:
    """Return what version 4 can use in place of a handler; None where its settings are missing or wrong."""
    if isinstance(handler, _FromSettings):
        return handler.current
    is_current = isinstance(handler, (str, Destination)) or not hasattr(handler, "send_message")
    return handler if is_current else _Adapter(handler)


def _current_message(message: Any) -> Any:
    """Return a message as version 4 has it."""
    if not isinstance(message, MessageDetails):
        return message
    text = str(message.message)
    paths: list[Any] = []
    wrong: list[Any] = []
    for each in message.attachments:
        (paths if each is None or isinstance(each, (str, PathLike, values.Attachment)) else wrong).append(each)
    notes = "".join(f"\nThis attachment is no path, and was left out: {each!r}" for each in wrong)
    blocks = [block.to_dict() for each in message.slack_messages for block in each.blocks or ()]
    subject = str(message.subject) or next((each.text for each in message.slack_messages if each.text), "")
    html = text if _TAG.search(text) else None
    return values.MessageDetails(subject, text + notes, paths, html=html, blocks=blocks or None)


def _former_message(details: Any) -> MessageDetails:
    """Return a message as version 3 had it."""
    message = MessageDetails()
    message.subject, message.message = details.subject, details.message
    message.attachments = [each.path for each in details.attachments]
    return message
