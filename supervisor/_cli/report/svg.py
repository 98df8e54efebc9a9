"""Drawings as SVG text. Colours and strokes come from the page's style, so that light and dark can differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def element(name: str, content: str = "", **attributes: object) -> str:
    """Return an element. Attributes are our own numbers and words; ``class_`` and ``view_box`` are spelt for Python."""
    from html import escape

    known = {"class_": "class", "view_box": "viewBox", "preserve": "preserveAspectRatio", "anchor": "text-anchor"}
    written = "".join(
        f' {known.get(key, key)}="{escape(value if isinstance(value, str) else short(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def short(number: object) -> str:
    """Return a number with one digit after the point at most."""
    return f"{number:.1f}".rstrip("0").rstrip(".") if isinstance(number, float) else str(number)


def percent(thousandths: float) -> str:
    """Return a place in a plot that is 1,000 wide as a percentage of its width."""
    return f"{thousandths / 10:.2f}%"


def dots(points: Iterable[tuple[float, float]]) -> str:
    """Return a path of points: lines without length, which round caps make dots of whatever the scale."""
    return "".join(f"M{short(x)} {short(y)}h0" for x, y in points)


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Return a path through points."""
    path = "L".join(f"{short(x)} {short(y)}" for x, y in points)
    return f"M{path}" if path else ""


def bars(spans: Iterable[tuple[float, float, float]]) -> str:
    """Return a path of upright lines, each at an x from one y to another."""
    return "".join(f"M{short(x)} {short(low)}V{short(high)}" for x, low, high in spans)


def use(symbol: str, x: str, y: float, style: str) -> str:
    """Return a mark at a place; its shape is a symbol of the page, with its middle at the origin."""
    return f'<use href="#{symbol}" x="{x}" y="{short(y)}" class="{style}"/>'
