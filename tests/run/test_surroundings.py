"""What is around a run: taken at the end of each, the facts only where they are worth their time."""

from __future__ import annotations

import json
import os
import sys
import types
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from scripts import Script

from supervisor import _exceptions, supervise
from supervisor._run import surroundings
from supervisor._store import open_journal

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor._store.essentials import Surroundings


@pytest.fixture(autouse=True)
def look_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test look for itself: a process looks once a second, and at no more files than a script has."""
    surroundings._stamp.cache_clear()
    _exceptions.facts._least_stamp.cache_clear()
    monkeypatch.setattr(surroundings, "_MOST_FILES", 10_000)  # the process of the tests has loaded all of them


def stamp(command: list[str] | None = None) -> dict[str, Any]:
    """Return what is around a run that ends now."""
    surroundings._stamp.cache_clear()
    parts: dict[str, Any] = json.loads(surroundings.surroundings_of(command).stamp)
    return parts


def facts(command: list[str] | None = None) -> dict[str, Any]:
    """Return what takes longer to find out."""
    around = surroundings.with_facts(surroundings.surroundings_of(command), command)
    assert around.facts is not None
    found: dict[str, Any] = json.loads(around.facts)
    return found


def load(monkeypatch: pytest.MonkeyPatch, path: str, name: str = "parcels_of_a_test") -> None:
    """Let a module from a path be loaded."""
    module = types.ModuleType(name)
    module.__file__ = path
    monkeypatch.setitem(sys.modules, name, module)


def kept(state: Path, name: str) -> Surroundings | None:
    """Return what the journal has of the newest run of a name."""
    with closing(open_journal(state)) as journal:
        run = journal.last_run(name)
        assert run is not None
        return journal.surroundings_of(run)


def test_the_files_of_the_script_are_those_that_it_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Modules of packages, of Python and of supervisor are none of them; what is gone by then is left out."""
    path = tmp_path / "parcels.py"
    path.write_text("APN = 1")
    load(monkeypatch, str(path))
    load(monkeypatch, str(tmp_path / "gone.py"), "gone_of_a_test")
    load(monkeypatch, str(tmp_path / "site-packages" / "numpy.py"), "numpy_of_a_test")
    files = {each[0]: each for each in stamp()["files"]}
    status = path.stat()
    assert files[str(path)][1:] == [status.st_mtime_ns, status.st_size]
    assert not [each for each in files if each.endswith(("gone.py", "numpy.py", "json/__init__.py"))]
    assert not [each for each in files if f"supervisor{os.sep}_run{os.sep}" in each and "tests" not in each]


def test_modules_of_a_package_of_the_script_are_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same holds where the package has no file of its own."""
    path = tmp_path / "inner.py"
    path.write_text("")
    package = types.ModuleType("package_of_a_test")
    package.__path__ = [str(tmp_path)]
    monkeypatch.setitem(sys.modules, "package_of_a_test", package)
    load(monkeypatch, str(path), "package_of_a_test.inner")
    assert str(path) in [each[0] for each in stamp()["files"]]


def test_whatever_stands_among_the_modules_hurts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script may put anything there: None, an object that raises, a path that is none."""

    class Angry:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    monkeypatch.setitem(sys.modules, "none_of_a_test", None)
    monkeypatch.setitem(sys.modules, "angry_of_a_test", Angry())
    load(monkeypatch, "a\0b.py")
    monkeypatch.setattr(sys, "path", [*sys.path, os.path.join("nowhere", "site-packages")])  # noqa: PTH118 - a text
    assert "packages" in stamp()
    assert facts()["packages"]


