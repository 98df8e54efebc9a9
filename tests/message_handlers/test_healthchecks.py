"""Pings against a real local server that answers as Healthchecks does."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from http_peers import Answer, Channel, HttpPeer, Request, http_peer, refused_url

from supervisor._models import Kind, Outcome
from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers._healthchecks import HealthchecksHandler, ping_body, run_uuid
from supervisor.models import MessageDetails, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANNELS = {
    "healthchecks": Channel(
        make=lambda url, **settings: HealthchecksHandler(uuid=CHECK, host=f"{url}/ping", **settings),
        accepted=Answer(body="OK"),
        host="hc-ping.com",
        example="HealthchecksHandler(",
    )
}
CHECK = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
PING_KEY = "fqOOd6-F4MMNuCEnzTU01w"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
RUN_ID = "4f2b6c0d9e8a47b1a3c5d7e9f0123456"
SHOWN_ID = "4f2b6c0d-9e8a-47b1-a3c5-d7e9f0123456"
_WAYS = re.compile(rf"/(ping/)?({CHECK}|{UNKNOWN}|{PING_KEY}/(backup|twins|missing))(/(start|fail|log|\d+))?(\?.*)?")


def healthchecks(request: Request) -> Answer | None:
    """Return Healthchecks' response to a faulty ping; None for a good one."""
    way = _WAYS.fullmatch(request.path)
    if request.method != "POST" or not way:
        return Answer(404, body="not found")
    rid = re.search(r"[?&]rid=([^&]*)", request.path)
    if rid and str(UUID(rid[1])) != rid[1]:
        return Answer(400, body="invalid uuid format")
    request.body.decode()  # it keeps bodies that are UTF-8
    by = {UNKNOWN: Answer(200, body="OK (not found)"), f"{PING_KEY}/missing": Answer(404, body="not found")}
    by[f"{PING_KEY}/twins"] = Answer(409, body="ambiguous slug")
    return by.get(way[2])


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    """Run a Healthchecks for one test."""
    with http_peer(healthchecks) as it:
        it.answer(200, body="OK")
        yield it


def message(kind: Kind = Kind.SUCCESS, **changes: Any) -> MessageDetails:
    """Return a message of a run."""
    report = RunReport(id=RUN_ID, name="backup", started_at=datetime.now(UTC))
    facts: dict[str, Any] = {"subject": "backup", "message": "12 rows", "kind": kind, "report": report}
    return MessageDetails(**(facts | changes))


def send(handler: HealthchecksHandler, details: MessageDetails | None = None) -> None:
    """Send one message and close the handler."""
    try:
        handler.send_message(details or message())
    finally:
        handler.close()


def refusal(handler: HealthchecksHandler, details: MessageDetails | None = None) -> DeliveryError:
    """Send one message that is expected to fail, and return the error."""
    with pytest.raises(DeliveryError) as caught:
        send(handler, details)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "signal"),
    [
        (Kind.START, "/start"),
        (Kind.SUCCESS, ""),
        (Kind.RECOVERY, ""),
        (Kind.FAILURE, "/fail"),
        (Kind.DIED, "/fail"),
        (Kind.MISSED, "/fail"),
        (Kind.STALLED, "/log"),
        (Kind.OVERDUE, "/log"),
        (Kind.PROGRESS, "/log"),
        (Kind.NOTICE, "/log"),
    ],
)
def test_each_kind_has_its_signal(peer: HttpPeer, kind: Kind, signal: str) -> None:
    """Start, success and failure change the check's state; other kinds go into its log. All carry the run's id."""
    report = RunReport(id=RUN_ID, name="backup", started_at=datetime.now(UTC), outcome=Outcome.SUCCESS)
    send(HealthchecksHandler(uuid=CHECK, host=peer.url), message(kind, report=report))
    [request] = peer.requests
    assert (request.method, request.path) == ("POST", f"/{CHECK}{signal}?rid={SHOWN_ID}")
    assert request.body == b"backup\n\n12 rows"


