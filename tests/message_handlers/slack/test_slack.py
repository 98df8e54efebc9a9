"""SlackHandler against a local server that answers as Slack does."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from http_peers import Answer, Channel, refused_url
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slack_peers import CHANNEL, HOOK, TOKEN, SlackPeer, slack_peer

from supervisor._messages import message_for
from supervisor._models import Kind, Outcome
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers._slack import SlackHandler
from supervisor.message_handlers._slack.web_api import LOGIN_REFUSED, REMEDIES
from supervisor.models import ErrorDetails, MessageDetails, MessageHandler, Progress, RunReport

pytest.importorskip("slack_sdk")  # what happens without it stands in test_without_extras.py

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHANNELS = {
    "slack bot": Channel(
        make=lambda url, **settings: SlackHandler(token=TOKEN, channel="C1", base_url=f"{url}/api/", **settings),
        accepted=Answer(body={"ok": True, "channel": "C1", "ts": "1.0"}),
        host="slack.com",
        example="SlackHandler(token",
    ),
    "slack webhook": Channel(
        make=lambda url, **settings: SlackHandler(webhook_url=f"{url}/hook", **settings),
        accepted=Answer(body="ok"),
        host="hooks.slack.com",
        example="SlackHandler(webhook_url",
    ),
}
NOW = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "mine"}}
BAD = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3_001}}


@pytest.fixture
def slack() -> Iterator[SlackPeer]:
    """Run a workspace for one test."""
    with slack_peer() as peer:
        yield peer


@pytest.fixture
def bot(slack: SlackPeer) -> SlackHandler:
    """Return a handler with a bot's token."""
    return SlackHandler(token=TOKEN, channel="#ops", base_url=slack.base_url, client_name="loader", client_version="2")


@pytest.fixture
def hook(slack: SlackPeer) -> SlackHandler:
    """Return a handler with a webhook."""
    return SlackHandler(webhook_url=slack.webhook_url, prefix="[prod] ")


def report(**changes: Any) -> RunReport:
    """Return a report of a run."""
    facts: dict[str, Any] = {
        "id": "r1",
        "name": "parcels",
        "started_at": NOW,
        "duration_s": 61.0,
        "values": {"rows": 12},
        "host": "gis-7",
    }
    return RunReport(**(facts | changes))


def failure(**changes: Any) -> MessageDetails:
    """Return the message of a failure."""
    error = ErrorDetails(type="KeyError", message="'x'", traceback="Traceback\n  rows[key]\nKeyError: 'x'")
    run = report(outcome=Outcome.FAILURE, ended_at=NOW, error=error)
    return attrs.evolve(message_for(Kind.FAILURE, run), **changes)


def progress(done: int, after_s: float = 0.0) -> MessageDetails:
    """Return a progress message, written some seconds after the first."""
    details = message_for(Kind.PROGRESS, report(progress=Progress(done=done, total=10)))
    return attrs.evolve(details, created_at=NOW + timedelta(seconds=after_s))


def refusal_of(handler: SlackHandler, details: MessageDetails | None = None) -> DeliveryError:
    """Send a message that is expected to fail, and return the error."""
    with pytest.raises(DeliveryError) as caught:
        handler.send_message(details or MessageDetails("hello"))
    assert TOKEN not in _all_texts(caught.value)
    assert HOOK not in _all_texts(caught.value)
    assert "secretOfTheHook" not in _all_texts(caught.value)
    return caught.value


def _all_texts(error: BaseException | None) -> str:
    """Return the texts of an error and of its causes."""
    texts = ""
    while error is not None:
        texts += f"{error!r} {error}\n"
        error = error.__cause__ or error.__context__
    return texts


