"""Apprise against a real local server, by its ``json://`` and ``form://`` services."""

from __future__ import annotations

import base64
import logging
import re
import ssl
import subprocess
import sys
import time
import warnings
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trustme
from http_peers import Answer, Channel, HttpPeer, http_peer, refused_url

from supervisor._messages import message_for
from supervisor._models import Kind, Outcome
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers._apprise import AppriseHandler, bodies_for_service
from supervisor.models import ErrorDetails, MessageDetails, RunReport

if TYPE_CHECKING:
    from pathlib import Path

apprise = pytest.importorskip("apprise")
CHANNELS = {
    "apprise": Channel(
        make=lambda url, **settings: AppriseHandler(urls=f"{url.replace('http', 'json', 1)}/hook", **settings),
        accepted=Answer(body="taken"),
        takes_any_success=True,
        host="ntfy.sh",
        example="AppriseHandler(",
    )
}
TOKEN = "t0k3n-in-the-path"


@pytest.fixture(autouse=True, scope="module")
def _loaded_plugins() -> None:
    """Load apprise's plugins before warnings become errors, because some use deprecated functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        apprise.Apprise.instantiate("json://localhost")


def url(peer: HttpPeer, rest: str = "") -> str:
    """Return the URL by which apprise sends JSON to a peer."""
    return f"json://127.0.0.1:{peer.port}{rest}"


def refusal(handler: AppriseHandler, details: MessageDetails | None = None) -> DeliveryError:
    """Send one message that is expected to fail, and return the error."""
    with pytest.raises(DeliveryError) as caught:
        handler.send_message(details or MessageDetails("s", "m"))
    return caught.value


def test_message_arrives(peer: HttpPeer) -> None:
    """Subject, text and type arrive in the service's own fields."""
    AppriseHandler(urls=url(peer)).send_message(MessageDetails("failed", "1 < 2\n* 3", kind=Kind.FAILURE))
    [request] = peer.requests
    sent = request.json
    assert (sent["title"], sent["message"], sent["type"]) == ("failed", "1 < 2\n* 3", "failure")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.FAILURE, "failure"),
        (Kind.DIED, "failure"),
        (Kind.STALLED, "warning"),
        (Kind.OVERDUE, "warning"),
        (Kind.MISSED, "warning"),
        (Kind.SUCCESS, "success"),
        (Kind.RECOVERY, "success"),
        (Kind.START, "info"),
        (Kind.PROGRESS, "info"),
        (Kind.NOTICE, "info"),
    ],
)
def test_each_kind_has_its_type(peer: HttpPeer, kind: Kind, expected: str) -> None:
    """Each kind of message has one of apprise's types."""
    AppriseHandler(urls=url(peer)).send_message(MessageDetails("s", "m", kind=kind))
    assert peer.requests[0].json["type"] == expected


def test_attachments_arrive(peer: HttpPeer, tmp_path: Path) -> None:
    """Files are sent to services that accept them, and the text notes the others."""
    (tmp_path / "run.log").write_text("line\n" * 1000)
    details = MessageDetails("s", "m", attachments=[tmp_path / "run.log", tmp_path / "gone.csv"])
    AppriseHandler(urls=url(peer)).send_message(details)
    sent = peer.requests[0].json
    [file] = sent["attachments"]
    assert file["filename"] == "run.log"
    assert base64.b64decode(file["base64"]) == b"line\n" * 1000
    assert "gone.csv" in sent["message"]


def failure(**changes: Any) -> MessageDetails:
    """Return a failure as supervisor composes it."""
    facts: dict[str, Any] = {
        "id": "r1",
        "name": "parcels",
        "started_at": datetime(2026, 3, 1, tzinfo=UTC),
        "outcome": Outcome.FAILURE,
        "host": "gis-01",
        "values": {"rows_a": "<5>"},
        "error": ErrorDetails(
            type="KeyError",
            message="'x'",
            where="p.py:1 in load",
            excerpt="> 1 | __x__",
            traceback="Traceback\n  *line*",
        ),
    }
    return message_for(Kind.FAILURE, RunReport(**(facts | changes)))


def test_composed_message_is_text_where_text_is_wanted(peer: HttpPeer) -> None:
    """A service that accepts every format gets the text."""
    details = failure()
    AppriseHandler(urls=url(peer)).send_message(details)
    assert peer.requests[0].json["message"].strip() == details.message.strip()


