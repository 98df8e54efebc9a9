"""Webhooks against a real local server, and the HTTP seam that other handlers share."""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import inf, nan
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from http_peers import Answer, HttpPeer, http_peer, refused_url
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor._messages.builder import message_for
from supervisor._models.kinds import Kind, Outcome
from supervisor._models.summary import Past
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers._http import HttpConnection
from supervisor.message_handlers._webhook import WebhookHandler, document
from supervisor.models import ErrorDetails, MessageDetails, Progress, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 1, 31, 23, 59, 59, 123456, UTC)
TOKEN = "tok3n-in-the-path"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the proxy of the machine that tests run on out of the way."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    """Run a server for one test."""
    with http_peer() as it:
        yield it


def report(**changes: Any) -> RunReport:
    """Return a report in which everything is said."""
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
    """Return a failure's message, with an attachment that is not there."""
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
        "exit_code": 2,
        "host": "h",
        "user": "u",
        "pid": 42,
        "argv": ["p.py", "--all"],
        "python": "3.12.1",
        "cpu_s": 1.5,
        "peak_memory_bytes": 1000,
        "log_tail": [],
        "log_counts": {},
    }


def test_parts_are_data() -> None:
    """What supervisor composed is there part by part, a traceback once."""
    error = ErrorDetails(type="KeyError", message="'x'", where="p.py:1 in load", excerpt="> 1 | x", traceback="T" * 99)
    details = message_for(Kind.FAILURE, report(error=error, values={"rows": 12}), past=Past())
    body = document(details)
    assert [part["type"] for part in body["parts"]] == ["text", "text", "code", "text", "facts", "code", "facts"]
    values = body["parts"][4]
    assert values["role"] == "values"
    assert values["rows"] == [{"label": "rows", "text": "12", "aside": "", "stands_out": False}]
    assert body["parts"][5] == {"type": "code", "title": "", "text": "", "role": "traceback"}
    assert json.dumps(body).count("T" * 99) == 2  # in the text, and in run.error
    assert not [name for part in body["parts"] for name in part if name not in (WebhookHandler.__doc__ or "")]


def test_every_documented_field_is_there() -> None:
    """The class's docstring names each field of the document."""
    body = document(failure())
    text = WebhookHandler.__doc__ or ""
    names = {*body, *body["run"], *body["run"]["progress"], *body["run"]["error"], *body["attachments"][0]}
    assert not [name for name in names if name not in text]


def test_message_outside_of_runs_has_no_run() -> None:
    """``run`` is null when there was none."""
    assert document(MessageDetails("s", "m"))["run"] is None


@settings(deadline=None)
@given(
    text=st.text(st.characters(codec="utf-8") | st.sampled_from("\0\ud800"), max_size=50),
    values=st.dictionaries(
        st.text(st.characters(), max_size=5),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=9)),
    ),
)
def test_document_is_valid_json_whatever_a_script_says(text: str, values: dict[str, Any]) -> None:
    """Any text and any recorded value becomes strict JSON in UTF-8, without NaN, NUL and half characters."""
    half = text + "\ud800"
    details = failure(subject=half, message=half, report=report(values=values, name=half))
    encoded = json.dumps(document(details), ensure_ascii=False, allow_nan=False).encode()
    assert json.loads(encoded)["subject"] == re.sub("[\0\ud800]", "\ufffd", half)


def test_long_texts_are_cut_with_a_note() -> None:
    """A body of 10 MB does not make a document that no receiver takes."""
    body = document(
        failure(message="x" * 10_000_000, report=report(error=ErrorDetails(type="E", traceback="y" * 10**7)))
    )
    assert len(json.dumps(body)) < 450_000
    assert "characters left out" in body["message"]


def test_signature_is_that_of_standard_webhooks(peer: HttpPeer) -> None:
    """A receiver verifies the request with the id, the timestamp and the body, as the specification lays down."""
    send(WebhookHandler(url=peer.url, secret=SECRET, now_s=lambda: 1_700_000_000.9))
    [request] = peer.requests
    assert request.headers["webhook-timestamp"] == "1700000000"
    signed = b"m1.1700000000." + request.body
    expected = base64.b64encode(hmac.digest(b"0123456789abcdef01234567", signed, "sha256")).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"


