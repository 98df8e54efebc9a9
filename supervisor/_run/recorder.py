"""Write one run into the journal, and choose the outbox for its messages.

A journal that cannot be used is logged once, as a warning; the run then goes on with memory alone.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from supervisor import _exceptions, _log
from supervisor._models import SUCCEEDED
from supervisor._places import can_be_looked_up, outlasts_container
from supervisor._runtime import PREPARE_AFTER_S, preparation
from supervisor._settings import kept_of
from supervisor._store.essentials import EndedRun, JournalUnavailable, StartedRun, temporary_path, warn_once
from supervisor._store.memory import MemoryOutbox
from supervisor._text import counted, in_zone, local_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from supervisor._models import Outcome
    from supervisor._models.parts import AlertSummary, Past
    from supervisor._models.values import ErrorDetails, MessageDetails, Progress, RunStep
    from supervisor._redaction.run_redactor import RunRedactor
    from supervisor._run.changes import Changes
    from supervisor._run.state import RunState
    from supervisor._settings import Settings
    from supervisor._store import Outbox, Store, Streak
    from supervisor._store.essentials import Surroundings
    from supervisor._store.records import PresumedDead, RunRecord

T = TypeVar("T")

_MOST_BEFORE = 12
"""More failures before a run are not looked up for its message."""

HEARTBEAT_S = 60.0
"""How often a run gives a sign of life where it needs to and ``heartbeat_s`` says nothing."""


class Recorder:
    """Writes one run into the journal. After the journal's first fault only the end of the run is tried again.

    Where that fails too, the end is noted beside the journal.

    Args:
        run: The run; its setting ``journal`` says whether it is written to disk.
        redact: Removes secrets from its command line.
    """

    __slots__ = (
        "_heartbeat_s",
        "_is_finished",
        "_is_recorded",
        "_journal",
        "_redact",
        "_run",
        "_surroundings",
        "has_unfinished_runs",
        "outbox",
    )

    def __init__(self, run: RunState, redact: RunRedactor) -> None:
        self._run = run
        self._redact = redact
        self._journal = run.runtime.journal() if run.settings.journal else None
        self._is_recorded = self._is_finished = False
        self.has_unfinished_runs = False
        self._heartbeat_s: float | None = None
        self._surroundings: Surroundings | None = None
        self.outbox: Outbox = self._journal or MemoryOutbox()

    def start(self) -> bool:
        """Record that the run has started; return whether that succeeded."""
        joined = self._run.joined
        if self._journal is not None:
            try:
                if joined is None:
                    self._start(self._journal)
                elif joined.is_journalled:
                    self._journal.join_run(_started_run(self._run, self._redact))
                self._is_recorded = True
            except JournalUnavailable as error:
                self.stop_using_journal(error)
        return self._is_recorded

    def _start(self, journal: Store) -> None:
        run = self._run
        self._heartbeat_s = _heartbeat_interval_s(run.settings.heartbeat_s, self.state_directory)
        self.has_unfinished_runs = journal.start_run(_started_run(run, self._redact, self._heartbeat_s))
        if self._heartbeat_s is not None:
            from supervisor._run.heartbeat import heart

            heart.add(run.id, self._heartbeat_s, partial(journal.heartbeat, run.id))

    @property
    def journal(self) -> Store | None:
        """Return the journal if the run is recorded in it; None otherwise, and after a fault."""
        return self._journal if self._is_recorded else None

    def dead_runs(self) -> tuple[RunRecord, ...]:
        """Return the earlier runs of this name that never ended and whose process is gone or lost."""
        return self._ask(lambda journal: journal.died_runs(self._run.name), ())

    def alerts_of(self, run_id: str) -> AlertSummary | None:
        """Return how an earlier run had stalled or taken too long; None when that is not known."""
        from supervisor._alerts import summary_of

        return self._ask(lambda journal: summary_of(journal.alerts_of(run_id)), None)

    def mark_died(self, record: RunRecord, notified: Sequence[str], store: Callable[[], None]) -> None:
        """Record that a run died, in one commit with its message.

        Args:
            record: The run.
            notified: The names of the handlers that get the message.
            store: Stores the message; of all processes that find the run dead it is called in only one.
        """
        journal, lost = self._journal, record if record.is_lost else None
        if journal is not None:
            with self.faults_logged(), journal.one_commit():
                if journal.mark_died(record.id, lost=lost, notified=notified):
                    store()

    def presumed_dead(self) -> PresumedDead | None:
        """Return when this run was reported as died, and to whom; None when it was not.

        That can be so only of a run that gives signs of life.
        """
        if self._heartbeat_s is None:
            return None
        return self._ask(lambda journal: journal.presumed_dead(self._run.id), None)

    @property
    def state_directory(self) -> str:
        """Return the directory of the journal; "" without one."""
        return self._journal.directory if self._journal is not None else ""

    def set_child_pid(self, pid: int) -> None:
        """Record the process of the program that `supervisor run` started."""
        from supervisor._store.processes import process_of

        self._ask(lambda journal: journal.set_child_process(self._run.id, process_of(pid)), None)

    def earlier_runs(self, before: str) -> Past | None:
        """Return what is known of the runs of this name before one of them; None when nothing is.

        Args:
            before: The id of that run.
        """
        past = self._ask(lambda journal: journal.past(self._run.name, before=before), None)
        return None if past is not None and not past.runs and self._is_forgetful() else past

    def _is_forgetful(self) -> bool:
        """Return whether the journal will be gone with the container: that it has no runs says nothing then."""
        return self.state_directory == temporary_path() or not outlasts_container(self.state_directory)

    def links(self, links: Mapping[str, str]) -> None:
        """Record the addresses of pages about the run."""
        self._ask(lambda journal: journal.set_links(self._run.id, links), None)

    def steps(self, under_way: Sequence[RunStep]) -> None:
        """Record which steps of the run are under way; its end records all of them."""
        self._ask(lambda journal: journal.set_steps(self._run.id, under_way), None)

    def progress(self, progress: Progress) -> None:
        """Record how far the run is."""
        if self._run.joined is not None:
            self._run.joined.mark_alive()
        self._ask(lambda journal: journal.progress(self._run.id, progress), None)

    def finish(self, end: EndedRun, store: Callable[[str], None]) -> None:
        """Record how the run ended, in one commit with the messages about it.

        Args:
            end: How it ended.
            store: Stores the messages; called once. After a success its argument says in words how many runs of this
                name failed just before this one; otherwise, and when none did, it is "".
        """
        journal = self._journal_for_finish()
        if journal is None:
            store("")
            return
        is_stored = False
        end = end._replace(surroundings=self._around_at_end(end.outcome))
        try:
            with journal.one_commit():
                self.outbox = journal
                if self.is_finished_by_command():
                    is_recovery = end.outcome in SUCCEEDED
                else:
                    self._start_late(journal)
                    is_recovery = journal.end_run(self._run.id, end)
                before = journal.failures_since_success(self._run.name, before=self._run.id) if is_recovery else None
                is_stored = True
                store(_streak_text(before))
            self._is_finished = True
        except JournalUnavailable as error:
            self._note_end(journal, end, error)
            if not is_stored:
                store("")

    def finish_silently(self, end: EndedRun) -> None:
        """Record how the run ended, when no message is sent about it."""
        journal = self._journal_for_finish()
        if journal is None or self.is_finished_by_command():
            return
        end = end._replace(surroundings=self._around_at_end(end.outcome))
        try:
            if self._is_recorded:
                journal.end_run(self._run.id, end, asks=False)
            else:
                with journal.one_commit():
                    self._start_late(journal)
                    journal.end_run(self._run.id, end, asks=False)
            self._is_finished = True
        except JournalUnavailable as error:
            self._note_end(journal, end, error)

    def finish_after_fault(self) -> None:
        """Record how the run ended where reporting it failed, with what needs no further module; unless it is done."""
        run, journal = self._run, self._journal_for_finish()
        if self._is_finished or journal is None or self.is_finished_by_command():
            return
        assert run.outcome is not None  # it has ended
        assert run.ended_at_s is not None
        with self.faults_logged():  # an end that was rolled back has let the journal forget the run
            journal.join_run(StartedRun(run.id, run.name, run.started_at_s))
        self.finish_silently(EndedRun(run.outcome, run.ended_at_s, run.duration_s, exit_code=run.exit_code))

    def _start_late(self, journal: Store) -> None:
        """Record the start with the end, where the journal could not be written at the start."""
        if not self._is_recorded:
            journal.start_run(_started_run(self._run, self._redact))

    def _note_end(self, journal: Store, end: EndedRun, error: JournalUnavailable) -> None:
        """Note the end beside the journal, which does not take it: what succeeded must not be reported as died."""
        self.stop_using_journal(error)
        if self.is_finished_by_command():
            return
        try:
            journal.note_end(_started_run(self._run, self._redact), end)
        except JournalUnavailable as fault:
            _log.info("the end of %r could not be noted: it may be reported as died (%s)", self._run.name, fault)

    def _journal_for_finish(self) -> Store | None:
        if self._heartbeat_s is not None:
            from supervisor._run.heartbeat import heart

            heart.remove(self._run.id)
        # Opened again after a fault: a run without an end in the journal would be reported as died.
        if not self._run.settings.journal or (self._run.joined is not None and not self._is_recorded):
            return None
        return self._journal or self._run.runtime.journal()

    def is_finished_by_command(self) -> bool:
        """Return whether `supervisor run` records the end of the run, so that this process must not."""
        joined = self._run.joined
        return joined is not None and joined.parent_lives()

    def store_for(self, names: Sequence[str], details: MessageDetails) -> None:
        """Store a message for handlers that this run does not have; the next `supervisor check` sends it."""
        if names:
            self._ask(lambda journal: bool(journal.put(details, names)), otherwise=False)

    def failures_before(self) -> tuple[RunRecord, ...]:
        """Return the runs of this name that failed in a row before this one, newest first, a few at most."""

        def found(journal: Store) -> tuple[RunRecord, ...]:
            since = journal.failures_since_success(self._run.name, before=self._run.id).since
            if since is None:
                return ()
            since -= timedelta(milliseconds=1)  # a datetime has no more than microseconds
            runs = journal.runs(self._run.name, failed=True, since=since, limit=_MOST_BEFORE)
            return tuple(each for each in runs if each.id != self._run.id)

        return self._ask(found, ())

    def reached_by_alarms(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the handlers that get the recovery now: those that were notified of one of the alarms before."""
        return self._ask(lambda journal: tuple(journal.reached_by_alarms(names, self._run.name)), tuple(names))

    def look_around(self) -> None:
        """Find out what is around the run, and keep it in the journal; once.

        It takes some milliseconds when something has changed, so a thread of supervisor's does it once the run has
        lasted a second; only a run that fails sooner, or stands out, does it at its end.
        """
        journal, command = self.journal, self._run.facts.get("argv")
        if journal is None or self._surroundings is not None or self._run.joined is not None:
            return
        try:
            from supervisor._run.surroundings import surroundings_of, with_facts

            found = surroundings_of(command)
            if not journal.has_facts(found.stamp):
                found = with_facts(found, command)
            self._surroundings = journal.keep_surroundings(found)
        except Exception as error:  # noqa: BLE001 - the run's boundary: a script may leave anything around itself
            _log.info("what is around %r cannot be found out: %s: %s", self._run.name, type(error).__name__, error)

    def _around_at_end(self, outcome: Outcome) -> Surroundings | None:
        """Return what is around the run; of a short one that went well only what takes no time to look up.

        None where it cannot be had: the end of the run is recorded all the same.
        """
        is_long = self._run.duration_s >= PREPARE_AFTER_S and preparation().is_done
        if outcome not in SUCCEEDED or is_long:
            self.look_around()
        if self._surroundings is not None:
            return self._surroundings
        try:
            return _exceptions.least_surroundings(_script_of(self._run))
        except Exception as error:  # noqa: BLE001 - the run's boundary: a script may leave anything around itself
            _log.info("the files of %r cannot be looked at: %s: %s", self._run.name, type(error).__name__, error)
            return None

    def changes(self) -> Changes | None:
        """Return what is around this run and was not around the last good one of its name; None where none is known."""
        from supervisor._run.changes import changes_between

        def found(journal: Store) -> Changes | None:
            now = next(iter(journal.with_id(self._run.id, limit=1)), None)
            last = journal.successful_runs(self._run.name, limit=1, before=now.key) if now is not None else ()
            was = journal.surroundings_of(last[0]) if last else None
            if was is None or now is None or self._surroundings is None:
                return None
            return changes_between((last[0], was), (now, self._surroundings))

        self.look_around()
        return self._ask(found, None)

    def record_skipped(self) -> None:
        """Record that the run was skipped, start and end in one commit, so that nobody finds it unfinished."""
        journal = self._journal
        if journal is not None:
            with self.faults_logged(), journal.one_commit():
                journal.start_run(_started_run(self._run, self._redact))
                journal.end_run(self._run.id, finished_run(self._run, {}, None, None))

    def describe_other_run(self) -> str:
        """Return in words which run of this name is under way."""
        from supervisor._run.features import in_words, under_way

        with in_zone(self._run.settings.timezone):
            return in_words(self._ask(lambda journal: under_way(journal, self._run.name), None))

    def stop_using_journal(self, error: JournalUnavailable) -> None:
        """Log a fault of the journal, and do without it from now on."""
        warn_once(error)
        self._journal = None

    @contextmanager
    def faults_logged(self) -> Iterator[None]:
        """Log a fault that the journal has in the block, do without it from now on, and go on after the block."""
        try:
            yield
        except JournalUnavailable as error:
            self.stop_using_journal(error)

    def _ask(self, question: Callable[[Store], T], otherwise: T) -> T:
        """Return what the journal answers; or the other value, where there is no journal or it has a fault."""
        if self._journal is not None:
            with self.faults_logged():
                return question(self._journal)
        return otherwise

    def is_repeat(self, error: ErrorDetails) -> bool:
        """Return whether an equal failure was reported within ``repeat_after_s``; if so, count this one."""
        journal, within_s = self._journal, self._run.settings.repeat_after_s
        if journal is None or not within_s:
            return False
        with self.faults_logged():
            reported_at, _ = journal.repeats(self._run.name, error.fingerprint)
            now = datetime.fromtimestamp(self._run.runtime.clock(), UTC)
            if reported_at is None or now - reported_at >= timedelta(seconds=within_s):
                return False
            # After a success in between, the handlers were notified of the recovery: the next failure is news.
            in_this_run = reported_at.timestamp() >= self._run.started_at_s
            if in_this_run or journal.failures_since_success(self._run.name).failures:
                journal.mark_held_back(self._run.name, error.fingerprint)
                return True
        return False

    def describe_repeats(self, error: ErrorDetails) -> str:
        """Return how many equal failures were held back since the last one was reported, as a sentence; "" for none."""
        journal = self._journal
        if journal is None or not self._run.settings.repeat_after_s:
            return ""
        with self.faults_logged():
            reported_at, held_back = journal.repeats(self._run.name, error.fingerprint)
            if held_back and reported_at is not None:
                return f"{counted(held_back, 'equal failure')} since {local_time(reported_at)} were not reported."
        return ""

    def mark_reported(self, error: ErrorDetails) -> None:
        """Record that a failure is reported now, so that the next equal ones can be held back."""
        if self._run.settings.repeat_after_s:
            self._ask(lambda journal: journal.mark_notified(self._run.name, error.fingerprint), None)


