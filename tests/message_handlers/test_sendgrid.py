"""SendGrid mails against a real local server that refuses what SendGrid refuses."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import sys
import time
import zipfile
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from http_peers import Answer, Channel, HttpPeer, Request, http_peer, refused_url
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor._attachments import PackedFile
from supervisor._messages import message_for
from supervisor._models import Kind
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers._sendgrid import SendGridHandler, attach
from supervisor.models import Attachment, MessageDetails, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHANNELS = {
    "sendgrid": Channel(
        make=lambda url, **settings: SendGridHandler(
            api_key=API_KEY, from_address="a@example.com", to_addresses="b@example.com", host=url, **settings
        ),
        accepted=Answer(202),
        host="api.sendgrid.com",
        example="SendGridHandler(",
    )
}
API_KEY = "SG.abcdefghijklmnopqrstuv.0123456789-0123456789_0123456789-01234567890"
ANY_TEXT = st.text(st.characters() | st.sampled_from('\r\n\0;"\ud800'))
RESERVED = {
    *("x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"),
    *("to", "from", "subject", "reply-to", "cc", "bcc"),
}
OLD_SETTINGS: dict[str, Any] = {
    "from_address": "noreply@example.com",
    "to_addresses": ["a@example.com", "b@example.com"],
    "api_key": API_KEY,
    "prefix": "[parcels] ",
}


def sendgrid(request: Request) -> Answer | None:
    """Return SendGrid's response to a faulty mail; None for a good one."""
    if (request.method, request.path) != ("POST", "/v3/mail/send"):
        return _errors(404, "not found", None)
    if request.headers["Authorization"] != f"Bearer {API_KEY}":
        return _errors(401, "The provided authorization grant is invalid, expired, or revoked", None)
    if len(request.body) > 31_000_000:
        return _errors(413, "content too large", None)
    try:
        mail = json.loads(request.body.decode())
    except ValueError:
        return _errors(400, "Bad Request", None)
    for message, field in _complaints(mail):
        return _errors(400, message, field)
    return None


def _errors(status: int, message: str, field: str | None) -> Answer:
    return Answer(status, body={"errors": [{"message": message, "field": field, "help": None}]})


