"""Handlers of every channel that speaks HTTP, each sending to a local peer, and servers that never come to an end."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from http_peers import Answer

from supervisor.message_handlers import (
    AppriseHandler,
    HealthchecksHandler,
    SendGridHandler,
    SlackHandler,
    WebhookHandler,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.models import MessageHandler

ACCEPTED = {
    "apprise": Answer(body="taken"),
    "healthchecks": Answer(body="OK"),
    "sendgrid": Answer(202),
    "slack bot": Answer(body={"ok": True, "channel": "C1", "ts": "1.0"}),
    "slack webhook": Answer(body="ok"),
    "webhook": Answer(204),
}
"""What the service of each channel answers when it accepts a message."""

CHANNELS = tuple(ACCEPTED)


def handler_for(channel: str, port: int, **settings: Any) -> MessageHandler:
    """Return a handler of a channel that sends to a port of this machine."""
    url = f"http://127.0.0.1:{port}"
    token = "xoxb-secret-of-the-bot"
    addresses: dict[str, Any] = {"from_address": "a@example.com", "to_addresses": "b@example.com"}
    makers: dict[str, Any] = {
        "apprise": lambda: AppriseHandler(urls=f"json://127.0.0.1:{port}/hook", **settings),
        "healthchecks": lambda: HealthchecksHandler(
            uuid="5b6b4ee8-8f1b-4b0c-9d9f-0d1b2c3d4e5f", host=f"{url}/ping", **settings
        ),
        "sendgrid": lambda: SendGridHandler(api_key="SG.secret", host=url, **addresses, **settings),
        "slack bot": lambda: SlackHandler(token=token, channel="C1", base_url=f"{url}/api/", **settings),
        "slack webhook": lambda: SlackHandler(webhook_url=f"{url}/hook", **settings),
        "webhook": lambda: WebhookHandler(url=f"{url}/hook", **settings),
    }
    handler: MessageHandler = makers[channel]()
    return handler


@contextmanager
def endless_peer(start: bytes, piece: bytes, pace_s: float = 0.0) -> Iterator[int]:
    """Run a server that sends a start and then the same piece again and again, whatever it is sent; yield its port.

    Args:
        start: What it sends first.
        piece: What it repeats until the client leaves.
        pace_s: Seconds between two pieces.
    """
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(0.2)
            connection.sendall(start)
            while not ended.wait(pace_s):
                with suppress(TimeoutError):  # the client does not read just now
                    connection.send(piece)

    def listen(listener: socket.socket, threads: list[threading.Thread]) -> None:
        while not ended.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(connection,), name="endless"))
                threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        threads.append(threading.Thread(target=listen, args=(listener, threads), name="endless"))
        threads[0].start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            for each in threads:
                each.join()
