"""Messages that mean harm, from ``run.notify()`` through every handler to a real server: nothing leaves its place.

Line breaks make no headers, half characters and NUL arrive nowhere, HTML is text, and what is too long is cut with a
note.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata
import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import pytest
from http_channels import other_handlers, takes_all
from http_peers import Request, http_peer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorders import Recorder
from slack_peers import problem_with, slack_peer, texts_of
from smtp_peers import MailServer

from supervisor import supervise
from supervisor.message_handlers import (
    AppriseHandler,
    ConsoleHandler,
    EmailHandler,
    HealthchecksHandler,
    SendGridHandler,
    SlackHandler,
    WebhookHandler,
)
from supervisor.models import MessageDetails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from http_peers import HttpPeer
    from slack_peers import SlackPeer

    Fresh: TypeAlias = Callable[[], Path]

SUBJECTS = {
    "line breaks": "Alert\r\nBcc: evil@example.com\r\nX-Evil: 1\n\n<html>body",
    "odd line breaks": "Alert\u2028Bcc: evil@example.com\x85X-Evil: 1\x0b\x0cX-Evil: 2",
    "NUL": "before\0behind",
    "emoji": "👩\u200d🚀 raketa 🚀 naïve 漢字",
    "long": "long " * 2_000,
    "long word": "x" * 10_000,
    "long and on and on": "word " * 2_000_000,
    "half characters": "half \udcff of \ud83d two",
    "HTML": "<script>alert(1)</script><b>&amp;",
    "escapes": "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "mentions": "<!channel> <@U123> @here",
    "nothing": "",
    "blank": " \r\n\t ",
    "encoded word": "=?utf-8?b?QmNjOiBldmlsQGV4YW1wbGUuY29t?=",
}
BODIES = {
    "10 MB": "a row of ten million characters\n" * 330_000,
    "10 MB in a line": "x" * 10_000_000,
    "half characters": "half \udcff of \ud83d two\nnext",
    "HTML": "<script>alert(1)</script>\n<img src=x onerror=alert(1)>\n</body></html>{{ 7*7 }}{% raw %}",
    "line breaks": "one\r\ntwo\rthree\n.\r\n.\nQUIT\r\n\r\nBcc: evil@example.com",
    "control characters": "a\0b\x1b[31mc\x07d\x08e",
    "mentions": "<!channel> <@U123> @here <https://example.com|click>",
    "a mail": "--===============1==\r\nContent-Type: text/html\r\n\r\n<b>x</b>",
    "nothing": "",
}
EMAIL_HEADERS = {
    *("From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted"),
    *("X-Auto-Response-Suppress", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Importance"),
    *("X-Priority", "Precedence", "X-Mailer", "List-Id"),
}
CHECKED_HERE = {"apprise", "healthchecks", "sendgrid", "slack", "webhook"}
"""Handlers that are held here to more than taking each message; all others take part by ``CHANNELS`` of their tests."""
pytest.importorskip("slack_sdk")
apprise = pytest.importorskip("apprise")
CHECK = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
API_KEY = "SG.abcdefghijklmnopqrstuv.0123456789-0123456789_0123456789-01234567890"


@attrs.define
class World:
    """A server for each channel, and handlers that send to them."""

    http: HttpPeer
    slack: SlackPeer
    mail: MailServer
    console: io.StringIO

    def send(self, subject: str, message: str, **extras: Any) -> None:
        """Send one message through all handlers; each must take it."""
        self.http.requests, self.slack.messages, self.mail.arrived = [], [], []
        self.console = io.StringIO()
        recorder = Recorder()
        with supervise("hostile", handlers=[*self._handlers(), recorder]) as run:
            run.notify(subject, message, **extras)
        assert len(recorder.messages) == 1
        assert len(self.mail.arrived) == 1
        paths = {each.path.partition("/")[2].partition("/")[0] for each in self.http.requests}
        assert paths - {"others"} == {"v3", "hook", "apprise", CHECK}
        assert self.slack.messages

    def _handlers(self) -> tuple[Any, ...]:
        ops: dict[str, Any] = {"from_address": "jobs@example.com", "to_addresses": "ops@example.com"}
        smtp: dict[str, Any] = {"smtp_server": "127.0.0.1", "smtp_port": self.mail.port, "security": "none"}
        return (
            EmailHandler(**smtp, **ops),
            SendGridHandler(api_key=API_KEY, host=self.http.url, **ops),
            SlackHandler(webhook_url=self.slack.webhook_url),
            WebhookHandler(url=f"{self.http.url}/hook", headers={"X-Env": "test"}),
            HealthchecksHandler(uuid=CHECK, host=self.http.url, kinds=["notice"]),
            AppriseHandler(urls=[self.http.url.replace("http", "json") + "/apprise"]),
            ConsoleHandler(stream=self.console),
            *other_handlers(CHECKED_HERE, f"{self.http.url}"),
        )

    def request(self, start: str) -> Request:
        """Return the one request to a path."""
        (found,) = (each for each in self.http.requests if each.path.startswith(f"/{start}"))
        return found


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Run the servers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of apprise's plugins some use what Python deprecates
        apprise.Apprise.instantiate("json://localhost")
    with http_peer(takes_all) as http, slack_peer() as slack, MailServer() as mail:
        http.answer(200, body="OK")
        yield World(http, slack, mail, io.StringIO())


def check_mail(world: World) -> tuple[str, str]:
    """Check that a mail has the headers that it should have and no other; return its subject and text."""
    (arrived,) = world.mail.arrived
    assert arrived.recipients == ["ops@example.com"]
    assert set(arrived.mail.keys()) <= EMAIL_HEADERS, arrived.mail.keys()
    assert len(arrived.mail.keys()) == len(set(arrived.mail.keys()))
    assert arrived.mail["To"] == "ops@example.com"
    assert max(map(len, arrived.source.split(b"\r\n"))) <= 998  # https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1
    assert b"\0" not in arrived.source
    subject = str(arrived.mail["Subject"])
    assert is_one_line(subject)
    assert "<script" not in arrived.html
    assert "<img" not in arrived.html
    return subject, arrived.text


def check_sendgrid(world: World) -> tuple[str, str]:
    """Check a request to SendGrid; return the mail's subject and text."""
    mail = world.request("v3").json
    assert set(mail) == {"personalizations", "from", "subject", "content", "headers", "custom_args"}
    assert mail["personalizations"] == [{"to": [{"email": "ops@example.com"}]}]
    assert set(mail["headers"]) == {"Auto-Submitted", "References", "In-Reply-To"}
    text, html = mail["content"]
    assert text["value"]
    assert "<script" not in html["value"]
    assert "<img" not in html["value"]
    assert is_one_line(mail["subject"])
    return mail["subject"], text["value"]


