"""``supervisor check`` as schedulers run it: real scripts that are killed, hang or never start, real servers, kills."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from containers import containers
from scripts import KILLED, PACKAGE, bare_environment
from waiting import PATIENCE_S, wait_until

from supervisor._store import open_journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

_PROGRAM = """
import sys, time
clock, awake = time.time, time.monotonic
time.time, time.monotonic = lambda: clock() + {shift_s}, lambda: awake() + {shift_s}
sys.argv[0] = "supervisor"
{before}
from supervisor._cli.main import main
main()
"""
HOUR = 3600
WATCHED = """
[runs."nightly parcels"]
schedule = "every 10 min"
grace_s = 60
handlers = ["hook"]
"""


class Hook:
    """A server that takes messages, keeps them, and answers as it is told."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.bodies: list[str] = []
        self.status = 200
        self.may_answer = threading.Event()
        self.may_answer.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                hook.paths.append(self.path)
                hook.bodies.append(body)
                if self.path == "/hook":
                    hook.messages.append(json.loads(body))
                hook.may_answer.wait(PATIENCE_S)
                self.send_response(hook.status)
                if hook.status == 503:
                    self.send_header("Retry-After", "60")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:  # its client was killed
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve in the block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            self.may_answer.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    @property
    def subjects(self) -> list[str]:
        """Return kinds and subjects so far."""
        return [f"{each['kind']}: {each['subject']}" for each in self.messages]

    @property
    def ids(self) -> list[str]:
        """Return the messages' ids so far."""
        return [each["id"] for each in self.messages]


@pytest.fixture
def hook() -> Iterator[Hook]:
    """Return a server."""
    hook = Hook()
    with hook.serving():
        yield hook


