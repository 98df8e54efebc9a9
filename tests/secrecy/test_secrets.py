"""What is secret in a run stays in it: real runs with a real journal and real handlers, and secrets planted all over.

Afterwards no secret, nor half of one, is in what the handlers sent, in any byte of the state directory, or in what
supervisor logged; and what stands around the secrets is still there.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
from base64 import b64encode
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

import attrs
import pytest
import scripts
from http_channels import other_handlers, takes_all
from http_peers import http_peer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from planted import ANY_SECRET, WORD, Planted
from recorders import Recorder
from smtp_peers import MailServer
from unpacked import everything_in, found_in, layers
from waiting import wait_until

from supervisor import (
    ConfigurationError,
    DeliveryError,
    Supervisor,
    current_run,
    supervise,
    supervised,
)
from supervisor._attachments import packed
from supervisor._redaction import REDACTED
from supervisor.message_handlers import EmailHandler, SendGridHandler, SlackHandler, WebhookHandler
from supervisor.models import Attachment, MessageDetails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from http_peers import HttpPeer

    Fresh: TypeAlias = Callable[[], Path]

pytest.importorskip("slack_sdk")  # one of the channels
API_KEY = "SG.abcdefghijklmnopqrstuv.0123456789-0123456789_0123456789-01234567890"
HOOK = "T0AB12CD3/B0AB12CD3/Xa1b2c3d4e5f6g7h8i9j0k1l2"
PASSWORD = "p&'w\"<ö>\\ /4mailer"
SIGNING_KEY = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"
CREDENTIALS = (API_KEY, HOOK.rpartition("/")[2], PASSWORD, SIGNING_KEY, "inTheQuery12")
HIDDEN = "xQ12345678"
PATTERNS = {"employee": r"\bEMP-(?P<secret>\d{6})\b"}
REAL_RUNS = settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes as long as a hundred runs
)


class Stubborn(Recorder):
    """Keeps what it gets, and refuses it with a reason that quotes whatever it is told to; its name is shown."""

    def __init__(self, name: str, reason: str = "no room", *, permanent: bool = False, **credentials: str) -> None:
        super().__init__(name)
        self.reason, self.permanent = reason, permanent
        vars(self).update(credentials)

    def __repr__(self) -> str:
        return f"<Stubborn {self.name}>"

    def send_message(self, details: MessageDetails, /) -> None:
        """Refuse one message."""
        super().send_message(details)
        raise DeliveryError(self.reason, permanent=self.permanent, retry_after_s=86_400)


@attrs.define
class Peers:
    """Where the handlers send to."""

    http: HttpPeer
    mail: MailServer

    def handlers(self) -> tuple[Any, ...]:
        """Return one handler for each channel, with credentials of all kinds."""
        ops: dict[str, Any] = {"from_address": "jobs@example.com", "to_addresses": "ops@example.com"}
        smtp: dict[str, Any] = {"smtp_server": "127.0.0.1", "smtp_port": self.mail.port, "security": "none"}
        return (
            EmailHandler(**smtp, **ops),
            SendGridHandler(api_key=API_KEY, host=self.http.url, **ops),
            SlackHandler(webhook_url=f"{self.http.url}/services/{HOOK}"),
            WebhookHandler(url=f"{self.http.url}/hook?t=inTheQuery12", secret=SIGNING_KEY),
            *other_handlers({"apprise", "healthchecks", "sendgrid", "slack", "webhook"}, f"{self.http.url}"),
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
    with http_peer(takes_all) as http, MailServer() as mail:
        http.answer(200, body="ok")
        yield Peers(http, mail)


def texts_for(*recorders: Recorder) -> Iterator[str]:
    """Yield all that handlers of one's own got: the messages with all their fields, and their texts."""
    for details in (each for recorder in recorders for each in recorder.messages):
        yield from (str(attrs.asdict(details, recurse=False)), repr(details.report), details.message, details.subject)
        yield from (details.html or "", details.blocks_json or "", *(str(each) for each in details.parts))


