"""What is in force, and the file that one begins with."""

from __future__ import annotations

import re

import attrs
import pytest
from configuration_kit import Machine, plain

from supervisor._cli.config_command import ConfiguredValue, example, masked
from supervisor._config.checks import FIELDS
from supervisor._config.handler_specs import build
from supervisor.message_handlers._registry import built_in, examples, handler_class

SECRETS = {
    "SMTP_PASSWORD": "hunter22",
    "SENDGRID_API_KEY": "SG.x",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/x",
    "HEALTHCHECKS_PING_URL": "https://hc-ping.com/x",
    "WEBHOOK_SECRET": "x",
    "APPRISE_URL": "json://localhost",
}


def test_what_is_in_force_is_shown_with_its_origin(machine: Machine) -> None:
    """Each value is as one would write it, with the file and line or the variable that it comes from."""
    configuration = machine.load(
        """
        profile = "dev"
        [defaults]
        handlers = ["ops"]
        progress_every_s = "none"
        [profiles.dev.runs."nightly parcels"]
        log_path = "/var/log/\\"x\\".log"
        [handlers.ops]
        type = "webhook"
        url = "https://example.com"
        secret = { file = "/run/secrets/key" }
        headers = { "X-A" = "x", Authorization = { env = "AUTH" } }
        server = "https://gis:hunter22@example.com"
        room = 5
        places = ["a", { b = true }]
        nothing = {}
        """,
        SUPERVISOR_JOURNAL="no",
    )
    log_path = configuration.for_run("nightly parcels")["log_path"]
    shown = [(each.key, each.value, each.origin.removeprefix(f"{machine.file}:")) for each in masked(configuration)]
    quoted = log_path.replace("\\", "\\\\").replace('"', '\\"')
    key = str(machine.file.parent / "/run/secrets/key").replace("\\", "\\\\")
    assert shown == [
        ("profile", '"dev"', "2"),
        ("defaults.handlers", '["ops"]', "4"),
        ("defaults.progress_every_s", "none", "5"),
        ("defaults.journal", "false", "environment variable SUPERVISOR_JOURNAL"),
        ('runs."nightly parcels".log_path', f'"{quoted}"', "7"),
        ("handlers.ops.type", '"webhook"', "9"),
        ("handlers.ops.url", "********", "10"),
        ("handlers.ops.secret", f'{{ file = "{key}" }}', "11"),
        ("handlers.ops.headers", '{ X-A = ********, Authorization = { env = "AUTH" } }', "12"),
        ("handlers.ops.server", '"https://gis:[redacted: url_password]@example.com"', "13"),
        ("handlers.ops.room", "5", "14"),
        ("handlers.ops.places", '["a", { b = true }]', "15"),
        ("handlers.ops.nothing", "{}", "16"),
    ]
    assert attrs.asdict(masked(configuration)[0]) == attrs.asdict(
        ConfiguredValue("profile", '"dev"', f"{machine.file}:2")
    )


def test_nothing_is_shown_of_nothing(machine: Machine) -> None:
    """Without a configuration there is nothing to show."""
    assert masked(machine.load()) == ()


def uncommented() -> str:
    """Return the example with all that is commented out in force."""
    return re.sub(r"(?m)^#(?=[\w\[\"])", "", example(examples()))


def test_the_example_is_a_configuration(machine: Machine) -> None:
    """The file that ``config init`` writes loads without a problem, and lets runs print their messages."""
    configuration = machine.load(example(examples()))
    assert plain(configuration.checked()) == {"defaults": {"handlers": ("console",)}, "runs": {}}
    assert not configuration.warnings


def test_all_of_the_example_is_right(machine: Machine) -> None:
    """What is commented out is right too: all settings are in it, all types of handlers, and each can be made."""
    configuration = machine.load(uncommented()).checked()
    assert {name for name in FIELDS if f"\n{name} = " in uncommented()} == set(configuration.settings)
    assert set(FIELDS) >= set(configuration.settings)
    secrets = dict.fromkeys(re.findall(r'env = "(\w+)"', example(examples())), "https://127.0.0.1/x") | SECRETS
    made = [build(each, handler_class, secrets) for each in configuration.handlers.values()]
    assert [each.name for each in made] == list(configuration.handlers)
    missing = built_in().keys() - {"console"} - {each.type for each in configuration.handlers.values()}
    assert not missing, f"the module of the handler {', '.join(sorted(missing))} has no EXAMPLE of its table"
    assert machine.load(SUPERVISOR_PROFILE="development").for_run("nightly parcels")["handlers"] == ("console",)
    machine.file.chmod(0o644)
    assert not machine.load().warnings


@pytest.mark.parametrize("name", FIELDS)
def test_each_setting_stands_in_the_example(name: str) -> None:
    """A setting that there is can be found in the file, with a value to begin with."""
    assert f"\n{name} = " in uncommented()
