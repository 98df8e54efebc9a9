"""PagerDutyHandler against a real local server that keeps incidents as PagerDuty does."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from http_peers import Answer, Channel, HttpPeer, Request, http_peer
from hypothesis import given
from hypothesis import strategies as st

from supervisor import supervise
from supervisor._messages import message_for, missed_subject
from supervisor._models import Kind, Outcome
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers._pagerduty import KEY_LIMIT, PagerDutyHandler, events
from supervisor.models import ErrorDetails, MessageDetails, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "0123456789abcdef0123456789abcdef"
TAKEN = Answer(202, body={"status": "success", "message": "Event processed", "dedup_key": "x"})
CHANNELS = {
    "pagerduty": Channel(
        make=lambda url, **settings: PagerDutyHandler(integration_key=KEY, host=url, **settings),
        accepted=TAKEN,
        host="events.pagerduty.com",
        example="PagerDutyHandler(",
    )
}


@attrs.define
class Service:
    """A service of PagerDuty: what is open, by its key, and what was refused."""

    peer: HttpPeer
    open: dict[str, dict[str, Any]] = attrs.field(factory=dict)

    def answer(self, request: Request) -> Answer:
        """Take an event, or refuse what is none, as the API does."""
        event = request.json
        if request.path != "/v2/enqueue" or event["routing_key"] != KEY:
            return Answer(400, body={"status": "invalid event", "errors": ["Invalid routing key"]})
        if not 0 < len(event["dedup_key"].encode()) <= KEY_LIMIT or len(request.body) > 512_000:
            return Answer(400, body={"status": "invalid event", "errors": ["too long"]})
        if event["event_action"] == "resolve":
            self.open.pop(event["dedup_key"], None)
            return TAKEN
        payload = event["payload"]
        if not all(payload[each] for each in ("summary", "source")) or len(payload["summary"]) > 1024:
            return Answer(400, body={"status": "invalid event", "errors": ["summary, source"]})
        self.open[event["dedup_key"]] = event
        return TAKEN


@pytest.fixture
def service() -> Iterator[Service]:
    """Run a service for one test."""
    with http_peer() as peer:
        it = Service(peer)
        peer.rule = it.answer
        yield it


def report(outcome: Outcome | None, name: str = "nightly parcels") -> RunReport:
    """Return the report of a run."""
    error = ErrorDetails(type="KeyError", message="'apn'", where="p.py:1") if outcome is Outcome.FAILURE else None
    links = {"Log": "https://logs.example.com/r1"}
    now = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
    return RunReport(id="r1", name=name, outcome=outcome, started_at=now, error=error, host="gis-1", links=links)


def alarm(kind: Kind, outcome: Outcome | None = None, name: str = "nightly parcels") -> MessageDetails:
    """Return a message about a run."""
    return MessageDetails(f"{name}: {kind}", "the text", kind=kind, report=report(outcome, name))


def missed(name: str = "nightly parcels") -> MessageDetails:
    """Return the message that starts were missed, which is about no run."""
    return MessageDetails(missed_subject(name, "gis-1", "", "02:00"), "the text", kind=Kind.MISSED)


def test_a_failure_opens_an_incident_and_a_success_resolves_it(service: Service) -> None:
    """Two failures are one incident, with severity, links and text; the recovery resolves it."""
    handler = CHANNELS["pagerduty"].make(service.peer.url, environment="production", prefix="[gis] ")
    for _ in range(2):
        handler.send_message(message_for(Kind.FAILURE, report(Outcome.FAILURE)))
    (key,) = service.open
    assert key == "supervisor/production/nightly parcels/failed"
    event = service.open[key]
    payload = event["payload"]
    assert payload["summary"].startswith("[gis] nightly parcels failed on gis-1")
    assert (payload["severity"], payload["source"], payload["class"]) == ("error", "gis-1", "failure")
    assert "KeyError: 'apn'" in payload["custom_details"]["text"]
    assert event["links"] == [{"href": "https://logs.example.com/r1", "text": "Log"}]
    handler.send_message(message_for(Kind.RECOVERY, report(Outcome.SUCCESS)))
    assert service.open == {}


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        (Kind.FAILURE, "error"), (Kind.DIED, "critical"), (Kind.MISSED, "error"), (Kind.STALLED, "warning"),
        (Kind.OVERDUE, "warning"), (Kind.NOTICE, "info"),
    ],
)  # fmt: skip
def test_the_severity_follows_from_the_kind(service: Service, kind: Kind, severity: str) -> None:
    """Each kind has its severity, and says what it is."""
    CHANNELS["pagerduty"].make(service.peer.url).send_message(alarm(kind))
    (event,) = service.open.values()
    assert (event["payload"]["severity"], event["payload"]["class"]) == (severity, kind.value)


def test_what_goes_on_is_not_mended_yet(service: Service) -> None:
    """That a run makes progress again, or was started again, does not resolve the failure of the run before."""
    handler = CHANNELS["pagerduty"].make(service.peer.url)
    for details in (alarm(Kind.FAILURE, Outcome.FAILURE), missed(), alarm(Kind.STALLED)):
        handler.send_message(details)
    assert [each.rpartition("/")[2] for each in service.open] == ["failed", "missed", "late"]
    handler.send_message(alarm(Kind.RECOVERY))
    assert [each.rpartition("/")[2] for each in service.open] == ["failed"]
    handler.send_message(alarm(Kind.RECOVERY, Outcome.SUCCESS))
    assert service.open == {}


def test_a_run_that_has_ended_is_late_no_longer(service: Service) -> None:
    """When a stalled run fails, the incident of its failure takes the place of the other one."""
    handler = CHANNELS["pagerduty"].make(service.peer.url)
    handler.send_message(alarm(Kind.STALLED))
    handler.send_message(alarm(Kind.FAILURE, Outcome.FAILURE))
    assert [each.rpartition("/")[2] for each in service.open] == ["failed"]


def test_incidents_of_other_scripts_and_environments_are_others(service: Service) -> None:
    """The key is made of environment and name, and a recovery touches its own alone."""
    production, test = (
        PagerDutyHandler(integration_key=KEY, host=service.peer.url, environment=each)
        for each in ("production", "test")
    )
    for handler in (production, test):
        handler.send_message(alarm(Kind.FAILURE, Outcome.FAILURE))
        handler.send_message(alarm(Kind.FAILURE, Outcome.FAILURE, name="other"))
    assert len(service.open) == 4
    production.send_message(alarm(Kind.RECOVERY, Outcome.SUCCESS))
    assert sorted(service.open) == [
        "supervisor/production/other/failed", "supervisor/test/nightly parcels/failed", "supervisor/test/other/failed",
    ]  # fmt: skip
    assert production.name != test.name


def test_a_run_sends_its_alarms_alone(service: Service) -> None:
    """A script's notices and good ends are no incidents, unless ``kinds`` says so."""
    handler = CHANNELS["pagerduty"].make(service.peer.url)
    with supervise("night", handlers=[handler], report_on=["success"]) as run:
        run.notify("hello")
    with pytest.raises(KeyError), supervise("night", handlers=[handler]):
        raise KeyError("apn")
    assert [each["dedup_key"] for each in service.open.values()] == ["supervisor/night/failed"]
    with supervise("night", handlers=[handler]):
        pass
    assert service.open == {}


