"""A message as a letter: its headers, its text and its HTML.

``EmailMessage`` writes what a handler's letters have in common, once; the rest is put around it here. To write each
letter whole it takes longer than the server does to take it, and before Python 3.12.5 it lets an encoded word in a
subject or a file name make new headers (CVE-2024-6923).

Handlers import this module when they first send: the ``email`` package is more than most runs need.

- A letter as it goes over the wire, its files read and encoded on the way.
"""

from __future__ import annotations

import os
import re
from binascii import b2a_base64, b2a_qp
from datetime import UTC
from email import policy
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from functools import lru_cache
from hashlib import sha256
from html import escape
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

import attrs

from supervisor._messages import html as pages
from supervisor._models.kinds import Kind
from supervisor._text import cut_middle, one_line
from supervisor.message_handlers._validation import valid_unicode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from supervisor._attachments import PackedAttachments, PackedFile
    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._email.protocol import CommonHeaders, MailAddress

PIECE_BYTES = 65_536

_RAW_LINE_BYTES = 57  # becomes a line of 76 characters, the most that RFC 2045, 6.8 allows
_WIRE_LINE_BYTES = 78
_ROOM_PER_FILE_BYTES = 4_096  # for its headers, and for what is said of it in text and HTML


def to_base64_lines(raw: bytes) -> bytes:
    """Return bytes in base64, in lines (RFC 2045, 6.8)."""
    line = b2a_base64(raw, newline=False)
    return b"".join(line[at : at + 76] + b"\r\n" for at in range(0, len(line), 76))


