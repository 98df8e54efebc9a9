"""EmailHandler with faulty servers, networks and messages."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from smtp_peers import DROP, HANG, MailServer, black_hole, free_port

from supervisor.errors import DeliveryError
from supervisor.message_handlers._email import EmailHandler
from supervisor.message_handlers._email.mailer import SmtpConnection
from supervisor.message_handlers._email.smtp import Server
from supervisor.message_handlers._sockets import connect_socket
from supervisor.models import MessageDetails

if TYPE_CHECKING:
    from pathlib import Path

GENEROUS_S = 30.0


def handler_for(port: int, **settings: Any) -> EmailHandler:
    """Return a handler that sends to a local port."""
    usual: dict[str, Any] = {
        "smtp_server": "127.0.0.1",
        "smtp_port": port,
        "security": "none",
        "from_address": "jobs@example.com",
        "to_addresses": "ops@example.com",
    }
    return EmailHandler(**{**usual, **settings})


def refusal(handler: EmailHandler, details: MessageDetails | None = None) -> DeliveryError:
    """Send a message that is expected to fail, close the handler and return the error."""
    with pytest.raises(DeliveryError) as caught:
        handler.send_message(details or MessageDetails("s", "t"))
    handler.close()
    assert "Traceback" not in caught.value.reason
    assert caught.value.reason == str(caught.value)
    return caught.value


def test_a_refused_connection_is_temporary() -> None:
    """A port without a listener is a temporary error."""
    with free_port() as port:
        error = refusal(handler_for(port))
    assert not error.permanent
    assert f"127.0.0.1:{port} could not be reached" in error.reason


def test_an_unknown_host_is_temporary() -> None:
    """A host that cannot be resolved is a temporary error."""
    error = refusal(handler_for(25, smtp_server="no-such-host.invalid"))
    assert not error.permanent
    assert "no-such-host.invalid:25 could not be reached" in error.reason


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example"])
def test_a_name_that_no_host_can_have_is_permanent(name: str) -> None:
    """A name that is not valid for a host is a permanent error with the setting's name."""
    error = refusal(handler_for(25, smtp_server=name))
    assert error.permanent
    assert f"smtp_server {name!r}" in error.reason


def test_a_black_hole_is_bounded_by_the_timeout() -> None:
    """A host that drops packets takes the timeout, not the minutes that the system would wait."""
    with black_hole() as (_, port):
        began = time.monotonic()
        error = refusal(handler_for(port, timeout_s=0.4))
        took_s = time.monotonic() - began
    assert not error.permanent
    assert "within 0.4 s" in error.reason
    assert took_s < GENEROUS_S


def test_several_black_holes_share_the_timeout_and_leave_some_for_the_host_that_answers() -> None:
    """Several addresses share the timeout, and a second one is tried when the first does not answer."""
    with black_hole() as dead, socket.create_server(("127.0.0.1", 0)) as living:
        dead_one, living_one = (
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in (dead, living.getsockname())
        )
        began = time.monotonic()
        connect_socket([dead_one, living_one], 3.0).close()
        assert time.monotonic() - began < 2.9
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            connect_socket([dead_one] * 8, 0.8)
        assert time.monotonic() - began < GENEROUS_S


@pytest.mark.parametrize(
    ("step", "answer", "permanent"),
    [
        ("banner", "421 4.3.2 come back later", False),
        ("banner", "554 5.3.2 no service here", True),
        ("EHLO", "421 4.7.0 busy", False),
        ("MAIL", "421 4.4.2 closing", False),
        ("MAIL", "450 4.3.2 later", False),
        ("MAIL", "451 4.3.0 error", False),
        ("MAIL", "452 4.3.1 storage", False),
        ("MAIL", "550 5.7.1 sender refused", True),
        ("RCPT", "421 4.4.2 closing", False),
        ("RCPT", "450 4.2.0 greylisted", False),
        ("RCPT", "550 5.1.1 unknown", True),
        ("RCPT", "552 5.2.2 mailbox full", True),
        ("DATA", "421 4.3.2 closing", False),
        ("DATA", "451 4.3.0 error", False),
        ("DATA", "554 5.5.1 no valid recipients", True),
        ("END", "421 4.3.2 closing", False),
        ("END", "451 4.7.1 try again", False),
        ("END", "550 5.7.1 spam", True),
        ("END", "552 5.3.4 too large", True),
    ],
)
def test_an_answer_is_permanent_from_500_on(server: MailServer, step: str, answer: str, *, permanent: bool) -> None:
    """At each step, 4yz is temporary and 5yz is permanent; the error has the server's text."""
    server.goes_wrong(step, answer, always=True)
    error = refusal(handler_for(server.port))
    assert error.permanent is permanent
    assert answer in error.reason
    assert error.retry_after_s is None
    assert server.arrived == []


