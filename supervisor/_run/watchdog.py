"""Find runs that stall or take too long: ``stall_after_s`` and ``max_duration_s``.

One thread of the process sleeps until the next moment at which a limit of a run may be exceeded. It reads the state of
the run, so that being watched costs a run nothing, and it exists only while a run has limits. A forked child has no
such thread: the run is its parent's.
"""

from __future__ import annotations

import threading
import time
from contextvars import Context
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING

from supervisor import _alerts, _log
from supervisor._alerts import RunAlert
from supervisor._forks import THREAD_PREFIX, guard_forks
from supervisor._hooks import on_fork
from supervisor._models import Kind
from supervisor._run import thread_control
from supervisor._run.state import active_state
from supervisor._run.thread_control import calling_package, stacks_text
from supervisor._text import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._run.state import RunState

IDLE_S = 5.0
"""How long the thread waits for another run before it ends: a script may start one run after the other."""

LOOK_AGAIN_S = 60.0
"""How often, at least, a stalled run is looked at again, and a stall that was held back is reported again."""

INTERRUPT_AGAIN_S = 1.0
_MARGIN = _alerts.OF_THE_RUN

OVERSLEPT_S = 30.0
"""When a sleep takes so much longer than asked for, the machine was asleep: no run could make progress."""

LONGEST_REPORT_S = 15.0


class _Watch:
    """One run under watch.

    Args:
        run: The run.
        on_alert: Called with what is found, in the watching thread; must not raise. True holds a stall back: it is
            found again later, while it lasts.
        on_end: Called when a run that stalled makes progress again, with the seconds that the stall lasted; must
            not raise.
        now: The monotonic clock's time.
    """

    def __init__(
        self, run: RunState, on_alert: Callable[[RunAlert], bool | None], on_end: Callable[[float], None], now: float
    ) -> None:
        settings = run.settings
        self.run = run
        self.report = on_alert
        self._report_end = on_end
        self.interrupts = settings.on_overdue == "interrupt"
        self.target = thread_control.target_here()
        self.is_busy = self.is_leaving = False
        self.to_interrupt: RunAlert | None = None
        self.interrupted_s: float | None = None
        self.awake_s = 0.0
        self._own = calling_package()
        self._started_s = now - run.duration_s
        self._stall_after_s = settings.stall_after_s
        self._overdue_s = inf if settings.max_duration_s is None else self._started_s + settings.max_duration_s
        self._stalled_at_s: float | None = None
        self._find_again_s = inf
        self.due_s = min(self._overdue_s, inf if self._stall_after_s is None else now + self._stall_after_s)

    def look(self, now: float) -> list[RunAlert]:
        """Return what is to be reported now, and set when to look again."""
        found = [*self._overdue(now), *self._stalled(now)]
        self.due_s = min(self._overdue_s, self._next_stall(now))
        return found

    def _overdue(self, now: float) -> list[RunAlert]:
        limit_s, taken_s = self.run.settings.max_duration_s, now - self._started_s
        if limit_s is None or self._overdue_s == inf or not _alerts.is_overdue(taken_s, limit_s, _MARGIN.overdue_s):
            return []
        self._overdue_s = inf  # reported once
        return [self._alert(Kind.OVERDUE, taken_s, limit_s)]

    def _stalled(self, now: float) -> list[RunAlert]:
        limit_s = self._stall_after_s
        if limit_s is None:
            return []
        sign_s = max(self.run.last_alive_s(now), self.awake_s)
        if self._stalled_at_s is not None and sign_s > self._stalled_at_s:
            lasted_s = sign_s - self._stalled_at_s
            self._stalled_at_s, self._find_again_s = None, inf
            _log.info("run %r goes on after %s", self.run.name, duration(lasted_s))
            self._report_end(lasted_s)
        is_known = self._stalled_at_s is not None
        if now < self._find_again_s if is_known else not _alerts.is_stalled(now - sign_s, limit_s, _MARGIN.stalled_s):
            return []
        self._stalled_at_s, self._find_again_s = sign_s, inf
        return [self._alert(Kind.STALLED, now - sign_s, limit_s, is_known=is_known)]

    def hold_back(self, now: float) -> None:
        """Let the stall be found again later, while it lasts."""
        self._find_again_s = now + LOOK_AGAIN_S

    def last_stall_s(self, now: float) -> float | None:
        """Return how long the stall had lasted in which the run ended; None when there was none."""
        if self._stalled_at_s is None:
            return None
        sign_s = max(self.run.last_alive_s(now), self.awake_s)
        return (sign_s if sign_s > self._stalled_at_s else now) - self._stalled_at_s

    def _next_stall(self, now: float) -> float:
        if self._stall_after_s is None:
            return inf
        if self._stalled_at_s is not None:
            return now + min(self._stall_after_s, LOOK_AGAIN_S)
        return max(self.run.last_alive_s(now), self.awake_s) + self._stall_after_s

    def _alert(self, kind: Kind, lasted_s: float, limit_s: float, *, is_known: bool = False) -> RunAlert:
        return RunAlert(
            kind=kind,
            since=datetime.now(UTC) - timedelta(seconds=lasted_s),
            lasted_s=lasted_s,
            limit_s=limit_s,
            interrupts=self.interrupts and not is_known,
            stacks=stacks_text(self.target.loop, self._own),
            is_known=is_known,
        )


