"""``supervisor mute`` and ``unmute``: for a while, nobody hears of some scripts; and what waits for a quiet end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from supervisor._cli import shared
from supervisor._cli.completion_command import run_names
from supervisor._cli.shared import line
from supervisor._config import active
from supervisor._schedules import duration_s, machine_zone, zone_named
from supervisor._store.essentials import NO_SET_TIME_S, storable
from supervisor._text import counted, local_time, localized

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from supervisor._store import Store
    from supervisor._store.records import HeldDelivery, Mute

_OK = "ok"
_CODES = shared.exit_codes(one="there is no run of a name, or the journal cannot be used")
_WHY = {
    "mute": "muted",
    "quiet": "quiet time",
    "alert_after": "alert_after",
    "several": "several scripts failed for one reason",
}


@click.command("mute", epilog=_CODES)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=run_names)
@click.option("--for", "lasts", metavar="TIME", help="How long: 90min, 2h, 3d.")
@click.option("--until", metavar="WHEN", help="Until when: ok (the next success), 06:00, or 2025-12-24T06:00.")
@shared.as_json
def command(names: tuple[str, ...], lasts: str | None, until: str | None, as_json: bool) -> None:
    """Let nobody hear of the runs of these names for a while. Without a name it lists who is muted.

    Everything is recorded all the same. What is still so when it ends, be it that a script still fails or that its
    start is still missed, is told then, once, by `supervisor check` or the next run; what is over is not told.
    Times are in the time zone of the configuration.
    """
    if not names:
        if lasts or until:
            raise click.UsageError("name the runs to mute")
        _list(as_json=as_json)
        return
    if (lasts is None) == (until is None):
        raise click.UsageError("say how long: --for 2h, --until ok or --until 06:00")
    until_s = _until_s(lasts, until)
    journal = shared.writable_journal()
    try:
        with shared.journal_errors_shown():
            _refuse_unknown(names, journal)
            for name in names:
                journal.mute(name, until_s, until_ok=until == _OK)
            mutes = [mute for name in names if (mute := journal.mutes().get(storable(name))) is not None]
    finally:
        journal.close()
    if as_json:
        shared.print_json({"muted": [mute_document(each, ()) for each in mutes]})
        return
    for mute in mutes:
        shared.say(f"{line(mute.name)} is muted {until_words(mute)}; what is still so then will be told")


@click.command("unmute", epilog=shared.exit_codes(one="a name was not muted, or the journal cannot be used"))
@click.argument("names", metavar="NAME...", nargs=-1, shell_complete=run_names)
@click.option("--all", "every", is_flag=True, help="All that are muted.")
def unmute(names: tuple[str, ...], every: bool) -> None:
    """End what `supervisor mute` began: what is still so is told with the next check, or the next run."""
    if bool(names) == every:
        raise click.UsageError("name the runs to unmute, or say --all")
    journal = shared.writable_journal()
    try:
        with shared.journal_errors_shown():
            muted = journal.mutes()
            held = journal.held_and_so()
            chosen = list(muted) if every else [storable(each) for each in names]
            for name in chosen:
                journal.unmute(name)
    finally:
        journal.close()
    for name in chosen:
        if name in muted:
            waiting = sum(each.name == name for each in held)
            more = f"; {counted(waiting, 'message')} held: `supervisor check` tells what is still so" if waiting else ""
            shared.say(f"{line(name)} is no longer muted{more}")
    if missing := [name for name in chosen if name not in muted]:
        shared.fail(f"not muted: {', '.join(map(line, missing))}")


def _until_s(lasts: str | None, until: str | None) -> float | None:
    """Return when a mute ends, in seconds since 1970; None for no set time."""
    now = datetime.now(UTC)
    if lasts is not None:
        try:
            return (now + timedelta(seconds=duration_s(lasts))).timestamp()
        except ValueError as error:
            text = f"{line(lasts)!r}: {error}; for no set time there is --until ok, which the next success ends"
            raise click.BadParameter(text, param_hint="--for") from error
    assert until is not None
    if until == _OK:
        return None
    end = _instant(until, now)
    if end is None:
        raise click.BadParameter("takes ok, a time like 06:00, or a date like 2025-12-24T06:00", param_hint="--until")
    if end <= now:
        raise click.BadParameter(f"{line(until)} is over", param_hint="--until")
    return end.timestamp()


def _instant(text: str, now: datetime) -> datetime | None:
    """Return the next instant with that time of the day, or that instant; None for neither."""
    zone_name = active().loaded.settings.get("timezone")
    zone = zone_named(zone_name) if zone_name else machine_zone()
    local = now.astimezone(zone)
    try:
        time = datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - a time of the day alone
    except ValueError:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            return None
        return found if found.tzinfo is not None else found.replace(tzinfo=zone)
    found = local.replace(hour=time.hour, minute=time.minute, second=0, microsecond=0)
    return found if found > local else found + timedelta(days=1)


def _refuse_unknown(names: Sequence[str], journal: Store) -> None:
    """End the command for a name that no run has and the configuration does not know: it is probably misspelt."""
    known = {*journal.names(), *map(storable, active().loaded.runs)}
    for name in names:
        if storable(name) not in known:
            from difflib import get_close_matches

            meant = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {line(repr(meant[0]))}?" if meant else "`supervisor history` shows what ran"
            shared.fail(f"there is no run named {line(repr(name))}; {hint}")


def _list(*, as_json: bool) -> None:
    reader = shared.journal()
    with shared.journal_errors_shown():
        mutes = list(reader.mutes().values()) if reader is not None else []
        held = reader.held_and_so() if reader is not None else ()
    if as_json:
        shared.print_json({"muted": [mute_document(each, held) for each in mutes]})
        return
    for each in muted_lines(mutes, held):
        shared.say(each)
    if not mutes:
        shared.say("Nobody is muted.")


# What other commands show of it


def until_words(mute: Mute) -> str:
    """Return until when a mute lasts ("until 2025-12-24 06:00", "until it succeeds")."""
    ends = [f"until {local_time(mute.until)}"] if mute.until is not None else []
    return " or ".join([*ends, "until it succeeds"] if mute.until_ok else ends) or "until somebody ends it"


def muted_lines(mutes: Sequence[Mute], held: Sequence[HeldDelivery]) -> Iterator[str]:
    """Yield a line on each name that is muted."""
    for mute in mutes:
        waiting = sum(each.name == mute.name for each in held)
        more = f", {counted(waiting, 'message')} held" if waiting else ""
        yield f"{line(mute.name)} is muted {until_words(mute)}, since {shared.local(mute.since)}{more}"


def held_lines(held: Sequence[HeldDelivery], muted: Collection[str]) -> Iterator[str]:
    """Yield a line on each message that is held for another reason than a mute."""
    now_s = datetime.now(UTC).timestamp()
    for each in held:
        what = f"{line(each.subject)!r} for {line(each.handler, 60)}"
        if each.name in muted:
            continue
        if each.why == "mute" or each.until_s <= now_s:
            yield f"{what} goes with the next check or run"
        else:
            until = f" until {_clock(each.until_s)}" if each.until_s < NO_SET_TIME_S else ""
            yield f"{what} is held{until} ({_WHY.get(each.why, each.why)})"


def _clock(at_s: float) -> str:
    return f"{localized(datetime.fromtimestamp(at_s, UTC)):%Y-%m-%d %H:%M}"


def mute_document(mute: Mute, held: Sequence[HeldDelivery]) -> dict[str, Any]:
    """Return a mute as a document for programs."""
    waiting = sum(each.name == mute.name for each in held)
    return {"name": mute.name, "since": mute.since, "until": mute.until, "until_ok": mute.until_ok, "held": waiting}


def held_document(held: HeldDelivery) -> dict[str, Any]:
    """Return a held message as a document for programs."""
    until = datetime.fromtimestamp(held.until_s, UTC) if held.until_s < NO_SET_TIME_S else None
    same = ("key", "handler", "subject", "kind", "created_at", "name", "why")
    return {**{each: getattr(held, each) for each in same}, "until": until}
