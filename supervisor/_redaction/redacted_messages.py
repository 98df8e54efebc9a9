"""Takes secrets out of what a run tells: its reports, errors and messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from supervisor._models.values import Attachment, ErrorDetails, MessageDetails, Progress, RunReport
    from supervisor._redaction.redactor import Redactor


def redacted_message(redactor: Redactor, details: MessageDetails) -> MessageDetails:
    """Return a message without secrets: subject, text, HTML, blocks, names of attachments, and its report.

    What attachments hold is redacted when they are packed. Their paths stay, or they could not be found.

    Args:
        redactor: Takes them out.
        details: The message; its id and all else stay.
    """
    return attrs.evolve(
        details,
        subject=redactor.text(details.subject),
        message=redactor.text(details.own_text),
        html=redactor.text(details.html) if details.html is not None else None,
        blocks=_blocks(redactor, details.blocks_json),
        attachments=tuple(_attachment(redactor, each) for each in details.attachments),
        report=redacted_report(redactor, details.report) if details.report is not None else None,
        parts=tuple(part.with_texts(redactor.text) for part in details.parts),
    )


def redacted_report(redactor: Redactor, report: RunReport) -> RunReport:
    """Return a report without secrets in its name, values, progress, error and command line."""
    return attrs.evolve(
        report,
        name=redactor.text(report.name),
        values=redactor.mapping(report.values),
        progress=redacted_progress(redactor, report.progress) if report.progress is not None else None,
        error=redacted_error(redactor, report.error) if report.error is not None else None,
        argv=redactor.arguments(report.argv),
        log_tail=tuple(redactor.text(each) for each in report.log_tail),
    )


def redacted_progress(redactor: Redactor, progress: Progress) -> Progress:
    """Return progress without secrets in its message."""
    return attrs.evolve(progress, message=redactor.text(progress.message))


def redacted_error(redactor: Redactor, error: ErrorDetails) -> ErrorDetails:
    """Return an error without secrets in all that it says.

    The fingerprint stays: it is made of places, not of texts.
    """
    return attrs.evolve(
        error,
        message=redactor.text(error.message),
        source=redactor.text(error.source),
        excerpt=redactor.text(error.excerpt),
        notes=tuple(redactor.text(each) for each in error.notes),
        local_variables=tuple((name, redactor.value(name, text)) for name, text in error.local_variables),
        traceback=redactor.text(error.traceback),
        thread=redactor.text(error.thread),
    )


def _attachment(redactor: Redactor, attachment: Attachment) -> Attachment:
    return attrs.evolve(attachment, name=redactor.text(attachment.name), note=redactor.text(attachment.note))


def _blocks(redactor: Redactor, blocks_json: str | None) -> str | None:
    """Return Block Kit blocks without secrets: text by text, so that they stay JSON."""
    if blocks_json is None:
        return None
    try:
        blocks = json.loads(blocks_json)
    except ValueError:  # somebody's own text, which Slack would refuse too
        return redactor.text(blocks_json)
    redacted = redactor.value("", blocks)
    return blocks_json if redacted == blocks else json.dumps(redacted)
