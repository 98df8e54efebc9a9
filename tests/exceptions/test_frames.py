"""Library frames are folded, recursion is shown once, and the script's frames always stay."""

from __future__ import annotations

import re
import sys
import traceback
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest

from supervisor._exceptions import error_details
from supervisor._exceptions.frames import file_name

if TYPE_CHECKING:
    from supervisor.models import ErrorDetails


def shown(trace: str) -> list[str]:
    """Return what a traceback shows: of each frame the function, of what is left out the line."""
    return [
        line.split()[-1] if line.startswith('  File "') else line
        for line in trace.split("\n")
        if line.startswith(('  File "', "  ..."))
    ]


LAYERS = "def a(go): return b(go)\ndef b(go): return c(go)\ndef c(go): return d(go)\ndef d(go): return go()"


def test_frames_between_those_of_the_script_are_folded(script: Any, library: Any, details: Any) -> None:
    """The frame that the script called stays, the others become a line that names their packages."""
    inner = library("numbers_lib/core.py", "def run(go): return deep(go)\ndef deep(go): return go()")
    outer = library("sqlalchemy/engine.py", LAYERS)
    main = script(
        "def main(): return a(lambda: run(callback))\ndef callback(): return 1 / 0", a=outer["a"], run=inner["run"]
    )["main"]
    assert shown(details(main).traceback) == [
        "main", "a", "  ... 3 frames in sqlalchemy (site-packages)", "<lambda>", "run", "deep", "callback",
    ]  # fmt: skip


def test_where_it_was_raised_stays(script: Any, library: Any, details: Any) -> None:
    """The innermost frame is shown, whoever wrote it; the place is still the script's."""
    outer, inner = library("sqlalchemy/engine.py", LAYERS), library("psycopg/driver.py", "def run(): return 1 / 0")
    found = details(script("def main(): return a(run)", a=outer["a"], run=inner["run"])["main"])
    assert shown(found.traceback) == ["main", "a", "  ... 3 frames in sqlalchemy (site-packages)", "run"]
    assert found.where == "parcels.py:1 in main"
    assert "return 1 / 0\nZeroDivisionError" in found.traceback


# Like tenacity's own, whose frames stand around each attempt; it is in each run of the benchmarks, but in no test.
TRYING_AGAIN = """
class RetryError(Exception): pass
def call(go, reraise):
    try:
        return attempt(go)
    except Exception as error:
        if reraise:
            raise
        raise RetryError("<Future at 0x7f8255921cd0 state=finished raised ConnectionError>") from error
def attempt(go): return go()
"""


@pytest.mark.parametrize("name", ["tenacity/__init__.py", "stamina/_core.py", "retrying.py", "backoff/_sync.py"])
def test_frames_of_libraries_that_try_again_are_folded(name: str, script: Any, library: Any, details: Any) -> None:
    """Also the one that the script called: the script called its own function."""
    retry = library(name, TRYING_AGAIN)
    source = "def main(): return call(load, True)\ndef load(): raise ConnectionError('gone')"
    found = details(script(source, call=retry["call"])["main"])
    package = name.partition("/")[0].removesuffix(".py")
    assert shown(found.traceback) == ["main", f"  ... 2 frames in {package} (site-packages)", "load"]


def test_what_the_last_attempt_failed_with_is_the_message(script: Any, library: Any, details: Any) -> None:
    """A RetryError of tenacity says nothing else, and has an address in it that differs each night."""
    retry = library("tenacity/__init__.py", TRYING_AGAIN, __name__="tenacity")
    source = "def main(): return call(load, False)\ndef load(): raise ConnectionError('gone')"
    found = details(script(source, call=retry["call"])["main"])
    assert str(found) == "tenacity.RetryError ConnectionError: gone"
    assert found.where == "parcels.py:2 in load"
    assert found.source == "def load(): raise ConnectionError('gone')"
    other = details(script(source.replace("'gone'", "'lost'"), call=retry["call"])["main"])
    assert other.fingerprint == found.fingerprint