def base64_size(count: int) -> int:
    """Return how long so many bytes are in base64."""
    return 4 * -(-count // 3) + 2 * -(-count // _RAW_LINE_BYTES)


@attrs.frozen
class EncodedFile:
    """A file that is read and encoded while it is sent, so that memory stays bounded."""

    part: PackedFile

    @property
    def size_bytes(self) -> int:
        """Return how many bytes go over the wire."""
        return base64_size(self.part.size_bytes)

    def pieces(self) -> Iterator[bytes]:
        """Read the file up to the size it was announced with: a file that grows meanwhile does not matter."""
        left = self.part.size_bytes
        with self.part.path.open("rb") as file:
            while left > 0 and (raw := file.read(min(left, 840 * _RAW_LINE_BYTES))):
                left -= len(raw)
                yield to_base64_lines(raw)


Piece: TypeAlias = bytes | EncodedFile  # of a letter


@attrs.frozen
class EncodedMessage:
    """A letter in the form that follows DATA: dots doubled, and the closing dot in its place."""

    contents: tuple[Piece, ...]

    @property
    def size_bytes(self) -> int:
        """Return its size as SIZE counts it (RFC 1870); doubled dots make it a little larger than it is."""
        return sum(len(each) if isinstance(each, bytes) else each.size_bytes for each in self.contents)

    def pieces(self) -> Iterator[bytes]:
        """Return what is to be sent, at most 64 KiB at a time."""
        for each in self.contents:
            if isinstance(each, bytes):
                yield from (each[at : at + PIECE_BYTES] for at in range(0, len(each), PIECE_BYTES))
            else:
                yield from each.pieces()


def attachments_budget(letter: EncodedMessage, count: int, limit_bytes: int) -> int:
    """Return how many bytes of files fit into a letter besides its texts, before they are encoded.

    Args:
        letter: The letter without attachments.
        count: How many there will be; each takes some room besides its contents.
        limit_bytes: The most that the whole letter may have.
    """
    room = limit_bytes - letter.size_bytes - _ROOM_PER_FILE_BYTES * (count + 1)
    return max(0, room * _RAW_LINE_BYTES // _WIRE_LINE_BYTES)


def as_smtp_data(pieces: Iterable[Piece]) -> EncodedMessage:
    """Return a letter as it follows DATA (RFC 5321, 4.5.2).

    Args:
        pieces: What it is made of. The first and the last are bytes, and the last ends with a line break.
    """
    contents: list[Piece] = []
    texts: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            texts.append(piece)
        else:
            contents += [_double_dots(texts), piece]
            texts = []
    return EncodedMessage((*contents, _double_dots(texts) + b".\r\n"))


def _double_dots(texts: Iterable[bytes]) -> bytes:
    return b"".join(texts).replace(b"\r\n.", b"\r\n..")


SUBJECT_LIMIT = 200
TEXT_LIMIT = 1_000_000
LINE_LIMIT = 990  # RFC 5321, 4.5.3.1.6: 1,000 octets with the line break, and a dot may be doubled
URGENT = frozenset({Kind.FAILURE, Kind.DIED, Kind.MISSED})

_TYPE = re.compile(r"(?!multipart/|message/)[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*")


def encode_message(
    details: MessageDetails, head: CommonHeaders, attached: PackedAttachments, *, utf8: bool, limit_bytes: int
) -> EncodedMessage:
    """Write the letter for a message.

    Args:
        details: The message.
        head: What all letters of the handler have in common.
        attached: The files that go along, and what is said of them below the text.
        utf8: True leaves addresses as UTF-8, for a server that announced SMTPUTF8.
        limit_bytes: The most that the letter may have. Texts are cut at a 16th of it (or at 1,000,000 characters),
            so that text and HTML fit in any encoding; files are the caller's to choose.
    """
    text, html = _bodies(details, head, attached.notes, min(TEXT_LIMIT, limit_bytes // 16))
    body = _multipart("alternative", [_text_part("plain", text), _text_part("html", html)])
    if attached.parts:
        body = _multipart("mixed", [body, *map(_file_part, attached.parts)])
    return as_smtp_data([_common_headers(head, utf8=utf8), _headers(details, head).encode(), *body])


@lru_cache(maxsize=32)
def _common_headers(head: CommonHeaders, *, utf8: bool) -> bytes:
    """Return the headers that all letters of a handler have."""
    mail = EmailMessage(policy.SMTP.clone(utf8=utf8))
    mail["From"] = _address_list([head.sender], utf8=utf8)
    mail["To"] = _address_list(head.to, utf8=utf8) or "undisclosed-recipients:;"
    if copies := _address_list(head.cc, utf8=utf8):
        mail["Cc"] = copies
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: keeps vacation replies away
    mail["X-Auto-Response-Suppress"] = "OOF, AutoReply"  # and Exchange's: [MS-OXCMAIL] 2.1.3.2.20
    mail["X-Mailer"] = head.client or "agrc-supervisor"
    mail["MIME-Version"] = "1.0"
    return mail.as_bytes().removesuffix(b"\r\n")


def _address_list(mailboxes: Sequence[MailAddress], *, utf8: bool) -> str:
    """Return addresses as a header has them, without those that it cannot have."""
    return ", ".join(
        str(Address(each.display, each.local, each.domain)) for each in mailboxes if utf8 or not each.needs_smtputf8
    )


def _headers(details: MessageDetails, head: CommonHeaders) -> str:
    """Return the headers of one letter.

    A repeat has the same Message-ID. All letters of a run refer to the same one, which nobody ever wrote: readers
    put them into one thread (RFC 5256 makes up the missing ancestor; Gmail wants "references headers that
    consistently refer to the same message ID", and the same subject too:
    https://workspaceupdates.googleblog.com/2019/03/threading-changes-in-gmail-conversation-view.html).
    """
    headers = [
        f"Subject: {_subject(one_line(valid_unicode(head.prefix + details.subject), SUBJECT_LIMIT) or '(no subject)')}",
        f"Date: {_date(details.created_at)}",
        f"Message-ID: {_message_id(details.id, head)}",
    ]
    if details.report is not None:
        runs = [_message_id(f"run.{each}", head) for each in (details.report.parent_id, details.report.id) if each]
        headers += [f"In-Reply-To: {runs[-1]}", "References: " + "\r\n ".join(runs)]
    if details.kind in URGENT:
        headers.append("Importance: high")
    return "".join(f"{each}\r\n" for each in headers)


def _date(instant: datetime) -> str:
    """Return a date as a header has it (RFC 5322, 3.3); ``email`` takes four times as long, half of all headers."""
    weekday, month, day, clock, year = instant.astimezone(UTC).ctime().split()
    return f"{weekday}, {day:0>2} {month} {year} {clock} +0000"


def _subject(text: str) -> str:
    """Return a subject as a header has it. What looks like an encoded word is encoded, so that nobody decodes it."""
    if text.isascii() and "=?" not in text:
        return text
    return Header(text, "utf-8", header_name="Subject").encode(linesep="\r\n")


def _message_id(text: str, head: CommonHeaders) -> str:
    """Return a Message-ID that is always the same for the same text."""
    if not re.fullmatch(r"(run\.)?[A-Za-z0-9_-]{1,64}", text):
        text = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    domain = head.sender.domain
    return f"<{text}@{domain if re.fullmatch(r'[A-Za-z0-9.-]+', domain) else 'supervisor.invalid'}>"


def _bodies(details: MessageDetails, head: CommonHeaders, notes: Sequence[str], limit: int) -> tuple[str, str]:
    """Return the text and the HTML of a letter, with what stands below both."""
    text = _normalized(cut_middle(details.message or details.subject, limit))
    if len(head.prefix + details.subject) > SUBJECT_LIMIT:
        text = f"{_normalized(cut_middle(details.subject, limit // 4))}\n\n{text}"
    html = _html(details, text, limit)
    below = ["\n".join(_normalized(each) for each in notes)] if notes else []
    below += [f"-- \n{head.client}"] if head.client else []
    if below:
        html = _append_html(html, below)
    return "\n\n".join([text.rstrip("\n"), *below]) + "\n", html


def _html(details: MessageDetails, text: str, limit: int) -> str:
    """Return the HTML of a letter; where it would be too long, the text as HTML."""
    if details.html is None and not details.parts:
        return pages.from_text(text)
    html = _normalized(pages.as_html(details))
    return html if len(html) <= limit else pages.from_text(text)


def _append_html(html: str, below: Sequence[str]) -> str:
    """Return a page with some more at its end, wherever that is."""
    style = "margin: 0 auto; max-width: 608px; padding: 8px 16px; white-space: pre-wrap; font: 13px/1.5 sans-serif;"
    paragraphs = (escape(each.removeprefix("-- \n")) for each in below)
    more = "".join(f'<p style="{style}">{each}</p>\n' for each in paragraphs)
    end = html.lower().rfind("</body>")
    return html[:end] + more + html[end:] if end >= 0 else f"{html}\n{more}"


def _normalized(text: str) -> str:
    """Return a text that can be sent: in valid Unicode, without NUL, and with line feeds for all line breaks."""
    return valid_unicode(text).replace("\r\n", "\n").replace("\r", "\n")


def _multipart(kind: str, entities: Sequence[list[Piece]]) -> list[Piece]:
    """Return several entities as one (RFC 2046, 5.1)."""
    boundary = os.urandom(16).hex()
    pieces: list[Piece] = [f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode()]
    for entity in entities:
        pieces += [f"--{boundary}\r\n".encode(), *entity, b"\r\n"]
    return [*pieces, f"--{boundary}--\r\n".encode()]


def _text_part(kind: str, text: str) -> list[Piece]:
    """Return a text as an entity, in whatever is shortest. It is never raw 8-bit, which not every server takes."""
    raw = text.encode()
    encoding, encoded = "7bit", raw
    if not text.isascii() or max(map(len, raw.split(b"\n"))) > LINE_LIMIT:
        encoding, encoded = "quoted-printable", b2a_qp(raw)
        if len(encoded) > base64_size(len(raw)):
            encoding, encoded = "base64", to_base64_lines(raw)
    headers = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return [headers.encode(), encoded if encoding == "base64" else encoded.replace(b"\n", b"\r\n")]


def _file_part(part: PackedFile) -> list[Piece]:
    """Return a file as an entity."""
    kind = part.content_type if _TYPE.fullmatch(part.content_type) else "application/octet-stream"
    name = _file_name(one_line(valid_unicode(part.name), SUBJECT_LIMIT) or "file")
    headers = (
        f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment{name}\r\n\r\n"
    )
    return [headers.encode(), EncodedFile(part)]


def _file_name(name: str) -> str:
    """Return a file's name as a parameter; any but the plainest in the form of RFC 2231."""
    if re.fullmatch(r"[A-Za-z0-9._+-]{1,60}", name):
        return f'; filename="{name}"'
    sections = re.findall(r"(?:%..|[^%]){1,20}", "utf-8''" + quote(name, safe=""))
    if len(sections) == 1:
        return f";\r\n filename*={sections[0]}"
    return "".join(f";\r\n filename*{index}*={section}" for index, section in enumerate(sections))
