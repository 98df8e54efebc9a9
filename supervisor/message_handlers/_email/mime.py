"""Encodes a message as MIME: its headers, its text, its HTML and its attachments.

``EmailMessage`` writes the headers that all e-mails of a handler share, once; this module adds the rest. Writing each
e-mail with it would take longer than the server takes to accept it, and before Python 3.12.5 it turns an encoded word
in a subject or a file name into new headers (CVE-2024-6923).

Handlers import this module when they first send, because a run without e-mail does not need the ``email`` package.
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

from supervisor._messages import rendering as pages
from supervisor._models import Kind
from supervisor._text import cut_middle, one_line, valid_unicode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from supervisor._attachments import PackedAttachments, PackedFile
    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._options import MailAddress

_SUBJECT_LIMIT = 200
_TEXT_LIMIT = 1_000_000
_LINE_LIMIT = 990  # RFC 5321, 4.5.3.1.6: 1,000 octets with the line break, and a dot may be doubled
PIECE_BYTES = 65_536
IMPORTANT = frozenset({Kind.FAILURE, Kind.DIED, Kind.MISSED})

_TYPE = re.compile(r"(?!multipart/|message/)[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*")
_RAW_LINE_BYTES = 57  # base64 makes a line of 76 characters from it, the most that RFC 2045, 6.8 allows
_ENCODED_LINE_BYTES = 78
_RESERVE_PER_FILE_BYTES = 4_096  # for its headers, and for the note about it in text and HTML


@attrs.frozen(kw_only=True)
class CommonHeaders:
    """The headers that all e-mails of a handler share.

    Args:
        sender: The sender.
        to: The recipients.
        cc: The recipients of a copy. Those of a blind copy stand in no header.
        prefix: The text before each subject.
        client: The sending program and its version, for the last line; empty leaves that out.
    """

    sender: MailAddress
    to: tuple[MailAddress, ...]
    cc: tuple[MailAddress, ...]
    prefix: str
    client: str


def to_base64_lines(raw: bytes) -> bytes:
    """Return bytes as lines of base64 (RFC 2045, 6.8)."""
    line = b2a_base64(raw, newline=False)
    return b"".join(line[at : at + 76] + b"\r\n" for at in range(0, len(line), 76))


def base64_size(count: int) -> int:
    """Return the size of a number of bytes as lines of base64."""
    return 4 * -(-count // 3) + 2 * -(-count // _RAW_LINE_BYTES)


@attrs.frozen
class EncodedFile:
    """A file that is read and encoded while it is sent, so that memory stays bounded."""

    part: PackedFile

    @property
    def size_bytes(self) -> int:
        """Return the size of the encoded file."""
        return base64_size(self.part.size_bytes)

    def pieces(self) -> Iterator[bytes]:
        """Yield the encoded file, read up to the size that was announced even if it has grown meanwhile."""
        left = self.part.size_bytes
        with self.part.path.open("rb") as file:
            while left > 0 and (raw := file.read(min(left, 840 * _RAW_LINE_BYTES))):
                left -= len(raw)
                yield to_base64_lines(raw)


Piece: TypeAlias = bytes | EncodedFile
"""A piece of an e-mail."""


@attrs.frozen
class EncodedMessage:
    """An e-mail as it is sent after DATA: with doubled dots, and with the dot that ends it (RFC 5321, 4.5.2)."""

    contents: tuple[Piece, ...]

    @property
    def size_bytes(self) -> int:
        """Return the size for the option SIZE (RFC 1870); the doubled dots make it slightly larger than it is."""
        return sum(len(each) if isinstance(each, bytes) else each.size_bytes for each in self.contents)

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes to send, at most 64 KiB at a time."""
        for each in self.contents:
            if isinstance(each, bytes):
                yield from (each[at : at + PIECE_BYTES] for at in range(0, len(each), PIECE_BYTES))
            else:
                yield from each.pieces()


