"""An e-mail holds the whole message, whatever its text, in a form that every server accepts."""

from __future__ import annotations

import os
import tracemalloc
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor._attachments import PackedAttachments, PackedFile
from supervisor._messages import message_for
from supervisor._messages.rendering import html_from_text
from supervisor._models import Kind, Outcome
from supervisor.message_handlers._email.mime import CommonHeaders, EncodedMessage, attachments_budget, encode_message
from supervisor.message_handlers._options import MailAddress
from supervisor.models import ErrorDetails, MessageDetails, RunReport

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path

LIMIT_BYTES = 25_000_000
HEAD = CommonHeaders(
    sender=MailAddress.parse("Jobs <jobs@example.com>"),
    to=(MailAddress.parse("ops@example.com"),),
    cc=(),
    prefix="",
    client="",
)
HOSTILE = st.text(st.characters() | st.sampled_from("\r\n\0.=<>&\"'\ud800\udc00 \t😀ü\u2028\x0b\x85"), max_size=300)

patiently = settings(deadline=None, max_examples=60)


def encoded(
    details: MessageDetails, attached: PackedAttachments | None = None, limit_bytes: int = LIMIT_BYTES
) -> EncodedMessage:
    """Return the e-mail for a message."""
    return encode_message(details, HEAD, attached or PackedAttachments(), utf8=False, limit_bytes=limit_bytes)


def received(message: EncodedMessage) -> bytes:
    """Return the e-mail that a server stores, after checking that it may be sent like that (RFC 5321, 4.5)."""
    wire = b"".join(message.pieces())
    assert wire.endswith(b"\r\n.\r\n")
    *lines, dot, nothing = wire.split(b"\r\n")
    assert (dot, nothing) == (b".", b"")
    assert b"." not in lines
    assert wire.replace(b"\r\n", b"").find(b"\r") < 0
    assert wire.replace(b"\r\n", b"").find(b"\n") < 0
    assert b"\0" not in wire
    assert wire.isascii()
    assert max(map(len, lines)) <= 998
    return b"".join((line[1:] if line.startswith(b".") else line) + b"\r\n" for line in lines)


def parsed(message: EncodedMessage) -> EmailMessage:
    """Return the e-mail as a mail program parses it."""
    mail = message_from_bytes(received(message), policy=policy.default)
    assert mail.defects == []
    return mail


def body(mail: EmailMessage, kind: str) -> str:
    """Return one of a mail's two texts."""
    part = mail.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


def cleaned(text: str) -> str:
    """Return a text as it may arrive."""
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


@patiently
@given(HOSTILE)
def test_any_text_arrives(text: str) -> None:
    """Every text arrives unchanged, except for characters that a mail cannot contain."""
    mail = parsed(encoded(MessageDetails("s", f"x{text}")))
    assert body(mail, "plain").rstrip("\n") == cleaned(f"x{text}").rstrip("\n")


@patiently
@given(HOSTILE)
def test_any_html_arrives(text: str) -> None:
    """HTML arrives unchanged."""
    mail = parsed(encoded(MessageDetails("s", "t", html=text)))
    assert body(mail, "html").rstrip("\n") == cleaned(text).rstrip("\n")


@patiently
@given(HOSTILE)
def test_no_subject_makes_a_header(subject: str) -> None:
    """Any subject becomes one header of one line, and cannot add another."""
    plain = parsed(encoded(MessageDetails("s", "t", id="a")))
    mail = parsed(encoded(MessageDetails(f"{subject}\r\nBcc: evil@example.com\r\n\r\nbody", "t", id="a")))
    assert mail.keys() == plain.keys()  # lists, with a name as often as there are headers of it
    assert "\n" not in mail["Subject"]
    assert body(mail, "plain").endswith("t\n")


def test_an_encoded_word_stays_what_it_is(tmp_path: Path) -> None:
    """A subject or file name that looks like an encoded word is not decoded (CVE-2024-6923)."""
    trick = "=?utf-8?q?a=0D=0ABcc:_evil@example.com?="
    path = tmp_path / "a"
    path.write_bytes(b"x")
    part = PackedFile(path=path, name=f"{trick}.gz", content_type="application/gzip", size_bytes=1)
    full = encoded(MessageDetails(trick, "t"), PackedAttachments(parts=(part,)))
    mail = parsed(full)
    assert mail["Subject"] == trick
    assert mail["Bcc"] is None
    (attached,) = mail.iter_attachments()
    assert attached.get_filename() == f"{trick}.gz"
    assert b"Bcc:" not in b"".join(full.pieces())


@patiently
@given(st.text(st.characters(categories=["L", "N", "P", "S", "M"]), min_size=1, max_size=180))
def test_a_decent_subject_arrives_as_it_is(subject: str) -> None:
    """Characters of all scripts and emoji arrive."""
    mail = parsed(encoded(MessageDetails(f"a{subject}b", "t")))
    assert mail["Subject"] == f"a{subject}b"


