"""E-mail through Twilio SendGrid."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._text import one_line, size
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers import _validation

if TYPE_CHECKING:
    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._http import HttpConnection, Response
    from supervisor.message_handlers._sendgrid.mail_send import MailSettings

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
class SendGridHandler:
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
        name: Identifies the handler when a stored message is sent later; None means "sendgrid".

    Raises:
        ConfigurationError: A setting is missing, blank or cannot be used.
    """

    api_key: str = attrs.field(default="", repr=False)
    from_address: str = attrs.field(default="")
    to_addresses: tuple[str, ...] = attrs.field(
        default=(), converter=_validation.split_addresses, validator=_validation.at_least_one_address
    )
    cc: tuple[str, ...] = attrs.field(
        default=(), converter=_validation.split_addresses, validator=_validation.only_addresses
    )
    bcc: tuple[str, ...] = attrs.field(
        default=(), converter=_validation.split_addresses, validator=_validation.only_addresses
    )
    prefix: str = attrs.field(default="", converter=_validation.text_or_empty)
    client_name: str = attrs.field(default="", converter=_validation.text_or_empty)
    client_version: str = attrs.field(default="", converter=_validation.text_or_empty)
    host: str = attrs.field(default="https://api.sendgrid.com", validator=_validation.requestable_url)
    timeout_s: float = attrs.field(default=10.0, validator=_validation.positive)
    name: str | None = attrs.field(default=None, validator=_validation.optional_not_blank)
    _connection: HttpConnection | None = attrs.field(init=False, default=None, repr=False)
    _api: Any = attrs.field(init=False, default=None, repr=False)

    @api_key.validator
    def _is_one_word(self, field: attrs.Attribute[str], value: object) -> None:
        _validation.not_blank(self, field, value)
        if not all("!" <= c <= "~" for c in str(value).strip()):
            raise _validation.setting_error(self, field, "the key as SendGrid showed it, in one line", value)

    @from_address.validator
    def _is_one_address(self, field: attrs.Attribute[str], value: object) -> None:
        _validation.not_blank(self, field, value)
        _validation.only_addresses(self, field, (str(value),))

    def __attrs_post_init__(self) -> None:
        self.name = self.name or "sendgrid"
        recipients = {each.lower() for each in (*self.to_addresses, *self.cc, *self.bcc)}
        if len(recipients) > MOST_RECIPIENTS:
            raise ConfigurationError(
                f"SendGridHandler: to_addresses, cc and bcc must be at most 1,000 in all, got {len(recipients):,}"
            )

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
        from supervisor.message_handlers._sendgrid import mail_send

        mail = mail_send.compose_mail(self._mail_settings(), details)
        notes: tuple[str, ...] = ()
        if limit_bytes is not None:
            notes = (f"SendGrid refused the attachments as too large: at most {size(limit_bytes)} of them are sent.",)
        budget_bytes = mail_send.attachments_limit_bytes(mail) if limit_bytes is None else limit_bytes
        with packed(details.attachments, limit_bytes=budget_bytes) as attached:
            mail_send.append_lines(mail, (*notes, *attached.notes))
            mail_send.attach(mail, attached.parts)
            return self._client().send(mail), sum(part.size_bytes for part in attached.parts)

    def _mail_settings(self) -> MailSettings:
        from supervisor.message_handlers._sendgrid.mail_send import MailSettings

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
        return DeliveryError(reason, permanent=is_permanent, retry_after_s=_retry_after_s(response))

    def _errors(self, response: Response) -> str:
        """Return what SendGrid says is wrong: ``{"errors": [{"message": ..., "field": ..., "help": ...}]}``."""
        import json

        from supervisor.message_handlers._http import redact_secrets

        texts = []
        with suppress(ValueError, TypeError, AttributeError, KeyError):  # a proxy's page, or JSON of another form
            for each in json.loads(response.body)["errors"]:
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

        from supervisor.message_handlers._sendgrid.mail_send import write_json

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
