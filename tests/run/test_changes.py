"""What changed since a script last went well, as its messages say it."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from journalled import Past
from recorders import Recorder
from scripts import Script

from supervisor import Run, supervise
from supervisor._models import Outcome
from supervisor._models.parts import Facts
from supervisor._run import changes, surroundings
from supervisor._run.changes import MOST_NAMED, changes_between, rows_of
from supervisor._store import EndedRun, StartedRun
from supervisor._store.essentials import Surroundings
from supervisor.plugins import as_data, as_html, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from scripts import Ended

    from supervisor._store.records import RunRecord

HOUR_NS = 3_600_000_000_000
STAMP: dict[str, Any] = {
    "files": [["/jobs/parcels.py", HOUR_NS, 10]],
    "packages": [["/lib/site-packages", HOUR_NS]],
    "python": "/usr/bin/python3",
    "commit": 40 * "a",
    "variables": ["HOME", "PATH"],
    "zone": "UTC",
}
FACTS: dict[str, Any] = {
    "files": {"/jobs/parcels.py": "1f"},
    "packages": {"pandas": "2.2.3", "six": "1.0"},
    "subject": "first",
}
REINSTALLED = {"packages": [["/lib/site-packages", 2 * HOUR_NS]]}
RUN = StartedRun(id="", name="parcels", started_at_s=0.0, user="gis", python="3.12.1", argv=("parcels.py",))


class Two:
    """Two runs in a journal, of which each test changes the second."""

    def __init__(self, past: Past) -> None:
        self._journal = past.journal
        self._first = self._run("first", RUN, Surroundings(_dump(STAMP), "boot-1", _dump(FACTS)))

    def _run(self, run_id: str, started: StartedRun, around: Surroundings) -> tuple[RunRecord, Surroundings]:
        self._journal.start_run(started._replace(id=run_id))
        around = self._journal.keep_surroundings(around)
        self._journal.end_run(run_id, EndedRun(Outcome.SUCCESS, 1.0, 1.0, surroundings=around))
        record = self._journal.last_run("parcels")
        assert record is not None
        kept = self._journal.surroundings_of(record)
        assert kept == around
        return record, kept

    def texts(
        self,
        stamp: Mapping[str, Any] = {},
        facts: Mapping[str, Any] | None = {},
        boot: str = "boot-1",
        **started: Any,
    ) -> dict[str, str]:
        """Return what the second run has that the first did not, by labels."""
        known = None if facts is None else _dump({**FACTS, **facts})
        second = self._run("second", RUN._replace(**started), Surroundings(_dump({**STAMP, **stamp}), boot, known))
        return {each.label: each.text for each in rows_of(changes_between(self._first, second).differences)}


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture
def two(state: Path) -> Iterator[Two]:
    """Return two runs."""
    past = Past(state)
    yield Two(past)
    past.journal.close()


def test_runs_that_are_alike_have_no_changes(two: Two) -> None:
    """So their messages say nothing."""
    assert two.texts() == {}


def test_packages_are_named_with_their_versions(two: Two) -> None:
    """Those that are new and gone too."""
    packages = {"pandas": "2.3.0", "numpy": "2.0"}
    assert two.texts(REINSTALLED, {"packages": packages}) == {
        "Packages": "numpy 2.0 new, pandas 2.2.3 -> 2.3.0, six 1.0 gone"
    }


def test_of_many_things_a_few_are_named(two: Two) -> None:
    """Of the others it says how many they are."""
    many = {f"package-{number:03}": "1.0" for number in range(50)}
    text = two.texts(REINSTALLED, {"packages": {**FACTS["packages"], **many}})["Packages"]
    assert text.count(" new") == MOST_NAMED
    assert text.endswith(f"and {50 - MOST_NAMED} more")


def test_where_facts_are_missing_the_folder_is_named(two: Two) -> None:
    """The run was too short for more."""
    text = two.texts(REINSTALLED, facts=None)["Packages"]
    assert text.startswith("/lib/site-packages changed 1970-01-01")


def test_a_file_that_was_edited_is_named_with_the_time(two: Two) -> None:
    """Nor is one meant that was only written again, as a checkout does, or that only one of the runs loaded."""
    edited = [["/jobs/parcels.py", 2 * HOUR_NS, 10], ["/jobs/old.py", 1, 1]]
    text = two.texts({"files": edited}, {"files": {"/jobs/parcels.py": "2e"}})["Files"]
    assert text.startswith("parcels.py edited 1970-01-01")
    assert "old.py" not in text


def test_a_file_that_was_written_again_as_it_was_is_no_change(two: Two) -> None:
    """A checkout and a deployment do that."""
    assert two.texts({"files": [["/jobs/parcels.py", 2 * HOUR_NS, 10]]}) == {}


def test_the_commit_is_named_with_its_subject(two: Two) -> None:
    """Ids are short."""
    assert two.texts({"commit": 40 * "9"}, {"subject": "join on apn"}) == {
        "Commit": "aaaaaaaaaa -> 9999999999 'join on apn'"
    }


def test_all_that_is_around_a_run_is_compared(two: Two) -> None:
    """Of settings and variables only the names are told."""
    texts = two.texts(
        {"variables": ["HOME", "TOKEN"], "zone": "Asia/Tokyo"},
        boot="boot-2",
        python="3.13.0",
        user="root",
        host="gis2",
        argv=("parcels.py", "--all"),
        max_duration_s=90.0,
        settings={"send": "console"},
    )
    assert texts.pop("Host").endswith(" -> gis2")
    assert texts == {
        "Python": "3.12.1 /usr/bin/python3 -> 3.13.0 /usr/bin/python3",
        "Command": "parcels.py -> parcels.py --all",
        "Settings": "max_duration_s, send",
        "Variables": "PATH gone, TOKEN new",
        "User": "gis -> root",
        "Time zone": "UTC -> Asia/Tokyo",
        "Machine": "restarted since",
    }


# Messages


def says_changes(text: str) -> bool:
    """Return whether a message has the section; the lines of the test itself, which it may show, are none."""
    return any(line.startswith("Changed since it last went well, ") for line in text.splitlines())


def look_anew() -> None:
    """Let the next run look for itself: a process looks once a second."""
    surroundings._stamp.cache_clear()


def look_around(run: Run) -> None:
    """Do at once what a thread does for a run that has lasted a second."""
    reporter = run._state.reporter
    assert reporter is not None
    reporter.recorder.look_around()


def run_script(folder: Path, module: str, *, settings: str = "", **variables: str) -> Ended:
    """Let a script run whose module ``parcels`` is this."""
    place = folder / "supervised"
    shutil.rmtree(place / "elsewhere", ignore_errors=True)
    place.mkdir(exist_ok=True)
    (place / "parcels.py").write_text(module)
    written_s = time.time() - 5  # a file that was written at this moment may have been written after it was loaded
    os.utime(place / "parcels.py", (written_s, written_s))
    body = f"""
        sys.path.insert(0, __file__.removesuffix("script.py"))
        import parcels
        with supervise("nightly parcels", handlers=recorder{settings}) as run:
            parcels.load(run)
    """
    return Script(folder, body, extra_env={"PYTHONDONTWRITEBYTECODE": "1", **variables}).end()


GOOD = """
import time
from supervisor._runtime import preparation

