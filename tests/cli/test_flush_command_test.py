"""``supervisor test``: a test message through each configured handler."""

from __future__ import annotations

import json
import ssl
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
from hooks import Hook, configured, refused_url
from journalled import document, invoke, is_harmless
from smtp_peers import MailServer

if TYPE_CHECKING:
    from pathlib import Path

EMAIL = """
[handlers.{name}]
type = "email"
smtp_server = "{host}"
smtp_port = {port}
security = "{security}"
from_address = "gis@example.com"
to_addresses = ["ops@example.com"]
timeout_s = 5
"""


def email(name: str, port: int, host: str = "127.0.0.1", security: str = "none", more: str = "") -> str:
    """Return the table of an e-mail handler."""
    return EMAIL.format(name=name, host=host, port=port, security=security) + more


def test_each_handler_gets_a_message_that_says_what_it_is(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: Path
) -> None:
    """A notice goes straight through each handler, says what it is and that nothing is to be done; nothing is kept."""
    configured(monkeypatch, tmp_path, ops=hook.url, chat=hook.url)
    result = invoke("test")
    assert result.exit_code == 0
    assert [line.split()[:3] for line in result.stdout.splitlines()] == [
        ["ops", "webhook", "sent"],
        ["chat", "webhook", "sent"],
    ]
    assert len(hook.documents) == 2
    results = hook.documents[0]
    assert results["kind"] == "notice"
    assert results["subject"].startswith("supervisor test from ")
    assert "This is a test" in results["message"]
    assert "There is nothing to do." in results["message"]
    assert list(state.iterdir()) == []


