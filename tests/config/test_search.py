"""Which files are read, and which of them wins."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import pytest
from configuration_kit import NO_SUCH_FILE, Machine

from supervisor._config import load, toml_file
from supervisor._config.configuration import Configuration
from supervisor._config.search import CandidateFile, _platform_directories, _xdg_directories
from supervisor._config.toml_file import _is_trusted

if TYPE_CHECKING:
    from collections.abc import Iterator

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="owners, permissions and FIFOs are POSIX's")
NOBODY = 65534
posix: Any = os
"""The module ``os`` with what Windows has not, for type checkers there."""


def logger(name: str) -> str:
    """Return a file that gives a setting."""
    return f'[defaults]\nlogger = "{name}"\n'


def test_without_any_file_there_is_nothing(machine: Machine) -> None:
    """Nothing is configured, and nothing is wrong."""
    configuration = machine.load()
    assert configuration == Configuration()
    assert configuration.checked() is configuration
    assert configuration.for_run("night") == configuration.for_run(None) == {}


def test_the_nearer_to_the_script_the_stronger(machine: Machine) -> None:
    """Machine, user, project, profile, variable: each goes over those before it, and the rest stays."""
    machine.write('[defaults]\nlogger = "machine"\nrepeat_after_s = 1', machine.site)
    assert machine.load().settings == {"logger": "machine", "repeat_after_s": 1}
    machine.write('[defaults]\nlogger = "user"\nlog_path = "/x.log"', machine.user)
    assert machine.load().settings["logger"] == "user"
    machine.write(logger("project"))
    assert machine.load().settings["logger"] == "project"
    machine.write(f"{logger('user')}\n[profiles.dev.defaults]\nlogger = 'profile'", machine.user)
    configuration = machine.load(SUPERVISOR_PROFILE="dev")
    assert configuration.settings["logger"] == "profile"
    assert configuration.settings["repeat_after_s"] == 1
    assert configuration.files == tuple(map(str, (machine.site, machine.user, machine.file)))
    configuration = machine.load(SUPERVISOR_PROFILE="dev", SUPERVISOR_LOGGER="variable")
    assert configuration.settings["logger"] == "variable"
    assert str(configuration.origins["defaults.logger"]) == "environment variable SUPERVISOR_LOGGER"
    assert str(configuration.origins["defaults.repeat_after_s"]) == f"{machine.site}:3"
    assert not configuration.problems


def test_only_the_nearest_file_upwards_counts(machine: Machine) -> None:
    """A file in the script's folder hides the one above; none is laid over the other."""
    machine.write('[defaults]\nlogger = "above"\nrepeat_after_s = 5')
    assert machine.load().settings == {"logger": "above", "repeat_after_s": 5}
    machine.write(logger("beside"), machine.script.parent / "supervisor.toml")
    assert machine.load().settings == {"logger": "beside"}


@pytest.mark.parametrize(
    "text",
    [
        '[tool.supervisor.defaults]\nlogger = "x"',
        '[tool]\nsupervisor = { defaults = { logger = "x" } }',
        'tool.supervisor.defaults.logger = "x"',
        '[ tool . "supervisor" . defaults ]\nlogger = "x"',
    ],
)
def test_a_pyproject_may_hold_it(machine: Machine, text: str) -> None:
    """The part of a pyproject.toml is as good as a file, however it is written."""
    path = machine.write(f'{text}\n[project]\nname = "parcels"', machine.project / "pyproject.toml")
    if text.startswith("tool"):
        machine.write(text, path)
    configuration = machine.load()
    assert configuration.settings == {"logger": "x"}
    assert configuration.files == (str(path),)
    assert configuration.origins["defaults.logger"].file == str(path)


def test_supervisor_toml_wins_in_its_folder_and_nearness_before_that(machine: Machine) -> None:
    """In one folder supervisor.toml hides pyproject.toml; a nearer pyproject.toml hides both."""
    machine.write('[tool.supervisor.defaults]\nlogger = "pyproject"', machine.project / "pyproject.toml")
    assert machine.load().settings == {"logger": "pyproject"}
    machine.write(logger("own"))
    assert machine.load().settings == {"logger": "own"}
    machine.write('[tool.supervisor.defaults]\nlogger = "near"', machine.script.parent / "pyproject.toml")
    assert machine.load().settings == {"logger": "near"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[project]\ndependencies = ["agrc-supervisor"]',
        '[project]\ndependencies = ["agrc-supervisor"]\nbroken',
        '[project]\nname = "supervisor-scripts"\n[tool.ruff]\nline-length = 120',
        '[project]\nname = "supervisor-scripts"\n[tool]\n',
    ],
)
def test_a_pyproject_of_somebody_else_is_passed_over(machine: Machine, text: str) -> None:
    """One that has no part for supervisor hides nothing, and its mistakes are not ours."""
    machine.write(text, machine.script.parent / "pyproject.toml")
    configuration = machine.load(logger("above"))
    assert configuration.settings == {"logger": "above"}
    assert not configuration.problems