@patiently
@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))
def test_a_date_is_written_as_python_writes_it(instant: datetime) -> None:
    """Any instant is written as ``email.utils.format_datetime`` writes it."""
    assert parsed(encoded(MessageDetails("s", "t", created_at=instant)))["Date"] == format_datetime(instant)


def test_a_long_subject_is_cut_and_stands_in_full_in_the_text() -> None:
    """10,000 characters are too many for a subject, but nothing of them is lost."""
    subject = "".join(f"word{index} " for index in range(1_200))
    mail = parsed(encoded(MessageDetails(subject, "the text")))
    assert len(mail["Subject"]) <= 200
    assert mail["Subject"].endswith("…")
    for kind in ("plain", "html"):
        assert subject.strip() in body(mail, kind)
        assert "the text" in body(mail, kind)


def test_a_message_without_words_has_some() -> None:
    """An empty subject or text is replaced, because mail programs show it badly."""
    mail = parsed(encoded(MessageDetails("\r\n\0", "")))
    assert mail["Subject"]
    assert body(parsed(encoded(MessageDetails("the subject", ""))), "plain") == "the subject\n"


@pytest.mark.parametrize("unit", ["a line of a log\n", "ü", "😀", "<&>", "\ud800", "x"])
def test_a_body_of_10_mb_is_cut_with_a_note(unit: str) -> None:
    """A huge text is cut in its middle, with the number of missing characters."""
    text = "first\n" + unit * (10_000_000 // len(unit)) + "\nlast"
    small = encoded(MessageDetails("s", text))
    mail = parsed(small)
    for kind in ("plain", "html"):
        assert "characters left out ...]" in body(mail, kind)
        assert "first\n" in body(mail, kind)
        assert "\nlast" in body(mail, kind)
    assert small.size_bytes < 16_000_000


@pytest.mark.parametrize("unit", ["a line of a log\n", "ü", "😀", "'", "\ud800"])
def test_a_long_text_fits_into_the_limit_in_any_encoding(unit: str) -> None:
    """Text and HTML together never exceed the server's limit."""
    details = MessageDetails("s", unit * (1_000_000 // len(unit)), html=unit * 30_000)
    assert encoded(details, limit_bytes=400_000).size_bytes <= 400_000


def test_html_that_is_too_long_is_made_anew_from_the_text() -> None:
    """HTML that is too long is replaced by the text, which can be cut."""
    mail = parsed(encoded(MessageDetails("s", "the <text>", html="<p>" + "x" * 2_000_000)))
    assert "the &lt;text&gt;" in body(mail, "html")


def composed(text: str, **changes: Any) -> MessageDetails:
    """Return a failure that supervisor composed, with the text in every field that scripts can set."""
    error = ErrorDetails(
        type=text or "E",
        message=text,
        where=f"p.py:1 in {text}",
        excerpt=f"> 1 | {text}",
        notes=(text,),
        local_variables=((text, text),),
        traceback=f"Traceback\n{text}",
    )
    facts: dict[str, Any] = {
        "id": "r1",
        "name": text or "a",
        "host": text,
        "started_at": datetime(2026, 3, 1, tzinfo=UTC),
        "outcome": Outcome.FAILURE,
        "values": {text: text, "n": 1},
        "argv": (text,),
        "log_tail": (text,),
        "error": error,
    }
    return message_for(Kind.FAILURE, RunReport(**(facts | changes)), note=text)


@patiently
@given(HOSTILE)
def test_any_text_is_accepted_and_mentions_nobody(text: str) -> None:
    """A composed message with any text arrives as text and HTML, and the text adds neither headers nor tags."""
    evil = f"{text}\r\nBcc: evil@example.com\r\n\r\n<script>{text}</script>"
    mail = parsed(encoded(composed(evil)))
    assert set(mail.keys()) == set(parsed(encoded(composed("a"))).keys())
    assert "\n" not in mail["Subject"]
    assert "<script" not in body(mail, "html")
    assert "&lt;script&gt;" in body(mail, "html")
    assert "<script>" in body(mail, "plain")


def test_a_composed_message_has_a_page_of_its_own() -> None:
    """HTML is composed from the message's parts, not from its text."""
    html = body(parsed(encoded(composed("x"))), "html")
    assert "<h1" in html
    assert "max-width:640px" in html


def test_a_composed_message_of_any_length_fits() -> None:
    """Texts of 2 MB in every field, and subjects of 10,000 characters, are cut with a note."""
    mail = parsed(encoded(composed("🏔 <b> " * 300_000)))
    assert len(mail["Subject"]) <= 200
    assert mail["Subject"].endswith("…")
    assert "left out" in body(mail, "plain")
    assert "left out" in body(mail, "html")
    assert len(body(mail, "html")) < 102_000
    small = encoded(composed("x" * 60_000), limit_bytes=200_000)
    assert small.size_bytes < 200_000
    assert "<pre" in body(parsed(small), "html")


@patiently
@given(HOSTILE)
def test_a_text_is_no_html(text: str) -> None:
    """A text that is shown as HTML is escaped."""
    page = html_from_text(text)
    inside = page[page.index('monospace;">') : page.index("</pre>")]
    assert "<" not in inside
    assert page.count("</pre>") == 1


def test_files_arrive_byte_for_byte(tmp_path: Path) -> None:
    """Files with any bytes, name and media type arrive unchanged."""
    parts = []
    for index, size in enumerate([1, 2, 3, 56, 57, 58, 47_880, 47_881, 200_000]):
        path = tmp_path / str(index)
        path.write_bytes(os.urandom(size))
        parts.append(
            PackedFile(path=path, name=f"{index} ü;\"'\r\n.gz", content_type="application/gzip", size_bytes=size)
        )
    parts[0] = attrs.evolve(parts[0], content_type="multipart/mixed")
    parts[1] = attrs.evolve(parts[1], content_type="text/plain")
    parts[2] = attrs.evolve(parts[2], content_type="x\r\nEvil: 1")
    full = encoded(MessageDetails("s", "t"), PackedAttachments(parts=tuple(parts)))
    mail = parsed(full)
    attached = list(mail.iter_attachments())
    assert [each.get_payload(decode=True) for each in attached] == [each.path.read_bytes() for each in parts]
    assert all("ü" in (each.get_filename() or "") for each in attached)
    assert full.size_bytes == len(b"".join(full.pieces()))
    assert not mail["Evil"]


def test_a_file_that_grows_or_shrinks_does_no_harm(tmp_path: Path) -> None:
    """At most the announced size of a file is read; a file that has shrunk arrives shorter."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 1_000)
    for announced in (100, 5_000):
        part = PackedFile(path=path, name="a", content_type="text/plain", size_bytes=announced)
        mail = parsed(encoded(MessageDetails("s", "t"), PackedAttachments(parts=(part,))))
        (attached,) = mail.iter_attachments()
        assert len(attached.get_payload(decode=True)) == min(announced, 1_000)


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """A file is read and encoded while it is sent: 20 MB of it take less than 2 MB of memory."""
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(20_000_000)
    part = PackedFile(path=path, name="a", content_type="application/gzip", size_bytes=20_000_000)
    encoded(MessageDetails("s", "t"))  # loads what it needs
    tracemalloc.start()
    try:
        sent = sum(map(len, encoded(MessageDetails("s", "t"), PackedAttachments(parts=(part,))).pieces()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent > 27_000_000
    assert peak < 2_000_000


@pytest.mark.parametrize("limit_bytes", [50_000, 1_000_000, 25_000_000])
def test_the_budget_leaves_room_for_all_that_is_not_a_file(tmp_path: Path, limit_bytes: int) -> None:
    """Files that use up the budget make an e-mail that is just within the limit."""
    bare = encoded(MessageDetails("s", "t" * 1_000), limit_bytes=limit_bytes)
    budget = attachments_budget(bare, 3, limit_bytes)
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(budget // 3)
    name = "ü" * 100
    parts = tuple(
        PackedFile(path=path, name=name, content_type="application/gzip", size_bytes=budget // 3) for _ in range(3)
    )
    notes = tuple(f"{name}: cut" for _ in parts)
    full = encoded(
        MessageDetails("s", "t" * 1_000), PackedAttachments(parts=parts, notes=notes), limit_bytes=limit_bytes
    )
    assert limit_bytes - 25_000 < full.size_bytes <= limit_bytes


@pytest.mark.parametrize(
    ("text", "display", "address"),
    [
        ("a@example.com", "", "a@example.com"),
        (" a@example.com ", "", "a@example.com"),
        ("A B <a@example.com>", "A B", "a@example.com"),
        ('"B, A" <a@example.com>', "B, A", "a@example.com"),
        ("<a@example.com>", "", "a@example.com"),
        ("Ä <ä@exämple.com>", "Ä", "ä@xn--exmple-cua.com"),
        ("a@MÜNCHEN。Example", "", "a@xn--mnchen-3ya.example"),
        ("a@[127.0.0.1]", "", "a@[127.0.0.1]"),
    ],
)
def test_addresses_are_taken_apart(text: str, display: str, address: str) -> None:
    """An address is parsed with and without a display name."""
    parsed = MailAddress.parse(text)
    assert (parsed.display, parsed.address) == (display, address)


@pytest.mark.parametrize("text", ["", "a", "@", "a@", "@b", "a b@c", "a@b c", "<a@b", "a@b>", "a@b> SIZE=1", "a@b\nc"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """Text that is no address is refused."""
    with pytest.raises(ValueError, match="is no address"):
        MailAddress.parse(text)
