"""Compare what is around two runs: what changed since a script last went well."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from supervisor._models import Kind
from supervisor._models.parts import Row, Summary
from supervisor._text import local_time, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from supervisor._models.values import MessageDetails
    from supervisor._store.essentials import Surroundings
    from supervisor._store.records import RunRecord

MOST_NAMED = 12
"""A message names so many packages, files or variables; of the others it says how many they are."""

_TEXT_LIMIT = 200
_SHORT_ID = 10
_COLUMNS = ("schedule", "grace_s", "max_duration_s", "stall_after_s")
"""The settings of a run that the journal keeps in columns of their own."""

LABELS = {
    "commit": "Commit",
    "file": "Files",
    "package": "Packages",
    "python": "Python",
    "command": "Command",
    "setting": "Settings",
    "variable": "Variables",
    "user": "User",
    "host": "Host",
    "zone": "Time zone",
    "boot": "Machine",
}


class Difference(NamedTuple):
    """One thing that is not as it was.

    Args:
        what: "commit", "file", "package", "python", "command", "setting", "variable", "user", "host", "zone" or "boot".
        name: Which file, package, setting or variable; "" for the others.
        before: What it was; None where it was not there, or is not known.
        after: What it is; None where it is gone, or is not known.
        text: The same in words.
    """

    what: str
    name: str
    before: str | None
    after: str | None
    text: str


class Changes(NamedTuple):
    """What changed since the last good run.

    Args:
        since: When that run started.
        differences: What is not as it was, in the order in which it is shown.
    """

    since: datetime
    differences: tuple[Difference, ...]


def changes_between(before: tuple[RunRecord, Surroundings], after: tuple[RunRecord, Surroundings]) -> Changes:
    """Return what is around a run and was not around an earlier one of its name."""
    (was, was_around), (now, around) = before, after
    stamps = _loaded(was_around.stamp), _loaded(around.stamp)
    facts = _loaded(was_around.facts), _loaded(around.facts)
    found = (
        *_commit(*stamps, facts[1], was.started_at_s),
        *_files(*stamps, *facts),
        *_packages(*stamps, *facts),
        *_one("python", *(_python(*each) for each in ((was, stamps[0]), (now, stamps[1])))),
        *_one("command", " ".join(was.argv), " ".join(now.argv)),
        *_settings(was, now),
        *_variables(*(each.get("variables") for each in stamps)),
        *_one("user", was.user, now.user),
        *_one("host", was.host, now.host),
        *_one("zone", *(each.get("zone", "") for each in stamps)),
        *_boot(was_around.boot, around.boot),
    )
    return Changes(datetime.fromtimestamp(was.started_at_s, UTC), found)


def rows_of(differences: Iterable[Difference]) -> list[Row]:
    """Return differences as rows of a table, one for each kind of thing."""
    rows = []
    for what, some in groupby(differences, key=lambda each: each.what):
        texts = [each.text for each in some]
        more = [f"and {len(texts) - MOST_NAMED:,} more"] if len(texts) > MOST_NAMED else []
        rows.append(Row(LABELS[what], ", ".join([*texts[:MOST_NAMED], *more])))
    return rows


def may_explain(details: MessageDetails) -> bool:
    """Return whether what changed may be the cause of what a message is about: a failure, or values that stand out."""
    if details.kind is Kind.FAILURE:
        return details.report is not None and details.report.outcome is not None
    from supervisor._messages.baseline import anomalies

    report, summaries = details.report, [each for each in details.parts if isinstance(each, Summary)]
    return report is not None and any(
        True for each in summaries for _ in anomalies(report, each.baselines, each.duration_baseline)
    )


def with_changes(details: MessageDetails, changes: Changes, redact: Callable[[str], str]) -> MessageDetails:
    """Return a message that says what changed since the last good run.

    Args:
        details: The message.
        changes: What changed.
        redact: Removes secrets.
    """
    rows = [each.with_texts(redact) for each in rows_of(changes.differences)]
    if not rows:
        return details
    title = f"Changed since it last went well, {local_time(changes.since)}"
    parts = (
        attrs.evolve(each, changes=rows, changes_title=title) if isinstance(each, Summary) else each
        for each in details.parts
    )
    return attrs.evolve(details, parts=parts)


def _loaded(stored: bytes | None) -> dict[str, Any]:
    """Return a stamp or facts; of a short run parts of the stamp are missing, and there are no facts."""
    loaded: dict[str, Any] = json.loads(stored) if stored is not None else {}
    return loaded


def _python(run: RunRecord, stamp: Mapping[str, Any]) -> str:
    """Return the version of Python and its path; "" of a short run, of which the path is not known."""
    return f"{run.python} {stamp['python']}".strip() if "python" in stamp else ""


def _one(what: str, before: str, after: str) -> Iterator[Difference]:
    if before and after and before != after:
        shown = one_line(before, _TEXT_LIMIT), one_line(after, _TEXT_LIMIT)
        yield Difference(what, "", before, after, f"{shown[0]} -> {shown[1]}")


def _commit(
    was: Mapping[str, Any], now: Mapping[str, Any], facts: Mapping[str, Any], started_at_s: float
) -> Iterator[Difference]:
    """Yield the commit; that of a short run is the one that was checked out when it started."""
    noted = [commit for at_s, commit in facts.get("commits", ()) if at_s <= started_at_s]
    before, after = was.get("commit", noted[-1] if noted else None), now.get("commit")
    if before is not None and after and before != after:
        subject = one_line(facts.get("subject") or "", 100)
        text = f"{before[:_SHORT_ID] or 'none'} -> {after[:_SHORT_ID]}" + (f" {subject!r}" if subject else "")
        yield Difference("commit", "", before or None, after, text)


def _files(
    was: Mapping[str, Any], now: Mapping[str, Any], was_facts: Mapping[str, Any], facts: Mapping[str, Any]
) -> Iterator[Difference]:
    """Yield the script's files that were edited; one that only one of the two runs came to use is none of them."""
    before = {path: (changed_ns, size) for path, changed_ns, size in was["files"]}
    hashes = was_facts.get("files", {}), facts.get("files", {})
    last_ns = max((changed_ns for changed_ns, _ in before.values()), default=0)
    knows_all = "commit" in was  # of a short run only the script itself is known
    for path, changed_ns, size in now["files"]:
        at = _instant(changed_ns)
        if path not in before:
            if knows_all and changed_ns > last_ns > 0:
                yield Difference("file", path, None, at.isoformat(), f"{os.path.basename(path)} new")  # noqa: PTH119 - a text
            continue
        if before[path] == (changed_ns, size):
            continue
        known = hashes[0].get(path), hashes[1].get(path)
        if None not in known and known[0] == known[1]:
            continue  # it was written again as it was
        text = f"{os.path.basename(path)} edited {local_time(at)}"  # noqa: PTH119 - a text
        yield Difference("file", path, _instant(before[path][0]).isoformat(), at.isoformat(), text)


