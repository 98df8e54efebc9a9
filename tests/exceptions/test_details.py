"""The details of an exception: its place, the lines around it, its notes, and details that its class provides."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import attrs
import pytest

from supervisor._exceptions import error_details
from supervisor._redaction import Redactor
from supervisor.models import ErrorDetails

SCRIPT = """
    def load(row, table={}):
        number = 1
        if number:

            return table[row] + number


    def main():
        load("apn")
"""


def test_the_place_is_shown(script: Any, details: Any) -> None:
    """Type, text, the script's innermost frame and its line of code are there."""
    found = details(script(SCRIPT)["main"])
    assert (found.type, found.message, str(found)) == ("KeyError", "'apn'", "KeyError 'apn'")
    assert found.where == "parcels.py:6 in load"
    assert found.source == "return table[row] + number"
    assert (found.notes, found.local_variables, found.thread) == ((), (), "")


def test_the_excerpt_shows_the_lines_around(script: Any, details: Any) -> None:
    """Two lines before and after, but no blank ones at the ends; numbered, and what failed is marked."""
    found = details(script(SCRIPT)["main"])
    assert found.excerpt.split("\n") == [
        "  4 | if number:",
        "  5 |",
        "> 6 |     return table[row] + number",
        "    |            ^^^^^^^^^^",
    ]


def test_the_excerpt_at_the_ends_of_a_file(script: Any, details: Any) -> None:
    """The first line has none before it, the last none after it, and numbers stand below each other."""
    first = details(script("def main(): return 1 / 0")["main"])
    assert first.excerpt.split("\n") == ["> 1 | def main(): return 1 / 0", "    |                    ^^^^^"]
    later = details(script("\n" * 9 + "def main():\n\t1 / 0")["main"])
    assert later.excerpt.split("\n") == ["  10 | def main():", "> 11 |         1 / 0"]


def test_the_mark_counts_characters_as_they_are_shown(script: Any, details: Any) -> None:
    """Columns are right behind umlauts and behind characters of two columns."""
    umlaut = details(script("def main(): return 'äöü' + str(1 / 0)")["main"])
    assert umlaut.excerpt.split("\n")[1].index("^") == umlaut.excerpt.split("\n")[0].index("1 / 0")
    wide = details(script("def main(): return '日本' + str(1 / 0)")["main"])
    assert wide.excerpt.split("\n")[1].index("^") == wide.excerpt.split("\n")[0].index("1 / 0") + 2


def test_long_lines_are_cut(script: Any, details: Any) -> None:
    """A line of a generated file is bounded, in the excerpt, the traceback and the source."""
    found = details(script(f"def main(): return 1 / 0, '{'x' * 5000}'")["main"])
    assert max(map(len, (found.excerpt + found.traceback + found.source).split("\n"))) < 600
    assert found.source.endswith("…")


def test_a_file_that_is_gone(script: Any, failing: Any, tmp_path: Path) -> None:
    """Without its file there is no source, and all else is shown."""
    error = failing(script(SCRIPT)["main"])
    (tmp_path / "parcels.py").unlink()
    found = error_details(error)
    assert (found.where, found.source, found.excerpt) == ("parcels.py:6 in load", "", "")
    assert "line 6, in load\nKeyError: 'apn'" in found.traceback


def test_a_file_that_was_changed(script: Any, details: Any) -> None:
    """The lines are those that the file has when it is shown."""
    assert details(script("def main(): return 1 / 0")["main"]).source == "def main(): return 1 / 0"
    assert details(script("def main(): return 5 / 0")["main"]).source == "def main(): return 5 / 0"


def test_a_file_that_is_shorter_now(script: Any, failing: Any, tmp_path: Path) -> None:
    """A line that is not there any more is left out."""
    error = failing(script(SCRIPT)["main"])
    (tmp_path / "parcels.py").write_text("pass\n", encoding="utf-8")
    assert error_details(error).excerpt == ""


def test_a_module_within_a_zip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: Any) -> None:
    """An application in one file (zipapp) has its lines read by its loader."""
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("zipped_parcels.py", "def main():\n    return {}['apn']\n")
    monkeypatch.syspath_prepend(str(tmp_path / "app.pyz"))
    import zipped_parcels  # type: ignore[import-not-found] # made above

    assert error_details(failing(zipped_parcels.main)).source == "return {}['apn']"


