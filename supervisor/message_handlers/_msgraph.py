"""E-mail through Microsoft Graph, from a mailbox of Microsoft 365, without SMTP and without a password."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

import attrs

from supervisor._models.values import noting_handover
from supervisor._text import cut_middle, one_line, valid_unicode
from supervisor.errors import DeliveryError
from supervisor.message_handlers import _options
from supervisor.message_handlers._options import MailAddress, MailDestination, name_of_recipients

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from supervisor._attachments import PackedFile
    from supervisor._models import Kind
    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._http import HttpConnection, Response
    from supervisor.message_handlers._oauth2 import TokenSource

# https://learn.microsoft.com/en-us/graph/api/user-sendmail and .../attachment-createuploadsession: a request has at
# most 4 MB, an attachment above 3 MB needs an upload session, and its pieces are multiples of 320 KiB.
INLINE_LIMIT_BYTES = 2_500_000
PIECE_BYTES = 10 * 327_680
_HTML_LIMIT = 900_000
_OK = 200
_ACCEPTED = 202
_CREATED = 201
_UNAUTHORIZED = 401
# https://learn.microsoft.com/en-us/graph/errors and .../graph/permissions-reference#mailsend
_REMEDIES = {
    "ErrorAccessDenied": (
        "let an administrator consent to the application permission Mail.Send, and let it use the mailbox"
    ),
    "Authorization_RequestDenied": "let an administrator consent to the application permission Mail.Send",
    "MailboxNotEnabledForRESTAPI": "the mailbox is not in Exchange Online, or has no licence",
    "ErrorInvalidUser": "there is no such mailbox: check from_address",
    "ErrorInvalidRecipients": "check to_addresses, cc and bcc",
    "ErrorSendAsDenied": "the mailbox may not send as this address: check from_address",
    "InvalidAuthenticationToken": "check oauth2: the token is for another service or tenant",
    "ErrorQuotaExceeded": "the mailbox is full",
}


EXAMPLE = """\
[handlers.m365]
type = "msgraph"
from_address = "gis@example.com"
to_addresses = ["ops@example.com"]

