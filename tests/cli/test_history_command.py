"""``supervisor history``: what ran lately, for people and for programs."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hooks import configured
from journalled import GONE, HOSTILE, KEY_ERROR, Past, document, invoke, is_harmless

from supervisor._text import shown_zone
from supervisor.models import Progress

if TYPE_CHECKING:
    from pathlib import Path

HOUR_S, DAY_S = 3600, 86_400
PATIENCE_S = 20.0


def test_a_line_tells_outcome_start_duration_and_what_is_recorded(past: Past) -> None:
    """Each run is one line: id, name, outcome, start, duration, and what it recorded or its error in short."""
    good = past.run(ago_s=2 * HOUR_S, took_s=363, values={"parcels": 12041, "empty": 3})
    bad = past.run(ago_s=HOUR_S, took_s=58, outcome="failure", error=KEY_ERROR, values={"parcels": 5})
    head, newest, oldest = invoke("history").stdout.splitlines()
    assert head.split() == ["RUN", "NAME", "OUTCOME", "STARTED", "TOOK", "USUALLY", "DETAILS"]
    started = datetime.fromtimestamp(past.now_s - HOUR_S).astimezone()
    assert newest.split() == [
        *(bad[:12], "nightly", "parcels", "failure", f"{started:%Y-%m-%d}", f"{started:%H:%M}", "58", "s"),
        *["KeyError", "'apn'", "at", "parcels.py:41", "in", "load"],
    ]
    assert oldest.startswith(good[:12])
    assert "success" in oldest
    assert oldest.endswith("parcels=12,041  empty=3")
    assert "  6 min 3 s  " in oldest


def test_runs_that_start_together_are_told_apart(past: Past) -> None:
    """Jobs of cron start in the same second, and what stands in the first column is enough for `supervisor show`."""
    runs = {past.run(id=f"{0x19CA8F3B2D4 + index:011x}c0e5a71f36") for index in range(40)}
    shown = [each.split()[0] for each in invoke("history", "-n", "40").stdout.splitlines()[1:]]
    assert len(set(shown)) == len(runs)
    assert all(document("show", each)["id"] in runs for each in shown)


def test_the_usual_duration_stands_beside_and_what_stands_out_is_marked(past: Past) -> None:
    """Beside each duration is what is usual for the last 20 successes; a success far from it bears a mark."""
    for index in range(20):
        past.run(ago_s=(30 - index) * DAY_S, took_s=300 + 6 * index)
    past.run(ago_s=DAY_S, took_s=2460)
    newest, before = invoke("history").stdout.splitlines()[1:3]
    assert "41 min !" in newest
    assert "5-7 min" in newest
    assert "!" not in before
    shown = document("history")
    assert shown[0]["stands_out"] is True
    assert shown[0]["usual_duration"]["count"] == 20
    assert 300 <= shown[0]["usual_duration"]["low_s"] < shown[0]["usual_duration"]["high_s"] <= 420


def test_too_few_runs_have_no_usual_duration(past: Past) -> None:
    """Four successes say nothing of what is usual."""
    for index in range(5):
        past.run(ago_s=(9 - index) * DAY_S)
    assert document("history")[0]["usual_duration"] is None  # without itself they are four


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], ["c", "b", "a", "b"]),
        (["b"], ["b", "b"]),
        (["--limit", "2"], ["c", "b"]),
        (["--failed"], ["b", "a"]),
        (["b", "--failed", "-n", "1"], ["b"]),
        (["--since", "2h"], ["c"]),
        (["--since", "90 min"], ["c"]),
        (["--since", "2d"], ["c", "b", "a"]),
        (["--since", "1 w"], ["c", "b", "a", "b"]),
    ],
)
def test_runs_are_chosen_by_name_number_outcome_and_time(past: Past, options: list[str], names: list[str]) -> None:
    """NAME, --limit, --failed and --since each narrow what is shown, the newest first."""
    past.run("b", ago_s=3 * DAY_S)
    past.run("a", ago_s=DAY_S, outcome="died")
    past.run("b", ago_s=DAY_S / 2, outcome="terminated")
    past.run("c", ago_s=HOUR_S, outcome="interrupted")
    assert [each["name"] for each in document("history", *options)] == names


def test_since_takes_a_date_in_the_machines_zone(past: Past) -> None:
    """A date means its beginning here."""
    past.run("old", ago_s=3 * DAY_S)
    past.run("new", ago_s=60)
    since = datetime.fromtimestamp(past.now_s - DAY_S)
    assert [each["name"] for each in document("history", "--since", f"{since:%Y-%m-%d %H:%M}")] == ["new"]


@pytest.mark.parametrize("variable", [False, True])
def test_times_are_those_of_the_configured_zone(
    past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: bool
) -> None:
    """Commands and the page show times, and read dates, in the `timezone` of the configuration, or of the variable."""
    zone = ZoneInfo("Asia/Tokyo")
    configured(monkeypatch, tmp_path, text=f'[defaults]\ntimezone = "{"Pacific/Apia" if variable else zone.key}"\n')
    if variable:
        monkeypatch.setenv("SUPERVISOR_TIMEZONE", zone.key)
    run_id = past.run("old", ago_s=3 * DAY_S)
    past.run("new", ago_s=60, outcome=None)
    started = datetime.fromtimestamp(past.now_s - 3 * DAY_S, zone)
    assert f"{started:%Y-%m-%d %H:%M}" in invoke("history").stdout
    assert f"Started     {started:%Y-%m-%d %H:%M:%S}" in invoke("show", run_id).stdout
    assert f"{datetime.fromtimestamp(past.now_s - 60, zone):%H:%M:%S}" in invoke("status").stdout
    since = datetime.fromtimestamp(past.now_s - DAY_S, zone)
    assert [each["name"] for each in document("history", "--since", f"{since:%Y-%m-%d %H:%M}")] == ["new"]
    assert invoke("report", "-o", str(tmp_path / "page.html")).exit_code == 0
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "JST, UTC+9" in page
    monkeypatch.delenv("SUPERVISOR_TIMEZONE", raising=False)
    assert shown_zone() is None, "it does not outlast the command"


@pytest.mark.parametrize("wrong", ["yesterday", "7", "d", "1e400d", "99999999999d", "2026-13-01", ""])
def test_what_is_no_time_is_refused(past: Past, wrong: str) -> None:
    """A --since that means nothing is wrong usage, reported with what would be right."""
    result = invoke("history", "--since", wrong)
    assert result.exit_code == 2
    assert "30min, 12h, 7d" in result.stderr


def test_an_unknown_name_is_told_with_the_close_ones_first(past: Past) -> None:
    """A name that no run has ends with 1 and names those there are, what was probably meant at the top."""
    for name in ("alpha", "nightly parcels", "zeta"):
        past.run(name)
    result = invoke("history", "nightly_parcel")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "error: no run is named 'nightly_parcel'. There are:",
        "  nightly parcels",
        "  alpha",
        "  zeta",
    ]


def test_nothing_found_is_no_error(past: Past) -> None:
    """A known name without a failure is reported as such, and is fine."""
    past.run("backup")
    result = invoke("history", "backup", "--failed")
    assert (result.exit_code, result.stdout) == (0, "No run failed of backup.\n")
    assert document("history", "backup", "--failed") == []


def test_runs_under_way_and_lost_ones_are_told_apart(past: Past) -> None:
    """A run without an end is under way, unless its process is gone."""
    past.run("lives", ago_s=60, outcome=None, progress=Progress(done=3, total=10, message="copying"))
    past.run("lost", ago_s=7200, took_s=600, outcome=None, progress=Progress(done=1), by=GONE)
    lost, lives = invoke("history").stdout.splitlines()[1:]
    assert "died?" in lost
    assert "10 min" in lost  # to its last sign of life
    assert "under way" in lives
    assert "3 of 10, copying" in lives
    shown = {each["name"]: each for each in document("history")}
    assert (shown["lives"]["outcome"], shown["lives"]["is_gone"]) == (None, False)
    assert shown["lives"]["progress"]["percentage"] == 30
    assert shown["lost"]["is_gone"] is True


def test_programs_get_utc_times_seconds_and_values_as_json_knows_them(past: Past) -> None:
    """One document: instants in UTC, durations as ..._s, and what JSON lacks as text."""
    values = {"n": 1, "bad": float("nan"), "when": datetime(2026, 3, 1), "deep": {"a": [1, (2, {3})]}, "big": 1 << 70}
    past.run(took_s=1.5, values=values, outcome="failure", error=KEY_ERROR)
    (shown,) = document("history")
    assert shown["started_at"].endswith("+00:00")
    assert shown["duration_s"] == 1.5
    assert shown["values"] == {
        "n": 1,
        "bad": "nan",
        "when": "2026-03-01T00:00:00",
        "deep": {"a": [1, [2, [3]]]},
        "big": 1 << 70,
    }
    assert shown["error"] == {
        "type": "KeyError",
        "message": "'apn'",
        "where": "parcels.py:41 in load",
        "thread": "",
        "fingerprint": "f1",
    }


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_nothing_in_a_name_or_value_reaches_the_terminal_as_a_command(past: Past, kind: str) -> None:
    """Control characters, markup, half characters and very long texts are shown as texts, each run on its line."""
    text = HOSTILE[kind]
    past.run(text, values={text: text}, argv=[text])
    past.run(text, outcome="failure", error=KEY_ERROR.__class__(type="E", message=text, where=text))
    result = invoke("history")
    assert is_harmless(result.output)
    assert len(result.stdout.splitlines()) == 3
    if kind == "markup":
        assert "[bold]loud[/bold]" in result.stdout
    document("history")


def test_without_a_journal_it_says_so(state: Path) -> None:
    """Before the first run there is nothing to show, which is fine; nothing is begun."""
    result = invoke("history")
    assert result.exit_code == 0
    assert result.stdout.startswith("No run was journalled yet")
    assert document("history") == []
    assert list(state.iterdir()) == []


def test_many_runs_are_no_burden(past: Past) -> None:
    """Of 10,000 runs the newest are shown as fast as of a few; --failed and --since look through all of them."""
    with past.journal.one_commit():
        for index in range(10_000):
            past.run(f"name {index % 40}", ago_s=10_000 - index, outcome="failure" if index % 500 == 0 else "success")
    began_s = time.monotonic()
    assert len(document("history")) == 20
    assert len(document("history", "name 7", "--limit", "100")) == 100
    assert len(document("history", "--failed", "--since", "1d")) == 20
    assert time.monotonic() - began_s < PATIENCE_S
