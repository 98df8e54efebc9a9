"""Guards: what is public is complete, what is imported is little, and what commands there are is documented."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from scripts import PACKAGE

import supervisor
from supervisor._cli.main import main
from supervisor.message_handlers._registry import built_in

ROOT = PACKAGE.parent
HEAVY = [
    "rich", "click", "asyncio", "email", "sendgrid", "slack_sdk", "apprise", "sqlite3", "psutil", "platformdirs",
    "pathlib", "isal", "urllib.request", "http.client", "ssl", "smtplib", "unittest", "tempfile", "json", "jinja2",
]  # fmt: skip

PUBLIC = {
    "supervisor": [
        "ConfigurationError", "DeliveryError", "MessageDetails", "Run", "RunStateError", "Supervisor",
        "SupervisorError", "current_run", "supervise", "supervised",
    ],
    "supervisor.__main__": ["main"],
    "supervisor.compat": [
        "ConsoleHandler", "EmailHandler", "MessageDetails", "MessageHandler", "SendGridHandler", "SlackHandler",
        "Supervisor",
    ],
    "supervisor.demo": ["check_library", "check_parcels", "main"],
    "supervisor.errors": [
        "ConfigurationError", "DeliveryError", "OverdueError", "OverlapError", "RunSkipped", "RunStateError",
        "SupervisorError",
    ],
    "supervisor.message_handlers": ["MessageHandler", *built_in().values()],
    "supervisor.models": [
        "Attachment", "Delivery", "DeliveryState", "ErrorDetails", "Kind", "MessageDetails", "MessageHandler",
        "Outcome", "Progress", "RunReport", "RunStep", "RunWarning", "Supervisor",
    ],
    "supervisor.plugins": [
        "REDACTED", "Bars", "Code", "Facts", "Part", "Row", "Table", "Text", "as_data", "as_html", "handler_class",
        "note_handover", "parts_of",
    ],
    "supervisor.settings": ["Settings"],
    "supervisor.slack": [
        "Block", "BlockType", "ContextBlock", "DividerBlock", "Message", "SectionBlock", "Text", "split_blocks",
    ],
    "supervisor.testing": ["RecordingHandler", "SupervisedRun", "recording", "supervised_run"],
}  # fmt: skip

HOOKS = {"pytest_configure"}
"""What pytest calls by its name."""


def modules() -> list[str]:
    """Return the names of all modules of the package."""
    found = pkgutil.walk_packages(supervisor.__path__, "supervisor.")
    return ["supervisor", *(each.name for each in found if not each.name.endswith("__main__"))]


def defined_in(module: Any) -> set[str]:
    """Return the names without an underscore that a module defines."""
    names: set[str] = set()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {each.id for each in targets if isinstance(each, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has after a statement and had not before."""
    report = "print(json.dumps(sorted(set(sys.modules) - before)))"
    code = f"import sys, json\nbefore = set(sys.modules)\n{statement}\n{report}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded: list[str] = json.loads(done.stdout.splitlines()[-1])
    return set(loaded)


def test_what_is_not_public_stands_under_an_underscore() -> None:
    """The public modules are these; the path of every other has a part that begins with an underscore."""
    found = ["supervisor", *(each.name for each in pkgutil.walk_packages(supervisor.__path__, "supervisor."))]
    without = {name for name in found if not any(part.startswith("_") for part in name.split("."))}
    new, gone = (without | {"supervisor.__main__"}) - set(PUBLIC), set(PUBLIC) - without - {"supervisor.__main__"}
    assert not new, f"{new}: begin the name with an underscore, or write the module into PUBLIC here and into api.md"
    assert not gone, f"{gone} is public by PUBLIC, and is not there"


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_names_are_these(name: str) -> None:
    """``__all__`` of a public module has these names, each of them exists, and nothing else looks public."""
    module = importlib.import_module(name)
    different = sorted(set(module.__all__) ^ set(PUBLIC[name]))
    assert not different, (
        f"{different}: {name}.__all__ and PUBLIC here must agree; a new public name goes into both, and into "
        "the section Names of api.md"
    )
    assert len(set(module.__all__)) == len(module.__all__)
    for each in module.__all__:
        assert getattr(module, each) is not None
    if name != "supervisor.demo":  # it is an example, to be read as a script
        extra = defined_in(module) - set(module.__all__) - HOOKS
        assert not extra, f"{name} defines {extra}: begin these names with an underscore, or add them to __all__"


@pytest.mark.parametrize("name", [each for each in PUBLIC if each not in {"supervisor.__main__", "supervisor.demo"}])
def test_completion_offers_the_public_names(name: str) -> None:
    """What an interactive session completes after the module is what the module offers, and nothing else."""
    offered = {each for each in dir(importlib.import_module(name)) if not each.startswith("_")} - HOOKS
    assert offered == set(PUBLIC[name])


def public_classes() -> dict[str, type]:
    """Return the classes that users and editors see, by their names."""
    modules = (importlib.import_module(each) for each in PUBLIC if each != "supervisor.demo")
    found = {name: getattr(module, name) for module in modules for name in module.__all__}
    return {name: value for name, value in found.items() if isinstance(value, type)}


