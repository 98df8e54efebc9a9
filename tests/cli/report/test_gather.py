"""What the page reads of the journal: all of it once, bounded, and never stopped by what it finds."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from year import DAY_S, HOUR_S, Happened, failure, many_runs, write_runs

from supervisor import supervise
from supervisor._alerts import OF_THE_JOURNAL
from supervisor._alerts.evaluation import KnownSchedule, View
from supervisor._cli.report import gather, render, run_list
from supervisor._cli.report.formatting import json_for_html
from supervisor._cli.report.script_summary import CODES
from supervisor._models import Outcome
from supervisor._store import Journal
from supervisor._store.records import LastCheck
from supervisor._store.sqlite.run_queries import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from supervisor._cli.report.gather import Gathered
    from supervisor._cli.report.script_summary import Script

NOW_S = float(int(time.time()))
ERROR = failure("KeyError", "'apn'", file="parcels.py", line=41, function="load", source='row["apn"]')


@pytest.fixture
def journals(tmp_path: Path) -> Iterator[list[Journal]]:
    """Return a list whose journals are closed in the end."""
    opened: list[Journal] = []
    yield opened
    for journal in opened:
        journal.close()


@pytest.fixture
def gathered(tmp_path: Path, journals: list[Journal]) -> Any:
    """Return what gathers the page of some runs."""

    def gathers(runs: list[Happened], **options: Any) -> Gathered:
        journals.append(write_runs(tmp_path / f"j{len(journals)}", runs))
        journals[-1]._gone = options.pop("gone", lambda _: False)
        return gather(journals[-1], **{"now_s": NOW_S, **options})

    return gathers


def nights(*outcomes: Outcome | None, name: str = "nightly", **fields: Any) -> list[Happened]:
    """Return runs a day apart, the last one an hour ago."""
    first_s = NOW_S - HOUR_S - (len(outcomes) - 1) * DAY_S
    return [
        Happened(
            name=name,
            at_s=first_s + place * DAY_S,
            outcome=outcome,
            error=ERROR if outcome is Outcome.FAILURE else None,
            **fields,
        )
        for place, outcome in enumerate(outcomes)
    ]


def only(gathered: Gathered) -> Script:
    """Return the one script that there is."""
    (script,) = gathered.scripts
    return script


GOOD, BAD, DIED, SKIPPED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.DIED, Outcome.SKIPPED


@pytest.mark.parametrize(
    ("outcomes", "streak", "is_failing"),
    [
        ((GOOD, GOOD, GOOD), 3, False),
        ((GOOD, BAD, BAD), 2, True),
        ((BAD, GOOD, SKIPPED, GOOD), 2, False),
        ((GOOD, BAD, Outcome.CANCELLED, DIED, None), 2, True),
        ((SKIPPED,), 0, None),
    ],
)
def test_streaks(gathered: Any, outcomes: tuple[Outcome | None, ...], streak: int, is_failing: bool | None) -> None:
    """A streak counts successes or failures from the newest back; what is neither goes by."""
    script = only(gathered(nights(*outcomes)))
    assert (script.streak, script.is_failing) == (streak, is_failing)


def test_failing_scripts_come_first(gathered: Any) -> None:
    """Scripts that fail at the moment stand before all others, and both in alphabetical order."""
    runs = nights(GOOD, name="b") + nights(BAD, name="z") + nights(GOOD, name="A") + nights(GOOD, BAD, name="y")
    assert [script.name for script in gathered(runs).scripts] == ["y", "z", "A", "b"]


def test_rows_say_all_that_is_known(gathered: Any) -> None:
    """The list has each run with its values, error and facts; what is equal for many stands there once."""
    found = gathered(nights(BAD, BAD, GOOD, values={"rows": 7, "note": "x"}))
    rows, listed = found.listed["runs"], found.listed
    assert [row[2] for row in rows] == [CODES["success"], CODES["failure"], CODES["failure"]]
    assert [listed["texts"][place] for place in rows[0][5][::2]] == ["rows", "note"]
    assert rows[0][5][1::2] == [7, "x"]
    assert rows[1][6] == rows[2][6] == 0
    assert listed["errors"][0]["traceback"] == ERROR.traceback
    assert len(listed["errors"]) == len(listed["facts"]) == 1
    assert listed["facts"][0]["command"] == "/srv/jobs/venv/bin/python /srv/jobs/nightly.py --all"


def test_a_run_that_stalls_or_is_overdue_says_so(gathered: Any) -> None:
    """A run under way that makes no progress, or takes too long, has a note with since when."""
    limits: dict[str, Any] = {"stall_after_s": 600.0, "max_duration_s": 1_800.0}
    (row,) = gathered(nights(None, **limits)).listed["runs"]
    assert row[2] == CODES["running"]
    assert "no progress since" in row[15]
    assert "overdue since" in row[15]
    assert row[16] == ["stalled", "overdue"]
    (row,) = gathered(nights(GOOD, **limits)).listed["runs"]
    assert len(row) < 16
    (row,) = gathered(nights(None)).listed["runs"]
    assert len(row) < 16


def test_alerts_are_those_of_a_check(gathered: Any) -> None:
    """Runs that are stalled, overdue or dead, and starts that were missed, are alerts of their scripts, shown first."""
    limits: dict[str, Any] = {"stall_after_s": 600.0, "max_duration_s": 1_800.0}
    runs = nights(GOOD, name="fine") + nights(GOOD, None, name="hangs", **limits)
    runs += [Happened(name="skipped a night", at_s=NOW_S - 3 * DAY_S, schedule="every 1 d")]
    found = gathered(runs)
    alerts = {script.name: [str(each.kind) for each in script.alerts] for script in found.scripts}
    assert alerts == {"hangs": ["stalled", "overdue"], "skipped a night": ["missed"], "fine": []}
    assert list(alerts) == ["hangs", "skipped a night", "fine"]
    assert [str(each.kind) for each in found.alerts] == ["stalled", "overdue", "missed"]
    assert [str(each.kind) for each in gathered(runs, gone=lambda _: True).alerts] == ["died", "missed"]
    assert [str(each.kind) for each in gathered(runs, names=["skipped a night"]).alerts] == ["missed"]


def test_the_page_says_what_is_wrong(gathered: Any) -> None:
    """The page never says that all is well while there are alerts: their number, what they are, and since when."""
    limits: dict[str, Any] = {"stall_after_s": 600.0, "max_duration_s": 1_800.0}
    runs = nights(GOOD, name="fine") + nights(GOOD, None, name="hangs", **limits)
    assert "all is well" not in (page := text_of(gathered(runs)))
    assert "2 alerts: 1 stalled, 1 overdue" in page
    assert "hangs stalled no progress since" in page
    assert "hangs overdue it should have ended by" in page
    late = [Happened(name="skipped a night", at_s=NOW_S - 3 * DAY_S, schedule="every 1 d")]
    assert "1 alert: 1 missed" in (page := text_of(gathered(late)))
    assert "skipped a night missed 2 starts, the last at" in page
    page = text_of(gathered(nights(GOOD, None, name="killed"), gone=lambda _: True))
    assert "1 alert: 1 died" in page
    assert "killed died its process is gone" in page
    assert "0 failing: all is well" in text_of(gathered(nights(GOOD)))


def test_a_script_that_never_started_is_on_the_page(gathered: Any) -> None:
    """A start that was missed is shown also where there is no run of that name, or of any."""
    past = datetime.fromtimestamp(NOW_S - DAY_S, UTC)
    never = View(
        now=datetime.fromtimestamp(NOW_S, UTC),
        newest={},
        unended=(),
        schedules={"never": KnownSchedule(schedule="every 6 h", since=past)},
        last_check=LastCheck(None, ()),
        margin=OF_THE_JOURNAL,
    )
    for runs in ([], nights(GOOD)):
        page = text_of(gathered(runs, view=never))
        assert "never missed 3 starts, the last at" in page
        assert "1 alert: 1 missed" in page
        assert "all is well" not in page


def text_of(gathered: Gathered) -> str:
    """Return the words of the page, in one line, without what only its own script shows."""
    body = render(gathered).decode().partition("<main")[2].partition("</main>")[0]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_a_run_whose_process_is_gone_is_shown_as_died(gathered: Any) -> None:
    """A run that never ended and whose process is gone counts as died, and its page says why; nothing is written."""
    found = gathered(nights(GOOD, None), gone=lambda _: True)
    assert found.listed["runs"][0][2] == CODES["died"]
    assert "process is gone" in found.listed["runs"][0][15]
    found = gathered(nights(GOOD, None))
    assert only(found).is_running
    assert found.listed["runs"][0][4] == pytest.approx(HOUR_S)


def test_days_and_names_choose(gathered: Any) -> None:
    """Only runs of the last days and of the names asked for are there; more runs than one query reads are all there."""
    runs = nights(*[GOOD] * 50) + nights(*[GOOD] * 3, name="other")
    assert gathered(runs, days=10).runs == 10 + 3
    assert gathered(runs, names=["other"]).runs == 3
    assert gathered(runs, names=["nobody"]).runs == 0
    many = [Happened(name="often", at_s=NOW_S - place) for place in range(2 * AT_ONCE + 1)]
    assert gathered(many).runs == 2 * AT_ONCE + 1


def test_the_list_is_bounded_and_says_so(gathered: Any) -> None:
    """The list has the newest so many; calendars count all, and the page says what is left out."""
    found = gathered(nights(*[GOOD] * 9), listed=4)
    assert len(found.listed["runs"]) == 4
    assert only(found).runs == 9
    assert "The list has the newest runs; 5 older ones" in render(found).decode()


def test_tracebacks_are_bounded_and_the_newest_kept(gathered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a budget errors keep only their head; the newest are whole, and the page tells what shows the rest."""
    monkeypatch.setattr(run_list, "ERROR_CHARACTERS", 3_000)
    runs = [
        Happened(
            name="n",
            at_s=NOW_S - 100 + place,
            outcome=BAD,
            error=attrs.evolve(ERROR, message=f"row {place}", traceback="x" * 1_000),
        )
        for place in range(5)
    ]
    found = gathered(runs)
    assert ["traceback" in error for error in found.listed["errors"]] == [True, True, False, False, False]
    assert [error["message"] for error in found.listed["errors"]] == [f"row {place}" for place in (4, 3, 2, 1, 0)]
    page = render(found).decode()
    assert "The tracebacks of 3 older failed runs were left out." in page
    assert "<code>supervisor show RUN</code>" in page


