"""E-mail through Twilio SendGrid.

In: a message and the handler's settings. Out: a mail that SendGrid has accepted for all recipients.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, ClassVar, TypeAlias

import attrs

from supervisor._text import cut_middle, one_line, size, valid_unicode
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers import _options
from supervisor.message_handlers._options import MailAddress, MailDestination, name_of_recipients

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from supervisor._attachments import PackedFile
    from supervisor._models import Kind
    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._http import HttpConnection, Response

MOST_RECIPIENTS = 1_000
_SHRINK_FACTOR = 4
_ACCEPTED = 202
_IN_MEMORY_BYTES = 4_000_000


EXAMPLE = """\
[handlers.mail]
type = "sendgrid"
api_key = { env = "SENDGRID_API_KEY" }
from_address = "gis@example.com"
to_addresses = ["ops@example.com"]
"""
"""The table of this handler in the file that ``supervisor config init`` writes."""


@attrs.define(kw_only=True, eq=False)
class SendGridHandler(MailDestination):
    """Sends messages as e-mail, as text and as HTML, through SendGrid's v3 Web API by the ``sendgrid`` library.

    A run's messages form one thread (``References``), and the message's id goes along as the custom argument
    ``supervisor_message_id``, so that a repeat can be recognised in the Event Webhook. A mail keeps to the limits of
    the service (https://www.twilio.com/docs/sendgrid/api-reference/mail-send/limitations and .../mail-send/errors): at
    most 1,000 recipients, each only once among to, cc and bcc; text/plain before text/html; no reserved headers; 30 MB
    in all after base64, so attachments that do not fit are cut or left out, and the mail says so.

    Responses (https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/errors): 202 is
    success; another 2xx does not come from SendGrid, and is temporary. After 413 the mail is sent once more with a
    quarter of the attachments' size. 429 waits as ``Retry-After`` or ``X-RateLimit-Reset`` says; it, 5xx, a timeout and
    a lost connection are temporary; so are 401 and 403, once an hour. 400 and all others are permanent, with SendGrid's
    own text in the error.

    The library's own HTTP client has no timeout, opens a connection for each message (and since Python 3.12 reads all
    root certificates each time, 20 ms), follows redirects with the API key and writes it into debug logs. So the
    library's requests go through :class:`supervisor.message_handlers._http.HttpConnection` instead.

    Args:
        api_key: The API key, with the permission "Mail Send".
        from_address: The sender, "name@example.com" or "Name <name@example.com>"; SendGrid must have verified it.
        to_addresses: One recipient or many.
        cc: Recipients of a copy; none by default.
        bcc: Recipients of a copy whom the others do not see; none by default.
        prefix: The text before each subject.
        client_name: The name of the sending program in the mail's last line; empty leaves the line out.
        client_version: Its version, in the same line.
        host: "https://api.eu.sendgrid.com" for subusers in the EU.
        timeout_s: The most seconds to wait for a connection and for the response.
        kinds: The kinds of messages that it gets ("failure", "success"), one or several; None for those that the run
            reports.
        name: Identifies the handler when a stored message is sent later; None means "sendgrid:" and the
            recipients in short.

    Raises:
        ConfigurationError: A setting is missing, blank or cannot be used.
    """

    notes_handover: ClassVar[bool] = True
    api_key: str = attrs.field(default="", repr=False)
    host: str = attrs.field(default="https://api.sendgrid.com", validator=_options.requestable_url)
    timeout_s: float = attrs.field(default=10.0, validator=_options.positive)
    kinds: frozenset[Kind] | None = attrs.field(default=None, converter=_options.kinds, validator=_options.only_kinds)
    name: str | None = attrs.field(default=None, validator=_options.optional_not_blank)
    _connection: HttpConnection | None = attrs.field(init=False, default=None, repr=False)
    _api: Any = attrs.field(init=False, default=None, repr=False)

    @api_key.validator
    def _is_one_word(self, field: attrs.Attribute[str], value: object) -> None:
        _options.not_blank(self, field, value)
        if not all("!" <= c <= "~" for c in str(value).strip()):
            raise _options.setting_error(self, field, "the key as SendGrid showed it, in one line", value)

    def __attrs_post_init__(self) -> None:
        if len(self._recipients) > MOST_RECIPIENTS:
            raise ConfigurationError(
                f"SendGridHandler: to_addresses, cc and bcc must be at most 1,000 in all, got {len(self._recipients):,}"
            )
        self.name = self.name or self._default_name

    @property
    def _destination(self) -> tuple[object, ...]:
        return (self.host, *sorted(each.address.lower() for each in self._recipients))

    @property
    def _default_name(self) -> str:
        return name_of_recipients("sendgrid", [each.address.lower() for each in self._recipients])

    @property
    def _former_default(self) -> str:
        return "sendgrid"

    def send_message(self, details: MessageDetails, /) -> None:
        """Send one mail and return when SendGrid has accepted it.

        Raises:
            DeliveryError: SendGrid did not accept it, or there was no response.
        """
        response, attached_bytes = self._post(details)
        if response.status == 413 and attached_bytes:  # noqa: PLR2004 - too large
            response, _ = self._post(details, attached_bytes // _SHRINK_FACTOR)
        if response.status != _ACCEPTED:
            raise self._refusal(response)

    def prepare(self, details: MessageDetails, /) -> None:
        """Load what sending a message needs; nothing is sent."""
        compose_mail(self._mail_settings(), details)
        self._client()

    def close(self) -> None:
        """Close the connection; the next message opens a new one."""
        if self._connection is not None:
            self._connection.close()

    def _post(self, details: MessageDetails, limit_bytes: int | None = None) -> tuple[Response, int]:
        """Send once; return the response and how many bytes of attachments were sent, before base64.

        Args:
            details: The message.
            limit_bytes: The most bytes of attachments, after SendGrid has refused more; None means as many as fit into
                30 MB.
        """
        from supervisor._attachments import packed

        mail = compose_mail(self._mail_settings(), details)
        notes: tuple[str, ...] = ()
        if limit_bytes is not None:
            notes = (f"SendGrid refused the attachments as too large: at most {size(limit_bytes)} of them are sent.",)
        budget_bytes = attachments_limit_bytes(mail) if limit_bytes is None else limit_bytes
        with packed(details.attachments, limit_bytes=budget_bytes) as attached:
            append_lines(mail, (*notes, *attached.notes))
            attach(mail, attached.parts)
            return self._client().send(mail), sum(part.size_bytes for part in attached.parts)

    def _mail_settings(self) -> MailSettings:

        return MailSettings(
            from_address=self.from_address,
            to_addresses=self.to_addresses,
            cc=self.cc,
            bcc=self.bcc,
            prefix=self.prefix,
            client_name=self.client_name,
            client_version=self.client_version,
        )

    def _client(self) -> Any:
        """Return the library's client, which sends through our own connection."""
        if self._api is None:
            import sendgrid

            from supervisor.message_handlers._http import HttpConnection

            self._connection = HttpConnection(self.host, self.timeout_s)
            api = sendgrid.SendGridAPIClient(api_key=self.api_key.strip(), host=self.host.rstrip("/"))
            api.client = _Transport(self._connection, api)
            self._api = api
        return self._api

    def _refusal(self, response: Response) -> DeliveryError:
        hint = {
            401: "check the API key",
            403: "check that the API key may send mail and that the sender address is verified",
            413: "the mail is too large even with little attached",
        }.get(response.status, "")
        said = response.redirect_note((self.api_key.strip(),)) or self._errors(response)
        reason = ": ".join(filter(None, (f"SendGrid answered {response.status_text}", said, hint)))
        is_permanent = not (response.is_temporary or response.is_success)  # another 2xx comes from somebody in between
        wait_s = _retry_after_s(response)
        return DeliveryError(reason, permanent=is_permanent, retry_after_s=wait_s, scope=response.scope)

    def _errors(self, response: Response) -> str:
        """Return what SendGrid says is wrong: ``{"errors": [{"message": ..., "field": ..., "help": ...}]}``."""
        from supervisor.message_handlers._http import redact_secrets

        texts = []
        with suppress(TypeError, AttributeError, KeyError):  # a proxy's page, or JSON of another form
            for each in response.json_object["errors"]:
                field = each.get("field")
                texts.append(f"{each['message']} ({field})" if field and field != "null" else str(each["message"]))
        secrets = (self.api_key.strip(),)
        return one_line(redact_secrets("; ".join(texts), secrets), 500) or response.body_line(secrets)


