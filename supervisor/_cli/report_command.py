"""``supervisor report``: write the page with all runs."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from supervisor._cli.completion_command import files, run_names
from supervisor._cli.shared import (
    WRONG_USE,
    exit_codes,
    fail,
    journal,
    journal_errors_shown,
    line,
    print_problem,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from supervisor._cli.report.gather import Gathered
    from supervisor._store.sqlite import JournalReader

_CODES = exit_codes(
    zero="the page was written, even when there are no runs yet",
    one="the journal cannot be read, it has no run of a name, or the page cannot be written",
)


@click.command("report", epilog=_CODES)
@click.option(
    "-o",
    "--output",
    default="runs.html",
    show_default=True,
    shell_complete=files,
    help="Where to write the page; - prints it.",
)
@click.option("--days", type=click.IntRange(min=1), default=400, show_default=True, help="How many days back to go.")
@click.option(
    "--name",
    "names",
    multiple=True,
    shell_complete=run_names,
    help="Only runs of this name; may be given several times.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
def command(output: str, days: int, names: tuple[str, ...], opens: bool) -> None:
    """Write a page with all runs: how they went, how long they took, what they recorded, what failed and why.

    The page is one file that needs no network, and only its owner can read it, since errors and logs may quote data;
    a page that you opened to others stays so when it is written anew.
    """
    if opens and output == "-":
        raise click.UsageError("--open needs a file: give -o a path instead of -")
    from supervisor._cli.report import render

    gathered = gathered_page(days, names)
    page = render(gathered)
    if output == "-":
        _print(page)
        return
    path = _write_page(page, output)
    say(f"{line(str(path))}: {_summary_of(gathered)}")
    if opens:
        _open(path)


def gathered_page(days: int, names: Sequence[str]) -> Gathered:
    """Return what the page shows of the journal as it is now."""
    from supervisor._cli.configured import current_view
    from supervisor._cli.report import gather

    known = journal()
    if known is None:
        return gather(None, days=days)
    try:
        with journal_errors_shown():
            _check(names, known)
            now = datetime.now(UTC)
            view = current_view(known, now)
            return gather(known, days=days, names=names, redact=_redactor(), now_s=now.timestamp(), view=view)
    finally:
        known.close()


def _check(names: Sequence[str], known: JournalReader) -> None:
    """End the command for a name that no run has: it is probably misspelt."""
    from supervisor._store.essentials import storable

    there = known.names() if names else ()
    for name in names:
        if storable(name) not in there:
            from difflib import get_close_matches

            meant = get_close_matches(name, there, n=1, cutoff=0.5)
            hint = f"did you mean {line(repr(meant[0]))}?" if meant else "`supervisor history` shows what ran"
            fail(f"there is no run named {line(repr(name))}; {hint}")


def _redactor() -> Callable[[str], str]:
    """Return the function that redacts logs, with the patterns and the secrets of the whole configuration."""
    from supervisor._config import active
    from supervisor.errors import ConfigurationError

    try:
        return active().redactor().text
    except ConfigurationError as error:
        fail(line(str(error)), WRONG_USE)


def _write_page(page: bytes, output: str) -> Path:
    from supervisor._cli.report import write_page

    try:
        return write_page(page, output)
    except (OSError, ValueError) as error:  # ValueError: the path contains a NUL character
        reason = getattr(error, "strerror", None) or str(error)
        fail(f"the page cannot be written to {line(repr(output))}: {reason}; give -o another path")


def _summary_of(gathered: Gathered) -> str:
    from supervisor._text import counted

    alerts = f", {counted(len(gathered.alerts), 'alert')}" if gathered.alerts else ""
    if not gathered.runs:
        return f"there are no runs to show yet, and the page says so{alerts}"
    return f"{counted(gathered.runs, 'run')} of {counted(len(gathered.scripts), 'script')}{alerts}"


def _open(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.as_uri()):
        print_problem(f"no browser could be started; open {line(str(path))} in one", "warning", "yellow")


def _print(page: bytes) -> None:
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:
        fail("there is no stdout to print the page to; give -o a path")
    with suppress(BrokenPipeError):  # the reader has closed the pipe
        stream.write(page)
        stream.flush()
