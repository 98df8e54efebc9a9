"""What a message shows as Slack's blocks: part by part where supervisor composed it, else by its own text.

- What stands below the text of a Slack message: recorded values, files that stay behind, and the small print.

- Text as Slack takes it: clean, escaped, and split without loss.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias

from supervisor._messages.sections import parts_of, recorded_values
from supervisor._models.parts import Bars, Code, Facts, Text
from supervisor._text import cut_middle, duration, one_line, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor._models.parts import Part, Row
    from supervisor._models.values import Attachment, MessageDetails, RunReport

Block: TypeAlias = dict[str, Any]

SECTION_BYTES = 2_900
LONGEST_LINK_BYTES = 500

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_URL = re.compile(r"(https?://[^\s<>|`]+)")
_AFTER_URL = ".,;:!?'\")]}"


def clean(text: str) -> str:
    """Return a text that JSON and Slack take: Unix line ends, U+FFFD for control characters and lone surrogates."""
    text = _COLOURS.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def escaped(text: str) -> str:
    """Return a text with ``&``, ``<`` and ``>`` escaped, so that nothing in it can mention anybody.

    https://docs.slack.dev/messaging/formatting-message-text/#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def linked(text: str) -> str:
    """Return a text escaped, with its web addresses as links."""
    parts = _URL.split(text)
    return "".join(escaped(before) + _link(url) for before, url in zip_longest(parts[::2], parts[1::2], fillvalue=""))


def _link(url: str) -> str:
    """Return one web address as a link, without the punctuation that follows it in a sentence."""
    address = url.rstrip(_AFTER_URL)
    rest = url[len(address) :]
    if not address or len(escaped(address).encode()) > LONGEST_LINK_BYTES:
        return escaped(url)
    return f"<{escaped(address)}>{escaped(rest)}"


def split(text: str, limit_bytes: int) -> list[str]:
    """Return the pieces of a clean text, whose concatenation is the text.

    It is cut after a line, else after a word, else anywhere but inside an entity (``&amp;``) or a link.

    Args:
        text: What to split.
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
    return split(text, limit_bytes - 3)[0].rstrip() + "…"


def _reach(text: str, start: int, limit_bytes: int) -> int:
    """Return the index up to which the text from ``start`` on fits."""
    piece = text[start : start + limit_bytes]
    encoded = piece.encode()
    if len(encoded) > limit_bytes:
        piece = encoded[:limit_bytes].decode("utf-8", "ignore")
    return start + max(1, len(piece))


def _cut(text: str, start: int, end: int) -> int:
    """Return where to cut a text that may go on from ``start`` up to ``end``."""
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
    """Return a block with a text."""
    return {"type": "section", "text": mrkdwn(text)}


def mrkdwn(text: str) -> Block:
    """Return a text object that is shown as it is.

    Without ``verbatim``, Slack looks for names in the text and could mention a channel:
    https://docs.slack.dev/reference/block-kit/composition-objects/text-object
    """
    return {"type": "mrkdwn", "text": text, "verbatim": True}


FIELD_BYTES = 1_900
FIELDS_PER_SECTION = 10


def value_blocks(facts: Facts) -> list[Block]:
    """Return what was recorded: short values as fields, long ones in sections of their own."""
    fields, sections = [], []
    for row in facts.rows:
        text = f"*{escaped(one_line(clean(row.label)))}*\n{_value_text(row)}"
        if len(text.encode()) <= FIELD_BYTES:
            fields.append(mrkdwn(text))
        else:
            sections += [section(piece) for piece in split(text, SECTION_BYTES) if piece.strip()]
    groups = [fields[start : start + FIELDS_PER_SECTION] for start in range(0, len(fields), FIELDS_PER_SECTION)]
    return [{"type": "section", "fields": group} for group in groups] + sections


def row_blocks(facts: Facts) -> list[Block]:
    """Return a table as lines, each with its label in front."""
    lines = [f"*{escaped(one_line(clean(facts.title)))}*"] if facts.title else []
    lines += [f"*{escaped(one_line(clean(row.label)))}*  {_value_text(row)}" for row in facts.rows]
    return [section(piece) for piece in split("\n".join(lines), SECTION_BYTES) if piece.strip()]


def _value_text(row: Row) -> str:
    """Return what there is to say, and beside it what is usual."""
    mark = ":small_orange_diamond: " if row.stands_out else ""
    aside = f"  _{escaped(clean(row.aside))}_" if row.aside else ""
    return f"{mark}{escaped(clean(row.text))}{aside}"


def file_blocks(attachments: Iterable[Attachment]) -> list[Block]:
    """Return the names and sizes of files that stay behind."""
    lines = [_file(each) for each in attachments]
    if not lines:
        return []
    title = "*Not attached* (a webhook takes no files; SlackHandler sends them with a bot token and a channel):\n"
    return [section(piece) for piece in split(title + "\n".join(lines), SECTION_BYTES)]


def _file(attachment: Attachment) -> str:
    """Return one line about a file."""
    known = [size(attachment.size_bytes)] if attachment.size_bytes is not None else []
    facts = ", ".join([*known, *([attachment.note] if attachment.note else [])])
    return escaped(one_line(clean(f"{attachment.name} ({facts})" if facts else attachment.name), 300))


def context_blocks(details: MessageDetails, client: str, *, in_full: bool) -> list[Block]:
    """Return the last line: which run, where, how long, and what sent it.

    Args:
        details: The message.
        client: What sent it; "" leaves it out.
        in_full: True for all that is known of when, where and how the run ran.
    """
    elements = [*_facts(details, in_full=in_full), escaped(one_line(clean(client)))]
    shown = [mrkdwn(text) for text in elements if text]
    return [{"type": "context", "elements": shown}] if shown else []


def _facts(details: MessageDetails, *, in_full: bool) -> Iterator[str]:
    """Yield what there is to say of a run in small print, nine facts at most."""
    report = details.report
    if report is None:
        return
    yield f"*{_small_text(report.name)}*"
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
    """Return when a run started, in the reader's own time zone.

    https://docs.slack.dev/messaging/formatting-message-text/#date-formatting
    """
    fallback = report.started_at.strftime("%Y-%m-%d %H:%M:%S %z")
    return f"<!date^{int(report.started_at.timestamp())}^{{date_num}} {{time_secs}}|{fallback}>"


def _small_text(text: str, limit: int = 200) -> str:
    return escaped(one_line(clean(text), limit))


TEXT_LIMIT = 40_000  # what Slack takes at most as the text of one message
TRACEBACK_LIMIT = 28_000
CODE_LIMIT = 8_000

_TITLE_LIMIT = 120
_FENCE = "```"
_STEPS = "▁▂▃▄▅▆▇█"


def body_blocks(details: MessageDetails) -> list[Block]:
    """Return the blocks between header and small print: all that a message shows."""
    if details.parts and not details.own_text:
        # The first sentence of a start is its subject, which the header shows.
        shown = [part for part in parts_of(details) if part != Text(f"{details.subject}.")]
        return [block for part in shown for block in _blocks(part)]
    blocks = list(_own_text_blocks(clean(details.message)))
    if details.report is not None:
        blocks += [block for part in recorded_values(details.report) for block in _blocks(part)]
    return blocks


def has_machine_facts(details: MessageDetails) -> bool:
    """Tell whether a message says when, where and how its run ran, which goes into the small print."""
    return any(isinstance(part, Facts) and part.role == "machine" for part in parts_of(details))


def _blocks(part: Part) -> Iterator[Block]:
    if isinstance(part, Facts):
        if part.role != "machine":
            yield from value_blocks(part) if part.role == "values" else row_blocks(part)
    elif isinstance(part, Code):
        limit = TRACEBACK_LIMIT if part.role == "traceback" else CODE_LIMIT
        yield from code_blocks(cut_middle(clean(part.text).strip("\n"), limit), part.title)
    elif isinstance(part, Bars):
        yield {"type": "context", "elements": [mrkdwn(f"`{_bar_line(part)}` {escaped(clean(part.text))}")]}
    else:
        yield from _bold_blocks(part.text) if part.is_strong else _prose_blocks(part.text)


def _bold_blocks(text: str) -> Iterator[Block]:
    """Yield a text in bold, line by line: Slack's stars do not reach over a line break."""
    lines = [escaped(line) for line in clean(cut_middle(text, CODE_LIMIT)).split("\n")]
    # A star within would end the bold; so would a blank at an end.
    bold = [f"*{line.strip()}*" if line.strip() and "*" not in line else line for line in lines]
    yield from _section_blocks("\n".join(bold))


