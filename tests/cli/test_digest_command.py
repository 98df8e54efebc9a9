"""``supervisor digest``: what it says, to whom it goes, and what its exit code means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from journalled import GONE, KEY_ERROR, Past, document, invoke

if TYPE_CHECKING:
    from pathlib import Path

    from hooks import Hook
    from smtp_peers import MailServer

HOUR, DAY = 3_600.0, 86_400.0


@pytest.fixture
def ops(hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hook:
    """Let a webhook be the configured handler "ops"; another one takes failures alone."""
    path = tmp_path / "supervisor.toml"
    path.write_text(
        f'[defaults]\nhandlers = ["ops"]\n[handlers.ops]\ntype = "webhook"\nurl = "{hook.url}"\n'
        f'[handlers.few]\ntype = "webhook"\nurl = "{hook.url}"\nkinds = ["failure"]\n'
    )
    path.chmod(0o600)
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(path))
    return hook


def night(past: Past) -> None:
    """Write a night in which most went well."""
    for index in range(8):
        past.run("parcels", ago_s=(9 - index) * DAY, values={"rows": 12_000})
    past.run("parcels", values={"rows": 0}, took_s=900)
    past.run("lakes", outcome="failure", error=KEY_ERROR, ago_s=2 * DAY)
    past.run("lakes", outcome="failure", error=KEY_ERROR)
    past.run("roads", outcome="failure", error=KEY_ERROR)
    past.run("roads", ago_s=600)
    past.run("tiles", outcome="failure", error=KEY_ERROR, ago_s=3 * DAY)
    past.run("dem", ago_s=3 * DAY, schedule="every 1 d", grace_s=60)
    past.run("flow", outcome="warning")
    past.run("killed", outcome=None, by=GONE)
    past.run("gone", ago_s=60 * DAY)
    past.journal.mute("tiles", None, until_ok=True)


def test_one_message_says_what_failed_and_how_all_do(past: Past, ops: Hook) -> None:
    """The problems first, each with its last error; then every script, and what stands out."""
    night(past)
    done = invoke("digest", "--since", "24h", "--handler", "ops")
    assert done.exit_code == 0
    (sent,) = ops.documents
    assert sent["kind"] == "notice"
    assert sent["subject"].startswith("3 of 7 scripts failed ")
    assert ", 1 did not start, 1 still fails since before, 1 with warnings (" in sent["subject"]
    text = " ".join(sent["message"].split())
    failed, missed, before, warned, muted, every = (
        text.index(f" {each} ")
        for each in (
            "Failed",
            "Did not start",
            "Still failing since before",
            "Succeeded with warnings",
            "Muted",
            "Every script",
        )
    )
    assert failed < missed < before < warned < muted < every
    assert "KeyError 'apn' (2 in a row since " in text[failed:missed]
    assert "KeyError 'apn'; it has succeeded since" in text[failed:missed]
    assert "dem missed" in text[missed:before]
    assert "tiles 1 run in a row" in text[before:warned]
    assert "tiles until it succeeds" in text[muted:every]
    assert "rows: 0, usually 12,000" in text[every:]
    assert " gone " not in text, "it has not run for two months"
    assert f"{sent['subject']}: sent to ops" in done.stdout


def test_only_problems_leaves_out_what_went_well(past: Past, ops: Hook) -> None:
    """Where there are none, nothing is sent."""
    past.run("parcels")
    assert "Nothing to tell: 1 script went well" in invoke("digest", "--only", "problems").stdout
    assert invoke("digest", "--only", "problems", "--quiet").stdout == ""
    assert ops.documents == []
    past.run("lakes", outcome="failure", error=KEY_ERROR)
    assert invoke("digest", "--only", "problems", "--quiet").stdout == ""
    (sent,) = ops.documents
    assert "parcels" not in sent["message"]


def test_without_handlers_it_is_printed(past: Past) -> None:
    """Cron mails it then; --print does so where there are handlers."""
    night(past)
    printed = invoke("digest", "--quiet").stdout
    assert printed.startswith("3 of 7 scripts failed ")
    assert "Every script" in printed


def test_the_page_goes_with_it(past: Past, server: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an attachment of the mail."""
    night(past)
    path = tmp_path / "mail.toml"
    path.write_text(
        f'[handlers.ops]\ntype = "email"\nsmtp_server = "127.0.0.1"\nsmtp_port = {server.port}\n'
        'security = "none"\nfrom_address = "gis@example.com"\nto_addresses = ["ops@example.com"]\n'
    )
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(path))
    assert invoke("digest", "--handler", "ops", "--page").exit_code == 0
    (arrived,) = server.arrived
    attached = next(part for part in arrived.mail.walk() if part.get_filename() == "runs.html")
    assert b"<h1>Runs on " in attached.get_payload(decode=True)


def test_what_cannot_be_delivered_waits(past: Past, ops: Hook) -> None:
    """The exit code says so, and the outbox has it."""
    night(past)
    ops.status = 503
    done = invoke("digest", "--deadline", "2")
    assert done.exit_code == 1
    assert "not delivered yet to ops" in done.stdout
    assert [each.subject.partition(" scripts")[0] for each in past.journal.deliveries()] == ["3 of 7"]


@pytest.mark.usefixtures("ops")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--handler", "opps"), "there is no handler 'opps'"),
        (("--handler", "few"), "the handler 'few' takes no notices: add \"notice\" to its kinds"),
        (("--since", "a week"), "a duration is a number and"),
        (("--only", "failures"), "'problems'"),
    ],
)
def test_what_is_wrong_is_said(past: Past, arguments: tuple[str, ...], said: str) -> None:
    """With the exit code 2, and nothing is sent."""
    night(past)
    done = invoke("digest", *arguments)
    assert (done.exit_code, said in " ".join(done.stderr.split())) == (2, True)


def test_programs_get_a_document(past: Past) -> None:
    """Of each script what the message says of it."""
    night(past)
    whole = document("digest")
    assert whole["has_problems"]
    by_name = {each["name"]: each for each in whole["scripts"]}
    assert by_name["lakes"]["failures_in_a_row"] == 2
    assert by_name["killed"]["failed"] == 1
    assert by_name["dem"]["missed"].startswith("missed ")
    assert by_name["parcels"]["anomalies"] == ["rows: 0, usually 12,000"]
    assert [each["name"] for each in whole["muted"]] == ["tiles"]


def test_where_nothing_ran_it_says_so(past: Past) -> None:
    """Nobody reads that all went well."""
    past.run("parcels", ago_s=3 * DAY)
    assert invoke("digest").stdout.startswith("None of 1 script ran ")