def test_packages_are_named_with_where_they_are(script: Any, library: Any, details: Any) -> None:
    """In the order of their calls; of many packages four are named."""
    go: Any = lambda: 1 / 0  # noqa: E731 - one of many
    for name in ("one", "two", "three", "four", "five", "six", "seven"):
        go = library(f"{name}/x.py", "def call(): return go()", go=go)["call"]
    trace = details(script("def main(): return go()", go=go)["main"]).traceback
    assert shown(trace)[1:3] == ["call", "  ... 6 frames in six, five, four, three (site-packages) and 2 more"]


def test_libraries_and_python_s_own_modules_together(script: Any, library: Any, details: Any) -> None:
    """Libraries come first, Python's own modules behind."""
    outer = library("walker/x.py", "import json\ndef a(): return b()\ndef b(): return json.dumps([object()], indent=1)")
    trace = details(script("def main(): return a()", a=outer["a"])["main"]).traceback
    assert re.search(r"\n  \.\.\. \d frames in walker \(site-packages\), json \(standard library\)\n", trace)


def test_python_s_own_modules_are_folded_too(script: Any, details: Any) -> None:
    """Frames of the standard library are not the script's."""
    source = "import json\ndef main(): return json.dumps([object()], indent=1)"
    found = details(script(source)["main"])
    main, dumps, line, default = shown(found.traceback)
    assert (main, dumps, default) == ("main", "dumps", "default")
    assert re.fullmatch(r"  \.\.\. \d frames in json \(standard library\)", line)
    assert found.where == "parcels.py:2 in main"


def test_a_single_frame_is_not_folded(script: Any, library: Any, details: Any) -> None:
    """A line in the place of a frame would save nothing."""
    outer = library("lib/x.py", "def a(go): return b(go)\ndef b(go): return go()")
    main = script("def main(): return a(lambda: 1 / 0)", a=outer["a"])["main"]
    assert shown(details(main).traceback) == ["main", "a", "b", "<lambda>"]


def test_libraries_before_the_script(library: Any, script: Any, failing: Any) -> None:
    """A script that a framework calls: how it came to it is one line."""
    outer = library("scheduler/jobs.py", LAYERS)
    main = script("def main(): return 1 / 0")["main"]
    error = failing(lambda: outer["a"](main))
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
    error.__context__ = None
    wrapper = ValueError("no rows")
    wrapper.__cause__ = error
    trace = error_details(wrapper).traceback
    assert shown(trace) == ["  ... 4 frames in scheduler (site-packages)", "main"]


def test_a_cause_within_a_library_keeps_its_first_frame(library: Any, script: Any, details: Any) -> None:
    """A traceback without a frame of the script shows where it begins and where it ends."""
    outer = library(
        "engine/x.py", LAYERS + "\ndef run():\n try: a(lambda: 1 / 0)\n except Exception as e: raise OSError from e"
    )
    main = script("def main(): run()", run=outer["run"])["main"]
    trace = details(main).traceback
    assert shown(trace) == ["run", "  ... 4 frames in engine (site-packages)", "<lambda>", "main", "run"]


def test_recursion_is_shown_once(script: Any, details: Any) -> None:
    """A function that calls itself is there once, with how often."""
    source = (
        "def walk(depth):\n    if not depth: return 1 / 0\n    return walk(depth - 1)\ndef main(): return walk(100)"
    )
    assert shown(details(script(source)["main"]).traceback) == [
        "main", "walk", "  ... the last frame repeated 99 times", "walk",
    ]  # fmt: skip


def test_recursion_through_several_functions(script: Any, details: Any) -> None:
    """Functions that call each other in turn are there once."""
    source = """
        def a(depth): return b(depth)
        def b(depth): return c(depth)
        def c(depth): return a(depth - 1) if depth else d()
        def d(): return 1 / 0
        def main(): return a(50)
    """
    found = details(script(source)["main"])
    assert shown(found.traceback) == ["main", "a", "b", "c", "  ... the last 3 frames repeated 50 times", "d"]


