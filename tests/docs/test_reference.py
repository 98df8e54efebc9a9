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
from supervisor import _exceptions, _setting_values, _settings, message_handlers
from supervisor._cli.exec import OPTIONS
from supervisor._cli.main import main
from supervisor._models import values
from supervisor.message_handlers import _webhook
from supervisor.message_handlers._registry import built_in, examples, handler_class
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
WITHOUT_RESPONSES = {"console", "apprise"}
"""Handlers without a table of responses: one prints, and the other's library does not say what the response was."""
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


def test_the_settings_that_are_kept_are_named_once() -> None:
    """The section of the settings names those that reports and the journal have; all other places refer to it."""
    kept = [field.name for field in attrs.fields(_settings.Settings) if field.metadata.get("is_kept")]
    said = next(line for line in documents.read("api.md").splitlines() if "`--json` keep " in line)
    assert re.findall(r"`(\w+)`", said.partition("`--json` keep ")[2]) == kept


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
            wrong = f"api.md, table of {title}: {name} has the default {defaults[name]!r}, the table says {cell}"
            assert value == defaults[name], wrong
            assert type(value) is type(defaults[name]) or isinstance(value, str), wrong


@pytest.mark.parametrize("scheme", built_in())
def test_defaults_that_a_handler_makes(scheme: str) -> None:
    """Names that a handler gives itself are those of its table; it is made as the configuration's template shows."""
    cell = rows(built_in()[scheme])["name"]
    tables = tomllib.loads("".join(examples()))["handlers"].values()
    (options,) = [each for each in tables if each["type"] == scheme] or [{"type": scheme}]
    given = {name: _without_references(value) for name, value in options.items() if name != "type"}
    name = handler_class(scheme)(**given).name
    assert re.sub(r'[`"]', "", cell).split(",")[0].split(" and ")[0].removesuffix(":") in name


def _without_references(value: Any) -> Any:
    """Return an option with a URL, which does as any secret, in the place of each reference to one."""
    if isinstance(value, list):
        return [_without_references(each) for each in value]
    if isinstance(value, dict) and "env" not in value:
        return {name: _without_references(each) for name, each in value.items()}
    return "https://127.0.0.1/x" if isinstance(value, dict) else value


def test_every_public_name_stands_in_the_table_of_names() -> None:
    """The section of names has each public name of the package and of its handlers."""
    text = SECTIONS["Names"].text
    for name in (*supervisor.__all__, *message_handlers.__all__, *values.__all__):
        assert re.search(rf"\b{name}\b", text), f"api.md, section Names: write {name} into its row"


@pytest.mark.parametrize("kind", HANDLERS, ids=lambda each: each.__name__)
def test_each_handler_says_what_becomes_of_attachments(kind: type) -> None:
    """The table of what is sent of attachments has a row for each handler."""
    assert kind.__name__ in rows("Attachments"), f"the table of Attachments in api.md has no row for {kind.__name__}"


@pytest.mark.parametrize("scheme", sorted(built_in().keys() - WITHOUT_RESPONSES))
def test_each_handler_says_what_follows_a_response(scheme: str) -> None:
    """The section of each handler that gets responses says which are accepted, temporary and permanent."""
    title = built_in()[scheme]
    assert title in SECTIONS, f"api.md has no section {title}"
    _, _, table = SECTIONS[title].text.partition("\n| response | what follows |\n|---|---|\n")
    said = " ".join(line.rpartition(" | ")[2] for line in table.partition("\n\n")[0].splitlines())
    missing = [each for each in ("accepted", "temporary", "permanent") if each not in said]
    assert not missing, (
        f"the section {title} of api.md needs a table | response | what follows |, as TeamsHandler has, "
        f"with rows of what is {', '.join(missing)}"
    )


@pytest.mark.parametrize("title", built_in().values())
def test_each_handler_is_linked_in_the_contents(title: str) -> None:
    """The table of contents leads to each handler."""
    link = f"[{title}](#{title.lower()})"
    (line,) = re.findall(r"^- \[Handlers\]\(#handlers\): .*$", SECTIONS["Contents"].text, re.MULTILINE)
    assert link in line, f"api.md, section Contents: write {link} into the line of the handlers"


@pytest.mark.parametrize("scheme", sorted(built_in().keys() - {"console"}))
def test_each_channel_stands_in_the_readme(scheme: str) -> None:
    """The line of the README that says how a failure reaches people has each channel: "googlechat" as "Google Chat"."""
    (line,) = re.findall(r"^- \*\*A failure reaches you\*\*, by (.*?):", documents.read("README.md"), re.MULTILINE)
    channels = [re.sub(r"[^a-z0-9]|^an? ", "", each.lower()) for each in re.split(r", | or ", line)]
    name = built_in()[scheme].removesuffix("Handler").lower()
    assert name in channels, f'README.md: name the channel of {built_in()[scheme]} behind "A failure reaches you"'


