"""A message as the JSON that SendGrid's ``POST /v3/mail/send`` takes: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, TypeAlias

import attrs

from supervisor._text import cut_middle, one_line, valid_unicode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from supervisor._attachments import PackedFile
    from supervisor._models.values import MessageDetails

MAIL_LIMIT_BYTES = 30_000_000
_TEXT_LIMIT = 500_000
_HTML_LIMIT = 2_000_000
_MARGIN_BYTES = 100_000  # for the notes about attachments, and for the headers that SendGrid adds
_ATTACHMENTS = ', "attachments": ['
_PIECE_BYTES = 3 * 65_536  # a multiple of three, so that only the last piece of base64 is padded
_BASE64_FACTOR = 1.37  # base64 in lines of 76 characters

Mail: TypeAlias = dict[str, Any]


@attrs.frozen(kw_only=True)
class MailSettings:
    """The settings of a handler that all its mails share; :class:`SendGridHandler` describes them."""

    from_address: str
    to_addresses: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    prefix: str
    client_name: str
    client_version: str


def compose_mail(settings: MailSettings, details: MessageDetails) -> Mail:
    """Return a message as a mail without attachments."""
    full_subject = valid_unicode(f"{settings.prefix}{details.subject}")
    subject = one_line(full_subject) or "(no subject)"
    text = _text(subject, full_subject, valid_unicode(details.message))
    html = _html(details, text)
    to, cc, bcc = _unique(settings.to_addresses, settings.cc, settings.bcc)
    copies = {name: each for name, each in (("cc", cc), ("bcc", bcc)) if each}
    body: Mail = {
        "personalizations": [{"to": to, **copies}],
        "from": _address(settings.from_address),
        "subject": subject,
        "content": [{"type": "text/plain", "value": text}, {"type": "text/html", "value": html}],
        "headers": _headers(settings, details),
        "custom_args": {"supervisor_message_id": one_line(details.id)},
    }
    if settings.client_name or settings.client_version:
        name, version = settings.client_name or "client", settings.client_version or "not specified"
        append_lines(body, (f"{name} version: {version}",))
    return body


def attach(mail: Mail, parts: Sequence[PackedFile]) -> None:
    """Add files to a mail, as paths that :func:`write_json` reads.

    SendGrid refuses ``;``, CR and LF in names and types, and empty names.
    """
    attached = [
        {
            "content": part.path,
            "filename": one_line(valid_unicode(part.name).replace(";", "_")) or "attachment",
            "type": one_line(part.content_type.partition(";")[0]) or "application/octet-stream",
            "disposition": "attachment",
        }
        for part in parts
        if part.size_bytes  # SendGrid asks for at least one character of content
    ]
    if attached:
        mail["attachments"] = attached


def write_json(mail: Mail, file: IO[bytes]) -> None:
    """Write a mail as JSON, reading its attachments piece by piece, so that 30 MB of base64 are never in memory."""
    import json

    attachments = mail.get("attachments", ())
    text = json.dumps({name: each for name, each in mail.items() if name != "attachments"}, ensure_ascii=False)
    file.write(text.removesuffix("}").encode())
    for index, each in enumerate(attachments):
        facts = json.dumps({name: fact for name, fact in each.items() if name != "content"}, ensure_ascii=False)
        start = ', "content": "'
        file.write(f"{', ' if index else _ATTACHMENTS}{facts.removesuffix('}')}{start}".encode())
        _write_base64(each["content"], file)
        file.write(b'"}')
    file.write(b"]}" if attachments else b"}")


def _write_base64(path: Path, file: IO[bytes]) -> None:
    from base64 import b64encode

    with path.open("rb") as source:
        while piece := source.read(_PIECE_BYTES):
            file.write(b64encode(piece))


def _headers(settings: MailSettings, details: MessageDetails) -> dict[str, str]:
    """Return the mail's own headers; SendGrid reserves others, and sets the ``Message-ID`` itself."""
    headers = {"Auto-Submitted": "auto-generated"}
    if details.report is None:
        return headers
    # No mail has this id. Mail programs show mails that refer to the same id as one thread.
    run = "".join(c for c in details.report.id if c.isascii() and c.isalnum())
    thread = f"<run.{run}@{_address(settings.from_address)['email'].rpartition('@')[2]}>"
    return headers | {"References": thread, "In-Reply-To": thread}


def attachments_limit_bytes(mail: Mail) -> int:
    """Return how many bytes of attachments fit into 30 MB together with the mail's text."""
    text_bytes = sum(len(each["value"].encode()) for each in mail["content"])
    return int((MAIL_LIMIT_BYTES - _MARGIN_BYTES - text_bytes) / _BASE64_FACTOR)


def _text(subject: str, full_subject: str, message: str) -> str:
    """Return the text of a mail: never empty, cut to what mail programs can show, and with a subject that was cut."""
    text = cut_middle(message, _TEXT_LIMIT)
    if subject.endswith("…") and not full_subject.endswith("…"):
        text = f"{cut_middle(full_subject, _TEXT_LIMIT)}\n\n{text}"
    return text if text.strip() else subject


def _html(details: MessageDetails, text: str) -> str:
    """Return the HTML of a mail; where it would be too long, the text as HTML."""
    from supervisor._messages import html

    if details.html or details.parts:
        page = valid_unicode(html.as_html(details))
        if page and len(page) <= _HTML_LIMIT:
            return page
    return html.html_from_text(text)


def append_lines(mail: Mail, lines: Iterable[str]) -> None:
    """Add lines to the end of a mail's text and HTML."""
    from html import escape

    lines = [valid_unicode(line) for line in lines]
    if not lines:
        return
    text, html = mail["content"]
    text["value"] += "\n\n" + "\n".join(lines)
    paragraph = f"<p>{'<br>'.join(escape(line) for line in lines)}</p>"
    before, end, after = html["value"].rpartition("</body>")
    html["value"] = f"{before}{paragraph}{end}{after}" if end else f"{html['value']}{paragraph}"


def _unique(*groups: tuple[str, ...]) -> list[list[dict[str, str]]]:
    """Return to, cc and bcc without repeats: SendGrid refuses a mail that names an address twice, in any case."""
    seen = set()
    unique: list[list[dict[str, str]]] = []
    for group in groups:
        unique.append([])
        for address in map(_address, group):
            if address["email"].lower() not in seen:
                seen.add(address["email"].lower())
                unique[-1].append(address)
    return unique


def _address(text: str) -> dict[str, str]:
    """Return an address with its display name, in which SendGrid allows no ``;`` and no ``,``."""
    from email.utils import parseaddr

    name, address = parseaddr(text)
    name = one_line(name.replace(";", " ").replace(",", " "))
    return {"email": address or text, **({"name": name} if name else {})}
