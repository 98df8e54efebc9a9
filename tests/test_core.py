"""The core stands alone: what makes a run and delivers its messages needs nothing of what stands around it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import PACKAGE
from waiting import PATIENCE_S

ROOT = Path(__file__).parent.parent
CORE_HANDLERS = {
    "__init__.py",
    "_registry.py",
    "_options.py",
    "_sockets.py",
    "_console.py",
    "_email",
}
AROUND = (
    *("__main__.py", "demo.py", "plugins.py", "_cli", "_config"),
    *(
        f"message_handlers/{each.name}"
        for each in sorted((PACKAGE / "message_handlers").iterdir())
        if each.name not in CORE_HANDLERS | {"__pycache__"}
    ),
)
"""What could be deleted without the core noticing: commands, the page, checks, configuration files, other channels."""

CORE_TESTS = (
    "alerts/test_alerts.py", "alerts/test_alerts_notified.py", "alerts/test_messages.py", "alerts/test_deaths.py",
    "run/test_run.py", "run/test_lifecycle.py", "run/test_reporter.py", "run/test_wrapping.py",
    "delivery/test_delivery.py", "delivery/test_worker.py",
    "store/sqlite/test_outbox.py", "store/sqlite/test_runs.py",
    "messages/test_messages.py", "exceptions/test_details.py", "redaction/test_redactor_streaming.py",
    "message_handlers/test_console.py", "message_handlers/email/test_email.py", "test_settings.py",
)  # fmt: skip
"""The tests that run on the copy: alerts, a run's life, its messages, their delivery, and where both are stored."""


@pytest.fixture
def core(tmp_path: Path) -> Path:
    """Return a folder with the package less what stands around the core, and with the tests."""
    around = {PACKAGE / each for each in AROUND}
    assert all(each.exists() for each in around), "the list names what is no longer there"

    def left_out(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if name == "__pycache__" or Path(folder, name) in around]

    shutil.copytree(PACKAGE, tmp_path / "supervisor", ignore=left_out)
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__", "benchmarks"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    wiring = tmp_path / "supervisor" / "__init__.py"
    text = wiring.read_text("utf-8")
    bare = re.sub(r"^.*(_ActiveConfiguration|_set_default_runtime|_Runtime).*\n", "", text, flags=re.MULTILINE)
    assert text.count("\n") - bare.count("\n") == 4, "three imports and one call put the configuration in its place"
    wiring.write_text(bare, "utf-8")
    return tmp_path


def pytest_in(core: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the copy, without the installed package's plugin."""
    environment = {**os.environ, "PYTHONPATH": str(core), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=core, env=environment, capture_output=True, text=True, check=False, timeout=10 * PATIENCE_S
    )


def test_the_tests_of_the_core_are_there() -> None:
    """The list of the core's tests names files that are there, though the tests on the copy run only when asked for."""
    gone = [each for each in CORE_TESTS if not (ROOT / "tests" / each).is_file()]
    assert not gone, f"moved or renamed: write into CORE_TESTS of {Path(__file__).name} where these are now: {gone}"


@pytest.mark.core
def test_the_core_works_without_what_stands_around_it(core: Path) -> None:
    """Its own tests pass on a copy that lacks commands, page, configuration files and the other channels."""
    done = pytest_in(core, "-x", "-n", "auto", *(f"tests/{each}" for each in CORE_TESTS))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
