"""Answers are bounded in size and in time, in every handler: endless, compressed and slow ones."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from http_channels import CHANNELS, endless_peer, handler_for
from http_peers import http_peer

from supervisor.errors import DeliveryError
from supervisor.message_handlers import EmailHandler
from supervisor.models import MessageDetails

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("slack_sdk")
apprise = pytest.importorskip("apprise")

GENEROUS_S = 25.0
MEMORY_BYTES = 24_000_000
EMAIL: dict[str, Any] = {"smtp_server": "127.0.0.1", "security": "none", "from_address": "a@example.com"}


@pytest.fixture(autouse=True, scope="module")
def _loaded() -> None:
    """Load what the handlers load when they first send, which is not measured here."""
    with warnings.catch_warnings(), http_peer() as peer:
        warnings.simplefilter("ignore")
        apprise.Apprise.instantiate("json://localhost")
        for channel in CHANNELS:
            with suppress(DeliveryError):
                handler_for(channel, peer.port).send_message(MessageDetails("s", "m"))


@contextmanager
def bounds() -> Iterator[None]:
    """Fail if the block takes long, or much memory."""
    began_s = time.monotonic()
    tracemalloc.start()
    try:
        yield
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < MEMORY_BYTES
    assert time.monotonic() - began_s < GENEROUS_S


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 500 no\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Filling: "]
)
@pytest.mark.parametrize("channel", CHANNELS)
def test_an_endless_answer(channel: str, start: bytes) -> None:
    """Of an answer that never ends, in its body or in its headers, about 1 MB is read."""
    with endless_peer(start, b"x" * 65_000) as port, bounds(), suppress(DeliveryError):
        handler_for(channel, port, timeout_s=5.0).send_message(MessageDetails("s", "m"))


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("channel", CHANNELS)
def test_an_answer_that_unpacks_to_much_more(channel: str, status: int) -> None:
    """A small answer that unpacks to 200 MB takes no more memory than another one."""
    bomb = gzip.compress(bytes(200_000_000), 1)
    with http_peer() as peer:
        peer.answer(status, {"Content-Encoding": "gzip"}, bomb)
        with bounds(), suppress(DeliveryError):
            handler_for(channel, peer.port).send_message(MessageDetails("s", "m"))


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 500 no\r\nContent-Length: 100000\r\n\r\n"])
@pytest.mark.parametrize("channel", CHANNELS)
def test_an_answer_that_drips(channel: str, start: bytes) -> None:
    """An answer of which a byte comes now and then takes the timeout, in its headers or in its body."""
    with endless_peer(start or b"HTTP/1.1 500 no\r\nX-Filling: ", b"x", 0.05) as port, bounds():
        with pytest.raises(DeliveryError) as caught:
            handler_for(channel, port, timeout_s=0.5).send_message(MessageDetails("s", "m"))
        assert not caught.value.permanent


@pytest.mark.parametrize(("piece", "pace_s"), [(b"220-and more\r\n" * 1_000, 0.0), (b"2", 0.05)])
def test_a_mail_server_that_does_not_come_to_an_end(piece: bytes, pace_s: float) -> None:
    """A reply of endless lines, or of which a byte comes now and then, is a temporary error within the timeout."""
    with endless_peer(b"220-", piece, pace_s) as port, bounds():
        handler = EmailHandler(**EMAIL, smtp_port=port, to_addresses="b@example.com", timeout_s=0.5)
        with pytest.raises(DeliveryError) as caught:
            handler.send_message(MessageDetails("s", "m"))
        handler.close()
        assert not caught.value.permanent
