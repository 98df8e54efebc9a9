"""Run a command as a supervised run: ``supervisor run``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from supervisor._cli.exec.child_watch import Watch
from supervisor._cli.exec.command_name import target_of
from supervisor._cli.exec.exit_status import CannotStartError, Ended
from supervisor._cli.exec.offer import Offer
from supervisor._cli.exec.output import STDERR, STDOUT, Output
from supervisor._config.active import active
from supervisor._run.boundary import set_child_pid
from supervisor._run.decorators import Run
from supervisor._run.run import state_of
from supervisor._run.signals import CommandError, Terminated
from supervisor.errors import ConfigurationError, OverlapError, RunSkipped

if sys.platform == "win32":
    from supervisor._cli.exec.windows import start
else:
    from supervisor._cli.exec.posix import start

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._cli.exec.offer import Note
    from supervisor._cli.exec.options import Asked
    from supervisor._cli.exec.output import Spool
    from supervisor._models.values import MessageHandler

FAILED, WRONG_USE = 1, 2
_FACTS_OF_NOTE = ("progress", "python", "log_path", "log_tail", "log_counts")


def run(asked: Asked) -> int:
    """Run a command, and return the exit code that is to be ours.

    That is the command's own, 128 and the number of the signal that ended it, 124 after a timeout, 127 and 126 when
    it is not found or cannot be run; 2 when our own options are wrong, 1 when an earlier run is still under way and
    ``overlap="fail"`` (0 with "skip").
    """
    _fill_standard_streams()
    target = target_of(asked.command)
    active().look_from(target.file)
    options = dict(asked.settings)
    try:
        settings = active().settings_for((options.pop("name", target.name),), options)
    except ConfigurationError as error:
        _complain(str(error))
        return WRONG_USE
    command = _Command(asked, Run(settings))
    try:
        with command.run:
            command.carry_out()
    except (CommandError, Terminated, KeyboardInterrupt):
        pass  # the run has told of it; what the command ended with counts, whatever came after it
    except RunSkipped:
        _complain(f"{settings.name} is skipped: an earlier run is still under way")
        return 0
    except OverlapError as error:
        _complain(str(error))
        return FAILED
    finally:
        command.close()
    return command.code


class _Command:
    """One command that is carried out as a run."""

    def __init__(self, asked: Asked, run: Run) -> None:
        self.run = run
        self._state = state_of(run)
        self.code = FAILED
        self._asked = asked
        self._offer: Offer | None = None
        self._watch = Watch(self._state, asked.timeout_s, asked.kill_after_s)
        self._output = Output(_spool() if asked.is_quiet else None)
        self._state.facts = {"argv": asked.command, "python": ""}
        self._watch.listen()

    def close(self) -> None:
        """Let go of all that it needed."""
        self._output.close()
        if self._offer is not None:
            self._offer.close()

    def carry_out(self) -> None:
        """Start the command and wait for its end.

        Raises:
            CommandError: It did not end well.
        """
        if self._watch.asked_by:
            from supervisor._cli.exec.failure_text import never_started

            self._fail(never_started(self._watch.asked_by))
        settings = self.run.settings
        self._offer = offer = Offer(
            id=self.run.id,
            name=self.run.name,
            is_journalled=settings.journal,
            has_lock=settings.overlap != "allow",
        )
        ended = self._started_and_ended(offer)
        self._output.finish(was_stopped=self._watch.timed_out or self._watch.asked_by > 0)
        self.code = ended.code
        self._state.facts = {**self._state.facts, "cpu_s": ended.cpu_s, "peak_memory_bytes": ended.peak_memory_bytes}
        note = offer.note()
        if note is not None:
            self._take_over(note)
        if note is not None or ended.code or self._watch.asked_by or self._watch.timed_out:
            self._judge(ended, note)

    def _started_and_ended(self, offer: Offer) -> Ended:
        pipes = {STDOUT: os.pipe()}
        if not _is_one(STDOUT, STDERR):  # else one pipe keeps the order between them
            pipes[STDERR] = os.pipe()
        try:
            child = start(self._asked.command, pipes[STDOUT][1], pipes.get(STDERR, pipes[STDOUT])[1], offer.variables)
        except CannotStartError as error:
            from supervisor._cli.exec.failure_text import not_started

            for readable, _ in pipes.values():
                os.close(readable)
            _complain(str(error))
            self._fail(not_started(error))
        finally:
            for _, writable in pipes.values():
                os.close(writable)
        self._state.facts = {**self._state.facts, "pid": child.pid}
        for stream, (readable, _) in pipes.items():
            self._output.copy(readable, stream)
        set_child_pid(self._state, child.pid)
        return self._watch.wait(child, self._output, offer)

    def _take_over(self, note: Note) -> None:
        """Make what a Python program knew of its run the run's."""
        known = {name: getattr(note.report, name) for name in _FACTS_OF_NOTE}
        self._state.facts = {**self._state.facts, **{name: value for name, value in known.items() if value}}
        self.run.record(**{str(name): value for name, value in note.report.values.items()})
        for attachment in (note.report.log_path, *note.attachments):
            if attachment is not None and str(attachment) != self.run.settings.log_path:
                self.run.attach(attachment)
        self._state.notified = {kind: tuple(self._handlers(names)) for kind, names in note.notified.items()}

    def _handlers(self, names: frozenset[str]) -> Iterable[MessageHandler]:
        """Yield those of our handlers that have one of these names."""
        from supervisor._delivery.dispatcher import handler_name

        return (each for each in self.run.settings.handlers if handler_name(each) in names)

    def _judge(self, ended: Ended, note: Note | None) -> None:
        from supervisor._cli.exec.failure_text import ending_of

        output, watch = self._output, self._watch
        error = ending_of(
            ended,
            asked_by=watch.asked_by,
            overdue=str(self._state.overdue or ""),
            timed_out_after_s=self._asked.timeout_s if watch.timed_out else None,
            note=note,
            lines=output.lines(),
            last_error="".join(output.lines(1, only=STDOUT if _is_one(STDOUT, STDERR) else STDERR)),
        )
        if error is not None:
            output.replay()
            if watch.timed_out:
                _complain(f"{self.run.name} {error.details.type}")
            self._fail(error)

    def _fail(self, error: CommandError) -> None:
        self.code = error.exit_code
        raise error


def _spool() -> Spool:
    from supervisor._cli.exec.output import Spool

    return Spool()


def _fill_standard_streams() -> None:
    """Put the null device where a standard stream is closed, or our pipes would get its number."""
    if sys.platform == "win32":
        return
    for descriptor in (0, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free


def _is_one(one: int, other: int) -> bool:
    """Tell whether two descriptors are of the same file, pipe or terminal."""
    if sys.platform == "win32":
        return False
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _complain(text: str) -> None:
    """Say what is wrong, where there is somebody to read it."""
    if sys.stderr is not None:
        try:
            print(f"supervisor: {text}", file=sys.stderr, flush=True)  # noqa: T201 - to whoever called us
        except (OSError, ValueError):
            return