@pytest.mark.parametrize(
    ("kind", "exit_code", "signal"),
    [(Kind.FAILURE, 3, "/3"), (Kind.FAILURE, 0, "/fail"), (Kind.FAILURE, 256, "/fail"), (Kind.SUCCESS, 3, "")],
)
def test_a_failure_goes_with_its_exit_code(peer: HttpPeer, kind: Kind, exit_code: int, signal: str) -> None:
    """Healthchecks takes 0 to 255 and shows the code; a late failure is one all the same."""
    report = RunReport(id=RUN_ID, name="backup", started_at=datetime.now(UTC), exit_code=exit_code)
    late = datetime.now(UTC) - timedelta(hours=2)
    created_at = late if kind is Kind.FAILURE else datetime.now(UTC)
    send(HealthchecksHandler(uuid=CHECK, host=peer.url), message(kind, report=report, created_at=created_at))
    assert peer.requests[0].path == f"/{CHECK}{signal}?rid={SHOWN_ID}"


def test_the_first_ping_may_make_the_check(peer: HttpPeer) -> None:
    """``create`` goes with a slug; elsewhere it is refused, and what is missing is mended by it."""
    peer.answer(201, body="Created")
    send(HealthchecksHandler(ping_key=PING_KEY, slug="backup", create=True, host=peer.url), message(Kind.FAILURE))
    assert peer.requests[0].path == f"/{PING_KEY}/backup/fail?rid={SHOWN_ID}&create=1"
    with pytest.raises(ConfigurationError, match="create makes a check by its slug: give ping_key and slug"):
        HealthchecksHandler(uuid=CHECK, create=True)
    with pytest.raises(ConfigurationError, match="create must be True or False, got 'yes'"):
        HealthchecksHandler(ping_key=PING_KEY, slug="backup", create="yes")  # type: ignore[arg-type] # what is tested
    error = refusal(HealthchecksHandler(ping_key=PING_KEY, slug="missing", host=peer.url))
    assert "or let create=True make it" in error.reason


def test_a_run_that_only_goes_on_has_not_succeeded(peer: HttpPeer) -> None:
    """The recovery of a run that has not ended leaves the check's state unchanged."""
    send(HealthchecksHandler(uuid=CHECK, host=peer.url), message(Kind.RECOVERY))
    assert peer.requests[0].path == f"/{CHECK}/log?rid={SHOWN_ID}"


def test_every_kind_is_wanted_and_known() -> None:
    """By default ``kinds`` has all kinds, start and success among them."""
    assert HealthchecksHandler(uuid=CHECK).kinds == frozenset(Kind)
    assert HealthchecksHandler(uuid=CHECK, kinds=["start", "success"]).kinds == {Kind.START, Kind.SUCCESS}


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"ping_url": f"/{CHECK}"}, f"/{CHECK}/fail?rid={SHOWN_ID}"),
        ({"ping_url": f"/ping/{CHECK}/"}, f"/ping/{CHECK}/fail?rid={SHOWN_ID}"),
        ({"ping_url": f"/{PING_KEY}/backup?create=1"}, f"/{PING_KEY}/backup/fail?create=1&rid={SHOWN_ID}"),
        ({"uuid": CHECK, "host": "/ping"}, f"/ping/{CHECK}/fail?rid={SHOWN_ID}"),
        ({"ping_key": PING_KEY, "slug": "backup", "host": "/"}, f"/{PING_KEY}/backup/fail?rid={SHOWN_ID}"),
    ],
)
def test_check_is_named_in_each_way(peer: HttpPeer, settings: dict[str, Any], path: str) -> None:
    """A check is named by its URL, by its UUID, or by ping key and slug, on any server."""
    whole: dict[str, Any] = {
        name: f"{peer.url}{value}" if value[0] == "/" else value for name, value in settings.items()
    }
    send(HealthchecksHandler(**whole), message(Kind.FAILURE))
    assert peer.requests[0].path == path


