"""Messages as JSON documents, sent to a web server of your own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from supervisor._exceptions import safe_text
from supervisor._text import cut_middle, valid_unicode
from supervisor.errors import DeliveryError
from supervisor.message_handlers import _options
from supervisor.message_handlers._options import Destination, url_hash

if TYPE_CHECKING:
    from supervisor._models import Kind
    from supervisor._models.values import ErrorDetails, MessageDetails, Progress, RunReport, RunStep
    from supervisor.message_handlers._http import HttpConnection, Response

SUBJECT_FIELD_LIMIT = 20_000
TEXT_FIELD_LIMIT = 200_000  # receivers often refuse bodies above 1 MB
_OUR_HEADERS = {"content-type", "content-length", "host", "webhook-id", "webhook-timestamp", "webhook-signature"}


def _headers(value: Mapping[str, str] | None) -> dict[str, str]:
    return dict(value or {})


def _sendable_headers(handler: object, field: attrs.Attribute[Any], value: Mapping[Any, Any]) -> None:
    for name, text in value.items():
        is_text = isinstance(name, str) and isinstance(text, str)
        if not is_text or not name or not all("!" <= c <= "~" and c != ":" for c in name) or not _is_one_line(text):
            raise _options.setting_error(handler, field, "names and values of one line each, in Latin-1", value)
        if name.lower() in _OUR_HEADERS:
            raise _options.setting_error(handler, field, f"without {name!r}, which WebhookHandler sets itself", value)


def _is_one_line(text: str) -> bool:
    return all((" " <= c <= "~" or "\xa0" <= c <= "\xff" or c == "\t") for c in text)


EXAMPLE = """\
[handlers.hook]
type = "webhook"
url = "https://example.com/supervisor"
secret = { env = "WEBHOOK_SECRET" }
"""
"""The table of this handler in the file that ``supervisor config init`` writes."""


@attrs.define(kw_only=True, eq=False)
class WebhookHandler(Destination):
    """Sends each message as one JSON document, by POST.

    The document, with every field present and null where nothing is known::

        version      1; it grows when a field changes its meaning or goes, not when one is added
        id           stays the same however often the message is sent, so that a repeat can be recognised
        kind         start, progress, notice, success, warning, failure, recovery, stalled, overdue,
                     died, missed or skipped
        level        how serious a notice is: info, warning, error or critical; info for other kinds
        subject      the headline, as it was written; cut in its middle above 20,000 characters
        message      the text; cut in its middle, with a note, above 200,000 characters
        parts        what the text is made of, where supervisor composed it, in the same order; else an empty list:
          {"type": "text", text, is_strong}
          {"type": "facts", title, rows, role}     role: values, locals, machine or ""; each row is
                                                   {label, text, aside, stands_out}
          {"type": "table", title, columns, rows, marked, numeric, note}   rows: a list of texts each; marked: the
                                                   places of some rows; numeric: which columns are numbers
          {"type": "code", title, text, role}      role: source, traceback, log or ""; of a traceback the text is ""
                                                   where run.error.traceback has it
          {"type": "bars", durations_s, marks, first, last, text}   marks: for each run "." or "x" (failed), "-", "o"
        created_at   when it was written, like every instant here in UTC: "2026-01-31T23:59:59.123456+00:00"
        attachments  a list of {name, size_bytes, note}; the files themselves are not sent
        run          null outside of runs, or
          id, name     the run's own id, and what it is called
          parent_id    the id of the run that this one is nested in
          outcome      success, warning, failure, interrupted, terminated, cancelled, died or skipped; null while it
                       runs
          started_at, ended_at
          duration_s   seconds so far
          values       an object of what the script recorded; dates as text, NaN and infinities as "nan", "inf", "-inf"
          progress     null, or {done, total, percentage, message, rate_per_s, eta_s}
          error        null, or {type, message, where, source, excerpt, notes, local_variables, traceback, thread,
                       fingerprint, bases, some_bases}
          attempts     how many attempts there were, 1 unless ``retries`` is set
          retried      a list of {type, message, where}: what the attempts before the last failed with
          exit_code    what the script gave to sys.exit()
          host, user, pid, argv, python
          cpu_s, peak_memory_bytes
          log_tail     the last lines of the run's own log
          log_warnings the first lines of it from WARNING up
          log_counts   the number of its records by level: {"ERROR": 2, "WARNING": 14}
          settings     the settings that the journal keeps, where they are not their defaults
          links        addresses of pages about the run, by their titles
          warnings     a list of {text, values, step, is_logged}, at most ten
          warning_count   how many there were in all
          steps        a list of {name, outcome, started_at, duration_s, values, error, warning_count, depth, count}, at
                       most 200 and the sum of the others; error as above, or null

    With a secret, the request is signed according to Standard Webhooks 1.0
    (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md): ``webhook-id`` is the
    message's id, ``webhook-timestamp`` the Unix time of this attempt, and ``webhook-signature`` is "v1," and the base64
    of HMAC-SHA256 over ``{webhook-id}.{webhook-timestamp}.{body}``. A receiver compares in constant time, refuses
    timestamps more than five minutes off, so that a recorded request cannot be replayed, and may drop ids it has seen.

    Responses, following that specification and RFC 9110: 2xx is success; 408, 425, 429 and 5xx are temporary, and
    ``Retry-After`` is honoured; so are 401, 403 and redirects, which are tried once an hour; everything else is
    permanent. 307 and 308 are followed to the same scheme, host and port; other redirects are not, because they may
    turn the POST into a GET, or lead the message to somebody else.

    Args:
        url: The URL; it may hold a user and password, or a token.
        secret: The key that signs the requests: "whsec_" and the base64 of 24 to 64 random bytes, as Standard Webhooks
            specifies it, or any text, which is then used as it is. None means that requests are not signed.
        headers: More headers, such as ``Authorization``.
        timeout_s: The most seconds to wait for a connection and for the response.
        kinds: The kinds of messages that it gets ("failure", "success"), one or several; None for those that the run
            reports.
        name: Identifies the handler when a stored message is sent later; None means "webhook:", the server's
            name and a short hash of the URL.

    Raises:
        ConfigurationError: A setting is missing, blank or cannot be used.
    """

    notes_handover: ClassVar[bool] = True
    url: str = attrs.field(default="", repr=False, validator=_options.requestable_url)
    secret: str | None = attrs.field(default=None, repr=False, validator=_options.optional_not_blank)
    headers: Mapping[str, str] = attrs.field(default=None, repr=False, converter=_headers, validator=_sendable_headers)
    timeout_s: float = attrs.field(default=10.0, validator=_options.positive)
    kinds: frozenset[Kind] | None = attrs.field(default=None, converter=_options.kinds, validator=_options.only_kinds)
    name: str | None = attrs.field(default=None, validator=_options.optional_not_blank)
    _now_s: Callable[[], float] = attrs.field(default=time.time, repr=False)
    _key: bytes = attrs.field(init=False, repr=False)
    _connection: HttpConnection | None = attrs.field(init=False, default=None, repr=False)

    @_key.default
    def _key_of_secret(self) -> bytes:
        if self.secret is None or not self.secret.startswith("whsec_"):
            return (self.secret or "").encode("utf-8", "surrogatepass")
        from base64 import b64decode

        try:
            key = b64decode(self.secret.removeprefix("whsec_"), validate=True)
        except ValueError:
            key = b""
        if not key:
            raise _options.setting_error(self, attrs.fields(WebhookHandler).secret, "base64 after whsec_", self.secret)
        return key

    def __attrs_post_init__(self) -> None:
        self.name = self.name or self._default_name

    @property
    def _destination(self) -> tuple[object, ...]:
        return (url_hash(self.url),)

    @property
    def _default_name(self) -> str:
        return f"webhook:{self._hostname}#{url_hash(self.url)}"

    @property
    def _former_default(self) -> str:
        return f"webhook {self._hostname}"

    @property
    def _hostname(self) -> str | None:
        from urllib.parse import urlsplit

        return urlsplit(self.url).hostname

    def send_message(self, details: MessageDetails, /) -> None:
        """Send one message and return when the receiver has answered 2xx.

        Raises:
            DeliveryError: The receiver refused it, or there was no answer.
        """
        import json

        from supervisor.message_handlers._http import HttpConnection

        self._connection = self._connection or HttpConnection(self.url, self.timeout_s)
        document = message_document(details)
        body = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        headers = {**self.headers, **self._own_headers(details.id, body)}
        response = self._connection.post(self._connection.path, body, headers)
        if not response.is_success:
            raise self._refusal(response)

    def prepare(self, details: MessageDetails, /) -> None:
        """Load what sending a message needs; nothing is sent."""
        import json

        from supervisor.message_handlers import _http  # noqa: F401 - it is loaded for later

        self._own_headers(details.id, json.dumps(message_document(details), ensure_ascii=False).encode())

    def close(self) -> None:
        """Close the connection; the next message opens a new one."""
        if self._connection is not None:
            self._connection.close()

    def _own_headers(self, message_id: str, body: bytes) -> dict[str, str]:
        # The specification forbids a dot in the id, because dots separate the parts of the text that is signed.
        safe_id = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in message_id)
        headers = {"Content-Type": "application/json", "User-Agent": "agrc-supervisor", "webhook-id": safe_id}
        if not self._key:
            return headers
        import hmac
        from base64 import b64encode

        timestamp = str(int(self._now_s()))
        signature = hmac.digest(self._key, f"{safe_id}.{timestamp}.".encode() + body, "sha256")
        return headers | {"webhook-timestamp": timestamp, "webhook-signature": f"v1,{b64encode(signature).decode()}"}

    def _refusal(self, response: Response) -> DeliveryError:
        """Return the error for a response that is no success; it quotes the body, but no secrets that this repeats."""
        from urllib.parse import urlsplit

        from supervisor.message_handlers._http import LOGIN_STATUSES

        parts = urlsplit(self.url)
        secrets = [self.secret or "", parts.path, parts.query, parts.password or "", *self.headers.values()]
        reason = f"{parts.hostname} answered {response.status_text}"
        if response.status == 410:  # noqa: PLR2004 - Gone: Standard Webhooks ends the subscription with it
            reason += ": the hook is gone; take it out of the handlers or give the new URL"
        elif text := response.redirect_note(secrets) or response.body_line(secrets):
            reason += f": {text}"
        if response.status in LOGIN_STATUSES:
            reason += " (check the credentials in url and headers, and the secret)"
        permanent = not response.is_temporary
        return DeliveryError(reason, permanent=permanent, retry_after_s=response.retry_after_s, scope=response.scope)


def message_document(details: MessageDetails) -> dict[str, Any]:
    """Return a message as the document that :class:`WebhookHandler` describes, fit for any JSON parser."""
    plain: dict[str, Any] = _plain(
        {
            "version": 1,
            "id": details.id,
            "kind": details.kind.value,
            "level": details.level,
            "subject": cut_middle(details.subject, SUBJECT_FIELD_LIMIT),
            "message": cut_middle(details.message, TEXT_FIELD_LIMIT),
            "parts": _parts(details),
            "created_at": details.created_at,
            "attachments": [
                {"name": each.name, "size_bytes": each.size_bytes, "note": each.note} for each in details.attachments
            ],
            "run": _run(details.report) if details.report else None,
        }
    )
    return plain


def _run(report: RunReport) -> dict[str, Any]:
    facts = ("id", "name", "parent_id", "outcome", "started_at", "ended_at", "duration_s", "values")
    machine = ("exit_code", "host", "user", "pid", "argv", "python", "cpu_s", "peak_memory_bytes")
    log = ("log_tail", "log_warnings", "log_counts", "settings", "links")
    return {
        **{name: getattr(report, name) for name in facts},
        "progress": _progress(report.progress) if report.progress else None,
        "error": _error(report.error) if report.error else None,
        "attempts": report.attempts,
        "retried": [{name: getattr(each, name) for name in ("type", "message", "where")} for each in report.retried],
        **{name: getattr(report, name) for name in (*machine, *log)},
        "warnings": [{**attrs.asdict(each), "values": each.values} for each in report.warnings],
        "warning_count": report.warning_count,
        "steps": [_step(each) for each in report.steps],
    }


def _step(step: RunStep) -> dict[str, Any]:
    names = ("name", "outcome", "started_at", "duration_s", "values", "warning_count", "depth", "count")
    return {
        **{name: getattr(step, name) for name in names},
        "error": _error(step.error) if step.error is not None else None,
    }


def _parts(details: MessageDetails) -> list[dict[str, Any]]:
    """Return the parts as data; a traceback that the run's error holds too is left out, because it may be long."""
    if not details.parts:
        return []
    from supervisor._messages.sections import parts_of
    from supervisor._models.parts import Code, as_data

    error = details.report.error if details.report is not None else None
    traceback = Code("", error.traceback, "traceback") if error is not None else None
    return as_data(Code("", "", "traceback") if part == traceback else part for part in parts_of(details))


def _progress(progress: Progress) -> dict[str, Any]:
    names = ("done", "total", "percentage", "message", "rate_per_s", "eta_s")
    return {name: getattr(progress, name) for name in names}


def _error(error: ErrorDetails) -> dict[str, Any]:
    return attrs.asdict(attrs.evolve(error, traceback=cut_middle(error.traceback, TEXT_FIELD_LIMIT)))


def _plain(value: Any) -> Any:
    """Return a value that is valid JSON and valid Unicode, as parsers of other languages demand."""
    if isinstance(value, str):
        return valid_unicode(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {valid_unicode(safe_text(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, date) else valid_unicode(safe_text(value))
