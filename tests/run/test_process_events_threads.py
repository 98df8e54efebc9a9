"""Exceptions that nobody catches beside the main line of a run: in its threads and in its asyncio tasks."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest
from scripts import both, run

if TYPE_CHECKING:
    from pathlib import Path

# Python's default is to print what a thread did not catch, and to go on: the exit code stays 0.
WAYS_IN_A_THREAD = {
    "a plain thread": "thread = threading.Thread(target=fail, name='worker')",
    "a thread with a run of its own": "thread = Own(name='worker')",
    "a timer": "thread = threading.Timer(0, fail); thread.name = 'worker'",
    "a daemon": "thread = threading.Thread(target=fail, name='worker', daemon=True)",
}


@pytest.mark.parametrize("way", WAYS_IN_A_THREAD.values(), ids=WAYS_IN_A_THREAD)
def test_an_error_in_a_thread_is_told_at_once(way: str, tmp_path: Path) -> None:
    """What a thread of the run did not catch is told while the run goes on, and makes it a failure, nothing else."""
    body = f"""
        import os, threading, time
        def fail():
            raise KeyError("apn")
        class Own(threading.Thread):
            def run(self):
                fail()
        @supervised("night", handlers=[recorder], report_on=["success"])
        def main():
            {way}
            thread.start()
            thread.join()
            if "recorder" in globals():
                for _ in range(3000):
                    if os.path.exists({str(tmp_path / "supervised" / "messages")!r}): break
                    time.sleep(0.01)
            print("went on", flush=True)
        main()
    """
    watched, plain = both(
        tmp_path,
        body.replace('"recorder" in globals()', "recorder is not None and 'supervisor._run' in sys.modules"),
    )
    assert (watched.code, plain.code) == (0, 0)
    assert watched.stdout == plain.stdout == "went on\n"
    assert watched.complaint == plain.complaint
    assert "Exception in thread worker" in watched.stderr
    assert watched.kinds == ["failure"]
    (message,) = watched.messages
    assert (message["error"], message["error_message"], message["thread"]) == ("KeyError", "'apn'", "worker")
    assert message["outcome"] is None, "told at the end only"
    assert message["where"].endswith("in fail")
    assert "it goes on" in message["message"]


def test_a_run_with_a_failed_thread_is_a_failure(tmp_path: Path) -> None:
    """A run whose thread failed has not succeeded, and says so to the log; its own exception still comes first."""
    body = """
        import logging, threading
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
        def fail(): raise KeyError("apn")
        def work(error):
            with supervise("night", handlers=[recorder], report_on=["success"], reraise=False) as run:
                thread = threading.Thread(target=fail)
                thread.start()
                thread.join()
                if error: raise error
            print(run.outcome)
        work(None)
        work(ValueError("main"))
    """
    ended = run(tmp_path, body)
    assert [line for line in ended.stdout.splitlines() if line == "failure"] == ["failure", "failure"]
    assert "ended: failure" in ended.stdout
    assert [each["error"] for each in ended.messages] == ["KeyError", "KeyError", "ValueError"]
    assert [each["outcome"] for each in ended.messages] == [None, None, "failure"]


@pytest.mark.parametrize("leaving", ["sys.exit(3)", "raise SystemExit"])
def test_a_thread_may_leave(leaving: str, tmp_path: Path) -> None:
    """``sys.exit()`` in a thread ends the thread, silently, and is no failure."""
    body = f"""
        import threading
        def leave(): {leaving}
        @supervised("night", handlers=[recorder], report_on=["success"])
        def main():
            thread = threading.Thread(target=leave)
            thread.start()
            thread.join()
        main()
    """
    watched, plain = both(tmp_path, body)
    assert (watched.code, watched.stderr) == (plain.code, plain.stderr) == (0, "")
    assert watched.kinds == ["success"]


def test_what_a_thread_catches_or_a_pool_keeps_is_nobodys_business(tmp_path: Path) -> None:
    """An exception that was caught, or that waits in a future, is the script's to look at."""
    body = """
        import threading
        from concurrent.futures import ThreadPoolExecutor
        def fail(): raise KeyError("apn")
        def careful():
            try: fail()
            except KeyError: pass
        @supervised("night", handlers=[recorder], report_on=["success"])
        def main():
            thread = threading.Thread(target=careful)
            thread.start()
            thread.join()
            with ThreadPoolExecutor(1) as pool:
                future = pool.submit(fail)
            assert isinstance(future.exception(), KeyError)
        main()
    """
    ended = run(tmp_path, body)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.kinds == ["success"]


def test_a_script_with_a_hook_for_threads_keeps_it(tmp_path: Path) -> None:
    """``threading.excepthook`` of the script's own has the exception as before, and the run hears of it too."""
    body = """
        import threading
        threading.excepthook = lambda args: print("hook", args.exc_type.__name__, flush=True)
        def fail(): raise KeyError("apn")
        @supervised("night", handlers=[recorder])
        def main():
            thread = threading.Thread(target=fail)
            thread.start()
            thread.join()
        main()
    """
    watched, plain = both(tmp_path, body)
    assert watched.stdout == plain.stdout == "hook KeyError\n"
    assert (watched.code, watched.stderr) == (0, "")
    assert watched.kinds == ["failure"]


