"""Messages on the console, on terminals, pipes and consoles with few characters."""

from __future__ import annotations

import io
import os
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from scripts import run as run_script
from scripts import run_on_terminal, write

from supervisor import ConfigurationError, DeliveryError, supervise
from supervisor.message_handlers import ConsoleHandler
from supervisor.models import Attachment, Kind, MessageDetails

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
MESSAGE = MessageDetails(
    "Parcels loaded",
    "7 rows\n\nof 9",
    [
        Attachment("report.csv", name="report.csv", size_bytes=12_345),
        Attachment("none.log", name="none.log", note="missing"),
        Attachment("big.log", name="big.log", size_bytes=10, note="last 10 B of 5 GB"),
    ],
    created_at=NOON,
)


def printed(details: MessageDetails = MESSAGE, **settings: Any) -> str:
    """Return the text that is printed for a message to a stream that is no terminal."""
    stream = io.StringIO()
    ConsoleHandler(stream=stream, **settings).send_message(details)
    return stream.getvalue()


class Terminal(io.StringIO):
    """A text stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return a terminal with colours."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def test_the_layout() -> None:
    """Time, kind and subject stand on one line; below it, indented, the text and the attachments by name and size."""
    assert printed() == (
        f"{NOON.astimezone():%H:%M:%S}  NOTICE  Parcels loaded\n"
        "    7 rows\n"
        "\n"
        "    of 9\n"
        "    + report.csv, 12.1 KB\n"
        "    + none.log, missing\n"
        "    + big.log, 10 B, last 10 B of 5 GB\n"
    )


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_is_named(kind: Kind) -> None:
    """The kind is printed as a word, for readers without colours."""
    assert f"  {kind.upper()}  subject" in printed(MessageDetails("subject", kind=kind))


def test_a_message_of_one_line_takes_one_line() -> None:
    """Without a text and attachments nothing stands below the headline."""
    assert printed(MessageDetails("subject")).count("\n") == 1


@pytest.mark.parametrize(
    "subject",
    [
        "two\r\nlines",
        "a\0b",
        "x" * 10_000,
        "tab\tbell\a\x1b[31mred",
        "\u2028line\u2029paragraph\x85next",
        "caf\udce9",
        "[bold]markup[/]",
        "",
        "🦫 beaver",
    ],
    ids=lambda each: each[:10],
)
@pytest.mark.parametrize("on_terminal", [False, True])
def test_a_hostile_subject_stays_one_line(subject: str, on_terminal: bool, terminal: Terminal) -> None:
    """Line breaks, control characters, markup and long subjects neither break the line nor control the terminal."""
    stream: Any = terminal if on_terminal else io.StringIO()
    ConsoleHandler(stream=stream).send_message(MessageDetails(subject, "text"))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert len(lines) == 2
    assert lines[1] == "    text"
    assert len(lines[0]) < 400
    assert all(c.isprintable() for c in lines[0])
    if "markup" in subject:
        assert "[bold]markup[/]" in lines[0]


def test_a_text_cannot_move_the_cursor(terminal: Terminal) -> None:
    """Escape sequences in a text, from a log for example, do not reach the terminal."""
    ConsoleHandler(stream=terminal).send_message(MessageDetails("subject", "one\x1b[2J\x1b]0;title\a two"))
    rest = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert "\x1b" not in rest
    assert "\a" not in rest
    assert "one" in rest
    assert "two" in rest


def test_colour_on_a_terminal_only(terminal: Terminal) -> None:
    """Output to a terminal is coloured, with the same text; output to a file or pipe is not."""
    ConsoleHandler(stream=terminal).send_message(MESSAGE)
    assert "\x1b[" in terminal.getvalue()
    assert re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()) == printed()
    assert "\x1b" not in printed()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_it_is_switched_off(
    name: str, value: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``NO_COLOR`` (https://no-color.org) and terminals without colours get plain text."""
    monkeypatch.setenv(name, value)
    ConsoleHandler(stream=terminal).send_message(MESSAGE)
    assert terminal.getvalue() == printed()


def test_long_lines_are_left_whole(terminal: Terminal) -> None:
    """Long lines are not wrapped, so that they can be copied."""
    line = "x" * 5000
    ConsoleHandler(stream=terminal).send_message(MessageDetails("subject", line))
    assert f"    {line}\n" in terminal.getvalue()


def test_numbers_and_paths_have_no_colours_of_their_own(terminal: Terminal) -> None:
    """The script's text is not highlighted."""
    ConsoleHandler(stream=terminal).send_message(MessageDetails("subject", "7 of /var/log/x.log True"))
    assert "    7 of /var/log/x.log True\n" in terminal.getvalue()