class Watcher:
    """Watches the runs of a process, in a thread that exists while there is something to watch.

    Args:
        clock: Returns seconds from a clock that never goes back.
        idle_s: How long the thread waits for another run before it ends.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, idle_s: float = IDLE_S) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._begin_empty()

    def _begin_empty(self) -> None:
        self._watches: dict[int, _Watch] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def renew_in_child(self) -> None:
        """Leave the runs to the parent of a forked child: neither the thread nor its lock came along."""
        self._begin_empty()

    def add(self, run: RunState, on_alert: Callable[[RunAlert], bool | None], on_end: Callable[[float], None]) -> None:
        """Watch a run from now on."""
        with self._changed:
            self._watches[id(run)] = _Watch(run, on_alert, on_end, self._clock())
            if self._thread is None or not self._thread.is_alive():
                guard_forks()
                self._thread = threading.Thread(target=self._serve, name=f"{THREAD_PREFIX}limits", daemon=True)
                Context().run(self._thread.start)  # it belongs to no run
            self._changed.notify_all()

    def of(self, run: RunState) -> _Watch | None:
        """Return the watch over a run, or None without one."""
        return self._watches.get(id(run))

    def remove(self, watch: _Watch) -> None:
        """Stop watching a run; a report about it that is under way is finished before this returns."""
        watch.is_leaving = True
        with self._changed:
            self._watches.pop(id(watch.run), None)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not watch.is_busy, LONGEST_REPORT_S)

    def _serve(self) -> None:
        while True:
            watch = self._next()
            if watch is None:
                return
            try:
                Context().run(self._look, watch)
            finally:
                with self._changed:
                    watch.is_busy = False
                    self._changed.notify_all()

    def _next(self) -> _Watch | None:
        """Wait until a run is due and return its watch; None when there has been nothing to watch for a while."""
        with self._changed:
            while True:
                if not self._watches and not self._changed.wait_for(lambda: bool(self._watches), self._idle_s):
                    self._thread = None
                    return None
                watch = min(self._watches.values(), key=lambda each: each.due_s)
                left_s = watch.due_s - self._clock()
                if left_s <= 0:
                    watch.is_busy = True
                    return watch
                self._sleep(min(left_s, 3600.0))

    def _sleep(self, seconds: float) -> None:
        """Sleep until something changes. After a sleep of the machine itself every run counts as alive."""
        until = self._clock() + seconds
        self._changed.wait(seconds)
        now = self._clock()
        if now - until > OVERSLEPT_S:
            for each in self._watches.values():
                each.awake_s = now

    def _look(self, watch: _Watch) -> None:
        """Look at a run that is due, report what is found, and interrupt the run where its settings say so."""
        active_state.set(watch.run)  # what is logged here belongs to it
        now = self._clock()
        for alert in watch.look(now):
            if not alert.is_known:
                _log.warning("run %r %s", watch.run.name, alert)
            if watch.report(alert):
                watch.hold_back(now)
            if alert.interrupts:
                watch.to_interrupt = alert
        if watch.to_interrupt is not None:
            watch.target.interrupt(lambda: self._is_time(watch))
            watch.due_s = min(watch.due_s, now + INTERRUPT_AGAIN_S)
        elif watch.interrupted_s is not None:
            self._interrupt_again(watch, now)

    def _is_time(self, watch: _Watch) -> bool:
        """Return whether a run is to be interrupted at this very moment, and note that it is."""
        from supervisor.errors import OverdueError

        with self._changed:
            alert = watch.to_interrupt
            # While a generator waits for its consumer, the interrupt would hit the consumer.
            if alert is None or watch.is_leaving or watch.run.is_suspended:
                return False
            watch.run.overdue = OverdueError(f"{watch.run.name} {alert} and was interrupted")
            watch.interrupted_s = self._clock()
            watch.to_interrupt = None
            return True

    def _interrupt_again(self, watch: _Watch, now: float) -> None:
        """Interrupt the main thread again if it began to wait between the arrival of the signal and its handler."""
        if not watch.target.stands_still():
            watch.interrupted_s = None
            return
        watch.target.interrupt(lambda: not watch.is_leaving)
        watch.due_s = min(watch.due_s, now + INTERRUPT_AGAIN_S)


_watcher = Watcher()


def watch(
    run: RunState, on_alert: Callable[[RunAlert], bool | None], on_end: Callable[[float], None] = lambda _: None
) -> None:
    """Watch the limits that a run has in its settings; call it where the run starts, in its own thread.

    Args:
        run: The run; one that has neither ``stall_after_s`` nor ``max_duration_s`` is not watched.
        on_alert: Called with what is found, in the watching thread; must not raise. When it has returned and
            ``on_overdue`` is "interrupt", the run is interrupted and ``run.overdue`` set. When it returns True, a stall
            is found again a minute later, while it lasts.
        on_end: Called when a run that stalled makes progress again, with the seconds that the stall lasted, in the same
            thread; must not raise.
    """
    if run.settings.stall_after_s is not None or run.settings.max_duration_s is not None:
        _watcher.add(run, on_alert, on_end)


def unwatch(run: RunState, error: BaseException | None = None) -> float | None:
    """Stop watching a run; call it before anything else where the run ends, in its own thread or task.

    Nothing is reported about its limits any more, and an interrupt that arrives too late does not leave this function.

    Args:
        run: The run.
        error: The exception that ends it.

    Returns:
        How many seconds the stall has lasted in which the run ends; None when it ends in none.
    """
    found = _watcher.of(run)
    if found is None:
        return None
    try:
        _watcher.remove(found)
        if _is_on_its_way(found, error):
            thread_control.wait_for_late_one()
    except KeyboardInterrupt:
        if run.overdue is None:
            raise
        _watcher.remove(found)
    if run.overdue is not None and found.target.is_cancelled_by_others():
        run.overdue = None
    return found.last_stall_s(time.monotonic())


def _is_on_its_way(found: _Watch, error: BaseException | None) -> bool:
    """Return whether an interrupt was sent to this thread just now and has not arrived."""
    if found.interrupted_s is None or found.target.loop is not None or isinstance(error, KeyboardInterrupt):
        return False
    return time.monotonic() - found.interrupted_s < thread_control.ON_ITS_WAY_S


on_fork(in_child=_watcher.renew_in_child)
