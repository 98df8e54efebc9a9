"""Which handlers get a failure: those whose ``errors`` and ``not_errors`` fit the type of its exception."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from hooks import Hook

from supervisor import supervise
from supervisor._config.handler_specs import HandlerSpec, build
from supervisor._exceptions import error_details
from supervisor._models.values import ErrorDetails
from supervisor._setting_values import gets_error
from supervisor._store.serialization import dump, load
from supervisor.errors import ConfigurationError
from supervisor.message_handlers import ConsoleHandler, WebhookHandler
from supervisor.message_handlers._registry import handler_class

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hook() -> Iterator[Hook]:
    """Run a web server."""
    running = Hook()
    yield running
    running.close()


@pytest.fixture
def other_hook() -> Iterator[Hook]:
    """Run another web server."""
    running = Hook()
    yield running
    running.close()


def details(error: BaseException) -> ErrorDetails:
    """Return the details of an exception as a journal gives them back."""
    found = load(dump(error_details(error)))
    assert isinstance(found, ErrorDetails)
    return found


TWO = ExceptionGroup("two", [TimeoutError(), ExceptionGroup("one", [KeyError("apn")])])
ALIKE = BaseExceptionGroup("alike", [TimeoutError(), ConnectionRefusedError()])


@pytest.mark.parametrize(
    ("error", "options", "gets"),
    [
        (ConnectionRefusedError(), {"errors": "ConnectionRefusedError"}, True),
        (ConnectionRefusedError(), {"errors": ["OSError"]}, True),
        (ConnectionRefusedError(), {"errors": [OSError]}, True),
        (ConnectionRefusedError(), {"errors": ["builtins.OSError"]}, True),
        (ConnectionRefusedError(), {"not_errors": ["OSError"]}, False),
        (ConnectionRefusedError(), {"errors": ["TimeoutError"]}, False),
        (ConnectionRefusedError(), {"not_errors": ["TimeoutError"]}, True),
        (ConnectionRefusedError(), {"errors": ["Error"]}, False),
        (ConnectionRefusedError(), {"errors": ["OSError"], "not_errors": ["ConnectionError"]}, False),
        (sqlite3.OperationalError(), {"errors": ["OperationalError"]}, True),
        (sqlite3.OperationalError(), {"errors": ["sqlite3.DatabaseError"]}, True),
        (sqlite3.OperationalError(), {"errors": ["psycopg2.OperationalError"]}, False),
        (KeyboardInterrupt(), {"not_errors": ["Exception"]}, True),
        (TWO, {"errors": ["KeyError"]}, True),
        (TWO, {"not_errors": ["KeyError"]}, True),
        (TWO, {"errors": ["ExceptionGroup"]}, True),
        (ALIKE, {"not_errors": ["OSError"]}, False),
        (ALIKE, {"not_errors": ["TimeoutError"]}, True),
    ],
)
def test_the_types_of_an_exception_decide(error: BaseException, options: dict[str, Any], gets: bool) -> None:
    """By the class, its full name and what it derives from, also of an error that the journal gives back."""
    assert gets_error(ConsoleHandler(**options), details(error)) is gets


def test_a_configuration_gives_them_too() -> None:
    """As a list of names, or one name."""
    spec = HandlerSpec(name="ops", type="console", options={"errors": ["OSError"], "not_errors": "TimeoutError"})
    handler = build(spec, handler_class)
    assert gets_error(handler, details(ConnectionRefusedError()))
    assert not gets_error(handler, details(TimeoutError()))


def test_an_error_of_an_earlier_version_is_known_by_its_type() -> None:
    """It was stored without what it derives from, which Python knows of its own types."""
    assert gets_error(ConsoleHandler(errors="OSError"), ErrorDetails(type="TimeoutError"))
    assert gets_error(ConsoleHandler(errors="OperationalError"), ErrorDetails(type="sqlite3.OperationalError"))
    assert not gets_error(ConsoleHandler(errors="OSError"), ErrorDetails(type="exit code 3"))


@pytest.mark.parametrize("names", ["", "not a name", ["TimeoutError", 5], 5, [b"OSError"], "OSError.", "a..b"])
def test_what_is_no_name_is_refused(names: Any) -> None:
    """When the handler is made, with the option's name and an example."""
    with pytest.raises(ConfigurationError, match='ConsoleHandler: errors must be names of exception types like "Time'):
        ConsoleHandler(errors=names or [""])


def test_an_attribute_of_a_handler_of_others_is_none_of_ours() -> None:
    """It may collect its errors there."""

    class Other:
        errors = ("disk full",)

        def send_message(self, details: object) -> None:
            raise AssertionError(details)

    assert gets_error(Other(), details(KeyError()))


def test_a_failure_goes_to_whom_it_concerns_and_so_does_its_recovery(hook: Hook, other_hook: Hook) -> None:
    """A handler that got no failure gets no recovery from it; one that got one of several does."""
    network = WebhookHandler(url=hook.url, errors=["OSError"], name="network")
    rest = WebhookHandler(url=other_hook.url, not_errors=["OSError"], name="rest")

    def night(error: Exception | None) -> tuple[list[str], list[str]]:
        before = len(hook.documents), len(other_hook.documents)
        with supervise("night", handlers=[network, rest], reraise=False):
            if error is not None:
                raise error
        return (
            [each["kind"] for each in hook.documents[before[0] :]],
            [each["kind"] for each in other_hook.documents[before[1] :]],
        )

    assert night(TimeoutError()) == (["failure"], [])
    assert night(None) == (["recovery"], [])
    assert night(KeyError()) == ([], ["failure"])
    assert night(TimeoutError()) == (["failure"], [])
    assert night(None) == (["recovery"], ["recovery"])
    assert night(KeyError()) == ([], ["failure"])
    assert night(None) == ([], ["recovery"])


def test_one_destination_with_other_errors_is_refused() -> None:
    """It would get only what the first of them asks for."""
    one, other = (WebhookHandler(url="https://example.com/", errors=each) for each in ("OSError", "KeyError"))
    with pytest.raises(ConfigurationError, match="with other errors already; give one handler all the errors"):
        supervise("night", handlers=[one, other])
