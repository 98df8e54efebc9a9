"""Messages to the services that the ``apprise`` library supports: Teams, Discord, Telegram, ntfy, and others."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._models.kinds import Kind
from supervisor._text import cut_middle, one_line, valid_unicode
from supervisor.errors import DeliveryError
from supervisor.message_handlers import _validation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._attachments import PackedAttachments, PackedFile
    from supervisor._models.values import MessageDetails

ATTACHMENTS_LIMIT_BYTES = 8_000_000  # most services accept this; Discord refuses more than 10 MB
MOST_PIECES = 10
_TITLE_LENGTH = 270  # some services have no field for a title, so apprise puts it into the body
_UNFINISHED_AT_MOST = 100
_TYPES = {
    Kind.FAILURE: "failure",
    Kind.DIED: "failure",
    Kind.STALLED: "warning",
    Kind.OVERDUE: "warning",
    Kind.MISSED: "warning",
    Kind.SUCCESS: "success",
    Kind.RECOVERY: "success",
}


def _urls(value: str | Iterable[str] | None) -> tuple[str, ...]:
    if value is None or isinstance(value, str):
        value = (value or "",)
    many: Iterable[Any] = value
    return tuple(each.strip() if isinstance(each, str) else each for each in many)


def _looks_like_urls(handler: object, field: attrs.Attribute[Any], value: tuple[Any, ...]) -> None:
    urls: tuple[Any, ...] = value or ("",)
    for url in urls:
        if not isinstance(url, str) or not re.match(r"[A-Za-z][A-Za-z0-9+-]*://.", url):
            raise _validation.setting_error(handler, field, "URLs as apprise has them, like ntfy://topic", url)


EXAMPLE = """\
[handlers.phone]
type = "apprise"
urls = [{ env = "APPRISE_URL" }]
"""
"""The table of this handler in the file that ``supervisor config init`` writes."""


@attrs.define(kw_only=True, eq=False)
class AppriseHandler:
    """Sends messages to services that are named by URLs, which https://github.com/caronc/apprise/wiki describes.

    The subject becomes the title, and the kind becomes one of apprise's types: failure and died are failures; stalled,
    overdue and missed are warnings; success and recovery are successes; all others are information. A text that is too
    long for a service is sent in pieces (unless the URL sets ``overflow``), at most ten; the middle of a longer text is
    left out. Attachments are sent where the service accepts files, up to 8 MB together; elsewhere the text names them.

    Messages that supervisor composed are sent in the format that suits the service: as HTML to mail services (if it
    fits one message), as Markdown to chats, with code fences that are closed in every piece, and else as text. A
    script's own text is sent as it is.

    Services that apprise reaches by ``requests`` (all but a few, such as e-mail) follow no redirect but 307 and 308 to
    the same scheme, host and port. What a service has to answer is apprise's to judge.

    Apprise does not distinguish a refusal from a lost connection, so both are temporary, and the error holds what
    apprise has logged. Of several URLs only those that failed are tried again, as long as the process lives; with one
    handler per URL this holds across processes too. A URL that apprise does not know, and a missing apprise, are found
    when the first message is sent, as a permanent error, because apprise is not imported before.

    Args:
        urls: One URL or many; each is a text of its own, because commas have a meaning within some. They hold secrets,
            which appear in no error and no log of supervisor's; apprise's own logs are not redacted.
        timeout_s: The most seconds to connect, and to wait for each response; a URL's own ``cto`` and ``rto`` have
            precedence.
        name: Identifies the handler when a stored message is sent later; None means "apprise".

    Raises:
        ConfigurationError: ``urls`` is missing or holds something that is no URL.
    """

    urls: tuple[str, ...] = attrs.field(default=(), repr=False, converter=_urls, validator=_looks_like_urls)
    timeout_s: float = attrs.field(default=10.0, validator=_validation.positive)
    name: str | None = attrs.field(default=None, validator=_validation.optional_not_blank)
    _services: list[Any] = attrs.field(init=False, factory=list, repr=False)
    _reached: OrderedDict[str, dict[int, int]] = attrs.field(init=False, factory=OrderedDict, repr=False)

    def __attrs_post_init__(self) -> None:
        self.name = self.name or "apprise"

    def send_message(self, details: MessageDetails, /) -> None:
        """Send one message to all URLs and return when all services have accepted it.

        Raises:
            DeliveryError: A service did not accept it; temporary. Or apprise is missing or does not know a URL;
                permanent.
        """
        from supervisor._attachments import packed

        services = self._loaded()
        reached = self._reached_by(details.id)
        reasons = []
        with packed(details.attachments, limit_bytes=ATTACHMENTS_LIMIT_BYTES) as attached:
            for index, service in enumerate(services):
                if reason := self._refusal(service, details, attached, reached, index):
                    reasons.append(reason)
        if reasons:
            raise DeliveryError("; ".join(reasons))
        del self._reached[details.id]

    def _loaded(self) -> list[Any]:
        """Return the services that the URLs name."""
        if not self._services:
            try:
                import apprise
            except ImportError as exc:
                missing = "AppriseHandler needs apprise: pip install 'agrc-supervisor[apprise]'"
                raise DeliveryError(missing, permanent=True) from exc
            # Services are called one after the other in this thread, which already is a background thread.
            asset = apprise.AppriseAsset(async_mode=False)
            self._services = [self._service(index, url, asset) for index, url in enumerate(self.urls)]
        return self._services

    def _service(self, index: int, url: str, asset: Any) -> Any:
        import apprise

        with _captured() as log:
            service = apprise.Apprise.instantiate(url, asset=asset)
        if service is None:
            scheme = url.partition("://")[0]
            logged = self._redacted(log.getvalue())
            reason = f"AppriseHandler: urls[{index}] ({scheme}://...) is no URL that apprise can use: {logged}"
            raise DeliveryError(reason.rstrip(": "), permanent=True)
        set_by_url = vars(service)  # a setting in the URL is an attribute of the object; defaults are of its class
        if "overflow_mode" not in set_by_url:
            service.overflow_mode = apprise.OverflowMode.SPLIT
        if "socket_connect_timeout" not in set_by_url:
            service.socket_connect_timeout = self.timeout_s
        if "socket_read_timeout" not in set_by_url:
            service.socket_read_timeout = self.timeout_s
        return service

    def _reached_by(self, message_id: str) -> dict[int, int]:
        """Return how many pieces of a message each URL has accepted; the oldest unfinished messages are dropped."""
        while len(self._reached) >= _UNFINISHED_AT_MOST:
            self._reached.popitem(last=False)
        return self._reached.setdefault(message_id, {})

    def _refusal(
        self, service: Any, details: MessageDetails, attached: PackedAttachments, reached: dict[int, int], index: int
    ) -> str:
        """Send the pieces that a service does not have yet; return "" when it accepted all, else the reason."""
        from supervisor.message_handlers._apprise_requests import bounded

        takes_files = getattr(service, "attachment_support", False)
        body_format, bodies = bodies_for_service(service, details, _notes(attached, takes_files=takes_files))
        for number in range(reached.get(index, 0), len(bodies)):
            files = attached.parts if takes_files and number == len(bodies) - 1 else ()
            with _captured() as log, bounded(self.timeout_s):
                result = _notify(service, details, body_format, bodies[number], files)
            if not result:
                logged = self._redacted(log.getvalue())
                return f"{service.service_name} did not take it: {logged or 'apprise does not say why'}"
            reached[index] = number + 1
        return ""

    def _redacted(self, text: str) -> str:
        """Return a text in one line, without any part of the URLs."""
        from supervisor.message_handlers._http import redact_secrets

        return one_line(redact_secrets(text, [url.partition("://")[2] for url in self.urls]), 300)


def _notify(service: Any, details: MessageDetails, body_format: str, body: str, files: Iterable[PackedFile]) -> bool:
    """Send one body to one service."""
    import apprise

    one = apprise.Apprise()
    one.add(service)
    return bool(
        one.notify(
            title=one_line(valid_unicode(details.subject), 250),
            body=body,
            notify_type=_TYPES.get(details.kind, "info"),
            body_format=apprise.NotifyFormat(body_format),
            attach=_files(files) if files else None,
        )
    )


def _captured() -> Any:
    """Capture apprise's log, the only place where it says why something failed."""
    import logging

    import apprise

    capture: Any = apprise.LogCapture
    return capture(level=logging.WARNING, fmt="%(message)s")


