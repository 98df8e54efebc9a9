"""A web server on loopback that takes what webhook handlers send, and configurations that lead there."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Hook:
    """Takes POSTs on 127.0.0.1.

    Attributes:
        documents: What was posted, as JSON.
        status: What it answers.
        answer: The body of its answers.
    """

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self.status = 200
        self.answer = b"ok"
        self._free = threading.Event()
        self._free.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.documents.append(json.loads(body))
                hook._free.wait(60)
                self.send_response(hook.status)
                self.send_header("Content-Length", str(len(hook.answer)))
                self.end_headers()
                self.wfile.write(hook.answer)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def hold(self) -> None:
        """Answer nothing until it is released."""
        self._free.clear()

    def release(self) -> None:
        """Answer again."""
        self._free.set()

    def close(self) -> None:
        """End the server."""
        self.release()
        self._server.shutdown()
        self._server.server_close()


def refused_url() -> str:
    """Return a URL where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/hook"


def configured(monkeypatch: pytest.MonkeyPatch, folder: Path, *, text: str = "", **urls: str) -> Path:
    """Write a configuration with a webhook for each name, or with a text, and let it be in force; return its file."""
    tables = [f'[handlers.{name}]\ntype = "webhook"\nurl = "{url}"\n' for name, url in urls.items()]
    path = folder / "supervisor.toml"
    path.write_text(text + "\n".join(tables), "utf-8")
    path.chmod(0o600)
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(path))
    return path