def test_a_script_in_an_archive_is_known_by_the_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its modules have paths that lead into it."""
    archive = tmp_path / "app.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("inner.py", "")
    load(monkeypatch, str(archive / "inner.py"))
    assert str(archive) in [each[0] for each in stamp()["files"]]


def test_versions_are_those_in_the_names_of_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first folder on the path wins, as for an import."""
    first, second = tmp_path / "a" / "site-packages", tmp_path / "b" / "site-packages"
    for folder, name in ((first, "Pandas_Extra-2.3.0"), (second, "pandas_extra-2.2.3"), (second, "numpy-2.0")):
        (folder / f"{name}.dist-info").mkdir(parents=True)
    (second / "broken.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(first), str(second), str(tmp_path / "gone")])
    assert facts()["packages"] == {"numpy": "2.0", "pandas-extra": "2.3.0"}
    before = stamp()["packages"]
    (second / "geopandas-1.0.dist-info").mkdir()
    os.utime(second, ns=(1, 1))  # whatever the clock of the file system has
    assert stamp()["packages"] != before


def test_variables_are_kept_by_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their values may be secrets."""
    monkeypatch.setenv("PARCELS_TOKEN", "hunter2hunter2")
    around = surroundings.with_facts(surroundings.surroundings_of(None), None)
    assert "PARCELS_TOKEN" in json.loads(around.stamp)["variables"]
    assert b"hunter2" not in around.stamp + (around.facts or b"")


def test_a_program_is_known_by_the_files_of_its_command_line(tmp_path: Path) -> None:
    """Of what it has installed nothing is known."""
    script = tmp_path / "load.sh"
    script.write_text("true")
    known = stamp(["bash", str(script), "--to", "gis"])
    assert [each[0] for each in known["files"]] == [str(script)]
    assert (known["packages"], known["python"]) == ([], "")
    assert list(facts(["bash", str(script)])["files"]) == [str(script)]


def test_a_short_success_keeps_only_times_of_files_and_folders(state: Path) -> None:
    """Whatever takes longer is for runs that fail or last a second."""
    with supervise("parcels"):
        pass
    short = kept(state, "parcels")
    assert short is not None
    assert (short.key, short.facts) == (None, None)
    assert set(json.loads(short.stamp)) == {"files", "packages"}


def test_of_a_short_success_few_files_are_looked_at(tmp_path: Path) -> None:
    """However many stand beside the script, which is always one of them."""
    for number in range(100):
        (tmp_path / f"module_{number}.py").touch()
    script = tmp_path / "script.py"
    script.touch()
    files = json.loads(_exceptions.least_surroundings(str(script)).stamp)["files"]
    assert str(script) in [path for path, *_ in files]
    assert len(files) <= 21
    assert json.loads(_exceptions.least_surroundings(str(tmp_path / "gone" / "script.py")).stamp)["files"] == []


def test_runs_that_are_alike_share_what_is_kept(state: Path) -> None:
    """It is written once, however many runs have it."""
    found = []
    for error in (KeyError("apn"), ValueError("tin")):
        with supervise("parcels", reraise=False):
            raise error
        found.append(kept(state, "parcels"))
    first, second = found
    assert first is not None
    assert first.key is not None
    assert first == second
    assert json.loads(first.facts or b"{}")["packages"]


def test_without_a_journal_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to compare it with."""
    looked: list[object] = []
    monkeypatch.setattr(surroundings, "surroundings_of", lambda *given: looked.append(given))
    with supervise("parcels", journal=False, reraise=False):
        raise KeyError("apn")
    assert looked == []


def test_what_cannot_be_found_out_hurts_nobody(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is recorded all the same."""
    monkeypatch.setattr(surroundings, "_own_files", lambda: 1 / 0)
    with supervise("parcels", reraise=False):
        raise KeyError("apn")
    short = kept(state, "parcels")
    assert short is not None
    assert short.facts is None


def test_an_end_is_recorded_whatever_a_script_has_done_to_itself(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the run would be reported as died."""
    with supervise("parcels"):
        monkeypatch.setattr(_exceptions, "least_surroundings", lambda _: 1 / 0)
    with closing(open_journal(state)) as journal:
        run = journal.last_run("parcels")
    assert run is not None
    assert (run.outcome, run.surroundings, run.stamp) == ("success", None, None)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a working directory from being removed")
def test_a_working_directory_that_is_gone_hurts_nobody(state: Path, tmp_path: Path) -> None:
    """Nor do files of the script that are gone."""
    script = Script(
        tmp_path,
        """
        import os
        with supervise("parcels"):
            here = os.getcwd()
            os.rmdir(here)
            os.remove(__file__)
        """,
    )
    ended = script.end()
    assert (ended.code, ended.stderr) == (0, "")
    assert kept(state, "parcels") is not None
