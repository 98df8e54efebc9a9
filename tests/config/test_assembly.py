"""How what several sources say becomes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from configuration_kit import OPS, Machine

from supervisor._settings import Settings
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_has_settings_of_its_own(machine: Machine) -> None:
    """What is said of the runs of one name goes over what is said of all; others do not have it."""
    configuration = machine.load(
        """
        [defaults]
        handlers = ["console"]
        repeat_after_s = 60
        [runs."nightly parcels"]
        repeat_after_s = 3600
        report_on = ["success"]
        """
    )
    assert configuration.for_run("nightly parcels") == {
        "handlers": ("console",),
        "repeat_after_s": 3600,
        "report_on": ("success",),
    }
    assert configuration.for_run("other") == configuration.for_run(None) == dict(configuration.settings)
    assert Settings(**{**configuration.for_run("nightly parcels"), "handlers": ()}).repeat_after_s == 3600


def test_a_stronger_source_means_every_run(machine: Machine) -> None:
    """What a variable, a profile or a nearer file says of all runs goes over what a weaker one says of one run."""
    machine.write('[runs.night]\nlogger = "user"\njournal = false\nrepeat_after_s = 1', machine.user)
    machine.write(
        """
        [defaults]
        logger = "project"
        [runs.night]
        report_on = ["success"]
        [profiles.dev.defaults]
        report_on = []
        """
    )
    night = machine.load().for_run("night")
    assert night == {"logger": "project", "journal": False, "repeat_after_s": 1, "report_on": ("success",)}
    configuration = machine.load(SUPERVISOR_PROFILE="dev", SUPERVISOR_JOURNAL="yes")
    night = configuration.for_run("night")
    assert night == {"logger": "project", "journal": True, "repeat_after_s": 1, "report_on": ()}
    assert "runs.night.journal" not in configuration.origins


def test_a_handler_can_be_changed_in_part(machine: Machine) -> None:
    """A stronger source gives some options of a handler, and the others stay."""
    machine.write(OPS, machine.user)
    machine.write('[handlers.ops]\nto_addresses = ["me@example.com"]\n[profiles.dev.handlers.ops]\nprefix = "[dev] "')
    spec = machine.load(SUPERVISOR_PROFILE="dev").spec("ops")
    assert spec.type == "email"
    assert spec.resolved({}) == {
        "smtp_server": "localhost",
        "from_address": "gis@example.com",
        "to_addresses": ["me@example.com"],
        "prefix": "[dev] ",
    }
    assert spec.origins["smtp_server"].file == str(machine.user)
    assert str(spec.origins["prefix"]) == f"{machine.file}:4"
    assert "prefix" not in machine.load().spec("ops").options


def test_a_handler_of_another_type_begins_anew(machine: Machine) -> None:
    """What was said for another type of handler does not stay."""
    machine.write(OPS, machine.user)
    configuration = machine.load('[handlers.ops]\ntype = "slack"\nchannel = "#ops"')
    assert configuration.spec("ops").type == "slack"
    assert configuration.spec("ops").resolved({}) == {"channel": "#ops"}
    assert "handlers.ops.smtp_server" not in configuration.origins


def test_a_fallback_is_another_handler(machine: Machine) -> None:
    """One that there is not, one that is no name, a circle and a long way are problems; the handlers work without."""
    console = '[handlers.{}]\ntype = "console"\nfallback = {}\n'
    loaded = machine.load(
        "".join(
            console.format(*each)
            for each in [("a", '"pager"'), ("b", "7"), ("c", '"d"'), ("d", '"c"'), ("e", '"f"'), ("f", '"console"')]
        )
    )
    faults = [(str(each).partition("] fallback")[2].split("; ")[0], each.line) for each in loaded.problems]
    assert faults == [
        (": there is no handler 'pager'", 3),
        (" must be the name of another handler, got 7", 6),
        (": c -> d -> c is a circle", 9),
        (": d -> c -> d is a circle", 12),
    ]
    assert "fallback" not in loaded.spec("c").options
    assert loaded.spec("e").options["fallback"] == "f"


def test_two_handlers_of_one_name_are_a_problem(machine: Machine) -> None:
    """Stored messages are found by the name: the second handler that is given a name is reported, the first works."""
    console = '[handlers.{}]\ntype = "console"\n{}\n'
    same = machine.load(console.format("a", 'name = "x"') + console.format("b", 'name = "x"'))
    assert [str(each) for each in same.problems] == [
        f"{machine.file}:6: [handlers.b] name 'x' is that of [handlers.a] too; give each handler a name of its own"
    ]
    assert same.unusable == {"b"}
    of_table = machine.load(console.format("a", 'name = "b"') + console.format("b", ""))
    assert [each.key for each in of_table.problems] == ["handlers.a.name"]
    assert of_table.unusable == {"a"}


def test_a_stronger_source_mends_what_a_weaker_one_has_wrong(machine: Machine) -> None:
    """A handler works when the wrong option is replaced; the mistake is reported all the same."""
    machine.write(OPS.replace('["ops@example.com"]', "{ env = 5 }") + '[handlers.other]\nprefix = "x"', machine.user)
    assert machine.load().unusable == {"ops", "other"}
    configuration = machine.load('[handlers.ops]\nto_addresses = "me@example.com"\n[handlers.other]\ntype = "console"')
    assert configuration.spec("ops").options["to_addresses"] == "me@example.com"
    assert configuration.spec("other").options == {"prefix": "x"}
    assert [each.key for each in configuration.problems] == ["handlers.ops.to_addresses"]
    assert configuration.unusable == frozenset()


PROFILES = """
    profile = "production"
    [defaults]
    logger = "plain"
    [profiles.production.defaults]
    logger = "production"
    [profiles.development.defaults]
    logger = "development"
    [profiles.development.runs.night]
    repeat_after_s = 5
