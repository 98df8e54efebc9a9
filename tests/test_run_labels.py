"""What people read of a run calls it as ``run_label`` does: each message, the commands and the report page."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from journalled import ELSEWHERE, GONE, KEY_ERROR, Past, document, invoke

from supervisor import _messages
from supervisor._messages import held_back_message, message_for, message_from_parts
from supervisor._models import Kind, Outcome
from supervisor._models.parts import Summary
from supervisor.message_handlers._slack.blocks import posts
from supervisor.models import Progress, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from supervisor.models import MessageDetails

HOUR_S, DAY_S = 3_600.0, 86_400.0
COMMANDS = re.compile(r"`supervisor [^`]*`")  # they take the name of a run, not its label
OUTCOMES = {Kind.SUCCESS: Outcome.SUCCESS, Kind.RECOVERY: Outcome.SUCCESS, Kind.FAILURE: Outcome.FAILURE}


@pytest.fixture(autouse=True)
def labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the label of a run named "name-x" be "label-x"."""
    # Modules import the function by its name, so the function itself is changed, for all of them at once.
    changed = (lambda run: run.name.replace("name-", "label-")).__code__
    monkeypatch.setattr(_messages.run_label, "__code__", changed)


@pytest.fixture
def past(state: Path) -> Iterator[Past]:
    """Return a journal to write into."""
    past = Past(state)
    yield past
    past.journal.close()


def assert_labelled(text: str, *labels: str) -> None:
    """Assert that a text has these labels, and no name of a run outside of commands."""
    for label in labels:
        assert label in text, text
    assert "name-" not in COMMANDS.sub("", text), text


def assert_message_is_labelled(message: MessageDetails, label: str = "label-x") -> None:
    """Assert that a message calls its run by the label: in its subject, its text, its HTML and its facts in Slack."""
    assert_labelled(message.subject, label)
    assert_labelled(f"{message.message}\n{message.html}")
    assert_labelled(json.dumps([each.blocks for each in posts(message)]), label)


def report_of(kind: Kind) -> RunReport:
    """Return a run named "name-x" as a message of a kind has it."""
    is_failure = kind in {Kind.FAILURE, Kind.SKIPPED}
    return RunReport(
        id="r1",
        name="name-x",
        host="vm",
        started_at=datetime(2026, 3, 2, 2, tzinfo=UTC),
        outcome=OUTCOMES.get(kind),
        error=KEY_ERROR if is_failure else None,
        progress=Progress(done=3, total=10),
    )


# Messages


@pytest.mark.parametrize("kind", [Kind.START, Kind.PROGRESS, *OUTCOMES, Kind.SKIPPED, Kind.DIED], ids=str)
def test_messages_of_a_run(kind: Kind) -> None:
    """The subject and the first sentence of each message that a run sends about itself have the label."""
    message = message_for(kind, report_of(kind))
    assert_message_is_labelled(message)
    assert_labelled(message.message.partition("\n\n")[0], "label-x")


def test_notices() -> None:
    """A notice has the subject of its caller; what Slack shows of the run has the label."""
    notice = message_from_parts(Kind.NOTICE, "about label-x", (Summary(),), report_of(Kind.NOTICE))
    assert json.dumps([each.blocks for each in posts(notice)]).count("label-x") == 2
    assert_message_is_labelled(notice)


def test_messages_held_back() -> None:
    """The message that closes a run which sent too many has the label."""
    assert_message_is_labelled(held_back_message(report_of(Kind.NOTICE), 3, ["one"]))


# What a check notices


def checked(code: int) -> dict[str, tuple[str, str]]:
    """Return what a check notices: the subjects and texts of its new messages, by the names of the runs."""
    return {each["name"]: (each["subject"], each["text"]) for each in document("check", code=code)["new"]}