def test_a_wrong_file_hides_those_above_it(machine: Machine) -> None:
    """A file that cannot be read as TOML was meant for this script: those above it do not step in unasked."""
    machine.write("broken", machine.script.parent / "supervisor.toml")
    configuration = machine.load(logger("above"))
    assert not configuration.settings
    assert len(configuration.problems) == 1


def test_a_script_is_looked_for_where_it_really_is(machine: Machine, tmp_path: Path) -> None:
    """A link to a script finds the configuration beside the script, and a folder stands for the script in it."""
    machine.write(logger("project"))
    link = tmp_path / "link.py"
    try:
        link.symlink_to(machine.script)
    except OSError:
        pytest.skip("this user may not make links")
    if link.resolve() == link:
        pytest.skip("this system makes no links")
    assert load(link, {}, directories=[]).settings == {"logger": "project"}
    assert load(str(link), {}, directories=[]).settings == {"logger": "project"}
    assert load(machine.script.parent, {}, directories=[]).settings == {"logger": "project"}
    assert load(machine.script.parent / "no such script", {}, directories=[]).settings == {"logger": "project"}


def test_without_a_script_the_working_directory_counts(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter without a script starts where it is, and finds nothing where that is gone."""
    machine.write(logger("project"))
    monkeypatch.chdir(machine.script.parent)
    assert load(None, {}, directories=[]).settings == {"logger": "project"}
    assert load("night.py", {}, directories=[]).settings == {"logger": "project"}
    if sys.platform != "win32":
        gone = machine.project / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        assert load(None, {}, directories=[]) == Configuration()
        assert load("night.py", {}, directories=[]) == Configuration()


def test_a_file_that_is_found_twice_is_read_once(machine: Machine) -> None:
    """A script in the user's own directory has its file once, and at its stronger place."""
    machine.write(logger("machine") + "nonsense = 1", machine.site)
    machine.write(logger("user"), machine.user)
    script = machine.site.parent / "night.py"
    script.touch()
    configuration = load(script, {}, directories=[machine.site.parent, machine.user.parent])
    assert configuration.settings == {"logger": "machine"}
    assert configuration.files == (str(machine.user), str(machine.site))
    assert len(configuration.problems) == 1


# SUPERVISOR_CONFIG


def test_a_chosen_file_is_read_instead_of_all_others(machine: Machine, tmp_path: Path) -> None:
    """``SUPERVISOR_CONFIG`` ends the search; other variables still go over the file."""
    for path in (machine.site, machine.user, machine.file):
        machine.write(logger("found"), path)
    chosen = machine.write("[defaults]\nrepeat_after_s = 5", tmp_path / "other.toml")
    configuration = machine.load(SUPERVISOR_CONFIG=str(chosen), SUPERVISOR_JOURNAL="no")
    assert configuration.settings == {"repeat_after_s": 5, "journal": False}
    assert configuration.files == (str(chosen),)
    assert machine.load(SUPERVISOR_CONFIG=os.devnull) == Configuration()
    assert machine.load(SUPERVISOR_CONFIG="  ").settings == {"logger": "found"}


def test_a_chosen_file_may_be_relative(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts in the working directory, or at home with a tilde; a pyproject.toml has its part."""
    machine.write(logger("project"))
    machine.write('[tool.supervisor.defaults]\nlogger = "pyproject"', machine.project / "pyproject.toml")
    monkeypatch.chdir(machine.project)
    monkeypatch.setenv("HOME", str(machine.project))
    monkeypatch.setenv("USERPROFILE", str(machine.project))
    assert machine.load(SUPERVISOR_CONFIG="supervisor.toml").settings == {"logger": "project"}
    assert machine.load(SUPERVISOR_CONFIG="~/supervisor.toml").settings == {"logger": "project"}
    assert machine.load(SUPERVISOR_CONFIG="pyproject.toml").settings == {"logger": "pyproject"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("missing.toml", f"cannot be read: {NO_SUCH_FILE}"),
        ("folder", "cannot be read: is no regular file"),
        ("pyproject.toml", "has no table [tool.supervisor]"),
    ],
)
def test_a_chosen_file_that_is_of_no_use_is_told(machine: Machine, tmp_path: Path, name: str, expected: str) -> None:
    """Who names a file wants it: that it cannot be had is a mistake."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "pyproject.toml").touch()
    configuration = machine.load(SUPERVISOR_CONFIG=str(tmp_path / name))
    (problem,) = configuration.problems
    assert problem.file == str(tmp_path / name)
    assert problem.text.startswith(expected)


# What cannot be read, and what should not be believed


@posix_only
def test_what_is_no_file_is_not_there(machine: Machine) -> None:
    """A folder, a FIFO, and a link that leads nowhere or to itself are passed over, and nothing waits for them."""
    machine.write(logger("above"))
    near = machine.script.parent / "supervisor.toml"
    for target in ("folder", "FIFO", "supervisor.toml", "gone"):
        if target == "folder":
            near.mkdir()
        elif target == "FIFO":
            posix.mkfifo(near)
        else:
            near.symlink_to(target)
        configuration = machine.load()
        assert configuration.settings == {"logger": "above"}
        assert not configuration.problems
        near.rmdir() if near.is_dir() else near.unlink()


@contextmanager
def users_machine() -> Iterator[Machine]:
    """Give a machine that any user can look at."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # TMPDIR may be root's own
        Path(folder).chmod(0o755)
        yield Machine(Path(folder))


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be a user who may not do everything."""
    if posix.geteuid() != 0:
        yield
        return
    posix.seteuid(NOBODY)
    try:
        yield
    finally:
        posix.seteuid(0)


@posix_only
def test_a_file_that_may_not_be_read_is_told() -> None:
    """A user's or project's file that he may not read is a mistake; the machine's may be for others: a warning."""
    with users_machine() as machine:
        for path in (machine.site, machine.user, machine.file):
            machine.write(logger("barred"), path).chmod(0)
        with without_privileges():
            configuration = machine.load()
    expected = "cannot be read: Permission denied"
    assert [(each.file, each.text) for each in configuration.problems] == [
        (str(machine.user), expected),
        (str(machine.file), expected),
    ]
    assert [(each.file, each.text) for each in configuration.warnings] == [(str(machine.site), expected)]


@posix_only
def test_a_folder_that_may_not_be_entered_has_nothing() -> None:
    """Folders that are barred are passed over in silence: nobody can know what is in them."""
    with users_machine() as machine:
        machine.write(logger("barred"), machine.site)
        folders = machine.site.parent, machine.user.parent, machine.project
        for path in folders:
            path.chmod(0)
        with without_privileges():
            configuration = machine.load()
        for path in folders:
            path.chmod(0o755)
    assert configuration == Configuration()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_a_stranger_is_not_believed(machine: Machine) -> None:
    """What somebody else put above a script, as anybody can in /tmp, is left out with a warning; unless chosen."""
    posix.chown(machine.write(logger("planted")), NOBODY, NOBODY)
    configuration = machine.load()
    assert not configuration.settings
    (warning,) = configuration.warnings
    assert "belongs to another user (uid 65534)" in warning.text
    assert "SUPERVISOR_CONFIG" in warning.text
    assert machine.load(SUPERVISOR_CONFIG=str(machine.file)).settings == {"logger": "planted"}
    posix.chown(machine.script, NOBODY, NOBODY)
    assert machine.load().settings == {"logger": "planted"}


@posix_only
@pytest.mark.parametrize(
    ("owner", "place_owner", "believed"),
    [(0, 4711, True), (4711, 4711, True), (4712, 4711, False), (4712, -1, False), (4712, None, True)],
)
def test_whom_one_believes(owner: int, place_owner: int | None, believed: bool) -> None:
    """Root, the owner of the script and the user are believed; and any file that is not found by chance."""
    status = os.stat_result((0o100644, 1, 1, 1, owner, 0, 0, 0, 0, 0))
    assert _is_trusted(status, CandidateFile("/x", owner=place_owner)) is believed
    own = os.stat_result((0o100644, 1, 1, 1, posix.geteuid(), 0, 0, 0, 0, 0))
    assert _is_trusted(own, CandidateFile("/x", owner=place_owner))


@posix_only
def test_a_file_that_all_can_change_is_refused(machine: Machine) -> None:
    """Mode 0666 is a mistake with its remedy, wherever the file is; the rest of the configuration holds."""
    machine.write("[defaults]\nrepeat_after_s = 5", machine.user)
    for mode in (0o666, 0o602):
        machine.write(logger("all")).chmod(mode)
        found, chosen = machine.load(), machine.load(SUPERVISOR_CONFIG=str(machine.file))
        assert (found.settings, chosen.settings) == ({"repeat_after_s": 5}, {})
        for problems in (found.problems, chosen.problems):
            assert [each.text for each in problems] == [
                f"is left out, since every user of this machine can change it: chmod o-w {machine.file}"
            ]
    machine.file.chmod(0o644)
    assert machine.load().settings == {"repeat_after_s": 5, "logger": "all"}


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give links away")
def test_a_link_that_somebody_else_made_is_not_followed(machine: Machine, tmp_path: Path) -> None:
    """A link planted by another user to a file of our own is left out, also behind a link of ours."""
    own = machine.write(logger("own"), tmp_path / "own.toml")
    planted = tmp_path / "planted.toml"
    planted.symlink_to(own)
    machine.file.parent.mkdir(parents=True, exist_ok=True)
    machine.file.symlink_to(planted)
    assert machine.load().settings == {"logger": "own"}
    posix.chown(planted, NOBODY, NOBODY, follow_symlinks=False)
    found = machine.load()
    assert not found.settings
    (warning,) = found.warnings
    assert "another user (uid 65534) made the link" in warning.text


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give files to any group")
def test_a_file_that_a_group_can_change_is_warned_of_once(machine: Machine) -> None:
    """A group of several people is one warning; the group that a user has alone is none."""
    grp: Any = importlib.import_module("grp")  # Windows has none
    shared = next(each for each in grp.getgrall() if each.gr_name not in {"root", "nogroup"})
    machine.write(logger("team")).chmod(0o664)
    assert not machine.load().warnings
    posix.chown(machine.file, 0, shared.gr_gid)
    found = machine.load()
    assert found.settings == {"logger": "team"}
    (warning,) = found.warnings
    assert f"all in the group '{shared.gr_name}'" in warning.text
    assert f"chmod g-w {machine.file}" in warning.text


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all file systems have permissions of their own")
def test_permissions_that_mean_nothing_are_not_judged(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """On file systems that show the same permissions for all files, such as those of Windows, all are believed."""
    machine.write(logger("wsl")).chmod(0o777)
    device = machine.file.stat().st_dev
    kinds = {
        fields[fields.index("-") + 1]
        for fields in map(str.split, Path("/proc/self/mountinfo").read_text().splitlines())
        if fields[2] == f"{posix.major(device)}:{posix.minor(device)}"
    }
    if not kinds:
        pytest.skip("files here have another device number than their mount, as on btrfs")
    assert machine.load().problems
    monkeypatch.setattr(toml_file, "_WITHOUT_MODES", frozenset(kinds))
    assert machine.load().settings == {"logger": "wsl"}


def test_an_installed_script_finds_what_the_commands_find(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A console script lies in no project: it is configured by the working directory, as `supervisor config` is."""
    machine.write(logger("project"))
    monkeypatch.chdir(machine.script.parent)
    places = [machine.project.parent / "venv" / "bin", machine.project.parent / "lib" / "site-packages" / "jobs"]
    monkeypatch.setattr(sys, "executable", str(places[0] / "python"))
    for place in places:
        place.mkdir(parents=True)
        machine.script = place / "tool"
        machine.script.touch()
        assert machine.load().settings == {"logger": "project"}
        machine.write(logger("own"), place / "supervisor.toml")
        assert machine.load().settings == {"logger": "own"}
    other = machine.project.parent / "elsewhere" / "job.py"
    other.parent.mkdir()
    other.touch()
    machine.script = other
    assert machine.load().settings == {}


# The platform's own places


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has a way of its own, faster than platformdirs")
@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"XDG_CONFIG_HOME": "/own/config"},
        {"XDG_CONFIG_HOME": ""},
        {"XDG_CONFIG_DIRS": "/first:/second"},
        {"HOME": "/somewhere"},
    ],
)
def test_the_places_are_those_of_platformdirs(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux the directories are the very ones that platformdirs tells, of the machine's the first is strongest."""
    for name in ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    machine, user = _xdg_directories(os.environ)
    assert user == [platformdirs.user_config_dir("supervisor", appauthor=False)]
    assert machine[::-1] == platformdirs.site_config_dir("supervisor", multipath=True).split(":")
    assert _platform_directories() == (machine[-1:], user)


@pytest.mark.skipif(sys.platform != "linux", reason="XDG is Linux's")
def test_a_missing_home_is_no_fault(machine: Machine, tmp_path: Path) -> None:
    """Without HOME the user database tells it; a home or a directory that is no path is left out."""
    assert _xdg_directories({})[1] == [f"{Path('~').expanduser()}/.config/supervisor"]
    assert _xdg_directories({"HOME": "nowhere", "XDG_CONFIG_DIRS": "relative"}) == (["/etc/xdg/supervisor"], [])
    for name in ("strong", "weak"):
        (tmp_path / name / "supervisor").mkdir(parents=True)
        machine.write(logger(name), tmp_path / name / "supervisor" / "supervisor.toml")
    variables = {"XDG_CONFIG_DIRS": f"{tmp_path}/strong:{tmp_path}/weak", "HOME": str(tmp_path / "home")}
    configuration = load(tmp_path / "night.py", variables)
    assert configuration.settings == {"logger": "strong"}
    assert len(configuration.files) == 2
