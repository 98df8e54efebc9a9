"""The command line of ``supervisor run``, read without click and with it."""

from __future__ import annotations

from contextlib import redirect_stdout, suppress
from io import StringIO

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

import supervisor._cli.exec.supervise_command
from supervisor._cli.exec import OPTIONS, CommandLine, parse, seconds
from supervisor._cli.main import run_command

_WORDS = [
    *(flag for option in OPTIONS for flag in (option.flag, option.short) if flag),
    "--name=x", "--timeout=5m", "--overlap=skip", "--quiet=1", "--", "-", "-x", "--nam", "-h", "--help", "-qq",
    "nightly", "30", "1.5h", "-5", "start", "skip", "every 15 min", "0 2 * * *", "", " ", "sh", "-c", "exit 1",
]  # fmt: skip


def read_by_click(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine | None:
    """Return what click makes of a command line, or None when it refuses it or helps."""
    found: list[CommandLine] = []

    def keep(wanted: CommandLine) -> int:
        found.append(wanted)
        return 0

    with monkeypatch.context() as patch, redirect_stdout(StringIO()), suppress(click.ClickException):
        patch.setattr(supervisor._cli.exec.supervise_command, "run", keep)
        run_command().main(arguments, standalone_mode=False)
    return found[0] if found else None


@given(st.lists(st.sampled_from(_WORDS), max_size=6))
def test_both_ways_read_alike(arguments: list[str]) -> None:
    """What is read without click is what click reads; what is left to click is what click refuses, or its help."""
    with pytest.MonkeyPatch.context() as patch:
        by_click = read_by_click(arguments, patch)
    ours = parse(arguments)
    if ours is not None:
        assert by_click == ours
    elif by_click is not None:
        # What only click understands: abbreviations of options, several short ones in one word, and an option that is
        # given twice, of which click looks at the last value alone.
        twice = len({word.partition("=")[0] for word in arguments}) < len(arguments)
        assert twice or any(word in ("--nam", "-qq") for word in arguments)


def test_all_options_are_read() -> None:
    """Each option sets what it says, and the rest is the command, whatever it looks like."""
    wanted = parse([
        "--name", "nightly parcels", "--handler", "ops", "--handler=dev", "--log", "a.log", "--timeout", "90",
        "--kill-after", "5s", "-q", "--report-on", "start", "--report-on", "success", "--no-journal",
        "--max-duration", "2h", "--stall-after", "10m", "--schedule", "0 2 * * *", "--overlap", "skip",
        "--", "job", "--name", "x", "--", "-q",
    ])  # fmt: skip
    assert wanted == CommandLine(
        command=("job", "--name", "x", "--", "-q"),
        settings={
            "name": "nightly parcels",
            "handlers": ("ops", "dev"),
            "log_path": "a.log",
            "report_on": ("start", "success"),
            "journal": False,
            "max_duration_s": 7200.0,
            "stall_after_s": 600.0,
            "schedule": "0 2 * * *",
            "overlap": "skip",
        },
        timeout_s=90.0,
        kill_after_s=5.0,
        is_quiet=True,
    )


def test_the_command_may_begin_without_dashes() -> None:
    """The first argument that is no option is the program, and all that follows is its own."""
    assert parse(["-q", "sh", "-c", "exit 1"]) == CommandLine(("sh", "-c", "exit 1"), {}, is_quiet=True)
    assert parse(["true"]) == CommandLine(("true",), {})


@pytest.mark.parametrize(
    ("text", "value"),
    [("90", 90), ("1.5h", 5400), ("10m", 600), ("2d", 172800), ("5s", 5), ("0.5", 0.5), (" 3 M ", 180), ("1e3", 1000)],
)
def test_durations_are_seconds_or_have_a_unit(text: str, value: float) -> None:
    """A number alone counts seconds; s, m, h and d are units."""
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "0", "-5", "5x", "m", "5 5", "nan", "inf", "1h30m", "5ms", "1e999", "ten"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """The error says what was given and what is expected."""
    with pytest.raises(ValueError, match="is no number of seconds above 0, like 90"):
        seconds(text)


@given(st.text(max_size=8))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    """No text does anything else."""
    with suppress(ValueError):
        assert seconds(text) > 0


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--"], ["-q"], ["--name"], ["--name", ""], ["--timeout", "soon", "x"], ["--overlap", "maybe", "x"],
        ["--report-on", "everything", "x"], ["--schedule", "61 * * * *", "x"], ["--quiet=yes", "x"], ["-q=yes", "x"],
        ["--help"], ["-h"], ["--nope", "x"], ["--name=x"],
    ],
)  # fmt: skip
def test_what_is_wrong_is_left_to_click(arguments: list[str]) -> None:
    """Click says what is wrong, and helps."""
    assert parse(arguments) is None
