"""``supervisor flush``: deliver what waits, by the configured handlers."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from hooks import Hook, configured, refused_url
from journalled import HOSTILE, Past, command_line, document, invoke, is_harmless

if TYPE_CHECKING:
    from pathlib import Path

    from http_peers import HttpPeer


def test_what_waits_is_delivered_oldest_first(
    past: Past, hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All that is pending for a configured handler goes out, also what is not due yet, and leaves the outbox."""
    configured(monkeypatch, tmp_path, ops=hook.url)
    past.message("first", ago_s=9000)
    past.message("not due yet", ago_s=8000, error="down", due_in_s=99_999)
    result = invoke("flush")
    assert result.exit_code == 0
    assert [each["subject"] for each in hook.documents] == ["first", "not due yet"]
    assert result.stdout.splitlines() == ["sent  ops  first", "sent  ops  not due yet", "", "2 sent."]
    assert result.stderr == ""
    assert document("outbox") == []
    assert invoke("flush").stdout == "Nothing waits.\n"


def test_what_fails_is_told_once_with_its_reason_and_stays(
    past: Past, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A destination that is down is tried once; the rest of its messages is left, and all stay."""
    configured(monkeypatch, tmp_path, ops=refused_url())
    past.message("first")
    past.message("second")
    result = invoke("flush")
    assert result.exit_code == 1
    failed, left, _, total = result.stdout.splitlines()
    assert failed.split()[:3] == ["failed", "ops", "first"]
    assert "Connection refused" in failed
    assert left.split()[:3] == ["left", "ops", "second"]
    assert total == "1 failed, 1 left; what is left stays in the outbox."
    assert result.stderr == ""  # nothing of it is said twice
    assert [each["state"] for each in document("outbox")] == ["pending", "pending"]


def with_reserve(url: str, reserve: str) -> str:
    """Return a configuration with a web hook whose reserve is another one."""
    hook = '[handlers.{}]\ntype = "webhook"\nurl = "{}"\n'
    return f'{hook.format("ops", url)}fallback = "mail"\nfallback_after = "1h"\n{hook.format("mail", reserve)}'


def test_what_is_refused_again_goes_to_the_reserve(
    past: Past, hook: Hook, peer: HttpPeer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is listed as passed on, with the reason; nothing is refused any more, and there is nothing to flush."""
    peer.answer(404)
    configured(monkeypatch, tmp_path, text=with_reserve(f"{peer.url}/hook", hook.url))
    past.message("first", error="404", failed=True)
    result = invoke("flush", "--failed")
    assert result.exit_code == 0
    line, _, total = result.stdout.splitlines()
    assert line.startswith("passed on  ops  first  passed on to 'mail': ")
    assert total == "1 passed on."
    assert [each["subject"] for each in hook.documents] == ["first"]
    assert "ops refused this: " in json.dumps(hook.documents)
    assert document("outbox") == []
    assert invoke("flush", "--failed").stdout == "Nothing waits.\n"


def test_check_passes_on_what_waits_for_too_long(
    past: Past, hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What has failed for two hours goes out by the reserve, all at once; what is new waits on."""
    configured(monkeypatch, tmp_path, text=with_reserve(refused_url(), hook.url))
    past.message("first", ago_s=7300)
    past.message("second", ago_s=7200)
    past.rest("ops", "down", due_in_s=1, ago_s=7200)
    past.message("new", ago_s=60)
    assert invoke("check").exit_code == 1  # "new" waits
    assert [each["subject"] for each in hook.documents] == ["first", "second"]
    assert [each["subject"] for each in document("outbox")] == ["new"]


def test_nothing_is_sent_from_a_developers_machine(
    past: Past, hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With ``send = "off"`` all is left, and the reason says where to look; no attempt counts."""
    configured(monkeypatch, tmp_path, text='[defaults]\nsend = "off"\n', ops=hook.url)
    past.message("first")
    result = invoke("flush")
    assert result.exit_code == 1
    assert result.stdout.startswith('left  ops  first  send = "off" (`supervisor config` shows where that is set)\n')
    assert hook.documents == []
    (waiting,) = document("outbox")
    assert (waiting["state"], waiting["attempts"]) == ("pending", 0)


def test_a_destination_that_rests_is_shown_in_one_line_and_tried_at_once(
    past: Past, hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`outbox` and `check` say that it rests, above the messages; `flush` does not wait for its time."""
    configured(monkeypatch, tmp_path, ops=hook.url)
    for subject in ("first", "second", "third"):
        past.message(subject)
    past.rest("ops", "429 slow down", due_in_s=99_999)
    line = invoke("outbox").stdout.splitlines()[0]
    assert re.match(r"ops: accepts nothing since [-\d: ]+, 3 wait, next try in 1 d 2 h: 429 slow down", line)
    assert line.endswith(": 429 slow down")
    assert f"resting   {line[:40]}" in invoke("check").stdout
    assert hook.documents == []
    assert invoke("flush").exit_code == 0
    assert [each["subject"] for each in hook.documents] == ["first", "second", "third"]
    assert invoke("outbox").stdout == "The outbox is empty: nothing waits.\n"


def test_what_is_refused_for_good_waits_for_failed(
    past: Past, hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A refused delivery is reported, and tried again only with --failed: when its cause is mended."""
    configured(monkeypatch, tmp_path, ops=hook.url)
    hook.status = 400
    past.message("bad")
    assert invoke("flush").exit_code == 1
    assert document("outbox")[0]["state"] == "failed"
    hook.status = 200
    quiet = invoke("flush")
    assert (quiet.exit_code, len(hook.documents)) == (0, 1)
    assert "1 delivery failed for good before: `supervisor flush --failed` tries again." in quiet.stdout
    shown = document("flush", "--failed")
    assert [each["subject"] for each in shown["sent"]] == ["bad"]
    assert document("outbox") == []


def test_a_handler_that_is_not_configured_is_named_with_what_to_do(
    past: Past, hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What waits for a handler of a script's own code is left, and it is said who delivers it."""
    configured(monkeypatch, tmp_path, ops=hook.url)
    past.message("for a script", ["__main__.Pager"])
    past.message("for us")
    result = invoke("flush")
    assert result.exit_code == 1
    assert "no handler '__main__.Pager' is configured here" in result.stdout
    assert "that script's next run" in result.stdout
    assert [each["subject"] for each in hook.documents] == ["for us"]
    assert document("outbox")[0]["attempts"] == 0


def test_a_handler_that_cannot_be_built_is_told_with_file_and_line(
    past: Past, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A mistake in a handler's table is reported where it stands; its messages stay untouched."""
    file = configured(monkeypatch, tmp_path, text='[handlers.ops]\ntype = "webhook"\nurl = "x"\n')
    past.message("first")
    shown = document("flush", code=1)
    assert f"{file}:1: [handlers.ops] WebhookHandler: url must be" in shown["left"][0]["why"]
    assert document("outbox")[0]["attempts"] == 0


def test_only_the_named_handlers_are_flushed(
    past: Past, hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """--handler leaves all others alone; a name that nobody knows is wrong usage."""
    configured(monkeypatch, tmp_path, ops=hook.url, chat=hook.url)
    past.message("both", ["ops", "chat"])
    shown = document("flush", "--handler", "chat")
    assert [each["handler"] for each in shown["sent"]] == ["chat"]
    assert [each["handler"] for each in document("outbox")] == ["ops"]
    assert invoke("flush", "--handler", "chat").exit_code == 0
    wrong = invoke("flush", "--handler", "chatt")
    assert wrong.exit_code == 2
    assert "did you mean 'chat'?" in wrong.stderr


def test_a_handler_that_hangs_does_not_hold_up_longer_than_the_deadline(
    past: Past, hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After the deadline what is not sent yet is left."""
    configured(monkeypatch, tmp_path, ops=hook.url)
    past.message("slow")
    hook.hold()
    program = command_line("flush", "--deadline", "0.3", "--json")  # a process of its own, which takes the hang along
    done = subprocess.run(program, capture_output=True, timeout=60, check=False)
    shown = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (1, b"")
    assert [each["subject"] for each in shown["left"]] == ["slow"]
    assert "time was up" in shown["left"][0]["why"]


def test_programs_get_all_that_was_tried(
    past: Past, hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One document with what was sent, what failed and what is left."""
    configured(monkeypatch, tmp_path, ops=hook.url)
    past.message("a")
    past.message("b", ["nobody"])
    shown = document("flush", code=1)
    assert {became: [each["subject"] for each in some] for became, some in shown.items()} == {
        "passed": [],
        "sent": ["a"],
        "failed": [],
        "left": ["b"],
    }


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_hostile_texts_are_sent_and_told_as_texts(
    past: Past, hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    """A subject that would be a command to the terminal is shown as text."""
    configured(monkeypatch, tmp_path, ops=hook.url)
    past.message(HOSTILE[kind])
    past.message(HOSTILE[kind], [HOSTILE[kind]])
    result = invoke("flush")
    assert is_harmless(result.output)
    assert len(hook.documents) == 1


def test_without_a_journal_nothing_waits(state: Path) -> None:
    """Before the first run there is nothing to flush, and no journal is begun."""
    assert invoke("flush").stdout.startswith("No run was journalled yet")
    assert document("flush") == {"sent": [], "passed": [], "failed": [], "left": []}
    assert list(state.iterdir()) == []


def test_the_console_needs_no_table(past: Past) -> None:
    """What waits for the console is printed without any configuration."""
    past.message("quiet", ["console"])
    assert len(document("flush")["sent"]) == 1  # stdout has the document alone
    past.message("hello", ["console"])
    result = invoke("flush")
    assert result.exit_code == 0
    assert "NOTICE  " in result.stdout
    assert "hello" in json.dumps(result.stdout)