[handlers.m365.oauth2]
provider = "microsoft"
tenant = "example.com"
client_id = "00000000-0000-0000-0000-000000000000"
client_secret = { env = "M365_CLIENT_SECRET" }
"""
"""The table of this handler in the file that ``supervisor config init`` writes."""


@attrs.define(kw_only=True, eq=False)
class MicrosoftGraphHandler(MailDestination):
    """Sends messages as e-mail from a mailbox of Microsoft 365, through Microsoft Graph.

    An application that is registered in Microsoft Entra sends, with the permission Mail.Send (and Mail.ReadWrite where
    attachments have more than 2.5 MB in all: such a mail is made as a draft, and its files are uploaded piece by
    piece). Which mailboxes it may use is set in Exchange (RBAC for applications). Mails are not kept under "Sent".

    Responses: 202 is success; another 2xx does not come from Graph, and is temporary. 401 is tried once more with a new
    token. 429 waits as ``Retry-After`` says; it, 5xx, a timeout and a lost connection are temporary; so are 401, 403
    and redirects, once an hour. 400, 404, 413 and all others are permanent, with Graph's own text in the error.

    Args:
        oauth2: How access tokens are got: a mapping with ``provider`` ("microsoft"), ``tenant``, ``client_id``, and
            ``client_secret`` or ``refresh_token``.
        from_address: The mailbox that sends, "name@example.com".
        to_addresses: One recipient or many.
        cc: Recipients of a copy; none by default.
        bcc: Recipients of a copy whom the others do not see; none by default.
        prefix: The text before each subject.
        client_name: The name of the sending program in the mail's last line; empty leaves the line out.
        client_version: Its version, in the same line.
        limit_bytes: The most bytes of attachments; what does not fit is cut or left out, and the mail says so.
        host: The server; another one is for national clouds ("https://graph.microsoft.us").
        timeout_s: The most seconds to wait for a connection and for a response.
        kinds: The kinds of messages that it gets ("failure", "success"), one or several; None for those that the run
            reports.
        name: Identifies the handler when a stored message is sent later; None means "msgraph:" and the recipients in
            short.

    Raises:
        ConfigurationError: A setting is missing, blank or cannot be used.
    """

    notes_handover: ClassVar[bool] = True
    oauth2: Mapping[str, str] = attrs.field(factory=dict, repr=False, validator=_options.optional_mapping)
    limit_bytes: int = attrs.field(default=25_000_000, validator=_options.positive)
    host: str = attrs.field(default="https://graph.microsoft.com", validator=_options.requestable_url)
    timeout_s: float = attrs.field(default=30.0, validator=_options.positive)
    kinds: frozenset[Kind] | None = attrs.field(default=None, converter=_options.kinds, validator=_options.only_kinds)
    name: str | None = attrs.field(default=None, validator=_options.optional_not_blank)
    _tokens: TokenSource = attrs.field(init=False, repr=False)
    _connection: HttpConnection | None = attrs.field(init=False, default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        from supervisor.message_handlers._oauth2 import Login, TokenSource

        login = Login.of({"provider": "microsoft", **self.oauth2}, "MicrosoftGraphHandler", self._mailbox)
        self._tokens = TokenSource(login, "graph", self.timeout_s)
        self.name = self.name or self._default_name

    @property
    def _mailbox(self) -> str:
        return MailAddress.parse(self.from_address).address

    @property
    def _destination(self) -> tuple[object, ...]:
        return (self.host, self._mailbox.lower(), *sorted(each.address.lower() for each in self._recipients))

    @property
    def _default_name(self) -> str:
        return name_of_recipients("msgraph", [each.address.lower() for each in self._recipients])

    def send_message(self, details: MessageDetails, /) -> None:
        """Send one mail and return when Graph has accepted it.

        Raises:
            DeliveryError: Graph did not accept it, gave no token, or there was no response.
        """
        from supervisor._attachments import packed

        with packed(details.attachments, limit_bytes=self.limit_bytes) as attached:
            files = [part for part in attached.parts if part.size_bytes]
            mail = self._mail(details, attached.notes)
            if sum(part.size_bytes for part in files) <= INLINE_LIMIT_BYTES:
                mail["attachments"] = [_inline(part) for part in files]
                self._ask("POST", "sendMail", {"message": mail, "saveToSentItems": False}, _ACCEPTED)
            else:
                self._send_draft(mail, files)

    def prepare(self, details: MessageDetails, /) -> None:
        """Load what sending a message needs; nothing is sent."""
        from supervisor.message_handlers import _http  # noqa: F401 - it is loaded for later

        self._mail(details, ())

    def close(self) -> None:
        """Close the connection; the next message opens a new one."""
        if self._connection is not None:
            self._connection.close()

    def _mail(self, details: MessageDetails, notes: Iterable[str]) -> dict[str, Any]:
        """Return a message as Graph's resource ``message``, without attachments."""
        from supervisor._messages.rendering import html_from_text, rendered, with_lines

        text, page = rendered(details)
        page = valid_unicode(page or "")
        html = page if page and len(page) <= _HTML_LIMIT else html_from_text(cut_middle(valid_unicode(text), 500_000))
        client = f"{self.client_name} version: {self.client_version}" if self.client_version else self.client_name
        subject = one_line(valid_unicode(f"{self.prefix}{details.subject}")) or "(no subject)"
        return {
            "subject": subject,
            "body": {"contentType": "html", "content": with_lines(html, [*notes, *filter(None, (client,))])},
            "toRecipients": [_recipient(each) for each in self.to_addresses],
            "ccRecipients": [_recipient(each) for each in self.cc],
            "bccRecipients": [_recipient(each) for each in self.bcc],
            "internetMessageHeaders": [
                {"name": "x-supervisor-message-id", "value": one_line(details.id)},
                {"name": "x-auto-response-suppress", "value": "All"},
            ],
        }

    def _send_draft(self, mail: dict[str, Any], files: Iterable[PackedFile]) -> None:
        """Make a draft, upload its files piece by piece, and send it.

        Graph answers with the whole draft. So it gets its text later: its id might else be beyond what is read.
        """
        with noting_handover(lambda: None):  # a draft is not on its way yet
            empty = {name: value for name, value in mail.items() if name != "body"}
            draft_id = str(self._ask("POST", "messages", empty, _CREATED).json_object.get("id") or "")
            if not draft_id:
                raise DeliveryError("Graph gave no draft to attach files to")
            way = f"messages/{quote(draft_id, safe='')}"
            for part in files:
                item = {"attachmentType": "file", "name": _file_name(part), "size": part.size_bytes}
                new_session = f"{way}/attachments/createUploadSession"
                session = self._ask("POST", new_session, {"AttachmentItem": item}, _CREATED).json_object
                self._upload(str(session.get("uploadUrl", "")), part.path, part.size_bytes)
            self._ask("PATCH", way, {"body": mail["body"]}, _OK)
        self._ask("POST", f"{way}/send", {}, _ACCEPTED)

    def _upload(self, url: str, path: Path, size_bytes: int) -> None:
        """Put a file to the address that Graph gave for it, which is a secret and takes no token."""
        from supervisor.message_handlers._http import HttpConnection

        if urlsplit(url).scheme != urlsplit(self.host).scheme:
            raise DeliveryError("Graph gave no address to upload an attachment to")
        connection = HttpConnection(url, self.timeout_s)
        try:
            with path.open("rb") as file:
                for at in range(0, size_bytes, PIECE_BYTES):
                    piece = file.read(min(PIECE_BYTES, size_bytes - at))
                    span = f"bytes {at}-{at + len(piece) - 1}/{size_bytes}"
                    response = connection.send("PUT", connection.path, piece, {"Content-Range": span})
                    if not response.is_success:
                        raise self._refusal(response, (url,))
        finally:
            connection.close()

    def _ask(self, method: str, way: str, document: Mapping[str, Any], expected: int) -> Response:
        """Ask Graph for something that has to do with the mailbox, once more with a new token where that is refused."""
        from supervisor.message_handlers._http import HttpConnection

        self._connection = self._connection or HttpConnection(self.host, self.timeout_s)
        path = f"{urlsplit(self.host).path.rstrip('/')}/v1.0/users/{quote(self._mailbox, safe='')}/{way}"
        body = json.dumps(document, ensure_ascii=False).encode() if document else b""
        response = self._connection.send(method, path, body, self._headers())
        if response.status == _UNAUTHORIZED and self._tokens.renew():
            response = self._connection.send(method, path, body, self._headers())
        if response.status != expected:
            raise self._refusal(response)
        return response

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self._tokens()}",
            "Content-Type": "application/json",
            "User-Agent": "agrc-supervisor",
        }

    def _refusal(self, response: Response, secrets: Iterable[str] = ()) -> DeliveryError:
        """Return the error for what Graph refused: ``{"error": {"code": ..., "message": ...}}``."""
        from supervisor.message_handlers._http import redact_secrets

        secrets = (*secrets, *self._tokens.secrets)
        error = response.json_object.get("error")
        fields = error if isinstance(error, dict) else {}
        code = str(fields.get("code") or "")
        own = (
            one_line(redact_secrets(f"{code}: {fields.get('message') or ''}".rstrip(": "), secrets), 300)
            if code
            else ""
        )
        said = response.redirect_note(secrets) or own or response.body_line(secrets)
        reason = f"Microsoft Graph answered {response.status_text}: {said}".rstrip(": ")
        remedy = _REMEDIES.get(code, "")
        is_permanent = not (response.is_temporary or response.is_success)  # another 2xx comes from somebody in between
        return DeliveryError(
            f"{reason}{remedy and f'; {remedy}'}",
            permanent=is_permanent,
            retry_after_s=response.retry_after_s,
            scope=response.scope,
        )


def _inline(part: PackedFile) -> dict[str, str]:
    return {
        "@odata.type": "#microsoft.graph.fileAttachment",
        "name": _file_name(part),
        "contentType": part.content_type,
        "contentBytes": b64encode(part.path.read_bytes()).decode(),
    }


def _file_name(part: PackedFile) -> str:
    return one_line(valid_unicode(part.name)) or "attachment"


def _recipient(text: str) -> dict[str, dict[str, str]]:
    parsed = MailAddress.parse(text)
    return {"emailAddress": {"address": parsed.address, **({"name": parsed.display} if parsed.display else {})}}
