"""``subject`` and ``title``: what messages are called in the words of the script."""

from __future__ import annotations

import re
from typing import Any

import pytest
from documents import ROOT
from recorders import Recorder

from supervisor import ConfigurationError, supervise
from supervisor._messages import own_subject
from supervisor.models import Kind, MessageDetails

WORDS = "{name} {outcome} ({values.rows:,} rows)"


def subject_of(template: str, error: Exception | None = None, **values: Any) -> str:
    """Return the subject of the message about the end of a run that recorded values."""
    recorder = Recorder()
    with supervise(
        "parcels", handlers=recorder, report_on="success", subject=template, journal=False, reraise=False
    ) as run:
        run.record(**values)
        if error is not None:
            raise error
    return recorder.only.subject


@pytest.mark.parametrize(
    ("template", "values", "subject"),
    [
        (WORDS, {"rows": 12000}, "parcels success (12,000 rows)"),
        (WORDS, {}, "parcels success (? rows)"),
        (WORDS, {"rows": None}, "parcels success (? rows)"),
        (WORDS, {"rows": "none"}, "parcels success (none rows)"),
        ("{title} {verb} {kind}", {}, "parcels succeeded success"),
        ("{values.share:.1%} {{x}}", {"share": 0.5}, "50.0% {x}"),
        ("{error}{exit_code}", {}, "??"),
        ("{attempts} {warnings} {values.a b}", {"a b": 1}, "1 0 1"),
        ("{values.text}", {"text": "a\r\nBcc: x"}, "a Bcc: x"),
        ("{values.when:%Y-%m-%d}", {"when": "no date"}, "no date"),
    ],
)
def test_fields_are_filled_in(template: str, values: dict[str, Any], subject: str) -> None:
    """Values have the format that is asked for, what is missing is shown as "?", and all of it is one line."""
    assert subject_of(template, **values) == subject


def test_a_failure_has_it_too() -> None:
    """It says why if it is asked for."""
    assert subject_of("{name} {outcome}: {error} ({error_type})", KeyError("apn")) == (
        "parcels failure: KeyError 'apn' (KeyError)"
    )


def test_it_is_bounded_and_clean() -> None:
    """However long a value is, the subject is short; secrets are taken out, also of the script's own words."""
    assert len(subject_of("{values.text} {values.text}", text="x" * 900)) <= 200
    shown = subject_of("password=hunter2hunter2 {values.url}", url="postgres://me:hunter3hunter3@db/x")
    assert "hunter" not in shown


@pytest.mark.parametrize(
    "wrong",
    [
        "{rows}",
        "{}",
        "{0}",
        "{name!r}",
        "{name.__class__}",
        "{name[0]}",
        "{values}",
        "{values.}",
        "{values.rows.real}",
        "{values.rows[0]}",
        "{values.rows:{width}}",
        "{values.rows:>1000000}",
        "{values.rows:q}",
        "{name:,}",
        "{host:d}",
        "{name",
        "name}",
        " ",
        5,
    ],
    ids=str,
)
def test_a_wrong_subject_is_refused_where_it_is_set(wrong: Any) -> None:
    """The error names the subject, and what is wrong with it."""
    with pytest.raises(ConfigurationError, match=re.escape(f"got {wrong!r}")):
        supervise("parcels", subject=wrong)


def test_it_never_fails(monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture) -> None:
    """Where it cannot be made, the message has the usual one, and the log says so."""

    def fail(*_: object) -> str:
        raise RuntimeError

    monkeypatch.setattr(own_subject, "filled_in", fail)
    assert subject_of(WORDS).startswith("parcels succeeded on ")
    assert "the subject '{name} {outcome} ({values.rows:,} rows)' of 'parcels' cannot be made" in log.text


def test_a_subject_of_nothing_is_the_usual_one() -> None:
    """A value that is blank is no subject."""
    assert subject_of("{values.text}", text=" ").startswith("parcels succeeded on ")


def test_notices_keep_their_own() -> None:
    """What the script sends itself has a subject already, and so have messages about a start."""
    recorder = Recorder()
    with supervise("parcels", handlers=recorder, report_on="start", subject="own", journal=False) as run:
        run.notify("half way")
    assert recorder.subjects[1] == "half way"
    assert recorder.subjects[0].startswith("parcels started on ")


def test_each_field_is_documented(reference: str) -> None:
    """api.md lists all of them."""
    section = reference.partition("### Subjects in your words")[2].partition("\n### ")[0]
    assert all(f"`{{{field}}}`" in section for field in own_subject.FIELDS)


@pytest.fixture
def reference() -> str:
    """Return api.md."""
    return (ROOT / "api.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("state")
def test_a_title_is_what_people_read() -> None:
    """The name stays what the journal and commands go by."""
    recorder = Recorder()
    with supervise("parcels", handlers=recorder, report_on="success", title="Nightly parcels"):
        pass
    message = recorder.only
    assert message.subject.startswith("Nightly parcels succeeded on ")
    assert message.message.startswith("Nightly parcels succeeded on ")
    assert message.report is not None
    assert (message.report.name, dict(message.report.settings)) == ("parcels", {"title": "Nightly parcels"})


@pytest.mark.parametrize("level", ["info", "warning", "Error", "CRITICAL"])
def test_a_notice_has_a_level(level: str) -> None:
    """Capital letters do not matter, and the mail has the colour of the level."""
    recorder = Recorder()
    with supervise(handlers=recorder, journal=False) as run:
        run.notify("No parcels", "Yesterday's are kept.", level=level)
    message = recorder.only
    assert (message.kind, message.level) == (Kind.NOTICE, level.lower())
    assert message.style == {"info": "notice", "warning": "warning"}.get(message.level, "failure")


@pytest.mark.parametrize("level", ["fatal", 30, None, object()], ids=["text", "number", "none", "object"])
def test_a_wrong_level_is_shown_and_logged(level: Any, log: pytest.LogCaptureFixture) -> None:
    """The notice is sent all the same; None is the default."""
    recorder = Recorder()
    with supervise(handlers=recorder, journal=False) as run:
        run.notify("No parcels", "Yesterday's are kept.", level=level)
    assert recorder.only.level == "info"
    assert ("Left out: level must be one of" in recorder.only.message) is (level is not None)
    assert ("a notice is sent without its level" in log.text) is (level is not None)


def test_other_kinds_have_their_own_style() -> None:
    """A level is for notices."""
    assert MessageDetails("x", kind="failure", level="warning").style is Kind.FAILURE
    with pytest.raises(ValueError, match="level must be one of"):
        MessageDetails("x", level="loud")