class Machine:
    """Scripts and checks that share a journal and a configuration."""

    def __init__(self, folder: Path, state: Path, hook: Hook) -> None:
        self.folder = folder
        self.state = state
        self.config = folder / "supervisor.toml"
        self._hook_table = f'[handlers.hook]\ntype = "webhook"\nurl = "{hook.url}/hook"\n'
        self.configure()

    def configure(self, text: str = '[defaults]\nhandlers = ["hook"]\n', *, with_hook: bool = True) -> None:
        """Write the configuration; there is a handler "hook"."""
        self.config.write_text(text + (self._hook_table if with_hook else ""), "utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """Return what the scripts and checks have in their environment."""
        return bare_environment(SUPERVISOR_CONFIG=str(self.config), PYTHONPATH=str(PACKAGE.parent))

    def start(self, body: str) -> subprocess.Popen[str]:
        """Start a script that says "ready" when it has come so far."""
        script = self.folder / "parcels.py"
        header = "import os, signal, time\nfrom supervisor import supervise\n"
        script.write_text(header + textwrap.dedent(body), "utf-8")
        env = {**self.environment, "SUPERVISOR_CONFIG": os.devnull}
        process = subprocess.Popen([sys.executable, str(script)], env=env, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def start_check(
        self, *arguments: str, shift_s: float = 0, before: str = "", **options: Any
    ) -> subprocess.Popen[str]:
        """Start a check whose clock is ahead by so many seconds."""
        program = _PROGRAM.format(shift_s=shift_s, before=before)
        return subprocess.Popen(
            [sys.executable, "-c", program, "check", *arguments],
            env={**self.environment, **options.pop("env", {})},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def check(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a check to its end."""
        process = self.start_check(*arguments, **options)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.fixture
def machine(tmp_path: Path, state: Path, hook: Hook) -> Machine:
    """Return a machine."""
    return Machine(tmp_path, state, hook)


def killed(machine: Machine) -> None:
    """Let a script be killed in the middle of its run."""
    process = machine.start("""
        with supervise("nightly parcels") as run:
            run.progress(1, 5)
            print("ready", flush=True)
            time.sleep(600)
        """)
    process.kill()
    process.communicate()


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """Return the exit code and the first line."""
    return done.returncode, (done.stdout.splitlines() or [""])[0]


# What is found


@pytest.mark.parametrize("send", ["console", "off"])
def test_on_a_developers_machine_it_only_prints(machine: Machine, hook: Hook, send: str) -> None:
    """Where nothing is to be sent, neither a message nor a ping leaves, and the next real check reports all of it."""
    killed(machine)
    for _ in range(2):
        done = machine.check("--ping", f"{hook.url}/ping", env={"SUPERVISOR_SEND": send})
        assert done.returncode == 1, done.stderr
        assert ("not sent to hook" in done.stdout) == (send == "console")
        assert "DIED      nightly parcels died on" in done.stdout
        assert done.stdout.endswith(f'1 script: 1 new alert; send = "{send}": nothing was sent or noted\n')
    assert (hook.paths, hook.messages) == ([], [])
    assert machine.check().returncode == 1
    assert [each["kind"] for each in hook.messages] == ["died"]


def test_runs_whose_messages_are_not_to_be_sent_are_only_printed(machine: Machine, hook: Hook) -> None:
    """For one name the configuration may say so, too; the script's own next run still reports its death."""
    machine.configure('[defaults]\nhandlers = ["hook"]\n[runs."nightly parcels"]\nsend = "off"\n')
    killed(machine)
    done = machine.check()
    assert done.returncode == 1, done.stderr
    assert "DIED      nightly parcels died on" in done.stdout
    assert hook.messages == []


def test_a_killed_script_is_told_once(machine: Machine, hook: Hook) -> None:
    """A script that was killed by SIGKILL is told to its handlers by the next check, and by no other."""
    killed(machine)
    done = machine.check()
    assert done.returncode == 1, done.stderr
    assert "DIED      nightly parcels died on" in done.stdout
    assert done.stdout.endswith("1 script: 1 new alert\n")
    done = machine.check()
    assert (done.returncode, done.stdout, done.stderr) == (0, "all is well: 1 script, nothing waits\n", "")
    assert len(hook.subjects) == 1
    assert hook.subjects[0].startswith("died: nightly parcels died on")
    assert "1 of 5 (20 %)" in hook.bodies[0]


@posix
def test_a_hanging_script_is_told_once(machine: Machine, hook: Hook) -> None:
    """A script that hangs is found stalled and overdue once; when it is killed then, it died."""
    process = machine.start("""
        with supervise("nightly parcels", stall_after_s=3600, max_duration_s=3600) as run:
            run.progress(1, 5)
            os.write(1, b"ready\\n")
            os.kill(os.getpid(), signal.SIGSTOP)
        """)
    try:
        assert machine.check().returncode == 0
        done = machine.check(shift_s=2 * HOUR)
        assert done.returncode == 1
        assert machine.check(shift_s=2 * HOUR).returncode == 0
    finally:
        process.kill()
        process.communicate()
    assert [each.split(" stalled ")[0].split(" is ")[0] for each in hook.subjects] == [
        "stalled: nightly parcels",
        "overdue: nightly parcels",
    ]
    assert re.search(r"^STALLED   nightly parcels stalled on \S+: no progress for 2 h", done.stdout, re.MULTILINE)
    assert "; look at its process" in done.stdout
    assert machine.check(shift_s=2 * HOUR).returncode == 1
    assert [each["kind"] for each in hook.messages] == ["stalled", "overdue", "died"]


SILENT = """
import sys
from supervisor import supervise
with supervise("nightly parcels") as run:
    print("under way", flush=True)
    said = sys.stdin.readline().strip()
    if said == "fail":
        raise ValueError("no rows")
    if said == "skip":
        run.skip("no tables")
"""


@pytest.mark.parametrize(
    ("said", "kind", "subject"),
    [
        ("", "recovery", r"nightly parcels recovered on pod-7: it was alive after all"),
        ("fail", "failure", r"nightly parcels failed on pod-7: ValueError no rows"),
        ("skip", "recovery", r"nightly parcels .* pod-7.*: it was alive after all"),
    ],
)
def test_what_a_check_reported_of_a_living_run_is_taken_back_by_the_next(
    machine: Machine, hook: Hook, said: str, kind: str, subject: str
) -> None:
    """Also where the script has no handlers: those that heard of its death learn that it was none, once."""
    with containers(SUPERVISOR_CONFIG=os.devnull) as start:
        pod = start(SILENT, hostname="pod-7")
        assert pod.line() == "under way"
        assert "presumed dead" in machine.check(shift_s=HOUR).stdout
        pod.end(said)
    for _ in range(2):
        assert machine.check(shift_s=HOUR).returncode == 0
    assert [each["kind"] for each in hook.messages] == ["died", kind]
    assert re.match(subject, hook.messages[1]["subject"])
    assert "it was alive after all" in " ".join(hook.messages[1]["message"].split())


@pytest.mark.parametrize("said", ["", "fail"])
def test_a_death_that_was_only_printed_is_taken_back_in_print(machine: Machine, said: str) -> None:
    """Without any handlers the next check prints that the run was alive, once."""
    machine.configure("")
    with containers(SUPERVISOR_CONFIG=os.devnull) as start:
        pod = start(SILENT, hostname="pod-7")
        assert pod.line() == "under way"
        assert "presumed dead" in machine.check(shift_s=HOUR).stdout
        pod.end(said)
    done = machine.check(shift_s=HOUR)
    ending = "failure" if said else "success"
    assert f"RECOVERY  nightly parcels was alive after all on pod-7: {ending}" in done.stdout
    assert done.returncode == 0
    assert "alive" not in machine.check(shift_s=HOUR).stdout


def test_a_start_that_was_missed_is_told_once(machine: Machine, hook: Hook) -> None:
    """A schedule in the configuration that passes without any run is told once, and the first run then once."""
    machine.configure(WATCHED)
    assert machine.check().stdout == "all is well: 1 script, nothing waits\n"
    done = machine.check(shift_s=HOUR)
    assert done.returncode == 1
    assert "MISSED    nightly parcels missed 5 starts on" in done.stdout
    done = machine.check(shift_s=HOUR + 60)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].startswith("still     nightly parcels: missed since ")
    assert done.stdout.endswith("1 script: 1 known before and still so\n")
    record_run(machine.state, time.time() + HOUR + 100)
    done = machine.check(shift_s=HOUR + 120)
    assert done.returncode == 0, done.stdout
    assert "RECOVERY  nightly parcels started again on" in done.stdout
    assert [each.partition(" on ")[0] for each in hook.subjects] == [
        "missed: nightly parcels missed 5 starts",
        "recovery: nightly parcels started again",
    ]