def _complaints(mail: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the errors of a mail, as https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors lists them."""
    unknown = set(mail) - {"personalizations", "from", "subject", "content", "attachments", "headers", "custom_args"}
    if unknown:
        yield "Invalid parameter", min(unknown)
    if not _is_address(mail.get("from")):
        yield "The from object must be provided for every email send.", "from.email"
    yield from _wrong_recipients(mail.get("personalizations") or [{}])
    subject = mail.get("subject")
    if not isinstance(subject, str) or not subject or "\n" in subject or "\r" in subject:
        yield "The subject is required.", "subject"
    yield from _wrong_content(mail.get("content") or [])
    for index, each in enumerate(mail.get("attachments", [])):
        yield from _wrong_attachment(each, f"attachments.{index}")
    for name, value in mail.get("headers", {}).items():
        if name.lower() in RESERVED or not isinstance(value, str) or not value.isascii():
            yield "The header is reserved, or no ASCII text.", f"headers.{name}"
    if len(json.dumps(mail.get("custom_args", {})).encode()) > 10_000:
        yield "The total length of custom arguments must be less than 10000 bytes.", "custom_args"


def _is_address(value: Any) -> bool:
    return isinstance(value, dict) and re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", value.get("email", "")) is not None


def _wrong_recipients(personalizations: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    [first] = personalizations
    if not first.get("to"):
        yield "The to array is required for all personalization objects.", "personalizations.0.to"
    seen: set[str] = set()
    for group in ("to", "cc", "bcc"):
        if group in first and not first[group]:
            yield f"The {group} array, when used, must have an email parameter.", f"personalizations.0.{group}"
        for each in first.get(group, []):
            if not _is_address(each) or set(each.get("name", "")) & set(";,"):
                yield "Does not contain a valid address.", f"personalizations.0.{group}"
            elif each["email"].lower() in seen:
                yield "Each email address should be unique between to, cc, and bcc.", f"personalizations.0.{group}"
            else:
                seen.add(each["email"].lower())
    if len(seen) > 1000:
        yield "There is a limit of 1000 total recipients (to + cc + bcc) per request.", "personalizations"


def _wrong_content(content: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    if not content:
        yield "You must have at least one content.", "content"
    for index, each in enumerate(content):
        if not isinstance(each.get("value"), str) or not each["value"] or "\0" in each["value"]:
            yield "The content value must be a string at least one character in length.", f"content.{index}.value"
        if set(each["type"]) & set(";\r\n"):
            yield "The content type cannot contain ';', or CRLF characters.", f"content.{index}.type"
    types = [each["type"] for each in content]
    if types != sorted(types, key=["text/plain", "text/html"].index):
        yield "If present, text/plain must be first, followed by text/html.", "content"


def _wrong_attachment(attachment: dict[str, Any], where: str) -> Iterator[tuple[str, str]]:
    try:
        empty = not base64.b64decode(attachment.get("content", ""), validate=True)
    except ValueError:
        empty = True
    if empty:
        yield "The attachment content must be base64 encoded.", f"{where}.content"
    for name in ("filename", "type"):
        if not attachment.get(name) or set(attachment[name]) & set(";\r\n"):
            yield f"The attachment {name} cannot contain ';', or CRLF characters.", f"{where}.{name}"
    if attachment.get("disposition", "attachment") not in ("attachment", "inline"):
        yield "The disposition of your attachment can be either inline or attachment.", f"{where}.disposition"


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    """Run a SendGrid for one test."""
    with http_peer(sendgrid) as it:
        it.answer(202, {"X-Message-Id": "rBmomxZ1S_CjuF5ZZdkFrQ"})
        yield it


def handler(peer: HttpPeer | str, **changes: Any) -> SendGridHandler:
    """Return a handler for a peer."""
    facts: dict[str, Any] = {
        "api_key": API_KEY,
        "from_address": "Nightly <nightly@example.com>",
        "to_addresses": "ops@example.com",
        "host": peer if isinstance(peer, str) else peer.url,
    }
    return SendGridHandler(**(facts | changes))


def report(run_id: str = "r1") -> RunReport:
    """Return the report of a run."""
    return RunReport(id=run_id, name="nightly", started_at=datetime.now(UTC))


def send(to: SendGridHandler, details: MessageDetails) -> None:
    """Send one message and close the handler."""
    try:
        to.send_message(details)
    finally:
        to.close()


def refusal(to: SendGridHandler, details: MessageDetails | None = None) -> DeliveryError:
    """Send one message that is expected to fail, and return the error."""
    with pytest.raises(DeliveryError) as caught:
        send(to, details or MessageDetails("s", "m"))
    return caught.value


def texts(mail: dict[str, Any]) -> tuple[str, str]:
    """Return a mail's text and HTML."""
    assert [each["type"] for each in mail["content"]] == ["text/plain", "text/html"]
    return mail["content"][0]["value"], mail["content"][1]["value"]


def test_mail_as_it_arrives(peer: HttpPeer) -> None:
    """The whole request: addresses, subject, text before HTML, id, headers that make a thread."""
    details = MessageDetails("failed", "1 < 2", kind=Kind.FAILURE, report=report(), id="m1")
    send(handler(peer, prefix="[x] ", cc="boss@example.com", client_name="parcels", client_version="1.2"), details)
    [request] = peer.requests
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"].startswith("sendgrid/")
    mail = request.json
    text, html = texts(mail)
    mail["content"] = None
    assert mail == {
        "personalizations": [{"to": [{"email": "ops@example.com"}], "cc": [{"email": "boss@example.com"}]}],
        "from": {"email": "nightly@example.com", "name": "Nightly"},
        "subject": "[x] failed",
        "content": None,
        "headers": {
            "Auto-Submitted": "auto-generated",
            "References": "<run.r1@example.com>",
            "In-Reply-To": "<run.r1@example.com>",
        },
        "custom_args": {"supervisor_message_id": "m1"},
    }
    assert text == "1 < 2\n\nparcels version: 1.2"
    assert "1 &lt; 2" in html
    assert "parcels version: 1.2" in html


def test_mails_of_a_run_form_a_thread(peer: HttpPeer) -> None:
    """Mails of one run refer to the same thread, those of another run to another, others to none."""
    to = handler(peer)
    for run in (report("a-1"), report("a-1"), report("b\r\n2"), None):
        to.send_message(MessageDetails("s", "m", report=run))
    to.close()
    threads = [request.json["headers"].get("References") for request in peer.requests]
    assert threads == ["<run.a1@example.com>", "<run.a1@example.com>", "<run.b2@example.com>", None]


def test_html_of_the_message_goes_before_our_own(peer: HttpPeer) -> None:
    """A message that brings its own HTML is sent with it; notes go into its body."""
    page = "<html><body><h1>Hi</h1></body></html>"
    send(handler(peer, client_name="a&b", client_version="1"), MessageDetails("s", "m", html=page))
    _, html = texts(peer.requests[0].json)
    assert html == "<html><body><h1>Hi</h1><p>a&amp;b version: 1</p></body></html>"


def test_composed_message_has_a_page(peer: HttpPeer) -> None:
    """A composed message is sent as text and as HTML of the same parts, with the notes inside the page."""
    details = message_for(Kind.START, report("r-1"))
    send(handler(peer, client_name="a&b", client_version="1"), details)
    text, html = texts(peer.requests[0].json)
    assert text.startswith(details.message)
    assert "<h1" in html
    assert html.rstrip().endswith("<p>a&amp;b version: 1</p></body>\n</html>")


def test_settings_of_version_3_work(peer: HttpPeer) -> None:
    """``SendGridHandler(**old_settings)`` sends to all its addresses, with its prefix."""
    send(SendGridHandler(**OLD_SETTINGS, host=peer.url), MessageDetails("ERROR", "text"))
    mail = peer.requests[0].json
    assert mail["subject"] == "[parcels] ERROR"
    assert mail["personalizations"] == [{"to": [{"email": "a@example.com"}, {"email": "b@example.com"}]}]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"api_key": None}, "api_key must be a text that is not blank, got nothing"),
        ({"api_key": " "}, "api_key must be a text that is not blank"),
        ({"api_key": "SG.x\r\nEvil: 1"}, "api_key must be the key as SendGrid showed it"),
        ({"from_address": ""}, "from_address must be a text that is not blank, got nothing"),
        ({"from_address": "nobody"}, "from_address must be addresses like name@example.com, got 'nobody'"),
        ({"to_addresses": ""}, "to_addresses must be at least one address, got nothing"),
        ({"to_addresses": []}, "to_addresses must be at least one address, got nothing"),
        ({"to_addresses": ["a@b.c", "a@b\r\n.c"]}, "to_addresses must be addresses like name@example.com"),
        ({"bcc": "x"}, "bcc must be addresses like name@example.com, got 'x'"),
        ({"to_addresses": [f"{n}@example.com" for n in range(1001)]}, "at most 1,000 in all, got 1,001"),
        ({"host": "api.sendgrid.com"}, "host must be a URL that starts with https://"),
        ({"timeout_s": 0}, "timeout_s must be a number above 0"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], said: str) -> None:
    """Blank and impossible settings are named when the handler is built, and the key is not quoted."""
    with pytest.raises(ConfigurationError, match=r"^SendGridHandler: ") as caught:
        SendGridHandler(**(OLD_SETTINGS | changes))
    assert said in str(caught.value)
    assert "Evil" not in str(caught.value)