def check_slack(world: World) -> str:
    """Check what came to the channel; return all that it says."""
    for each in world.slack.messages:
        assert not problem_with(each.get("blocks", []))
        # Slack takes what is no mrkdwn as it is: https://docs.slack.dev/reference/block-kit/composition-objects/text-object
        marked = [text["text"] for text in texts_of(each.get("blocks")) if text["type"] == "mrkdwn"]
        assert "<script" not in "\n".join([*marked, each["text"]])
    assert not world.slack.pings
    return "\n".join(json.dumps(each, ensure_ascii=False) for each in world.slack.messages)


def check_others(world: World) -> dict[str, Any]:
    """Check the ping and the console; return the webhook's document."""
    hook = world.request("hook")
    assert hook.headers["X-Env"] == "test"
    assert not set(map(str.lower, hook.headers)) - {
        *("host", "accept-encoding", "content-length", "content-type", "user-agent", "x-env", "webhook-id"),
        *("webhook-timestamp", "accept"),
    }
    for document in (each.json for each in world.http.requests if each.path.startswith("/apprise")):
        assert is_one_line(document["title"])
        assert document["message"]
    assert len(world.request(CHECK).body) <= 100_000
    world.request(CHECK).body.decode()
    for line in world.console.getvalue().splitlines():
        assert is_shown(line), line
    sent: dict[str, Any] = hook.json
    return sent


def is_one_line(text: str) -> bool:
    """Tell whether a text is one line that can be encoded, of the length of a headline."""
    return len(text) <= 250 and len(text.splitlines()) <= 1 and is_shown(text)


def is_shown(text: str) -> bool:
    """Tell whether nothing in a text controls a terminal, and all of it can be encoded."""
    return not any(unicodedata.category(c) in {"Cc", "Cs"} for c in text)


