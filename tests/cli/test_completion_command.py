"""``supervisor completion``: code for shells, and what they complete."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hooks import configured
from journalled import HOSTILE, Past, command_line, invoke

from supervisor._cli.completion_command import Typed, for_bash, typed

if TYPE_CHECKING:
    from pathlib import Path

WORDBREAKS = " \t\n\"'@><=;|&(:"
"""What bash has in COMP_WORDBREAKS by itself."""

NASTY: tuple[str, ...] = (
    "$(touch hit)",
    "`touch hit`",
    "; touch hit #",
    "nightly parcels",
    "a*b",
    "it's",
    'say "x"',
    "back\\slash",
    "co:lon",
    "com,ma",
    "ex!cl",
    "~root",
    "a@b",
    "a=b",
    "ä ö",
    "#x",
    "a&b|c>d",
    "{a,b}",
    "[x]",
    "$HOME",
    "a^b",
)


def offered(state: Path, text: str) -> list[str]:
    """Return the lines with which the shell code for bash is answered, when this text is before the cursor."""
    environment = {
        **os.environ,
        "_SUPERVISOR_COMPLETE": "bash_complete",
        "_SUPERVISOR_LINE": text,
        "_SUPERVISOR_BREAKS": WORDBREAKS,
        "SUPERVISOR_STATE": str(state),
    }
    done = subprocess.run(command_line(), env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


def completed(state: Path, text: str) -> list[str]:
    """Return what bash would offer for the last of the words that are typed."""
    return [line.removeprefix("plain,") for line in offered(state, text)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_code_is_what_the_shell_understands(shell: str, tmp_path: Path) -> None:
    """The code names the command, explains how to install it, and is no error to the shell where that is there."""
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_SUPERVISOR_COMPLETE" in result.stdout
    assert result.stdout.startswith("# To have it in each new shell")
    assert result.stderr == ""
    if (program := shutil.which(shell)) is not None:
        path = tmp_path / "code"
        path.write_text(result.stdout)
        subprocess.run([program, "-n", path], check=True, timeout=60)


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("powershell", "there is no completion for powershell: click"),
        ("pwsh", "bash, zsh and fish only"),
        ("bsah", "did you mean 'bash'?"),
        ("\x1b[2J", "is no shell"),
    ],
)
def test_other_shells_are_refused_with_the_reason(shell: str, words: str) -> None:
    """PowerShell and others are reported plainly: 2."""
    result = invoke("completion", shell)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert "\x1b" not in result.stderr


def test_the_shell_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a shell it is the one that SHELL names, and wrong usage where that names none."""
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert "complete --no-files --command supervisor" in invoke("completion").stdout
    monkeypatch.delenv("SHELL")
    assert invoke("completion").exit_code == 2


