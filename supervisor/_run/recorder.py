"""Write one run into the journal, and choose the outbox for its messages.

A journal that cannot be used is logged once, as a warning; the run then goes on with memory alone.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from supervisor import _exceptions, _log
from supervisor._models.kinds import Outcome
from supervisor._store.essentials import EndedRun, JournalUnavailable, StartedRun, warn_once
from supervisor._store.memory import MemoryOutbox
from supervisor._text import counted, local_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from supervisor._models.alerts import AlertSummary
    from supervisor._models.parts import Past
    from supervisor._models.values import ErrorDetails, MessageDetails, Progress
    from supervisor._redaction.run_redactor import RunRedactor
    from supervisor._run.state import RunState
    from supervisor._store import Outbox, Store, Streak
    from supervisor._store.records import RunRecord

T = TypeVar("T")


class Recorder:
    """Writes one run into the journal. After the journal's first fault only the end of the run is tried again.

    Where that fails too, the end is noted beside the journal.

    Args:
        run: The run; its setting ``journal`` says whether it is written to disk.
        redact: Removes secrets from its command line.
    """

    __slots__ = ("_is_finished", "_is_recorded", "_journal", "_redact", "_run", "has_unfinished_runs", "outbox")

    def __init__(self, run: RunState, redact: RunRedactor) -> None:
        self._run = run
        self._redact = redact
        self._journal = run.runtime.journal() if run.settings.journal else None
        self._is_recorded = self._is_finished = False
        self.has_unfinished_runs = False
        self.outbox: Outbox = self._journal or MemoryOutbox()

    def start(self) -> bool:
        """Record that the run has started; return whether that succeeded."""
        joined = self._run.joined
        if self._journal is not None:
            try:
                if joined is None:
                    self.has_unfinished_runs = self._journal.start_run(_started_run(self._run, self._redact))
                elif joined.is_journalled:
                    self._journal.join_run(_started_run(self._run, self._redact))
                self._is_recorded = True
            except JournalUnavailable as error:
                self.stop_using_journal(error)
        return self._is_recorded

    @property
    def journal(self) -> Store | None:
        """Return the journal if the run is recorded in it; None otherwise, and after a fault."""
        return self._journal if self._is_recorded else None

    def dead_runs(self) -> tuple[RunRecord, ...]:
        """Return the earlier runs of this name that never ended and whose process is gone."""
        return self._ask(lambda journal: journal.died_runs(self._run.name), ())

    def alerts_of(self, run_id: str) -> AlertSummary | None:
        """Return how an earlier run had stalled or taken too long; None when that is not known."""
        from supervisor._alerts.run_alerts import summary_of

        return self._ask(lambda journal: summary_of(journal.alerts_of(run_id)), None)

    def mark_died(self, run_id: str, store: Callable[[], None]) -> None:
        """Record that a run died, in one commit with its message.

        Args:
            run_id: The run.
            store: Stores the message; of all processes that find the run dead it is called in only one.
        """
        journal = self._journal
        if journal is not None:
            with self.faults_logged(), journal.one_commit():
                if journal.mark_died(run_id):
                    store()

    @property
    def state_directory(self) -> str:
        """Return the directory of the journal; "" without one."""
        return os.path.dirname(self._journal.path) if self._journal is not None else ""  # noqa: PTH120 - a text

    def set_child_pid(self, pid: int) -> None:
        """Record the process of the program that the run stands for."""
        from supervisor._store.processes import process_of

        self._ask(lambda journal: journal.set_child_process(self._run.id, process_of(pid)), None)

    def earlier_runs(self, before: str) -> Past | None:
        """Return what is known of the runs of this name before one of them; None when nothing is.

        Args:
            before: The id of that run.
        """
        return self._ask(lambda journal: journal.past(self._run.name, before=before), None)

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
        try:
            with journal.one_commit():
                if self.is_finished_by_command():
                    is_recovery = end.outcome is Outcome.SUCCESS
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
        """Return in words how many equal failures were not reported since the last that was; "" for none."""
        journal = self._journal
        if journal is None or not self._run.settings.repeat_after_s:
            return ""
        with self.faults_logged():
            reported_at, held_back = journal.repeats(self._run.name, error.fingerprint)
            if held_back and reported_at is not None:
                return f"{counted(held_back, 'equal failure')} since {local_time(reported_at)} stayed untold."
        return ""

    def mark_reported(self, error: ErrorDetails) -> None:
        """Record that a failure is reported now, so that the next equal ones can be held back."""
        if self._run.settings.repeat_after_s:
            self._ask(lambda journal: journal.mark_notified(self._run.name, error.fingerprint), None)


def _streak_text(streak: Streak | None) -> str:
    if streak is None or streak.since is None:
        return ""
    from supervisor._messages.baseline import failures_sentence

    return failures_sentence(streak.failures, streak.since)


def _started_run(run: RunState, redact: RunRedactor) -> StartedRun:
    settings = run.settings
    return StartedRun(
        id=run.id,
        name=run.name,
        started_at_s=run.started_at_s,
        parent_id=run.parent_id,
        user=_exceptions.user(),
        argv=redact.arguments(run.facts.get("argv", _exceptions.command_line())),
        python=run.facts.get("python", _exceptions.python_version()),
        log_path=run.log_path,
        schedule=settings.schedule,
        max_duration_s=settings.max_duration_s,
        stall_after_s=settings.stall_after_s,
        grace_s=settings.grace_s if settings.schedule is not None else None,
        settings=redact.values(settings.kept),
    )


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
    )
