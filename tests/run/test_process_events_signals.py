"""Endings that concern the whole process: forks, signals while a run waits, and ``handle_errors``."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from scripts import NO_WARNING_OF_FORKS, Script, both, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are neither forks nor these signals")

# Children: the run is their parent's


def test_a_forked_child_says_nothing_of_its_parents_run(tmp_path: Path) -> None:
    """A child that leaves the block of a run, well or not, tells nothing: the run is its parent's, which tells once."""
    body = """
        import os
        def main(fails):
            with supervise("night", handlers=[recorder], report_on=["success"]) as run:
                run.notify("before")
                pid = os.fork()
                if pid == 0 and fails:
                    raise KeyError("in the child")
            if pid == 0:
                os._exit(4)
            print("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        main(False)
        try:
            main(True)
        except KeyError:
            os._exit(5)
    """
    ended = run(tmp_path, body, extra_env=NO_WARNING_OF_FORKS)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout == "child 4\nchild 5\n"
    assert sorted(ended.kinds) == ["notice", "notice", "success", "success"]
    assert len({each["pid"] for each in ended.messages}) == 1


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_can_be_terminated(method: str, tmp_path: Path) -> None:
    """``Process.terminate()`` ends a child of a run by the signal, as without us, and the run is not told of it."""
    body = f"""
        import multiprocessing, time
        def work(ready):
            ready.set()
            time.sleep(60)
        @supervised("night", handlers=[recorder], report_on=["success"])
        def main():
            context = multiprocessing.get_context({method!r})
            ready = context.Event()
            child = context.Process(target=work, args=(ready,))
            child.start()
            assert ready.wait(50)
            child.terminate()
            child.join()
            print(child.exitcode, flush=True)
        if __name__ == "__main__":
            main()
    """
    watched, plain = both(tmp_path, body)
    assert watched.stdout == plain.stdout == "-15\n"
    assert (watched.code, watched.stderr) == (plain.code, plain.stderr) == (0, "")
    assert watched.kinds == ["success"]


def test_the_exception_of_a_child_is_its_own(tmp_path: Path) -> None:
    """What a multiprocessing child does not catch ends the child with 1, and is told by nobody: it is not the run's."""
    body = """
        import multiprocessing
        def work():
            raise KeyError("apn")
        @supervised("night", handlers=[recorder], report_on=["success"])
        def main():
            child = multiprocessing.get_context("fork").Process(target=work)
            child.start()
            child.join()
            print(child.exitcode, flush=True)
        main()
    """
    watched, plain = both(tmp_path, body)
    assert watched.stdout == plain.stdout == "1\n"
    assert (watched.code, plain.code) == (0, 0)
    assert watched.kinds == ["success"]


def test_a_child_may_have_runs_of_its_own(tmp_path: Path) -> None:
    """A run that starts in a forked child is the child's: it is told, and SIGTERM reaches it."""
    body = """
        import os, signal, time
        with supervise("parent", handlers=[recorder], report_on=["success"]) as outer:
            outer.notify("before")
            pid = os.fork()
            if pid == 0:
                with supervise("child", handlers=[recorder]):
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(60)
            print("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    """
    ended = run(tmp_path, body, extra_env=NO_WARNING_OF_FORKS)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout == "child 143\n"
    assert [(each["run"], each["kind"]) for each in ended.messages if each["kind"] != "notice"] == [
        ("child", "failure"),
        ("parent", "success"),
    ]


def test_a_script_that_becomes_another_program_is_let_go(tmp_path: Path) -> None:
    """``os.exec`` in a run replaces the process, as without us."""
    body = """
        import os
        @supervised("night", handlers=[recorder])
        def main():
            os.execv("/bin/sh", ["sh", "-c", "exit 6"])
        main()
    """
    watched, plain = both(tmp_path, body)
    assert (watched.code, plain.code) == (6, 6)
    assert watched.stderr == ""


# Signals while a run waits for its messages

HANGS = """
import threading, time
class Hangs:
    def send_message(self, details):
        ready()
        threading.Event().wait(60)
"""


