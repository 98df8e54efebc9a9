"""What users have to test their own scripts with."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import supervisor
from supervisor import Run, supervise, supervised
from supervisor.testing import RecordingHandler, recording


class NeverCalled:
    """A handler that a test must not reach."""

    def send_message(self, details: object, /) -> None:
        """Fail."""
        raise AssertionError("a real handler was reached")


@supervised("division", handlers=[NeverCalled()])
def divide(run: Run, by: int) -> float:
    """Stand for a script."""
    run.record(by=by)
    run.notify("dividing")
    return 1 / by


def test_what_a_script_says_is_kept_instead_of_sent() -> None:
    """In the block no handler is reached, and the messages are those that the script would have sent, no more."""
    with recording() as seen:
        assert divide(1) == 1
        with pytest.raises(ZeroDivisionError):
            divide(0)
    assert [each.kind for each in seen.messages] == ["notice", "notice", "failure"]
    assert [each.outcome for each in seen.reports] == ["success", "failure"]
    assert seen.outcome == "failure"
    assert seen.report.values == {"by": 0}
    assert "ZeroDivisionError" in seen.message("failure").subject


def test_kinds_that_the_script_asks_for_are_kept_too() -> None:
    """``report_on`` decides what is kept, as it decides what is sent."""
    with recording() as seen, supervise("night", handlers=[NeverCalled()], report_on=["success"]):
        pass
    assert [each.kind for each in seen.messages] == ["success"]


def test_a_script_without_handlers_has_an_outcome() -> None:
    """A run that sends nothing is seen all the same, and says nothing."""
    with recording() as seen, supervise("night"):
        pass
    assert (seen.outcome, seen.messages) == ("success", ())


def test_nothing_is_written_to_the_journal() -> None:
    """A test of a script leaves no trace in the journal."""
    with recording():
        divide(1)
    assert not list(Path(os.environ["SUPERVISOR_STATE"]).glob("*"))


def test_what_is_missing_is_told_with_what_there_is() -> None:
    """Asking for a message that is not there, or not alone, tells what the script said."""
    with recording() as seen:
        with pytest.raises(LookupError, match="no supervised run has ended"):
            _ = seen.report
        divide(1)
        divide(2)
    with pytest.raises(LookupError, match=r"2 messages of kind 'notice'.*\n  notice: dividing\n  notice: dividing"):
        seen.message()
    with pytest.raises(LookupError, match="0 messages of kind 'failure'"):
        seen.message("failure")


def test_a_recording_handler_may_fail() -> None:
    """With ``error`` the handler keeps the message and raises, so that a script can be seen without its channel."""
    handler = RecordingHandler(error=OSError("no network"))
    with supervise("night", handlers=[handler], delivery_deadline_s=0.2, journal=False) as run:
        run.notify("hello")
    assert handler.messages[0].subject == "hello"


def test_pytest_has_the_fixture(tmp_path: Path) -> None:
    """The fixture ``supervised_run`` is there in a test of a user, without an import."""
    (tmp_path / "test_user.py").write_text(
        "from supervisor import supervised\n"
        "@supervised('night')\n"
        "def main(run): run.record(rows=7)\n"
        "def test_main(supervised_run):\n"
        "    main()\n"
        "    assert supervised_run.outcome == 'success'\n"
        "    assert supervised_run.report.values['rows'] == 7\n"
    )
    plugin = [] if _is_installed() else ["-p", "supervisor.testing"]
    done = run_python("-m", "pytest", "-p", "no:cacheprovider", *plugin, cwd=tmp_path)
    assert "1 passed" in done.stdout, done.stdout


def test_it_can_be_had_without_pytest(tmp_path: Path) -> None:
    """``recording`` and ``RecordingHandler`` need no pytest."""
    code = "import sys; sys.modules['pytest'] = None; from supervisor import testing; print(dir(testing))"
    done = run_python("-c", code, cwd=tmp_path)
    assert "recording" in done.stdout
    assert "supervised_run" not in done.stdout


def run_python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with this package on its path."""
    environment = {**os.environ, "PYTHONPATH": str(Path(supervisor.__file__).parents[1])}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def _is_installed() -> bool:
    """Tell whether the package is installed, with its entry points, or only on the path."""
    return any(each.value == "supervisor.testing" for each in entry_points(group="pytest11"))


PROJECT = {
    "supervisor.toml": """
        [handlers.ops]
        type = "webhook"
        url = { env = "NOT_SET" }
        [defaults]
        handlers = ["ops"]
        report_on = ["success"]
    """,
    "job.py": """
        from supervisor import supervised
        @supervised("job")
        def main(run):
            run.notify("hello")
    """,
    "tests/test_job.py": """
        import sys
        from pathlib import Path
        sys.path.insert(0, str(Path(__file__).parents[1]))
        import job
        def test_job(supervised_run):
            job.main()
            assert [each.kind for each in supervised_run.messages] == ["notice", "success"]
    """,
}


def test_the_configuration_is_that_of_the_script_whatever_the_folder(tmp_path: Path) -> None:
    """Tests of a script that TOML configures find it from the folder of the tests, as the script does from its own."""
    for name, text in PROJECT.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "project" / "tests")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SUPERVISOR_", "PYTEST_"))}
    ended = subprocess.run(
        command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stdout


def test_warnings_are_messages_and_outcomes() -> None:
    """A test sees that a script succeeded with warnings, and in which steps."""

    @supervised("night", handlers=[RecordingHandler()])
    def main(run: Run) -> None:
        with run.step("load"):
            run.warn("airstrips: timeout")

    with recording() as seen:
        main()
    assert seen.outcome == "warning"
    assert " succeeded with 1 warning on " in seen.message("warning").subject
    assert [each.name for each in seen.report.steps] == ["load"]


def test_retries_do_not_wait_in_tests(supervised_run: supervisor.testing.SupervisedRun) -> None:
    """A test of a script that tries again takes no minutes."""
    tries = iter(range(3))

    @supervised("nightly", retries=2, retry_wait_s=600.0)
    def main() -> int:
        number = next(tries)
        if number < 2:
            raise TimeoutError
        return number

    assert main() == 2
    assert supervised_run.report.attempts == 3