PLACES = (
    *("exception", "key", "note", "cause", "group", "variable", "value", "value in a list", "value's name"),
    *("progress", "subject", "message", "html", "block", "attachment's name", "error in a thread", "thread's name"),
    *("log", "log in UTF-16", "log in a folder", "argument", "logged"),
)


@contextmanager
def _without_hook() -> Iterator[None]:
    """Keep pytest from counting the exception that is planted in a thread."""
    found, threading.excepthook = threading.excepthook, lambda _: None
    try:
        yield
    finally:
        threading.excepthook = found


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
    values = {"said": texts["value"], texts["value's name"]: 3, "rows": 12, "list": ["a", texts["value in a list"]]}
    run.record(**values)
    del values
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # one is planted
@REAL_RUNS
@given(st.lists(ANY_SECRET, min_size=len(PLACES), max_size=len(PLACES)), WORD)
def test_planted_secrets_stay_in_the_run(
    fresh: Fresh, peers: Peers, lines: list[str], planted: list[Planted], word: str
) -> None:
    """Wherever in a run a secret is, nobody is sent it, and no journal, kept copy, own log or log line has it."""
    folder = fresh()
    texts = {place: around(place, text) for place, (text, _) in zip(PLACES, planted, strict=True)}
    files = leave_files(folder, texts)
    sys.argv = ["/srv/load.py", texts["argument"], "--password", word]  # it is put back by the fixture ``lines``
    lines.clear()
    recorder = Recorder()
    handlers = (*peers.handlers(), recorder)
    options: dict[str, Any] = {"handlers": handlers, "log_path": files[0], "capture_logs": "planted"}
    # Decorated, since the variables of this test would be told too, and the secrets are in them as they are.
    main = supervised("planted", report_on=["start"], show_locals=True, **options)(script)
    with pytest.raises(ExceptionGroup):
        main(texts, files)
    assert [each.kind for each in recorder.messages] == ["start", "notice", "failure", "failure"]

    secrets = [word, *(secret for _, secret in planted), *CREDENTIALS]
    received = list(peers.received())
    assert not found_in(received, secrets)
    assert not found_in(everything_in(folder / "state"), secrets)
    assert not found_in(texts_for(recorder), secrets)
    assert not found_in(lines, secrets)

    everything = "\n".join(received)
    for place in PLACES:
        assert f"harmless words before the {place}" in everything


def test_what_is_switched_off_stays_in(fresh: Fresh, peers: Peers, lines: list[str]) -> None:
    """With all of it off the same run tells every secret, so the test above would see one that came through."""
    folder = fresh()
    planted = {place: f"password=xQ{number:02}Unhidden7kQ" for number, place in enumerate(PLACES)}
    texts = {place: around(place, text) for place, text in planted.items()}
    files = leave_files(folder, texts)
    sys.argv = ["/srv/load.py", texts["argument"]]
    recorder = Recorder()
    options: dict[str, Any] = {"handlers": (*peers.handlers(), recorder), "log_path": files[0]}
    with pytest.raises(ExceptionGroup), _without_hook():
        supervised(redact_off=REDACTED, capture_logs="planted", show_locals=True, **options)(script)(texts, files)

    secrets = {place: text.partition("=")[2] for place, text in planted.items()}
    everywhere = {*secrets.values()}
    assert {*found_in(peers.received(), everywhere)} == everywhere
    assert {*found_in(everything_in(folder / "state"), everywhere)} == everywhere
    in_files = {secrets[place] for place in PLACES if place.startswith("log")}
    assert {*found_in(texts_for(recorder), everywhere)} >= everywhere - in_files
    assert {*found_in(lines, everywhere)} >= {secrets[place] for place in ("progress", "subject", "group")}


