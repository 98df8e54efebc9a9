"""Run a command as a supervised run: start the program, wait for its end, and report it.

While it runs, signals are forwarded to it, its time is limited, and its signs of life are noted.
"""

from __future__ import annotations

import os
import signal
import sys
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._cli.exec import program_of
from supervisor._cli.exec.output import STDERR, STDOUT, OutputCopier
from supervisor._cli.exec.program import (
    ERROR_LINES,
    NOT_EXECUTABLE,
    NOT_FOUND,
    CannotStartError,
    ExitStatus,
    SharedRun,
)
from supervisor._config import active
from supervisor._exceptions import in_brief
from supervisor._models import Kind, Outcome
from supervisor._run import state_of
from supervisor._run.decorators import Run
from supervisor._run.lifecycle import note_output, set_child_pid
from supervisor._run.process_events import CommandError, Terminated
from supervisor.errors import ConfigurationError, OverlapError, RunSkipped, SupervisorError

if sys.platform == "win32":
    from supervisor._cli.exec.windows import STOP_SIGNALS, SignalForwarder, start
else:
    from supervisor._cli.exec.posix import STOP_SIGNALS, SignalForwarder, start

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from supervisor._cli.exec import CommandLine
    from supervisor._cli.exec.output import DeferredOutput
    from supervisor._cli.exec.program import ChildReport
    from supervisor._models.values import MessageHandler
    from supervisor._places.resources import MemoryUse
    from supervisor._run.state import RunState
    from supervisor._settings import Settings

    if sys.platform == "win32":
        from supervisor._cli.exec.windows import Child
    else:
        from supervisor._cli.exec.posix import Child

FAILED, WRONG_USE = 1, 2
_REPORTED_FACTS = ("progress", "python", "log_path", "log_tail", "log_warnings", "log_counts", "steps", "tables")
_TERMINAL_SIGNALS = {signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGINT)}
_POLL_EVERY_S = 0.05
_ACTIVITY_EVERY_S = 1.0
_NOTE_EVERY_S = 10.0


def run(line: CommandLine) -> int:
    """Run a command, and return the exit code for ``supervisor run``.

    It is the command's own; 128 plus the number of the signal that ended it; 124 after a timeout; 127 if the program
    is not found and 126 if it cannot be run; 2 if our own options are wrong; and 1 if an earlier run is still under
    way and ``overlap`` is "fail" (0 for "skip").
    """
    _open_standard_streams()
    target = program_of(line.command)
    active().look_from(target.file)
    options = dict(line.settings)
    try:
        settings = active().settings_for((options.pop("name", target.name),), options)
        _refuse_idle_codes(line.retry_codes, settings)
    except ConfigurationError as error:
        _print_error(str(error))
        return WRONG_USE
    if line.is_dry_run:
        settings = attrs.evolve(settings, send="console", journal=False)
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
    if line.is_dry_run:
        _print_error(_end_of_dry_run(command.run))
    return command.code


def _refuse_idle_codes(retry_codes: Collection[int], settings: Settings) -> None:
    """Refuse exit codes after which the program should start again, but never would.

    Raises:
        ConfigurationError: It is never started again, or one of them is no failure.
    """
    if retry_codes and not settings.retries and not active().loaded.problems:  # one of them may be that of retries
        raise ConfigurationError("--retry-codes needs --retries, or retries in the configuration of this run")
    if both := sorted({*retry_codes} & {*settings.warn_exit_codes}):
        codes = ", ".join(map(str, both))
        raise ConfigurationError(
            f"exit code {codes} cannot be both in --retry-codes and a warning (--warn-codes): it is no failure then"
        )


def _end_of_dry_run(run: Run) -> str:
    """Return what a dry run came to: that nothing was sent, and who would get a failure."""
    from supervisor._run.unsent import StandIn

    names = [name for each in run.settings.handlers if isinstance(each, StandIn) for name in each.names(Kind.FAILURE)]
    who = f"its failures go to {', '.join(names)}" if names else "no handler gets its failures"
    return f"dry run of {run.name} ({run.outcome}): nothing was sent, and nothing is kept; {who}"


