"""A reserve: what one handler cannot send goes to another one, once, and the first has no more to do with it."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hooks import refused_url
from journal_kit import Clock, kill, notice, python
from recorders import Recorder
from waiting import wait_until

from supervisor import supervise
from supervisor._config import ActiveConfiguration
from supervisor._models import DeliveryState, Kind
from supervisor._runtime import Runtime, using
from supervisor._store import Journal
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers import EmailHandler, WebhookHandler
from supervisor.message_handlers._registry import handler_class

if TYPE_CHECKING:
    from pathlib import Path

    from http_peers import HttpPeer
    from smtp_peers import MailServer


def mail_to(server: MailServer, **settings: Any) -> EmailHandler:
    """Return a handler that sends to a mail server on this machine."""
    return EmailHandler(
        smtp_server="127.0.0.1",
        smtp_port=server.port,
        security="none",
        from_address="ops@example.com",
        to_addresses=["gis@example.com"],
        name="mail",
        **settings,
    )


def left(state: Path) -> list[tuple[str, str]]:
    """Return what waits or was refused: handler and subject."""
    journal = Journal(state)
    try:
        return [(each.handler, each.subject) for each in journal.deliveries()]
    finally:
        journal.close()


class Refuses(Recorder):
    """Refuses everything for good, and names a reserve."""

    def __init__(self, fallback: object, name: str = "refuses") -> None:
        super().__init__(name)
        self.fallback = fallback
        self.tried = 0

    def send_message(self, details: object, /) -> None:
        """Refuse."""
        self.tried += 1
        raise DeliveryError("no such channel", permanent=True)


def fail(name: str, handlers: list[Any], **settings: Any) -> None:
    """Let a run fail."""
    with suppress(ValueError), supervise(name, handlers=handlers, **settings):
        raise ValueError("no parcels")


def test_what_is_refused_goes_to_the_reserve_with_its_files(
    peer: HttpPeer, server: MailServer, state: Path, tmp_path: Path
) -> None:
    """A 404 of the web hook: one mail that says so, with the attachment; nothing is refused or waits."""
    peer.answer(404)
    (tmp_path / "report.csv").write_text("county,rows\nKane,7\n")
    hook = WebhookHandler(url=f"{peer.url}/hook", name="team", fallback=mail_to(server))
    with suppress(ValueError), supervise("parcels", handlers=[hook]) as run:
        run.attach(tmp_path / "report.csv")
        raise ValueError("no parcels")
    (arrived,) = server.arrived
    assert "team refused this: " in arrived.text
    assert "; this came by mail instead." in " ".join(arrived.text.split())
    assert "no parcels" in arrived.text
    assert "report.csv" in str(arrived.source)
    assert left(state) == []
    assert len(peer.requests) == 1


def test_a_handler_that_has_the_message_gets_it_once(server: MailServer, state: Path) -> None:
    """The reserve is the run's own handler already: the first delivery is settled, and one mail arrives."""
    fail("parcels", [Refuses("mail"), mail_to(server)])
    (arrived,) = server.arrived
    assert "instead" not in arrived.text
    assert left(state) == []


def test_without_a_journal_too(server: MailServer) -> None:
    """What waits in memory is passed on in the same way: to another handler, and to one of the run only once."""
    fail("parcels", [Refuses(mail_to(server))], journal=False)
    fail("parcels", [Refuses("mail"), mail_to(server)], journal=False)
    first, second = server.arrived
    assert "refuses refused this: no such channel; this came by mail instead." in first.text
    assert "instead" not in second.text


def test_what_could_not_be_sent_for_an_hour_goes_to_the_reserve(server: MailServer, state: Path) -> None:
    """A dead destination: before its time everything waits; then the next run sends all of it by the reserve."""
    clock = Clock(time.time())
    with using(Runtime(ActiveConfiguration(handler_class=handler_class), clock=clock)):
        hook = WebhookHandler(url=refused_url(), name="team", fallback=mail_to(server))
        for name in ("parcels", "roads"):
            fail(name, [hook], delivery_deadline_s=0.2)
        clock.now += 1800
        with supervise("quiet", handlers=[hook]):
            pass
        assert server.arrived == []
        assert len(left(state)) == 2
        clock.now += 3600
        with supervise("quiet", handlers=[hook]):
            pass
        wait_until(lambda: len(server.arrived) == 2)  # who waits for it is the run that stored it
        wait_until(lambda: left(state) == [])
        assert all("team could not be reached since " in each.text for each in server.arrived)
        assert left(state) == []


def test_a_recovery_goes_to_who_got_the_alarm(state: Path) -> None:
    """After a failure that was passed on the recovery comes by the reserve, and not by the first handler."""
    reserve = Recorder("mail")
    first = Refuses(reserve)
    fail("parcels", [first])
    with supervise("parcels", handlers=[first]):
        pass
    assert reserve.received == ["failure", "recovery"]
    assert first.tried == 1
    assert left(state) == []


