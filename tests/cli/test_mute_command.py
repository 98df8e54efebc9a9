"""``supervisor mute`` and ``unmute``, and where other commands show it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from journalled import Past, document, invoke

from supervisor import supervise
from supervisor.message_handlers import ConsoleHandler

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the configuration of the working directory have a time zone, and a script that never ran."""
    path = tmp_path / "supervisor.toml"
    path.write_text('[defaults]\ntimezone = "Asia/Tokyo"\n[runs.monthly]\nschedule = "0 2 1 * *"\n')
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(path))


def fail() -> None:
    """Let a run fail, with a handler."""
    with supervise("nightly parcels", handlers=ConsoleHandler(), reraise=False):
        raise KeyError("apn")


def test_nobody_hears_of_a_muted_script_and_status_shows_it(past: Past, capfd: pytest.CaptureFixture[str]) -> None:
    """Until when, and how many messages are held; JSON and the page have it too. Unmuted, it is told by the check."""
    past.run()
    said = invoke("mute", "nightly parcels", "--for", "2h").stdout
    assert said.startswith("nightly parcels is muted until ")
    fail()
    assert capfd.readouterr().out == ""
    shown = invoke("status").stdout
    assert "nightly parcels is muted until " in shown
    assert ", 1 message held" in shown
    whole = document("status")
    (mute,) = whole["muted"]
    assert (mute["name"], mute["until_ok"], mute["held"]) == ("nightly parcels", False, 1)
    assert [(each["why"], each["kind"]) for each in whole["held"]] == [("mute", "failure")]
    assert document("mute")["muted"] == [mute]
    assert "nightly parcels is muted until" in invoke("outbox").stdout
    assert ", 1 message held" in invoke("outbox").stdout
    assert "nightly parcels is muted" in invoke("report", "-o", "-").stdout
    assert "1 message held: `supervisor check` tells" in invoke("unmute", "nightly parcels").stdout
    assert invoke("mute").stdout == "Nobody is muted.\n"
    assert "goes with the next check or run" in invoke("status").stdout


def test_what_is_over_is_not_held_any_more(past: Past, capfd: pytest.CaptureFixture[str]) -> None:
    """A failure that the next run has mended is dropped when its time has come: nobody waits for it."""
    past.run()
    invoke("mute", "nightly parcels", "--for", "2h")
    fail()
    with supervise("nightly parcels"):
        pass
    capfd.readouterr()
    for command in ("status", "outbox", "mute"):
        said = invoke(command).stdout
        assert "nightly parcels is muted until" in said
        assert "held" not in said, command
    assert "held" not in invoke("unmute", "nightly parcels").stdout


@pytest.mark.usefixtures("configured")
def test_a_time_of_the_day_is_that_of_the_configuration(past: Past) -> None:
    """It is the next one; a date has its own time zone, or that of the configuration too."""
    past.run()
    (mute,) = document("mute", "nightly parcels", "--until", "06:00")["muted"]
    until = datetime.fromisoformat(mute["until"]).astimezone(ZoneInfo("Asia/Tokyo"))
    assert (until.hour, until.minute) == (6, 0)
    assert timedelta() < until - datetime.now(UTC) <= timedelta(days=1)
    (mute,) = document("mute", "nightly parcels", "--until", "2999-12-24T06:00")["muted"]
    assert mute["until"] == "2999-12-23T21:00:00+00:00"
    (mute,) = document("mute", "monthly", "--until", "ok")["muted"]
    assert (mute["until"], mute["until_ok"]) == (None, True)
    assert "monthly is muted until it succeeds" in invoke("mute").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nightly parcels",), "say how long"),
        (("nightly parcels", "--for", "2h", "--until", "ok"), "say how long"),
        (("--for", "2h"), "name the runs to mute"),
        (("nightly parcels", "--for", "a while"), "a duration is a number and s, min, h or d"),
        (("nightly parcels", "--until", "later"), "takes ok, a time like 06:00"),
        (("nightly parcels", "--until", "2001-01-01"), "2001-01-01 is over"),
    ],
)
def test_what_is_wrong_is_said(past: Past, arguments: tuple[str, ...], said: str) -> None:
    """It is wrong usage, and nobody is muted."""
    past.run()
    done = invoke("mute", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert past.journal.mutes() == {}


def test_a_name_that_nobody_knows_is_probably_misspelt(past: Past) -> None:
    """No name is muted then; to unmute what is not muted is an error, all the same the others are unmuted."""
    past.run()
    done = invoke("mute", "nightly parcels", "nightly parcel", "--for", "2h")
    assert done.exit_code == 1
    assert "did you mean 'nightly parcels'?" in done.stderr
    assert past.journal.mutes() == {}
    invoke("mute", "nightly parcels", "--for", "2h")
    done = invoke("unmute", "nightly parcels", "nightly parcel")
    assert (done.exit_code, past.journal.mutes()) == (1, {})
    assert "not muted: nightly parcel" in done.stderr


def test_all_are_unmuted_at_once(past: Past) -> None:
    """With or without names is wrong usage otherwise."""
    for name in ("a", "b"):
        past.run(name)
    invoke("mute", "a", "b", "--until", "ok")
    assert invoke("unmute").exit_code == 2
    assert invoke("unmute", "a", "--all").exit_code == 2
    assert invoke("unmute", "--all").exit_code == 0
    assert json.loads(invoke("mute", "--json").stdout) == {"muted": []}


def test_a_mute_that_is_too_long_is_named_with_what_to_write(past: Past) -> None:
    """The value, the limit, and how to mute for no set time."""
    past.run()
    done = invoke("mute", "nightly parcels", "--for", "9999d")
    assert done.exit_code == 2
    said = " ".join(done.stderr.split())
    assert "'9999d'" in said
    assert "ten years at most" in said
    assert "--until ok" in said
    assert "'soon'" in invoke("mute", "nightly parcels", "--for", "soon").stderr
