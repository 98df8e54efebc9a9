"""Every ending of a script, each beside the same script without us: as cron runs it, with real signals."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from scripts import both, run

if TYPE_CHECKING:
    from pathlib import Path


@attrs.frozen(kw_only=True)
class Ending:
    """One way for a script to end.

    Args:
        body: What its ``main()`` does.
        code: The exit code that a shell shows, with and without us.
        kind: The kind of the last message.
        outcome: The outcome that it tells; "" for no message.
        error: The type of the exception that it tells.
        number: The signal that the script gets when it says that it is ready; None for none.
        before: What stands above ``main()``.
        message: What the message of the exception has in it.
    """

    body: str
    code: int
    kind: str = "failure"
    outcome: str = "failure"
    error: str | None = None
    number: int | None = None
    before: str = ""
    message: str = ""

    @property
    def script(self) -> str:
        """Return the whole script."""
        lines = "\n".join(f"    {line}" for line in self.body.strip().splitlines())
        return f"""{self.before}
@supervised("night", handlers=[recorder], report_on=["success"])
def main():
{lines}

main()
"""


SLEEP = "import time; ready(); time.sleep(60)"

ENDINGS = {
    "it returns": Ending(body="return 5", code=0, kind="success", outcome="success"),
    "it raises": Ending(body="raise KeyError('apn')", code=1, error="KeyError", message="'apn'"),
    "sys.exit()": Ending(body="sys.exit()", code=0, kind="success", outcome="success"),
    "sys.exit(None)": Ending(body="sys.exit(None)", code=0, kind="success", outcome="success"),
    "sys.exit(0)": Ending(body="sys.exit(0)", code=0, kind="success", outcome="success"),
    "sys.exit(3)": Ending(body="sys.exit(3)", code=3, error="SystemExit", message="3"),
    "sys.exit(True)": Ending(body="sys.exit(True)", code=1, error="SystemExit"),
    "sys.exit(-1)": Ending(body="sys.exit(-1)", code=255, error="SystemExit"),
    "sys.exit(text)": Ending(body="sys.exit('no rows')", code=1, error="SystemExit", message="no rows"),
    "sys.exit(object)": Ending(body="sys.exit(['no', 'rows'])", code=1, error="SystemExit", message="['no', 'rows']"),
    "raise SystemExit": Ending(body="raise SystemExit", code=0, kind="success", outcome="success"),
    "exit() of site": Ending(body="exit(4)", code=4, error="SystemExit"),
    "Ctrl+C": Ending(body=SLEEP, number=signal.SIGINT, code=130, outcome="interrupted", error="KeyboardInterrupt"),
    "SIGTERM": Ending(
        body=SLEEP, number=signal.SIGTERM, code=143, outcome="terminated", error="Terminated",
        message="asked to end by SIGTERM",
    ),
    "its own handler of SIGTERM": Ending(
        before="import signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))",
        body=SLEEP, number=signal.SIGTERM, code=7, error="SystemExit",
    ),
    "its own handler of SIGTERM, set inside": Ending(
        body="import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n" + SLEEP,
        number=signal.SIGTERM, code=7, error="SystemExit",
    ),
    "it ignores SIGTERM": Ending(
        before="import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)",
        body="import time; ready(); time.sleep(0.5)", number=signal.SIGTERM, code=0, kind="success", outcome="success",
    ),
    "SIGTERM in a try that catches Exception": Ending(
        body="try:\n    import time; ready(); time.sleep(60)\nexcept Exception:\n    sys.exit(9)",
        number=signal.SIGTERM, code=143, outcome="terminated", error="Terminated",
    ),
    "an exception whose text raises": Ending(
        before="class Rude(Exception):\n    def __str__(self): raise ValueError('no text')",
        body="raise Rude", code=1, error="Rude", message="str() raised ValueError",
    ),
    "endless recursion": Ending(
        before="def down(n): return down(n + 1)", body="down(0)", code=1, error="RecursionError",
        message="maximum recursion depth exceeded",
    ),
    "no memory": Ending(body="raise MemoryError", code=1, error="MemoryError"),
    "a group of exceptions": Ending(
        body="raise ExceptionGroup('two of them', [KeyError('apn'), OSError(5, 'input/output')])", code=1,
        error="ExceptionGroup", message="two of them (2 sub-exceptions)",
    ),
    "a cause": Ending(
        body="try:\n    {}['apn']\nexcept KeyError as error:\n    raise ValueError('no parcel') from error", code=1,
        error="ValueError", message="no parcel",
    ),
    "a context": Ending(
        body="try:\n    {}['apn']\nexcept KeyError:\n    raise ValueError('no parcel')", code=1,
        error="ValueError", message="no parcel",
    ),
    "a cancellation": Ending(
        before="import asyncio", body="raise asyncio.CancelledError", code=1, outcome="cancelled",
        error="asyncio.exceptions.CancelledError",
    ),
    "a generator's end": Ending(body="raise StopIteration(5)", code=1, error="StopIteration", message="5"),
    "a traceback of 1,000 frames": Ending(
        before="sys.setrecursionlimit(3000)\ndef even(n): return odd(n - 1)\n"
        "def odd(n):\n    if n < 0: raise ValueError('deep')\n    return even(n - 1)",
        body="even(1000)", code=1, error="ValueError", message="deep",
    ),
    "a syntax error": Ending(body="compile('acres = 7.25 +', 'cache.py', 'exec')", code=1, error="SyntaxError"),
    "an exception that takes no marks": Ending(
        before="class Slim(Exception):\n    def __setattr__(self, *_): raise AttributeError('slim')",
        body="raise Slim('thin')", code=1, error="Slim", message="thin",
    ),
    "os._exit": Ending(body="import os; os._exit(5)", code=5, outcome=""),
}  # fmt: skip
POSIX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")


@pytest.mark.parametrize(
    "ending", [pytest.param(each, id=name, marks=POSIX_ONLY if each.number else ()) for name, each in ENDINGS.items()]
)
def test_the_scripts_result_wins(ending: Ending, tmp_path: Path) -> None:
    """A script ends as it would without us, exit code and complaint, and its outcome is told once."""
    watched, plain = both(tmp_path, ending.script, ending.number)
    assert watched.shell_code == plain.shell_code
    assert watched.shell_code & 0xFF == ending.code  # Windows keeps 32 bits of it
    assert watched.complaint == plain.complaint
    assert watched.stdout == plain.stdout
    assert [each["kind"] for each in watched.messages] == [ending.kind] * bool(ending.outcome)
    for message in watched.messages:
        assert message["outcome"] == ending.outcome
        assert message["error"] == ending.error
        assert ending.message in (message["error_message"] or "")


@POSIX_ONLY
def test_a_shell_sees_the_same(tmp_path: Path) -> None:
    """What ``$?`` says behind a script that was asked to terminate is 143, as it would be without us."""
    body = """
        import os, signal
        @supervised("night", handlers=[recorder])
        def main():
            os.kill(os.getpid(), signal.SIGTERM)
            import time; time.sleep(60)
        main()
    """
    watched, plain = both(tmp_path, body)
    assert (watched.shell_code, plain.shell_code) == (143, 143)
    outer = """
        import subprocess
        print(subprocess.run(["sh", "-c", f"'{sys.executable}' '%s'; echo $?"], capture_output=True).stdout.decode())
    """
    for name in ("plain", "supervised"):
        shell = run(tmp_path / f"shell-{name}", outer % (tmp_path / name / "script.py"))
        assert shell.stdout.strip() == "143"


ASYNC_ENDINGS: dict[str, dict[str, Any]] = {
    "it returns": {"body": "return 5", "code": 0, "kind": "success", "outcome": "success"},
    "it raises": {"body": "raise KeyError('apn')", "code": 1, "error": "KeyError"},
    "sys.exit(3)": {"body": "sys.exit(3)", "code": 3, "error": "SystemExit"},
    "SIGTERM": {
        "body": "ready(); await asyncio.sleep(60)", "number": signal.SIGTERM, "code": 143, "outcome": "terminated",
        "error": "asyncio.exceptions.CancelledError",
    },
    "SIGTERM while a thread works": {
        "body": "stop = __import__('threading').Event()\nready()\n"
        "try:\n    await asyncio.to_thread(stop.wait, 60)\nfinally:\n    stop.set()",
        "number": signal.SIGTERM, "code": 143, "outcome": "terminated", "error": "asyncio.exceptions.CancelledError",
    },
    "Ctrl+C": {
        "body": "ready(); await asyncio.sleep(60)", "number": signal.SIGINT, "code": 130, "outcome": "cancelled",
        "error": "asyncio.exceptions.CancelledError",
    },
    "it is cancelled": {
        "body": "asyncio.current_task().cancel(); await asyncio.sleep(60)", "code": 1, "outcome": "cancelled",
        "error": "asyncio.exceptions.CancelledError",
    },
    "a task group fails": {
        "body": "async with asyncio.TaskGroup() as group:\n    group.create_task(asyncio.sleep(60))\n"
        "    group.create_task(asyncio.wait_for(asyncio.Event().wait(), 0.01))",
        "code": 1, "error": "ExceptionGroup",
    },
    "a timeout": {
        "body": "async with asyncio.timeout(0.01):\n    await asyncio.sleep(60)", "code": 1, "error": "TimeoutError",
    },
}  # fmt: skip

ASYNC_FORMS = {
    "a supervised coroutine": """
