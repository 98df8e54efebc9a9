"""``supervisor demo``: what somebody sees in the first minute, on a terminal and without one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest
from scripts import PACKAGE, Shown, bare_environment, run_on_terminal
from waiting import PATIENCE_S

from supervisor import demo

_PROGRAM = f"""
import runpy, sys
sys.path.insert(0, {str(PACKAGE.parent)!r})
sys.argv = ["supervisor", "demo"]
runpy.run_module("supervisor", run_name="__main__")
"""
DEMO = [sys.executable, "-c", _PROGRAM]
LONGEST_S = 15.0


@attrs.frozen(kw_only=True)
class Plain:
    """What the demo did without a terminal, and where."""

    done: subprocess.CompletedProcess[str]
    took_s: float
    folder: Path
    state: Path


def run_plainly(folder: Path) -> Plain:
    """Run the demo without terminal, environment or input."""
    cwd, state = folder / "cwd", folder / "state"
    cwd.mkdir(parents=True)
    began_s = time.monotonic()
    done = subprocess.run(
        DEMO,
        cwd=cwd,
        env=bare_environment(SUPERVISOR_STATE=str(state), SUPERVISOR_SEND="off"),  # it is shown all the same
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Plain(done=done, took_s=time.monotonic() - began_s, folder=cwd, state=state)


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plain, Shown | None]:
    """Return what the demo showed without a terminal and on one, where there is such a thing; both ran side by side."""
    folder = tmp_path_factory.mktemp("demo")
    with ThreadPoolExecutor(2) as pool:
        plain = pool.submit(run_plainly, folder / "plain")
        if sys.platform == "win32":
            return plain.result(), None
        shown = pool.submit(run_on_terminal, DEMO, folder, extra_env={"SUPERVISOR_STATE": str(folder / "state")})
        return plain.result(), shown.result()


def check(text: str) -> None:
    """Check what the demo shows."""
    for wanted in ("NOTICE  ", "SUCCESS  ", "FAILURE  ", "Library read", "source files with"):
        assert wanted in text, text
    assert "library check succeeded on" in text
    assert "parcel check failed on" in text
    assert "cache.py" in text
    assert "acres = 7.25 +" in text
    assert "SyntaxError: invalid syntax" in text
    assert "Traceback (most recent call last):" in text
    assert "in check_parcels" in text
    assert "broken_on_purpose" in text
    assert text.index("NOTICE  ") < text.index("SUCCESS  ") < text.index("FAILURE  ")


def test_it_shows_a_good_and_a_bad_night_without_a_terminal(demos: tuple[Plain, Shown | None]) -> None:
    """Without terminal, configuration or network it ends with 0 in time, and shows a notice, a success, a failure."""
    plain, _ = demos
    assert (plain.done.returncode, plain.done.stderr) == (0, "")
    check(plain.done.stdout)
    assert "\x1b" not in plain.done.stdout
    assert plain.took_s < LONGEST_S
    assert list(plain.folder.iterdir()) == [], "it leaves nothing behind"


def test_it_shows_what_the_journal_keeps_and_leaves_the_users_own_alone(demos: tuple[Plain, Shown | None]) -> None:
    """Both runs are in a journal, which the demo shows, and nothing of them in the journal of the user's scripts."""
    plain, _ = demos
    rows = [line.split()[:3] for line in plain.done.stdout.partition("The journal keeps both:")[2].splitlines()]
    assert ["library", "check", "success"] in rows
    assert ["parcel", "check", "failure"] in rows
    assert not plain.state.exists()


def test_it_shows_a_bar_and_colours_on_a_terminal(demos: tuple[Plain, Shown | None]) -> None:
    """On a terminal the same run has a live bar and coloured messages."""
    _, shown = demos
    if shown is None:
        pytest.skip("there is no pty")
    assert shown.code == 0
    check(shown.text)
    assert "\x1b[1;31mFAILURE" in shown.screen
    bars = [line for line in shown.text.splitlines() if line.startswith("library check ") and "━" in line]
    assert len(bars) > 5
    assert "/s" in bars[-1]


def test_a_python_without_its_sources_has_files_to_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An embeddable Python for Windows has its library compiled in a zip file: the files of packages are read."""
    monkeypatch.setattr(os, "__file__", str(tmp_path / "Lib" / "os.py"))
    assert Path(demo.__file__) in demo.library_files()