def _files(parts: Iterable[PackedFile]) -> Any:
    import apprise
    from apprise.attachment import file

    attach: Any = file.AttachFile
    files = apprise.AppriseAttachment()
    for part in parts:
        files.add(attach(path=str(part.path), name=part.name, mimetype=part.content_type))
    return files


def _notes(attached: PackedAttachments, *, takes_files: bool) -> list[str]:
    """Return the notes about the attachments."""
    notes = list(attached.notes)
    if not takes_files:
        notes += [f"{part.name}: not sent, since this service takes no files" for part in attached.parts]
    return [valid_unicode(each) for each in notes]


def bodies_for_service(service: Any, details: MessageDetails, notes: list[str]) -> tuple[str, list[str]]:
    """Return the format that suits a service ("html", "markdown" or "text"), and the message in it, mostly one body.

    Args:
        service: A service of apprise's; its ``notify_format`` lists the formats that it accepts, the preferred one
            first.
        details: The message.
        notes: The notes about the attachments.
    """
    if details.parts and not details.own_text:
        from supervisor._messages.sections import parts_of
        from supervisor._models.parts import Text

        parts = (*parts_of(details), *([Text("\n".join(notes))] if notes else []))
        formats = _formats(service)
        if formats[0] == "html":
            from supervisor._messages.html import html_from_parts

            html = html_from_parts(parts, details)
            if len(html) <= service.body_maxlen:
                return "html", [html]
        if "markdown" in formats and (formats[0] != "text" or "html" not in formats):
            from supervisor._messages.text import markdown_pieces

            return "markdown", markdown_pieces(parts, service.body_maxlen - _TITLE_LENGTH, MOST_PIECES)
    return "text", [_body(details, notes, service.body_maxlen)]


def _formats(service: Any) -> list[str]:
    """Return the formats that a service accepts, the preferred one first; ``format=`` in the URL leaves only that."""
    accepted = getattr(service, "_format_override", None) or service.notify_format
    many = accepted if isinstance(accepted, (tuple, list)) else (accepted,)
    return [str(getattr(each, "value", each)).lower() for each in many] or ["text"]


def _body(details: MessageDetails, notes: list[str], piece_length: int) -> str:
    """Return the text: never empty, bounded, and with the notes about the attachments."""
    text = valid_unicode(details.message)
    if not text.strip():
        text = one_line(valid_unicode(details.subject)) or "(no text)"
    text = cut_middle(text, MOST_PIECES * max(1_000, piece_length))
    return "\n\n".join([text, *(["\n".join(notes)] if notes else [])])
