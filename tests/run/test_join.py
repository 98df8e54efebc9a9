"""A Python program that uses supervisor joins the run of ``supervisor run``: one run, told of once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from command_kit import SUPERVISOR, Jobs, end, number_in, wait_for
from containers import ALONE, need_containers
from waiting import PATIENCE_S, wait_until

from supervisor._cli.exec.program import SharedRun
from supervisor._run import join
from supervisor._run.join import VARIABLE, accept_offer
from supervisor._store.serialization import dump
from supervisor.models import Outcome, RunReport

if sys.platform == "win32":
    pytest.skip("the programs under test are those of POSIX systems", allow_module_level=True)

if TYPE_CHECKING:
    from pathlib import Path

_IS_OFFERED = "until ls $TMPDIR/supervisor-run-*/program >/dev/null 2>&1; do sleep 0.01; done"
WAITED_FOR = ("sh", "-c", f'{_IS_OFFERED}; kill -STOP $PPID; exec "$@"', "sh")
"""What comes before a program for which the command stands still until it gets SIGCONT, however slowly it starts."""


def test_a_success_is_one_run_with_all_that_the_program_knew(jobs: Jobs) -> None:
    """Name and id are the command's; values, progress and what is attached are the program's."""
    program = jobs.python("""
        with supervise("its own name") as run:
            run.record(rows=5, text="é")
            run.progress(3, total=10, message="copying")
            print(run.id, run.name)
    """)
    done = jobs.run("--report-on", "success", "--", *program)
    (run,) = jobs.runs()
    assert done.stdout.decode().split() == [run["id"], "job"]
    assert (run["name"], run["outcome"], run["parent_id"]) == ("job", "success", None)
    assert json.loads(run["values"]) == {"rows": 5, "text": "é"}
    assert b"copying" in run["progress"]
    (message,) = jobs.messages()
    assert message["kind"] == "success"
    assert "rows" in message["message"]
    assert jobs.leftovers() == []


def test_a_failure_is_told_once_with_its_traceback(jobs: Jobs) -> None:
    """The program tells its own handlers; the command tells the others, with the program's traceback."""
    jobs.configure('[defaults]\nhandlers = ["ops"]\n[runs.job]\nhandlers = ["ops", "dev"]\n')
    program = jobs.python("""
        def work(): raise KeyError("apn")
        with supervise(handlers=["dev"]):
            work()
    """)
    done = jobs.run("--", *program)
    assert done.code == 1
    assert done.stderr.endswith(b"KeyError: 'apn'\n")
    for name in ("ops", "dev"):
        (message,) = jobs.messages(name)
        assert (message["kind"], message["run"], message["error"]) == ("failure", "job", "KeyError")
        assert "in work" in message["where"]
        assert 'raise KeyError("apn")' in message["traceback"]
    (run,) = jobs.runs()
    assert (run["outcome"], run["exit_code"]) == ("failure", 1)


@pytest.mark.parametrize(
    ("body", "code", "outcome", "error"),
    [
        ("sys.exit(3)", 3, "failure", "SystemExit"),
        ("sys.exit(0)", 0, "success", None),
        (
            "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
            143,
            "terminated",
            "Terminated",
        ),
        ("raise KeyboardInterrupt", 130, "interrupted", "KeyboardInterrupt"),
        ("os._exit(4)", 4, "failure", "exit code 4"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "failure", "killed by SIGKILL"),
    ],
)
def test_every_ending_is_the_runs(jobs: Jobs, body: str, code: int, outcome: str, error: str | None) -> None:
    """However the block ends, the run ends so, and who shares a handler hears of it once."""
    done = jobs.run("--", *jobs.python(f"""
        with supervise(handlers=["ops"]):
            {body}
    """))  # fmt: skip
    assert done.code == code
    (run,) = jobs.runs()
    assert run["outcome"] == outcome
    assert [each["error"] for each in jobs.messages()] == ([error] if error else [])


