"""What a run keeps in the journal, and the outbox that its messages wait in.

A journal that cannot be used is told of once, by a warning; the run then goes on with memory alone.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from supervisor import _exceptions
from supervisor._models.kinds import Outcome
from supervisor._store.contract import JournalUnavailable, warn_once
from supervisor._store.memory import MemoryOutbox
from supervisor._store.sqlite.runs import EndedRun, StartedRun
from supervisor._text import counted, local_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from supervisor._models.alerts import AlertSummary
    from supervisor._models.summary import Past
    from supervisor._models.values import ErrorDetails, MessageDetails, Progress
    from supervisor._redaction.run_redactor import RunRedactor
    from supervisor._run.state import RunState
    from supervisor._store import Journal, Outbox, Streak
    from supervisor._store.records import RunRecord


class Keeper:
    """Keeps one run. After the first fault of the journal it is left alone, but for the note of the end.

    Args:
        run: The run; its setting ``journal`` tells whether it is kept on disk.
        redact: Takes secrets out of its command line.
    """

    __slots__ = ("_began", "_journal", "_redact", "_run", "outbox", "some_are_unended")

    def __init__(self, run: RunState, redact: RunRedactor) -> None:
        self._run = run
        self._redact = redact
        self._journal = run.runtime.journal() if run.settings.journal else None
        self._began = False
        self.some_are_unended = False
        self.outbox: Outbox = self._journal or MemoryOutbox()

    def begin(self) -> bool:
        """Note that the run has started; return whether the journal took it."""
        joined = self._run.joined
        if self._journal is not None:
            try:
                if joined is None:
                    self.some_are_unended = self._journal.start_run(_started(self._run, self._redact))
                elif joined.is_journalled:
                    self._journal.join_run(_started(self._run, self._redact))
                self._began = True
            except JournalUnavailable as error:
                self.do_without(error)
        return self._began

    @property
    def journal(self) -> Journal | None:
        """Return the journal if it has the run; None where it does not, and after a fault."""
        return self._journal if self._began else None

    def died(self) -> tuple[RunRecord, ...]:
        """Return what is known of earlier runs of this name that never ended and whose process is gone."""
        if self._journal is not None:
            with self.fault_noted():
                return self._journal.died_runs(self._run.name)
        return ()

    def slow_before(self, run_id: str) -> AlertSummary | None:
        """Return how an earlier run had stalled or taken too long; None where that is not known."""
        from supervisor._alerts.state import slow_by

        if self._journal is not None:
            with self.fault_noted():
                return slow_by(self._journal.alerts_of(run_id))
        return None

    def mark_died(self, run_id: str, tell: Callable[[], None]) -> None:
        """Note that a run died, in one commit with its message.

        Args:
            run_id: The run.
            tell: Stores the message; it is called for one of all processes that find the same.
        """
        journal = self._journal
        if journal is not None:
            with self.fault_noted(), journal.one_commit():
                if journal.mark_died(run_id):
                    tell()

    @property
    def state(self) -> str:
        """Return the directory of the journal; "" without one."""
        return os.path.dirname(self._journal.path) if self._journal is not None else ""  # noqa: PTH120 - a text

    def program(self, pid: int) -> None:
        """Note the process of the program that the run stands for."""
        journal = self._journal
        if journal is not None:
            from supervisor._store.processes import process_of

            with self.fault_noted():
                journal.note_program(self._run.id, process_of(pid))

    def past(self, before: str) -> Past | None:
        """Return what came before a run of this name; None where that is not known.

        Args:
            before: The id of the run.
        """
        if self._journal is not None:
            with self.fault_noted():
                return self._journal.past(self._run.name, before=before)
        return None

    def progress(self, progress: Progress) -> None:
        """Note how far the run is."""
        journal, joined = self._journal, self._run.joined
        if joined is not None:
            joined.give_sign()
        if journal is not None:
            with self.fault_noted():
                journal.progress(self._run.id, progress)

    def end(self, end: EndedRun, tell: Callable[[str], None]) -> None:
        """Note how the run ended, in one commit with the messages that are stored meanwhile.

        Args:
            end: How it ended.
            tell: Stores the messages; called once. After a success it gets in words how many runs of this name
                failed just before this one; otherwise, and when none did, "".
        """
        journal = self._journal_of_end()
        if journal is None:
            tell("")
            return
        has_told = False
        try:
            with journal.one_commit():
                if self.is_ended_by_another():
                    is_recovery = end.outcome is Outcome.SUCCESS
                else:
                    is_recovery = journal.end_run(self._run.id, end)
                before = journal.failures_since_success(self._run.name, before=self._run.id) if is_recovery else None
                has_told = True
                tell(_in_words(before))
        except JournalUnavailable as error:
            self.do_without(error)
            if not has_told:
                tell("")

    def note_end(self, end: EndedRun) -> None:
        """Note how the run ended, where there is nobody to tell."""
        journal = self._journal_of_end()
        try:
            if journal is not None and not self.is_ended_by_another():
                journal.end_run(self._run.id, end, asks=False)
        except JournalUnavailable as error:
            self.do_without(error)

    def _journal_of_end(self) -> Journal | None:
        # Asked anew where it had a fault: a run without an end would be told as died.
        return (self._journal or self._run.runtime.journal()) if self._began else None

    def is_ended_by_another(self) -> bool:
        """Tell whether the end is not the program's to note, since `supervisor run` is there and does it."""
        joined = self._run.joined
        return joined is not None and joined.parent_lives()

    def put_for(self, names: Sequence[str], details: MessageDetails) -> None:
        """Store a message for handlers that only the configuration knows: the next check sends it."""
        journal = self._journal
        if journal is not None and names:
            with self.fault_noted():
                journal.put(details, names)

    def skip(self, end: EndedRun) -> None:
        """Note that the run was skipped: one commit, so that nobody finds it begun."""
        journal = self._journal
        if journal is not None:
            with self.fault_noted(), journal.one_commit():
                journal.start_run(_started(self._run, self._redact))
                journal.end_run(self._run.id, end)

    def other_run(self) -> str:
        """Return in words which run of this name is under way."""
        from supervisor._run.overlap import in_words, under_way

        journal = self._journal
        if journal is not None:
            with self.fault_noted():
                return in_words(under_way(journal, self._run.name))
        return in_words(None)

    def do_without(self, error: JournalUnavailable) -> None:
        """Tell of a fault of the journal, and leave it alone from now on."""
        warn_once(error)
        self._journal = None

    @contextmanager
    def fault_noted(self) -> Iterator[None]:
        """Do without the journal from now on if it has a fault in the block, and go on behind it."""
        try:
            yield
        except JournalUnavailable as error:
            self.do_without(error)

    def is_repeat(self, error: ErrorDetails) -> bool:
        """Tell whether an equal failure was told within ``repeat_after_s``, and count this one if so."""
        journal, within_s = self._journal, self._run.settings.repeat_after_s
        if journal is None or not within_s:
            return False
        with self.fault_noted():
            notified_at, _ = journal.repeats(self._run.name, error.fingerprint)
            if notified_at is None or datetime.now(UTC) - notified_at >= timedelta(seconds=within_s):
                return False
            # Whoever was told meanwhile that all is well again is to hear of the first failure after it.
            in_this_run = notified_at.timestamp() >= self._run.started_at_s
            if in_this_run or journal.failures_since_success(self._run.name).failures:
                journal.mark_held_back(self._run.name, error.fingerprint)
                return True
        return False

    def repeats_before(self, error: ErrorDetails) -> str:
        """Return in words how many equal failures were held back since one was told; "" when none was."""
        journal = self._journal
        if journal is None or not self._run.settings.repeat_after_s:
            return ""
        with self.fault_noted():
            notified_at, held_back = journal.repeats(self._run.name, error.fingerprint)
            if held_back and notified_at is not None:
                return f"{counted(held_back, 'equal failure')} since {local_time(notified_at)} stayed untold."
        return ""

    def mark_told(self, error: ErrorDetails) -> None:
        """Note that a failure is told now, so that the next equal ones can be held back."""
        journal = self._journal
        if journal is not None and self._run.settings.repeat_after_s:
            with self.fault_noted():
                journal.mark_notified(self._run.name, error.fingerprint)


