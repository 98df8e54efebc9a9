"""Where the journal is, and how much it keeps, as the machine and the environment say."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from containers import containers
from journal_kit import PACKAGE
from recorders import read

from supervisor import supervise
from supervisor._store import JournalUnavailable, open_journal, state_directory
from supervisor._store.essentials import limits, state_path, temporary_path

if TYPE_CHECKING:
    from pathlib import Path


def test_the_environment_says_how_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each limit has a variable; megabytes become bytes, and what is not said is not there."""
    assert limits() == {}
    monkeypatch.setenv("SUPERVISOR_KEEP_RUNS", "20")
    monkeypatch.setenv("SUPERVISOR_KEEP_DAYS", " 7 ")
    monkeypatch.setenv("SUPERVISOR_KEEP_COPIES_MB", "3")
    assert limits() == {"keep_runs": 20, "keep_days": 7, "copies_limit_bytes": 3 * 1024 * 1024}


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "\u0663"])
def test_a_wrong_limit_is_told_and_left_out(
    text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A number that is none is named with its variable; the default stays."""
    monkeypatch.setenv("SUPERVISOR_KEEP_RUNS", text)
    with caplog.at_level(logging.WARNING, logger="supervisor"):
        assert limits() == {}
    assert f"SUPERVISOR_KEEP_RUNS must be a whole number above 0, got {text!r}" in caplog.text


def test_runs_beyond_the_limit_are_pruned(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit of 5, hundreds of runs leave about as many as the limit and the hundred between two prunings."""
    monkeypatch.setenv("SUPERVISOR_KEEP_RUNS", "5")
    for _ in range(420):
        with supervise("night"):
            pass
    journal = open_journal(state_directory())
    assert 5 <= len(journal.runs("night", limit=1000)) <= 205
    journal.close()
    assert state.exists()


# Without a home

NIGHTLY = """
import logging, sys
sys.path.append({kit!r})
from recorders import FileRecorder
logging.basicConfig(level="INFO", format="%(levelname)s %(message)s", stream=sys.stdout)
logging.getLogger("supervisor").addFilter(lambda record: "run '" not in record.getMessage())
from supervisor import supervise
for _ in range(2):
    with supervise("nightly", handlers=[FileRecorder({messages!r})], reraise=False) as run:
        raise ValueError("no rows")
print(run.report().name)
"""


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let this process be of a user without a home, with a directory for temporary files."""
    if sys.platform == "win32":
        pytest.skip("POSIX only")
    monkeypatch.delenv("SUPERVISOR_STATE")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path / f"supervisor-{os.getuid()}"


needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="users have numbers on POSIX only")


@needs_posix
def test_a_user_without_a_home_has_a_directory_of_its_own(homeless: Path, log: pytest.LogCaptureFixture) -> None:
    """It is private, and said once at INFO: in an image that is normal."""
    assert state_path() == temporary_path() == str(homeless)
    assert state_path() == str(homeless)
    assert homeless.stat().st_mode & 0o777 == 0o700
    (record,) = [each for each in log.records if "no home directory" in each.message]
    assert record.levelname == "INFO"
    assert "SUPERVISOR_STATE" in record.message


@needs_posix
@pytest.mark.parametrize("place", ["a link", "a file", "open to all"])
def test_a_directory_that_others_could_use_is_refused(homeless: Path, place: str, tmp_path: Path) -> None:
    """Everybody may make files in the directory for temporary files."""
    if place == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        homeless.symlink_to(tmp_path / "elsewhere")
    elif place == "a file":
        homeless.touch()
    else:
        homeless.mkdir()
        homeless.chmod(0o777)
    with pytest.raises(JournalUnavailable, match="SUPERVISOR_STATE"):
        state_path()


@needs_posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_directory_of_somebody_else_is_refused(homeless: Path) -> None:
    """Whoever made it could read what is kept there."""
    if sys.platform == "win32":
        pytest.skip("POSIX only")
    homeless.mkdir(mode=0o700)
    os.chown(homeless, 65_534, 65_534)
    with pytest.raises(JournalUnavailable, match="belongs to somebody else"):
        state_path()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can become another user")
def test_a_real_user_without_a_home(tmp_path: Path) -> None:
    """`USER dummy` in an image: no warning, messages go out, and what is known of earlier runs is right."""
    code = NIGHTLY.format(kit=str(PACKAGE.parent / "tests" / "kit"), messages=str(tmp_path / "messages"))
    place = tmp_path / "tmp"
    place.mkdir()
    for each in (tmp_path, place):
        each.chmod(0o777)
    environment = {"HOME": "/home/dummy", "TMPDIR": str(place), "PYTHONPATH": str(PACKAGE.parent)}
    try:
        ended = subprocess.run(
            [sys.executable, "-c", code],
            env=environment, capture_output=True, text=True, timeout=60, check=False, user=65_534, cwd="/",
        )  # fmt: skip
    except PermissionError as error:
        pytest.skip(f"another user cannot run Python here: {error}")
    if "nightly" not in ended.stdout:
        pytest.skip(f"another user cannot run Python here: {ended.stderr[-200:]}")
    assert "WARNING" not in ended.stdout.replace("WARNING:py", "")
    assert ended.stdout.count(f"kept in {place}/supervisor-65534") == 1
    first, second = (" ".join(each["message"].split()) for each in read(tmp_path / "messages"))
    assert "The first run of this name" not in first
    assert "Second run in a row that failed" in second


def test_a_container_with_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    """A read-only root with a place for temporary files: the state is there, and nothing is lost."""
    mount = "import os; assert not os.system('mount -t tmpfs -o ro none $HOME')"
    code = NIGHTLY.format(kit=str(PACKAGE.parent / "tests" / "kit"), messages=str(tmp_path / "messages"))
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    environment = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "SUPERVISOR_STATE": ""}
    if sys.platform == "win32":
        pytest.skip("POSIX only")
    with containers() as start:
        printed, errors = start(f"{mount}\n{code}", **environment).end()
    assert "cannot be written: runs and messages are kept in" in printed, errors
    assert len(read(tmp_path / "messages")) == 2
    assert (tmp_path / "tmp" / f"supervisor-{os.getuid()}" / "journal.sqlite3").is_file()
