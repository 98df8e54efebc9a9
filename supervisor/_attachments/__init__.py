"""Packs files and directories as attachments: compressed, redacted, with safe names, within a budget of bytes.

In: attachments that name a path. Out: files in a temporary directory, and notes that handlers add to the message.
A bad attachment never stops a message; a note says what happened to it.

- A file becomes ``name.gz``, a directory ``name.zip``; a file that is compressed already is copied as it is.
- Handlers get a copy. The original may grow, shrink, vanish or become a named pipe while a handler reads; the copy
  keeps the size that was announced to the destination.
- A file is read in pieces, up to the size it had when it was opened, so that memory stays bounded.
- An empty file is mentioned in a note, not attached: Slack and SendGrid refuse one (``length`` 0 in
  https://docs.slack.dev/reference/methods/files.getUploadURLExternal/, ``content`` without characters in
  https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._lazy import loads

if TYPE_CHECKING:
    from supervisor._attachments.packing import (
        PackedAttachments,
        PackedFile,
        PackingResult,
        pack,
        pack_one,
        packed,
    )
    from supervisor._attachments.sources import describe

__all__ = ["PackedAttachments", "PackedFile", "PackingResult", "describe", "pack", "pack_one", "packed"]

_MODULES = {
    "PackedAttachments": "packing",
    "PackedFile": "packing",
    "PackingResult": "packing",
    "describe": "sources",
    "pack": "packing",
    "pack_one": "packing",
    "packed": "packing",
}

# Every run with attachments describes them; few runs pack and send them.
__getattr__ = loads(__name__, _MODULES)
