"""Recorded values, command lines, reports and messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from supervisor._redaction import Redactor
from supervisor._redaction.run_redactor import redacted_message, redacted_report
from supervisor._redaction.secret_names import secret_kind
from supervisor.models import (
    Attachment,
    ErrorDetails,
    Kind,
    MessageDetails,
    Progress,
    RunReport,
)

REDACTOR = Redactor(["Tr0ub4dor"])
NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(
            (each, "password")
            for each in ("password", "dbPassword", "PGPASSWORD", "user_pwd", "passphrase", "SMTP_PASS", "Passwort")
        ),
        *((each, "token") for each in ("token", "accessToken", "GITHUB_TOKEN", "csrf-token", "token2", "x_token_prod")),
        *((each, "api_key") for each in ("api_key", "apikey", "X-Api-Key", "sendgridApiKey", "API_KEYS")),
        *(
            (each, "secret")
            for each in ("secret", "client_secret", "SecretString", "AWS_SECRET_ACCESS_KEY", "secret_id")
        ),
        *(
            (each, "access_key")
            for each in ("access_key", "AccountKey", "signing_key", "authkey", "Ocp-Apim-Subscription-Key")
        ),
        *((each, "private_key") for each in ("private_key", "privateKey", "PRIVATE_KEY_PEM")),
        *((each, "session") for each in ("session", "session_id", "JSESSIONID", "PHPSESSID")),
        *((each, "cookie") for each in ("Cookie", "set-cookie", "session_cookie")),
        *((each, "authorization") for each in ("Authorization", "Proxy-Authorization", "auth", "http_auth")),
        *(
            (each, "connection_string")
            for each in ("dsn", "DB_DSN", "connection_string", "ConnectionString", "conn_str")
        ),
        *((each, "credential") for each in ("credentials", "db_creds")),
        *(
            (each, None)
            for each in ("key", "primary_key", "public_key", "keyboard", "parcels", "tokens", "max_tokens", "PIN", "")
        ),
        *(
            (each, None)
            for each in ("password_file", "tokenUrl", "session_timeout", "secretary", "author", "bypass", "username")
        ),
        *((each, None) for each in ("access_key_id", "token_count", "cookie_domain", "passed", "sessions", "x" * 100)),
    ],
)
def test_a_name_tells_whether_it_is_that_of_a_secret(name: str, kind: str | None) -> None:
    """In any style of writing, with what stands before it; what is about a secret is none."""
    assert secret_kind(name) == kind


@pytest.mark.parametrize(
    ("key", "value", "redacted"),
    [
        ("password", "hunter2", "[redacted: password]"),
        ("password", 12345, "[redacted: password]"),
        ("password", None, None),
        ("password", "", ""),
        ("token", 12345, 12345),
        ("token", True, True),
        ("token", b"abc", b"[redacted: token]"),
        ("note", b"token=abc \xff", b"token=[redacted: token] \xff"),
        ("note", "login with Tr0ub4dor", "login with [redacted: credential]"),
        ("api_keys", ["a", "b"], ["[redacted: api_key]"] * 2),
        ("when", NOW, NOW),
        ("dsn", "postgresql://me:x1y2@db/parcels", "postgresql://me:[redacted: url_password]@db/parcels"),
        ("dsn", "whatever", "[redacted: connection_string]"),
        (
            "db",
            {"password": "x", "host": "db", 1: ("token=a",)},
            {"password": "[redacted: password]", "host": "db", 1: ("token=[redacted: token]",)},
        ),
        ("credentials", {"user": "me", "n": 3}, {"user": "[redacted: credential]", "n": 3}),
    ],
)
def test_a_recorded_value_is_redacted_by_its_key_and_by_itself(key: str, value: Any, redacted: Any) -> None:
    """Only what can be a secret goes; the value keeps its type where it can."""
    assert REDACTOR.value(key, value) == redacted
    assert REDACTOR.value(key, redacted) == redacted


def test_a_container_without_end_is_cut() -> None:
    """A list that holds itself does no harm."""
    endless: list[Any] = ["Tr0ub4dor"]
    endless.append(endless)
    assert "Tr0ub4dor" not in repr(REDACTOR.value("x", endless))


def test_a_command_line_loses_what_its_options_tell() -> None:
    """The value may be a word of its own, or part of the option."""
    argv = ("load.py", "--password", "hunter2", "--token=abc", "--api-key", "-v", "https://me:pw12@x.org", "parcels")
    expected = ("load.py", "--password", "[redacted: password]", "--token=[redacted: token]", "--api-key", "-v")
    assert REDACTOR.arguments(argv) == (*expected, "https://me:[redacted: url_password]@x.org", "parcels")


def test_a_message_is_redacted_wherever_it_has_text() -> None:
    """Subject, text, HTML, blocks, attachments' names and the whole report; ids and paths stay."""
    secret = "token=Xa1b2c3d4"
    error = ErrorDetails(
        type="ValueError", message=secret, source=secret, traceback=secret, thread=secret, fingerprint="f00d"
    )
    report = RunReport(
        id="1",
        name=f"load {secret}",
        started_at=NOW,
        values={"api_key": "Xa1b2c3d4", "rows": 3, "note": secret},
        progress=Progress(done=1, message=secret),
        error=error,
        argv=("load", "--secret", "Xa1b2c3d4"),
    )
    details = MessageDetails(
        secret,
        secret,
        [Attachment(Path("/x/Xa1b2c3d4.log"), name=f"{secret}.log", note=secret)],
        kind=Kind.FAILURE,
        html=f"<p>{secret}</p>",
        blocks=[{"type": "section", "text": {"type": "mrkdwn", "text": f'"a" {secret}"\n'}}],
        report=report,
    )
    redacted = redacted_message(REDACTOR, details)
    assert repr(redacted).count("Xa1b2c3d4") == 1  # the path
    assert "Xa1b2c3d4" not in f"{redacted.html}{redacted.blocks}{redacted.report}"
    assert (redacted.id, redacted.kind, redacted.created_at) == (details.id, details.kind, details.created_at)
    assert redacted.report is not None
    assert redacted.report.values["rows"] == 3
    assert redacted.report.error is not None
    assert redacted.report.error.fingerprint == "f00d"
    assert redacted.html == "<p>token=[redacted: token]</p>"
    assert redacted_message(REDACTOR, redacted) == redacted


def test_blocks_stay_valid_json_and_untouched_ones_stay_as_they_are() -> None:
    """A text that is no JSON is redacted as text."""
    whole = MessageDetails("x", blocks='[{"type":  "divider"}]')
    assert redacted_message(REDACTOR, whole).blocks_json == whole.blocks_json
    assert (
        redacted_message(REDACTOR, MessageDetails("x", blocks="password=abc [")).blocks_json
        == "password=[redacted: password] ["
    )
    quoted = MessageDetails("x", blocks=[{"text": 'say "password=abc"'}])
    assert json.loads(redacted_message(REDACTOR, quoted).blocks_json or "") == [
        {"text": 'say "password=[redacted: password]"'}
    ]


def test_a_report_without_secrets_is_equal_to_itself() -> None:
    """Redaction changes nothing else."""
    report = RunReport(id="1", name="load", started_at=NOW, values={"rows": 3}, argv=("load", "-v"))
    assert redacted_report(REDACTOR, report) == report
