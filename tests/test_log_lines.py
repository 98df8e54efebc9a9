"""Supervisor's own log lines as Google Cloud reads them."""

from __future__ import annotations

import json

import pytest
from journal_kit import python

from supervisor import supervise
from supervisor.errors import ConfigurationError

SCRIPT = """
from supervisor import DeliveryError, supervise
class Refusing:
    name = "chat"
    def send_message(self, details):
        raise DeliveryError("no such channel", permanent=True)
with supervise("nightly", handlers=[Refusing()], delivery_deadline_s=20{more}) as run:
    run.notify("Parcels \\u00e4", "7 rows")
    run.flush()
print(run.id)
"""


def lines_of(before: str = "", more: str = "") -> tuple[str, list[str]]:
    """Return the id of a run whose message was refused, and what its process wrote on stderr."""
    process = python(f"import os\n{before}\n{SCRIPT.format(more=more)}")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output.strip(), errors.splitlines()


@pytest.mark.parametrize(
    ("before", "more"),
    [
        ("os.environ['CLOUD_RUN_JOB'] = 'wmrc'; os.environ['GCE_METADATA_HOST'] = '127.0.0.1:9'", ""),
        ("os.environ['SUPERVISOR_LOG_FORMAT'] = 'gcp'", ""),
        ("", ", log_format='gcp'"),
    ],
)
def test_a_warning_is_one_object(before: str, more: str) -> None:
    """By itself in Cloud Run, by the variable, and by the setting."""
    run_id, lines = lines_of(before, more)
    documents = [json.loads(line) for line in lines]
    (refused,) = [each for each in documents if "no such channel" in each["message"]]
    assert refused["severity"] in ("WARNING", "ERROR")
    assert refused["logger"] == "supervisor"
    assert all(each["time"].endswith("+00:00") for each in documents)
    labels = [each["logging.googleapis.com/labels"] for each in documents if "logging.googleapis.com/labels" in each]
    assert {"run_id": run_id, "run": "nightly"} in labels or not labels


@pytest.mark.parametrize(
    "before",
    [
        "",
        "os.environ['CLOUD_RUN_JOB'] = 'wmrc'; os.environ['SUPERVISOR_LOG_FORMAT'] = 'text'",
        "os.environ['SUPERVISOR_LOG_FORMAT'] = 'gcp'; import logging; logging.basicConfig(format='mine %(message)s')",
    ],
)
def test_elsewhere_lines_are_as_ever(before: str) -> None:
    """On an ordinary machine, where text is asked for, and where the script has set up logging."""
    _, lines = lines_of(before)
    assert any("no such channel" in line for line in lines)
    assert not any(line.startswith("{") for line in lines)


def test_another_format_is_refused() -> None:
    """Before the run starts."""
    with pytest.raises(ConfigurationError, match="log_format must be one of 'text', 'gcp'"):
        supervise("nightly", log_format="json")  # type: ignore[arg-type]  # that is the point