def _prose_blocks(text: str) -> Iterator[Block]:
    yield from _section_blocks(linked(clean(cut_middle(text, TEXT_LIMIT))))


def _section_blocks(text: str) -> Iterator[Block]:
    return (section(piece) for piece in split(text, SECTION_BYTES) if piece.strip())


def code_blocks(code: str, title: str = "") -> Iterator[Block]:
    """Yield sections with code, each in a fence of its own, the title above the first."""
    head = f"{escaped(one_line(clean(title), _TITLE_LIMIT))}\n" if title else ""
    whole = escaped(code.replace(_FENCE, "``\N{ZERO WIDTH SPACE}`"))
    for piece in split(whole, SECTION_BYTES - 8 - len(head.encode())):
        if piece.strip():
            yield section(f"{head}{_FENCE}\n{piece}" + ("" if piece.endswith("\n") else "\n") + _FENCE)
            head = ""


def _bar_line(bars: Bars) -> str:
    """Return bars as characters of eight heights, failures as crosses."""
    longest = max(bars.durations_s) or 1.0
    return "".join(
        "x" if mark == "x" else _STEPS[min(7, int(8 * each / longest))]
        for each, mark in zip(bars.durations_s, bars.marks, strict=False)
    )


# The text that a script wrote itself


def _own_text_blocks(text: str) -> Iterator[Block]:
    """Yield a script's own text: what is in fences or in columns as code, the rest as it is."""
    for index, part in enumerate(cut_middle(text, TEXT_LIMIT).split(_FENCE)):
        if index % 2:
            yield from code_blocks(part.strip("\n"))
        else:
            for is_table, paragraphs in _paragraphs(part):
                yield from code_blocks(paragraphs) if is_table else _section_blocks(linked(paragraphs))


def _paragraphs(text: str) -> Iterator[tuple[bool, str]]:
    """Yield tables by themselves, and the paragraphs between them together."""
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
    """Tell whether the lines of a paragraph are indented: all of them, or two and more below a title."""
    lines = paragraph.strip("\n").split("\n")
    below = lines[1:]
    if not below or not all(line.startswith(("  ", "\t")) for line in below):
        return False
    return len(below) > 1 or lines[0].startswith(" ")
