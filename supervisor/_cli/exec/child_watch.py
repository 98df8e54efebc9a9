"""Wait for a program to end: forward signals to it, end it when its time is up, notice that it lives."""

from __future__ import annotations

import signal
import sys
from time import monotonic, sleep
from typing import TYPE_CHECKING

from supervisor._run.boundary import note_output

if sys.platform == "win32":
    from supervisor._cli.exec.windows import ASKED_BY, Signals
else:
    from supervisor._cli.exec.posix import ASKED_BY, Signals

if TYPE_CHECKING:
    from supervisor._cli.exec.exit_status import Ended
    from supervisor._cli.exec.offer import Offer
    from supervisor._cli.exec.output import Output
    from supervisor._run.state import RunState

    if sys.platform == "win32":
        from supervisor._cli.exec.windows import Child
    else:
        from supervisor._cli.exec.posix import Child

_OF_TERMINALS = {signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGINT)}
_LOOK_EVERY_S = 0.05
_LIFE_EVERY_S = 1.0


class Watch:
    """Watches one program.

    Args:
        run: The run that it is.
        timeout_s: After how many seconds it is asked to end; None for never.
        kill_after_s: How many seconds after that it is killed.
    """

    def __init__(self, run: RunState, timeout_s: float | None, kill_after_s: float) -> None:
        self.asked_by = 0
        self.timed_out = False
        self._run = run
        self._timeout_s = timeout_s
        self._kill_after_s = kill_after_s
        self._due_s: float | None = None
        self._child: Child | None = None
        self._early: list[int] = []
        self._has_ended = False
        self._signals = Signals(self._forward)
        self._last_sign = 0
        self._life_due_s = 0.0

    def listen(self) -> None:
        """Take in signals from now on."""
        self._signals.listen()

    def wait(self, child: Child, output: Output, offer: Offer) -> Ended:
        """Return how a program ended, when it has.

        Args:
            child: The program.
            output: What it says.
            offer: Tells whether it speaks for itself.
        """
        self._child = child
        if sys.platform == "win32":
            self._signals.child = child
        for number in self._early:  # those that came while it was being started
            self._pass_on(child, number)
        self._due_s = None if self._timeout_s is None else monotonic() + self._timeout_s
        while (ended := child.ended()) is None:
            try:
                self._look_at_time(child)
                self._look_for_life(output, offer)
                self._signals.wait(self._next_look_s())
            except KeyboardInterrupt:  # raised here by who watches over the run's duration
                self._forward(signal.SIGINT)
        if self.timed_out:
            self._end_what_is_left(child)
        self._has_ended = True
        return ended

    def _forward(self, number: int) -> None:
        """Pass on a signal; after the program's end it keeps us from waiting for deliveries."""
        is_request = number in ASKED_BY
        if self._has_ended:
            if is_request:
                self._run.ask_to_terminate(number)
            return
        if is_request and not self.asked_by:
            self.asked_by = number
        if self._child is None:
            self._early.append(number)
        else:
            self._pass_on(self._child, number)

    def _pass_on(self, child: Child, number: int) -> None:
        child.send(number, from_terminal=number in _OF_TERMINALS)

    def _look_at_time(self, child: Child) -> None:
        if self._due_s is None or monotonic() < self._due_s:
            return
        if not self.timed_out:
            self.timed_out = True
            self._due_s = monotonic() + self._kill_after_s
            child.ask()
        else:
            self._due_s = None
            child.kill()

    def _look_for_life(self, output: Output, offer: Offer) -> None:
        """Note, at most once a second, that the program has said something, or made progress if it has joined."""
        now = monotonic()
        if self._run.settings.stall_after_s is None or now < self._life_due_s:
            return
        self._life_due_s = now + _LIFE_EVERY_S
        sign, before = offer.last_sign(), self._last_sign
        self._last_sign = output.copied_bytes if sign is None else sign
        if self._last_sign == before:
            return
        if sign is None:
            note_output(self._run, "".join(output.lines(1)))
        else:
            self._run.mark_alive()

    def _next_look_s(self) -> float | None:
        looks = [] if self._due_s is None else [self._due_s - monotonic()]
        if self._run.settings.stall_after_s is not None:
            looks.append(_LIFE_EVERY_S)
        return min(looks, default=None)

    def _end_what_is_left(self, child: Child) -> None:
        """Kill what a program that was stopped has left running, when its time is up too."""
        while self._due_s is not None and monotonic() < self._due_s:
            if not child.has_left_some():
                return
            sleep(_LOOK_EVERY_S)
        child.kill()
