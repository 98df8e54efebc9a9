"""Schedules and messages in a time zone of their own: containers are UTC, their scheduler is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from journal_kit import output_of, python

from supervisor import supervise
from supervisor._runtime import default_runtime
from supervisor._schedules import parse_schedule, with_zone
from supervisor._text import in_zone, local_time
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from recorders import Recorder

DENVER = "America/Denver"
WINTER, SUMMER = datetime(2026, 1, 15, 12, tzinfo=UTC), datetime(2026, 7, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize("prefix", ["CRON_TZ", "TZ"])
def test_a_cron_expression_in_another_zone(prefix: str) -> None:
    """Two at night in Denver is nine in UTC, in summer eight."""
    schedule = parse_schedule(f"{prefix}={DENVER}  0 2 * * *")
    assert schedule.zone == DENVER
    assert schedule.text == f"{prefix}={DENVER} 0 2 * * *"
    assert schedule.next_after(WINTER) == datetime(2026, 1, 16, 9, tzinfo=UTC)
    assert schedule.next_after(SUMMER) == datetime(2026, 7, 16, 8, tzinfo=UTC)


def test_when_the_clocks_change_there() -> None:
    """A start in the skipped hour is due right after it; in the hour that comes twice, once."""
    schedule = parse_schedule(f"CRON_TZ={DENVER} 30 2 * * *")
    assert schedule.next_after(datetime(2026, 3, 8, 7, tzinfo=UTC)) == datetime(2026, 3, 8, 9, tzinfo=UTC)
    hourly = parse_schedule(f"CRON_TZ={DENVER} 30 1 * * *").due(
        datetime(2026, 11, 1, 0, tzinfo=UTC), datetime(2026, 11, 2, 0, tzinfo=UTC)
    )
    assert len(hourly) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("CRON_TZ=America/Nowhere 0 2 * * *", "no time zone 'America/Nowhere'"),
        ("CRON_TZ=../../etc/passwd 0 2 * * *", "no time zone"),
        ("CRON_TZ= 0 2 * * *", "no time zone ''"),
        (f"CRON_TZ={DENVER} every 5 min", "an interval has no time zone"),
        (f"CRON_TZ={DENVER} 0 2", "instead of five fields"),
    ],
)
def test_a_wrong_zone_is_refused(text: str, reason: str) -> None:
    """Where the script is set up, with the reason."""
    with pytest.raises(ConfigurationError, match=reason):
        parse_schedule(text)


def test_a_zone_of_the_setting_is_that_of_the_schedule() -> None:
    """Unless the schedule has one, or is an interval."""
    assert with_zone("0 2 * * *", DENVER) == f"CRON_TZ={DENVER} 0 2 * * *"
    assert with_zone("0 2 * * *", None) == "0 2 * * *"
    assert with_zone("every 5 min", DENVER) == "every 5 min"
    assert with_zone("CRON_TZ=UTC 0 2 * * *", DENVER) == "CRON_TZ=UTC 0 2 * * *"


@pytest.mark.parametrize("wrong", ["Nowhere", "", 7])
def test_a_setting_that_is_no_zone_is_refused(wrong: object) -> None:
    """Before the run starts."""
    with pytest.raises(ConfigurationError, match="timezone got"):
        supervise("nightly", timezone=wrong)  # type: ignore[arg-type]  # that is the point


def test_a_run_has_its_zone_in_its_schedule_and_its_messages(recorder: Recorder) -> None:
    """The check of another machine knows it from the journal, and so does who delivers the message later."""
    with supervise("nightly", handlers=recorder, report_on="success", schedule="0 2 * * *", timezone=DENVER):
        pass
    journal = default_runtime().journal()
    assert journal is not None
    run = journal.last_run("nightly")
    assert run is not None
    assert run.schedule == f"CRON_TZ={DENVER} 0 2 * * *"
    report = recorder.only.report
    assert report is not None
    with in_zone(DENVER):
        started = local_time(report.started_at)
    assert started in recorder.only.message
    assert started[-5:] in ("-0600", "-0700")


def test_the_environment_says_the_zone_of_all_that_people_see(tmp_path: Path) -> None:
    """A variable serves where no setting does: commands show times in it too."""
    code = (
        "import os; os.environ.update(SUPERVISOR_TIMEZONE='Asia/Tokyo', TZ='UTC')\n"
        "import datetime as d; from supervisor._text import local_time\n"
        "print(local_time(d.datetime(2026, 1, 1, tzinfo=d.UTC)))\n"
        "from supervisor._cli.report.formatting import minute, zone_name; print(minute(0), zone_name(0))\n"
        "os.environ['SUPERVISOR_TIMEZONE'] = 'Nowhere'\n"
        "print(local_time(d.datetime(2026, 1, 1, tzinfo=d.UTC)))\n"
    )
    first, page, unknown = output_of(python(code, tmp_path)).splitlines()
    assert first == "2026-01-01 09:00:00 +0900"
    assert page == "1970-01-01 09:00 JST, UTC+9"
    assert unknown == "2026-01-01 00:00:00 +0000"
