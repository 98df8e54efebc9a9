"""Incidents of PagerDuty: opened by alarms and resolved by recoveries, through its Events API v2."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from supervisor._models import SUCCEEDED, URGENT, Kind
from supervisor._text import cut_clean, one_line, printable
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers import _options
from supervisor.message_handlers._options import Destination, short_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._http import HttpConnection, Response

# https://developer.pagerduty.com/docs/send-alert-event
SUMMARY_LIMIT = 1_024
KEY_LIMIT = 255
TEXT_LIMIT = 60_000  # characters; an event may have 512 kB
MOST_LINKS = 20
_PATH = "/v2/enqueue"
# What went wrong, which is part of the key of an incident, and how bad it is.
_ALARMS = {
    Kind.FAILURE: ("failed", "error"),
    Kind.DIED: ("failed", "critical"),
    Kind.MISSED: ("missed", "error"),
    Kind.STALLED: ("late", "warning"),
    Kind.OVERDUE: ("late", "warning"),
}
_OVER_WHEN_IT_RUNS = ("missed", "late")
_OVER_WHEN_IT_SUCCEEDS = ("failed", *_OVER_WHEN_IT_RUNS)
_SENDABLE = frozenset({*_ALARMS, Kind.RECOVERY, Kind.SUCCESS, Kind.WARNING, Kind.NOTICE})
_MISSED = re.compile(r"(.+) missed (?:its start|[\d,]+ starts)")


def _kinds(value: Iterable[str]) -> frozenset[Kind]:
    many = (value,) if isinstance(value, str) else tuple(value)
    known = {each.value for each in _SENDABLE}
    if set(many) <= known:
        return frozenset(map(Kind, many))
    raise ConfigurationError(f"PagerDutyHandler: kinds must be of {', '.join(sorted(known))}; got {value!r}")


EXAMPLE = """\
[handlers.oncall]
type = "pagerduty"
integration_key = { env = "PAGERDUTY_INTEGRATION_KEY" }
environment = "production"
"""
"""The table of this handler in the file that ``supervisor config init`` writes."""


@attrs.define(kw_only=True, eq=False)
class PagerDutyHandler(Destination):
    """Opens an incident in PagerDuty when something is wrong with a script, and resolves it when that is over.

    Each script has three incidents at most: that it failed or died, that starts of it were missed, and that it is
    stalled or overdue. What concerns one that is open already is added to it (``dedup_key``, made of ``environment``,
    the name of the runs and which of the three it is). A success resolves all three; a run that was started again or
    makes progress again, those of missed starts and of stalls; a failure or death resolves that of stalls.

    Severities: died is critical, failure and missed are errors, stalled and overdue are warnings. A notice, where
    ``kinds`` asks for it, is an incident of its own with its level as severity, which nothing resolves; so is a success
    with warnings, with the severity warning.

    Responses: 202 with PagerDuty's own JSON is success; another 2xx is temporary. 429 (``Retry-After`` is honoured),
    5xx, a timeout and a lost connection are temporary; so are 401, 403 and redirects, once an hour. Everything else is
    permanent, with PagerDuty's own text in the error.

    Args:
        integration_key: The integration key of a service ("Events API v2"), which is a secret.
        environment: Distinguishes scripts of one name, such as "production" and "test"; part of the incidents' keys.
        kinds: The kinds of messages to send; by default alarms and recoveries.
        prefix: The text before each subject.
        host: "https://events.eu.pagerduty.com" for accounts in the EU.
        timeout_s: The most seconds to wait for a connection and for the response.
        name: Identifies the handler when a stored message is sent later; None means "pagerduty" with the environment
            and a short hash of the key.

    Raises:
        ConfigurationError: A setting is missing, blank or cannot be used.
    """

    notes_handover: ClassVar[bool] = True
    keeps_incidents: ClassVar[bool] = True
    """Each failure comes by itself: what one message says of several scripts, no recovery of a script resolves."""

    integration_key: str = attrs.field(default="", repr=False)
    environment: str = attrs.field(default="", converter=_options.text_or_empty)
    kinds: frozenset[Kind] = attrs.field(default=URGENT, converter=_kinds, repr=False)
    prefix: str = attrs.field(default="", converter=_options.text_or_empty)
    host: str = attrs.field(default="https://events.pagerduty.com", validator=_options.requestable_url)
    timeout_s: float = attrs.field(default=10.0, validator=_options.positive)
    name: str | None = attrs.field(default=None, validator=_options.optional_not_blank)
    _connection: HttpConnection | None = attrs.field(init=False, default=None, repr=False)

    @integration_key.validator
    def _is_one_word(self, field: attrs.Attribute[str], value: object) -> None:
        _options.not_blank(self, field, value)
        if not all("!" <= c <= "~" for c in str(value).strip()):
            raise _options.setting_error(self, field, "the integration key as PagerDuty shows it", value)

    def __attrs_post_init__(self) -> None:
        self.name = self.name or self._default_name

    @property
    def _destination(self) -> tuple[object, ...]:
        return (self._hash, self.environment)

    @property
    def _default_name(self) -> str:
        return f"pagerduty:{one_line(self.environment, 40) or 'events'}#{self._hash}"

    @property
    def _hash(self) -> str:
        return short_hash(self.host, self.integration_key.strip())

    def send_message(self, details: MessageDetails, /) -> None:
        """Send what a message means for the script's incidents, and return when PagerDuty has accepted it.

        Raises:
            DeliveryError: PagerDuty did not accept it, or there was no answer.
        """
        import json
        from urllib.parse import urlsplit

        from supervisor.message_handlers._http import HttpConnection

        self._connection = self._connection or HttpConnection(self.host, self.timeout_s)
        headers = {"Content-Type": "application/json", "User-Agent": "agrc-supervisor"}
        path = f"{urlsplit(self.host).path.rstrip('/')}{_PATH}"
        for event in events(details, self.environment, self.prefix):
            body = json.dumps({"routing_key": self.integration_key.strip(), **event}, ensure_ascii=False).encode()
            response = self._connection.post(path, body, headers)
            if not _is_accepted(response):
                raise self._refusal(response)

    def prepare(self, details: MessageDetails, /) -> None:
        """Load what sending a message needs; nothing is sent."""
        import json

        from supervisor.message_handlers import _http  # noqa: F401 - it is loaded for later

        json.dumps([*events(details, self.environment, self.prefix)])

    def close(self) -> None:
        """Close the connection; the next message opens a new one."""
        if self._connection is not None:
            self._connection.close()

    def _refusal(self, response: Response) -> DeliveryError:
        from supervisor.message_handlers._http import LOGIN_STATUSES

        secrets = [self.integration_key.strip()]
        text = response.redirect_note(secrets) or response.body_line(secrets)
        reason = f"PagerDuty answered {response.status_text}: {text}".rstrip(": ")
        if response.status in {400, *LOGIN_STATUSES}:
            reason += "; check integration_key, which is the integration key of a service for Events API v2, and host"
        permanent = not (response.is_temporary or response.is_success)
        return DeliveryError(reason, permanent=permanent, retry_after_s=response.retry_after_s, scope=response.scope)


def _is_accepted(response: Response) -> bool:
    """Tell whether PagerDuty itself has accepted an event, and not a proxy with a page of its own."""
    return response.is_success and response.json_object.get("status") == "success"


def events(details: MessageDetails, environment: str = "", prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yield what a message means for the incidents of its script: each event without the integration key.

    Args:
        details: The message; its report says which script it is about, or its subject if starts were missed.
        environment: Distinguishes scripts of one name.
        prefix: The text before the subject.
    """
    report = details.report
    missed = _MISSED.match(details.subject) if report is None and details.kind is Kind.MISSED else None
    name = report.name if report is not None else missed[1] if missed else ""
    if details.kind in _ALARMS:
        what, severity = _ALARMS[details.kind]
        key = _key(environment, name, what) if name else details.id
        yield {"event_action": "trigger", "dedup_key": key, **_incident(details, name, severity, prefix)}
        if what == "failed" and name:  # a run that has ended is no longer stalled or overdue
            yield {"event_action": "resolve", "dedup_key": _key(environment, name, "late")}
    elif details.kind is Kind.WARNING:
        yield {"event_action": "trigger", "dedup_key": details.id, **_incident(details, name, "warning", prefix)}
        yield from _resolved(environment, name, _OVER_WHEN_IT_SUCCEEDS)
    elif details.kind is Kind.NOTICE:
        yield {"event_action": "trigger", "dedup_key": details.id, **_incident(details, name, details.level, prefix)}
    elif details.kind in {Kind.RECOVERY, Kind.SUCCESS} and name:
        succeeded = report is not None and report.outcome in SUCCEEDED
        yield from _resolved(environment, name, _OVER_WHEN_IT_SUCCEEDS if succeeded else _OVER_WHEN_IT_RUNS)


