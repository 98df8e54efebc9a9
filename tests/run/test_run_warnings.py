"""Runs that succeed with warnings: ``run.warn()``, ``warn_on``, ``warn_exit_codes``, and what the messages say."""

from __future__ import annotations

import functools
import json
import logging
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from scripts import run as run_script

from supervisor import ConfigurationError, supervise, supervised
from supervisor._store import Journal
from supervisor.message_handlers import HealthchecksHandler, PagerDutyHandler
from supervisor.message_handlers._pagerduty import events
from supervisor.models import MessageDetails, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from recorders import Recorder

    from supervisor import Run

warned = functools.partial(supervise, journal=False)


def test_the_message_counts_and_names_them(recorder: Recorder) -> None:
    """Sent by default: the subject has their number, the text each with its values; the exit code stays None."""
    with warned("dolly", handlers=[recorder]) as run:
        run.warn("airstrips: timeout while polling", attempts=3, layer="airstrips")
        run.warn(TimeoutError("after 5 s"))
    assert (run.outcome, run.exit_code) == (Outcome.WARNING, None)
    assert recorder.received == ["warning"]
    assert recorder.subjects[0].startswith("dolly succeeded with 2 warnings on ")
    text = recorder.only.message
    assert "airstrips: timeout while polling (attempts=3, layer=airstrips)" in text
    assert "TimeoutError: after 5 s" in text
    report = recorder.only.report
    assert report is not None
    assert [str(each) for each in report.warnings][1] == "TimeoutError: after 5 s"
    assert (report.warning_count, dict(report.warnings[0].values)) == (2, {"attempts": 3, "layer": "airstrips"})


def test_the_subject_names_a_single_one(recorder: Recorder) -> None:
    """A telephone shows a subject only: what the one warning is stands in it."""
    with warned("dolly", handlers=[recorder]) as run:
        run.warn("airstrips:\ntimeout", attempts=3)
    assert " succeeded with 1 warning on " in recorder.subjects[0]
    assert recorder.subjects[0].endswith(": airstrips: timeout")