def _heartbeat_interval_s(wanted_s: float | None, directory: str) -> float | None:
    """Return how often a run gives signs of life; None for never."""
    if wanted_s is not None:
        return wanted_s or None
    return None if can_be_looked_up(directory) else HEARTBEAT_S


def _streak_text(streak: Streak | None) -> str:
    if streak is None or streak.since is None:
        return ""
    from supervisor._messages.baseline import failures_sentence

    return failures_sentence(streak.failures, streak.since)


def _started_run(run: RunState, redact: RunRedactor, heartbeat_s: float | None = None) -> StartedRun:
    settings = run.settings
    return StartedRun(
        id=run.id,
        name=run.name,
        started_at_s=run.started_at_s,
        parent_id=run.parent_id,
        log_path=run.log_path,
        links=links_of(run, redact),
        user=_exceptions.user(),
        host=settings.host or _exceptions.host(),
        python=run.facts.get("python", _exceptions.python_version()),
        argv=redact.arguments(run.facts.get("argv", _exceptions.command_line())),
        schedule=_schedule_of(settings),
        max_duration_s=settings.max_duration_s,
        stall_after_s=settings.stall_after_s,
        grace_s=settings.grace_s if settings.schedule is not None else None,
        settings=redact.values(kept_of(settings)),
        heartbeat_s=heartbeat_s,
        script=_script_of(run),
    )


