"""When a run should start: cron expressions in the machine's time, and intervals.

Every run with a schedule loads this, so that a mistake in it is told when the script is set up. What it takes to find
the next time is loaded when that is asked for.
"""

from __future__ import annotations

from functools import cache
from itertools import islice, takewhile
from typing import TYPE_CHECKING

import attrs

from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, tzinfo

COUNT_LIMIT = 1_000
"""How far due times are counted: who missed a thousand starts need not know whether it were more."""

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = 5
_INTERVAL = r"every\s+(?:(?P<number>\d{1,9}(?:\.\d{1,9})?)\s*)?(?P<unit>[a-z]+)"
_UNITS_S = {
    1.0: ("s", "sec", "second", "seconds"),
    60.0: ("m", "min", "mins", "minute", "minutes"),
    3_600.0: ("h", "hour", "hours"),
    86_400.0: ("d", "day", "days"),
}
_SHORTEST_S = 1.0
_LONGEST_S = 10 * 366 * 86_400.0


@attrs.frozen(kw_only=True)
class Schedule:
    """A schedule that :func:`parse` has understood.

    Args:
        text: As it was written, less needless blanks.
        cron: The five fields of a cron expression; None for an interval.
        every_s: Seconds from one start to the next; None for a cron expression.
    """

    text: str
    cron: str | None = None
    every_s: float | None = None

    def __str__(self) -> str:
        return self.text

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first time that is due after an instant.

        Args:
            instant: Aware; for an interval it is the start from which it counts.

        Returns:
            An aware UTC datetime; None when nothing is due within 50 years.
        """
        return next(self._due_after(instant), None)

    def due(self, after: datetime, until: datetime, *, limit: int = COUNT_LIMIT) -> tuple[datetime, ...]:
        """Return what is due after one instant and not after another, the first so many."""
        return tuple(islice(takewhile(lambda each: each <= until, self._due_after(after)), limit))

    def _due_after(self, instant: datetime) -> Iterator[datetime]:
        from datetime import UTC, timedelta

        if self.cron is None:
            assert self.every_s is not None  # it is one or the other
            due = instant.astimezone(UTC)
            while True:
                due += timedelta(seconds=self.every_s)
                yield due
        from cronsim import CronSim

        for local in CronSim(self.cron, instant.astimezone(machine_zone())):
            due = local.astimezone(UTC)
            # In the hour that comes twice, a fixed time belongs to its first pass, which may be over.
            if due > instant:
                yield due


def parse(text: object) -> Schedule:
    """Return the schedule that a text describes.

    A cron expression has five fields, as in a crontab ("0 2 * * *": minute, hour, day of the month, month, day of the
    week), with names (MON, JAN), lists, ranges, steps, and ``L`` and ``#`` for the last and the nth of a month; or it
    is one of @hourly, @daily, @weekly, @monthly and @yearly. It is meant in the machine's time. When the clocks go
    forward, what was due in the hour left out is due right after it; when they go back, a fixed time is due once, and
    ``*`` or ``*/n`` goes on in both passes of the hour, as cron on Debian does
    (https://manpages.debian.org/stable/cron/cron.8.en.html).

    An interval is "every 15 min", "every 2 h", "every 1 d" or "every 90 s": so many seconds after the last start,
    whatever the clocks show.

    Raises:
        ConfigurationError: The text is neither.
    """
    if not isinstance(text, str):
        raise _wrong(text, "it is no text")
    plain = " ".join(text.split())
    if plain.lower().startswith("every"):
        return Schedule(text=plain, every_s=_interval_s(plain))
    if plain.startswith("@"):
        if plain.lower() not in _NICKNAMES:
            raise _wrong(text, f"of these words there are {', '.join(_NICKNAMES)}")
        return Schedule(text=plain, cron=_NICKNAMES[plain.lower()])
    _check_cron(plain)
    return Schedule(text=plain, cron=plain)


def _interval_s(plain: str) -> float:
    import re

    found = re.fullmatch(_INTERVAL, plain, re.IGNORECASE | re.ASCII)
    unit_s = next((each for each, names in _UNITS_S.items() if found and found["unit"].lower() in names), None)
    if found is None or unit_s is None:
        raise _wrong(plain, "an interval is a number and s, min, h or d")
    every_s = float(found["number"] or 1) * unit_s
    if not _SHORTEST_S <= every_s <= _LONGEST_S:
        raise _wrong(plain, "an interval lasts from one second to ten years")
    return every_s


def _check_cron(plain: str) -> None:
    from datetime import datetime

    count = len(plain.split())
    if count != _FIELDS:  # cronsim would take a sixth for seconds, which no cron has
        fields = "minute, hour, day of the month, month, day of the week"
        raise _wrong(plain, f"instead of five fields ({fields}) it has {count}")
    from cronsim import CronSim, CronSimError

    try:
        CronSim(plain, datetime(2000, 1, 1))  # noqa: DTZ001 - only the expression is looked at
    except CronSimError as error:
        reason = str(error).removeprefix("Bad ").replace("-", " ")
        raise _wrong(plain, f"its {reason} is wrong") from error


def _wrong(text: object, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"schedule must be a cron expression or an interval, got {text!r}: {reason}; "
        'say for example "0 2 * * *" (every night at two), "@hourly" or "every 15 min"'
    )


@cache
def machine_zone() -> tzinfo:
    """Return the zone of the machine's clock.

    It asks the platform's own local time for each instant, and so follows ``TZ`` in all its forms, ``/etc/localtime``
    and the settings of Windows alike, with no database of zones of Python's own.
    """
    from datetime import UTC, datetime, timedelta, tzinfo

    class MachineZone(tzinfo):
        def utcoffset(self, when: datetime | None, /) -> timedelta | None:
            if when is None:
                return None
            naive = when.replace(tzinfo=None)
            utc = datetime.fromtimestamp(naive.timestamp(), UTC)  # looks at fold
            return naive.replace(fold=0) - utc.replace(tzinfo=None)

        def dst(self, when: datetime | None, /) -> timedelta | None:  # noqa: ARG002 - as tzinfo has it
            return None

        def tzname(self, when: datetime | None, /) -> str | None:
            return None if when is None else when.replace(tzinfo=None).astimezone().tzname()

        def fromutc(self, when: datetime, /) -> datetime:
            # Of a time that comes twice, only a naive datetime learns which one it is.
            local = datetime.fromtimestamp(when.replace(tzinfo=UTC).timestamp())  # noqa: DTZ006 - as said
            return local.replace(tzinfo=self)

    return MachineZone()
