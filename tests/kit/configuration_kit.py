"""What the tests of the configuration share: a machine whose directories are the test's own."""

from __future__ import annotations

import sys
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from supervisor._config import load

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor._config.configuration import Configuration

NO_SUCH_FILE = "No such file" if sys.platform != "win32" else ""
"""How the system's text begins where a file is missing; Windows has several."""

OPS = """
    [handlers.ops]
    type = "email"
    smtp_server = "localhost"
    from_address = "gis@example.com"
    to_addresses = ["ops@example.com"]
"""


class Machine:
    """A machine with its own directory for configuration, a user with one, and a project with a script.

    Args:
        root: Where all of it is.
    """

    def __init__(self, root: Path) -> None:
        self.site = root / "etc" / "supervisor.toml"
        self.user = root / "home" / "config" / "supervisor.toml"
        self.project = root / "project"
        self.script = self.project / "jobs" / "night.py"
        self.file = self.project / "supervisor.toml"
        for each in (self.site, self.user, self.script):
            each.parent.mkdir(parents=True)
        self.script.touch()

    def write(self, text: str, path: Path | None = None) -> Path:
        """Write a file that nobody else can read, by default the project's own, and return its path."""
        path = path or self.file
        path.write_text(dedent(text), encoding="utf-8")
        path.chmod(0o600)
        return path

    def load(self, text: str | None = None, **variables: str) -> Configuration:
        """Load what the script gets, after writing the project's file."""
        if text is not None:
            self.write(text)
        return load(self.script, variables, directories=[self.site.parent, self.user.parent])


def plain(configuration: Configuration) -> dict[str, Any]:
    """Return settings and runs as plain dicts, to compare them."""
    return {
        "defaults": dict(configuration.settings),
        "runs": {name: dict(each) for name, each in configuration.runs.items()},
    }