def test_a_failure_that_the_program_swallows_is_still_one(jobs: Jobs) -> None:
    """An exception that left the block is a failure of the run, even if the program ends with 0."""
    program = jobs.python("""
        with supervise(reraise=False):
            raise ValueError("swallowed")
    """)
    assert jobs.run("--", *program).code == 0
    (run,) = jobs.runs()
    assert (run["outcome"], run["exit_code"]) == ("failure", 0)
    assert [each["error"] for each in jobs.messages()] == ["ValueError"]


def test_a_failure_after_the_block_is_one_of_the_run(jobs: Jobs) -> None:
    """A program that fails after its block fails the run, and everybody hears of it."""
    program = jobs.python("""
        with supervise(handlers=["ops"]) as run: run.record(rows=7)
        sys.exit("too late")
    """)
    assert jobs.run("--", *program).code == 1
    (message,) = jobs.messages()
    assert (message["error"], message["error_message"]) == ("exit code 1", "too late")
    assert json.loads(jobs.runs()[0]["values"]) == {"rows": 7}


def test_an_error_in_a_thread_is_told_once(jobs: Jobs) -> None:
    """What the program told at once is not told again at the end, though the run has failed."""
    program = jobs.python("""
        import threading
        def work(): raise ZeroDivisionError("in a thread")
        with supervise(handlers=["ops"]):
            thread = threading.Thread(target=work, name="loader"); thread.start(); thread.join()
    """)
    assert jobs.run("--", *program).code == 0
    assert jobs.runs()[0]["outcome"] == "failure"
    assert [(each["error"], each["thread"]) for each in jobs.messages()] == [("ZeroDivisionError", "loader")]


def test_later_blocks_are_runs_of_their_own(jobs: Jobs) -> None:
    """Only the first outermost block joins; others name the run as what they are nested in."""
    program = jobs.python("""
        with supervise("first"):
            with supervise("inner"): pass
        with supervise("second"): pass
        @supervised
        def third(): pass
        third()
    """)
    assert jobs.run("--", *program).code == 0
    first, inner, second, third = jobs.runs()
    assert [run["name"] for run in jobs.runs()] == ["job", "inner", "second", "third"]
    assert (first["parent_id"], inner["parent_id"], second["parent_id"], third["parent_id"]) == (
        None, first["id"], first["id"], first["id"],
    )  # fmt: skip


def test_a_coroutine_joins(jobs: Jobs) -> None:
    """``async with`` and supervised coroutines join as well."""
    program = jobs.python("""
        import asyncio
        @supervised("nightly", handlers=["ops"])
        async def main(run):
            run.record(rows=1)
            await asyncio.sleep(0)
            raise OSError("no route")
        asyncio.run(main())
    """)
    assert jobs.run("--", *program).code == 1
    (run,) = jobs.runs()
    assert (run["name"], json.loads(run["values"])) == ("job", {"rows": 1})
    assert [each["error"] for each in jobs.messages()] == ["OSError"]


def test_a_block_without_a_journal_joins(jobs: Jobs) -> None:
    """``journal=False`` in the program changes nothing about the command's run."""
    program = jobs.python("""
        with supervise(journal=False) as run:
            run.record(rows=2); run.progress(1, 4)
    """)
    assert jobs.run("--", *program).code == 0
    (run,) = jobs.runs()
    assert (run["outcome"], json.loads(run["values"])) == ("success", {"rows": 2})
    assert b'"total":4' in run["progress"]


def test_a_command_without_a_journal_is_joined(jobs: Jobs) -> None:
    """With ``--no-journal`` neither of both writes the run down, and a failure is told once."""
    program = jobs.python("""
        with supervise(handlers=["ops"]): raise ValueError("x")
    """)
    assert jobs.run("--no-journal", "--", *program).code == 1
    assert jobs.runs() == []
    assert [each["error"] for each in jobs.messages()] == ["ValueError"]