def write_alerts(past: Past) -> dict[str, str]:
    """Write runs that each have something wrong, and return how their subjects go on, by the names of the runs."""
    late = Progress(done=3, total=10)
    past.run("name-stalls", ago_s=HOUR_S, took_s=60, outcome=None, progress=late, stall_after_s=300)
    past.run("name-late", ago_s=HOUR_S, outcome=None, max_duration_s=600)
    past.run("name-dead", ago_s=HOUR_S, outcome=None, by=GONE)
    past.run("name-lost", ago_s=HOUR_S, outcome=None, by=ELSEWHERE, heartbeat_s=60.0)
    past.run("name-missed", ago_s=3 * HOUR_S, schedule="every 2 h")
    past.run("name-missed-often", ago_s=9 * HOUR_S, schedule="every 2 h")
    return {
        "name-stalls": "stalled on",
        "name-late": "is overdue on",
        "name-dead": "died on",
        "name-lost": "is presumed dead on",
        "name-missed": "missed its start at",
        "name-missed-often": "missed 4 starts on",
    }


def test_alerts_and_their_ends(past: Past) -> None:
    """The messages of all alerts that a check notices, and of their ends, have the label in subject and text."""
    words = write_alerts(past)
    alerts = checked(code=1)
    assert set(alerts) == set(words)
    for name, (subject, text) in alerts.items():
        label = name.replace("name-", "label-")
        assert subject.startswith(f"{label} {words[name]}"), subject
        assert_labelled(f"{subject}\n{text}")
        assert text.startswith(f"{label} "), text
    goes_on = next(each.report.id for each in past.journal.runs(limit=9) if each.report.name == "name-stalls")
    past.progress(goes_on, Progress(done=4, total=10))
    past.run("name-missed", ago_s=0, took_s=0, schedule="every 2 h")
    ends = checked(code=0)
    assert set(ends) == {"name-stalls", "name-missed"}
    for name, word in (("name-stalls", "makes progress again"), ("name-missed", "started again")):
        subject, text = ends[name]
        label = name.replace("name-", "label-")
        assert subject.startswith(f"{label} {word} on"), subject
        assert text.startswith(f"{label} {word}"), text
        assert_labelled(f"{subject}\n{text}")


# What commands and the page show


def test_commands(past: Past) -> None:
    """``check``, ``status``, ``history`` and ``show`` have the labels, and the names in commands alone."""
    labels = [each.replace("name-", "label-") for each in write_alerts(past)]
    past.run("name-fine", id="fine1", ago_s=60)
    past.run("name-fails", id="fails1", ago_s=60, outcome="failure", error=KEY_ERROR)
    past.run("name-inner", id="inner1", ago_s=60, parent_id="fine1")
    configured_names = re.compile("^unheard .*$", re.MULTILINE)  # they are names of tables in the configuration
    first, second = (configured_names.sub("", invoke("check").stdout) for _ in range(2))
    assert_labelled(first, *labels)
    assert second.count("still ") >= len(labels) - 2
    assert_labelled(second, "label-stalls: stalled", "label-missed: missed")
    assert_labelled(invoke("status").stdout, *labels)
    assert_labelled(invoke("history").stdout, *labels, "label-fine", "label-fails", "label-inner")
    assert_labelled(invoke("show", "fine1").stdout, "label-fine", "label-inner")
    assert_labelled(invoke("show", "inner1").stdout, "label-inner")
    assert_labelled(invoke("show", "fails1").stdout, "label-fails")


def test_ids_of_several_runs(past: Past) -> None:
    """Where several ids begin with what ``show`` was given, it lists the runs by their labels."""
    past.run("name-one", id="abcdef1")
    past.run("name-two", id="abcdef2")
    assert_labelled(invoke("show", "abcdef").output, "label-one", "label-two")


def test_status_of_ended_runs(past: Past) -> None:
    """Where nothing runs, ``status`` lists the last runs by their labels."""
    past.run("name-fine")
    assert_labelled(invoke("status").stdout, "label-fine")


def test_outbox(past: Past) -> None:
    """``outbox`` shows messages by their subjects, which have the label."""
    report = past.report(past.run("name-fine"))
    past.message(message_for(Kind.SUCCESS, report).subject, report=report)
    assert_labelled(invoke("outbox").stdout, "label-fine")


def test_page(past: Past, tmp_path: Path) -> None:
    """The report page shows scripts and alerts by their labels."""
    labels = [each.replace("name-", "label-") for each in write_alerts(past)]
    past.run("name-fine")
    page = tmp_path / "page.html"
    assert invoke("report", "-o", str(page)).exit_code == 0
    assert_labelled(page.read_text("utf-8"), *labels, "label-fine")