def test_values_are_bounded(gathered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values beyond a budget are left out of the list, not out of the charts, and that is told."""
    monkeypatch.setattr(run_list, "FACT_CHARACTERS", 700)
    found = gathered(nights(*[GOOD] * 10, values={"text": "y" * 150, "rows": 3}))
    has_values = [row[5] is not None for row in found.listed["runs"]]
    assert has_values == sorted(has_values, reverse=True)
    assert 0 < sum(has_values) < 5
    assert f"The recorded values of {10 - sum(has_values)} older runs" in render(found).decode()
    assert len(only(found).values["rows"].numbers) == 10


def test_ten_thousand_failures_give_a_page_of_a_few_megabytes(tmp_path: Path, journals: list[Journal]) -> None:
    """Thousands of failures, each with a traceback of 16,000 characters, still give a page that a browser opens."""
    journals.append(many_runs(tmp_path, 2_000, failing=1.0))
    page = render(gather(journals[0]))
    assert len(page) < 8_000_000


def test_logs_are_read_from_their_end_and_redacted(gathered: Any, tmp_path: Path) -> None:
    """A run has the last 50 lines of its log, without secrets; of a log that several share, only the newest has."""
    own, shared = tmp_path / "own.log", tmp_path / "shared.log"
    own.write_text("".join(f"line {number} password=hunter2-{number}\n" for number in range(9_000)), "utf-8")
    shared.write_text("the end\n", "utf-8")
    found = gathered(nights(BAD, log_path=str(own)) + nights(GOOD, GOOD, name="b", log_path=str(shared)))
    by_name = {
        found.names[row[1]]: found.listed["logs"][place]
        for place, row in reversed(list(enumerate(found.listed["runs"])))
    }
    text, note = by_name["nightly"]
    assert len(text.splitlines()) == 50
    assert text.startswith("line 8950 password=[redacted: password]")
    assert "hunter2" not in text + note
    assert by_name["b"] == ["the end", ""]
    assert any(note.startswith("A later run has the same log file") for _, note in found.listed["logs"].values())


def test_what_is_no_log_is_told(gathered: Any, tmp_path: Path) -> None:
    """Missing, empty, binary and old files, folders and FIFOs neither stop the page nor let it wait."""
    made = {name: tmp_path / name for name in ("missing", "empty", "binary", "old", "folder", "fifo", "nul\0")}
    made["empty"].write_text("\n", "utf-8")
    made["binary"].write_bytes(b"\0\1\2")
    made["old"].write_text("of last year", "utf-8")
    os.utime(made["old"], (1, 1))
    made["folder"].mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(made["fifo"])
    found = gathered([run for name, path in made.items() for run in nights(GOOD, name=name, log_path=str(path))])
    notes = {found.names[row[1]]: found.listed["logs"][place] for place, row in enumerate(found.listed["runs"])}
    assert {text for text, _ in notes.values()} == {""}
    for name, expected in (
        ("missing", "no longer there"),
        ("empty", "is empty"),
        ("binary", "no text"),
        ("old", "older than this run"),
    ):
        assert expected in notes[name][1], name
    assert all(note for _, note in notes.values())


def test_logs_are_bounded_and_those_of_failures_go_first(
    gathered: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only so many files are read, those of failed runs first, and the rest is told."""
    monkeypatch.setattr(run_list, "LOG_FILES", 2)
    runs = []
    for place in range(6):
        path = tmp_path / f"{place}.log"
        path.write_text(f"log {place}", "utf-8")
        outcome = BAD if place in (1, 3) else GOOD
        runs.append(Happened(name="n", at_s=NOW_S - 60 + place, outcome=outcome, log_path=str(path)))
    found = gathered(runs)
    assert sorted(text for text, _ in found.listed["logs"].values() if text) == ["log 1", "log 3"]
    assert found.left_out.logs == 4


def test_broken_rows_stop_nothing(gathered: Any, journals: list[Journal]) -> None:
    """Rows that another version or a fault wrote are shown as far as they can be read."""
    gathered(nights(BAD, GOOD, BAD, values={"rows": 1}))
    with journals[0].one_commit() as connection:
        connection.execute(
            "UPDATE run SET \"values\" = x'00ff', error = x'7b', progress = x'5b5d', argv = x'ff', outcome = 'exploded'"
        )
        connection.execute("UPDATE run SET started_at = 9e999, duration_s = -9e999, ended_at = 9e999 WHERE key = 1")
    found = gather(journals[0], now_s=NOW_S)
    assert found.runs == 3
    assert found.listed["errors"] == [{"type": "an error that this version cannot read"}]
    json_for_html(found.listed)
    assert render(found)


def test_many_names_are_read_and_not_all_drawn(gathered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts beyond a bound have no calendar; the table of scripts has them all."""
    monkeypatch.setattr(sys.modules[gather.__module__], "CARDS", 3)
    monkeypatch.setattr(sys.modules[render.__module__], "CARDS", 3)
    page = render(gathered([run for number in range(5) for run in nights(GOOD, name=f"script {number}")])).decode()
    assert page.count("<article") == 3
    assert page.count('scope="row"><a href="#script-') == 3
    assert "2 have none" in page


def test_the_journal_is_read_without_a_change(tmp_path: Path, journals: list[Journal]) -> None:
    """Reading the page changes nothing in the journal."""
    journals.append(write_runs(tmp_path, nights(GOOD, BAD, None)))
    journals[0]._gone = lambda _: True
    before = [tuple(run) for run in journals[0].runs_since(0)]
    gather(journals[0])
    assert [tuple(run) for run in journals[0].runs_since(0)] == before
    assert [run[0] for run in before] == [3, 2, 1]


def test_no_journal_is_an_empty_page() -> None:
    """Without a journal there is still a page, which says so."""
    found = gather(None, now_s=NOW_S)
    page = render(found).decode()
    assert "There are no runs to show." in page
    assert "SUPERVISOR_STATE" in page
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert data["runs"] == []


def test_warnings_and_steps_stand_in_the_list(state: Path) -> None:
    """A run with warnings counts as a success; its steps stand in its row, what is usual for them with its script."""
    for number in range(6):
        with supervise("dolly") as run, run.step("load", on_error="continue") as step:
            step.record(rows=number)
            if number == 5:
                raise TimeoutError("while polling")
    found = gather(Journal(state))
    (script,) = found.scripts
    assert (script.streak, script.is_failing, script.good_share) == (6, False, 1.0)
    assert list(script.usual_steps) == ["load"]
    newest = found.listed["runs"][0]
    warnings, steps = newest[17:]
    assert warnings[0].startswith("load: TimeoutError while polling at test_gather.py:")
    ((name, outcome, _, text, depth),) = steps
    assert (found.listed["texts"][name], outcome, depth) == ("load", "failure", 0)
    assert text == "rows=5, TimeoutError while polling"