@pytest.mark.parametrize("name", ["api_key", "from_address", "to_addresses"])
def test_missing_settings_are_named(name: str) -> None:
    """A setting that is left out raises a ConfigurationError with its name, not a TypeError."""
    with pytest.raises(ConfigurationError, match=f"SendGridHandler: {name} must be .* got nothing"):
        SendGridHandler(**{key: value for key, value in OLD_SETTINGS.items() if key != name})


def test_name_is_settable() -> None:
    """The name can be set, and its default holds no secret."""
    assert re.fullmatch(r"sendgrid:a@example\.com\+1\.[0-9a-f]{8}", str(SendGridHandler(**OLD_SETTINGS).name))
    assert SendGridHandler(**OLD_SETTINGS, name="ops").name == "ops"
    assert SendGridHandler(**OLD_SETTINGS, name=None).name == SendGridHandler(**OLD_SETTINGS).name


def test_each_recipient_gets_one_mail(peer: HttpPeer) -> None:
    """An address that is given twice, in upper or lower case, is sent once, because SendGrid refuses repeats."""
    to = handler(
        peer,
        to_addresses=["Ops <ops@example.com>", "OPS@example.com", "b@example.com"],
        cc="B@Example.com, c@example.com",
        bcc=["c@example.com", "ops@example.com"],
    )
    send(to, MessageDetails("s", "m"))
    assert peer.requests[0].json["personalizations"] == [
        {
            "to": [{"email": "ops@example.com", "name": "Ops"}, {"email": "b@example.com"}],
            "cc": [{"email": "c@example.com"}],
        }
    ]


