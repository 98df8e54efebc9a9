"""Messages made of parts: their text, what is stored of them, and how their texts can be changed."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import supervisor
from supervisor._messages import message_for, message_from_parts
from supervisor._messages.rendering import WIDTH, markdown_pieces, text_from_parts, wrapped_lines
from supervisor._models import Kind, Outcome
from supervisor._models.parts import (
    Bars,
    Baseline,
    Code,
    Facts,
    Past,
    Row,
    Summary,
    Text,
    as_data,
)
from supervisor._settings import Settings
from supervisor._store.serialization import dump, load_message
from supervisor._text import printable
from supervisor.models import ErrorDetails, MessageDetails, RunReport

NOW = datetime(2026, 3, 1, 2, 0, 3, tzinfo=UTC)
REPORT = RunReport(id="r1", name="parcels", outcome=Outcome.FAILURE, started_at=NOW, host="gis-01")
ACCOUNT = Summary(
    note="A note.",
    comparison="First failure after 2 successes.",
    baselines={"rows": Baseline(5.0, 1.0, 9.0, 20)},
    duration_baseline=Baseline(400.0, 390.0, 410.0, 20),
    bars=Bars((1.0, 2.5), ".x", "02:00", "03:00", "In words."),
)
PARTS = (
    Text("one", is_strong=True),
    Facts("Recorded", (Row("rows", "0", "usually 1-9", stands_out=True), Row("x", "y")), "values"),
    Code("title", "  line\n> line", "source"),
    Bars((1.0, 2.5), ".x", "02:00", "03:00", "In words."),
)
TEXTS = st.text(st.characters(exclude_categories=()), max_size=40)


def test_parts_survive_storage() -> None:
    """What a message is made of comes back from the outbox as it was, and says the same."""
    details = MessageDetails("s", kind=Kind.FAILURE, report=REPORT, parts=(*PARTS, ACCOUNT))
    back = load_message(dump(details))
    assert back == details
    assert back.message == details.message


def test_a_traceback_is_stored_once() -> None:
    """What the report says is not stored a second time for the text."""
    error = ErrorDetails(type="KeyError", message="'x'", traceback="T" * 60_000)
    details = message_for(Kind.FAILURE, attrs.evolve(REPORT, error=error), past=Past())
    assert len(dump(details)) < 62_000
    assert "T" * 60_000 in details.message


def test_messages_stored_before_there_were_parts_still_work() -> None:
    """A message in the outbox of an earlier version has its text and no parts, and shows as it did."""
    stored = {"$": "MessageDetails", "v": {"subject": "s", "message": "the text", "id": "1", "html": "<p>the text"}}
    back = load_message(json.dumps(stored).encode())
    assert (back.subject, back.message, back.parts, back.html) == ("s", "the text", (), "<p>the text")


def test_a_text_of_ones_own_goes_before_the_parts() -> None:
    """A message that is given both has its own text."""
    assert MessageDetails("s", "mine", parts=PARTS).message == "mine"
    assert attrs.evolve(MessageDetails("s", parts=PARTS), message="changed").message == "changed"
    assert MessageDetails("s").message == ""


def test_parts_as_text() -> None:
    """Tables stand in columns, code is indented, what stands out has a mark, and bars are words."""
    assert text_from_parts(PARTS).split("\n\n") == [
        "one",
        "Recorded\n! rows  0 (usually 1-9)\n  x     y",
        "title\n      line\n    > line",
        "In words.",
    ]


def test_texts_can_be_changed_everywhere() -> None:
    """What takes secrets out reaches every text of every part."""
    changed = [part.with_texts(lambda text: text.upper()) for part in (*PARTS, ACCOUNT)]
    assert changed[1] == Facts("RECORDED", (Row("ROWS", "0", "USUALLY 1-9", stands_out=True), Row("X", "Y")), "values")
    assert changed[2] == Code("TITLE", "  LINE\n> LINE", "source")
    assert (changed[0].text, changed[3].text, changed[4].note) == ("ONE", "IN WORDS.", "A NOTE.")  # type: ignore[union-attr]


def test_parts_as_data() -> None:
    """Parts are JSON for those who want no text."""
    data = json.loads(json.dumps(as_data(PARTS)))
    assert [each["type"] for each in data] == ["text", "facts", "code", "bars"]
    assert data[1]["rows"][0] == {"label": "rows", "text": "0", "aside": "usually 1-9", "stands_out": True}


def test_what_is_shown_is_bounded() -> None:
    """A part of 10 MB is cut, and says so."""
    details = message_from_parts(
        Kind.STALLED, "x" * 10_000 + "\r\nBcc: a", [Code("stack", "y" * 10_000_000), Summary()], REPORT
    )
    assert len(details.message) < 61_000
    assert "characters left out" in details.message
    assert len(details.subject) == 200
    assert details.message.endswith("r1")


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("short  line ", ["short  line"]),
        ("word " * 20, [("word " * 15).strip(), ("word " * 5).strip()]),
        ("see https://example.com/" + "x" * 100 + " now", ["see", "https://example.com/" + "x" * 100, "now"]),
        ("  " + "word " * 20, ["  " + ("word " * 15).strip(), "  " + ("word " * 5).strip()]),
        ("", [""]),
    ],
)
def test_lines_are_wrapped_at_words(line: str, lines: list[str]) -> None:
    """A long line is broken between words; addresses stay whole, and what fits stays as it is."""
    assert list(wrapped_lines(line)) == lines


@given(TEXTS, st.integers(5, 80))
def test_wrapping_loses_no_word(text: str, width: int) -> None:
    """Whatever is wrapped, its words stay, and only a word that is too long makes a line too long."""
    lines = list(wrapped_lines(text, width))
    assert " ".join(lines).split() == text.split()
    assert all(len(line) <= width or len(line.split()) == 1 for line in lines)


def test_prose_and_tables_keep_to_78_columns() -> None:
    """Only code may be wider than 78 columns."""
    error = ErrorDetails(type="E", message="long words " * 40, notes=("a note " * 30,), traceback="t")
    report = attrs.evolve(REPORT, error=error, values={"name " * 20: "value " * 100}, argv=("arg " * 50,))
    text = message_for(Kind.FAILURE, report, note="note " * 50, past=Past()).message
    assert max(map(len, text.split("\n"))) <= WIDTH


def test_many_values_are_counted() -> None:
    """Of very many values the first hundred are shown."""
    text = message_for(Kind.SUCCESS, attrs.evolve(REPORT, values={f"v{n}": n for n in range(5_000)})).message
    assert "4,900 more" in text
    assert len(text.split("\n")) < 130


@given(TEXTS)
def test_a_plain_text_can_be_shown_and_encoded(text: str) -> None:
    """What is left has no control characters but line feeds and tabs, and is UTF-8; a second time changes nothing."""
    shown = printable(text)
    shown.encode()
    assert not [c for c in shown if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0]
    assert printable(shown) == shown


def test_a_plain_text_keeps_what_people_wrote() -> None:
    """Colours go, other line breaks become line feeds, halves that belong together become one character."""
    assert (
        printable("\x1b[31mred\x1b[0m\r\nnext\rlast\ttab \ud83d\udea8 \ud800 a\0b") == "red\nnext\nlast\ttab 🚨 � a�b"
    )


def test_markdown_keeps_its_fences_whole() -> None:
    """Long code is in fences that are closed and opened anew in every piece, and nothing is lost of it."""
    code = "\n".join(f"line {n}" for n in range(300))
    made = markdown_pieces(
        [Text("*bold* @all _x_"), Facts("T", (Row("a_b", "<1>", "usually 2", stands_out=True),)), Code("c", code)],
        1_000,
        10,
    )
    assert all(len(each) <= 1_000 and each.count("```") % 2 == 0 for each in made)
    assert made[0].startswith("\\*bold\\* @\u200ball \\_x\\_\n\n**T**\n- ⚠ a\\_b: \\<1\\> (usually 2)")
    lines = [line for each in made for line in each.split("\n") if line.startswith("line ")]
    assert lines == code.split("\n")


@given(
    st.lists(st.sampled_from(PARTS) | st.builds(Text, TEXTS) | st.builds(Code, TEXTS, TEXTS), max_size=8),
    st.integers(0, 500),
)
def test_markdown_pieces_fit(parts: list[Any], limit: int) -> None:
    """Whatever is shown, each piece fits."""
    made = markdown_pieces(parts, limit, 5)
    assert 1 <= len(made) <= 5
    assert all(len(each) <= max(200, limit) and each.count("```") % 2 == 0 for each in made)


def test_too_much_markdown_says_what_is_missing() -> None:
    """A note says how many pieces were left out."""
    made = markdown_pieces([Text("word " * 100) for _ in range(50)], 300, 3)
    assert len(made) == 3
    assert "more pieces were left out" in made[-1]


def test_settings_that_messages_and_commands_show_are_kept() -> None:
    """A setting that is read of a report is one that reports have."""
    package = Path(supervisor.__file__).parent
    kept = {field.name for field in attrs.fields(Settings) if field.metadata.get("is_kept")}
    for path in package.rglob("*.py"):
        for name in re.findall(r"(?:report|record|run)\.settings(?:\.get\(|\[)\"(\w+)\"", path.read_text("utf-8")):
            assert name in kept, f"{path.name} shows the setting {name!r}, which has no `| _KEPT` in _settings.py"
