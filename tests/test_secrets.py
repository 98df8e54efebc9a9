"""What is secret in a run stays in it: real runs with a real journal and real handlers, and secrets planted all over.

Afterwards no secret, nor half of one, is in what the handlers sent, in any byte of the state directory, or in what
supervisor logged; and what stands around the secrets is still there.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from html import escape
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import scripts
from http_peers import http_peer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from planted import ALNUM, ANY_SECRET, WORD, Planted
from recorders import Recorder
from smtp_peers import MailServer
from unpacked import everything_in, found_in, layers

from supervisor import ConfigurationError, DeliveryError, Supervisor, current_run, supervise, supervised
from supervisor.message_handlers import EmailHandler, SendGridHandler, SlackHandler, WebhookHandler
from supervisor.models import Attachment, MessageDetails

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from http_peers import HttpPeer

API_KEY = "SG.abcdefghijklmnopqrstuv.0123456789-0123456789_0123456789-01234567890"
HOOK = "T0AB12CD3/B0AB12CD3/Xa1b2c3d4e5f6g7h8i9j0k1l2"
PASSWORD = "p&'w\"<ö>\\ /4mailer"
SIGNING_KEY = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"
CREDENTIALS = (API_KEY, HOOK.rpartition("/")[2], PASSWORD, SIGNING_KEY, "inTheQuery12")
PATTERNS = {"employee": r"\bEMP-(?P<secret>\d{6})\b"}
REAL_RUNS = settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes as long as a hundred runs
)


class Stubborn(Recorder):
    """Keeps what it gets, and refuses it with a reason that quotes whatever it is told to."""

    def __init__(self, name: str, reason: str = "no room", *, permanent: bool = False, **credentials: str) -> None:
        super().__init__(name)
        self.reason, self.permanent = reason, permanent
        vars(self).update(credentials)

    def send_message(self, details: MessageDetails, /) -> None:
        """Refuse one message."""
        super().send_message(details)
        raise DeliveryError(self.reason, permanent=self.permanent)


@attrs.define
class Peers:
    """Where the handlers send to."""

    http: HttpPeer
    mail: MailServer

    def handlers(self) -> tuple[Any, ...]:
        """Return one handler for each channel, with credentials of all kinds."""
        ops = {"from_address": "jobs@example.com", "to_addresses": "ops@example.com"}
        smtp: dict[str, Any] = {"smtp_server": "127.0.0.1", "smtp_port": self.mail.port, "security": "none"}
        return (
            EmailHandler(**smtp, **ops),
            SendGridHandler(api_key=API_KEY, host=self.http.url, **ops),
            SlackHandler(webhook_url=f"{self.http.url}/services/{HOOK}"),
            WebhookHandler(url=f"{self.http.url}/hook?t=inTheQuery12", secret=SIGNING_KEY),
            Stubborn("stubborn", password=PASSWORD),
        )

    def received(self) -> Iterator[str]:
        """Yield all that came in, in all its layers, and forget it; the credentials that headers need are left out."""
        requests, self.http.requests = self.http.requests, []
        arrived, self.mail.arrived = self.mail.arrived, []
        for request in requests:
            yield from layers(request.body)
        for mail in arrived:
            yield from layers(mail.source)


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    """Run a mail server and a web server that takes whatever comes."""
    with http_peer() as http, MailServer() as mail:
        http.answer(200, body="ok")
        yield Peers(http, mail)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the proxy of the machine that tests run on out of the way."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return what gives a folder of its own to each example, with a state directory in it."""
    count = 0

    def folder() -> Path:
        nonlocal count
        count += 1
        path = tmp_path / str(count)
        (path / "state").mkdir(parents=True)
        monkeypatch.setenv("SUPERVISOR_STATE", str(path / "state"))
        return path

    return folder


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Return what supervisor logs, formatted as a log file has it."""
    lines: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    logger, handler = logging.getLogger("supervisor"), Keeping()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def told_to(*recorders: Recorder) -> Iterator[str]:
    """Yield all that handlers of one's own got: the messages with all their fields, and their texts."""
    for details in (each for recorder in recorders for each in recorder.messages):
        yield from (str(attrs.asdict(details, recurse=False)), repr(details.report), details.message, details.subject)
        yield from (details.html or "", details.blocks_json or "", *(str(each) for each in details.parts))


