"""What tells machines and PID namespaces apart."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

import pytest
from containers import containers
from journal_kit import output_of, python

from supervisor import _places
from supervisor._places import Machine, can_be_looked_up, this_machine

if TYPE_CHECKING:
    from pathlib import Path

SHOW = "from supervisor._places import this_machine; print(*this_machine(), sep='|')"


def test_each_process_of_a_namespace_sees_the_same_machine() -> None:
    """Another process here gets the same answer."""
    assert output_of(python(SHOW)).strip() == "|".join(map(str, this_machine()))


def test_a_container_has_the_boot_of_its_machine_and_a_namespace_of_its_own() -> None:
    """Two containers on one machine differ in nothing but the namespace, whatever their host names are."""
    with containers() as start:
        first, second = (start(f"{SHOW}; input()", hostname="localhost") for _ in range(2))
        (_, *facts), (_, *others) = first.line().split("|"), second.line().split("|")
    assert facts[0] == others[0] == this_machine().boot
    assert len({facts[1], others[1], this_machine().pid_namespace}) == 3


@pytest.mark.parametrize(
    ("machine", "is_whole"),
    [
        (Machine("a" * 32, "boot"), True),
        (Machine("gis1"), True),
        (Machine("", "boot"), False),
        (Machine("a" * 32, "boot", "4026532179"), False),
        (Machine("a" * 32, "", "", shows_processes=False), False),
    ],
)
def test_a_process_can_be_looked_up_only_on_a_whole_machine(machine: Machine, is_whole: bool) -> None:
    """Not in a container, not on a machine without an id, not where /proc is that of others."""
    assert machine.is_whole is is_whole


@pytest.mark.parametrize(("text", "expected"), [("uninitialized", ""), ("0123" * 8, "0123" * 8), ("", "")])
def test_an_image_that_was_never_started_has_no_id(text: str, expected: str, tmp_path: Path) -> None:
    """What stands in the file before the first start tells nothing apart."""
    path = tmp_path / "machine-id"
    path.write_text(f"{text}\n")
    assert _places.id_in(str(path)) == expected
    assert not _places.id_in(str(tmp_path / "missing"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no namespaces hide a process")
def test_the_place_is_asked_without_loading_anything(state: Path) -> None:
    """A run on an ordinary machine with its journal on a disk pays with no module for being looked up later."""
    if sys.platform == "win32":
        pytest.skip("POSIX only")
    if not this_machine().is_whole or not os.major(state.stat().st_dev):
        pytest.skip("this is no ordinary machine, or the tests' files are on no disk")
    assert can_be_looked_up(str(state))
    code = (
        "import sys; from supervisor._places import can_be_looked_up as can\n"
        "raise SystemExit(not can(sys.argv[1]) or 'supervisor._places.resources' in sys.modules)"
    )
    output_of(python(code, state))


@pytest.mark.parametrize(
    ("answer", "code", "expected"),
    [(bytes(range(16)), 0, bytes(range(16)).hex()), (bytes(16), 0, ""), (bytes(range(16)), -1, "")],
)
def test_a_mac_is_known_by_its_hardware(
    answer: bytes, code: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its system fills 16 bytes, and is told how long to wait; an error and zeros are no id."""
    asked = []

    def gethostuuid(found: int, patience: int) -> int:
        asked.append(tuple((ctypes.c_long * 2).from_address(patience)))
        ctypes.memmove(found, answer, len(answer))
        return code

    class Library:
        def __init__(self, name: str | None) -> None:
            assert name is None
            prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
            self.gethostuuid = prototype(gethostuuid)

    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert _places._mac_id() == expected
    assert asked == [(1, 0)]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has that function")
def test_another_system_has_no_such_function() -> None:
    """Its own library is asked for real, and the machine's name serves."""
    assert _places._mac_id() == ""


@pytest.mark.skipif(sys.platform != "darwin", reason="only macOS has that function")
def test_a_real_mac_has_an_id() -> None:
    """It is the same for each process, and no name."""
    code = "from supervisor._places import this_machine; print(this_machine().id)"
    assert output_of(python(code)).strip() == this_machine().id
    assert len(this_machine().id) == 32