class _Transport:
    """Replaces the library's ``python_http_client``: it can send the one request that mails need."""

    def __init__(self, connection: HttpConnection, api: Any) -> None:
        from urllib.parse import urlsplit

        self.mail = self.send = self  # the library calls client.mail.send.post(request_body=...)
        self._connection = connection
        self._path = f"{urlsplit(api.host).path}/v3/mail/send"
        self._headers = {
            "Authorization": api.auth,
            "User-Agent": api.useragent,
            "Accept": "application/json",
            "Content-Type": "application/json",
        }

    def post(self, *, request_body: dict[str, Any]) -> Response:
        """Send a mail and return SendGrid's response, whatever its status."""
        from tempfile import SpooledTemporaryFile

        with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
            write_json(request_body, file)
            return self._connection.post(self._path, file, self._headers)


def _retry_after_s(response: Response) -> float | None:
    """Return the seconds to wait, from ``Retry-After`` or else from ``X-RateLimit-Reset``, a Unix time.

    See https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/rate-limits.
    """
    if response.retry_after_s is not None or response.status != 429:  # noqa: PLR2004 - too many requests
        return response.retry_after_s
    with suppress(ValueError, OverflowError, OSError):
        reset = float(response.headers.get("X-RateLimit-Reset", ""))
        return response.seconds_until(datetime.fromtimestamp(reset, UTC))
    return None