def test_one_kind_can_be_left_in(recorder: Recorder, state: Path) -> None:
    """What is switched off stays as it is, everywhere; the rest goes."""
    with pytest.raises(ValueError, match="failed"), supervise("x", handlers=[recorder], redact_off="cookie") as run:
        run.record(cookie="theme=dark7kQ", password="xQ12345678")
        raise ValueError("failed, Cookie: sid=xQabc123, password=xQ12345678")
    texts = "\n".join(texts_for(recorder))
    assert "Cookie: sid=xQabc123" in texts
    assert "theme=dark7kQ" in texts
    assert not found_in([texts, *everything_in(state)], ["xQ12345678"])


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_credentials_of_handlers_are_secret_wherever_they_are(
    fresh: Fresh, peers: Peers, lines: list[str], credential: str
) -> None:
    """A credential of any handler stays in, in each way in which it may be written: in the reason of a refusal too."""
    folder = fresh()
    written = {
        *(credential, escape(credential), quote(credential), quote(credential, safe=""), repr(credential)),
        *(json.dumps(credential), b64encode(credential.encode()).decode(), str(Markup.escape(credential))),
        *(credential.replace('"', '""'), repr([credential, "'"]), repr({"a": f'"{credential}"'})),
    }
    reasons = [Stubborn(f"no. {n}", f"the server said {each}") for n, each in enumerate(sorted(written))]
    recorder = Recorder()
    with pytest.raises(ValueError, match="failed"):  # noqa: SIM117 - one of them tests the other
        with supervise("x", handlers=[*peers.handlers(), recorder, *reasons]) as run:
            for each in sorted(written):
                run.notify(f"subject {each}", f"text {each}", html=f"<p>{each}</p>")
            run.record(said=sorted(written))
            raise ValueError(f"failed with {sorted(written)}")
    seen = [*peers.received(), *everything_in(folder / "state"), *texts_for(recorder), *lines]
    assert not found_in(seen, written)
    assert len(recorder.messages) == len(written) + 1


def test_the_reasons_of_refusals_are_redacted_as_the_run_is(state: Path, lines: list[str]) -> None:
    """What a user's own pattern finds is in no reason either; what is switched off stays."""
    reason = "EMP-123456 has no account, Cookie: sid=xQabc123"
    handlers = [Stubborn("for good", reason, permanent=True), Stubborn("for now", reason)]
    with supervise("x", handlers=handlers, redact_patterns=PATTERNS, redact_off="cookie") as run:
        run.notify("hello")
    texts = "\n".join([*lines, *everything_in(state)])
    assert "EMP-[redacted: employee] has no account, Cookie: sid=xQabc123" in texts
    assert "123456" not in texts


def test_what_a_users_pattern_finds_stays_in_the_run(fresh: Fresh, peers: Peers, lines: list[str]) -> None:
    """In every place; of a pattern with a group named secret only that goes."""
    folder = fresh()
    texts = {place: around(place, f"of EMP-{100_000 + number}") for number, place in enumerate(PLACES)}
    files = leave_files(folder, texts)
    options: dict[str, Any] = {"handlers": peers.handlers(), "log_path": files[0], "redact_patterns": PATTERNS}
    with pytest.raises(ExceptionGroup), _without_hook():
        supervised(show_locals=True, capture_logs="planted", **options)(script)(texts, files)
    received = list(peers.received())
    secrets = [str(100_000 + number) for number in range(len(PLACES))]
    seen = "\n".join([*received, *everything_in(folder / "state"), *lines])
    assert not [each for each in secrets if f"EMP-{each}" in seen or f" {each}" in seen]
    assert "EMP-[redacted: employee]" in "".join(received)