def test_a_good_end_is_told_once(jobs: Jobs) -> None:
    """Who hears of the end from the program does not hear of it again from the command; others do."""
    jobs.configure('[defaults]\nhandlers = ["ops", "dev"]\n')
    program = jobs.python("""
        with supervise(handlers=["ops"], report_on="success"):
            if not os.path.exists("mended"): raise ValueError("x")
    """)
    jobs.run("--report-on", "success", "--", *program)
    (jobs.folder / "mended").touch()
    for _ in range(2):
        jobs.run("--report-on", "success", "--", *program)
    assert jobs.kinds("ops") == ["failure", "recovery", "success"]
    assert jobs.kinds("dev") == ["failure", "recovery", "success"]


@pytest.mark.parametrize("all_handlers", [["ops"], ["ops", "dev"]])
def test_the_end_of_a_finding_is_told_once(jobs: Jobs, all_handlers: list[str]) -> None:
    """Whoever of command and program finds that it takes too long: each handler hears of it and of the end once."""
    jobs.configure(f"[defaults]\nhandlers = {all_handlers}\n")
    program = jobs.python("""
        with supervise(handlers=["ops"], max_duration_s=0.2):
            while not os.path.exists("messages-ops"): time.sleep(0.01)
            os.kill(os.getppid(), signal.SIGCONT)
            time.sleep(0.5)  # the command looks, and finds what has been told
    """)
    jobs.run("--max-duration", "0.5", "--", *WAITED_FOR, *program)
    assert jobs.kinds("ops") == ["overdue", "recovery"]
    assert jobs.kinds("dev") == []
    jobs.run("--max-duration", "0.2", "--", *jobs.python("""
        with supervise(handlers=["ops"], max_duration_s=1.0):
            time.sleep(1.2)  # the command finds it first
    """))  # fmt: skip
    assert jobs.kinds("ops") == ["overdue", "recovery"] * 2
    assert jobs.kinds("dev") == (["overdue", "recovery"] if "dev" in all_handlers else [])


def test_what_the_program_does_not_tell_the_command_does(jobs: Jobs) -> None:
    """A success that only the command is asked to tell of goes to the handler that both share."""
    program = jobs.python("""
        with supervise(handlers=["ops"]): pass
    """)
    jobs.run("--report-on", "success", "--", *program)
    assert jobs.kinds() == ["success"]


def test_repeats_are_held_back_on_both_sides(jobs: Jobs) -> None:
    """``repeat_after_s`` holds back equal failures, those that the program tells and those that the command does."""
    jobs.configure('[defaults]\nhandlers = ["ops", "dev"]\nrepeat_after_s = 3600\n')
    program = jobs.python("""
        with supervise(handlers=["ops"]): raise ValueError("x")
    """)
    for _ in range(3):
        assert jobs.run("--", *program).code == 1
    assert jobs.kinds("ops") == ["failure"]
    assert jobs.kinds("dev") == ["failure"]
    assert [run["outcome"] for run in jobs.runs()] == ["failure"] * 3


def test_notices_and_attachments_go_under_the_runs_id(jobs: Jobs) -> None:
    """What the program says while it runs is said of the command's run."""
    program = jobs.python("""
        with supervise("other", handlers=["ops"]) as run:
            run.notify("Parcels loaded", "12 rows")
    """)
    jobs.run("--", *program)
    (message,) = jobs.messages()
    assert (message["kind"], message["run"], message["subject"]) == ("notice", "job", "Parcels loaded")


