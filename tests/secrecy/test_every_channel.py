"""What every handler that speaks HTTP must hold to, taken from the list of channels: a new one has a row there.

Hostile texts stay texts, and no credential is in what the handler says of itself or of a refusal.
"""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING

import pytest
from http_channels import ACCEPTED, CHANNELS, handler_for
from http_peers import Answer, HttpPeer, Request, http_peer

from supervisor._redaction.credentials import secrets_of
from supervisor.errors import DeliveryError
from supervisor.message_handlers._registry import BUILT_IN
from supervisor.models import MessageDetails

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("slack_sdk")
apprise = pytest.importorskip("apprise")

OTHERS = {"console", "email"}
"""Handlers that do not speak HTTP; tests of their own hold them to the same."""
LARGEST_REQUEST_BYTES = 3_000_000
HOSTILE = {
    "line breaks": "Alert\r\nBcc: evil@example.com\r\nX-Evil: 1\n\n<html>body",
    "NUL and escapes": "before\0behind \x1b[31mred\x1b[0m\x07",
    "half characters": "half \udcff of \ud83d two",
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}",
    "long": "a row of ten million characters\n" * 330_000,
    "nothing": "",
}


@pytest.fixture(autouse=True, scope="module")
def _loaded_plugins() -> None:
    """Load apprise's plugins before warnings become errors, because some use deprecated functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        apprise.Apprise.instantiate("json://localhost")


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    """Run a server for one test."""
    with http_peer() as it:
        yield it


@pytest.mark.parametrize("scheme", sorted(BUILT_IN.keys() - OTHERS))
def test_each_handler_is_among_the_channels(scheme: str) -> None:
    """A handler without a row in ``tests/kit/http_channels.py`` would pass all tests that each must pass."""
    assert any(each.split()[0] == scheme for each in CHANNELS), (
        f"the handler {scheme!r} has no row in tests/kit/http_channels.py"
    )


@pytest.mark.parametrize("which", HOSTILE)
@pytest.mark.parametrize("channel", CHANNELS)
def test_hostile_texts_stay_texts(peer: HttpPeer, channel: str, which: str) -> None:
    """Each request is of bounded size and valid, and no text of a message becomes a header of the request."""
    peer.rule = lambda _: ACCEPTED[channel]
    handler_for(channel, peer.port).send_message(MessageDetails(HOSTILE[which], HOSTILE[which]))
    assert peer.requests
    for request in peer.requests:
        assert len(request.body) <= LARGEST_REQUEST_BYTES
        assert not {"bcc", "x-evil"} & {name.lower() for name in request.headers}
        text = request.body.decode()  # what is no UTF-8 raises
        if "json" in (request.headers["Content-Type"] or ""):
            json.dumps(json.loads(text), ensure_ascii=False).encode()  # half characters raise


@pytest.mark.parametrize("status", [400, 403, 503])
@pytest.mark.parametrize("channel", CHANNELS)
def test_no_credential_is_told(peer: HttpPeer, channel: str, status: int) -> None:
    """Neither the handler's ``repr`` nor the error of a refusal that quotes its credentials has one of them."""
    handler = handler_for(channel, peer.port)
    secrets = secrets_of(handler)
    assert secrets, f"no option of {channel!r} is known as a secret: give its field repr=False"

    def rule(request: Request) -> Answer:
        return Answer(status, body=f"no: {request.path} {' '.join(sorted(secrets))} {request.headers['Authorization']}")

    peer.rule = rule
    with pytest.raises(DeliveryError) as refused:
        handler.send_message(MessageDetails("s", "m"))
    told = f"{handler!r} {refused.value.reason}"
    assert [each for each in secrets if each in told] == []