import asyncio
@supervised("night", handlers=[recorder], report_on=["success"])
async def main():
{body}
asyncio.run(main())
""",
    "asyncio.run inside": """
import asyncio
async def work():
{body}
@supervised("night", handlers=[recorder], report_on=["success"])
def main():
    asyncio.run(work())
main()
""",
    "an async block": """
import asyncio
async def main():
    async with supervise("night", handlers=[recorder], report_on=["success"]):
{deeper}
asyncio.run(main())
""",
}


@pytest.mark.parametrize("form", ASYNC_FORMS.values(), ids=ASYNC_FORMS)
@pytest.mark.parametrize(
    "ending",
    [pytest.param(each, id=name, marks=POSIX_ONLY if "number" in each else ()) for name, each in ASYNC_ENDINGS.items()],
)
def test_the_coroutines_result_wins(form: str, ending: dict[str, Any], tmp_path: Path) -> None:
    """A script of coroutines ends as it would without us, whichever way it is watched, and is told of once."""
    body = "\n".join(f"    {line}" for line in ending["body"].splitlines())
    deeper = "\n".join(f"    {line}" for line in body.splitlines())
    watched, plain = both(tmp_path, form.format(body=body, deeper=deeper), ending.get("number"))
    assert watched.shell_code == plain.shell_code == ending["code"]
    assert watched.complaint == plain.complaint
    assert watched.kinds == [ending.get("kind", "failure")]
    outcome = ending.get("outcome", "failure")
    if "asyncio.run(work())" in form and ending.get("number") == signal.SIGINT:
        outcome = "interrupted"  # the run is outside of the loop and sees what leaves asyncio.run()
    assert watched.messages[0]["outcome"] == outcome
