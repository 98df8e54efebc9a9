"""WebhookHandler against a real local server."""

from __future__ import annotations

import base64
import hmac
import json
import re
from datetime import UTC, datetime, timedelta
from math import inf, nan
from typing import Any

import pytest
from http_peers import Answer, Channel, HttpPeer
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor._messages import message_for
from supervisor._models import Kind, Outcome
from supervisor._models.parts import Past
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers._webhook import WebhookHandler, message_document
from supervisor.models import ErrorDetails, MessageDetails, Progress, RunReport

CHANNELS = {
    "webhook": Channel(
        make=lambda url, **settings: WebhookHandler(url=f"{url}/hook", **settings),
        accepted=Answer(204),
        takes_any_success=True,
        host="hooks.example.com",
        example="WebhookHandler(",
    )
}
NOW = datetime(2026, 1, 31, 23, 59, 59, 123456, UTC)
TOKEN = "tok3n-in-the-path"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()


def report(**changes: Any) -> RunReport:
    """Return a report with all fields set."""
    facts: dict[str, Any] = {
        "id": "r1",
        "name": "nightly parcels",
        "outcome": Outcome.FAILURE,
        "started_at": NOW - timedelta(minutes=5),
        "ended_at": NOW,
        "duration_s": 300.5,
        "values": {"parcels": 12, "day": NOW.date(), "ratio": nan, "most": inf, "name": "\ud800 é 🏔"},
        "progress": Progress(done=3, total=10, message="copying", rate_per_s=0.5),
        "error": ErrorDetails(type="KeyError", message="'x'", where="p.py:1 in load", traceback="Traceback..."),
        "exit_code": 2,
        "host": "h",
        "user": "u",
        "pid": 42,
        "argv": ("p.py", "--all"),
        "python": "3.12.1",
        "cpu_s": 1.5,
        "peak_memory_bytes": 1000,
    }
    return RunReport(**(facts | changes))


def failure(**changes: Any) -> MessageDetails:
    """Return a failure's message, with a missing attachment."""
    facts: dict[str, Any] = {
        "subject": "nightly parcels failed",
        "message": "KeyError 'x'",
        "attachments": ["gone.csv"],
        "kind": Kind.FAILURE,
        "report": report(),
        "id": "m1",
        "created_at": NOW,
    }
    return MessageDetails(**(facts | changes))


def send(handler: WebhookHandler, details: MessageDetails | None = None) -> None:
    """Send one message and close the handler."""
    try:
        handler.send_message(details or failure())
    finally:
        handler.close()


def refusal(handler: WebhookHandler, details: MessageDetails | None = None) -> DeliveryError:
    """Send one message that is expected to fail, and return the error."""
    with pytest.raises(DeliveryError) as caught:
        send(handler, details)
    return caught.value


def test_document_says_everything_field_by_field(peer: HttpPeer) -> None:
    """The receiver gets the documented JSON document, in one POST."""
    send(WebhookHandler(url=f"{peer.url}/hooks/{TOKEN}?room=a%20b"))
    [request] = peer.requests
    assert (request.method, request.path) == ("POST", f"/hooks/{TOKEN}?room=a%20b")
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["webhook-id"] == "m1"
    assert request.headers["webhook-signature"] is None
    body = request.json
    run = body.pop("run")
    assert body == {
        "version": 1,
        "id": "m1",
        "kind": "failure",
        "level": "info",
        "subject": "nightly parcels failed",
        "message": "KeyError 'x'",
        "parts": [],
        "created_at": "2026-01-31T23:59:59.123456+00:00",
        "attachments": [{"name": "gone.csv", "size_bytes": None, "note": ""}],
    }
    assert run.pop("error")["where"] == "p.py:1 in load"
    assert run.pop("progress") == {
        "done": 3,
        "total": 10,
        "percentage": 30.0,
        "message": "copying",
        "rate_per_s": 0.5,
        "eta_s": 14.0,
    }
    assert run == {
        "id": "r1",
        "name": "nightly parcels",
        "parent_id": None,
        "outcome": "failure",
        "started_at": "2026-01-31T23:54:59.123456+00:00",
        "ended_at": "2026-01-31T23:59:59.123456+00:00",
        "duration_s": 300.5,
        "values": {"parcels": 12, "day": "2026-01-31", "ratio": "nan", "most": "inf", "name": "\ufffd é 🏔"},
        "warnings": [],
        "warning_count": 0,
        "steps": [],
        "attempts": 1,
        "retried": [],
        "exit_code": 2,
        "host": "h",
        "user": "u",
        "pid": 42,
        "argv": ["p.py", "--all"],
        "python": "3.12.1",
        "cpu_s": 1.5,
        "peak_memory_bytes": 1000,
        "log_tail": [],
        "log_warnings": [],
        "log_counts": {},
        "settings": {},
        "links": {},
    }


