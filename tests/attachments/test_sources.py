"""Attachments that cannot be read or packed: none stops a message, and a note says what happened."""

from __future__ import annotations

import gzip
import os
import random
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import attrs
import pytest

from supervisor._attachments import describe, pack, pack_one, packed
from supervisor._attachments.sources import CHUNK_BYTES, Source, UnreadableFileError
from supervisor.models import Attachment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs what only POSIX systems have")


def notes_of(*paths: Path, limit_bytes: int | None = None) -> tuple[str, ...]:
    """Pack files and return the notes."""
    with packed([Attachment(path) for path in paths], limit_bytes=limit_bytes) as got:
        return got.notes


def named_pipe(path: Path) -> None:
    """Make a named pipe, which blocks a reader that opens it."""
    if sys.platform != "win32":
        os.mkfifo(path)


def named_socket(path: Path) -> None:
    """Make a socket that has a name in the file system."""
    if sys.platform != "win32":
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket may have 107 bytes
        try:
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(path.name)
        finally:
            os.chdir(here)


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[threading.Event]:
    """Repeat some work in a thread until the block ends; the event is set after the first time."""
    over, once = threading.Event(), threading.Event()

    def repeat() -> None:
        while not over.is_set():
            work()
            once.set()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        assert once.wait(30)
        yield once
    finally:
        over.set()
        thread.join(30)
        assert not thread.is_alive()


def test_a_missing_file_is_reported_and_the_others_go_out(tmp_path: Path) -> None:
    """Missing files are noted; existing ones are attached."""
    (tmp_path / "there.csv").write_text("a,b\n")
    (tmp_path / "file").write_text("x")
    wanted = [tmp_path / "parcels.log", tmp_path / "there.csv", tmp_path / "file" / "below.txt"]
    with packed([Attachment(path) for path in wanted]) as got:
        assert [part.name for part in got.parts] == ["there.csv"]
        assert got.notes == ("parcels.log: missing", "below.txt: missing")


def test_an_empty_file_is_reported_not_attached(tmp_path: Path) -> None:
    """Empty files are noted, not attached, because SendGrid and Slack refuse messages with one."""
    (tmp_path / "empty.log").touch()
    (tmp_path / "empty.zip").touch()
    with packed([Attachment(tmp_path / "empty.log"), Attachment(tmp_path / "empty.zip")]) as got:
        assert got.parts == ()
        assert got.notes == ("empty.log: empty", "empty.zip: empty")


UNREADABLE = """
import os, sys
from pathlib import Path
from supervisor._attachments import describe, pack, packed
from supervisor.models import Attachment
path = Path(sys.argv[1])
with packed([Attachment(path), Attachment(path.parent / "results")]):
    pass  # whatever is imported late is imported as the user who may read it
path.chmod(0)
if os.geteuid() == 0:
    os.seteuid(65534)
print(describe(Attachment(path)).size_bytes)
with packed([Attachment(path)]) as got:
    print(got.parts, got.notes)
closed = path.parent / "results" / "closed"
print(describe(Attachment(closed / "x")).note)
for limit_bytes in (None, 0):
    with packed([Attachment(closed)], limit_bytes=limit_bytes) as got:
        print(got.parts, got.notes)
with packed([Attachment(closed.parent)]) as got:
    print(len(got.parts), got.notes)
"""


@posix
def test_what_is_unreadable_is_reported() -> None:
    """A file or directory that the user may not open is noted with the system's reason."""
    # Not in TMPDIR, which may be root's own: the user without rights has to get there, and to pack there.
    with TemporaryDirectory(dir="/tmp") as place:
        folder = Path(place)
        folder.chmod(0o755)
        (folder / "secret.log").write_text("x")
        (folder / "results" / "closed").mkdir(parents=True)
        (folder / "results" / "closed").chmod(0)
        child = subprocess.run(
            [sys.executable, "-c", UNREADABLE, str(folder / "secret.log")],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TMPDIR": "/tmp"},
        )
    assert child.stdout.splitlines() == [
        "1",
        "() ('secret.log: not readable: Permission denied',)",
        "not readable: Permission denied",
        "() ('closed: not readable: Permission denied',)",
        "() ('closed: not readable: Permission denied',)",
        "1 ('results: without results/closed (not readable: Permission denied)',)",
    ]


def _fails_to_read() -> Path | None:
    for path in map(Path, ("/sys/class/net/lo/speed", "/sys/class/net/lo/phys_port_id")):
        try:
            path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError:
            return path
    return None


@pytest.mark.skipif(_fails_to_read() is None, reason="needs a file of sysfs whose reading fails")
def test_a_file_that_opens_but_fails_to_read_is_reported() -> None:
    """A read error becomes a note, not an exception."""
    path = _fails_to_read()
    assert path is not None
    (note,) = notes_of(path)
    assert note.startswith(f"{path.name}: not readable: ")


