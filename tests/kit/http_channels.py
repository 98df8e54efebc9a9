"""Handlers of every channel that speaks HTTP, each sending to a local peer, and servers that never come to an end.

How a handler is made, and what its service answers, is said by ``CHANNELS`` in its own tests; it is taken from there.
"""

from __future__ import annotations

import importlib.util
import re
import socket
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from http_peers import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from http_peers import Channel, Request

    from supervisor.models import MessageHandler

TESTS = Path(__file__).parent.parent / "message_handlers"


def _rows() -> Iterator[tuple[str, Channel]]:
    for path in sorted(TESTS.rglob("test_*.py")):
        if not re.search(r"^CHANNELS = ", path.read_text("utf-8"), re.MULTILINE):
            continue
        spec = importlib.util.spec_from_file_location(f"channels_of_{path.parent.name}_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
            rows = module.CHANNELS.items()
        except pytest.skip.Exception:  # its extra is missing
            continue
        except Exception as error:
            NOT_IMPORTED[path.relative_to(TESTS).as_posix()] = f"{type(error).__name__}: {error}"
            continue
        yield from rows


NOT_IMPORTED: dict[str, str] = {}
"""Why tests of a channel cannot be imported, by their file; a test fails where there are any."""
CHANNELS: dict[str, Channel] = dict(sorted(_rows()))
"""The channels by name; the first word is the handler's scheme."""


def other_handlers(but: set[str], url: str) -> Iterator[MessageHandler]:
    """Yield handlers of all channels but those of the given schemes; their server has the rule :func:`takes_all`."""
    others = (name for name in CHANNELS if name.split()[0] not in but)
    return (CHANNELS[name].make(f"{url}/others/{name}") for name in others)


def takes_all(request: Request) -> Answer | None:
    """Answer as SendGrid, or a service of :func:`other_handlers`, does when it accepts a message."""
    if request.path.startswith("/v3/mail/send"):
        return Answer(202)
    _, _, rest = request.path.partition("/others/")
    return CHANNELS[rest.partition("/")[0]].accepted if rest else None


def handler_for(channel: str, port: int, **settings: Any) -> MessageHandler:
    """Return a handler of a channel that sends to a port of this machine."""
    return CHANNELS[channel].make(f"http://127.0.0.1:{port}", **settings)


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
