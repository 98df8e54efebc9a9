"""From a report to the message that a person reads."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._messages.subjects import progress_line, subject_for
from supervisor._models.kinds import Kind
from supervisor._models.summary import Account
from supervisor._models.values import MessageDetails, RunReport
from supervisor._text import counted, cut_middle, duration, local_time, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from supervisor._models.alerts import AlertSummary
    from supervisor._models.earlier_runs import Past
    from supervisor._models.parts import Text, Told

__all__ = ["delayed", "held_back", "local_time", "message_for", "progress_line", "told"]

DELAYED_AFTER_S = 300
PART_LIMIT = 60_000


def message_for(  # noqa: PLR0913, PLR0917 - what a message is made of
    kind: Kind,
    report: RunReport,
    attachments: Iterable[Any] = (),
    note: str = "",
    past: Past | None = None,
    slow: AlertSummary | None = None,
) -> MessageDetails:
    """Return the message of one kind about a run.

    What it says comes from the report, which goes along on it: secrets are to be taken out of the report before.

    Args:
        kind: What it is about.
        report: What is known of the run.
        attachments: What goes with it.
        note: A sentence that stands behind the first one; "" for none.
        past: What came before the run, to compare it with; None where that is not known.
        slow: How it stalled or took too long; None where it did not. It stands before the note, and of what ended well
            in the subject too.
    """
    account = Account(note=note) if past is None else _account(kind, report, note, past)
    subject = subject_for(kind, report, account, slow.clause if slow is not None else "")
    if slow is not None:
        account = attrs.evolve(account, note=" ".join(filter(None, (slow.sentence, note))))
    return MessageDetails(subject, "", tuple(attachments), kind=kind, report=report, parts=(account,))


def told(kind: Kind, subject: str, parts: Iterable[Told], report: RunReport | None = None) -> MessageDetails:
    """Return a message of parts of one's own.

    Args:
        kind: What it is about.
        subject: The headline.
        parts: What it shows, in this order; texts of more than 60,000 characters are cut in their middle. An
            ``Account()`` among them stands for what the report says of the run: what it was doing, and where.
        report: What is known of the run; None outside of runs.
    """
    bounded = tuple(part.with_texts(lambda text: cut_middle(text, PART_LIMIT)) for part in parts)
    return MessageDetails(one_line(subject), kind=kind, report=report, parts=bounded)


def delayed(details: MessageDetails, now: datetime) -> MessageDetails:
    """Return a message that says so when it is sent long after it was written; any other stays as it is."""
    late_s = (now - details.created_at).total_seconds()
    if late_s < DELAYED_AFTER_S:
        return details
    host = f" on {details.report.host}" if details.report is not None else ""
    note = f"Delayed {duration(late_s)}: written {local_time(details.created_at)}{host}."
    html = details.html and f"<p><em>{escape(note)}</em></p>{details.html}"
    parts = (_text(note), *details.parts) if details.parts else ()
    text = f"{note}\n\n{details.own_text}" if details.own_text or not parts else ""
    return attrs.evolve(details, message=text, html=html, parts=parts)


def held_back(report: RunReport, count: int, last_subjects: Iterable[str]) -> MessageDetails:
    """Return the closing message of a run that said too much.

    Args:
        report: What is known of the run.
        count: How many messages were held back.
        last_subjects: The subjects of the last ones.
    """
    from supervisor._models.parts import Code

    subject = f"{report.name} on {report.host}: {counted(count, 'more message')} held back"
    text = f"The run sent messages faster than anybody can read, so {counted(count, 'more')} stayed untold. The last:"
    parts: list[Told] = [_text(text), Code("", "\n".join(map(one_line, last_subjects)))]
    return told(Kind.NOTICE, subject, parts, report)


def _text(text: str) -> Text:
    from supervisor._models.parts import Text

    return Text(text)


def _account(kind: Kind, report: RunReport, note: str, past: Past) -> Account:
    """Return what the past says of a run, as far as a message of that kind shows it."""
    if kind not in (Kind.SUCCESS, Kind.RECOVERY, Kind.FAILURE, Kind.DIED):
        return Account(note=note)
    from supervisor._messages.comparison import bars, compared, usual_numbers

    usual, usual_duration = usual_numbers(report, past)
    return Account(
        note=note,
        compared=compared(kind, report, past, note),
        usual=usual if kind in (Kind.SUCCESS, Kind.RECOVERY) else {},
        usual_duration=usual_duration,
        bars=bars(report, past, usual_duration),
    )
