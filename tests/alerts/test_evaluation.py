"""What is wrong at a moment: the check, the status and the page say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from journalled import GONE, Past, document, invoke

from supervisor._cli.checker import Check
from supervisor._config.configuration import Configuration
from supervisor._runtime import default_runtime

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def past(state: Path) -> Past:
    """Return the journal that the commands read."""
    return Past(state)


def test_check_status_and_page_agree(past: Past) -> None:
    """Runs that hang, take too long or died, and a start that was missed, are found by all who look."""
    past.run("hangs", ago_s=7_200, took_s=0, outcome=None, stall_after_s=300)
    past.run("late", ago_s=7_200, took_s=0, outcome=None, max_duration_s=300)
    past.run("killed", ago_s=7_200, took_s=0, outcome=None, by=GONE)
    past.run("skipped", ago_s=7_200, schedule="every 1 h")
    past.run("fine", ago_s=60, schedule="every 1 h", stall_after_s=300)
    past.run("busy", ago_s=60, took_s=0, outcome=None, stall_after_s=300, max_duration_s=300)
    expected = {("died", "killed"), ("missed", "skipped"), ("overdue", "late"), ("stalled", "hangs")}

    status = document("status")
    facts = {"is_gone": "died", "stalled_since": "stalled", "overdue_since": "overdue"}
    shown = {(kind, run["name"]) for run in status["under_way"] for fact, kind in facts.items() if run[fact]}
    assert shown | {("missed", each["name"]) for each in status["missed"]} == expected

    page = invoke("report", "-o", "-").stdout
    assert "4 alerts: 1 stalled, 1 overdue, 1 died, 1 missed" in page
    assert "all is well" not in page

    lines = invoke("history", "--limit", "10").stdout.splitlines()
    words = {line.split()[1]: line.split()[2] for line in lines[1:] if not line.startswith(" ")}
    assert (words["hangs"], words["late"], words["killed"]) == ("stalled", "overdue", "died?")

    checked = Check(past.journal, Configuration(), lambda _: (), runtime=default_runtime()).raise_alerts()
    assert {(str(each.alert.kind), each.alert.name) for each in checked.new} == expected
