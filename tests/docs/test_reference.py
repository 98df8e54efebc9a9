"""api.md names everything that there is, with the defaults that it has."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import attrs
import click
import documents
import pytest

import supervisor
from supervisor import _exceptions, _settings, message_handlers
from supervisor._cli.exec.options import OPTIONS
from supervisor._cli.main import main
from supervisor._models import values
from supervisor.message_handlers import _webhook
from supervisor.message_handlers._registry import BUILT_IN, examples, handler_class
from supervisor.testing import RecordingHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTIONS = {each.title: each for each in documents.sections("api.md")}
VALUES = [
    values.Attachment,
    values.Delivery,
    values.ErrorDetails,
    values.MessageDetails,
    values.Progress,
    values.RunReport,
]
HANDLERS = [getattr(message_handlers, name) for name in message_handlers.__all__ if name != "MessageHandler"]
ROW = re.compile(r"^\| `(\w+)` \| (.*?) \|", re.MULTILINE)


def rows(title: str) -> dict[str, str]:
    """Return the first two cells of a section's tables."""
    assert title in SECTIONS, f"api.md has no section {title}"
    return dict(ROW.findall(SECTIONS[title].text))


def fields(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield name and default of what a class takes; ``NOTHING`` where the default is made anew each time."""
    for field in attrs.fields(kind):
        name = field.alias or field.name
        if field.init and not field.name.startswith("_"):
            yield name, field.default


TABLES = [pytest.param(kind.__name__, kind, id=kind.__name__) for kind in (_settings.Settings, *VALUES, *HANDLERS)]


@pytest.mark.parametrize(("title", "kind"), TABLES)
def test_a_table_has_every_field(title: str, kind: type) -> None:
    """The table of settings or fields has all that the class takes, and nothing else."""
    shown, there = set(rows(title)), {name for name, _ in fields(kind)}
    assert not there - shown, f"the table of {title} in api.md has no row for {', '.join(sorted(there - shown))}"
    assert not shown - there, f"the table of {title} in api.md has rows for nothing: {', '.join(sorted(shown - there))}"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda each: each.flag)
def test_each_option_of_supervisor_run_has_a_row(option: Any) -> None:
    """The table of ``supervisor run`` has each option, those that settings define among them."""
    shown = re.findall(r"^\| (`.+?`) \|", SECTIONS["`supervisor run`"].text, re.MULTILINE)
    flags = {flag for cell in shown for flag in re.findall(r"--?[\w-]+", cell)}
    assert option.flag in flags, f"the table of `supervisor run` in api.md has no row for {option.flag}"


@pytest.mark.parametrize(("title", "kind"), TABLES)
def test_a_table_has_the_right_defaults(title: str, kind: type) -> None:
    """A default that a table gives as code is the one that the class has; names are looked at below."""
    defaults = dict(fields(kind))
    for name, cell in rows(title).items():
        if name == "name" or not cell.startswith("`") or isinstance(defaults[name], type(attrs.Factory(list))):
            continue
        try:
            value = ast.literal_eval(cell.strip("`"))
        except ValueError:
            assert cell == "by `security`"
        else:
            assert value == defaults[name], name
            assert type(value) is type(defaults[name]) or isinstance(value, str), name


@pytest.mark.parametrize("scheme", BUILT_IN)
def test_defaults_that_a_handler_makes(scheme: str) -> None:
    """Names that a handler gives itself are those of its table; it is made as the configuration's template shows."""
    cell = rows(BUILT_IN[scheme])["name"]
    tables = tomllib.loads("".join(examples()))["handlers"].values()
    (options,) = [each for each in tables if each["type"] == scheme] or [{"type": scheme}]
    given = {name: _without_references(value) for name, value in options.items() if name != "type"}
    name = handler_class(scheme)(**given).name
    assert re.sub(r'[`"]', "", cell).split(",")[0].split(" and ")[0].removesuffix(":") in name


def _without_references(value: Any) -> Any:
    """Return an option with a URL, which does as any secret, in the place of each reference to one."""
    if isinstance(value, list):
        return [_without_references(each) for each in value]
    return "https://127.0.0.1/x" if isinstance(value, dict) and "env" in value else value


def test_every_public_name_stands_in_the_table_of_names() -> None:
    """The section of names has each public name of the package and of its handlers."""
    text = SECTIONS["Names"].text
    for name in (*supervisor.__all__, *message_handlers.__all__, *values.__all__):
        assert re.search(rf"\b{name}\b", text), name


def test_everything_of_a_run_is_named() -> None:
    """The section of the run has each public method and property, and the settings table each setting."""
    text = SECTIONS["The run"].text
    for name in (*dir(supervisor.Run), *supervisor.Run.__slots__):
        if not name.startswith("_"):
            assert re.search(rf"`(run\.)?{name}\b", text), name


def test_everything_of_a_supervisor_is_named() -> None:
    """The section of the supervisor has each public method and property."""
    text = SECTIONS["Supervisor"].text
    for name in dir(supervisor.Supervisor):
        if not name.startswith("_"):
            assert f"`.{name}" in text, name


@pytest.mark.parametrize("words", [values.Kind, values.Outcome, values.DeliveryState])
def test_every_word_is_named(words: Any) -> None:
    """The section of words has each kind, outcome and state."""
    (row,) = re.findall(rf"^\| `{words.__name__}` \| (.*) \|$", SECTIONS["Words"].text, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == [str(each) for each in words]


def test_every_kind_has_its_row() -> None:
    """The table of kinds has each kind and says which are always sent."""
    shown = re.findall(r"^\| ([a-z, ]+) \| .* \| (.*) \|$", SECTIONS["Kinds of messages"].text, re.MULTILINE)
    told = {kind: sent for kinds, sent in shown if kinds != "kind" for kind in kinds.split(", ")}
    assert set(told) == {str(kind) for kind in values.Kind}
    always = {kind for kind, sent in told.items() if sent.startswith("always")} - {"notice"}
    assert always == _settings.ALWAYS_REPORTED - {"stalled", "overdue", "missed"}


def test_every_command_has_help_and_stands_in_the_reference() -> None:
    """Each command has a help text, and a row in the section of the command line."""
    assert isinstance(main, click.Group)
    for name, command in main.commands.items():
        assert command.help, name
        assert f"| `supervisor {name}" in SECTIONS["Command line"].text, name


def test_the_document_of_the_webhook() -> None:
    """The JSON that the reference shows has the fields that the handler sends, in that order."""
    channel = RecordingHandler()
    with supervisor.supervise("night", handlers=channel, reraise=False, journal=False) as run:
        run.record(rows=12)
        run.progress(1, total=2)
        run.attach("night.log")
        raise KeyError("apn")
    (shown,) = re.findall(r"^```json\n(.*?)^```$", SECTIONS["WebhookHandler"].text, re.MULTILINE | re.DOTALL)
    assert _keys(json.loads(shown)) == _keys(_webhook.message_document(channel.messages[0]))


def _keys(value: Any) -> Any:
    """Return the names in a JSON value, however deep."""
    if isinstance(value, dict):
        return {name: _keys(each) for name, each in value.items()}
    return [_keys(each) for each in value[:1] if isinstance(each, dict)] if isinstance(value, list) else None


def test_limits_are_as_they_are_told() -> None:
    """Numbers in the text are those of the code."""
    from supervisor._delivery import dispatcher, job, pool
    from supervisor._run import composer, progress
    from supervisor._store import essentials
    from supervisor._store.sqlite import runs
    from supervisor.message_handlers import _apprise, _healthchecks
    from supervisor.message_handlers._slack import senders

    told = {
        "MessageDetails": f"above {composer.TEXT_LIMIT:,} characters",
        "The run": f"cut at {_exceptions.VALUE_LIMIT:,} characters",
        "ErrorDetails": f"above {_exceptions.TRACEBACK_LIMIT:,} characters",
        "Showing progress": f"each {progress.LOG_EVERY_PERCENT:.0f} %, and each {progress.LOG_EVERY_S:.0f} s",
        "Settings": f"each {_settings.DEFAULT_PROGRESS_EVERY_S:.0f} s",
        "Floods": f"The first {dispatcher.BURST} notices of a run pass, and after that one a second",
        "HealthchecksHandler": f"up to {_healthchecks.BODY_LIMIT_BYTES // 1000} kB",
        "The journal": f"{runs.KEEP_RUNS:,} runs of each name and {runs.KEEP_DAYS:.0f} days",
    }
    for title, sentence in told.items():
        assert sentence in SECTIONS[title].text, title
    text = documents.read("api.md")
    assert f"in the folder `outbox` beside it, {essentials.COPIES_LIMIT_BYTES // 1024**2} MB in all" in text
    assert f"| {_apprise.ATTACHMENTS_LIMIT_BYTES // 1_000_000} MB, where the service takes files |" in text
    assert f"| {senders.UPLOADS_LIMIT_BYTES // 1024**2} MB with a token;" in text
    assert f"after {job.FIRST_RETRY_S:.0f} s, then 2 s, 4 s" in text
    assert f"up to {job.LONGEST_RETRY_S // 60:.0f} min, each time less up to half" in text
    assert job.GIVE_UP_AFTER.days == 7
    assert f"waits, at most {pool.EXIT_DEADLINE_S:.0f} s, for messages that no run waits for" in text
