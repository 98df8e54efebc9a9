"""From a message to Slack's Block Kit, within Slack's limits and without loss.

Limits (https://docs.slack.dev/reference/block-kit/blocks/): 50 blocks a message; 3,000 characters in a section's
text, 10 fields of 2,000 in one section, 150 in a header, 10 elements in a context. All blocks of one message
together may have about 12,000 characters, which Slack says only in https://github.com/slackapi/bolt-js/issues/2509.
"""

from __future__ import annotations

import json
import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import attrs

from supervisor.compose.words import cut_middle, one_line
from supervisor.kinds import Kind
from supervisor.message_handlers.slack_facts import context, files, is_about_the_machine, values
from supervisor.message_handlers.slack_text import (
    SECTION_BYTES,
    Block,
    clean,
    escaped,
    linked,
    section,
    shortened,
    split,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor.models import MessageDetails

BLOCKS_PER_MESSAGE = 50
MESSAGE_BYTES = 12_000
HEADER_BYTES = 150
PLAIN_BYTES = 3_900  # Slack breaks up longer plain messages by itself, wherever that falls
NOTIFICATION_BYTES = 600
TEXT_LIMIT = 40_000  # what Slack takes at most as the text of one message

_FENCE = "```"
_EMOJIS = {
    Kind.START: ":arrow_forward:",
    Kind.PROGRESS: ":hourglass_flowing_sand:",
    Kind.SUCCESS: ":white_check_mark:",
    Kind.FAILURE: ":rotating_light:",
    Kind.RECOVERY: ":white_check_mark:",
    Kind.STALLED: ":warning:",
    Kind.OVERDUE: ":alarm_clock:",
    Kind.DIED: ":rotating_light:",
    Kind.MISSED: ":grey_question:",
}


@attrs.frozen
class Post:
    """One message as Slack gets it.

    Args:
        text: What notifications and screen readers say; the whole message where there are no blocks.
        blocks: What is shown instead of ``text``; empty to show ``text``.
    """

    text: str
    blocks: tuple[Block, ...] = ()


def posts(details: MessageDetails, *, prefix: str = "", client: str = "", lists_files: bool = False) -> list[Post]:
    """Return a message as one or more messages with blocks.

    Args:
        details: The message. Its own blocks are used as they are; without any, a layout is composed.
        prefix: What every subject starts with.
        client: The program that the message comes from, for the last line; "" leaves it out.
        lists_files: Name the attachments in the message, since they cannot be sent along.
    """
    blocks = _own_blocks(details) or _layout(details, prefix, client)
    if lists_files:
        blocks += files(details.attachments)
    groups = list(in_messages(blocks))
    text = _notification(details, prefix)
    numbered = [f" ({n}/{len(groups)})" if len(groups) > 1 else "" for n in range(1, len(groups) + 1)]
    return [Post(text + number, tuple(group)) for number, group in zip(numbered, groups, strict=True)]


def plain_posts(
    details: MessageDetails, *, prefix: str = "", client: str = "", lists_files: bool = False
) -> list[Post]:
    """Return a message as one or more messages of text only, for a destination that refused its blocks."""
    headline = f"{_emoji(details)}*{escaped(_subject(details, prefix))}*"
    blocks = [*_text(details), *values(details.report)]
    if lists_files:
        blocks += files(details.attachments)
    blocks += context(details, client)
    texts = [headline]
    for text in _texts(blocks):
        if len(f"{texts[-1]}\n{text}".encode()) > PLAIN_BYTES:
            texts.append(text)
        else:
            texts[-1] += f"\n{text}"
    return [Post(text) for text in texts]


def notes_text(lines: Iterable[str]) -> str:
    """Return remarks, one a line, as the text of one message."""
    return shortened("\n".join(escaped(one_line(clean(line), 500)) for line in lines), PLAIN_BYTES)


def in_messages(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Yield blocks in groups of which each fits one message; a block that is too large for any is alone in its."""
    group: list[Block] = []
    total = 0
    for block in blocks:
        weight = len(json.dumps(block, ensure_ascii=False).encode("utf-8", "replace")) + 1
        if group and (len(group) == BLOCKS_PER_MESSAGE or total + weight > MESSAGE_BYTES):
            yield group
            group, total = [], 0
        group.append(block)
        total += weight
    if group:
        yield group


def _own_blocks(details: MessageDetails) -> list[Block]:
    """Return the blocks that a message brings along, also as Slack's Block Kit Builder gives them; [] for none."""
    try:
        blocks: Any = details.blocks
    except ValueError:  # a text that is no JSON: the layout says what there is to say
        return []
    if isinstance(blocks, dict):
        blocks = blocks.get("blocks", [blocks])
    return [_cleaned(each) for each in blocks] if isinstance(blocks, list) else []


def _layout(details: MessageDetails, prefix: str, client: str) -> list[Block]:
    """Return header, text, values and context."""
    subject = _subject(details, prefix)
    header = shortened(_emoji(details) + subject, HEADER_BYTES)
    # The id of the message goes along unseen, so that a repeat can be recognised.
    blocks: list[Block] = [
        {
            "type": "header",
            "block_id": f"supervisor-{clean(details.id)[:200]}",
            "text": {"type": "plain_text", "text": header, "emoji": True},
        }
    ]
    if not header.endswith(subject):
        blocks.append(section(f"*{escaped(subject)}*"))
    return [*blocks, *_text(details), *values(details.report), *context(details, client)]


def _emoji(details: MessageDetails) -> str:
    return f"{_EMOJIS[details.kind]} " if details.kind in _EMOJIS else ""


def _subject(details: MessageDetails, prefix: str) -> str:
    return one_line(clean(f"{prefix}{details.subject}"), 500) or f"({details.kind})"


def _notification(details: MessageDetails, prefix: str) -> str:
    """Return the subject and the beginning of the text."""
    start = escaped(clean(details.message[:NOTIFICATION_BYTES]).strip())
    return f"{_emoji(details)}{escaped(_subject(details, prefix))}\n{shortened(start, NOTIFICATION_BYTES)}".rstrip()


# The text


def _text(details: MessageDetails) -> list[Block]:
    """Return sections with the text; tables and tracebacks are in fences of their own in each section."""
    sections = []
    for is_code, text in _segments(details):
        if is_code:
            whole = escaped(text.replace(_FENCE, "``\N{ZERO WIDTH SPACE}`"))
            pieces = [_fenced(piece) for piece in split(whole, SECTION_BYTES - 8) if piece.strip()]
        else:
            pieces = [piece for piece in split(linked(text), SECTION_BYTES) if piece.strip()]
        sections += [section(piece) for piece in pieces]
    return sections


def _fenced(code: str) -> str:
    return f"{_FENCE}\n{code}" + ("" if code.endswith("\n") else "\n") + _FENCE


def _segments(details: MessageDetails) -> Iterator[tuple[bool, str]]:
    """Yield the text in parts, each with whether it is code or a table, that is, shown with its spaces."""
    error = details.report.error if details.report is not None else None
    trace = clean(error.traceback).strip("\n") if error is not None else ""
    before, trace, after = _parted(clean(details.message), trace)
    yield from _prose(before, details)
    yield True, trace
    yield from _prose(after, details)


def _parted(text: str, trace: str) -> tuple[str, str, str]:
    """Return what stands before the traceback, the traceback, and what stands after, cut to what Slack can take."""
    before, trace, after = text.partition(trace) if trace else (text, "", "")
    if len(text) > TEXT_LIMIT:
        before, after = cut_middle(before, TEXT_LIMIT // 2 if trace else TEXT_LIMIT), cut_middle(after, TEXT_LIMIT // 4)
        trace = cut_middle(trace, max(TEXT_LIMIT - len(before) - len(after), TEXT_LIMIT // 4))
    return before, trace, after


def _prose(text: str, details: MessageDetails) -> Iterator[tuple[bool, str]]:
    """Yield what stands between fences as code, and the rest by its paragraphs."""
    for index, part in enumerate(text.split(_FENCE)):
        if index % 2:
            yield True, part.strip("\n")
        else:
            yield from _paragraphs(part, details)


def _paragraphs(text: str, details: MessageDetails) -> Iterator[tuple[bool, str]]:
    """Yield prose and tables apart, without the paragraphs that header, fields and context show already."""
    prose = ""
    parts = re.split(r"(\n{2,})", text)
    for paragraph, gap in zip_longest(parts[::2], parts[1::2], fillvalue=""):
        if _is_shown_elsewhere(paragraph, details):
            continue
        if _is_table(paragraph):
            yield False, prose
            yield True, paragraph.strip("\n")
            prose = ""
        else:
            prose += paragraph + gap
    yield False, prose


def _is_shown_elsewhere(paragraph: str, details: MessageDetails) -> bool:
    if details.report is None or details.kind is Kind.NOTICE:
        return False  # a notice is the script's own text
    if paragraph.startswith("Recorded\n  "):
        return bool(details.report.values)
    return is_about_the_machine(paragraph, details.report) or paragraph.strip() == f"{details.subject}."


def _is_table(paragraph: str) -> bool:
    """Tell whether the lines of a paragraph are indented: all of them, or two and more below a title."""
    lines = paragraph.strip("\n").split("\n")
    below = lines[1:]
    if not below or not all(line.startswith(("  ", "\t")) for line in below):
        return False
    return len(below) > 1 or lines[0].startswith(" ")


def _texts(blocks: Iterable[Block]) -> Iterator[str]:
    """Yield what blocks of ours say."""
    for block in blocks:
        if "text" in block:
            yield block["text"]["text"]
        for each in block.get("fields", ()):
            yield each["text"]
        if "elements" in block:
            yield " · ".join(each["text"] for each in block["elements"])


def _cleaned(value: Any) -> Any:
    """Return JSON with clean texts in it."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {clean(key): _cleaned(each) for key, each in value.items()}
    return value