HARMLESS = st.lists(
    st.sampled_from(
        """loaded
        12,345 parcels
        in 41 s
        token expired
        the password was wrong
        passwords are checked
        https://example.com/path?x=1
        C:\\data\\roads.gdb
        author: Scott
        key: parcel_id
        sort key
        50 %
        secretary
        primary_key=objectid
        the session ended
        signature of 3 arguments
        <b>bold</b>
        ü€😀
        password_file=/etc/pw
        2026-01-31T02:00:00+00:00
        monkey=7
        tokens: 512
        row 7: {'id': 5}
        *Password:* must be set
        x &gt; 5 &amp;&amp; y &lt; 7""".splitlines()
    ).map(str.strip)
    | st.just("\n"),
    min_size=1,
    max_size=12,
).map(" ".join)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(HARMLESS, HARMLESS)
def test_harmless_words_stay(fresh: Fresh, subject: str, text: str) -> None:
    """What only speaks of secrets comes out as it went in."""
    fresh()
    recorder = Recorder()
    with pytest.raises(ValueError, match=re.escape(text)), supervise(handlers=[recorder]) as run:
        run.notify(subject, text)
        run.record(note=text)
        run.progress(1, 2, text)
        raise ValueError(text)
    notice, failure = recorder.messages
    assert (notice.subject, notice.message) == (subject, text)
    assert failure.report is not None
    assert failure.report.error is not None
    assert failure.report.error.message == text
    assert failure.report.values["note"] == text
    assert failure.report.progress is not None
    assert failure.report.progress.message == text


def test_the_command_line_of_a_process(fresh: Fresh, tmp_path: Path) -> None:
    """What stands behind an option for a secret, and in a URL, is not in the journal, nor with the messages."""
    folder = fresh()
    body = "with supervise('x', handlers=[recorder], journal=True) as run:\n    run.notify('hello')\n    1 / 0\n"
    path, received = scripts.write(tmp_path, body)
    arguments = ["--password", "xQ12345678", "--api-key=xQ87654321", "--county", "Weber", "ftp://me:xQabcdefgh@host/"]
    environment = scripts.bare_environment(SUPERVISOR_CONFIG=os.devnull)
    ended = subprocess.run([sys.executable, str(path), *arguments], env=environment, capture_output=True, check=False)
    assert ended.returncode == 1, ended.stderr
    everything = "\n".join([received.read_text("utf-8"), *everything_in(folder / "state")])
    assert not found_in([everything], ["xQ12345678", "xQ87654321", "xQabcdefgh"])
    for harmless in ("--county", "Weber", "ftp://me:", "@host/"):
        assert harmless in everything


# Places that are easily forgotten


def test_the_name_of_a_run(state: Path, recorder: Recorder, lines: list[str]) -> None:
    """A name that was made of a URL keeps its password to itself: in subjects, the journal, its log's path, the log."""
    name = f"load postgresql://scott:{HIDDEN}@db/parcels"
    for _ in range(2):
        with supervise(name, handlers=[recorder], report_on="success", capture_logs=True) as run:
            assert run.name == "load postgresql://scott:[redacted: url_password]@db/parcels"
    texts = "\n".join([*texts_for(recorder), *everything_in(state), *lines])
    assert not found_in([texts], [HIDDEN])
    assert run.name in texts


@pytest.mark.parametrize("name", [API_KEY, "password=xQ12345678", "mailer of mine 5"])
def test_the_names_of_values(state: Path, recorder: Recorder, name: str) -> None:
    """A secret that is the name of a number is one all the same."""
    mailer = Stubborn("x", password="mailer of mine 5")
    with supervise("x", handlers=[recorder, mailer], report_on="success") as run:
        run.record(**{name: 5, "rows": 7})
    assert not found_in([*texts_for(recorder), *everything_in(state)], [name.removeprefix("password=")])
    assert recorder.only.report is not None
    assert 7 in recorder.only.report.values.values()


