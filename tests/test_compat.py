"""Scripts of version 3 run with one changed line, the import."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from http_peers import http_peer
from smtp_peers import MailServer
from waiting import PATIENCE_S

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from supervisor import compat

import supervisor
from supervisor import message_handlers, slack
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Own(compat.MessageHandler):
    """A handler as scripts of version 3 define them."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.read: list[tuple[str, str]] = []

    def send_message(self, message_details: Any) -> None:
        """Keep the message, and read what is attached."""
        self.got.append(message_details)
        self.read += [(each.name, each.read_text()) for each in message_details.attachments if each]


@pytest.fixture
def mails() -> Iterator[MailServer]:
    """Return a mail server without encryption, as version 3 used them."""
    with MailServer() as server:
        yield server


def filled_in(**attributes: Any) -> compat.MessageDetails:
    """Return a message with attributes."""
    message = compat.MessageDetails()
    for name, value in attributes.items():
        setattr(message, name, value)
    return message


def test_what_is_assigned_to_attachments_is_added(tmp_path: Path) -> None:
    """One path, a list, and the list itself, as in version 3."""
    message = filled_in(attachments="a.csv")
    message.attachments = [tmp_path, None, ""]
    message.attachments.append("b.csv")
    assert message.attachments == ["a.csv", tmp_path, None, "", "b.csv"]
    message.slack_messages = slack.Message("one")
    message.slack_messages = [slack.Message("two")]
    assert [each.text for each in message.slack_messages] == ["one", "two"]


def test_a_handler_of_the_script_gets_what_it_was_sent(tmp_path: Path) -> None:
    """Subject, text and the attachments as paths; the call returns when it has them."""
    (tmp_path / "a.csv").write_text("1,2\n")
    handler = Own()
    sup = compat.Supervisor(handle_errors=False)
    sup.add_message_handler(handler)
    sup.notify(filled_in(subject="Loaded", message="12 rows", attachments=tmp_path / "a.csv"))
    [got] = handler.got
    assert (got.subject, got.message) == ("Loaded", "12 rows")
    assert handler.read == [("a.csv", "1,2\n")]
    assert sup.message_handlers == [handler]


def test_handlers_put_into_the_list_get_messages_too() -> None:
    """The list of handlers was an attribute, and is one."""
    handler = Own()
    sup = compat.Supervisor(handle_errors=False)
    sup.message_handlers.append(handler)
    message = filled_in(subject="Loaded")
    sup.notify(message)
    assert handler.got == [message]


def test_what_is_no_path_is_named_in_the_text() -> None:
    """An attachment that is no path does not stop the script, nor the message."""
    handler = Own()
    sup = compat.Supervisor(handle_errors=False)
    sup.add_message_handler(handler)
    sup.notify(filled_in(subject="Loaded", message="12 rows", attachments=[3]))
    assert handler.got[0].message == "12 rows\nThis attachment is no path, and was left out: 3"


def test_mail_of_version_3_arrives(mails: MailServer) -> None:
    """The dictionary of settings, the program's name and version, and HTML where the text is HTML."""
    settings = {
        "smtpServer": mails.hostname,
        "smtpPort": mails.port,
        "from_address": "gis@example.com",
        "to_addresses": ["ops@example.com", "gis@example.com"],
        "prefix": "[gis] ",
    }
    handler = compat.EmailHandler(settings, "parcels", "1.2")
    sup = compat.Supervisor(handle_errors=False)
    sup.add_message_handler(handler)
    sup.notify(filled_in(subject="Loaded", message="<p>12 <b>rows</b></p>"))
    handler.send_message(message_details=filled_in(subject="Plain", message="3 < 4"))
    first, second = mails.arrived
    assert first.mail["Subject"] == "[gis] Loaded"
    assert first.recipients == ["ops@example.com", "gis@example.com"]
    assert "<b>rows</b>" in first.html
    assert "parcels version: 1.2" in first.text
    assert "3 &lt; 4" in second.html


def test_sendgrid_of_version_3_arrives() -> None:
    """By keywords and in order, ``SendGridHandler`` makes the same of the settings."""
    with http_peer() as peer:
        peer.answer(202)
        settings = {
            "api_key": "SG.x",
            "from_address": "gis@example.com",
            "to_addresses": "ops@example.com",
            "host": peer.url,
        }
        message = filled_in(subject="Loaded", message="12 rows")
        compat.SendGridHandler(sendgrid_settings=settings, client_name="erap", client_version=3).send_message(message)
        compat.SendGridHandler(settings, "erap", "3").send_message(message)
        texts = [each.json["content"][0]["value"] for each in peer.requests]
    assert ["erap version: 3" in each for each in texts] == [True, True]


