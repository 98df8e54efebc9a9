"""Files become gzip, whole or their last lines, in bounded memory, with isal and without."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor._attachments import compression, pack, pack_one, packed
from supervisor.models import Attachment

if TYPE_CHECKING:
    from collections.abc import Iterator

RANDOM = random.Random(4)
WORDS = ["loaded", "parcel", "county", "geometry", "row", "insert", "update", "skipped", "warning", "repaired"]


def log_lines(size_bytes: int) -> bytes:
    """Return lines like those of a log, which gzip compresses to about a quarter."""
    lines = []
    for number in range(3000):
        words = " ".join(RANDOM.choices(WORDS, k=RANDOM.randrange(3, 9)))
        lines.append(
            f"2026-01-31 23:{number // 60 % 60:02}:{number % 60:02} INFO {words} id={RANDOM.getrandbits(32):08x}\n"
        )
    block = "".join(lines).encode()
    return block * (size_bytes // len(block)) + block[: size_bytes % len(block)]


@pytest.fixture(params=["isal", "zlib"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the test with isal, and once as if isal were not installed."""
    if request.param == "isal":
        pytest.importorskip("isal")
    else:
        monkeypatch.setitem(sys.modules, "isal", None)  # what makes an import fail
    compression._library.cache_clear()
    yield request.param
    compression._library.cache_clear()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("content", [b"x", b"a\n" * 100_000, RANDOM.randbytes(1_000_000), bytes(3_000_000)])
def test_a_file_comes_back_as_it_was(content: bytes, tmp_path: Path) -> None:
    """Unpacking restores the file's content; the part's size and media type are correct."""
    path = tmp_path / "x.dat"
    path.write_bytes(content)
    with packed([Attachment(path)]) as got:
        (part,) = got.parts
        assert gzip.decompress(part.path.read_bytes()) == content
        assert (part.name, part.content_type, part.note) == ("x.dat.gz", "application/gzip", "")
        assert part.size_bytes == part.path.stat().st_size
        assert got.notes == ()


@pytest.mark.usefixtures("engine")
def test_equal_files_make_equal_parts(tmp_path: Path) -> None:
    """A gzip file holds no time and no name, so that a repeat has the same bytes."""
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").write_bytes(b"content")
    with packed([Attachment(tmp_path / "a"), Attachment(tmp_path / "b")]) as got:
        first, second = (part.path.read_bytes() for part in got.parts)
    assert first == second
    assert first[3] == 0  # no name, no comment
    assert first[4:8] == bytes(4)  # no time


def test_the_engine_is_isal_where_it_is_installed(engine: str) -> None:
    """The faster library is used wherever it can be."""
    assert compression._library()[0].__name__.startswith(engine)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("limit_bytes", [300, 5_000, 200_000, 1_000_000])
def test_a_log_that_does_not_fit_is_cut_to_its_last_lines(limit_bytes: int, tmp_path: Path) -> None:
    """A log that is too large keeps its end, which shows why a run failed: whole lines, up to the limit."""
    path = tmp_path / "big.log"
    content = log_lines(8_000_000)
    path.write_bytes(content)
    with packed([Attachment(path)], limit_bytes=limit_bytes) as got:
        (part,) = got.parts
        kept = gzip.decompress(part.path.read_bytes())
        assert limit_bytes * 0.6 < part.size_bytes <= limit_bytes
        assert content.endswith(kept)
        assert content[-len(kept) - 1 :].startswith(b"\n")
        assert part.note.startswith("last ")
        assert part.note.endswith(" of 7.63 MB")
        assert got.notes == (f"big.log: the {part.note}",)


@pytest.mark.usefixtures("engine")
def test_a_log_that_fits_when_compressed_is_sent_whole(tmp_path: Path) -> None:
    """A file whose gzip fits is not cut, however large the file is."""
    path = tmp_path / "x.log"
    path.write_bytes(b"all is well\n" * 500_000)
    with packed([Attachment(path)], limit_bytes=100_000) as got:
        assert got.notes == ()
        assert gzip.decompress(got.parts[0].path.read_bytes()) == path.read_bytes()


def test_a_log_that_gets_denser_towards_its_end_still_fits(tmp_path: Path) -> None:
    """When samples compress better than the rest, a shorter end is kept, and the limit holds."""
    path = tmp_path / "x.log"
    noise = RANDOM.randbytes(4_000_000).replace(b"\0", b"\n")
    path.write_bytes(b"".join(bytes([65]) * 786_432 + noise[at : at + 262_144] for at in range(0, 4_000_000, 262_144)))
    result = pack(Attachment(path), tmp_path, limit_bytes=700_000)
    assert result.part is not None
    assert result.part.size_bytes <= 700_000
    assert path.read_bytes().endswith(gzip.decompress(result.part.path.read_bytes()))


