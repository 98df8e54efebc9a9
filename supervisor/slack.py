"""Slack's Block Kit blocks as version 3 had them, for :mod:`supervisor.compat`.

They can be given to ``MessageDetails(blocks=[...])`` of version 4 as well. New scripts take them from ``slack_sdk``.
The limits are Slack's: https://docs.slack.dev/reference/block-kit/blocks/
"""

from __future__ import annotations

import json
import warnings
from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import KeysView, Sequence

__all__ = [
    "Block",
    "BlockType",
    "ContextBlock",
    "DividerBlock",
    "Message",
    "SectionBlock",
    "Text",
    "split_blocks",
]

_MAX_BLOCKS = 50
_MAX_CONTEXT_ELEMENTS = 10
_MAX_LENGTH_SECTION = 3000
_MAX_LENGTH_SECTION_FIELD = 2000
_CUT = "... (text truncated due to length)"


def __dir__() -> list[str]:
    return sorted(__all__)


class BlockType(Enum):
    """The types of blocks that there are here."""

    SECTION = "section"
    DIVIDER = "divider"
    CONTEXT = "context"


class Text:
    """A text in Slack's own markup (mrkdwn).

    Args:
        text: The text.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @staticmethod
    def to_text(text: str, max_length: int | None = None) -> Text:
        """Return a text that Slack takes: not empty, and cut with a note and a warning where it is too long.

        Args:
            text: The text.
            max_length: The most characters; None for no limit.
        """
        text = text or " "
        if not max_length or len(text) <= max_length:
            return Text(text)
        warnings.warn(f"Text truncated from {len(text)} to {max_length} characters", stacklevel=2)
        note = _CUT if len(_CUT) < max_length else ""
        return Text(text[: max_length - len(note)] + note)

    def to_dict(self) -> dict[str, str]:
        """Return the text as Slack's API takes it."""
        return {"type": "mrkdwn", "text": self.text}

    _resolve = to_dict

    def __str__(self) -> str:
        return json.dumps(self.to_dict(), indent=2)


class Block(ABC):
    """What all blocks have in common.

    Args:
        block: The type of the block.
    """

    def __init__(self, block: BlockType) -> None:
        self.type = block

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the block as Slack's API takes it."""

    def _resolve(self) -> dict[str, Any]:
        return self.to_dict()

    def __repr__(self) -> str:
        return json.dumps(self.to_dict(), indent=2)


class SectionBlock(Block):
    """A text, or fields in two columns, or both.

    Args:
        text: The text, cut at 3,000 characters; None for none.
        fields: Short texts, each cut at 2,000 characters; None for none.
    """

    def __init__(self, text: str | None = None, fields: Sequence[str] | None = None) -> None:
        super().__init__(BlockType.SECTION)
        self.text = Text.to_text(text, _MAX_LENGTH_SECTION) if text is not None else None
        self.fields = [Text.to_text(each, _MAX_LENGTH_SECTION_FIELD) for each in fields or ()]

    def to_dict(self) -> dict[str, Any]:
        """Return the block as Slack's API takes it."""
        block: dict[str, Any] = {"type": self.type.value}
        if self.text:
            block["text"] = self.text.to_dict()
        if self.fields:
            block["fields"] = [each.to_dict() for each in self.fields]
        return block


class ContextBlock(Block):
    """Small print.

    Args:
        elements: At most ten texts, each cut at 2,000 characters.

    Raises:
        ValueError: There are more than ten.
    """

    def __init__(self, elements: Sequence[str]) -> None:
        super().__init__(BlockType.CONTEXT)
        if len(elements) > _MAX_CONTEXT_ELEMENTS:
            raise ValueError(f"a context block takes a maximum of ten elements, got {len(elements)}")
        self.elements = [Text.to_text(each, _MAX_LENGTH_SECTION_FIELD) for each in elements]

    def to_dict(self) -> dict[str, Any]:
        """Return the block as Slack's API takes it."""
        return {"type": self.type.value, "elements": [each.to_dict() for each in self.elements]}


class DividerBlock(Block):
    """A line across the message."""

    def __init__(self) -> None:
        super().__init__(BlockType.DIVIDER)

    def to_dict(self) -> dict[str, Any]:
        """Return the block as Slack's API takes it."""
        return {"type": self.type.value}


class Message:
    """A message for Slack: a text for notifications, and blocks.

    Args:
        text: The text that notifications show.
        blocks: One block or several; None for none yet.
    """

    def __init__(self, text: str = "", blocks: list[Block] | Block | None = None) -> None:
        self.text = text
        self.blocks = [blocks] if isinstance(blocks, Block) else blocks

    def add(self, block: Block) -> None:
        """Add a block at the end."""
        self.blocks = [*(self.blocks or ()), block]

    def json(self) -> str:
        """Return the message as JSON."""
        return json.dumps(self._resolve(), indent=2)

    def get_messages(self) -> list[str]:
        """Return the message as JSON, as several where it has more blocks than the 50 that Slack takes."""
        if not self.blocks:
            return [self.json()]
        return [json.dumps(self._resolve(each), indent=2) for each in split_blocks(self.blocks, _MAX_BLOCKS)]

    def keys(self) -> KeysView[str]:
        """Return the names of what the message has, "blocks" and "text"."""
        return self._resolve().keys()

    def __getitem__(self, name: str) -> Any:
        return self._resolve()[name]

    def __repr__(self) -> str:
        return self.json()

    def _resolve(self, blocks: list[Block] | None = None) -> dict[str, Any]:
        """Return the message, or one with other blocks, as Slack's API takes it."""
        blocks = self.blocks if blocks is None else blocks
        message: dict[str, Any] = {"blocks": [each.to_dict() for each in blocks]} if blocks else {}
        return {**message, "text": self.text}


def split_blocks(arr: list[Any], size: int) -> list[list[Any]]:
    """Return a list in pieces of at most ``size`` items."""
    return [arr[at : at + size] for at in range(0, len(arr), size)] or [[]]
