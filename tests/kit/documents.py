"""Parts documents into sections, and runs the examples of one: Python, and what a person types into a shell.

- A block of Python runs where it stands; in one of ``>>>`` the answers must be right too.
- A block that begins with a file name (``# parcels.py``) is written to that file.
- A block of ``console`` is typed: what follows ``$ `` runs in bash, and what stands below must be what it prints.
  ``...`` on a line of its own stands for any lines. Times, durations, names of machines and the like may differ.

Each heading begins a section, each section with nothing in hand: an example imports what it uses.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from waiting import PATIENCE_S

import supervisor
from supervisor import _exceptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sybil import Example
    from sybil.document import Document

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "api.md")

_FILE = re.compile(r"# ([\w.-]+\.py)\n")
_HEADING = re.compile(r"^(#{1,4}) (.+)$", re.MULTILINE)
_FENCED = re.compile(r"^(```+).*?^\1$", re.MULTILINE | re.DOTALL)

# What differs from one machine and moment to the next, each with what stands for it in both texts.
_DIFFERS = [
    # Where a sentence is broken into lines depends on the name of the machine.
    (r"^(    \S.{60,})\n    (?=[a-z])", r"\1 "),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}", "INSTANT"),
    (r"^\d\d:\d\d:\d\d  ", "TIME  "),
    (r", [\d,.]+/(s|min|h)\b", ""),
    (r"(less than 1 ms|\b[\d.]+ (ms|s|min|h)\b( \d+ (s|min))?)", "DURATION"),
    (r"\(user \S+, process \d+\)", "(user, process)"),
    (r"\b[\d.]+ [KMG]B of memory", "MEMORY"),
    (r"\bin [\d.]+s$", "in SECONDS"),
    (r"^(\s+Python +)[\d.]+$", r"\1VERSION"),
    (r"^(\s+Run +)[0-9a-f]+$", r"\1ID"),
]


@attrs.frozen(kw_only=True)
class Section:
    """What stands between two headings."""

    document: str
    title: str
    line: int
    text: str
    examples: tuple[Example, ...]

    def __str__(self) -> str:
        return f"{self.document}: {self.title}"


def read(name: str) -> str:
    """Return the text of a document."""
    return (ROOT / name).read_text("utf-8")


def sections(name: str) -> Iterator[Section]:
    """Yield the sections of a document, those without examples too."""
    sybil = Sybil([PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS), CodeBlockParser("console", _type)])
    document = sybil.parse(ROOT / name)
    _let_files_be_written(document)
    examples = list(document.examples())
    bare = _FENCED.sub(lambda fenced: re.sub(r"[^\n]", " ", fenced[0]), document.text)
    headings = list(_HEADING.finditer(bare))
    for heading, after in zip(headings, [*headings[1:], None], strict=True):
        end = after.start() if after is not None else len(document.text)
        yield Section(
            document=name,
            title=heading[2],
            line=document.text.count("\n", 0, heading.start()) + 1,
            text=document.text[heading.start() : end],
            examples=tuple(each for each in examples if heading.start() <= each.start < end),
        )


def run(section: Section) -> dict[str, Any]:
    """Run the examples of a section in the working directory, and return what they have made."""
    namespace: dict[str, Any] = section.examples[0].namespace
    namespace.clear()
    namespace["__name__"] = "__main__"
    for example in section.examples:
        example.evaluate()
    return namespace


def _let_files_be_written(document: Document) -> None:
    """Let blocks that begin with a file's name become that file."""
    evaluator = PythonEvaluator()
    for _, region in document.regions:
        if isinstance(region.parsed, str) and region.evaluator is not _type:
            region.evaluator = _write if _FILE.match(region.parsed) else evaluator


def _write(example: Example) -> None:
    name = _FILE.match(example.parsed)
    assert name is not None
    Path(name[1]).write_text(example.parsed, "utf-8")


def _type(example: Example) -> str:
    """Type the commands of a block and return what is wrong with what they print; "" when nothing is."""
    for command, shown in _commands(example.parsed):
        ended = typed(command)
        missing = missing_from(ended.stdout, shown)
        if missing:
            return f"$ {command}\ndid not print\n{missing}\nbut\n{ended.stdout}\nand to stderr\n{ended.stderr}"
    return ""


def typed(command: str) -> subprocess.CompletedProcess[str]:
    """Type a command into bash, where ``python`` and ``supervisor`` are those of the tests."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash to type into")
    package = str(Path(supervisor.__file__).parents[1])  # the wheel under tox, the checkout elsewhere
    path = os.pathsep.join((str(_commands_of_ours()), os.environ["PATH"]))
    return subprocess.run(
        [bash, "-c", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        env={**os.environ, "PATH": path, "PYTHONPATH": package, "PYTHONUTF8": "1", **_as_if_installed()},
    )


def _as_if_installed() -> dict[str, str]:
    """Let pytest find the fixtures of the package in a checkout too; where it is installed, pytest does so itself."""
    plugins = [each.value for each in entry_points(group="pytest11")]
    return {} if "supervisor.testing" in plugins else {"PYTEST_PLUGINS": "supervisor.testing"}


def _commands_of_ours() -> Path:
    """Return a folder with ``python`` and ``supervisor`` in it, made in the working directory."""
    folder = Path.cwd() / ".bin"
    folder.mkdir(exist_ok=True)
    for name, arguments in (("python", ""), ("supervisor", "-m supervisor ")):
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments}"$@"\n')
        command.chmod(0o755)
    return folder


def _commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command with what stands below it."""
    for each in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = each.partition("\n")
        yield command, shown


def missing_from(printed: str, shown: str) -> str:
    """Return the first of the shown passages that was not printed, in this order; "" when all were."""
    printed = printed.replace(_exceptions.host(), "gis1").replace(f"{Path.cwd()}{os.sep}", "/srv/scripts/")
    rest = f"\n{_same(printed)}\n"
    passages = [_same(each).strip("\n") for each in re.split(r"^ *\.\.\.$", shown, flags=re.MULTILINE)]
    for passage in filter(None, passages):
        _, found, after = rest.partition(f"\n{passage}\n")
        if not found:
            return passage
        rest = f"\n{after}"
    return ""


def _same(text: str) -> str:
    """Return a text without what may differ."""
    text = "\n".join(line.rstrip() for line in text.splitlines())
    for pattern, stands_for in _DIFFERS:
        text = re.sub(pattern, stands_for, text, flags=re.MULTILINE)
    return text
