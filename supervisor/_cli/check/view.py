"""What a check sees: the journal and the configuration at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from supervisor._store.json_text import text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from supervisor._config import Configuration
    from supervisor._store import Journal
    from supervisor._store.records import FindingRecord, LastCheck, RunGlance


@attrs.frozen(kw_only=True)
class Watched:
    """A schedule in the configuration, as checks have seen it.

    Args:
        schedule: The schedule, as text.
        since: When a check first saw it.
        dropped_at: When a check no longer saw it; None while it is there.
        grace_s: How late a start may be; None where the configuration does not say.
    """

    schedule: str
    since: datetime
    dropped_at: datetime | None = None
    grace_s: float | None = None


@attrs.frozen(kw_only=True)
class View:
    """What a check sees.

    Args:
        now: The moment.
        newest: The newest run of each name.
        unended: The runs that have not ended.
        open: What was told and is not over, as far as the journal knows.
        watched: The schedules that the configuration has or had, by the names of the runs.
        last_check: When the check before this one looked, and how long the machine slept.
    """

    now: datetime
    newest: Mapping[str, RunGlance]
    unended: tuple[RunGlance, ...]
    open: tuple[FindingRecord, ...]
    watched: Mapping[str, Watched]
    last_check: LastCheck

    @property
    def names(self) -> set[str]:
        """Return the names of all runs that there are or should be."""
        return {*self.newest, *(name for name, each in self.watched.items() if each.dropped_at is None)}

    def awake_s(self, since_s: float) -> float:
        """Return the seconds since an instant in which the machine was awake; at least 0.

        Args:
            since_s: The instant, in seconds since 1970.
        """
        passed_s = self.now.timestamp() - since_s
        slept_s = sum(slept_s for until_s, slept_s in self.last_check.sleeps if until_s > since_s)
        return max(0.0, passed_s - slept_s)


def take(journal: Journal, configuration: Configuration, now: datetime, awake_s: float) -> View:
    """Note that a check looks now, and return what it sees.

    Args:
        journal: The journal.
        configuration: What is configured.
        now: The moment, by the journal's clock.
        awake_s: What a clock shows that stands still while the machine sleeps.

    Raises:
        JournalUnavailable: The journal cannot be read or written.
    """
    last_check = journal.note_check(awake_s)
    return View(
        now=now,
        newest=journal.newest_runs(),
        unended=journal.unended_runs(),
        open=journal.open_findings(),
        watched=_watched(journal, configuration),
        last_check=last_check,
    )


def _watched(journal: Journal, configuration: Configuration) -> dict[str, Watched]:
    settings = {name: configuration.for_run(name) for name in configuration.runs}
    schedules = {name: each["schedule"] for name, each in settings.items() if each.get("schedule")}
    graces = {text(name): settings[name].get("grace_s") for name in schedules}
    return {
        name: Watched(schedule=schedule, since=since, dropped_at=dropped_at, grace_s=graces.get(name))
        for name, (schedule, since, dropped_at) in journal.watch_schedules(schedules).items()
    }
