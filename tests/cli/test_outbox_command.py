"""``supervisor outbox``: what waits and what was refused; try again, drop."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from journalled import HOSTILE, Past, command_line, document, invoke, is_harmless

from supervisor._cli import shared

if TYPE_CHECKING:
    from pathlib import Path


def test_what_waits_is_listed_with_why_and_when_it_is_tried_again(past: Past) -> None:
    """Oldest first: key, handler, state, age, attempts, next try, subject, and why it failed."""
    past.message("refused", ["mail"], ago_s=9000, error="535 credentials invalid", failed=True)
    past.message("later", ["ops"], ago_s=7200, error="connection refused", due_in_s=7200 + 250)
    past.message("fresh", ["ops"], ago_s=3)
    head, refused, later, fresh, _, *hints = invoke("outbox").stdout.splitlines()
    assert head.split() == ["KEY", "HANDLER", "STATE", "WRITTEN", "TRIED", "NEXT", "TRY", "SUBJECT", "WHY"]
    assert refused.split() == [
        "1",
        "mail",
        "failed",
        "2",
        "h",
        "30",
        "min",
        "ago",
        "once",
        "-",
        "refused",
        "535",
        "credentials",
        "invalid",
    ]
    assert later.split()[:7] == ["2", "ops", "pending", "2", "h", "ago", "once"]
    assert " in 4 min" in later
    assert later.endswith("later    connection refused")
    assert fresh.split()[:3] == ["3", "ops", "pending"]
    assert "never  due" in fresh
    assert hints == [
        "2 deliveries pending: `supervisor flush` sends now.",
        "1 delivery failed: mend the cause, then `supervisor flush --failed`.",
    ]


def test_programs_get_a_document(past: Past) -> None:
    """The same as one list, whichever way round it is asked for."""
    past.message("later", ["ops"], error="no", due_in_s=7200)
    (shown,) = document("outbox")
    assert shown == document("outbox", "list")[0]
    assert {name: shown[name] for name in ("key", "handler", "state", "kind", "subject", "attempts", "last_error")} == {
        "key": 1,
        "handler": "ops",
        "state": "pending",
        "kind": "notice",
        "subject": "later",
        "attempts": 1,
        "last_error": "no",
    }
    assert shown["is_being_sent"] is False
    assert datetime.fromisoformat(shown["next_try_at"]) > datetime.now(UTC) + timedelta(seconds=1000)


def test_only_the_first_are_shown_unless_all_are_asked_for(past: Past) -> None:
    """Of many the first 20 are listed, and how many more there are."""
    for index in range(25):
        past.message(f"message {index}")
    text = invoke("outbox").stdout
    assert "message 19" in text
    assert "message 20" not in text
    assert "5 deliveries more: `supervisor outbox --all`." in text
    assert "message 24" in invoke("outbox", "--all").stdout
    assert len(document("outbox")) == 25


def test_a_terminal_shows_each_destination_with_its_messages(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a destination, with the reason that its messages share; below them those, as many as fit together."""
    for index in range(30):
        past.message(f"late {index}", ["slack"])
    past.rest("slack", "<html><title>502 Bad Gateway</title>", due_in_s=240)
    past.message("refused", ["mail"], error="550 no such user", failed=True)
    past.message("refused too", ["mail"], error="552 too large", failed=True)
    past.message("fresh", ["hook"])
    monkeypatch.setattr(shared, "width", lambda stream=None: 60)
    shown = invoke("outbox").stdout
    lines = shown.splitlines()
    assert re.match(r"slack: accepts nothing since [-\d: ]+, 30 wait,", lines[0])
    assert "502 Bad Gateway (a page in HTML)" in shown
    assert "late 5" in shown
    assert "late 6" not in shown
    assert "and 24 more: `supervisor outbox --all`" in shown
    mail = lines.index("mail: 2 failed for good")
    assert [each.strip() for each in (lines[mail + 2], lines[mail + 4])] == ["550 no such user", "552 too large"]
    assert "hook: 1 pending" in lines
    assert max(map(len, lines)) <= 80
    assert "late 29" in invoke("outbox", "--all").stdout


