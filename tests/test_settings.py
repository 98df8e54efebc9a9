"""Settings: what stands when nothing is said, and how a mistake is reported."""

from __future__ import annotations

import functools
import inspect
import logging
import pydoc
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import attrs
import pytest
from recorders import Recorder

from supervisor import ConfigurationError, Run, Supervisor, supervise, supervised
from supervisor._setting_values import ALWAYS_REPORTED
from supervisor._settings import Settings, needs_of, settings_from
from supervisor.models import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

ENTRANCES: dict[str, Callable[..., Any]] = {
    "supervise": supervise,
    "supervised": supervised,
    "Supervisor": Supervisor,
    "Supervisor.supervise": Supervisor().supervise,
    "Supervisor.supervised": Supervisor().supervised,
}


class ClassNotInstance:
    """Has what a handler has."""

    def send_message(self, details: object) -> None:
        """Do nothing."""


class TakesNothing:
    """Has a ``send_message`` that cannot take the message."""

    def send_message(self) -> None:
        """Do nothing."""


class TakesTooMuch:
    """Has a ``send_message`` that needs more than the message."""

    def send_message(self, details: object, channel: str) -> None:
        """Do nothing."""


class Yields:
    """Has a ``send_message`` that is a generator: calling it does nothing."""

    def send_message(self, details: object) -> Iterator[object]:
        """Do nothing."""
        yield details


class YieldsLater:
    """Has a ``send_message`` that is an asynchronous generator."""

    async def send_message(self, details: object) -> AsyncIterator[object]:
        """Do nothing."""
        yield details


@pytest.mark.parametrize("entrance", ENTRANCES.values(), ids=ENTRANCES)
@pytest.mark.parametrize(
    ("wrong", "subject", "remedy"),
    [
        ({"name": ""}, "name", "not blank"),
        ({"name": "  "}, "name", "not blank"),
        ({"name": 5}, "name", "a text"),
        ({"handlers": 5}, "handlers", "send_message"),
        ({"handlers": ClassNotInstance}, "handlers", "objects"),
        ({"handlers": [ClassNotInstance]}, "handlers[0]", "an instance, not the class"),
        ({"handlers": [Recorder(), object()]}, "handlers[1]", "send_message"),
        ({"handlers": [TakesNothing()]}, "handlers[0]", "must take one argument"),
        ({"handlers": [Recorder(), TakesTooMuch()]}, "handlers[1]", "channel: 'str'"),
        ({"handlers": [Yields()]}, "handlers[0]", "contains yield"),
        ({"handlers": [YieldsLater()]}, "handlers[0]", "contains yield"),
        ({"logger": 5}, "logger", "logging.Logger or the name of one"),
        ({"log_path": 5}, "log_path", "a path"),
        ({"report_on": "fiasco"}, "report_on", "the kinds are start, progress, notice, success, warning, failure"),
        ({"report_on": ["start", "fiasco"]}, "report_on", "the kinds are"),
        ({"report_on": 5}, "report_on", "the kinds are"),
        ({"progress_every_s": 0}, "progress_every_s", "above 0"),
        ({"progress_every_s": -1.0}, "progress_every_s", "above 0"),
        ({"progress_every_s": "10"}, "progress_every_s", "a number of seconds"),
        ({"progress_every_s": True}, "progress_every_s", "a number of seconds"),
        ({"progress_every_s": float("nan")}, "progress_every_s", "a number of seconds"),
        ({"delivery_deadline_s": -1}, "delivery_deadline_s", "0 or more"),
        ({"delivery_deadline_s": None}, "delivery_deadline_s", "seconds"),
        ({"delivery_deadline_s": False}, "delivery_deadline_s", "seconds"),
        ({"reraise": "False"}, "reraise", "True or False"),
        ({"journal": None}, "journal", "True or False"),
        ({"handler": []}, "'handler'", "did you mean 'handlers'?"),
        ({"logpath": "x"}, "'logpath'", "did you mean 'log_path'?"),
        ({"report": []}, "'report'", "did you mean 'report_on'?"),
        ({"colour": 1}, "'colour'", "there are "),
    ],
    ids=lambda each: str(each).partition(" object at ")[0],
)
def test_a_mistake_is_told_where_it_is_made(
    entrance: Callable[..., Any], wrong: dict[str, Any], subject: str, remedy: str
) -> None:
    """A wrong setting is refused at once, by its name, with what was given and what would be right."""
    with pytest.raises(ConfigurationError) as caught:
        entrance(**wrong)
    assert subject in str(caught.value)
    assert remedy in str(caught.value)
    (value,) = wrong.values()
    assert str(value) in str(caught.value) or isinstance(value, list) or "there is no setting" in str(caught.value)


class RudeKinds(ClassNotInstance):
    """A handler whose kinds cannot be looked at."""

    @property
    def kinds(self) -> Any:
        """Raise."""
        raise RuntimeError("no kinds")


