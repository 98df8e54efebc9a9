"""Which handlers get a message, and when: at once, later if it is still so then, or not at all.

Mutes, the quiet times of handlers, ``alert_after`` and several scripts that fail for one reason all come down to this:
a message is held, and when its time has come it is sent if what it says is still so. The run and the check ask the same
functions; whoever has a handler at hand releases what is held for it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor._delivery import Audience
from supervisor._exceptions import host as here
from supervisor._models import FAILED, Kind
from supervisor._schedules import duration_s, machine_zone, zone_named
from supervisor._store.essentials import NO_SET_TIME_S, storable
from supervisor._store.records import reason_of
from supervisor._text import counted, in_zone, local_time, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from supervisor._models.values import MessageDetails, MessageHandler, RunReport
    from supervisor._store import Store
    from supervisor._store.records import HeldDelivery

ALARMS = (Kind.FAILURE, Kind.DIED, Kind.STALLED, Kind.OVERDUE, Kind.MISSED)
FAILURES = (Kind.FAILURE, Kind.DIED)
MOST_ALIKE = 3
"""So many scripts that fail for one reason are reported one by one."""
ALIKE_WITHIN_S = 300.0
_NOT_HELD = (Kind.START, Kind.PROGRESS)
"""What says nothing any more once its time is over."""
_CHECKED_WITHIN_S = 3_600.0
_NAMED = 3


class JournalAudienceRules:
    """Decides by the journal and by the handlers' options which handlers get a message now, and which later.

    Args:
        clock: Returns seconds since 1970.
        zone: The time zone of quiet times; None for the machine's.
    """

    def __init__(self, clock: Callable[[], float], zone: str | None) -> None:
        self._clock = clock
        self._zone = zone

    def audience_of(
        self, outbox: Any, details: MessageDetails, name: str, handlers: Mapping[str, MessageHandler], *, is_own: bool
    ) -> Audience:
        """Return which of the handlers that want a message get it now."""
        return audience_of(outbox, details, name, handlers, now_s=self._clock(), zone=self._zone, is_own=is_own)

    def release(self, outbox: Any, handlers: Mapping[str, MessageHandler]) -> None:
        """Let what is held for some handlers be sent where its time has come."""
        release(outbox, handlers, now_s=self._clock(), zone=self._zone)


def audience_of(  # noqa: PLR0913 - the facts that decide
    journal: Store,
    details: MessageDetails,
    name: str,
    handlers: Mapping[str, MessageHandler],
    *,
    now_s: float,
    zone: str | None = None,
    is_own: bool = False,
) -> Audience:
    """Return which handlers get a message now, and which later.

    Args:
        journal: The journal.
        details: The message.
        name: The name of the runs that it is about; "" for none.
        handlers: Those that want it, by their names.
        now_s: The moment, in seconds since 1970.
        zone: The time zone of quiet times, where the run of the message has none; None for the machine's.
        is_own: True for what the script itself sends, and for reminders: ``alert_after`` does not count.
    """
    settings: Mapping[str, Any] = details.report.settings if details.report is not None else {}
    chosen_zone = settings.get("timezone") or zone
    mute = journal.mutes().get(storable(name)) if name else None
    muted_s = None if mute is None else mute.until.timestamp() if mute.until is not None else NO_SET_TIME_S
    waits = {} if is_own or details.report is None else _waits(journal, details, details.report, handlers, now_s)
    now, held, unsent = [], {}, []
    for each, handler in handlers.items():
        until_s, why = waits.get(each, (0.0, ""))
        if why == "unsent":
            unsent.append(each)
            continue
        quiet_s = _quiet_until_s(journal, details.kind, name, each, handler, max(now_s, muted_s or 0.0), chosen_zone)
        until_s, why = max((until_s, why), (muted_s or 0.0, "mute"), (quiet_s, "quiet"))
        if until_s <= now_s:
            now.append(each)
        elif details.kind is Kind.RECOVERY and not journal.reached_by_alarms([each], name):
            pass  # it was notified of nothing that is over now
        elif details.kind not in _NOT_HELD:
            held[each] = (until_s, why)
    return Audience(tuple(now), held, tuple(unsent))


# Not at once


def _waits(
    journal: Store, details: MessageDetails, report: RunReport, handlers: Mapping[str, MessageHandler], now_s: float
) -> dict[str, tuple[float, str]]:
    """Return of which handlers a failure is kept: until when and why; "unsent" for one that they do not get."""
    if details.kind not in FAILURES or (report.outcome is not None and report.outcome not in FAILED):
        return {}
    rule = report.settings.get("alert_after")
    if rule is not None:
        return _after(rule, journal, report, handlers, now_s)
    reason = reason_of(report.error) if details.kind is Kind.FAILURE and report.error is not None else None
    if reason is None or not _is_checked(journal, now_s):
        return {}
    found = {}
    for each, handler in handlers.items():
        if getattr(handler, "keeps_incidents", False):
            continue
        others = journal.failed_alike(each, reason, report.name, now_s - ALIKE_WITHIN_S)
        if len(others) >= MOST_ALIKE:
            found[each] = (max(now_s + 1.0, min(others.values()) + ALIKE_WITHIN_S), "several")
    return found


def _is_checked(journal: Store, now_s: float) -> bool:
    """Return whether a check has run lately, so that one will soon release what is held."""
    at = journal.last_check(monotonic()).at
    return at is not None and now_s - at.timestamp() < _CHECKED_WITHIN_S


def _after(
    rule: str | int, journal: Store, report: RunReport, handlers: Iterable[str], now_s: float
) -> dict[str, tuple[float, str]]:
    """Return what ``alert_after`` says of a failure: those in a row are told once, at their time."""
    before = journal.failures_since_success(report.name, before=report.id)
    since = min(filter(None, (before.since, report.started_at)))
    notified = journal.notified_since(report.name, since.timestamp(), FAILURES)
    if isinstance(rule, int):
        verdict = (0.0, "") if before.failures + 1 >= rule else (0.0, "unsent")
    else:
        verdict = (since.timestamp() + duration_s(rule), "alert_after")
    return {each: (0.0, "unsent") if each in notified else verdict for each in handlers}


# Quiet times


def _quiet_until_s(  # noqa: PLR0913, PLR0917 - the facts that decide
    journal: Store, kind: Kind, name: str, handler_name: str, handler: object, at_s: float, zone: str | None
) -> float:
    """Return until when a handler gets no messages of a kind, in seconds since 1970; 0 when it gets them now."""
    span = quiet_span(handler, at_s, zone)
    if span is None or kind in getattr(handler, "urgent", ()):
        return 0.0
    if kind is Kind.RECOVERY and handler_name in journal.notified_since(name, span[0], ALARMS):
        return 0.0  # who was woken by the alarm may go back to sleep
    return span[1]


def quiet_span(handler: object, at_s: float, zone: str | None) -> tuple[float, float] | None:
    """Return when the quiet time of a handler began and when it ends, in seconds since 1970; None outside of one.

    Args:
        handler: The handler; only those of this package have quiet times.
        at_s: The moment, in seconds since 1970.
        zone: The time zone of the times; None for the machine's.
    """
    times = getattr(handler, "quiet", ()) if hasattr(type(handler), "_destination") else ()
    if not times or at_s >= NO_SET_TIME_S:
        return None
    local = datetime.fromtimestamp(at_s, UTC).astimezone(zone_named(zone) if zone else machine_zone())
    spans = [span for text in times for span in _spans(text, local) if span[0] <= at_s < span[1]]
    return max(spans, key=lambda span: span[1]) if spans else None


def _spans(text: str, local: datetime) -> Iterable[tuple[float, float]]:
    """Yield the quiet times that began today or yesterday, and those that begin then, as pairs of instants."""
    (start_h, start_min), (end_h, end_min) = (map(int, each.split(":")) for each in text.split("-"))
    for days in (-1, 0):
        day = local.replace(second=0, microsecond=0) + timedelta(days=days)
        start = day.replace(hour=start_h, minute=start_min)
        end = day.replace(hour=end_h, minute=end_min)
        end += timedelta(days=1) if end <= start else timedelta()
        yield start.timestamp(), end.timestamp()


# What is held


class _Due(NamedTuple):
    """What is held and whose time has come.

    Args:
        over: The keys of what is no longer so.
        due: What is to be sent.
    """

    over: list[int]
    due: list[HeldDelivery]


def release(journal: Store, handlers: Mapping[str, MessageHandler], *, now_s: float, zone: str | None = None) -> None:
    """Let what is held for some handlers be sent where its time has come and it is still so; drop what is over.

    Several failures for one reason become one message. Nothing is sent here: workers do that.

    Args:
        journal: The journal.
        handlers: The handlers, by their names.
        now_s: The moment, in seconds since 1970.
        zone: The time zone of quiet times; None for the machine's.
    """
    if not journal.held(tuple(handlers)):  # mostly nothing is held
        return
    with journal.one_commit():
        found = _sorted(journal, handlers, now_s, zone)
        journal.drop_held(found.over)
        together: dict[tuple[str, str | None], list[HeldDelivery]] = {}
        for each in found.due:
            key = (each.handler, each.reason) if each.why == "several" else (each.handler, str(each.key))
            together.setdefault(key, []).append(each)
        for (handler, _), some in together.items():
            keys = [each.key for each in some]
            message = _several(journal, some, now_s) if len(some) > 1 else None
            if message is None:
                journal.release_held(keys)
            else:
                journal.put(message, (handler,))
                journal.note_notified(keys)


def _sorted(journal: Store, handlers: Mapping[str, MessageHandler], now_s: float, zone: str | None) -> _Due:
    found, mutes = _Due([], []), journal.mutes()
    for each in journal.held(tuple(handlers)):
        until_s = 0.0 if _is_held_no_more(each, handlers[each.handler]) else each.until_s
        if not journal.is_still_so(each):
            found.over.append(each.key)
        elif each.name in mutes or until_s > now_s:
            continue
        elif quiet_s := _quiet_until_s(
            journal, each.kind, each.name, each.handler, handlers[each.handler], now_s, zone
        ):
            journal.postpone(each.key, quiet_s)
        else:
            found.due.append(each)
    return found


def _is_held_no_more(held: HeldDelivery, handler: object) -> bool:
    """Return whether what a message was held for may have ended before its time: a person, or a setting, decides."""
    if held.why != "quiet":
        return held.why == "mute"  # whether the mute still lasts, the journal knows
    return not getattr(handler, "quiet", ()) or held.kind in getattr(handler, "urgent", ())


def _several(journal: Store, some: Sequence[HeldDelivery], now_s: float) -> MessageDetails | None:
    """Return one message for several failures for one reason; None where they cannot be read."""
    from supervisor._messages import failure_reason, message_from_parts, run_label
    from supervisor._models.parts import Facts, Row, Text

    messages = [
        each for held in some if (each := journal.held_message(held.key)) is not None and each.report is not None
    ]
    reports = [each.report for each in messages if each.report is not None]
    if len(reports) < len(some):
        return None
    first_s = min(each.created_at.timestamp() for each in some) - ALIKE_WITHIN_S
    own_names = {each.name for each in some}
    alike = journal.failed_alike(some[0].handler, some[0].reason or "", "", first_s)
    others = [each for each in alike if each not in own_names]
    labels = [run_label(each) for each in reports]
    with in_zone(reports[0].settings.get("timezone")):
        rows = [Row(run_label(each), f"{local_time(each.started_at)}: {failure_reason(each)}") for each in reports]
        before = f" {_listed(others)} failed with it too, and was reported." if len(others) == 1 else ""
        if len(others) > 1:
            before = f" {_listed(others, most=len(others))} failed with it too, and were reported one by one."
        lead = (
            f"{_listed(labels, most=len(labels))} failed on {here()} within minutes, for one reason by the look of it: "
            f"{reports[0].error.type if reports[0].error is not None else 'the same error'}.{before}"
        )
        parts = (
            Text(lead),
            Facts("", rows),
            Text("`supervisor show NAME` shows each with its traceback."),
        )
    count = counted(len(some), "more script" if others else "script")
    subject = f"{count} failed on {here()}: {failure_reason(reports[0])} ({_listed(labels)})"
    details = message_from_parts(Kind.FAILURE, one_line(subject), parts)
    import attrs

    return attrs.evolve(details, created_at=datetime.fromtimestamp(now_s, UTC))


def _listed(names: Sequence[str], most: int = _NAMED) -> str:
    """Return names as part of a sentence ("parcels, roads and 3 more")."""
    shown = list(names[:most])
    if len(names) > most:
        shown = [", ".join(shown), f"{len(names) - most:,} more"]
    return " and ".join((", ".join(shown[:-1]), shown[-1])) if len(shown) > 1 else "".join(shown)