def _resolved(environment: str, name: str, over: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the events that resolve incidents of a script."""
    for what in over if name else ():
        yield {"event_action": "resolve", "dedup_key": _key(environment, name, what)}


def _key(environment: str, name: str, what: str) -> str:
    """Return the key of an incident."""
    key = printable("/".join(filter(None, ("supervisor", environment, name, what))))
    if len(key.encode()) <= KEY_LIMIT:
        return key
    beginning = key.encode()[: KEY_LIMIT - 20].decode(errors="ignore")
    return f"{beginning}#{short_hash(key)}"


def _incident(details: MessageDetails, name: str, severity: str, prefix: str) -> dict[str, Any]:
    """Return what an event says of an incident."""
    report = details.report
    links = report.links if report is not None else {}
    source = report.host if report is not None else ""
    payload = {
        "summary": one_line(printable(f"{prefix}{details.subject}"), SUMMARY_LIMIT) or f"({details.kind})",
        "source": one_line(printable(source)) or "supervisor",
        "severity": severity,
        "timestamp": details.created_at.isoformat(),
        "component": one_line(printable(name)) or "supervisor",
        "class": details.kind.value,
        "custom_details": {"text": cut_clean(details.message, TEXT_LIMIT, printable)},
    }
    shown = [{"href": url, "text": one_line(printable(title))} for title, url in list(links.items())[:MOST_LINKS]]
    return {"payload": payload, "links": shown, "client": "supervisor"}
