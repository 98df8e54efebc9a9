"""What a store promises stands in the contract, and each store has all of it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from supervisor._store import Journal, MemoryOutbox, contract
from supervisor._store.records import RunRecord
from supervisor._store.sqlite.run_queries import RUN_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

STORED = {"progress": "stored_progress", "argv": "stored_argv", '"values"': "stored_values", "error": "stored_error"}
STORED |= {"settings": "stored_settings", "memory": "stored_memory", "links": "stored_links"}
STORED |= {"warnings": "stored_warnings", "steps": "stored_steps"}
STORED |= {"retried": "stored_retried"}


def test_stores_are_what_the_contract_says(state: Path) -> None:
    """Mypy checks these lines; that they run shows that nothing is abstract."""
    store: contract.Store = Journal(state)
    outbox: contract.Outbox = MemoryOutbox()
    for each in (store, outbox):
        each.close()


@pytest.mark.parametrize(("kind", "promised"), [(Journal, contract.Store), (MemoryOutbox, contract.Outbox)])
def test_methods_take_what_the_contract_says(kind: type, promised: type) -> None:
    """Each method has the parameters of the contract, by name and in order."""
    methods = [name for name in dir(promised) if not name.startswith("_") and callable(getattr(promised, name))]
    assert len(methods) >= 12
    for name in methods:
        expected = inspect.signature(getattr(promised, name)).parameters
        assert list(inspect.signature(getattr(kind, name)).parameters) == list(expected), name


def test_columns_are_selected_in_the_order_of_a_record() -> None:
    """One list of columns gives all fields of a record but the last two, which are not stored."""
    columns = [each.strip().removeprefix("run.") for each in RUN_COLUMNS.split(",")]
    fields = [STORED.get(each, f"{each}_s" if each.endswith("_at") else each) for each in columns]
    assert (*fields, "is_gone", "is_lost", "is_copied") == RunRecord._fields