def _in_words(streak: Streak | None) -> str:
    if streak is None or streak.since is None:
        return ""
    from supervisor._messages.baseline import failures_sentence

    return failures_sentence(streak.failures, streak.since)


def _started(run: RunState, redact: RunRedactor) -> StartedRun:
    # By position, here and below: of names Python makes a dict, which right after a commit takes a few microseconds.
    return StartedRun(
        run.id,
        run.name,
        run.started_at_s,
        run.parent_id,
        _exceptions.user(),
        redact.arguments(run.facts.get("argv", _exceptions.command_line())),
        run.facts.get("python", _exceptions.python_version()),
        run.log_path,
        run.settings.schedule,
        run.settings.max_duration_s,
        run.settings.stall_after_s,
        run.settings.grace_s if run.settings.schedule is not None else None,
    )


def end_of(run: RunState, values: Mapping[str, Any], progress: Progress | None, error: ErrorDetails | None) -> EndedRun:
    """Return what the journal keeps of a run that has ended; what it gets has no secrets any more."""
    assert run.outcome is not None  # it has ended
    assert run.ended_at_s is not None
    cpu_s, peak_memory_bytes = _exceptions.used()
    return EndedRun(
        run.outcome,
        run.ended_at_s,
        run.duration_s,
        values,
        progress,
        error,
        run.exit_code,
        run.facts.get("cpu_s", max(0.0, cpu_s - run.cpu_started_s)),
        run.facts.get("peak_memory_bytes", peak_memory_bytes),
    )
