"""TeamsHandler against a real local server that answers as a workflow of Teams does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from http_peers import Answer, Channel, HttpPeer, http_peer
from hypothesis import given
from hypothesis import strategies as st

from supervisor._messages import message_for
from supervisor._models import Kind, Outcome
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers._teams import CARD_LIMIT_BYTES, TeamsHandler, message_body
from supervisor.models import Attachment, ErrorDetails, MessageDetails, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/workflows/0123456789abcdef/triggers/manual/paths/invoke?api-version=2016-06-01&sig=s3cretSignature0123456789"
CHANNELS = {
    "teams": Channel(
        make=lambda url, **settings: TeamsHandler(webhook_url=f"{url}{PATH}", **settings),
        accepted=Answer(202),
        host="prod-00.westeurope.logic.azure.com",
        example="TeamsHandler(",
    )
}
# The properties that version 1.5 of the schema has for these: https://adaptivecards.io/schemas/1.5.0/adaptive-card.json
PROPERTIES = {
    "AdaptiveCard": {"$schema", "type", "version", "fallbackText", "body", "actions", "msteams"},
    "Container": {"type", "style", "bleed", "items"},
    "RichTextBlock": {"type", "inlines"},
    "TextRun": {"type", "text", "weight", "size", "isSubtle", "fontType"},
    "TextBlock": {"type", "text", "wrap"},
    "FactSet": {"type", "facts", "separator"},
    "Action.OpenUrl": {"type", "title", "url"},
}


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    """Run a workflow for one test."""
    with http_peer() as it:
        it.answer(202)
        yield it


def report(**changes: Any) -> RunReport:
    """Return the report of a run that failed."""
    began = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
    facts: dict[str, Any] = {
        "id": "r1",
        "name": "nightly parcels",
        "outcome": Outcome.FAILURE,
        "started_at": began,
        "ended_at": began + timedelta(minutes=5),
        "duration_s": 300.0,
        "values": {"parcels": 12, "file_name": "a_b*c*.csv"},
        "error": ErrorDetails(
            type="KeyError", message="'apn'", where="p.py:1 in load", traceback="Traceback\n  File p.py\n    x  = 1\n"
        ),
        "links": {"Log": "https://logs.example.com/r1"},
        "host": "gis-1",
    }
    return RunReport(**facts | changes)


def card_of(details: MessageDetails, **settings: Any) -> dict[str, Any]:
    """Return the one card that a message becomes."""
    document = json.loads(message_body(details, **settings))
    (attachment,) = document["attachments"]
    assert (document["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    content: dict[str, Any] = attachment["content"]
    return content


def elements_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all elements of a card, from the outside inwards."""
    if isinstance(value, dict):
        if "type" in value and "mentioned" not in value:
            yield value
        for each in value.values():
            yield from elements_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from elements_in(each)


def texts_of(content: dict[str, Any]) -> str:
    """Return all that a card says, without its head."""
    said = [each["text"] for each in elements_in(content["body"]) if "text" in each]
    for facts in (each["facts"] for each in elements_in(content["body"]) if each["type"] == "FactSet"):
        said += [f"{each['title']}: {each['value']}" for each in facts]
    return "\n".join(said)


def check(content: dict[str, Any]) -> None:
    """Check that a card has no property that the schema does not know, and no empty text."""
    for each in elements_in(content):
        assert set(each) <= PROPERTIES[each["type"]], each
        assert each.get("text", "x").strip(), each
    assert content["version"] == "1.5"


def test_a_failure_is_one_card(peer: HttpPeer) -> None:
    """A failure arrives as one card, with its facts, its traceback in a monospace font, and its links as buttons."""
    handler = CHANNELS["teams"].make(peer.url)
    handler.send_message(message_for(Kind.FAILURE, report()))
    (request,) = peer.requests
    assert request.path == PATH
    assert request.headers["Content-Type"] == "application/json"
    content = card_of(message_for(Kind.FAILURE, report()))
    assert request.json["attachments"][0]["content"]["body"][0] == content["body"][0]
    check(content)
    head = content["body"][0]
    assert head["style"] == "attention"
    assert "nightly parcels failed" in head["items"][0]["inlines"][0]["text"]
    (code,) = [each for each in elements_in(content) if each.get("fontType") == "Monospace"]
    assert code["text"].splitlines()[:2] == ["Traceback", "\xa0\xa0File p.py"]
    assert "\xa0\xa0\xa0\xa0x\xa0\xa0= 1" in code["text"]
    assert "parcels: 12" in texts_of(content)
    assert "file\\_name: a\\_b\\*c\\*.csv" not in texts_of(content)
    assert "file_name: a_b\\*c\\*.csv" in texts_of(content)
    assert content["actions"] == [{"type": "Action.OpenUrl", "title": "Log", "url": "https://logs.example.com/r1"}]


