"""What a run is called whose command line says nothing else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor._cli.exec import program_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/opt/jobs/backup.sh --full", "backup"),
        ("backup.sh", "backup"),
        ("rsync -a x y", "rsync"),
        ("/usr/bin/tar.v2 cf", "tar.v2"),
        ("./.hidden", ".hidden"),
        ("python nightly.py", "nightly"),
        ("/usr/bin/python3.12 -u -X dev -W error /srv/jobs/nightly.py --dry", "nightly"),
        ("python -m jobs", "jobs"),
        ("python -m jobs.nightly", "nightly"),
        ("python -mjobs.nightly", "nightly"),
        ("python -u -m jobs.__main__", "jobs"),
        ("python jobs/__main__.py", "jobs"),
        ("python -c print(1)", "python"),
        ("python -", "python"),
        ("python", "python"),
        ("python3.12", "python3.12"),
        ("py -3 nightly.py", "nightly"),
        ("sh nightly.sh", "nightly"),
        ("bash -eu /srv/nightly.sh x", "nightly"),
        ("sh -c exit", "sh"),
        ("perl -w report.pl", "report"),
        ("node --enable-source-maps dist/report.js", "report"),
        ("env A=1 B=2 nightly.sh", "nightly"),
        ("/usr/bin/env -i -u HOME python3 nightly.py", "nightly"),
        ("nice -n 10 ionice -c 3 python nightly.py", "nightly"),
        ("timeout -k 5 30 ./nightly.sh", "nightly"),
        ("sudo -u postgres pg_dump x", "pg_dump"),
        ("uv run nightly.py", "nightly"),
        ("uv run --frozen python -m jobs.nightly", "nightly"),
        ("poetry run nightly", "nightly"),
        ("uv sync", "uv"),
        ("nice", "nice"),
        ("env A=1", "env"),
    ],
)
def test_a_command_is_called_like_what_it_runs(command: str, name: str) -> None:
    """Folder, ending, interpreter and what only prepares the program do not belong to the name."""
    assert program_of(tuple(command.split())).name == name


def test_a_name_with_blanks_is_kept() -> None:
    """The name is the file's, blanks and letters of all alphabets among it."""
    assert program_of(("/srv/nächtlicher lauf.sh",)).name == "nächtlicher lauf"


def test_the_configuration_is_looked_for_beside_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is the script's, or the program's where it is named by its path, and None where it is looked up."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "nightly.py"
    script.touch()
    assert program_of(("python", str(script))).file == str(script)
    assert program_of(("nice", "python", "nightly.py")).file == "nightly.py"
    assert program_of((str(script), "x")).file == str(script)
    assert program_of(("./nightly.py",)).file == "./nightly.py"
    assert program_of(("nightly.py",)).file is None
    assert program_of(("python", "missing.py")).file is None
    assert program_of(("python", "-m", "nightly")).file is None
    assert program_of(("true",)).file is None


@given(
    st.lists(
        st.text(max_size=6) | st.sampled_from(["python", "env", "nice", "-m", "-c", "uv", "run", "--", "/"]),
        min_size=1,
        max_size=5,
    )
)
def test_every_command_has_a_name(command: list[str]) -> None:
    """Whatever the command line is, the name is a text that is not blank."""
    assert program_of(tuple(command)).name.strip()


def test_a_package_run_in_its_own_folder_has_the_folders_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``python __main__.py`` is called like the folder, as the script calls itself."""
    (tmp_path / "jobs").mkdir()
    monkeypatch.chdir(tmp_path / "jobs")
    assert program_of((sys.executable, "__main__.py")).name == "jobs"
