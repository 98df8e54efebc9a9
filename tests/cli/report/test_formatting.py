"""Texts and data that are safe in a page."""

from __future__ import annotations

import json
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor._cli.report.formatting import json_for_html, line, lines, plain_number, shown_value

ANYTHING = st.text(st.characters(codec=None), max_size=200)


@given(
    st.recursive(
        ANYTHING | st.integers() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(ANYTHING, inner)
    )
)
def test_data_comes_back_and_ends_no_element(data: object) -> None:
    """Whatever is in the data, it reads back as it was, and an HTML parser sees one script element around it."""
    text = json_for_html(data)
    assert json.loads(text) == data
    found: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            found.append(tag)

    parser = Parser()
    parser.feed(f'<script type="application/json">{text}</script><p>')
    assert found == ["script", "p"]


def test_data_that_json_cannot_say_is_refused() -> None:
    """A number that is not finite is refused here, since a browser would refuse the whole page's data."""
    with pytest.raises(ValueError, match="JSON"):
        json_for_html({"took": float("nan")})


@given(ANYTHING)
def test_a_line_is_one_line_that_can_be_seen_and_encoded(text: str) -> None:
    """A line has no breaks, controls, turns of direction or lone surrogates, and is bounded."""
    shown = line(text, 80)
    assert len(shown) <= 80
    assert shown.splitlines() in ([shown], [])
    shown.encode()  # does not raise
    assert all(each.isprintable() or each in "\u200c\u200d\xa0" or ord(each) > 0xFF for each in shown)
    assert not set(shown) & set("\u202e\u2066\u200e\u200f\ufeff\x1b\x00")


@given(ANYTHING)
def test_lines_keep_their_breaks_and_nothing_else_unseen(text: str) -> None:
    """Several lines keep tabs and breaks; all else that cannot be seen is an escape."""
    shown = lines(text)
    shown.encode()  # does not raise
    assert not {each for each in shown if ord(each) < 32} - {"\n", "\t"}


def test_what_cannot_be_seen_is_shown() -> None:
    """A name that would pass for another shows why; colours of a terminal go without a trace."""
    assert line("invoice\u202egpj.exe") == "invoice\\u202egpj.exe"
    assert line("nul\x00\udcff") == "nul\\x00\\udcff"
    assert line("\x1b[1;31mred\x1b[0m \x1b]0;title\x07x") == "red x"
    assert lines("a\r\n\tb\x0cc") == "a\n\tb\\x0cc"
    assert line("\U0001f469\u200d\U0001f680") == "\U0001f469\u200d\U0001f680"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (12, 12),
        (0.5, 0.5),
        (Decimal("1.5"), 1.5),
        (True, "True"),
        (None, "None"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (10**30, "1,000,000,000,000,000,000,000,000,000,000"),
        pytest.param(1 << 100_000, "a number of 100,001 bits", id="long"),
        (Decimal("NaN"), "NaN"),
        ("two\nlines", "two lines"),
        ([1] * 1_000, "[1, 1, 1, 1, 1, 1, ...]"),
    ],
)
def test_values_are_numbers_or_one_line(value: object, shown: object) -> None:
    """A recorded value is a number where JavaScript has the same, else one line of text."""
    assert shown_value(value) == shown
    json_for_html(shown_value(value))


@pytest.mark.parametrize("value", [True, "1", None, float("inf"), Decimal("sNaN"), 10**400])
def test_what_is_no_number_for_a_chart(value: object) -> None:
    """Charts show finite numbers only."""
    assert plain_number(value) is None