def test_a_thread_that_outlives_its_run_still_tells(tmp_path: Path) -> None:
    """An exception in a thread of the run is told even when the run has ended meanwhile."""
    body = """
        import threading
        go_on = threading.Event()
        def fail():
            go_on.wait(30)
            raise KeyError("apn")
        with supervise("night", handlers=[recorder], report_on=["success"]):
            thread = threading.Thread(target=fail)
            thread.start()
        go_on.set()
        thread.join()
    """
    ended = run(tmp_path, body)
    assert ended.code == 0
    assert ended.kinds == ["success", "failure"]


TASK_FORMS = {
    "a supervised coroutine": """
import asyncio, gc
async def fail():
    raise KeyError("apn")
@supervised("night", handlers=[recorder], report_on=["success"])
async def main():
{body}
asyncio.run(main())
""",
    "asyncio.run inside": """
import asyncio, gc
async def fail():
    raise KeyError("apn")
async def work():
{body}
@supervised("night", handlers=[recorder], report_on=["success"])
def main():
    asyncio.run(work())
main()
""",
    "a loop of the script's own": """
import asyncio, gc
async def fail():
    raise KeyError("apn")
async def work():
{body}
@supervised("night", handlers=[recorder], report_on=["success"])
def main():
    loop = asyncio.new_event_loop()
    loop.run_until_complete(work())
    loop.close()
main()
""",
    "asyncio imported inside": """
assert "logging" not in sys.modules
async def fail():
    raise KeyError("apn")
async def work():
{body}
@supervised("night", handlers=[recorder], report_on=["success"])
def main():
    global asyncio, gc
    import asyncio, gc
    asyncio.run(work())
main()
""",
}

TASK_WAYS = {
    "dropped": """
    asyncio.create_task(fail())
    await asyncio.sleep(0.05)
    gc.collect()
    print("went on", flush=True)
    """,
    "kept until the end": """
    global task
    task = asyncio.create_task(fail())
    await asyncio.sleep(0.05)
    print("went on", flush=True)
    """,
    "a future": """
    asyncio.get_running_loop().create_future().set_exception(KeyError("apn"))
    await asyncio.sleep(0.05)
    gc.collect()
    print("went on", flush=True)
    """,
}


@pytest.mark.parametrize("form", TASK_FORMS.values(), ids=TASK_FORMS)
@pytest.mark.parametrize("way", ["dropped", "a future"])
def test_an_error_in_a_task_is_told_at_once(form: str, way: str, tmp_path: Path) -> None:
    """What nobody fetched from a task is told when asyncio tells of it, and makes the run a failure, nothing else."""
    watched, plain = both(tmp_path, form.format(body=textwrap.dedent(TASK_WAYS[way]).replace("\n", "\n    ").rstrip()))
    assert (watched.code, plain.code) == (0, 0), watched.stderr
    assert watched.stdout == plain.stdout == "went on\n"
    assert "exception was never retrieved" in watched.stderr
    assert watched.kinds == ["failure"]
    (message,) = watched.messages
    assert (message["error"], message["thread"], message["outcome"]) == ("KeyError", "an asyncio task", None)


def test_a_task_that_is_awaited_is_nobodys_business(tmp_path: Path) -> None:
    """An exception that the script fetched and caught is no failure."""
    body = """
        import asyncio, gc
        async def fail(): raise KeyError("apn")
        @supervised("night", handlers=[recorder], report_on=["success"])
        async def main():
            task = asyncio.create_task(fail())
            try: await task
            except KeyError: pass
            results = await asyncio.gather(fail(), return_exceptions=True)
            del task, results
            gc.collect()
        asyncio.run(main())
    """
    ended = run(tmp_path, body)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.kinds == ["success"]


def test_two_runs_in_one_loop_tell_of_a_lost_task_once(tmp_path: Path) -> None:
    """Of two runs that share a loop the one that began first tells of it, once: asyncio does not say whose it was."""
    body = """
        import asyncio, gc
        async def fail(): raise KeyError("apn")
        async def watch(name, fails):
            async with supervise(name, handlers=[recorder], report_on=["success"]):
                if fails:
                    asyncio.create_task(fail())
                await asyncio.sleep(0.05)
                gc.collect()
                await asyncio.sleep(0.05)
        async def main():
            await asyncio.gather(watch("one", False), watch("two", True))
        asyncio.run(main())
    """
    ended = run(tmp_path, body)
    assert ended.code == 0
    failures = [each for each in ended.messages if each["kind"] == "failure"]
    assert [each["run"] for each in failures] == ["one"]
    assert [each["run"] for each in ended.messages if each["kind"] == "success"] == ["two"]


def test_a_loop_with_an_exception_handler_keeps_its_errors(tmp_path: Path) -> None:
    """A script that handles its loop's lost exceptions has handled them: they are no failure."""
    body = """
        import asyncio, gc
        async def fail(): raise KeyError("apn")
        @supervised("night", handlers=[recorder], report_on=["success"])
        async def main():
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: print("handled", flush=True))
            asyncio.create_task(fail())
            await asyncio.sleep(0.05)
            gc.collect()
        asyncio.run(main())
    """
    ended = run(tmp_path, body)
    assert (ended.code, ended.stdout, ended.stderr) == (0, "handled\n", "")
    assert ended.kinds == ["success"]