def _instant(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, UTC)


def _packages(
    was: Mapping[str, Any], now: Mapping[str, Any], was_facts: Mapping[str, Any], facts: Mapping[str, Any]
) -> Iterator[Difference]:
    before, after = was_facts.get("packages"), facts.get("packages")
    if before is not None and after is not None:
        for name in sorted({*before, *after}):
            old, new = before.get(name), after.get(name)
            if old != new:
                change = f"{old} -> {new}" if old and new else f"{new} new" if new else f"{old} gone"
                yield Difference("package", name, old, new, f"{name} {change}")
        return
    for folder, changed_ns in now["packages"]:
        if [folder, changed_ns] not in was["packages"]:  # which of them is not known: the run was too short
            at = _instant(changed_ns)
            yield Difference("package", folder, None, at.isoformat(), f"{folder} changed {local_time(at)}")


def _settings(was: RunRecord, now: RunRecord) -> Iterator[Difference]:
    """Yield the settings that have another value; their values stay out."""
    before = {**was.settings, **{name: getattr(was, name) for name in _COLUMNS}}
    after = {**now.settings, **{name: getattr(now, name) for name in _COLUMNS}}
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Difference("setting", name, None, None, name)


def _variables(before: Sequence[str] | None, after: Sequence[str] | None) -> Iterator[Difference]:
    """Yield the names of environment variables that are new or gone; their values are not kept."""
    if before is None or after is None:
        return
    was, now = set(before), set(after)
    for name in sorted(was ^ now):
        came = "new" if name in now else "gone"
        yield Difference("variable", name, None, None, f"{one_line(name, 60)} {came}")


def _boot(before: str, after: str) -> Iterator[Difference]:
    if before and after and before != after:
        yield Difference("boot", "", before, after, "restarted since")
