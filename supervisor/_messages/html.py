"""Messages as HTML, for those who read them there.

Mail programs differ in what they show, so the page is made of tables with styles on each element, which all of them
know; what some leave out (``style`` sheets, rounded corners, dark colours) is only an extra. Gmail shows no more than
102 KB of a page, so code is cut here; the text has all of it.
"""

from __future__ import annotations

from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from supervisor._models.kinds import Kind
from supervisor._models.parts import Bars, Code, Facts, Row, Text
from supervisor._text import cut_middle, one_line, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._models.parts import Part
    from supervisor._models.values import MessageDetails

PAGE_LIMIT = 100_000
_LIMITS = (24_000, 8_000, 2_000)  # of characters in one part; the first that makes a page small enough is taken
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
    """Return the HTML of a message: its own where the script gave one, else a page made of its parts or its text."""
    if details.html is not None:
        return details.html
    if not details.parts:
        return from_text(details.message)
    from supervisor._messages.sections import parts_of

    return from_parts(parts_of(details), details)


def from_text(text: str) -> str:
    """Return a page that shows a text as it stands: its columns kept, its long lines wrapped, nothing in it active.

    The styles stand on the elements, since mail readers leave out the rest, and there are no colours, so that light
    and dark readers choose their own.
    """
    return _PAGE.format(text=escape(text))


def from_parts(parts: Iterable[Part], details: MessageDetails) -> str:
    """Return a page that shows parts; all that is in them is escaped.

    Args:
        parts: What to show.
        details: The message, for its subject and kind.
    """
    parts = [part.with_texts(plain) for part in parts]
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
        subject=one_line(plain(details.subject), 500) or f"({details.kind})",
        label=LABELS[details.kind],
        tone="warn" if tone == "good" and stands_out else tone,
        preheader=_preheader(parts),
        parts=[_shown(part, limit) for part in parts],
    )
    return page


@cache
def _template() -> Any:
    """Return the page's template. Jinja takes 60 ms to load: only who sends HTML pays for it, when it does."""
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
    """Return what lists of mails show behind the subject: what stands out or went wrong, else the first sentence."""
    texts = [part for part in parts if isinstance(part, Text)]
    texts.sort(key=lambda part: not part.is_strong)
    return one_line(" ".join(part.text for part in texts), _PREHEADER_LIMIT)


def _shown(part: Part, limit: int) -> dict[str, Any]:
    """Return a part as the template takes it, of so many characters at most."""
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
    """Return lines in groups, each with whether they are those that are meant."""
    lines = cut_middle(code.text.strip("\n"), limit).splitlines(keepends=True)
    pieces: list[tuple[bool, str]] = []
    for line in lines:
        is_meant = code.role == "source" and line.startswith(">")
        if pieces and pieces[-1][0] == is_meant:
            pieces[-1] = (is_meant, pieces[-1][1] + line)
        else:
            pieces.append((is_meant, line))
    return pieces


def _bars(bars: Bars) -> list[dict[str, Any]]:
    """Return bars with their heights in pixels; one that towers above the rest does not flatten it."""
    longest = min(max(bars.durations_s), 4 * sorted(bars.durations_s)[len(bars.durations_s) // 2]) or 1.0
    return [
        {"px": max(_SHORTEST_BAR, round(_TALLEST_BAR * min(1.0, each / longest))), "mark": mark}
        for each, mark in zip(bars.durations_s, bars.marks, strict=False)
    ]
