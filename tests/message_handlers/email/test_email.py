"""EmailHandler: its settings, and the mails that arrive at a real SMTP server."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import attrs
import pytest
import trustme
from smtp_peers import WAIT_S, MailServer

from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers._email import EmailHandler
from supervisor.models import Kind, MessageDetails, MessageHandler, RunReport

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

REQUIRED: dict[str, Any] = {
    "smtp_server": "mail.example.com",
    "from_address": "jobs@example.com",
    "to_addresses": "ops@example.com",
}


def handler_for(server: MailServer, **settings: Any) -> EmailHandler:
    """Return a handler that sends to the test's server."""
    ours = {"smtp_server": "127.0.0.1", "smtp_port": server.port, "security": "none"}
    return EmailHandler(**{**REQUIRED, **ours, **settings})


@pytest.fixture
def handler(server: MailServer) -> Iterator[EmailHandler]:
    """Yield a handler that sends to it."""
    handler = handler_for(server)
    yield handler
    handler.close()


@attrs.frozen
class Tls:
    """The server's TLS context, and the certificate that its clients trust."""

    context: ssl.SSLContext
    ca_file: str


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """Return TLS for 127.0.0.1 by an authority of our own."""
    import ssl

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return Tls(context, str(ca_file))


def test_settings_have_the_defaults_that_are_documented() -> None:
    """With the required settings alone, a handler uses STARTTLS and is named after its recipient."""
    handler = EmailHandler(**REQUIRED)
    assert (handler.smtp_port, handler.security, handler.timeout_s) == (587, "starttls", 10)
    assert handler.verify_certificate is True
    assert handler.name == "email:ops@example.com"
    assert isinstance(handler, MessageHandler)


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465), ("none", 25)])
def test_the_port_follows_from_the_security(security: str, port: int) -> None:
    """The default of smtp_port is the usual port for ``security``."""
    assert EmailHandler(**REQUIRED, security=security).smtp_port == port


def test_settings_of_version_3_fit() -> None:
    """The settings of version 3 are accepted unchanged."""
    old = {
        "smtpServer": "send.example.com",
        "smtpPort": 25,
        "from_address": "noreply@example.com",
        "to_addresses": ["a@example.com", "b@example.com"],
        "prefix": "Nightly: ",
    }
    handler = EmailHandler(**old)  # type: ignore[arg-type] # as a script of old would
    assert (handler.smtp_server, handler.smtp_port) == ("send.example.com", 25)
    assert handler.to_addresses == ("a@example.com", "b@example.com")


@pytest.mark.parametrize("name", list(REQUIRED))
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_required_setting_that_is_missing_or_blank_is_named(name: str, value: object) -> None:
    """The error for a missing or blank setting has its name."""
    for settings in (REQUIRED | {name: value}, {key: each for key, each in REQUIRED.items() if key != name}):
        with pytest.raises(ConfigurationError, match=rf"^EmailHandler: {name} must be "):
            EmailHandler(**settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("smtp_server", "a\0b"),
        ("smtp_server", "a b"),
        ("smtp_port", 0),
        ("smtp_port", 65536),
        ("smtp_port", "smtp"),
        ("smtp_port", None),
        ("security", "ssl"),
        ("security", ["tls"]),
        ("timeout_s", 0),
        ("timeout_s", "10"),
        ("from_address", "nobody"),
        ("from_address", "a@example.com> SIZE=1"),
        ("from_address", "a@example.com\r\nRCPT TO:<x@example.com>"),
        ("to_addresses", "Somebody <>"),
        ("to_addresses", ["a b@example.com"]),
        ("cc", "nobody"),
        ("bcc", [7]),
        ("username", ""),
        ("verify_certificate", "no"),
        ("ca_file", "no-such-file.pem"),
        ("oauth2_token", "a token"),
        ("limit_bytes", -1),
        ("name", " "),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: object) -> None:
    """Settings out of range are refused when the handler is built."""
    with pytest.raises(ConfigurationError, match=rf"^EmailHandler: {name} must be "):
        EmailHandler(**{**REQUIRED, name: value})


