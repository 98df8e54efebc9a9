"""Commands where schedulers and people run them: any console or none, and journals that cannot be read."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from journalled import GONE, HOSTILE, KEY_ERROR, Past, command_line, invoke
from scripts import PACKAGE, bare_environment, run_on_terminal

from supervisor._cli import check_command
from supervisor._store.sqlite import journal_file, migrations
from supervisor.models import Progress

if TYPE_CHECKING:
    from pathlib import Path

READING = [["status"], ["history"], ["show", "backup"], ["outbox"], ["outbox", "list"], ["flush"]]
ALL = [*READING, ["test"], ["config"], ["config", "path"], ["completion", "bash"], ["outbox", "retry", "--all"]]
_IMPORTING = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"


def filled(past: Past) -> None:
    """Give a journal something to show by every command."""
    for text in HOSTILE.values():
        past.run(text, values={text: text}, outcome="failure", error=KEY_ERROR)
        past.message(text, [text], error=text)
    past.run("naïve → 漢字", ago_s=60, took_s=1, outcome=None, progress=Progress(done=1, total=2, message="…·━"))
    past.run("backup", ago_s=50, took_s=1, outcome=None, by=GONE, progress=Progress(done=1, total=2))


def rubbish(state: Path) -> None:
    """Leave a corrupt journal."""
    for each in state.iterdir():
        each.unlink()
    (state / "journal.sqlite3").write_bytes(b"this is no database " * 500)


@pytest.mark.parametrize(
    "arguments", [*READING, ["outbox", "retry", "1"], ["outbox", "drop", "1", "--yes"]], ids=" ".join
)
def test_a_corrupt_journal_is_told_and_left_alone(state: Path, arguments: list[str]) -> None:
    """No command that somebody looks with sets a corrupt file aside: 1, with what it is and what becomes of it."""
    rubbish(state)
    before = (state / "journal.sqlite3").read_bytes()
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "it is corrupt (file is not a database)" in result.stderr
    assert [each.name for each in state.iterdir()] == ["journal.sqlite3"]
    assert (state / "journal.sqlite3").read_bytes() == before


def test_a_journal_that_breaks_in_its_middle_is_told(past: Past, state: Path) -> None:
    """A file whose head is well and whose pages are not is reported when they are read."""
    for index in range(200):
        past.run(f"run {index}", values={"text": "x" * 500})
    past.journal.close()
    path = state / "journal.sqlite3"
    data = path.read_bytes()
    path.write_bytes(data[:8192] + b"\xff" * (len(data) - 8192))
    result = invoke("history")
    assert result.exit_code == 1
    assert "it is corrupt" in result.stderr
    assert path.exists()


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_journal_of_a_newer_version_is_told_and_left_alone(past: Past, state: Path, arguments: list[str]) -> None:
    """What a newer supervisor has written is not touched: 1, with the remedy."""
    past.run("backup")
    past.journal.close()
    with closing(sqlite3.connect(state / "journal.sqlite3")) as connection:
        connection.execute("PRAGMA user_version = 999")
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "written by a newer supervisor" in result.stderr
    assert "upgrade" in result.stderr


def test_a_journal_of_an_older_version_is_shown_and_not_migrated(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older scripts may still write it: it is read by way of a copy in memory, with today's tables."""
    path = state / "journal.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        migrations.migrate(connection, migrations.MIGRATIONS[:1])
        connection.execute(
            "INSERT INTO run (id, name, outcome, started_at, duration_s, host, pid, process_started, user, python) "
            "VALUES ('abc', 'backup', 'success', 1e9, 5, 'here', 1, '', 'gis', '3.11')"
        )
        connection.commit()
    newest = (*migrations.MIGRATIONS, ("CREATE TABLE of_tomorrow (x)",))
    monkeypatch.setattr(journal_file, "VERSION", len(newest))
    monkeypatch.setattr(migrations.migrate, "__defaults__", (newest,))
    assert "backup" in invoke("history").stdout
    with closing(sqlite3.connect(path)) as connection:
        assert journal_file.version_of(connection) == 1


