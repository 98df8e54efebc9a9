"""A script that gets Ctrl+Break on Windows, which schedulers and ``supervisor run`` send to end it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import recorders
from command_kit import send_ctrl_break
from scripts import bare_environment, both, run, write
from waiting import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform != "win32":
    pytest.skip("there is no Ctrl+Break elsewhere", allow_module_level=True)

WAITS = """
    import time
    with supervise("night", handlers=[recorder]):
        ready()
        try:
            while True: time.sleep(0.05)
        finally:
            print("cleaned up", flush=True)
"""


def test_ctrl_break_unwinds_the_script_and_is_reported(tmp_path: Path) -> None:
    """``finally`` runs, the run was terminated, and the exit code is the one of SIGTERM."""
    path, messages = write(tmp_path, WAITS)
    process = subprocess.Popen(
        [sys.executable, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=bare_environment(), creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    send_ctrl_break(process)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, stdout) == (143, "cleaned up\n"), stderr
    assert [(each["kind"], each["outcome"]) for each in recorders.read(messages)] == [("failure", "terminated")]


@pytest.mark.parametrize("number", ["SIGBREAK", "SIGTERM"])
def test_a_signal_within_the_process_does_the_same(tmp_path: Path, number: str) -> None:
    """What a console's Ctrl+Break sets off can be raised by the script itself, without a console."""
    ended = run(tmp_path, WAITS.replace("ready()", f"import signal; signal.raise_signal(signal.{number})"))
    assert (ended.code, ended.stderr) == (143, "")
    assert [(each["kind"], each["outcome"]) for each in ended.messages] == [("failure", "terminated")]


@pytest.mark.parametrize("code", [0, 3, 0xC0000005])
def test_the_exit_code_of_a_script_is_its_own(tmp_path: Path, code: int) -> None:
    """A script that leaves at once, as a crash does, ends with the same code as without supervision."""
    number = code if code < 2**31 else code - 2**32
    watched, plain = both(
        tmp_path, f"import os\nwith supervise('night', handlers=[recorder]):\n    os._exit({number})\n"
    )
    assert watched.code == plain.code == code