def record_run(state: Path, at: float) -> None:
    """Let a run of "nightly parcels" have started at an instant, and be under way."""
    from supervisor._store import StartedRun

    journal = open_journal(state)
    journal.start_run(StartedRun(id="again", name="nightly parcels", started_at_s=at))
    journal.close()


# Told once, and never lost


def test_of_checks_that_overlap_one_tells(machine: Machine, hook: Hook) -> None:
    """Several checks at the same time, while the server is slow, tell what they find once together."""
    killed(machine)
    hook.may_answer.clear()
    checks = [machine.start_check() for _ in range(4)]
    wait_until(lambda: bool(hook.messages))
    wait_until(lambda: sum(each.poll() is not None for each in checks) == 3)
    hook.may_answer.set()
    for each in checks:
        each.communicate(timeout=PATIENCE_S)
    assert sorted(each.returncode for each in checks) == [0, 0, 0, 1]
    assert len(hook.subjects) == 1


def test_a_check_that_is_killed_before_its_commit_has_told_nothing(machine: Machine, hook: Hook) -> None:
    """Killed after it noted the alert and before its commit, it leaves all to the next check."""
    killed(machine)
    before = textwrap.dedent("""
        import os, signal
        from supervisor._store.sqlite.outbox import OutboxStore
        put = OutboxStore.put
        def die(self, message, handlers, **options):
            put(self, message, handlers, **options)
            if handlers:
                os.kill(os.getpid(), 9)
        OutboxStore.put = die
        """)
    assert machine.check(before=before).returncode == KILLED
    assert hook.subjects == []
    assert machine.check().returncode == 1
    assert len(hook.subjects) == 1


