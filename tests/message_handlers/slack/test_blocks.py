"""Messages as Block Kit blocks, against the rules that Slack publishes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_peers import problem_with, texts_of

from supervisor._messages import message_for, message_from_parts
from supervisor._models import Kind, Outcome
from supervisor._models.parts import (
    Code,
    MessagePart,
    Past,
    PastRun,
    Summary,
    Text,
)
from supervisor._text import printable
from supervisor.message_handlers._slack.blocks import (
    MESSAGE_BYTES,
    PLAIN_BYTES,
    SLACK_TEXT_LIMIT,
    escaped,
    group_by_message,
    linked,
    notes_text,
    plain_posts,
    posts,
    shortened,
    split_text,
)
from supervisor.models import Attachment, ErrorDetails, MessageDetails, Progress, RunReport

NOW = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
TRACE = """Traceback (most recent call last):
  File "parcels.py", line 41, in load
    rows[key]
KeyError: <'x' & 'y'>"""


def report(**changes: Any) -> RunReport:
    """Return a report with all fields set."""
    facts: dict[str, Any] = {
        "id": "r1",
        "name": "nightly parcels",
        "outcome": Outcome.FAILURE,
        "started_at": NOW - timedelta(minutes=5),
        "ended_at": NOW,
        "duration_s": 300.5,
        "values": {"parcels": 12345, "empty": 0, "ratio": 0.25, "source": "a & b"},
        "progress": Progress(done=3, total=10, message="copying"),
        "error": ErrorDetails(
            type="KeyError", message="'x'", where="parcels.py:41 in load", source="rows[key]", traceback=TRACE
        ),
        "host": "gis-7",
        "user": "loader",
        "pid": 42,
        "argv": ("parcels.py", "--all"),
        "python": "3.12.1",
        "cpu_s": 1.5,
        "peak_memory_bytes": 50_000_000,
    }
    return RunReport(**(facts | changes))


def shown(details: MessageDetails, **options: Any) -> str:
    """Return the visible text of a message."""
    return "\n".join(_read(each["text"]) for post in posts(details, **options) for each in texts_of(list(post.blocks)))


def _read(text: str) -> str:
    return unescape(text)


def assert_acceptable(details: MessageDetails, **options: Any) -> None:
    """Assert that Slack would accept each post, with blocks and without."""
    for post in posts(details, **options):
        assert problem_with(list(post.blocks)) == ""
        assert post.text.strip()
    for post in plain_posts(details, **options):
        assert post.text.strip()
        assert len(post.text.encode()) <= PLAIN_BYTES


hostile = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("&<>\n `*_~\0\r\x1b\ud800\udfff🚨é漢")), max_size=400
)


@given(st.text(), st.integers(8, 60))
def test_split_loses_nothing(text: str, limit: int) -> None:
    """The pieces of any text make up the text again, and each fits."""
    pieces = split_text(text, limit)
    assert "".join(pieces) == text
    assert all(0 < len(piece.encode()) <= limit for piece in pieces)


@given(st.text(st.sampled_from("&<>a \n")), st.integers(8, 60))
def test_split_keeps_entities_whole(text: str, limit: int) -> None:
    """An entity is never cut in two, so each piece reads as the same part of the text."""
    assert "".join(unescape(piece) for piece in split_text(escaped(text), limit)) == text
    assert all(escaped(unescape(piece)) == piece for piece in split_text(escaped(text), limit))


@given(st.text(st.sampled_from("ab \n&")), st.integers(0, 3000))
def test_split_keeps_links_whole(text: str, at: int) -> None:
    """A link is never cut in two."""
    whole = linked(f"{'x' * at}(https://example.com/{'p' * 400}?a=1&b=2 {text}")
    assert all(piece.count("<") == piece.count(">") for piece in split_text(whole, 1000))


def test_split_prefers_lines_and_words() -> None:
    """A text is cut after a line where there is one in reach, else after a word."""
    assert split_text("one two\nthree four", 14) == ["one two\n", "three four"]
    assert split_text("one two three four", 14) == ["one two three ", "four"]


@given(hostile)
def test_clean_text_is_json_and_utf8(text: str) -> None:
    """The text can be encoded, and has no control characters but line breaks and tabs."""
    cleaned = printable(text)
    cleaned.encode()
    assert not {c for c in cleaned if c < " "} - {"\n", "\t"}
    assert printable(cleaned) == cleaned


def test_clean_keeps_what_people_wrote() -> None:
    """Surrogate pairs are joined, lone surrogates and NUL are replaced, and terminal colours are removed."""
    assert printable("\ud83d\udea8 \ud800 a\0b \x1b[31mred\x1b[0m\r\nnext\rlast") == "🚨 � a�b red\nnext\nlast"


def test_links_are_links_and_nothing_else_is() -> None:
    """URLs become links without the full stop after them; Slack's markup is escaped."""
    assert linked("see https://example.com/a?b=1&c=2.") == "see <https://example.com/a?b=1&amp;c=2>."
    assert linked("<!channel> <https://e.com|click>") == "&lt;!channel&gt; &lt;<https://e.com>|click&gt;"
    assert linked("https://e.com/" + "x" * 600).startswith("https://")