def test_parts_are_data() -> None:
    """The document has the message's parts; a traceback is not repeated in them."""
    error = ErrorDetails(type="KeyError", message="'x'", where="p.py:1 in load", excerpt="> 1 | x", traceback="T" * 99)
    details = message_for(Kind.FAILURE, report(error=error, values={"rows": 12}), past=Past())
    body = message_document(details)
    assert [part["type"] for part in body["parts"]] == ["text", "text", "code", "text", "facts", "code", "facts"]
    values = body["parts"][4]
    assert values["role"] == "values"
    assert values["rows"] == [{"label": "rows", "text": "12", "aside": "", "stands_out": False}]
    assert body["parts"][5] == {"type": "code", "title": "", "text": "", "role": "traceback"}
    assert json.dumps(body).count("T" * 99) == 2  # in the text, and in run.error
    assert not [name for part in body["parts"] for name in part if name not in (WebhookHandler.__doc__ or "")]


def test_every_documented_field_is_there() -> None:
    """The class's docstring names each field of the document."""
    body = message_document(failure())
    text = WebhookHandler.__doc__ or ""
    names = {*body, *body["run"], *body["run"]["progress"], *body["run"]["error"], *body["attachments"][0]}
    assert not [name for name in names if name not in text]


def test_message_outside_of_runs_has_no_run() -> None:
    """``run`` is null when there was none."""
    assert message_document(MessageDetails("s", "m"))["run"] is None


@settings(deadline=None)
@given(
    text=st.text(st.characters(codec="utf-8") | st.sampled_from("\0\ud800"), max_size=50),
    values=st.dictionaries(
        st.text(st.characters(), max_size=5),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=9)),
    ),
)
def test_document_is_valid_json_for_any_text(text: str, values: dict[str, Any]) -> None:
    """Any text and any recorded value becomes strict JSON in UTF-8, without NaN, NUL and lone surrogates."""
    half = text + "\ud800"
    details = failure(subject=half, message=half, report=report(values=values, name=half))
    encoded = json.dumps(message_document(details), ensure_ascii=False, allow_nan=False).encode()
    assert json.loads(encoded)["subject"] == re.sub("[\0\ud800]", "\ufffd", half)


def test_long_texts_are_cut_with_a_note() -> None:
    """Long texts are cut in the document, with a note."""
    body = message_document(
        failure(message="x" * 10_000_000, report=report(error=ErrorDetails(type="E", traceback="y" * 10**7)))
    )
    assert len(json.dumps(body)) < 450_000
    assert "characters left out" in body["message"]


def test_signature_is_that_of_standard_webhooks(peer: HttpPeer) -> None:
    """A receiver can verify the signature from the id, the timestamp and the body, as the specification says."""
    send(WebhookHandler(url=peer.url, secret=SECRET, now_s=lambda: 1_700_000_000.9))
    [request] = peer.requests
    assert request.headers["webhook-timestamp"] == "1700000000"
    signed = b"m1.1700000000." + request.body
    expected = base64.b64encode(hmac.digest(b"0123456789abcdef01234567", signed, "sha256")).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"


def test_signature_agrees_with_the_specifications_own_example() -> None:
    """The values of the reference libraries' tests give the signature that those expect."""
    handler = WebhookHandler(
        url="http://127.0.0.1", secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", now_s=lambda: 1614265330
    )
    headers = handler._own_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secret_may_be_any_text(peer: HttpPeer) -> None:
    """A secret without ``whsec_`` is used as it is; a dot in an id cannot shift what is signed."""
    send(WebhookHandler(url=peer.url, secret="s3cret"), failure(id="a.b\r\nc"))
    [request] = peer.requests
    signed = f"a_b__c.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.digest(b"s3cret", signed, "sha256")).decode()
    assert (request.headers["webhook-id"], request.headers["webhook-signature"]) == ("a_b__c", f"v1,{expected}")


