"""Mails against a local server that answers as Microsoft Graph and Microsoft's token server do."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from http_peers import Answer, Channel, HttpPeer, Request, http_peer

from supervisor._models import Kind
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers import MicrosoftGraphHandler
from supervisor.message_handlers._msgraph import PIECE_BYTES
from supervisor.models import MessageDetails

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = {"access_token": "t0ken", "expires_in": 3600}
LOGIN = {"tenant": "example.com", "client_id": "c1", "client_secret": "s3cret-value"}


def made(url: str, **settings: Any) -> MicrosoftGraphHandler:
    """Return a handler that has a token already."""
    handler = without_token(url, **{"oauth2": LOGIN, **settings})
    handler._tokens._keep("t0ken", TOKEN)
    return handler


def without_token(url: str, **settings: Any) -> MicrosoftGraphHandler:
    """Return a handler that asks for a token first."""
    login = {**LOGIN, "token_url": f"{url}/token"}
    addresses = {"from_address": "gis@example.com", "to_addresses": "ops@example.com"}
    return MicrosoftGraphHandler(**{"oauth2": login, "host": url, **addresses, **settings})


CHANNELS = {
    "msgraph": Channel(make=made, accepted=Answer(202), host="graph.microsoft.com", example="MicrosoftGraphHandler(")
}


def graph(request: Request) -> Answer | None:
    """Return Graph's response to a request; None for one that its tests answer."""
    if request.path == "/token":
        return Answer(body=TOKEN)
    if request.method == "PUT":
        return Answer(200)
    if request.headers["Authorization"] != "Bearer t0ken":
        return Answer(401, body={"error": {"code": "InvalidAuthenticationToken", "message": "expired"}})
    way = unquote(request.path).removeprefix("/v1.0/users/gis@example.com/")
    sent = json.loads(request.body or b"{}")
    upload = {"uploadUrl": f"http://{request.headers['Host']}/upload?key=s3cret"}
    return {
        "messages": Answer(201, body={**sent, "id": "AAMk=/1"}),  # the answer has the whole message
        "messages/AAMk=/1": Answer(200, body=sent),
        "messages/AAMk=/1/attachments/createUploadSession": Answer(201, body=upload),
    }.get(way)


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    """Run a Graph for one test."""
    with http_peer(graph) as it:
        it.answer(202)
        yield it


def send(handler: MicrosoftGraphHandler, details: MessageDetails) -> None:
    """Send one message and close the handler."""
    try:
        handler.send_message(details)
    finally:
        handler.close()


def mails(peer: HttpPeer) -> list[dict[str, Any]]:
    """Return the mails that were sent in one request."""
    return [each.json["message"] for each in peer.requests if each.path.endswith("/sendMail")]


def test_a_mail_arrives(peer: HttpPeer, tmp_path: Path) -> None:
    """Recipients with their names, subject with its prefix, HTML, the message's id, and the attachment."""
    (tmp_path / "a.csv").write_text("1,2\n")
    settings = {"prefix": "[gis] ", "cc": "Jane <jane@example.com>", "client_name": "erap", "client_version": "1.2"}
    details = MessageDetails("Loaded", "12 < 13 rows", tmp_path / "a.csv", kind=Kind.NOTICE)
    send(without_token(peer.url, **settings), details)
    [mail] = mails(peer)
    assert mail["subject"] == "[gis] Loaded"
    assert mail["toRecipients"] == [{"emailAddress": {"address": "ops@example.com"}}]
    assert mail["ccRecipients"] == [{"emailAddress": {"address": "jane@example.com", "name": "Jane"}}]
    assert "12 &lt; 13 rows" in mail["body"]["content"]
    assert "erap version: 1.2" in mail["body"]["content"]
    assert {"name": "x-supervisor-message-id", "value": details.id} in mail["internetMessageHeaders"]
    [attached] = mail["attachments"]
    assert (attached["name"], base64.b64decode(attached["contentBytes"])) == ("a.csv", b"1,2\n")
    assert not peer.requests[-1].json["saveToSentItems"]


