"""What goes with a message is taken before the script goes on: copied, or linked and then copied by a thread."""

from __future__ import annotations

import errno
import functools
import gzip
import io
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from recorders import Recorder
from waiting import wait_until

from supervisor import supervise
from supervisor._attachments import describe, originals, pack, packed
from supervisor._attachments.originals import links_among, replace_link, take
from supervisor._delivery import pool as jobs
from supervisor._store import Journal
from supervisor.models import Attachment, MessageDetails

if TYPE_CHECKING:
    from collections.abc import Callable

MB = 1024 * 1024
LIMIT = 200 * MB
linking = pytest.mark.skipif(sys.platform == "win32", reason="nothing is linked on Windows")


class Packs:
    """A handler that packs attachments as mail does, once it may."""

    name = "packs"

    def __init__(self, *, waits: bool = False) -> None:
        self.contents: list[dict[str, bytes]] = []
        self.notes: list[str] = []
        self.may = threading.Event()
        if not waits:
            self.may.set()

    def send_message(self, details: MessageDetails, /) -> None:
        """Pack the attachments, and note what they contain."""
        assert self.may.wait(60)
        with packed(details.attachments) as files:
            self.contents.append({each.name: _unpacked(each.path) for each in files.parts})
            self.notes.extend(files.notes)


def _unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@pytest.fixture
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files of more than 1 MB be linked."""
    monkeypatch.setenv("SUPERVISOR_COPY_AT_ONCE_MB", "1")


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Return an empty directory for copies."""
    directory = tmp_path / "copies"
    directory.mkdir()
    return directory


