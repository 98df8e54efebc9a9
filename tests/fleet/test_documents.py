"""A run as a document: all of it arrives, in bounded size, and nothing that was not to be sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_kit import NOON, ended, started

from supervisor._fleet import documents
from supervisor._fleet.documents import document_of, record_from
from supervisor._fleet.fleet_settings import SENDABLE
from supervisor._models import Outcome
from supervisor._redaction import Redactor
from supervisor._store import Journal
from supervisor.models import ErrorDetails, Progress, RunStep, RunWarning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from supervisor._store import RunRecord

ERROR = ErrorDetails(
    type="KeyError", message="'apn'", where="parcels.py:41 in load", source="row['apn']", excerpt="> 41 | row['apn']",
    notes=("while reading",), local_variables=(("row", "{}"),), traceback="Traceback ...\nKeyError: 'apn'",
    fingerprint="f00", bases=("KeyError", "LookupError"), step="load",
)  # fmt: skip
STEP = RunStep(name="load", outcome=Outcome.FAILURE, started_at=datetime.fromtimestamp(NOON, UTC), error=ERROR)
ALL = SENDABLE


@pytest.fixture
def journal(state: Path) -> Iterator[Journal]:
    """Return an empty journal."""
    made = Journal(state)
    yield made
    made.close()


def run_of(journal: Journal, *, end: dict[str, Any] | None = None, **fields: Any) -> RunRecord:
    """Return a run that failed with all that one can have; with ``end`` of other fields."""
    journal.start_run(
        started(
            "01a", argv=("parcels.py", "--county", "Rich"), user="gis", python="3.12.1", parent_id="01",
            schedule="0 3 * * *", grace_s=300.0, max_duration_s=900.0, stall_after_s=60.0, heartbeat_s=60.0,
            settings={"title": "Parcels", "timezone": "America/Denver", "capture_logs": True},
            links={"Runbook": "https://wiki.example"}, **fields,
        )
    )  # fmt: skip
    facts: dict[str, Any] = {
        "error": ERROR, "values": {"rows": 812, "day": datetime(2026, 3, 1, tzinfo=UTC).date(), "a": (1, 2.5)},
        "exit_code": 3, "cpu_s": 1.5, "peak_memory_bytes": 1 << 40, "progress": Progress(done=3, total=10),
        "warnings": (RunWarning(text="slow"),), "warning_count": 1, "steps": (STEP,), "retried": (ERROR,),
    }  # fmt: skip
    journal.end_run("01a", ended(Outcome.FAILURE, **{**facts, **(end or {})}))
    return journal.runs()[0]


def by_way_of_jsonb(document: dict[str, Any]) -> dict[str, Any]:
    """Return what PostgreSQL gives back of a document: its mappings in another order."""

    def stored(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: stored(value[name]) for name in sorted(value, key=lambda each: (len(each.encode()), each))}
        return [stored(each) for each in value] if isinstance(value, list) else value

    found: dict[str, Any] = stored(json.loads(json.dumps(document, allow_nan=False)))
    return found


def test_a_run_comes_back_as_it_was(journal: Journal) -> None:
    """All that a person sees of a run in the journal, another one sees of it in the fleet."""
    run = run_of(journal)
    back = record_from(by_way_of_jsonb(document_of(run, environment="prod", send=ALL)))
    assert back.report == run.report
    assert list(back.values) == ["rows", "day", "a"]
    plain = {name for name in run._fields if not name.startswith("stored_")}
    differing = {name for name in plain if getattr(back, name) != getattr(run, name)}
    # Where its process was is of use on its own machine alone.
    assert differing <= {"machine", "heartbeat_at_s"}


def test_the_document_has_the_fields_of_the_contract(journal: Journal) -> None:
    """The database's functions read these names; what is not known is not there."""
    document = document_of(run_of(journal), environment="prod", send=ALL)
    assert document["environment"] == "prod"
    assert (document["rev"], document["outcome"], document["key"]) == (1000, "failure", 1)
    assert (document["title"], document["timezone"]) == ("Parcels", "America/Denver")
    assert document["next_due_at"] > document["started_at"]
    assert document["more"]["error"]["message"] == "'apn'"
    assert document["more"]["values"]["rows"] == 812
    assert document["text"] == {"traceback": ERROR.traceback}
    assert not {"owner", "each_host", "alive_at"} & document.keys()
    assert None not in document.values()


def test_revisions(journal: Journal) -> None:
    """A start, a death that may be wrong, an end."""
    journal.start_run(started("a"))
    (run,) = journal.runs()
    revisions = [documents.revision_of(run._replace(outcome=each)) for each in (None, "died", "success", "skipped")]
    assert revisions == [1, 500, 1000, 1000]
    assert document_of(run, environment="prod")["alive_at"]