def test_a_thousand_recipients_are_fine(peer: HttpPeer) -> None:
    """1,000 different recipients are the most that SendGrid takes; repeats do not count."""
    many = [f"{n}@example.com" for n in range(1000)]
    send(handler(peer, to_addresses=many, cc=many), MessageDetails("s", "m"))
    assert len(peer.requests[0].json["personalizations"][0]["to"]) == 1000


@pytest.mark.parametrize(
    "details",
    [
        MessageDetails(""),
        MessageDetails(" \r\n ", " \r\n "),
        MessageDetails("a\r\nBcc: evil@example.com", "nul\0, bell\a, half\ud800, 🏔"),
        MessageDetails("half\udfff \0", "", html="<p>\ud800\0</p>"),
        MessageDetails("🏔" * 10_000, "x"),
        MessageDetails("s", "m", id="odd\r\nid" * 10_000),
        MessageDetails("s", "<script>alert(1)</script>"),
    ],
    ids=["empty", "blank", "hostile", "halves", "long-subject", "long-id", "html"],
)
def test_hostile_texts_are_accepted(peer: HttpPeer, details: MessageDetails) -> None:
    """Any message becomes a mail that SendGrid accepts."""
    send(handler(peer), details)
    mail = peer.requests[0].json
    assert mail["subject"]
    assert "<script>" not in texts(mail)[1]


def test_subject_that_was_cut_stands_in_the_text(peer: HttpPeer) -> None:
    """A subject of 10,000 characters is cut, and is complete in the text."""
    send(handler(peer), MessageDetails("word " * 2_000, "the text"))
    mail = peer.requests[0].json
    assert len(mail["subject"]) <= 200
    assert mail["subject"].endswith("…")
    assert texts(mail)[0] == "word " * 2_000 + "\n\nthe text"


def test_long_texts_are_cut_with_a_note(peer: HttpPeer) -> None:
    """Texts and HTML of 10 MB are cut in their middle."""
    send(handler(peer), MessageDetails("s", "x" * 10_000_000, html="<p>" + "y" * 10_000_000))
    text, html = texts(peer.requests[0].json)
    assert "characters left out" in text
    assert "characters left out" in html
    assert len(peer.requests[0].body) < 1_200_000


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(subject=ANY_TEXT, text=ANY_TEXT, name=ANY_TEXT)
def test_any_text_is_accepted(peer: HttpPeer, tmp_path: Path, subject: str, text: str, name: str) -> None:
    """No subject, text or attachment name makes a mail that SendGrid refuses."""
    (tmp_path / "file").write_text("x")
    attachment = Attachment(tmp_path / "file", name=name)
    send(handler(peer), MessageDetails(subject, text, attachments=[attachment], id=name))
    assert len(peer.requests[-1].json["attachments"]) == 1