def test_names_ids_keys_and_handlers_are_completed(
    past: Past, state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Names of runs, ids, keys of deliveries, names of handlers, commands and options."""
    configured(monkeypatch, tmp_path, ops="http://127.0.0.1:1/", chat="http://127.0.0.1:1/")
    run_id = past.run("nightly parcels")
    past.run("nightly backup")
    past.run("other")
    past.message("hello")
    assert completed(state, "supervisor history ni") == [r"nightly\ backup", r"nightly\ parcels"]
    assert completed(state, f"supervisor show {run_id[:5]}") == [run_id[:12]]
    assert completed(state, "supervisor outbox drop ") == ["1"]
    assert completed(state, "supervisor test ") == ["ops", "chat"]
    assert completed(state, "supervisor flush --handler o") == ["ops"]
    assert completed(state, "supervisor his") == ["history"]
    assert completed(state, "supervisor history --fa") == ["--failed"]


def test_completion_is_silent_about_faults(
    state: Path, past: Past, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A journal that cannot be read, a wrong configuration and hostile names: nothing is offered, nothing is said."""
    for text in HOSTILE.values():
        past.run(text)
    names = completed(state, "supervisor history ")
    assert HOSTILE["emoji"].replace("\u200d", "") not in names
    assert not any("\x1b" in each or "\x00" in each for each in names)
    past.journal.close()
    for file in state.iterdir():
        file.unlink()
    (state / "journal.sqlite3").write_bytes(b"rubbish" * 1000)
    configured(monkeypatch, tmp_path, text="[handlers\n")
    assert completed(state, "supervisor history ") == []
    assert completed(state, "supervisor show ") == []
    assert completed(state, "supervisor test ") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("supervisor history ni", Typed(("supervisor", "history"), "ni", "ni")),
        ("supervisor history ", Typed(("supervisor", "history"))),
        ('s show "a b', Typed(("s", "show"), "a b", '"a b', '"')),
        ("s 'a b' c", Typed(("s", "a b"), "c", "c")),
        (r"s a\ b", Typed(("s",), "a b", r"a\ b")),
        (r"s \$(x", Typed(("s",), "$(x", r"\$(x")),
        ("s --handler='o", Typed(("s",), "--handler=o", "--handler='o", "'")),
        ("s $(x", Typed(("s",), "$(x", "$(x", is_plain=False)),
        ('s "`x', Typed(("s",), "`x", '"`x', '"', is_plain=False)),
        ("s 'a'b", Typed(("s",), "ab", "'a'b", is_plain=False)),
        ("", Typed()),
    ],
)
def test_what_is_typed_is_read_as_bash_reads_it(text: str, expected: Typed) -> None:
    """Quotes and backslashes as in bash; what it would expand, and what readline takes apart, is not completed."""
    assert typed(text) == expected


@pytest.mark.skipif(sys.platform == "win32" or shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_bash_reads_each_name_again_and_executes_nothing(quote: str, tmp_path: Path) -> None:
    """Whatever a run's name is, what stands in the line after Tab is one word with that name, and no command."""
    at = typed(f"supervisor history {quote}")
    lines = [f"printf '%s\\0' {quote}{for_bash(name, at, WORDBREAKS)}{quote}\n" for name in NASTY]
    done = subprocess.run(
        ["bash"], input="".join(lines), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split("\0")[:-1] == list(NASTY)
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())


def test_only_what_follows_the_last_break_is_replaced() -> None:
    """Bash replaces the part behind a colon only; what is offered there begins behind that colon too."""
    assert for_bash("co:lon", typed("s history co:"), WORDBREAKS) == "lon"
    assert for_bash("a:b c", typed("s history a:b"), WORDBREAKS) == r"b\ c"
    assert for_bash("a:b", typed("s flush --handler=a:"), WORDBREAKS) == "a:b"


@pytest.mark.parametrize("words", ["run -- ./ba", "run -- python ./ba", "run --log ./ba", "report -o ./ba"])
def test_files_are_completed_by_the_shell(words: str, state: Path) -> None:
    """Where a file is meant, the shell completes files."""
    assert offered(state, f"supervisor {words}") == ["file,./ba"]


def test_a_name_that_is_an_option_is_not_offered(past: Past, state: Path) -> None:
    """A run's name that begins with a dash would be taken for an option."""
    past.run("--yes")
    past.run("backup")
    assert completed(state, "supervisor history ") == ["backup"]


@pytest.mark.skipif(sys.platform == "win32" or shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself_completes(past: Past, state: Path, tmp_path: Path) -> None:
    """With the code loaded, bash offers the names of runs."""
    past.run("nightly parcels")
    past.run("nightly $(touch hit)")
    (tmp_path / "code").write_text(invoke("completion", "bash").stdout)
    program = tmp_path / "supervisor"
    program.write_text(f"#!/bin/sh\nexec {shlex.join(command_line())}\n")
    program.chmod(0o755)
    script = (
        f"source {tmp_path}/code; COMP_LINE='{program} history ni'; COMP_POINT=${{#COMP_LINE}}; "
        f'_supervisor_completion {program}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    environment = {**os.environ, "SUPERVISOR_STATE": str(state)}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert sorted(done.stdout.splitlines()) == [r"nightly\ \$\(touch\ hit\)", r"nightly\ parcels"]