@posix
def test_a_named_pipe_a_socket_and_a_device_are_never_opened(tmp_path: Path) -> None:
    """Pipes, sockets and devices are noted by their kind, and not opened."""
    named_pipe(tmp_path / "pipe.log")
    named_socket(tmp_path / "sock")
    assert notes_of(tmp_path / "pipe.log", tmp_path / "sock", Path("/dev/zero"), limit_bytes=1000) == (
        "pipe.log: a named pipe, not read",
        "sock: a socket, not read",
        "zero: a device, not read",
    )


@posix
def test_a_pipe_that_takes_the_files_place_after_the_look_does_not_block(tmp_path: Path) -> None:
    """A pipe that replaces a file after the check is refused when it is opened, without waiting for a writer."""
    path, pipe, file = tmp_path / "x.log", tmp_path / "pipe", tmp_path / "file"
    file.write_text("content")

    def swap() -> None:
        named_pipe(pipe)
        pipe.replace(path)
        file.write_text("content")
        file.replace(path)

    swap()
    with meanwhile(swap):
        notes = {notes_of(path) for _ in range(500)}
    assert notes <= {(), ("x.log: a named pipe, not read",), ("x.log: empty",)}


def test_a_file_that_vanishes_after_the_look_is_missing(tmp_path: Path) -> None:
    """A file that vanishes while it is packed is noted as missing."""
    path = tmp_path / "x.log"

    def blink() -> None:
        path.write_text("content")
        path.unlink()

    with meanwhile(blink):
        notes = {notes_of(path, limit_bytes=limit) for _ in range(300) for limit in (None, 100)}
    assert notes <= {(), ("x.log: missing",), ("x.log: empty",)}
    assert ("x.log: missing",) in notes


@posix
def test_links_are_followed_and_loops_survived(tmp_path: Path) -> None:
    """A link that a script names is followed; a broken one is noted."""
    (tmp_path / "app-1.log").write_text("content")
    (tmp_path / "latest.log").symlink_to("app-1.log")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "broken").symlink_to("nothing")
    with packed([Attachment(tmp_path / name) for name in ("latest.log", "loop", "broken")]) as got:
        assert [part.name for part in got.parts] == ["latest.log"]
        assert got.parts[0].path.read_bytes() == b"content"
        assert got.notes == ("loop: not readable: Too many levels of symbolic links", "broken: missing")


def test_a_growing_file_is_read_up_to_the_size_it_had(tmp_path: Path) -> None:
    """A growing file is read up to its size at the beginning."""
    path = tmp_path / "growing.log"
    line = b"2026-01-31 23:59:59 INFO one more line\n" * 1000
    path.write_bytes(line * 50)
    with path.open("ab", buffering=0) as log:

        def grow() -> None:
            if log.tell() < 200_000_000:
                log.write(line)

        with meanwhile(grow), packed([Attachment(path)]) as got:
            (part,) = got.parts
            content = gzip.decompress(part.path.read_bytes())
    assert got.notes == ()
    assert len(line) * 50 <= len(content) < path.stat().st_size
    assert content == (line * (len(content) // len(line) + 1))[: len(content)]


def test_what_was_read_of_a_truncated_file_counts(tmp_path: Path) -> None:
    """A log that is truncated while it is read is sent as far as it was read, with a note."""
    path = tmp_path / "rotated.log"
    content = random.Random(4).randbytes(30_000_000)
    parts = tmp_path / "parts"
    parts.mkdir()

    def truncate() -> None:
        if any(each.stat().st_size for each in parts.iterdir()):
            os.truncate(path, 1_000_000)

    for _ in range(20):
        path.write_bytes(content)
        with meanwhile(truncate):
            result = pack(Attachment(path), parts)
        assert result.part is not None
        read = gzip.decompress(result.part.path.read_bytes())
        result.part.path.unlink()
        assert content.startswith(read)
        if len(read) < len(content):
            break
    assert result.note.startswith("truncated while it was read, ")
    assert result.part is not None
    assert result.part.note == result.note


def test_a_walk_over_a_truncated_file_ends_with_a_note(tmp_path: Path) -> None:
    """A source that is truncated between two chunks ends there, with a note."""
    path = tmp_path / "x.log"
    path.write_bytes(b"x" * (3 * CHUNK_BYTES))
    with Source.open(path) as source:
        chunks = source.chunks()
        assert len(next(chunks)) == CHUNK_BYTES
        os.truncate(path, 100)
        assert list(chunks) == []
        assert source.trouble == "truncated while it was read, 256 KB are left"


def test_a_file_emptied_after_the_look_is_reported(tmp_path: Path) -> None:
    """A file that is truncated before anything was read has no chunks, and is noted."""
    path = tmp_path / "x.log"
    path.write_bytes(b"x" * 1000)
    with Source.open(path) as source:
        os.truncate(path, 0)
        assert list(source.chunks()) == []
        assert source.trouble == "truncated while it was read, 0 B are left"


def test_a_part_does_not_change_with_its_original(tmp_path: Path) -> None:
    """Compressed files are copied too, so that their size cannot change while a handler sends them."""
    path = tmp_path / "x.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"first")
    with packed([Attachment(path)]) as got:
        path.write_bytes(b"")
        path.unlink()
        (part,) = got.parts
        assert part.path.read_bytes() == b"\x89PNG\r\n\x1a\nfirst"
        assert part.path.stat().st_size == part.size_bytes


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "x" * 5000])
def test_paths_that_no_system_takes_are_reported(path: str) -> None:
    """A path that the system refuses becomes a note."""
    assert describe(Attachment(Path(path))).note
    (note,) = notes_of(Path(path))
    assert note.isprintable()
    assert len(note) < 400


