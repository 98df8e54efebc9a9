"""What a store returns of runs, alerts and deliveries. Loaded by the first query, not by every run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from supervisor._store.processes import Process

if TYPE_CHECKING:
    from datetime import datetime

    from supervisor._models import DeliveryState, Kind
    from supervisor._models.values import ErrorDetails, Progress, RunReport, RunStep, RunWarning
    from supervisor._places.resources import MemoryUse


class _RunRow(NamedTuple):
    """The columns of a stored run, in the order in which a store selects them."""

    key: int
    id: str
    name: str
    outcome: str | None
    host: str
    pid: int
    process_started: str
    started_at_s: float
    ended_at_s: float | None
    duration_s: float | None
    progress_at_s: float | None
    schedule: str | None
    grace_s: float | None
    max_duration_s: float | None
    stall_after_s: float | None
    parent_id: str | None
    user: str
    python: str
    log_path: str | None
    exit_code: int | None
    cpu_s: float | None
    peak_memory_bytes: int | None
    child_pid: int | None
    child_started: str | None
    fingerprint: str | None
    machine: str | None
    heartbeat_s: float | None
    heartbeat_at_s: float | None
    stored_progress: bytes | None
    stored_argv: bytes | None
    stored_values: bytes | None
    stored_error: bytes | None
    stored_settings: bytes | None
    stored_memory: bytes | None
    stored_links: bytes | None
    stored_warnings: bytes | None
    stored_steps: bytes | None
    stored_retried: bytes | None
    boot: str | None
    surroundings: int | None
    stamp: bytes | None
    is_gone: bool
    is_lost: bool
    is_copied: bool


class RunRecord(_RunRow):
    """One run as the journal knows it: the one shape in which all who read runs get them.

    There may be many thousands, so instants are seconds since 1970 (UTC), and what takes long to decode
    (``stored_...``) is decoded when it is asked for; what this version cannot read is as if it were not there.

    Args:
        key: How the journal finds it again.
        id: The run's own id.
        name: The name it was given.
        outcome: How it ended; None while it is under way, or when nobody has noticed yet that it died.
        host, pid, process_started: The process that it ran in; see :attr:`process`.
        started_at_s: When it started.
        ended_at_s: When it ended; None while it is under way, and of one that died.
        duration_s: How long it took; of one that died, to its last sign of life; None while it is under way.
        progress_at_s: When its last progress was noted; None without one.
        schedule: When it should run, as it was set; None without one.
        grace_s: How late a start may be by the schedule; None without one.
        max_duration_s: The longest it should take; None without a limit.
        stall_after_s: The longest it should be without progress; None without a limit.
        parent_id: The id of the run that it was nested in; None for an outermost one.
        user: Who ran it.
        python: The version of Python.
        log_path: Its log; None without one.
        exit_code: The code that the script asked for; None when it did not.
        cpu_s: Processor seconds that the process used during the run.
        peak_memory_bytes: The most memory that the process ever had.
        child_pid, child_started: The process of its program; see :attr:`child`.
        fingerprint: Equal for equal failures; None without one.
        machine: The id of the machine that it ran on; None where that was not noted.
        heartbeat_s: The longest that it was without a sign of life; None for a run that gives none.
        heartbeat_at_s: Its last sign of life that is no progress; None without one.
        boot: Names the start of its machine; None where that is not known.
        surroundings: How the journal finds what was around it; None where that is not known, or only its stamp is.
        stamp: What of that was looked up for a short run; None for others.
        is_gone: True when it had not ended when it was read, and its process had, or is lost.
        is_lost: True when it is only presumed to have died: nobody here can look, and its signs of life are missing.
        is_copied: True when it is gone, and the journal was restored from a copy since: it may have ended all the same.
    """

    @property
    def process(self) -> Process:
        """Return the process that it ran in."""
        return Process(self.host, self.pid, self.process_started, self.machine)

    @property
    def child(self) -> Process | None:
        """Return the process of the program that ``supervisor run`` has started; None for other runs."""
        return (
            None
            if self.child_pid is None
            else Process(self.host, self.child_pid, self.child_started or "", self.machine)
        )

    @property
    def last_sign_at_s(self) -> float:
        """Return the time of its last sign of life: its end, progress or start, or a later heartbeat."""
        return max(self.seen_at_s, self.heartbeat_at_s or 0.0)

    @property
    def last_sign_at(self) -> datetime:
        """Return the time of its last sign of life as a datetime."""
        return _instant(self.last_sign_at_s)

    @property
    def memory(self) -> MemoryUse | None:
        """Return the memory of its container at its last sign of life; None where no limit was known."""
        from supervisor._places.resources import MemoryUse

        memory = _decoded(self.stored_memory)
        return MemoryUse(*memory) if isinstance(memory, list) else None

    @property
    def seen_at_s(self) -> float:
        """Return its last sign of life: its end, its last progress, or its start."""
        if self.ended_at_s is not None:
            return self.ended_at_s
        return self.started_at_s + (self.duration_s or 0.0) if self.progress_at_s is None else self.progress_at_s

    @property
    def seen_at(self) -> datetime:
        """Return its last sign of life as a datetime."""
        return _instant(self.seen_at_s)

    @property
    def progress_at(self) -> datetime | None:
        """Return when its last progress was noted; None without one."""
        return None if self.progress_at_s is None else _instant(self.progress_at_s)

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the command line."""
        argv = _decoded(self.stored_argv)
        return tuple(argv) if isinstance(argv, list) else ()

    @property
    def values(self) -> dict[str, Any]:
        """Return what the script recorded."""
        values = _decoded(self.stored_values)
        return values if isinstance(values, dict) else {}

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings that were kept, without those in fields of their own."""
        settings = _decoded(self.stored_settings)
        return settings if isinstance(settings, dict) else {}

    @property
    def links(self) -> dict[str, str]:
        """Return the addresses of pages about it, by their titles."""
        links = _decoded(self.stored_links)
        return links if isinstance(links, dict) else {}

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """Return the first of what it was warned of."""
        from supervisor._models.values import RunWarning

        stored = _decoded(self.stored_warnings)
        first = stored.get("first", ()) if isinstance(stored, dict) else ()
        return tuple(each for each in first if isinstance(each, RunWarning))

    @property
    def warning_count(self) -> int:
        """Return how many warnings there were in all."""
        stored = _decoded(self.stored_warnings)
        return int(stored.get("count", 0)) if isinstance(stored, dict) else 0

    @property
    def retried(self) -> tuple[ErrorDetails, ...]:
        """Return the errors of the attempts before the last."""
        from supervisor._models.values import ErrorDetails

        retried = _decoded(self.stored_retried)
        return tuple(each for each in retried if isinstance(each, ErrorDetails)) if isinstance(retried, tuple) else ()

    @property
    def steps(self) -> tuple[RunStep, ...]:
        """Return its steps; while it is under way, and of one that died, only those that were under way."""
        from supervisor._models.values import RunStep

        stored = _decoded(self.stored_steps)
        steps = [each for each in stored if isinstance(each, RunStep)] if isinstance(stored, list) else []
        return tuple(each if each.outcome is not None else self._until_now(each) for each in steps)

    def _until_now(self, step: RunStep) -> RunStep:
        """Return a step that was under way, with how long it took up to the last sign of life of the run."""
        took_s = max(step.duration_s, self.last_sign_at_s - step.started_at.timestamp())
        return attrs.evolve(step, duration_s=took_s)

    @property
    def progress(self) -> Progress | None:
        """Return the last progress; None without one."""
        from supervisor._models.values import Progress

        progress = _decoded(self.stored_progress)
        return progress if isinstance(progress, Progress) else None

    @property
    def error(self) -> ErrorDetails | None:
        """Return what went wrong; None when nothing did."""
        from supervisor._models.values import ErrorDetails

        error = _decoded(self.stored_error)
        return error if isinstance(error, ErrorDetails) else None

    @property
    def report(self) -> RunReport:
        """Return all of it as a report; made once."""
        report: RunReport | None = self.__dict__.get("report_made")
        if report is None:
            report = self.__dict__["report_made"] = self._report()
        return report

    def _report(self) -> RunReport:
        from supervisor._models import Outcome
        from supervisor._models.values import RunReport

        return RunReport(
            id=self.id,
            name=self.name,
            outcome=None if self.outcome is None else Outcome(self.outcome),
            started_at=_instant(self.started_at_s),
            ended_at=None if self.ended_at_s is None else _instant(self.ended_at_s),
            duration_s=self.duration_s or 0.0,
            values=self.values,
            progress=self.progress,
            error=self.error,
            exit_code=self.exit_code,
            parent_id=self.parent_id,
            host=self.host,
            user=self.user,
            pid=self.pid,
            argv=self.argv,
            python=self.python,
            cpu_s=self.cpu_s,
            peak_memory_bytes=self.peak_memory_bytes,
            log_path=self.log_path,
            settings=self.settings,
            links=self.links,
            warnings=self.warnings,
            warning_count=self.warning_count,
            retried=self.retried,
            steps=self.steps,
        )


def _instant(seconds: float) -> datetime:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC)


def _decoded(data: bytes | None) -> Any:
    """Return what was stored; what this version cannot read is as if it were not there."""
    from supervisor._store.serialization import UnreadableError, load

    try:
        return None if data is None else load(data)
    except UnreadableError:
        return None


class PresumedDead(NamedTuple):
    """That a run was reported as died, since its signs of life were missing.

    Args:
        at_s: When, in seconds since 1970.
        notified: The names of the handlers that were notified.
    """

    at_s: float
    notified: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Return what takes the report back, in words."""
        from supervisor._text import local_time

        at = local_time(_instant(self.at_s))
        return f"It was reported as presumably dead at {at}, since it gave no sign of life; it was alive after all."