@pytest.mark.parametrize("kinds", [5, "fiasco", ["fiasco"], [5], RudeKinds], ids=str)
def test_a_handler_with_wrong_kinds_is_refused(kinds: Any) -> None:
    """A handler of the user's own that asks for kinds that there are not would never get a message: it is refused."""
    handler = RudeKinds() if kinds is RudeKinds else Recorder(kinds=kinds)
    with pytest.raises(ConfigurationError, match="kinds"):
        supervise(handlers=[handler])


@pytest.mark.parametrize("entrance", ENTRANCES.values(), ids=ENTRANCES)
def test_too_many_positional_arguments_are_refused(entrance: Callable[..., Any]) -> None:
    """Only the name may come without its keyword."""
    with pytest.raises((ConfigurationError, TypeError)):
        entrance("name", [Recorder()])


def test_what_stands_when_nothing_is_said() -> None:
    """Without settings nobody is notified, failures and what is worse would be, and exceptions leave the script."""
    settings = Settings()
    assert settings.name is None
    assert settings.handlers == ()
    assert settings.logger is None
    assert settings.log_path is None
    assert settings.report_on == {"warning", "failure", "recovery", "stalled", "overdue", "died", "missed"}
    assert settings.reraise is True
    assert settings.progress_every_s is None
    assert needs_of(settings).progress_interval_s is None
    assert settings.delivery_deadline_s == 30.0


@pytest.mark.parametrize("given", ["success", ["success"], ("success",), {Kind.SUCCESS}])
def test_report_on_adds_to_what_is_always_reported(given: Any) -> None:
    """One kind or many are added; failures can not be switched off by it."""
    assert Settings(report_on=given).report_on == {*ALWAYS_REPORTED, "success"}


@pytest.mark.parametrize("given", [None, [], ()])
def test_no_handlers_are_no_handlers(given: Any) -> None:
    """None counts as no handler."""
    assert Settings(handlers=given).handlers == ()


def test_one_handler_or_many() -> None:
    """A handler may stand alone; a list of the caller's is copied, so that it can be used again."""
    one, two = Recorder(), Recorder()
    assert Settings(handlers=one).handlers == (one,)
    handlers = [one]
    settings = Settings(handlers=handlers)
    handlers.append(two)
    assert settings.handlers == (one,)


def test_a_logger_may_be_named() -> None:
    """A text names a logger."""
    assert Settings(logger="parcels").logger is logging.getLogger("parcels")


def test_the_log_path_is_absolute_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative log path means the directory that the script started in, wherever it goes later."""
    monkeypatch.chdir(tmp_path)
    assert Settings(log_path="parcels.log").log_path == str(tmp_path / "parcels.log")
    assert Settings(log_path=Path("parcels.log")).log_path == str(tmp_path / "parcels.log")
    assert Settings(log_path="").log_path is None


def test_a_deadline_of_zero_is_a_deadline() -> None:
    """0 seconds means not to wait, and None seconds means no progress messages."""
    assert Settings(delivery_deadline_s=0).delivery_deadline_s == 0
    assert Settings(progress_every_s=None).progress_every_s is None


def test_progress_messages_have_a_pace_of_their_own() -> None:
    """Who asks for progress messages without a pace gets one every ten minutes."""
    assert needs_of(Settings(report_on=["progress"])).progress_interval_s == 600.0
    assert needs_of(Settings(report_on=["progress"], progress_every_s=5.0)).progress_interval_s == 5.0
    assert needs_of(Settings(progress_every_s=5.0)).progress_interval_s == 5.0


def test_nothing_can_be_changed_afterwards() -> None:
    """Settings are frozen."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Settings().reraise = False  # type: ignore[misc]  # on purpose


@pytest.mark.parametrize("value", ["parcels=LOUD", "=INFO", ["parcels", "roads=info"]])
def test_a_level_that_does_not_exist_is_refused(value: Any) -> None:
    """Levels of ``capture_logs`` are those of logging, by their names."""
    with pytest.raises(ConfigurationError, match='capture_logs takes a level as "parcels=DEBUG", of DEBUG, INFO'):
        Settings(capture_logs=value)


def test_arguments_become_settings() -> None:
    """The name may come first without its keyword."""
    assert settings_from(("parcels",), {}).name == "parcels"
    assert settings_from((), {"name": "parcels"}).name == "parcels"


# What explains the settings


