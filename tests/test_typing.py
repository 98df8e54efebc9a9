"""The types that users see: mypy reads ``typing/signatures.py`` and finds in it what stands there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_signatures_are_what_they_were(platform: str, tmp_path: Path) -> None:
    """Decorated functions keep their signatures less ``run``, and wrong settings are found before they run."""
    pytest.importorskip("mypy", reason="mypy is in the group 'types'; tox -e types reads the file too")
    command = [sys.executable, "-m", "mypy", "--platform", platform, "--follow-imports", "silent"]
    done = subprocess.run(
        [*command, "--cache-dir", str(tmp_path), str(HERE / "typing" / "signatures.py")],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
