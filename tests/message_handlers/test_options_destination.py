"""Who a handler is: no two destinations share a default name, and handlers to one destination are one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from smtp_peers import MailServer

from supervisor import ConfigurationError, Supervisor, supervise
from supervisor._redaction.credentials import secrets_of
from supervisor._setting_values import is_same_destination
from supervisor.message_handlers import (
    AppriseHandler,
    ConsoleHandler,
    EmailHandler,
    HealthchecksHandler,
    SendGridHandler,
    SlackHandler,
    WebhookHandler,
)
from supervisor.message_handlers._options import Destination
from supervisor.message_handlers._registry import built_in, handler_class

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECK = "5b6b4ee8-8f1b-4b0c-9d9f-0d1b2c3d4e5f"


def email(to: str, **settings: Any) -> EmailHandler:
    """Return a handler that sends e-mail to somebody."""
    options: dict[str, Any] = {"smtp_server": "smtp.example.com", "from_address": "a@example.com"} | settings
    return EmailHandler(to_addresses=to, **options)


def sendgrid(to: str, **settings: Any) -> SendGridHandler:
    """Return a handler that sends to somebody through SendGrid."""
    return SendGridHandler(api_key="SG.secret", from_address="a@example.com", to_addresses=to, **settings)


def bot(workspace: str, channel: str = "#ops", secret: str = "s3cretOfTheBot") -> SlackHandler:
    """Return a handler that posts to a channel of a workspace."""
    return SlackHandler(token=f"xoxb-{workspace}-98765432101-{secret}", channel=channel)


DIFFERENT: dict[str, tuple[Any, Any]] = {
    "webhooks on one host": (WebhookHandler(url="https://h.example/a"), WebhookHandler(url="https://h.example/b")),
    "queries": (WebhookHandler(url="https://h.example/?t=1"), WebhookHandler(url="https://h.example/?t=2")),
    "ports": (WebhookHandler(url="https://h.example:8443/a"), WebhookHandler(url="https://h.example/a")),
    "webhooks of Slack": (
        SlackHandler(webhook_url="https://hooks.slack.com/services/T1/B1/xxxx"),
        SlackHandler(webhook_url="https://hooks.slack.com/services/T1/B2/yyyy"),
    ),
    "channels": (bot("111", "#ops"), bot("111", "#gis")),
    "workspaces": (bot("111"), bot("222")),
    "recipients by SendGrid": (sendgrid("a@example.com"), sendgrid("b@example.com")),
    "copies by SendGrid": (sendgrid("a@example.com"), sendgrid("a@example.com", cc="b@example.com")),
    "recipients of e-mail": (email("a@example.com"), email("b@example.com")),
    "checks": (HealthchecksHandler(uuid=CHECK), HealthchecksHandler(uuid=CHECK[::-1].replace("-", "")[:32])),
    "projects": (HealthchecksHandler(ping_key="one", slug="n"), HealthchecksHandler(ping_key="two", slug="n")),
    "services": (AppriseHandler(urls="ntfy://one"), AppriseHandler(urls="ntfy://two")),
}
ALIKE: dict[str, tuple[Any, Any]] = {
    "webhooks with another password": (
        WebhookHandler(url="https://u:one@h.example/a", secret="first"),
        WebhookHandler(url="https://u:two@h.example/a", secret="second"),
    ),
    "a bot with a new token": (bot("111"), bot("111", secret="an0therOne")),
    "SendGrid with a new key": (
        sendgrid("Ops <ops@example.com>"),
        SendGridHandler(api_key="SG.other", from_address="a@example.com", to_addresses="OPS@example.com"),
    ),
    "e-mail with another prefix": (email("a@example.com", prefix="[x]"), email("a@example.com")),
    "consoles": (ConsoleHandler(), ConsoleHandler()),
    "checks": (HealthchecksHandler(uuid=CHECK), HealthchecksHandler(uuid=CHECK)),
    "services": (AppriseHandler(urls=["ntfy://a", "ntfy://b"]), AppriseHandler(urls=["ntfy://b", "ntfy://a"])),
}
FORMER = {
    "webhook h.example": WebhookHandler(url="https://h.example/a"),
    "healthchecks": HealthchecksHandler(uuid=CHECK),
    "healthchecks n": HealthchecksHandler(ping_key="one", slug="n"),
    "slack": SlackHandler(webhook_url="https://hooks.slack.com/services/T1/B1/xxxx"),
    "slack:#ops": bot("111"),
    "sendgrid": sendgrid("a@example.com"),
    "apprise": AppriseHandler(urls="ntfy://one"),
}


@pytest.fixture
def server() -> Iterator[MailServer]:
    """Run a mail server for one test."""
    with MailServer() as it:
        yield it


@pytest.mark.parametrize("scheme", built_in())
def test_each_handler_says_where_it_sends_to(scheme: str) -> None:
    """A handler of this package has its name from its destination, so that it can be told from others of its class."""
    kind = handler_class(scheme)
    assert issubclass(kind, Destination), f"{kind.__name__} must derive from Destination"
    for each in ("_destination", "_default_name", "__eq__", "__hash__"):
        own, common = getattr(kind, each), getattr(Destination, each)
        assert (own is common) is each.startswith("__"), f"{kind.__name__}.{each}"


@pytest.mark.parametrize("which", DIFFERENT)
def test_two_destinations_have_two_names(which: str) -> None:
    """Handlers that differ in where their messages go have different default names, and are not equal."""
    one, other = DIFFERENT[which]
    assert one.name != other.name
    assert one != other
    assert not is_same_destination(one, other)


@pytest.mark.parametrize("which", ALIKE)
def test_one_destination_has_one_name(which: str) -> None:
    """Handlers that are built anew, or with other credentials, have the same name and are equal."""
    one, other = ALIKE[which]
    assert one.name == other.name
    assert one == other
    assert hash(one) == hash(other)
    assert is_same_destination(one, other)


@pytest.mark.parametrize("name", [None, "x"])
def test_handlers_with_other_kinds_are_not_equal(server: MailServer, name: str | None) -> None:
    """That one which gets no failures was in an inner block keeps no failure from one that gets them."""
    options: dict[str, Any] = {"smtp_server": "127.0.0.1", "smtp_port": server.port, "security": "none", "name": name}
    good = email("a@example.com", kinds=["success"], **options)
    bad = email("a@example.com", kinds=["failure"], **options)
    assert good != bad
    with pytest.raises(KeyError), supervise("outer", handlers=[bad]), supervise("inner", handlers=[good]):
        raise KeyError("apn")
    assert len(server.arrived) == 1


def test_handlers_of_two_classes_are_not_equal() -> None:
    """A name alone does not make one destination of two channels."""
    assert email("a@example.com", name="ops") != sendgrid("a@example.com", name="ops")
    assert email("a@example.com") != "email:a@example.com"


@pytest.mark.parametrize("handler", [each for pair in (*DIFFERENT.values(), *ALIKE.values()) for each in pair])
def test_a_name_holds_no_secret(handler: Any) -> None:
    """What is shown in logs and stored in the journal has nothing of a credential in it."""
    assert [each for each in secrets_of(handler) if each in handler.name] == []
    assert handler.name.isprintable()


@pytest.mark.parametrize("former", FORMER)
def test_a_handler_knows_its_former_name(former: str) -> None:
    """What waits under the default name of an earlier version can be found; a name that was given has no former one."""
    handler: Any = FORMER[former]
    assert handler._former_name == former
    handler.name, made = "given", handler.name
    assert handler._former_name is None
    handler.name = made
    assert email("a@example.com")._former_name is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (WebhookHandler(url="https://h.example/a", name="x"), WebhookHandler(url="https://h.example/b", name="x")),
        (email("a@example.com", name="x"), email("b@example.com", name="x")),
        (email("a@example.com", name="x"), sendgrid("a@example.com", name="x")),
        (email("a@example.com", name="console"), ConsoleHandler()),
    ],
)
def test_one_given_name_for_two_destinations_is_refused(one: Any, other: Any) -> None:
    """A name that was given to two destinations is an error: stored messages are found by it."""
    for handlers in itertools.permutations((one, other)):
        with pytest.raises(ConfigurationError, match=r"handlers\[1\]: the name '(x|console)' is that of another"):
            Supervisor("night", handlers=handlers)


def test_one_name_for_one_destination_is_taken() -> None:
    """The same destination may be given twice, also under a name of one's own, and so may default names."""
    Supervisor("night", handlers=[email("a@example.com", name="x"), email("a@example.com", name="x")])
    Supervisor("night", handlers=[email("a@example.com"), email("a@example.com", smtp_server="relay.example.com")])


def test_nested_blocks_notify_a_destination_once(server: MailServer) -> None:
    """An exception that passes through two blocks is sent once to people whom both name, by handlers of their own."""

    def ops(to: str) -> EmailHandler:
        return email(to, smtp_server="127.0.0.1", smtp_port=server.port, security="none")

    with (
        pytest.raises(KeyError),
        supervise("outer", handlers=[ops("a@example.com"), ops("boss@example.com")]),
        supervise("inner", handlers=[ops("a@example.com")]),
    ):
        raise KeyError("apn")
    received = [each.recipients for each in server.arrived]
    assert sorted(received) == [["a@example.com"], ["boss@example.com"]]