def test_composed_message_is_markdown_where_markdown_is_wanted(peer: HttpPeer, tmp_path: Path) -> None:
    """For Markdown, code is in fences, and markup in texts is escaped."""
    details = attrs.evolve(failure(), attachments=[tmp_path / "gone.csv"])
    AppriseHandler(urls=url(peer, "/?format=markdown")).send_message(details)
    sent = peer.requests[0].json["message"]
    assert "**KeyError: 'x'**" in sent
    assert "```\n> 1 | __x__\n```" in sent
    assert "```\nTraceback\n  *line*\n```" in sent
    assert "- rows\\_a: \\<5\\>" in sent
    assert "gone.csv" in sent


def test_composed_message_is_html_where_html_is_wanted(peer: HttpPeer) -> None:
    """A service that prefers HTML gets the HTML page."""
    AppriseHandler(urls=url(peer, "/?format=html")).send_message(failure())
    sent = peer.requests[0].json["message"]
    assert "<table" in sent
    assert "&lt;5&gt;" in sent


def test_long_markdown_goes_in_whole_pieces(peer: HttpPeer) -> None:
    """Each piece of a long message is valid Markdown, and a repeat begins with the missing pieces."""
    trace = "\n".join(f"  File p.py, line {n}" for n in range(250))
    details = failure(error=ErrorDetails(type="KeyError", traceback=trace))
    handler = AppriseHandler(urls=url(peer, "/?format=markdown"))
    [service] = handler._loaded()
    type(service).body_maxlen, before = 2_000, type(service).body_maxlen
    try:
        peer.answers += [Answer(200), Answer(200), Answer(500)]
        refusal(handler, details)
        handler.send_message(details)
    finally:
        type(service).body_maxlen = before
    sent = [request.json["message"] for request in peer.requests]
    assert sent[2] == sent[3]
    whole = sent[:2] + sent[3:]
    assert 3 < len(whole) <= 10
    assert all(each.count("```") % 2 == 0 for each in whole)
    assert [line for each in whole for line in each.split("\n") if "line " in line] == trace.split("\n")


@pytest.mark.parametrize(
    ("formats", "used"),
    [
        ("text", "text"),
        (("text", "markdown"), "markdown"),
        (("text", "html", "markdown"), "text"),
        ("markdown", "markdown"),
        (("html", "markdown"), "html"),
        ("html", "html"),
    ],
)
def test_each_service_gets_what_suits_it(formats: Any, used: str) -> None:
    """The service's preferred format decides; a chat that accepts Markdown and text gets Markdown."""
    service: Any = SimpleNamespace(notify_format=formats, body_maxlen=50_000)
    assert bodies_for_service(service, failure(), [])[0] == used
    assert bodies_for_service(service, MessageDetails("s", "the script's own"), [])[0] == "text"


def bodies_of(url: str) -> list[str]:
    """Return what one of apprise's own services gets of a failure."""
    [service] = AppriseHandler(urls=url)._loaded()
    details = failure(error=ErrorDetails(type="KeyError", message="12_*x <b>", traceback="a_b\n  c"))
    return bodies_for_service(service, details, [])[1]


def test_telegram_gets_the_tags_that_it_knows() -> None:
    """Markdown with one underscore too many would be refused."""
    [body] = bodies_of("tgram://123456789:AAABBBCCCDDDEEEFFFGGGHHHIIIJJJKKKLL/12345678")
    assert "<b>KeyError: 12_*x &lt;b&gt;</b>" in body
    assert "<pre>a_b\n  c</pre>" in body
    assert "\\" not in body


def test_google_chat_shows_no_backslashes() -> None:
    """Its markup knows none; code stands in blocks."""
    [body] = bodies_of("gchat://AAAA/BBBBkeykeykeykey/CCCCtokentoken")
    assert "12_*x <b>" in body
    assert "```\na_b\n  c\n```" in body


def test_mattermost_gets_markdown() -> None:
    """It would take the indented lines of a text for code."""
    [body] = bodies_of("mmosts://chat.example.com/abcdefghijklmnopqrstuvwxyz")
    assert "```\na_b\n  c\n```" in body


def test_a_short_message_gets_the_beginning() -> None:
    """An SMS has the subject and the first lines, not all in eight pieces."""
    [body] = bodies_of(
        "twilio://AC0123456789abcdef0123456789abcdef:0123456789abcdef0123456789abcdef@+15551234567/+15557654321"
    )
    assert len(body) <= 160
    assert "Traceback" not in body


def test_html_that_does_not_fit_is_markdown_or_text() -> None:
    """An HTML page that does not fit one message is replaced by another format."""
    service: Any = SimpleNamespace(notify_format=("html", "markdown"), body_maxlen=4_000)
    assert bodies_for_service(service, failure(), [])[0] == "markdown"
    service = SimpleNamespace(notify_format="html", body_maxlen=4_000)
    assert bodies_for_service(service, failure(), [])[0] == "text"


