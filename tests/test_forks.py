"""What a fork waits for: that of what our threads are doing nothing is half done in the child."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from scripts import NO_WARNING_OF_FORKS, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")

# A handler that needs a module which takes long to import, as many do at their first message.
SLOW_IMPORT = """
    import os, pathlib, threading, time
    folder = pathlib.Path(__file__).parent
    (folder / "slow_to_come.py").write_text({module!r})
    class Late:
        name = "late"
        def send_message(self, details):
            import slow_to_come
            told.send_message(details)
    def fork_and_import():
        while not (folder / "imports").exists(): time.sleep(0.001)
        pid, ends_at_s = os.fork(), time.monotonic() + 15
        if pid == 0:
            import slow_to_come
            os._exit(7)
        while time.monotonic() < ends_at_s:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended: return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(pid, 9)
        return "hangs"
"""


@pytest.mark.parametrize("journal", [True, False])
def test_a_child_can_import_what_a_courier_is_importing(tmp_path: Path, *, journal: bool) -> None:
    """A child that is forked while a courier imports a module can import it too, also one that asks for a logger."""
    module = """if True:
        import logging, pathlib, time
        (pathlib.Path(__file__).parent / "imports").touch()
        time.sleep(0.3)
        logging.getLogger("late")
    """
    body = (
        SLOW_IMPORT.format(module=module)
        + f"""
    with supervise("night", handlers=[Late()], journal={journal}) as run:
        run.notify("one")
        print(fork_and_import(), flush=True)
    """
    )
    ended = run(tmp_path, body, extra_env=NO_WARNING_OF_FORKS)
    assert (ended.code, ended.stdout, ended.stderr) == (0, "7\n", "")
    assert [each["subject"] for each in ended.told] == ["one"]


def test_a_fork_waits_for_no_import_of_the_scripts_own(tmp_path: Path) -> None:
    """What a thread of the script's imports, for however long, holds up no fork."""
    body = """
        import os, pathlib, threading, time
        folder = pathlib.Path(__file__).parent
        (folder / "never_ends.py").write_text("import threading; threading.Event().wait(60)")
        threading.Thread(target=lambda: __import__("never_ends"), daemon=True).start()
        time.sleep(0.3)
        with supervise("night", handlers=[told]) as run:
            run.notify("one")
            before_s = time.monotonic()
            pid = os.fork()
            if pid == 0: os._exit(0)
            os.waitpid(pid, 0)
            print(time.monotonic() - before_s < 5, flush=True)
        os._exit(0)
    """
    ended = run(tmp_path, body, extra_env=NO_WARNING_OF_FORKS)
    assert (ended.code, ended.stdout, ended.stderr) == (0, "True\n", "")


def test_a_fork_does_not_wait_for_ever(tmp_path: Path) -> None:
    """Where the import of a courier waits for the forking thread, the fork goes on after a while."""
    body = (
        SLOW_IMPORT.format(
            module="import pathlib, __main__\n"
            "(pathlib.Path(__file__).parent / 'imports').touch()\n__main__.goes_on.wait(30)\n"
        )
        + """
    from supervisor import forks
    forks.IMPORT_LIMIT_S = 0.3
    goes_on = threading.Event()
    with supervise("night", handlers=[Late()]) as run:
        run.notify("one")
        while not (folder / "imports").exists(): time.sleep(0.001)
        before_s = time.monotonic()
        pid = os.fork()
        if pid == 0: os._exit(0)
        print(0.3 <= time.monotonic() - before_s < 5, flush=True)
        goes_on.set()
        os.waitpid(pid, 0)
    """
    )
    ended = run(tmp_path, body, extra_env=NO_WARNING_OF_FORKS)
    assert (ended.code, ended.stdout, ended.stderr) == (0, "True\n", "")
    assert [each["subject"] for each in ended.told] == ["one"]