@pytest.mark.parametrize(
    "login",
    [{"username": "jobs"}, {"password": "s3cret"}, {"oauth2_token": str}],
)
def test_a_login_is_whole_or_not_there(login: dict[str, Any]) -> None:
    """A username without a password, or the reverse, is refused when the handler is built."""
    with pytest.raises(ConfigurationError, match=r"username must come with password or oauth2_token"):
        EmailHandler(**REQUIRED, **login)


def test_neither_repr_nor_errors_show_a_secret() -> None:
    """A password appears neither in repr nor in an error about it."""
    handler = EmailHandler(**REQUIRED, username="jobs", password="s3cret")
    assert "s3cret" not in repr(handler)
    with pytest.raises(ConfigurationError) as caught:
        EmailHandler(**REQUIRED, username="jobs", password=b"s3cret")  # type: ignore[arg-type]
    assert "s3cret" not in str(caught.value)


def test_names_tell_handlers_apart_that_have_other_recipients() -> None:
    """The name depends on the recipients alone, and is short even for many."""
    many = [f"person{index}@example.com" for index in range(50)]
    names = [EmailHandler(**{**REQUIRED, "to_addresses": each}).name for each in (many, many[::-1], many[:49])]
    assert names[0] != names[2]
    assert all(name is not None and len(name) < 50 for name in names)
    assert names[0] == EmailHandler(**{**REQUIRED, "to_addresses": many}).name
    assert EmailHandler(**REQUIRED, name="the boss").name == "the boss"