def presumed_dead_from(data: bytes | None) -> PresumedDead | None:
    """Return what a store has noted, None for nothing."""
    noted = _decoded(data)
    return PresumedDead(noted["at"], tuple(noted["notified"])) if isinstance(noted, dict) else None


class AlertRecord(NamedTuple):
    """Something that people were notified of, by a check or by the run itself.

    Args:
        key: What ``resolve_alert`` takes.
        kind: Stalled, overdue, missed or died.
        name: Of which runs.
        run_id: Of which run; "" where a start was missed.
        schedule: The schedule whose time was missed; None for other kinds.
        since: When it began: the first start that was missed, the last sign of life, the end of the time allowed.
        notified_at: When people were notified; of several stalls of a run, when they last were.
        times: How often it was so of this run.
        skipped: How often since people were notified.
        awaiting_recovery: The names of the handlers that are to be notified of the recovery; none where it was only
            printed.
        run: The run as it is now; None where a start was missed, and where the run is no longer kept.
    """

    key: int
    kind: Kind
    name: str
    run_id: str
    schedule: str | None
    since: datetime
    notified_at: datetime
    times: int
    skipped: int
    awaiting_recovery: tuple[str, ...]
    run: RunRecord | None


class LastCheck(NamedTuple):
    """When a check last ran, and when the machine has slept.

    Args:
        at: When the check before this one ran; None for the first one.
        sleeps: Until when, in seconds since 1970, and how many seconds the machine slept, as far as checks noticed.
    """

    at: datetime | None
    sleeps: tuple[tuple[float, float], ...]