def test_own_headers_and_basic_authentication_go_along(peer: HttpPeer) -> None:
    """Headers are sent as given, and a user and password in the URL become basic authentication."""
    send(WebhookHandler(url=peer.url.replace("://", "://me:p%40ss@"), headers={"X-Room": "ops é"}))
    [request] = peer.requests
    assert request.headers["Authorization"] == f"Basic {base64.b64encode(b'me:p@ss').decode()}"
    assert request.headers["X-Room"] == "ops é"


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_two_hundreds_are_success(peer: HttpPeer, status: int) -> None:
    """Any 2xx accepts the message."""
    peer.answer(status)
    send(WebhookHandler(url=peer.url))


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        *((status, True) for status in (400, 404, 405, 409, 410, 413, 422)),
        *((status, False) for status in (300, 301, 302, 303, 307, 308, 401, 403)),
        *((status, False) for status in (408, 425, 429, 500, 502, 503, 504, 507)),
    ],
)
def test_other_answers_are_permanent_or_temporary(peer: HttpPeer, status: int, *, permanent: bool) -> None:
    """408, 425, 429 and 5xx may go away, redirects and refused logins be set right; everything else stays."""
    peer.answer(status, {"Location": "https://elsewhere.example"}, "what it says")
    error = refusal(WebhookHandler(url=peer.url))
    assert error.permanent is permanent
    assert str(status) in error.reason
    assert len(peer.requests) == 1


def test_redirect_is_reported_and_not_followed(peer: HttpPeer) -> None:
    """The error for a 3xx has the new URL, without the token in it."""
    peer.answer(307, {"Location": f"https://new.example/hooks/{TOKEN}"})
    error = refusal(WebhookHandler(url=f"{peer.url}/hooks/{TOKEN}"))
    assert "moved to https://new.example" in error.reason
    assert TOKEN not in error.reason


def test_gone_hook_says_so(peer: HttpPeer) -> None:
    """410 tells the user that the hook is gone."""
    peer.answer(410)
    assert "the hook is gone" in refusal(WebhookHandler(url=peer.url)).reason


def test_secrets_appear_nowhere(peer: HttpPeer, caplog: pytest.LogCaptureFixture) -> None:
    """Tokens in the path, the query and the headers, the password and the secret appear in no repr, error or log."""
    caplog.set_level(0)
    secrets = (TOKEN, "t0k3n-in-the-query", "b3arer-t0ken", "passw0rd", "my-own-s3cret")
    url = f"{peer.url.replace('://', '://me:passw0rd@')}/{TOKEN}?key={secrets[1]}"
    handler = WebhookHandler(url=url, secret=secrets[4], headers={"Authorization": f"Bearer {secrets[2]}"})
    peer.answer(400, body=f"{url} {secrets} Bearer {secrets[2]}")
    texts = [repr(handler), handler.name, str(refusal(handler)), repr(refusal(handler)), caplog.text]
    peer.answer(302, {"Location": f"{url}&moved"})
    texts.append(str(refusal(handler)))
    assert not [secret for secret in secrets for text in texts if secret in str(text)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "url must be a URL that starts with https://, got nothing"),
        ({"url": " "}, "url must be a URL that starts with https://"),
        ({"url": "ftp://example.com/s3cret"}, "got something else"),
        ({"url": "https://"}, "url must be"),
        ({"url": "https://example.com:port/"}, "url must be"),
        ({"url": "https://exa mple.com/"}, "url must be"),
        ({"url": "https://example.com/\r\nX: y"}, "url must be"),
        ({"url": f"https://{'a' * 64}.com/"}, "url must be"),
        ({"url": "https://example.com", "secret": " "}, "secret must be a text that is not blank"),
        ({"url": "https://example.com", "secret": "whsec_?"}, "secret must be base64 after whsec_"),
        ({"url": "https://example.com", "secret": "whsec_"}, "secret must be base64 after whsec_"),
        ({"url": "https://example.com", "headers": {"A": "b\r\nC: d"}}, "headers must be"),
        ({"url": "https://example.com", "headers": {"A:": "b"}}, "headers must be"),
        ({"url": "https://example.com", "headers": {"Host": "b"}}, "which WebhookHandler sets itself"),
        ({"url": "https://example.com", "timeout_s": 0}, "timeout_s must be a number above 0, got 0"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], said: str) -> None:
    """Missing and wrong settings are refused when the handler is built, without quoting secrets."""
    with pytest.raises(ConfigurationError, match="WebhookHandler: ") as caught:
        WebhookHandler(**settings)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_name_is_settable_and_says_the_server() -> None:
    """The name can be set; by default it contains the server's name."""
    handler = WebhookHandler(url=f"https://hooks.example.com/{TOKEN}")
    assert re.fullmatch(r"webhook:hooks\.example\.com#[0-9a-f]{6}", str(handler.name))
    handler.name = "ops"
    assert handler.name == "ops"
    assert WebhookHandler(url="https://example.com", name="x").name == "x"
