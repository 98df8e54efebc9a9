"""Code in zip files: an embeddable Python for Windows has its standard library in one, and packages can be in one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
import recorders
from scripts import PACKAGE, PATHS, bare_environment, run, write
from zipped import zipped, zipped_library

if TYPE_CHECKING:
    from pathlib import Path

FAILS = """
    import concurrent.futures, json
    with supervise("night", handlers=[recorder]):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            pool.submit(json.loads, "[1, ").result()
"""
OVERDUE = """
    import threading
    done = threading.Event()
    class Printer:
        def send_message(self, details):
            print(details.message, flush=True)
            done.set()
    with supervise("night", handlers=[Printer()], max_duration_s=0.05):
        done.wait(60)
"""
PACKAGES = {
    "tables/__init__.py": "from tables.core import load",
    "tables/core.py": "def load(go): return deep(go)\ndef deep(go): return deeper(go)\ndef deeper(go): return go()",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a zip file with the part of the standard library that the scripts here use."""
    return zipped_library(tmp_path_factory.mktemp("zipped") / "python.zip")


def shown(trace: str) -> list[str]:
    """Return the functions and the folded frames that a traceback shows."""
    found = re.findall(r'  File ".*", line \d+, in (.*)|  (\.\.\. .*)', trace)
    return [function or folded for function, folded in found]


def assert_only_the_script_is_shown(message: str) -> None:
    """Look at the stacks in a message: there is the script's thread, and what it waits for, and nothing else."""
    assert re.search(r"Thread MainThread\n  script.py:\d+ in <module>\n", message), message
    assert re.search(r"\n  ... 1 in threading\n  threading.py:\d+ in wait\n", message), message
    assert message.count("\nThread ") == 1, message


def test_frames_of_a_zipped_standard_library_are_folded(tmp_path: Path, library: Path) -> None:
    """The script's line is where it failed, and what Python did in between is one line."""
    (message,) = run(tmp_path, FAILS, extra_env={"PYTHONPATH": str(library)}).messages
    assert shown(message["traceback"]) == [
        "<module>", "result", "... 4 frames in concurrent, json (standard library)", "raw_decode",
    ]  # fmt: skip
    assert message["where"].startswith("script.py:")
    assert message["where"].endswith(" in <module>")


def test_supervisors_own_threads_are_not_shown_with_a_zipped_standard_library(tmp_path: Path, library: Path) -> None:
    """What "overdue" shows are the script's threads, with Python's frames in one line."""
    ended = run(tmp_path, OVERDUE, extra_env={"PYTHONPATH": str(library)})
    assert_only_the_script_is_shown(ended.stdout)


@pytest.mark.parametrize("name", ["packages.zip", "tables-1.0.egg", "tables-1.0-py3-none-any.whl"])
def test_packages_in_a_zip_file_are_libraries(tmp_path: Path, name: str) -> None:
    """Their frames between those of the script are folded, as those of installed packages are."""
    packages = zipped(tmp_path / name, PACKAGES)
    ended = run(tmp_path, f"""
        sys.path.append({str(packages)!r})
        import tables
        def fail(): return 1 / 0
        with supervise("night", handlers=[recorder]):
            tables.load(fail)
    """)  # fmt: skip
    (message,) = ended.messages
    assert shown(message["traceback"]) == ["<module>", "load", "... 2 frames in tables (site-packages)", "fail"]
    assert message["where"].endswith(" in fail")


def test_a_script_in_a_zip_file_is_no_library(tmp_path: Path) -> None:
    """Of an application in one file (zipapp), each frame is shown."""
    main = f"""
import sys
sys.path[1:1] = {PATHS!r}
from recorders import FileRecorder
from supervisor import supervise
from tables import load
with supervise("night", handlers=[FileRecorder({str(tmp_path / "messages")!r})]):
    load(lambda: 1 / 0)
"""
    path = zipped(tmp_path / "job.pyz", PACKAGES | {"__main__.py": main})
    subprocess.run([sys.executable, str(path)], env=bare_environment(), stdin=subprocess.DEVNULL, check=False)
    (message,) = recorders.read(tmp_path / "messages")
    assert shown(message["traceback"]) == ["<module>", "load", "deep", "deeper", "<lambda>"]


def test_supervisor_itself_may_be_in_a_zip_file(tmp_path: Path) -> None:
    """Its frames are not the script's there either: neither in tracebacks nor among the threads."""
    package = tmp_path / "supervisor.zip"
    with zipfile.ZipFile(package, "w") as archive:
        for each in PACKAGE.rglob("*"):
            if "__pycache__" not in each.parts:
                archive.write(each, each.relative_to(PACKAGE.parent))
    path, messages = write(
        tmp_path,
        OVERDUE
        + """
    print(sys.modules["supervisor"].__file__)
    with supervise("night", handlers=[recorder]):
        fail()
    """,
    )
    path.write_text(path.read_text("utf-8").replace(repr(PATHS[0]), repr(str(package))), "utf-8")
    done = subprocess.run(
        [sys.executable, str(path)], env=bare_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert f"{package}{os.sep}supervisor" in done.stdout
    assert_only_the_script_is_shown(done.stdout)
    assert [shown(each["traceback"]) for each in recorders.read(messages)] == [["<module>"]]