def test_blocks_of_version_3_are_posted() -> None:
    """The blocks of ``supervisor.slack`` go to the webhook, and the text of the message with them."""
    with http_peer() as peer:
        peer.answer(200, body="ok")
        message = filled_in(subject="", slack_messages=slack.Message("Loaded", [slack.SectionBlock("*12* rows")]))
        handler = compat.SlackHandler({"webhook_url": f"{peer.url}/services/T/B/x"}, "erap")
        handler.send_message(message)
        posted = peer.requests[0].json
    assert posted["text"] == "Loaded"
    assert {"type": "section", "text": {"type": "mrkdwn", "text": "*12* rows"}} in posted["blocks"]


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (lambda: compat.SlackHandler({}), "Required Slack webhook_url does not exist. No message sent."),
        (lambda: compat.SlackHandler({"webhook_url": ""}), "Slack webhook_url exists but is empty. No message sent."),
        (lambda: compat.EmailHandler({"smtpServer": "mail", "to_addresses": "a@example.com"}), "from_address"),
        (lambda: compat.SendGridHandler({"api_key": "", "from_address": "a@example.com"}), "api_key exists but is"),
    ],
)
def test_settings_that_are_missing_warn_and_send_nothing(handler: Any, problem: str) -> None:
    """The script goes on; each message says that it was not sent, and why."""
    made = handler()
    sup = compat.Supervisor(handle_errors=False)
    sup.add_message_handler(made)
    with pytest.warns(UserWarning, match=problem):
        made.send_message(filled_in(subject="Loaded"))
    with pytest.warns(UserWarning, match=problem):
        sup.notify(filled_in(subject="Loaded"))


def test_what_slack_refuses_warns() -> None:
    """A direct call of a Slack handler never raised."""
    with http_peer() as peer:
        peer.answer(404, body="no_service")
        handler = compat.SlackHandler({"webhook_url": f"{peer.url}/services/T/B/x"})
        with pytest.warns(UserWarning, match="Error posting to Slack: .*no_service"):
            handler.send_message(filled_in(subject="Loaded"))


def test_the_console_prints_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    """The text alone, as version 3 did."""
    compat.ConsoleHandler().send_message(filled_in(subject="Loaded", message="12 rows"))
    assert capsys.readouterr().out == "12 rows\n"


FAILING = """
import logging
from supervisor.compat import ConsoleHandler, Supervisor
logging.basicConfig(format="%(levelname)s %(message)s")
sup = Supervisor(logger=logging.getLogger("erap"), log_path="erap.log")
sup.add_message_handler(ConsoleHandler())
raise ValueError("no rows")
"""


def test_the_process_is_watched_by_default(tmp_path: Path) -> None:
    """An exception that nobody caught goes to the handlers and to the logger, and the import warned once."""
    script = tmp_path / "erap.py"
    script.write_text(FAILING)
    command = [sys.executable, "-W", "always::DeprecationWarning:__main__", str(script)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert ended.returncode == 1
    assert "ValueError: no rows" in ended.stdout
    assert "ERROR" in ended.stderr
    assert ended.stderr.count("DeprecationWarning: supervisor.compat is for scripts of version 3") == 1
    assert f"{script.name}:3: DeprecationWarning" in ended.stderr


@pytest.mark.parametrize(
    ("kind", "arguments", "settings", "words"),
    [
        (supervisor.MessageDetails, (), {}, r'write MessageDetails\("subject", "text"'),
        (message_handlers.SendGridHandler, ({}, "erap"), {}, r"write SendGridHandler\(\*\*settings"),
        (message_handlers.SlackHandler, (), {"slack_settings": {}}, "from supervisor.compat import SlackHandler"),
    ],
)
def test_calls_of_version_3_say_what_to_write(
    kind: Callable[..., object], arguments: tuple[Any, ...], settings: dict[str, Any], words: str
) -> None:
    """A call that cannot work any more names the new one."""
    with pytest.raises(TypeError, match=words):
        kind(*arguments, **settings)


def test_whether_the_process_is_watched_must_be_said() -> None:
    """Version 3 watched by default; the same call would watch nothing, in silence."""
    with pytest.raises(ConfigurationError, match="handle_errors=True"):
        supervisor.Supervisor(logger=logging.getLogger("erap"), log_path="erap.log")
    supervisor.Supervisor(logger=logging.getLogger("erap"), handle_errors=False)