def test_a_claimed_delivery_is_being_sent(past: Past) -> None:
    """What a living process has claimed says so."""
    past.message("now", ago_s=1)
    past.journal.claim("ops")
    assert "being sent" in invoke("outbox").stdout
    assert document("outbox")[0]["is_being_sent"] is True


def test_retry_makes_due_what_failed_and_what_waits(past: Past) -> None:
    """Retry lets refused and waiting deliveries be tried at once, and says how."""
    past.message("refused", error="535", failed=True)
    past.message("later", error="no", due_in_s=9999)
    past.message("other", error="no", due_in_s=9999)
    result = invoke("outbox", "retry", "1", "2")
    assert result.exit_code == 0
    assert result.stdout.startswith("2 deliveries are due now; `supervisor flush` sends now")
    now = datetime.now(UTC)
    due = [datetime.fromisoformat(each["next_try_at"]) <= now for each in document("outbox")]
    assert due == [True, True, False]
    assert [each["state"] for each in document("outbox")] == ["pending"] * 3
    assert invoke("outbox", "retry", "--all").stdout.startswith("3 deliveries")


def test_drop_forgets_for_good_after_asking(past: Past) -> None:
    """Drop needs --yes where nobody can be asked, and forgets only what was named."""
    past.message("a")
    past.message("b")
    refused = invoke("outbox", "drop", "1")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert len(document("outbox")) == 2
    assert invoke("outbox", "drop", "1", "--yes").stdout == "1 delivery dropped.\n"
    assert [each["subject"] for each in document("outbox")] == ["b"]
    assert invoke("outbox", "drop", "--all", "--yes").exit_code == 0
    assert invoke("outbox").stdout == "The outbox is empty: nothing waits.\n"


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 1)])
def test_on_a_terminal_drop_asks(past: Past, state: Path, tmp_path: Path, answer: str, left: int) -> None:
    """A person sees what would go, and says yes or no."""
    if sys.platform == "win32":
        pytest.skip("there is no pty")
    import pty

    past.message("precious")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "SUPERVISOR_STATE": str(state)}
    program = command_line("outbox", "drop", "1")
    with subprocess.Popen(
        program, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=tmp_path
    ) as process:
        os.close(theirs)
        screen = b""
        while b"[y/N]" not in screen:
            screen += os.read(ours, 4096)
        os.write(ours, f"{answer}\n".encode())
        try:
            while os.read(ours, 4096):
                pass
        except OSError:
            pass
        code = process.wait(60)
    os.close(ours)
    assert b"precious" in screen
    assert len(document("outbox")) == left
    assert code == (1 if left else 0)


def test_a_key_that_is_not_there_is_told(past: Past) -> None:
    """What is not in the outbox ends with 1; the others are done all the same."""
    past.message("a")
    result = invoke("outbox", "retry", "1", "99")
    assert result.exit_code == 1
    assert "1 delivery is due now" in result.stdout
    assert "not in the outbox: 99" in result.stderr
    assert invoke("outbox", "drop", "99", "--yes").exit_code == 1


@pytest.mark.parametrize("arguments", [["retry"], ["drop"], ["retry", "x"], ["drop", "1", "--all"]])
def test_wrong_usage_is_told(past: Past, arguments: list[str]) -> None:
    """Without keys, with what is no key, or with both keys and --all nothing is done."""
    past.message("a")
    assert invoke("outbox", *arguments).exit_code == 2
    assert len(document("outbox")) == 1


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_nothing_of_a_message_reaches_the_terminal_as_a_command(past: Past, kind: str) -> None:
    """Subjects, names of handlers and errors are shown as texts, each on its line."""
    past.message(HOSTILE[kind], [HOSTILE[kind]], error=HOSTILE[kind])
    result = invoke("outbox")
    assert is_harmless(result.output)
    assert len(result.stdout.splitlines()) == 4
    document("outbox")


def test_without_a_journal_nothing_waits(state: Path) -> None:
    """Before the first run the outbox is empty; retry and drop find nothing, and begin nothing."""
    assert invoke("outbox").stdout.startswith("No run was journalled yet")
    assert document("outbox") == []
    assert invoke("outbox", "retry", "--all").exit_code == 0
    assert invoke("outbox", "retry", "1").exit_code == 1
    assert invoke("outbox", "drop", "1", "--yes").exit_code == 1
    assert list(state.iterdir()) == []