@pytest.mark.parametrize(
    ("send", "absent"),
    [
        ((), {"values", "steps", "progress", "error", "warnings", "retried", "argv", "user", "log_path"}),
        (("values",), {"error", "warnings", "retried", "argv", "user"}),
        (("error",), {"values", "steps", "progress", "argv", "user"}),
        (("argv",), {"values", "steps", "error"}),
    ],
)
def test_only_what_may_leave_leaves(journal: Journal, send: tuple[str, ...], absent: set[str]) -> None:
    """What ``send`` does not name is not in the document at all."""
    document = document_of(run_of(journal), environment="prod", send=send)
    assert not absent & document["more"].keys()
    assert "text" not in document


def test_source_code_needs_to_be_named(journal: Journal) -> None:
    """Without "traceback" no error has any: not the run's, not those of steps and attempts."""
    sent = json.dumps(document_of(run_of(journal), environment="prod"))
    for secret in ("row['apn']", "Traceback", '"row"'):
        assert secret not in sent
    assert sent.count("'apn'") == 3  # the error itself is there, thrice


def test_secrets_that_are_known_only_now_are_taken_out(journal: Journal) -> None:
    """The journal's redaction did not know a password that was set since."""
    run = run_of(journal, end={"values": {"note": "uses hunter2hunter2"}})
    sent = json.dumps(document_of(run, environment="prod", send=ALL, redactor=Redactor("hunter2hunter2")))
    assert "hunter2" not in sent
    assert "[redacted" in sent


def test_the_end_of_a_log_is_sent_unless_all_is_well(journal: Journal, tmp_path: Path) -> None:
    """Its last 20 lines; nothing of a pipe, of a missing file, of a success."""
    log = tmp_path / "own.log"
    log.write_text("".join(f"line {number}\n" for number in range(5_000)), encoding="utf-8")
    run = run_of(journal, log_path=log)
    tail = document_of(run, environment="prod")["text"]["log_tail"]
    assert tail.splitlines() == [f"line {number}" for number in range(4_980, 5_000)]
    for other in (run._replace(outcome="success"), run._replace(log_path=str(tmp_path / "none")),
                  run._replace(log_path=str(tmp_path))):  # fmt: skip
        assert "text" not in document_of(other, environment="prod")


def test_a_large_run_loses_parts_and_says_so(journal: Journal) -> None:
    """The fleet refuses what is too large: so that it need not, the least important goes first."""
    values = {"rows": 812, "geometry": "x" * 100_000, "notes": "y" * 30_000}
    document = document_of(run_of(journal, end={"values": values}), environment="prod", send=ALL)
    more = document["more"]
    assert len(json.dumps(more, ensure_ascii=False).encode()) < 65_536
    assert more["values"] == {"rows": 812, "notes": "y" * 30_000}
    assert "values.geometry" in more["left_out"]
    assert more["error"]["message"] == "'apn'"


def test_a_long_name_stays_another_name() -> None:
    """Two names that begin alike are two scripts in the fleet, too."""
    names = {documents._name("n" * 300 + end) for end in "ab"}
    assert len(names) == 2
    assert {len(each) for each in names} == {documents.NAME_LIMIT}


def test_what_a_jsonb_refuses_is_replaced(journal: Journal) -> None:
    """U+0000, lone surrogates and what is no number."""
    values = {"nul": "a\0b", "half \udcff": "\ud800", "not": float("nan"), "big": float("-inf")}
    document = document_of(run_of(journal, end={"values": values}), environment="prod")
    sent = json.dumps(document, allow_nan=False, ensure_ascii=False).encode()  # no lone surrogate
    assert b"\\u0000" not in sent
    back = record_from(by_way_of_jsonb(document)).values
    assert back["nul"] == "a␀b"
    assert back["big"] == float("-inf")
    assert back["not"] != back["not"]
    assert back["half \\udcff"] == "\\ud800"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@given(name=st.text(min_size=1), values=st.dictionaries(st.text(), VALUES), text=st.text())
def test_any_run_becomes_a_document(
    tmp_path_factory: pytest.TempPathFactory, name: str, values: Any, text: str
) -> None:
    """Whatever a script recorded: the document is JSON that PostgreSQL takes, and can be read again."""
    journal = Journal(tmp_path_factory.mktemp("state"))
    journal.start_run(started("01a", name, argv=(text,), user=text))
    error = ErrorDetails(type="E", message=text, notes=(text,))
    journal.end_run("01a", ended(Outcome.FAILURE, values=values, error=error))
    document = document_of(journal.runs()[0], environment="prod", send=ALL)
    journal.close()
    sent = json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
    assert b"\\u0000" not in sent
    assert len(document["name"]) <= documents.NAME_LIMIT
    back = record_from(by_way_of_jsonb(document))
    assert back.report.error is not None
    assert list(back.values) == [documents._text(each) for each in values]
