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

MOST_RECIPIENTS = 1_000
_SHRINK = 4
_IN_MEMORY_BYTES = 4_000_000


def _text(value: object) -> str:
    return "" if value is None else str(value)


@attrs.define(kw_only=True, eq=False)
class SendGridHandler:
    """Sends messages as e-mail, as text and as HTML, through SendGrid's v3 Web API by the ``sendgrid`` library.

    A run's messages form one thread (``References``), and the message's id goes along as the custom argument
    ``supervisor_message_id``, so that a repeat can be recognised in the Event Webhook. What the service asks of a mail
    is kept (https://www.twilio.com/docs/sendgrid/api-reference/mail-send/limitations and .../mail-send/errors): at most
    1,000 recipients, each only once among to, cc and bcc; text/plain before text/html; 30 MB in all after base64, so
    what does not fit of the attachments is cut or left out, and the mail says so; no reserved headers.

    Answers (https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/errors): 202 is success.
    413 is tried once more with a quarter of the attachments' size. 429 waits as ``Retry-After`` or
    ``X-RateLimit-Reset`` says; it, 5xx, a timeout and a lost connection are temporary. 400, 401, 403 and all else is
    permanent, with SendGrid's own words in the error.

    The library's own client has no timeout, opens a connection for each message (and since Python 3.12 reads all root
    certificates each time, 20 ms), sends the API key along with redirects and writes it into debug logs. So what the
    library sends goes over :class:`supervisor.message_handlers._http.HttpConnection` instead.

    Args:
        api_key: The API key, with the permission "Mail Send".
        from_address: The sender, "name@example.com" or "Name <name@example.com>"; SendGrid must have verified it.
        to_addresses: One recipient or many.
        cc: Who gets a copy; none by default.
        bcc: Who gets a copy that the others do not see; none by default.
        prefix: Stands before each subject.
        client_name: What the mail's last line calls the sending program; empty leaves the line out.
        client_version: Its version, in the same line.
        host: "https://api.eu.sendgrid.com" for subusers in the EU.
        timeout_s: The most seconds to wait for a connection and for the answer.
        name: Finds the handler again for a stored message; None means "sendgrid".

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
    prefix: str = attrs.field(default="", converter=_text)
    client_name: str = attrs.field(default="", converter=_text)
    client_version: str = attrs.field(default="", converter=_text)
    host: str = attrs.field(default="https://api.sendgrid.com", validator=_validation.requestable_url)
    timeout_s: float = attrs.field(default=10.0, validator=_validation.positive)
    name: str | None = attrs.field(default=None, validator=_validation.optional_not_blank)
    _line: HttpConnection | None = attrs.field(init=False, default=None, repr=False)
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
            DeliveryError: SendGrid did not accept it, or did not answer.
        """
        answer, attached_bytes = self._answer(details)
        if answer.status == 413 and attached_bytes:  # noqa: PLR2004 - too large
            answer, _ = self._answer(details, attached_bytes // _SHRINK)
        if not 200 <= answer.status < 300:  # noqa: PLR2004 - success
            raise self._refusal(answer)

    def close(self) -> None:
        """Close the connection; the next message opens a new one."""
        if self._line is not None:
            self._line.close()

    def _answer(self, details: MessageDetails, limit_bytes: int | None = None) -> tuple[Response, int]:
        """Send once; return the answer and how many bytes of attachments were in it, before base64.

        Args:
            details: The message.
            limit_bytes: The most bytes of attachments; None means what 30 MB allow, anything else that it was too much.
        """
        from supervisor._attachments import packed
        from supervisor.message_handlers._sendgrid import mail_send

        mail = mail_send.mail(self, details)
        notes: tuple[str, ...] = ()
        if limit_bytes is not None:
            notes = (f"SendGrid refused the attachments as too large: at most {size(limit_bytes)} of them are sent.",)
        budget_bytes = mail_send.budget_bytes(mail) if limit_bytes is None else limit_bytes
        with packed(details.attachments, limit_bytes=budget_bytes) as attached:
            mail_send.say(mail, (*notes, *attached.notes))
            mail_send.attach(mail, attached.parts)
            return self._client().send(mail), sum(part.size_bytes for part in attached.parts)

    def _client(self) -> Any:
        """Return the library's client, with our own transport in it."""
        if self._api is None:
            import sendgrid

            from supervisor.message_handlers._http import HttpConnection

            self._line = HttpConnection(self.host, self.timeout_s)
            api = sendgrid.SendGridAPIClient(api_key=self.api_key.strip(), host=self.host.rstrip("/"))
            api.client = _Transport(self._line, api)
            self._api = api
        return self._api

    def _refusal(self, answer: Response) -> DeliveryError:
        hint = {
            401: "check the API key",
            403: "check that the API key may send mail and that the sender address is verified",
            413: "the mail is too large even with little attached",
        }.get(answer.status, "")
        reason = ": ".join(each for each in (f"SendGrid answered {answer.phrase}", self._errors(answer), hint) if each)
        return DeliveryError(reason, permanent=not answer.is_temporary, retry_after_s=_retry_after_s(answer))

    def _errors(self, answer: Response) -> str:
        """Return what SendGrid says is wrong: ``{"errors": [{"message": ..., "field": ..., "help": ...}]}``."""
        import json

        from supervisor.message_handlers._http import redact_secrets

        said = []
        with suppress(ValueError, TypeError, AttributeError, KeyError):  # a proxy's page, or another shape
            for each in json.loads(answer.body)["errors"]:
                field = each.get("field")
                said.append(f"{each['message']} ({field})" if field and field != "null" else str(each["message"]))
        secrets = (self.api_key.strip(),)
        return one_line(redact_secrets("; ".join(said), secrets), 500) or answer.told(secrets)


class _Transport:
    """Stands where the library has ``python_http_client``, and knows the one request that mails need."""

    def __init__(self, line: HttpConnection, api: Any) -> None:
        from urllib.parse import urlsplit

        self.mail = self.send = self  # the library calls client.mail.send.post(request_body=...)
        self._line = line
        self._path = f"{urlsplit(api.host).path}/v3/mail/send"
        self._headers = {
            "Authorization": api.auth,
            "User-Agent": api.useragent,
            "Accept": "application/json",
            "Content-Type": "application/json",
        }

    def post(self, *, request_body: dict[str, Any]) -> Response:
        """Send a mail and return what SendGrid answered, whatever its status."""
        from tempfile import SpooledTemporaryFile

        from supervisor.message_handlers._sendgrid.mail_send import write

        with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
            write(request_body, file)
            return self._line.post(self._path, file, self._headers)


def _retry_after_s(answer: Response) -> float | None:
    """Return the seconds to wait, from ``Retry-After`` or else from ``X-RateLimit-Reset``, a Unix time.

    See https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/rate-limits.
    """
    if answer.retry_after_s is not None or answer.status != 429:  # noqa: PLR2004 - too many requests
        return answer.retry_after_s
    with suppress(ValueError, OverflowError, OSError):
        return answer.seconds_until(datetime.fromtimestamp(float(answer.headers.get("X-RateLimit-Reset", "")), UTC))
    return None