def test_notes_are_shown(details: Any) -> None:
    """What was added with ``add_note`` comes in its order, bounded in length and number."""

    def fail() -> None:
        error = ValueError("no rows")
        error.add_note("while loading parcels.csv")
        error.add_note("x" * 100_000)
        for number in range(1000):
            error.add_note(f"note {number}")
        raise error

    found = details(fail)
    assert found.notes[0] == "while loading parcels.csv"
    assert len(found.notes[1]) < 1_100
    assert (len(found.notes), found.notes[-1]) == (21, "... 982 more notes")
    assert "ValueError: no rows\nwhile loading parcels.csv\n" in found.traceback


def test_a_thread_is_shown(details: Any) -> None:
    """The thread or task has its name there, bounded."""
    assert details(lambda: 1 / 0, thread="uploader").thread == "uploader"
    assert len(details(lambda: 1 / 0, thread="x" * 10_000).thread) <= 300


def test_an_exception_that_was_never_raised() -> None:
    """It has no place; its type and text are shown."""
    found = error_details(ValueError("no rows"))
    assert (found.type, found.message, found.where, found.source) == ("ValueError", "no rows", "", "")
    assert (found.excerpt, found.traceback) == ("", "ValueError: no rows")


def test_a_failure_in_libraries_alone(library: Any, details: Any) -> None:
    """Without a frame of the script the place is where it was raised."""
    inner = library("numbers_lib/inner.py", "def divide(): return 1 / 0")
    library("asyncio_lib/outer.py", "")
    found = details(inner["divide"])
    assert found.where == "inner.py:1 in divide"
    assert found.source == "def divide(): return 1 / 0"


def test_an_installed_script_is_the_script(library: Any, details: Any) -> None:
    """A supervised function that is installed as a package is no library: its frames count, and are shown."""
    steps = library(
        "my_etl/steps.py", "def step(rows):\n    return deep(rows)\ndef deep(rows):\n    return rows['apn']"
    )
    main = library("my_etl/cli.py", "def main():\n    rows = {}\n    return step(rows)", step=steps["step"])["main"]
    found = details(main, show_locals=True)
    assert found.where == "steps.py:4 in deep"
    assert found.local_variables == (("rows", "{}"),)
    assert [line.split()[-1] for line in found.traceback.split("\n") if "File" in line] == ["main", "step", "deep"]


def test_frames_of_supervisor_are_left_out(recorder: Any) -> None:
    """The decorator is no part of the story."""
    from supervisor import supervised

    def main() -> None:
        raise ValueError("no rows")

    with pytest.raises(ValueError, match="no rows") as caught:
        supervised("night", journal=False)(main)()
    found = error_details(caught.value)
    assert "wrapping.py" not in found.traceback
    assert found.where.endswith("in main")


def test_extension_modules_are_libraries(library: Any, script: Any, details: Any) -> None:
    """Their frames name source files that are not there; where the module is tells whose they are."""
    inner = library("tables/index.py", "")
    exec(compile("def find(): return {}['apn']", "tables/index.pyx", "exec"), inner)
    found = details(script("def main(): return find()", find=inner["find"])["main"])
    assert found.where == "parcels.py:1 in main"
    assert '  File "tables/index.pyx", line 1, in find\nKeyError' in found.traceback


# Fingerprints


def test_the_fingerprint_is_of_kind_and_place(script: Any, details: Any) -> None:
    """Lines above, another text and redaction change nothing; another function or type does."""
    first = details(script(SCRIPT)["main"])
    assert first.fingerprint == details(script("\n\n\n" + textwrap.dedent(SCRIPT))["main"]).fingerprint
    assert first.fingerprint == details(script(SCRIPT.replace("apn", "owner"))["main"]).fingerprint
    redacted = details(script(SCRIPT)["main"], redactor=Redactor(["return table"]), show_locals=True)
    assert "return table" not in redacted.traceback
    assert first.fingerprint == redacted.fingerprint
    assert first.fingerprint != details(script(SCRIPT.replace("load", "fetch"))["main"]).fingerprint
    assert first.fingerprint != details(script(SCRIPT.replace("table[row]", "row.x"))["main"]).fingerprint


