"""README.md and api.md: each example runs as it stands."""

from __future__ import annotations

import importlib.util
import re
from itertools import count
from typing import TYPE_CHECKING

import documents
import pytest
from http_channels import CHANNELS

if TYPE_CHECKING:
    from pathlib import Path

    from documents import Section
    from internet import Internet

SECTIONS = [each for name in documents.DOCUMENTS for each in documents.sections(name)]
WITH_EXAMPLES = [each for each in SECTIONS if each.examples]
LANGUAGES = {"python", "console", "sh", "text", "json", "toml", "ini", "yaml", "dockerfile"}
EXTRAS = {"SlackHandler(": "slack_sdk", "slack_sdk": "slack_sdk", "AppriseHandler(": "apprise"}


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # what apprise loads
@pytest.mark.parametrize("section", WITH_EXAMPLES, ids=str)
def test_examples_run(section: Section, folder: Path, outside: Internet) -> None:
    """The examples of a section run, print what they say they print, and reach the services that they name."""
    blocks = "\n".join(each.parsed for each in section.examples if isinstance(each.parsed, str))
    for sign, library in EXTRAS.items():
        if sign in blocks and importlib.util.find_spec(library) is None:
            pytest.skip(f"the extra with {library} is not installed")
    documents.run(section)
    assert bool(outside.mails) == ("EmailHandler(" in blocks)
    named = {each.host for each in CHANNELS.values() if each.host and each.example in blocks}
    reached = {each.host for each in outside.requests} - {"files.slack.com", "login.microsoftonline.com"}
    assert not named - reached, f"the examples of {section} name {named - reached}, and nothing was sent there"
    assert not reached - named, (
        f"the examples of {section} sent to {reached - named}: no channel of tests/kit/http_channels.py with this host "
        "and this example is named in them"
    )


@pytest.mark.parametrize(
    ("shown", "is_there"),
    [
        ("02:00:04  FAILURE  night failed", True),
        ("02:00:04  NOTICE  night failed", False),
        ("02:00:04  FAILURE  night\n", False),
        ("02:00:04  FAILURE  night failed\n...\n    at x.py:1 in main", True),
        ("    at x.py:1 in main\n...\n02:00:04  FAILURE  night failed", False),
        ("02:00:04  FAILURE  night failed\n    at x.py:1 in main", False),
        ("    after 3 h.", True),
        ("    after it.", False),
    ],
)
def test_what_is_shown_is_looked_for(shown: str, *, is_there: bool) -> None:
    """What a document shows must be printed word for word and in its order; only times and the like may differ."""
    printed = "09:59:59  FAILURE  night failed\n    after 12.5 ms.\n    at x.py:1 in main\n"
    assert (documents.missing_from(printed, shown) == "") is is_there


def test_a_receiver_can_check_signatures(folder: Path, outside: Internet) -> None:
    """The check of signatures in the reference accepts what the handler sends, and nothing that was changed."""
    (section,) = (each for each in WITH_EXAMPLES if each.title == "WebhookHandler")
    is_genuine = documents.run(section)["is_genuine"]
    (request,) = outside.asked("hooks.example.com")
    assert is_genuine(request.headers, request.body, "a text that both sides know")
    assert not is_genuine(request.headers, request.body + b" ", "a text that both sides know")
    assert not is_genuine(request.headers, request.body, "another text")


def test_readme_names_the_two_commands() -> None:
    """README gives exactly two commands to install and to test, each complete on a fresh machine."""
    typed = re.findall(r"^```sh\n(.*?)^```$", documents.read("README.md"), re.MULTILINE | re.DOTALL)
    assert typed == ["pip install . && supervisor demo\n", "pip install tox && tox\n"]