def test_recursion_through_a_library(script: Any, library: Any, details: Any) -> None:
    """Folded frames count in a recursion as the frames that they are."""
    outer = library("walker/x.py", LAYERS)
    source = "def visit(depth=20): return a(lambda: visit(depth - 1) if depth else 1 / 0)"
    trace = details(script(source, a=outer["a"])["visit"]).traceback
    assert shown(trace) == [
        "visit", "a", "  ... 3 frames in walker (site-packages)", "<lambda>",
        "  ... the last 6 frames repeated 20 times",
    ]  # fmt: skip


def test_a_function_that_is_there_twice_stays_twice(script: Any, details: Any) -> None:
    """Two calls of one decorator are no recursion."""
    source = "def call(f, *rest): return f(*rest)\ndef main(): return call(call, call, lambda: 1 / 0)"
    assert shown(details(script(source)["main"]).traceback) == ["main", "call", "call", "call", "<lambda>"]


def test_a_recursion_error(script: Any, details: Any) -> None:
    """A recursion without end is reported, small."""
    found = details(script("def walk(n=0): return walk(n + 1)\ndef main(): return walk()")["main"])
    assert found.type == "RecursionError"
    assert found.where == "parcels.py:1 in walk"
    assert "the last frame repeated" in found.traceback
    assert len(found.traceback) < 1_000


def test_a_recursion_error_where_the_stack_is_still_full(script: Any) -> None:
    """Details are taken deep within a recursion too, or say why not; nothing is raised."""
    tellings: list[ErrorDetails] = []

    def walk(depth: int) -> None:
        try:
            walk(depth + 1)
        except RecursionError as error:
            if len(tellings) < 3:  # the first ones have no room for anything
                tellings.append(error_details(error))
            raise

    with pytest.raises(RecursionError):
        walk(0)
    assert [each.type for each in tellings][-1] == "RecursionError"


def test_a_thousand_different_frames(script: Any, details: Any) -> None:
    """A long traceback without repetition keeps its two ends."""
    lines = [f"def f{number}(): return f{number + 1}()" for number in range(900)]
    module = script("\n".join([*lines, "def f900(): return 1 / 0"]))
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(3000)
    try:
        found = details(module["f0"])
    finally:
        sys.setrecursionlimit(before)
    assert "  ... 701 more frames" in found.traceback
    assert (shown(found.traceback)[0], shown(found.traceback)[-1]) == ("f0", "f900")
    assert len(found.traceback) < 60_100
    assert found.where == "parcels.py:901 in f900"


def test_a_traceback_of_very_many_frames(script: Any) -> None:
    """Time and size stay bounded, however long a traceback is."""
    error = make_long(200_000)
    began = perf_counter()
    found = error_details(error)
    assert perf_counter() - began < 5
    assert len(found.traceback) < 60_100
    error.__traceback__ = None


def make_long(count: int) -> ValueError:
    """Return an exception whose traceback has as many frames."""
    from types import TracebackType

    error, frame, trace = ValueError("long"), sys._getframe(), None
    for number in range(count):
        trace = TracebackType(trace, frame, 0, 1 + number % 50)
    return error.with_traceback(trace)


def test_it_is_smaller_than_python_s(script: Any, library: Any, failing: Any) -> None:
    """That is what folding is for."""
    outer = library("sqlalchemy/engine.py", LAYERS)
    error = failing(script("def main(): return a(lambda: a(lambda: 1 / 0))", a=outer["a"])["main"])
    assert len(error_details(error).traceback) < 0.8 * len("".join(traceback.format_exception(error)))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/var/log/x.log", "x.log"),
        ("C:\\logs\\x.log", "x.log"),
        ("\\\\server\\share\\x.log", "x.log"),
        ("x.log", "x.log"),
    ],
)
def test_the_name_of_a_file(path: str, name: str) -> None:
    """The last part of a path is its name, on every system."""
    assert file_name(path) == name