# Settings


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({}, "webhook_url, or token and channel, must be given"),
        ({"webhook_url": ""}, "webhook_url must be a URL that starts with https://, got nothing"),
        ({"webhook_url": "hooks.slack.com/s3cret"}, "webhook_url must be a URL"),
        ({"webhook_url": "https://hooks.slack.com/s3cret with blanks"}, "webhook_url must be a URL"),
        ({"token": " "}, "token must be a text that is not blank"),
        ({"token": "xoxb-s3cret\nmore", "channel": "#ops"}, "token must be the token as Slack shows it"),
        ({"token": "xoxb-s3cret"}, "channel must be given along with token"),
        ({"token": "xoxb-s3cret", "channel": ""}, "channel must be a text that is not blank"),
        ({"channel": "#ops"}, "token must be given along with channel"),
        ({"webhook_url": "https://h/s3cret", "token": "xoxb-s3cret", "channel": "#ops"}, "not both"),
        ({"webhook_url": "https://h/s3cret", "channel": "#ops"}, "not both"),
        ({"webhook_url": "https://h/s3cret", "timeout_s": 0}, "timeout_s must be a number above 0"),
        ({"webhook_url": "https://h/s3cret", "name": " "}, "name must be a text that is not blank"),
        ({"token": "xoxb-s3cret", "channel": "#ops", "base_url": "slack.com"}, "base_url must be a URL"),
    ],
)
def test_wrong_settings_are_named_without_secrets(arguments: dict[str, Any], wanted: str) -> None:
    """Missing, blank and impossible settings are refused when the handler is built, without quoting secrets."""
    with pytest.raises(ConfigurationError, match=r"^SlackHandler") as caught:
        SlackHandler(**arguments)
    assert wanted in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_names_are_stable_and_without_secrets(hook: SlackHandler, bot: SlackHandler) -> None:
    """The name can be set; neither its default nor repr holds a secret."""
    assert re.fullmatch(r"slack:webhook#[0-9a-f]{6} slack:#ops#[0-9a-f]{6}", f"{hook.name} {bot.name}")
    assert SlackHandler(webhook_url="https://h/x", name="alerts").name == "alerts"
    assert isinstance(hook, MessageHandler)
    assert "secret" not in repr(hook) + repr(bot)


def test_settings_of_3x_migrate() -> None:
    """Settings of version 3 are accepted, and blanks around secrets are removed."""
    old: dict[str, Any] = {
        "webhook_url": " https://hooks.slack.com/services/a/b/c\n",
        "prefix": "p ",
        "client_name": None,
    }
    assert SlackHandler(**old).webhook_url == "https://hooks.slack.com/services/a/b/c"


