"""What a run pays that has no configuration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from configuration_kit import Machine

HEAVY = {"tomllib", "cattrs", "platformdirs", "pathlib", "difflib", "json", "inspect", "keyring", "sqlite3"}


def loaded_by(machine: Machine, **variables: str) -> set[str]:
    """Return the modules that loading a configuration needs beyond those of ``import supervisor``."""
    code = f"""
import sys
import supervisor, inspect
before = set(sys.modules)
from supervisor._config import load
load({str(machine.script)!r})
after = set(sys.modules)
import json
print(json.dumps(sorted(after - before)))
"""
    path = os.pathsep.join(sys.path)
    environ = {"HOME": str(machine.user.parent), "XDG_CONFIG_DIRS": str(machine.site.parent), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environ, **variables}, capture_output=True, text=True, check=True
    )
    loaded: list[str] = json.loads(done.stdout)
    return set(loaded)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere platformdirs tells the directories")
def test_a_run_without_a_configuration_loads_next_to_nothing(machine: Machine) -> None:
    """No file, or only a pyproject.toml of somebody else: nothing but what ``import supervisor`` has loaded."""
    (machine.project / "pyproject.toml").write_text('[project]\nname = "parcels"\ndependencies = ["agrc-supervisor"]')
    loaded = loaded_by(machine, SUPERVISOR_STATE="/x", SUPERVISOR_ENABLED="1")
    assert loaded == set()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere platformdirs tells the directories")
def test_a_usual_configuration_loads_what_it_needs(machine: Machine) -> None:
    """A file without mistakes needs a parser for TOML; variables alone do not even need that."""
    assert not loaded_by(machine, SUPERVISOR_REPORT_ON="success") & HEAVY
    machine.write(
        """
        [defaults]
        handlers = ["ops"]
        [handlers.ops]
        type = "sendgrid"
        api_key = { env = "SENDGRID_API_KEY" }
        from_address = "gis@example.com"
        """
    )
    loaded = loaded_by(machine)
    assert loaded & HEAVY == {"tomllib"}
    assert not {each for each in loaded if each.startswith(("supervisor._redaction", "supervisor.message_handlers"))}
