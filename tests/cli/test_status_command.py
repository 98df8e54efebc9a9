"""``supervisor status``: what runs now."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING

import psutil
import pytest
from journalled import ELSEWHERE, GONE, HOSTILE, Past, command_line, document, invoke, is_harmless
from rich.cells import cell_len
from scripts import Script, run_on_terminal
from waiting import PATIENCE_S

from supervisor import supervise
from supervisor._store.processes import this_process
from supervisor.models import Progress

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_under_way_is_told_with_progress_time_left_memory_and_sign_of_life(past: Past) -> None:
    """Of a run under way: name, id, since when, how far, what is left, what it usually takes, memory, life."""
    for index in range(6):
        past.run(ago_s=(9 - index) * 86_400, took_s=300 + index * 20)
    progress = Progress(done=5400, total=12041, message="loading", rate_per_s=15)
    run_id = past.run(ago_s=363, took_s=360, outcome=None, progress=progress)
    head, _, name, bar, *facts = invoke("status").stdout.splitlines()
    assert head == "1 run under way"
    assert name.split() == ["nightly", "parcels", run_id[:12]]
    assert bar.endswith("45 %  5,400 of 12,041, loading")
    text = " ".join(facts)
    assert "for 6 min" in text
    assert "usually 5-6 min" in text
    assert "7 min" in text.partition("usually")[2]  # (12,041 - 5,400) / 15 s
    assert " MB" in text
    assert "last sign of life" in text
    assert f"process {os.getpid()}" in text
    (shown,) = document("status")["under_way"]
    assert shown["id"] == run_id
    assert 350 < shown["duration_s"] < 450
    assert shown["progress"]["percentage"] == pytest.approx(44.85, abs=0.1)
    assert 400 < shown["left_s"] < 443
    assert shown["memory_bytes"] == pytest.approx(psutil.Process().memory_info().rss, rel=0.5)


def test_a_run_longer_than_usual_is_marked(past: Past) -> None:
    """What takes far longer than it usually does bears a mark."""
    for index in range(6):
        past.run(ago_s=(9 - index) * 86_400, took_s=60)
    past.run(ago_s=3000, took_s=1, outcome=None)
    assert "for 50 min" in invoke("status").stdout
    assert "s !" in invoke("status").stdout or "min !" in invoke("status").stdout


def test_a_run_whose_process_is_gone_is_told_as_perhaps_dead(past: Past) -> None:
    """A run without an end whose process is gone is no run under way, and it is said who will tell of it."""
    past.run("backup", ago_s=7200, took_s=1200, outcome=None, progress=Progress(done=3, total=10), by=GONE)
    text = invoke("status").stdout
    assert text.startswith("0 runs under way, 1 died?")
    assert f"process {GONE.pid} is gone" in text
    assert "`supervisor check`" in text
    (shown,) = document("status")["under_way"]
    assert (shown["is_gone"], shown["memory_bytes"], shown["duration_s"]) == (True, None, 1200)


def test_a_run_that_stalls_or_is_overdue_is_told_as_such(past: Past) -> None:
    """A run without progress for too long is stalled, one that takes too long is overdue: since when, for both."""
    copying = Progress(done=3, total=10, message="copying")
    past.run("stalls", ago_s=1800, took_s=600, outcome=None, progress=copying, stall_after_s=300)
    past.run("late", ago_s=1700, took_s=1699, outcome=None, progress=copying, stall_after_s=300, max_duration_s=600)
    past.run("both", ago_s=1600, took_s=0, outcome=None, stall_after_s=300, max_duration_s=600)
    past.run("fine", ago_s=1500, took_s=1499, outcome=None, progress=copying, stall_after_s=300, max_duration_s=1800)
    past.run("dead", ago_s=1400, took_s=0, outcome=None, stall_after_s=300, max_duration_s=600, by=GONE)
    lines = invoke("status").stdout.splitlines()
    assert lines[0] == "4 runs under way, 2 stalled, 2 overdue, 1 died?"
    heads = {line.split()[0]: " ".join(line.split()[1:-1]) for line in lines[1:] if line[:1].strip()}
    assert heads == {"stalls": "stalled", "late": "overdue", "both": "stalled, overdue", "fine": "", "dead": "died?"}
    text = " ".join(lines)
    assert f"stalled since {clock(past.now_s - 1200)}" in text
    assert f"overdue since {clock(past.now_s - 1100)}" in text
    shown = {each["name"]: each for each in document("status")["under_way"]}
    since = {name: (each["stalled_since"], each["overdue_since"]) for name, each in shown.items()}
    assert [seconds_before(past.now_s, *each) for each in since.values()] == [
        (1200, None), (None, 1100), (1600, 1000), (None, None), (None, None),
    ]  # fmt: skip


def test_starts_that_were_missed_are_shown(past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that did not start by its schedule is shown, with which starts and its last run, as a check says it."""
    past.run("nightly parcels", ago_s=5 * 3600, schedule="every 2 h")
    past.run("fine", ago_s=3600, schedule="every 2 h")
    past.run("tiles", ago_s=60, took_s=1, outcome=None)
    first, *lines = invoke("status").stdout.splitlines()
    assert first == "1 run under way, 1 missed"
    heads = {line.rpartition("  ")[0]: line.split()[-1] for line in lines if line[:1].strip()}
    assert heads["nightly parcels"] == "missed"
    text = " ".join(lines)
    assert "missed 2 starts, the last at " in text
    assert "schedule every 2 h" in text
    assert "success" in text.partition("last run ")[2]
    found = document("status")
    (shown,) = found["missed"]
    assert (shown["name"], shown["starts"], shown["schedule"]) == ("nightly parcels", 2, "every 2 h")
    assert seconds_before(past.now_s, shown["since"]) == (3 * 3600,)
    assert [each["name"] for each in found["under_way"]] == ["tiles"]


