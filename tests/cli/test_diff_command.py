"""``supervisor diff``: what changed from one run to another, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from journalled import Past, document, invoke

from supervisor import supervise
from supervisor._run import surroundings

if TYPE_CHECKING:
    from pathlib import Path


def run(name: str = "parcels", *, fails: bool = False) -> str:
    """Let a run end, and return its id."""
    surroundings._stamp.cache_clear()
    with supervise(name, reraise=False) as run:
        reporter = run._state.reporter
        assert reporter is not None
        reporter.recorder.look_around()  # as a thread does for a run that has lasted a second
        if fails:
            raise KeyError("apn")
    return run.id


def refused(*arguments: str) -> str:
    """Return the error of a command that finds nothing to show, in one line."""
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    return " ".join(result.stderr.split())


@pytest.fixture
def good_and_bad(state: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return the ids of a success and of a failure before which a variable and the time zone were changed."""
    good = run()
    run(fails=True)
    monkeypatch.setenv("PARCELS", "secret")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    return good, run(fails=True)


def test_one_run_is_compared_with_the_last_success_before_it(good_and_bad: tuple[str, str]) -> None:
    """A run may be named by its name, too; values of variables are not known."""
    good, bad = good_and_bad
    shown = invoke("diff", "parcels").stdout
    first, second, _, *rows = shown.splitlines()
    assert first.startswith(f"from  {good[:12]}  parcels  success  ")
    assert second.startswith(f"to    {bad[:12]}  parcels  failure  ")
    assert any(each.split() == ["Variables", "PARCELS", "new"] for each in rows)
    assert any(each.endswith(" -> Asia/Tokyo") for each in rows)
    assert "secret" not in shown


def test_programs_get_a_document(good_and_bad: tuple[str, str]) -> None:
    """It has the runs, and each change by itself."""
    good, bad = good_and_bad
    found = document("diff", bad)
    assert (found["before"]["id"], found["before"]["outcome"]) == (good, "success")
    assert (found["after"]["id"], found["after"]["name"]) == (bad, "parcels")
    assert {"what": "variable", "name": "PARCELS", "before": None, "after": None, "text": "PARCELS new"} in found[
        "changes"
    ]


def test_two_runs_are_compared_as_they_are_given(good_and_bad: tuple[str, str]) -> None:
    """The other way round what came is gone; runs may have different names."""
    good, bad = good_and_bad
    changes = document("diff", bad, good)["changes"]
    assert "PARCELS gone" in [each["text"] for each in changes]
    other = run("roads")
    assert "Nothing changed of what runs keep." in invoke("diff", bad, other).stdout
    assert document("diff", bad, other)["changes"] == []


def test_what_cannot_be_compared_is_an_error_that_says_why(past: Past, good_and_bad: tuple[str, str]) -> None:
    """A run that is not known, the first of its name, one under way, one of an earlier version."""
    good, _ = good_and_bad
    assert "no run is named 'lakes'" in refused("diff", "lakes")
    assert f"no run of parcels succeeded before {good[:12]}" in refused("diff", good)
    earlier = past.run("rivers")
    assert f"around the run {earlier[:12]} was not kept: that is noted" in refused("diff", good, earlier)
    under_way = past.run("rivers", outcome=None)
    assert "it has not ended" in refused("diff", good, under_way)
    assert invoke("diff").exit_code == 2


def test_without_a_journal_there_is_nothing_to_compare(state: Path) -> None:
    """Looking makes none."""
    assert "No run was journalled yet" in refused("diff", "parcels")
    assert not list(state.iterdir())
