"""What a script sees of a run: the handle, and nothing of what stands behind it."""

from __future__ import annotations

import functools
import gc
import re
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from supervisor import Run, current_run, supervise

if TYPE_CHECKING:
    from recorders import Recorder

quiet = functools.partial(supervise, journal=False)

METHODS = {
    "attach",
    "flush",
    "link",
    "notify",
    "progress",
    "record",
    "report",
    "skip",
    "step",
    "table",
    "track",
    "warn",
}
PROPERTIES = {
    "id", "name", "outcome", "exit_code", "duration_s", "values", "attachments", "log_path", "position", "parent",
    "has_ended", "settings",
}  # fmt: skip


def public(value: object) -> set[str]:
    """Return the names that editors offer for a value."""
    return {name for name in dir(value) if not name.startswith("_")}


def test_a_run_shows_what_is_documented() -> None:
    """``dir(Run)`` and ``dir(run)`` have the documented names and no others; the state is behind one private slot."""
    assert public(Run) == METHODS | PROPERTIES
    with quiet("night") as run:
        assert public(run) == METHODS | PROPERTIES
    assert set(Run.__slots__) == {"_state", "__weakref__"}
    assert not hasattr(run, "__dict__")


def test_the_reference_documents_each_name() -> None:
    """The chapter on the run in api.md has a row for each name, and rows for nothing else."""
    text = (Path(__file__).parents[2] / "api.md").read_text("utf-8")
    chapter = text.partition("\n## The run\n")[2].partition("\n### ")[0]
    assert set(re.findall(r"^\| `run\.(\w+)", chapter, re.MULTILINE)) == METHODS | PROPERTIES


@pytest.mark.parametrize("name", ["conclude", "log", "step_out", "set_out", "fail_aside", "extras", "told"])
def test_what_ends_or_suspends_a_run_is_not_on_it(name: str, recorder: Recorder) -> None:
    """A script cannot end, suspend or otherwise handle a run by what it finds on it."""
    with quiet("night", handlers=[recorder], report_on=["success"]) as run:
        assert not hasattr(run, name)
        with pytest.raises(AttributeError):
            setattr(run, name, None)
        assert current_run() is run
    assert recorder.received == ["success"]


class Hostile:
    """Raises whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        """Raise."""
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError

    def __str__(self) -> str:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError

    def __float__(self) -> float:
        raise RuntimeError


WRONG: list[Any] = [None, 3, float("nan"), b"\xff", object(), Hostile(), Hostile, [Hostile()], {1: Hostile()}]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_no_method_raises_whatever_it_is_given(wrong: Any, when: str, recorder: Recorder) -> None:
    """Methods take anything, before, during and after the run, and the run ends as if they had not been called."""
    run = quiet("night", handlers=[recorder], report_on=["success"])
    if when == "before":
        _call_all(run, wrong)
    with run:
        if when == "during":
            _call_all(run, wrong)
    if when == "after":
        _call_all(run, wrong)
    assert run.outcome == "success"
    assert recorder.received.count("success") == 1


def _call_all(run: Run, wrong: Any) -> None:
    run.record(rows=wrong, self=wrong, values=wrong)
    run.attach(wrong)
    run.notify(wrong)
    run.notify("subject", wrong)
    run.notify("subject", attachments=wrong)
    run.notify("subject", html=wrong)
    run.notify("subject", blocks=wrong)
    run.progress(wrong, wrong, wrong)
    assert list(run.track([1, 2], wrong, wrong)) == [1, 2]
    for name in PROPERTIES:
        getattr(run, name)
    assert run.report().id == run.id


def test_a_report_is_returned_also_when_making_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """``report()`` returns what is certain when something is wrong with supervisor itself, and the run goes on."""
    with quiet("night") as run:
        monkeypatch.setattr("supervisor._run.composer.Composer.report", lambda _: 1 / 0)
        report = run.report()
    assert (report.id, report.name, report.outcome) == (run.id, "night", None)
    assert run.outcome == "success"


def test_a_run_can_report_before_it_starts() -> None:
    """A run that was not entered yet has a report, dated now."""
    before = datetime.now(UTC)
    report = quiet("night").report()
    assert abs(report.started_at - before) < timedelta(minutes=1)
    assert (report.duration_s, report.outcome) == (0.0, None)
    assert report.cpu_s == pytest.approx(0.0, abs=0.1)


def test_the_run_around_is_the_one_that_the_script_has() -> None:
    """``parent`` and ``current_run()`` return the very object that the script has, not another one for the same run."""
    with quiet("outer") as outer:
        assert current_run() is outer
        with quiet("inner") as inner:
            assert inner.parent is outer
            assert current_run() is inner
        assert outer.parent is None
    assert inner.parent is outer


def test_a_parent_outlives_its_handle() -> None:
    """A run knows the one around it also when nobody has that one any more."""
    with quiet("outer"), quiet("inner") as inner:
        pass
    gc.collect()
    assert inner.parent is not None
    assert (inner.parent.name, inner.parent.outcome) == ("outer", "success")
    assert inner.parent.parent is None


def test_a_run_without_messages_is_freed_at_once() -> None:
    """Nothing keeps a run that nobody has any more, not even until the garbage collector comes."""
    gc.disable()
    try:
        with quiet("night") as run:
            state = weakref.ref(run)
        del run
        assert state() is None
    finally:
        gc.enable()
