"""Which kinds of messages a handler gets: those that it asks for itself, or else those that the run reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hooks import Hook

from supervisor import supervise
from supervisor._delivery import Dispatcher
from supervisor._delivery.pool import WorkerPool
from supervisor._models import Kind
from supervisor._redaction import Redactor
from supervisor._store import MemoryOutbox
from supervisor.errors import ConfigurationError
from supervisor.message_handlers import (
    AppriseHandler,
    ConsoleHandler,
    EmailHandler,
    SendGridHandler,
    SlackHandler,
    TeamsHandler,
    WebhookHandler,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAIL = {"from_address": "gis@example.com", "to_addresses": "ops@example.com"}
HANDLERS: list[tuple[type[Any], dict[str, Any]]] = [
    (AppriseHandler, {"urls": "json://localhost"}),
    (ConsoleHandler, {}),
    (EmailHandler, {"smtp_server": "localhost", **MAIL}),
    (SendGridHandler, {"api_key": "SG.x", **MAIL}),
    (SlackHandler, {"webhook_url": "https://hooks.slack.com/services/T/B/x"}),
    (TeamsHandler, {"webhook_url": "https://example.com/workflows/x"}),
    (WebhookHandler, {"url": "https://example.com/"}),
]


@pytest.fixture
def hook() -> Iterator[Hook]:
    """Run a web server."""
    running = Hook()
    yield running
    running.close()


@pytest.mark.parametrize(("kind", "options"), HANDLERS, ids=lambda value: getattr(value, "__name__", ""))
def test_each_handler_takes_kinds(kind: type[Any], options: dict[str, Any]) -> None:
    """One or several, as texts or Kinds; None lets the run decide; what is no kind is refused with those that are."""
    report_on = {Kind.FAILURE, Kind.START}

    def wanted(kinds: Any) -> set[Kind]:
        handler = kind(kinds=kinds, **options)
        dispatcher = Dispatcher((handler,), report_on, MemoryOutbox(), WorkerPool(), Redactor)
        return {each for each in Kind if dispatcher.names(each)}

    assert wanted("success") == {Kind.SUCCESS}
    assert wanted(["failure", Kind.NOTICE]) == {Kind.FAILURE, Kind.NOTICE}
    assert Kind.SUCCESS not in wanted(None)
    assert report_on <= wanted(None)
    with pytest.raises(
        ConfigurationError, match=rf"{kind.__name__}: kinds must be some of .*failure.*, got \['fail'\]"
    ):
        kind(kinds=["fail"], **options)


def test_successes_to_one_and_failures_to_both(hook: Hook) -> None:
    """A handler that asks for successes gets them though the run reports none; the others go by the run."""
    chat = WebhookHandler(url=f"{hook.url}/chat", kinds=["success", "failure"], name="chat")
    mail = WebhookHandler(url=f"{hook.url}/mail", kinds="failure", name="mail")
    with supervise("night", handlers=[chat, mail]):
        pass
    assert [each["kind"] for each in hook.documents] == ["success"]
    with supervise("night", handlers=[chat, mail], reraise=False):
        raise KeyError
    assert [each["kind"] for each in hook.documents] == ["success", "failure", "failure"]


def test_one_destination_with_two_sets_of_kinds_is_refused() -> None:
    """It would get only what the first of them asks for."""
    one, other = (WebhookHandler(url="https://example.com/", kinds=each) for each in ("success", "failure"))
    with pytest.raises(ConfigurationError, match="with other kinds already; give one handler all the kinds"):
        supervise("night", handlers=[one, other])