@pytest.mark.parametrize("name", public_classes())
def test_what_completion_offers_of_a_value_is_documented(name: str) -> None:
    """Each attribute and method that an editor lists for a public class stands in the reference by its name."""
    kind = public_classes()[name]
    if issubclass(kind, enum.Enum):
        pytest.skip("its members are documented by their values")
    python_s = {each for base in kind.__mro__ if not base.__module__.startswith("supervisor") for each in dir(base)}
    offered = {each for each in dir(kind) if not each.startswith("_")} - python_s
    reference = (Path(__file__).parents[1] / "api.md").read_text("utf-8")
    quoted = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`|```.*?```", reference, re.DOTALL))))
    unsaid = sorted(offered - quoted)
    assert not unsaid, f"api.md says nowhere, in backquotes, what {unsaid} of {name} is"


def test_a_name_that_does_not_exist_is_refused() -> None:
    """The names that are loaded when they are asked for do not hide a misspelt one."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        supervisor.nothing  # noqa: B018 - reading the attribute is the test


@pytest.mark.parametrize("name", modules())
def test_all_of_each_module_can_be_imported(name: str) -> None:
    """What a module says that it has, it has; and every module can be imported alone."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"an extra is missing: {error}")
    for each in getattr(module, "__all__", ()):
        assert hasattr(module, each), each


@pytest.mark.parametrize("name", supervisor.__all__)
def test_each_public_name_is_documented(name: str) -> None:
    """Each public name has a docstring of its own, and so has each public method of it."""
    value = getattr(supervisor, name)
    assert (value.__doc__ or "").strip()
    for method, function in vars(value).items() if inspect.isclass(value) else ():
        if not method.startswith("_") and callable(function):
            assert (function.__doc__ or "").strip(), f"{name}.{method}"


def test_the_version_is_that_of_the_distribution() -> None:
    """``supervisor.__version__`` and pyproject.toml say the same."""
    import tomllib

    pyproject = Path(__file__).parent.parent / "pyproject.toml"
    assert tomllib.loads(pyproject.read_text("utf-8"))["project"]["version"] == supervisor.__version__


def test_the_package_is_typed() -> None:
    """Type checkers use the package's own annotations (PEP 561)."""
    assert (PACKAGE / "py.typed").is_file()


def test_importing_supervisor_loads_next_to_nothing() -> None:
    """A fresh interpreter that imports supervisor has loaded no client library and none of the heavy modules."""
    loaded = loaded_by("import supervisor")
    baseline = loaded_by("import attrs")
    assert not {each for each in loaded - baseline if each.split(".")[0] in HEAVY or each in HEAVY}
    assert not loaded & {
        "supervisor.models",
        "supervisor._run.reporter",
        "supervisor._delivery",
        "supervisor._exceptions.facts",
        "supervisor._text",
        "supervisor._cli",
    }
    assert not loaded & {"logging", "signal", "traceback"}, "a script that prints loads none"


def test_importing_the_handlers_loads_no_client_library() -> None:
    """The names of all handlers can be imported without the libraries of those that are not used."""
    loaded = loaded_by("from supervisor.message_handlers import *")
    clients = {"sendgrid", "slack_sdk", "apprise", "rich", "click", "sqlite3", "psutil", "isal", "requests"}
    assert not {each for each in loaded if each.split(".")[0] in clients}


def test_an_empty_run_without_a_journal_loads_nothing_more() -> None:
    """A run that reports nothing and keeps nothing needs no more than the import did."""
    statement = "import supervisor\nwith supervisor.supervise('night', journal=False): pass"
    more = loaded_by(statement) - loaded_by("import supervisor")
    assert not {each for each in more if each.startswith("supervisor") or each.split(".")[0] in HEAVY}


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """Return the commands of a group and of the groups in it, by what a user types."""
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= commands(command, (*path, name))
        found[" ".join((*path, name))] = command
    return found


@pytest.mark.parametrize("name", commands())
def test_each_command_has_help(name: str) -> None:
    """``supervisor NAME --help`` explains the command, and each of its options and arguments."""
    from click.testing import CliRunner

    shown = CliRunner().invoke(main, [*name.split(), "--help"])
    assert shown.exit_code == 0
    command = commands()[name]
    assert (command.help or "").strip()
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"


@pytest.mark.parametrize("name", commands())
def test_each_command_stands_in_the_reference(name: str) -> None:
    """api.md names each command."""
    reference = Path(__file__).parent.parent / "api.md"
    if not reference.exists():
        pytest.skip("api.md is not there yet")
    assert f"supervisor {name}" in reference.read_text("utf-8")


def test_the_program_tells_its_version() -> None:
    """``python -m supervisor --version`` and ``supervisor --version`` say the same."""
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"supervisor, version {supervisor.__version__}"


def test_a_command_that_there_is_not_is_refused() -> None:
    """A wrong command ends with 2 and says which it was."""
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "fiasco"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "fiasco" in done.stderr