def test_what_was_refused_for_now_gets_through_later(server: MailServer) -> None:
    """After a temporary fault the next attempt begins anew and succeeds."""
    details = MessageDetails("s", "t")
    handler = handler_for(server.port)
    for step in ("banner", "MAIL", "RCPT", "DATA", "END"):
        server.goes_wrong(step, "451 4.3.0 not now", always=True)
        with pytest.raises(DeliveryError):
            handler.send_message(details)
        server.goes_wrong(step)
    handler.send_message(details)
    handler.close()
    assert len(server.arrived) == 1


@pytest.mark.parametrize("step", ["banner", "EHLO", "MAIL", "RCPT", "DATA", "END"])
def test_a_server_that_hangs_is_bounded_by_the_timeout(server: MailServer, step: str) -> None:
    """A reply that never comes is a temporary error after the timeout, at each step."""
    server.goes_wrong(step, HANG)
    handler = handler_for(server.port, timeout_s=0.4)
    began = time.monotonic()
    error = refusal(handler)
    assert time.monotonic() - began < GENEROUS_S
    assert not error.permanent
    assert "did not answer" in error.reason


@pytest.mark.parametrize("step", ["banner", "EHLO", "MAIL", "RCPT", "DATA"])
def test_a_connection_that_drops_is_temporary(server: MailServer, step: str) -> None:
    """A connection that is lost before the mail was sent is a temporary error."""
    server.goes_wrong(step, DROP)
    handler = handler_for(server.port)
    error = refusal(handler)
    assert not error.permanent
    assert "was lost at" in error.reason
    assert server.arrived == []
    handler.send_message(MessageDetails("again", "t"))
    handler.close()
    assert len(server.arrived) == 1


def test_a_connection_lost_after_data_is_reported_and_a_repeat_has_the_same_id(server: MailServer) -> None:
    """A mail whose final reply is lost is not repeated by the handler itself; a later repeat has the same id."""
    server.goes_wrong("END", DROP)
    handler = handler_for(server.port)
    details = MessageDetails("s", "t")
    error = refusal(handler, details)
    assert not error.permanent
    assert server.asked.count("DATA") == 1
    handler.send_message(details)
    handler.close()
    assert len({each.mail["Message-ID"] for each in server.arrived}) == 1


def test_a_stale_connection_is_replaced(server: MailServer) -> None:
    """A connection that the server has closed while idle is replaced without an error."""
    handler = handler_for(server.port)
    handler.send_message(MessageDetails("first", "t"))
    server.hang_up()
    handler.send_message(MessageDetails("second", "t"))
    handler.close()
    assert [each.mail["Subject"] for each in server.arrived] == ["first", "second"]
    assert server.connections == 2


def test_a_connection_that_was_idle_for_long_is_not_even_tried(server: MailServer) -> None:
    """A connection that was idle for a minute is replaced, because a firewall may have dropped it silently."""
    now_s = 0.0
    here = Server(host="127.0.0.1", port=server.port, security="none", timeout_s=10.0)
    connection = SmtpConnection(here, clock=lambda: now_s)
    connection.open()
    now_s = 59.0
    connection.open()
    assert server.connections == 1
    now_s = 120.0
    connection.open()
    assert server.connections == 2
    connection.close()


@pytest.mark.parametrize(
    ("step", "fault"),
    [(step, fault) for step in ("MAIL", "RCPT", "DATA") for fault in (DROP, "421 4.7.0 too many messages")]
    + [("MAIL", HANG)],
)
def test_a_connection_that_served_before_gets_a_second_one(server: MailServer, step: str, fault: str) -> None:
    """A connection that has sent mails before and is lost before the next content is replaced once."""
    handler = handler_for(server.port, timeout_s=0.5)
    handler.send_message(MessageDetails("first", "t"))
    server.goes_wrong(step, fault)
    handler.send_message(MessageDetails("second", "t"))
    assert server.connections == 2
    server.goes_wrong(step, fault, fault)
    error = refusal(handler)
    assert not error.permanent
    assert server.connections == 3
    assert [each.mail["Subject"] for each in server.arrived] == ["first", "second"]