def test_a_timeout_shows_where_the_program_was(jobs: Jobs) -> None:
    """A program that is stopped hands back where it hung; the failure says that its time was up, once to each."""
    jobs.configure('[defaults]\nhandlers = ["ops", "dev"]\n')
    program = jobs.python("""
        def hang(): os.kill(os.getppid(), signal.SIGCONT); time.sleep(1000)
        with supervise(handlers=["dev"]):
            hang()
    """)
    assert jobs.run("--timeout", "0.5", "--", *WAITED_FOR, *program).code == 124
    (message,) = jobs.messages("ops")
    assert (message["error"], message["outcome"]) == ("timed out after 500 ms", "failure")
    assert "time.sleep(1000)" in message["traceback"]
    assert [each["outcome"] for each in jobs.messages("dev")] == ["terminated"]


def test_sigterm_to_the_command_terminates_the_program_and_is_told_once(jobs: Jobs) -> None:
    """The signal is forwarded, and both agree on how the run ended."""
    program = jobs.python("""
        with supervise(handlers=["ops"]):
            print("ready", flush=True)
            while True: time.sleep(0.05)  # a signal right before a long one would wait for its end
    """)
    process = jobs.start("--", *program)
    wait_for(b"ready", process)
    process.terminate()
    assert end(process).code == 143
    assert [(each["kind"], each["outcome"]) for each in jobs.messages()] == [("failure", "terminated")]
    assert [run["outcome"] for run in jobs.runs()] == ["terminated"]


def test_a_program_whose_command_was_killed_ends_its_run_itself(jobs: Jobs) -> None:
    """When nobody is left to end the run the program does, so that it does not count as died."""
    program = jobs.python("""
        with supervise(handlers=["ops"]) as run:
            open("pid", "w").write(f"{os.getpid()}\\n")
            while os.path.exists("wait"): time.sleep(0.02)
            run.record(rows=9)
    """)
    (jobs.folder / "wait").touch()
    process = jobs.start("--", *program)
    number_in(jobs.folder / "pid")
    process.kill()
    process.wait()
    (jobs.folder / "wait").unlink()
    wait_until(lambda: jobs.runs()[0]["outcome"], "the run has no end")
    end(process)
    (run,) = jobs.runs()
    assert (run["outcome"], json.loads(run["values"])) == ("success", {"rows": 9})


def test_a_program_behind_a_shell_does_not_join(jobs: Jobs) -> None:
    """What a script starts is not the script: those runs are their own."""
    program = " ".join(jobs.python("""
        with supervise("inside") as run: print(run.id)
    """))  # fmt: skip
    script = jobs.write("job.sh", f"#!/bin/sh\n{program}\n{program}\n")
    done = jobs.run("--", script)
    outer, *inner = jobs.runs()
    assert [run["id"] for run in inner] == done.stdout.decode().split()
    assert [(run["name"], run["parent_id"]) for run in inner] == [("inside", None)] * 2
    assert outer["name"] == "job"


def test_what_the_program_starts_does_not_join(jobs: Jobs) -> None:
    """Neither a program that it starts, nor a process that it forks, before or after its first run, joins."""
    other = " ".join(jobs.python("""
        with supervise("other"): pass
    """, "other.py"))  # fmt: skip
    program = jobs.python(f"""
        os.system({other!r})
        if os.fork() == 0:
            with supervise("forked"): pass
            os._exit(0)
        os.wait()
        with supervise("mine"): os.system({other!r})
        os.system({other!r})
        print(sorted(name for name in os.environ if "JOIN" in name))
    """)
    done = jobs.run("--", *program, env={"PYTHONWARNINGS": "ignore::DeprecationWarning"})
    assert done.stdout.endswith(b"[]\n")
    assert sorted(run["name"] for run in jobs.runs()) == ["forked", "job", "other", "other", "other"]


def test_a_program_that_starts_itself_anew_joins_once(jobs: Jobs) -> None:
    """A program that replaces itself by ``exec`` before its first run joins all the same."""
    program = jobs.python("""
        if len(sys.argv) == 1:
            os.execv(sys.executable, [sys.executable, __file__, "again"])
        with supervise("mine"): pass
    """)
    plain = jobs.write("plain.py", "import os, sys\nos.execv(sys.executable, [sys.executable, sys.argv[1], 'again'])\n")
    assert jobs.run("--name", "job", "--", sys.executable, plain, program[1]).code == 0
    assert [run["name"] for run in jobs.runs()] == ["job"]


