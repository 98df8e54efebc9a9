"""What ``supervisor demo`` shows: a supervised script that succeeds, and one that fails.

It is written as a script of yours would be: the work, a decorator, and a few calls of the run's methods.
"""

from __future__ import annotations

import ast
import os
import tempfile
import warnings
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import attrs

from supervisor import Run, supervised
from supervisor._run.state import replacing_settings
from supervisor._runtime import Runtime, default_runtime, using
from supervisor._text import duration
from supervisor.message_handlers import ConsoleHandler

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from supervisor._models.values import RunReport
    from supervisor._settings import Settings

__all__ = ["check_library", "check_parcels", "main"]

LONGEST_S = 6.0

console = ConsoleHandler()


@supervised("library check", handlers=[console], report_on=["success"])
def check_library(run: Run) -> None:
    """Parse the source files of Python's own library, or of packages, for six seconds at most."""
    files = library_files()
    until = monotonic() + LONGEST_S
    lines = checked = broken = 0
    for path in run.track(files, message="parsing"):
        try:
            lines += parse(path)
        except (SyntaxError, ValueError):
            broken += 1  # the library's tests have files that are broken on purpose
        checked += 1
        if monotonic() > until:
            break
    run.record(files=checked, lines=lines, broken_on_purpose=broken)
    run.notify("Library read", f"{checked:,} source files with {lines:,} lines, {broken} of them broken on purpose.")


@supervised("parcel check", handlers=[console])
def check_parcels(run: Run, folder: Path) -> None:
    """Parse a folder of files, one of which is broken."""
    run.record(folder=folder.name)
    for path in run.track(sorted(folder.iterdir()), message="parsing"):
        parse(path)


def library_files() -> list[Path]:
    """Return the source files of the standard library, or those beside supervisor where Python came without its own."""
    library = Path(os.__file__).parent
    sources = [path for path in library.rglob("*.py") if "site-packages" not in path.parts]
    return sorted(sources or Path(__file__).parent.parent.rglob("*.py"))


def parse(path: Path) -> int:
    """Return how many lines a source file has, once it was parsed."""
    source = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ast.parse(source, path.name)
    return source.count(b"\n")


def main(say: Callable[[str], None]) -> None:
    """Show a run that succeeds, one that fails, and what the journal keeps of them.

    Args:
        say: Prints a line.
    """
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        own_runtime(Path(name)) as runtime,
        replacing_settings(_shown_and_kept),
    ):
        say("A good night: a run over Python's own library, which makes progress, says a word and succeeds.\n")
        check_library()
        say("\nA bad night: a run over a folder with one broken file. This is what your channel would get.\n")
        try:
            check_parcels(parcels_in(Path(name)))
        except SyntaxError:
            say("\nThe exception then left the script, as it would have without supervision.")
        say("\nThe journal keeps both:\n")
        for report in journalled(runtime):
            say(f"  {report.name:<15}{report.outcome:<10}{duration(report.duration_s):>15}  {dict(report.values)}")
    say("\nAll of it is in supervisor/demo.py; a script of yours needs one decorator.")


def _shown_and_kept(settings: Settings) -> Settings:
    """Let the demo show its runs also where the configuration says that nothing is sent or kept."""
    return attrs.evolve(settings, send="handlers", journal=True)


def parcels_in(parent: Path) -> Path:
    """Return a new folder with a good file and a broken one."""
    folder = parent / "parcels"
    folder.mkdir()
    (folder / "beaver.py").write_text("acres = 12.5\n", encoding="utf-8")
    (folder / "cache.py").write_text("acres = 7.25 +\n", encoding="utf-8")
    return folder


def own_runtime(folder: Path) -> AbstractContextManager[Runtime]:
    """Keep the demo's runs out of the journal of your own scripts, in the block of a ``with``."""
    return using(Runtime(default_runtime().configuration, state_directory=folder / "state"))


def journalled(runtime: Runtime) -> list[RunReport]:
    """Return what the journal knows of the demo's runs, in their order."""
    journal = runtime.journal()
    return [record.report for record in reversed(journal.runs())] if journal is not None else []
