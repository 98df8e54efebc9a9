"""What every handler that speaks HTTP must hold to, by what its own tests say in ``CHANNELS``.

Hostile texts stay texts, and no credential is in what the handler says of itself or of a refusal. Each handler can load
what it needs beforehand, and says whether it notes from when on the destination may have a message.
"""

from __future__ import annotations

import json
import warnings

import pytest
from http_channels import CHANNELS, NOT_IMPORTED, handler_for
from http_peers import Answer, HttpPeer, Request

from supervisor._models.values import noting_handover
from supervisor._redaction.credentials import secrets_of
from supervisor.errors import DeliveryError
from supervisor.message_handlers._registry import built_in, handler_class
from supervisor.models import MessageDetails

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


def test_the_tests_of_each_channel_can_be_imported() -> None:
    """What cannot be imported is named here, while the tests of the other channels go on."""
    assert not NOT_IMPORTED, "\n".join(f"tests/message_handlers/{path}: {why}" for path, why in NOT_IMPORTED.items())


@pytest.mark.parametrize("scheme", sorted(built_in().keys() - OTHERS))
def test_each_handler_is_among_the_channels(scheme: str) -> None:
    """A handler whose tests say nothing in ``CHANNELS`` would pass all tests that each must pass."""
    assert any(each.split()[0] == scheme for each in CHANNELS), (
        f"tests/message_handlers/test_{scheme}.py needs CHANNELS, with how the handler is made, as test_webhook.py has"
    )


@pytest.mark.parametrize("scheme", sorted(built_in().keys() - OTHERS))
def test_each_handler_loads_what_it_needs_beforehand(scheme: str) -> None:
    """A run may outlive its installation, so each handler can load what sending needs before there is a message."""
    kind = handler_class(scheme)
    assert callable(getattr(kind, "prepare", None)), (
        f"{kind.__name__} needs a method prepare(self, details) that loads what send_message needs, such as the module "
        "supervisor.message_handlers._http, and makes the request's body without sending it"
    )


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_handler_that_notes_the_handover_says_so(peer: HttpPeer, channel: str) -> None:
    """Delivery relies on ``notes_handover``: it is True where sending calls ``note_handover()``, and only there."""
    peer.rule = lambda _: CHANNELS[channel].accepted
    handler = handler_for(channel, peer.port)
    noted: list[int] = []
    with noting_handover(lambda: noted.append(len(peer.requests))):
        handler.send_message(MessageDetails("s", "m"))
    name = type(handler).__name__
    if noted:
        needed = f"{name} needs the line notes_handover: ClassVar[bool] = True, since its connection notes the handover"
    else:
        needed = f"{name} must not have notes_handover = True, since its send_message never calls note_handover()"
    assert getattr(handler, "notes_handover", False) is bool(noted), needed


@pytest.mark.parametrize("which", HOSTILE)
@pytest.mark.parametrize("channel", CHANNELS)
def test_hostile_texts_stay_texts(peer: HttpPeer, channel: str, which: str) -> None:
    """Each request is of bounded size and valid, and no text of a message becomes a header of the request."""
    peer.rule = lambda _: CHANNELS[channel].accepted
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
    shown = f"{handler!r} {refused.value.reason}"
    assert [each for each in secrets if each in shown] == []