def test_importing_the_handler_loads_no_client_library() -> None:
    """Building a handler imports none of smtplib, ssl and email."""
    code = (
        "import sys; import supervisor.message_handlers._email as m;"
        "m.EmailHandler(smtp_server='s', from_address='a@example.com', to_addresses='b@example.com');"
        "print([each for each in ('smtplib', 'ssl', 'email', 'socket') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_message_arrives_as_text_and_html(server: MailServer) -> None:
    """A message arrives as text and HTML at all recipients, with subject, date and last line."""
    handler = handler_for(
        server,
        from_address="Night Jobs <jobs@example.com>",
        to_addresses=["Ops <ops@example.com>", "b@example.com"],
        cc="c@example.com",
        bcc="hidden@example.com; ops@example.com",
        prefix="[parcels] ",
        client_name="loader",
        client_version="1.2",
    )
    written = datetime(2026, 3, 1, 2, 0, 3, tzinfo=UTC)
    handler.send_message(MessageDetails("Loaded", "12 < 13 rows\n\tünïcode 😀\n.dot\n", created_at=written))
    handler.close()
    (arrived,) = server.arrived
    assert arrived.sender == "jobs@example.com"
    assert arrived.recipients == ["ops@example.com", "b@example.com", "c@example.com", "hidden@example.com"]
    mail = arrived.mail
    assert mail["From"] == "Night Jobs <jobs@example.com>"
    assert mail["To"] == "Ops <ops@example.com>, b@example.com"
    assert mail["Cc"] == "c@example.com"
    assert b"hidden" not in arrived.source
    assert mail["Subject"] == "[parcels] Loaded"
    assert parsedate_to_datetime(mail["Date"]) == written
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "OOF" in mail["X-Auto-Response-Suppress"]
    assert arrived.text == "12 < 13 rows\n\tünïcode 😀\n.dot\n\n-- \nloader version: 1.2\n"
    assert "12 &lt; 13 rows" in arrived.html
    assert "loader version: 1.2</p>" in arrived.html


def test_html_of_the_message_is_sent_as_it_is(server: MailServer, handler: EmailHandler, tmp_path: Path) -> None:
    """A message's own HTML is sent, with the notes about attachments inside the page."""
    html = "<html><BODY><h1>Fine — ok</h1></BODY></html>"
    handler.send_message(MessageDetails("s", "t", [tmp_path / "a & b.log"], html=html))
    (arrived,) = server.arrived
    assert "<h1>Fine — ok</h1>" in arrived.html
    assert arrived.html.index("a &amp; b.log: ") < arrived.html.index("</BODY>")
    assert "a & b.log: " in arrived.text


def test_a_repeat_can_be_recognised(server: MailServer, handler: EmailHandler) -> None:
    """The Message-ID depends on the message's id alone, so that a repeat has the same."""
    details = MessageDetails("s", "t", id="0123abc")
    handler.send_message(details)
    other = handler_for(server)
    other.send_message(details)
    other.close()
    handler.send_message(MessageDetails("s", "t"))
    ids = [each.mail["Message-ID"] for each in server.arrived]
    assert ids[:2] == ["<0123abc@example.com>"] * 2
    assert ids[2] != ids[0]


@pytest.mark.parametrize("hostile", ["x> evil <y", "a\r\nBcc: x@example.com", "a b", "é", "x" * 500, "\ud800", ".a"])
def test_any_id_makes_a_message_id(server: MailServer, handler: EmailHandler, hostile: str) -> None:
    """An id that would break the header is replaced by its digest."""
    handler.send_message(MessageDetails("s", "t", id=hostile))
    handler.send_message(MessageDetails("s", "t", id=hostile))
    first, second = (each.mail["Message-ID"] for each in server.arrived)
    assert first == second
    assert first.startswith("<")
    assert first.endswith("@example.com>")
    assert len(first) < 100
    assert server.arrived[0].mail["Bcc"] is None


def test_the_messages_of_a_run_form_a_thread(server: MailServer, handler: EmailHandler) -> None:
    """All messages of a run refer to the same Message-ID, and through it to that of the run around it."""
    outer = RunReport(id="outer1", name="all", started_at=datetime.now(UTC))
    inner = RunReport(id="inner1", name="one", started_at=datetime.now(UTC), parent_id="outer1")
    for details in (
        MessageDetails("started", "t", report=outer),
        MessageDetails("failed", "t", report=outer),
        MessageDetails("inner", "t", report=inner),
        MessageDetails("by itself", "t"),
    ):
        handler.send_message(details)
    threads = [(each.mail["References"], each.mail["In-Reply-To"]) for each in server.arrived]
    root = "<run.outer1@example.com>"
    assert threads[0] == threads[1] == (root, root)
    assert threads[2] == (f"{root} <run.inner1@example.com>", "<run.inner1@example.com>")
    assert threads[3] == (None, None)


@pytest.mark.parametrize(("kind", "importance"), [(Kind.FAILURE, "high"), (Kind.SUCCESS, None), (Kind.NOTICE, None)])
def test_only_what_went_wrong_is_important(
    server: MailServer, handler: EmailHandler, kind: Kind, importance: str | None
) -> None:
    """A failure has "Importance: high"; other kinds do not."""
    handler.send_message(MessageDetails("s", "t", kind=kind))
    assert server.arrived[0].mail["Importance"] == importance


def test_one_connection_serves_many_messages(server: MailServer, handler: EmailHandler) -> None:
    """Messages share one connection, and ``close`` sends QUIT."""
    for index in range(20):
        handler.send_message(MessageDetails(f"s{index}", "t"))
    assert server.connections == 1
    handler.close()
    handler.close()
    assert server.asked[-1] == "QUIT"
    handler.send_message(MessageDetails("after", "t"))
    assert server.connections == 2
    assert len(server.arrived) == 21


def test_closing_while_a_message_is_on_its_way_waits_for_it(server: MailServer) -> None:
    """When another thread closes the handler, the message is still sent, and then the connection is closed."""
    handler = handler_for(server)
    asked = threading.Event()

    def token() -> str:
        asked.set()
        handler.close()
        return "tok"

    with MailServer(token="tok") as gmail:
        handler = handler_for(gmail, username="jobs@example.com", oauth2_token=token)
        sender = threading.Thread(target=handler.send_message, args=(MessageDetails("s", "t"),))
        sender.start()
        assert asked.wait(WAIT_S)
        sender.join(WAIT_S)
        assert len(gmail.arrived) == 1
        assert gmail.asked[-1] == "QUIT"


def test_several_threads_share_a_handler(server: MailServer, handler: EmailHandler) -> None:
    """Messages of several threads share the connection, one after the other."""

    def send(name: str) -> None:
        for index in range(10):
            handler.send_message(MessageDetails(f"{name}{index}", "t"))

    threads = [threading.Thread(target=send, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert len({each.mail["Subject"] for each in server.arrived}) == 30
    assert server.connections == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_a_connection_of_its_own(server: MailServer) -> None:
    """After a fork, parent and child use different connections."""
    code = f"""
import os
from supervisor.message_handlers._email import EmailHandler
from supervisor.models import MessageDetails
handler = EmailHandler(smtp_server="127.0.0.1", smtp_port={server.port}, security="none",
                       from_address="a@example.com", to_addresses="b@example.com")
handler.send_message(MessageDetails("before", "t"))
child = os.fork()
if child == 0:
    handler.send_message(MessageDetails("child", "t"))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
handler.send_message(MessageDetails("parent", "t"))
handler.close()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [each.mail["Subject"] for each in server.arrived] == ["before", "child", "parent"]
    assert server.connections == 2


def test_starttls_encrypts_before_anything_is_sent(tls: Tls) -> None:
    """With "starttls" the mail and the login go over an encrypted connection, and the certificate is checked."""
    with MailServer(tls_context=tls.context, logins={"jobs": "pässword"}, auth_require_tls=True) as server:
        handler = handler_for(server, security="starttls", ca_file=tls.ca_file, username="jobs", password="pässword")
        handler.send_message(MessageDetails("s", "t"))
        handler.close()
        (arrived,) = server.arrived
    assert arrived.is_encrypted
    assert arrived.login == b"jobs"
    assert server.asked[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]


def test_tls_is_encrypted_from_the_start(tls: Tls) -> None:
    """With "tls" the connection is encrypted before the server's greeting."""
    with MailServer(tls=tls.context) as server:
        handler = handler_for(server, security="tls", ca_file=tls.ca_file)
        handler.send_message(MessageDetails("s", "t"))
        handler.close()
        assert server.arrived[0].is_encrypted


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_any_certificate_will_do_without_verification(tls: Tls, security: str) -> None:
    """Without verification a certificate of an unknown authority is accepted."""
    options: dict[str, Any] = {"tls": tls.context} if security == "tls" else {"tls_context": tls.context}
    with MailServer(**options) as server:
        handler = handler_for(server, security=security, verify_certificate=False)
        handler.send_message(MessageDetails("s", "t"))
        handler.close()
        assert server.arrived[0].is_encrypted


@pytest.mark.parametrize("password", ["secret", "s3crét", "bytes\udcff"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_password_logs_in(mechanism: str, password: str) -> None:
    """A login works with each usual mechanism, for passwords in ASCII, UTF-8 or undecodable bytes."""
    other = {"PLAIN": "LOGIN", "LOGIN": "PLAIN"}[mechanism]
    with MailServer(logins={"jöbs": password}, auth_exclude_mechanism=[other]) as server:
        handler = handler_for(server, username="jöbs", password=password)
        handler.send_message(MessageDetails("s", "t"))
        handler.close()
        assert server.arrived[0].login == "jöbs".encode()


def test_a_token_logs_in_and_is_asked_for_anew_with_each_connection() -> None:
    """XOAUTH2 calls the function for each connection, because tokens expire."""
    tokens = iter(["first", "second"])
    with MailServer(token="first") as server:
        handler = handler_for(server, username="jobs@example.com", oauth2_token=lambda: next(tokens))
        handler.send_message(MessageDetails("s", "t"))
        assert server.arrived[0].login == b"jobs@example.com"
        server.token = "second"
        handler.close()
        handler.send_message(MessageDetails("s", "t"))
        handler.close()
        assert len(server.arrived) == 2


def test_attachments_arrive(server: MailServer, handler: EmailHandler, tmp_path: Path) -> None:
    """Files and directories arrive complete under any name, and both texts note the missing ones."""
    log = tmp_path / "läuft.log"
    log.write_bytes(b".line\r\n" * 50_000)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "inner.txt").write_text("inner", encoding="utf-8")
    handler.send_message(MessageDetails("s", "t", [log, folder, tmp_path / "gone.csv"]))
    (arrived,) = server.arrived
    parts = {part.get_filename(): part.get_payload(decode=True) for part in arrived.mail.iter_attachments()}
    assert parts["läuft.log"] == b".line\r\n" * 50_000
    zipped = parts["folder.zip"]
    assert isinstance(zipped, bytes)
    with ZipFile(BytesIO(zipped)) as archive:
        assert any(archive.read(name) == b"inner" for name in archive.namelist())
    assert "gone.csv: " in arrived.text
    assert "gone.csv: " in arrived.html
    assert len(parts) == 2


def test_attachments_fit_into_the_size_that_the_server_announces(tmp_path: Path) -> None:
    """A log is cut to the size that the server announced, with a note."""
    log = tmp_path / "big.log"
    log.write_text("".join(f"{os.urandom(30).hex()}\n" for _ in range(20_000)), encoding="ascii")
    with MailServer(data_size_limit=300_000) as server:
        handler = handler_for(server)
        handler.send_message(MessageDetails("s", "t", log))
        handler.close()
        (arrived,) = server.arrived
    (part,) = arrived.mail.iter_attachments()
    assert log.read_bytes().endswith(gzip.decompress(part.get_content()))
    assert "big.log: the last " in arrived.text
    assert 200_000 < len(arrived.source) < 300_000
    announced = next(int(each.removeprefix("SIZE=")) for each in arrived.options if each.startswith("SIZE="))
    assert announced >= len(arrived.source)
    assert server.asked.count("MAIL") == 1


def test_attachments_fit_into_our_own_limit_where_none_is_announced(tmp_path: Path) -> None:
    """A server without SIZE gets no more than limit_bytes."""
    data = tmp_path / "data.bin"
    data.write_bytes(os.urandom(500_000))
    with MailServer(data_size_limit=None) as server:
        handler = handler_for(server, limit_bytes=400_000)
        handler.send_message(MessageDetails("s", "t", data))
        handler.close()
        (arrived,) = server.arrived
    assert list(arrived.mail.iter_attachments()) == []
    assert "data.bin: " in arrived.text
    assert not any("SIZE" in each for each in arrived.options)


def test_an_address_with_an_international_domain_is_reached_by_any_server(
    server: MailServer, handler: EmailHandler
) -> None:
    """A domain is sent in its ASCII form, which every server accepts; ß is kept."""
    handler = handler_for(server, to_addresses="Jürgen <j@straße.münchen.example>")
    handler.send_message(MessageDetails("s", "t"))
    handler.close()
    (arrived,) = server.arrived
    assert arrived.recipients == ["j@xn--strae-oqa.xn--mnchen-3ya.example"]
    assert arrived.mail["To"].addresses[0].display_name == "Jürgen"
    assert arrived.source.isascii()
    assert "SMTPUTF8" not in arrived.options


def test_an_international_address_goes_to_a_server_that_takes_it(server: MailServer) -> None:
    """With SMTPUTF8 an address may be non-ASCII before the @."""
    handler = handler_for(server, to_addresses=["jürgen@example.com", "ops@example.com"])
    handler.send_message(MessageDetails("Grüße", "t"))
    handler.close()
    (arrived,) = server.arrived
    assert arrived.recipients == ["jürgen@example.com", "ops@example.com"]
    assert "SMTPUTF8" in arrived.options
    assert "jürgen@example.com".encode() in arrived.source
    assert arrived.mail["Subject"] == "Grüße"


def test_without_smtputf8_the_others_get_it(caplog: pytest.LogCaptureFixture) -> None:
    """Without SMTPUTF8 such an address is logged as refused, and the others get the mail."""
    with MailServer(enable_SMTPUTF8=False) as server:
        handler = handler_for(server, to_addresses=["jürgen@example.com", "ops@example.com"])
        handler.send_message(MessageDetails("s", "t"))
        handler.close()
        assert server.arrived[0].recipients == ["ops@example.com"]
        assert server.arrived[0].mail["To"] == "ops@example.com"
        assert "jürgen@example.com (553 5.6.7" in caplog.text
        alone = handler_for(server, to_addresses="jürgen@example.com")
        with pytest.raises(DeliveryError, match="SMTPUTF8") as caught:
            alone.send_message(MessageDetails("s", "t"))
        alone.close()
        foreign = handler_for(server, from_address="jürgen@example.com")
        with pytest.raises(DeliveryError, match="from_address"):
            foreign.send_message(MessageDetails("s", "t"))
        foreign.close()
    assert caught.value.permanent


def test_helo_asks_no_name_server(server: MailServer, handler: EmailHandler) -> None:
    """The name in EHLO is a full host name or an address, as RFC 5321 requires."""
    handler.send_message(MessageDetails("s", "t"))
    (name,) = server.helo
    assert "." in name
    assert name == "[127.0.0.1]" or not name.startswith("[")
