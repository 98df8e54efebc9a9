"""How a run shows its end in a GitHub Actions workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journal_kit import output_of, python

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
import os, sys
os.environ.update(
    GITHUB_ACTIONS="true", GITHUB_REPOSITORY="org/repo", GITHUB_RUN_ID="9001", GITHUB_RUN_NUMBER="42",
    GITHUB_STEP_SUMMARY=sys.argv[1],
)
from supervisor import supervise
with supervise("nightly", reraise=False) as run:
    with supervise("inner"):
        pass
    if sys.argv[2:]:
        raise ValueError("100% of rows:\\nnone")
"""


def test_a_workflow_shows_a_failure_as_an_annotation(tmp_path: Path) -> None:
    """One line on stderr, and the summary of the step; nothing on stdout, which the script may use."""
    process = python(WORKFLOW, tmp_path / "summary.md", "fail")
    output, errors = process.communicate(timeout=60)
    assert output == ""
    (line,) = [line for line in errors.splitlines() if line.startswith("::error")]
    assert line.startswith(
        "::error title=nightly failed on GitHub Actions%2C run 42 of org/repo%3A ValueError 100%25 of rows"
    )
    assert "%0Anone" in line
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("## nightly failed on GitHub Actions, run 42 of org/repo: ValueError")
    assert "https://github.com/org/repo/actions/runs/9001" in summary.replace("\\", "")
    assert "inner" not in summary


def test_a_workflow_shows_the_summary_of_a_success(tmp_path: Path) -> None:
    """Without an annotation."""
    process = python(WORKFLOW, tmp_path / "summary.md")
    assert output_of(process) == ""
    assert (
        (tmp_path / "summary.md").read_text().startswith("## nightly succeeded on GitHub Actions, run 42 of org/repo")
    )
