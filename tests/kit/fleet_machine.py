"""A machine of the fleet: a configuration and a journal of its own, and the commands that are run there."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from scripts import PACKAGE, bare_environment

if TYPE_CHECKING:
    from pathlib import Path

JOB = """
import sys, supervisor
with supervisor.supervise("nightly parcels") as run:
    run.record(rows=812)
assert "psycopg" not in sys.modules and "supervisor._fleet.connection" not in sys.modules
"""


class Machine:
    """A machine with a configuration and a journal of its own."""

    def __init__(self, folder: Path, url: str, more: str = "") -> None:
        self.folder = folder
        self.state = folder / "state"
        self.file = folder / "supervisor.toml"
        self.file.write_text(f'[fleet]\nurl = "{url}"\nenvironment = "prod"\n{more}\n', encoding="utf-8")
        self.file.chmod(0o600)
        self.environment = {
            **bare_environment(), "PYTHONPATH": str(PACKAGE.parent), "SUPERVISOR_STATE": str(self.state),
            "SUPERVISOR_CONFIG": str(self.file),
        }  # fmt: skip

    def run(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run Python, and expect an exit code."""
        done = subprocess.run(
            [sys.executable, *map(str, arguments)], check=False, capture_output=True, text=True, env=self.environment,
            cwd=self.folder,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def job(self, text: str = JOB) -> subprocess.CompletedProcess[str]:
        """Run a script."""
        script = self.folder / "job.py"
        script.write_text(text, encoding="utf-8")
        return self.run(script)

    def check(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a check, which finds nothing."""
        return self.run("-m", "supervisor", "check", *options)
