"""Addresses of pages about a run: where they come from, and what each channel makes of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from http_peers import http_peer
from journal_kit import first_line_of, kill, python

from supervisor import supervise
from supervisor._messages.rendering import as_html
from supervisor.errors import ConfigurationError
from supervisor.message_handlers import WebhookHandler
from supervisor.message_handlers._slack.blocks import body_blocks

if TYPE_CHECKING:
    from recorders import Recorder

    from supervisor.models import MessageDetails

RUNBOOK = "https://wiki.example/nightly"


def failed(recorder: Recorder, **settings: Any) -> MessageDetails:
    """Return the message of a run that has links and fails."""
    with pytest.raises(ValueError, match="no rows"), supervise("nightly", handlers=recorder, **settings) as run:
        run.link("Data", "https://data.example/parcels?day=1")
        run.record(page="https://portal.example/item", n=1)
        raise ValueError("no rows")
    return recorder.messages[-1]


def test_links_are_a_list_in_text(recorder: Recorder) -> None:
    """Those that are set come first, then those of the script; the report has them by their titles."""
    message = failed(recorder, links={"Runbook": RUNBOOK})
    assert message.report is not None
    assert dict(message.report.links) == {"Runbook": RUNBOOK, "Data": "https://data.example/parcels?day=1"}
    lines = [line.split() for line in message.message.splitlines()]
    assert ["Runbook", RUNBOOK] in lines
    assert ["Data", "https://data.example/parcels?day=1"] in lines


def test_links_and_recorded_addresses_can_be_clicked_in_mail(recorder: Recorder) -> None:
    """An address that was recorded is a link as well; other values stay text."""
    html = as_html(failed(recorder, links={"Runbook": RUNBOOK})) or ""
    assert f'href="{RUNBOOK}"' in html
    assert 'href="https://portal.example/item"' in html
    assert html.count("<a ") == 3


def test_an_address_cannot_leave_its_attribute(recorder: Recorder) -> None:
    """What a script records may hold anything."""
    with supervise("nightly", handlers=recorder, report_on="success") as run:
        run.record(page='https://a.example/"onmouseover="alert(1)', script="javascript:alert(1)")
    html = as_html(recorder.only) or ""
    assert '"onmouseover' not in html
    assert "href" in html
    assert 'href="javascript' not in html


def test_links_are_buttons_in_slack(recorder: Recorder) -> None:
    """Each with its title; an address that is too long for a button is text."""
    message = failed(recorder, links={"Runbook": RUNBOOK, "Long": "https://a.example/" + "x" * 3000})
    buttons = [each for block in body_blocks(message) if block["type"] == "actions" for each in block["elements"]]
    assert [(each["text"]["text"], each["url"]) for each in buttons] == [
        ("Runbook", RUNBOOK),
        ("Data", "https://data.example/parcels?day=1"),
    ]
    assert "x" * 2000 in json.dumps(body_blocks(message))


def test_links_are_in_the_document_of_a_webhook() -> None:
    """A program finds them by their titles."""
    with http_peer() as peer:
        handler = WebhookHandler(url=peer.url)
        with supervise("nightly", handlers=handler, report_on="success", links={"Runbook": RUNBOOK}):
            pass
        assert json.loads(peer.requests[0].body)["run"]["links"] == {"Runbook": RUNBOOK}


def test_what_is_known_of_the_place_is_filled_in(recorder: Recorder) -> None:
    """A template leads to the pages of this run; what is not known stays as it is."""
    template = "https://logs.example/?run={run_id}&name={name}&pod={pod}&x={x}"
    message = failed(recorder, links={"Logs": template})
    assert message.report is not None
    assert message.report.links["Logs"] == (
        f"https://logs.example/?run={message.report.id}&name=nightly&pod={{pod}}&x={{x}}"
    )


@pytest.mark.parametrize(
    "wrong", [{"Runbook": "wiki"}, {"": RUNBOOK}, {"Runbook": "javascript:x"}, "https://a", {1: 2}]
)
def test_a_setting_that_is_no_link_is_refused(wrong: Any) -> None:
    """Before the run starts."""
    with pytest.raises(ConfigurationError, match="links must be"):
        supervise("nightly", links=wrong)


def test_a_link_of_the_script_that_is_none_is_left_out(recorder: Recorder) -> None:
    """The script goes on, and the message says what is missing."""
    with supervise("nightly", handlers=recorder, report_on="success") as run:
        run.link("Runbook", "not an address")
        run.link("Data", RUNBOOK)
    assert dict(recorder.only.report.links if recorder.only.report else {}) == {"Data": RUNBOOK}
    assert "the link 'Runbook' is left out" in " ".join(recorder.only.message.split())


def test_the_message_of_a_death_has_the_links(recorder: Recorder) -> None:
    """They were noted when they came, so that they are there when the run is killed."""
    process = python(
        "from supervisor import supervise\nimport sys\n"
        f"with supervise('nightly', links={{'Runbook': {RUNBOOK!r}}}) as run:\n"
        " run.link('Data', 'https://data.example/'); print('ready', flush=True); sys.stdin.readline()\n"
    )
    assert first_line_of(process) == "ready"
    kill(process)
    with supervise("nightly", handlers=recorder):
        pass
    died = recorder.messages[0]
    assert died.kind == "died"
    assert died.report is not None
    assert dict(died.report.links) == {"Runbook": RUNBOOK, "Data": "https://data.example/"}
