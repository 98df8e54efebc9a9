"""``run.table()``: rows and data frames become a table in messages, and CSV when they are many."""

from __future__ import annotations

import csv
import io
from collections import namedtuple
from typing import TYPE_CHECKING, Any

import pytest
from recorders import Recorder

from supervisor import supervise
from supervisor._messages.rendering import markdown_pieces
from supervisor._messages.sections import parts_of
from supervisor._store.serialization import dump, load
from supervisor.message_handlers._slack.blocks import plain_posts, posts
from supervisor.plugins import Table, as_html

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.models import MessageDetails

County = namedtuple("County", "county rows")  # noqa: PYI024 - an untyped one is what scripts have


class Frame:
    """Has what data frames of pandas and polars have."""

    columns = ("county", "rows")

    def iter_rows(self) -> Any:
        """Yield the rows."""
        return iter([("Weber", 1200), ("Cache", float("nan"))])


def message_of(*tables: tuple[Any, ...], journal: bool = False, **options: Any) -> MessageDetails:
    """Return the message about a run that shows tables."""
    recorder = Recorder()
    with supervise("parcels", handlers=recorder, report_on="success", journal=journal) as run:
        for title, rows in tables:
            run.table(title, rows, **options)
    return recorder.only


def table_of(rows: Any, **options: Any) -> Table:
    """Return the table that rows make."""
    report = message_of(("By county", rows), **options).report
    assert report is not None
    (table,) = report.tables
    return table


ROWS = (("Weber", "1,200"), ("Cache", ""))


@pytest.mark.parametrize(
    "rows",
    [
        [{"county": "Weber", "rows": 1200}, {"county": "Cache"}],
        ({"county": each, "rows": count} for each, count in (("Weber", 1200), ("Cache", None))),
        [{"county": "Weber"} | {"rows": 1200}, {"rows": None, "county": "Cache"}],
        [County("Weber", 1200), County("Cache", None)],
        Frame(),
    ],
    ids=["dicts", "generator", "other order", "named tuples", "frame"],
)
def test_rows_of_every_sort(rows: Any) -> None:
    """Columns have their names, what is missing is empty, and numbers stand on the right."""
    table = table_of(rows)
    assert (table.columns, table.rows) == (("county", "rows"), ROWS)
    assert table.numeric == (False, True)


def test_columns_are_chosen_or_named() -> None:
    """Of dicts and frames they are chosen, of tuples they are named, also where rows are too short or too long."""
    assert table_of(Frame(), columns=["rows"]).rows == (("1,200",), ("",))
    assert table_of([{"a": 1, "b": 2}], columns=["b", "c"]).rows == (("2", ""),)
    table = table_of([("Weber", 1), ("Cache",), ("Rich", 3, 4)], columns=["county", "rows"])
    assert table.rows == (("Weber", "1"), ("Cache", ""), ("Rich", "3"))
    assert table_of([1, 2]).columns == ("1",)
    assert table_of({"Weber": 1}).rows == (("Weber", "1"),)


def test_it_is_aligned_text_html_and_a_table_in_slack() -> None:
    """Each channel shows it as well as it can; of several, Slack takes one."""
    message = message_of(("By county", [County("Weber <b>", 1200), County("Cache", 85)]), ("Totals", [(1, 2)]))
    text = "By county\n  county      rows\n  ---------  -----\n  Weber <b>  1,200\n  Cache         85\n"
    assert text in message.message
    page = as_html(message)
    assert ">county</th>" in page
    assert ">Weber &lt;b&gt;</td>" in page
    (post,) = posts(message)
    (block,) = (each for each in post.blocks if each["type"] == "table")
    assert block["rows"][1] == [{"type": "raw_text", "text": "Weber <b>"}, {"type": "raw_text", "text": "1,200"}]
    assert block["column_settings"][1]["align"] == "right"
    assert "Totals" in str(post.blocks)
    assert "Weber &lt;b&gt; | 1,200" in plain_posts(message)[0].text
    (markdown,) = markdown_pieces(parts_of(message), 20_000, 1)
    assert "```\ncounty      rows\n" in markdown


