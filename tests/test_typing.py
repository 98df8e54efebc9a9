"""The types that users see: mypy and pyright read ``typing/signatures.py``, and an editor explains the settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs
import pytest

from supervisor._settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
SIGNATURES = HERE / "typing" / "signatures.py"
CALLS = """\
from supervisor import Supervisor, supervise, supervised
supervise("block")
supervised("function")
Supervisor("many")
Supervisor().supervise("block")
Supervisor().supervised("function")
"""
HOVERS = {
    "supervise": (1, 0),
    "supervised": (2, 0),
    "Supervisor": (3, 0),
    ".supervise": (4, 13),
    ".supervised": (5, 13),
}


def checked(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a type checker over the file."""
    return subprocess.run(
        [sys.executable, "-m", *command, str(SIGNATURES)], cwd=HERE.parent, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_mypy_reads_the_signatures(platform: str, tmp_path: Path) -> None:
    """Decorated functions keep their signatures less ``run``, and wrong settings are found before they run."""
    pytest.importorskip("mypy", reason="mypy is in the group 'types'; tox -e types reads the file too")
    done = checked("mypy", "--platform", platform, "--follow-imports", "silent", "--cache-dir", str(tmp_path))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("platform", ["Linux", "Windows"])
def test_pyright_reads_the_signatures(platform: str) -> None:
    """Pyright finds the same; it also keeps the types of methods whose result holds ``Any``."""
    pytest.importorskip("pyright", reason="pyright is in the group 'types'")
    done = checked("pyright", "--pythonplatform", platform, "--pythonpath", sys.executable)
    assert done.returncode == 0, done.stdout


class Editor:
    """Asks pyright's language server, as an editor does.

    Args:
        folder: Where the file is that the editor has open.
        text: What stands in it.
    """

    def __init__(self, folder: Path, text: str) -> None:
        self._file = (folder / "script.py").as_uri()
        self._last_id = 0
        self._server = subprocess.Popen(
            [sys.executable, "-m", "pyright.langserver", "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._input: IO[bytes] = self._server.stdin
        self._output: IO[bytes] = self._server.stdout
        folders = [{"uri": folder.as_uri(), "name": "scripts"}]
        capabilities = {
            "workspace": {"configuration": True},
            "textDocument": {"hover": {"contentFormat": ["plaintext"]}},
        }
        self.ask("initialize", processId=None, workspaceFolders=folders, capabilities=capabilities)
        self._send(method="initialized", params={})
        document = {"uri": self._file, "languageId": "python", "version": 1, "text": text}
        self._send(method="textDocument/didOpen", params={"textDocument": document})

    def hover(self, line: int, character: int) -> str:
        """Return what the editor shows of the name at a place; both count from 0."""
        place = {"line": line, "character": character}
        found = self.ask("textDocument/hover", textDocument={"uri": self._file}, position=place)
        text: str = found["contents"]["value"]
        return " ".join(text.split())

    def ask(self, method: str, **params: Any) -> Any:
        """Return the server's answer; what the server asks meanwhile is answered."""
        self._last_id += 1
        self._send(id=self._last_id, method=method, params=params)
        while True:
            message = self._receive()
            if "method" not in message and message.get("id") == self._last_id:
                return message["result"]
            if "id" in message and "method" in message:
                items = message.get("params", {}).get("items", ())
                self._send(id=message["id"], result=[self._configured(each.get("section")) for each in items])

    def close(self) -> None:
        """End the server."""
        self._input.close()
        self._output.close()
        self._server.kill()
        self._server.wait()

    @staticmethod
    def _configured(section: str | None) -> dict[str, Any]:
        if section == "python":
            return {"pythonPath": sys.executable}
        return {"extraPaths": [str(HERE.parent)]} if section == "python.analysis" else {}

    def _send(self, **message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._input.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._input.flush()

    def _receive(self) -> dict[str, Any]:
        size = 0
        while header := self._output.readline().strip():
            name, _, value = header.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        assert size, "the language server has ended"
        message: dict[str, Any] = json.loads(self._output.read(size))
        return message


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """Return an editor that has opened a script."""
    pytest.importorskip("pyright", reason="pyright is in the group 'types'")
    opened = Editor(tmp_path_factory.mktemp("scripts"), CALLS)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", HOVERS)
def test_an_editor_explains_each_setting(name: str, editor: Editor) -> None:
    """Where the mouse rests on a call, the editor shows each setting with its type, its default and what it is for."""
    shown = editor.hover(*HOVERS[name])
    for field in attrs.fields(Settings):
        if field.init:
            assert f"{field.name}: " in shown.partition("Args:")[0], "the parameter with its type"
            assert f"{field.name}: " in shown.partition("Args:")[2], "its explanation"
    assert "Default 600.0." in shown
    if name == "Supervisor":
        assert "handle_errors: True reports" in shown
