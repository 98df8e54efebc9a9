"""The tests are where one looks for them: their folders mirror the package, and a module's tests bear its name."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from scripts import PACKAGE

TESTS = Path(__file__).parent
SPANNING = {"benchmarks", "docs", "kit", "secrecy", "typing"}
"""Folders of tests and of what tests share that concern the package as a whole."""

WINDOWS_ONLY = {"_cli/exec/windows.py"}
"""Modules that only Windows can run; type checkers read them for it."""

SPANNING_TESTS = {
    "message_handlers/test_acceptance.py", "message_handlers/test_bounded_answers.py",
    "message_handlers/test_without_extras.py", "redaction/test_corpus.py",
    "test_core.py", "test_durability.py", "test_layout.py", "test_public_names.py", "test_soak.py", "test_typing.py",
}  # fmt: skip
"""Tests that concern several modules alike."""

COVERED_BY = {
    "_cli/check/check_result.py": "cli/test_check_command.py",
    "_cli/check/finder.py": "cli/check/test_checker.py",
    "_cli/configured_handlers.py": "cli/test_flush_command.py",
    "_cli/exec/child_watch.py": "cli/exec/test_posix.py",
    "_cli/exec/failure_text.py": "cli/exec/test_supervise_command.py",
    "_cli/exec/shared_run.py": "run/test_join.py",
    "_cli/report/calendar.py": "cli/report/test_charts.py",
    "_cli/report/cards.py": "cli/report/test_render.py",
    "_cli/report/run_list.py": "cli/report/test_render_browser.py",
    "_cli/report/script_summary.py": "cli/report/test_gather.py",
    "_cli/run_facts.py": "cli/test_show_command.py",
    "_cli/shared.py": "cli/test_main.py",
    "_store/sqlite/destinations.py": "delivery/test_worker_queue.py",
    "_cli/snapshot.py": "cli/test_status_command.py",
    "_cli/tables.py": "cli/test_main.py",
    "_config/assembly.py": "config/test_layers.py",
    "_delivery/job.py": "delivery/test_worker.py",
    "_delivery/pool.py": "delivery/test_worker.py",
    "_exceptions/chain.py": "exceptions/test_details_traceback.py",
    "_exceptions/facts.py": "exceptions/test_details.py",
    "_exceptions/source.py": "exceptions/test_details.py",
    "_messages/sections.py": "messages/test_builder_parts.py",
    "_messages/subjects.py": "messages/test_builder.py",
    "_messages/text.py": "messages/test_builder_parts.py",
    "_models/alerts.py": "alerts/test_run_alerts.py",
    "_models/parts.py": "messages/test_builder_parts.py",
    "_models/values.py": "test_models.py",
    "_redaction/command_lines.py": "redaction/test_corpus.py",
    "_redaction/key_values.py": "redaction/test_redactor.py",
    "_redaction/neighbors.py": "redaction/test_corpus.py",
    "_redaction/run_redactor.py": "secrecy/test_secrets.py",
    "_redaction/scanner.py": "redaction/test_redactor.py",
    "_redaction/shapes.py": "redaction/test_redactor.py",
    "_redaction/value_syntax.py": "redaction/test_redactor.py",
    "_redaction/vendor_tokens.py": "redaction/test_corpus.py",
    "_redaction/visible_text.py": "redaction/test_corpus.py",
    "_run/composer.py": "run/test_reporter.py",
    "_run/interrupts.py": "run/test_watchdog_runs.py",
    "_run/signatures.py": "run/test_wrapping.py",
    "_run/state.py": "run/test_run_handle.py",
    "_store/memory_attachments.py": "attachments/test_originals.py",
    "_store/records.py": "store/sqlite/test_runs.py",
    "_store/sqlite/alert_log.py": "cli/check/test_checker.py",
    "_store/sqlite/end_notes.py": "run/test_recorder.py",
    "_store/sqlite/journal.py": "store/sqlite/test_database.py",
    "message_handlers/_apprise_requests.py": "message_handlers/test_apprise.py",
    "message_handlers/_email/connect.py": "message_handlers/email/test_handler_faults.py",
    "message_handlers/_email/connection.py": "message_handlers/email/test_handler_faults.py",
    "message_handlers/_email/mailer.py": "message_handlers/email/test_handler.py",
    "message_handlers/_email/protocol.py": "message_handlers/email/test_handler.py",
    "message_handlers/_sendgrid/mail_send.py": "message_handlers/sendgrid/test_handler.py",
    "message_handlers/_slack/block_sections.py": "message_handlers/slack/test_blocks.py",
    "message_handlers/_slack/senders.py": "message_handlers/slack/test_handler.py",
    "message_handlers/_slack/web_api.py": "message_handlers/slack/test_handler.py",
}
"""Modules of 100 lines or more without a test file of their name, and the tests that cover them."""


def modules(least_lines: int = 0) -> list[Path]:
    """Return the modules of so many lines or more, below the package."""
    paths = (each for each in PACKAGE.rglob("*.py") if each.name != "__init__.py")
    found = (each.relative_to(PACKAGE) for each in paths if len(each.read_text("utf-8").splitlines()) >= least_lines)
    return sorted(each for each in found if each.as_posix() not in WINDOWS_ONLY)


def files_that_mirror() -> list[Path]:
    """Return the files of tests that mirror the package, below the folder of the tests."""
    paths = (each.relative_to(TESTS) for each in TESTS.rglob("test_*.py"))
    return sorted(each for each in paths if each.parts[0] not in SPANNING and each.as_posix() not in SPANNING_TESTS)


def prefix_of(module: Path) -> str:
    """Return where the tests of a module are, and how their names begin."""
    folder = [part.removeprefix("_") for part in module.parent.parts]
    return "/".join([*folder, f"test_{module.stem.strip('_')}"])


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
    """A module is found by its file name alone; only the folders of channels each have a ``handler.py``."""
    used = Counter(each.name for each in modules())
    assert {name for name, times in used.items() if times > 1} <= {"handler.py"}


def test_each_exemption_gives_its_reason() -> None:
    """Whoever exempts a line from a rule of the linter says why on that line."""
    bare = re.compile(r"# noqa: [A-Z0-9, ]+$", re.MULTILINE)
    files = [*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py")]
    assert not {each.name: found for each in files if (found := bare.findall(each.read_text("utf-8")))}