def test_the_fingerprint_of_a_recursion_does_not_depend_on_its_depth(script: Any, details: Any) -> None:
    """A tree of another depth, or a stack that was fuller already, is the same failure."""
    walk = script("def walk(depth):\n    return walk(depth - 1) if depth else 1 / 0")["walk"]
    assert details(lambda: walk(3)).fingerprint == details(lambda: walk(30)).fingerprint


def test_the_fingerprint_of_a_library_changes_nothing(library: Any, script: Any, details: Any) -> None:
    """Another version of a library, with other functions within, makes no other failure."""
    main = "def main():\n    return read()"
    one = library("tables/a.py", "def read(): return 1 / 0")
    two = library("tables/b.py", "def read(): return deep()\ndef deep(): return 1 / 0")
    first, second = details(script(main, read=one["read"])["main"]), details(script(main, read=two["read"])["main"])
    assert first.fingerprint == second.fingerprint
    assert first.where == second.where == "parcels.py:2 in main"


# Exceptions that know better


@attrs.define
class ProgramFailedError(Exception):
    """Stands for what a supervised command raises."""

    found: Any

    def __supervisor_error_details__(self) -> Any:
        return self.found() if callable(self.found) else self.found


def test_an_exception_may_speak_for_itself(details: Any) -> None:
    """What its own method returns is shown, without secrets, within the usual bounds, with the thread."""
    own = ErrorDetails(
        type="exit code 3",
        message="password=hunter2abc",
        excerpt="token=hunter2abc",
        notes=("api_key=hunter2abc",),
        local_variables=(("a", "secret=hunter2abc"),),
        traceback="line\n" * 50_000 + "password=hunter2abc",
        fingerprint="f00d",
    )

    def fail() -> None:
        raise ProgramFailedError(own)

    found = details(fail, thread="uploader", redactor=Redactor())
    assert (found.type, found.thread, found.fingerprint) == ("exit code 3", "uploader", "f00d")
    assert "hunter2abc" not in repr(found)
    assert len(found.traceback) < 61_000
    assert details(fail).message == "password=hunter2abc"


def _raise() -> None:
    raise RuntimeError("no details")


@pytest.mark.parametrize("own", ["text", None, _raise])
def test_an_exception_that_knows_no_better(own: Any, details: Any) -> None:
    """A method that raises, or returns something else, is passed over."""

    def fail() -> None:
        raise ProgramFailedError(own)

    assert details(fail).type == f"{__name__}.ProgramFailedError"


def test_details_without_a_fingerprint_get_one(details: Any) -> None:
    """Repeats are known by it."""

    def fail() -> None:
        raise ProgramFailedError(ErrorDetails(type="exit code 3"))

    assert details(fail).fingerprint


# Where there is hardly anything left


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of open files to set")
def test_no_file_can_be_opened_any_more(tmp_path: Path) -> None:
    """An error because of too many open files is reported, although nothing can be imported or read then."""
    code = """
        import resource, supervisor.models, supervisor._messages  # as who tells has loaded by then
        from supervisor._exceptions import error_details
        from supervisor._redaction import Redactor
        redactor = Redactor()
        redactor.text("password=hunter2abc")
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
        files = []
        try:
            while True:
                files.append(open("/dev/null"))
                password = "password=hunter2abc"
        except OSError as error:
            found = error_details(error, redactor=redactor)
        files.clear()
        print(found.type, found.message, found.traceback.splitlines()[-1], sep="\\n")
        print(found.traceback.splitlines()[:-1])
    """
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    message = "[Errno 24] Too many open files: '/dev/null'"
    *found, frames = done.stdout.splitlines()
    assert found == ["OSError", message, f"OSError: {message}"]
    assert eval(frames) == ["Traceback (most recent call last):", '  File "<string>", line 11, in <module>']


def test_importing_it_loads_nothing_that_looks_at_exceptions() -> None:
    """A run that goes well does without it."""
    code = (
        "import sys, supervisor._exceptions; print(sorted(each for each in sys.modules if each.startswith("
        "('supervisor._exceptions.', 'supervisor._redaction.redactor', 'hashlib'))))"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['supervisor._exceptions.facts']\n"