"""


def test_a_profile_is_chosen_by_file_or_variable(machine: Machine) -> None:
    """A file chooses the profile, a nearer file goes over it, and ``SUPERVISOR_PROFILE`` over all."""
    configuration = machine.load(PROFILES)
    assert (configuration.profile, configuration.settings["logger"]) == ("production", "production")
    assert str(configuration.origins["profile"]) == f"{machine.file}:2"
    configuration = machine.load(SUPERVISOR_PROFILE=" development ")
    assert (configuration.profile, configuration.settings["logger"]) == ("development", "development")
    assert configuration.for_run("night")["repeat_after_s"] == 5
    machine.write(PROFILES, machine.user)
    assert machine.load('profile = "development"').settings["logger"] == "development"
    assert machine.load("").settings["logger"] == "production"
    assert machine.load(PROFILES.replace("profile =", "#")).profile == "production"


def test_a_profile_that_is_nowhere_is_told(machine: Machine) -> None:
    """A misspelt profile would send to whom production sends: it is reported, with what was probably meant."""
    configuration = machine.load(PROFILES, SUPERVISOR_PROFILE="developement")
    (problem,) = configuration.problems
    assert problem.text == (
        "there is no profile 'developement'; did you mean 'development'? (an empty [profiles.developement] is enough)"
    )
    assert configuration.settings["logger"] == "plain"
    (problem,) = machine.load('profile = "staging"').problems
    assert (problem.file, problem.line) == (str(machine.file), 1)
    assert not machine.load("[profiles.staging]", SUPERVISOR_PROFILE="staging").problems
    machine.file.unlink()
    assert not machine.load(SUPERVISOR_PROFILE="staging").problems


def test_the_console_needs_no_table(machine: Machine) -> None:
    """The console can be named as it is, and can have a table too."""
    configuration = machine.load('[defaults]\nhandlers = ["console"]')
    assert configuration.settings["handlers"] == ("console",)
    assert configuration.spec("console").type == "console"
    assert not configuration.problems
    configuration = machine.load('[handlers.console]\ntype = "email"')
    assert configuration.spec("console").type == "email"


def test_a_handler_that_there_is_not_is_refused(machine: Machine) -> None:
    """A script that names a handler gets an error that says which was probably meant, and which files were read."""
    configuration = machine.load(OPS)
    with pytest.raises(ConfigurationError) as caught:
        configuration.spec("opps")
    assert str(caught.value) == f"there is no handler 'opps'; did you mean 'ops'? ({machine.file})"
    machine.file.unlink()
    with pytest.raises(ConfigurationError, match=r"there are console \(no configuration file was found\)"):
        machine.load().spec("zzz")


def test_relative_paths_start_from_their_file(machine: Machine, tmp_path: Path) -> None:
    """A path in a file means the same wherever a script is started; a tilde is the user's home."""
    machine.write('[handlers.mail]\ntype = "email"\nca_file = "ca.pem"\npassword = { file = "../key" }', machine.user)
    configuration = machine.load('[defaults]\nlog_path = "logs/night.log"\n[runs.a]\nlog_path = "~/a.log"')
    assert configuration.settings["log_path"] == str(machine.project / "logs" / "night.log")
    assert "~" not in configuration.for_run("a")["log_path"]
    assert configuration.spec("mail").options["ca_file"] == str(machine.user.parent / "ca.pem")
    assert configuration.spec("mail").options["password"].what == str(tmp_path / "home" / "key")