def test_a_recovery_that_waits_follows_its_alarm(state: Path) -> None:
    """It waited behind the alarm: both go to the reserve in one step, the alarm first, and nothing waits here."""
    journal = Journal(state)
    for kind in (Kind.FAILURE, Kind.RECOVERY):
        journal.put(notice(str(kind), kind=kind), ["team"], name="parcels")
    alarm = journal.claim("team")
    assert alarm is not None
    journal.settle(alarm, DeliveryState.PENDING, error="down")
    alarm = journal.claim("team")
    assert alarm is not None
    (passed,) = journal.pass_on(alarm, "mail", lambda message: message, error="down", is_refused=False) or ()
    assert journal.pass_on(alarm, "mail", lambda message: message, error="down", is_refused=False) is None
    assert journal.waiting_by_handler() == {"mail": 2}
    assert journal.claim("mail") is None, "the recovery goes after the alarm"
    journal.settle(passed, DeliveryState.SENT)
    recovery = journal.claim("mail")
    assert recovery is not None
    assert recovery.message.kind is Kind.RECOVERY
    journal.close()


def test_the_reserve_of_a_reserve_is_the_last(state: Path) -> None:
    """What the reserve refuses as well goes on once more; what all three refuse is refused, and shown so."""
    last = Recorder("last")
    fail("parcels", [Refuses(Refuses(last, "second"), "first")])
    assert last.received == ["failure"]
    assert left(state) == []
    fail("roads", [Refuses(Refuses(Refuses(None, "third"), "second"), "first")])
    assert [handler for handler, _ in left(state)] == ["third"]


def test_a_circle_is_refused(server: MailServer) -> None:
    """Where the handlers are given: two that name each other, one that names itself, and more than two in a row."""
    with (
        pytest.raises(ConfigurationError, match="is a circle"),
        supervise(handlers=[Refuses("b", "a"), Refuses("a", "b")]),
    ):
        pass
    with pytest.raises(ConfigurationError, match="is a circle"), supervise(handlers=[mail_to(server, fallback="mail")]):
        pass
    chain = Refuses(Refuses(Refuses(Recorder(), "third"), "second"), "first")
    with pytest.raises(ConfigurationError, match="too long"), supervise(handlers=[chain]):
        pass


def test_a_name_that_there_is_not_is_refused(server: MailServer) -> None:
    """Neither the run nor the configuration has it."""
    with (
        pytest.raises(ConfigurationError, match=r"fallback of 'mail'.*'pager'"),
        supervise(handlers=[mail_to(server, fallback="pager")]),
    ):
        pass


@pytest.mark.parametrize(
    "wrong", [{"fallback": 7}, {"fallback": " "}, {"fallback_after": "soon"}, {"fallback_after": 0}]
)
def test_wrong_values_are_named(wrong: dict[str, Any]) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        WebhookHandler(url="https://example.com/hook", **wrong)


def test_the_name_of_a_reserve_is_no_secret() -> None:
    """What says who gets what is shown in messages; the credentials of a reserve are not."""
    from supervisor._redaction import redactor_for

    reserve = WebhookHandler(url="https://example.com/hook", secret="whsec_c2VjcmV0LXNlY3JldA==", name="reserve")
    hook = WebhookHandler(url="https://example.com/other", errors=["TimeoutError"], fallback=reserve)
    named = WebhookHandler(url="https://example.com/other", quiet="20:00-06:00", fallback="reserve")
    assert redactor_for([hook, named]).text("TimeoutError 20:00-06:00 reserve") == "TimeoutError 20:00-06:00 reserve"
    assert "c2VjcmV0LXNlY3JldA" not in redactor_for([hook]).text("got c2VjcmV0LXNlY3JldA==")


KILLED = """
import os, signal, sys
from supervisor._store import Journal

journal = Journal(sys.argv[1])
delivery = journal.claim("team")

def killed(message):
    if sys.argv[2] == "within":
        os.kill(os.getpid(), signal.SIGKILL)
    return message

journal.pass_on(delivery, "mail", killed, error="refused", is_refused=True)
print("passed on", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX")
@pytest.mark.parametrize(("when", "has_it"), [("within", "team"), ("after", "mail")])
def test_a_kill_leaves_the_message_with_one_of_both(state: Path, when: str, has_it: str) -> None:
    """Killed in the middle, the first still has it; killed before the reserve could send, the reserve has it."""
    journal = Journal(state)
    journal.put(notice("parcels", kind=Kind.FAILURE), ["team"])
    process = python(KILLED, state, when)
    assert process.stdout is not None
    process.stdout.readline()
    kill(process)
    assert [(each.handler, each.subject) for each in journal.deliveries()] == [(has_it, "parcels")]
    assert {name: journal.claim(name) is not None for name in ("team", "mail")} == {
        "team": has_it == "team",
        "mail": has_it == "mail",
    }
    journal.close()