def test_a_failure_has_header_text_fields_and_small_print() -> None:
    """The layout of a failure: a header, the text with its traceback in a fence, values as fields, then the machine."""
    (post,) = posts(message_for(Kind.FAILURE, report()), prefix="[prod] ", client="parcels 1.2")
    header, lead, what, code, progress, fields, trace, context = post.blocks
    assert header["type"] == "header"
    assert header["text"]["text"].startswith(":rotating_light: [prod] nightly parcels failed on gis-7")
    assert lead["text"]["text"] == "nightly parcels failed on gis-7 after 5 min."
    assert what["text"]["text"] == "*KeyError: 'x'*"
    assert code["text"]["text"] == "at parcels.py:41 in load:\n```\nrows[key]\n```"
    assert progress["text"]["text"] == "It had come to 3 of 10 (30 %): copying"
    assert trace["text"]["text"] == f"```\n{escaped(TRACE)}\n```"
    assert [each["text"] for each in fields["fields"]] == [
        "*parcels*\n12,345",
        "*empty*\n0",
        "*ratio*\n0.25",
        "*source*\na &amp; b",
    ]
    small = [each["text"] for each in context["elements"]]
    assert small[0] == "*nightly parcels*"
    assert small[1] == "gis-7 (user loader, process 42)"
    assert small[2].startswith("started <!date^1769903699^{date_num} {time_secs}|2026-01-31 23:54:59")
    assert small[3:] == [
        "5 min",
        "parcels.py --all",
        "Python 3.12.1",
        "1.5 s of processor time, 47.7 MB of memory at its peak",
        "run r1",
        "parcels 1.2",
    ]


def test_the_text_does_not_say_twice_what_fields_and_small_print_say() -> None:
    """Recorded values are shown once, as fields, and facts about the machine once, in the small print."""
    text = shown(message_for(Kind.FAILURE, report()))
    assert text.count("12,345") == 1
    assert text.count("parcels.py --all") == 1
    assert "Recorded" not in text


@pytest.mark.parametrize("kind", [Kind.START, Kind.PROGRESS, Kind.SUCCESS, Kind.FAILURE])
def test_each_composed_message_is_acceptable(kind: Kind) -> None:
    """Slack accepts the messages that supervisor composes."""
    details = message_for(kind, report(outcome=None, ended_at=None))
    assert_acceptable(details, client="c 1")
    assert_acceptable(details, lists_files=True)


def test_the_header_names_the_message_unseen() -> None:
    """The block_id contains the message's id, so that a repeat can be recognised."""
    (post,) = posts(MessageDetails("hello", id="abc"))
    assert post.blocks[0]["block_id"] == "supervisor-abc"