def load(run):
    while not preparation().is_done:  # after a second a thread looks around
        time.sleep(0.02)
"""
BAD = "def load(run):\n    raise KeyError('apn')\n"


def test_a_failure_says_what_changed_since_a_script_was_edited(tmp_path: Path) -> None:
    """The section stands after the error, and before the traceback; values of variables and settings are not in it."""
    assert run_script(tmp_path, GOOD).kinds == []
    failed = run_script(tmp_path, BAD, settings=", max_duration_s=61", PARCELS_URL="https://gis:secret@gis.example")
    (message,) = failed.messages
    text = message["message"]
    assert text.index("KeyError: 'apn'") < text.index("Changed since it last went well, ") < text.index("Traceback")
    section = " ".join(text.partition("Changed since")[2].partition("Traceback")[0].split())
    assert "parcels.py edited " in section
    assert "PARCELS_URL new" in section
    assert "Settings max_duration_s" in section
    assert "secret" not in text
    assert "61" not in section


def test_each_later_failure_says_it_too_and_a_good_run_ends_it(tmp_path: Path) -> None:
    """What is compared is the last run that went well, not the last run."""
    run_script(tmp_path, GOOD)
    for _ in range(2):
        assert "parcels.py edited " in run_script(tmp_path, BAD).messages[-1]["message"]
    assert "Changed since" not in run_script(tmp_path, GOOD).messages[-1]["message"]  # it recovers
    (tmp_path / "supervised" / "messages").unlink()
    assert "PARCELS new" in run_script(tmp_path, BAD, PARCELS="").messages[-1]["message"]


def test_a_failure_without_changes_or_a_good_run_before_it_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to say."""
    recorder = Recorder()
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "")
    for error in (KeyError("apn"), None, KeyError("apn")):
        look_anew()
        with supervise("parcels", handlers=recorder, reraise=False):
            if error is not None:
                raise error
    assert [str(each.kind) for each in recorder.messages if says_changes(each.message)] == []
    assert recorder.received == ["failure", "recovery", "failure"]


def test_values_that_stand_out_are_told_with_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In all that destinations show; a success like the others says nothing of it."""
    recorder = Recorder()
    for rows in (*range(12_000, 12_006), 0):
        if not rows:
            monkeypatch.setenv("PARCELS_<B>", "")
        look_anew()
        with supervise("parcels", handlers=recorder, report_on=["success"]) as run:
            run.record(rows=rows)
            look_around(run)
    *usual, odd = recorder.messages
    assert not [each for each in usual if says_changes(each.message)]
    assert "rows is 0" in odd.subject
    assert "PARCELS_<B> new" in odd.message
    assert "PARCELS_&lt;B&gt; new" in as_html(odd)
    (part,) = [each for each in parts_of(odd) if isinstance(each, Facts) and each.title.startswith("Changed since")]
    assert [(each.label, each.text) for each in part.rows] == [("Variables", "PARCELS_<B> new")]
    assert [each for each in as_data(parts_of(odd)) if str(each.get("title")).startswith("Changed since")]


def test_a_fault_in_the_comparison_costs_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message goes without it."""
    recorder = Recorder()
    monkeypatch.setattr(changes, "changes_between", lambda *_: 1 / 0)
    for error in (None, KeyError("apn")):
        with supervise("parcels", handlers=recorder, reraise=False):
            if error is not None:
                raise error
    assert not says_changes(recorder.only.message)