def test_the_demo_of_the_readme(folder: Path) -> None:
    """``supervisor demo`` ends well and shows the kinds of messages that README promises."""
    ended = documents.typed("supervisor demo")
    assert ended.returncode == 0, ended.stderr
    assert re.findall(r"^\d\d:\d\d:\d\d  (\w+)  ", ended.stdout, re.MULTILINE) == ["NOTICE", "SUCCESS", "FAILURE"]
    assert "SyntaxError" in ended.stdout


@pytest.mark.parametrize("name", documents.DOCUMENTS)
def test_each_block_is_of_a_kind_that_is_looked_after(name: str) -> None:
    """No block of a document is in a language that nobody checks, or in none."""
    opened = re.findall(r"^ *```+(.*)$", documents.read(name), re.MULTILINE)
    unknown = set(opened[::2]) - LANGUAGES
    assert not unknown, f"{name} has blocks of {unknown}: nothing checks these; there are {sorted(LANGUAGES)}"
    assert set(opened[1::2]) == {""}, f"a block of {name} is not closed before the next one"


@pytest.mark.parametrize(
    "text",
    [
        each
        for name in documents.DOCUMENTS
        for each in re.findall(r"^```toml\n(.*?)^```", documents.read(name), re.MULTILINE | re.DOTALL)
    ],
)
def test_configurations_hold_as_they_stand(text: str, tmp_path: Path) -> None:
    """A configuration that is shown has no mistake in it, and its handlers can be built."""
    from supervisor._config import load
    from supervisor._config.handler_specs import build
    from supervisor.message_handlers._registry import handler_class

    (tmp_path / "supervisor.toml").write_text(text)
    environ = {"SUPERVISOR_CONFIG": str(tmp_path / "supervisor.toml")}
    secrets = {name: f"SG.a-secret-of-{name}" for name in re.findall(r'env = "(\w+)"', text)}
    known = load(environ=environ).checked()
    assert known.handlers or known.fleet
    for spec in known.handlers.values():
        build(spec, handler_class, secrets)


@pytest.mark.parametrize("name", [*documents.DOCUMENTS, "CHANGELOG.md", "CONTRIBUTING.md"])
def test_links_within_the_repository_lead_somewhere(name: str) -> None:
    """Each link to a file is to one that is there, and each link to a heading to one of that text."""
    for path, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", documents.read(name)):
        target = path or name
        assert (documents.ROOT / target).exists(), f"{name} links to {path}, which is not there"
        if heading:
            assert heading in _anchors(documents.read(target)), f"{name} links to {target}#{heading}: no such heading"


def test_the_introduction_is_short() -> None:
    """README.md is for a person who decides in one minute: it stays under 10 KB."""
    size = len(documents.read("README.md").encode())
    assert size < 10_000, f"README.md has {size:,} bytes: {size - 9_999:,} must go, into api.md for example"


def test_the_reference_begins_with_all_its_headings() -> None:
    """The contents of api.md name each heading of its first two levels, in their order."""
    text = documents.read("api.md")
    contents = re.search(r"^## Contents\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert contents is not None
    prose = re.sub(r"^```.*?^```$", "", text[contents.end() - 3 :], flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^##{1,2} (.+)$", prose, re.MULTILINE)
    listed = re.findall(r"\[([^\]]+)\]\(#", contents[1])
    expected = [each for each in headings if each != "How do I ..."]
    missing, strange = (sorted(set(a) - set(b)) for a, b in ((expected, listed), (listed, expected)))
    assert not missing, f"under '## Contents' of api.md there is no link to {missing}"
    assert not strange, f"'## Contents' of api.md names {strange}, which no heading is called"
    assert listed == expected, "'## Contents' of api.md is to have its links in the order of the headings"


def _anchors(text: str) -> set[str]:
    """Return what the headings of a document are called in links, as GitHub has it: the second of a name has "-1"."""
    anchors: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        numbered = (f"{anchor}-{number}" for number in count(1))
        anchors.add(anchor if anchor not in anchors else next(each for each in numbered if each not in anchors))
    return anchors