@pytest.mark.parametrize("form", ["with supervise", "asyncio"])
def test_sigterm_while_a_run_waits_for_a_handler(form: str, tmp_path: Path) -> None:
    """SIGTERM ends the wait for a handler that hangs at once: exit code 143, although the script had succeeded."""
    forms = {
        "with supervise": """
with supervise("night", handlers=[Hangs()], report_on=["success"]):
    pass
print("not reached")
""",
        "asyncio": """
import asyncio
async def main():
    async with supervise("night", handlers=[Hangs()], report_on=["success"]):
        pass
    print("not reached")
asyncio.run(main())
""",
    }
    script = Script(tmp_path, HANGS + forms[form])
    script.send_when_ready(signal.SIGTERM)
    began = time.monotonic()
    ended = script.end()
    assert ended.code == 143
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert time.monotonic() - began < 20, "the deadline is 30 s"


def test_sigterm_while_a_failed_run_waits_keeps_the_exception(tmp_path: Path) -> None:
    """When the script has failed already, SIGTERM ends the wait, and the script's own exception leaves it."""
    body = (
        HANGS
        + """
with supervise("night", handlers=[Hangs()]):
    raise KeyError("apn")
"""
    )
    script = Script(tmp_path, body)
    script.send_when_ready(signal.SIGTERM)
    began = time.monotonic()
    ended = script.end()
    assert ended.code == 1
    assert ended.complaint.endswith("KeyError: 'apn'")
    assert time.monotonic() - began < 20, "the deadline is 30 s"


def test_sigterm_while_an_inner_run_waits_ends_the_outer_too(tmp_path: Path) -> None:
    """SIGTERM while an inner run waits for its messages ends the script, and the outer run tells of it."""
    body = (
        HANGS
        + """
with supervise("outer", handlers=[recorder]):
    with supervise("inner", handlers=[Hangs()], report_on=["success"]):
        pass
    print("not reached")
"""
    )
    script = Script(tmp_path, body)
    script.send_when_ready(signal.SIGTERM)
    ended = script.end()
    assert (ended.code, ended.stdout) == (143, "")
    assert [(each["run"], each["outcome"]) for each in ended.messages] == [("outer", "terminated")]


def test_ctrl_c_while_a_failed_run_waits_keeps_the_exception(tmp_path: Path) -> None:
    """Ctrl+C during delivery ends the wait; what the script itself ended with leaves it."""
    body = (
        HANGS
        + """
with supervise("night", handlers=[Hangs()]):
    raise KeyError("apn")
"""
    )
    script = Script(tmp_path, body)
    script.send_when_ready(signal.SIGINT)
    began = time.monotonic()
    ended = script.end()
    assert ended.code == 1
    assert ended.complaint.splitlines()[-1] == "KeyError: 'apn'"
    assert time.monotonic() - began < 20, "the deadline is 30 s"


def test_ctrl_c_while_a_good_run_waits_interrupts_the_script(tmp_path: Path) -> None:
    """Ctrl+C during the delivery of a run that succeeded interrupts the script, as it would anywhere."""
    body = (
        HANGS
        + """
with supervise("night", handlers=[Hangs()], report_on=["success"]):
    pass
print("not reached")
"""
    )
    script = Script(tmp_path, body)
    script.send_when_ready(signal.SIGINT)
    began = time.monotonic()
    ended = script.end()
    assert (ended.shell_code, ended.stdout) == (130, "")
    assert "KeyboardInterrupt" in ended.stderr
    assert time.monotonic() - began < 20, "the deadline is 30 s"


def test_a_script_that_is_terminated_cleans_up(tmp_path: Path) -> None:
    """SIGTERM unwinds the script: its ``finally`` runs, and the run is told when that has ended."""
    body = """
        import time
        @supervised("night", handlers=[recorder])
        def main():
            try:
                ready()
                time.sleep(60)
            finally:
                print("cleaned up", flush=True)
        main()
    """
    script = Script(tmp_path, body)
    script.send_when_ready(signal.SIGTERM)
    ended = script.end()
    assert (ended.code, ended.stdout) == (143, "cleaned up\n")
    assert ended.messages[0]["outcome"] == "terminated"


