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

if TYPE_CHECKING:
    from pathlib import Path


def completed(state: Path, typed: str, count: int) -> list[str]:
    """Return what bash would offer for the last of the words that are typed."""
    environment = {
        **os.environ,
        "_SUPERVISOR_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(count),
        "SUPERVISOR_STATE": str(state),
    }
    done = subprocess.run(command_line(), env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


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
    assert completed(state, "supervisor history ni", 2) == ["nightly backup", "nightly parcels"]
    assert completed(state, f"supervisor show {run_id[:5]}", 2) == [run_id[:12]]
    assert completed(state, "supervisor outbox drop ", 3) == ["1"]
    assert completed(state, "supervisor test ", 2) == ["ops", "chat"]
    assert completed(state, "supervisor flush --handler o", 3) == ["ops"]
    assert completed(state, "supervisor his", 1) == ["history"]
    assert completed(state, "supervisor history --fa", 2) == ["--failed"]


def test_completion_is_silent_about_faults(
    state: Path, past: Past, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A journal that cannot be read, a wrong configuration and hostile names: nothing is offered, nothing is said."""
    for text in HOSTILE.values():
        past.run(text)
    offered = completed(state, "supervisor history ", 2)
    assert HOSTILE["emoji"].replace("\u200d", "") not in offered
    assert not any("\x1b" in each or "\x00" in each for each in offered)
    past.journal.close()
    for file in state.iterdir():
        file.unlink()
    (state / "journal.sqlite3").write_bytes(b"rubbish" * 1000)
    configured(monkeypatch, tmp_path, text="[handlers\n")
    assert completed(state, "supervisor history ", 2) == []
    assert completed(state, "supervisor show ", 2) == []
    assert completed(state, "supervisor test ", 2) == []


@pytest.mark.skipif(sys.platform == "win32" or shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself_completes(past: Past, state: Path, tmp_path: Path) -> None:
    """With the code loaded, bash offers the names of runs."""
    past.run("nightly")
    (tmp_path / "code").write_text(invoke("completion", "bash").stdout)
    program = tmp_path / "supervisor"
    program.write_text(f"#!/bin/sh\nexec {shlex.join(command_line())}\n")
    program.chmod(0o755)
    script = (
        f"source {tmp_path}/code; COMP_WORDS=({program} history ni); COMP_CWORD=2; "
        f'_supervisor_completion {program}; echo "${{COMPREPLY[@]}}"'
    )
    environment = {**os.environ, "SUPERVISOR_STATE": str(state)}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "nightly"