def test_signature_agrees_with_the_specifications_own_example() -> None:
    """The key, id, timestamp and body of the reference libraries' tests give the signature that these expect."""
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
        *((status, True) for status in (300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 409, 410, 413, 422)),
        *((status, False) for status in (408, 425, 429, 500, 502, 503, 504, 507)),
    ],
)
def test_other_answers_are_permanent_or_temporary(peer: HttpPeer, status: int, *, permanent: bool) -> None:
    """408, 425, 429 and 5xx may go away; everything else stays."""
    peer.answer(status, {"Location": "https://elsewhere.example"}, "what it says")
    error = refusal(WebhookHandler(url=peer.url))
    assert error.permanent is permanent
    assert str(status) in error.reason
    assert len(peer.requests) == 1


def test_redirect_is_told_and_not_followed(peer: HttpPeer) -> None:
    """A 3xx names the new place, without the token in it."""
    peer.answer(307, {"Location": f"https://new.example/hooks/{TOKEN}"})
    error = refusal(WebhookHandler(url=f"{peer.url}/hooks/{TOKEN}"))
    assert "moved to https://new.example" in error.reason
    assert TOKEN not in error.reason


def test_gone_hook_says_so(peer: HttpPeer) -> None:
    """410 tells the user that the hook is gone."""
    peer.answer(410)
    assert "the hook is gone" in refusal(WebhookHandler(url=peer.url)).reason


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "9999999"}, 86_400.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({}, None),
        ({"Retry-After": format_datetime(NOW + timedelta(seconds=90)), "Date": format_datetime(NOW)}, 90.0),
        ({"Retry-After": format_datetime(NOW - timedelta(seconds=90)), "Date": format_datetime(NOW)}, 0.0),
    ],
)
def test_retry_after_is_honoured(peer: HttpPeer, headers: dict[str, str], wait_s: float | None) -> None:
    """Seconds and dates are understood, dates by the server's own clock; nonsense counts as nothing."""
    peer.answers.append(Answer(503, headers))
    assert refusal(WebhookHandler(url=peer.url)).retry_after_s == wait_s


def test_hang_is_bounded(peer: HttpPeer) -> None:
    """A server that never answers costs the timeout, and the error is temporary."""
    peer.answer(200, delay_s=60)
    started_s = time.monotonic()
    error = refusal(WebhookHandler(url=peer.url, timeout_s=0.2))
    assert time.monotonic() - started_s < 20
    assert (error.permanent, "within 0.2 s" in error.reason) == (False, True)