def test_numbers_stand_beside_what_is_usual() -> None:
    """A field shows the usual value, and a mark when the value is unusual; earlier runs are bars of characters."""
    runs = [
        PastRun(
            outcome=Outcome.FAILURE if day == 3 else Outcome.SUCCESS,
            started_at=NOW - timedelta(days=day),
            duration_s=300.0,
            values={"parcels": 12_300 + day, "empty": 40 + day},
        )
        for day in range(1, 11)
    ]
    done = report(outcome=Outcome.SUCCESS, error=None)
    details = message_for(Kind.SUCCESS, done, past=Past(runs=tuple(runs), successes=2))
    (post,) = posts(details)
    assert "but empty is 0" in post.blocks[0]["text"]["text"]
    fields = next(block["fields"] for block in post.blocks if "fields" in block)
    assert [each["text"] for each in fields[:2]] == [
        "*parcels*\n12,345  _usually 12,302-12,309_",
        "*empty*\n:small_orange_diamond: 0  _usually 42-49_",
    ]
    text = shown(details)
    assert "*empty: 0, usually 42-49*" in text
    assert "`███████x███`" in text
    assert "Of the 10 runs before it, 9 succeeded" in text
    assert_acceptable(details)


def test_notes_and_variables_are_lines() -> None:
    """Notes on an exception and local variables are shown, each with its name, escaped."""
    error = ErrorDetails(
        type="KeyError", where="p.py:1 in load", notes=("in <a>",), local_variables=(("row", "{'x': 1}"),)
    )
    details = message_for(Kind.FAILURE, report(error=error))
    text = shown(details)
    assert "*Note*  in <a>" in text
    assert "*Local variables in load*\n*row*  {'x': 1}" in text
    assert_acceptable(details)


def test_parts_of_ones_own_are_shown() -> None:
    """A message with parts shows them in their order, with code in fences below its title."""
    parts: list[MessagePart] = [
        Text("No progress for 10 min."),
        Code("MainThread", "  in wait()\n  in read()"),
        Summary(),
    ]
    details = message_from_parts(
        Kind.STALLED, "parcels stalled on gis-7", parts, report(outcome=None, ended_at=None, error=None)
    )
    (post,) = posts(details)
    assert [block["text"]["text"] for block in post.blocks[1:3]] == [
        "No progress for 10 min.",
        "MainThread\n```\n  in wait()\n  in read()\n```",
    ]
    assert "process 42" in shown(details)
    assert_acceptable(details)


def test_a_notice_keeps_all_of_its_text() -> None:
    """A notice is shown as the script's own text."""
    text = "Recorded\n  parcels  12,345\n\n  Started  now\n  Run      r1"
    assert "Started  now" in shown(MessageDetails("loaded", text, report=report()))
    assert "parcels  12,345" in shown(MessageDetails("loaded", text, report=report()))


def test_tables_are_shown_with_their_spaces() -> None:
    """Indented lines and fenced parts of a script's text are shown as code."""
    (post,) = posts(MessageDetails("s", "Layers\n  roads    12\n  parcels  3\n\nprose\n\n```\ncode  <x>\n```\nend"))
    texts = [each["text"]["text"] for each in post.blocks[1:]]
    assert texts == [
        "```\nLayers\n  roads    12\n  parcels  3\n```",
        "prose\n\n",
        "```\ncode  &lt;x&gt;\n```",
        "\nend",
    ]


def test_a_long_traceback_is_fenced_in_each_piece() -> None:
    """Each part of a split traceback has its own fence, and no line is lost."""
    trace = "Traceback\n" + "".join(f'  File "p.py", line {n}, in <f>\n' for n in range(800)) + "KeyError: ```"
    details = message_for(Kind.FAILURE, report(error=ErrorDetails(type="KeyError", traceback=trace)))
    pieces = [each["text"] for post in posts(details) for each in texts_of(list(post.blocks)) if "```" in each["text"]]
    assert len(pieces) > 5
    assert all(piece.startswith("```\n") and piece.endswith("\n```") and piece.count("```") == 2 for piece in pieces)
    code = "".join(_read(piece[4:-3]) for piece in pieces)
    assert code.replace("\u200b", "").rstrip() == trace.rstrip()
    assert_acceptable(details)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1), max_size=60))
