"""Read the journal once, from the newest run to the oldest, and sum it up; and evaluate what is wrong now."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

import attrs

from supervisor import _exceptions
from supervisor._alerts import Standing
from supervisor._alerts.evaluation import evaluate, view_of
from supervisor._cli.report.formatting import line, minute, sane
from supervisor._cli.report.run_list import CARDS, LISTED, LeftOut, RunList
from supervisor._cli.report.script_summary import CODES, RUNNING, Script, Seen, code_of
from supervisor._messages import run_label
from supervisor._store.essentials import storable
from supervisor._text import DAY_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from supervisor._alerts.evaluation import Alert, View
    from supervisor._store import Store
    from supervisor._store.records import RunRecord, WaitingDelivery
    from supervisor._store.sqlite import JournalReader


_DELIVERIES = 500
_LOST = "It gives no sign of life any more. The next run of this name, or a check, will report it."
_GONE = "Its process is gone without having ended it. The next run of this name, or a check, will report it."


@attrs.frozen(kw_only=True)
class Gathered:
    """All that a page shows.

    Args:
        scripts: The scripts: first those that are failing or have alerts, then by their names. ``index`` is their
            place in ``listed``.
        alerts: What is wrong now: dead, stalled and overdue runs, then missed starts; also of names without a run.
        names: The names of the scripts by their ``index``.
        listed: The list of runs as data; see :class:`~supervisor._cli.report.run_list.RunList`.
        deliveries: What waits or failed, oldest first.
        runs: How many runs there are.
        days: How many days back the page goes.
        first_s: When the oldest run started; None without one.
        written_at_s: When the page was written.
        host: The machine's name.
        left_out: What does not stand in the page.
        muted: Lines on the names of which nobody is notified for now, and on messages that are held.
    """

    scripts: tuple[Script, ...] = ()
    alerts: tuple[Alert, ...] = ()
    names: tuple[str, ...] = ()
    listed: dict[str, Any] = attrs.field(factory=dict)
    deliveries: tuple[WaitingDelivery, ...] = ()
    runs: int = 0
    days: int = 400
    first_s: float | None = None
    written_at_s: float
    host: str
    left_out: LeftOut = attrs.field(factory=LeftOut)
    muted: tuple[str, ...] = ()


def gather(  # noqa: PLR0913 - what the command asks, and the seams for tests
    journal: Store | JournalReader | None,
    *,
    days: int = 400,
    names: Sequence[str] = (),
    redact: Callable[[str], str] | None = None,
    now_s: float | None = None,
    view: View | None = None,
    listed: int = LISTED,
) -> Gathered:
    """Read what a page shows.

    Args:
        journal: Where the runs are; None when there is no journal yet.
        days: How many days back to go.
        names: The names of runs to show; none means all.
        redact: Takes secrets out of logs; None stands for a plain :class:`~supervisor._redaction.Redactor`.
        now_s: The instant, in seconds since 1970 (UTC); None means now.
        view: What is seen of the journal and of the configuration at that instant; None leaves the configuration out.
        listed: The most runs in the list. Calendars and charts show all.

    Raises:
        JournalUnavailable: The journal cannot be read.
    """
    now_s = time.time() if now_s is None else now_s
    empty = Gathered(written_at_s=now_s, host=line(_exceptions.host(), 80), days=days)
    if journal is None:
        return empty
    if view is None:
        view = view_of(journal, {}, datetime.fromtimestamp(now_s, UTC), time.monotonic())
    alerts = tuple(alert for alert in evaluate(view) if not names or alert.name in {*map(storable, names)})
    reader = _Reader(now_s, view, listed)
    for run in journal.runs_since(now_s - days * DAY_S, names):
        reader.add(run)
    if redact is None:
        from supervisor._redaction import Redactor

        redact = Redactor().text
    for alert in alerts:
        if alert.name in reader.scripts:
            reader.scripts[alert.name].alerts.append(alert)
    data = reader.list.data(redact)
    reader.list.left_out.cards = max(0, len(reader.scripts) - CARDS)
    return attrs.evolve(
        empty,
        scripts=tuple(sorted(reader.scripts.values(), key=_place)),
        alerts=alerts,
        names=tuple(script.name for script in reader.scripts.values()),
        listed=data,
        deliveries=tuple(journal.deliveries(limit=_DELIVERIES)),
        runs=sum(script.runs for script in reader.scripts.values()),
        first_s=reader.first_s,
        left_out=reader.list.left_out,
        muted=tuple(_muted(journal)),
    )


def _muted(journal: Store | JournalReader) -> Iterator[str]:
    from supervisor._cli.mute_command import held_lines, muted_lines

    mutes, held = journal.mutes(), journal.held_and_so()
    yield from muted_lines(list(mutes.values()), held)
    yield from held_lines(held, mutes)


def _place(script: Script) -> tuple[bool, str]:
    return not (script.is_failing or script.alerts), script.name.casefold()


class _Reader:
    """What has been read so far."""

    def __init__(self, now_s: float, view: View, listed: int) -> None:
        self.scripts: dict[str, Script] = {}
        self.list = RunList()
        self.first_s: float | None = None
        self._now_s = now_s
        self._view = view
        self._listed = listed

    def add(self, run: RunRecord) -> None:
        """Add the next older run."""
        seen = self._seen(run._replace(started_at_s=sane(run.started_at_s)))
        run = seen.run
        script = self.scripts.get(run.name)
        if script is None:
            script = self.scripts[run.name] = Script(line(run_label(run), 120), len(self.scripts), seen)
        script.add(seen)
        self.first_s = run.started_at_s if self.first_s is None else min(self.first_s, run.started_at_s)
        if len(self.list.rows) < self._listed:
            self.list.add(seen, script.index)
        else:
            self.list.left_out.runs += 1

    def _seen(self, run: RunRecord) -> Seen:
        standing = self._view.standings.get(run.id, Standing()) if run.outcome is None else Standing()
        code = CODES["died"] if run.is_gone else code_of(run.outcome)
        return Seen(
            run=run,
            code=code,
            duration_s=self._duration_s(run, code),
            values=run.values,
            note=_LOST if run.is_lost else _GONE if run.is_gone else _late_note(standing),
            alerts=standing.words if standing.is_late else (),
        )

    def _duration_s(self, run: RunRecord, code: int) -> float:
        """Return how long a run took; of one under way the time so far, of one that died to its last sign of life."""
        if run.duration_s is not None:
            duration_s = run.duration_s
        elif code == CODES[RUNNING]:
            duration_s = self._now_s - run.started_at_s
        else:
            duration_s = run.last_sign_at_s - run.started_at_s
        return max(0.0, duration_s) if isfinite(duration_s) else 0.0


def _late_note(standing: Standing) -> str:
    """Return in words since when a run under way makes no progress, or takes too long; "" where neither is so."""
    notes = []
    if standing.stalled_since_s is not None:
        notes.append(f"It has stalled: no progress since {minute(standing.stalled_since_s)}.")
    if standing.overdue_since_s is not None:
        notes.append(f"It is overdue since {minute(standing.overdue_since_s)}.")
    return " ".join(notes)
