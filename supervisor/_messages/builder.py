"""Build messages: from a report of a run, or from parts of the caller's own."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._messages.subjects import held_back_subject, subject_for
from supervisor._models.kinds import Kind
from supervisor._models.parts import Summary
from supervisor._models.values import MessageDetails, RunReport
from supervisor._text import counted, cut_middle, duration, local_time, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from supervisor._models.alerts import AlertSummary
    from supervisor._models.parts import MessagePart, Past

DELAYED_AFTER_S = 300
"""A message sent later than this after it was written says so."""

PART_LIMIT = 60_000
"""The most characters of one text in a message of parts."""


def message_for(  # noqa: PLR0913, PLR0917 - each is one independent fact that a message may contain
    kind: Kind,
    report: RunReport,
    attachments: Iterable[Any] = (),
    note: str = "",
    past: Past | None = None,
    alerts: AlertSummary | None = None,
) -> MessageDetails:
    """Return the message of one kind about a run.

    Its text is derived from the report, which is part of the message: remove secrets from the report first.

    Args:
        kind: The kind of the message.
        report: The run.
        attachments: Files that go with the message.
        note: A sentence to show after the first one; "" for none.
        past: The runs before it, to compare it with; None where they are not known.
        alerts: How it stalled or took too long; None where it did not. It is shown before the note, and in the headline
            of a run that ended well.
    """
    summary = Summary(note=note) if past is None else _compared_summary(kind, report, note, past)
    subject = subject_for(kind, report, summary, alerts.clause if alerts is not None else "")
    if alerts is not None:
        summary = attrs.evolve(summary, note=" ".join(filter(None, (alerts.sentence, note))))
    return MessageDetails(subject, "", tuple(attachments), kind=kind, report=report, parts=(summary,))


def message_from_parts(
    kind: Kind, subject: str, parts: Iterable[MessagePart], report: RunReport | None = None
) -> MessageDetails:
    """Return a message that consists of given parts.

    Args:
        kind: The kind of the message.
        subject: The headline.
        parts: What it shows, in this order; the middle of texts longer than 60,000 characters is left out. A
            ``Summary()`` among them stands for the contents of the report: the run's progress, and where it ran.
        report: The run; None outside of runs.
    """
    bounded = tuple(part.with_texts(lambda text: cut_middle(text, PART_LIMIT)) for part in parts)
    return MessageDetails(one_line(subject), kind=kind, report=report, parts=bounded)


def with_delay_note(details: MessageDetails, now: datetime) -> MessageDetails:
    """Return a message that says that it is late, if it is sent long after it was written; else unchanged."""
    late_s = (now - details.created_at).total_seconds()
    if late_s < DELAYED_AFTER_S:
        return details
    from supervisor._models.parts import Text

    host = f" on {details.report.host}" if details.report is not None else ""
    note = f"Delayed {duration(late_s)}: written {local_time(details.created_at)}{host}."
    html = details.html and f"<p><em>{escape(note)}</em></p>{details.html}"
    parts = (Text(note), *details.parts) if details.parts else ()
    text = f"{note}\n\n{details.own_text}" if details.own_text or not parts else ""
    return attrs.evolve(details, message=text, html=html, parts=parts)


def held_back_message(report: RunReport, count: int, last_subjects: Iterable[str]) -> MessageDetails:
    """Return the closing message of a run that sent more messages than its rate limit allows.

    Args:
        report: The run.
        count: How many messages were held back.
        last_subjects: The headlines of the last ones.
    """
    from supervisor._models.parts import Code, Text

    text = f"The run sent messages faster than anybody can read, so {counted(count, 'more')} stayed untold. The last:"
    parts: list[MessagePart] = [Text(text), Code("", "\n".join(map(one_line, last_subjects)))]
    return message_from_parts(Kind.NOTICE, held_back_subject(report, count), parts, report)


def _compared_summary(kind: Kind, report: RunReport, note: str, past: Past) -> Summary:
    """Return how a run compares with earlier ones, as far as a message of that kind shows it."""
    if kind not in (Kind.SUCCESS, Kind.RECOVERY, Kind.FAILURE, Kind.DIED):
        return Summary(note=note)
    from supervisor._messages.baseline import bars_of, baselines_of, comparison_sentence

    baselines, duration_baseline = baselines_of(report, past)
    return Summary(
        note=note,
        comparison=comparison_sentence(kind, report, past, note),
        baselines=baselines if kind in (Kind.SUCCESS, Kind.RECOVERY) else {},
        duration_baseline=duration_baseline,
        bars=bars_of(report, past, duration_baseline),
    )
