"""Access tokens, against a server that gives them as Microsoft and Google do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest
from http_peers import HttpPeer, http_peer, refused_url
from smtp_peers import MailServer

from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers import EmailHandler
from supervisor.message_handlers._oauth2 import Login, TokenSource
from supervisor.models import MessageDetails

if TYPE_CHECKING:
    from collections.abc import Iterator

APPLICATION = {"provider": "microsoft", "tenant": "example.com", "client_id": "c1", "client_secret": "s3cret-value"}


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    """Run a server that gives a token, valid for an hour."""
    with http_peer() as it:
        it.answer(body={"access_token": "t0ken", "expires_in": 3600, "token_type": "Bearer"})
        yield it


def source(peer: HttpPeer, service: Any = "smtp", **settings: str) -> TokenSource:
    """Return a source of tokens with this server."""
    login = Login.of({**APPLICATION, "token_url": f"{peer.url}/token", **settings}, "Any", "gis@example.com")
    return TokenSource(login, service, 5.0)


def asked(peer: HttpPeer) -> list[dict[str, str]]:
    """Return the forms that were posted."""
    return [dict(parse_qsl(each.body.decode())) for each in peer.requests]


def test_an_application_logs_in_for_itself(peer: HttpPeer) -> None:
    """Client credentials (RFC 6749, 4.4), with the scope of the service."""
    assert source(peer)() == source(peer, "graph")() == "t0ken"
    first, second = asked(peer)
    assert first == {
        "grant_type": "client_credentials",
        "client_id": "c1",
        "client_secret": "s3cret-value",
        "scope": "https://outlook.office365.com/.default",
    }
    assert second["scope"] == "https://graph.microsoft.com/.default"


def test_a_token_is_kept_until_it_expires(peer: HttpPeer) -> None:
    """Two uses ask once; one that is over, or about to be, is replaced."""
    tokens = source(peer)
    assert (tokens(), tokens()) == ("t0ken", "t0ken")
    assert len(peer.requests) == 1
    peer.answer(body={"access_token": "short", "expires_in": 0})
    short = source(peer)
    assert (short(), short()) == ("short", "short")
    assert len(peer.requests) == 3


def test_a_refused_token_is_renewed_once(peer: HttpPeer) -> None:
    """One that was kept may have been withdrawn; a new one that is refused would be so again."""
    tokens = source(peer)
    tokens()
    assert not tokens.renew()
    tokens()
    tokens()
    assert tokens.renew()
    tokens()
    assert len(peer.requests) == 3


def test_a_refresh_token_is_replaced_by_the_newest(peer: HttpPeer) -> None:
    """Microsoft gives a new one with each access token."""
    peer.answer(body={"access_token": "t0ken", "expires_in": "0", "refresh_token": "second"})
    tokens = source(peer, refresh_token="first")
    tokens()
    tokens()
    assert [each["refresh_token"] for each in asked(peer)] == ["first", "second"]
    assert asked(peer)[0]["grant_type"] == "refresh_token"
    assert "SMTP.Send" in asked(peer)[0]["scope"]


def test_no_refusal_shows_the_newest_refresh_token(peer: HttpPeer) -> None:
    """A provider that quotes what it was sent may quote the token that it gave itself."""
    peer.answer(body={"access_token": "t0ken", "expires_in": 0, "refresh_token": "second-s3cret"})
    tokens = source(peer, refresh_token="first-s3cret")
    tokens()
    peer.answer(400, body={"error": "invalid_grant", "error_description": "second-s3cret is revoked"})
    with pytest.raises(DeliveryError) as caught:
        tokens()
        tokens()
    assert "s3cret" not in caught.value.reason


def test_a_service_account_signs_what_it_asks(peer: HttpPeer) -> None:
    """The assertion names the mailbox, the scope and the server, and is signed with the account's key (RFC 7523)."""
    jwt = pytest.importorskip("google.auth.jwt")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    account = json.dumps(
        {"client_email": "a@project.example.com", "private_key": private.decode(), "private_key_id": "1",
         "token_uri": "https://oauth2.googleapis.com/token"}
    )  # fmt: skip
    url = f"{peer.url}/token"
    settings = {"provider": "google", "service_account": account, "token_url": url}
    assert TokenSource(Login.of(settings, "Any", "gis@example.com"), "smtp", 5.0)() == "t0ken"
    [form] = asked(peer)
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = jwt.decode(form["assertion"], certs=public, audience=url)
    assert (claims["iss"], claims["sub"], claims["scope"]) == (
        "a@project.example.com",
        "gis@example.com",
        "https://mail.google.com/",
    )