def attachments_budget(message: EncodedMessage, count: int, limit_bytes: int) -> int:
    """Return how many bytes of files, before they are encoded, fit into an e-mail besides its texts.

    Args:
        message: The e-mail without attachments.
        count: The number of attachments; each takes some room besides its content.
        limit_bytes: The most that the whole e-mail may have.
    """
    room = limit_bytes - message.size_bytes - _RESERVE_PER_FILE_BYTES * (count + 1)
    return max(0, room * _RAW_LINE_BYTES // _ENCODED_LINE_BYTES)


def encode_message(
    details: MessageDetails, head: CommonHeaders, attached: PackedAttachments, *, utf8: bool, limit_bytes: int
) -> EncodedMessage:
    """Return a message as an e-mail.

    Args:
        details: The message.
        head: The headers that all e-mails of the handler share.
        attached: The files to attach, and the notes about them below the text.
        utf8: True leaves addresses as UTF-8, for a server that announced SMTPUTF8.
        limit_bytes: The most that the e-mail may have. Texts are cut at a 16th of it (or at 1,000,000 characters),
            so that text and HTML fit in any encoding; the caller chooses files that fit.
    """
    text, html = _bodies(details, head, attached.notes, min(_TEXT_LIMIT, limit_bytes // 16))
    pictures = {_message_id(f"{details.id}-{n}", head): each for n, each in enumerate(attached.parts) if each.is_inline}
    if pictures:
        html = pages.with_pictures(html, [(cid.strip("<>"), each.name) for cid, each in pictures.items()])
    page = _text_part("html", html)
    if pictures:  # RFC 2387, 2392: the page and what it shows
        page = _multipart("related", [page, *(_file_part(each, cid) for cid, each in pictures.items())])
    body = _multipart("alternative", [_text_part("plain", text), page])
    if files := [each for each in attached.parts if not each.is_inline]:
        body = _multipart("mixed", [body, *map(_file_part, files)])
    return _as_smtp_data([_common_headers(head, utf8=utf8), _headers(details, head).encode(), *body])


@lru_cache(maxsize=32)
def _common_headers(head: CommonHeaders, *, utf8: bool) -> bytes:
    """Return the headers that all e-mails of a handler share."""
    mail = EmailMessage(policy.SMTP.clone(utf8=utf8))
    mail["From"] = _address_list([head.sender], utf8=utf8)
    mail["To"] = _address_list(head.to, utf8=utf8) or "undisclosed-recipients:;"
    if copies := _address_list(head.cc, utf8=utf8):
        mail["Cc"] = copies
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: prevents vacation replies
    mail["X-Auto-Response-Suppress"] = "OOF, AutoReply"  # the same for Exchange: [MS-OXCMAIL] 2.1.3.2.20
    mail["X-Mailer"] = head.client or "agrc-supervisor"
    mail["MIME-Version"] = "1.0"
    return mail.as_bytes().removesuffix(b"\r\n")


def _address_list(addresses: Sequence[MailAddress], *, utf8: bool) -> str:
    """Return addresses as the value of a header, without those that need SMTPUTF8 where the server has none."""
    return ", ".join(
        str(Address(each.display, each.local, each.domain)) for each in addresses if utf8 or not each.needs_smtputf8
    )


def _headers(details: MessageDetails, head: CommonHeaders) -> str:
    """Return the headers of one e-mail.

    A repeat has the same Message-ID. All e-mails of a run refer to the same Message-ID, which no e-mail has, so that
    mail programs show them as one thread (RFC 5256 adds the missing ancestor; Gmail asks for "references headers that
    consistently refer to the same message ID", and for the same subject:
    https://workspaceupdates.googleblog.com/2019/03/threading-changes-in-gmail-conversation-view.html).
    """
    subject = one_line(valid_unicode(head.prefix + details.subject), _SUBJECT_LIMIT) or "(no subject)"
    headers = [
        f"Subject: {_subject(subject)}",
        f"Date: {_date(details.created_at)}",
        f"Message-ID: {_message_id(details.id, head)}",
    ]
    if details.report is not None:
        runs = [_message_id(f"run.{each}", head) for each in (details.report.parent_id, details.report.id) if each]
        headers += [f"In-Reply-To: {runs[-1]}", "References: " + "\r\n ".join(runs)]
    if details.kind in IMPORTANT or details.level in ("error", "critical"):
        headers.append("Importance: high")
    return "".join(f"{each}\r\n" for each in headers)


def _date(instant: datetime) -> str:
    """Return a date as the value of a header (RFC 5322, 3.3); ``email.utils`` takes four times as long."""
    weekday, month, day, clock, year = instant.astimezone(UTC).ctime().split()
    return f"{weekday}, {day:0>2} {month} {year} {clock} +0000"


def _subject(text: str) -> str:
    """Return a subject as the value of a header; text that looks like an encoded word is encoded itself."""
    if text.isascii() and "=?" not in text:
        return text
    return Header(text, "utf-8", header_name="Subject").encode(linesep="\r\n")


def _message_id(text: str, head: CommonHeaders) -> str:
    """Return a Message-ID that depends on the text alone."""
    if not re.fullmatch(r"(run\.)?[A-Za-z0-9_-]{1,64}", text):
        text = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    domain = head.sender.domain
    return f"<{text}@{domain if re.fullmatch(r'[A-Za-z0-9.-]+', domain) else 'supervisor.invalid'}>"


def _bodies(details: MessageDetails, head: CommonHeaders, notes: Sequence[str], limit: int) -> tuple[str, str]:
    """Return the text and the HTML of an e-mail, both with the notes and the client's name at the end."""
    text, html = pages.rendered(details)
    text = _normalized(cut_middle(text or details.subject, limit))
    if len(head.prefix + details.subject) > _SUBJECT_LIMIT:
        text = f"{_normalized(cut_middle(details.subject, limit // 4))}\n\n{text}"
    html = _html(html, text, limit)
    below = ["\n".join(_normalized(each) for each in notes)] if notes else []
    below += [f"-- \n{head.client}"] if head.client else []
    if below:
        html = _append_html(html, below)
    return "\n\n".join([text.rstrip("\n"), *below]) + "\n", html


def _html(html: str | None, text: str, limit: int) -> str:
    """Return the HTML of an e-mail; where it has none, or it would be too long, the text as HTML."""
    page = _normalized(html) if html is not None else ""
    return page if html is not None and len(page) <= limit else pages.html_from_text(text)


def _append_html(html: str, below: Sequence[str]) -> str:
    """Return an HTML page with paragraphs added at the end of its body."""
    style = "margin: 0 auto; max-width: 608px; padding: 8px 16px; white-space: pre-wrap; font: 13px/1.5 sans-serif;"
    paragraphs = (escape(each.removeprefix("-- \n")) for each in below)
    more = "".join(f'<p style="{style}">{each}</p>\n' for each in paragraphs)
    end = html.lower().rfind("</body>")
    return html[:end] + more + html[end:] if end >= 0 else f"{html}\n{more}"


def _normalized(text: str) -> str:
    """Return a text in valid Unicode, without NUL, and with line feeds for all line breaks."""
    return valid_unicode(text).replace("\r\n", "\n").replace("\r", "\n")


def _multipart(kind: str, entities: Sequence[list[Piece]]) -> list[Piece]:
    """Return several MIME entities as one (RFC 2046, 5.1)."""
    boundary = os.urandom(16).hex()
    pieces: list[Piece] = [f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode()]
    for entity in entities:
        pieces += [f"--{boundary}\r\n".encode(), *entity, b"\r\n"]
    return [*pieces, f"--{boundary}--\r\n".encode()]


def _text_part(kind: str, text: str) -> list[Piece]:
    """Return a text as a MIME entity in its shortest encoding; never in 8-bit, which not every server accepts."""
    raw = text.encode()
    encoding, encoded = "7bit", raw
    if not text.isascii() or max(map(len, raw.split(b"\n"))) > _LINE_LIMIT:
        encoding, encoded = "quoted-printable", b2a_qp(raw)
        if len(encoded) > base64_size(len(raw)):
            encoding, encoded = "base64", to_base64_lines(raw)
    headers = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return [headers.encode(), encoded if encoding == "base64" else encoded.replace(b"\n", b"\r\n")]


def _file_part(part: PackedFile, content_id: str = "") -> list[Piece]:
    """Return a file as a MIME entity; one with a Content-ID is shown by the page that names it."""
    kind = part.content_type if _TYPE.fullmatch(part.content_type) else "application/octet-stream"
    name = _file_name(one_line(valid_unicode(part.name), _SUBJECT_LIMIT) or "file")
    way = f"inline{name}\r\nContent-ID: {content_id}" if content_id else f"attachment{name}"
    headers = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: {way}\r\n\r\n"
    return [headers.encode(), EncodedFile(part)]


def _file_name(name: str) -> str:
    """Return a file's name as a parameter of a header, where necessary in the form of RFC 2231."""
    if re.fullmatch(r"[A-Za-z0-9._+-]{1,60}", name):
        return f'; filename="{name}"'
    sections = re.findall(r"(?:%..|[^%]){1,20}", "utf-8''" + quote(name, safe=""))
    if len(sections) == 1:
        return f";\r\n filename*={sections[0]}"
    return "".join(f";\r\n filename*{index}*={section}" for index, section in enumerate(sections))


def _as_smtp_data(pieces: Iterable[Piece]) -> EncodedMessage:
    """Return pieces as an e-mail that can follow DATA (RFC 5321, 4.5.2).

    Args:
        pieces: The pieces. The first and the last are bytes, and the last ends with a line break.
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
