"""The credentials of configured handlers are known, in every way in which they may be written."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

import attrs
import pytest

from supervisor._redaction import Redactor, redactor_for, secrets_of
from supervisor.errors import ConfigurationError
from supervisor.message_handlers import (
    AppriseHandler,
    ConsoleHandler,
    EmailHandler,
    HealthchecksHandler,
    SendGridHandler,
    SlackHandler,
    WebhookHandler,
)

MAIL: dict[str, Any] = {"from_address": "a@example.com", "to_addresses": "b@example.com"}
PASSWORD = "p&'w\"<ö>\\ /4"


def email(password: str = PASSWORD) -> EmailHandler:
    """Return a handler that logs in."""
    return EmailHandler(smtp_server="mail.example.com", username="me", password=password, **MAIL)


@pytest.mark.parametrize(
    ("handler", "secrets"),
    [
        (email(), {PASSWORD}),
        (SendGridHandler(api_key="the-key-of-mine", **MAIL), {"the-key-of-mine"}),
        (SlackHandler(token="a-bots-token", channel="C1"), {"a-bots-token"}),
        (SlackHandler(webhook_url="https://hooks.slack.com/services/T0AB12CD3/B0AB12CD3/Xa1b2c3d4e5"), {"Xa1b2c3d4e5"}),
        (
            WebhookHandler(url="https://me:pw%2F1234@example.com/in/Xa1b2c3d4e5?t=Ya1b2c3d4e5"),
            {"pw%2F1234", "pw/1234", "Xa1b2c3d4e5", "Ya1b2c3d4e5"},
        ),
        (WebhookHandler(url="https://example.com", secret="whsec_c2VjcmV0c2VjcmV0"), {"c2VjcmV0c2VjcmV0"}),
        (
            WebhookHandler(
                url="https://example.com", headers={"Authorization": "Bearer abcdefg", "X-Env": "production"}
            ),
            {"Bearer abcdefg", "abcdefg"},
        ),
        (HealthchecksHandler(uuid="123e4567-e89b-12d3-a456-426614174000"), {"123e4567-e89b-12d3-a456-426614174000"}),
        (HealthchecksHandler(ping_key="a-ping-key", slug="nightly"), {"a-ping-key"}),
        (
            AppriseHandler(urls=["slack://T1JJ3T3L2A/A1BRTD4JDB/TIiajkdnl12", "mailto://me:pw123456@x.org"]),
            {"T1JJ3T3L2A", "TIiajkdnl12", "pw123456"},
        ),
    ],
)
def test_every_credential_of_a_handler_is_known(handler: Any, secrets: set[str]) -> None:
    """Passwords, keys, webhooks as a whole and their telling parts; what is no secret is not among them."""
    found = secrets_of(handler)
    assert secrets <= found
    harmless = {
        "example.com",
        "mail.example.com",
        "hooks.slack.com",
        "services",
        "production",
        "nightly",
        "failure",
        "https",
    }
    assert not found & harmless


def test_a_handler_without_secrets_has_none() -> None:
    """Neither has an object that is no handler at all."""
    assert secrets_of(ConsoleHandler()) == frozenset()
    assert secrets_of(object()) == frozenset()


def test_handlers_of_ones_own_are_looked_at_too() -> None:
    """Of attrs and dataclasses what is not shown; of any class what has the name of a secret. Callables are skipped."""

    @attrs.define
    class WithAttrs:
        url: str = attrs.field(repr=False)
        make: Any = attrs.field(repr=False, default=lambda: "never called")
        channel: str = "parcels-channel"

    @dataclass
    class WithDataclass:
        login: str = field(repr=False)
        token: str = "shown-by-mistake"
        place: str = "somewhere"

    class Plain:
        def __init__(self) -> None:
            self._api_key = "kept-in-private"
            self.place = "somewhere"

    assert secrets_of(WithAttrs("hidden-url")) == {"hidden-url"}
    assert secrets_of(WithDataclass("hidden-login")) == {"hidden-login", "shown-by-mistake"}
    assert secrets_of(Plain()) == {"kept-in-private"}


@pytest.mark.parametrize(
    "written",
    [
        PASSWORD,
        quote(PASSWORD),
        quote(PASSWORD, safe=""),
        quote_plus(PASSWORD),
        quote(PASSWORD, safe="").lower(),
        json.dumps(PASSWORD),
        json.dumps(PASSWORD, ensure_ascii=False),
        json.dumps(json.dumps(PASSWORD)),
        repr(PASSWORD),
        html.escape(PASSWORD),
        html.escape(PASSWORD, quote=False),
        base64.b64encode(PASSWORD.encode()).decode(),
        base64.urlsafe_b64encode(PASSWORD.encode()).decode(),
        base64.b64encode(f"me:{PASSWORD}".encode()).decode(),
        base64.b64encode(f"\0me\0{PASSWORD}".encode()).decode(),
    ],
)
def test_a_known_secret_is_found_however_it_is_written(written: str) -> None:
    """As URLs, JSON, HTML and Python quote it, and as HTTP and SMTP send it."""
    redacted = redactor_for([email()]).text(f"sent {written} to mail.example.com")
    assert "[redacted: credential]" in redacted
    core = written.strip("\"'=\\")
    assert core not in redacted
    assert "mail.example.com" in redacted


def test_a_known_secret_is_found_in_a_log_of_old_windows() -> None:
    """Its bytes are those of cp1252 there."""
    passing = Redactor(["geheimnüss"]).bytes_filter()
    assert passing.feed("mit geheimnüss\n".encode("cp1252")) + passing.flush() == b"mit [redacted: credential]\n"


def test_short_secrets_and_mere_words_do_not_blank_everything() -> None:
    """A password of one letter would leave nothing; one that is the word "password" would take every such word."""
    redactor = Redactor(["a", "12345", "password", "secret", "redacted", ""])
    text = "a password of 12345 secrets was redacted"
    assert redactor.text(text) is text
    assert redactor.text("password=a") == "password=[redacted: password]"


def test_a_secret_of_several_lines_is_found_line_by_line() -> None:
    """A log puts its own things before each of them."""
    redactor = Redactor(["first-line-of-it\nsecond-line-of-it"])
    assert (
        redactor.text("| first-line-of-it\n| second-line-of-it") == "| [redacted: credential]\n| [redacted: credential]"
    )


def test_what_overlaps_is_one_secret() -> None:
    """A known secret that is longer than the value that a key tells of, or the other way round, leaves no rest."""
    redactor = Redactor(["token=abc; and more"])
    assert redactor.text("x token=abc; and more y") == "x [redacted: credential] y"
    assert Redactor(["Yhunter22 tail"]).text("password=XYhunter22 tail") == "password=[redacted: password]"
    assert Redactor(["hunter22"]).text("password=Xhunter22Y z") == "password=[redacted: password] z"


def test_no_secret_stands_in_the_redactor_s_own_repr() -> None:
    """It may be logged."""
    assert "hunter22" not in repr(Redactor(["hunter22"]))


def test_who_hears_of_what_is_no_credential() -> None:
    """The names of errors and the times of the day stay in messages: "TimeoutError" is what failed."""
    settings: dict[str, Any] = {
        "errors": "TimeoutError",
        "not_errors": "KeyboardInterrupt",
        "quiet": "20:00-06:00",
        "urgent": "died",
    }
    handler: Any = WebhookHandler(url="https://127.0.0.1/hook", **settings)
    assert secrets_of(handler) == {"https://127.0.0.1/hook"}
    with pytest.raises(ConfigurationError, match="got '20-6'"):
        WebhookHandler(url="https://127.0.0.1/hook", quiet="20-6")