def test_long_texts_are_split_without_loss(words: list[str]) -> None:
    """A text of up to 40,000 characters is shown completely."""
    text = " ".join(word * 30 for word in words).replace("`", "'")[:SLACK_TEXT_LIMIT]
    details = MessageDetails("s", text)
    assert_acceptable(details)
    sections = [b["text"]["text"] for post in posts(details) for b in post.blocks if b["type"] == "section"]
    assert _unlinked("".join(sections)).split() == text.split()


def _unlinked(text: str) -> str:
    return _read(text.replace("<", "").replace(">", ""))


@given(subject=hostile, message=hostile, name=hostile, value=hostile)
def test_hostile_text_is_acceptable(subject: str, message: str, name: str, value: str) -> None:
    """Slack accepts any text, and no text mentions anybody."""
    run = report(name=name, host=name, argv=(value,), values={name: value}, error=ErrorDetails(type=name or "E"))
    details = MessageDetails(subject, message, report=run, kind=Kind.FAILURE, id=name or "i", attachments=[])
    assert_acceptable(details, prefix=name, client=value)
    for each in texts_of([block for post in posts(details) for block in post.blocks]):
        assert each["type"] == "plain_text" or each["verbatim"] is True


def test_a_body_of_10_mb_is_cut_with_a_note() -> None:
    """A huge text is cut in its middle with a note, and needs few posts."""
    details = MessageDetails("s", "start " + "x <&> " * 1_700_000 + " end")
    made = posts(details)
    text = shown(details)
    assert "characters left out" in text
    assert "start" in text
    assert text.rstrip().endswith("end")
    assert len(made) < 15
    assert_acceptable(details)


def test_a_huge_traceback_keeps_what_stands_around_it() -> None:
    """The traceback is cut before the rest of the text is."""
    error = ErrorDetails(type="E", message="why", traceback="Traceback\n" + "  frame\n" * 100_000 + "E: why")
    text = shown(message_for(Kind.FAILURE, report(error=error)))
    assert "characters left out" in text
    assert "failed on gis-7" in text
    assert text.count("E: why") == 2
    assert len(text) < SLACK_TEXT_LIMIT * 1.2


def test_a_long_subject_is_shown_below_the_header() -> None:
    """A subject that is too long for the header is cut there, and shown in full below it."""
    (post,) = posts(MessageDetails("line\r\nbreak\0 " + "word " * 60))
    assert post.blocks[0]["text"]["text"].endswith("…")
    assert "\n" not in post.blocks[0]["text"]["text"]
    assert post.blocks[1]["text"]["text"].count("word") == 60
    assert_acceptable(MessageDetails("é" * 10_000))
    assert_acceptable(MessageDetails(""))


def test_blocks_are_used_as_they_are() -> None:
    """A message's own blocks are sent alone, without characters that JSON cannot hold."""
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "*mine* <!here> \ud800"}}, {"type": "divider"}]
    (post,) = posts(MessageDetails("subject", "text", blocks=blocks))
    assert post.blocks == (
        {"type": "section", "text": {"type": "mrkdwn", "text": "*mine* <!here> �"}},
        {"type": "divider"},
    )
    assert post.text == "subject\ntext"


@pytest.mark.parametrize("text", ['{"blocks": [{"type": "divider"}]}', '{"type": "divider"}', '[{"type": "divider"}]'])
def test_blocks_as_text_are_blocks(text: str) -> None:
    """Blocks may be given as JSON, also in the form of the Block Kit Builder."""
    assert posts(MessageDetails("s", blocks=text))[0].blocks == ({"type": "divider"},)