def test_a_journal_that_is_only_begun_is_empty(state: Path) -> None:
    """A file without tables, as a first run leaves it for a moment, has no runs yet; it stays as it is."""
    path = state / "journal.sqlite3"
    path.touch()
    assert invoke("history").stdout == "No run is in the journal.\n"
    assert "no run is in the journal" in invoke("status").stdout
    assert path.stat().st_size == 0


def test_a_locked_journal_is_told_after_some_patience(past: Past, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that holds the whole file makes reading wait a while, and is then reported."""
    monkeypatch.setattr("supervisor._store.sqlite.READER_BUSY_S", 0.2)
    monkeypatch.setattr("supervisor._store.sqlite.open_reader.__kwdefaults__", {"busy_s": 0.2})
    past.run("backup")
    past.journal.close()
    with closing(sqlite3.connect(state / "journal.sqlite3", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        result = invoke("history")
    assert result.exit_code == 1
    assert "database is locked" in result.stderr
    assert "another process holds it" in result.stderr


def test_a_write_under_way_does_not_keep_anybody_from_looking(past: Past) -> None:
    """While a run commits, others can look."""
    past.run("backup")
    with past.journal.one_commit():
        past.run("being written")
        assert "backup" in invoke("history").stdout
        assert "being written" not in invoke("history").stdout


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read everything")
def test_a_journal_that_this_user_may_not_read_is_told(past: Past, state: Path) -> None:
    """Another user's journal is reported as such."""
    past.run()
    past.journal.close()
    (state / "journal.sqlite3").chmod(0)
    result = invoke("history")
    assert result.exit_code == 1
    assert "may not read it" in result.stderr


def test_a_folder_in_the_place_of_the_journal_is_told(state: Path) -> None:
    """What is no file cannot be read."""
    (state / "journal.sqlite3").mkdir()
    result = invoke("history")
    assert result.exit_code == 1
    assert "no regular file" in result.stderr


def unusable(place: str, folder: Path) -> Path:
    """Return a state directory that there cannot be."""
    if place == "too long":
        return folder / ("x" * 300)
    if place == "below a file":
        (folder / "file").touch()
        return folder / "file" / "state"
    path = folder / "place"
    if place == "a file":
        path.touch()
    else:
        path.symlink_to(path if place == "a loop" else folder / "nowhere")
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
@pytest.mark.parametrize("place", ["too long", "below a file", "a file", "a loop", "a link to nothing"])
def test_a_place_where_no_journal_can_be_is_told(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command names the place, and does not say that nothing has run yet; a check fails, and pings so."""
    monkeypatch.setenv("SUPERVISOR_STATE", str(unusable(place, tmp_path)))
    for arguments in (["status"], ["history"], ["show", "x"], ["outbox"], ["flush"], ["report", "-o", "-"]):
        result = invoke(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert str(tmp_path) in result.stderr.replace("\n", "")
    result = invoke("check")
    assert (result.exit_code, result.stdout) == (2, "the check could not be made\n")


def test_a_check_that_fails_in_an_unforeseen_way_is_told(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong within a check is exit code 2 and a sentence, so that nobody takes it for an alert."""
    past.run()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(check_command, "_checked", fail)
    result = invoke("check")
    assert result.exit_code == 2
    assert "the check failed: RuntimeError: unforeseen" in result.stderr


@pytest.mark.parametrize("arguments", ALL, ids=" ".join)
def test_no_console_is_no_error(past: Past, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """Under pythonw there is no stdout and no stderr: commands do what they do, and say nothing."""
    filled(past)
    program = command_line(*arguments)
    program[4] = program[4].replace("import runpy", "import sys; sys.stdout = sys.stderr = None; import runpy", 1)
    done = subprocess.run(program, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode in (0, 1, 2)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert done.returncode == invoke(*arguments).exit_code


_EACH = """
import sys
from supervisor._cli.main import main
codes = []
for arguments in {commands!r}:
    try:
        main(arguments, prog_name="supervisor")
    except SystemExit as ending:
        codes.append(ending.code)
sys.stdout.flush()
print("codes", *codes, file=sys.stderr)
"""


@pytest.mark.parametrize("encoding", ["cp1252", "cp850", "ascii"])
def test_a_console_of_another_encoding_shows_what_it_can(past: Past, encoding: str) -> None:
    """What cp1252 or ASCII lack is shown in plainer characters or escapes, and nothing fails."""
    filled(past)
    program = [*command_line()[:-1], _IMPORTING + _EACH.format(commands=ALL)]
    environment = {**os.environ, "PYTHONIOENCODING": f"{encoding}:strict", "PYTHONUTF8": "0"}
    done = subprocess.run(program, capture_output=True, env=environment, timeout=60, check=False)
    codes = [invoke(*arguments).exit_code for arguments in ALL]
    assert done.stderr.decode(encoding).splitlines()[-1] == f"codes {' '.join(map(str, codes))}"
    assert done.stdout.decode(encoding)


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("cp1252", ["naïve -> \\u6f22\\u5b57", "Straße 10 €", "\\U0001f680 rocket", "Ærø … Wroclaw"]),
        ("cp850", ["naïve -> \\u6f22\\u5b57", "Straße 10 EUR", "\\U0001f680 rocket", "Ærø ... Wroclaw"]),
        ("ascii", ["naive -> \\u6f22\\u5b57", "Strasse 10 EUR", "\\U0001f680 rocket", "AEro ... Wroclaw"]),
    ],
)
def test_columns_are_aligned_on_a_console_of_another_encoding(past: Past, encoding: str, names: list[str]) -> None:
    """What stands for a character that the console lacks is measured: each column begins where its heading does."""
    for name in ("plain", "naïve → 漢字", "Straße 10 €", "🚀 rocket", "Ærø … Wrocław"):
        past.run(name, took_s=5)
        past.message(f"{name} failed", [name], error="no answer")
    commands = [["history"], ["status"], ["outbox"]]
    program = [*command_line()[:-1], _IMPORTING + _EACH.format(commands=commands)]
    environment = {**os.environ, "PYTHONIOENCODING": f"{encoding}:strict", "PYTHONUTF8": "0"}
    done = subprocess.run(program, capture_output=True, env=environment, timeout=60, check=True)
    text = done.stdout.decode(encoding)
    for heading, column in (("RUN  ", "OUTCOME"), ("NAME  ", "OUTCOME"), ("KEY  ", "STATE")):
        head, *rows = text[f"\n{text}".index(f"\n{heading}") :].splitlines()[:6]
        at = head.index(column)
        assert {row[at - 2 : at] for row in rows} == {"  "}, text
        assert all(row[at].isalpha() and row[:at].strip() for row in rows), text
        assert [name for name in names if f"{name}  " not in text] == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
def test_a_cut_cell_is_as_wide_on_a_console_without_an_ellipsis(past: Past, tmp_path: Path, state: Path) -> None:
    """Three dots stand for it there, and take their room from the text before them."""
    past.run("a name that is longer than a narrow terminal", took_s=5)
    shown = {
        encoding: run_on_terminal(
            command_line("history"), tmp_path, columns=70,
            extra_env={"SUPERVISOR_STATE": str(state), "PYTHONIOENCODING": encoding},
        ).text.split("a name")[1].splitlines()[0]
        for encoding in ("utf-8", "cp850")
    }  # fmt: skip
    assert "… " in shown["utf-8"]
    assert re.sub("..…", "...", shown["utf-8"]) == shown["cp850"]


def test_no_home_no_user_and_a_closed_pipe_are_no_error(past: Past, state: Path) -> None:
    """As cron runs it, and with a reader that goes away."""
    filled(past)
    environment = bare_environment(SUPERVISOR_CONFIG=os.devnull)
    for arguments in (["status"], ["history"], ["config", "path"]):
        done = subprocess.run(command_line(*arguments), capture_output=True, env=environment, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
    if sys.platform != "win32":
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(command_line("history"), stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
        os.close(writer)
        assert b"Traceback" not in done.stderr


def test_commands_load_nothing_that_they_do_not_need(tmp_path: Path) -> None:
    """What prints tables, pages and processes is loaded when it is used: the help of a command needs none of it."""
    commands = ("status", "history", "show", "outbox", "flush", "test", "config", "completion")
    code = (
        "import sys; from supervisor._cli.main import main\n"
        f"for name in {commands!r}: main.get_command(None, name)\n"
        "found = {'rich', 'psutil', 'jinja2', 'sqlite3', 'slack_sdk', 'smtplib', 'sendgrid'} & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", _IMPORTING + code], check=True, cwd=tmp_path)