def test_a_console_that_cannot_show_a_character() -> None:
    """On a cp1252 console, characters that it cannot show are replaced, and the rest is printed."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="cp1252", newline="\n")
    ConsoleHandler(stream=stream).send_message(MessageDetails("Café 🦫", "Straße → Ω caf\udce9"))
    text = raw.getvalue().decode("cp1252")
    assert "Café \\U0001f9ab" in text
    assert "Straße \\u2192 \\u03a9" in text


def test_a_console_of_ascii_in_a_real_process(tmp_path: Path) -> None:
    """A script in the C locale with an ASCII console still prints its messages."""
    body = """
        from supervisor.message_handlers import ConsoleHandler
        with supervise("night", handlers=[ConsoleHandler()]) as run:
            run.notify("Caf\\u00e9 \\U0001f9ab", "\\udce9")
    """
    ended = run_script(tmp_path, body, extra_env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert (ended.code, ended.stderr) == (0, "")
    assert "Caf\\xe9 \\U0001f9ab" in ended.stdout


def test_no_console_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under pythonw ``sys.stdout`` is None: then nothing is printed, and nothing fails."""
    monkeypatch.setattr(sys, "stdout", None)
    ConsoleHandler().send_message(MESSAGE)


def test_a_closed_console() -> None:
    """A stream that was closed gets nothing, and nothing fails."""
    stream = io.StringIO()
    stream.close()
    ConsoleHandler(stream=stream).send_message(MESSAGE)


class WriteOnly:
    """A stream with ``write`` alone."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        """Keep it."""
        self.text += text


def test_a_stream_that_can_only_write() -> None:
    """A replacement of ``sys.stdout`` with ``write`` alone is printed to."""
    stream = WriteOnly()
    ConsoleHandler(stream=stream).send_message(MESSAGE)  # type: ignore[arg-type]  # on purpose
    assert stream.text == printed()


def test_a_pipe_that_broke_is_reported() -> None:
    """A closed pipe is a permanent error, because its reader does not come back."""
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w", encoding="utf-8") as stream, pytest.raises(DeliveryError, match="broke off") as caught:  # noqa: PTH123 - a descriptor
        try:
            ConsoleHandler(stream=stream).send_message(MESSAGE)
        finally:
            os.dup2(os.open(os.devnull, os.O_WRONLY), theirs)
    assert caught.value.permanent


def test_the_stream_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    """Without ``stream``, a handler prints to ``sys.stdout`` at the time of each message."""
    handler = ConsoleHandler()
    handler.send_message(MESSAGE)
    assert capsys.readouterr().out == printed()


def test_it_prints_the_kinds_of_its_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """``kinds`` chooses what is printed, and an unknown kind is refused."""
    with supervise("night", handlers=[ConsoleHandler(kinds=["success"])], journal=False) as run:
        run.notify("hello")
    out = capsys.readouterr().out
    assert "SUCCESS" in out
    assert "hello" not in out
    assert ConsoleHandler(kinds=["success"]).kinds == frozenset({Kind.SUCCESS})
    with pytest.raises((ConfigurationError, ValueError), match="fiasco"):
        ConsoleHandler(kinds=["fiasco"])


def test_colours_on_a_real_terminal(tmp_path: Path) -> None:
    """On a real terminal, messages are coloured and complete."""
    body = """
        from supervisor.message_handlers import ConsoleHandler
        with supervise("night", handlers=[ConsoleHandler()]) as run:
            run.notify("Parcels loaded", "7 rows")
    """
    path, _ = write(tmp_path, body)
    shown = run_on_terminal([sys.executable, str(path)], tmp_path)
    assert shown.code == 0
    assert "\x1b[1;36mNOTICE" in shown.screen
    assert "NOTICE  Parcels loaded\n" in shown.text.replace("\n\n", "\n")
    assert "    7 rows\n" in shown.text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_terminal_that_cannot_show_a_character(encoding: str, tmp_path: Path) -> None:
    """On a terminal, characters that it cannot show are replaced, and the rest is printed."""
    body = """
        from supervisor.message_handlers import ConsoleHandler
        with supervise("night", handlers=[ConsoleHandler()]) as run:
            run.notify("Caf\\udce9 parcels \\U0001f9ab", "seven \\udce9 rows \\U0001f9ab")
    """
    path, _ = write(tmp_path, body)
    shown = run_on_terminal([sys.executable, str(path)], tmp_path, extra_env={"PYTHONIOENCODING": encoding})
    assert shown.code == 0
    for word in ("NOTICE", "parcels", "seven", "rows"):
        assert word in shown.text
    assert "refused" not in shown.text


def test_a_message_goes_above_a_live_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a progress bar is shown, messages are printed through it, so that they do not mix with the bar's line."""
    from rich.console import Console
    from rich.live import Live

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with Live("the bar", console=Console(file=terminal, force_terminal=True), auto_refresh=False):
        ConsoleHandler().send_message(MessageDetails("Loaded", "12 rows"))
    erased, _, printed = terminal.getvalue().partition("Loaded")
    assert "\x1b[2K" in erased[erased.index("the bar") :]
    assert printed.index("12 rows") < printed.index("the bar")
