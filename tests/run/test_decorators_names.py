"""A name that a script gives to two destinations is refused, in whatever decorators and supervisors they stand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from supervisor import ConfigurationError, Supervisor, supervise, supervised
from supervisor.message_handlers import EmailHandler, SlackHandler

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "T0/B0/xyzzysecret"


def mail(to: str, name: str | None = "ops") -> EmailHandler:
    """Return a handler with a name of its own."""
    return EmailHandler(name=name, from_address="a@example.com", to_addresses=to, smtp_server="127.0.0.1")


def slack() -> SlackHandler:
    """Return one of the same name that sends elsewhere."""
    return SlackHandler(webhook_url=f"https://hooks.slack.com/services/{SECRET}", name="ops")


def decorated(*handlers: Any) -> Callable[[], None]:
    """Return a supervised function."""

    @supervised("night", handlers=handlers)
    def work() -> None:
        pass

    return work


def test_two_functions_cannot_share_a_name() -> None:
    """The error names both destinations without secrets, the line of the first, and what to do."""
    first = decorated(slack())
    with pytest.raises(ConfigurationError) as raised:
        supervised("day", handlers=[mail("b@example.com")])(print)
    text = str(raised.value)
    assert "the name 'ops' is that of two destinations: SlackHandler (slack:" in text
    assert "and EmailHandler (email:b@example.com); give each a name of its own" in text
    assert re.search(r"in use since .*test_decorators_names\.py:\d+, and", text)
    assert SECRET not in text
    first()


def test_nor_can_supervisors() -> None:
    """Neither one that is made, nor one that gets another handler; what is refused changes nothing."""
    first = Supervisor(handlers=[mail("a@example.com")])
    with pytest.raises(ConfigurationError, match="'ops' is that of two destinations"):
        Supervisor(handlers=[mail("b@example.com")])
    other = Supervisor()
    with pytest.raises(ConfigurationError, match="'ops' is that of two destinations"):
        other.add_message_handler(slack())
    with pytest.raises(ConfigurationError, match="'ops' is that of two destinations"):
        first.supervised(handlers=[slack()])
    assert other.settings.handlers == ()
    other.add_message_handler(mail("a@example.com"))
    assert first.settings.handlers == other.settings.handlers


def test_one_destination_may_be_built_anew() -> None:
    """And names that were made are left alone: they say where messages go."""
    kept = [decorated(mail("a@example.com")), decorated(mail("a@example.com"))]
    kept += [decorated(mail(to, name=None)) for to in ("a@example.com", "b@example.com")]
    assert len(kept) == 4


@pytest.mark.parametrize("in_circle", [True, False])
def test_a_name_is_free_once_nothing_uses_it(in_circle: bool) -> None:
    """A function that is gone has no name, also where only a circle of references holds it."""
    first = decorated(mail("a@example.com"))
    if in_circle:
        circle: list[Any] = [first]
        circle.append(circle)
        del circle
    del first
    second = decorated(mail("b@example.com"))
    second()


def test_what_is_made_anew_by_the_same_line_takes_its_place() -> None:
    """A program whose webhook got another URL makes its supervisor anew while the old one is still there."""
    made = [Supervisor(handlers=[mail(to)]) for to in ("a@example.com", "b@example.com")]
    assert len(made) == 2


def test_the_work_of_a_script_is_not_stopped(caplog: pytest.LogCaptureFixture) -> None:
    """A block, and whatever is made while a run is under way, goes on, and the log says what is wrong."""
    first = decorated(slack())
    with supervise("block", handlers=[mail("a@example.com")]) as run:
        pass
    assert run.settings.handlers == (mail("a@example.com"),)
    assert "the name 'ops' is that of two destinations" in caplog.text
    caplog.clear()
    with supervise("outer"):
        assert supervised("inner", handlers=[mail("b@example.com")])(lambda: 5)() == 5
    assert "the name 'ops' is that of two destinations" in caplog.text
    first()