OFFERS = [
    "", " ", "nonsense", "{}", "1 2 3", "1 ff x j 2f 61", "1 ff 99999999999999999999 j 2f746d70 61",
    "1 ff {ppid} j 2f746d70 61", "2 ff {ppid} j {folder} 61", "1 ff {ppid} j {folder} zz",
    "1 ff {ppid} j {folder} 20", "1 FF;DROP {ppid} j {folder} 61", "1 ff {ppid} j {missing} 61",
    "1 ff {other} j {folder} 61", "1 ff {ppid} j 00 61", "1 ff {ppid} j 61 61",
    "1 ff {ppid} j {folder} ff", "1 ff {ppid} j {open} 61", "x" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("offer", OFFERS)
def test_an_offer_that_is_forged_stale_or_cut_is_none(tmp_path: Path, offer: str) -> None:
    """Only what ``supervisor run`` writes is an offer, and only to a process that it has started itself."""
    assert accept_offer(filled(offer, tmp_path, os.getppid())) is None


@pytest.mark.parametrize("offer", ["nonsense", "1 ff {ppid} j {missing} 61", "1 ff {other} j {folder} 61"])
def test_whatever_is_in_the_variable_the_program_works(jobs: Jobs, offer: str) -> None:
    """A wrong offer changes nothing about a program."""
    program = jobs.python("""
        with supervise("mine") as run: print(run.name)
    """)
    done = subprocess.run(
        program, env=jobs.environment | {VARIABLE: filled(offer, jobs.folder, os.getpid())}, cwd=jobs.folder,
        capture_output=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"mine\n", b"")
    assert [(run["name"], run["outcome"], run["parent_id"]) for run in jobs.runs()] == [("mine", "success", None)]


def filled(offer: str, folder: Path, parent: int) -> str:
    """Return an offer with its places filled in: directories (private, for all, missing) and processes."""
    private, public, missing = (folder / each for each in ("private", "public", "missing"))
    private.mkdir(mode=0o700)
    public.mkdir(mode=0o700)
    public.chmod(0o755)
    places = {"folder": private, "open": public, "missing": missing}
    for name, path in places.items():
        offer = offer.replace(f"{{{name}}}", str(path).encode().hex())
    return offer.replace("{ppid}", str(parent)).replace("{other}", str(parent + 1))


def test_an_offer_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two who see the same offer the first has it, and what is handed back arrives whole."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    offer = SharedRun(id="ff01", name="n\nö \udcff", is_journalled=True, has_lock=False)
    monkeypatch.setattr(os, "getppid", os.getpid)
    assert offer.last_activity() is None
    offer.announce(os.getpid())
    joined = accept_offer(offer.variables[VARIABLE])
    assert joined is not None
    assert (joined.id, joined.name, joined.is_journalled, joined.has_lock) == ("ff01", "n\nö \udcff", True, False)
    assert offer.last_activity() is not None
    assert accept_offer(offer.variables[VARIABLE]) is None
    assert offer.report() is None
    offer.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"report": 1, "notified": {}, "attachments": []}', b"\xff" * 100])