def test_large_attachments_are_uploaded(peer: HttpPeer, tmp_path: Path) -> None:
    """A draft, its files in pieces without the token, and then it is sent."""
    content = bytes(range(256)) * 16_000
    (tmp_path / "map.png").write_bytes(content)
    send(without_token(peer.url), MessageDetails("Loaded", "x" * 100_000, tmp_path / "map.png"))
    ways = [re.sub(r".*/v1.0/users/[^/]*/", "", each.path) for each in peer.requests]
    assert ways[1] == "messages"
    assert ways[-1] == "messages/AAMk%3D%2F1/send"
    pieces = [each for each in peer.requests if each.method == "PUT"]
    assert b"".join(each.body for each in pieces) == content
    assert [each.headers["Content-Range"] for each in pieces] == [
        f"bytes 0-{PIECE_BYTES - 1}/{len(content)}",
        f"bytes {PIECE_BYTES}-{len(content) - 1}/{len(content)}",
    ]
    assert not any("Authorization" in each.headers for each in pieces)
    (text,) = [each for each in peer.requests if each.method == "PATCH"]
    assert "x" * 100_000 in text.json["body"]["content"]


def test_a_token_that_was_withdrawn_is_renewed(peer: HttpPeer) -> None:
    """A kept token that Graph refuses is replaced once, within the same attempt."""
    handler = without_token(peer.url)
    handler.send_message(MessageDetails("one"))
    peer.answers.append(Answer(401, body={"error": {"code": "InvalidAuthenticationToken"}}))
    send(handler, MessageDetails("two"))
    assert [each.path.rpartition("/")[2] for each in peer.requests] == [
        "token",
        "sendMail",
        "sendMail",
        "token",
        "sendMail",
    ]


@pytest.mark.parametrize(
    ("status", "code", "permanent", "wait_s", "words"),
    [
        (403, "ErrorAccessDenied", False, 3600.0, "consent to the application permission Mail.Send"),
        (404, "ErrorInvalidUser", True, None, "there is no such mailbox: check from_address"),
        (400, "ErrorInvalidRecipients", True, None, "check to_addresses, cc and bcc"),
        (429, "ApplicationThrottled", False, 7.0, "429 Too Many Requests"),
        (503, "serviceNotAvailable", False, 7.0, "serviceNotAvailable: said"),
    ],
)
def test_refusals_say_what_helps(
    peer: HttpPeer, status: int, code: str, wait_s: float | None, words: str, *, permanent: bool
) -> None:
    """Graph's own text, its meaning and the remedy."""
    peer.answer(status, {"Retry-After": "7"} if wait_s == 7.0 else {}, {"error": {"code": code, "message": "said"}})
    with pytest.raises(DeliveryError) as caught:
        send(without_token(peer.url), MessageDetails("Loaded"))
    assert (caught.value.permanent, caught.value.retry_after_s) == (permanent, wait_s)
    assert words in caught.value.reason


def test_an_upload_that_fails_shows_no_secret(peer: HttpPeer, tmp_path: Path) -> None:
    """The address of an upload is a secret; the draft is not sent."""
    (tmp_path / "map.png").write_bytes(bytes(3_000_000))
    peer.answers += [
        Answer(body=TOKEN),
        Answer(201, body={"id": "1"}),
        Answer(201, body={"uploadUrl": f"{peer.url}/upload?key=s3cret"}),
        Answer(500, body="no room at /upload?key=s3cret"),
    ]
    with pytest.raises(DeliveryError) as caught:
        send(without_token(peer.url), MessageDetails("Loaded", "", tmp_path / "map.png"))
    assert "s3cret" not in caught.value.reason
    assert not any(each.path.endswith("/send") for each in peer.requests)


def test_a_message_of_any_size_is_sent(peer: HttpPeer) -> None:
    """The text is cut to what a request may have."""
    send(without_token(peer.url), MessageDetails("Loaded", "x" * 9_000_000))
    assert len(peer.requests[-1].body) < 3_000_000
    assert json.loads(peer.requests[-1].body)


def test_what_is_missing_is_named_when_it_is_built() -> None:
    """The login, the sender and the recipients."""
    with pytest.raises(ConfigurationError, match="MicrosoftGraphHandler: oauth2 for microsoft needs tenant"):
        MicrosoftGraphHandler(from_address="a@example.com", to_addresses="b@example.com")
    with pytest.raises(ConfigurationError, match="oauth2 must be a mapping of settings"):
        MicrosoftGraphHandler(oauth2="x", from_address="a@example.com", to_addresses="b@example.com")  # type: ignore[arg-type] # what is tested
    with pytest.raises(ConfigurationError, match="at least one address"):
        MicrosoftGraphHandler(oauth2=LOGIN, from_address="a@example.com")
