"""Tracebacks read as Python's own do: chains, groups, notes, syntax errors; all of it within bounds."""

from __future__ import annotations

import re
import sys
import traceback
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor._exceptions import error_details


def python_s(error: BaseException) -> str:
    """Return the traceback as Python writes it."""
    return "".join(traceback.format_exception(error)).rstrip()


def without_marks(text: str) -> str:
    """Return a traceback without the lines that underline code, and without those that close a group."""
    kept = (line for line in text.split("\n") if not re.fullmatch(r"[ |]*[~^]+[~^ ]*|[ |]*\+-+", line))
    return "\n".join(line.rstrip() for line in kept)


class OwnError(Exception):
    """Stands for a script's own class."""


TEXTS = st.sampled_from(["", "no rows", "two\nlines", "\n", " ", "ü€\x00", "x" * 300])
PLAIN = st.builds(
    lambda kind, text: kind(text),
    st.sampled_from([ValueError, KeyError, OwnError, OSError, SystemExit, SyntaxError]),
    TEXTS,
)


def noted(error: BaseException, notes: list[str]) -> BaseException:
    """Add notes to an exception."""
    for each in notes:
        error.add_note(each)
    return error


def raised(error: BaseException) -> BaseException:
    """Give an exception a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def linked(error: BaseException, before: BaseException, how: str) -> BaseException:
    """Let an exception follow upon another."""
    if how == "cause":
        error.__cause__ = before
    elif how == "context":
        error.__context__ = before
    else:
        error.__context__, error.__suppress_context__ = before, True
    return error


def grown(children: st.SearchStrategy[BaseException]) -> st.SearchStrategy[BaseException]:
    """Return exceptions made of others."""
    chained = st.builds(linked, PLAIN, children, st.sampled_from(["cause", "context", "hidden"]))
    groups = st.builds(BaseExceptionGroup, st.just("several"), st.lists(children, min_size=1, max_size=3))
    return st.one_of(chained, groups).flatmap(lambda each: st.sampled_from([each, raised(each)]))


TREES = st.recursive(
    st.builds(noted, PLAIN, st.lists(TEXTS, max_size=2)).flatmap(lambda each: st.sampled_from([each, raised(each)])),
    grown,
    max_leaves=8,
)


@given(TREES)
def test_it_reads_as_python_s(error: BaseException) -> None:
    """Where nothing is folded, it is what Python writes, line by line, but for the marks below code."""
    assert without_marks(error_details(error).traceback) == without_marks(python_s(error))


def test_marks_below_code_are_those_of_python(script: Any, failing: Any) -> None:
    """The part of a line that failed is underlined, without Python's two kinds of marks; a whole line is not."""
    error = failing(script("def main(table):\n    return len(table.rows(1))", main=None)["main"])
    assert type(error) is TypeError
    error = failing(lambda: script("def main(table):\n    return len(table.rows(1))")["main"](5))
    assert error_details(error).traceback == python_s(error).replace("~", "^")


def test_a_syntax_error_shows_its_place(script: Any, details: Any) -> None:
    """File, line and mark are there, with the line in which Python was called."""
    found = details(script("def main(): return compile('x = (1,\\ny ==', 'rules.txt', 'exec')")["main"])
    expected = traceback.format_exception_only(_syntax_error())
    assert found.traceback.endswith("".join(expected).rstrip())
    assert '  File "rules.txt", line ' in found.traceback
    assert "^" in found.traceback


def _syntax_error() -> SyntaxError:
    try:
        compile("x = (1,\ny ==", "rules.txt", "exec")
    except SyntaxError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("source", ["if x:\npass", "x = 'abc", "\tx\n  y", "print 'x'", "é = ("])
def test_kinds_of_syntax_errors(source: str) -> None:
    """Indentation errors and their like keep their names."""
    with pytest.raises(SyntaxError) as caught:
        compile(source, "rules.txt", "exec")
    error = caught.value.with_traceback(None)
    assert error_details(error).traceback == python_s(error)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this Python guesses only where it prints")
