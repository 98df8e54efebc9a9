"""A message as posts to Slack: in Block Kit, within Slack's limits and without loss, or as plain text.

Limits (https://docs.slack.dev/reference/block-kit/blocks/): 50 blocks a message; 3,000 characters in a section's
text, 10 fields of 2,000 in one section, 150 in a header, 10 elements in a context. All blocks of one message
together may have about 12,000 characters, documented only in https://github.com/slackapi/bolt-js/issues/2509.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._messages.subjects import run_label
from supervisor._models.kinds import Kind
from supervisor._text import duration, one_line, printable, size
from supervisor.message_handlers._slack.block_sections import (
    SECTION_BYTES,
    Block,
    body_blocks,
    escaped,
    has_machine_facts,
    mrkdwn,
    section,
    shortened,
    split_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor._models.values import Attachment, MessageDetails, RunReport

BLOCKS_PER_MESSAGE = 50
MESSAGE_BYTES = 12_000
HEADER_BYTES = 150
PLAIN_BYTES = 3_900  # Slack splits longer plain messages at any character
NOTIFICATION_BYTES = 600

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
    return f"{_EMOJIS[details.kind]} " if details.kind in _EMOJIS else ""


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
