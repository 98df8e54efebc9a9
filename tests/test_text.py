"""Numbers and texts as a person says them."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor._text import (
    counted,
    cut_middle,
    duration,
    is_address,
    number,
    one_line,
    printable,
    rate,
    size,
    without_controls,
)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than 1 ms"),
        (0.0004, "less than 1 ms"),
        (0.001, "1 ms"),
        (0.25, "250 ms"),
        (0.0123, "12.3 ms"),
        (1, "1 s"),
        (1.2345, "1.23 s"),
        (9.99, "9.99 s"),
        (10.4, "10 s"),
        (41, "41 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (363, "6 min 3 s"),
        (3599.7, "1 h"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (10_800, "3 h"),
        (86_400, "1 d"),
        (187_200, "2 d 4 h"),
        (-5, "less than 1 ms"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    """A duration has the two units that matter, and is never negative."""
    assert duration(seconds) == words


@given(st.floats(min_value=0, max_value=1e12))
def test_a_duration_can_be_read_back(seconds: float) -> None:
    """Whatever the duration, its words stand for it within a hundredth or the smaller of its units."""
    units = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86_400}
    words = duration(seconds).replace("less than 1 ms", "0 ms").split()
    parts = list(zip(words[::2], words[1::2], strict=True))
    total = sum(float(count) * units[unit] for count, unit in parts)
    smallest = {"ms": 0.001, "s": 1, "min": 60, "h": 60, "d": 3600}[parts[0][1]]
    if parts[0][1] == "min":
        smallest = 1
    assert abs(total - seconds) <= max(0.01 * seconds, smallest)
    assert len(parts) <= 2


@pytest.mark.parametrize("seconds", [math.inf, math.nan, -math.inf])
def test_a_duration_that_is_none(seconds: float) -> None:
    """What is no duration has words too, and never raises: an ETA may be endless."""
    assert duration(seconds)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (812, "812 B"),
        (1000, "0.977 KB"),
        (1024, "1 KB"),
        (4608, "4.5 KB"),
        (18 * 1024**2, "18 MB"),
        (512 * 1024**2, "512 MB"),
        (3.5 * 1024**3, "3.5 GB"),
        (2 * 1024**4, "2 TB"),
    ],
)
def test_sizes(count: float, words: str) -> None:
    """A number of bytes has three digits that matter, in steps of 1,024."""
    assert size(count) == words


@given(st.integers(min_value=0, max_value=10**15))
def test_a_size_can_be_read_back(count: int) -> None:
    """Whatever the size, its words stand for it within a hundredth, in at most five characters and a unit."""
    digits, unit = size(count).split()
    units = {"B": 0, "KB": 1, "MB": 2, "GB": 3, "TB": 4}
    assert abs(float(digits) * 1024 ** units[unit] - count) <= 0.01 * count
    assert len(digits) <= 5
    assert "e" not in digits


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"),
        (5, "5"),
        (12_345, "12,345"),
        (1_000_000.0, "1,000,000"),
        (1.5, "1.50"),
        (0.25, "0.25"),
        (0.00012345, "0.000123"),
        (1234.5678, "1,234.57"),
        (-3, "-3"),
        (-1234.5, "-1,234.50"),
    ],
)
def test_numbers(value: float, words: str) -> None:
    """A number has its thousands separated and no needless digits."""
    assert number(value) == words


@given(st.integers() | st.floats())
def test_every_number_has_words(value: float) -> None:
    """No number raises, however odd."""
    assert number(value)


@pytest.mark.parametrize(
    ("per_second", "words"),
    [(1204.4, "1,204/s"), (85.0, "85/s"), (8.5, "8.50/s"), (1.0, "1/s"), (0.5, "30/min"), (0.01, "36/h")],
)
def test_rates(per_second: float, words: str) -> None:
    """A rate is shown in the unit that has digits before the point."""
    assert rate(per_second) == words


def test_counted_things() -> None:
    """One is singular, and the rest is plural."""
    assert [counted(n, "run") for n in (0, 1, 2, 1200)] == ["0 runs", "1 run", "2 runs", "1,200 runs"]
    assert counted(5, "more") == "5 more"


@example("caf\udce9", 50)
@example("a\u2028b\x85c\x1b[2J\0d", 50)
@given(st.text(st.characters(exclude_categories=())), st.integers(min_value=1, max_value=300))
def test_a_headline_is_one_line_of_bounded_length(text: str, limit: int) -> None:
    """Whatever the text, its headline has no breaks, no control characters, no half characters, and fits."""
    line = one_line(text, limit)
    assert len(line) <= limit
    assert line == line.strip()
    assert len(line.splitlines()) <= 1
    assert not any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") for c in line)


@given(st.text(st.characters(categories=["L", "N", "P"]), max_size=50))
def test_a_headline_that_is_one_stays(text: str) -> None:
    """What is a headline already is not changed, and a second time changes nothing."""
    assert one_line(text) == text
    assert one_line(one_line(text)) == one_line(text)


@given(st.text(max_size=500), st.integers(min_value=2, max_value=200))
def test_a_text_is_cut_in_its_middle(text: str, limit: int) -> None:
    """A text that is too long keeps its beginning and its end, where the cause stands, and says how much is missing."""
    cut = cut_middle(text, limit)
    if len(text) <= limit:
        assert cut == text
        return
    assert f"[... {len(text) - limit:,} characters left out ...]" in cut
    assert len(cut) <= limit + 60
    assert cut.startswith(text[: limit // 2].rstrip())
    assert cut.endswith(text[-(limit - limit // 2) :].lstrip())


@pytest.mark.parametrize("unseen", ["\u202e", "\u2066", "\u200b", "\u200f", "\u00ad", "\ufeff", "\U000e0041"])
def test_what_would_not_be_seen_is_shown_as_an_escape(unseen: str) -> None:
    """In headlines, on terminals and in messages: a name with it could pass for another one."""
    escape = ascii(unseen)[1:-1].replace("\\xad", "\\u00ad")
    for shown in (one_line, without_controls, printable):
        assert shown(f"parcels{unseen}fdp.exe") == f"parcels{escape}fdp.exe"
        assert shown(shown(f"a{unseen}b")) == f"a{escape}b"


def test_what_scripts_and_emoji_need_stays() -> None:
    """Joiners, marks on letters, and characters of scripts that are written from right to left."""
    for text in ("\u0645\u06cc\u200c\u062e", "👩\u200d👧", "café", "cafe\u0301", "שלום", "❤\ufe0f"):
        assert one_line(text) == printable(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.com/run?id=3", True),
        ("http://[::1]:8000/", True),
        ("http://", False),
        ("https:///run", False),
        ("javascript://example.com", False),
        ("https://example.com and more", False),
        ("https://example.com/\u202e", False),
    ],
)
def test_an_address_has_a_host(text: str, expected: bool) -> None:
    """What is shown as a link leads to a host by http or https, and is nothing but the address."""
    assert is_address(text) is expected
