"""Makes files and directories ready to be attached: compressed, named safely, within a budget of bytes.

A bad attachment never stops a message. What happened to it is told in the notes, which handlers add to the text.

- A file becomes ``name.gz``, a directory ``name.zip``; what is compressed already goes as it is.
- Whatever is handed to a handler is a copy of our own. The original may grow, shrink, vanish or become a named pipe
  while a handler reads; the copy keeps the size that was announced to the destination.
- A file is read up to the size it has when it is opened, in pieces, so that memory stays bounded.
- An empty file is told, not attached: Slack and SendGrid refuse one of no bytes (``length`` 0 in
  https://docs.slack.dev/reference/methods/files.getUploadURLExternal/, ``content`` of no characters in
  https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._lazy import loads

if TYPE_CHECKING:
    from supervisor._attachments.packing import PackedAttachments, packed
    from supervisor._attachments.single_attachment import PackedFile, PackingResult, pack, pack_one
    from supervisor._attachments.sources import describe

__all__ = ["PackedAttachments", "PackedFile", "PackingResult", "describe", "pack", "pack_one", "packed"]

_MODULES = {
    "PackedAttachments": "packing",
    "PackedFile": "single_attachment",
    "PackingResult": "single_attachment",
    "describe": "sources",
    "pack": "single_attachment",
    "pack_one": "single_attachment",
    "packed": "packing",
}

# Every run with attachments describes them; few runs pack and send them.
__getattr__ = loads(__name__, _MODULES)