@pytest.mark.parametrize(("name", "code"), [("SIGHUP", 129), ("SIGXCPU", 152)])
def test_a_closed_terminal_and_a_limit_are_reported_too(name: str, code: int, tmp_path: Path) -> None:
    """They unwind the script and end it with the code that a shell shows; ignored, as by nohup, they stay so."""
    body = """
        import time
        @supervised("night", handlers=[recorder])
        def main():
            try:
                ready()
                time.sleep(60)
            finally:
                print("cleaned up", flush=True)
        main()
    """
    script = Script(tmp_path, body)
    script.send_when_ready(getattr(signal, name))
    ended = script.end()
    assert (ended.code, ended.stdout) == (code, "cleaned up\n")
    assert (ended.messages[0]["outcome"], ended.messages[0]["kind"]) == ("terminated", "failure")


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """As ``nohup`` starts it, a script outlives its terminal."""
    body = """
        import os, signal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with supervise("night", handlers=[recorder], report_on=["success"]):
            os.kill(os.getpid(), signal.SIGHUP)
    """
    ended = run(tmp_path, body)
    assert (ended.code, ended.kinds) == (0, ["success"])


def test_sigterm_outside_of_runs_is_pythons_own(tmp_path: Path) -> None:
    """Before, between and behind runs SIGTERM does what it always does."""
    body = """
        import time
        with supervise("night", handlers=[recorder]):
            pass
        ready()
        time.sleep(60)
    """
    script = Script(tmp_path, body)
    script.send_when_ready(signal.SIGTERM)
    ended = script.end()
    assert ended.code == -signal.SIGTERM
    assert ended.messages == []


def test_handlers_of_signals_are_as_they_were_behind_a_run() -> None:
    """A run leaves SIGTERM as it found it, whatever was there, and a handler set inside stays."""
    from supervisor import supervise

    def mine(*_: object) -> None: ...

    before = signal.getsignal(signal.SIGTERM)
    try:
        for handler in (signal.SIG_DFL, signal.SIG_IGN, mine):
            signal.signal(signal.SIGTERM, handler)
            with supervise("one", journal=False), supervise("two", journal=False):
                pass
            assert signal.getsignal(signal.SIGTERM) is handler
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with supervise("one", journal=False):
            signal.signal(signal.SIGTERM, mine)
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_run_in_a_thread_leaves_signals_alone(tmp_path: Path) -> None:
    """Only the main thread gets signals: a run in another one works without, and SIGTERM is Python's own."""
    body = """
        import threading, time
        def work():
            with supervise("night", handlers=[recorder], report_on=["success"]):
                pass
            with supervise("night", handlers=[recorder]):
                ready()
                time.sleep(60)
        threading.Thread(target=work, daemon=True).start()
        time.sleep(60)
    """
    script = Script(tmp_path, body)
    script.send_when_ready(signal.SIGTERM)
    ended = script.end()
    assert ended.code == -signal.SIGTERM
    assert ended.kinds == ["success"]


# The whole process

PROCESS_ENDINGS = {
    "it returns": ("pass", 0, []),
    "it raises": ("raise KeyError('apn')", 1, ["KeyError"]),
    "sys.exit(3)": ("sys.exit(3)", 3, []),
    "a thread fails": ("t = threading.Thread(target=fail, name='worker'); t.start(); t.join()", 0, ["ValueError"]),
    "both": ("t = threading.Thread(target=fail); t.start(); t.join(); fail()", 1, ["ValueError", "ValueError"]),
    "a thread leaves": ("t = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join()", 0, []),
}


@pytest.mark.parametrize(("ending", "code", "errors"), PROCESS_ENDINGS.values(), ids=PROCESS_ENDINGS)
def test_a_process_can_be_watched(ending: str, code: int, errors: list[str], tmp_path: Path) -> None:
    """``Supervisor(handle_errors=True)`` tells what nobody caught, in any thread, and changes nothing else."""
    body = f"""
        import threading
        def fail(): raise ValueError("text")
        Supervisor("night", handle_errors=True, handlers=[recorder])
        {ending}
    """
    watched, plain = both(tmp_path, body)
    assert (watched.code, watched.complaint) == (plain.code, plain.complaint)
    assert watched.code == code
    assert [each["error"] for each in watched.messages] == errors
    assert all(each["run"] == "night" for each in watched.messages)


