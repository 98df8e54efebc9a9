"""The body of a message as Slack's blocks: its parts where supervisor composed them, else the script's own text.

Slack counts characters differently from Python (an emoji may count as its ``:short_name:``), so lengths are counted
in UTF-8 bytes, which are never fewer.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias

from supervisor._messages.sections import parts_of, recorded_values
from supervisor._models.parts import Bars, Code, Facts, Text
from supervisor._text import cut_middle, one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor._models.parts import Part, Row
    from supervisor._models.values import MessageDetails

Block: TypeAlias = dict[str, Any]
"""A block or a text object of Block Kit, as JSON."""

SECTION_BYTES = 2_900
FIELD_BYTES = 1_900
FIELDS_PER_SECTION = 10
SLACK_TEXT_LIMIT = 40_000  # the most that Slack accepts as the text of one message
_TRACEBACK_LIMIT = 28_000
_CODE_LIMIT = 8_000
LONGEST_LINK_BYTES = 500

_URL = re.compile(r"(https?://[^\s<>|`]+)")
_AFTER_URL = ".,;:!?'\")]}"
_TITLE_LIMIT = 120
_FENCE = "```"
_BAR_CHARACTERS = "▁▂▃▄▅▆▇█"


def escaped(text: str) -> str:
    """Return a text with ``&``, ``<`` and ``>`` escaped, so that nothing in it can mention anybody.

    https://docs.slack.dev/messaging/formatting-message-text/#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def linked(text: str) -> str:
    """Return an escaped text with its URLs as links."""
    parts = _URL.split(text)
    return "".join(escaped(before) + _link(url) for before, url in zip_longest(parts[::2], parts[1::2], fillvalue=""))


def _link(url: str) -> str:
    """Return one URL as a link, without the punctuation that follows it in a sentence."""
    address = url.rstrip(_AFTER_URL)
    rest = url[len(address) :]
    if not address or len(escaped(address).encode()) > LONGEST_LINK_BYTES:
        return escaped(url)
    return f"<{escaped(address)}>{escaped(rest)}"


def split_text(text: str, limit_bytes: int) -> list[str]:
    """Return the pieces of a clean text, whose concatenation is the text.

    It is cut after a line, else after a word, else anywhere but inside an entity (``&amp;``) or a link.

    Args:
        text: The text.
        limit_bytes: The most UTF-8 bytes of one piece; more than a link has.
    """
    pieces = []
    start = 0
    while start < len(text):
        end = _cut(text, start, _reach(text, start, limit_bytes))
        pieces.append(text[start:end])
        start = end
    return pieces


def shortened(text: str, limit_bytes: int) -> str:
    """Return a text of at most ``limit_bytes``; one that is longer ends in an ellipsis."""
    if len(text.encode()) <= limit_bytes:
        return text
    return split_text(text, limit_bytes - 3)[0].rstrip() + "…"


def _reach(text: str, start: int, limit_bytes: int) -> int:
    """Return the index up to which the text from ``start`` on fits."""
    piece = text[start : start + limit_bytes]
    encoded = piece.encode()
    if len(encoded) > limit_bytes:
        piece = encoded[:limit_bytes].decode("utf-8", "ignore")
    return start + max(1, len(piece))


