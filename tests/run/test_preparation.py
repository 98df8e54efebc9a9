"""A failure is told whatever became of the installation: the package is gone, no path is left, or no descriptor."""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import closing
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING

import pytest
from journal_kit import PACKAGE
from smtp_peers import MailServer
from waiting import PATIENCE_S

from supervisor._store import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT = """
import os, shutil, sys, threading, time
from supervisor import supervise
from supervisor._runtime import preparation
from supervisor.message_handlers import EmailHandler
mail = EmailHandler(smtp_server="localhost", smtp_port=int(sys.argv[1]), security="none", name="mail", timeout_s=5,
                    from_address="a@example.com", to_addresses="b@example.com")
with supervise("night", handlers=[mail], report_on=["failure", "success"], delivery_deadline_s=20) as run:
    while not preparation().is_done:
        time.sleep(0.01)
    assert threading.active_count() == 1, threading.enumerate()
    {disaster}
    for _ in run.track(range(3)):
        pass
    {end}
"""
DISASTERS = {
    "the package is removed": "shutil.rmtree(sys.argv[2])",
    "no path is left": "sys.path.clear(); sys.path_importer_cache.clear()",
    "no descriptor is left": "import resource\n"
    "    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
    "    while True:\n"
    "        try: os.dup(0)\n"
    "        except OSError: break",
}


@pytest.fixture
def server() -> Iterator[MailServer]:
    """Return a mail server that takes all."""
    with MailServer() as server:
        yield server


def run(script: str, server: MailServer, directory: Path) -> tuple[int, str]:
    """Run a script with a copy of the package, as an installation has it; return its exit code and its errors."""
    copy = directory / "site"
    shutil.copytree(PACKAGE, copy / "supervisor", ignore=shutil.ignore_patterns("__pycache__"))
    process = Popen(
        [sys.executable, "-c", script, str(server.port), str(copy)],
        env={**os.environ, "PYTHONPATH": str(copy)},
        cwd=directory,
        stderr=PIPE,
        text=True,
    )
    _, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, errors


@pytest.mark.skipif(sys.platform == "win32", reason="files that are in use cannot be removed there")
@pytest.mark.parametrize("disaster", DISASTERS)
@pytest.mark.parametrize("end", ["raise KeyError('apn')", "pass"], ids=["fails", "succeeds"])
def test_the_end_is_told_whatever_became_of_the_installation(
    disaster: str, end: str, server: MailServer, tmp_path: Path, state: Path
) -> None:
    """A run that has lasted a second tells its failure as its success, and the next run does not say that it died."""
    code, errors = run(SCRIPT.format(disaster=DISASTERS[disaster], end=end), server, tmp_path)
    fails = end != "pass"
    assert code == int(fails), errors
    assert "supervision of" not in errors
    [mail] = [each.mail for each in server.arrived]
    assert ("KeyError" in str(mail["Subject"])) is fails
    with closing(Journal(state)) as journal:
        [record] = journal.runs()
        assert str(record.report.outcome) == ("failure" if fails else "success")


PLAIN = """
import os, shutil, sys
from supervisor import supervise
from supervisor.message_handlers import EmailHandler
mail = EmailHandler(smtp_server="localhost", smtp_port=int(sys.argv[1]), security="none", name="mail", timeout_s=5,
                    from_address="a@example.com", to_addresses="b@example.com")
with supervise("night", handlers=[mail], delivery_deadline_s=20) as run:
    run.notify("hello")
    assert run.flush(20)
    shutil.rmtree(sys.argv[2])
    raise KeyError("apn")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files that are in use cannot be removed there")
def test_a_failure_that_cannot_be_composed_is_told_in_plain_words(
    server: MailServer, tmp_path: Path, state: Path
) -> None:
    """A run that is too young to have loaded it all tells its failure by what a notice has loaded."""
    code, errors = run(PLAIN, server, tmp_path)
    assert code == 1
    assert "KeyError: 'apn'" in errors
    notice, failure = [each.mail for each in server.arrived]
    assert "hello" in str(notice["Subject"])
    assert re.match("night failed.*: KeyError", str(failure["Subject"]))
    with closing(Journal(state)) as journal:
        [record] = journal.runs()
        assert str(record.report.outcome) == "failure"
        assert journal.deliveries() == []


FORKS = """
import os, sys, time
from supervisor import supervise
from supervisor._runtime import preparation
from supervisor.message_handlers import ConsoleHandler
with supervise("night", handlers=[ConsoleHandler()]):
    child = os.fork()
    if not child:
        os._exit(preparation().is_done)
    assert os.waitpid(child, 0)[1] == 0
    while not preparation().is_done:
        time.sleep(0.01)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_run_that_forks_is_prepared_all_the_same(server: MailServer, tmp_path: Path) -> None:
    """Its thread ends before the fork, of which Python would warn otherwise, and another one goes on after it."""
    code, errors = run(FORKS, server, tmp_path)
    assert (code, errors) == (0, "")
