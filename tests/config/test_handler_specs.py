"""From a named handler to the handler itself."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from configuration_kit import OPS, Machine

from supervisor._config.checks import ConfigurationProblems
from supervisor._config.handler_specs import build, check_options, options_of
from supervisor.errors import ConfigurationError
from supervisor.message_handlers import EmailHandler, SendGridHandler, SlackHandler
from supervisor.message_handlers._registry import built_in, handler_class


def test_a_handler_is_made_as_it_is_described(machine: Machine) -> None:
    """Its options are those of the class, its secrets are found, and it is called like its table."""
    configuration = machine.load(f'{OPS}\nusername = "gis"\npassword = {{ env = "PW" }}\ncc = "a@b.c; d@e.f"')
    handler = build(configuration.spec("ops"), handler_class, {"PW": "hunter22"})
    assert isinstance(handler, EmailHandler)
    assert (handler.name, handler.password, handler.cc) == ("ops", "hunter22", ("a@b.c", "d@e.f"))
    handler = build(machine.load(f'{OPS}\nname = "mail"').spec("ops"), handler_class)
    assert handler.name == "mail"
    assert build(configuration.spec("console"), handler_class).name == "console"


def test_kinds_and_lists_come_as_the_class_takes_them(machine: Machine) -> None:
    """What is a list in TOML is a set or a tuple in the handler."""
    configuration = machine.load('[handlers.c]\ntype = "console"\nkinds = ["failure", "success"]')
    assert build(configuration.spec("c"), handler_class).kinds == {"failure", "success"}


def problems_of(machine: Machine, text: str, find: Any = handler_class, **environ: str) -> list[tuple[int | None, str]]:
    """Return lines and texts of what is wrong when the handler "ops" is made."""
    configuration = machine.load(text)
    assert not configuration.problems
    with pytest.raises(ConfigurationProblems) as caught:
        build(configuration.spec("ops"), find, environ)
    assert {each.file for each in caught.value.problems} == {str(machine.file)}
    return [(each.line, each.text) for each in caught.value.problems]


def test_an_unknown_type_is_told(machine: Machine) -> None:
    """The types that there are, are reported with file and line."""
    ((line, text),) = problems_of(machine, '\n[handlers.ops]\ntype = "sengrid"')
    assert line == 3
    assert text.startswith("[handlers.ops] there is no handler of type 'sengrid'; ")
    assert "sendgrid" in text


def test_a_misspelt_option_is_told(machine: Machine) -> None:
    """Each option that the handler does not take is reported with the one that was probably meant."""
    found = problems_of(machine, f'{OPS}\npasword = "x"\n"to addresses" = 1\nhead = 1')
    assert found[0] == (
        8,
        "[handlers.ops] there is no option 'pasword' for handlers of type 'email'; did you mean 'password'?",
    )
    assert "did you mean 'to_addresses'?" in found[1][1]
    assert "there is no option 'head' for handlers of type 'email'; there are bcc, ca_file" in found[2][1]
    assert "smtpPort" in found[2][1]
    assert "_mailers" not in found[2][1]


def test_what_a_handler_refuses_is_told(machine: Machine) -> None:
    """The handler's own words stand behind the file and its table."""
    found = problems_of(machine, f"{OPS}\nsmtp_port = 0")
    assert found == [(2, "[handlers.ops] EmailHandler: smtp_port must be 1-65535, got 0")]
    found = problems_of(machine, '[handlers.ops]\ntype = "slack"')
    assert found == [(1, "[handlers.ops] SlackHandler: webhook_url, or token and channel, must be given, got nothing")]


def test_an_extra_that_is_missing_is_told(machine: Machine) -> None:
    """A handler whose library is not there says how to install it, and one that fails otherwise says why."""

    def needs_extra() -> None:
        raise ImportError("needs fax: pip install fax")

    def needs_name(*, number: str) -> None:
        raise AssertionError(number)

    def silent() -> None:
        raise OSError

    text = '[handlers.ops]\ntype = "fax"'
    assert problems_of(machine, text, lambda _: needs_extra) == [(1, "[handlers.ops] needs fax: pip install fax")]
    assert (
        "missing 1 required keyword-only argument: 'number'" in problems_of(machine, text, lambda _: needs_name)[0][1]
    )
    assert problems_of(machine, text, lambda _: silent) == [(1, "[handlers.ops] OSError")]


def test_handlers_of_others_need_not_be_of_attrs(machine: Machine) -> None:
    """A class or function with parameters is asked for these; one that takes anything gets anything."""

    class Fax:
        def __init__(self, number: str, *, name: str = "fax") -> None:
            self.number, self.name = number, name

    def anything(**options: Any) -> dict[str, Any]:
        return options

    def nameless(number: str) -> str:
        return number

    spec = machine.load('[handlers.ops]\ntype = "fax"\nnumber = "112"').spec("ops")
    fax = build(spec, lambda _: Fax)
    assert (fax.number, fax.name) == ("112", "ops")
    assert build(spec, lambda _: anything) == {"number": "112", "name": "ops"}
    assert build(spec, lambda _: nameless) == "112"
    assert options_of(dict) is None
    assert (
        "did you mean 'number'?"
        in problems_of(machine, '[handlers.ops]\ntype = "fax"\nnumbr = "112"', lambda _: Fax)[0][1]
    )


def test_options_can_be_checked_without_making_anything(machine: Machine) -> None:
    """Names or the fields of a class of attrs tell which options there are."""
    spec = machine.load('[handlers.ops]\ntype = "slack"\ntokn = "x"\nchannel = "#ops"').spec("ops")
    with pytest.raises(ConfigurationProblems, match="did you mean 'token'"):
        check_options(spec, attrs.fields(SlackHandler))
    with pytest.raises(ConfigurationError, match="did you mean 'token'"):
        check_options(spec, ["token", "channel"])
    check_options(spec, ["tokn", "channel"])


def test_every_handler_tells_its_options() -> None:
    """Of each class the options are those that a user can give: no state, and no clock for tests."""
    for kind in built_in():
        options = options_of(handler_class(kind))
        assert options is not None
        assert {"name"} <= set(options)
        assert not {each for each in options if each.startswith("_") or each in {"now", "now_s", "line"}}
    assert set(options_of(SendGridHandler) or ()) >= {"api_key", "from_address", "to_addresses", "prefix", "timeout_s"}
