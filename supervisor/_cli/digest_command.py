"""``supervisor digest``: one message a day with what failed, was missed or is muted, and how every script does."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import click

from supervisor._cli import run_facts, shared
from supervisor._cli.completion_command import handlers as handler_names
from supervisor._cli.configured import current_view, logging_silenced
from supervisor._cli.shared import line
from supervisor._cli.trends import Trend, trends
from supervisor._config import UnusableHandler, active
from supervisor._exceptions import host as here
from supervisor._messages import failure_reason, message_from_parts, run_label
from supervisor._models import FAILED, SUCCEEDED, Kind, Outcome
from supervisor._models.parts import Facts, Row, Text
from supervisor._runtime import default_runtime
from supervisor._settings import SENT
from supervisor._text import counted, duration, in_zone, local_time, localized, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from supervisor._alerts.evaluation import View
    from supervisor._models.parts import Baseline
    from supervisor._models.values import MessageDetails
    from supervisor._store import RunRecord
    from supervisor._store.records import AlertRecord, HeldDelivery, Mute, Streak
    from supervisor._store.sqlite import JournalReader

_KNOWN_FOR = timedelta(days=35)
"""A script that has not run for longer, has no schedule and does not fail is not listed any more."""
_A_NIGHT_H = (20.0, 28.0)
_NOON = 12
_MOST_ROWS = 200
_DAYS_FROM_H = 72.0


def _since(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:
    from supervisor._schedules import duration_s

    try:
        return timedelta(seconds=duration_s(value))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(
    "digest",
    epilog=shared.exit_codes(
        zero="the digest was delivered or printed, or there are no problems to tell of",
        one="it was not delivered (what waits is in the outbox), or the journal cannot be read",
        two="wrong usage, or a handler that is not configured, cannot be used or takes no notices",
    ),
)
@click.option(
    "--since", callback=_since, default="24h", show_default=True, metavar="TIME", help="How far back: 24h, 7d."
)
@click.option(
    "--handler",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=handler_names,
    help="Send it to this configured handler; may be repeated. By default those for all runs.",
)
@click.option(
    "--only", type=click.Choice(["problems"]), help="Leave out what went well; without problems send nothing."
)
@click.option("--page", is_flag=True, help="Attach the page with all runs (`supervisor report`).")
@click.option("--quiet", "-q", is_flag=True, help="Print only what goes wrong, or the digest where nobody gets it.")
@click.option("--print", "prints", is_flag=True, help="Print it instead of sending it.")
@shared.deadline("How long to wait for its delivery, at most; after that it waits in the outbox.")
@shared.as_json
def command(  # noqa: PLR0913, PLR0917 - one for each option
    since: timedelta,
    names: tuple[str, ...],
    only: str | None,
    page: bool,
    quiet: bool,
    prints: bool,
    deadline_s: float,
    as_json: bool,
) -> None:
    """Send one message (kind notice) with what failed, warned, was missed, is muted or still fails, and how all do.

    Let a scheduler send it in the morning: `supervisor schedule --digest 07:00` prints the lines for that. Where no
    handler is configured it is printed, so that cron mails it.
    """
    reader = shared.journal()
    if reader is None:
        shared.say(shared.no_journal_yet())
        return
    configuration = active().loaded
    chosen = [] if prints else _usable(names or tuple(configuration.settings.get("handlers", ())))
    with shared.journal_errors_shown(), in_zone(configuration.settings.get("timezone")):
        digest = gathered(reader, datetime.now(UTC) - since)
        details = composed(digest, only_problems=only is not None)
    if as_json:
        shared.print_json(document(digest, details))
    elif only and not digest.has_problems and not quiet:
        shared.say(f"Nothing to tell: {details.subject}")
    if only and not digest.has_problems:
        return
    if not chosen and not as_json:
        shared.say(f"{details.subject}\n\n{details.message}")
    elif chosen:
        sent = _sent(details, chosen, page=page, deadline_s=deadline_s, all_of_stdout=as_json)
        if not as_json and not (quiet and sent):
            shared.say(f"{line(details.subject)}: {'sent to' if sent else 'not delivered yet to'} {_listed(chosen)}")
        click.get_current_context().exit(shared.FINE if sent else shared.FOUND)


# To whom


def _usable(names: Sequence[str]) -> list[Any]:
    """Return the configured handlers of these names; end the command for one that cannot be used."""
    from supervisor._setting_values import kinds_of
    from supervisor.errors import ConfigurationError

    found = []
    known = active().loaded
    if known.send_for(None) != SENT:
        return []
    for name in dict.fromkeys(names):
        try:
            known.spec(name)
            handler: Any = active().named(name)
            kinds = kinds_of(handler)
        except ConfigurationError as error:
            shared.fail(str(error), shared.WRONG_USE)
        if isinstance(handler, UnusableHandler):
            shared.fail(f"the handler {name!r} cannot be used: {handler.reason}", shared.WRONG_USE)
        if kinds is not None and Kind.NOTICE not in kinds:
            shared.fail(f'the handler {name!r} takes no notices: add "notice" to its kinds', shared.WRONG_USE)
        found.append(handler)
    return found


def _sent(
    details: MessageDetails, chosen: Sequence[Any], *, page: bool, deadline_s: float, all_of_stdout: bool
) -> bool:
    """Accept the digest, send it, and return whether all handlers have it."""
    from tempfile import TemporaryDirectory

    from supervisor._delivery import Dispatcher
    from supervisor._models import DeliveryState

    journal, runtime = shared.writable_journal(), default_runtime()
    try:
        with (
            TemporaryDirectory() as folder,
            shared.journal_errors_shown(),
            logging_silenced(all_of_stdout=all_of_stdout) if not all_of_stdout else redirect_stdout(sys.stderr),
        ):
            if page:
                details = attrs.evolve(details, attachments=_page(folder))
            dispatcher = Dispatcher(
                chosen,
                (),
                journal,
                runtime.workers,
                runtime.configuration.redactor,
                configured=runtime.configuration.with_names_resolved,
            )
            jobs = dispatcher.store(details, is_own=True)
            dispatcher.submit(jobs)  # what is attached is taken here
            dispatcher.wait(deadline_s)
            return all(journal.state_of(job.delivery) is DeliveryState.SENT for job in jobs)
    finally:
        journal.close()


def _page(folder: str) -> Path:
    from pathlib import Path

    from supervisor._cli.report import render, write_page
    from supervisor._cli.report_command import gathered_page

    return write_page(render(gathered_page(400, ())), Path(folder) / "runs.html")


def _listed(chosen: Iterable[Any]) -> str:
    from supervisor._delivery import handler_name

    return ", ".join(line(handler_name(each)) for each in chosen)


# What is known


@attrs.frozen(kw_only=True)
class ScriptDigest:
    """What a script did in the time of a digest.

    Args:
        name: Its name.
        label: What messages call it.
        runs: How many runs started.
        failed: How many of them failed.
        warned: How many succeeded with warnings.
        last: Its newest run, also one from before; None when it never ran.
        last_failure: Its newest failed run in that time; None without one.
        last_warning: What its newest run with warnings was warned of first; "" without one.
        streak: Its failures in a row, up to the newest run that has ended.
        usual: What its duration usually is; None where that is not known.
        anomalies: What stands out of its newest run.
        missed: Which of its starts were missed, in words; "" for none.
        late: "stalled since ...", "overdue since ...", where that is so now.
        trends: Where its durations and values are heading.
    """

    name: str
    label: str
    runs: int = 0
    failed: int = 0
    warned: int = 0
    last: RunRecord | None = None
    last_failure: RunRecord | None = None
    last_warning: str = ""
    streak: Streak
    usual: Baseline | None = None
    anomalies: tuple[str, ...] = ()
    missed: str = ""
    late: tuple[str, ...] = ()
    trends: tuple[Trend, ...] = ()

    @property
    def still_fails(self) -> bool:
        """Return whether its newest run that has ended failed."""
        return self.streak.failures > 0


@attrs.frozen(kw_only=True)
class Digest:
    """What a digest says.

    Args:
        since: From when on.
        at: The moment.
        scripts: All scripts that ran lately, are to run, or fail, by their names.
        mutes: The names that are muted.
        held: The messages that are held.
        shared_names: The names that several scripts have, and their paths.
    """

    since: datetime
    at: datetime
    scripts: tuple[ScriptDigest, ...]
    mutes: tuple[Mute, ...]
    held: tuple[HeldDelivery, ...]
    shared_names: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)

    @property
    def has_problems(self) -> bool:
        """Return whether there is anything that did not go well."""
        return any(each.failed or each.warned or each.missed or each.late or each.still_fails for each in self.scripts)


def gathered(reader: JournalReader, since: datetime) -> Digest:
    """Return what happened since an instant, and how all scripts do."""
    now = datetime.now(UTC)
    view = current_view(reader, now)
    runs: dict[str, list[RunRecord]] = {}
    for run in reader.runs_since(since.timestamp()):
        runs.setdefault(run.name, []).append(run)
    missed, late = _missed(reader, view, since), _late(view)
    scripts = (
        _script(reader, view, name, runs.get(name, ()), missed.get(name, ""), late.get(name, ())) for name in view.names
    )
    listed = (each for each in scripts if each.runs or each.missed or each.still_fails or _is_known(each, view))
    return Digest(
        since=since,
        at=now,
        scripts=tuple(sorted(listed, key=lambda each: each.label.casefold())),
        mutes=tuple(reader.mutes().values()),
        held=reader.held_and_so(),
        shared_names=reader.shared_names(),
    )


def _is_known(script: ScriptDigest, view: View) -> bool:
    last = script.last
    plan = view.schedules.get(script.name)
    is_planned = plan is not None and plan.dropped_at is None
    return is_planned or (last is not None and view.now - last.report.started_at <= _KNOWN_FOR)


def _script(  # noqa: PLR0913, PLR0917 - what is known of a script
    reader: JournalReader, view: View, name: str, runs: Sequence[RunRecord], missed: str, late: Sequence[str]
) -> ScriptDigest:
    last = view.newest.get(name)
    failures = [each for each in runs if each.outcome in FAILED or each.is_gone]
    warned = [each for each in runs if each.outcome == Outcome.WARNING]
    return ScriptDigest(
        name=name,
        label=run_label(last) if last is not None else name,
        runs=len(runs),
        failed=len(failures),
        warned=len(warned),
        last_warning=next((each.text for run in warned for each in run.warnings), ""),
        last=last,
        last_failure=failures[0] if failures else None,
        streak=reader.failures_since_success(name),
        usual=run_facts.Baselines(reader).of(last.report) if last is not None else None,
        anomalies=tuple(_anomalies(reader, last)) if last is not None and runs else (),
        missed=missed,
        late=tuple(late),
        trends=trends(reader, name) if runs else (),
    )


def _anomalies(reader: JournalReader, last: RunRecord) -> Iterator[str]:
    """Yield what stands out of a run that ended well."""
    from supervisor._messages.baseline import anomalies, baselines_of

    if last.outcome in SUCCEEDED:
        report = last.report
        baselines, _ = baselines_of(report, reader.past(last.name, before=last.id))
        yield from (str(each) for each in anomalies(report, baselines, None))  # its duration is shown in any case


def _missed(reader: JournalReader, view: View, since: datetime) -> dict[str, str]:
    """Return which starts were missed in that time, in words, by the names of the runs."""
    from supervisor._alerts.evaluation import missed_start_alerts
    from supervisor._alerts.messages import missed_words

    before: Iterable[AlertRecord] = (each for each in reader.alerts_since(since) if each.kind is Kind.MISSED)
    found = {each.name: f"missed its start at {_when(each.since, view.now)}, and started later" for each in before}
    return found | {each.name: missed_words(each.due, view.now) for each in missed_start_alerts(view)}


def _late(view: View) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for run in view.unended:
        standing = view.standings[run.id]
        for word, since_s in (("stalled", standing.stalled_since_s), ("overdue", standing.overdue_since_s)):
            if since_s is not None:
                at = datetime.fromtimestamp(since_s, UTC)
                found.setdefault(run.name, []).append(f"{word} since {_when(at, view.now)}")
    return found


# What is said


def composed(digest: Digest, *, only_problems: bool = False) -> MessageDetails:
    """Return the message; with ``only_problems`` without what went well."""
    parts: list[Any] = [Text(f"On {here()}, from {local_time(digest.since)} to {local_time(digest.at)}.")]
    parts += (
        Facts(title, _bounded(rows))
        for title, rows in (
            ("Failed", [_failed_row(each, digest.at) for each in digest.scripts if each.failed]),
            ("Did not start", [Row(each.label, each.missed) for each in digest.scripts if each.missed]),
            ("Stalled or overdue", [Row(each.label, ", ".join(each.late)) for each in digest.scripts if each.late]),
            ("Still failing since before", [_still_row(each) for each in _failing_from_before(digest)]),
            ("Succeeded with warnings", [_warned_row(each) for each in digest.scripts if each.warned]),
            (
                "One name, several scripts",
                [Row(name, " and ".join(each)) for name, each in digest.shared_names.items()],
            ),
            ("Muted", [_muted_row(each, digest) for each in digest.mutes]),
        )
        if rows
    )
    if not only_problems:
        heading = [Row(each.label, str(trend)) for each in digest.scripts for trend in each.trends]
        parts += [Facts("Where it is heading", _bounded(heading))] if heading else []
        parts.append(Facts("Every script", _bounded([_script_row(each, digest.at) for each in digest.scripts])))
    return message_from_parts(Kind.NOTICE, _subject(digest), parts)


def _subject(digest: Digest) -> str:
    """Return the headline ("2 of 41 scripts failed last night, 1 did not start (gis1)")."""
    total, period = len(digest.scripts), _period(digest)
    failed = sum(bool(each.failed) for each in digest.scripts)
    missed = sum(bool(each.missed) for each in digest.scripts)
    before = len(_failing_from_before(digest))
    warned = sum(bool(each.warned) and not each.failed for each in digest.scripts)
    late = sum(bool(each.late) for each in digest.scripts)
    if not any(each.runs for each in digest.scripts) and not digest.has_problems:
        head = f"none of {counted(total, 'script')} ran {period}" if total else "no script is known yet"
    elif failed:
        head = f"{failed} of {counted(total, 'script')} failed {period}"
    elif digest.has_problems:
        head = f"none of {counted(total, 'script')} failed {period}"
    else:
        head = f"{'all ' if total > 1 else ''}{counted(total, 'script')} went well {period}"
    more = (
        (missed, f"{missed} did not start"),
        (late, f"{late} stalled or overdue"),
        (before, f"{before} still {'fails' if before == 1 else 'fail'} since before"),
        (warned, f"{warned} with warnings"),
    )
    said = ", ".join((head, *(text for count, text in more if count)))
    return one_line(f"{said[:1].upper()}{said[1:]} ({here()})")


def _period(digest: Digest) -> str:
    hours = (digest.at - digest.since).total_seconds() / 3_600
    if _A_NIGHT_H[0] <= hours <= _A_NIGHT_H[1] and localized(digest.at).hour < _NOON:
        return "last night"
    return f"in the last {hours:.0f} h" if hours < _DAYS_FROM_H else f"in the last {hours / 24:.0f} days"


def _failing_from_before(digest: Digest) -> list[ScriptDigest]:
    """Return the scripts that fail, and did not run in that time."""
    return [each for each in digest.scripts if each.still_fails and not each.failed]


def _bounded(rows: list[Row]) -> list[Row]:
    more = len(rows) - _MOST_ROWS
    return [*rows[:_MOST_ROWS], Row("...", f"{more:,} more: `supervisor report` shows all")] if more > 0 else rows


def _failed_row(script: ScriptDigest, now: datetime) -> Row:
    last = script.last_failure
    assert last is not None
    words = [f"{script.failed} of {counted(script.runs, 'run')}"] if script.runs > 1 else []
    how = failure_reason(last.report) or (last.outcome if last.outcome is not None else "died")
    words.append(f"{'the last ' if script.failed > 1 else ''}at {_when(last.report.started_at, now)}: {how}")
    text = ", ".join(words) + ("" if script.still_fails or last.is_gone else "; it has succeeded since")
    return Row(script.label, one_line(text), _row_of_failures(script), stands_out=True)


def _row_of_failures(script: ScriptDigest) -> str:
    streak = script.streak
    if streak.failures < 2 or streak.since is None:  # noqa: PLR2004 - more than this one
        return ""
    return f"{streak.failures} in a row since {local_time(streak.since)}"


def _still_row(script: ScriptDigest) -> Row:
    since = script.streak.since
    ago = f"since {local_time(since)}" if since is not None else ""
    return Row(script.label, f"{counted(script.streak.failures, 'run')} in a row, {ago}")


def _warned_row(script: ScriptDigest) -> Row:
    words = f"{script.warned} of {counted(script.runs, 'run')}" if script.runs > 1 else ""
    return Row(script.label, one_line(": ".join(filter(None, (words, script.last_warning))), 300))


def _muted_row(mute: Mute, digest: Digest) -> Row:
    from supervisor._cli.mute_command import until_words

    waiting = sum(each.name == mute.name for each in digest.held)
    return Row(mute.name, until_words(mute) + (f", {counted(waiting, 'message')} held" if waiting else ""))


def _script_row(script: ScriptDigest, now: datetime) -> Row:
    last = script.last
    if last is None:
        return Row(script.label, "it never started")
    outcome = "died?" if last.is_gone else last.outcome or "under way"
    took = f", {'took' if last.outcome is not None else 'for'} {duration(run_facts.took_s(last, now))}"
    if last.is_gone:
        took = ""
    runs = f"; {counted(script.runs, 'run')}" if script.runs != 1 else ""
    found = f". {'; '.join(script.anomalies)}" if script.anomalies else ""
    usual = run_facts.usually(script.usual)
    text = one_line(f"{outcome} at {_when(last.report.started_at, now)}{took}{runs}{found}")
    stands_out = bool(script.anomalies) or run_facts.stands_out(last, script.usual)
    return Row(script.label, text, f"usually {usual}" if usual else "", stands_out=stands_out)


def _when(instant: datetime, now: datetime) -> str:
    """Return when something was: without the date for the last 24 hours."""
    local = localized(instant)
    return f"{local:%H:%M}" if now - instant < timedelta(hours=24) else f"{local:%Y-%m-%d %H:%M}"


def document(digest: Digest, details: MessageDetails) -> dict[str, Any]:
    """Return the digest as a document for programs."""
    from supervisor._cli.mute_command import mute_document

    return {
        "at": digest.at,
        "since": digest.since,
        "subject": details.subject,
        "has_problems": digest.has_problems,
        "scripts": [_script_document(each) for each in digest.scripts],
        "muted": [mute_document(each, digest.held) for each in digest.mutes],
    }


def _script_document(script: ScriptDigest) -> dict[str, Any]:
    last = script.last
    return {
        "name": script.name,
        "runs": script.runs,
        "failed": script.failed,
        "warned": script.warned,
        "missed": script.missed or None,
        "late": list(script.late),
        "failures_in_a_row": script.streak.failures,
        "failing_since": script.streak.since,
        "last_outcome": last.outcome if last is not None else None,
        "last_run_id": last.id if last is not None else None,
        "duration_s": round(run_facts.took_s(last), 3) if last is not None else None,
        "usual_duration": run_facts.usual_document(script.usual),
        "anomalies": list(script.anomalies),
        "trends": [each.document() for each in script.trends],
    }
