"""A budget of bytes for several attachments: small ones first, and logs share the rest."""

from __future__ import annotations

import gzip
import os
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor._attachments import packed
from supervisor._attachments.packing import SpaceRequest, allowance, reserved_bytes, serving_order
from supervisor.models import Attachment

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor._attachments import PackedAttachments

CLAIMS = st.lists(st.builds(SpaceRequest, need_bytes=st.integers(0, 1000), may_cut=st.booleans()), max_size=8)


def served(requests: list[SpaceRequest], limit_bytes: int) -> list[int]:
    """Return the bytes that each request gets when its need is stated correctly."""
    got, left = [0] * len(requests), limit_bytes
    order, sure = serving_order(requests), reserved_bytes(requests, limit_bytes)
    for at, which in enumerate(order):
        allowed = allowance(requests[which], [requests[later] for later in order[at + 1 :]], left, sure)
        request = requests[which]
        got[which] = min(request.need_bytes, allowed) if request.may_cut or request.need_bytes <= allowed else 0
        left -= got[which]
    return got


@given(CLAIMS, st.integers(0, 3000))
def test_a_budget_is_kept(requests: list[SpaceRequest], limit_bytes: int) -> None:
    """All parts together never exceed the limit."""
    assert sum(served(requests, limit_bytes)) <= limit_bytes


