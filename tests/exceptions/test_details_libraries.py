"""Tracebacks of well-known libraries, where these are installed: what counts is there, the rest is folded."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from supervisor._exceptions import error_details, plain_value
from supervisor._redaction import Redactor

APPLY = """
    import pandas

    def load(rows):
        table = pandas.DataFrame(rows)
        return table.groupby("county")[["acres"]].apply(mean_acres)

    def mean_acres(group):
        return group["acres"].map(to_number).mean()

    def to_number(text):
        return float(text)

    def main():
        load([{"county": "Cache", "acres": "12.5"}, {"county": "Weber", "acres": "unknown"}])
"""
QUERY = """
    import sqlalchemy
    from sqlalchemy import text

    def owners(connection, county):
        return connection.execute(text("select owner from parcels where county = :county"), {"county": county}).all()

    def main():
        password = "hunter2abc"
        engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.NullPool)  # it leaves none open
        with engine.connect() as connection:
            owners(connection, "Cache")
"""


def functions(trace: str) -> list[str]:
    """Return the functions that a traceback shows."""
    return [line.split()[-1] for line in trace.split("\n") if line.startswith('  File "')]


@pytest.mark.filterwarnings("ignore")
def test_a_script_s_function_within_pandas(script: Any, failing: Any) -> None:
    """The way from the script through pandas back into the script is there, with pandas in a line each."""
    pytest.importorskip("pandas")
    error = failing(script(APPLY)["main"])
    found = error_details(error, redactor=Redactor(), show_locals=True)
    assert found.where == "parcels.py:12 in to_number"
    assert (found.source, found.message) == ("return float(text)", "could not convert string to float: 'unknown'")
    assert found.local_variables == (("text", "'unknown'"),)
    assert "      group = <pandas.DataFrame, 1 x 1>\n" in found.traceback.replace("pandas.core.frame.", "pandas.")
    shown = functions(found.traceback)
    assert [each for each in shown if each in ("main", "load", "mean_acres", "to_number")] == [
        "main", "load", "mean_acres", "to_number",
    ]  # fmt: skip
    assert "frames in pandas" in found.traceback
    assert len(shown) <= 7


def test_a_column_that_is_missing(script: Any, failing: Any) -> None:
    """Frames of extension modules, whose files are not there, are the library's."""
    pytest.importorskip("pandas")
    source = "import pandas\ndef main(): return pandas.DataFrame({'acres': [1]})['apn']"
    found = error_details(failing(script(source)["main"]))
    assert (str(found), found.where) == ("KeyError 'apn'", "parcels.py:2 in main")
    assert found.traceback.count("\n") < len(traceback.format_exc().split("\n")) + 20


def test_a_query_that_fails(script: Any, failing: Any) -> None:
    """A chain of sqlite3's and SQLAlchemy's exceptions, each with its way."""
    pytest.importorskip("sqlalchemy")
    error = failing(script(QUERY)["main"])
    whole = "".join(traceback.format_exception(error))
    found = error_details(error, redactor=Redactor(), show_locals=True)
    assert found.type == "sqlalchemy.exc.OperationalError"
    assert found.where == "parcels.py:6 in owners"
    assert "(sqlite3.OperationalError) no such table: parcels" in found.message
    assert "frames in sqlalchemy (site-packages)\n" in found.traceback
    assert "The above exception was the direct cause of the following exception:" in found.traceback
    assert "hunter2abc" not in repr(found)
    assert len(error_details(error).traceback) < 0.6 * len(whole)


class Table:
    """What tables of libraries have in common: a shape, and a text that nobody wants in a message."""

    def __init__(self, shape: object) -> None:
        self.shape = shape

    def __str__(self) -> str:
        return "apn owner\n..."


Table.__module__ = "polars.dataframe.frame"


@pytest.mark.parametrize(
    ("shape", "text"),
    [((12_000, 8), "12,000 x 8"), ((0, 3), "0 x 3"), ((12_000,), "12,000"), ((None, 3), "apn owner\n...")],
)
def test_of_a_recorded_table_its_shape_is_kept(shape: object, text: str) -> None:
    """Its text would be cut somewhere, and takes long."""
    assert plain_value(Table(shape)) == text


def test_of_a_recorded_frame_of_pandas_its_shape_is_kept() -> None:
    """A single number in one is a number."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"apn": range(12_000), "acres": 1.5})
    assert plain_value(frame) == "12,000 x 2"
    assert plain_value(frame["apn"].sum()) == 71_994_000
    assert plain_value(frame["apn"]) == "12,000"


def test_an_object_of_the_script_that_has_a_shape_keeps_its_text() -> None:
    """A shape of the script's own may be a polygon."""
    polygon = type("Polygon", (), {"shape": (3, 4), "__str__": lambda _: "a polygon"})
    assert plain_value(polygon()) == "a polygon"