def test_attachments_arrive(peer: HttpPeer, tmp_path: Path) -> None:
    """Small logs arrive as they are, directories zipped, and the text notes the others."""
    (tmp_path / "run.log").write_text("line\n" * 1000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner.txt").write_text("inner")
    paths = [tmp_path / "run.log", tmp_path / "folder", tmp_path / "gone.csv"]
    send(handler(peer), MessageDetails("s", "m", attachments=paths))
    mail = peer.requests[0].json
    log, folder = mail["attachments"]
    assert (log["filename"], log["disposition"]) == ("run.log", "attachment")
    assert base64.b64decode(log["content"]) == b"line\n" * 1000
    assert folder["filename"] == "folder.zip"
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(folder["content"]))) as archive:
        assert any(name.endswith("inner.txt") for name in archive.namelist())
    for each in texts(mail):
        assert re.search("gone.csv.*missing", each)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")
def test_hostile_attachment_names_are_made_safe(peer: HttpPeer, tmp_path: Path) -> None:
    """Files whose names hold semicolons, line breaks, quotes or invalid UTF-8 are sent."""
    names = ['a;b"c.txt', "d\r\ne.txt", "größe 🏔.txt", os.fsdecode(b"half\xff.txt")]
    for name in names:
        (tmp_path / name).write_text(name.encode("utf-8", "replace").decode())
    send(handler(peer), MessageDetails("s", "m", attachments=[tmp_path / name for name in names]))
    mail = peer.requests[0].json
    assert len(mail["attachments"]) == 4
    assert not [each for each in mail["attachments"] if set(each["filename"]) & set(";\r\n")]


def test_names_and_types_of_parts_are_what_sendgrid_takes(tmp_path: Path) -> None:
    """Names and types of attachments follow SendGrid's rules; an empty part is left out."""
    (tmp_path / "x").write_text("x")
    (tmp_path / "empty").touch()
    odd = PackedFile(path=tmp_path / "x", name="a;b\r\nc", content_type="text/plain; charset=x", size_bytes=1)
    bare = PackedFile(path=tmp_path / "x", name="", content_type="", size_bytes=1)
    mail: dict[str, Any] = {}
    attach(mail, [odd, bare, PackedFile(path=tmp_path / "empty", name="e", content_type="t/t", size_bytes=0)])
    assert [(each["filename"], each["type"]) for each in mail["attachments"]] == [
        ("a_b c", "text/plain"),
        ("attachment", "application/octet-stream"),
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs")
def test_bad_attachments_never_stop_a_mail(peer: HttpPeer, tmp_path: Path) -> None:
    """Missing, empty, endless and looping attachments are noted in the text, and the mail is sent."""
    (tmp_path / "empty.txt").touch()
    os.mkfifo(tmp_path / "fifo")  # type: ignore[attr-defined,unused-ignore]  # there is none on Windows
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    names = ["empty.txt", "fifo", "loop", "gone"]
    send(handler(peer), MessageDetails("s", "m", attachments=[tmp_path / name for name in names]))
    mail = peer.requests[0].json
    assert "attachments" not in mail
    assert not [name for name in names if name not in texts(mail)[0]]


def test_attachments_are_cut_to_what_fits(peer: HttpPeer, tmp_path: Path) -> None:
    """A log that does not fit arrives as its last part, and the whole mail stays below 30 MB."""
    noise = base64.b64encode(os.urandom(48 * 1024 * 768))
    with (tmp_path / "big.log").open("wb") as file:
        file.writelines(noise[at : at + 76] + b"\n" for at in range(0, len(noise), 76))
        file.write(b"the end\n")
    send(handler(peer, timeout_s=60), MessageDetails("s", "m", attachments=[tmp_path / "big.log"]))
    [request] = peer.requests
    assert 10_000_000 < len(request.body) < 30_000_000
    [attachment] = request.json["attachments"]
    assert gzip.decompress(base64.b64decode(attachment["content"])).endswith(b"the end\n")
    assert "big.log" in texts(request.json)[0]


def test_413_is_tried_once_more_with_less(peer: HttpPeer, tmp_path: Path) -> None:
    """After a 413 the mail is sent again with a quarter of the attachments' size, with a note."""
    path = tmp_path / "noise.log"
    path.write_bytes(b"\n".join(base64.b64encode(os.urandom(60)) for _ in range(5_000)))
    peer.answers.append(_errors(413, "content too large", None))
    send(handler(peer), MessageDetails("s", "m", attachments=[path]))
    first, second = (request.json for request in peer.requests)
    assert len(base64.b64decode(second["attachments"][0]["content"])) <= (
        len(base64.b64decode(first["attachments"][0]["content"])) / 4
    )
    assert "too large" not in texts(first)[0]
    for each in texts(second):
        assert "SendGrid refused the attachments as too large" in each


def test_413_without_end_is_permanent(peer: HttpPeer, tmp_path: Path) -> None:
    """A second 413, and one for a mail without attachments, is permanent."""
    (tmp_path / "a.txt").write_text("x" * 1000)
    peer.rule = None
    peer.answer(413)
    with_file = refusal(handler(peer), MessageDetails("s", "m", attachments=[tmp_path / "a.txt"]))
    assert (with_file.permanent, len(peer.requests)) == (True, 2)
    assert refusal(handler(peer)).permanent
    assert len(peer.requests) == 3


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        *((status, True) for status in (400, 404, 405, 406, 415, 451)),
        *((status, False) for status in (301, 307, 401, 403, 408, 429, 500, 502, 503, 504)),
    ],
)
def test_answers_are_permanent_or_temporary(peer: HttpPeer, status: int, *, permanent: bool) -> None:
    """Each status is temporary or permanent, and the error has SendGrid's text and field."""
    peer.answers.append(_errors(status, "the very reason", "personalizations.0.to"))
    error = refusal(handler(peer))
    assert error.permanent is permanent
    assert f"SendGrid answered {status}" in error.reason
    assert "the very reason (personalizations.0.to)" in error.reason
    assert len(peer.requests) == 1


