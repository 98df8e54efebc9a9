"""What environment variables say."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from configuration_kit import OPS, Machine

from supervisor._config.checks import FIELDS, has_variable
from supervisor._settings import Settings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("HANDLERS", "console", ("console",)),
        ("HANDLERS", " ops, console ,", ("ops", "console")),
        ("REPORT_ON", "start,success", ("start", "success")),
        ("REPORT_ON", "start", ("start",)),
        ("JOURNAL", "false", False),
        ("JOURNAL", "NO", False),
        ("JOURNAL", "0", False),
        ("JOURNAL", "off", False),
        ("RERAISE", "true", True),
        ("RERAISE", "1", True),
        ("RERAISE", "Yes", True),
        ("DELIVERY_DEADLINE_S", "0", 0),
        ("DELIVERY_DEADLINE_S", " 2.5 ", 2.5),
        ("REPEAT_AFTER_S", "1e3", 1000.0),
        ("PROGRESS_EVERY_S", "none", None),
        ("PROGRESS_EVERY_S", "60", 60),
        ("LOGGER", "night", "night"),
        ("LOG_PATH", "night.log", "night.log"),
        ("LOG_PATH", "None", None),
    ],
)
def test_a_variable_gives_a_setting(machine: Machine, name: str, text: str, value: Any) -> None:
    """Text, numbers, yes or no, lists with commas, and none where a setting can be None."""
    configuration = machine.load(OPS, **{f"SUPERVISOR_{name}": text})
    assert configuration.settings == {name.lower(): value}
    assert type(configuration.settings[name.lower()]) is type(value)
    assert not configuration.problems
    assert str(configuration.origins[f"defaults.{name.lower()}"]) == f"environment variable SUPERVISOR_{name}"


def test_each_setting_has_a_variable(machine: Machine) -> None:
    """All settings but the name and those that are mappings can be given by a variable; a wrong one is reported."""
    assert {*FIELDS, "name"} == {field.name for field in attrs.fields(Settings) if field.init}
    for name in FIELDS:
        if not has_variable(name):
            continue
        configuration = machine.load(**{f"SUPERVISOR_{name.upper()}": "-1"})
        assert configuration.settings.get(name) or configuration.problems, name


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("JOURNAL", "maybe", "journal must be true or false, got 'maybe'"),
        ("JOURNAL", "none", "journal must be true or false, got 'none'"),
        ("DELIVERY_DEADLINE_S", "soon", "delivery_deadline_s must be a number, got 'soon'"),
        ("DELIVERY_DEADLINE_S", "-5", "delivery_deadline_s must be a number of seconds, 0 or more, got -5"),
        ("DELIVERY_DEADLINE_S", "nan", "delivery_deadline_s must be a number of seconds, 0 or more, got nan"),
        ("DELIVERY_DEADLINE_S", "²", "delivery_deadline_s must be a number, got '²'"),
        ("REPORT_ON", "start,sucess", "report_on got ('start', 'sucess'): 'sucess' is not a valid Kind"),
        ("HANDLERS", "opps", "there is no handler 'opps'; did you mean 'ops'?"),
    ],
)
def test_a_wrong_variable_is_told_and_left_out(machine: Machine, name: str, text: str, expected: str) -> None:
    """The problem names the variable, and what a file says stands."""
    configuration = machine.load(f"[defaults]\njournal = false\n{OPS}", **{f"SUPERVISOR_{name}": text})
    (problem,) = configuration.problems
    assert problem.text.startswith(f"environment variable SUPERVISOR_{name}: {expected}")
    assert (problem.file, problem.line, problem.key) == ("", None, f"SUPERVISOR_{name}")
    assert configuration.settings["journal"] is False


def test_a_blank_variable_is_not_set(machine: Machine) -> None:
    """One that is empty or blank changes nothing."""
    configuration = machine.load(
        "[defaults]\njournal = false", SUPERVISOR_JOURNAL="", SUPERVISOR_HANDLERS=" ", SUPERVISOR_PROFILE=" "
    )
    assert configuration.settings == {"journal": False}
    assert not configuration.problems


@pytest.mark.parametrize("name", ["SUPERVISOR_REPORT_ONN", "SUPERVISOR_HANDLER", "SUPERVISOR_PROFIL"])
def test_a_misspelt_variable_is_warned_of(machine: Machine, name: str) -> None:
    """One that nearly has the name of a setting is a warning that says which was meant."""
    configuration = machine.load(**{name: "x"})
    (warning,) = configuration.warnings
    assert f"{name} means nothing; did you mean SUPERVISOR_" in warning.text
    assert not configuration.problems


def test_variables_of_others_are_left_alone(machine: Machine) -> None:
    """The journal's variable, and those of other programs that are called supervisor, mean nothing here."""
    names = ("STATE", "ENABLED", "PROCESS_NAME", "GROUP_NAME", "SERVER_URL", "TOKEN", "RUN_ID", "RUN", "CONFIG")
    configuration = machine.load(**{f"SUPERVISOR_{name}": "" for name in names})
    assert not configuration.warnings
    assert not configuration.problems
    assert not configuration.settings
