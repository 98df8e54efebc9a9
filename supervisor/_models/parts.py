"""What messages are made of, whoever they go to: texts, tables, code and bars.

A message holds what cannot be found out later; all that its report says already is only referred to, by one
:class:`Account`. So a traceback is stored once, and whoever sends the message turns it into text, HTML or blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from supervisor._models.summary import Account, Bars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Change: TypeAlias = Callable[[str], str]

__all__ = ["Account", "Bars", "Code", "Facts", "Part", "Row", "Text", "Told", "as_data"]


def _rows(value: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(value)


@attrs.frozen
class Text:
    """One or more paragraphs.

    Args:
        text: What it says; line breaks stay, and long lines are wrapped.
        is_strong: True for what should be seen first.
    """

    text: str
    is_strong: bool = attrs.field(default=False, kw_only=True)

    def with_texts(self, change: Change) -> Text:
        """Return it with its texts changed."""
        return attrs.evolve(self, text=change(self.text))


@attrs.frozen
class Row:
    """One line of a table.

    Args:
        label: What it is ("empty").
        text: What there is to say of it ("0").
        aside: What it is compared with ("usually 11,900-12,300"); "" for nothing.
        stands_out: True for what a reader should not miss.
    """

    label: str
    text: str
    aside: str = ""
    stands_out: bool = False

    def with_texts(self, change: Change) -> Row:
        """Return it with its texts changed."""
        return Row(change(self.label), change(self.text), change(self.aside), self.stands_out)


@attrs.frozen
class Facts:
    """A table of labels and texts.

    Args:
        title: What stands above it; "" for nothing.
        rows: Its lines.
        role: "values" for what the script recorded, "locals" for variables and their values, "machine" for the small
            print of when, where and how; "" for any other.
    """

    title: str
    rows: tuple[Row, ...] = attrs.field(converter=_rows)
    role: Literal["", "values", "locals", "machine"] = ""

    def with_texts(self, change: Change) -> Facts:
        """Return it with its texts changed."""
        return Facts(change(self.title), (each.with_texts(change) for each in self.rows), self.role)


@attrs.frozen
class Code:
    """Lines whose blanks and breaks matter.

    Args:
        title: What stands above them; "" for nothing.
        text: The lines, with line feeds between.
        role: "source" for lines of a program, of which those that begin with ">" are meant; "traceback" or "log";
            "" for any other.
    """

    title: str
    text: str
    role: Literal["", "source", "traceback", "log"] = ""

    def with_texts(self, change: Change) -> Code:
        """Return it with its texts changed."""
        return Code(change(self.title), change(self.text), self.role)


Part: TypeAlias = "Text | Facts | Code | Bars"
"""What a message shows."""

Told: TypeAlias = "Part | Account"
"""What a message holds."""


def as_data(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Return parts as plain data, each a dict with its ``type``: "text", "facts", "code" or "bars"."""
    return [{"type": type(part).__name__.lower(), **attrs.asdict(part)} for part in parts]