@given(CLAIMS)
def test_nothing_is_cut_where_all_fits(requests: list[SpaceRequest]) -> None:
    """Nothing is cut when the budget is as large as all needs together."""
    needs = [request.need_bytes for request in requests]
    assert served(requests, sum(needs)) == needs


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8), st.integers(8, 3000))
def test_logs_share_evenly_what_small_ones_leave(needs: list[int], limit_bytes: int) -> None:
    """Logs share the budget evenly, and all of it is used."""
    got = served([SpaceRequest(need_bytes=need, may_cut=True) for need in needs], limit_bytes)
    assert sum(got) >= min(sum(needs), limit_bytes) - len(needs)
    cut = [each for each, need in zip(got, needs, strict=True) if each < need]
    assert max(cut, default=0) - min(cut, default=0) <= len(needs)
    assert all(each >= min(need, limit_bytes // len(needs)) for each, need in zip(got, needs, strict=True))


@given(CLAIMS, st.integers(0, 3000))
def test_a_log_is_sure_of_half_its_share(requests: list[SpaceRequest], limit_bytes: int) -> None:
    """A large archive leaves a log half of its even share."""
    sure = limit_bytes // max(1, 2 * len(requests))
    for request, got in zip(requests, served(requests, limit_bytes), strict=True):
        if request.may_cut:
            assert got >= min(request.need_bytes, sure)


def test_an_archive_comes_before_what_can_be_cut() -> None:
    """A file that cannot be cut comes before one that can."""
    archive, log = SpaceRequest(need_bytes=20, may_cut=False), SpaceRequest(need_bytes=130, may_cut=True)
    assert served([log, archive], 30) == [10, 20]
    assert served([log, SpaceRequest(need_bytes=25, may_cut=False)], 30) == [30, 0]


def write_log(path: Path, size_bytes: int) -> None:
    """Write lines that gzip compresses to about two thirds."""
    path.write_bytes(b"\n".join(os.urandom(30).hex().encode() for _ in range(size_bytes // 61)) + b"\n")


def sizes(got: PackedAttachments) -> dict[str, int]:
    """Return the size of each part by its name, after comparing it with the file."""
    for part in got.parts:
        assert part.path.stat().st_size == part.size_bytes
    return {part.name: part.size_bytes for part in got.parts}


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("report.csv", "text/csv"),
        ("page.HTML", "text/html"),
        ("run.log", "text/plain"),
        ("notes.txt", "text/plain"),
        ("parcels.geojson", "application/geo+json"),
    ],
)
def test_what_people_open_goes_as_it_is(tmp_path: Path, name: str, content_type: str) -> None:
    """Text of up to 1 MB that a click opens is sent under its name; what is larger, or does not fit, is packed."""
    for size_bytes, limit_bytes, packed_as in ((14, None, ""), (1_000_000, None, ""), (1_000_001, None, ".gz")):
        (tmp_path / name).write_bytes(b"a,b\n" * (size_bytes // 4) + b"x" * (size_bytes % 4))
        with packed([Attachment(tmp_path / name)], limit_bytes=limit_bytes) as got:
            (part,) = got.parts
            assert part.name == name + packed_as
            assert part.content_type == ("application/gzip" if packed_as else content_type)
            assert (part.size_bytes == size_bytes) is not bool(packed_as)
    (tmp_path / name).write_bytes(b"a,b\n" * 100_000)
    with packed([Attachment(tmp_path / name)], limit_bytes=100_000) as got:
        assert [each.name for each in got.parts] == [f"{name}.gz"]


def test_what_grows_when_it_is_redacted_still_fits(tmp_path: Path) -> None:
    """Where a text without its secrets is longer than what may be sent, it is packed."""
    (tmp_path / "run.log").write_text("password=aB3xyz\n" * 1_000)
    with packed([Attachment(tmp_path / "run.log")]) as got:
        as_it_is = got.parts[0].size_bytes
        assert as_it_is == got.parts[0].path.stat().st_size > 16_000
    with packed([Attachment(tmp_path / "run.log")], limit_bytes=as_it_is - 1) as got:
        assert [each.name for each in got.parts] == ["run.log.gz"]
        assert got.parts[0].size_bytes < as_it_is


def test_small_files_go_whole_and_large_logs_share_the_rest(tmp_path: Path) -> None:
    """The parts keep the order of the attachments."""
    for name, size_bytes in (("a.log", 3_000_000), ("tiny.csv", 300), ("b.log", 2_000_000)):
        write_log(tmp_path / name, size_bytes)
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + random.Random(4).randbytes(100_000))
    wanted = [Attachment(tmp_path / name) for name in ("a.log", "tiny.csv", "x.png", "b.log")]
    with packed(wanted, limit_bytes=500_000) as got:
        by_name = sizes(got)
        assert list(by_name) == ["a.log.gz", "tiny.csv", "x.png", "b.log.gz"]
        assert 450_000 < sum(by_name.values()) <= 500_000
        assert abs(by_name["a.log.gz"] - by_name["b.log.gz"]) < 20_000
        assert [note.partition(":")[0] for note in got.notes] == ["a.log", "b.log"]
        assert all(" of " in note for note in got.notes)


def test_what_one_leaves_the_others_use(tmp_path: Path) -> None:
    """An archive that does not fit leaves its space to a log."""
    write_log(tmp_path / "a.log", 1_000_000)
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04" + random.Random(4).randbytes(600_000))
    with packed([Attachment(tmp_path / "x.zip"), Attachment(tmp_path / "a.log")], limit_bytes=300_000) as got:
        assert list(sizes(got)) == ["a.log.gz"]
        assert got.parts[0].size_bytes > 270_000
        assert got.notes[0] == "x.zip: left out, 586 KB is more than the 220 KB that fit"


def test_a_limit_for_each_file_holds_for_each(tmp_path: Path) -> None:
    """No part exceeds the limit of one file, even when the budget would allow it."""
    for name in ("a.log", "b.log"):
        write_log(tmp_path / name, 500_000)
    wanted = [Attachment(tmp_path / "a.log"), Attachment(tmp_path / "b.log")]
    for limit_bytes in (None, 1_000_000, 150_000):
        with packed(wanted, limit_bytes=limit_bytes, file_limit_bytes=100_000) as got:
            assert len(got.parts) == 2
            assert all(50_000 < part.size_bytes <= 100_000 for part in got.parts)
            assert sum(part.size_bytes for part in got.parts) <= (limit_bytes or 200_000)


def test_no_budget_leaves_all_out(tmp_path: Path) -> None:
    """With a limit of 0 bytes, the notes name all attachments."""
    write_log(tmp_path / "a.log", 6_000)
    (tmp_path / "d").mkdir()
    for limit_bytes in (0, -5, 10):
        with packed([Attachment(tmp_path / "a.log"), Attachment(tmp_path / "d")], limit_bytes=limit_bytes) as got:
            assert got.parts == ()
            assert [note.partition(",")[0] for note in got.notes] == ["a.log: left out", "d: left out"]


def test_missing_files_take_no_share(tmp_path: Path) -> None:
    """A file that cannot be read leaves its space to the others, and is noted."""
    write_log(tmp_path / "a.log", 1_000_000)
    wanted = [Attachment(tmp_path / name) for name in ("gone", "a.log", "gone too")]
    with packed(wanted, limit_bytes=300_000) as got:
        assert got.parts[0].size_bytes > 270_000
        assert got.notes[0] == "gone: missing"
        assert got.notes[2] == "gone too: missing"
        assert gzip.decompress(got.parts[0].path.read_bytes())