def _variables_of_dry_run() -> dict[str, str]:
    from supervisor._run.unsent import IN_DRY_RUN  # only a dry run loads what messages take

    return IN_DRY_RUN


class _SupervisedCommand:
    """One command and the run that it is."""

    def __init__(self, line: CommandLine, run: Run) -> None:
        self.run = run
        self._state = state_of(run)
        self.code = FAILED
        self._oom_kills = 0
        self._line = line
        self._shared_run: SharedRun | None = None
        self._watch = ChildWatch(self._state, line.timeout_s, line.kill_after_s)
        self._deferred = _deferred() if line.is_quiet else None
        self._output = OutputCopier(self._deferred)
        self._state.facts = {"argv": line.command, "python": ""}
        self._watch.listen()

    def close(self) -> None:
        """Release the output that was kept, and the directory that was shared."""
        self._output.close()
        if self._shared_run is not None:
            self._shared_run.close()

    def execute(self) -> None:
        """Start the command and wait for its end, and do so again if it fails, as often as the settings allow.

        Raises:
            CommandError: The command failed.
        """
        while True:
            try:
                self._attempt()
            except CommandError as error:
                if not self._is_tried_again(error):
                    raise
                failed = error
            else:
                return
            self._wait_after(failed)

    def _is_tried_again(self, error: CommandError) -> bool:
        state, watch, codes = self._state, self._watch, self._line.retry_codes
        if not state.settings.retries or error.outcome is not Outcome.FAILURE:
            return False
        if watch.stop_signal or watch.timed_out or not attempts().has_attempts_left(state):
            return False
        code = error.exit_code or 1  # of a program that reported a failure, and exits with 0
        return code in codes if codes else code not in (NOT_EXECUTABLE, NOT_FOUND)

    def _wait_after(self, failed: CommandError) -> None:
        """Wait until the program is to be started again.

        Raises:
            CommandError: The run was ended meanwhile.
        """
        state, watch = self._state, self._watch
        details = in_brief(failed.details)
        wait_s = attempts().note_failed_attempt(state, details, is_quiet=self._line.is_quiet)
        if not watch.pause(wait_s, lambda: attempts().note_wait(state)):
            from supervisor._cli.exec.program import stopped_while_waiting

            limit_s = self._line.timeout_s if watch.timed_out else None
            overdue = str(state.overdue or "")
            self._fail(stopped_while_waiting(stop_signal=watch.stop_signal, overdue=overdue, timed_out_after_s=limit_s))
        attempts().forget_attempt(state)
        state.notified = {}
        state.facts = {"argv": self._line.command, "python": ""}
        if self._shared_run is not None:
            self._shared_run.close()
        self._output = OutputCopier(self._deferred)

    def _attempt(self) -> None:
        """Start the command and wait for its end.

        Raises:
            CommandError: The command failed.
        """
        if self._watch.stop_signal:
            from supervisor._cli.exec.program import stopped_before_start

            self._fail(stopped_before_start(self._watch.stop_signal))
        settings = self.run.settings
        self._shared_run = shared = SharedRun(
            id=self.run.id,
            name=self.run.name,
            is_journalled=settings.journal,
            has_lock=settings.overlap != "allow",
            warn_exit_codes=settings.warn_exit_codes,
            tries_again=self._line.retry_codes if settings.retries > len(self._state.retried) else None,
            has_retries=settings.retries > 0,
            retried=self._state.retried,
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
            variables = shared.variables | (_variables_of_dry_run() if self._line.is_dry_run else {})
            child = start(self._line.command, pipes[STDOUT][1], pipes.get(STDERR, pipes[STDOUT])[1], variables)
        except CannotStartError as error:
            from supervisor._cli.exec.program import failed_to_start

            for readable, _ in pipes.values():
                os.close(readable)
            _print_error(str(error))
            self._fail(failed_to_start(error))
        finally:
            for _, writable in pipes.values():
                os.close(writable)
        shared.announce(child.pid)
        use = _memory_use()
        self._oom_kills = use.oom_kills if use is not None else 0
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
        if child.report.warning_count:
            from supervisor._run.run_warnings import warnings_of

            warnings_of(self._state).add_all(child.report.warnings, child.report.warning_count)
        for attachment in (child.report.log_path, *child.attachments):
            if attachment is not None and str(attachment) != self.run.settings.log_path:
                self.run.attach(attachment)
        self._state.notified = {kind: tuple(self._handlers(names)) for kind, names in child.notified.items()}

    def _handlers(self, names: frozenset[str]) -> Iterable[MessageHandler]:
        """Yield those of our handlers that have one of these names."""
        from supervisor._delivery import handler_name

        return (each for each in self.run.settings.handlers if handler_name(each) in names)

    def _raise_for_failure(self, ended: ExitStatus, child: ChildReport | None) -> None:
        from supervisor._cli.exec.program import failure_of

        output, watch = self._output, self._watch
        error = failure_of(
            ended,
            stop_signal=watch.stop_signal,
            overdue=str(self._state.overdue or ""),
            timed_out_after_s=self._line.timeout_s if watch.timed_out else None,
            child=child,
            lines=output.lines(),
            errors=output.lines(ERROR_LINES, only=STDOUT if _is_same_file(STDOUT, STDERR) else STDERR),
            warn_exit_codes=self.run.settings.warn_exit_codes,
            oom_limit_bytes=self._oom_limit_bytes() if ended.code else None,
        )
        if error is not None and error.outcome in (Outcome.SKIPPED, Outcome.WARNING):
            self._fail(error)
        if error is not None:
            output.replay(self._save_output)
            if watch.timed_out:
                _print_error(f"{self.run.name} {error.details.type}")
            self._fail(error)

    def _oom_limit_bytes(self) -> int | None:
        """Return how much memory there may be, where the kernel has killed a process here since the program started."""
        use = _memory_use()
        return use.limit_bytes if use is not None and use.oom_kills > self._oom_kills else None

    def _save_output(self, pieces: Iterable[bytes]) -> str:
        """Write the whole output of a quiet command beside the logs of runs, where the oldest are deleted in time."""
        from supervisor._store import files

        run = self._state
        if not run.settings.journal:  # nothing of this run is to stay on the disk
            return ""
        try:
            directory = os.path.join(run.runtime.state_path(), "logs")  # noqa: PTH118 - pathlib costs 3 ms
            file = files.create(directory, run.name, f"{run.id}-output", run.started_at_s)
            with open(file.descriptor, "wb") as whole:  # noqa: PTH123 - a descriptor
                whole.writelines(pieces)
        except (OSError, SupervisorError) as error:
            _print_error(f"the whole output cannot be kept: {error}")
            return ""
        files.prune(file.path)
        return file.path

    def _fail(self, error: CommandError) -> None:
        self.code = FAILED if error.exit_code is None else error.exit_code
        raise error


def attempts() -> Any:
    """Return the module that knows when to try again; a command without retries does without it."""
    from supervisor._run import attempts as module

    return module


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


def _memory_use() -> MemoryUse | None:
    from supervisor._places.resources import memory_use  # loaded while the program runs: it does not wait for that

    return memory_use()


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


class ChildWatch:
    """Watches one program.

    Args:
        run: The state of the run that the program is.
        timeout_s: Seconds after which the program is asked to end; None for no limit.
        kill_after_s: Seconds from that request until it is killed.
    """

    def __init__(self, run: RunState, timeout_s: float | None, kill_after_s: float) -> None:
        self.stop_signal = 0
        self.timed_out = False
        self._run = run
        self._timeout_s = timeout_s
        self._kill_after_s = kill_after_s
        self._due_s: float | None = None
        self._deadline_s: float | None = None
        self._child: Child | None = None
        self._early_signals: list[int] = []
        self._has_ended = False
        self._signals = SignalForwarder(self._forward)
        self._last_activity = 0
        self._activity_due_s = 0.0

    def listen(self) -> None:
        """Receive signals from now on."""
        self._signals.listen()

    def pause(self, seconds: float, note: Callable[[], None]) -> bool:
        """Wait before the program is started again; return False if the run is to end instead.

        Args:
            seconds: How long.
            note: Records that the run waits; called every ten seconds.
        """
        self._child, self._has_ended, self._early_signals = None, False, []
        self.stop_signal = self.stop_signal or self._run.signum  # of one that came since the program ended
        ends_s, noted_s = monotonic() + seconds, 0.0
        try:
            while not self.stop_signal and (left_s := ends_s - monotonic()) > 0:
                if self._deadline_s is not None and monotonic() >= self._deadline_s:
                    self.timed_out = True
                    break
                self._run.mark_alive()
                if monotonic() - noted_s >= _NOTE_EVERY_S:
                    noted_s = monotonic()
                    note()
                self._signals.wait(min(left_s, _ACTIVITY_EVERY_S))
        except KeyboardInterrupt:  # raised by the watchdog, for a limit of the run
            if self._run.overdue is None:
                raise
        return not (self.stop_signal or self.timed_out or self._run.overdue is not None)

    def wait(self, child: Child, output: OutputCopier, shared: SharedRun) -> ExitStatus:
        """Wait for a program to end, and return its exit status.

        Args:
            child: The program.
            output: Its output.
            shared: The run that is shared with it: tells whether the program has joined, and when it was active.
        """
        self._child = child
        if sys.platform == "win32":
            self._signals.child = child
        for number in self._early_signals:  # received while the program was being started
            self._send(child, number)
        if self._timeout_s is not None and self._deadline_s is None:  # for all attempts together
            self._deadline_s = monotonic() + self._timeout_s
        self._due_s = self._deadline_s
        while (ended := child.ended()) is None:
            try:
                self._enforce_timeout(child)
                self._note_activity(output, shared)
                self._signals.wait(self._next_wake_s())
            except KeyboardInterrupt:  # raised by the watchdog, for a limit of the run
                self._forward(signal.SIGINT)
        if self.timed_out:
            self._kill_leftovers(child)
        self._has_ended = True
        return ended

    def _forward(self, number: int) -> None:
        """Forward a signal to the program; after its end, a request to stop ends our wait for deliveries instead."""
        is_request = number in STOP_SIGNALS
        if self._has_ended:
            if is_request:
                self._run.ask_to_terminate(number)
            return
        if is_request and not self.stop_signal:
            self.stop_signal = number
        if self._child is None:
            self._early_signals.append(number)
        else:
            self._send(self._child, number)

    def _send(self, child: Child, number: int) -> None:
        child.send(number, from_terminal=number in _TERMINAL_SIGNALS)

    def _enforce_timeout(self, child: Child) -> None:
        if self._due_s is None or monotonic() < self._due_s:
            return
        if not self.timed_out:
            self.timed_out = True
            self._due_s = monotonic() + self._kill_after_s
            child.terminate()
        else:
            self._due_s = None
            child.kill()

    def _note_activity(self, output: OutputCopier, shared: SharedRun) -> None:
        """Mark the run as alive, at most once a second, when the program has printed something or made progress."""
        now = monotonic()
        if self._run.settings.stall_after_s is None or now < self._activity_due_s:
            return
        self._activity_due_s = now + _ACTIVITY_EVERY_S
        sign, before = shared.last_activity(), self._last_activity
        self._last_activity = output.copied_bytes if sign is None else sign
        if self._last_activity == before:
            return
        if sign is None:
            note_output(self._run, "".join(output.lines(1)))
        else:
            self._run.mark_alive()

    def _next_wake_s(self) -> float | None:
        looks = [] if self._due_s is None else [self._due_s - monotonic()]
        if self._run.settings.stall_after_s is not None:
            looks.append(_ACTIVITY_EVERY_S)
        return min(looks, default=None)

    def _kill_leftovers(self, child: Child) -> None:
        """Kill the processes that a stopped program left running, once ``kill_after_s`` is over."""
        while self._due_s is not None and monotonic() < self._due_s:
            if not child.has_leftovers():
                return
            sleep(_POLL_EVERY_S)
        child.kill()