def test_run_ids_become_uuids(peer: HttpPeer) -> None:
    """A run's id that is a UUID is used as it is; another becomes a UUID that depends on it alone."""
    assert str(run_uuid(RUN_ID)) == SHOWN_ID
    assert run_uuid("run 1") == run_uuid("run 1") != run_uuid("run 2")
    assert run_uuid("\ud800").version == 5
    send(HealthchecksHandler(uuid=CHECK, host=peer.url), message(report=None))
    assert peer.requests[0].path == f"/{CHECK}"


def test_late_success_goes_into_the_log(peer: HttpPeer) -> None:
    """A start or success that is delivered hours late goes into the log; a failure still counts."""
    late = datetime.now(UTC) - timedelta(hours=2)
    handler = HealthchecksHandler(uuid=CHECK, host=peer.url)
    for kind in (Kind.START, Kind.SUCCESS, Kind.FAILURE):
        handler.send_message(message(kind, created_at=late))
    handler.send_message(message(created_at=late + timedelta(minutes=70)))
    handler.close()
    signals = [request.path.partition("?")[0].removeprefix(f"/{CHECK}") for request in peer.requests]
    assert signals == ["/log", "/log", "/fail", ""]


def test_body_is_cut_between_characters(peer: HttpPeer) -> None:
    """A body is cut to 100 kB between two characters, with a note."""
    for shift in range(4):
        details = message(message="x" * shift + "🏔" * 3_000_000)
        send(HealthchecksHandler(uuid=CHECK, host=peer.url), details)
    for request in peer.requests:
        assert 99_990 < len(request.body) <= 100_000
        assert request.body.decode().endswith("the rest was left out: a ping holds 100 kB ...]")
    assert ping_body(message(subject="", message="")) == b""
    exact = "x" * 100_000
    assert ping_body(message(subject="", message=exact)) == exact.encode()


def test_hostile_texts_are_plain_text(peer: HttpPeer) -> None:
    """Line breaks in a subject, NUL and lone surrogates are replaced."""
    send(HealthchecksHandler(uuid=CHECK, host=peer.url), message(subject="a\r\nX: y", message="nul\0 half\ud800 é"))
    assert peer.requests[0].body.decode() == "a X: y\n\nnul\ufffd half\ufffd é"


@pytest.mark.parametrize(
    ("status", "body", "permanent", "wait_s", "said"),
    [
        (200, "OK (not found)", True, None, "there is no such check"),
        (200, "OK (rate limited)", False, 60.0, "rate limited"),
        (400, "invalid url format", True, None, "invalid url format"),
        (404, "not found", True, None, "there is no such check"),
        (409, "ambiguous slug", False, None, "ambiguous slug"),
        (413, "", True, None, "413"),
        (429, "rate limit exceeded", False, 60.0, "rate limit exceeded"),
        (500, "", False, None, "500 Internal Server Error"),
        (502, "", False, None, "502"),
        (503, "", False, None, "503"),
    ],
)
def test_answers_are_permanent_or_temporary(
    peer: HttpPeer, status: int, body: str, wait_s: float | None, said: str, *, permanent: bool
) -> None:
    """Responses are temporary or permanent, and a 200 that recorded nothing is an error."""
    peer.answers.append(Answer(status, body=body))
    error = refusal(HealthchecksHandler(uuid=CHECK, host=peer.url))
    assert (error.permanent, error.retry_after_s) == (permanent, wait_s)
    assert said in error.reason


@pytest.mark.parametrize("status", [200, 201])
def test_recorded_pings_are_success(peer: HttpPeer, status: int) -> None:
    """200, and 201 for a check that was made by the ping (``create=1``), are success."""
    peer.answers.append(Answer(status, body="Created" if status == 201 else "OK"))
    send(HealthchecksHandler(uuid=CHECK, host=peer.url))


