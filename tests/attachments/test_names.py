"""Names of attachments are safe in headers and on disks."""

from __future__ import annotations

import os
import sys
import unicodedata
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor._attachments import packed
from supervisor._attachments.names import LONGEST, distinct, entry_name, safe_file_name
from supervisor.models import Attachment

if TYPE_CHECKING:
    from pathlib import Path

ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=300)
HOSTILE = st.text(st.sampled_from("ab.\r\n\0\"';:/\\ \u202e\u2066\ud800é漢\u037e"), max_size=200)


@given(ANYTHING | HOSTILE)
def test_a_name_is_one_bounded_printable_line_without_separators(name: str) -> None:
    """Any file name becomes one that is safe in a header and on a disk."""
    safe = safe_file_name(name)
    assert 0 < len(safe) <= LONGEST
    assert not set(safe) & set("\r\n\0\"'`;:/\\")
    assert safe.isprintable()
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs"} for c in safe)
    assert safe == safe.strip()
    assert safe.strip(".")


@given(ANYTHING | HOSTILE)
def test_a_name_survives_an_e_mail(name: str) -> None:
    """A mail parser reads back the same name, and the name cannot add a header."""
    message = EmailMessage()
    message["Subject"] = "x"
    safe = safe_file_name(name)
    message.add_attachment(b"x", maintype="application", subtype="gzip", filename=safe)
    read = message_from_bytes(message.as_bytes(), policy=policy.default)
    (attachment,) = read.iter_attachments()
    assert attachment.get_filename() == safe
    assert set(read.keys()) <= {"Subject", "MIME-Version", "Content-Type"}


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("parcels.log", "parcels.log"),
        ("Straßen Übersicht 漢字.csv", "Straßen Übersicht 漢字.csv"),
        ("a\r\nBcc: x@example.com", "a Bcc_ x@example.com"),
        ('the "final" o\'report;.txt', "the _final_ o_report_.txt"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("invoice\u202egnp.exe", "invoicegnp.exe"),
        ("bad\ud800\udcff.txt", "bad__.txt"),
        ("is it\u037e.txt", "is it_.txt"),
        ("e\u0301tat.txt", "état.txt"),
        (".bashrc", ".bashrc"),
        ("report. . ", "report"),
        ("", "attachment"),
        ("..", "attachment"),
        ("\0\0.gz", "attachment.gz"),
        ("x" * 500 + ".tar.gz", "x" * (LONGEST - 7) + ".tar.gz"),
        ("x" * 100_000 + ".csv", "x" * (LONGEST - 4) + ".csv"),
    ],
)
def test_names_stay_as_close_to_the_original_as_is_safe(name: str, safe: str) -> None:
    """Safe characters stay; a name that is cut keeps its extensions."""
    assert safe_file_name(name) == safe


@given(st.lists(st.sampled_from(["a.log.gz", "A.log.gz", "a-2.log.gz", "ß", "ss", "SS", ".gz", "x"]), max_size=30))
def test_distinct_names_differ_even_without_case(names: list[str]) -> None:
    """Names are distinct, and a name that is not in use stays as it is."""
    taken: dict[str, int] = {}
    chosen = [distinct(name, taken) for name in names]
    assert len({name.casefold() for name in chosen}) == len(names)
    assert chosen[:1] == names[:1]


def test_a_number_goes_before_the_extensions() -> None:
    """A second file of the same name keeps its extensions."""
    taken: dict[str, int] = {}
    assert [distinct("a.log.gz", taken) for _ in range(3)] == ["a.log.gz", "a-2.log.gz", "a-3.log.gz"]
    assert [distinct("out.zip", taken) for _ in range(2)] == ["out.zip", "out-2.zip"]
    assert [distinct("plain", taken) for _ in range(2)] == ["plain", "plain-2"]


@given(ANYTHING)
def test_an_entry_of_an_archive_is_one_part_of_a_path(name: str) -> None:
    """Names in an archive cannot lead out of the directory that it is unpacked to."""
    entry = entry_name(name)
    assert entry not in {"", ".", ".."}
    assert not set(entry) & set("/\\\0\r\n")
    entry.encode()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux allows any bytes in names")
@given(
    raw=st.binary(min_size=1, max_size=60).filter(lambda raw: not set(raw) & {0, ord("/")} and raw not in {b".", b".."})
)
def test_files_of_any_name_that_the_system_allows_are_packed(
    raw: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A file whose name is not valid UTF-8 is attached."""
    path = tmp_path_factory.getbasetemp() / os.fsdecode(raw)
    path.write_bytes(b"content")
    try:
        with packed([Attachment(path)]) as got:
            (part,) = got.parts
            part.name.encode()
            assert got.notes == ()
    finally:
        path.unlink()


def test_equal_names_from_different_directories_differ(tmp_path: Path) -> None:
    """Two logs of the same name become two files; a file that is given twice is attached once."""
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    first, second, third = (tmp_path / each / name for each, name in (("a", "x.log"), ("b", "x.log"), ("c", "X.LOG")))
    for path in (first, second, third):
        path.write_text(str(path))
    with packed([Attachment(first), Attachment(second), Attachment(third), Attachment(first)]) as got:
        assert [part.name for part in got.parts] == ["x.log", "x-2.log", "X-3.LOG"]


def test_a_name_of_ones_own_is_what_the_receiver_sees(tmp_path: Path) -> None:
    """The attachment's own name is used instead of the path's."""
    (tmp_path / "tmp123").write_text("x")
    with packed([Attachment(tmp_path / "tmp123", name="Report für März.csv")]) as got:
        assert got.parts[0].name == "Report für März.csv"
