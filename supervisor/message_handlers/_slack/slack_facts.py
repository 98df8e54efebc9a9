"""What stands below the text of a Slack message: recorded values, files that stay behind, and the small print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._text import duration, one_line, size
from supervisor.message_handlers._slack.mrkdwn import (
    SECTION_BYTES,
    Block,
    clean,
    escaped,
    mrkdwn,
    section,
    split,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor._models.parts import Facts, Row
    from supervisor._models.values import Attachment, MessageDetails, RunReport

FIELD_BYTES = 1_900
FIELDS_PER_SECTION = 10


def values(facts: Facts) -> list[Block]:
    """Return what was recorded: short values as fields, long ones in sections of their own."""
    fields, sections = [], []
    for row in facts.rows:
        text = f"*{escaped(one_line(clean(row.label)))}*\n{_beside(row)}"
        if len(text.encode()) <= FIELD_BYTES:
            fields.append(mrkdwn(text))
        else:
            sections += [section(piece) for piece in split(text, SECTION_BYTES) if piece.strip()]
    groups = [fields[start : start + FIELDS_PER_SECTION] for start in range(0, len(fields), FIELDS_PER_SECTION)]
    return [{"type": "section", "fields": group} for group in groups] + sections


def rows(facts: Facts) -> list[Block]:
    """Return a table as lines, each with its label in front."""
    lines = [f"*{escaped(one_line(clean(facts.title)))}*"] if facts.title else []
    lines += [f"*{escaped(one_line(clean(row.label)))}*  {_beside(row)}" for row in facts.rows]
    return [section(piece) for piece in split("\n".join(lines), SECTION_BYTES) if piece.strip()]


def _beside(row: Row) -> str:
    """Return what there is to say, and beside it what is usual."""
    mark = ":small_orange_diamond: " if row.stands_out else ""
    aside = f"  _{escaped(clean(row.aside))}_" if row.aside else ""
    return f"{mark}{escaped(clean(row.text))}{aside}"


def files(attachments: Iterable[Attachment]) -> list[Block]:
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


def context(details: MessageDetails, client: str, *, in_full: bool) -> list[Block]:
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
    yield f"*{_small(report.name)}*"
    if not in_full:
        yield _small(report.host)
        yield duration(report.duration_s)
        return
    process = f"user {report.user}, process {report.pid}" if report.user else f"process {report.pid}"
    yield _small(f"{report.host} ({process})")
    yield f"started {_instant(report)}"
    yield duration(report.duration_s) if report.ended_at is not None else f"{duration(report.duration_s)} so far"
    yield _small(" ".join(report.argv), 500)
    yield _small(f"Python {report.python}" if report.python else "")
    yield ", ".join(_used(report))
    yield _small(f"log {report.log_path}" if report.log_path else "", 500)
    yield _small(f"run {report.id}")


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


def _small(text: str, limit: int = 200) -> str:
    return escaped(one_line(clean(text), limit))
