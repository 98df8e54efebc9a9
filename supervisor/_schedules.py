"""Schedules of runs: cron expressions in local time, and intervals.

Every run with a schedule imports this, to report a mistake in the schedule when the script is set up. What computes
the next start is imported when it is needed.
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
"""Stop counting missed starts at this number."""

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
_DURATION = r"(?P<number>\d{1,9}(?:\.\d{1,9})?)\s*(?P<unit>[a-z]+)"
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
    """A schedule as :func:`parse` returns it.

    Args:
        text: As it was written, without redundant blanks.
        cron: The five fields of a cron expression; None for an interval.
        every_s: Seconds from one start to the next; None for a cron expression.
        zone: The name of the time zone of a cron expression; "" for the machine's.
    """

    text: str
    cron: str | None = None
    every_s: float | None = None
    zone: str = ""

    def __str__(self) -> str:
        return self.text

    def next_after(self, instant: datetime) -> datetime | None:
        """Return the first start after an instant.

        Args:
            instant: An aware datetime; for an interval, the last start.

        Returns:
            An aware UTC datetime; None if there is no start within 50 years.
        """
        return next(self._due_after(instant), None)

    def due(self, after: datetime, until: datetime, *, limit: int = COUNT_LIMIT) -> tuple[datetime, ...]:
        """Return the starts after one instant and up to another, at most ``limit`` of them."""
        return tuple(islice(takewhile(lambda each: each <= until, self._due_after(after)), limit))

    def _due_after(self, instant: datetime) -> Iterator[datetime]:
        from datetime import UTC, timedelta

        if self.cron is None:
            assert self.every_s is not None  # one of the two is set
            due = instant.astimezone(UTC)
            while True:
                due += timedelta(seconds=self.every_s)
                yield due
        from cronsim import CronSim

        for local in CronSim(self.cron, instant.astimezone(zone_named(self.zone) if self.zone else machine_zone())):
            due = local.astimezone(UTC)
            # In the hour that occurs twice, a fixed time is due in its first occurrence, which may be over.
            if due > instant:
                yield due


def parse_schedule(text: object) -> Schedule:
    """Return the schedule that a text describes.

    A cron expression has five fields, as in a crontab ("0 2 * * *": minute, hour, day of the month, month, day of the
    week), with names (MON, JAN), lists, ranges, steps, and ``L`` and ``#`` for the last and the nth of a month; or it
    is one of @hourly, @daily, @weekly, @monthly and @yearly. It is in local time. When the clocks go forward, a start
    within the skipped hour is due right after it; when they go back, a fixed time is due once, and ``*`` or ``*/n``
    in both occurrences of the hour, as with cron on Debian (https://manpages.debian.org/stable/cron/cron.8.en.html).

    "CRON_TZ=America/Denver " before it says another time zone than the machine's.

    An interval is "every 15 min", "every 2 h", "every 1 d" or "every 90 s": so much time after the last start,
    independent of changes of the clock.

    Raises:
        ConfigurationError: The text is neither.
    """
    if not isinstance(text, str):
        raise _wrong(text, "it is no text")
    plain = " ".join(text.split())
    if plain.startswith(("CRON_TZ=", "TZ=")):
        return _in_zone(plain)
    if plain.lower().startswith("every"):
        return Schedule(text=plain, every_s=_interval_s(plain))
    if plain.startswith("@"):
        if plain.lower() not in _NICKNAMES:
            raise _wrong(text, f"of these words there are {', '.join(_NICKNAMES)}")
        return Schedule(text=plain, cron=_NICKNAMES[plain.lower()])
    _check_cron(plain)
    return Schedule(text=plain, cron=plain)


def _in_zone(plain: str) -> Schedule:
    """Return a cron expression with its time zone, as crontabs have it: "CRON_TZ=America/Denver 0 2 * * *"."""
    head, _, rest = plain.partition(" ")
    zone = head.partition("=")[2]
    try:
        zone_named(zone)
    except ValueError as error:
        raise _wrong(plain, str(error)) from error
    if rest.lower().startswith("every"):
        raise _wrong(plain, "an interval has no time zone")
    return attrs.evolve(parse_schedule(rest), text=plain, zone=zone)


def with_zone(text: str, zone: str | None) -> str:
    """Return a schedule as text with a time zone, unless it has one or is an interval."""
    is_fixed = zone is None or text.strip().lower().startswith(("cron_tz=", "tz=", "every"))
    return text if is_fixed else f"CRON_TZ={zone} {text.strip()}"


@cache
def zone_named(name: str) -> tzinfo:
    """Return a time zone by its name in the IANA database.

    Raises:
        ValueError: There is none of that name.
    """
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; names are such as America/Denver") from error


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


def duration_s(text: str) -> float:
    """Return the seconds of a duration like "6h", "90 min" or "1d".

    Raises:
        ValueError: The text is none.
    """
    import re

    found = re.fullmatch(_DURATION, text.strip(), re.IGNORECASE | re.ASCII)
    unit_s = next((each for each, names in _UNITS_S.items() if found and found["unit"].lower() in names), None)
    seconds = float(found["number"]) * unit_s if found is not None and unit_s is not None else 0.0
    if not seconds > 0:
        raise ValueError('a duration is a number and s, min, h or d, like "6h"')
    if seconds > _LONGEST_S:
        raise ValueError("a duration lasts ten years at most")
    return seconds


def _check_cron(plain: str) -> None:
    from datetime import datetime

    count = len(plain.split())
    if count != _FIELDS:  # cronsim would accept a sixth field, for seconds
        fields = "minute, hour, day of the month, month, day of the week"
        raise _wrong(plain, f"instead of five fields ({fields}) it has {count}")
    from cronsim import CronSim, CronSimError

    try:
        CronSim(plain, datetime(2000, 1, 1))  # noqa: DTZ001 - only the expression is checked, the date does not matter
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
    """Return the local time zone of this machine.

    It uses the local time of the platform for each instant, and so respects ``TZ`` in all its forms,
    ``/etc/localtime`` and the settings of Windows, without a time zone database.
    """
    from datetime import UTC, datetime, timedelta, tzinfo

    class MachineZone(tzinfo):
        def utcoffset(self, when: datetime | None, /) -> timedelta | None:
            if when is None:
                return None
            naive = when.replace(tzinfo=None)
            utc = datetime.fromtimestamp(naive.timestamp(), UTC)  # respects ``fold``
            return naive.replace(fold=0) - utc.replace(tzinfo=None)

        def dst(self, when: datetime | None, /) -> timedelta | None:  # noqa: ARG002 - the signature of tzinfo
            return None

        def tzname(self, when: datetime | None, /) -> str | None:
            return None if when is None else when.replace(tzinfo=None).astimezone().tzname()

        def fromutc(self, when: datetime, /) -> datetime:
            # Only a naive datetime gets the ``fold`` of a time that occurs twice.
            local = datetime.fromtimestamp(when.replace(tzinfo=UTC).timestamp())  # noqa: DTZ006 - a naive one is needed
            return local.replace(tzinfo=self)

    return MachineZone()
