"""The one place that says what a terminal is."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import pytest

from supervisor._places import is_terminal, is_watched, shows_colour


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


class Refuses:
    """A stream of a script's own that raises."""

    def isatty(self) -> bool:
        """Raise."""
        raise OSError("gone")


def closed() -> Terminal:
    """Return a terminal that was closed: its isatty() raises."""
    stream = io.StringIO()
    stream.close()
    return stream  # type: ignore[return-value]  # a stream all the same


@pytest.mark.parametrize("stream", [None, io.StringIO(), object(), Refuses(), closed(), 10_000])
def test_what_is_no_terminal(stream: Any) -> None:
    """No stream, a file, an object without ``isatty``, one that raises, a closed one, an unused descriptor."""
    assert not is_terminal(stream)
    assert not shows_colour(stream)


def test_a_terminal_is_known_by_stream_and_by_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal is one whether its stream or its descriptor is given."""
    if sys.platform == "win32":
        pytest.skip("there are no pseudo-terminals")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    controller, descriptor = os.openpty()
    try:
        assert is_terminal(descriptor)
        assert shows_colour(descriptor)
    finally:
        os.close(controller)
        os.close(descriptor)


@pytest.mark.parametrize(
    ("term", "no_colour", "colour", "watched"),
    [("xterm", "", True, True), ("xterm", "1", False, True), ("dumb", "", False, False)],
)
def test_the_environment_decides_on_colours(
    term: str, no_colour: str, colour: bool, watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``NO_COLOR`` turns colours off, and ``TERM=dumb`` live displays too."""
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("NO_COLOR", no_colour)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert shows_colour(terminal) is colour
    assert is_watched() is watched