def test_dripping_answer_is_bounded(peer: HttpPeer) -> None:
    """A server that answers a byte at a time does not hold us longer than the timeout."""
    peer.answer(200, body="x" * 1000, drip_s=0.05)
    started_s = time.monotonic()
    error = refusal(WebhookHandler(url=peer.url, timeout_s=0.5))
    assert time.monotonic() - started_s < 20
    assert "within 0.5 s" in error.reason


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not drop what a full backlog cannot hold")
def test_connection_that_nobody_accepts_is_bounded() -> None:
    """A black hole, here a listener whose queue is full, costs the timeout."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for each in fillers:
                each.setblocking(False)
                each.connect_ex(listener.getsockname())
            started_s = time.monotonic()
            error = refusal(WebhookHandler(url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.3))
        finally:
            for each in fillers:
                each.close()
    assert time.monotonic() - started_s < 6
    assert "within 0.3 s" in error.reason


def test_lost_connections_are_temporary(peer: HttpPeer) -> None:
    """Refused, dropped and unknown servers are temporary faults with a text that says what happened."""
    refused = refusal(WebhookHandler(url=refused_url()))
    peer.answer(drop=True)
    dropped = refusal(WebhookHandler(url=peer.url))
    unknown = refusal(WebhookHandler(url="http://no-such-host.invalid/"))
    assert not any(each.permanent for each in (refused, dropped, unknown))
    assert "refused" in refused.reason
    assert "closed the connection" in dropped.reason
    assert "no-such-host.invalid" in unknown.reason


def test_what_is_no_http_is_temporary() -> None:
    """A server that speaks something else is told as such."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"220 smtp ready\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        error = refusal(WebhookHandler(url=f"http://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join()
    assert (error.permanent, "220 smtp ready" in error.reason) == (False, True)


def test_secrets_appear_nowhere(peer: HttpPeer, caplog: pytest.LogCaptureFixture) -> None:
    """Tokens in the path, the query, the headers, the password and the secret stay out of repr, errors and logs."""
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
    """What is missing or wrong is told when the handler is built, without quoting what may be secret."""
    with pytest.raises(ConfigurationError, match="WebhookHandler: ") as caught:
        WebhookHandler(**settings)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_name_is_settable_and_says_the_server() -> None:
    """The name finds the handler again; by default it is the server's."""
    handler = WebhookHandler(url=f"https://hooks.example.com/{TOKEN}")
    assert handler.name == "webhook hooks.example.com"
    handler.name = "ops"
    assert handler.name == "ops"
    assert WebhookHandler(url="https://example.com", name="x").name == "x"


def test_connection_is_kept_and_mended(peer: HttpPeer) -> None:
    """Many messages share a connection, and one that the server has closed meanwhile is replaced unseen."""
    handler = WebhookHandler(url=peer.url)
    for _ in range(5):
        handler.send_message(failure())
    assert peer.connections == 1
    peer.hang_up()
    handler.send_message(failure())
    assert peer.connections == 2
    handler.close()
    send(handler)
    assert peer.connections == 3


def test_connection_that_was_idle_for_long_is_not_used(peer: HttpPeer) -> None:
    """Firewalls forget idle connections silently, so after a while a new one is opened."""
    now_s = 0.0
    connection = HttpConnection(peer.url, 5.0, clock=lambda: now_s)
    connection.post("/", b"", {})
    now_s = 14.0
    connection.post("/", b"", {})
    assert peer.connections == 1
    now_s = 30.0
    connection.post("/", b"", {})
    connection.close()
    assert peer.connections == 2


def test_threads_share_a_handler(peer: HttpPeer) -> None:
    """Messages of several threads do not get into each other's way."""
    handler = WebhookHandler(url=peer.url)

    def send_ten() -> None:
        for _ in range(10):
            handler.send_message(failure())

    threads = [threading.Thread(target=send_ten) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    handler.close()
    assert len(peer.requests) == 40
    assert peer.connections <= 4
    assert all(request.json["id"] == "m1" for request in peer.requests)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child_opens_a_connection_of_its_own(peer: HttpPeer) -> None:
    """Parent and child do not talk on one connection."""
    handler = WebhookHandler(url=peer.url)
    handler.send_message(failure())
    child = os.fork()  # type: ignore[attr-defined,unused-ignore]  # there is none on Windows
    if not child:
        try:
            handler.send_message(failure())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    handler.send_message(failure())
    handler.close()
    assert (len(peer.requests), peer.connections) == (3, 2)


def test_forgotten_handler_leaves_no_socket_open(peer: HttpPeer) -> None:
    """A handler that nobody closed gives its connection back without a warning."""
    handler = WebhookHandler(url=peer.url)
    handler.send_message(failure())
    del handler


def test_refusal_in_the_middle_of_a_large_body_is_heard() -> None:
    """A server that answers and hangs up before it has read all of a body is heard, not taken for a lost connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                time.sleep(0.2)  # the answer arrives; then closing resets the connection, since much is unread

        thread = threading.Thread(target=refuse)
        thread.start()
        connection = HttpConnection(f"http://127.0.0.1:{listener.getsockname()[1]}", 20.0)
        answer = connection.post("/", b"x" * 50_000_000, {})
        connection.close()
        thread.join()
    assert answer.status == 413


def test_answer_without_its_end_counts() -> None:
    """A status that arrived decides, even if its body never ends: sending again would make a repeat."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def stop_in_the_middle() -> None:
            connection, _ = listener.accept()
            with connection:
                while not connection.recv(65_536).endswith(b"}"):
                    pass
                connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\nab")
                connection.recv(65_536)  # until the client has gone

        thread = threading.Thread(target=stop_in_the_middle)
        thread.start()
        send(WebhookHandler(url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=1))
        thread.join()


def test_slow_upload_may_take_longer_than_the_timeout() -> None:
    """The timeout counts for each block that is sent, so a large body on a slow line arrives."""
    body = b"x" * 20_000_000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # or the system takes it all at once

        def read_slowly() -> None:
            connection, _ = listener.accept()
            with connection:
                got = 0
                while got < len(body):
                    pause_at = got + 1_000_000
                    while got < min(pause_at, len(body)):
                        got += len(connection.recv(65_536))
                    time.sleep(0.1)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=read_slowly)
        thread.start()
        connection = HttpConnection(f"http://127.0.0.1:{listener.getsockname()[1]}", 1.2)
        started_s = time.monotonic()
        answer = connection.post("/", body, {})
        connection.close()
        thread.join()
    assert time.monotonic() - started_s > 1.2
    assert answer.status == 200


def test_huge_answer_is_not_read() -> None:
    """Only the beginning of an answer is read, and its connection is not used again."""
    with http_peer() as peer:
        peer.answer(500, body=b"x" * 5_000_000)
        connection = HttpConnection(peer.url, 10.0)
        assert len(connection.post("/", b"", {}).body) == 65_536
        connection.post("/", b"", {})
        connection.close()
        assert peer.connections == 2


def test_certificate_is_verified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server's certificate must be trusted: if it is the message goes, if not the error says so."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with http_peer(tls=context) as peer:
        error = refusal(WebhookHandler(url=peer.url))
        assert (error.permanent, "certificate of 127.0.0.1" in error.reason) == (False, True)
        assert not peer.requests
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        handler = WebhookHandler(url=peer.url)
        handler.send_message(failure())
        handler.send_message(failure())
        handler.close()
        assert len(peer.requests) == 2


def test_proxy_of_the_environment_is_used(peer: HttpPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP goes through HTTP_PROXY with its credentials, unless NO_PROXY names the server."""
    monkeypatch.setenv("http_proxy", peer.url.replace("://", "://pu:pp@"))
    send(WebhookHandler(url="http://hooks.example.com:8080/x?y"))
    [request] = peer.requests
    assert request.path == "http://hooks.example.com:8080/x?y"
    assert request.headers["Host"] == "hooks.example.com:8080"
    assert request.headers["Proxy-Authorization"] == f"Basic {base64.b64encode(b'pu:pp').decode()}"
    monkeypatch.setenv("http_proxy", refused_url())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    send(WebhookHandler(url=peer.url))
    assert peer.requests[1].path == "/"


def test_https_goes_through_a_proxys_tunnel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HTTPS goes through HTTPS_PROXY by CONNECT, and the certificate checked is the server's."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example.com").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with http_peer(tls=context) as peer, _tunnel(peer.port) as (proxy, asked):
        monkeypatch.setenv("https_proxy", proxy.replace("://", "://pu:pp@"))
        send(WebhookHandler(url="https://hooks.example.com/x"))
        assert [request.path for request in peer.requests] == ["/x"]
    assert asked[0].startswith(b"CONNECT hooks.example.com:443 ")
    assert base64.b64encode(b"pu:pp") in asked[0]


class _tunnel:  # noqa: N801 - used as a function
    """Run a proxy that answers one CONNECT by a tunnel to a local port, and remembers what it was asked."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._asked: list[bytes] = []

    def __enter__(self) -> tuple[str, list[bytes]]:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)  # so that a failing test does not hang
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}", self._asked

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            self._asked.append(client.recv(65_536))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pump, args=(server, client))
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