def test_wrong_key_and_unverified_sender_say_what_to_check(peer: HttpPeer) -> None:
    """401 points to the key, 403 to the key's permissions and the sender; neither tells the key."""
    wrong = refusal(handler(peer, api_key="SG.wrong-key"))
    peer.answers.append(_errors(403, "The from address does not match a verified Sender Identity.", "from"))
    forbidden = refusal(handler(peer))
    assert (wrong.permanent, forbidden.permanent) == (False, False)
    assert (wrong.retry_after_s, forbidden.retry_after_s) == (3600.0, 3600.0)
    assert "check the API key" in wrong.reason
    assert "verified" in forbidden.reason
    assert "SG.wrong-key" not in wrong.reason


@pytest.mark.parametrize(
    "body",
    [b"<html>Bad gateway</html>", b"", b"[]", b'{"errors": null}', b'{"errors": [1]}', b'{"errors": [{}]}', b"\xff\0"],
)
def test_odd_error_bodies_are_reported_too(peer: HttpPeer, body: bytes) -> None:
    """A body that is not SendGrid's JSON leaves the status in the error."""
    peer.answers.append(Answer(502, body=body))
    assert "SendGrid answered 502 Bad Gateway" in refusal(handler(peer)).reason


NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "30"}, 30.0),
        ({"Retry-After": format_datetime(NOW + timedelta(seconds=40)), "Date": format_datetime(NOW)}, 40.0),
        ({"X-RateLimit-Reset": f"{NOW.timestamp() + 50:.0f}", "Date": format_datetime(NOW)}, 50.0),
        ({"X-RateLimit-Reset": f"{NOW.timestamp() - 50:.0f}", "Date": format_datetime(NOW)}, 0.0),
        ({"Retry-After": "5", "X-RateLimit-Reset": "99999999999"}, 5.0),
        ({"X-RateLimit-Reset": "soon"}, None),
        ({"X-RateLimit-Reset": "1e300"}, None),
        ({}, None),
    ],
)
def test_429_waits_as_the_response_says(peer: HttpPeer, headers: dict[str, str], wait_s: float | None) -> None:
    """``Retry-After`` in seconds or as a date counts, else ``X-RateLimit-Reset``, which is a Unix time."""
    peer.answers.append(Answer(429, headers))
    error = refusal(handler(peer))
    assert (error.permanent, error.retry_after_s) == (False, wait_s)


