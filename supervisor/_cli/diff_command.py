"""``supervisor diff``: what is around a run and was not around another one."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from supervisor._alerts import Standing
from supervisor._cli import run_facts, shared
from supervisor._cli.completion_command import runs
from supervisor._cli.history_command import find_run
from supervisor._cli.shared import line, paint
from supervisor._messages import run_label
from supervisor._run.changes import LABELS, changes_between

if TYPE_CHECKING:
    from supervisor._run.changes import Difference
    from supervisor._store import RunRecord
    from supervisor._store.essentials import Surroundings
    from supervisor._store.sqlite import JournalReader

_LABEL_COLUMNS = max(map(len, LABELS.values()))


@click.command(
    "diff",
    epilog=shared.exit_codes(one="there is no such run, nothing to compare it with, or the journal cannot be read"),
)
@click.argument("run", shell_complete=runs)
@click.argument("other", required=False, metavar="[RUN]", shell_complete=runs)
@shared.as_json
def command(run: str, other: str | None, as_json: bool) -> None:
    """Show what changed from one run to another: packages, the script's files, its commit, settings and the like.

    RUN is the id of a run or the beginning of one, or a name, for the newest run of that name. One RUN is compared with
    the last run of its name before it that succeeded.
    """
    reader = shared.journal()
    if reader is None:
        shared.fail(shared.no_journal_yet())
    with shared.journal_errors_shown():
        first = find_run(reader, run)
        before, after = (_last_success(reader, first), first) if other is None else (first, find_run(reader, other))
        changes = changes_between((before, _around(reader, before)), (after, _around(reader, after)))
    if as_json:
        shared.print_json(_document(before, after, changes.differences))
    else:
        _print(before, after, changes.differences)


def _last_success(reader: JournalReader, run: RunRecord) -> RunRecord:
    found = reader.successful_runs(run.name, limit=1, before=run.key)
    if not found:
        shared.fail(
            f"no run of {line(run_label(run.report))} succeeded before {run_facts.short_id(run.id)}: name the one to "
            "compare it with, supervisor diff RUN RUN; `supervisor history` shows their ids"
        )
    return found[0]


def _around(reader: JournalReader, run: RunRecord) -> Surroundings:
    """Return what was around a run. Ends the command where nothing of that was kept."""
    found = reader.surroundings_of(run)
    if found is None:
        later = "that is noted at the end of a run, by this version of supervisor and later ones"
        why = "it has not ended" if run.outcome is None else later
        shared.fail(f"what was around the run {run_facts.short_id(run.id)} was not kept: {why}")
    return found


def _print(before: RunRecord, after: RunRecord, differences: tuple[Difference, ...]) -> None:
    for label, run in (("from", before), ("to", after)):
        report = run.report
        state = paint(*run_facts.outcome(run, Standing()))
        started = shared.local(report.started_at, seconds=True)
        shared.say(f"{label:<4}  {run_facts.short_id(run.id)}  {line(run_label(report), 60)}  {state}  {started}")
    shared.say()
    if not differences:
        shared.say("Nothing changed of what runs keep.")
    columns = (shared.width() or 10_000) - _LABEL_COLUMNS - 4
    for what, some in groupby(differences, key=lambda each: each.what):
        label = LABELS[what]
        for each in some:
            for text in shared.wrapped(line(each.text, 500), columns):
                shared.say(f"  {paint(f'{label:<{_LABEL_COLUMNS}}', 'dim')}  {text}")
                label = ""


def _document(before: RunRecord, after: RunRecord, differences: tuple[Difference, ...]) -> dict[str, Any]:
    return {
        "before": _run_document(before),
        "after": _run_document(after),
        "changes": [each._asdict() for each in differences],
    }


def _run_document(run: RunRecord) -> dict[str, Any]:
    return {name: getattr(run.report, name) for name in ("id", "name", "outcome", "started_at")}