def test_service_without_files_names_them(peer: HttpPeer, tmp_path: Path) -> None:
    """For a service that accepts no files, the text lists them."""
    (tmp_path / "run.log").write_text("x")
    handler = AppriseHandler(urls=url(peer))
    [service] = handler._loaded()
    service.attachment_support = False
    handler.send_message(MessageDetails("s", "m", attachments=[tmp_path / "run.log"]))
    sent = peer.requests[0].json
    assert sent["attachments"] == []
    assert "run.log: not sent, since this service takes no files" in sent["message"]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500, 503])
def test_refusal_is_temporary_and_says_why(peer: HttpPeer, status: int) -> None:
    """Apprise's failures are temporary, and the error has the reason that apprise logged."""
    peer.answer(status)
    error = refusal(AppriseHandler(urls=url(peer)))
    assert (error.permanent, error.retry_after_s) == (False, None)
    assert "JSON did not take it" in error.reason
    assert str(status) in error.reason


def test_hang_and_lost_connections_are_temporary(peer: HttpPeer) -> None:
    """A server that hangs, closes the connection or is missing takes at most the timeout, and is named in the error."""
    peer.answers += [Answer(200, delay_s=60), Answer(drop=True)]
    started_s = time.monotonic()
    errors = [refusal(AppriseHandler(urls=url(peer), timeout_s=0.2)), refusal(AppriseHandler(urls=url(peer)))]
    errors.append(refusal(AppriseHandler(urls=refused_url().replace("http", "json"))))
    assert time.monotonic() - started_s < 30
    assert not any(error.permanent for error in errors)
    assert all("Connection error" in error.reason for error in errors)


def test_urls_own_timeouts_go_first(peer: HttpPeer) -> None:
    """``cto`` and ``rto`` in a URL are kept, and so is its ``overflow``."""
    [service] = AppriseHandler(urls=url(peer, "/?cto=7&rto=8&overflow=truncate"), timeout_s=3)._loaded()
    assert (service.socket_connect_timeout, service.socket_read_timeout) == (7, 8)
    assert service.overflow_mode == "truncate"
    [service] = AppriseHandler(urls=url(peer), timeout_s=3)._loaded()
    assert (service.socket_connect_timeout, service.socket_read_timeout) == (3, 3)
    assert service.overflow_mode == "split"


def test_only_what_failed_is_tried_again(peer: HttpPeer) -> None:
    """Of several URLs, those that accepted the message do not get it twice; the next message goes to all."""
    with http_peer() as other:
        handler = AppriseHandler(urls=[url(peer), url(other)])
        details = MessageDetails("s", "m")
        other.answers.append(Answer(500))
        refusal(handler, details)
        handler.send_message(details)
        assert (len(peer.requests), len(other.requests)) == (1, 2)
        handler.send_message(MessageDetails("s", "m"))
        assert (len(peer.requests), len(other.requests)) == (2, 3)


def test_what_never_succeeds_is_forgotten(peer: HttpPeer) -> None:
    """The number of unfinished messages in memory is bounded."""
    peer.answer(500)
    handler = AppriseHandler(urls=[url(peer)])
    for _ in range(150):
        refusal(handler, MessageDetails("s", "m"))
    assert len(handler._reached) <= 100


def test_long_text_goes_in_pieces(peer: HttpPeer) -> None:
    """A long text is sent in several pieces, in order and without loss."""
    text = "".join(f"line {n}\n" for n in range(8_000))
    AppriseHandler(urls=url(peer)).send_message(MessageDetails("s", text))
    assert len(peer.requests) > 1
    joined = "".join(request.json["message"] for request in peer.requests)
    assert [line for line in joined.replace("line", "\nline").splitlines() if line] == text.splitlines()


def test_huge_text_is_cut(peer: HttpPeer) -> None:
    """A text of 10 MB is cut to at most ten pieces."""
    AppriseHandler(urls=url(peer)).send_message(MessageDetails("s", "x" * 10_000_000))
    assert 1 < len(peer.requests) <= 12
    assert any("characters left out" in request.json["message"] for request in peer.requests)