def test_the_hooks_that_were_there_are_called(tmp_path: Path) -> None:
    """Hooks of the script's own are called after the telling, with what they would have had."""
    body = """
        import threading, traceback
        def main_hook(kind, error, trace):
            print("main", kind.__name__, error, traceback.extract_tb(trace)[-1].name, flush=True)
        def thread_hook(args):
            print("thread", args.exc_type.__name__, args.exc_value, args.thread.name, flush=True)
        sys.excepthook, threading.excepthook = main_hook, thread_hook
        Supervisor("night", handle_errors=True, handlers=[recorder])
        def fail(): raise ValueError("text")
        thread = threading.Thread(target=fail, name="worker")
        thread.start()
        thread.join()
        fail()
    """
    watched, plain = both(tmp_path, body)
    assert watched.stdout == plain.stdout == "thread ValueError text worker\nmain ValueError text fail\n"
    assert (watched.code, watched.stderr) == (plain.code, plain.stderr) == (1, "")
    assert [(each["error"], each["thread"]) for each in watched.messages] == [
        ("ValueError", "worker"),
        ("ValueError", ""),
    ]


def test_a_process_and_a_run_tell_of_an_exception_once(tmp_path: Path) -> None:
    """A handler that both a run and the process have hears of an exception only from the run."""
    body = """
        sup = Supervisor("process", handle_errors=True, handlers=[recorder])
        with sup.supervise("run"):
            raise KeyError("apn")
    """
    ended = run(tmp_path, body)
    assert ended.code == 1
    assert [(each["run"], each["error"]) for each in ended.messages] == [("run", "KeyError")]


def test_a_message_from_atexit_is_delivered(tmp_path: Path) -> None:
    """What a script says in an ``atexit`` function of its own, when ours has run already, is delivered too."""
    body = """
        import atexit
        sup = Supervisor("night", handlers=[recorder])
        atexit.register(lambda: sup.notify("from atexit"))
        sup.notify("before")
    """
    ended = run(tmp_path, body)
    assert (ended.code, ended.stderr) == (0, "")
    assert [each["subject"] for each in ended.messages] == ["before", "from atexit"]


def test_messages_outside_of_runs_are_delivered_before_the_process_ends(tmp_path: Path) -> None:
    """What ``Supervisor.notify`` and a run that has ended accept is delivered before the process is gone."""
    body = """
        import time
        class Slow:
            def send_message(self, details):
                time.sleep(0.3)
                recorder.send_message(details)
        Supervisor("night", handlers=[Slow()]).notify("outside")
        with supervise("night", handlers=[Slow()]) as run:
            pass
        run.notify("after its end")
    """
    ended = run(tmp_path, body)
    assert (ended.code, ended.stderr) == (0, "")
    assert sorted(each["subject"] for each in ended.messages) == ["after its end", "outside"]


def test_a_hard_end_leaves_no_hang(tmp_path: Path) -> None:
    """A script that is killed, or leaves by ``os._exit`` with a handler at work, is gone at once."""
    body = (
        HANGS
        + """
import os
with supervise("night", handlers=[Hangs()]) as run:
    run.notify("text")
    time.sleep(0.1)
    os._exit(5)
"""
    )
    assert run(tmp_path, body).code == 5
    script = Script(tmp_path / "killed", body.replace("os._exit(5)", "time.sleep(60)"))
    script.wait_until_ready()
    script.process.kill()
    assert script.end().code == -9
    with pytest.raises(ProcessLookupError):
        os.kill(script.process.pid, 0)


def test_an_interrupt_of_a_watched_process_keeps_its_exit_code(tmp_path: Path) -> None:
    """Ctrl+C that the whole process was watched for ends it as a shell knows it, although telling loaded more code."""
    body = """
        Supervisor("night", handle_errors=True, handlers=[recorder])
        raise KeyboardInterrupt
    """
    ended = run(tmp_path, body)
    assert ended.shell_code == 130
    assert [each["outcome"] for each in ended.messages] == ["interrupted"]
