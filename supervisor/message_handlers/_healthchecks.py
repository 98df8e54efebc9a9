"""Pings to Healthchecks.io or to a Healthchecks server of your own, which report when a script did not run at all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import NAMESPACE_URL, UUID, uuid5

import attrs

from supervisor._models import SUCCEEDED, Kind
from supervisor._text import one_line, valid_unicode
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers import _options
from supervisor.message_handlers._options import Destination, url_hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._http import HttpConnection, Response

BODY_LIMIT_BYTES = 100_000
MOST_EXIT_CODE = 255
_CUT_NOTE = "\n[... the rest was left out: a ping holds 100 kB ...]"
_RECORDED = (b"OK", b"Created")  # another 200 is the page of somebody in between, such as a login page
_NOT_RECORDED = (b"(not found)", b"(rate limited)")
_SIGNALS = {
    Kind.START: "/start",
    Kind.SUCCESS: "",
    Kind.WARNING: "",
    Kind.RECOVERY: "",
    Kind.SKIPPED: "",
    Kind.FAILURE: "/fail",
    Kind.DIED: "/fail",
    Kind.MISSED: "/fail",
    Kind.STALLED: "/log",
    Kind.OVERDUE: "/log",
    Kind.PROGRESS: "/log",
    Kind.NOTICE: "/log",
}


def _uuid(handler: object, field: attrs.Attribute[Any], value: str | None) -> None:
    try:
        if value is not None:
            UUID(value)
    except (ValueError, AttributeError, TypeError) as exc:
        raise _options.setting_error(handler, field, "a UUID", value) from exc


def _slug(handler: object, field: attrs.Attribute[Any], value: str | None) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789-_"
    if value is not None and (not value or not all(c in letters for c in value)):
        raise _options.setting_error(handler, field, "a slug of a-z, 0-9, hyphens and underscores", value)


EXAMPLE = """\
[handlers.check]
type = "healthchecks"
ping_url = { env = "HEALTHCHECKS_PING_URL" }
"""
"""The table of this handler in the file that ``supervisor config init`` writes."""


@attrs.define(kw_only=True, eq=False)
class HealthchecksHandler(Destination):
    """Pings a check: start, success and fail change its state, all else is put into its log.

    start → ``/start``; success, warning and recovery → success; failure, died and missed → ``/fail``, and a failure
    with an exit code of 1 to 255 → ``/{code}``, which Healthchecks shows; stalled, overdue, progress and notice →
    ``/log``; so does the recovery of a run that has not succeeded, which only goes on after a stall or was started
    again. All pings of a run carry its id (``rid``), so that Healthchecks measures how long it took even where runs
    overlap. The message is the body. A start or success that is delivered late, after an outage, goes into the log:
    as a signal it would say that the script has run just now.

    The check is named by exactly one of ``ping_url``, ``uuid``, or ``ping_key`` with ``slug``; see
    https://healthchecks.io/docs/http_api/ for these, for the signals and for the limit of 100 kB (a server of your own
    keeps the first 10 kB by default).

    Responses: 200 "OK" is success (with ``ping_url`` whatever is no HTML, for other services that take such pings); a
    page in its place comes from somebody in between, and is temporary. 200 "OK (not found)", the response to an unknown
    UUID, 400 and 404 are permanent; 200 "OK (rate limited)", 409 (a slug that two checks share), 429 and 5xx are
    temporary; so are 401, 403 and redirects, once an hour.

    The check needs every start and success. They are in ``kinds``, and a run sends these two to handlers that ask for
    them, whether ``report_on`` lists them or not.

    Args:
        ping_url: The whole URL, as Healthchecks shows it.
        uuid: The check's UUID. It is a secret: everybody who knows it can ping.
        ping_key: The project's ping key, a secret.
        slug: The check's slug: a-z, 0-9, hyphens and underscores.
        create: True lets the first ping make a check with this slug, if there is none. It has Healthchecks' default
            period of a day until it is changed there. Only with ``ping_key``. Default False.
        host: The server of ``uuid`` and ``slug``; for a server of your own its address with ``/ping``.
        timeout_s: The most seconds to wait for a connection and for the response.
        late_after_s: The age in seconds from which a start or success goes into the log instead.
        kinds: The kinds of messages to send; all by default.
        name: Identifies the handler when a stored message is sent later; None means "healthchecks:", the slug or
            else the server's name, and a short hash of the ping URL.

    Raises:
        ConfigurationError: The check is not named, or named twice, or a setting cannot be used.
    """

    notes_handover: ClassVar[bool] = True
    keeps_incidents: ClassVar[bool] = True
    ping_url: str | None = attrs.field(
        default=None, repr=False, validator=attrs.validators.optional(_options.requestable_url)
    )
    uuid: str | None = attrs.field(default=None, repr=False, validator=_uuid)
    ping_key: str | None = attrs.field(default=None, repr=False, validator=_options.optional_not_blank)
    slug: str | None = attrs.field(default=None, validator=_slug)
    create: bool = attrs.field(default=False, validator=_options.yes_or_no)
    host: str = attrs.field(default="https://hc-ping.com", validator=_options.requestable_url)
    timeout_s: float = attrs.field(default=10.0, validator=_options.positive)
    late_after_s: float = attrs.field(default=3600.0, validator=_options.positive)
    kinds: frozenset[Kind] = attrs.field(
        default=tuple(_SIGNALS), converter=_options.kinds, validator=_options.only_kinds, repr=False
    )
    name: str | None = attrs.field(default=None, validator=_options.optional_not_blank)
    _now: Callable[[], datetime] = attrs.field(default=lambda: datetime.now(UTC), repr=False)
    _connection: HttpConnection | None = attrs.field(init=False, default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        ways = (self.ping_url, self.uuid, self.ping_key or self.slug)
        if sum(each is not None for each in ways) != 1 or (self.ping_key is None) != (self.slug is None):
            raise ConfigurationError("HealthchecksHandler: give ping_url, or uuid, or ping_key and slug")
        if self.create and self.slug is None:
            raise ConfigurationError("HealthchecksHandler: create makes a check by its slug: give ping_key and slug")
        self.name = self.name or self._default_name

    @property
    def _destination(self) -> tuple[object, ...]:
        return (self._url_hash,)

    @property
    def _default_name(self) -> str:
        from urllib.parse import urlsplit

        shown = self.slug or urlsplit(self.ping_url or self.host).hostname
        return f"healthchecks:{shown}#{self._url_hash}"

    @property
    def _former_default(self) -> str:
        return "healthchecks" if self.slug is None else f"healthchecks {self.slug}"

    @property
    def _url_hash(self) -> str:
        return url_hash(self.ping_url or f"{self.host}{self._check_path}")

    def send_message(self, details: MessageDetails, /) -> None:
        """Ping, and return when the ping was recorded.

        Raises:
            DeliveryError: It was not recorded.
        """
        from supervisor.message_handlers._http import HttpConnection

        self._connection = self._connection or HttpConnection(self.ping_url or self.host, self.timeout_s)
        headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "agrc-supervisor"}
        response = self._connection.post(self._path(details), ping_body(details), headers)
        # An unknown UUID and too many pings get the status 200 as well; only the body says that nothing was recorded.
        is_recorded = self._is_own(response) and not any(each in response.body for each in _NOT_RECORDED)
        if not response.is_success or not is_recorded:
            raise self._refusal(response)

    def prepare(self, details: MessageDetails, /) -> None:
        """Load what sending a message needs; nothing is sent."""
        from supervisor.message_handlers import _http  # noqa: F401 - it is loaded for later

        ping_body(details)
        self._path(details)

    def close(self) -> None:
        """Close the connection; the next message opens a new one."""
        if self._connection is not None:
            self._connection.close()

    def _path(self, details: MessageDetails) -> str:
        from urllib.parse import urlsplit

        parts = urlsplit(self.ping_url or self.host)
        rid = f"rid={run_uuid(details.report.id)}" if details.report else ""
        query = "&".join(each for each in (parts.query, rid, "create=1" if self.create else "") if each)
        return f"{parts.path.rstrip('/')}{self._check_path}{self._signal(details)}{'?' if query else ''}{query}"

    @property
    def _check_path(self) -> str:
        """The part of the path that names the check; "" where the ping URL has it."""
        from urllib.parse import quote

        if self.ping_url:
            return ""
        return f"/{self.uuid}" if self.uuid else f"/{quote(self.ping_key or '', safe='')}/{self.slug}"

    def _signal(self, details: MessageDetails) -> str:
        signal = _SIGNALS[details.kind]
        if details.kind is Kind.RECOVERY and details.report and details.report.outcome not in SUCCEEDED:
            signal = "/log"  # the run makes progress again or was started again; its outcome is still to come
        exit_code = details.report.exit_code if details.report and details.kind is Kind.FAILURE else None
        if exit_code is not None and 0 < exit_code <= MOST_EXIT_CODE:
            signal = f"/{exit_code}"
        age_s = (self._now() - details.created_at).total_seconds()
        is_late = age_s > self.late_after_s and signal in {"", "/start"}
        return "/log" if is_late else signal

    def _is_own(self, response: Response) -> bool:
        """Tell whether the service itself has answered, and not a proxy with a page of its own.

        Services that take the same pings as Healthchecks, by ``ping_url``, may say something else than "OK".
        """
        if self.ping_url is not None:
            return not response.body.lstrip().startswith(b"<")
        return response.body.startswith(_RECORDED)

    def _refusal(self, response: Response) -> DeliveryError:
        """Return the error for a ping that was not recorded; it never quotes the check's UUID nor the ping key."""
        from http import HTTPStatus

        from supervisor.message_handlers._http import LOGIN_STATUSES

        path = (self.ping_url or "").partition("://")[2].partition("/")[2]
        secrets = [self.uuid or "", self.ping_key or "", path]
        text = response.redirect_note(secrets) or response.body_line(secrets)
        reason = f"Healthchecks answered {response.status_text}: {text}".rstrip(": ")
        is_foreign = response.is_success and not self._is_own(response)
        permanent = not (response.is_temporary or is_foreign or response.status == HTTPStatus.CONFLICT)
        retry_after_s = response.retry_after_s
        if response.status == HTTPStatus.NOT_FOUND or "not found" in text:
            reason += "; there is no such check: look up its ping URL"
            reason += ", or let create=True make it" if self.slug and not self.create else ""
        elif "rate limited" in text or response.status == HTTPStatus.TOO_MANY_REQUESTS:
            # The service allows a few pings per check and minute, and does not say how long to wait.
            permanent, retry_after_s = False, retry_after_s or 60.0
        elif response.status in LOGIN_STATUSES:
            reason += "; check ping_url, or uuid, or ping_key, and host"
        elif response.status == HTTPStatus.CONFLICT:
            reason += f"; several checks have the slug {self.slug!r}: rename all but one"
        return DeliveryError(reason, permanent=permanent, retry_after_s=retry_after_s, scope=response.scope)


def run_uuid(run_id: str) -> UUID:
    """Return the run's id as the UUID that Healthchecks asks for: itself if it is one, else one derived from it."""
    try:
        return UUID(run_id)
    except ValueError:
        return uuid5(NAMESPACE_URL, f"supervisor:run:{run_id}".encode("utf-8", "replace").decode())


def ping_body(details: MessageDetails) -> bytes:
    """Return a message as UTF-8 text of at most 100 kB, cut between two characters and with a note."""
    subject, message = valid_unicode(one_line(details.subject)), valid_unicode(details.message)
    text = message if message.startswith(subject) else f"{subject}\n\n{message}".rstrip("\n")
    body = text.encode()
    if len(body) <= BODY_LIMIT_BYTES:
        return body
    head = body[: BODY_LIMIT_BYTES - len(_CUT_NOTE.encode())]
    return head.decode("utf-8", "ignore").encode() + _CUT_NOTE.encode()