def test_what_was_probably_meant(script: Any, failing: Any) -> None:
    """The guess of Python stands where it would stand in Python's traceback."""
    error = failing(script("import json\ndef main(): return json.dmps(1)")["main"])
    assert error_details(error).traceback.endswith("Did you mean: 'dumps'?")


def test_a_long_chain_keeps_both_ends() -> None:
    """Of a thousand causes the first ones and the last ones are shown, and how many are not."""
    error: Exception = ValueError("cause 0")
    for number in range(1, 1000):
        error = linked(ValueError(f"cause {number}"), error, "cause")  # type: ignore[assignment] # what it was given
    trace = error_details(error).traceback
    assert re.findall(r"cause (\d+)", trace) == [*map(str, range(10)), *map(str, range(990, 1000))]
    assert "[... 980 exceptions between them left out ...]" in trace


def test_a_chain_in_a_circle_ends() -> None:
    """Exceptions that are each other's cause are there once each."""
    one, two, three = ValueError("one"), ValueError("two"), ValueError("three")
    one.__cause__, two.__context__, three.__cause__ = two, three, one
    assert re.findall(r"ValueError: (\w+)", error_details(one).traceback) == ["three", "two", "one"]


def test_a_long_chain_of_large_exceptions_keeps_the_newest() -> None:
    """The newest exception, which is the last one, is never what is left out."""
    error: Exception = ValueError("x" * 10_000)
    for number in range(18):
        error = linked(ValueError(f"{number}: " + "y" * 10_000), error, "context")  # type: ignore[assignment] # as above
    error = linked(KeyError("the newest"), error, "cause")  # type: ignore[assignment] # as above
    trace = error_details(error).traceback
    assert trace.endswith("KeyError: 'the newest'")
    assert len(trace) < 60_100


def nested(width: int, depth: int) -> Exception:
    """Return a group of groups."""
    if depth == 0:
        return ValueError("leaf")
    inner = nested(width, depth - 1)
    return ExceptionGroup(f"level {depth}", [inner] * width)


def test_a_huge_tree_of_groups_is_bounded() -> None:
    """A group of a thousand groups of a thousand, nine deep, is shown in bounded size and time."""
    error = nested(1000, 9)
    began = perf_counter()
    trace = error_details(error).traceback
    assert perf_counter() - began < 20
    assert len(trace) < 60_100
    assert trace.startswith("  | ExceptionGroup: level 9 (1000 sub-exceptions)")
    assert "and 985 more exceptions" in trace


def test_a_deep_tree_of_groups_is_bounded() -> None:
    """Groups within groups are shown down to the tenth."""
    trace = error_details(nested(1, 200)).traceback
    assert "level 200" in trace
    assert "(groups deeper than 10 are left out)" in trace
    assert len(trace) < 5_000


def test_a_large_message_is_cut_in_the_traceback_too() -> None:
    """Each exception's own text has its bounds, and notes have them."""
    error = noted(ValueError("a" * 1_000_000), ["b" * 1_000_000] * 100)
    found = error_details(error)
    assert len(found.message) < 4_100
    assert len(found.traceback) < 60_100
    assert "characters left out" in found.message


def test_frames_of_a_cause_are_those_of_the_script(script: Any, library: Any, details: Any) -> None:
    """Each traceback of a chain is folded by itself, and says how it led to the next."""
    source = """
        def read(): return {}["apn"]
        def main():
            try:
                read()
            except KeyError as error:
                raise ValueError("no parcels") from error
    """
    found = details(script(source)["main"])
    assert found.where == "parcels.py:7 in main"
    assert (
        "KeyError: 'apn'\n\nThe above exception was the direct cause of the following exception:\n\n" in found.traceback
    )
    assert found.traceback.count("Traceback (most recent call last):") == 2
