"""From a message to Slack's Block Kit, within Slack's limits and without loss.

Limits (https://docs.slack.dev/reference/block-kit/blocks/): 50 blocks a message; 3,000 characters in a section's
text, 10 fields of 2,000 in one section, 150 in a header, 10 elements in a context. All blocks of one message
together may have about 12,000 characters, which Slack says only in https://github.com/slackapi/bolt-js/issues/2509.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._models.kinds import Kind
from supervisor._text import one_line
from supervisor.message_handlers._slack.block_sections import (
    Block,
    body_blocks,
    clean,
    context_blocks,
    escaped,
    file_blocks,
    has_machine_facts,
    section,
    shortened,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor._models.values import MessageDetails

BLOCKS_PER_MESSAGE = 50
MESSAGE_BYTES = 12_000
HEADER_BYTES = 150
PLAIN_BYTES = 3_900  # Slack breaks up longer plain messages by itself, wherever that falls
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
        blocks += file_blocks(details.attachments)
    groups = list(group_by_message(blocks))
    text = _notification(details, prefix)
    numbered = [f" ({n}/{len(groups)})" if len(groups) > 1 else "" for n in range(1, len(groups) + 1)]
    return [Post(text + number, tuple(group)) for number, group in zip(numbered, groups, strict=True)]


def plain_posts(
    details: MessageDetails, *, prefix: str = "", client: str = "", lists_files: bool = False
) -> list[Post]:
    """Return a message as one or more messages of text only, for a destination that refused its blocks."""
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
    """Return remarks, one a line, as the text of one message."""
    return shortened("\n".join(escaped(one_line(clean(line), 500)) for line in lines), PLAIN_BYTES)


def group_by_message(blocks: Iterable[Block]) -> Iterator[list[Block]]:
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
    return [*blocks, *body_blocks(details), *context_blocks(details, client, in_full=has_machine_facts(details))]


def _emoji(details: MessageDetails) -> str:
    return f"{_EMOJIS[details.kind]} " if details.kind in _EMOJIS else ""


def _subject(details: MessageDetails, prefix: str) -> str:
    return one_line(clean(f"{prefix}{details.subject}"), 500) or f"({details.kind})"


def _notification(details: MessageDetails, prefix: str) -> str:
    """Return the subject and the beginning of the text."""
    start = escaped(clean(details.message[:NOTIFICATION_BYTES]).strip())
    return f"{_emoji(details)}{escaped(_subject(details, prefix))}\n{shortened(start, NOTIFICATION_BYTES)}".rstrip()


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
