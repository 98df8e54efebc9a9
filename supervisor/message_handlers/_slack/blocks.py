"""A message as posts to Slack: in Block Kit, within Slack's limits and without loss, or as plain text.

Limits (https://docs.slack.dev/reference/block-kit/blocks/): 50 blocks a message; 3,000 characters in a section's
text, 10 fields of 2,000 in one section, 150 in a header, 10 elements in a context. All blocks of one message
together may have about 12,000 characters, documented only in https://github.com/slackapi/bolt-js/issues/2509.

Slack counts characters differently from Python (an emoji may count as its ``:short_name:``), so lengths are counted
in UTF-8 bytes, which are never fewer. What stands first here writes and cuts texts; then come the blocks of a body, its
parts where supervisor composed them, else the script's own text; then the posts that they are sent in.
"""

from __future__ import annotations

import json
import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from supervisor._messages import run_label
from supervisor._messages.rendering import table_as_code, table_lines
from supervisor._messages.sections import parts_of, recorded_values
from supervisor._models import Kind
from supervisor._models.parts import Bars, Code, Facts, Table, Text
from supervisor._text import (
    cut_middle,
    duration,
    is_address,
    one_line,
    printable,
    size,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor._models.parts import Part, Row
    from supervisor._models.values import Attachment, MessageDetails, RunReport

Block: TypeAlias = dict[str, Any]
"""A block or a text object of Block Kit, as JSON."""

SECTION_BYTES = 2_900
FIELD_BYTES = 1_900
FIELDS_PER_SECTION = 10
SLACK_TEXT_LIMIT = 40_000  # the most that Slack accepts as the text of one message
_TRACEBACK_LIMIT = 28_000
_CODE_LIMIT = 8_000
_TABLE_WIDTH = 90
LONGEST_LINK_BYTES = 500

_URL = re.compile(r"(https?://[^\s<>|`]+)")
_AFTER_URL = ".,;:!?'\")]}"
_TITLE_LIMIT = 120
_BUTTON_TEXT_LIMIT = 75
_BUTTON_URL_LIMIT = 3_000
_MOST_BUTTONS = 25
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


def link_blocks(facts: Facts) -> Iterator[Block]:
    """Yield links as buttons, and as text what Slack takes for no button.

    https://docs.slack.dev/reference/block-kit/block-elements/button-element
    """
    fitting = [row for row in facts.rows if is_address(row.text) and len(row.text) <= _BUTTON_URL_LIMIT]
    buttons: list[Block] = [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": one_line(printable(row.label), _BUTTON_TEXT_LIMIT) or "Link"},
            "url": row.text,
            "action_id": f"link-{index}",
        }
        for index, row in enumerate(fitting)
    ]
    if buttons:
        yield {"type": "actions", "elements": buttons[:_MOST_BUTTONS]}
    others = tuple(row for row in facts.rows if row not in fitting)
    if others:
        yield from row_blocks(Facts("", others))


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
        return [block for part in _with_one_table(shown) for block in _blocks(part)]
    blocks = list(_own_text_blocks(printable(details.message)))
    if details.report is not None:
        blocks += [block for part in recorded_values(details.report) for block in _blocks(part)]
    return blocks