def _cut(text: str, start: int, end: int) -> int:
    """Return the index after the piece that begins at ``start`` and may reach up to ``end``."""
    if end >= len(text):
        return len(text)
    for border in ("\n", " "):
        found = text.rfind(border, start + (end - start) // 2, end)
        if found >= 0:
            return found + 1
    for opening, closing in (("<", ">"), ("&", ";")):
        found = text.rfind(opening, start, end)
        if found > start and closing not in text[found:end] and end - found < LONGEST_LINK_BYTES + 2:
            end = found
    return end


def section(text: str) -> Block:
    """Return a section block with a text."""
    return {"type": "section", "text": mrkdwn(text)}


def mrkdwn(text: str) -> Block:
    """Return a text object in Slack's mrkdwn.

    Without ``verbatim``, Slack turns names in the text into links and mentions, which could notify a channel:
    https://docs.slack.dev/reference/block-kit/composition-objects/text-object
    """
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def value_blocks(facts: Facts) -> list[Block]:
    """Return recorded values: short ones as fields, long ones as sections of their own."""
    fields, sections = [], []
    for row in facts.rows:
        text = f"*{escaped(one_line(printable(row.label)))}*\n{_value_text(row)}"
        if len(text.encode()) <= FIELD_BYTES:
            fields.append(mrkdwn(text))
        else:
            sections += [section(piece) for piece in split_text(text, SECTION_BYTES) if piece.strip()]
    groups = [fields[start : start + FIELDS_PER_SECTION] for start in range(0, len(fields), FIELDS_PER_SECTION)]
    return [{"type": "section", "fields": group} for group in groups] + sections


def row_blocks(facts: Facts) -> list[Block]:
    """Return a table as lines, each beginning with its label."""
    lines = [f"*{escaped(one_line(printable(facts.title)))}*"] if facts.title else []
    lines += [f"*{escaped(one_line(printable(row.label)))}*  {_value_text(row)}" for row in facts.rows]
    return [section(piece) for piece in split_text("\n".join(lines), SECTION_BYTES) if piece.strip()]


def _value_text(row: Row) -> str:
    """Return a row's value, with the usual value beside it."""
    mark = ":small_orange_diamond: " if row.stands_out else ""
    aside = f"  _{escaped(printable(row.aside))}_" if row.aside else ""
    return f"{mark}{escaped(printable(row.text))}{aside}"


def body_blocks(details: MessageDetails) -> list[Block]:
    """Return the blocks between the header and the small print."""
    if details.parts and not details.own_text:
        # The first sentence of a start is its subject, which the header shows.
        shown = [part for part in parts_of(details) if part != Text(f"{details.subject}.")]
        return [block for part in shown for block in _blocks(part)]
    blocks = list(_own_text_blocks(printable(details.message)))
    if details.report is not None:
        blocks += [block for part in recorded_values(details.report) for block in _blocks(part)]
    return blocks


def has_machine_facts(details: MessageDetails) -> bool:
    """Return whether a message has facts about when, where and how its run ran; they belong into the small print."""
    return any(isinstance(part, Facts) and part.role == "machine" for part in parts_of(details))


def _blocks(part: Part) -> Iterator[Block]:
    if isinstance(part, Facts):
        if part.role != "machine":
            yield from value_blocks(part) if part.role == "values" else row_blocks(part)
    elif isinstance(part, Code):
        limit = _TRACEBACK_LIMIT if part.role == "traceback" else _CODE_LIMIT
        yield from code_blocks(cut_middle(printable(part.text).strip("\n"), limit), part.title)
    elif isinstance(part, Bars):
        yield {"type": "context", "elements": [mrkdwn(f"`{_bar_line(part)}` {escaped(printable(part.text))}")]}
    else:
        yield from _bold_blocks(part.text) if part.is_strong else _prose_blocks(part.text)


def _bold_blocks(text: str) -> Iterator[Block]:
    """Yield a text in bold, line by line, because Slack's bold ends at a line break."""
    lines = [escaped(line) for line in printable(cut_middle(text, _CODE_LIMIT)).split("\n")]
    # A star inside the line would end the bold; a blank beside a star would prevent it.
    bold = [f"*{line.strip()}*" if line.strip() and "*" not in line else line for line in lines]
    yield from _section_blocks("\n".join(bold))


def _prose_blocks(text: str) -> Iterator[Block]:
    yield from _section_blocks(linked(printable(cut_middle(text, SLACK_TEXT_LIMIT))))


def _section_blocks(text: str) -> Iterator[Block]:
    return (section(piece) for piece in split_text(text, SECTION_BYTES) if piece.strip())


def code_blocks(code: str, title: str = "") -> Iterator[Block]:
    """Yield sections with code, each in a code fence of its own, with the title above the first."""
    head = f"{escaped(one_line(printable(title), _TITLE_LIMIT))}\n" if title else ""
    whole = escaped(code.replace(_FENCE, "``\N{ZERO WIDTH SPACE}`"))
    for piece in split_text(whole, SECTION_BYTES - 8 - len(head.encode())):
        if piece.strip():
            yield section(f"{head}{_FENCE}\n{piece}" + ("" if piece.endswith("\n") else "\n") + _FENCE)
            head = ""


def _bar_line(bars: Bars) -> str:
    """Return bars as block characters of eight heights, with "x" for failures."""
    longest = max(bars.durations_s) or 1.0
    return "".join(
        "x" if mark == "x" else _BAR_CHARACTERS[min(7, int(8 * each / longest))]
        for each, mark in zip(bars.durations_s, bars.marks, strict=False)
    )


def _own_text_blocks(text: str) -> Iterator[Block]:
    """Yield a script's own text: fenced or indented parts as code, the rest as text."""
    for index, part in enumerate(cut_middle(text, SLACK_TEXT_LIMIT).split(_FENCE)):
        if index % 2:
            yield from code_blocks(part.strip("\n"))
        else:
            for is_table, paragraphs in _paragraphs(part):
                yield from code_blocks(paragraphs) if is_table else _section_blocks(linked(paragraphs))


def _paragraphs(text: str) -> Iterator[tuple[bool, str]]:
    """Yield each table alone, and the paragraphs between two tables together."""
    prose = ""
    parts = re.split(r"(\n{2,})", text)
    for paragraph, gap in zip_longest(parts[::2], parts[1::2], fillvalue=""):
        if _is_table(paragraph):
            yield False, prose
            yield True, paragraph.strip("\n")
            prose = ""
        else:
            prose += paragraph + gap
    yield False, prose


def _is_table(paragraph: str) -> bool:
    """Return whether the lines of a paragraph are indented: all of them, or two and more below a title."""
    lines = paragraph.strip("\n").split("\n")
    below = lines[1:]
    if not below or not all(line.startswith(("  ", "\t")) for line in below):
        return False
    return len(below) > 1 or lines[0].startswith(" ")
