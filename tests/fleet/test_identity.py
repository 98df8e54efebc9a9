"""A machine is the same in the fleet each time, and two are never one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from supervisor._fleet import identity
from supervisor._places import Machine
from supervisor._store.essentials import JournalUnavailable

if TYPE_CHECKING:
    from pathlib import Path


def on(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be on another machine from now on."""
    monkeypatch.setattr(identity, "this_machine", lambda: Machine(machine, "boot"))


def test_the_same_each_time(state: Path) -> None:
    """Another process finds what the first one has made."""
    first = identity.host_id(str(state), "gis")
    code = "import sys; from supervisor._fleet.identity import host_id; print(host_id(*sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, state, "gis"], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str(first) == str(identity.host_id(str(state), "gis"))


def test_users_and_state_directories_are_apart(state: Path, tmp_path: Path) -> None:
    """Each user of a machine has a journal, and may have several."""
    found = {identity.host_id(str(state), "gis"), identity.host_id(str(state), "ops"),
             identity.host_id(str(tmp_path / "other"), "gis")}  # fmt: skip
    assert len(found) == 3


def test_a_copied_state_directory_is_another_host(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's id shows that it was copied; what was there before has the identity that it had."""
    on("a" * 32, monkeypatch)
    first = identity.host_id(str(state), "gis")
    copied = tmp_path / "copied"
    shutil.copytree(state, copied)
    on("b" * 32, monkeypatch)
    second = identity.host_id(str(copied), "gis")
    assert second != first
    assert identity.host_id(str(copied), "gis") == second
    numbers = {json.loads((each / identity.FILE_NAME).read_text())["number"] for each in (state, copied)}
    assert len(numbers) == 2
    on("a" * 32, monkeypatch)
    assert identity.host_id(str(state), "gis") == first


@pytest.mark.parametrize("damaged", ["", "{", "[1]", '{"machine": 3}'])
def test_a_damaged_file_is_begun_anew(state: Path, damaged: str) -> None:
    """A crash while it was written must not end all checks."""
    state.mkdir(exist_ok=True)
    (state / identity.FILE_NAME).write_text(damaged)
    assert identity.host_id(str(state), "gis") == identity.host_id(str(state), "gis")
    assert {each.name for each in state.iterdir()} <= {identity.FILE_NAME, f"{identity.FILE_NAME}.lock"}


def test_of_two_that_begin_at_once_one_counts(state: Path) -> None:
    """Two checks of a new machine come to one identity."""
    code = "import sys; from supervisor._fleet.identity import host_id; sys.stdin.read(); print(host_id(*sys.argv[1:]))"
    several = [
        subprocess.Popen(
            [sys.executable, "-c", code, state, "gis"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for each in several:
        assert each.stdin is not None
        each.stdin.close()
        each.stdin = None
    assert len({each.communicate()[0] for each in several}) == 1


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """It is said, and which one."""
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnavailable, match="file"):
        identity.host_id(str(tmp_path / "file"), "gis")


def test_the_machine_id_is_not_sent(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even its plain hash."""
    on("c" * 32, monkeypatch)
    document = identity.host_document(str(state), "gis", version="4.0.0", name="gis1", expect_every_s=600.0)
    assert "c" * 32 not in json.dumps(document)
    assert (document["name"], document["account"], document["kind"], document["boot"]) == (
        "gis1", "gis", "machine", "boot",
    )  # fmt: skip
    assert document["expect_every_s"] == 600.0