@pytest.mark.parametrize("blocks", ["no json", "null", "3", "[]", []])
def test_what_is_no_blocks_is_left_out(blocks: Any) -> None:
    """A message with invalid blocks gets the composed layout."""
    assert posts(MessageDetails("s", blocks=blocks))[0].blocks[0]["type"] == "header"


def test_more_than_50_blocks_become_several_messages() -> None:
    """120 blocks are three messages, numbered, without loss and in order."""
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": str(n)}} for n in range(120)]
    made = posts(MessageDetails("s", blocks=blocks))
    assert [len(post.blocks) for post in made] == [50, 50, 20]
    assert [post.text for post in made] == ["s (1/3)", "s (2/3)", "s (3/3)"]
    assert [block for post in made for block in post.blocks] == blocks


@given(st.lists(st.integers(0, 3000), max_size=150))
def test_groups_of_blocks_fit_and_lose_nothing(sizes: list[int]) -> None:
    """Blocks are grouped in order, each group within 50 blocks and 12,000 bytes."""
    blocks: list[dict[str, Any]] = [{"n": n, "t": "x" * size} for n, size in enumerate(sizes)]
    groups = list(group_by_message(blocks))
    assert [block for group in groups for block in group] == blocks
    assert all(len(group) <= 50 for group in groups)
    assert all(len(json.dumps(group, separators=(",", ": "))) <= MESSAGE_BYTES + 1 for group in groups)


def test_values_are_all_shown() -> None:
    """Many values make several sections of 10 fields; one too long for a field gets a section."""
    values: dict[str, Any] = {f"v{n}": n for n in range(25)} | {"long": "<" * 900, "flag": True, "nothing": None}
    details = MessageDetails("s", report=report(values=values))
    fields = [block["fields"] for post in posts(details) for block in post.blocks if "fields" in block]
    assert [len(each) for each in fields] == [10, 10, 7]
    text = shown(details)
    assert text.count("<") == 900
    assert "*flag*\nTrue" in text
    assert "*nothing*\nNone" in text
    assert_acceptable(details)
    assert_acceptable(
        MessageDetails("s", report=report(values={"n": 10**5000, "inf": float("inf"), "nan": float("nan")}))
    )


def test_files_that_stay_behind_are_listed() -> None:
    """With a webhook, the message lists the attachments, and says how they could be sent."""
    attachments = [
        Attachment("a.csv", name="a\r\n<!channel>.csv", size_bytes=4_608),
        Attachment("gone.log", name="gone.log", note="missing"),
    ]
    details = MessageDetails("s", attachments=attachments)
    text = shown(details, lists_files=True)
    assert "bot token" in text
    assert "a <!channel>.csv (4.5 KB)" in text
    assert "gone.log (missing)" in text
    assert "gone.log" not in shown(details)
    assert "a &lt;!channel&gt;.csv" in plain_posts(details, lists_files=True)[0].text
    many = MessageDetails("s", attachments=[Attachment(f"{n}" * 90) for n in range(300)])
    assert_acceptable(many, lists_files=True)


def test_plain_posts_say_the_same() -> None:
    """Plain posts have the text of the blocks."""
    details = message_for(Kind.FAILURE, report())
    text = "\n".join(post.text for post in plain_posts(details, prefix="[p] ", client="c 1"))
    assert text.startswith(":rotating_light: *[p] nightly parcels failed")
    assert f"```\n{escaped(TRACE)}\n```" in text
    assert "*parcels*\n12,345" in text
    assert " · " in text
    assert text.endswith("c 1")


def test_notes_are_escaped_lines() -> None:
    """Notes are one line each, and bounded."""
    assert notes_text(["a\nb: <missing>", "c"]) == "a b: &lt;missing&gt;\nc"
    assert len(notes_text(["x" * 400] * 100).encode()) <= PLAIN_BYTES
    assert shortened("abc", 3) == "abc"
