"""Messages and values go to disk and come back as they were."""

from __future__ import annotations

import math
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor._models import Kind, Outcome
from supervisor._models.parts import Baseline, Summary
from supervisor._store.essentials import storable
from supervisor._store.serialization import MAX_DEPTH, UnreadableError, dump, load, load_message
from supervisor._store.sqlite.run_queries import dump_texts, load_texts
from supervisor.models import Attachment, ErrorDetails, MessageDetails, Progress, RunReport

# Every code point, lone surrogates and NUL included.
texts = st.text(st.characters(exclude_categories=()), max_size=30)
paths = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20).map(Path)
numbers = st.integers() | st.floats(allow_nan=False)
instants = st.datetimes(timezones=st.just(UTC))
scalars = (
    st.none()
    | st.booleans()
    | numbers
    | texts
    | instants
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.binary(max_size=20)
    | st.decimals(allow_nan=False)
    | paths
    | st.sampled_from(Outcome)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(texts | st.just("$"), inner, max_size=3)
        | st.dictionaries(st.integers() | st.dates(), inner, max_size=2)
        | st.sets(st.integers() | texts, max_size=3)
        | st.frozensets(texts, max_size=3)
    ),
    max_leaves=8,
)
attachments = st.builds(Attachment, paths, name=texts, size_bytes=st.none() | st.integers(0), note=texts)
progresses = st.builds(Progress, done=numbers, total=st.none() | numbers, message=texts)
errors = st.builds(ErrorDetails, type=texts, message=texts, where=texts, traceback=texts, fingerprint=texts)
reports = st.builds(
    RunReport,
    id=texts,
    name=texts,
    outcome=st.none() | st.sampled_from(Outcome),
    started_at=instants,
    ended_at=st.none() | instants,
    duration_s=st.floats(0, allow_infinity=False),
    values=st.dictionaries(texts, values, max_size=3),
    progress=st.none() | progresses,
    error=st.none() | errors,
    exit_code=st.none() | st.integers(),
    parent_id=st.none() | texts,
    argv=st.lists(texts, max_size=3).map(tuple),
    log_path=st.none() | paths,
)
messages = st.builds(
    MessageDetails,
    texts,
    texts,
    st.lists(attachments, max_size=2).map(tuple),
    kind=st.sampled_from(Kind),
    html=st.none() | texts,
    blocks=st.none() | st.just([{"type": "divider"}]),
    report=st.none() | reports,
    id=texts,
    created_at=instants,
)


@given(messages)
def test_a_message_comes_back_equal(message: MessageDetails) -> None:
    """Whatever a message holds, hostile text included, it is equal after storing."""
    assert load_message(dump(message)) == message


@given(values)
def test_values_come_back_equal_and_of_the_same_types(value: Any) -> None:
    """What a script may record is the same value of the same type after storing."""
    back = load(dump(value))
    assert back == value
    assert type(back) is type(value)


@given(texts)
def test_a_text_for_a_column_is_what_sqlite_can_hold(value: str) -> None:
    """A text for a column has no lone surrogates, and is unchanged when it had none."""
    held = storable(value)
    held.encode("utf-8")
    assert held == value or any("\ud800" <= c <= "\udfff" for c in value)


@given(st.lists(texts))
def test_a_command_line_comes_back_equal(arguments: list[str]) -> None:
    """The arguments of a command come back as they were, undecodable bytes included."""
    assert load_texts(dump_texts(arguments)) == tuple(arguments)


def test_numbers_that_json_lacks_come_back() -> None:
    """NaN, infinities and integers of any length come back."""
    assert math.isnan(load(dump(math.nan)))
    assert load(dump([math.inf, -math.inf])) == [math.inf, -math.inf]
    assert load(dump(-(10**6_000))) == -(10**6_000)