def test_hang_is_bounded(peer: HttpPeer) -> None:
    """A server that never responds takes the timeout, which the library alone does not have."""
    peer.answer(202, delay_s=60)
    started_s = time.monotonic()
    error = refusal(handler(peer, timeout_s=0.2))
    assert time.monotonic() - started_s < 20
    assert (error.permanent, "within 0.2 s" in error.reason) == (False, True)


def test_lost_connections_are_temporary(peer: HttpPeer) -> None:
    """Refused and lost connections are temporary errors."""
    peer.answer(drop=True)
    dropped, refused = refusal(handler(peer)), refusal(handler(refused_url()))
    assert (dropped.permanent, refused.permanent) == (False, False)
    assert "closed the connection" in dropped.reason
    assert "refused" in refused.reason


def test_redirect_does_not_get_the_key(peer: HttpPeer) -> None:
    """A redirect to another server is not followed, so that it does not get the API key."""
    with http_peer() as thief:
        peer.answers.append(Answer(302, {"Location": f"{thief.url}/v3/mail/send"}))
        assert "it has moved" in refusal(handler(peer)).reason
        assert not thief.requests


def test_key_appears_nowhere(peer: HttpPeer, caplog: pytest.LogCaptureFixture) -> None:
    """The API key appears in no repr, name, error or log, even when SendGrid repeats it."""
    caplog.set_level(0)
    to = handler(peer, api_key=f" {API_KEY}\n")
    send(to, MessageDetails("s", "m"))
    peer.answers.append(_errors(400, f"bad key {API_KEY}", API_KEY))
    peer.answers.append(Answer(500, body="x" * 270 + API_KEY))
    seen = [repr(to), str(to.name), str(refusal(to)), str(refusal(to)), caplog.text]
    assert not [text for text in seen if API_KEY in text or API_KEY[:20] in text]


def test_connection_is_kept_between_mails(peer: HttpPeer) -> None:
    """Mails share a connection; one that the server has closed is replaced without an error."""
    to = handler(peer)
    for _ in range(5):
        to.send_message(MessageDetails("s", "m"))
    assert peer.connections == 1
    peer.hang_up()
    send(to, MessageDetails("s", "m"))
    assert peer.connections == 2


def test_peer_refuses_what_sendgrid_refuses() -> None:
    """The test's SendGrid server reports each fault that is put into a good mail."""
    good: dict[str, Any] = {
        "personalizations": [{"to": [{"email": "a@example.com"}]}],
        "from": {"email": "b@example.com"},
        "subject": "s",
        "content": [{"type": "text/plain", "value": "t"}, {"type": "text/html", "value": "h"}],
        "attachments": [{"content": "eA==", "filename": "f", "type": "t/t"}],
    }
    bad: list[dict[str, Any]] = [
        {"from": {}},
        {"subject": ""},
        {"subject": "a\r\nb"},
        {"personalizations": [{}]},
        {"personalizations": [{"to": [{"email": "a@example.com"}], "cc": [{"email": "A@example.com"}]}]},
        {"personalizations": [{"to": [{"email": "a@example.com", "name": "x; y"}]}]},
        {"personalizations": [{"to": [{"email": f"{n}@example.com"} for n in range(1001)]}]},
        {"content": []},
        {"content": [{"type": "text/plain", "value": ""}]},
        {"content": good["content"][::-1]},
        {"attachments": [{"content": "?", "filename": "f", "type": "t/t"}]},
        {"attachments": [{"content": "", "filename": "f", "type": "t/t"}]},
        {"attachments": [{"content": "eA==", "filename": "f;", "type": "t/t"}]},
        {"attachments": [{"content": "eA==", "filename": "f", "type": "t/t; x=y"}]},
        {"headers": {"Reply-To": "x"}},
        {"custom_args": {"a": "x" * 10_000}},
        {"surprise": 1},
    ]
    assert not list(_complaints(good))
    assert not [each for each in bad if not list(_complaints(good | each))]
