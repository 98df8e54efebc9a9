"""Exits that a script means, and commands of click: what counts as a run, how it ended, and what its subject says."""

from __future__ import annotations

import argparse
import functools
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner
from recorders import Recorder

from supervisor import Run, supervise, supervised

if TYPE_CHECKING:
    from collections.abc import Callable

quiet = functools.partial(supervise, journal=False, report_on=["success"])
RECORDER = Recorder()
of_commands = functools.partial(supervised, journal=False, report_on=["success"], handlers=RECORDER)


@pytest.fixture(autouse=True)
def _empty_recorder() -> None:
    RECORDER.messages.clear()


class TyperExit(RuntimeError):  # noqa: N818 - the name that typer gives it
    """Stands for ``typer.Exit``, which has click's attribute."""

    def __init__(self, exit_code: int = 0) -> None:
        super().__init__()
        self.exit_code = exit_code


@pytest.fixture
def typer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a module ``typer`` in place that has its ``Exit``."""
    module = ModuleType("typer")
    vars(module)["Exit"] = TyperExit
    monkeypatch.setitem(sys.modules, "typer", module)


@pytest.mark.usefixtures("typer")
@pytest.mark.parametrize("kind", [click.exceptions.Exit, TyperExit, SystemExit])
def test_an_exit_with_0_is_a_success(kind: Callable[[int], BaseException], recorder: Recorder) -> None:
    """The exception leaves the block as it came; another code is a failure that says the code."""
    with pytest.raises(kind), quiet("night", handlers=[recorder]):  # type: ignore[call-overload]
        raise kind(0)
    with pytest.raises(kind), quiet("night", handlers=[recorder]):  # type: ignore[call-overload]
        raise kind(3)
    assert recorder.received == ["success", "failure"]
    assert [each.report.exit_code for each in recorder.messages if each.report] == [0, 3]
    assert recorder.subjects[1].endswith(": exit code 3") or kind is TyperExit


def exits_after_an_error() -> None:
    """Exit as scripts do that catch what they cannot mend."""
    try:
        raise KeyError("apn")
    except KeyError:
        sys.exit(1)


def reads_a_wrong_argument() -> None:
    """Exit as argparse does."""
    parser = argparse.ArgumentParser(prog="parcels")
    parser.add_argument("year", type=int)
    parser.parse_args(["x"])


@pytest.mark.parametrize(
    ("leave", "reason"),
    [
        (exits_after_an_error, "exit code 1 after KeyError 'apn'"),
        (reads_a_wrong_argument, "exit code 2 after argparse.ArgumentError argument year: invalid int value: 'x'"),
        (lambda: sys.exit("no rows"), "exit code 1, no rows"),
    ],
    ids=["caught", "argparse", "text"],
)
def test_the_subject_of_an_exit_says_why(leave: Callable[[], None], reason: str, recorder: Recorder) -> None:
    """It names the exception because of which the script exits, or the script's own text."""
    with pytest.raises(SystemExit), quiet("night", handlers=[recorder]):
        leave()
    assert recorder.subjects[0].endswith(f": {reason}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps 32 bits of an exit code")
def test_an_exit_code_is_shown_as_the_scheduler_sees_it(recorder: Recorder) -> None:
    """POSIX leaves 8 bits of it."""
    with pytest.raises(SystemExit), quiet("night", handlers=[recorder]):
        sys.exit(256)
    assert recorder.subjects[0].endswith(": exit code 256, seen as 0")


@of_commands("above")
@click.command()
@click.argument("rows", type=int)
def above(rows: int, run: Run | None = None) -> None:
    """Do what the argument says."""
    if rows == 0:
        click.get_current_context().exit(0)
    if rows < 0:
        click.get_current_context().exit(4)
    assert run is not None
    run.record(rows=rows)


@click.command()
@click.argument("rows", type=int)
@of_commands("below")
def below(run: Run, rows: int) -> None:
    """Do what the argument says."""
    above.callback(rows)
    run.record(rows=rows)


@pytest.mark.parametrize("command", [above, below], ids=["above", "below"])
@pytest.mark.parametrize(
    ("argument", "code", "kinds"),
    [("7", 0, ["success"]), ("0", 0, ["success"]), ("--", 2, []), ("--help", 0, []), ("x", 2, [])],
)
def test_a_command_of_click_is_a_run_wherever_the_decorator_stands(
    command: Any, argument: str, code: int, kinds: list[str]
) -> None:
    """It stays a command; its function is the run, so that help and wrong usage are none."""
    assert isinstance(command, click.Command)
    ended = CliRunner().invoke(command, [argument])
    assert ended.exit_code == code
    assert RECORDER.received[-1:] == kinds


def test_each_call_of_a_group_is_a_run() -> None:
    """The run of a group has those of its commands in it."""

    @of_commands("tools")
    @click.group()
    def tools() -> None:
        """Have commands."""

    tools.add_command(click.Command("fail", callback=lambda: dict[str, str]()["apn"]))
    assert isinstance(tools, click.Group)
    assert CliRunner().invoke(tools, ["--help"]).exit_code == 0
    assert RECORDER.received == []
    assert isinstance(CliRunner().invoke(tools, ["fail"]).exception, KeyError)
    assert RECORDER.received == ["failure"]
