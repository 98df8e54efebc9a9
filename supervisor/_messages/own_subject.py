"""The subject that a script gives its messages (``subject = "{name} {outcome} ({values.rows:,} rows)"``).

It looks like a format string of Python, and is none: a name in braces is looked up in a fixed list or among the
recorded values, so that no attribute of any object is reached.
"""

from __future__ import annotations

import re
from datetime import date
from string import Formatter
from typing import TYPE_CHECKING, Any

from supervisor._messages import VERBS, failure_reason, good_end, how_skipped, run_label
from supervisor._models import Kind, Outcome
from supervisor._text import duration, local_time, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor._models.values import RunReport

KINDS = frozenset({Kind.SUCCESS, Kind.WARNING, Kind.RECOVERY, Kind.FAILURE, Kind.SKIPPED})
"""The messages that have it: those about how a run ended."""

_UNKNOWN = "?"
_LIMIT = 200
_OF_VALUES = "values."
_SPEC = re.compile(r"(?:[^{}]?[<>=^])?[-+ ]?#?0?\d{0,2}[,_]?(?:\.\d{1,2})?[a-zA-Z%]?|(?:%[a-zA-Z]|[-/.: ,T])+")
_PLAIN = (int, float, str, date)
_SAMPLES = (0, 0.0, "")
_DATE = re.compile(r"%[a-zA-Z]")


def _outcome(kind: Kind, report: RunReport) -> str:
    return str(report.outcome or (Outcome.FAILURE if kind is Kind.FAILURE else "under way"))


def _verb(kind: Kind, report: RunReport) -> str:
    if kind is Kind.FAILURE:
        return VERBS.get(report.outcome or Outcome.FAILURE, "failed")
    return how_skipped(report) if kind is Kind.SKIPPED else good_end(kind, report)


FIELDS: dict[str, Callable[[Kind, RunReport], Any]] = {
    "name": lambda _, report: report.name,
    "title": lambda _, report: run_label(report),
    "outcome": _outcome,
    "kind": lambda kind, _: str(kind),
    "verb": _verb,
    "host": lambda _, report: report.host,
    "user": lambda _, report: report.user,
    "id": lambda _, report: report.id,
    "started": lambda _, report: local_time(report.started_at),
    "ended": lambda _, report: local_time(report.ended_at) if report.ended_at is not None else None,
    "duration": lambda _, report: duration(report.duration_s),
    "duration_s": lambda _, report: report.duration_s,
    "error": lambda _, report: failure_reason(report) or None,
    "error_type": lambda _, report: report.error.type if report.error is not None else None,
    "exit_code": lambda _, report: report.exit_code,
    "attempts": lambda _, report: report.attempts,
    "warnings": lambda _, report: report.warning_count,
}
"""What may stand in braces, besides ``values.NAME``. None is shown as "?"."""

_NUMBERS = frozenset({"duration_s", "exit_code", "attempts", "warnings"})


def check(template: str) -> None:
    """Refuse a subject that names what there is not, or how a value cannot be shown.

    Raises:
        ValueError: With what is wrong, and what would be right.
    """
    for _, field, spec, conversion in Formatter().parse(template):
        if field is not None:
            _check_field(field, spec or "", conversion)


def _check_field(field: str, spec: str, conversion: str | None) -> None:
    if conversion:
        raise ValueError(f"{{{field}!{conversion}}}: no conversion with '!' is possible")
    name = field.removeprefix(_OF_VALUES) if field.startswith(_OF_VALUES) else None
    if name is None and field not in FIELDS:
        raise ValueError(f"there is no {{{field}}}; there are {', '.join(FIELDS)} and values.NAME")
    if name is not None and (not name.strip() or set(".[]") & set(name)):
        raise ValueError(f"{{{field}}} is no name of a recorded value, like {{values.rows}}")
    samples = _SAMPLES if name is not None else (0, 0.0) if field in _NUMBERS else ("",)
    is_known = any(_formatted(each, spec) is not None for each in samples) or (name is not None and _DATE.search(spec))
    if spec and not (_SPEC.fullmatch(spec) and is_known):
        raise ValueError(f"{{{field}:{spec}}}: {spec!r} is no format for it, like {{values.rows:,}}")


def _formatted(value: Any, spec: str) -> str | None:
    try:
        return format(value, spec)
    except (ValueError, TypeError):
        return None


def filled_in(template: str, kind: Kind, report: RunReport) -> str:
    """Return the subject of one message, in one line of at most 200 characters; "" if nothing is left of it.

    Args:
        template: What the script gave, as :func:`check` lets it through.
        kind: The kind of the message.
        report: The run, without secrets.
    """
    return one_line("".join(_pieces(template, kind, report)), _LIMIT)


def _pieces(template: str, kind: Kind, report: RunReport) -> Iterator[str]:
    for text, field, spec, _ in Formatter().parse(template):
        yield text
        if field is not None:
            value = _value(field, kind, report)
            yield _UNKNOWN if value is None else _shown(value, spec or "")


def _value(field: str, kind: Kind, report: RunReport) -> Any:
    if field.startswith(_OF_VALUES):
        return report.values.get(field.removeprefix(_OF_VALUES))
    return FIELDS[field](kind, report)


def _shown(value: Any, spec: str) -> str:
    """Return a value in its format; as it is where that format is for another type."""
    plain = value if isinstance(value, _PLAIN) else str(value)
    if isinstance(plain, str):
        plain = one_line(plain, _LIMIT)
    shown = _formatted(plain, spec)
    return str(plain) if shown is None else shown
