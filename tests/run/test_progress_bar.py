"""The live bar on a real terminal, and what is there in its place elsewhere."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from scripts import Shown, run, run_on_terminal, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")

LOOP = """
import time
def main(run):
    for i in run.track(range(200), message="reading"):
        if i % 50 == 0:
            print(f"line {i}", flush=True)
        time.sleep(0.002)
with supervise("parcels", handlers=[recorder], report_on=["success"]) as run:
    main(run)
print("rich" in sys.modules)
"""


def show(folder: Path, body: str, **options: Any) -> Shown:
    """Run a script on a terminal."""
    path, _ = write(folder, body)
    return run_on_terminal([sys.executable, str(path)], folder, **options)


def test_the_bar_shows_name_count_percentage_and_rate(tmp_path: Path) -> None:
    """On a terminal a run that makes progress has a bar: name, percentage, count of total, rate and message."""
    shown = show(tmp_path, LOOP)
    assert shown.code == 0
    bars = [line for line in shown.text.splitlines() if line.startswith("parcels")]
    assert "100%" in bars[-1]
    assert "200/200" in bars[-1]
    assert "/s" in bars[-1]
    assert "reading" in bars[-1]
    assert "━" in bars[-1]
    assert any(0 < int(line.partition("%")[0].split()[-1]) < 100 for line in bars if "%" in line)


def test_what_a_script_prints_stays_whole(tmp_path: Path) -> None:
    """What a script prints while the bar is there stands on lines of its own."""
    shown = show(tmp_path, LOOP)
    lines = [line.strip() for line in shown.text.splitlines() if line.strip()]
    assert [line for line in lines if line.startswith("line ")] == ["line 0", "line 50", "line 100", "line 150"]
    assert lines[-1] == "True", "what comes behind the bar is below it"


def test_what_a_script_pipes_stays_in_the_pipe(tmp_path: Path) -> None:
    """With stdout in a pipe the bar stands on the terminal, and the pipe has what the script printed, no less."""
    shown = show(tmp_path, LOOP, stdout_too=False)
    assert shown.stdout == "line 0\nline 50\nline 100\nline 150\nTrue\n"
    assert "parcels" in shown.text
    assert "line 0" not in shown.text


@pytest.mark.parametrize(
    "stdout",
    ["None", "type('Tee', (), {'write': lambda self, text: os.write(1, text.encode())})()", "open(os.devnull, 'w')"],
    ids=["none", "one that can only write", "closed"],
)
def test_a_terminal_without_an_ordinary_stdout(stdout: str, tmp_path: Path) -> None:
    """Whatever stands in the place of ``sys.stdout``, the bar on the terminal is shown, without a complaint."""
    body = f"""
        import os
        before, sys.stdout = sys.stdout, {stdout}
        if {stdout.startswith("open")}: sys.stdout.close()
        with supervise("parcels") as run:
            for _ in run.track(range(3)): pass
        sys.stdout = before
    """
    shown = show(tmp_path, body)
    assert shown.code == 0
    assert "3/3" in shown.text
    assert "Traceback" not in shown.text


def test_streams_are_the_scripts_own_again(tmp_path: Path) -> None:
    """Behind the run ``sys.stdout`` and ``sys.stderr`` are what they were."""
    body = """
        out, err = sys.stdout, sys.stderr
        with supervise("parcels") as run:
            for _ in run.track(range(3)): pass
        print(sys.stdout is out, sys.stderr is err)
    """
    assert show(tmp_path, body).text.strip().endswith("True True")


def test_the_bar_of_an_unknown_total(tmp_path: Path) -> None:
    """Without a total the bar shows the count and no percentage that it cannot know."""
    body = """
        import time
        with supervise("parcels") as run:
            for _ in run.track(iter(lambda: time.sleep(0.01), 5), message="reading"):
                if run.position[0] >= 30: break
    """
    shown = show(tmp_path, body)
    assert shown.code == 0
    bars = [line for line in shown.text.splitlines() if line.startswith("parcels")]
    assert " 30" in bars[-1]
    assert "/s" in bars[-1]
    assert "100%" not in bars[-1]


def test_a_bar_that_is_broken_off_stands_where_it_was(tmp_path: Path) -> None:
    """When a run fails, its bar keeps the count that it had come to, and the traceback comes below it, whole."""
    body = """
        with supervise("parcels") as run:
            for i in run.track(range(10)):
                if i == 4: raise KeyError("apn")
    """
    shown = show(tmp_path, body)
    assert shown.code == 1
    assert "4/10" in shown.text
    lines = [line for line in shown.text.splitlines() if line.strip()]
    assert lines[-1] == "KeyError: 'apn'"
    assert "\x1b[?25h" in shown.screen, "the cursor is back"
    assert shown.screen.rindex("\x1b[?25h") > shown.screen.rindex("\x1b[?25l")


def test_each_run_has_its_line(tmp_path: Path) -> None:
    """Runs in runs, and runs in threads, each have a line of their own."""
    body = """
        import threading, time
        def work(name):
            with supervise(name) as run:
                for i in run.track(range(30)): time.sleep(0.005)
        with supervise("outer") as run:
            run.progress(1, 2)
            threads = [threading.Thread(target=work, args=(f"inner {n}",)) for n in range(2)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            run.progress(2)
    """
    shown = show(tmp_path, body)
    assert shown.code == 0
    for name in ("outer", "inner 0", "inner 1"):
        last = [line for line in shown.text.splitlines() if line.startswith(name)][-1]
        assert "100%" in last, last


def test_names_and_messages_are_text_and_not_markup(tmp_path: Path) -> None:
    """What looks like markup in a name or message is shown as it is, and control characters do no harm."""
    body = """
        with supervise("[red]parcels[/red]") as run:
            run.progress(1, 2, "[bold]half[/bold] done [/]")
            run.progress(2, message="two\\nlines \\x1b[2J")
    """
    shown = show(tmp_path, body)
    assert shown.code == 0
    assert "[red]parcels[/red]" in shown.text
    assert "\x1b[2J" not in shown.screen


@pytest.mark.parametrize("wrong", ["'abc'", "float('nan')", "float('inf')", "-5", "0", "10**400", "object()", "-1e300"])
def test_a_wrong_number_on_a_terminal(wrong: str, tmp_path: Path) -> None:
    """Whatever numbers a script gives, the terminal stays usable and the script goes on."""
    body = f"""
        import time
        with supervise("parcels") as run:
            run.progress(1, {wrong})
            time.sleep(0.15)
            run.progress({wrong}, 10)
            time.sleep(0.15)
        print("went on")
    """
    shown = show(tmp_path, body)
    assert shown.code == 0
    assert shown.text.strip().endswith("went on")
    assert "Traceback" not in shown.text


def test_a_script_that_makes_no_progress_has_no_bar(tmp_path: Path) -> None:
    """Without progress there is nothing to show: no bar, and no rich."""
    shown = show(tmp_path, "with supervise('parcels'): print('hello')\nprint('rich' in sys.modules)")
    assert shown.screen == "hello\r\nFalse\r\n"


def test_a_console_message_and_a_bar_share_the_terminal(tmp_path: Path) -> None:
    """Messages that are printed while the bar is there stand above it, whole."""
    body = """
        import time
        from supervisor.message_handlers import ConsoleHandler
        with supervise("parcels", handlers=[ConsoleHandler()]) as run:
            for i in run.track(range(100)):
                if i == 50: run.notify("Half of it", "fifty parcels")
                time.sleep(0.005)
    """
    shown = show(tmp_path, body)
    lines = [line.rstrip() for line in shown.text.splitlines()]
    assert sum("NOTICE  Half of it" in line for line in lines) == 1
    assert lines.count("    fifty parcels") == 1
    assert "100/100" in shown.text


ELSEWHERE = {
    "no terminal": None,
    "a dumb terminal": {"TERM": "dumb"},
}


@pytest.mark.parametrize("env", ELSEWHERE.values(), ids=ELSEWHERE)
def test_elsewhere_there_is_no_bar_and_no_rich(env: dict[str, str] | None, tmp_path: Path) -> None:
    """Without a terminal that can show it there is no bar, and rich is never loaded."""
    if env is None:
        ended = run(tmp_path, LOOP)
        stdout, rest = ended.stdout, ended.stderr
    else:
        shown = show(tmp_path, LOOP, extra_env=env, stdout_too=False)
        stdout, rest = shown.stdout, shown.screen
    assert stdout == "line 0\nline 50\nline 100\nline 150\nFalse\n"
    assert rest == ""


def test_without_a_terminal_progress_is_logged(tmp_path: Path) -> None:
    """A script that logs at INFO has the run's start, its progress and its end in its log."""
    body = """
        import logging, time
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(name)s %(message)s")
        with supervise("parcels", handlers=[recorder]) as run:
            run.progress(1, 4, "reading")
            time.sleep(1.05)
            run.progress(3)
    """
    ended = run(tmp_path, body)
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("supervisor run 'parcels' started")
    assert any("parcels: 3 of 4 (75 %)" in line and line.endswith(": reading") for line in lines)
    assert lines[-1].startswith("supervisor run 'parcels' ended: success after ")


def test_a_forked_child_can_print(tmp_path: Path) -> None:
    """A child that is forked while the bar is being drawn prints as it would without one, and does not hang."""
    body = """
        import os, threading
        from children import how_it_ends
        from supervisor._run import progress_bar as terminal
        drawing, forked = threading.Event(), threading.Event()
        def slow_to_draw(self):
            if not forked.is_set():
                drawing.set()
                forked.wait(20)
            return iter(())
        with supervise("parcels") as run:
            run.progress(1, 2)
            terminal._RunsBar.get_renderables = slow_to_draw
            assert drawing.wait(20)
            pid = os.fork()
            if pid == 0:
                print("said by the child", flush=True)
                print("and complained of", file=sys.stderr, flush=True)
                os._exit(7)
            code = how_it_ends(pid)
            forked.set()
        print("child", code)
    """
    shown = show(tmp_path, body)
    assert shown.code == 0
    assert "said by the child" in shown.text
    assert "and complained of" in shown.text
    assert shown.text.rstrip().endswith("child 7")


# Beside what else is on the terminal


def test_a_setting_turns_it_off(tmp_path: Path) -> None:
    """Progress is then logged as elsewhere, and rich is not loaded; so by the variable."""
    off = LOOP.replace('supervise("parcels", ', 'supervise("parcels", progress_bar=False, ')
    for number, (body, variables) in enumerate([(off, {}), (LOOP, {"SUPERVISOR_PROGRESS_BAR": "false"})]):
        folder = tmp_path / str(number)
        folder.mkdir()
        shown = show(folder, body, extra_env=variables)
        assert shown.code == 0
        assert "━" not in shown.text
        assert shown.text.strip().endswith("False")


READS = """
import builtins, os, time
class Typist:
    def readline(self, *_):
        os.write(2, b"<<")
        time.sleep(0.5)
        os.write(2, b">>")
        return "c\\n"
plain = builtins.input
with supervise("parcels") as run:
    for number in run.track(range(3), message="asking"):
        time.sleep(0.15)
        if number == 1:
            stdin, sys.stdin = sys.stdin, Typist()
            {read}
            sys.stdin = stdin
print("input is as before:", builtins.input is plain)
"""


@pytest.mark.parametrize("read", ["assert input('Which county? ') == 'c'", "breakpoint()"])
def test_it_stands_still_while_the_terminal_is_read_from(read: str, tmp_path: Path) -> None:
    """Nothing is drawn between the question and the answer; afterwards the bar goes on."""
    shown = show(tmp_path, READS.format(read=read))
    assert shown.code == 0, shown.text
    assert shown.screen.partition("<<")[2].partition(">>")[0] == ""
    assert "━" in shown.screen.partition("<<")[0]
    assert "3/3" in shown.screen.partition(">>")[2]
    assert "input is as before: True" in shown.text


def test_a_password_is_read_while_it_stands_still(tmp_path: Path) -> None:
    """What ``getpass`` calls is what the module has, so that a script which imports the module gets it."""
    body = """
        import getpass, os, time
        def slow(prompt="", stream=None):
            os.write(2, b"<<")
            time.sleep(0.5)
            os.write(2, b">>")
            return "secret"
        getpass.getpass = slow
        with supervise("parcels") as run:
            for number in run.track(range(2)):
                if number: getpass.getpass()
        print(getpass.getpass is slow)
    """
    shown = show(tmp_path, body)
    assert shown.screen.partition("<<")[2].partition(">>")[0] == ""
    assert shown.text.strip().endswith("True")


def screen_of(written: str) -> list[str]:
    """Return what a terminal shows in the end, line by line, as far as rich moves the cursor."""
    lines, row, column = [""], 0, 0
    for control, rows, text in re.findall(
        r"\x1b\[(\??(\d*)[a-zA-Z])|(\r|\n|[^\x1b\r\n]+)", re.sub(r"\x1b\[[\d;]*m", "", written)
    ):
        if control.endswith("A"):
            row = max(0, row - int(rows or 1))
        elif control == "2K":
            lines[row] = ""
        elif text == "\r":
            column = 0
        elif text == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif text:
            before = lines[row].ljust(column)
            lines[row] = before[:column] + text + before[column + len(text) :]
            column += len(text)
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize("has_own", [True, False], ids=["beside a display of its own", "alone"])
def test_what_a_script_prints_by_rich_stays_whole(tmp_path: Path, *, has_own: bool) -> None:
    """Lines by ``rich.print``, a ``RichHandler`` and a progress display of the script's own are not torn by the bar."""
    body = f"""
        import contextlib, logging, time
        import rich
        from rich.logging import RichHandler
        from rich.progress import Progress
        logging.basicConfig(handlers=[RichHandler(show_time=False)], level="INFO", format="%(message)s")
        with supervise("parcels") as run, Progress() if {has_own} else contextlib.nullcontext() as own:
            task = own.add_task("of the script", total=20) if own else None
            for number in run.track(range(20), message="reading"):
                rich.print(f"line {{number}} of rich")
                logging.getLogger("night").warning("warning %d", number)
                if own: own.advance(task)
                time.sleep(0.03)
    """
    shown = show(tmp_path, body)
    assert shown.code == 0, shown.text
    lines = screen_of(shown.screen)
    assert [line for line in lines if line.startswith("line ")] == [f"line {number} of rich" for number in range(20)]
    assert len([line for line in lines if line.startswith("WARNING")]) == 20
    displays = [line.split()[0] for line in lines if "━" in line]
    assert displays == ["of", "parcels"] if has_own else ["parcels"], "each display once, at the end"
    assert any("20/20" in line for line in lines[-3:])