class Streak(NamedTuple):
    """Failures in a row, up to the newest run that has ended.

    Args:
        failures: How many; 0 when the newest ended well.
        since: When the first of them started; None without one.
    """

    failures: int
    since: datetime | None


class Repeats(NamedTuple):
    """What people were notified of equal failures.

    Args:
        notified_at: When they last were of one; None when never.
        held_back: How many were held back since.
    """

    notified_at: datetime | None
    held_back: int


class DeliveryStatus(NamedTuple):
    """Where one delivery stands.

    Args:
        state: "pending", "sent", "failed", "dropped" or "passed" (on to another handler).
        attempts: How often it was tried.
        last_error: Why the last attempt failed; "" before the first failure.
    """

    state: str
    attempts: int
    last_error: str


class HeldDelivery(NamedTuple):
    """One delivery that is not to be sent before its time.

    Args:
        key: What ``release`` and ``drop_held`` take.
        handler: The name of the handler.
        subject: The message's headline.
        kind: What the message is about.
        created_at: When the message was written.
        until_s: Until when it is held, in seconds since 1970; the year 3000 for no set time.
        why: "mute", "quiet", "alert_after" or "several", since several scripts failed for one reason.
        name: The name of the runs that it is about; "" for none.
        reason: What failures for one reason have in common; None for other messages.
        message_id: The message's own id.
    """

    key: int
    handler: str
    subject: str
    kind: Kind
    created_at: datetime
    until_s: float
    why: str
    name: str
    reason: str | None
    message_id: str


class Mute(NamedTuple):
    """That nobody is to be notified of the runs of a name for a while.

    Args:
        name: The name of the runs.
        since: When they were muted.
        until: When that ends; None for no set time.
        until_ok: Whether the first success ends it.
    """

    name: str
    since: datetime
    until: datetime | None
    until_ok: bool


@attrs.frozen(kw_only=True)
class DestinationRest:
    """That a destination accepts nothing, so that all messages to it wait.

    Args:
        handler: The name of the handler.
        since: When it first failed.
        failures: How many attempts have failed since.
        next_in_s: Seconds until the next attempt; 0 when it is due or under way.
        last_error: Why the last attempt failed.
        waiting: How many deliveries wait for it.
        is_tried: True while somebody tries it.
        failing_s: For how many seconds attempts have failed; what lies between two of them counts a day at most.
        suspected: How many of the failures the message that was tried may have caused.
        other_next: True when the next attempt takes another message than the first.
    """

    handler: str
    since: datetime
    failures: int
    next_in_s: float
    last_error: str
    waiting: int
    is_tried: bool = False
    failing_s: float = 0.0
    suspected: int = 0
    other_next: bool = False


@attrs.frozen(kw_only=True)
class WaitingDelivery:
    """One delivery that is pending or failed, as people see it.

    Args:
        key: What ``retry`` and ``drop`` take.
        handler: The name of the handler.
        state: Pending or failed.
        subject: The message's headline.
        kind: What the message is about.
        message_id: The message's own id.
        created_at: When the message was written.
        attempts: How often it was tried.
        last_error: Why the last attempt failed; "" before the first failure.
        due_at: When it may be tried again; None when it failed for good.
        is_claimed: True while a living process is sending it.
    """

    key: int
    handler: str
    state: DeliveryState
    subject: str
    kind: Kind
    message_id: str
    created_at: datetime
    attempts: int
    last_error: str
    due_at: datetime | None
    is_claimed: bool


_ERRNO = re.compile(r"\[Errno \d+\]")


def reason_of(error: ErrorDetails) -> str | None:
    """Return what failures for one reason have in common: the type of a library's exception, or the place in a script.

    None for a program's exit code, which says nothing of the reason.
    """
    if " " in error.type:
        return None
    errno = _ERRNO.match(error.message)
    if errno is not None:  # "No space left on device", "Connection refused"
        return f"{error.type} {errno[0]}"
    return (error.type if "." in error.type else error.fingerprint) or None