def test_a_long_table_is_attached_as_csv(tmp_path: Path, state: Path) -> None:
    """The first 20 rows are shown; the file has all, and no cell that a spreadsheet would take for a formula."""
    values = ["=1+1", "+49 30", "-5", "@x", 'a "b", c\nd', None, 1234.5, -7]
    rows = [{"number": index, "value": values[index % 8]} for index in range(31)]
    message = message_of(("By county / all", rows), journal=True)
    assert message.report is not None
    assert len(message.report.tables[0].rows) == 20
    assert "The first 20 of 31 rows. All are in By county _ all.csv." in message.message
    (attachment,) = message.attachments
    assert attachment.name == "By county _ all.csv"
    (path,) = state.glob("logs/*/*table1.log")
    read = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    assert len(read) == 32
    assert [row[1] for row in read[1:9]] == ["'=1+1", "'+49 30", "-5", "'@x", 'a "b", c\nd', "", "1234.5", "-7"]


def test_secrets_are_taken_out() -> None:
    """By the names of columns and by the look of values, in what is shown and in what is attached."""
    rows = [{"password": "hunter2hunter2", "url": "postgres://me:hunter3hunter3@db/x"}] * 21
    recorder = Recorder()
    with supervise("parcels", handlers=recorder, report_on="success", journal=False) as run:
        run.table("Logins of postgres://me:hunter4hunter4@db/x", rows)
        with run.attachments[0].path.open(encoding="utf-8") as file:
            assert "hunter2" not in file.read()
    assert "hunter" not in recorder.only.message
    assert "hunter" not in str(recorder.only.report)


def test_it_is_bounded() -> None:
    """Cells, columns and tables are."""
    table = table_of([{f"column {index}": "x" * 1_000 for index in range(30)}])
    assert (len(table.columns), len(table.rows[0]), len(table.rows[0][0])) == (20, 20, 200)
    assert table.note == "10 columns left out."
    message = message_of(*((f"Table {index}", [(1,)]) for index in range(12)))
    assert message.report is not None
    assert len(message.report.tables) == 10
    assert "of the tables that it shows, 10 are kept" in message.message


class Rude:
    """Raises whatever is asked of it."""

    def __str__(self) -> str:
        raise RuntimeError("rude")

    def __iter__(self) -> Any:
        raise RuntimeError("rude")


@pytest.mark.parametrize("rows", [5, "text", None, Rude(), object()], ids=["number", "text", "none", "rude", "object"])
def test_what_is_no_table_never_raises(rows: Any) -> None:
    """It is logged, and the message says it."""
    message = message_of(("By county", rows))
    assert "Supervision went on without a step" in " ".join(message.message.split())  # it may be broken into lines


def test_rude_cells_and_no_rows() -> None:
    """A cell that cannot be shown says so; a table without rows too."""
    assert "str() raised RuntimeError" in table_of([(Rude(),)]).rows[0][0]
    assert table_of([]).note == "No rows."
    message = message_of(("By county", []))
    assert "By county\n  No rows." in message.message
    assert "No rows." in str(posts(message)[0].blocks)
    assert "No rows." in as_html(message)


def test_a_table_is_stored_with_its_message() -> None:
    """What waits in the outbox has it."""
    message = message_of(("By county", [County("Weber", 1200)]))
    assert load(dump(message)).report == message.report


def test_a_failure_shows_tables_too() -> None:
    """They say what was done until then."""
    recorder = Recorder()
    with supervise("parcels", handlers=recorder, journal=False, reraise=False) as run:
        run.table("By county", [County("Weber", 1200)])
        raise KeyError("apn")
    assert "  Weber   1,200\n" in recorder.only.message
