"""What is kept of a program's output."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor._cli.exec.output import (
    MEMORY_BYTES,
    STDERR,
    STDOUT,
    DeferredOutput,
    OutputCopier,
    OutputTail,
    _OwnStream,
)

chunks = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(min_size=1, max_size=40)), max_size=30)


def whole(parts: object) -> dict[int, bytes]:
    """Return what each stream has."""
    streams = {STDOUT: b"", STDERR: b""}
    for stream, data in parts:  # type: ignore[attr-defined]  # pairs
        streams[stream] += data
    return streams


@given(chunks, st.integers(min_value=1, max_value=300))
def test_a_tail_is_the_end_of_all_in_its_order(said: list[tuple[int, bytes]], limit: int) -> None:
    """It holds the last bytes of all streams together, at most so many, each byte with its stream."""
    tail = OutputTail(limit)
    for stream, data in said:
        tail.add(stream, data)
    bytes_said = [(stream, byte) for stream, data in said for byte in data]
    assert [(stream, byte) for stream, data in tail.chunks() for byte in data] == bytes_said[-limit:]
    assert tail.is_cut == (len(bytes_said) > limit)


def test_many_small_pieces_are_kept_in_few() -> None:
    """A program that writes byte by byte does not take more memory than one that writes lines."""
    tail = OutputTail()
    for _ in range(100_000):
        tail.add(STDOUT, b"x")
    assert len(tail.chunks()) < 50
    assert sum(len(data) for _, data in tail.chunks()) == 65_536


def lines_of(*said: tuple[int, bytes], **options: int) -> list[str]:
    """Return the last lines of what was said."""
    output = OutputCopier()
    for stream, data in said:
        output.tail.add(stream, data)
    return output.lines(**options)


def test_lines_are_text_whatever_the_bytes() -> None:
    """What is no UTF-8 is replaced, blank lines at the end go, and Windows' line ends too."""
    assert lines_of((STDOUT, b"a\r\n\xffb\n\n  \n")) == ["a", "\ufffdb"]
    assert lines_of() == []
    assert lines_of((STDOUT, b"\n\n")) == []


def test_what_is_written_over_is_shown_as_it_was_last() -> None:
    """Of a progress bar the last state is shown."""
    assert lines_of((STDOUT, b"10 %\r50 %\r100 %\ndone\n")) == ["100 %", "done"]


def test_lines_of_two_streams_do_not_run_together() -> None:
    """Where another stream speaks in the middle of a line, a new line begins."""
    assert lines_of((STDOUT, b"copying ..."), (STDERR, b"no space\n"), (STDOUT, b" gave up")) == [
        "copying ...", "no space", " gave up",
    ]  # fmt: skip
    assert lines_of((STDOUT, b"copying"), (STDERR, b"no space\n"), only=STDERR) == ["no space"]
    assert lines_of((STDOUT, b"1\n2\n3\n"), most=2) == ["2", "3"]


def test_a_line_that_has_lost_its_beginning_goes() -> None:
    """What is cut begins with a whole line; a single line stays, cut."""
    output = OutputCopier()
    output.tail = OutputTail(10)
    output.tail.add(STDOUT, b"first line\nsecond")
    assert output.lines() == ["second"]
    output.tail.add(STDOUT, b"x" * 30)
    assert output.lines() == ["x" * 10]


@given(chunks, st.integers(min_value=0, max_value=400))
def test_a_spool_gives_back_the_beginning_and_says_what_is_missing(said: list[tuple[int, bytes]], limit: int) -> None:
    """All is given back within the limit; beyond it the beginning, the tail, and how much is between them."""
    spool, tail = DeferredOutput(limit), OutputTail(100)
    for stream, data in said:
        tail.add(stream, data)
        spool.add(stream, data)
    given_back = list(spool.read(tail))
    total = sum(len(data) for _, data in said)
    if total <= limit + 100:
        assert whole(given_back) == whole(said)
    else:
        shown = b"".join(data for _, data in given_back)
        spoken = b"".join(data for _, data in said)
        assert b"of output left out" in shown
        assert shown.startswith(spoken[:limit])
        assert shown.endswith(spoken[-100:])


def test_a_spool_keeps_little_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is more than a megabyte goes into a nameless file, and comes back whole."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool, tail = DeferredOutput(), OutputTail()
    piece = bytes(range(256)) * 256
    for number in range(100):
        spool.add(STDOUT if number % 3 else STDERR, piece)
    assert len(spool._memory) <= MEMORY_BYTES + len(piece)
    if sys.platform != "win32":  # there, a temporary file has its name until it is closed
        assert list(tmp_path.iterdir()) == []
    assert b"".join(data for _, data in spool.read(tail)) == piece * 100
    spool.close()
    spool.add(STDOUT, piece)
    assert len(spool._memory) == 0


def test_a_spool_without_room_on_the_disk_keeps_what_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file can be written the beginning is kept, and what is missing is said."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    spool, tail = DeferredOutput(), OutputTail()
    piece = b"x" * 65_536
    for _ in range(100):
        tail.add(STDOUT, piece)
        spool.add(STDOUT, piece)
    given_back = list(spool.read(tail))
    kept = sum(len(data) for stream, data in given_back if stream == STDOUT)
    assert MEMORY_BYTES < kept < 3 * MEMORY_BYTES
    assert b"of output left out" in b"".join(data for stream, data in given_back if stream == STDERR)


def test_a_full_disk_is_warned_of_once(log: pytest.LogCaptureFixture) -> None:
    """Output that has no room is lost with one warning, and the program is not stopped by it."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        sink = _OwnStream(full)
        for _ in range(3):
            sink.write(b"lost")
    finally:
        os.close(full)
    assert [each.getMessage() for each in log.records] == [
        "some output of the program is lost: No space left on device"
    ]


def test_a_stream_that_others_have_made_non_blocking_gets_all() -> None:
    """A pipe that is full for a moment is waited for."""
    if sys.platform == "win32":
        pytest.skip("pipes there always wait")
    readable, writable = os.pipe()
    os.set_blocking(writable, False)

    def write() -> None:
        _OwnStream(writable).write(b"x" * 1_000_000)
        os.close(writable)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(readable, "rb") as reader:
        assert len(reader.read()) == 1_000_000
    writer.join()