def test_a_log_that_raises_does_not_make_a_sent_message_fail(server: MailServer) -> None:
    """A message counts as sent even if the warning about refused recipients cannot be logged."""

    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the log's disk is full")

    server.goes_wrong("RCPT b@", "550 5.1.1 no such user", always=True)
    handler = handler_for(server.port, to_addresses=["a@example.com", "b@example.com"])
    in_log = Raises()
    logging.getLogger("supervisor").addHandler(in_log)
    try:
        handler.send_message(MessageDetails("Loaded", "t"))
    finally:
        logging.getLogger("supervisor").removeHandler(in_log)
        handler.close()
    assert [each.recipients for each in server.arrived] == [["a@example.com"]]


def test_one_refused_recipient_does_not_keep_the_others_from_it(
    server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    """When one recipient is refused, the others get the message, and the refusal is logged."""
    server.goes_wrong("RCPT b@", "550 5.1.1 no such user", always=True)
    handler = handler_for(server.port, to_addresses=["a@example.com", "b@example.com", "c@example.com"])
    handler.send_message(MessageDetails("Loaded\r\n", "t"))
    handler.close()
    (arrived,) = server.arrived
    assert arrived.recipients == ["a@example.com", "c@example.com"]
    (record,) = [each for each in caplog.records if each.name == "supervisor"]
    assert (record.name, record.levelname) == ("supervisor", "WARNING")
    assert "b@example.com (550 5.1.1 no such user)" in record.getMessage()
    assert "'Loaded'" in record.getMessage()


@pytest.mark.parametrize(
    ("command", "reply", "scope"),
    [
        ("MAIL", "451 4.3.0 busy", "destination"),
        ("MAIL", "452 4.3.1 no room", "destination"),
        ("RCPT", "450 4.2.0 greylisted", "message"),
        ("RCPT", "452 4.2.2 mailbox full", "message"),
        ("RCPT", "421 4.7.0 closing", "destination"),
        ("DATA", "451 4.7.1 later", "message"),
        ("DATA", "421 4.7.0 closing", "destination"),
        ("END", "452 4.3.1 no room for it", "message"),
        ("END", "552 5.3.4 too large", "message"),
        ("MAIL", "552 5.3.4 too large", "message"),
    ],
)
def test_what_rests_after_a_refusal(server: MailServer, command: str, reply: str, scope: str) -> None:
    """Before a recipient was named, and when the server ends the session, all messages wait; else this one alone."""
    server.goes_wrong(command, reply, always=True)
    error = refusal(handler_for(server.port))
    assert error.scope == scope
    assert error.permanent is reply.startswith("5")


def test_a_reply_that_nobody_asked_for(server: MailServer) -> None:
    """Replies behind that to a message are not taken for those to the next one, which goes over a new connection."""
    handler = handler_for(server.port)
    server.goes_wrong("END", "250 taken\r\n250 sender\r\n250 recipient\r\n354 go on\r\n250 taken as well")
    handler.send_message(MessageDetails("first", "t"))
    handler.send_message(MessageDetails("second", "t"))
    handler.close()
    assert [each.mail["Subject"] for each in server.arrived] == ["second"]
    assert server.connections == 2


def test_all_refused_recipients_are_reported(server: MailServer) -> None:
    """When all recipients are refused, the error is permanent and has each reply."""
    server.goes_wrong("RCPT a@", "550 5.1.1 no such user", always=True)
    server.goes_wrong("RCPT b@", "552 5.2.2 mailbox full", always=True)
    error = refusal(handler_for(server.port, to_addresses=["a@example.com", "b@example.com"]))
    assert error.permanent
    assert "a@example.com (550 5.1.1 no such user), b@example.com (552 5.2.2 mailbox full)" in error.reason
    assert "DATA" not in server.asked


def test_a_recipient_put_off_gets_it_later_and_the_others_not_again(
    server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A repeat goes only to recipients that were refused temporarily; permanent refusals are logged at the end."""
    server.goes_wrong("RCPT b@", "450 4.2.0 greylisted", "451 4.3.0 still busy")
    server.goes_wrong("RCPT c@", "550 5.1.1 no such user", always=True)
    handler = handler_for(server.port, to_addresses=["a@example.com", "b@example.com", "c@example.com"])
    details = MessageDetails("s", "t")
    for answer in ("450 4.2.0 greylisted", "451 4.3.0 still busy"):
        error = refusal(handler, details)
        assert not error.permanent
        assert f"put off b@example.com ({answer})" in error.reason
    handler.send_message(details)
    assert [each.recipients for each in server.arrived] == [["a@example.com"], ["b@example.com"]]
    assert "c@example.com (550" in caplog.text
    for later in (MessageDetails("another", "t"), details):
        handler.send_message(later)
    handler.close()
    assert [each.recipients for each in server.arrived[2:]] == [["a@example.com", "b@example.com"]] * 2


def test_a_recipient_put_off_and_then_refused_ends_the_matter(
    server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    """When the last open recipient is refused permanently, the message is settled and the refusal logged."""
    server.goes_wrong("RCPT b@", "450 4.2.0 greylisted", "550 5.7.1 never")
    handler = handler_for(server.port, to_addresses=["a@example.com", "b@example.com"])
    details = MessageDetails("s", "t")
    refusal(handler, details)
    handler.send_message(details)
    handler.close()
    assert len(server.arrived) == 1
    assert "b@example.com (550 5.7.1 never)" in caplog.text


def test_a_wrong_password_is_tried_hourly_and_never_shown() -> None:
    """535 is shown with the user and the server, without the password, even where the server repeats it."""
    with MailServer(logins={"jobs": "right"}) as server:
        error = refusal(handler_for(server.port, username="jobs", password="wr0ng"))
        assert (error.permanent, error.retry_after_s) == (False, 3600.0)
        assert "mend username and password" in error.reason
        assert f"127.0.0.1:{server.port} refused the login of 'jobs': 535 5.7.8" in error.reason
        assert "wr0ng" not in repr(error)
        server.goes_wrong("AUTH", "535 you said AGpvYnMAd3Iwbmc= which is wr0ng", always=True)
        error = refusal(handler_for(server.port, username="jobs", password="wr0ng"))
        assert "you said *** which is ***" in error.reason


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [("454 4.7.0 temporary failure", None), ("534 5.7.9 application password required", 3600.0), ("421 4.7.0 x", None)],
)
def test_other_answers_to_a_login(answer: str, wait_s: float | None) -> None:
    """A login that fails is temporary; where it fails with 5yz, it is tried once an hour."""
    with MailServer(logins={"jobs": "right"}) as server:
        server.goes_wrong("AUTH", answer)
        error = refusal(handler_for(server.port, username="jobs", password="right"))
    assert (error.permanent, error.retry_after_s) == (False, wait_s)
    assert answer in error.reason


def test_a_wrong_token_is_tried_hourly_and_never_shown() -> None:
    """The error for a refused token has the server's final reply, without the token."""
    with MailServer(token="right") as server:
        handler = handler_for(server.port, username="jobs@example.com", oauth2_token=lambda: "wr0ng")
        error = refusal(handler)
    assert (error.permanent, error.retry_after_s) == (False, 3600.0)
    assert "535" in error.reason
    assert "oauth2_token" in error.reason
    assert "wr0ng" not in repr(error)


def test_a_token_that_cannot_be_had_closes_the_connection() -> None:
    """An exception of the token function is passed on, and the connection is closed."""

    def token() -> str:
        raise RuntimeError("no network")

    with MailServer(token="right") as server:
        handler = handler_for(server.port, username="jobs@example.com", oauth2_token=token)
        with pytest.raises(RuntimeError, match="no network"):
            handler.send_message(MessageDetails("s", "t"))


def test_a_server_without_logins_is_reported(server: MailServer) -> None:
    """A server without logins is a temporary error, tried once an hour, and nothing is sent."""
    error = refusal(handler_for(server.port, username="jobs", password="secret"))
    assert (error.permanent, error.retry_after_s) == (False, 3600.0)
    assert "offers no login by PLAIN or LOGIN (it offers: none)" in error.reason
    assert server.arrived == []


def test_530_asks_for_a_login(server: MailServer) -> None:
    """The error for a required login names the settings for it."""
    server.goes_wrong("MAIL", "530 5.7.0 Authentication required")
    error = refusal(handler_for(server.port))
    assert "give username and password" in error.reason
    assert (error.permanent, error.retry_after_s) == (False, 3600.0)


def test_without_starttls_nothing_is_sent(server: MailServer) -> None:
    """A server without STARTTLS is refused by default, and the error names the setting that allows it."""
    error = refusal(handler_for(server.port, security="starttls"))
    assert not error.permanent
    assert "offers no STARTTLS" in error.reason
    assert "security='none'" in error.reason
    assert server.asked == ["EHLO"]


def test_starttls_that_is_refused_for_now_is_temporary() -> None:
    """Whatever refuses STARTTLS (RFC 3207: 454) can be tried again; nothing is sent in the open meanwhile."""
    with MailServer(tls_context=_tls("127.0.0.1")[0]) as server:
        for reply in ("454 4.7.0 TLS not available", "501 5.5.4 no TLS today"):
            server.goes_wrong("STARTTLS", reply)
            error = refusal(handler_for(server.port, security="starttls"))
            assert not error.permanent
        assert "MAIL" not in server.asked


def _tls(host: str) -> tuple[ssl.SSLContext, trustme.CA]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context, authority


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("fault", ["unknown authority", "other host"])
def test_a_bad_certificate_is_temporary(tmp_path: Path, security: str, fault: str) -> None:
    """A certificate of an unknown authority or for another host is a temporary error, and nothing is sent."""
    context, authority = _tls("127.0.0.1" if fault == "unknown authority" else "other.example")
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    options: dict[str, Any] = {"tls": context} if security == "tls" else {"tls_context": context}
    with MailServer(**options) as server:
        known = {"ca_file": ca_file} if fault == "other host" else {}
        error = refusal(handler_for(server.port, security=security, **known))
        assert not error.permanent
        assert "certificate that is not to be trusted" in error.reason
        assert "ca_file" in error.reason
        assert "verify_certificate=False" in error.reason
        assert server.arrived == []
        assert "MAIL" not in server.asked


def test_tls_where_there_is_none_is_reported(server: MailServer) -> None:
    """The error for "tls" on a port that expects STARTTLS names that setting."""
    error = refusal(handler_for(server.port, security="tls"))
    assert not error.permanent
    assert "security='starttls'" in error.reason


def test_a_file_without_certificates_is_reported(tmp_path: Path) -> None:
    """A ca_file without certificates is a temporary error."""
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing", encoding="ascii")
    with MailServer(tls=_tls("127.0.0.1")[0]) as server:
        error = refusal(handler_for(server.port, security="tls", ca_file=empty))
    assert not error.permanent
    assert f"ca_file {str(empty)!r} holds no certificates" in error.reason


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        ("MAIL", "552 5.3.4 message too big"),
        ("END", "552 5.3.4 message too big"),
        ("END", "552 no enhanced code"),
        ("END", "550 5.2.3 for this recipient"),
        ("END", "554 5.3.4 for this system"),
    ],
)
def test_a_mail_that_is_too_large_is_sent_once_more_without_attachments(
    server: MailServer, tmp_path: Path, step: str, answer: str
) -> None:
    """A mail that the server refuses for its size is sent again without attachments, with a note."""
    log = tmp_path / "a.log"
    log.write_text("line\n", encoding="ascii")
    server.goes_wrong(step, answer)
    handler = handler_for(server.port)
    handler.send_message(MessageDetails("s", "t", log))
    handler.close()
    (arrived,) = server.arrived
    assert list(arrived.mail.iter_attachments()) == []
    for text in (arrived.text, arrived.html):
        assert "Sent without its attachments (a.log): " in text
        assert answer in text


def test_a_mail_that_is_too_large_even_without_attachments_is_permanent(server: MailServer, tmp_path: Path) -> None:
    """The smaller mail is tried once."""
    log = tmp_path / "a.log"
    log.write_text("line\n", encoding="ascii")
    server.goes_wrong("END", "552 5.3.4 message too big", always=True)
    error = refusal(handler_for(server.port), MessageDetails("s", "t", log))
    assert error.permanent
    assert server.asked.count("DATA") == 2


def test_a_long_text_is_cut_when_the_server_refuses_it(server: MailServer) -> None:
    """A text that is too long for a server that announced nothing is cut, with a note."""
    server.goes_wrong("END", "552 5.3.4 message too big")
    handler = handler_for(server.port)
    handler.send_message(MessageDetails("s", "first\n" + "x" * 200_000 + "\nlast"))
    handler.close()
    (arrived,) = server.arrived
    assert "characters left out" in arrived.text
    assert arrived.text.startswith("first\n")
    assert arrived.text.rstrip().endswith("last")


def test_a_server_that_talks_nonsense_is_temporary(server: MailServer) -> None:
    """A reply without a code is a temporary error."""
    server.goes_wrong("MAIL", "hello there")
    error = refusal(handler_for(server.port))
    assert not error.permanent