def test_an_attempt_that_broke_off_is_made_whole(service: Service) -> None:
    """A recovery resolves up to three incidents; when one was not accepted, all are sent again, which does no harm."""
    handler = CHANNELS["pagerduty"].make(service.peer.url)
    handler.send_message(alarm(Kind.FAILURE, Outcome.FAILURE))
    service.peer.answers += [TAKEN, Answer(503)]
    with pytest.raises(DeliveryError):
        handler.send_message(alarm(Kind.RECOVERY, Outcome.SUCCESS))
    handler.send_message(alarm(Kind.RECOVERY, Outcome.SUCCESS))
    assert service.open == {}


@given(
    st.text(st.characters() | st.sampled_from("\ud83d\0\r\n/"), max_size=300),
    st.text(st.characters() | st.sampled_from("\ud83d\0\r\n"), max_size=100),
)
def test_any_text_is_an_event(name: str, text: str) -> None:
    """Whatever a run is called and says, its events are valid, and it resolves the incident that it has opened."""
    failure = attrs.evolve(alarm(Kind.FAILURE, Outcome.FAILURE, name=name or "x"), subject=text, message=text)
    (trigger, _) = events(failure)
    keys = [each["dedup_key"] for each in events(alarm(Kind.RECOVERY, Outcome.SUCCESS, name=name or "x"))]
    assert trigger["dedup_key"] in keys
    assert len(set(keys)) == 3
    assert all(0 < len(each.encode()) <= KEY_LIMIT for each in keys)
    json.dumps(trigger, ensure_ascii=False).encode()
    assert trigger["payload"]["summary"]


@pytest.mark.parametrize("starts", ["", "3 starts", "1,000 starts or more"])
@pytest.mark.parametrize("name", ["nightly parcels", "what we missed its start at night", "x"])
def test_missed_starts_are_of_the_script_in_the_subject(name: str, starts: str) -> None:
    """A message of missed starts has no run; the name of the script is in its subject, as supervisor writes it."""
    details = MessageDetails(missed_subject(name, "gis-1", starts, "02:00"), "t", kind=Kind.MISSED)
    assert [each["dedup_key"] for each in events(details)] == [f"supervisor/{name}/missed"]


@pytest.mark.parametrize(
    ("answer", "permanent", "said"),
    [
        (Answer(200, body="<html>Log in</html>"), False, "200 OK"),
        (Answer(202), False, "202"),
        (
            Answer(400, body={"status": "invalid event", "errors": [f"Invalid routing key {KEY}"]}),
            True,
            "check integration_key",
        ),
        (Answer(403), False, "check integration_key"),
        (Answer(429, {"Retry-After": "17"}), False, "429"),
        (Answer(500), False, "500"),
    ],
)
def test_answers(service: Service, answer: Answer, permanent: bool, said: str) -> None:
    """Each answer is permanent or temporary, with a remedy, and without the key."""
    service.peer.rule = lambda _: answer
    with pytest.raises(DeliveryError) as caught:
        CHANNELS["pagerduty"].make(service.peer.url).send_message(alarm(Kind.FAILURE, Outcome.FAILURE))
    assert (caught.value.permanent, said in caught.value.reason) == (permanent, True)
    assert KEY not in caught.value.reason
    assert caught.value.retry_after_s == {429: 17.0, 403: 3600.0}.get(answer.status)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "integration_key must be a text that is not blank"),
        ({"integration_key": "a b"}, "integration_key must be the integration key"),
        ({"integration_key": "x", "kinds": ["start"]}, "kinds must be of died, failure"),
        ({"integration_key": "x", "kinds": "oops"}, "kinds must be of died, failure"),
        ({"integration_key": "x", "host": "pagerduty"}, "host must be a URL"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], said: str) -> None:
    """A setting that is missing or wrong is named when the handler is built."""
    with pytest.raises(ConfigurationError, match=f"PagerDutyHandler: {said}"):
        PagerDutyHandler(**settings)