def test_subclasses_become_what_they_are_made_of() -> None:
    """A subclass of a known type is stored as that type."""

    class Colour(Enum):
        RED = "red"

    class Name(str):
        __slots__ = ()

    class Count(int):
        pass

    class Share(float):
        pass

    stored = [Colour.RED, Name("n"), Count(3), Share(0.5), OrderedDict(a=1), MappingProxyType({"b": 2})]
    assert load(dump(stored)) == ["red", "n", 3, 0.5, {"a": 1}, {"b": 2}]
    assert load(dump(Kind.FAILURE)) == "failure"
    assert load(dump(PurePosixPath("/srv/a"))) == Path("/srv/a")
    assert load(dump(bytearray(b"x"))) == b"x"


def test_a_library_s_numbers_become_python_s_own() -> None:
    """A number that only claims to be one (numpy's, or a fraction) is stored as a plain number."""
    assert load(dump(Fraction(1, 2))) == 0.5
    assert load(dump(Decimal("1.10"))) == Decimal("1.10")


def test_what_has_no_form_is_kept_as_bounded_text() -> None:
    """Any other object is kept as its repr, even when that raises or is endless."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    class Huge:
        def __repr__(self) -> str:
            return "x" * 1_000_000

    assert "Broken" in load(dump(Broken()))
    assert 100 < len(load(dump(Huge()))) <= 2_000
    assert load(dump({"a": print})) == {"a": repr(print)}


def test_what_contains_itself_comes_to_an_end() -> None:
    """Circular and very deep values are cut at some depth instead of failing."""
    circular: list[Any] = []
    circular.append(circular)
    deep: Any = 1
    for _ in range(MAX_DEPTH * 4):
        deep = (deep,)
    for value in (circular, deep):
        assert load(dump(value)) != value


class NotATime(datetime):
    """What pandas' NaT does: it calls itself a datetime and writes something else."""

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:  # noqa: D102 - as datetime says
        return "NaT"


def test_a_time_that_is_none_does_not_spoil_its_message() -> None:
    """A datetime that cannot be read again comes back as what it wrote."""
    report = RunReport(id="r", name="n", started_at=datetime.now(UTC), values={"last": NotATime(2025, 1, 1)})
    back = load_message(dump(MessageDetails("s", report=report)))
    assert back.report is not None
    assert back.report.values["last"] == "NaT"


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"\xff\xfe",
        b"[1, 2",
        b'"just a text"',
        b'{"$": "Unheard", "v": 1}',
        b'{"$": "MessageDetails", "v": {"kind": "unheard", "subject": "s"}}',
        b'{"$": "MessageDetails", "v": {}}',
        b'{"$": "MessageDetails", "v": [1]}',
        b'{"$": "Decimal", "v": "x"}',
        b'{"v": 1, "$": ["list"]}',
    ],
)
def test_data_of_another_make_is_unreadable(data: bytes | None) -> None:
    """What is no message of this version raises one kind of error."""
    with pytest.raises(UnreadableError):
        load_message(data)


def test_fields_may_come_and_go() -> None:
    """A field that this version does not know is left out, and one that was not stored takes its default."""
    data = b'{"$":"MessageDetails","v":{"subject":"s","colour":"red","created_at":{"$":"date","v":"2025-01-01"}}}'
    message = load_message(data)
    assert (message.subject, message.message, message.kind) == ("s", "", Kind.NOTICE)


def test_times_of_day_keep_their_offset() -> None:
    """Dates, times and durations come back exactly."""
    moment = datetime(2025, 3, 30, 2, 30, tzinfo=UTC)
    stored = [moment, date(2025, 1, 1), time(23, 59, 59, 1), timedelta(days=-1, microseconds=1)]
    assert load(dump(stored)) == stored


def test_messages_with_former_names_can_be_read() -> None:
    """What was stored as an ``Account`` with its ``usual`` numbers is the summary of today."""
    former = (
        b'{"$":"Account","v":{"note":"n","compared":"c","usual":{"rows":{"$":"Usual","v":'
        b'{"median":5.0,"low":1.0,"high":9.0,"count":20}}},"usual_duration":null}}'
    )
    known = Baseline(5.0, 1.0, 9.0, 20)
    assert load(former) == Summary(note="n", comparison="c", baselines={"rows": known})