def _with_one_table(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield parts with all tables of data but the first as lines: Slack takes one table in a message."""
    has_table = False
    for part in parts:
        is_table = isinstance(part, Table) and part.is_data
        yield table_as_code(part) if isinstance(part, Table) and is_table and has_table else part
        has_table = has_table or is_table


def has_machine_facts(details: MessageDetails) -> bool:
    """Return whether a message has facts about when, where and how its run ran; they belong into the small print."""
    return any(isinstance(part, Facts) and part.role == "machine" for part in parts_of(details))


def _blocks(part: Part) -> Iterator[Block]:
    if isinstance(part, Facts):
        if part.role == "links":
            yield from link_blocks(part)
        elif part.role != "machine":
            yield from value_blocks(part) if part.role == "values" else row_blocks(part)
    elif isinstance(part, Table) and part.is_data:
        yield from _table_blocks(part)
    elif isinstance(part, Table):
        lines = table_lines(part, _TABLE_WIDTH)
        yield from code_blocks(cut_middle(printable("\n".join(lines)), _CODE_LIMIT), part.title)
    elif isinstance(part, Code):
        limit = _TRACEBACK_LIMIT if part.role == "traceback" else _CODE_LIMIT
        yield from code_blocks(cut_middle(printable(part.text).strip("\n"), limit), part.title)
    elif isinstance(part, Bars):
        yield {"type": "context", "elements": [mrkdwn(f"`{_bar_line(part)}` {escaped(printable(part.text))}")]}
    else:
        yield from _bold_blocks(part.text) if part.is_strong else _prose_blocks(part.text)


TABLE = "table"
_MOST_COLUMNS, _MOST_ROWS, _TABLE_CHARACTERS = 20, 100, 10_000
"""At most: https://docs.slack.dev/reference/block-kit/blocks/table-block."""


def _table_blocks(table: Table) -> Iterator[Block]:
    """Yield a table of data; one that is too large for Slack as lines."""
    if not table.columns:
        yield section(f"*{escaped(one_line(printable(table.title)))}*\n{escaped(table.note)}")
        return
    rows = [[one_line(printable(cell), 200) or "-" for cell in row] for row in (table.columns, *table.rows)]
    characters = sum(len(cell) for row in rows for cell in row)
    if len(rows[0]) > _MOST_COLUMNS or len(rows) > _MOST_ROWS or characters > _TABLE_CHARACTERS:
        code = table_as_code(table)
        yield from code_blocks(cut_middle(printable(code.text), _CODE_LIMIT), code.title)
        return
    if table.title:
        yield section(f"*{escaped(one_line(printable(table.title)))}*")
    yield {
        "type": TABLE,
        "column_settings": [{"align": "right" if each else "left", "is_wrapped": True} for each in table.numeric],
        "rows": [[{"type": "raw_text", "text": cell} for cell in row] for row in rows],
    }
    if table.note:
        yield {"type": "context", "elements": [mrkdwn(escaped(printable(table.note)))]}


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


BLOCKS_PER_MESSAGE = 50
MESSAGE_BYTES = 12_000
HEADER_BYTES = 150
PLAIN_BYTES = 3_900  # Slack splits longer plain messages at any character
NOTIFICATION_BYTES = 600

_EMOJIS = {
    Kind.START: ":arrow_forward:",
    Kind.PROGRESS: ":hourglass_flowing_sand:",
    Kind.SUCCESS: ":white_check_mark:",
    Kind.WARNING: ":warning:",
    Kind.FAILURE: ":rotating_light:",
    Kind.RECOVERY: ":white_check_mark:",
    Kind.STALLED: ":warning:",
    Kind.OVERDUE: ":alarm_clock:",
    Kind.DIED: ":rotating_light:",
    Kind.MISSED: ":grey_question:",
    Kind.SKIPPED: ":fast_forward:",
}


@attrs.frozen
class Post:
    """One message of Slack; a long message of supervisor's becomes several posts.

    Args:
        text: The text for notifications and screen readers; the whole message where there are no blocks.
        blocks: The blocks that are shown instead of ``text``; empty shows ``text``.
    """

    text: str
    blocks: tuple[Block, ...] = ()


def posts(details: MessageDetails, *, prefix: str = "", client: str = "", lists_files: bool = False) -> list[Post]:
    """Return a message as one or more posts with blocks.

    Args:
        details: The message. Its own blocks are used as they are; without any, a layout is composed.
        prefix: The text before each subject.
        client: The sending program, for the last line; "" leaves it out.
        lists_files: Whether the message lists its attachments, because they cannot be uploaded.
    """
    blocks = _own_blocks(details) or _layout(details, prefix, client)
    if lists_files:
        blocks += file_blocks(details.attachments)
    groups = list(group_by_message(blocks))
    text = _notification(details, prefix)
    numbered = [f" ({n}/{len(groups)})" if len(groups) > 1 else "" for n in range(1, len(groups) + 1)]
    return [Post(text + number, tuple(group)) for number, group in zip(numbered, groups, strict=True)]


def plain_posts(
    details: MessageDetails, *, prefix: str = "", client: str = "", lists_files: bool = False
) -> list[Post]:
    """Return a message as one or more posts of text only, for when Slack has refused its blocks."""
    headline = f"{_emoji(details)}*{escaped(_subject(details, prefix))}*"
    blocks = body_blocks(details)
    if lists_files:
        blocks += file_blocks(details.attachments)
    blocks += context_blocks(details, client, in_full=has_machine_facts(details))
    texts = [headline]
    for text in _texts(blocks):
        if len(f"{texts[-1]}\n{text}".encode()) > PLAIN_BYTES:
            texts.append(text)
        else:
            texts[-1] += f"\n{text}"
    return [Post(text) for text in texts]


def notes_text(lines: Iterable[str]) -> str:
    """Return notes, one a line, as the text of one post."""
    return shortened("\n".join(escaped(one_line(printable(line), 500)) for line in lines), PLAIN_BYTES)


def group_by_message(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Yield blocks in groups that each fit one post; a block that is too large for any post is a group of its own."""
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
    """Return a message's own blocks, also in the form that Slack's Block Kit Builder exports; [] without any."""
    try:
        blocks: Any = details.blocks
    except ValueError:  # a text that is no JSON: the composed layout replaces it
        return []
    if isinstance(blocks, dict):
        blocks = blocks.get("blocks", [blocks])
    return [_cleaned(each) for each in blocks] if isinstance(blocks, list) else []


def _layout(details: MessageDetails, prefix: str, client: str) -> list[Block]:
    """Return header, text, values and context."""
    subject = _subject(details, prefix)
    header = shortened(_emoji(details) + subject, HEADER_BYTES)
    # The block id is not shown; a repeat can be recognised by it.
    blocks: list[Block] = [
        {
            "type": "header",
            "block_id": f"supervisor-{printable(details.id)[:200]}",
            "text": {"type": "plain_text", "text": header, "emoji": True},
        }
    ]
    if not header.endswith(subject):
        blocks.append(section(f"*{escaped(subject)}*"))
    return [*blocks, *body_blocks(details), *context_blocks(details, client, in_full=has_machine_facts(details))]


def file_blocks(attachments: Iterable[Attachment]) -> list[Block]:
    """Return a list of attachments that cannot be uploaded."""
    lines = [_file(each) for each in attachments]
    if not lines:
        return []
    title = "*Not attached* (a webhook takes no files; SlackHandler sends them with a bot token and a channel):\n"
    return [section(piece) for piece in split_text(title + "\n".join(lines), SECTION_BYTES)]


def _file(attachment: Attachment) -> str:
    """Return the name, size and note of an attachment."""
    known = [size(attachment.size_bytes)] if attachment.size_bytes is not None else []
    facts = ", ".join([*known, *([attachment.note] if attachment.note else [])])
    return escaped(one_line(printable(f"{attachment.name} ({facts})" if facts else attachment.name), 300))


def context_blocks(details: MessageDetails, client: str, *, in_full: bool) -> list[Block]:
    """Return the small print: the run, where it ran, how long it took, and the sending program.

    Args:
        details: The message.
        client: The sending program; "" leaves it out.
        in_full: True for everything that is known of when, where and how the run ran.
    """
    elements = [*_facts(details, in_full=in_full), escaped(one_line(printable(client)))]
    shown = [mrkdwn(text) for text in elements if text]
    return [{"type": "context", "elements": shown}] if shown else []


def _facts(details: MessageDetails, *, in_full: bool) -> Iterator[str]:
    """Yield at most nine facts about a run."""
    report = details.report
    if report is None:
        return
    yield f"*{_small_text(run_label(report))}*"
    if not in_full:
        yield _small_text(report.host)
        yield duration(report.duration_s)
        return
    process = f"user {report.user}, process {report.pid}" if report.user else f"process {report.pid}"
    yield _small_text(f"{report.host} ({process})")
    yield f"started {_instant(report)}"
    yield duration(report.duration_s) if report.ended_at is not None else f"{duration(report.duration_s)} so far"
    yield _small_text(" ".join(report.argv), 500)
    yield _small_text(f"Python {report.python}" if report.python else "")
    yield ", ".join(_used(report))
    yield _small_text(f"log {report.log_path}" if report.log_path else "", 500)
    yield _small_text(f"run {report.id}")


def _used(report: RunReport) -> Iterator[str]:
    if report.cpu_s is not None:
        yield f"{duration(report.cpu_s)} of processor time"
    if report.peak_memory_bytes is not None:
        yield f"{size(report.peak_memory_bytes)} of memory at its peak"


def _instant(report: RunReport) -> str:
    """Return when a run started, in a form that Slack shows in each reader's own time zone.

    https://docs.slack.dev/messaging/formatting-message-text/#date-formatting
    """
    fallback = report.started_at.strftime("%Y-%m-%d %H:%M:%S %z")
    return f"<!date^{int(report.started_at.timestamp())}^{{date_num}} {{time_secs}}|{fallback}>"


def _small_text(text: str, limit: int = 200) -> str:
    return escaped(one_line(printable(text), limit))


def _emoji(details: MessageDetails) -> str:
    return f"{_EMOJIS[details.style]} " if details.style in _EMOJIS else ""


def _subject(details: MessageDetails, prefix: str) -> str:
    return one_line(printable(f"{prefix}{details.subject}"), 500) or f"({details.kind})"


def _notification(details: MessageDetails, prefix: str) -> str:
    """Return the subject and the beginning of the text."""
    start = escaped(printable(details.message[:NOTIFICATION_BYTES]).strip())
    return f"{_emoji(details)}{escaped(_subject(details, prefix))}\n{shortened(start, NOTIFICATION_BYTES)}".rstrip()


def _texts(blocks: Iterable[Block]) -> Iterator[str]:
    """Yield the texts of blocks that this package has composed."""
    for block in blocks:
        if "text" in block:
            yield block["text"]["text"]
        if block.get("type") == TABLE:
            yield "\n".join(" | ".join(escaped(cell["text"]) for cell in row) for row in block["rows"])
        for each in block.get("fields", ()):
            yield each["text"]
        if "elements" in block:
            yield " · ".join(each["text"] for each in block["elements"])


def _cleaned(value: Any) -> Any:
    """Return JSON data with all its texts cleaned."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {printable(key): _cleaned(each) for key, each in value.items()}
    return value