@pytest.mark.parametrize("who", ["outer", "inner", "before"])
def test_credentials_of_other_runs_of_the_process(state: Path, lines: list[str], who: str) -> None:
    """A run keeps the credentials of the handlers of runs around it, within it and before it, whoever told of it."""
    handlers = {who: [Stubborn("x", password=PASSWORD)]}
    with supervise("before", handlers=handlers.get("before")):
        pass
    with pytest.raises(ValueError, match="no login"):  # noqa: SIM117 - nested on purpose
        with supervise("outer", handlers=handlers.get("outer")):
            with supervise("inner", handlers=handlers.get("inner")):
                raise ValueError(f"no login with {PASSWORD}")
    assert not found_in([*everything_in(state), *lines], [PASSWORD])


def test_patterns_hold_for_inner_runs_too(state: Path) -> None:
    """What the settings of a run take out is taken out of what runs within it keep."""
    with pytest.raises(ValueError, match="EMP-123456"):  # noqa: SIM117 - nested on purpose
        with supervise("outer", redact_patterns=PATTERNS):
            with supervise("inner"):
                raise ValueError("no account for EMP-123456")
    texts = "\n".join(everything_in(state))
    assert "EMP-[redacted: employee]" in texts
    assert not found_in([texts], ["EMP-123456"])


def test_the_subjects_of_what_is_held_back(state: Path, recorder: Recorder) -> None:
    """Secrets are taken out before long subjects are cut: of half a secret nothing tells that it is one."""
    recorder.password = PASSWORD * 3  # type: ignore[attr-defined] # as a handler of one's own has it
    with supervise("x", handlers=[recorder]) as run:
        for _ in range(510):
            run.notify(f"{'loaded ' * 26}{PASSWORD * 3}")
        for _ in range(3):
            run.notify(MessageDetails("written whole", "a text that nobody gets"))
    last = recorder.messages[-1]
    assert "held back" in last.subject
    assert "loaded loaded" in last.message
    assert "written whole" in last.message
    assert "a text that nobody gets" not in last.message
    assert not found_in([last.message], [PASSWORD[:12]])


def test_attachments_that_an_earlier_run_left(fresh: Fresh, tmp_path: Path) -> None:
    """What a killed run left is redacted with the patterns of the run that delivers it: it is of the same script."""
    folder = fresh()
    log = tmp_path / "x.log"
    log.write_text("no account for EMP-123456\n", "utf-8")
    body = f"""
    run = supervise("x", handlers=[recorder], redact_patterns={PATTERNS!r}, delivery_deadline_s=0)
    recorder.send_message = lambda details: __import__("time").sleep(60)
    run.__enter__()
    run.notify("hello", "text", attachments={str(log)!r})
    ready()
    __import__("time").sleep(60)
    """
    script = scripts.Script(tmp_path, body)
    script.wait_until_ready()
    script.process.kill()
    script.end()
    seen: list[str] = []

    class Packing(Recorder):
        def send_message(self, details: MessageDetails, /) -> None:
            with packed(details.attachments, limit_bytes=1_000_000) as attached:
                seen.extend(text for part in attached.parts for text in layers(part.path.read_bytes()))
            super().send_message(details)

    later = Packing("file")
    later.kinds = ["notice"]
    with supervise("x", handlers=[later], redact_patterns=PATTERNS):
        pass
    assert later.subjects == ["hello"], list(everything_in(folder / "state"))
    assert "no account for EMP-[redacted: employee]\n" in seen


def test_what_cannot_be_attached_costs_no_message(state: Path, recorder: Recorder, lines: list[str]) -> None:
    """A run that attaches what is no path tells of its failure all the same, and nothing of what it was."""
    with pytest.raises(ValueError, match="failed"), supervise("x", handlers=[recorder]) as run:
        run.attach(Stubborn(f"password={HIDDEN}"))  # type: ignore[arg-type] # the mistake
        raise ValueError("failed")
    assert recorder.received == ["failure"]
    assert "attachments takes a path" in "".join(lines)
    assert not found_in([*texts_for(recorder), *everything_in(state), *lines], [HIDDEN])


