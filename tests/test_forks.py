"""Forks: the child finds no lock held by a thread of supervisor, which does not exist there."""

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
    from children import how_it_ends
    folder = pathlib.Path(__file__).parent
    (folder / "slow_to_come.py").write_text({module!r})
    class Late:
        name = "late"
        def send_message(self, details):
            import slow_to_come
            recorder.send_message(details)
    def fork_and_import():
        while not (folder / "imports").exists(): time.sleep(0.001)
        pid = os.fork()
        if pid == 0:
            import slow_to_come
            os._exit(7)
        return how_it_ends(pid)
"""


@pytest.mark.parametrize("journal", [True, False])
def test_a_child_can_import_what_a_worker_is_importing(tmp_path: Path, *, journal: bool) -> None:
    """A child that is forked while a worker imports a module can import it too, also one that asks for a logger."""
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
    assert [each["subject"] for each in ended.messages] == ["one"]


def test_a_fork_waits_for_no_import_of_the_scripts_own(tmp_path: Path) -> None:
    """An import in a thread of the script, however long, delays no fork."""
    body = """
        import os, pathlib, threading, time
        folder = pathlib.Path(__file__).parent
        (folder / "never_ends.py").write_text("import threading; threading.Event().wait(60)")
        threading.Thread(target=lambda: __import__("never_ends"), daemon=True).start()
        time.sleep(0.3)
        with supervise("night", handlers=[recorder]) as run:
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
    """Where the import of a worker waits for the forking thread, the fork goes on after a while."""
    body = (
        SLOW_IMPORT.format(
            module="import pathlib, __main__\n"
            "(pathlib.Path(__file__).parent / 'imports').touch()\n__main__.goes_on.wait(30)\n"
        )
        + """
    from supervisor import _forks as forks
    forks.LIMIT_S = 0.3
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
    assert [each["subject"] for each in ended.messages] == ["one"]


@pytest.mark.parametrize("way", ["console", "log"])
def test_a_child_can_write_where_a_worker_was_writing(tmp_path: Path, way: str) -> None:
    """A child that is forked while a worker prints a message, or logs, finds the stream free."""
    body = f"""
        import logging, os, threading, time
        from children import how_it_ends
        from supervisor.errors import DeliveryError
        from supervisor.message_handlers import ConsoleHandler
        writes, lock = threading.Event(), threading.Lock()
        class Stream:
            def write(self, text):
                with lock:  # as the buffers of Python's own streams have one
                    writes.set()
                    time.sleep(0.3)
            def flush(self): pass
        class Refuses:
            name = "refuses"
            def send_message(self, details): raise DeliveryError("closed", permanent=True)
        if {way!r} == "log":
            logging.getLogger("supervisor").addHandler(logging.StreamHandler(Stream()))
        handler = ConsoleHandler(stream=Stream()) if {way!r} == "console" else Refuses()
        with supervise("night", handlers=[handler]) as run:
            run.notify("one")
            writes.wait(20)
            pid = os.fork()
            if pid == 0:
                with lock: os._exit(7)
            print(how_it_ends(pid), flush=True)
    """
    ended = run(tmp_path, body, extra_env=NO_WARNING_OF_FORKS)
    assert (ended.code, ended.stdout, ended.stderr) == (0, "7\n", "")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_during_a_fork_ends_the_script(tmp_path: Path, name: str, code: int) -> None:
    """A signal that arrives while a fork waits is handled in the parent, neither lost nor left to the child."""
    module = """if True:
        import pathlib, time
        (pathlib.Path(__file__).parent / "imports").touch()
        while not (pathlib.Path(__file__).parent / "asked").exists(): time.sleep(0.01)
    """
    body = (
        SLOW_IMPORT.format(module=module)
        + f"""
    import signal
    with supervise("night", handlers=[Late()]) as run:
        run.notify("one")
        while not (folder / "imports").exists(): time.sleep(0.001)
        def ask():
            os.kill(os.getpid(), signal.{name})
            (folder / "asked").touch()
        threading.Timer(0.1, ask).start()
        pid = os.fork()
        if pid == 0: os._exit(0)
        print("went on", flush=True)
        time.sleep(20)
    """
    )
    ended = run(tmp_path, body, extra_env=NO_WARNING_OF_FORKS)
    assert (ended.shell_code, ended.stdout) == (code, "")
    assert "Exception ignored" not in ended.stderr
    assert ended.kinds == ["notice", "failure"]


def test_a_child_can_be_terminated_at_once(tmp_path: Path) -> None:
    """Children that get a signal at the moment of their fork end by it, as they would without supervisor."""
    body = """
        import os, signal, time
        from children import how_it_ends
        codes = set()
        with supervise("night", handlers=[recorder]) as run:
            for number in range(40):
                pid = os.fork()
                if pid == 0:
                    time.sleep(60)
                    os._exit(0)
                time.sleep(number * 0.00002)
                os.kill(pid, signal.SIGTERM)
                codes.add(how_it_ends(pid))
                if "hangs" in codes: break
        print(codes, flush=True)
    """
    ended = run(tmp_path, body, extra_env=NO_WARNING_OF_FORKS)
    assert (ended.code, ended.stdout, ended.stderr) == (0, "{-15}\n", "")


def test_a_fork_that_fails_holds_up_nothing(tmp_path: Path) -> None:
    """Where the system allows no more processes, the script gets its error, and the journal goes on."""
    body = """
        import os, sys
        def refuse(event, arguments):
            if event == "os.fork": raise BlockingIOError(11, "no more processes")
        with supervise("night", handlers=[recorder]) as run:
            run.notify("one")
            sys.addaudithook(refuse)
            try:
                os.fork()
            except BlockingIOError as error:
                run.notify(f"refused: {error.strerror}")
    """
    ended = run(tmp_path, body)
    assert (ended.code, ended.stderr) == (0, "")
    assert [each["subject"] for each in ended.messages] == ["one", "refused: no more processes"]