def test_a_key_that_is_none_is_named(peer: HttpPeer) -> None:
    """It does not pass by itself, so it is permanent; the key is not quoted."""
    pytest.importorskip("google.auth")
    settings = {"provider": "google", "service_account": "{}", "token_url": peer.url}
    with pytest.raises(DeliveryError, match="no JSON key of a service account") as caught:
        TokenSource(Login.of(settings, "Any", "gis@example.com"), "smtp", 5.0)()
    assert caught.value.permanent


@pytest.mark.parametrize(
    ("status", "body", "wait_s", "words"),
    [
        (
            401,
            {"error": "invalid_client", "error_description": "AADSTS7000215: Wrong secret s3cret-value."},
            3600.0,
            "401 Unauthorized: AADSTS7000215: Wrong secret ***.; client_secret is wrong: give the secret's value",
        ),
        (400, {"error": "invalid_grant"}, 3600.0, "invalid_grant; the refresh token is no longer valid"),
        (503, {"error": "temporarily_unavailable"}, None, "503 Service Unavailable"),
        (200, "<html>Please log in</html>", None, "200 OK: <html>Please log in</html>"),
        (200, {"access_token": 5}, None, "gave no access token"),
    ],
)
def test_why_there_is_no_token(peer: HttpPeer, status: int, body: Any, wait_s: float | None, words: str) -> None:
    """What the provider said, what it means and how to mend it; a login that is refused is tried once an hour."""
    peer.answer(status, body=body)
    with pytest.raises(DeliveryError) as caught:
        source(peer)()
    assert words in caught.value.reason
    assert (caught.value.permanent, caught.value.retry_after_s) == (False, wait_s)


def test_a_provider_that_is_not_there_is_temporary(peer: HttpPeer) -> None:
    """As any server."""
    with pytest.raises(DeliveryError) as caught:
        source(peer, token_url=refused_url())()
    assert not caught.value.permanent


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"provider": "aol"}, "oauth2.provider must be 'microsoft' or 'google', got 'aol'"),
        ({}, "oauth2.provider must be 'microsoft' or 'google', got nothing"),
        ({"provider": "microsoft"}, "oauth2 for microsoft needs tenant, client_id, and client_secret or refresh_token"),
        ({"provider": "google", "client_id": "c"}, "oauth2 for google needs service_account, or client_id"),
        ({**APPLICATION, "secret": "x"}, "oauth2 has no setting 'secret'; it has provider, tenant"),
        ({**APPLICATION, "tenant": " "}, "oauth2.tenant must be a text that is not blank"),
    ],
)
def test_what_is_wrong_is_named_when_the_handler_is_built(settings: dict[str, str], words: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError, match=words):
        Login.of(settings, "Any", "gis@example.com")


def test_where_tokens_are_given() -> None:
    """The tenant's own address, or Google's."""
    assert Login.of(APPLICATION, "Any", "a").url == "https://login.microsoftonline.com/example.com/oauth2/v2.0/token"
    google = {"provider": "google", "service_account": "{}"}
    assert Login.of(google, "Any", "a").url == "https://oauth2.googleapis.com/token"
    assert "s3cret" not in repr(Login.of(APPLICATION, "Any", "a"))


def test_tokens_of_a_provider_log_in_and_a_withdrawn_one_is_renewed() -> None:
    """``oauth2`` asks the provider once; a token that the server refuses with 535 is replaced within the attempt."""
    with MailServer(token="first") as server, http_peer() as provider:
        login = {"provider": "microsoft", "tenant": "t", "client_id": "c", "client_secret": "s3cret-value"}
        provider.answer(body={"access_token": "first", "expires_in": 3600})
        handler = EmailHandler(
            smtp_server="127.0.0.1",
            smtp_port=server.port,
            security="none",
            from_address="jobs@example.com",
            to_addresses="ops@example.com",
            oauth2={**login, "token_url": f"{provider.url}/token"},
        )
        handler.send_message(MessageDetails("s", "t"))
        handler.close()
        assert server.arrived[0].login == b"jobs@example.com"
        server.token = "second"
        provider.answer(body={"access_token": "second", "expires_in": 3600})
        handler.send_message(MessageDetails("s", "t"))
        handler.close()
        assert (len(server.arrived), len(provider.requests)) == (2, 2)
        server.token = "third"
        with pytest.raises(DeliveryError, match="535"):
            handler.send_message(MessageDetails("s", "t"))
        handler.close()
        assert len(provider.requests) == 3


def test_providers_have_their_own_servers() -> None:
    """With ``oauth2`` neither the server nor the user needs to be given."""
    login = {"provider": "google", "service_account": "{}"}
    handler = EmailHandler(oauth2=login, from_address="Gis <gis@example.com>", to_addresses="ops@example.com")
    assert (handler.smtp_server, handler.username) == ("smtp.gmail.com", "gis@example.com")
    with pytest.raises(ConfigurationError, match="only one of password, oauth2_token and oauth2"):
        EmailHandler(oauth2=login, password="x", from_address="gis@example.com", to_addresses="ops@example.com")