def test_slack_sdk_is_loaded_when_it_first_sends() -> None:
    """Building a handler imports no client library."""
    code = (
        "import sys\nfrom supervisor.message_handlers._slack import SlackHandler\n"
        "SlackHandler(token='xoxb-1', channel='c')\n"
        "assert not {'slack_sdk', 'urllib.request', 'http.client', 'ssl'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_missing_slack_sdk_says_what_to_install(hook: SlackHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without slack_sdk the error is permanent and gives the command."""
    monkeypatch.setitem(sys.modules, "slack_sdk", None)
    error = refusal_of(hook)
    assert error.permanent
    assert error.reason == "SlackHandler needs slack_sdk: pip install 'agrc-supervisor[slack]'"


# Webhooks


def test_a_webhook_gets_text_and_blocks(slack: SlackPeer, hook: SlackHandler) -> None:
    """A message is sent as blocks, with a text for notifications."""
    hook.send_message(failure())
    (message,) = slack.messages
    assert message["text"].startswith(":rotating_light: [prod] parcels failed on gis-7: KeyError 'x'\n")
    assert [block["type"] for block in message["blocks"]] == ["header", *["section"] * 4, "context"]
    assert message["unfurl_links"] is False


def test_a_webhook_names_attachments(slack: SlackPeer, hook: SlackHandler, tmp_path: Path) -> None:
    """With a webhook, the message lists the files that cannot be sent, and says how they could be."""
    hook.send_message(MessageDetails("s", "t", tmp_path / "rows.csv"))
    assert "rows.csv" in str(slack.messages[0]["blocks"])
    assert "bot token" in str(slack.messages[0]["blocks"])


def test_a_long_message_is_continued(slack: SlackPeer, hook: SlackHandler) -> None:
    """Long texts and many blocks arrive in several posts, complete and in order."""
    words = [f"word{n}" for n in range(3_000)]
    hook.send_message(MessageDetails("s", " ".join(words)))
    text = " ".join(block["text"]["text"] for each in slack.messages for block in each["blocks"][0:])
    assert [word for word in text.split() if word.startswith("word")] == words
    slack.messages.clear()
    hook.send_message(MessageDetails("s", blocks=[SECTION] * 120))
    assert [len(each["blocks"]) for each in slack.messages] == [50, 50, 20]


def test_an_attempt_goes_on_where_the_last_one_stopped(slack: SlackPeer, hook: SlackHandler) -> None:
    """An attempt that fails after the first of three posts is continued with the second."""
    details = MessageDetails("s", blocks=[SECTION] * 120)
    slack.plan("webhook", Answer(body="ok"), Answer(429, {"Retry-After": "7"}, "rate_limited"))
    error = refusal_of(hook, details)
    assert (error.permanent, error.retry_after_s) == (False, 7.0)
    hook.send_message(attrs.evolve(details, message="Delayed 5 min: written some time ago."))
    assert [len(each["blocks"]) for each in slack.messages] == [50, 20]
    hook.send_message(details)
    assert len(slack.messages) == 5  # sent on purpose: a message that has arrived is forgotten


@pytest.mark.parametrize(
    ("status", "body", "permanent", "wanted"),
    [
        (404, "no_service", True, "404 Not Found, no_service: make a new webhook"),
        (404, "channel_not_found", True, "channel_not_found"),
        (410, "channel_is_archived", True, "unarchive the channel"),
        (403, "action_prohibited", False, "an administrator"),
        (403, "invalid_token", False, "check the webhook URL"),
        (400, "no_text", True, "no_text"),
        (400, "something_new", True, "something_new"),
        (403, "<html>the proxy of this company</html>", False, "the proxy of this company"),
        (200, "<html>please log in</html>", False, "please log in"),
        (408, "", False, "408 Request Timeout"),
        (429, "rate_limited", False, "429"),
        (500, "rollup_error", False, "rollup_error"),
        (502, "<html>", False, "502 Bad Gateway"),
        (503, "no_service", False, "503 Service Unavailable"),
    ],
)
def test_answers_to_a_webhook(
    slack: SlackPeer, hook: SlackHandler, *, status: int, body: str, permanent: bool, wanted: str
) -> None:
    """Slack's error codes for webhooks are permanent; 5xx, a proxy's HTML and 403, once an hour, are temporary."""
    slack.plan("webhook", Answer(status, body=body))
    error = refusal_of(hook)
    assert error.permanent is permanent
    assert wanted in error.reason
    assert error.retry_after_s == (3600.0 if status == 403 else None)
    assert len(slack.calls) == 1


@pytest.mark.parametrize("code", ["invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "invalid_payload"])
def test_refused_blocks_are_sent_as_text(slack: SlackPeer, hook: SlackHandler, code: str) -> None:
    """A message whose blocks are refused is sent again as text."""
    slack.plan("webhook", Answer(400, body=code))
    hook.send_message(failure())
    (message,) = slack.messages
    assert "blocks" not in message
    assert "```\nTraceback\n  rows[key]\nKeyError: 'x'\n```" in message["text"]
    assert "*rows*\n12" in message["text"]


def test_text_that_is_refused_too_is_permanent(slack: SlackPeer, hook: SlackHandler) -> None:
    """The fallback is tried once."""
    slack.plan("webhook", *[Answer(400, body="invalid_blocks")] * 2)
    assert refusal_of(hook).permanent
    assert len(slack.calls) == 2


def test_own_blocks_that_are_wrong_fall_back(slack: SlackPeer, hook: SlackHandler, bot: SlackHandler) -> None:
    """A message whose own blocks are refused is sent again as text."""
    for handler in (hook, bot):
        handler.send_message(MessageDetails("subject", "the text", blocks=[SECTION, BAD]))
        assert slack.messages[-1].get("blocks") is None
        assert "subject*\nthe text" in slack.messages[-1]["text"]


# The bot


def test_the_bot_posts_to_its_channel(slack: SlackPeer, bot: SlackHandler) -> None:
    """With a token, a message is posted to the channel as blocks."""
    bot.send_message(failure())
    (message,) = slack.messages
    assert message["channel"] == "#ops"
    assert message["blocks"][0]["type"] == "header"
    assert message["blocks"][-1]["elements"][-1]["text"] == "loader 2"
    assert "reply_broadcast" not in message
    assert "thread_ts" not in message


def test_a_run_is_a_thread(slack: SlackPeer, bot: SlackHandler) -> None:
    """A run's messages form a thread; a failure is shown in the channel too, and another run has another thread."""
    bot.send_message(message_for(Kind.START, report()))
    bot.send_message(MessageDetails("halfway", report=report()))
    bot.send_message(failure())
    bot.send_message(message_for(Kind.START, report(id="r2")))
    start, notice, failed, other = slack.messages
    assert (start.get("thread_ts"), other.get("thread_ts")) == (None, None)
    assert (notice["thread_ts"], notice["channel"], notice.get("reply_broadcast")) == (start["ts"], CHANNEL, None)
    assert (failed["thread_ts"], failed["reply_broadcast"]) == (start["ts"], True)


def test_the_parts_of_a_message_are_a_thread(slack: SlackPeer, bot: SlackHandler) -> None:
    """A long message continues in the thread, and only its first post is shown in the channel."""
    bot.send_message(MessageDetails("s", blocks=[SECTION] * 120))
    first, *others = slack.messages
    assert "thread_ts" not in first
    assert [each["thread_ts"] for each in others] == [first["ts"]] * 2
    bot.send_message(message_for(Kind.START, report()))
    bot.send_message(failure(blocks=[SECTION] * 60))
    assert [each.get("reply_broadcast") for each in slack.messages[-2:]] == [True, None]


@pytest.mark.parametrize("code", ["cannot_reply_to_message", "restricted_action_thread_locked", "thread_not_found"])
def test_a_thread_that_is_closed_is_left(slack: SlackPeer, bot: SlackHandler, code: str) -> None:
    """A message that Slack refuses in its thread starts a new thread."""
    bot.send_message(message_for(Kind.START, report()))
    slack.refuse("chat.postMessage", code)
    bot.send_message(failure())
    bot.send_message(MessageDetails("more", report=report()))
    _, failed, more = slack.messages
    assert "thread_ts" not in failed
    assert more["thread_ts"] == failed["ts"]


def test_progress_edits_one_message(slack: SlackPeer, bot: SlackHandler) -> None:
    """Progress edits one message, and the run's end is posted below it."""
    bot.send_message(message_for(Kind.START, report()))
    for done in range(1, 6):
        bot.send_message(progress(done, done))
    start, shown = slack.messages
    assert shown["thread_ts"] == start["ts"]
    assert shown["edits"] == 4
    assert "5 of 10 (50 %)" in shown["blocks"][0]["text"]["text"]
    bot.send_message(failure())
    assert slack.messages[-1]["thread_ts"] == start["ts"]


def test_progress_alone_is_the_thread(slack: SlackPeer, bot: SlackHandler) -> None:
    """A progress message can start the run's thread."""
    bot.send_message(progress(1))
    bot.send_message(progress(2, 1))
    bot.send_message(failure())
    shown, failed = slack.messages
    assert shown["edits"] == 1
    assert failed["thread_ts"] == shown["ts"]


@pytest.mark.parametrize("code", ["message_not_found", "cant_update_message", "edit_window_closed"])
def test_progress_that_cannot_be_edited_is_posted(slack: SlackPeer, bot: SlackHandler, code: str) -> None:
    """When the progress message cannot be edited, a new one is posted, and edited from then on."""
    bot.send_message(progress(1))
    slack.refuse("chat.update", code)
    bot.send_message(progress(2, 1))
    bot.send_message(progress(3, 2))
    assert [each["edits"] for each in slack.messages] == [0, 1]
    assert "3 of 10" in slack.messages[1]["text"]


def test_old_progress_does_not_cover_newer(slack: SlackPeer, bot: SlackHandler) -> None:
    """Progress that is older than the shown progress is not sent."""
    bot.send_message(progress(5, 5))
    bot.send_message(progress(2, 2))
    assert "5 of 10" in slack.messages[0]["text"]
    assert slack.calls == ["chat.postMessage"]


def test_progress_falls_back_to_text(slack: SlackPeer, bot: SlackHandler) -> None:
    """When blocks are refused in an edit, the message is edited to its text."""
    bot.send_message(progress(1))
    slack.refuse("chat.update", "invalid_blocks")
    bot.send_message(progress(2, 1))
    assert slack.messages[0]["blocks"] == []
    assert "2 of 10" in slack.messages[0]["text"]


def test_progress_that_fails_for_now_is_an_error(slack: SlackPeer, bot: SlackHandler) -> None:
    """When an edit fails for another reason, no new message is posted."""
    bot.send_message(progress(1))
    slack.refuse("chat.update", "internal_error")
    assert not refusal_of(bot, progress(2, 1)).permanent
    assert len(slack.messages) == 1


def test_threads_are_remembered_within_bounds(
    slack: SlackPeer, bot: SlackHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the newest threads are kept in memory; an older run starts a new one."""
    monkeypatch.setattr("supervisor.message_handlers._slack.senders.THREADS_AT_MOST", 2)
    for run in ("a", "b", "c"):
        bot.send_message(MessageDetails("s", report=report(id=run)))
    for run in ("a", "c"):
        bot.send_message(MessageDetails("s", report=report(id=run)))
    assert [each.get("thread_ts") for each in slack.messages[3:]] == [None, slack.messages[2]["ts"]]


@pytest.mark.parametrize("code", sorted(set(REMEDIES) - LOGIN_REFUSED - {"invalid_blocks", "invalid_blocks_format"}))
def test_lasting_refusals_give_their_remedy(slack: SlackPeer, bot: SlackHandler, code: str) -> None:
    """Errors that a person has to correct are permanent, with a remedy."""
    slack.refuse("chat.postMessage", code, times=2)
    error = refusal_of(bot)
    assert error.permanent
    assert f"{code}: {REMEDIES[code]}" in error.reason


@pytest.mark.parametrize("code", sorted(LOGIN_REFUSED))
def test_refused_logins_are_tried_hourly(slack: SlackPeer, bot: SlackHandler, code: str) -> None:
    """A wrong token and its like are temporary, once an hour, with a remedy."""
    slack.refuse("chat.postMessage", code)
    error = refusal_of(bot)
    assert (error.permanent, error.retry_after_s) == (False, 3600.0)
    assert f"{code}: {REMEDIES[code]}" in error.reason


@pytest.mark.parametrize(
    "code",
    ["ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout", "never_heard_of"],
)
def test_other_refusals_may_pass(slack: SlackPeer, bot: SlackHandler, code: str) -> None:
    """Slack's internal errors and unknown error codes are temporary."""
    slack.refuse("chat.postMessage", code)
    error = refusal_of(bot)
    assert not error.permanent
    assert code in error.reason
    assert len(slack.calls) == 1


def test_a_missing_scope_is_named(slack: SlackPeer, bot: SlackHandler) -> None:
    """The error names the scope that is needed."""
    slack.scopes = {"files:write"}
    assert "it needs chat:write, the token has files:write" in refusal_of(bot).reason


def test_a_wrong_token_is_tried_hourly_and_hidden(slack: SlackPeer) -> None:
    """The error for an unknown token does not quote it."""
    handler = SlackHandler(token=TOKEN + "x", channel="#ops", base_url=slack.base_url)
    error = refusal_of(handler)
    assert (error.permanent, error.retry_after_s) == (False, 3600.0)
    assert "invalid_auth: check the token" in error.reason


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (Answer(429, {"Retry-After": "30"}, {"ok": False, "error": "ratelimited"}), "429 Too Many Requests"),
        (Answer(500, body="oops"), "500 Internal Server Error"),
        (Answer(503, body={"ok": False, "error": "invalid_auth"}), "503 Service Unavailable"),
        (Answer(403, body="<html>proxy</html>"), "403 Forbidden"),
        (Answer(200, body="<html>please log in</html>"), "please log in"),
        (Answer(200, body=b""), "Slack"),
        (Answer(200, {"Content-Type": "text/plain; charset=utf-8"}, b"\xff\xfe"), "Slack could not be reached"),
        (Answer(drop=True), "Slack could not be reached"),
    ],
)
def test_troubles_on_the_way_are_temporary(slack: SlackPeer, bot: SlackHandler, answer: Answer, wanted: str) -> None:
    """Rate limits, 5xx, a proxy's HTML, invalid JSON and lost connections are temporary; Retry-After is passed on."""
    slack.plan("chat.postMessage", answer)
    began_s = time.monotonic()
    error = refusal_of(bot)
    assert time.monotonic() - began_s < 15
    assert not error.permanent
    assert wanted in error.reason
    assert error.retry_after_s == {429: 30.0, 403: 3600.0}.get(answer.status)
    assert slack.calls == ["chat.postMessage"]  # slack_sdk would have tried a lost connection again


@pytest.mark.parametrize("retry_after", ["soon", "-1", "nan", ""])
def test_a_wrong_retry_after_is_left_to_delivery(slack: SlackPeer, hook: SlackHandler, retry_after: str) -> None:
    """An invalid Retry-After is ignored."""
    slack.plan("webhook", Answer(429, {"Retry-After": retry_after}, "rate_limited"))
    assert refusal_of(hook).retry_after_s is None


@pytest.mark.parametrize("kind", ["hook", "bot"])
def test_a_hang_is_bounded(slack: SlackPeer, kind: str) -> None:
    """A server that does not respond is a temporary error after the timeout."""
    slack.plan("webhook" if kind == "hook" else "chat.postMessage", Answer(delay_s=60))
    settings: dict[str, Any] = (
        {"webhook_url": slack.webhook_url} if kind == "hook" else {"token": TOKEN, "channel": "c"}
    )
    began_s = time.monotonic()
    error = refusal_of(SlackHandler(**settings, base_url=slack.base_url, timeout_s=0.3))
    assert time.monotonic() - began_s < 15
    assert not error.permanent
    assert error.reason == "Slack could not be reached: it did not answer in time"


def test_a_refused_connection_is_temporary() -> None:
    """A refused connection is a temporary error."""
    for handler in (
        SlackHandler(webhook_url=f"{refused_url()}{HOOK}"),
        SlackHandler(token=TOKEN, channel="c", base_url=refused_url()),
    ):
        error = refusal_of(handler)
        assert not error.permanent
        assert "refused" in error.reason.lower()


def test_no_proxy_is_heeded(slack: SlackPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not used for what NO_PROXY names."""
    monkeypatch.setenv("HTTP_PROXY", refused_url())
    monkeypatch.setenv("HTTPS_PROXY", refused_url())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    SlackHandler(webhook_url=slack.webhook_url).send_message(MessageDetails("s"))
    SlackHandler(token=TOKEN, channel="ops", base_url=slack.base_url).send_message(MessageDetails("s"))
    assert len(slack.messages) == 2


def test_a_proxy_is_used(slack: SlackPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment carries the message."""
    monkeypatch.setenv("HTTP_PROXY", slack.http.url)
    slack.http.answers.append(Answer(body="ok"))
    SlackHandler(webhook_url=f"http://hooks.example{HOOK}").send_message(MessageDetails("s"))
    assert slack.http.requests[0].path == f"http://hooks.example{HOOK}"


# Files


def test_attachments_are_uploaded_into_the_thread(slack: SlackPeer, bot: SlackHandler, tmp_path: Path) -> None:
    """Files are uploaded into the message's thread, with a note about a missing one."""
    (tmp_path / "report.csv").write_text("a,b\n" * 1_000)
    (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"p" * 100)
    bot.send_message(message_for(Kind.START, report()))
    names = ("report.csv", "p.png", "gone.log")
    bot.send_message(MessageDetails("s", "t", [tmp_path / name for name in names], report=report()))
    assert [each["name"] for each in slack.files] == ["report.csv", "p.png"]
    assert {each["thread_ts"] for each in slack.files} == {slack.messages[0]["ts"]}
    assert slack.files[1]["content"] == (tmp_path / "p.png").read_bytes()
    assert "gone.log" in slack.files[0]["comment"]
    assert slack.calls.count("files.completeUploadExternal") == 1


def test_files_outside_of_runs_have_a_thread_too(slack: SlackPeer, bot: SlackHandler, tmp_path: Path) -> None:
    """A message outside of runs has its files below it."""
    (tmp_path / "a.txt").write_text("text " * 100)
    bot.send_message(MessageDetails("s", attachments=tmp_path / "a.txt"))
    assert slack.files[0]["thread_ts"] == slack.messages[0]["ts"]
    assert slack.files[0]["comment"] == ""


def test_what_cannot_be_packed_is_reported(slack: SlackPeer, bot: SlackHandler, tmp_path: Path) -> None:
    """When no attachment can be uploaded, the notes are posted in the thread."""
    (tmp_path / "empty.txt").touch()
    bot.send_message(MessageDetails("s", attachments=[tmp_path / "gone <!channel>.csv", tmp_path / "empty.txt"]))
    message, notes = slack.messages
    assert notes["thread_ts"] == message["ts"]
    assert "gone" in notes["text"]
    assert "empty.txt" in notes["text"]
    assert slack.pings == []
    assert slack.files == []


@pytest.mark.parametrize("at", ["files.getUploadURLExternal", "upload", "files.completeUploadExternal"])
@pytest.mark.parametrize(
    "answer",
    [
        Answer(429, {"Retry-After": "9"}, {"ok": False, "error": "ratelimited"}),
        Answer(500, body="oops"),
        Answer(drop=True),
    ],
)
def test_an_upload_that_fails_for_now_does_not_post_twice(
    slack: SlackPeer, bot: SlackHandler, tmp_path: Path, at: str, answer: Answer
) -> None:
    """The next attempt uploads only the missing files, and does not repeat the message."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + name.encode() * 100)
    details = MessageDetails("s", attachments=[tmp_path / "a.png", tmp_path / "b.png"])
    slack.plan(at, answer)
    error = refusal_of(bot, details)
    assert not error.permanent
    assert error.retry_after_s == (9.0 if answer.status == 429 else None)
    bot.send_message(details)
    assert slack.calls.count("chat.postMessage") == 1
    assert [each["name"] for each in slack.files] == ["a.png", "b.png"]
    assert slack.calls.count("upload") == (3 if at == "upload" else 2)


def test_uploads_that_slack_has_forgotten_are_sent_again(slack: SlackPeer, bot: SlackHandler, tmp_path: Path) -> None:
    """When Slack has dropped an uploaded file, the next attempt uploads it again."""
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"a" * 100)
    details = MessageDetails("s", attachments=tmp_path / "a.png")
    slack.refuse("files.completeUploadExternal", "file_not_found")
    assert not refusal_of(bot, details).permanent
    bot.send_message(details)
    assert slack.calls.count("upload") == 2
    assert len(slack.files) == 1
    assert len(slack.messages) == 1


def test_files_that_are_refused_for_good_are_reported(
    slack: SlackPeer, bot: SlackHandler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the scope for files, the message counts as sent; its thread and the log name the scope."""
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"a" * 100)
    slack.scopes = {"chat:write"}
    bot.send_message(MessageDetails("s", attachments=tmp_path / "a.png"))
    message, notes = slack.messages
    assert notes["thread_ts"] == message["ts"]
    assert "a.png is not attached" in notes["text"]
    assert "it needs files:write" in notes["text"]
    (record,) = [each for each in caplog.records if each.name == "supervisor"]
    assert record.levelno == logging.WARNING
    assert "missing_scope" in record.getMessage()
    assert TOKEN not in caplog.text


def test_a_bot_that_may_post_but_not_share_says_so(
    slack: SlackPeer, bot: SlackHandler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bot that may post but not share files, since it is not in the channel, posts a note."""
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"a" * 100)
    slack.is_member = False
    bot.send_message(MessageDetails("s", attachments=tmp_path / "a.png"))
    assert "/invite" in slack.messages[1]["text"]
    assert "not_in_channel" in caplog.text


def test_one_refused_file_does_not_keep_the_others(
    slack: SlackPeer, bot: SlackHandler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused file is noted with those that arrive."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + name.encode() * 100)
    slack.refuse("files.getUploadURLExternal", "file_type_not_allowed")
    bot.send_message(MessageDetails("s", attachments=[tmp_path / "a.png", tmp_path / "b.png"]))
    assert [each["name"] for each in slack.files] == ["b.png"]
    assert "a.png is not attached" in slack.files[0]["comment"]
    assert "file_type_not_allowed" in caplog.text


def test_notes_that_are_refused_do_not_undo_the_message(
    slack: SlackPeer, bot: SlackHandler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When the notes about files are refused permanently, the message still counts as sent."""
    slack.plan("chat.postMessage", Answer(body={"ok": True, "channel": CHANNEL, "ts": "1.1"}))
    slack.refuse("chat.postMessage", "is_archived")
    bot.send_message(MessageDetails("s", attachments=tmp_path / "gone.csv"))
    assert "is_archived" in caplog.text


def test_large_files_are_sent_in_bounded_memory(slack: SlackPeer, bot: SlackHandler, tmp_path: Path) -> None:
    """A file of 48 MB is never in memory as a whole on the handler's side."""
    path = tmp_path / "big.zip"
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(48 * 1024 * 1024)
    read_bytes = []

    def swallow(request: Any) -> Answer | None:
        if not request.path.startswith("/upload/"):
            return slack.answer(request)
        slack.uploads["F0"]["content"] = b""
        read_bytes.append(len(request.body))
        return Answer(body="OK")

    slack.http.rule = swallow
    bot.send_message(MessageDetails("warm up"))
    tracemalloc.start()
    try:
        bot.send_message(MessageDetails("s", attachments=path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read_bytes == [48 * 1024 * 1024]
    assert peak < read_bytes[0] + 24 * 1024 * 1024  # the peer, in this very process, holds the whole body


# Hostile text and secrets


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    subject=st.text(st.one_of(st.characters(), st.sampled_from("\ud800\0\r\n🚨<!channel>@here"))),
    message=st.text(st.one_of(st.characters(), st.sampled_from("\ud800\0\r\n🚨<!channel>@here")), max_size=3_000),
)
def test_hostile_text_arrives(slack: SlackPeer, hook: SlackHandler, subject: str, message: str) -> None:
    """Slack accepts any text at the first try, and no text notifies anybody."""
    slack.calls.clear()
    hook.send_message(MessageDetails(subject, message, report=report(values={subject: message[:1000]})))
    assert set(slack.calls) == {"webhook"}
    assert all("blocks" in each for each in slack.messages)
    assert slack.pings == []


def test_mentions_are_escaped(slack: SlackPeer, hook: SlackHandler, bot: SlackHandler) -> None:
    """Slack's own markup in a text notifies nobody, neither as blocks nor as text."""
    text = "<!channel> <!here|x> <@U123> @channel @here #general"
    for handler in (hook, bot):
        handler.send_message(MessageDetails(text, text))
        handler.send_message(MessageDetails(text, text, blocks=[BAD]))
    assert slack.pings == []
    assert "&lt;!channel&gt;" in slack.messages[0]["text"]


def test_a_body_of_10_mb_is_cut(slack: SlackPeer, bot: SlackHandler) -> None:
    """A huge text is cut with a note, and needs few posts."""
    bot.send_message(MessageDetails("s", "<log> & line\n" * 800_000))
    assert len(slack.messages) < 15
    assert "characters left out" in str(slack.messages)


def test_secrets_stay_out_of_logs(
    slack: SlackPeer, hook: SlackHandler, bot: SlackHandler, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even debug logs of the client library hold the token or the webhook's URL."""
    caplog.set_level(logging.DEBUG)
    slack.plan("webhook", Answer(body="ok"), Answer(drop=True))
    slack.plan("chat.postMessage", Answer(drop=True))
    hook.send_message(MessageDetails("s"))
    refusal_of(hook)
    refusal_of(bot)
    assert "secret" not in caplog.text


def test_an_answer_that_repeats_the_secret_is_redacted(slack: SlackPeer, hook: SlackHandler, bot: SlackHandler) -> None:
    """The error does not hold secrets that a response repeats."""
    slack.plan("webhook", Answer(404, body=f"nothing at {slack.webhook_url} ({HOOK})"))
    assert "***" in refusal_of(hook).reason
    slack.refuse("chat.postMessage", f"no_{TOKEN}")
    with pytest.raises(DeliveryError) as caught:
        bot.send_message(MessageDetails("s"))
    assert TOKEN not in str(caught.value)