def test_retry_after_goes_before_our_own_guess(peer: HttpPeer) -> None:
    """``Retry-After`` is passed on."""
    peer.answers.append(Answer(429, {"Retry-After": "7"}))
    assert refusal(HealthchecksHandler(uuid=CHECK, host=peer.url)).retry_after_s == 7


def test_service_itself_says_what_is_wrong_with_a_check(peer: HttpPeer) -> None:
    """Unknown UUIDs, unknown slugs and slugs that two checks share have different remedies."""
    unknown = refusal(HealthchecksHandler(uuid=UNKNOWN, host=peer.url))
    missing = refusal(HealthchecksHandler(ping_key=PING_KEY, slug="missing", host=peer.url))
    twins = refusal(HealthchecksHandler(ping_key=PING_KEY, slug="twins", host=peer.url))
    assert (unknown.permanent, missing.permanent, twins.permanent) == (True, True, False)
    assert "several checks have the slug 'twins'" in twins.reason


def test_hang_and_lost_connections_are_temporary(peer: HttpPeer) -> None:
    """A server that hangs, closes the connection or is missing takes at most the timeout."""
    peer.answers += [Answer(200, delay_s=60), Answer(drop=True)]
    errors = [refusal(HealthchecksHandler(uuid=CHECK, host=peer.url, timeout_s=0.2))]
    errors += [refusal(HealthchecksHandler(uuid=CHECK, host=host)) for host in (peer.url, refused_url())]
    assert not any(error.permanent for error in errors)
    assert ["within 0.2 s" in errors[0].reason, "closed the connection" in errors[1].reason] == [True, True]
    assert "refused" in errors[2].reason


def test_secrets_appear_nowhere(peer: HttpPeer, caplog: pytest.LogCaptureFixture) -> None:
    """UUIDs, ping keys and ping URLs appear in no repr, name, error or log."""
    caplog.set_level(0)
    peer.rule = None
    peer.answer(400, body=f"bad: {peer.url}/{CHECK} {PING_KEY}")
    handlers = [
        HealthchecksHandler(ping_url=f"{peer.url}/{CHECK}"),
        HealthchecksHandler(uuid=CHECK, host=peer.url),
        HealthchecksHandler(ping_key=PING_KEY, slug="backup", host=peer.url),
    ]
    secrets = (CHECK, CHECK, PING_KEY)
    for handler, secret in zip(handlers, secrets, strict=True):
        texts = (repr(handler), str(handler.name), str(refusal(handler)), caplog.text)
        assert not [text for text in texts if secret in text]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ping_url": "https://hc-ping.com/x", "uuid": CHECK},
        {"uuid": CHECK, "slug": "backup"},
        {"slug": "backup"},
        {"ping_key": PING_KEY},
        {"ping_key": " ", "slug": "backup"},
        {"ping_key": PING_KEY, "slug": "Back up"},
        {"ping_key": PING_KEY, "slug": ""},
        {"uuid": "no-uuid-but-s3cret"},
        {"uuid": 5},
        {"ping_url": "hc-ping.com/s3cret"},
        {"uuid": CHECK, "host": ""},
        {"uuid": CHECK, "timeout_s": -1},
        {"uuid": CHECK, "kinds": ["succes"]},
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any]) -> None:
    """A check that is not named, or named twice, is refused when the handler is built."""
    with pytest.raises(ConfigurationError, match=r"^HealthchecksHandler: ") as caught:
        HealthchecksHandler(**settings)
    assert "s3cret" not in str(caught.value)


def test_names() -> None:
    """The name contains the slug, which is no secret, and can be set."""
    assert re.fullmatch(r"healthchecks:hc-ping\.com#[0-9a-f]{6}", str(HealthchecksHandler(uuid=CHECK).name))
    by_slug = HealthchecksHandler(ping_key=PING_KEY, slug="backup")
    assert re.fullmatch(r"healthchecks:backup#[0-9a-f]{6}", str(by_slug.name))
    assert HealthchecksHandler(uuid=CHECK, name="nightly").name == "nightly"