def test_temporary_files_are_gone_afterwards(tmp_path: Path) -> None:
    """The temporary directory is removed, even after an exception in the block."""
    (tmp_path / "x.log").write_text("x")
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(ConnectionError), packed([Attachment(tmp_path / "x.log")], directory=place) as got:
        assert got.parts[0].path.is_relative_to(place)
        raise ConnectionError
    assert list(place.iterdir()) == []


def test_errors_of_the_handler_are_not_taken_for_ours(tmp_path: Path) -> None:
    """An OSError raised in the block is not caught."""
    with pytest.raises(OSError, match="the server"), packed([Attachment(tmp_path)]):
        raise OSError("the server hung up")


def test_without_a_temporary_directory_the_message_goes_out(tmp_path: Path) -> None:
    """With a full or missing disk, all attachments are noted and nothing is raised."""
    (tmp_path / "x.log").write_text("x")
    with packed([Attachment(tmp_path / "x.log")], directory=tmp_path / "nowhere") as got:
        assert got.parts == ()
        (note,) = got.notes
        assert note.startswith("x.log: left out, could not be packed: ")
    assert pack_one(Attachment(tmp_path / "x.log"), tmp_path / "nowhere") is None


FULL_DISK = """
import os, resource, sys
from pathlib import Path
from supervisor._attachments import packed
from supervisor.models import Attachment
folder = Path(sys.argv[1])
sys.dont_write_bytecode = True  # a module's byte code would be cut off too, and stay so
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
wanted = [Attachment(folder / "noise.bin"), Attachment(folder), Attachment(folder / "small")]
with packed(wanted, directory=folder) as got:
    print([part.name for part in got.parts], got.notes)
print(sorted(os.listdir(folder)))
"""


@posix
def test_a_disk_that_fills_up_meanwhile_is_reported(tmp_path: Path) -> None:
    """A part that cannot be written is removed and noted; the others are attached."""
    (tmp_path / "noise.bin").write_bytes(random.Random(4).randbytes(1_000_000))
    (tmp_path / "small").write_text("x")
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    printed, left = child.stdout.splitlines()
    assert printed == (
        f"['small.gz'] ('noise.bin: left out, could not be packed: File too large',"
        f" '{tmp_path.name}: left out, could not be packed: File too large')"
    )
    assert left == "['noise.bin', 'small']"
    assert child.stderr == ""


def test_descriptions_tell_size_and_state_without_opening(tmp_path: Path) -> None:
    """``describe`` fills in size and note without packing."""
    (tmp_path / "x.log").write_text("12345")
    (tmp_path / "empty").touch()

    def described(name: str) -> tuple[int | None, str]:
        attachment = describe(Attachment(tmp_path / name))
        return attachment.size_bytes, attachment.note

    assert described("x.log") == (5, "")
    assert described("empty") == (0, "empty")
    assert described("gone") == (None, "missing")
    assert described("") == (None, "a directory")


@posix
def test_a_described_pipe_is_not_opened(tmp_path: Path) -> None:
    """``describe`` does not open named pipes."""
    named_pipe(tmp_path / "pipe")
    assert describe(Attachment(tmp_path / "pipe")).note == "a named pipe, not read"


def test_a_note_of_ones_own_stays_unless_something_happened(tmp_path: Path) -> None:
    """An attachment's own note is kept; one that describes an earlier state says so."""
    path = tmp_path / "x.log"
    own = Attachment(path, note="last 2 MB of 5 MB")
    assert describe(own).note == "missing"
    missing = describe(Attachment(path))
    path.write_text("content")
    assert describe(missing).note == ""
    assert describe(own).note == "last 2 MB of 5 MB"
    with packed([own, attrs.evolve(missing, name="y.log")]) as got:
        assert got.notes == ("x.log: the last 2 MB of 5 MB", "y.log: missing when the message was written")
        assert [part.note for part in got.parts] == ["last 2 MB of 5 MB", "missing when the message was written"]


def test_a_described_directory_is_packed_without_a_note(tmp_path: Path) -> None:
    """The note "a directory" is dropped from an archive."""
    with packed([describe(Attachment(tmp_path, name="results"))]) as got:
        assert [(part.name, part.note) for part in got.parts] == [("results.zip", "")]
        assert got.notes == ()


def test_opening_a_directory_as_a_file_is_refused(tmp_path: Path) -> None:
    """A directory is refused when it is opened as a file."""
    with pytest.raises(UnreadableFileError, match="a directory, not read"):
        Source.open(tmp_path)


def test_nothing_wanted_is_nothing_done() -> None:
    """A message without attachments touches no disk."""
    with packed([], directory=Path("/nowhere")) as got:
        assert (got.parts, got.notes) == ((), ())