def test_the_readme_is_short() -> None:
    """Who comes upon the project reads the README to its end; what is longer belongs into api.md."""
    assert (documents.ROOT / "README.md").stat().st_size < 10_000


def test_everything_of_a_run_is_named() -> None:
    """The section of the run has each public method and property, and the settings table each setting."""
    text = SECTIONS["The run"].text
    for name in (*dir(supervisor.Run), *supervisor.Run.__slots__):
        if not name.startswith("_"):
            assert re.search(rf"`(run\.)?{name}\b", text), f"api.md, section The run: say what `run.{name}` is"


def test_everything_of_a_supervisor_is_named() -> None:
    """The section of the supervisor has each public method and property."""
    text = SECTIONS["Supervisor"].text
    for name in dir(supervisor.Supervisor):
        if not name.startswith("_"):
            assert f"`.{name}" in text, f"api.md, section Supervisor: say what `.{name}` is"


@pytest.mark.parametrize("words", [values.Kind, values.Outcome, values.DeliveryState])
def test_every_word_is_named(words: Any) -> None:
    """The section of words has each kind, outcome and state."""
    (row,) = re.findall(rf"^\| `{words.__name__}` \| (.*) \|$", SECTIONS["Words"].text, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == [str(each) for each in words]


def test_every_kind_has_its_row() -> None:
    """The table of kinds has each kind and says which are always sent."""
    shown = re.findall(r"^\| ([a-z, ]+) \| .* \| (.*) \|$", SECTIONS["Kinds of messages"].text, re.MULTILINE)
    documented = {kind: sent for kinds, sent in shown if kinds != "kind" for kind in kinds.split(", ")}
    kinds = {str(kind) for kind in values.Kind}
    assert not kinds - set(documented), f"api.md, Kinds of messages: a row for {kinds - set(documented)} is missing"
    assert not set(documented) - kinds, f"api.md, Kinds of messages: {set(documented) - kinds} is no kind"
    always = {kind for kind, sent in documented.items() if sent.startswith("always")} - {"notice"}
    assert always == _setting_values.ALWAYS_REPORTED - {"stalled", "overdue", "missed"}


def test_every_command_has_help_and_stands_in_the_reference() -> None:
    """Each command has a help text, and a row in the section of the command line."""
    assert isinstance(main, click.Group)
    for name, command in main.commands.items():
        assert command.help, f"the function of `supervisor {name}` needs a docstring: it is the command's help"
        assert f"| `supervisor {name}" in SECTIONS["Command line"].text, (
            f"api.md, section Command line: write a row that begins with | `supervisor {name}"
        )


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
    from supervisor import _delivery
    from supervisor._delivery import pool
    from supervisor._run import composer, progress
    from supervisor._store import essentials
    from supervisor._store.sqlite import runs
    from supervisor.message_handlers import _apprise, _healthchecks
    from supervisor.message_handlers._slack import senders

    documented = {
        "MessageDetails": f"above {composer.TEXT_LIMIT:,} characters",
        "The run": f"cut at {_exceptions.VALUE_LIMIT:,} characters",
        "ErrorDetails": f"above {_exceptions.TRACEBACK_LIMIT:,} characters",
        "Showing progress": f"each {progress.LOG_EVERY_PERCENT:.0f} %, and each {progress.LOG_EVERY_S:.0f} s",
        "Settings": f"each {_setting_values.DEFAULT_PROGRESS_EVERY_S:.0f} s",
        "Floods": f"The first {_delivery.BURST} notices of a run pass, and after that one a second",
        "HealthchecksHandler": f"up to {_healthchecks.BODY_LIMIT_BYTES // 1000} kB",
        "The journal": f"{runs.KEEP_RUNS:,} runs of each name and {runs.KEEP_DAYS:.0f} days",
    }
    for title, sentence in documented.items():
        assert sentence in SECTIONS[title].text, f"api.md, section {title}, must say: {sentence}"
    text = documents.read("api.md")
    assert f"in the folder `outbox` beside it, {essentials.COPIES_LIMIT_BYTES // 1024**2} MB in all" in text
    assert f"| {_apprise.ATTACHMENTS_LIMIT_BYTES // 1_000_000} MB, where the service takes files |" in text
    assert f"| {senders.UPLOADS_LIMIT_BYTES // 1024**2} MB with a token;" in text
    assert f"after {pool.FIRST_RETRY_S:.0f} s, then 2 s, 4 s" in text
    assert f"up to {pool.LONGEST_RETRY_S // 60:.0f} min, each time less up to half" in text
    assert pool.GIVE_UP_AFTER.days == 7
    assert f"waits, at most {pool.EXIT_DEADLINE_S:.0f} s, for messages that no run waits for" in text