def test_faults_of_supervision_are_logged_without_secrets(lines: list[str]) -> None:
    """The traceback of a fault shows what the script failed of, too."""

    class Broken:
        name = "x"

        def error(self, *_: object, **__: object) -> None:
            raise OSError("the disk is full, token=xQtoken1234567")

    class Odd:
        def __length_hint__(self) -> int:
            raise ValueError(f"no length with {PASSWORD}")

        def __iter__(self) -> Iterator[int]:
            return iter((1, 2))

    broken: Any = Broken()
    with pytest.raises(ValueError, match="password"):  # noqa: SIM117 - one of them tests the other
        with supervise("x", handlers=[Stubborn("x", password=PASSWORD)], logger=broken) as run:
            assert list(run.track(Odd())) == [1, 2]
            raise ValueError("failed, password=xQ12345678")
    texts = "\n".join(lines)
    assert "went on without one step" in texts
    assert "took no note" in texts
    assert "no length with" in texts
    assert not found_in([texts], ["xQ12345678", "xQtoken1234567", PASSWORD])


def test_stacks_of_runs_that_stall(state: Path, recorder: Recorder) -> None:
    """A line of code with a secret in it, at which a run stands still, is told without."""
    with supervise("x", handlers=[recorder], max_duration_s=0.05):
        _wait_for(recorder, password="xQ12345678")
    assert "_wait_for(recorder, password=" in recorder.messages[0].message
    assert not found_in([*texts_for(recorder), *everything_in(state)], [HIDDEN])


def _wait_for(recorder: Recorder, **_: str) -> None:
    wait_until(lambda: recorder.messages)


def test_names_of_files_in_a_folder(peers: Peers, tmp_path: Path, state: Path) -> None:
    """What is in a folder that is attached has its name redacted, too, and is packed all the same."""
    folder = tmp_path / "dumps"
    for name in (f"password={HIDDEN}.sql", f"token=a{HIDDEN}", "plain.sql"):
        (folder / name / "inner").mkdir(parents=True)
        (folder / name / "inner" / name).write_text("SELECT 1", "utf-8")
    with supervise("x", handlers=peers.handlers()) as run:
        run.notify("dumped", attachments=folder)
    received = list(peers.received())
    assert not found_in([*received, *everything_in(state)], [HIDDEN])
    assert "dumps/password=[redacted: password]/inner/password=[redacted: password]" in received
    assert "dumps/plain.sql/inner/plain.sql" in received


# Mistakes in the settings


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"redact_patterns": {"employee": "EMP-("}}, r"pattern 'employee' is no regular expression: .*; .*re\.escape"),
        ({"redact_patterns": {"employee": b"EMP"}}, r"pattern 'employee' must be a regular expression for text"),
        ({"redact_patterns": {"a]b": "x"}}, "a pattern's name must be 1-40 letters, digits"),
        ({"redact_patterns": ["EMP"]}, r"redact_patterns must be patterns by their names, got \['EMP'\]"),
        ({"redact_off": "cokie"}, "there is no pattern 'cokie' to switch off; did you mean 'cookie'"),
        ({"redact_off": ["cookie", "everything"]}, "there is no pattern 'everything' to switch off; there are .*token"),
        ({"redact_off": 5}, "redact_off must be names of what is redacted, got 5"),
    ],
)
@pytest.mark.parametrize("way", ["decorator", "block", "object", "object's decorator"])
def test_mistakes_are_told_where_they_are_written(wrong: dict[str, Any], expected: str, way: str) -> None:
    """A pattern that is none and a misspelt name are told when the module is loaded, with what to do about it."""
    with pytest.raises(ConfigurationError, match=expected):
        if way == "decorator":
            supervised(**wrong)
        elif way == "block":
            supervise(**wrong)
        elif way == "object":
            Supervisor(**wrong)
        else:
            Supervisor().supervised(**wrong)