@pytest.mark.parametrize(
    ("subject", "text"),
    [("", ""), (" ", "\r\n"), ("a\r\nX: y", "nul\0 half\ud800 🏔"), ("half\udfff", ""), ("🏔" * 10_000, "x")],
)
def test_hostile_texts_arrive(peer: HttpPeer, subject: str, text: str) -> None:
    """Any text arrives, and a subject is one line."""
    AppriseHandler(urls=url(peer)).send_message(MessageDetails(subject, text))
    sent = peer.requests[0].json
    assert "\n" not in sent["title"]
    assert sent["message"].strip()
    assert "\0" not in sent["message"]


@pytest.mark.parametrize("bad", [f"nosuchservice://{TOKEN}", f"slack://{TOKEN}", "json://"])
def test_url_that_apprise_does_not_know_is_permanent(peer: HttpPeer, bad: str) -> None:
    """A wrong URL is reported with the first message, by its index and scheme alone."""
    error = refusal(AppriseHandler(urls=[url(peer), f"{bad}"] if bad != "json://" else ["json://:80"]))
    assert error.permanent
    assert "is no URL that apprise can use" in error.reason
    assert TOKEN not in error.reason
    assert not peer.requests


def test_secrets_appear_nowhere(peer: HttpPeer, caplog: pytest.LogCaptureFixture) -> None:
    """Secrets in a URL appear in no repr, name, error or log."""
    caplog.set_level(logging.INFO)
    handler = AppriseHandler(urls=f"json://me:passw0rd@127.0.0.1:{peer.port}/{TOKEN}?+X-Key=h3ader-key")
    peer.answer(500, body=f"{TOKEN} passw0rd h3ader-key")
    seen = [repr(handler), str(handler.name), str(refusal(handler)), caplog.text]
    gone = AppriseHandler(urls=f"json://me:passw0rd@{TOKEN}.invalid/")
    seen += [str(refusal(gone))]
    secrets = (TOKEN, "passw0rd", "h3ader-key")
    assert not [secret for secret in secrets for text in seen if secret in text]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"urls": ""},
        {"urls": []},
        {"urls": None},
        {"urls": "no-url-but-s3cret"},
        {"urls": ["json://localhost", " "]},
        {"urls": ["json://localhost", 5]},
        {"urls": "json://localhost", "timeout_s": 0},
        {"urls": "json://localhost", "name": " "},
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any]) -> None:
    """A missing or impossible URL is refused when the handler is built."""
    with pytest.raises(ConfigurationError, match=r"^AppriseHandler: ") as caught:
        AppriseHandler(**settings)
    assert "s3cret" not in str(caught.value)


def test_a_certificate_is_verified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Why TLS failed is said, which apprise itself does not; SSL_CERT_FILE names the authority, as for all handlers."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with http_peer(tls=context) as peer:
        handler = AppriseHandler(urls=f"jsons://127.0.0.1:{peer.port}/{TOKEN}")
        error = refusal(handler)
        assert "the certificate is not trusted: unable to get local issuer certificate" in error.reason
        assert TOKEN not in error.reason
        assert not error.permanent
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        handler.send_message(failure())
        assert len(peer.requests) == 1


def test_name_is_settable() -> None:
    """The name can be set, and has a default."""
    assert re.fullmatch(r"apprise:json#[0-9a-f]{6}", str(AppriseHandler(urls="json://localhost").name))
    assert AppriseHandler(urls="json://localhost", name="ops").name == "ops"


def test_missing_library_says_how_to_install_it() -> None:
    """Without apprise the handler can be built, and sending names the missing package."""
    script = """
import sys
sys.modules["apprise"] = None  # what an import that fails leaves behind
from supervisor.errors import DeliveryError
from supervisor.message_handlers._apprise import AppriseHandler
from supervisor.models import MessageDetails
handler = AppriseHandler(urls="json://localhost")
try:
    handler.send_message(MessageDetails("s", "m"))
except DeliveryError as error:
    print(error.permanent, error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "True AppriseHandler needs apprise: pip install 'agrc-supervisor[apprise]'"


def test_building_handlers_loads_no_client_library() -> None:
    """A fresh interpreter that builds every handler here has loaded neither a client library nor an HTTP client."""
    script = """
import sys
from supervisor.message_handlers._apprise import AppriseHandler
from supervisor.message_handlers._healthchecks import HealthchecksHandler
from supervisor.message_handlers._sendgrid import SendGridHandler
from supervisor.message_handlers._webhook import WebhookHandler
AppriseHandler(urls="json://localhost")
HealthchecksHandler(ping_key="k", slug="s")
SendGridHandler(api_key="k", from_address="a@b.c", to_addresses="a@b.c")
WebhookHandler(url="https://example.com", secret="s")
print({"apprise", "sendgrid", "python_http_client", "http.client", "ssl", "email.message"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