PLACES = (
    *("exception", "key", "note", "cause", "group", "variable", "value", "value in a list", "value's name"),
    *("progress", "subject", "message", "html", "block", "attachment's name", "error in a thread", "thread's name"),
    *("log", "log in UTF-16", "log in a folder", "name in a folder", "argument", "logged"),
)


def around(place: str, text: str) -> str:
    """Return what is planted with harmless words before and behind it."""
    return f"harmless words before the {place}\n{text}\nharmless words behind the {place}"


def leave_files(folder: Path, texts: Mapping[str, str]) -> tuple[Path, ...]:
    """Write what the run attaches."""
    logs = folder / "logs"
    logs.mkdir()
    (folder / "plain.log").write_text(texts["log"], "utf-8")
    (folder / "utf16.log").write_text(texts["log in UTF-16"], "utf-16")
    (logs / "inner.log").write_text(texts["log in a folder"], "utf-8")
    return folder / "plain.log", folder / "utf16.log", logs


def script(texts: Mapping[str, str], files: Sequence[Path]) -> None:
    """Do what scripts do, with what was planted in each place, and fail."""
    run = current_run()
    assert run is not None
    run.progress(1, 2, texts["progress"])
    run.record(**{"said": texts["value"], texts["value's name"]: 3, "rows": 12, "list": ["a", texts["value in a list"]]})
    logging.getLogger("planted").warning("%s", texts["logged"])
    run.notify(
        texts["subject"],
        texts["message"],
        attachments=[*files[1:], Attachment(files[0], name=texts["attachment's name"])],
        html=f"<p>{escape(texts['html'])}</p>",
        blocks=[{"type": "section", "text": {"type": "mrkdwn", "text": texts["block"]}}],
    )
    aside = threading.Thread(target=fail, args=(ValueError(texts["error in a thread"]),), name=texts["thread's name"])
    aside.start()
    aside.join()
    variable = texts["variable"]
    error = ValueError(texts["exception"])
    error.add_note(texts["note"])
    error.__cause__ = LookupError(texts["cause"])
    assert variable
    raise ExceptionGroup(texts["group"], [error, KeyError(texts["key"])])


def fail(error: Exception) -> None:
    """Raise it."""
    raise error


@REAL_RUNS
@given(st.lists(ANY_SECRET, min_size=len(PLACES), max_size=len(PLACES)), WORD)
def test_planted_secrets_stay_in_the_run(
    fresh: Any, peers: Peers, log: list[str], monkeypatch: pytest.MonkeyPatch, planted: list[Planted], word: str
) -> None:
    """Wherever in a run a secret is, nobody is sent it, and no journal, kept copy, own log or log line has it."""
    folder = fresh()
    texts = {place: around(place, text) for place, (text, _) in zip(PLACES, planted, strict=True)}
    files = leave_files(folder, texts)
    monkeypatch.setattr(sys, "argv", ["/srv/load.py", texts["argument"], "--password", word])
    log.clear()
    recorder = Recorder()
    handlers = (*peers.handlers(), recorder)
    options: dict[str, Any] = {"handlers": handlers, "log_path": files[0], "capture_logs": "planted"}
    with pytest.raises(ExceptionGroup):  # noqa: SIM117, PT012 - the run is what is tested
        with supervise("planted", report_on=["start"], show_locals=True, delivery_deadline_s=30, **options):
            script(texts, files)
    assert [each.kind for each in recorder.messages] == ["start", "notice", "failure", "failure"]

    secrets = [word, *(secret for _, secret in planted), *CREDENTIALS]
    received = list(peers.received())
    assert not found_in(received, secrets)
    assert not found_in(everything_in(folder / "state"), secrets)
    assert not found_in(told_to(recorder), secrets)
    assert not found_in(log, secrets)

    everything = "\n".join(received)
    for place in set(PLACES) - {"name in a folder"}:
        assert f"harmless words before the {place}" in everything