def explained(owner: Any) -> dict[str, str]:
    """Return the parameters that a docstring explains, each with its explanation on one line."""
    text = (inspect.getdoc(owner) or "").partition("Args:\n")[2].partition("\n\n")[0]
    parts = re.split(r"^    (\w+): ", text, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def settable() -> list[attrs.Attribute[Any]]:
    """Return what a setting is, for all of them."""
    return [field for field in attrs.fields(Settings) if field.init]


NAMES = sorted(field.name for field in settable())


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_is_explained_with_its_default_and_its_unit(name: str) -> None:
    """The docstring of ``Settings`` has each setting with its default, and says that times are seconds."""
    texts = explained(Settings)
    assert name in texts, f"the setting {name!r} has no explanation in the docstring of Settings"
    (field,) = (each for each in settable() if each.name == name)
    default = str(field.default) if not isinstance(field.default, str) else f'"{field.default}"'
    assert f"Default {default}" in texts[name], f"the explanation of {name!r} does not give the default {default}"
    assert not name.endswith("_s") or "seconds" in texts[name].lower(), f"the explanation of {name!r} gives no unit"


def test_nothing_else_is_explained() -> None:
    """What the docstring of ``Settings`` explains is a setting."""
    assert set(explained(Settings)) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_says_who_gives_it(name: str) -> None:
    """Each setting has an example for the configuration's template (the name alone has none), or a test fails here.

    The template, the options of ``supervisor run`` and the names of environment variables are made of the field.
    """
    (field,) = (each for each in settable() if each.name == name)
    assert "example" in field.metadata, f"the setting {name!r} has no metadata=_given_by(...)"
    assert (field.metadata["example"] is None) == (name == "name"), f"the setting {name!r} has no example"


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_of_supervisor_explains_each_setting(name: str) -> None:
    """An editor shows the docstring as it stands in the file, so ``Supervisor`` repeats what ``Settings`` says."""
    assert explained(Supervisor).get(name) == explained(Settings)[name], (
        f"the docstring of Supervisor explains the setting {name!r} otherwise than that of Settings, or not at all"
    )


@pytest.mark.parametrize("entrance", [supervise, supervised])
def test_help_explains_each_setting(entrance: Callable[..., Any]) -> None:
    """``help(supervise)`` and ``help(supervised)`` show and explain each setting as ``Settings`` does."""
    assert explained(entrance) == explained(Settings)
    shown = pydoc.render_doc(entrance, renderer=pydoc.plaintext)  # type: ignore[attr-defined]  # typeshed lacks it
    for field in settable():
        assert f"{field.name}: " in shown.partition("Args:")[0]


def test_help_explains_each_setting_of_supervisor() -> None:
    """``help(Supervisor)`` does so too, and has ``handle_errors`` besides."""
    assert explained(Supervisor) == {"handle_errors": explained(Supervisor)["handle_errors"], **explained(Settings)}
    assert "Default False" in explained(Supervisor)["handle_errors"]
    parameters = inspect.signature(Supervisor).parameters
    assert [*parameters] == [*inspect.signature(Settings).parameters, "handle_errors"]


def test_help_explains_each_setting_of_a_run() -> None:
    """``help(Run)`` explains the settings that a run has."""
    shown = inspect.getdoc(Run.settings)
    assert shown is not None
    parts = re.split(r"^(\w+): ", shown.partition("\n\n")[2] or shown.partition("\n")[2], flags=re.MULTILINE)
    texts = {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    assert texts == explained(Settings)


@pytest.mark.parametrize("method", ["supervise", "supervised"])
def test_methods_of_supervisor_show_the_settings(method: str) -> None:
    """What ``Supervisor``'s methods take stands in their signatures by name."""
    names = [field.name for field in settable()]
    assert list(inspect.signature(getattr(Supervisor(), method)).parameters) == names
    assert list(inspect.signature(getattr(Supervisor, method)).parameters) == ["self", *names]


def test_any_send_message_that_can_take_a_message_is_accepted() -> None:
    """Functions, partials, static methods, decorated methods, mocks and what C has written are handlers' methods."""

    class Decorated:
        @functools.lru_cache  # noqa: B019 - any decorator will do
        def send_message(self, details: object, more: str = "") -> None:
            """Do nothing."""

    class Static:
        @staticmethod
        def send_message(*details: object) -> None:
            """Do nothing."""

    received: list[object] = []
    function = SimpleNamespace(send_message=lambda details: None)
    partial = SimpleNamespace(send_message=functools.partial(print, "received", sep=""))
    in_c = SimpleNamespace(send_message=received.append)
    for handler in (Decorated(), Static(), function, partial, in_c, mock.Mock(kinds=None), mock.AsyncMock(kinds=None)):
        assert supervise("night", handlers=handler, journal=False).settings.handlers == (handler,)


def test_a_handler_that_is_added_later_is_checked_too() -> None:
    """add_message_handler refuses what cannot send."""
    with pytest.raises(ConfigurationError, match="must take one argument"):
        Supervisor().add_message_handler(TakesNothing())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="an instance, not the class"):
        Supervisor().add_message_handler(ClassNotInstance)  # type: ignore[arg-type]
