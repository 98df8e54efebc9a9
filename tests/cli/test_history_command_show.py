"""``supervisor show``: all that is known of one run."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from journalled import GONE, HOSTILE, KEY_ERROR, Past, document, invoke, is_harmless

from supervisor import supervise
from supervisor.models import ErrorDetails, Progress

if TYPE_CHECKING:
    from pathlib import Path


def shown(*arguments: str) -> str:
    """Return what people see."""
    result = invoke("show", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_all_that_is_known_is_told(past: Past, tmp_path: Path) -> None:
    """Facts, values, progress, error with traceback, log, inner runs and waiting deliveries are all there."""
    log = tmp_path / "parcels.log"
    log.write_text("".join(f"line {index}\n" for index in range(100)))
    error = attrs.evolve(
        KEY_ERROR, notes=("row 4,120",), excerpt='> 41 | return row["apn"]', local_variables=(("row", "{}"),)
    )
    run_id = past.run(
        took_s=58,
        outcome="failure",
        values={"parcels": 4119},
        error=error,
        progress=Progress(done=4119, total=12041, message="loading"),
        argv=["parcels.py", "--county", "all"],
        log_path=str(log),
        schedule="0 2 * * *",
        max_duration_s=3600.0,
    )
    inner = past.run("load county", ago_s=3590, parent_id=run_id)
    (key,) = past.message("it failed", error="refused by the server", report=past.report(run_id))
    past.message("of another run", report=past.report(inner))
    text = shown(run_id)
    for expected in (
        *(
            "nightly parcels  failure",
            run_id,
            "58 s",
            "parcels.py --county all",
            "of gis on",
            "0 2 * * *",
            "at most 1 h",
        ),
        *("parcels  4,119", "4,119 of 12,041, loading", "KeyError: 'apn'", "at parcels.py:41 in load", "row 4,120"),
        *('> 41 | return row["apn"]', "row = {}", "Traceback (most recent call last):", "line 99", f"Log {log}"),
        *(inner[:12], "load county", "it failed", "refused by the server"),
    ):
        assert expected in text
    assert "line 84\n" not in text  # the last 15 lines
    assert "of another run" not in text
    facts = document("show", run_id)
    assert facts["error"]["traceback"] == KEY_ERROR.traceback
    assert facts["error"]["local_variables"] == {"row": "{}"}
    assert facts["log_tail"] == [f"line {index}" for index in range(85, 100)]
    assert [each["id"] for each in facts["inner_runs"]] == [inner]
    assert [each["key"] for each in facts["waiting"]] == [key]


def test_steps_within_others_are_indented(state: Path) -> None:
    """One sees which step a step belongs to."""
    with supervise("dolly") as run, run.step("load"), run.step("load roads"):
        pass
    text = shown("dolly")
    assert "\n  load " in text
    assert "\n    load roads " in text


def test_the_links_of_a_run_are_shown_whole(past: Past) -> None:
    """They are those of its messages; programs get them from `history` and `status` too."""
    page = "https://console.example/executions/" + "x" * 200
    run_id = past.run(links={"Execution": page, "Run\u001bbook": "https://wiki.example/"}, outcome=None)
    text = shown(run_id)
    assert f"  Execution  {page}\n" in text
    assert is_harmless(text)
    links = {"Execution": page, "Run\u001bbook": "https://wiki.example/"}
    assert document("show", run_id)["links"] == links
    assert document("history")[0]["links"] == links
    assert document("status")["under_way"][0]["links"] == links


def test_an_error_without_a_way_there_is_told_once(past: Past) -> None:
    """Where the traceback is no more than the error itself, it is not shown a second time."""
    error = ErrorDetails(type="OverlapError", message="another is on", traceback="OverlapError: another is on")
    assert shown(past.run(outcome="failure", error=error)).count("another is on") == 1


def test_a_run_is_found_by_id_by_beginning_and_by_name(past: Past) -> None:
    """An id, the beginning of one, or a name for its newest run: a whole id first, then a name."""
    first = past.run("backup", ago_s=100, id="aaaa1111")
    second = past.run("backup", ago_s=50, id="aaaa2222")
    named_like_an_id = past.run("aaaa1111", ago_s=10, id="bbbb0000")
    assert document("show", first)["id"] == first
    assert document("show", "aaaa2")["id"] == second
    assert document("show", "backup")["id"] == second
    past.run("bbbb", ago_s=5, id="cccc")
    assert document("show", "bbbb")["id"] == "cccc"
    assert document("show", "bbbb0")["id"] == named_like_an_id


def test_a_beginning_of_several_ids_is_not_guessed(past: Past) -> None:
    """A beginning that several ids share ends with 1 and lists them."""
    past.run(id="abcd1111")
    past.run(id="abcd2222")
    result = invoke("show", "abcd")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "abcd1111" in result.stderr
    assert "abcd2222" in result.stderr


@pytest.mark.parametrize("asked", ["nope", "", "%", "_", "abc"])
def test_an_unknown_run_is_told_with_the_names_there_are(past: Past, asked: str) -> None:
    """What is neither an id nor a name ends with 1; wildcards of SQL mean nothing."""
    past.run(id="abcd1111")
    result = invoke("show", asked)
    assert result.exit_code == 1
    assert "nightly parcels" in result.stderr


def test_numbers_stand_beside_what_is_usual_for_them(past: Past) -> None:
    """Each recorded number is compared with those of the last successes, and marked when it stands out."""
    for index in range(8):
        past.run(ago_s=(9 - index) * 86_400, values={"parcels": 12000 + index, "empty": 0, "note": "x"})
    past.run(values={"parcels": 12003, "empty": 400, "note": "x"})
    rows = [line.split(maxsplit=1) for line in shown("nightly parcels").partition("Recorded\n")[2].splitlines()]
    assert rows[0][0] == "parcels"
    assert rows[0][1].startswith("12,003  ")
    assert "usually 12," in rows[0][1]
    assert rows[1][1].startswith("400 !")
    assert document("show", "nightly parcels")["usual_values"]["empty"]["median"] == 0


def test_what_is_usual_for_numbers_is_found_behind_many_failures(past: Past) -> None:
    """By the last 20 successes, however many runs failed since: by the rule of messages, and of durations."""
    for index in range(8):
        past.run(ago_s=(90 - index) * 86_400, values={"parcels": 12_000 + index})
    for index in range(70):
        past.run(ago_s=(80 - index) * 86_400, outcome="failure")
    past.run(values={"parcels": 3})
    assert "3 !" in shown("nightly parcels").partition("Recorded\n")[2]
    assert document("show", "nightly parcels")["usual_values"]["parcels"]["count"] == 8


def test_a_lost_run_says_so(past: Past) -> None:
    """A run without an end whose process is gone is reported as such."""
    past.run(outcome=None, by=GONE)
    text = shown("nightly parcels")
    assert "died?" in text
    assert f"{GONE.pid} of gis on" in text
    assert "which is gone" in text


def test_a_run_that_stalls_or_is_overdue_says_since_when(past: Past) -> None:
    """Of a run under way it is reported since when it makes no progress or takes too long, and what was wanted."""
    past.run(ago_s=1600, took_s=0, outcome=None, stall_after_s=300, max_duration_s=600)
    head, *rows = shown("nightly parcels").splitlines()
    assert head.split() == ["nightly", "parcels", "stalled,", "overdue"]
    facts = {row.split()[0]: row for row in rows if row.strip()}
    assert "26 min" in facts["Stalled"]
    assert "progress every 5 min" in facts["Stalled"]
    assert "16 min" in facts["Overdue"]
    assert "at most 10 min" in facts["Overdue"]
    facts = document("show", "nightly parcels")
    assert facts["stalled_since"] < facts["overdue_since"]
    past.run(ago_s=1600, took_s=1500, stall_after_s=300, max_duration_s=600)
    facts = document("show", "nightly parcels")
    assert (facts["stalled_since"], facts["overdue_since"]) == (None, None)
    assert "Stalled" not in shown("nightly parcels")


def test_what_the_log_is_now_is_told(past: Past, tmp_path: Path) -> None:
    """A log that is missing, a folder, or written to since says so; --lines 0 shows none of it."""
    log = tmp_path / "a.log"
    with pytest.raises(FileNotFoundError) as missing:
        log.stat()
    past.run("missing", log_path=str(log))
    assert f"which cannot be read: {missing.value.strerror}" in shown("missing")
    past.run("folder", log_path=str(tmp_path))
    assert "which is no regular file" in shown("folder")
    log.write_text("secret\n")
    past.run("since", log_path=str(log), ago_s=7200)
    assert "written to since the run" in shown("since")
    assert "secret" not in shown("since", "--lines", "0")


def test_a_fifo_for_a_log_does_not_hang(past: Past, tmp_path: Path) -> None:
    """What would wait for a writer for ever is not opened."""
    if sys.platform == "win32":
        pytest.skip("there are no FIFOs")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    past.run(log_path=str(fifo))
    assert "which is no regular file" in shown("nightly parcels")


def test_of_a_large_log_only_the_end_is_read(past: Past, tmp_path: Path) -> None:
    """A log of many megabytes costs no more than its last lines, bytes that are no UTF-8 included."""
    log = tmp_path / "big.log"
    with log.open("wb") as file:
        file.truncate(500_000_000)
        file.seek(0, 2)
        file.write(b"\nlast but one \xff\xfe\nlast\n")
    past.run(log_path=str(log))
    assert document("show", "nightly parcels", "--lines", "2")["log_tail"] == ["last but one \ufffd\ufffd", "last"]


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_nothing_of_a_run_reaches_the_terminal_as_a_command(past: Past, tmp_path: Path, kind: str) -> None:
    """Whatever a run says of itself, in its error and its log too, is shown as text."""
    text = HOSTILE[kind]
    log = tmp_path / "hostile.log"
    log.write_bytes(text.encode("utf-8", "surrogatepass") + b"\n\x1b[2J\x07end\n")
    texts: dict[str, Any] = dict.fromkeys(
        ("type", "message", "where", "thread", "traceback", "excerpt", "source"), text
    )
    error = attrs.evolve(
        KEY_ERROR,
        **texts,
        notes=(text,),
        local_variables=((text, text),),
    )
    run_id = past.run(
        text,
        outcome="failure",
        error=error,
        values={text: text, "other": [text]},
        progress=Progress(done=1, message=text),
        argv=[text],
        python=text,
        log_path=str(log),
        schedule=text,
    )
    past.run(text, parent_id=run_id)
    past.message(text, [text], error=text, report=past.report(run_id))
    result = invoke("show", run_id)
    assert result.exit_code == 0
    assert is_harmless(result.output)
    document("show", run_id)


def test_without_a_journal_there_is_no_such_run(state: Path) -> None:
    """Before the first run no run can be shown: 1, with the reason."""
    result = invoke("show", "backup")
    assert result.exit_code == 1
    assert "No run was journalled yet" in result.stderr


def test_warnings_and_steps_are_told(state: Path) -> None:
    """Each with its values; beside the time of a step stands what is usual for it."""
    for _ in range(6):
        with supervise("dolly") as run, run.step("load"):
            pass
    with supervise("dolly") as run:
        with run.step("load", on_error="continue") as step:
            step.record(rows=12)
            raise TimeoutError("while polling")
        with run.step("join") as step:
            run.warn("no index", table="roads")
    text = shown("dolly")
    assert "dolly  warning" in text
    assert "2 warnings" in text
    assert "join: no index (table=roads)" in text
    steps = text.partition("Steps\n")[2].splitlines()
    assert steps[0].split() == ["STEP", "OUTCOME", "TOOK", "USUALLY"]
    assert steps[1].split()[:2] == ["load", "failure"]
    assert "TimeoutError while polling" in steps[1]
    (listed,) = [each for each in invoke("history", "dolly").stdout.splitlines() if "while polling" in each]
    assert "warning" in listed
    assert listed.rstrip().endswith("(and 1 more)")
    assert "Its steps usually take: load " in invoke("history", "dolly").stdout
    one = document("show", "dolly")
    assert (one["warning_count"], one["warnings"][1]["values"]) == (2, {"table": "roads"})
    assert [each["name"] for each in one["steps"]] == ["load", "join"]
    assert one["steps"][0]["error"]["type"] == "TimeoutError"
    assert one["usual_steps"]["load"]["count"] == 6
