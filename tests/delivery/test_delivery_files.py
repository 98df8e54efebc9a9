"""What is attached is safe when ``notify()`` has returned: the script deletes its files at once, on every platform."""

from __future__ import annotations

import shutil
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from recorders import Recorder
from waiting import PATIENCE_S, wait_until

from supervisor import Supervisor, supervise

if TYPE_CHECKING:
    from supervisor.models import MessageDetails

night = partial(supervise, "night", delivery_deadline_s=PATIENCE_S)


class Reads(Recorder):
    """Keeps what is attached: the names, and what is in the files.

    Args:
        go_on: It waits for this with a file open; None does not wait.
    """

    def __init__(self, go_on: threading.Event | None = None) -> None:
        super().__init__("reads")
        self.go_on = go_on
        self.has_opened = threading.Event()
        self.files: list[tuple[str, bytes]] = []

    def send_message(self, details: MessageDetails, /) -> None:
        """Read the attachments."""
        for each in details.attachments:
            if each.path.is_dir():
                self.files += [(file.name, file.read_bytes()) for file in sorted(each.path.iterdir())]
                continue
            with each.path.open("rb") as file:
                self.has_opened.set()
                assert self.go_on is None or self.go_on.wait(PATIENCE_S)
                self.files.append((each.name or each.path.name, file.read()))
        super().send_message(details)


@pytest.mark.parametrize("journal", [True, False])
def test_files_in_a_temporary_directory_arrive(journal: bool) -> None:
    """Thirty messages, each with a file that is gone when the next one is written: all arrive with theirs."""
    reads = Reads()
    with night(handlers=[reads], journal=journal) as run:
        for i in range(30):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, f"skid {i}.log")
                path.write_bytes(f"row {i}\n".encode() * 100)
                run.notify(f"message {i}", attachments=path)
    assert reads.files == [(f"skid {i}.log", f"row {i}\n".encode() * 100) for i in range(30)]


def test_a_file_may_go_while_its_message_is_being_sent(tmp_path: Path) -> None:
    """The handler has the copy open, never the script's own file."""
    reads = Reads(threading.Event())
    path = tmp_path / "run.log"
    path.write_bytes(b"rows\n")
    with night(handlers=[reads]) as run:
        run.notify("loaded", attachments=path)
        assert reads.has_opened.wait(PATIENCE_S)
        path.write_bytes(b"rewritten\n")
        path.rename(tmp_path / "run.log.1")
        (tmp_path / "run.log.1").unlink()
        assert reads.go_on is not None
        reads.go_on.set()
    assert reads.files == [("run.log", b"rows\n")]


def test_a_large_file_may_go_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is linked where that is possible, and copied elsewhere; so may a folder."""
    monkeypatch.setenv("SUPERVISOR_COPY_AT_ONCE_MB", "1")
    reads = Reads()
    path, folder = tmp_path / "large.log", tmp_path / "folder"
    folder.mkdir()
    for each in (path, folder / "1.log", folder / "2.log"):
        each.write_bytes(b"0123456789abcdef" * 2**17)
    with night(handlers=[reads]) as run:
        run.notify("file", attachments=path)
        path.unlink()
        run.notify("folder", attachments=folder)
        shutil.rmtree(folder)
    assert [(name, len(content)) for name, content in reads.files] == [
        ("large.log", 2**21), ("1.log", 2**21), ("2.log", 2**21)
    ]  # fmt: skip


def test_the_log_of_a_run_may_go_while_its_failure_is_being_sent(tmp_path: Path) -> None:
    """The handler has the copy open, that was made at the end."""
    go_on = threading.Event()
    reads = Reads(go_on)
    path = tmp_path / "run.log"
    path.write_bytes(b"rows\n")
    gone = []

    def delete() -> None:
        if reads.has_opened.wait(PATIENCE_S):
            path.unlink()
            gone.append(path)
        go_on.set()

    thread = threading.Thread(target=delete)
    thread.start()
    with pytest.raises(KeyError), night(handlers=[reads], log_path=path):
        raise KeyError("apn")
    thread.join(PATIENCE_S)
    assert gone == [path]
    assert reads.files == [("run.log", b"rows\n")]


def test_outside_of_a_run_too(tmp_path: Path) -> None:
    """As scripts of version 3 do it: a folder that is left, and the message has arrived."""
    reads = Reads()
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        path = Path(folder, "skid.log")
        path.write_bytes(b"rows\n")
        Supervisor(handlers=[reads]).notify("loaded", attachments=path)
    wait_until(lambda: reads.files)
    assert reads.files == [("skid.log", b"rows\n")]