def test_a_check_that_is_killed_after_its_commit_has_told_it(machine: Machine, hook: Hook) -> None:
    """Killed while it sends, it leaves the message to the next check, which finds nothing new and delivers it."""
    killed(machine)
    hook.may_answer.clear()
    check = machine.start_check()
    wait_until(lambda: bool(hook.messages))
    check.kill()
    check.communicate()
    hook.may_answer.set()
    done = machine.check("--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["new"] == []
    assert len(hook.messages) == 2, "between sending and settling, a repeat cannot be avoided"
    assert len(set(hook.ids)) == 1, "and it has the same id"
    assert machine.check().stdout == "all is well: 1 script, nothing waits\n"
    assert len(hook.messages) == 2


def test_a_server_that_is_down_loses_nothing(machine: Machine, hook: Hook) -> None:
    """The message of an alert waits while its server is down; a later check delivers it, and reports nothing twice."""
    killed(machine)
    hook.status = 503
    done = machine.check()  # it does not wait for what the server wants to have later
    assert done.returncode == 1
    assert "resting   hook: accepts nothing since " in done.stdout
    assert "503" in done.stdout
    done = machine.check("--deadline", "0")
    assert done.returncode == 1, "it still waits"
    assert done.stdout.splitlines()[-1] == "1 script: 1 message not delivered yet"
    hook.status = 200
    done = machine.check(shift_s=HOUR)
    assert (done.returncode, done.stdout) == (0, "all is well: 1 script, nothing waits\n"), done.stderr
    assert len(set(hook.ids)) == 1


def test_what_is_not_to_be_delivered_waits(machine: Machine, hook: Hook) -> None:
    """With --no-deliver nothing is sent, and what is new waits for the next check."""
    killed(machine)
    assert machine.check("--no-deliver").returncode == 1
    assert hook.messages == []
    assert machine.check().returncode == 0
    assert len(hook.messages) == 1


# Who hears of it


def test_without_handlers_it_is_printed_once(machine: Machine) -> None:
    """Where nobody is configured an alert is printed, even by a quiet check, so that cron mails it: once."""
    machine.configure("", with_hook=False)
    killed(machine)
    done = machine.check("--quiet")
    assert done.returncode == 1
    assert done.stdout.startswith("DIED      nightly parcels died on ")
    assert done.stdout.count("\n") == 1
    done = machine.check("--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    journal = open_journal(machine.state)
    assert len(journal.died_runs("nightly parcels")) == 1, "the script's own next run tells its own handlers"
    journal.close()


def test_a_quiet_check_says_nothing_of_what_was_heard(machine: Machine, hook: Hook) -> None:
    """What a handler has taken need not be mailed by cron too; what none has taken is, but only once."""
    killed(machine)
    done = machine.check("--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    killed(machine)
    hook.status = 503
    done = machine.check("--quiet", "--deadline", "0.2")
    assert done.stdout.startswith("DIED ")
    assert done.stderr == ""
    done = machine.check("--quiet", "--deadline", "0")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_a_chosen_handler_hears_of_all(machine: Machine, hook: Hook) -> None:
    """--handler tells that one, whatever is configured for the script."""
    machine.configure("")
    killed(machine)
    assert machine.check("--handler", "hook").returncode == 1
    assert len(hook.subjects) == 1


def test_a_handler_that_is_not_configured_is_wrong_usage(machine: Machine) -> None:
    """An unknown handler ends with 2 and says which was probably meant."""
    machine.configure(WATCHED)
    done = machine.check("--handler", "hok")
    assert done.returncode == 2
    assert "hok" in done.stderr
    assert "did you mean 'hook'?" in done.stderr


# What goes wrong


def test_mistakes_in_the_configuration_stop_no_check(machine: Machine, hook: Hook) -> None:
    """What is wrong is told with its line and ends with 2; everything else is checked and told all the same."""
    machine.configure('[defaults]\nhandlers = ["hook"]\nreport_onn = ["start"]\n')
    killed(machine)
    done = machine.check("--ping", f"{hook.url}/ping/me")
    assert done.returncode == 2
    assert "supervisor.toml:3" in done.stderr
    assert "did you mean 'report_on'?" in done.stderr
    assert "1 mistake in the configuration" in done.stdout
    assert len(hook.subjects) == 1
    assert hook.paths[-1].partition("?")[0] == "/ping/me/fail"
    assert "report_on" in hook.bodies[-1]


def test_a_journal_that_cannot_be_used_ends_with_2(machine: Machine, hook: Hook) -> None:
    """A file in the place of the state directory is told, and pinged as a failure."""
    blocked = machine.folder / "file"
    blocked.touch()
    machine.configure(WATCHED)
    done = machine.check("--ping", f"{hook.url}/ping/me", env={"SUPERVISOR_STATE": str(blocked)})
    assert done.returncode == 2
    assert "journal" in done.stderr
    assert "Traceback" not in done.stderr
    assert hook.paths == ["/ping/me/fail"]


def test_a_file_in_the_place_of_the_state_directory_is_no_empty_journal(machine: Machine) -> None:
    """Where no schedule is configured either, a mistaken SUPERVISOR_STATE ends with 2, not with "all is well"."""
    blocked = machine.folder / "file"
    blocked.touch()
    done = machine.check(env={"SUPERVISOR_STATE": str(blocked)})
    assert done.returncode == 2
    assert "journal" in done.stderr


def test_no_journal_yet(machine: Machine) -> None:
    """Where no script has run and none should, it says so, creates nothing, and ends well."""
    done = machine.check()
    assert done.returncode == 0
    assert done.stdout.startswith("No run was journalled yet")
    assert list(machine.state.iterdir()) == []
    document = json.loads(machine.check("--json").stdout)
    assert (document["scripts"], document["new"], document["checked_at"]) == (0, [], None)


# Pings


def test_pings(machine: Machine, hook: Hook) -> None:
    """A check that did its work pings success whatever it found, with what it found; from the environment too."""
    killed(machine)
    assert machine.check("--ping", f"{hook.url}/ping/me").returncode == 1
    assert hook.paths == ["/hook", "/ping/me"]
    assert "nightly parcels died on" in hook.bodies[-1]
    assert machine.check(env={"SUPERVISOR_PING_URL": f"{hook.url}/ping/other"}).returncode == 0
    assert hook.paths[-1] == "/ping/other"
    assert "all is well: 1 script" in hook.bodies[-1]


def test_a_ping_that_is_not_taken(machine: Machine, hook: Hook) -> None:
    """A ping that is refused is told on stderr and ends with 1; its URL, which is a secret, is not shown."""
    hook.status = 503
    done = machine.check("--ping", f"{hook.url}/ping/c0ffee11")
    assert done.returncode == 1
    assert "the ping was not taken: Healthchecks answered 503" in done.stderr
    assert "c0ffee11" not in done.stdout + done.stderr
    done = machine.check("--ping", "c0ffee11")
    assert done.returncode == 2
    assert "--ping takes a URL" in done.stderr
    assert "c0ffee11" not in done.stdout + done.stderr


# What is shown


def test_all_is_not_well_while_something_was_refused(machine: Machine, hook: Hook) -> None:
    """What a handler has refused for good is named by every later check, with the command that sends it again."""
    hook.status = 410
    killed(machine)
    assert "1 message refused" in machine.check().stdout
    for _ in range(2):
        said = machine.check().stdout
        assert "all is well" not in said
        assert "1 message refused before by hook (`supervisor flush --failed` sends again)" in said


def test_a_check_names_the_scripts_for_which_no_handler_is_configured(machine: Machine) -> None:
    """What it finds of them is only printed, so it says so; a quiet check, which cron would mail, does not."""
    machine.configure("")
    with machine.start("with supervise('quiet'): print('ready', flush=True)") as process:
        assert process.wait(PATIENCE_S) == 0
    said = machine.check().stdout
    assert "unheard   no handler is configured for quiet: what a check finds" in said
    assert said.endswith("\nno alert: 1 script, nothing waits\n"), "what nobody hears of is not well"
    assert json.loads(machine.check("--json").stdout)["without_handlers"] == ["quiet"]
    assert machine.check("--quiet").stdout == ""


def test_the_document(machine: Machine) -> None:
    """--json prints one document: what is new and whether it was heard, what is still so, what waits."""
    machine.configure(WATCHED.replace('handlers = ["hook"]', 'handlers = ["hook", "console"]'))
    killed(machine)
    done = machine.check("--json", shift_s=HOUR)
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert list(document) == [
        "checked_at", "scripts", "without_handlers", "shared_names", "new", "open", "refused", "refused_before",
        "waiting", "waiting_for_others", "pinged", "faults", "send", "fleet",
    ]  # fmt: skip
    (died,) = [each for each in document["new"] if each["kind"] == "died"]
    assert died["name"] == "nightly parcels"
    assert died["handlers"] == ["hook", "console"]
    assert died["notified"] is True
    assert died["since"].endswith("+00:00")
    assert died["text"].startswith("nightly parcels died on")
    assert "DIED" in done.stderr, "a handler that prints to stdout does not spoil the document"


def test_it_works_without_a_console_and_on_old_ones(machine: Machine) -> None:
    """Under pythonw there is no stdout; on a cp1252 console odd names are shown as far as they can be."""
    machine.configure('[runs."п\u00e4rcels \u2713"]\nschedule = "every 1 s"\ngrace_s = 0\n', with_hook=False)
    assert machine.check().returncode == 0
    done = machine.check(shift_s=HOUR, env={"PYTHONIOENCODING": "cp1252"}, before="", encoding="cp1252")
    assert done.returncode == 1
    assert "p\u00e4rcels" in done.stdout or "\\u043f\u00e4rcels +" in done.stdout
    done = machine.check(before="sys.stdout = sys.stderr = None")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
