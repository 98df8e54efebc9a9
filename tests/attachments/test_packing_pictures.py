"""``run.attach(path, inline=True)``: pictures are shown in mails, and are files elsewhere."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest
from recorders import Recorder

from supervisor import supervise
from supervisor._attachments import pack
from supervisor.message_handlers import EmailHandler, SendGridHandler
from supervisor.models import Attachment

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path

    from http_peers import HttpPeer
    from smtp_peers import MailServer

PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """Return the path of a picture."""
    path = tmp_path / "chart <1>.png"
    path.write_bytes(PNG)
    return path


def test_a_mail_shows_the_picture(server: MailServer, chart: Path, tmp_path: Path) -> None:
    """The page names it by its Content-ID and stands beside it; other files are attached as ever."""
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    handler = EmailHandler(
        smtp_server="127.0.0.1",
        smtp_port=server.port,
        security="none",
        from_address="a@example.com",
        to_addresses="b@example.com",
    )
    with supervise("parcels", handlers=handler, report_on="success") as run:
        run.attach(chart, inline=True)
        run.attach(tmp_path / "rows.csv")
    (arrived,) = server.arrived
    mail: Any = arrived.mail
    assert mail.get_content_type() == "multipart/mixed"
    related = next(part for part in mail.walk() if part.get_content_type() == "multipart/related")
    page, picture = related.iter_parts()
    assert picture.get_content_disposition() == "inline"
    assert picture.get_content() == PNG
    (cid,) = re.findall(r'<img src="cid:([^"]+)" alt="chart', page.get_content())
    assert picture["Content-ID"] == f"<{cid}>"
    assert [part.get_filename() for part in attachments_of(mail)] == ["rows.csv"]


def attachments_of(mail: EmailMessage) -> list[Any]:
    """Return what a mail has attached."""
    return [part for part in mail.walk() if part.get_content_disposition() == "attachment"]


def test_sendgrid_shows_the_picture(peer: HttpPeer, chart: Path) -> None:
    """The mail has it inline, with the id that the page names."""
    handler = SendGridHandler(
        api_key="SG.key", from_address="a@example.com", to_addresses="b@example.com", host=peer.url
    )
    with supervise("parcels", handlers=handler, report_on="success") as run:
        run.attach(chart, inline=True)
    request = peer.requests[-1]
    (attached,) = request.json["attachments"]
    assert (attached["disposition"], attached["content_id"]) == ("inline", "picture0")
    assert b64decode(attached["content"]) == PNG
    assert '<img src="cid:picture0" alt="chart' in request.json["content"][1]["value"]


def test_others_get_a_file(chart: Path) -> None:
    """A handler finds it among the attachments."""
    recorder = Recorder()
    with supervise("parcels", handlers=recorder, report_on="success") as run:
        run.attach(chart, inline=True)
    (attachment,) = recorder.only.attachments
    assert (attachment.name, attachment.is_inline) == (chart.name, True)


@pytest.mark.parametrize(("name", "content"), [("chart.svg", b"<svg/>"), ("chart.txt", PNG), ("chart", b"")])
def test_what_is_no_picture_is_a_file(tmp_path: Path, name: str, content: bytes) -> None:
    """A mail program would show a broken image instead."""
    path, directory = tmp_path / name, tmp_path / "packed"
    path.write_bytes(content)
    directory.mkdir()
    part = pack(Attachment(path, is_inline=True), directory).part
    assert part is None or part.is_inline is (part.content_type == "image/png")


def test_a_wrong_path_never_raises() -> None:
    """It is logged, and the message says it."""
    recorder = Recorder()
    with supervise("parcels", handlers=recorder, report_on="success", journal=False) as run:
        run.attach(5, inline=True)  # type: ignore[arg-type]  # what a script may give
    assert "Supervision went on without a step" in recorder.only.message
