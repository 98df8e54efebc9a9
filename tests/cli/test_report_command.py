"""``supervisor report``, as a real process."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from journalled import Past, invoke
from scripts import PACKAGE, bare_environment
from waiting import PATIENCE_S, wait_until

from supervisor._models import Outcome
from supervisor._store import EndedRun, StartedRun, open_journal

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = f"""
import runpy, sys
sys.path.insert(0, {str(PACKAGE.parent)!r})
sys.argv[:] = ["supervisor", *sys.argv[1:]]
{{before}}
runpy.run_module("supervisor", run_name="__main__")
"""


def report(folder: Path, *arguments: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Call the command in a folder, without a terminal."""
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(before=before), "report", *arguments],
        cwd=folder,
        env=bare_environment(**{"SUPERVISOR_CONFIG": os.devnull, **environment}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture
def runs(state: Path) -> None:
    """Write three runs into the journal."""
    journal = open_journal(state)
    for number, name in enumerate(("nightly parcels", "nightly parcels", "weekly dump \udcff")):
        journal.start_run(StartedRun(id=f"id{number}", name=name, started_at_s=time.time() - 60))
        journal.end_run(f"id{number}", EndedRun(outcome=Outcome.SUCCESS, ended_at_s=time.time(), duration_s=60.0))
    journal.close()


def test_it_writes_a_private_page_and_says_where(tmp_path: Path, runs: None) -> None:
    """It writes runs.html, readable only for its owner, and says where it is and what is in it."""
    done = report(tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    page = tmp_path / "runs.html"
    assert done.stdout.decode().strip() == f"{page}: 3 runs of 2 scripts"
    assert b"nightly parcels" in page.read_bytes()
    if sys.platform != "win32":
        assert stat.S_IMODE(page.stat().st_mode) == 0o600


def test_names_days_and_output_are_chosen(tmp_path: Path, runs: None) -> None:
    """--name, --days and -o do what they say; - prints the page and nothing else."""
    done = report(tmp_path, "-o", "-", "--name", "nightly parcels", "--days", "3")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"<!doctype html>")
    assert done.stdout.rstrip().endswith(b"</html>")
    assert b"weekly dump" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_without_a_journal_it_writes_a_page_that_says_so(tmp_path: Path, state: Path) -> None:
    """Where there is no journal, the page says so, the command ends with 0, and no journal is begun."""
    done = report(tmp_path, SUPERVISOR_STATE=str(state / "none"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"there are no runs to show yet" in done.stdout
    assert b"There are no runs to show." in (tmp_path / "runs.html").read_bytes()
    assert not (state / "none").exists()


def test_unknown_name_is_told_with_the_one_that_was_meant(tmp_path: Path, runs: None) -> None:
    """A name of which there is no run ends it with 1, and it says which was probably meant."""
    done = report(tmp_path, "--name", "nightly parcel")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"there is no run named 'nightly parcel'; did you mean 'nightly parcels'?" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_is_told(tmp_path: Path, runs: None, state: Path) -> None:
    """A folder that is not there and a journal that cannot be read end it with 1; wrong usage ends it with 2."""
    done = report(tmp_path, "-o", "no/such/page.html")
    assert done.returncode == 1
    assert b"the page cannot be written to 'no/such/page.html': No such file or directory" in done.stderr
    for arguments in (["--days", "0"], ["--open", "-o", "-"], ["extra"]):
        done = report(tmp_path, *arguments)
        assert (done.returncode, done.stdout) == (2, b""), arguments
    other = state / "other"
    (other / "journal.sqlite3").mkdir(parents=True)
    done = report(tmp_path, SUPERVISOR_STATE=str(other))
    assert done.returncode == 1
    assert b"journal" in done.stderr
    assert b"Traceback" not in done.stderr


def test_it_works_without_a_console_and_on_an_old_one(tmp_path: Path, runs: None) -> None:
    """Without stdout it still writes the page; a console that cannot show the path gets escapes."""
    done = report(tmp_path, before="sys.stdout = sys.stderr = None")
    assert done.returncode == 0
    assert (tmp_path / "runs.html").exists()
    done = report(tmp_path, "-o", "-", before="sys.stdout = None")
    assert done.returncode == 1
    folder = tmp_path / "\u0431\u0435\u0433"
    folder.mkdir()
    done = report(folder, PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u0431" in done.stdout
    assert (folder / "runs.html").exists()


def test_logs_are_redacted_as_configured(tmp_path: Path, state: Path) -> None:
    """The ends of logs are in the page without what is known as a secret, and without what the configuration names."""
    log = tmp_path / "it.log"
    log.write_text("customer no. 4711 paid\npassword=hunter2\nkey 123-from-file\n", "utf-8")
    journal = open_journal(state)
    journal.start_run(StartedRun(id="id", name="nightly", started_at_s=time.time() - 60, log_path=str(log)))
    journal.close()
    config = tmp_path / "supervisor.toml"
    config.write_text(
        "[defaults]\nredact_patterns = { customer = 'customer no\\. (?P<secret>[0-9]+)' }\n"
        "[handlers.hook]\ntype = 'webhook'\nurl = 'https://example.com/123-from-file'\n",
        "utf-8",
    )
    config.chmod(0o600)
    done = report(tmp_path, "-o", "-", SUPERVISOR_CONFIG=str(config))
    assert done.returncode == 0, done.stderr
    assert b"customer no. [redacted: customer] paid" in done.stdout
    assert b"hunter2" not in done.stdout
    assert b"4711" not in done.stdout.partition(b'"logs"')[2]


def test_help_tells_the_exit_codes(tmp_path: Path) -> None:
    """The help tells what the exit codes mean."""
    done = report(tmp_path, "--help")
    assert done.returncode == 0
    for wanted in (b"-o, --output", b"--days", b"--name", b"--open", b"Exit codes", b"0  ", b"1  ", b"2  "):
        assert wanted in done.stdout


def test_it_opens_the_page_in_the_browser(tmp_path: Path, runs: None) -> None:
    """--open hands the page to the browser; where there is none, it says what to open."""
    if sys.platform == "win32":
        pytest.skip("the stand-in is a shell script")
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > "$(dirname "$0")/opened"\n', "utf-8")
    browser.chmod(0o755)
    done = report(tmp_path, "--open", BROWSER=str(browser))
    assert (done.returncode, done.stderr) == (0, b"")
    wait_until(lambda: (tmp_path / "opened").exists() and (tmp_path / "opened").read_text("utf-8"))
    assert (tmp_path / "opened").read_text("utf-8").strip() == (tmp_path / "runs.html").as_uri()


def test_all_is_not_well_while_something_was_refused(past: Past) -> None:
    """The page does not say so beside messages that nobody got."""
    past.run("night")
    assert "all is well" in invoke("report", "-o", "-").stdout
    past.message("refused", error="550 no such user", failed=True)
    assert "all is well" not in invoke("report", "-o", "-").stdout
