"""The frozen values: what they take, what they refuse, and that nobody can change them."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

import supervisor
from supervisor.models import (
    Attachment,
    Delivery,
    ErrorDetails,
    Kind,
    MessageDetails,
    MessageHandler,
    Outcome,
    Progress,
    RunReport,
    Supervisor,
)

VALUES = [
    Attachment("one.log"),
    Progress(done=1),
    ErrorDetails(type="KeyError"),
    RunReport(id="1", name="a", started_at=datetime.now(UTC)),
    MessageDetails("subject", "message"),
    Delivery(message=MessageDetails("subject"), handler="console", key=1),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_no_field_can_be_set(value: attrs.AttrsInstance) -> None:
    """Nothing that a handler gets can be changed by it."""
    for field in attrs.fields(type(value)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, field.name, None)


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ("one.log", ["one.log"]),
        (Path("one.log"), ["one.log"]),
        (["one.log", Path("two.log")], ["one.log", "two.log"]),
        (("one.log", None, "", "two.log"), ["one.log", "two.log"]),
        (iter(["one.log"]), ["one.log"]),
        (None, []),
        ("", []),
        ([], []),
        (Attachment("one.log", name="shown"), ["one.log"]),
    ],
)
def test_attachments_take_one_path_or_many(given: Any, paths: list[str]) -> None:
    """One path or many are welcome, and None and "" count as nothing, as in 3.x."""
    details = MessageDetails("subject", "message", attachments=given)
    assert [each.path for each in details.attachments] == [Path(each) for each in paths]
    assert all(isinstance(each, Attachment) for each in details.attachments)


@pytest.mark.parametrize("given", [5, 2.5, object(), ["one.log", 5], [b"one.log"], {"path": "x", "y": 1}.values()])
def test_what_is_no_path_is_refused_by_its_value(given: Any) -> None:
    """An attachment that is no path is refused with a text that shows it and says what is taken."""
    with pytest.raises(TypeError) as caught:
        MessageDetails("subject", "message", attachments=given)
    assert "attachments takes a path or several" in str(caught.value)
    wrong = given if not isinstance(given, list) else given[-1]
    assert repr(wrong) in str(caught.value) or "1" in str(caught.value)


def test_an_attachment_is_called_what_its_file_is_called() -> None:
    """Without a name of its own an attachment has the last part of its path."""
    assert Attachment("/var/log/parcels.log").name == "parcels.log"
    assert Attachment("/").name == "/"
    assert Attachment("/var/log/parcels.log", name="log").name == "log"


def test_blocks_are_fresh_copies() -> None:
    """Neither the sender's list nor what one handler does to it changes what the next handler reads."""
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "one"}}]
    details = MessageDetails("subject", blocks=blocks)
    blocks[0]["text"] = {"type": "mrkdwn", "text": "changed"}
    first = details.blocks
    assert first is not None
    first[0]["type"] = "changed"
    assert details.blocks == [{"type": "section", "text": {"type": "mrkdwn", "text": "one"}}]


def test_blocks_may_be_objects_that_make_dicts() -> None:
    """slack_sdk's objects, which have ``to_dict()``, are taken as they are."""

    class Divider:
        def to_dict(self) -> dict[str, str]:
            return {"type": "divider"}

    assert MessageDetails("subject", blocks=[Divider()]).blocks == [{"type": "divider"}]
    assert MessageDetails("subject").blocks is None


def test_each_message_has_an_id_and_a_time_of_its_own() -> None:
    """A message keeps its id through every copy, and no two messages share one; its time is aware."""
    one, two = MessageDetails("subject"), MessageDetails("subject")
    assert one.id != two.id
    assert attrs.evolve(one, subject="other").id == one.id
    assert one.created_at.tzinfo is UTC


def test_a_kind_is_one_of_the_known() -> None:
    """A kind may come as text, and an unknown one is refused by its value."""
    assert MessageDetails("subject", kind="failure").kind is Kind.FAILURE
    assert MessageDetails("subject").kind is Kind.NOTICE
    with pytest.raises(ValueError, match="'fiasco'"):
        MessageDetails("subject", kind="fiasco")