@pytest.mark.parametrize(
    ("kind", "style"),
    [
        (Kind.FAILURE, "attention"), (Kind.DIED, "attention"), (Kind.STALLED, "warning"), (Kind.OVERDUE, "warning"),
        (Kind.MISSED, "warning"), (Kind.SUCCESS, "good"), (Kind.RECOVERY, "good"), (Kind.START, "accent"),
        (Kind.PROGRESS, "accent"), (Kind.NOTICE, None),
    ],
)  # fmt: skip
def test_the_colour_says_the_kind(kind: Kind, style: str | None) -> None:
    """The head of a card has the colour of its kind, and the prefix before its subject."""
    head = card_of(MessageDetails("s", "m", kind=kind), prefix="[prod] ")["body"][0]
    assert head.get("style") == style
    assert head["items"][0]["inlines"][0]["text"] == "[prod] s"


@pytest.mark.parametrize("kind", Kind)
def test_a_person_is_mentioned_of_failures(kind: Kind) -> None:
    """Who is to be mentioned is so when a run failed, died or was missed, and at no other time."""
    content = card_of(MessageDetails("s", "m", kind=kind), mention="Jane Doe <jane@example.com>")
    entities = content["msteams"].get("entities", [])
    if kind in {Kind.FAILURE, Kind.DIED, Kind.MISSED}:
        assert entities[0]["mentioned"] == {"id": "jane@example.com", "name": "Jane Doe"}
        assert entities[0]["text"] in content["body"][-1]["text"]
    else:
        assert entities == []
    check(content)


@pytest.mark.parametrize(
    "details",
    [
        message_for(Kind.FAILURE, report(values={f"value {n}": "v" * 900 for n in range(100)})),
        message_for(
            Kind.FAILURE,
            report(error=ErrorDetails(type="E", message="m" * 9_000, where="p.py:1", traceback="漢字の行\n" * 20_000)),
        ),
        MessageDetails("s" * 10_000, "😀" * 1_000_000, [Attachment("x" * 200, note="n" * 500) for _ in range(300)]),
        MessageDetails('"' * 5_000, '\\"\n' * 100_000),
        message_for(Kind.SUCCESS, report(links={f"t{n}" * 20: "https://e.com/" + "x" * 990 for n in range(20)})),
    ],
)
def test_a_card_keeps_to_the_limit(details: MessageDetails) -> None:
    """Whatever a message holds, it is one card of at most 28 kB that says what it leaves out."""
    assert len(message_body(details, mention="jane@example.com")) <= CARD_LIMIT_BYTES
    content = card_of(details)
    check(content)
    assert "left out" in json.dumps(content) or details.kind is Kind.SUCCESS


@given(st.text(st.characters() | st.sampled_from("*_`[]()<>\\\ud83d\0\r\n"), max_size=80), st.text(max_size=80))
def test_any_text_stays_a_text(subject: str, text: str) -> None:
    """No text is empty, mentions anybody, or is no Unicode; a script's own text is shown with its code."""
    content = card_of(MessageDetails(subject, f"{text}\n```\n{subject}\n```\n<at>Jane</at>"))
    check(content)
    assert "entities" not in content["msteams"]
    assert all(each["type"] != "TextBlock" for each in elements_in(content))  # which would read Markdown and mentions


def test_attachments_are_named(peer: HttpPeer) -> None:
    """A workflow takes no files, so a card says which there are."""
    content = card_of(MessageDetails("s", "m", [Attachment("report.csv", size_bytes=12_000), Attachment("gone.log")]))
    assert "Not attached, since a workflow takes no files:\nreport.csv (11.7 KB)\ngone.log" in texts_of(content)


@pytest.mark.parametrize(
    ("answer", "permanent", "said"),
    [
        (Answer(200, body="<html>Log in</html>"), False, "200 OK"),
        (Answer(200, {"x-ms-workflow-run-id": "1"}), None, ""),
        (Answer(400, body={"error": {"code": "TriggerInputSchemaMismatch"}}), True, "TriggerInputSchemaMismatch"),
        (Answer(401), False, "check webhook_url"),
        (Answer(404), True, "check webhook_url"),
        (Answer(429, {"Retry-After": "17"}), False, "429"),
        (Answer(502), False, "502"),
    ],
)
def test_answers(peer: HttpPeer, answer: Answer, permanent: bool | None, said: str) -> None:
    """Each answer is permanent or temporary, with a remedy, and without the URL's signature."""
    peer.rule = lambda _: answer
    handler = CHANNELS["teams"].make(peer.url)
    if permanent is None:
        handler.send_message(MessageDetails("s", "m"))
        return
    with pytest.raises(DeliveryError) as caught:
        handler.send_message(MessageDetails("s", "m"))
    assert caught.value.permanent is permanent
    assert said in caught.value.reason
    assert "s3cretSignature" not in caught.value.reason
    assert caught.value.retry_after_s == (17.0 if answer.status == 429 else 3600.0 if answer.status == 401 else None)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "webhook_url must be a URL"),
        ({"webhook_url": "teams"}, "webhook_url must be a URL"),
        ({"webhook_url": "https://x.example/", "mention": "jane"}, "mention must be addresses like"),
        ({"webhook_url": "https://x.example/", "timeout_s": 0}, "timeout_s must be a number above 0"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], said: str) -> None:
    """A setting that is missing or wrong is named when the handler is built."""
    with pytest.raises(ConfigurationError, match=f"TeamsHandler: {said}"):
        TeamsHandler(**settings)
