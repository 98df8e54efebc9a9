"""How often a run's progress is shown, logged and sent, however often the script speaks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor import _log, _terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._models.values import Progress
    from supervisor._run.state import RunState

LOOK_EVERY_S = 1.0
LOG_EVERY_S = 60.0
LOG_EVERY_PERCENT = 10.0


class ProgressPace:
    """Keeps the pace of one run's progress.

    A total that changes, or a count that goes back, begins a new phase: rate and time left are the phase's own.

    Args:
        run: Makes the progress.
        redact: Takes secrets out of it, before it is logged or goes elsewhere.
    """

    def __init__(
        self, run: RunState, redact: Callable[[Progress | None], Progress | None] = lambda progress: progress
    ) -> None:
        self._run = run
        self._redact = redact
        self._is_on_terminal: bool | None = None
        self._began_s = self._logged_s = self._sent_s = 0.0
        self._base = self._last_done = 0.0
        self._total: float | None = None
        self._logged_percent = 0.0

    def next_look(self, now: float) -> float:
        """Return when, by the monotonic clock, the progress is to be looked at again."""
        return now + LOOK_EVERY_S

    def progress(self) -> Progress | None:
        """Return how far the run is now, or None before its first progress."""
        if self._is_on_terminal is None:
            return None
        from supervisor._models.values import Progress

        done, total, message = self._run.position
        elapsed_s = self._run.now_s - self._began_s
        rate = (done - self._base) / elapsed_s if elapsed_s > 0 and done > self._base else None
        return self._redact(Progress(done=done, total=total, message=message, rate_per_s=rate))

    def look(self, now: float, send_every_s: float | None) -> bool:
        """Show and log the progress when that is due; return whether handlers are to hear of it.

        Args:
            now: By the monotonic clock.
            send_every_s: Seconds between two messages to handlers; None for no messages.
        """
        if self._is_on_terminal is None:
            self._start(now)
        self._notice_new_phase(now)
        progress = self.progress()
        if progress is not None and not self._is_on_terminal:
            self._log(now, progress)
        if send_every_s is None or now - self._sent_s < send_every_s:
            return False
        self._sent_s = now
        return True

    def end(self) -> None:
        """Take the run off the terminal."""
        if self._is_on_terminal:
            from supervisor._run import progress_bar

            progress_bar.hide(self._run)

    def _start(self, now: float) -> None:
        self._began_s = self._logged_s = self._sent_s = now
        self._is_on_terminal = _terminal.is_watched()
        if self._is_on_terminal:
            from supervisor._run import progress_bar  # rich takes its time to load

            progress_bar.show(self._run)

    def _notice_new_phase(self, now: float) -> None:
        done, total, _ = self._run.position
        if done < self._last_done or total != self._total:
            self._began_s, self._base, self._logged_percent = now, done, 0.0
        self._last_done, self._total = done, total

    def _log(self, now: float, progress: Progress) -> None:
        from supervisor._messages.subjects import progress_line

        percent = progress.percentage or 0.0
        if now - self._logged_s < LOG_EVERY_S and percent - self._logged_percent < LOG_EVERY_PERCENT:
            return
        self._logged_s, self._logged_percent = now, percent
        _log.info("%s: %s", self._run.name, progress_line(progress))
