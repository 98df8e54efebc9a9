"""Messages to the services that the ``apprise`` library supports: Discord, Telegram, ntfy, and others.

Apprise's services call ``requests.post()``, which follows redirects to any server, turns a POST into a GET on the way
and takes the page that it arrives at for acceptance, and which reads responses without bounds. Neither apprise nor
``requests`` has a setting against all of it for all services, so ``Session.send`` is wrapped, once; outside of
:func:`bounded`, where :class:`AppriseHandler` sends, it does what it always does.
"""

from __future__ import annotations

import io
import os
import re
import zlib
from collections import OrderedDict
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache, wraps
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import attrs

from supervisor._models import Kind
from supervisor._text import cut_middle, one_line, valid_unicode
from supervisor.errors import DeliveryError
from supervisor.message_handlers import _options
from supervisor.message_handlers._options import Destination, short_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from supervisor._attachments import PackedAttachments, PackedFile
    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._http import BoundedResponse

ATTACHMENTS_LIMIT_BYTES = 8_000_000  # most services accept this; Discord refuses more than 10 MB
MOST_PIECES = 10
_TITLE_LENGTH = 270  # some services have no field for a title, so apprise puts it into the body
_UNFINISHED_AT_MOST = 100
_TYPES = {
    Kind.FAILURE: "failure",
    Kind.DIED: "failure",
    Kind.WARNING: "warning",
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
            raise _options.setting_error(handler, field, "URLs as apprise has them, like ntfy://topic", url)


EXAMPLE = """\
[handlers.phone]
type = "apprise"
urls = [{ env = "APPRISE_URL" }]
"""
"""The table of this handler in the file that ``supervisor config init`` writes."""


@attrs.define(kw_only=True, eq=False)
class AppriseHandler(Destination):
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
        kinds: The kinds of messages that it gets ("failure", "success"), one or several; None for those that the run
            reports.
        name: Identifies the handler when a stored message is sent later; None means "apprise:", the schemes of
            the URLs and a short hash of them.

    Raises:
        ConfigurationError: ``urls`` is missing or holds something that is no URL.
    """

    urls: tuple[str, ...] = attrs.field(default=(), repr=False, converter=_urls, validator=_looks_like_urls)
    timeout_s: float = attrs.field(default=10.0, validator=_options.positive)
    kinds: frozenset[Kind] | None = attrs.field(default=None, converter=_options.kinds, validator=_options.only_kinds)
    name: str | None = attrs.field(default=None, validator=_options.optional_not_blank)
    _services: list[Any] = attrs.field(init=False, factory=list, repr=False)
    _reached: OrderedDict[str, dict[int, int]] = attrs.field(init=False, factory=OrderedDict, repr=False)

    def __attrs_post_init__(self) -> None:
        self.name = self.name or self._default_name

    @property
    def _destination(self) -> tuple[object, ...]:
        return (short_hash(*sorted(self.urls)),)

    @property
    def _default_name(self) -> str:
        schemes = dict.fromkeys(url.partition("://")[0] for url in self.urls)
        return f"apprise:{'+'.join(schemes)}#{short_hash(*sorted(self.urls))}"

    @property
    def _former_default(self) -> str:
        return "apprise"

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

    def prepare(self, details: MessageDetails, /) -> None:
        """Load what sending a message needs; nothing is sent."""
        for service in self._loaded():
            bodies_for_service(service, details, [])

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
        takes_files = getattr(service, "attachment_support", False)
        body_format, bodies = bodies_for_service(service, details, _notes(attached, takes_files=takes_files))
        for number in range(reached.get(index, 0), len(bodies)):
            files = attached.parts if takes_files and number == len(bodies) - 1 else ()
            with _captured() as log, bounded(self.timeout_s) as faults:
                result = _notify(service, details, body_format, bodies[number], files)
            if not result:
                why = self._redacted(" ".join(filter(None, [log.getvalue().strip(), *faults[-1:]])))
                return f"{service.service_name} did not take it: {why or 'apprise does not say why'}"
            reached[index] = number + 1
        return ""

    def _redacted(self, text: str) -> str:
        """Return a text in one line, without any part of the URLs."""
        from supervisor.message_handlers._http import redact_secrets

        return one_line(redact_secrets(text, [url.partition("://")[2] for url in self.urls]), 300)


def _notify(service: Any, details: MessageDetails, body_format: str, body: str, files: Iterable[PackedFile]) -> bool:
    """Send one body to one service."""
    from html import escape

    import apprise

    one = apprise.Apprise()
    one.add(service)
    title = one_line(valid_unicode(details.subject), 250)
    return bool(
        one.notify(
            title=escape(title, quote=False) if "tgram" in _schemes(service) else title,
            body=body,
            notify_type=_TYPES.get(details.style, "info"),
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


# Telegram refuses Markdown with an underscore too many, and takes simple HTML; Google Chat shows the backslashes of
# Markdown; and Mattermost takes Markdown for text as well, so that indented lines become code.
# https://core.telegram.org/bots/api#html-style and https://developers.google.com/workspace/chat/format-messages
_FORMATS = {"tgram": "markdown", "gchat": "markdown", "mmost": "markdown", "mmosts": "markdown"}
_SHORT_LENGTH = 500
_LEAST_LENGTH = 40
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]<>()#+.!|~-])")


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
        if service.body_maxlen < _SHORT_LENGTH:
            return "text", [_short_body(details, service.body_maxlen)]
        if formats[0] == "html":
            from supervisor._messages.rendering import html_from_parts

            html = html_from_parts(parts, details)
            if len(html) <= service.body_maxlen:
                return "html", [html]
        if "markdown" in formats and (formats[0] != "text" or "html" not in formats):
            from supervisor._messages.rendering import markdown_pieces

            pieces = markdown_pieces(parts, service.body_maxlen - _TITLE_LENGTH, MOST_PIECES)
            if "tgram" in _schemes(service):
                return "html", [_simple_html(each) for each in pieces]
            if "gchat" in _schemes(service):
                return "markdown", [_ESCAPED.sub(r"\1", each) for each in pieces]
            return "markdown", pieces
    return "text", [_body(details, notes, service.body_maxlen)]


def _formats(service: Any) -> list[str]:
    """Return the formats that a service accepts, the preferred one first; ``format=`` in the URL leaves only that."""
    ours = next((_FORMATS[each] for each in _schemes(service) if each in _FORMATS), None)
    accepted = getattr(service, "_format_override", None) or ours or service.notify_format
    many = accepted if isinstance(accepted, (tuple, list)) else (accepted,)
    return [str(getattr(each, "value", each)).lower() for each in many] or ["text"]


def _simple_html(markdown: str) -> str:
    """Return Markdown of ours with the few tags that Telegram knows."""
    from html import escape

    html = []
    for number, piece in enumerate(re.split(r"^```\n|^```$", markdown, flags=re.MULTILINE)):
        if number % 2:
            html.append(f"<pre>{escape(piece.removesuffix(chr(10)), quote=False)}</pre>")
        else:
            marked = re.sub(r"\*\*(.+?)(?<!\\)\*\*", "\0\\1\1", piece.replace("\0", "").replace("\1", ""))
            text = escape(_ESCAPED.sub(r"\1", marked), quote=False)
            html.append(text.replace("\0", "<b>").replace("\1", "</b>"))
    return "".join(html)


def _schemes(service: Any) -> tuple[str, ...]:
    """Return how the URLs of a service may begin: "tgram", "mmosts"."""
    named = (getattr(service, name, None) or () for name in ("protocol", "secure_protocol"))
    return tuple(scheme for each in named for scheme in ((each,) if isinstance(each, str) else each))


def _short_body(details: MessageDetails, most: int) -> str:
    """Return what an SMS or the like has room for besides the subject: the beginning of the text."""
    text = one_line(valid_unicode(details.message).partition("\n\n")[0]) or "(no text)"
    room = max(_LEAST_LENGTH, most - len(one_line(valid_unicode(details.subject), 250)) - 2)
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _body(details: MessageDetails, notes: list[str], piece_length: int) -> str:
    """Return the text: never empty, bounded, and with the notes about the attachments."""
    text = valid_unicode(details.message)
    if not text.strip():
        text = one_line(valid_unicode(details.subject)) or "(no text)"
    text = cut_middle(text, MOST_PIECES * max(1_000, piece_length))
    return "\n\n".join([text, *(["\n".join(notes)] if notes else [])])


_COMPRESSED = {"gzip", "x-gzip", "deflate"}
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # finds out which of the two it is
_PIECE_BYTES = 65_536
_sending: ContextVar[_Sending | None] = ContextVar("sending", default=None)  # apprise hands it to its own threads


@attrs.frozen
class _Sending:
    """What is known while a service sends.

    Args:
        timeout_s: The most seconds for the response to a request that sets no timeout of its own.
        faults: Why requests failed; apprise itself logs that they did, and not why.
    """

    timeout_s: float
    faults: list[str] = attrs.field(factory=list)


@contextmanager
def bounded(timeout_s: float) -> Iterator[list[str]]:
    """Let what is sent through ``requests`` in this context be bounded for as long as the block lasts.

    They follow 307 and 308 to the same scheme, server and port, and no other redirect; a response must have arrived
    within the read timeout of its request, and only its first 1 MB is read, and unpacked. As in all other handlers,
    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name the authorities to trust. The block gets a list, which receives why
    requests failed.

    Args:
        timeout_s: The most seconds for the response to a request that sets no timeout of its own.
    """
    _wrap_send()
    sending = _Sending(timeout_s)
    token = _sending.set(sending)
    try:
        yield sending.faults
    finally:
        _sending.reset(token)


@cache
def _wrap_send() -> None:
    session_class: Any = import_module("requests").Session
    send = session_class.send

    @wraps(send)
    def send_bounded(session: Any, request: Any, **options: Any) -> Any:
        sending = _sending.get()
        if sending is None:
            return send(session, request, **options)
        if options.get("verify") is True:
            options["verify"] = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or True
        try:
            return _send_bounded(send, session, request, options)
        except Exception as error:
            sending.faults.append(_cause_of(error))
            raise

    session_class.send = send_bounded


def _send_bounded(send: Callable[..., Any], session: Any, request: Any, options: dict[str, Any]) -> Any:
    """Send a request of a session as :func:`bounded` says."""
    from supervisor.message_handlers import _http

    plain, bounded_adapter = _adapters()
    for prefix, adapter in tuple(session.adapters.items()):
        if type(adapter) is plain:
            session.mount(prefix, bounded_adapter())
    is_stream = options.get("stream")
    options |= {"allow_redirects": False, "stream": True}
    if not is_stream:
        request.headers["Accept-Encoding"] = "identity"
    response = send(session, request, **options)
    for _ in range(_http.MOST_REDIRECTS):
        url = _followed_url(request, response)
        if not url:
            break
        response.close()
        request = request.copy()
        request.url = url
        response = send(session, request, **options)
    if not is_stream:
        _read(response)
    return response


def _cause_of(error: BaseException) -> str:
    """Return what was wrong in the end, without the layers of libraries around it."""
    import ssl

    inner: BaseException | None = error
    while inner is not None:
        error, inner = inner, inner.__cause__ or inner.__context__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    return str(error) or type(error).__name__


def _followed_url(request: Any, response: Any) -> str:
    """Return the URL of a redirect that may be followed, or ""."""
    from supervisor.message_handlers import _http

    location = response.headers.get("Location")
    if (
        response.status_code not in _http.FOLLOWED_REDIRECTS
        or not location
        or not isinstance(request.body, (bytes, str))
    ):
        return ""
    url = urljoin(request.url, location)
    with suppress(ValueError):  # no valid URL
        return url if _http.origin(urlsplit(url)) == _http.origin(urlsplit(request.url)) else ""
    return ""


def _read(response: Any) -> None:
    """Read a response's body within bounds; the status decides, so a body that breaks off counts as its end."""
    from supervisor.message_handlers import _http

    pieces: list[bytes] = []
    left = _http.ANSWER_LIMIT_BYTES
    with suppress(Exception):  # of requests, urllib3 or the socket
        while left and (piece := response.raw.read(min(left, _PIECE_BYTES), decode_content=False)):
            pieces.append(piece)
            left -= len(piece)
    response.raw.close()
    body = b"".join(pieces)
    if response.headers.get("Content-Encoding", "").lower() in _COMPRESSED:
        try:
            body = zlib.decompressobj(_GZIP_OR_ZLIB).decompress(body, _http.ANSWER_LIMIT_BYTES)
        except zlib.error:
            body = b""
    response.raw = io.BytesIO(body)


def _new_response(connection: Any, sock: Any, *args: Any, **options: Any) -> BoundedResponse:
    from supervisor.message_handlers import _http

    own_s = connection.timeout
    timeout_s = own_s if isinstance(own_s, (int, float)) else getattr(_sending.get(), "timeout_s", 10.0)
    return _http.BoundedResponse(sock, monotonic() + timeout_s, monotonic, *args, **options)


@cache
def _adapters() -> tuple[Any, Any]:
    """Return the usual adapter of ``requests``, and one whose responses have to arrive in time."""
    plain: Any = import_module("requests.adapters").HTTPAdapter
    pools: Any = import_module("urllib3.connectionpool")

    def bounded_pool(pool: Any) -> Any:
        connection = type("BoundedConnection", (pool.ConnectionCls,), {"response_class": _new_response})
        return type("BoundedPool", (pool,), {"ConnectionCls": connection})

    by_scheme = {"http": bounded_pool(pools.HTTPConnectionPool), "https": bounded_pool(pools.HTTPSConnectionPool)}

    def init_poolmanager(self: Any, *args: Any, **options: Any) -> None:
        plain.init_poolmanager(self, *args, **options)
        self.poolmanager.pool_classes_by_scheme = by_scheme

    def proxy_manager_for(self: Any, proxy: str, **options: Any) -> Any:
        manager = plain.proxy_manager_for(self, proxy, **options)
        if not proxy.lower().startswith("socks"):  # whose connections are of classes of their own
            manager.pool_classes_by_scheme = by_scheme
        return manager

    methods = {"init_poolmanager": init_poolmanager, "proxy_manager_for": proxy_manager_for}
    return plain, type("BoundedAdapter", (plain,), methods)