def test_a_test_that_is_asked_for_is_sent_also_where_messages_are_not(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``send`` concerns what runs and checks send; the command says so, and tries the handler."""
    configured(monkeypatch, tmp_path, text='[defaults]\nsend = "off"\n', ops=hook.url)
    result = invoke("test")
    assert result.exit_code == 0
    assert result.stderr == 'send = "off" keeps the messages of runs here; these tests are sent all the same\n'
    assert len(hook.documents) == 1


def test_a_file_that_is_no_toml_is_no_missing_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is wrong with the only file is reported with its line, and not that there was none."""
    configured(monkeypatch, tmp_path, text="[defaults]\nhandlers = [\n")
    result = invoke("test")
    assert result.exit_code == 2
    assert "is no TOML" in result.stderr
    assert "no configuration file was found" not in result.stderr


def test_only_the_named_handlers_are_tried(hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A name chooses; one that is nobody's is wrong usage, reported with what was probably meant."""
    configured(monkeypatch, tmp_path, ops=hook.url, chat=refused_url())
    assert [each["handler"] for each in document("test", "ops")] == ["ops"]
    result = invoke("test", "opps")
    assert result.exit_code == 2
    assert "did you mean 'ops'?" in result.stderr


def test_nobody_configured_tells_how_to_begin() -> None:
    """Without any handler there is nothing to test: 2, and `supervisor config init` is named."""
    result = invoke("test")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "supervisor config init" in result.stderr


def test_handlers_that_runs_name_are_tried_without_a_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The console needs no table: where runs use it, it is tried; with --json it does not spoil the document."""
    configured(monkeypatch, tmp_path, text='[defaults]\nhandlers = ["console"]\n')
    assert "NOTICE  supervisor test from" in invoke("test").stdout
    assert document("test")[0]["sent"] is True


def test_mistakes_in_the_file_are_told_with_file_and_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A misspelt option, a missing secret, an unknown type: each with file, line and remedy, and nothing is sent."""
    text = """
        [handlers.typo]
        type = "webhook"
        ur = "http://127.0.0.1:1"
        [handlers.secret]
        type = "slack"
        webhook_url = { env = "NOT_SET_ANYWHERE" }
        [handlers.strange]
        type = "pigeon"
    """
    file = configured(monkeypatch, tmp_path, text=textwrap.dedent(text))
    results = {each["handler"]: each for each in document("test", code=1)}
    assert results["typo"]["faults"] == [
        f"{file}:4: [handlers.typo] there is no option 'ur' for handlers of type 'webhook'; did you mean 'url'?"
    ]
    assert results["secret"]["faults"] == [
        f"{file}:7: [handlers.secret] webhook_url is missing: environment variable NOT_SET_ANYWHERE is not set"
    ]
    assert results["strange"]["faults"][0].startswith(f"{file}:9: ")
    assert "'pigeon'" in results["strange"]["faults"][0]


def test_what_failed_on_the_way_is_told_with_how_to_mend_it(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Refused connections, unknown hosts, a server's own words: each with its remedy, and the others still work."""
    port = int(refused_url().rpartition(":")[2].partition("/")[0])
    text = email("refused", port) + email("unknown", 25, "no-such-host.invalid")
    configured(monkeypatch, tmp_path, text=text, good=hook.url)
    results = {each["handler"]: each for each in document("test", code=1)}
    assert "Connection refused" in results["refused"]["faults"][0]
    assert results["refused"]["remedy"] == "Nothing listens there: check host and port, and whether the server runs."
    assert "no-such-host.invalid" in results["unknown"]["faults"][0]
    assert "DNS" in results["unknown"]["remedy"]
    assert results["good"]["sent"] is True
    text = invoke("test").stdout
    assert "Nothing listens there" in text
    assert text.count("failed") == 2


@pytest.mark.parametrize(("status", "remedy"), [(401, "Check the key or token"), (403, "allowed"), (500, "")])
def test_the_servers_own_words_are_told(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, remedy: str
) -> None:
    """An HTTP status is reported with what the server said."""
    hook.status, hook.answer = status, b"the vendor's own words"
    configured(monkeypatch, tmp_path, ops=hook.url)
    (results,) = document("test", code=1)
    assert f"{status}" in results["faults"][0]
    assert "the vendor's own words" in results["faults"][0]
    assert remedy in results["remedy"]


def test_a_wrong_password_and_an_unknown_certificate_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Authentication and certificates: what the server or TLS said, and how to mend it; no password is quoted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme = pytest.importorskip("trustme", exc_type=ImportError, reason="its library cannot be loaded, as under Wine")
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with MailServer(logins={"gis": "right"}) as auth, MailServer(tls=context) as tls:
        login = 'username = "gis"\npassword = "hunter2hunter2"\n'
        text = email("auth", auth.port, more=login) + email("tls", tls.port, security="tls")
        configured(monkeypatch, tmp_path, text=text)
        results = {each["handler"]: each for each in document("test", code=1)}
    assert "535" in results["auth"]["faults"][0]
    assert "password" in results["auth"]["faults"][0] + results["auth"]["remedy"]
    assert "certificate" in results["tls"]["faults"][0]
    assert "certificate" in results["tls"]["remedy"]
    assert "hunter2" not in json.dumps(results)


@pytest.mark.skipif(sys.platform == "win32", reason="modules of a test are put on the path by an environment of POSIX")
def test_a_handler_that_hangs_or_raises_anything_does_not_stop_the_others(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody's own handler may hang, exit or raise what it likes: it is reported, and the others are tried."""
    folder = tmp_path / "strange_handlers-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-handlers\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[supervisor.message_handlers]\nhangs = strange:Hangs\nexits = strange:Exits\n"
    )
    (tmp_path / "strange.py").write_text(
        "import time\n"
        "class Hangs:\n"
        "    def send_message(self, details): time.sleep(60)\n"
        "class Exits:\n"
        "    def send_message(self, details): raise SystemExit('https://user:hunter2@example.com \\x1b[2J')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    configured(monkeypatch, tmp_path, text='[handlers.a]\ntype = "hangs"\n[handlers.b]\ntype = "exits"\n', c=hook.url)
    results = {each["handler"]: each for each in document("test", "--deadline", "0.5", code=1)}
    assert results["a"]["faults"] == ["it did not come to an end within 500 ms"]
    assert results["b"]["faults"][0].startswith("SystemExit: ")
    assert "hunter2" not in json.dumps(results)
    assert results["c"]["sent"] is True
    assert is_harmless(invoke("test", "b").output)
