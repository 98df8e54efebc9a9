"""The tests are where one looks for them: their folders mirror the package, and a module's tests bear its name."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import pytest
from scripts import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent
SPANNING = {"benchmarks", "docs", "kit", "secrecy", "typing"}
"""Folders of tests and of what tests share that concern the package as a whole."""

SPANNING_TESTS = {
    "message_handlers/test_acceptance.py", "message_handlers/test_bounded_answers.py",
    "message_handlers/test_kinds.py", "message_handlers/test_without_extras.py", "redaction/test_corpus.py",
    "test_core.py", "test_durability.py", "test_layout.py", "test_public_names.py", "test_run_labels.py",
    "test_soak.py", "test_typing.py",
}  # fmt: skip
"""Tests that concern several modules alike."""

COVERED_BY = {
    "_setting_values.py": "test_settings.py",
    "errors.py": "run/test_run_skip.py",
    "_config/configuration.py": "config/test_assembly.py",
    "_cli/configured.py": "cli/test_flush_command.py",
    "_cli/exec/program.py": "cli/exec/test_supervise_command.py",
    "_cli/finder.py": "cli/test_checker.py",
    "_cli/report/cards.py": "cli/report/test_report.py",
    "_cli/report/run_list.py": "cli/report/test_report_browser.py",
    "_cli/report/script_summary.py": "cli/report/test_gather.py",
    "_cli/run_facts.py": "cli/test_history_command_show.py",
    "_store/sqlite/outbox_reader.py": "store/sqlite/test_outbox.py",
    "_delivery/pool.py": "delivery/test_worker.py",
    "_exceptions/__init__.py": "exceptions/test_details.py",
    "_exceptions/facts.py": "exceptions/test_details.py",
    "_fleet/at_end.py": "cli/test_replicate.py",
    "_messages/sections.py": "messages/test_messages_parts.py",
    "_models/parts.py": "messages/test_messages_parts.py",
    "_models/values.py": "test_models.py",
    "_redaction/command_lines.py": "redaction/test_corpus.py",
    "_redaction/key_values.py": "redaction/test_redactor.py",
    "_redaction/neighbors.py": "redaction/test_corpus.py",
    "_redaction/shapes.py": "redaction/test_redactor.py",
    "_redaction/value_syntax.py": "redaction/test_redactor.py",
    "_run/composer.py": "run/test_reporter.py",
    "_run/state.py": "run/test_run_handle.py",
    "_store/records.py": "store/sqlite/test_runs.py",
    "_store/sqlite/alert_log.py": "cli/test_checker.py",
    "_store/sqlite/end_notes.py": "run/test_recorder.py",
    "message_handlers/_email/mailer.py": "message_handlers/email/test_email.py",
    "message_handlers/_email/smtp.py": "message_handlers/email/test_email_faults.py",
    "message_handlers/_slack/senders.py": "message_handlers/slack/test_slack.py",
    "message_handlers/_slack/web_api.py": "message_handlers/slack/test_slack.py",
    "message_handlers/_sockets.py": "message_handlers/email/test_email_faults.py",
}
"""Modules of 100 lines or more without a test file of their name, and the tests that cover them."""


def modules(least_lines: int = 0) -> list[Path]:
    """Return the modules of so many lines or more, below the package; what a package defines itself is one of them."""
    paths = (each for each in PACKAGE.rglob("*.py") if each.parent != PACKAGE or each.name != "__init__.py")
    found = (each.relative_to(PACKAGE) for each in paths if len(each.read_text("utf-8").splitlines()) >= least_lines)
    return sorted(found)


def name_of(module: Path) -> str:
    """Return the name of a module, without underscores before it; a package's own is that of its folder."""
    return (module.parent.name if module.stem == "__init__" else module.stem).strip("_")


def files_that_mirror() -> list[Path]:
    """Return the files of tests that mirror the package, below the folder of the tests."""
    paths = (each.relative_to(TESTS) for each in TESTS.rglob("test_*.py"))
    return sorted(each for each in paths if each.parts[0] not in SPANNING and each.as_posix() not in SPANNING_TESTS)


def prefix_of(module: Path) -> str:
    """Return where the tests of a module are, and how their names begin."""
    folder = [part.removeprefix("_") for part in module.parent.parts]
    return "/".join([*folder, f"test_{name_of(module)}"])


def is_of(test: Path, module: Path) -> bool:
    """Tell whether a test file bears a module's name: all of it, or its beginning."""
    name = test.with_suffix("").as_posix()
    return name == prefix_of(module) or name.startswith(prefix_of(module) + "_")


@pytest.mark.parametrize("module", modules(least_lines=100), ids=str)
def test_each_module_has_its_tests(module: Path) -> None:
    """A module of 100 lines or more has a test file of its name, or one that is listed for it."""
    has_its_own = any(is_of(test, module) for test in files_that_mirror())
    covering = COVERED_BY.get(module.as_posix())
    assert has_its_own or covering, f"no {prefix_of(module)}.py, and nothing in COVERED_BY"
    if covering:
        assert not has_its_own, "needs no entry in COVERED_BY"
        assert (TESTS / covering).is_file(), "the tests that cover it are gone"


@pytest.mark.parametrize("test", files_that_mirror(), ids=str)
def test_each_test_has_its_module(test: Path) -> None:
    """A test file stands where its module does, and bears its name."""
    assert any(is_of(test, module) for module in modules()), "there is no such module"


def test_what_is_covered_is_there() -> None:
    """The list names no module that is gone."""
    assert COVERED_BY.keys() <= {each.as_posix() for each in modules(least_lines=100)}


def test_no_file_name_is_used_twice() -> None:
    """A module is found by its file name alone."""
    used = Counter(each.name for each in modules() if each.name != "__init__.py")
    assert [name for name, times in used.items() if times > 1] == []


def test_each_exemption_gives_its_reason() -> None:
    """Whoever exempts a line from a rule of the linter says why on that line."""
    bare = re.compile(r"# noqa: [A-Z0-9, ]+$", re.MULTILINE)
    files = [*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py")]
    assert not {each.name: found for each in files if (found := bare.findall(each.read_text("utf-8")))}


@pytest.mark.parametrize("test", sorted(TESTS.rglob("test_*.py")), ids=lambda test: test.name)
def test_no_test_waits_a_fixed_time_for_an_event(test: Path) -> None:
    """What a test waits for it asks for; stand-ins that are slow, functions within tests, and scripts may sleep."""
    tree = ast.parse(test.read_text("utf-8"))
    outer = [each for each in tree.body if isinstance(each, ast.FunctionDef)]
    lines = [each.lineno for function in outer for each in _own_nodes(function) if _is_fixed_wait(each)]
    assert not lines, (
        f"{test.name}, lines {lines}: wait for what shall come with waiting.wait_until; where a fixed time is meant, "
        "to see that nothing comes for example, say why with waiting.let_time_pass"
    )


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Yield what a function itself does, less the functions and classes within it."""
    for each in ast.iter_child_nodes(function):
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield each
            yield from _own_nodes(each)


def _is_fixed_wait(node: ast.AST) -> TypeGuard[ast.Call]:
    """Tell a call of ``time.sleep`` from others; one for ``PATIENCE_S`` is to hang until it is interrupted."""
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node).startswith("time.sleep(")
        and "PATIENCE" not in ast.unparse(node)
    )