def test_of_many_the_first_ten_are_kept(recorder: Recorder) -> None:
    """A loop that warns each time fills neither memory nor message; all threads are counted."""

    def warn(run: Run) -> None:
        for _ in range(1_000):
            run.warn("x" * 5_000)

    with warned("dolly", handlers=[recorder]) as run:
        threads = [threading.Thread(target=warn, args=(run,)) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    report = run.report()
    assert (len(report.warnings), report.warning_count) == (10, 4_000)
    assert all(len(each.text) < 1_100 for each in report.warnings)
    assert "with 4,000 warnings on" in recorder.subjects[0]
    assert "3,990 more" in recorder.only.message


def test_what_cannot_be_shown_never_raises(recorder: Recorder) -> None:
    """Objects that break when they are shown, secrets, and names of parameters as names of values."""

    class Broken:
        def __str__(self) -> str:
            raise ValueError("no")

        __repr__ = __str__

    with warned("dolly", handlers=[recorder]) as run:
        run.warn(Broken(), text=Broken(), self=1, password="hunter2")
        run.warn("")
        run.warn(None)
    assert recorder.received == ["warning"]
    assert "hunter2" not in recorder.only.message
    assert run.report().warning_count == 3


def test_a_failure_has_them_too(recorder: Recorder) -> None:
    """What was warned of before often says why."""
    with pytest.raises(KeyError), warned("dolly", handlers=[recorder]) as run:
        run.warn("airstrips: timeout")
        raise KeyError("apn")
    assert recorder.received == ["failure"]
    assert "airstrips: timeout" in recorder.only.message
    assert "warning" not in recorder.subjects[0]


def test_one_that_comes_too_late_is_logged(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """After the end of the run the message is written."""
    with warned("dolly", handlers=[recorder], report_on="success") as run:
        pass
    run.warn("too late")
    assert recorder.received == ["success"]
    assert "was warned afterwards: too late" in caplog.text


def test_a_success_is_still_silent(recorder: Recorder) -> None:
    """Without a warning, and without report_on, nothing is sent."""
    with warned("dolly", handlers=[recorder]):
        pass
    assert recorder.received == []


def test_a_run_with_nothing_to_do_is_told_with_its_warnings(recorder: Recorder) -> None:
    """Nobody hears of a skipped run by default; of its warnings they do."""
    with warned("dolly", handlers=[recorder]) as run:
        run.warn("airstrips: timeout")
        run.skip("no updated tables")
    assert recorder.received == ["warning"]
    assert "It was skipped: nothing to do: no updated tables." in " ".join(recorder.only.message.split())


@pytest.mark.parametrize(
    ("kinds", "got"),
    [
        (None, "warning"),
        (["warning"], "warning"),
        (["success"], "success"),
        (["success", "warning"], "warning"),
        (["failure"], None),
    ],
)
def test_a_handler_gets_what_it_asks_for(kinds: list[str] | None, got: str | None, recorder: Recorder) -> None:
    """One that asks for successes alone gets it as one: the run did succeed."""
    if kinds is not None:
        recorder.kinds = frozenset(kinds)
    with warned("dolly", handlers=[recorder]) as run:
        run.warn("airstrips: timeout")
    assert recorder.received == ([got] if got else [])
    assert all(" succeeded with 1 warning on " in each for each in recorder.subjects)


@pytest.mark.usefixtures("state")
def test_a_recovery_by_a_run_with_nothing_to_do_says_so(recorder: Recorder) -> None:
    """Who reads that it recovered learns that it did nothing."""
    with pytest.raises(ValueError, match="boom"), supervise("dolly", handlers=[recorder]):
        raise ValueError("boom")
    with supervise("dolly", handlers=[recorder]) as run:
        run.warn("airstrips: timeout")
        run.skip("no updated tables")
    assert recorder.received == ["failure", "recovery"]
    text = " ".join(recorder.messages[1].message.split())
    assert "It was skipped: nothing to do: no updated tables." in text


def test_after_failures_it_is_a_recovery(recorder: Recorder, state: Path) -> None:
    """It ends the series of failures, and the journal keeps its warnings."""
    for fails in (True, False, False):
        try:
            with supervise("dolly", handlers=[recorder]) as run:
                run.warn("airstrips: timeout")
                if fails:
                    raise KeyError("apn")
        except KeyError:
            pass
    assert recorder.received == ["failure", "recovery", "warning"]
    assert recorder.subjects[1].startswith("dolly recovered with 1 warning on ")
    assert "airstrips: timeout" in recorder.messages[1].message
    newest, *_ = Journal(state).runs()
    assert (newest.outcome, newest.warning_count) == ("warning", 1)
    assert newest.report.warnings[0].text == "airstrips: timeout"
    assert Journal(state).failures_since_success("dolly").failures == 0
    assert len(Journal(state).successes("dolly")) == 2


def test_errors_in_the_log_are_warnings(recorder: Recorder, state: Path) -> None:
    """With capture_logs, records at ERROR count, and their lines are shown; those of supervisor itself do not."""
    with supervise("dolly", handlers=[recorder], capture_logs=True) as run:
        run.warn("airstrips: timeout")
        logging.getLogger("dolly").error("county %d has no header", 35)
        logging.getLogger("dolly").warning("slow")
        logging.getLogger("supervisor").error("about supervision")
    assert recorder.received == ["warning"]
    assert " with 2 warnings on " in recorder.subjects[0]
    assert recorder.only.message.count("county 35 has no header") == 1
    assert [each.is_logged for each in run.report().warnings] == [False, True]
    assert "county 35" in next(iter(Journal(state).runs())).warnings[1].text


def test_the_subject_names_a_single_record(recorder: Recorder) -> None:
    """Without the date and the time of its line."""
    with warned("dolly", handlers=[recorder], capture_logs=True):
        logging.getLogger("dolly").error("county %d has no header", 35)
    assert recorder.subjects[0].endswith(": ERROR dolly: county 35 has no header")


@pytest.mark.parametrize(("warn_on", "outcome"), [("warning", "warning"), ("error", "success"), (None, "success")])
def test_which_records_count_can_be_said(warn_on: str | None, outcome: str, recorder: Recorder) -> None:
    """`warn_on` names the level, or none; "none" is how a file says it."""
    for value in (warn_on, *(["none"] if warn_on is None else [])):
        with warned("dolly", handlers=[recorder], capture_logs=True, warn_on=value) as run:
            logging.getLogger("dolly").warning("slow")
            if warn_on is None:
                logging.getLogger("dolly").error("bad")
        assert run.outcome == outcome


def test_an_exit_code_can_be_a_warning(recorder: Recorder) -> None:
    """The outcome is a warning, and the process ends with the code all the same."""
    with pytest.raises(SystemExit) as caught, warned("dolly", handlers=[recorder], warn_exit_codes=[3]) as run:
        sys.exit(3)
    assert caught.value.code == 3
    assert (run.outcome, run.exit_code) == (Outcome.WARNING, 3)
    assert recorder.subjects[0].endswith(": exit code 3")
    assert "Traceback" not in recorder.only.message
    with pytest.raises(SystemExit), warned("dolly", handlers=[recorder], warn_exit_codes=3):
        sys.exit(4)
    assert recorder.received == ["warning", "failure"]


@pytest.mark.parametrize("codes", ["x", "3,4", [0], [256], [True], 3.0, [None]])
def test_what_is_no_exit_code_is_refused(codes: object) -> None:
    """A mistake is told where it is written."""
    with pytest.raises(ConfigurationError, match=r"warn_exit_codes must be exit codes of 1-255, got "):
        supervise("dolly", warn_exit_codes=codes)  # type: ignore[arg-type]  # a mistake


def test_variables_give_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several are separated by commas."""
    monkeypatch.setenv("SUPERVISOR_WARN_EXIT_CODES", "3,24")
    monkeypatch.setenv("SUPERVISOR_WARN_ON", "none")
    settings = warned("dolly").settings
    assert (settings.warn_exit_codes, settings.warn_on) == ((3, 24), None)


def test_a_wrong_level_is_refused() -> None:
    """A mistake is told where it is written."""
    with pytest.raises(ConfigurationError, match="warn_on must be one of 'error', 'warning', got 'debug'"):
        supervise("dolly", warn_on="debug")


def test_a_script_ends_with_0_and_a_workflow_shows_it(tmp_path: Path) -> None:
    """The exit code is that of a success; GitHub Actions gets an annotation for each warning, and its summary."""
    summary = tmp_path / "summary.md"
    done = run_script(
        tmp_path,
        """
        import os
        os.environ.update(GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=PLACE)

        @supervised("dolly", journal=False)
        def main(run):
            run.warn("airstrips: timeout\\nwhile polling", attempts=3)
            run.warn("roads: 100 % empty")

        main()
        """.replace("PLACE", repr(str(summary))),
    )
    assert done.code == 0
    lines = [each for each in done.stderr.splitlines() if each.startswith("::warning")]
    assert len(lines) == 2
    assert lines[0].endswith("::airstrips: timeout%0Awhile polling (attempts=3)")
    assert lines[1].endswith("::roads: 100 %25 empty")
    assert "::error" not in done.stderr
    assert "airstrips: timeout" in summary.read_text("utf-8")


def test_services_know_the_kind(recorder: Recorder) -> None:
    """Healthchecks takes it as a success; PagerDuty hears of it only if asked, as a warning, and resolves the rest."""
    with warned("dolly", handlers=[recorder]) as run:
        run.warn("airstrips: timeout")
    details: MessageDetails = recorder.only
    check = HealthchecksHandler(uuid="5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278")
    assert "warning" in check.kinds
    assert "/fail" not in check._path(details)
    assert "/log" not in check._path(details)
    assert "warning" not in PagerDutyHandler(integration_key="k").kinds
    trigger, *resolved = events(details)
    assert (trigger["event_action"], trigger["payload"]["severity"]) == ("trigger", "warning")
    assert {each["event_action"] for each in resolved} == {"resolve"}
    assert json.dumps([trigger, *resolved])


def test_a_supervised_function_returns_its_value(recorder: Recorder) -> None:
    """A warning changes nothing for the caller."""

    @supervised("dolly", handlers=[recorder], journal=False)
    def main(run: Run) -> int:
        run.warn("airstrips: timeout")
        return 5

    assert main() == 5
    assert recorder.received == ["warning"]