def test_with_nothing_under_way_missed_starts_come_first(past: Past) -> None:
    """Where nothing runs, what was missed stands before the last run of each name."""
    past.run("nightly parcels", ago_s=5 * 3600, schedule="every 2 h")
    first, *lines = invoke("status").stdout.splitlines()
    assert first == "0 runs under way, 1 missed"
    assert lines.index("The last run of each name:") > next(
        number for number, line in enumerate(lines) if line.endswith("missed")
    )


def test_a_script_that_never_started_is_shown_as_missed(
    past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule in the configuration, which a check has seen long ago, is enough."""
    config = tmp_path / "supervisor.toml"
    config.write_text('[runs."never"]\nschedule = "every 1 h"\n', "utf-8")
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(config))
    past.run()
    past.journal.note_schedules({"never": "every 1 h"})
    with past.journal._database.write() as connection:
        connection.execute("UPDATE seen_schedule SET since = since - 7300")
    assert invoke("status").stdout.startswith("0 runs under way, 1 missed")
    (shown,) = document("status")["missed"]
    assert (shown["name"], shown["last_run_id"]) == ("never", None)


def clock(seconds: float) -> str:
    """Return an instant as the status shows it: with its date where that is not today's."""
    instant = datetime.fromtimestamp(seconds).astimezone()
    return instant.strftime("%H:%M" if instant.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M")


def seconds_before(now_s: float, *instants: str | None) -> tuple[int | None, ...]:
    """Return how many seconds before a moment some instants are."""
    return tuple(each if each is None else round(now_s - datetime.fromisoformat(each).timestamp()) for each in instants)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
@pytest.mark.parametrize("columns", [40, 60])
def test_a_narrow_terminal_shows_whole_words_of_what_is_wrong(tmp_path: Path, past: Past, columns: int) -> None:
    """What is wrong stands on lines that the terminal has room for."""
    name = "a name that is far too long for a narrow terminal"
    past.run(name, ago_s=1600, took_s=0, outcome=None, stall_after_s=300, max_duration_s=600)
    shown = run_on_terminal(command_line("status"), tmp_path, columns=columns)
    text = shown.text
    assert "stalled, overdue" in text
    assert "stalled since" in text
    assert all(cell_len(each) <= columns for each in text.splitlines())


def test_a_program_that_outlives_supervisor_run_is_told(past: Past) -> None:
    """Of a run whose supervisor is gone it is said that its program still runs."""
    run_id = past.run("job", ago_s=60, took_s=0, outcome=None, by=GONE)
    past.journal.set_child_process(run_id, this_process())
    assert f"its program, process {os.getpid()}, still runs" in " ".join(invoke("status").stdout.split())
    (shown,) = document("status")["under_way"]
    assert (shown["is_gone"], shown["program_pid"], shown["program_lives"]) == (True, os.getpid(), True)
    assert f"{os.getpid()}, which still runs" in invoke("show", run_id).stdout


def test_a_run_on_another_machine_is_told_without_memory(past: Past) -> None:
    """A journal on a shared directory has runs of other machines: they are not taken for dead."""
    past.run("tiles", ago_s=60, outcome=None, by=ELSEWHERE)
    text = invoke("status").stdout
    assert f"process {ELSEWHERE.pid} on {ELSEWHERE.host}" in text
    assert "died?" not in text


def test_a_nested_run_names_the_run_that_it_is_in(past: Past) -> None:
    """An inner run says within which run it is."""
    outer = past.run("outer", ago_s=60, took_s=1, outcome=None)
    past.run("inner", ago_s=30, took_s=1, outcome=None, parent_id=outer)
    assert "in outer" in invoke("status").stdout


def test_with_nothing_under_way_the_last_run_of_each_name_is_shown(past: Past) -> None:
    """Nothing under way: the newest run of the ten names that ran last is shown, and how many more names there are."""
    for index in range(12):
        past.run(f"job {index:02}", ago_s=900 - index, outcome="failure")
        past.run(f"job {index:02}", ago_s=600 - index)
    first, _, _, *lines, more = invoke("status").stdout.splitlines()
    assert first == "Nothing is under way. The last run of each name:"
    assert [line.split()[1] for line in lines] == [f"{index:02}" for index in range(11, 1, -1)]
    assert all("success" in line for line in lines)
    assert more == "and 2 names more: `supervisor report` shows all"
    assert len(document("status")["last_runs"]) == 10


def test_what_waits_in_the_outbox_is_summed_up(past: Past) -> None:
    """A line says how much waits and how much failed for good."""
    past.run()
    past.message("a", ["ops", "chat"])
    past.message("b", error="535 no", failed=True)
    assert invoke("status").stdout.splitlines()[-1] == (
        "Outbox: 2 pending, 1 failed (`supervisor outbox`; `supervisor flush --failed` sends again what was refused)"
    )
    assert document("status")["outbox"] == {"pending": 2, "failed": 1}


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_nothing_in_a_name_or_message_reaches_the_terminal_as_a_command(past: Past, kind: str) -> None:
    """Hostile names and progress messages are shown as texts."""
    past.run(HOSTILE[kind], ago_s=60, took_s=1, outcome=None, progress=Progress(done=1, total=2, message=HOSTILE[kind]))
    assert is_harmless(invoke("status").output)
    past.run("last " + HOSTILE[kind], ago_s=5)
    document("status")


def test_progress_beyond_all_bounds_breaks_nothing(past: Past) -> None:
    """Totals that are wrong, zero, infinite or no numbers at all still give a line."""
    for done, total in ((20, 10), (1, 0), (float("inf"), 10), (float("nan"), 5), (1, float("inf")), (-1, 10)):
        past.run(f"{done} of {total}", ago_s=9, took_s=1, outcome=None, progress=Progress(done=done, total=total))
    assert invoke("status").exit_code == 0
    assert len(document("status")["under_way"]) == 6


def test_without_a_journal_it_says_so(state: Path) -> None:
    """Before the first run nothing is under way, and that is fine."""
    result = invoke("status")
    assert (result.exit_code, result.stdout[:23]) == (0, "No run was journalled y")
    shown = document("status")
    assert (shown["under_way"], shown["last_runs"]) == ([], [])


def test_watch_is_for_terminals(past: Past) -> None:
    """--watch into a pipe, or as JSON, is wrong usage."""
    assert invoke("status", "--watch").exit_code == 2
    assert invoke("status", "--watch", "--json").exit_code == 2


def test_a_real_run_is_seen_while_it_runs(tmp_path: Path) -> None:
    """A script that runs is shown with its progress and memory, and is gone from the list when it has ended."""
    script = Script(
        tmp_path,
        """
        import time
        with supervise("real") as run:
            run.progress(1, total=4, message="waiting")
            time.sleep(1.2)
            run.progress(2, total=4, message="waiting")
            ready()
            sys.stdin.read()
            time.sleep(600)
        """,
    )
    try:
        script.wait_until_ready()
        (shown,) = document("status")["under_way"]
        assert (shown["name"], shown["pid"], shown["is_gone"]) == ("real", script.process.pid, False)
        assert shown["memory_bytes"] > 1_000_000
    finally:
        script.process.kill()
        script.end()
    (shown,) = document("status")["under_way"]
    assert shown["is_gone"] is True


def test_on_a_narrow_terminal_no_line_is_too_long(past: Past, state: Path, tmp_path: Path) -> None:
    """60 columns are enough: no line runs over, even with hostile names."""
    if sys.platform == "win32":
        pytest.skip("there is no pty")
    for text in HOSTILE.values():
        past.run(text, ago_s=60, took_s=1, outcome=None, progress=Progress(done=1, total=3, message=text))
    for arguments in (["status"], ["history"]):
        shown = run_on_terminal(
            command_line(*arguments), tmp_path, columns=60, extra_env={"SUPERVISOR_STATE": str(state), "NO_COLOR": "1"}
        )
        assert shown.code == 0
        assert "\x1b" not in shown.screen
        assert all(cell_len(line) <= 60 for line in shown.text.splitlines()), shown.text


def test_watching_ends_well_with_ctrl_c(past: Past, state: Path) -> None:
    """--watch shows it again and again, and Ctrl+C ends it without an error."""
    if sys.platform == "win32":
        pytest.skip("there is no pty")
    import pty

    past.run("lives", ago_s=60, took_s=1, outcome=None, by=this_process())
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "SUPERVISOR_STATE": str(state)}
    program = command_line("status", "--watch")
    with subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        screen = b""
        until = time.monotonic() + PATIENCE_S
        while screen.count(b"lives") < 2 and time.monotonic() < until:
            screen += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        try:
            while os.read(ours, 4096):
                pass
        except OSError:
            pass
        code = process.wait(PATIENCE_S)
    os.close(ours)
    assert screen.count(b"lives") >= 2
    assert code == 0


def test_the_step_under_way_is_told(state: Path) -> None:
    """With how long it lasts, and what is usual for it."""
    for _ in range(6):
        with supervise("dolly") as run, run.step("join"):
            pass
    with supervise("dolly") as run, run.step("all"), run.step("join"):
        text = " ".join(invoke("status").stdout.split())
        (shown,) = document("status")["under_way"]
    assert "step all for " in text
    assert "step join for " in text
    assert "(usually " in text.partition("step join for ")[2]
    assert [(each["name"], each["outcome"]) for each in shown["steps"]] == [("all", None), ("join", None)]