def _file(tmp_path: Path, size_bytes: int = 20_000) -> Path:
    path = tmp_path / "skid.log"
    path.write_bytes((b"parcel\n" * (size_bytes // 7 + 1))[:size_bytes])
    return path


def _taken(path: Path, directory: Path) -> Attachment:
    found = take(describe(Attachment(path)), directory, LIMIT)
    assert found is not None
    return found


@pytest.mark.parametrize("journal", [None, False])
def test_files_of_a_temporary_directory_arrive(tmp_path: Path, journal: bool | None) -> None:
    """A script may leave its temporary directory as soon as notify has returned."""
    handler = Packs(waits=True)
    keeps: dict[str, Any] = {} if journal is None else {"journal": journal}
    with supervise("night", handlers=[handler], **keeps) as run:
        for number in range(30):
            with tempfile.TemporaryDirectory(dir=tmp_path) as name:
                path = Path(name, "skid.log")
                path.write_text(f"line {number}\n")
                run.notify(f"notice {number}", attachments=path)
        handler.may.set()
    assert handler.contents == [{"skid.log": f"line {number}\n".encode()} for number in range(30)]


def test_what_memory_holds_is_removed_once_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a journal the copies are in a private temporary directory, which does not outlast the message."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    handler = Packs(waits=True)
    path = _file(tmp_path)
    with supervise("night", handlers=[handler], journal=False) as run:
        run.notify("notice", attachments=path)
        (directory,) = tmp_path.glob("supervisor-*")
        if sys.platform != "win32":
            assert directory.stat().st_mode & 0o777 == 0o700
        handler.may.set()
    assert len(handler.contents[0]) == 1
    assert list(tmp_path.glob("supervisor-*")) == []


def _delete(path: Path) -> None:
    path.unlink()


def _rename(path: Path) -> None:
    path.rename(path.with_suffix(".1"))


def _truncate(path: Path) -> None:
    path.write_bytes(b"")


def _rewrite(path: Path) -> None:
    path.write_bytes(b"other")


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize("change", [_delete, _rename, _truncate, _rewrite, _append])
def test_a_file_may_be_changed_right_after(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Whatever the script does with its file after notify, it arrives as it was."""
    path, handler = _file(tmp_path), Packs(waits=True)
    content = path.read_bytes()
    with supervise("night", handlers=[handler]) as run:
        run.notify("notice", attachments=path)
        change(path)
        handler.may.set()
    assert handler.contents == [{"skid.log": content}]
    assert handler.notes == []


@linking
@pytest.mark.usefixtures("small_copies")
@pytest.mark.parametrize("change", [_delete, _rename, _append])
def test_a_large_file_may_be_changed_right_after(tmp_path: Path, copies: Path, change: Callable[[Path], None]) -> None:
    """A link shows what was deleted or renamed, and no more than the size that the file had."""
    path = _file(tmp_path, 2 * MB)
    content = path.read_bytes()
    taken = _taken(path, copies)
    assert taken.path.samefile(path)
    change(path)
    part = pack(taken, tmp_path).part
    assert part is not None
    assert (_unpacked(part.path) == content, part.note) == (True, "")


@linking
@pytest.mark.usefixtures("small_copies")
def test_a_large_file_that_shrank_is_said(tmp_path: Path, copies: Path) -> None:
    """A file that was truncated before it could be copied goes as it is, and the message says so."""
    path = _file(tmp_path, 2 * MB)
    taken = _taken(path, copies)
    os.truncate(path, 1000)
    for _ in range(2):
        result = pack(taken, tmp_path)
        assert result.note == "shrank after it was attached, 0.977 KB of 2 MB are left"
        replace_link(taken)
    assert not taken.path.samefile(path)
    os.truncate(path, 0)
    os.truncate(taken.path, 0)
    assert pack(taken, tmp_path).note == "shrank after it was attached, 0 B of 2 MB are left"


@linking
@pytest.mark.usefixtures("small_copies")
def test_a_link_is_replaced_by_a_copy_of_what_was_attached(tmp_path: Path, copies: Path) -> None:
    """The link goes as soon as the copy is there; the script's file keeps its mode and its one name."""
    path = _file(tmp_path, 2 * MB)
    path.chmod(0o644)
    content = path.read_bytes()
    taken = _taken(path, copies)
    _append(path)
    links = links_among([taken, Attachment(path)], str(copies), LIMIT)
    assert links == [taken]
    originals.replace_in_thread(links)
    wait_until(lambda: path.stat().st_nlink == 1)
    assert path.stat().st_mode & 0o777 == 0o644
    assert taken.path.read_bytes() == content
    assert taken.path.stat().st_mode & 0o777 == 0o600
    assert links_among([taken], str(copies), LIMIT) == []


@linking
def test_a_huge_log_is_linked_at_once(tmp_path: Path, copies: Path) -> None:
    """A log of 500 MB is not read before notify returns, and one beyond the limit of copies stays a link."""
    path = tmp_path / "big.log"
    path.touch()
    os.truncate(path, 500 * MB)
    began = time.perf_counter()
    taken = _taken(path, copies)
    assert time.perf_counter() - began < 0.3
    assert taken.path.samefile(path)
    assert links_among([taken], str(copies), LIMIT) == []


@pytest.mark.usefixtures("small_copies")
def test_where_linking_is_refused_a_large_file_is_copied(
    tmp_path: Path, copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another file system, say, it takes longer, but is as safe; nothing beyond the limit is copied."""
    monkeypatch.setattr(os, "link", functools.partial(_refuse, errno.EXDEV))
    path = _file(tmp_path, 2 * MB)
    assert _taken(path, copies).path.read_bytes() == path.read_bytes()
    with pytest.raises(OSError, match="too large") as caught:
        take(Attachment(path), tmp_path, MB)
    assert caught.value.errno == errno.EFBIG


def _refuse(number: int, *_: Any, **__: Any) -> None:
    raise OSError(number, os.strerror(number))


def test_a_full_disk_is_said_in_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither a copy nor a link can be had the message goes out, and says what happened to its file."""
    monkeypatch.setattr(os, "link", functools.partial(_refuse, errno.EPERM))
    monkeypatch.setattr(originals, "_write_all", functools.partial(_refuse, errno.ENOSPC))
    handler = Packs()
    with supervise("night", handlers=[handler]) as run:
        run.notify("notice", attachments=_file(tmp_path))
    assert handler.notes == [f"skid.log: no copy kept: {os.strerror(errno.ENOSPC)}"]


@linking
def test_a_full_disk_still_has_room_for_a_link(tmp_path: Path, copies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be copied is linked where that is possible."""
    monkeypatch.setattr(originals, "_write_all", functools.partial(_refuse, errno.ENOSPC))
    path = _file(tmp_path)
    taken = _taken(path, copies)
    replace_link(taken)
    assert taken.path.samefile(path)
    assert [each.name for each in copies.iterdir()] == ["skid.log"]


def test_a_directory_is_copied(tmp_path: Path, copies: Path) -> None:
    """A directory is copied with its files; what would not be sent is left out and named."""
    folder = tmp_path / "reports"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.txt").write_text("a")
    if sys.platform != "win32":
        os.mkfifo(folder / "pipe")
    taken = _taken(folder, copies)
    (folder / "inner" / "a.txt").unlink()
    part = pack(taken, tmp_path).part
    assert part is not None
    with zipfile.ZipFile(io.BytesIO(part.path.read_bytes())) as archive:
        assert archive.namelist() == ["reports/", "reports/inner/", "reports/inner/a.txt"]
    if sys.platform != "win32":
        assert taken.note == "without reports/pipe (a named pipe, not read)"
    with pytest.raises(OSError, match="too large"):
        take(Attachment(folder.parent), tmp_path / "elsewhere", 0)


@pytest.mark.parametrize("make", [lambda _: None, Path.touch])
def test_what_is_missing_or_empty_is_not_copied(tmp_path: Path, copies: Path, make: Callable[[Path], None]) -> None:
    """The message names it as before."""
    path = tmp_path / "rows.csv"
    make(path)
    assert take(Attachment(path), copies, LIMIT) is None
    assert list(copies.iterdir()) == []


@linking
@pytest.mark.usefixtures("small_copies")
def test_what_a_killed_process_linked_is_copied_by_the_next(tmp_path: Path, state: Path) -> None:
    """The link is in the journal as any copy is; whoever sends the message first makes the copy."""
    path = _file(tmp_path, 2 * MB)
    with _journal(state) as journal:
        (delivery,) = journal.put(MessageDetails("s", attachments=describe(Attachment(path))), ["mail"])
        journal.take_attachments(delivery, take)
    assert path.stat().st_nlink == 2
    with _journal(state) as journal:
        claimed = journal.claim("mail")
        assert claimed is not None
        job = jobs.Job(claimed, journal)
        job.find_attachments()
        assert path.stat().st_nlink == 1
        assert job.delivery.message.attachments[0].path.read_bytes() == path.read_bytes()


class _journal:  # noqa: N801 - reads as the context manager that it is
    def __init__(self, state: Path) -> None:
        self._journal = Journal(state)

    def __enter__(self) -> Journal:
        return self._journal

    def __exit__(self, *_: object) -> None:
        self._journal.close()


@pytest.fixture
def packing_threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the threads that packed something."""
    import supervisor._attachments as attachments

    names: list[str] = []
    plain = attachments.pack

    def noting(*args: Any, **fields: Any) -> Any:
        names.append(threading.current_thread().name)
        return plain(*args, **fields)

    monkeypatch.setattr(attachments, "pack", noting, raising=False)
    return names


def test_the_script_never_packs(tmp_path: Path, state: Path, packing_threads: list[str]) -> None:
    """With a handler that hangs a run ends at its deadline; its log is safe, and the main thread compressed nothing."""
    path, handler = _file(tmp_path), Packs(waits=True)
    content = path.read_bytes()

    def end() -> None:
        raise KeyError

    with pytest.raises(KeyError), supervise("night", handlers=[handler], log_path=path, delivery_deadline_s=0.1):
        end()
    assert threading.current_thread().name not in packing_threads
    wait_until(lambda: [each.read_bytes() for each in (state / "outbox").rglob("*") if each.is_file()] == [content])
    handler.may.set()


def test_notify_costs_little_more_than_the_copy(tmp_path: Path) -> None:
    """1 MB attached takes about twice as long as a copy with fsync; the limit leaves room for a busy machine."""
    path = tmp_path / "rows.bin"
    path.write_bytes(os.urandom(MB))

    def seconds(call: Callable[[int], None]) -> float:
        taken = []
        for number in range(9):
            began = time.perf_counter()
            call(number)
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    def copy(number: int) -> None:
        with (tmp_path / f"copy-{number}").open("wb") as file:
            file.write(path.read_bytes())
            file.flush()
            os.fsync(file.fileno())

    handler = Packs(waits=True)
    with supervise("night", handlers=[handler]) as run:
        run.notify("first", attachments=path)
        cost = seconds(lambda number: run.notify(f"notice {number}", attachments=path))
        handler.may.set()
    assert cost < 10 * seconds(copy) + 0.02


def test_the_end_of_a_run_waits_for_copies_within_its_deadline(tmp_path: Path) -> None:
    """A folder that takes long to copy does not hold the end up; its message goes when it is copied."""
    folder = tmp_path / "tables"
    folder.mkdir()
    for number in range(400):
        (folder / f"{number}.csv").write_text("a,b\n")
    recorder = Recorder()
    with supervise("load", handlers=[recorder], report_on=["success"], delivery_deadline_s=0) as run:
        run.attach(folder)
    assert any("copies attachments" in each.name for each in threading.enumerate())
    wait_until(lambda: recorder.messages)
    [attachment] = recorder.messages[0].attachments
    assert attachment.path != folder


@linking
def test_a_folder_that_is_too_deep_to_copy_is_taken_as_far_as_paths_reach(tmp_path: Path) -> None:
    """The copy of a tree that is deeper than the system's longest path ends in a note."""
    source, target = tmp_path / "tree", tmp_path / "copies"
    source.mkdir()
    target.mkdir()
    here = os.open(source, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    taken = take(Attachment(source), target, LIMIT)
    assert taken is not None
    assert "File name too long" in taken.note
    assert len(taken.note) < 1_000


@linking
@pytest.mark.usefixtures("small_copies")
def test_a_large_folder_is_linked_file_by_file_and_copied_by_a_thread(tmp_path: Path) -> None:
    """A folder above the limit of copies at once is linked; the links go, and what the script appended is not in it."""
    folder, target = tmp_path / "tables", tmp_path / "copies"
    (folder / "march").mkdir(parents=True)
    target.mkdir()
    content = os.urandom(MB)
    for path in (folder / "a.bin", folder / "march" / "b.bin"):
        path.write_bytes(content)
        os.utime(path, (1e9, 1e9))
    taken = take(Attachment(folder), target, LIMIT)
    assert taken is not None
    assert (taken.path / "march" / "b.bin").samefile(folder / "march" / "b.bin")
    with (folder / "a.bin").open("ab") as file:
        file.write(b"appended")
    [link] = links_among([taken], str(target), LIMIT)
    replace_link(link)
    assert links_among([taken], str(target), LIMIT) == []
    for path in (taken.path / "a.bin", taken.path / "march" / "b.bin"):
        assert (path.read_bytes(), path.stat().st_nlink) == (content, 1)
    assert (folder / "march" / "b.bin").stat().st_mtime == (taken.path / "march" / "b.bin").stat().st_mtime == 1e9


@linking
@pytest.mark.usefixtures("small_copies")
def test_a_large_folder_may_be_deleted_at_once(tmp_path: Path) -> None:
    """The script may delete a large folder as soon as ``notify()`` has returned; it arrives whole."""
    folder, handler = tmp_path / "tables", Packs(waits=True)
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.bin").write_bytes(os.urandom(MB))
    with supervise("load", handlers=[handler]) as run:
        run.notify("tables", attachments=[folder])
        shutil.rmtree(folder)
        handler.may.set()
    [data] = handler.contents[0].values()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert [len(archive.read(each)) for each in archive.namelist()[1:]] == [MB] * 3
