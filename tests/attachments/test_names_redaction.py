"""Secrets in attachments are redacted while they are packed, for every handler."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from supervisor import supervise
from supervisor._attachments import pack
from supervisor._attachments.names import redacting_with
from supervisor._redaction import Redactor
from supervisor.models import Attachment

if TYPE_CHECKING:
    from pathlib import Path

    from recorders import Recorder

    from supervisor.models import MessageDetails

SECRET = "hunter2-Quee9ohx"
LINE = f"2026-11-24 02:00:01 INFO connecting with password={SECRET} to db\n"


def packed(path: Path, folder: Path) -> Path:
    """Return the packed copy of a file or directory."""
    folder.mkdir(exist_ok=True)
    part = pack(Attachment(path), folder).part
    assert part is not None
    return part.path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_a_log_is_attached_without_its_secrets(tmp_path: Path, encoding: str) -> None:
    """A password is redacted in each encoding that logs have, and the rest is unchanged."""
    log = tmp_path / "run.log"
    log.write_bytes(f"räumte auf\n{LINE}fertig\n".encode(encoding))
    text = packed(log, tmp_path / "out").read_bytes().decode(encoding)
    assert text == f"räumte auf\n{LINE.replace(SECRET, '[redacted: password]')}fertig\n"


def test_files_in_a_directory_are_attached_without_secrets(tmp_path: Path) -> None:
    """The text files of a directory are redacted; binary files are unchanged."""
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "run.log").write_text(LINE * 3)
    binary = b"\x00\x01" + LINE.encode()
    (folder / "state.bin").write_bytes(binary)
    with zipfile.ZipFile(packed(folder, tmp_path / "out")) as archive:
        names = {name.rpartition("/")[2]: name for name in archive.namelist()}
        assert SECRET.encode() not in archive.read(names["run.log"])
        assert archive.read(names["run.log"]).count(b"[redacted: password]") == 3
        assert archive.read(names["state.bin"]) == binary


def test_a_credential_that_nothing_tells_of_goes_when_it_is_known(tmp_path: Path) -> None:
    """A secret that the redactor knows is redacted even without a key before it."""
    log = tmp_path / "run.log"
    log.write_text("the answer was Zx9-plain-word-like\n")
    with redacting_with(lambda: Redactor(secrets="Zx9-plain-word-like")):
        redacted = packed(log, tmp_path / "out").read_bytes()
    assert redacted == b"the answer was [redacted: credential]\n"


class Packing:
    """A handler that packs the attachments, as the e-mail handlers do."""

    def __init__(self, folder: Path) -> None:
        self.api_key = "SG-own-credential-1234"
        self.folder = folder
        self.seen = b""

    def send_message(self, details: MessageDetails) -> None:
        """Keep the content that a destination would receive."""
        for each in details.attachments:
            self.seen += packed(each.path, self.folder).read_bytes()


def test_the_log_of_a_failure_goes_without_credentials_of_handlers_and_own_patterns(
    tmp_path: Path, recorder: Recorder
) -> None:
    """An attached log is redacted with its run's redactor: the handlers' credentials and the user's patterns."""
    log = tmp_path / "run.log"
    log.write_text(f"sent with SG-own-credential-1234 for customer 4711 and cookie: c=1\n{LINE}")
    handler = Packing(tmp_path / "out")
    patterns = {"customer": "customer (?P<secret>[0-9]+)"}
    with (
        pytest.raises(KeyError),
        supervise("night", handlers=[handler], log_path=log, redact_patterns=patterns, journal=False),
    ):
        raise KeyError("apn")
    assert b"SG-own-credential-1234" not in handler.seen
    assert b"customer [redacted: customer] and" in handler.seen
    assert SECRET.encode() not in handler.seen
