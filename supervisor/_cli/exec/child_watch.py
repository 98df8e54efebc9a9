"""Wait for a program to end: forward signals to it, enforce its time limit, and note its activity."""

from __future__ import annotations

import signal
import sys
from time import monotonic, sleep
from typing import TYPE_CHECKING

from supervisor._run.boundary import note_output

if sys.platform == "win32":
    from supervisor._cli.exec.windows import STOP_SIGNALS, SignalForwarder
else:
    from supervisor._cli.exec.posix import STOP_SIGNALS, SignalForwarder

if TYPE_CHECKING:
    from supervisor._cli.exec.exit_status import ExitStatus
    from supervisor._cli.exec.output import OutputCopier
    from supervisor._cli.exec.shared_run import SharedRun
    from supervisor._run.state import RunState

    if sys.platform == "win32":
        from supervisor._cli.exec.windows import Child
    else:
        from supervisor._cli.exec.posix import Child

_TERMINAL_SIGNALS = {signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGINT)}
_POLL_EVERY_S = 0.05
_ACTIVITY_EVERY_S = 1.0


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
        self._child: Child | None = None
        self._early_signals: list[int] = []
        self._has_ended = False
        self._signals = SignalForwarder(self._forward)
        self._last_activity = 0
        self._activity_due_s = 0.0

    def listen(self) -> None:
        """Receive signals from now on."""
        self._signals.listen()

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
        self._due_s = None if self._timeout_s is None else monotonic() + self._timeout_s
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