MAIL_LIMIT_BYTES = 30_000_000
_TEXT_LIMIT = 500_000
_HTML_LIMIT = 2_000_000
_MARGIN_BYTES = 100_000  # for the notes about attachments, and for the headers that SendGrid adds
_ATTACHMENTS = ', "attachments": ['
_PIECE_BYTES = 3 * 65_536  # a multiple of three, so that only the last piece of base64 is padded
_BASE64_FACTOR = 1.37  # base64 in lines of 76 characters

Mail: TypeAlias = dict[str, Any]


@attrs.frozen(kw_only=True)
class MailSettings:
    """The settings of a handler that all its mails share; :class:`SendGridHandler` describes them."""

    from_address: str
    to_addresses: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    prefix: str
    client_name: str
    client_version: str


def compose_mail(settings: MailSettings, details: MessageDetails) -> Mail:
    """Return a message as a mail without attachments."""
    from supervisor._messages.rendering import rendered

    full_subject = valid_unicode(f"{settings.prefix}{details.subject}")
    subject = one_line(full_subject) or "(no subject)"
    text, html = rendered(details)
    text = _text(subject, full_subject, valid_unicode(text))
    html = _html(html, text)
    to, cc, bcc = _unique(settings.to_addresses, settings.cc, settings.bcc)
    copies = {name: each for name, each in (("cc", cc), ("bcc", bcc)) if each}
    body: Mail = {
        "personalizations": [{"to": to, **copies}],
        "from": _address(settings.from_address),
        "subject": subject,
        "content": [{"type": "text/plain", "value": text}, {"type": "text/html", "value": html}],
        "headers": _headers(settings, details),
        "custom_args": {"supervisor_message_id": one_line(details.id)},
    }
    if settings.client_name or settings.client_version:
        name, version = settings.client_name or "client", settings.client_version or "not specified"
        append_lines(body, (f"{name} version: {version}",))
    return body


_AS_FILE = {"disposition": "attachment"}


def attach(mail: Mail, parts: Sequence[PackedFile]) -> None:
    """Add files to a mail, as paths that :func:`write_json` reads.

    SendGrid refuses ``;``, CR and LF in names and types, and empty names.
    """
    from supervisor._messages.rendering import with_pictures

    attached = [
        {
            "content": part.path,
            "filename": one_line(valid_unicode(part.name).replace(";", "_")) or "attachment",
            "type": one_line(part.content_type.partition(";")[0]) or "application/octet-stream",
            **({"disposition": "inline", "content_id": f"picture{n}"} if part.is_inline else _AS_FILE),
        }
        for n, part in enumerate(parts)
        if part.size_bytes  # SendGrid asks for at least one character of content
    ]
    if pictures := [(str(each["content_id"]), str(each["filename"])) for each in attached if "content_id" in each]:
        page = mail["content"][1]
        page["value"] = with_pictures(page["value"], pictures)
    if attached:
        mail["attachments"] = attached


