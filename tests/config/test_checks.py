"""Mistakes in a file: each is reported where it stands, all at once, and the rest stays usable."""

from __future__ import annotations

from typing import Any

import pytest
import tomli_w
from configuration_kit import OPS, Machine
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from supervisor._config.checks import FIELDS, ConfigurationProblems, Problem
from supervisor.errors import ConfigurationError

MISTAKES: dict[str, tuple[str, int | None, str, str]] = {
    "unclosed": ("[defaults]\nlogger = [", 2, "", "is no TOML: Invalid value (at end of document)"),
    "no value": ("[defaults]\nlogger =\njournal = true", 2, "", "is no TOML: Invalid value (at line 2, column 9)"),
    "twice": ("[defaults]\n[defaults]", 2, "", "is no TOML: Cannot declare ('defaults',) twice"),
    "list of handlers beside their tables": (
        f'handlers = ["ops"]\n{OPS}', 3, "", "handlers that runs use go under [defaults]: handlers = [",
    ),
    "backslashes": (
        '[defaults]\nlog_path = "C:\\Users\\gis"', 2, "", r"write paths with backslashes in single quotes: 'C:\data'",
    ),
    "other backslashes": ('[defaults]\nlog_path = "C:\\data"', 2, "", "write paths with backslashes in single quotes"),
    "unknown key": (
        "[default]\njournal = true", 1, "default", "there is no key 'default' here; did you mean 'defaults'?",
    ),
    "unknown key that is like none": (
        "zzz = 1", 1, "zzz", "there is no key 'zzz' here; there are defaults, fleet, handlers, profile, profiles, runs",
    ),
    "setting at the top": (
        'report_on = ["success"]', 1, "report_on",
        "report_on belongs under [defaults], or under [runs.NAME] for one run",
    ),
    "setting beside the tables of a profile": (
        "[profiles.dev]\njournal = true", 2, "profiles.dev.journal",
        "[profiles.dev] journal belongs under [profiles.dev.defaults], or under [profiles.dev.runs.NAME] for one run",
    ),
    "profile in a profile": (
        '[profiles.dev]\nprofile = "x"', 2, "profiles.dev.profile", "[profiles.dev] profile cannot stand in a profile",
    ),
    "unknown setting": (
        "\n[defaults]\nreport_onn = []", 3, "defaults.report_onn",
        "[defaults] there is no setting 'report_onn'; did you mean 'report_on'?",
    ),
    "unknown setting that is like none": (
        "[defaults]\ncolour = 1", 2, "defaults.colour", "[defaults] there is no setting 'colour'; there are ",
    ),
    "unknown setting of a run": (
        '[runs."nightly parcels"]\nlogpath = "x"', 2, 'runs."nightly parcels".logpath',
        "[runs.\"nightly parcels\"] there is no setting 'logpath'; did you mean 'log_path'?",
    ),
    "name": ('[defaults]\nname = "x"', 2, "defaults.name", "[defaults] name belongs where the run is, in the script"),
    "no yes or no": (
        '[defaults]\njournal = "no"', 2, "defaults.journal", "[defaults] journal must be True or False, got 'no'",
    ),
    "number out of range": (
        "[defaults]\ndelivery_deadline_s = -1", 2, "defaults.delivery_deadline_s",
        "[defaults] delivery_deadline_s must be a number of seconds, 0 or more, got -1",
    ),
    "text for a number": (
        '[runs.a]\nrepeat_after_s = "1h"', 2, "runs.a.repeat_after_s", "repeat_after_s must be a number of seconds",
    ),
    "unknown kind": (
        '[defaults]\nreport_on = ["sucess"]', 2, "defaults.report_on",
        "the kinds are start, progress, notice, success, warning, failure",
    ),
    "table for a text": ("[defaults.log_path]\na = 1", 1, "defaults.log_path", "log_path must be a path"),
    "handlers that are no names": (
        "[defaults]\nhandlers = [1]", 2, "defaults.handlers",
        '[defaults] handlers must be names of handlers, like ["ops"], got [1]',
    ),
    "blank handler": ('[defaults]\nhandlers = " "', 2, "defaults.handlers", "handlers must be names of handlers"),
    "unknown handler": (
        f'[defaults]\nhandlers = ["console", "opps"]\n{OPS}', 2, "defaults.handlers",
        "[defaults] there is no handler 'opps'; did you mean 'ops'? ([handlers.opps] would make one)",
    ),
    "unknown handler of a run": (
        '[runs."a b"]\nhandlers = ["zzz"]', 2, 'runs."a b".handlers',
        "[runs.\"a b\"] there is no handler 'zzz'; there are console",
    ),
    "list of handlers at the top": (
        'handlers = ["ops"]', 1, "handlers",
        "handlers must be tables like [handlers.NAME], got a list; what runs use goes under [defaults]",
    ),
    "defaults that are no table": ("defaults = true", 1, "defaults", "defaults must be [defaults], got true or false"),
    "runs that are no tables": ("runs = 5", 1, "runs", "runs must be tables like [runs.NAME], got a number or a date"),
    "array of tables": ("[[runs]]\na = 1", 1, "runs", "runs must be tables like [runs.NAME], got a list"),
    "handler that is no table": (
        '[handlers]\nops = "email"', 2, "handlers.ops", "[handlers] ops must be a table, got a text",
    ),
    "profile that is no table": ("[profiles]\ndev = 1", 2, "profiles.dev", "[profiles] dev must be a table, got a"),
    "profile that is no name": ("profile = true", 1, "profile", "profile must be the name of a profile, got True"),
    "handler without a type": (
        '\n[handlers.ops]\nprefix = "x"', 2, "handlers.ops",
        '[handlers.ops] type is missing: say which kind of handler it is, like type = "email"',
    ),
    "type that is no text": (
        '[handlers.ops]\ntype = ["email"]', 2, "handlers.ops.type",
        "[handlers.ops] type must be the kind of handler, like \"email\", got ['email']",
    ),
    "handler of a profile": (
        "[profiles.dev.handlers.ops]\ntype = 5", 2, "profiles.dev.handlers.ops.type",
        '[profiles.dev.handlers.ops] type must be the kind of handler, like "email", got 5',
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "key", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_where_it_is(machine: Machine, text: str, line: int | None, key: str, expected: str) -> None:
    """File, line and key are reported, what was expected, and for a misspelt key what was probably meant."""
    configuration = machine.load(text)
    (problem,) = configuration.problems
    assert expected in problem.text
    assert (problem.file, problem.line, problem.key) == (str(machine.file), line, key)
    assert str(problem) == f"{machine.file}:{line}: {problem.text}"
    with pytest.raises(ConfigurationError) as caught:
        configuration.checked()
    assert str(caught.value) == str(problem)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xff\xfe[\0d\0", "is UTF-16: save it as UTF-8"),
        ("[defaults]\n# Grüße".encode("latin-1"), "is not UTF-8: save it as UTF-8"),
        (b"a = " + b"[" * 100_000, "nested too deep"),
        (b"# " + b"x" * 1_000_000, "is larger than 1,000,000 bytes"),
        (b"a = " + b"9" * 10_000, "is no TOML"),
        (b"[defaults]\nlogger = 'a\0b'", "is no TOML"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_what_is_no_text_is_told(machine: Machine, data: bytes, expected: str) -> None:
    """A file in another encoding, with too much in it, or that nobody would write, is reported and left out."""
    machine.file.write_bytes(data)
    (problem,) = machine.load().problems
    assert expected in problem.text
    assert problem.file == str(machine.file)


@pytest.mark.parametrize("start", ["\ufeff", ""])
@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_windows_files_are_read(machine: Machine, start: str, newline: str) -> None:
    """The byte order mark and the line ends of Windows are no mistake, and lines are counted right."""
    machine.file.write_bytes(f'{start}[defaults]{newline}logger = "Grüße"{newline}zzz = 1'.encode())
    configuration = machine.load()
    assert configuration.settings == {"logger": "Grüße"}
    assert [each.line for each in configuration.problems] == [3]


def test_all_mistakes_are_told_at_once(machine: Machine) -> None:
    """Each mistake of each file is in one error, and what is right can be used."""
    machine.write("zzz = 1", machine.site)
    configuration = machine.load(
        f"""
        [defaults]
        handlers = ["ops", "broken", "missing", "console"]
        journal = "perhaps"
        repeat_after_s = 5
        {OPS}
        [handlers.broken]
        prefix = "x"
        [profiles.dev.defaults]
        logger = 5
        """
    )
    with pytest.raises(ConfigurationProblems) as caught:
        configuration.checked()
    assert caught.value.problems == configuration.problems
    assert [each.key for each in configuration.problems] == [
        "zzz",
        "defaults.journal",
        "profiles.dev.defaults.logger",
        "handlers.broken",
        "defaults.handlers",
    ]
    assert str(caught.value).startswith(f"there are 5 mistakes in the configuration:\n- {machine.site}:1: ")
    assert len(str(caught.value).splitlines()) == 6
    assert configuration.settings == {"handlers": ("ops", "console"), "repeat_after_s": 5}
    assert configuration.unusable == {"broken"}
    with pytest.raises(ConfigurationProblems, match="type is missing"):
        configuration.spec("broken")


def test_a_broken_file_leaves_the_others(machine: Machine) -> None:
    """What other files say is used where one cannot be read."""
    machine.write("[defaults]\njournal = false", machine.user)
    configuration = machine.load("broken")
    assert configuration.settings == {"journal": False}
    assert configuration.files == (str(machine.user),)


def test_a_mistake_in_a_pyproject_has_its_whole_key(machine: Machine) -> None:
    """Keys and lines are those of the file, with the table that is ours in it."""
    text = '[project]\nname = "x"\n[tool.supervisor]\nzzz = 1\n[tool.supervisor.defaults]\njournal = 1'
    path = machine.write(text, machine.project / "pyproject.toml")
    assert machine.load().problems == (
        Problem(
            "[tool.supervisor] there is no key 'zzz' here; "
            "there are defaults, fleet, handlers, profile, profiles, runs",
            str(path),
            4,
            "tool.supervisor.zzz",
        ),
        Problem(
            "[tool.supervisor.defaults] journal must be True or False, got 1",
            str(path),
            6,
            "tool.supervisor.defaults.journal",
        ),
    )
    path.write_text("[tool]\nsupervisor = 5")
    assert machine.load().problems == (Problem("has no table [tool.supervisor]", str(path), None, "tool.supervisor"),)


keys = st.sampled_from(
    [
        "defaults",
        "handlers",
        "runs",
        "profiles",
        "profile",
        "journal",
        "report_on",
        "log_path",
        "type",
        "api_key",
        "env",
    ]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.dates()
    | st.times()
    | st.sampled_from(["start", "email", "none", "/tmp", "~"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.dictionaries(keys, values, max_size=4))
@example(table={"handlers": {"a\x1eb": 5}})
@example(table={"handlers": {"a\nb": {"type": "x", "token": {"env": []}}}, "runs": {"": {"": {}}}})
def test_nothing_that_is_toml_is_raised(machine: Machine, table: dict[str, Any]) -> None:
    """Whatever a file says, loading it returns: settings that can be used, and problems of one line each."""
    machine.file.write_bytes(tomli_w.dumps(table).encode())
    configuration = machine.load()
    for problem in (*configuration.problems, *configuration.warnings):
        assert len(str(problem).splitlines()) == 1
        assert problem.line is not None
    assert configuration.settings.keys() <= FIELDS.keys()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=40) | st.text("[]\"'.=#\\\n{},a1", max_size=40).map(str.encode))
def test_nothing_that_is_no_toml_is_raised(machine: Machine, data: bytes) -> None:
    """Bytes of any sort are read, or reported as a problem."""
    machine.file.write_bytes(data)
    configuration = machine.load()
    assert configuration.files or configuration.problems
