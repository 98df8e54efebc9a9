"""Render a message as an HTML page.

Mail programs support different parts of HTML, so the page consists of tables with a style on each element, which all
of them show; style sheets, rounded corners and dark colours are optional. Gmail shows at most 102 KB of a page, so
code is cut here, while the plain text contains all of it.
"""

from __future__ import annotations

from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from supervisor._models.kinds import Kind
from supervisor._models.parts import Bars, Code, Facts, Row, Text
from supervisor._text import cut_middle, one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._models.parts import Part
    from supervisor._models.values import MessageDetails

PAGE_LIMIT = 100_000
_LIMITS = (24_000, 8_000, 2_000)  # characters of one part; the first limit that makes the page small enough is used
_ROWS_PER_CHARACTER = 1 / 200
_PREHEADER_LIMIT = 180
_WIDEST_LABEL_PX = 150
_TALLEST_BAR = 48
_SHORTEST_BAR = 3

_PAGE = """\
<!doctype html>
<html>
<head><meta charset="utf-8"><meta name="color-scheme" content="light dark"></head>
<body style="margin: 0; padding: 16px;">
<pre style="margin: 0; white-space: pre-wrap; overflow-wrap: anywhere;
font: 14px/1.5 ui-monospace, Consolas, Menlo, 'DejaVu Sans Mono', monospace;">
{text}</pre>
</body>
</html>
"""

LABELS = {
    Kind.START: "Started",
    Kind.PROGRESS: "Under way",
    Kind.NOTICE: "Notice",
    Kind.SUCCESS: "Succeeded",
    Kind.FAILURE: "Failed",
    Kind.RECOVERY: "Recovered",
    Kind.STALLED: "Stalled",
    Kind.OVERDUE: "Overdue",
    Kind.DIED: "Died",
    Kind.MISSED: "Missed",
}
_TONES = {
    Kind.SUCCESS: "good",
    Kind.RECOVERY: "good",
    Kind.FAILURE: "bad",
    Kind.DIED: "bad",
    Kind.MISSED: "bad",
    Kind.STALLED: "warn",
    Kind.OVERDUE: "warn",
}


def as_html(details: MessageDetails) -> str:
    """Return the HTML of a message: its own if the script gave one, else a page with its parts or its text."""
    if details.html is not None:
        return details.html
    if not details.parts:
        return html_from_text(details.message)
    from supervisor._messages.sections import parts_of

    return html_from_parts(parts_of(details), details)


def html_from_text(text: str) -> str:
    """Return a page that shows a text as it is: with its columns, long lines wrapped, and all markup escaped.

    It has no colours, so that mail programs with a light or dark theme use their own.
    """
    return _PAGE.format(text=escape(text))


def html_from_parts(parts: Iterable[Part], details: MessageDetails) -> str:
    """Return a page that shows parts; their texts are escaped.

    Args:
        parts: The parts.
        details: The message, for its subject and kind.
    """
    parts = [part.with_texts(printable) for part in parts]
    page = ""
    for limit in _LIMITS:
        page = _rendered(parts, details, limit)
        if len(page) <= PAGE_LIMIT:
            break
    return page


def _rendered(parts: list[Part], details: MessageDetails, limit: int) -> str:
    stands_out = any(row.stands_out for part in parts if isinstance(part, Facts) for row in part.rows)
    tone = _TONES.get(details.kind, "calm")
    page: str = _template().render(
        subject=one_line(printable(details.subject), 500) or f"({details.kind})",
        label=LABELS[details.kind],
        tone="warn" if tone == "good" and stands_out else tone,
        preheader=_preheader(parts),
        parts=[_shown(part, limit) for part in parts],
    )
    return page


@cache
def _template() -> Any:
    """Return the template of the page. Jinja takes 60 ms to import, so it is imported when HTML is sent."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("supervisor", "_messages/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("message.html")


def _preheader(parts: Iterable[Part]) -> str:
    """Return the preview that mail programs show after the subject: strong texts first, then the other ones."""
    texts = [part for part in parts if isinstance(part, Text)]
    texts.sort(key=lambda part: not part.is_strong)
    return one_line(" ".join(part.text for part in texts), _PREHEADER_LIMIT)


def _shown(part: Part, limit: int) -> dict[str, Any]:
    """Return a part as the template needs it, of at most ``limit`` characters."""
    if isinstance(part, Text):
        return {"type": "text", "text": cut_middle(part.text, limit).strip("\n"), "is_strong": part.is_strong}
    if isinstance(part, Facts):
        label_px = min(_WIDEST_LABEL_PX, 14 + 8 * max((len(row.label) for row in part.rows), default=0))
        rows = part.rows[: round(limit * _ROWS_PER_CHARACTER)]
        if left_out := len(part.rows) - len(rows):
            rows += (Row("...", f"{left_out:,} more"),)
        return {"type": "facts", "title": part.title, "rows": rows, "role": part.role, "label_px": label_px}
    if isinstance(part, Bars):
        return {"type": "bars", "bars": _bars(part), "first": part.first, "last": part.last, "text": part.text}
    return {"type": "code", "title": part.title, "pieces": _pieces(part, limit), "role": part.role}


def _pieces(code: Code, limit: int) -> list[tuple[bool, str]]:
    """Return consecutive lines in groups, each with whether its lines are marked with ">"."""
    lines = cut_middle(code.text.strip("\n"), limit).splitlines(keepends=True)
    pieces: list[tuple[bool, str]] = []
    for line in lines:
        is_marked = code.role == "source" and line.startswith(">")
        if pieces and pieces[-1][0] == is_marked:
            pieces[-1] = (is_marked, pieces[-1][1] + line)
        else:
            pieces.append((is_marked, line))
    return pieces


def _bars(bars: Bars) -> list[dict[str, Any]]:
    """Return bars with their heights in pixels; a very long duration is cut, so that others remain visible."""
    longest = min(max(bars.durations_s), 4 * sorted(bars.durations_s)[len(bars.durations_s) // 2]) or 1.0
    return [
        {"px": max(_SHORTEST_BAR, round(_TALLEST_BAR * min(1.0, each / longest))), "mark": mark}
        for each, mark in zip(bars.durations_s, bars.marks, strict=False)
    ]