@pytest.mark.parametrize("which", SUBJECTS)
def test_subjects(world: World, which: str) -> None:
    """A subject stays one line in its own place, whatever is in it."""
    world.send(SUBJECTS[which], "the text")
    subject, text = check_mail(world)
    other, other_text = check_sendgrid(world)
    channel, document = check_slack(world), check_others(world)
    assert document["message"] == "the text"
    assert "\0" not in document["subject"]
    assert len(world.request("hook").body) < 1_000_000
    for each in (text, other_text, channel):
        assert "the text" in each
    if which.startswith("long"):
        for short, whole in ((subject, text), (other, other_text)):
            assert short.endswith("…")
            assert SUBJECTS[which].strip()[:300] in " ".join(whole.split())
    if which in {"emoji", "HTML"}:
        assert {subject, other, document["subject"]} == {SUBJECTS[which]}


@pytest.mark.parametrize("which", BODIES)
def test_bodies(world: World, which: str) -> None:
    """A text stays a text, whatever is in it; of what is too long the middle is left out, and the rest says so."""
    world.send("the subject", BODIES[which])
    subject, text = check_mail(world)
    other, other_text = check_sendgrid(world)
    channel, document = check_slack(world), check_others(world)
    assert subject == other == document["subject"] == "the subject"
    if which.startswith("10 MB"):
        for each in (text, other_text, channel, document["message"]):
            assert re.search(r"\[\.\.\. [\d,]+ characters left out \.\.\.\]|left out", each)
            assert len(each) < 2_000_000
    if which == "HTML":
        assert "<script>alert(1)</script>" in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in world.mail.arrived[0].html
        assert "{{ 7*7 }}" in world.mail.arrived[0].html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in channel
    if which == "line breaks":
        assert [each for each in text.splitlines() if each in {".", "QUIT"}] == [".", ".", "QUIT"]
    if which == "half characters":
        assert "half \ufffd of \ufffd two" in document["message"]


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.text(st.characters() | st.sampled_from("\r\n\0\u2028\x85<>&;,:@\ud83d"), max_size=60),
    st.text(st.characters() | st.sampled_from("\r\n\0.<>&\ud83d"), max_size=300),
)
def test_any_text(fresh: Fresh, world: World, subject: str, text: str) -> None:
    """Whatever the characters are, every channel takes the message, and nothing but the message."""
    fresh()
    world.send(subject, text)
    check_mail(world)
    check_sendgrid(world)
    check_slack(world)
    check_others(world)


@pytest.mark.parametrize("where", ["exception", "note", "value", "progress", "name", "local variable"])
def test_hostile_runs(world: World, where: str) -> None:
    """What is in a run is text as well, in the messages that supervisor itself composes."""
    hostile = "</td><script>alert(1)</script>\r\nBcc: evil@example.com\r\n\0 <!channel> \udcff {{ 7*7 }}"
    world.http.requests, world.slack.messages, world.mail.arrived = [], [], []
    name = hostile if where == "name" else "hostile"
    handlers = [each for each in world._handlers() if not isinstance(each, HealthchecksHandler)]

    def fail(run: Any) -> None:
        held = hostile if where == "local variable" else ""
        run.record(said=hostile if where == "value" else held)
        run.progress(1, 2, hostile if where == "progress" else "")
        error = ValueError(hostile if where == "exception" else "x")
        error.add_note(hostile if where == "note" else "x")
        raise error

    with pytest.raises(ValueError), supervise(name, handlers=handlers, show_locals=True) as run:
        fail(run)
    subject, _ = check_mail(world)
    assert "failed on" in subject
    mail = world.request("v3").json
    assert "<script" not in mail["content"][1]["value"]
    assert is_one_line(mail["subject"])
    check_slack(world)
    assert world.request("hook").json["kind"] == "failure"
    everything = [world.mail.arrived[0].html, mail["content"][1]["value"]]
    assert all("&lt;script&gt;" in each and "{{ 7*7 }}" in each for each in everything)


@pytest.mark.parametrize("message", [MessageDetails("x" * 10_000, "y" * 10_000_000, html="<b>" + "z" * 10_000_000)])
def test_whole_messages_are_cut_too(world: World, message: MessageDetails) -> None:
    """So is what a script writes as a whole ``MessageDetails``, with its own HTML."""
    world.send(message, "")  # type: ignore[arg-type] # as notify takes it
    _, text = check_mail(world)
    assert "left out" in text
    assert len(world.mail.arrived[0].source) < 10_000_000
    assert len(world.request("v3").body) < 10_000_000
    assert len(world.request("hook").body) < 1_000_000