@given(
    st.text(st.characters(exclude_characters="\0\n", codec="utf-8"), min_size=50, max_size=400), st.integers(40, 200)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_single_line_is_cut_between_characters(tmp_path: Path, text: str, limit_bytes: int) -> None:
    """Without line breaks, the kept end begins with a whole character."""
    path = tmp_path / "line.dat"
    path.write_text(text, encoding="utf-8", newline="")
    part = pack_one(Attachment(path), tmp_path, limit_bytes=limit_bytes)
    if part is not None:
        kept = gzip.decompress(part.path.read_bytes()).decode()
        assert part.size_bytes <= limit_bytes
        assert kept
        assert text.endswith(kept)
        part.path.unlink()


def test_what_is_no_text_is_left_out_and_named(tmp_path: Path) -> None:
    """A binary file that does not fit is left out, not cut."""
    (tmp_path / "x.bin").write_bytes(RANDOM.randbytes(4_000_000))
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04" + RANDOM.randbytes(3_000_000))
    with packed([Attachment(tmp_path / "x.bin"), Attachment(tmp_path / "x.zip")], limit_bytes=2_000_000) as got:
        assert got.parts == ()
        assert got.notes == (
            "x.bin: left out, 3.81 MB is more than the 1.91 MB that fit",
            "x.zip: left out, 2.86 MB is more than the 1.91 MB that fit",
        )


def test_what_can_never_fit_is_not_tried(tmp_path: Path) -> None:
    """A sparse file of a terabyte is left out without being read."""
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(2**40)
    with packed([Attachment(tmp_path / "disk.img")], limit_bytes=30_000_000) as got:
        assert got.notes == ("disk.img: left out, 1 TB is more than the 28.6 MB that fit",)


@pytest.mark.parametrize(
    ("name", "beginning", "content_type"),
    [
        ("x.zip", b"PK\x03\x04", "application/zip"),
        ("x.tar.gz", b"\x1f\x8b\x08", "application/gzip"),
        ("X.PNG", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("x.xlsx", b"PK\x03\x04", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("x.pdf", b"%PDF-1.7", "application/pdf"),
        ("backup", b"\x1f\x8b\x08", "application/gzip"),
        ("backup.bak", b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
        ("photo", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("moved", b"\0\0\0\x18ftypmp42", "video/mp4"),
        ("picture", b"RIFF\x10\n\0\0WEBP", "image/webp"),
        ("x.zst", b"no magic, but the name tells", "application/zstd"),
    ],
)
def test_what_is_compressed_already_stays_as_it_is(
    name: str, beginning: bytes, content_type: str, tmp_path: Path
) -> None:
    """A compressed file is recognised by its name or first bytes, and copied under its own name."""
    content = beginning + RANDOM.randbytes(1000)
    (tmp_path / name).write_bytes(content)
    with packed([Attachment(tmp_path / name)]) as got:
        (part,) = got.parts
        assert (part.name, part.content_type, part.size_bytes) == (name, content_type, len(content))
        assert part.path.read_bytes() == content


@pytest.mark.parametrize("name", ["gz", "x.sql", "zip.ini", "RIFF"])
def test_what_only_sounds_compressed_is_packed(name: str, tmp_path: Path) -> None:
    """A suffix needs its dot, and text that begins like a format is text."""
    (tmp_path / name).write_text("RIFF is no picture, BZh no archive, GIF no GIF")
    with packed([Attachment(tmp_path / name)]) as got:
        assert got.parts[0].name == f"{name}.gz"


# Not ru_maxrss where it can be helped: on Linux a child begins with its parent's.
MEMORY = """
import re, resource, sys
from pathlib import Path
from supervisor._attachments import packed
from supervisor.models import Attachment
def peak():
    if sys.platform == "linux":
        return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
big, small = map(Path, sys.argv[1:])
for limit_bytes in (None, 100):
    with packed([Attachment(small), Attachment(small.parent / "few")], limit_bytes=limit_bytes):
        pass  # load what is loaded late
before = peak()
for limit_bytes in (None, 2_000_000, 25_000_000):
    with packed([Attachment(big)], limit_bytes=limit_bytes) as got:
        assert got.parts, got
with packed([Attachment(big.parent)]) as got:
    assert got.parts, got
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the resource module is POSIX's")
def test_memory_stays_bounded(tmp_path: Path) -> None:
    """A large file is never held in memory: whole, cut, or within a directory."""
    (tmp_path / "big").mkdir()
    (tmp_path / "few").mkdir()
    (tmp_path / "small.log").write_text("x\n" * 1000)
    block = log_lines(10_000_000)
    with (tmp_path / "big" / "big.log").open("wb") as file:
        for _ in range(6):
            file.write(block)
    child = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "big" / "big.log"), str(tmp_path / "small.log")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert int(child.stdout) < 16 * 1024  # KiB; the file alone has 60 MB


def test_one_part_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    """Packed files are readable for their owner alone, and a failed one leaves no file."""
    (tmp_path / "x.sql").write_text("content")
    (tmp_path / "x.bin").write_bytes(RANDOM.randbytes(10_000))
    kept = tmp_path / "kept"
    kept.mkdir()
    part = pack_one(Attachment(tmp_path / "x.sql"), kept)
    assert part is not None
    assert part.path.parent == kept
    assert gzip.decompress(part.path.read_bytes()) == b"content"
    if sys.platform != "win32":
        assert part.path.stat().st_mode & 0o777 == 0o600
    assert pack_one(Attachment(tmp_path / "x.bin"), kept, limit_bytes=1000) is None
    assert pack_one(Attachment(tmp_path / "gone"), kept) is None
    assert list(kept.iterdir()) == [part.path]


def test_a_kept_part_is_sent_with_what_was_known_of_it(tmp_path: Path) -> None:
    """A file that was packed for the outbox is not packed again, and keeps its note."""
    (tmp_path / "big.log").write_bytes(log_lines(500_000))
    part = pack_one(Attachment(tmp_path / "big.log"), tmp_path, limit_bytes=20_000)
    assert part is not None
    with packed([Attachment(part.path, name=part.name, note=part.note)]) as got:
        assert got.parts[0].name == "big.log.gz"
        assert got.parts[0].path.read_bytes() == part.path.read_bytes()
        assert got.notes == (f"big.log.gz: the {part.note}",)


UNUSED = """
import sys
import supervisor._attachments
heavy = {"zipfile", "isal", "mimetypes", "supervisor._attachments.packing"}
print(sorted(heavy & set(sys.modules)))
"""


def test_describing_loads_nothing_that_packs() -> None:
    """Describing attachments does not import the modules that pack them."""
    child = subprocess.run(
        [sys.executable, "-c", UNUSED],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout.strip() == "[]"
