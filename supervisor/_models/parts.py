"""What messages are made of, independent of where they go: texts, tables, code and bar charts.

A message stores only what cannot be derived later. Everything that its report contains is referred to by one
:class:`~supervisor._models.summary.Summary`; when the message is sent, it is expanded and converted into text, HTML or
the blocks of a chat service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from supervisor._models.summary import Bars, Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    TextChange: TypeAlias = Callable[[str], str]

__all__ = ["Bars", "Code", "Facts", "MessagePart", "Part", "Row", "Summary", "Text", "as_data"]


def _rows(value: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(value)


@attrs.frozen
class Text:
    """One or more paragraphs.

    Args:
        text: The text; its line breaks are kept, and long lines are wrapped.
        is_strong: True for what a reader should see first.
    """

    text: str
    is_strong: bool = attrs.field(default=False, kw_only=True)

    def with_texts(self, change: TextChange) -> Text:
        """Return a copy with its texts changed by a function."""
        return attrs.evolve(self, text=change(self.text))


@attrs.frozen
class Row:
    """One row of a table.

    Args:
        label: Its name ("empty").
        text: Its value ("0").
        aside: What the value is compared with ("usually 11,900-12,300"); "" for nothing.
        stands_out: True for what a reader should not miss.
    """

    label: str
    text: str
    aside: str = ""
    stands_out: bool = False

    def with_texts(self, change: TextChange) -> Row:
        """Return a copy with its texts changed by a function."""
        return Row(change(self.label), change(self.text), change(self.aside), self.stands_out)


@attrs.frozen
class Facts:
    """A table of labels and values.

    Args:
        title: Its heading; "" for none.
        rows: Its rows.
        role: "values" for what the script recorded, "locals" for local variables, "machine" for the small print of
            when, where and how the run ran; "" for any other.
    """

    title: str
    rows: tuple[Row, ...] = attrs.field(converter=_rows)
    role: Literal["", "values", "locals", "machine"] = ""

    def with_texts(self, change: TextChange) -> Facts:
        """Return a copy with its texts changed by a function."""
        return Facts(change(self.title), (each.with_texts(change) for each in self.rows), self.role)


@attrs.frozen
class Code:
    """Lines whose blanks and line breaks are kept exactly.

    Args:
        title: Their heading; "" for none.
        text: The lines, separated by line feeds.
        role: "source" for lines of a program, where ">" marks the one that failed; "traceback" or "log"; "" for any
            other.
    """

    title: str
    text: str
    role: Literal["", "source", "traceback", "log"] = ""

    def with_texts(self, change: TextChange) -> Code:
        """Return a copy with its texts changed by a function."""
        return Code(change(self.title), change(self.text), self.role)


Part: TypeAlias = "Text | Facts | Code | Bars"
"""What a message shows."""

MessagePart: TypeAlias = "Part | Summary"
"""What a message holds: parts, and the placeholder for the contents of its report."""


def as_data(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Return parts as plain data, each a dict with its ``type``: "text", "facts", "code" or "bars"."""
    return [{"type": type(part).__name__.lower(), **attrs.asdict(part)} for part in parts]
