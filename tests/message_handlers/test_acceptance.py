"""What counts as acceptance, for every handler that speaks HTTP: the answer of the right server, and nothing else."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest
from http_channels import CHANNELS, handler_for
from http_peers import Answer, HttpPeer, Request, http_peer

from supervisor.errors import DeliveryError
from supervisor.message_handlers import HealthchecksHandler
from supervisor.models import MessageDetails

if TYPE_CHECKING:
    from supervisor.models import MessageHandler

pytest.importorskip("slack_sdk")
apprise = pytest.importorskip("apprise")


@pytest.fixture(autouse=True, scope="module")
def _loaded_plugins() -> None:
    """Load apprise's plugins before warnings become errors, because some use deprecated functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        apprise.Apprise.instantiate("json://localhost")


def refusal(handler: MessageHandler) -> DeliveryError:
    """Send one message that is expected to fail, and return the error."""
    with pytest.raises(DeliveryError) as caught:
        handler.send_message(MessageDetails("s", "m"))
    return caught.value


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("channel", CHANNELS)
def test_no_redirect_leads_to_another_server(peer: HttpPeer, channel: str, status: int) -> None:
    """A redirect to another server is an error, and the other server gets neither message nor credentials."""
    with http_peer(lambda _: CHANNELS[channel].accepted) as thief:
        peer.answer(status, {"Location": f"{thief.url}/login"})
        assert str(status) in refusal(handler_for(channel, peer.port)).reason
        assert thief.requests == []
    assert len(peer.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("channel", CHANNELS)
def test_no_redirect_changes_the_method(peer: HttpPeer, channel: str, status: int) -> None:
    """A redirect that turns the POST into a GET is an error, although the page there answers as the service does."""
    peer.rule = lambda request: (
        CHANNELS[channel].accepted if request.path == "/login" else Answer(status, {"Location": f"{peer.url}/login"})
    )
    assert str(status) in refusal(handler_for(channel, peer.port)).reason
    assert [each.method for each in peer.requests] == ["POST"]


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("channel", CHANNELS)
def test_a_redirect_within_the_server_is_followed(peer: HttpPeer, channel: str, status: int) -> None:
    """307 and 308 to the same server carry the same request to its new place."""
    peer.rule = lambda request: (
        CHANNELS[channel].accepted if request.path == "/new?a=1" else Answer(status, {"Location": "/new?a=1"})
    )
    handler_for(channel, peer.port).send_message(MessageDetails("s", "m"))
    first, second = peer.requests
    assert (second.method, second.path, second.body) == ("POST", "/new?a=1", first.body)
    assert second.headers["Authorization"] == first.headers["Authorization"]


@pytest.mark.parametrize("channel", CHANNELS)
def test_redirects_come_to_an_end(peer: HttpPeer, channel: str) -> None:
    """A server that redirects in a circle gets a few requests, and the message counts as not accepted."""
    peer.answer(307, {"Location": "/hook"})
    assert "307" in refusal(handler_for(channel, peer.port)).reason
    assert len(peer.requests) <= 4


@pytest.mark.parametrize("channel", [name for name in CHANNELS if name != "apprise"])
def test_what_is_too_large_says_nothing_of_the_destination(peer: HttpPeer, channel: str) -> None:
    """413 is about one message, a fault of the server about all."""
    peer.answer(413)
    error = refusal(handler_for(channel, peer.port))
    assert (error.permanent, error.scope) == (True, "message")
    peer.answer(503)
    error = refusal(handler_for(channel, peer.port))
    assert (error.permanent, error.scope) == (False, "destination")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {"Content-Type": "text/html"}, "<html>Please log in</html>"),
        Answer(200, body="Welcome"),
        Answer(200),
    ],
)
@pytest.mark.parametrize("channel", [name for name, each in CHANNELS.items() if not each.takes_any_success])
def test_the_page_of_somebody_else_is_no_acceptance(peer: HttpPeer, channel: str, answer: Answer) -> None:
    """A 200 that does not say what the service says when it accepts is a temporary error."""
    peer.answer(answer.status, answer.headers, answer.body)
    assert not refusal(handler_for(channel, peer.port)).permanent


@pytest.mark.parametrize("body", ["ok", "ok\n", '{"ok": true}', '{"success": true}'])
def test_a_webhook_of_slack_may_say_so_in_json(peer: HttpPeer, body: str) -> None:
    """Workflows of Slack's and servers that stand in for it answer with JSON."""
    peer.answer(200, body=body)
    handler_for("slack webhook", peer.port).send_message(MessageDetails("s", "m"))


def test_a_ping_to_another_service_takes_what_is_no_page(peer: HttpPeer) -> None:
    """Services that take the pings of Healthchecks by a URL of their own may answer with anything but a page."""
    handler = HealthchecksHandler(ping_url=f"{peer.url}/ping")
    peer.answers += [Answer(), Answer(body='{"ok": true}'), Answer(body="<html>Log in</html>")]
    handler.send_message(MessageDetails("s", "m"))
    handler.send_message(MessageDetails("s", "m"))
    assert not refusal(handler).permanent
    handler.close()


def test_requests_outside_of_handlers_are_left_alone(peer: HttpPeer) -> None:
    """A script's own use of requests follows redirects as ever, after AppriseHandler has sent."""
    requests = pytest.importorskip("requests")
    handler_for("apprise", peer.port).send_message(MessageDetails("s", "m"))

    def rule(request: Request) -> Answer:
        return Answer(body="there") if request.path == "/there" else Answer(302, {"Location": "/there"})

    peer.rule = rule
    assert requests.post(f"{peer.url}/here", timeout=10).text == "there"