def write_json(mail: Mail, file: IO[bytes]) -> None:
    """Write a mail as JSON, reading its attachments piece by piece, so that 30 MB of base64 are never in memory."""
    import json

    attachments = mail.get("attachments", ())
    text = json.dumps({name: each for name, each in mail.items() if name != "attachments"}, ensure_ascii=False)
    file.write(text.removesuffix("}").encode())
    for index, each in enumerate(attachments):
        facts = json.dumps({name: fact for name, fact in each.items() if name != "content"}, ensure_ascii=False)
        start = ', "content": "'
        file.write(f"{', ' if index else _ATTACHMENTS}{facts.removesuffix('}')}{start}".encode())
        _write_base64(each["content"], file)
        file.write(b'"}')
    file.write(b"]}" if attachments else b"}")


def _write_base64(path: Path, file: IO[bytes]) -> None:
    from base64 import b64encode

    with path.open("rb") as source:
        while piece := source.read(_PIECE_BYTES):
            file.write(b64encode(piece))


def _headers(settings: MailSettings, details: MessageDetails) -> dict[str, str]:
    """Return the mail's own headers; SendGrid reserves others, and sets the ``Message-ID`` itself."""
    headers = {"Auto-Submitted": "auto-generated"}
    if details.report is None:
        return headers
    # No mail has this id. Mail programs show mails that refer to the same id as one thread.
    run = "".join(c for c in details.report.id if c.isascii() and c.isalnum())
    thread = f"<run.{run}@{_address(settings.from_address)['email'].rpartition('@')[2]}>"
    return headers | {"References": thread, "In-Reply-To": thread}


def attachments_limit_bytes(mail: Mail) -> int:
    """Return how many bytes of attachments fit into 30 MB together with the mail's text."""
    text_bytes = sum(len(each["value"].encode()) for each in mail["content"])
    return int((MAIL_LIMIT_BYTES - _MARGIN_BYTES - text_bytes) / _BASE64_FACTOR)


def _text(subject: str, full_subject: str, message: str) -> str:
    """Return the text of a mail: never empty, cut to what mail programs can show, and with a subject that was cut."""
    text = cut_middle(message, _TEXT_LIMIT)
    if subject.endswith("…") and len(full_subject) > len(subject):
        text = f"{cut_middle(full_subject, _TEXT_LIMIT)}\n\n{text}"
    return text if text.strip() else subject


def _html(html: str | None, text: str) -> str:
    """Return the HTML of a mail; where it has none, or it would be too long, the text as HTML."""
    from supervisor._messages.rendering import html_from_text

    page = valid_unicode(html or "")
    return page if page and len(page) <= _HTML_LIMIT else html_from_text(text)


def append_lines(mail: Mail, lines: Iterable[str]) -> None:
    """Add lines to the end of a mail's text and HTML."""
    from supervisor._messages.rendering import with_lines

    lines = [valid_unicode(line) for line in lines]
    if not lines:
        return
    text, html = mail["content"]
    text["value"] += "\n\n" + "\n".join(lines)
    html["value"] = with_lines(html["value"], lines)


def _unique(*groups: tuple[str, ...]) -> list[list[dict[str, str]]]:
    """Return to, cc and bcc without repeats: SendGrid refuses a mail that names an address twice, in any case."""
    seen = set()
    unique: list[list[dict[str, str]]] = []
    for group in groups:
        unique.append([])
        for address in map(_address, group):
            if address["email"].lower() not in seen:
                seen.add(address["email"].lower())
                unique[-1].append(address)
    return unique


def _address(text: str) -> dict[str, str]:
    """Return an address with its display name, in which SendGrid allows no ``;`` and no ``,``."""
    parsed = MailAddress.parse(text)
    name = one_line(parsed.display.replace(";", " ").replace(",", " "))
    return {"email": parsed.address, **({"name": name} if name else {})}