def _script_of(run: RunState) -> str | None:
    """Return the path of what runs: the program that `supervisor run` starts, where it is named by its path."""
    command = run.facts.get("argv")
    if command is None:
        return _exceptions.script_path()
    program = next(iter(command), "")
    return os.path.abspath(program) if os.path.dirname(program) else None  # noqa: PTH100, PTH120 - texts


def _schedule_of(settings: Settings) -> str | None:
    """Return the schedule of a run as the journal keeps it: with its time zone, which a check may not know."""
    if settings.schedule is None or settings.timezone is None:
        return settings.schedule
    from supervisor._schedules import with_zone

    return with_zone(settings.schedule, settings.timezone)


def links_of(run: RunState, redact: RunRedactor) -> Mapping[str, str]:
    """Return the addresses of pages about a run by their titles: what is found, what is set, what the script gave."""
    place, configured = _exceptions.place(), run.settings.links
    if not place.links and not configured and not run.links:
        return run.links or {}
    facts = {"run_id": run.id, "name": run.name, "host": run.settings.host or _exceptions.host()}
    facts |= dict(place.facts)
    return redact.values({**dict(place.links), **_filled_in(configured, facts), **(run.links or {})})


def _filled_in(links: Mapping[str, str], facts: Mapping[str, str]) -> dict[str, str]:
    """Return addresses with what is known in the place of its name in braces."""
    from urllib.parse import quote

    filled = {}
    for title, url in links.items():
        for name, text in facts.items():
            url = url.replace(f"{{{name}}}", quote(text, safe=""))  # noqa: PLW2901 - one name after the other
        filled[title] = url
    return filled


def finished_run(
    run: RunState, values: Mapping[str, Any], progress: Progress | None, error: ErrorDetails | None
) -> EndedRun:
    """Return the end of a run as the journal stores it; the arguments are redacted already."""
    assert run.outcome is not None  # it has ended
    assert run.ended_at_s is not None
    cpu_s, peak_memory_bytes = _exceptions.used()
    return EndedRun(
        outcome=run.outcome,
        ended_at_s=run.ended_at_s,
        duration_s=run.duration_s,
        values=values,
        progress=progress,
        error=error,
        exit_code=run.exit_code,
        cpu_s=run.facts.get("cpu_s", max(0.0, cpu_s - run.cpu_started_s)),
        peak_memory_bytes=run.facts.get("peak_memory_bytes", peak_memory_bytes),
        retried=run.retried,
    )
