"""Where the fleet is stands in [fleet], or in variables; what is wrong there is said with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from journalled import document

from supervisor._config import load

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor._config.configuration import Configuration


def loaded(folder: Path, text: str, **variables: str) -> Configuration:
    """Return the configuration that a file and variables make."""
    (folder / "supervisor.toml").write_text(text, encoding="utf-8")
    return load(environ={"SUPERVISOR_CONFIG": str(folder / "supervisor.toml"), **variables})


def test_without_the_table_there_is_no_fleet(tmp_path: Path) -> None:
    """Nothing is taken for granted."""
    assert loaded(tmp_path, "[defaults]\n").fleet is None


def test_the_table(tmp_path: Path) -> None:
    """A secret is looked up when it is needed, and never shown."""
    text = """
profile = "production"
[profiles.production]
[fleet]
url = { env = "FLEET_URL" }
send = ["values"]
expect_every_s = 300
ca_file = "ca.pem"
"""
    configuration = loaded(tmp_path, text)
    fleet = configuration.fleet
    assert fleet is not None
    assert (configuration.problems, fleet.environment) == ((), "production")
    assert (fleet.send, fleet.expect_every_s, fleet.replicate, fleet.tls) == (("values",), 300, "check", "verify-full")
    assert fleet.ca_file == str(tmp_path / "ca.pem")
    assert fleet.address({"FLEET_URL": "postgresql://me:hunter2@gis1/fleet"}) == "postgresql://me:hunter2@gis1/fleet"
    assert "hunter2" not in repr(loaded(tmp_path, '[fleet]\nurl = "postgresql://me:hunter2@gis1/fleet"').fleet)


def test_supervisor_config_shows_it_without_its_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With where each value comes from."""
    loaded(tmp_path, '[fleet]\nurl = "postgresql://me:hunter2@gis1/fleet"\nsend = ["values"]\n')
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(tmp_path / "supervisor.toml"))
    monkeypatch.setenv("SUPERVISOR_FLEET_ENVIRONMENT", "dev")
    entries = {each["key"]: (each["value"], each["origin"]) for each in document("config")["entries"]}
    assert entries["fleet.url"][0] == "********"
    assert entries["fleet.send"][0] == '["values"]'
    assert entries["fleet.environment"] == ('"dev"', "environment variable SUPERVISOR_FLEET_ENVIRONMENT")


def test_variables_are_stronger(tmp_path: Path) -> None:
    """A container has no file."""
    fleet = loaded(
        tmp_path,
        '[fleet]\nurl = "postgresql://a/b"\nenvironment = "dev"\n',
        SUPERVISOR_FLEET_URL="postgresql://c/d",
        SUPERVISOR_FLEET_SEND="values, error",
        SUPERVISOR_FLEET_DEADLINE_S="1.5",
    ).fleet
    assert fleet is not None
    assert fleet.address({}) == "postgresql://c/d"
    assert (fleet.environment, fleet.send, fleet.deadline_s) == ("dev", ("values", "error"), 1.5)


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ('send = ["value"]', {}, "[fleet] send must list some of values"),
        ("deadline_s = 0", {}, "[fleet] deadline_s must be a number of seconds above 0, got 0"),
        ('tls = "maybe"', {}, "[fleet] tls must be one of 'verify-full'"),
        ('replicate = "often"', {}, "[fleet] replicate must be one of 'check', 'end', 'off'"),
        ('enviroment = "prod"', {}, "there is no key 'enviroment' here; did you mean"),
        ("", {"SUPERVISOR_FLEET_DEADLINE_S": "soon"}, "SUPERVISOR_FLEET_DEADLINE_S: deadline_s must be a number"),
    ],
)
def test_mistakes_are_named_with_their_place(
    tmp_path: Path, text: str, variables: dict[str, Any], expected: str
) -> None:
    """Nothing goes to the fleet meanwhile."""
    configuration = loaded(tmp_path, f'[fleet]\nurl = "postgresql://a/b"\n{text}\n', **variables)
    assert configuration.fleet is None
    (problem,) = configuration.problems
    assert expected in str(problem)


def test_a_url_is_needed(tmp_path: Path) -> None:
    """The rest alone means nothing."""
    (problem,) = loaded(tmp_path, '[fleet]\nenvironment = "prod"\n').problems
    assert "url is missing" in str(problem)
    (problem,) = loaded(tmp_path, "fleet = 3\n").problems
    assert "fleet must be [fleet], got a number" in str(problem)