def test_recorded_values_are_the_reports_own() -> None:
    """What a report holds changes neither with the script's dict nor through the report."""
    values = {"rows": 1}
    report = RunReport(id="1", name="a", started_at=datetime.now(UTC), values=values)
    values["rows"] = 2
    assert report.values == {"rows": 1}
    with pytest.raises(TypeError):
        report.values["rows"] = 3  # type: ignore[index]  # on purpose
    hash(report)


@pytest.mark.parametrize(
    ("done", "total", "percentage"),
    [
        (0, 10, 0.0),
        (3, 10, 30.0),
        (10, 10, 100.0),
        (20, 10, 100.0),
        (-5, 10, 0.0),
        (3, None, None),
        (3, 0, None),
        (0, 0, None),
        (3, -10, None),
        (3, math.nan, None),
        (3, math.inf, 0.0),
        (0.5, 2.0, 25.0),
    ],
)
def test_percentage_stays_between_0_and_100_or_unknown(
    done: float, total: float | None, percentage: float | None
) -> None:
    """A percentage is never below 0 or above 100, and unknown when the total says nothing."""
    assert Progress(done=done, total=total).percentage == percentage


@pytest.mark.parametrize(
    ("done", "total", "rate", "eta"),
    [
        (4, 10, 2.0, 3.0),
        (10, 10, 2.0, 0.0),
        (4, None, 2.0, None),
        (4, 10, None, None),
        (4, 10, 0.0, None),
        (20, 10, 2.0, None),
        (0, 0, 2.0, 0.0),
        (3, -10, 2.0, None),
    ],
)
def test_eta_is_what_is_left_at_the_rate_so_far(
    done: float, total: float | None, rate: float | None, eta: float | None
) -> None:
    """The time left is known only with a total, a rate and something left to do; it is never negative."""
    assert Progress(done=done, total=total, rate_per_s=rate).eta_s == eta


@pytest.mark.parametrize("total", [math.nan, math.inf, -math.inf])
def test_eta_of_an_odd_total_does_not_raise(total: float) -> None:
    """A total that is no number of things never raises."""
    eta_s = Progress(done=3, total=total, rate_per_s=1.0).eta_s
    assert eta_s is None or eta_s != eta_s or eta_s > 0  # noqa: PLR0124 - may be a NaN


def test_the_words_are_texts() -> None:
    """Kinds and outcomes compare with plain texts and print as them."""
    assert [str(each) for each in Kind][:4] == ["start", "progress", "notice", "success"]
    assert [Outcome.TERMINATED] == ["terminated"]
    assert f"{Outcome.CANCELLED}" == "cancelled"


def test_the_import_paths_of_3_stay_valid() -> None:
    """``from supervisor.models import MessageDetails, Supervisor`` gives the real ones."""
    assert Supervisor is supervisor.Supervisor
    assert MessageDetails is supervisor.MessageDetails
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        supervisor.models.Nothing  # noqa: B018 - on purpose


def test_anything_that_sends_is_a_handler() -> None:
    """A class of a user's own with just ``send_message`` is a handler."""

    class Mine:
        def send_message(self, details: MessageDetails, /) -> None: ...

    assert isinstance(Mine(), MessageHandler)
    assert not isinstance(object(), MessageHandler)


def test_an_error_reads_as_type_and_text() -> None:
    """An error's text is its type and message, without a trailing blank when it has none."""
    assert str(ErrorDetails(type="KeyError", message="'apn'")) == "KeyError 'apn'"
    assert str(ErrorDetails(type="KeyError")) == "KeyError"


def test_a_message_of_parts_has_a_text_wherever_it_is_read() -> None:
    """The models alone know the text of their parts: in a fresh interpreter, and of a copy from another process."""
    code = (
        "import pickle; from supervisor.models import MessageDetails; from supervisor.plugins import Text; "
        "details = MessageDetails('night', parts=[Text('12 parcels')]); "
        "print(details.message, pickle.loads(pickle.dumps(details)).message, sep=', ')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "12 parcels, 12 parcels\n"
