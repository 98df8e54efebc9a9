"""Run a command as a supervised run."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from supervisor._cli.exec.child_watch import ChildWatch
from supervisor._cli.exec.command_name import target_of
from supervisor._cli.exec.exit_status import CannotStartError, ExitStatus
from supervisor._cli.exec.output import STDERR, STDOUT, OutputCopier
from supervisor._cli.exec.shared_run import SharedRun
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

    from supervisor._cli.exec.options import CommandLine
    from supervisor._cli.exec.output import DeferredOutput
    from supervisor._cli.exec.shared_run import ChildReport
    from supervisor._models.values import MessageHandler

FAILED, WRONG_USE = 1, 2
_REPORTED_FACTS = ("progress", "python", "log_path", "log_tail", "log_counts")


def run(line: CommandLine) -> int:
    """Run a command, and return the exit code for ``supervisor run``.

    It is the command's own; 128 plus the number of the signal that ended it; 124 after a timeout; 127 if the program
    is not found and 126 if it cannot be run; 2 if our own options are wrong; and 1 if an earlier run is still under
    way and ``overlap`` is "fail" (0 for "skip").
    """
    _open_standard_streams()
    target = target_of(line.command)
    active().look_from(target.file)
    options = dict(line.settings)
    try:
        settings = active().settings_for((options.pop("name", target.name),), options)
    except ConfigurationError as error:
        _print_error(str(error))
        return WRONG_USE
    command = _SupervisedCommand(line, Run(settings))
    try:
        with command.run:
            command.execute()
    except (CommandError, Terminated, KeyboardInterrupt):
        pass  # the run has reported it; the exit code is the command's, whatever happened after its end
    except RunSkipped:
        _print_error(f"{settings.name} is skipped: an earlier run is still under way")
        return 0
    except OverlapError as error:
        _print_error(str(error))
        return FAILED
    finally:
        command.close()
    return command.code


class _SupervisedCommand:
    """One command and the run that it is."""

    def __init__(self, line: CommandLine, run: Run) -> None:
        self.run = run
        self._state = state_of(run)
        self.code = FAILED
        self._line = line
        self._shared_run: SharedRun | None = None
        self._watch = ChildWatch(self._state, line.timeout_s, line.kill_after_s)
        self._output = OutputCopier(_deferred() if line.is_quiet else None)
        self._state.facts = {"argv": line.command, "python": ""}
        self._watch.listen()

    def close(self) -> None:
        """Release the output that was kept, and the directory that was shared."""
        self._output.close()
        if self._shared_run is not None:
            self._shared_run.close()

    def execute(self) -> None:
        """Start the command and wait for its end.

        Raises:
            CommandError: The command failed.
        """
        if self._watch.stop_signal:
            from supervisor._cli.exec.failure_text import stopped_before_start

            self._fail(stopped_before_start(self._watch.stop_signal))
        settings = self.run.settings
        self._shared_run = shared = SharedRun(
            id=self.run.id,
            name=self.run.name,
            is_journalled=settings.journal,
            has_lock=settings.overlap != "allow",
        )
        ended = self._run_child(shared)
        self._output.finish(was_stopped=self._watch.timed_out or self._watch.stop_signal > 0)
        self.code = ended.code
        self._state.facts = {**self._state.facts, "cpu_s": ended.cpu_s, "peak_memory_bytes": ended.peak_memory_bytes}
        child = shared.report()
        if child is not None:
            self._use_report(child)
        if child is not None or ended.code or self._watch.stop_signal or self._watch.timed_out:
            self._raise_for_failure(ended, child)

    def _run_child(self, shared: SharedRun) -> ExitStatus:
        pipes = {STDOUT: os.pipe()}
        if not _is_same_file(STDOUT, STDERR):  # where they are the same, one pipe keeps their order
            pipes[STDERR] = os.pipe()
        try:
            child = start(self._line.command, pipes[STDOUT][1], pipes.get(STDERR, pipes[STDOUT])[1], shared.variables)
        except CannotStartError as error:
            from supervisor._cli.exec.failure_text import failed_to_start

            for readable, _ in pipes.values():
                os.close(readable)
            _print_error(str(error))
            self._fail(failed_to_start(error))
        finally:
            for _, writable in pipes.values():
                os.close(writable)
        self._state.facts = {**self._state.facts, "pid": child.pid}
        for stream, (readable, _) in pipes.items():
            self._output.copy(readable, stream)
        set_child_pid(self._state, child.pid)
        return self._watch.wait(child, self._output, shared)

    def _use_report(self, child: ChildReport) -> None:
        """Add what a Python program that joined has reported to the run."""
        known = {name: getattr(child.report, name) for name in _REPORTED_FACTS}
        self._state.facts = {**self._state.facts, **{name: value for name, value in known.items() if value}}
        self.run.record(**{str(name): value for name, value in child.report.values.items()})
        for attachment in (child.report.log_path, *child.attachments):
            if attachment is not None and str(attachment) != self.run.settings.log_path:
                self.run.attach(attachment)
        self._state.notified = {kind: tuple(self._handlers(names)) for kind, names in child.notified.items()}

    def _handlers(self, names: frozenset[str]) -> Iterable[MessageHandler]:
        """Yield those of our handlers that have one of these names."""
        from supervisor._delivery.dispatcher import handler_name

        return (each for each in self.run.settings.handlers if handler_name(each) in names)

    def _raise_for_failure(self, ended: ExitStatus, child: ChildReport | None) -> None:
        from supervisor._cli.exec.failure_text import failure_of

        output, watch = self._output, self._watch
        error = failure_of(
            ended,
            stop_signal=watch.stop_signal,
            overdue=str(self._state.overdue or ""),
            timed_out_after_s=self._line.timeout_s if watch.timed_out else None,
            child=child,
            lines=output.lines(),
            last_error="".join(output.lines(1, only=STDOUT if _is_same_file(STDOUT, STDERR) else STDERR)),
        )
        if error is not None:
            output.replay()
            if watch.timed_out:
                _print_error(f"{self.run.name} {error.details.type}")
            self._fail(error)

    def _fail(self, error: CommandError) -> None:
        self.code = error.exit_code
        raise error


def _deferred() -> DeferredOutput:
    from supervisor._cli.exec.output import DeferredOutput

    return DeferredOutput()


def _open_standard_streams() -> None:
    """Open the null device for each standard stream that is closed: our pipes would get its number otherwise."""
    if sys.platform == "win32":
        return
    for descriptor in (0, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the new descriptor gets the lowest free number


def _is_same_file(one: int, other: int) -> bool:
    """Tell whether two descriptors lead to the same file, pipe or terminal."""
    if sys.platform == "win32":
        return False
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _print_error(text: str) -> None:
    """Print what is wrong to stderr, if there is one."""
    if sys.stderr is not None:
        try:
            print(f"supervisor: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the command's own error text
        except (OSError, ValueError):
            return
