"""Render the parts of a message as text in 78 columns, as Markdown, as an HTML page, or for a GitHub Actions workflow.

Markdown is kept to the few forms that chat services agree on: bold, lists and fenced code. Mail programs support
different parts of HTML, so the page consists of tables with a style on each element, which all of them show; style
sheets, rounded corners and dark colours are optional. Gmail shows at most 102 KB of a page, so code is cut there, while
the plain text contains all of it.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from supervisor import _log
from supervisor._messages.sections import parts_of
from supervisor._models import Kind
from supervisor._models.parts import (
    Bars,
    Code,
    Facts,
    Row,
    Table,
    Text,
    with_texts,
)
from supervisor._text import (
    Fit,
    all_printable,
    cut_middle,
    fitted,
    is_address,
    one_line,
    printable,
    valid_unicode,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from supervisor._models.parts import Part
    from supervisor._models.values import MessageDetails

# Text

WIDTH = 78
_WIDEST_LABEL = 24
_WIDEST_CELL = 30


def rendered(details: MessageDetails) -> tuple[str, str | None]:
    """Return the text of a message, and its HTML: None where it has neither HTML nor parts.

    What the message shows is put together once for both.
    """
    if not details.parts:
        return details.own_text, details.html if details.level == "info" else _html_or_none(lambda: as_html(details))
    parts = with_texts(parts_of(details), all_printable)
    text = details.own_text or _text(parts)
    return text, details.html if details.html is not None else _html_or_none(lambda: _page(parts, details))


def _html_or_none(make: Callable[[], str]) -> str | None:
    """Return a page, or None where the installation is gone, with the template or with jinja2: the text does then."""
    try:
        return make()
    except (ImportError, OSError, ValueError) as error:
        _log.warning("a message is sent without its HTML: %s", error)
        return None


def text_of(details: MessageDetails) -> str:
    """Return the text of a message that consists of parts."""
    return text_from_parts(parts_of(details))


def text_from_parts(parts: Iterable[Part]) -> str:
    """Return parts as text, separated by blank lines. Words, code and URLs are never broken."""
    return _text(with_texts(parts, all_printable))


def _text(parts: Iterable[Part]) -> str:
    return "\n\n".join(text for part in parts if (text := "\n".join(_lines(part))))


def _lines(part: Part) -> Iterator[str]:
    if isinstance(part, Facts):
        yield from _titled(part.title)
        yield from _table(part.rows)
    elif isinstance(part, Table):
        yield from _titled(part.title)
        yield from table_lines(part)
        yield from (f"  {each}" for each in wrapped_lines(part.note, WIDTH - 2) if each)
    elif isinstance(part, Code):
        yield from _titled(part.title)
        indent = "" if part.role == "traceback" else "    "
        yield from (f"{indent}{line}".rstrip() for line in part.text.strip("\n").split("\n"))
    else:
        assert isinstance(part, (Text, Bars))
        for line in part.text.strip("\n").split("\n"):
            yield from wrapped_lines(line)


def _titled(title: str) -> Iterator[str]:
    if title:
        yield from wrapped_lines(title)


def _table(rows: Iterable[Row]) -> Iterator[str]:
    """Yield rows with their texts in one column; an exclamation mark precedes those that stand out."""
    rows = list(rows)
    width = min(_WIDEST_LABEL, max(len(row.label) for row in rows)) if rows else 0
    for row in rows:
        text = f"{row.text} ({row.aside})" if row.aside else row.text
        head = f"{'!' if row.stands_out else ' '} {row.label:<{width}}  "
        indent = " " * (width + 4)
        if len(row.label) > width:
            yield head.rstrip()
            head = indent
        for line in text.strip("\n").split("\n"):
            for piece in wrapped_lines(line, WIDTH - len(indent)):
                yield f"{head}{piece}".rstrip()
                head = indent


def table_lines(table: Table, width: int = WIDTH) -> Iterator[str]:
    """Yield a table with aligned columns; the last one is wrapped, and marked rows begin with an exclamation mark."""
    if table.is_data:
        yield from _data_lines(table)
        return
    lines = [table.columns, *table.rows]
    widths = [min(_WIDEST_CELL, max(len(row[at]) for row in lines)) for at in range(len(table.columns) - 1)]
    used = 2 + sum(each + 2 for each in widths)
    for place, row in enumerate(lines, -1):
        mark = "!" if place in table.marked else " "
        cells = "  ".join(f"{_cell(cell, each):<{each}}" for cell, each in zip(row, widths, strict=False))
        head = f"{mark} {cells}  "
        for piece in wrapped_lines(one_line(row[-1], 1_000), max(20, width - used)):
            yield f"{head}{piece}".rstrip()
            head = " " * used


_WIDEST_DATA = 40


def _data_lines(table: Table) -> Iterator[str]:
    """Yield a table of data, numbers on the right, with a line below the names of the columns."""
    if not table.columns:
        return
    rows = [[one_line(cell, _WIDEST_DATA) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(table.columns))]
    for place, row in enumerate(rows):
        cells = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, table.numeric, strict=True)
        )
        yield f"  {'  '.join(cells)}".rstrip()
        if place == 0:
            yield f"  {'  '.join('-' * width for width in widths)}"


def table_as_code(table: Table) -> Code:
    """Return a table of data as lines, for services that have no tables."""
    lines = (each.removeprefix("  ") for each in _data_lines(table))
    return Code(table.title, "\n".join((*lines, *filter(None, (table.note,)))))


def _cell(text: str, width: int) -> str:
    """Return the text of a cell in one line, with its indentation."""
    indent = text[: len(text) - len(text.lstrip())][: width // 2]
    return indent + one_line(text, width - len(indent))


def wrapped_lines(line: str, width: int = WIDTH) -> Iterator[str]:
    """Yield a line as lines of at most ``width`` characters; a longer word gets a line of its own.

    A line that is short enough is unchanged; otherwise its first line keeps the indentation.
    """
    line = line.rstrip()
    if len(line) <= width:
        yield line
        return
    indent = line[: len(line) - len(line.lstrip())][: width // 2]
    current = ""
    for word in line.split():
        if current and len(current) + 1 + len(word) > width:
            yield current
            current = ""
        current = f"{current} {word}" if current else f"{indent}{word}"
    yield current


# Markdown

_SPECIAL = re.compile(r"([\\`*_\[\]<>~|#])")
_FENCE = "```"
_SHORTEST = 200


def markdown_pieces(parts: Iterable[Part], limit: int, most: int) -> list[str]:
    """Return parts as Markdown texts, each complete by itself: code that is split is fenced in each of them.

    Args:
        parts: The parts.
        limit: The most characters of one text; at least 200.
        most: The most texts. The middle of long texts and code is left out; if that is not enough, a note replaces
            the remaining texts.
    """
    limit = max(_SHORTEST, limit)
    parts = with_texts(parts, all_printable)
    share = max(_SHORTEST, limit * (most - 2) // 2)
    made = [""]
    for part in parts:
        for block in _blocks(part, limit, share):
            if made[-1] and len(made[-1]) + 2 + len(block) > limit:
                made.append(block)
            else:
                made[-1] = f"{made[-1]}\n\n{block}" if made[-1] else block
    if len(made) > most:
        made[most - 1] = f"[... {len(made) - most + 1:,} more pieces were left out ...]"
    return made[:most]


def escaped_markdown(text: str) -> str:
    """Return a text with all markup and mentions escaped."""
    return _SPECIAL.sub(r"\\\1", text).replace("@", "@\u200b")


def _blocks(part: Part, limit: int, share: int) -> Iterator[str]:
    if isinstance(part, Table) and part.is_data:
        part = table_as_code(part)
    if isinstance(part, (Facts, Table)):
        yield from _facts(part.as_facts() if isinstance(part, Table) else part, limit)
    elif isinstance(part, Code):
        yield from _fenced(part, limit, share)
    else:
        assert isinstance(part, (Text, Bars))
        text = cut_middle(part.text, share)
        for piece in _split(text, limit // 2 - 4):  # each character may be escaped
            shown = escaped_markdown(piece.strip())
            yield f"**{shown}**" if isinstance(part, Text) and part.is_strong and "\n" not in shown else shown


def _facts(facts: Facts, limit: int) -> Iterator[str]:
    """Yield a list, in blocks that are short enough."""
    lines = [f"**{escaped_markdown(facts.title)}**"] if facts.title else []
    for row in facts.rows:
        room = limit // 2 - len(row.label) - len(row.aside) - 20
        mark = "\N{WARNING SIGN} " if row.stands_out else ""
        aside = f" ({escaped_markdown(row.aside)})" if row.aside else ""
        text = escaped_markdown(one_line(row.text, max(20, room)))
        lines.append(f"- {mark}{escaped_markdown(row.label)}: {text}{aside}")
    block = ""
    for line in lines:
        if block and len(block) + 1 + len(line) > limit:
            yield block
            block = ""
        block = f"{block}\n{line}" if block else line
    if block:
        yield block


def _fenced(code: Code, limit: int, share: int) -> Iterator[str]:
    head = f"**{escaped_markdown(one_line(code.title, 100))}**\n" if code.title else ""
    text = cut_middle(code.text.strip("\n"), share).replace(_FENCE, "``\u200b`")
    for piece in _split(text, limit - len(head) - 2 * len(_FENCE) - 2):
        yield f"{head}{_FENCE}\n{piece}\n{_FENCE}"
        head = ""


def _split(text: str, limit: int) -> Iterator[str]:
    """Yield a text in pieces of at most ``limit`` characters, cut at the end of a line if possible."""
    while len(text) > limit:
        at = text.rfind("\n", limit // 2, limit)
        end = at if at >= 0 else limit
        yield text[:end]
        text = text[end:].removeprefix("\n")
    if text.strip():
        yield text


# HTML

PAGE_LIMIT = 100_000
_LIMITS = (24_000, 8_000, 2_000)  # characters of one part; the first limit that makes the page small enough is used
_ROWS_PER_CHARACTER = 1 / 200
_PREHEADER_LIMIT = 180
_WIDEST_LABEL_PX = 150
_FEWEST_ROWS = 10
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
    Kind.WARNING: "Warning",
    Kind.FAILURE: "Failed",
    Kind.RECOVERY: "Recovered",
    Kind.STALLED: "Stalled",
    Kind.OVERDUE: "Overdue",
    Kind.DIED: "Died",
    Kind.MISSED: "Missed",
    Kind.SKIPPED: "Nothing to do",
}
_TONES = {
    Kind.SUCCESS: "good",
    Kind.RECOVERY: "good",
    Kind.FAILURE: "bad",
    Kind.DIED: "bad",
    Kind.MISSED: "bad",
    Kind.WARNING: "warn",
    Kind.STALLED: "warn",
    Kind.OVERDUE: "warn",
}


def as_html(details: MessageDetails) -> str:
    """Return the HTML of a message: its own if the script gave one, else a page with its parts or its text."""
    if details.html is not None:
        return details.html
    if not details.parts:
        if details.style is details.kind:
            return html_from_text(details.message)
        return html_from_parts([Text(details.message)], details)  # in the colour of its level
    return html_from_parts(parts_of(details), details)


def html_from_text(text: str) -> str:
    """Return a page that shows a text as it is: with its columns, long lines wrapped, and all markup escaped.

    It has no colours, so that mail programs with a light or dark theme use their own.
    """
    return _PAGE.format(text=escape(text))


def with_lines(page: str, lines: Iterable[str]) -> str:
    """Return a page with lines of text at the end of its body."""
    shown = "<br>".join(escape(valid_unicode(each)) for each in lines)
    if not shown:
        return page
    before, end, after = page.rpartition("</body>")
    return f"{before}<p>{shown}</p>{end}{after}" if end else f"{page}<p>{shown}</p>"


def html_from_parts(parts: Iterable[Part], details: MessageDetails) -> str:
    """Return a page that shows parts; their texts are escaped.

    Args:
        parts: The parts.
        details: The message, for its subject and kind.
    """
    return _page(with_texts(parts, all_printable), details)


def _page(parts: Sequence[Part], details: MessageDetails) -> str:
    page = ""
    for limit in _LIMITS:
        page = _page_within(limit, parts, details)
        if len(page) <= PAGE_LIMIT:
            break
    return page


def _page_within(limit: int, parts: Sequence[Part], details: MessageDetails) -> str:
    """Return a page whose texts have at most ``limit`` characters each."""
    parts = with_texts(parts, lambda texts: fitted(texts, [Fit(limit)] * len(texts)))
    stands_out = any(row.stands_out for part in parts if isinstance(part, Facts) for row in part.rows)
    stands_out = stands_out or any(part.marked for part in parts if isinstance(part, Table))
    tone = _TONES.get(details.style, "calm")
    page: str = _template().render(
        subject=one_line(printable(details.subject), 500) or f"({details.kind})",
        label=LABELS[details.kind] if details.style is details.kind else details.level.capitalize(),
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
        auto_reload=False,  # the template may be gone by the time of the next message
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["is_address"] = is_address
    return environment.get_template("message.html")


def _preheader(parts: Iterable[Part]) -> str:
    """Return the preview that mail programs show after the subject: strong texts first, then the other ones."""
    texts = [part for part in parts if isinstance(part, Text)]
    texts.sort(key=lambda part: not part.is_strong)
    return one_line(" ".join(part.text for part in texts), _PREHEADER_LIMIT)


def _shown(part: Part, limit: int) -> dict[str, Any]:
    """Return a part as the template needs it; of a long table, as many rows as fit into ``limit`` characters."""
    if isinstance(part, Text):
        return {"type": "text", "text": part.text.strip("\n"), "is_strong": part.is_strong}
    if isinstance(part, Facts):
        label_px = min(_WIDEST_LABEL_PX, 14 + 8 * max((len(row.label) for row in part.rows), default=0))
        rows = part.rows[: round(limit * _ROWS_PER_CHARACTER)]
        if left_out := len(part.rows) - len(rows):
            rows += (Row("...", f"{left_out:,} more"),)
        return {"type": "facts", "title": part.title, "rows": rows, "role": part.role, "label_px": label_px}
    if isinstance(part, Table):
        return _shown_table(part, max(_FEWEST_ROWS, round(limit * _ROWS_PER_CHARACTER)))
    if isinstance(part, Bars):
        return {"type": "bars", "bars": _bars(part), "first": part.first, "last": part.last, "text": part.text}
    return {"type": "code", "title": part.title, "pieces": _pieces(part), "role": part.role}


def _shown_table(table: Table, most: int) -> dict[str, Any]:
    rows = [(place in table.marked, row) for place, row in enumerate(table.rows[:most])]
    left_out = f"{len(table.rows) - most:,} more rows" if len(table.rows) > most else ""
    shown = {"type": "table", "title": table.title, "columns": table.columns, "rows": rows}
    aligned = ["right" if each else "left" for each in table.numeric] or ["left"] * len(table.columns)
    return {**shown, "aligned": aligned, "is_data": table.is_data, "left_out": left_out or table.note}


def _pieces(code: Code) -> list[tuple[bool, str]]:
    """Return consecutive lines in groups, each with whether its lines are marked with ">"."""
    lines = code.text.strip("\n").splitlines(keepends=True)
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


def with_pictures(html: str, pictures: Iterable[tuple[str, str]]) -> str:
    """Return an HTML page with pictures at the end of its body.

    Args:
        html: The page.
        pictures: The Content-ID and the name of each.
    """
    shown = "".join(
        f'<p style="margin:0 auto; max-width:640px; padding:8px;"><img src="cid:{escape(cid)}" '
        f'alt="{escape(printable(name))}" style="max-width:100%; height:auto;"></p>\n'
        for cid, name in pictures
    )
    end = html.lower().rfind("</body>")
    return html[:end] + shown + html[end:] if end >= 0 else f"{html}\n{shown}"


# A workflow of GitHub Actions: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands

_PIECE_LIMIT = 60_000
_MOST_PIECES = 8
"""A step's summary has at most 1 MiB."""
_TITLE_LIMIT = 200


