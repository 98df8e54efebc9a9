"""``supervisor history``: the last runs and their outcomes."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from itertools import compress
from typing import TYPE_CHECKING

import click

from supervisor._cli import run_facts, shared
from supervisor._cli.completion_command import run_names
from supervisor._cli.shared import Column, Styled, line
from supervisor._messages.subjects import run_label
from supervisor._models.kinds import Outcome
from supervisor._text import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor._alerts.rules import Standing
    from supervisor._models.parts import Baseline
    from supervisor._store import RunRecord

_WIDE, _NARROW = 110, 76
"""The widths from which details are on the line of the run, and the usual duration beside its own."""

_INDENT = " " * (run_facts.SHORT_ID + 2)

_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _since(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Return the instant that "7d", "12h", "30min" or a date means."""
    if value is None:
        return None
    text = value.strip().lower()
    count = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = _UNITS.get(text[len(count) :].strip())
    try:
        if unit is not None and count.isascii():
            return datetime.now(UTC) - timedelta(**{unit: float(count)})
        return datetime.fromisoformat(value.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is no time: 30min, 12h, 7d, 2w, or a date like 2026-03-01") from None


@click.command("history", epilog=shared.exit_codes(one="no run has that name, or the journal cannot be read"))
@click.argument("name", required=False, shell_complete=run_names)
@click.option(
    "--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, help="How many runs, at most."
)
@click.option("--failed", is_flag=True, help="Only runs that failed, were terminated or died.")
@click.option("--since", callback=_since, metavar="TIME", help="Only runs that started since: 12h, 7d, or 2026-03-01.")
@shared.as_json
def command(name: str | None, limit: int, failed: bool, since: datetime | None, as_json: bool) -> None:
    """Show what ran lately, newest first, and how it went.

    NAME shows the runs of one name only. Beside each duration stands what is usual for the last 20 successes of that
    name; "!" marks a success that is far from it.
    """
    reader = shared.journal()
    if reader is None:
        shared.print_json([]) if as_json else shared.say(shared.no_journal_yet())
        return
    with shared.journal_errors_shown():
        runs = reader.runs(name, failed=failed, since=since, limit=limit)
        if name is not None and not runs and name not in (names := reader.names()):
            shared.fail(unknown_name(name, names))
        baselines, standings = run_facts.Baselines(reader), run_facts.Standings(reader)
        if as_json:
            shared.print_json(
                [run_facts.run_document(run, standings.of(run), baselines.of(run.report)) for run in runs]
            )
        elif runs:
            _print(runs, baselines, standings, with_names=name is None)
        else:
            shared.say(_nothing(name, failed=failed, since=since))


def unknown_name(name: str, names: Sequence[str]) -> str:
    """Return the error for a name that no run has: it lists the known names, similar ones first."""
    from difflib import get_close_matches

    close = get_close_matches(name.lower(), {each.lower(): each for each in names}, n=5, cutoff=0.5)
    first = [each for each in names if each.lower() in close or (name and name.lower() in each.lower())]
    known = [*first, *(each for each in names if each not in first)]
    if not known:
        return f"no run is named {line(name)!r}: none was journalled yet"
    shown = "\n".join(f"  {line(each, 70)}" for each in known[:10])
    more = f"\n  and {len(known) - 10} more" if len(known) > 10 else ""  # noqa: PLR2004 - the number of names in the slice above
    return f"no run is named {line(name)!r}. There are:\n{shown}{more}"


def _nothing(name: str | None, *, failed: bool, since: datetime | None) -> str:
    runs = "run failed" if failed else "run"
    of_name = f" of {line(name)}" if name is not None else ""
    when = f" since {shared.local(since)}" if since is not None else ""
    return f"No {runs}{of_name}{when}." if failed or when or of_name else "No run is in the journal."


def _print(
    runs: Sequence[RunRecord], baselines: run_facts.Baselines, standings: run_facts.Standings, *, with_names: bool
) -> None:
    """Print a line for each run; in a narrow terminal its values, or its error, go on a second one."""
    columns = shared.width() or sys.maxsize
    heads = [
        Column("RUN"),
        Column("NAME", gives="cut"),
        Column("OUTCOME"),
        Column("STARTED"),
        Column("TOOK"),
        Column("USUALLY"),
        Column("DETAILS", gives="cut"),
    ]
    shown: list[bool] = [True, with_names, True, True, True, columns >= _NARROW, columns >= _WIDE]
    rows = [_row(run, standings.of(run), baselines.of(run.report), short_time=columns < _NARROW) for run in runs]
    head, *body = shared.drawn([*compress(heads, shown)], [[*compress(row, shown)] for row in rows])
    shared.say(head)
    for text, row in zip(body, rows, strict=True):
        shared.say(text)
        details, style = row[-1]
        if details and columns < _WIDE:
            shared.say(shared.paint(f"{_INDENT}{shared.cut(details, columns - len(_INDENT))}", style))


def _row(run: RunRecord, standing: Standing, usual: Baseline | None, *, short_time: bool) -> list[Styled]:
    report = run.report
    odd = run_facts.stands_out(run, usual)
    took = "" if report.outcome is Outcome.SKIPPED else duration(run_facts.took_s(run))
    started = f"{report.started_at.astimezone():%m-%d %H:%M}" if short_time else shared.local(report.started_at)
    return [
        Styled(run_facts.short(report.id), "dim"),
        Styled(line(run_label(report)), ""),
        run_facts.outcome(run, standing),
        Styled(started, ""),
        Styled(f"{took} !" if odd else took, "bold yellow" if odd else ""),
        Styled(run_facts.usually(usual) if took else "", "dim"),
        run_facts.details(run),
    ]
