"""Zip files with packages in them, as an embeddable Python for Windows has its standard library."""

from __future__ import annotations

import os
import zipfile
from importlib._bootstrap_external import _code_to_timestamp_pyc  # type: ignore[attr-defined]
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LIBRARY = Path(os.__file__).parent
PARTS = ("concurrent", "contextlib.py", "enum.py", "functools.py", "json", "logging", "queue.py", "threading.py")
"""What is zipped of the standard library: what the threads of the tests pass through. The rest stays where it is."""


def zipped_library(path: Path) -> Path:
    """Write parts of the standard library into a zip file, and return its path.

    What stands there is compiled, without sources, and its code objects have relative paths ("json/decoder.py"), as in
    the zip file of an embeddable Python.
    """
    sources = (each for part in PARTS for each in _sources(LIBRARY / part))
    with zipfile.ZipFile(path, "w") as archive:
        for each in sources:
            name = str(each.relative_to(LIBRARY))
            code = compile(each.read_bytes(), name, "exec", dont_inherit=True)
            archive.writestr(f"{name}c".replace(os.sep, "/"), _code_to_timestamp_pyc(code))
    return path


def zipped(path: Path, files: dict[str, str]) -> Path:
    """Write source files into a zip file, and return its path."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def _sources(part: Path) -> Iterable[Path]:
    return [part] if part.suffix else sorted(part.rglob("*.py"))