def announce_in_workflow(details: MessageDetails) -> None:
    """Write the message about the end of a run where the workflow's page shows it.

    Args:
        details: The message, without secrets.
    """
    if details.kind in (Kind.FAILURE, Kind.WARNING) and sys.stderr is not None:
        with suppress(OSError, ValueError):  # a closed stream
            sys.stderr.writelines(workflow_annotations(details))
            sys.stderr.flush()
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        pieces = markdown_pieces(parts_of(details), _PIECE_LIMIT, _MOST_PIECES)
        text = "\n\n".join((f"## {one_line(details.subject, _TITLE_LIMIT)}", *pieces))
        with suppress(OSError), open(path, "a", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123 - a text
            file.write(f"{text}\n\n")


def workflow_annotations(details: MessageDetails) -> Iterator[str]:
    """Yield the commands that make annotations, an error or each warning, in a line each: what would end it is escaped.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
    """
    report = details.report
    if details.kind is Kind.WARNING and report is not None:
        for each in report.warnings:
            yield _annotation("warning", details.subject, str(each))
        return
    error = report.error if report is not None else None
    text = f"{error}\n{error.where}" if error is not None and error.where else str(error or details.subject)
    yield _annotation("error", details.subject, text)


def _annotation(command: str, subject: str, text: str) -> str:
    title = one_line(subject, _TITLE_LIMIT)
    return f"::{command} title={_escaped(title).replace(':', '%3A').replace(',', '%2C')}::{_escaped(text)}\n"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