def test_a_note_that_cannot_be_read_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: bytes) -> None:
    """What is not from us is not believed, and the run ends as for any program."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    offer = SharedRun(id="ff01", name="n", is_journalled=True, has_lock=False)
    (directory,) = tmp_path.iterdir()
    (directory / "end").write_bytes(note)
    assert offer.report() is None
    offer.close()


def test_only_the_program_itself_accepts_an_offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process with the same parent does not join, and a program waits until the command has written its id."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(os, "getppid", os.getpid)
    offers = [SharedRun(id=f"ff0{number}", name="n", is_journalled=True, has_lock=False) for number in range(2)]
    offers[0].announce(os.getpid() + 1)
    assert accept_offer(offers[0].variables[VARIABLE]) is None
    looked = threading.Event()

    def announce() -> None:
        looked.wait(PATIENCE_S)
        offers[1].announce(os.getpid())

    def look(_: float) -> None:
        looked.set()

    writer = threading.Thread(target=announce)
    writer.start()
    monkeypatch.setattr(join, "sleep", look)
    assert accept_offer(offers[1].variables[VARIABLE]) is not None
    writer.join()
    for each in offers:
        each.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_somebody_else_put_there_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note or a directory of another user, or a link in the note's place, is none: its paths would be attached."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for change in ("the note", "the directory", "a link"):
        offer = SharedRun(id="ff01", name="n", is_journalled=True, has_lock=False)
        (directory,) = tmp_path.iterdir()
        note = directory / "end"
        report = RunReport(id="ff01", name="n", started_at=datetime.now(UTC), outcome=Outcome.SUCCESS)
        note.write_bytes(dump({"report": report, "attachments": ["/etc/shadow"], "notified": {}}))
        assert offer.report() is not None
        if change == "a link":
            note.rename(directory / "other")
            note.symlink_to(directory / "other")
        else:
            os.chown(note if change == "the note" else directory, 65534, 65534)
        assert offer.report() is None
        shutil.rmtree(directory)
    os.chown(tmp_path, 65534, 65534)
    offer = SharedRun(id="ff01", name="n", is_journalled=True, has_lock=False)
    assert list(tmp_path.iterdir()) == []
    offer.close()


def test_an_orphan_that_process_1_adopts_is_not_the_program(jobs: Jobs) -> None:
    """In a container, a helper whose parents have ended becomes a child of the command: its run is its own."""
    need_containers()
    helper = " ".join(jobs.python("""
        while os.getppid() != 1: time.sleep(0.01)
        try:
            with supervise("helper") as run:
                run.record(rows=1)
                raise KeyError("helper")
        finally:
            open("done", "w").close()
    """, "helper.py"))  # fmt: skip
    script = jobs.write("job.sh", f"#!/bin/sh\n( {helper} 2>/dev/null & )\nuntil [ -e done ]; do sleep 0.05; done\n")
    command = [*ALONE, *SUPERVISOR, "run", "--", script]
    done = subprocess.run(command, env=jobs.environment, cwd=jobs.folder, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0
    job, other = sorted(jobs.runs(), key=lambda run: run["name"] != "job")
    assert (job["name"], job["outcome"], json.loads(job["values"] or "{}")) == ("job", "success", {})
    assert (other["name"], other["outcome"], json.loads(other["values"])) == ("helper", "failure", {"rows": 1})


def test_a_run_that_cannot_be_offered_is_not_joined(jobs: Jobs) -> None:
    """A name that is too long for a variable keeps nobody from running; the program's run is one of its own."""
    program = jobs.python("""
        with supervise("mine"): pass
    """)
    assert jobs.run("--name", "x" * 90_000, "--", *program).code == 0
    assert [run["name"][:4] for run in jobs.runs()] == ["xxxx", "mine"]


def test_a_killed_program_that_had_joined_leaves_no_note(jobs: Jobs) -> None:
    """When a program that has joined is killed the command tells of it as of any other, with its last progress."""
    program = jobs.python("""
        with supervise(handlers=["ops"]) as run:
            run.progress(3, total=10, message="copying")
            print("last words", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert jobs.run("--", *program).code == 128 + signal.SIGKILL
    (message,) = jobs.messages()
    assert message["error"] == "killed by SIGKILL"
    assert "last words" in message["traceback"]
    (run,) = jobs.runs()
    assert b"copying" in run["progress"]
    assert jobs.leftovers() == []
