"""E-mail addresses as people paste them, alike for all handlers that send mail."""

from __future__ import annotations

import inspect
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor import ConfigurationError, message_handlers
from supervisor.message_handlers._options import MailAddress, cleaned_address, split_addresses
from supervisor.message_handlers._registry import built_in

MAILERS = [
    kind
    for kind in (getattr(message_handlers, name) for name in built_in().values())
    if "to_addresses" in attrs.fields_dict(kind)
]
NEEDED: dict[str, Any] = {
    "smtp_server": "smtp.example.com",
    "api_key": "SG.x",
    "from_address": "jobs@example.com",
    "oauth2": {"provider": "microsoft", "tenant": "example.com", "client_id": "c", "client_secret": "s3cret"},
}


def mailer(kind: Any, **settings: Any) -> Any:
    """Return a handler of a kind that sends mail."""
    names = inspect.signature(kind).parameters
    return kind(**{name: each for name, each in {**NEEDED, **settings}.items() if name in names})


def parsed(*texts: str) -> list[tuple[str, str]]:
    """Return display names and addresses."""
    return [(each.display, each.address) for each in map(MailAddress.parse, texts)]


@pytest.mark.parametrize(
    ("pasted", "expected"),
    [
        ("a@example.com; ", [("", "a@example.com")]),
        ("a@example.com,b@example.com;\n", [("", "a@example.com"), ("", "b@example.com")]),
        ("a@example.com\r\n b@example.com\n\n", [("", "a@example.com"), ("", "b@example.com")]),
        ('"Doe, Jane" <jane@example.com>', [("Doe, Jane", "jane@example.com")]),
        ("Doe, Jane <jane@example.com>; a@example.com", [("Doe, Jane", "jane@example.com"), ("", "a@example.com")]),
        ('"Doe; J." <j@example.com>, Ops <o@example.com>', [("Doe; J.", "j@example.com"), ("Ops", "o@example.com")]),
        ("mailto:a@example.com", [("", "a@example.com")]),
        ("MAILTO:a@example.com?subject=Hello%20there", [("", "a@example.com")]),
        ("Ops <mailto:ops@example.com>", [("Ops", "ops@example.com")]),
        ("<a@example.com>", [("", "a@example.com")]),
        ("\ufeffa@example.com\u200b\xa0", [("", "a@example.com")]),
        (["a@example.com; b@example.com", "c@example.com,"], [("", f"{each}@example.com") for each in "abc"]),
        (" ;, \n", []),
        ("", []),
        (None, []),
    ],
)
def test_addresses_as_they_are_pasted(pasted: Any, expected: list[tuple[str, str]]) -> None:
    """Separators of all kinds, a name with a comma, ``mailto:`` and invisible characters do no harm."""
    assert parsed(*split_addresses(pasted)) == expected
    if len(expected) == 1 and isinstance(pasted, str):
        assert parsed(str(cleaned_address(pasted))) == expected
    for kind in MAILERS if expected else ():
        assert parsed(*mailer(kind, to_addresses=pasted).to_addresses) == expected


@pytest.mark.parametrize(
    ("pasted", "wrong"),
    [
        ("a@example.com, nobody", "nobody"),
        ("nobody, a@example.com", "nobody, a@example.com"),
        ("a@example.com b@example.com", "a@example.com b@example.com"),
        ("a@example.com/b@example.com", "a@example.com/b@example.com"),
        ("Somebody <>", "Somebody <>"),
        (["a@example.com", 5], 5),
        ("Alert\r\nBcc: evil@example.com", "Alert, Bcc: evil@example.com"),
    ],
)
@pytest.mark.parametrize("kind", MAILERS)
@pytest.mark.parametrize("option", ["to_addresses", "cc", "bcc"])
def test_what_is_wrong_is_named(kind: Any, option: str, pasted: Any, wrong: Any) -> None:
    """The error has the very piece that is no address."""
    with pytest.raises(ConfigurationError, match=f"^{kind.__name__}: {option} must be addresses like") as caught:
        mailer(kind, **{"to_addresses": "a@example.com", option: pasted})
    assert str(caught.value).endswith(f"got {wrong!r}")


@pytest.mark.parametrize("kind", MAILERS)
def test_the_sender_is_one_address(kind: Any) -> None:
    """The sender may be pasted too; several are refused."""
    handler = mailer(kind, to_addresses="a@example.com", from_address="mailto:jobs@example.com;\n")
    assert handler.from_address == "jobs@example.com"
    with pytest.raises(ConfigurationError, match="from_address must be addresses like"):
        mailer(kind, to_addresses="a@example.com", from_address="a@example.com, b@example.com")


@given(st.text(st.characters() | st.sampled_from('<>@,;"\r\n mailto:'), max_size=80))
@example('"' * 60)
@example("<" * 60)
def test_any_text(text: str) -> None:
    """Whatever is pasted, none of its pieces is blank, and none that counts as an address has a line break in it."""
    for each in split_addresses(text):
        assert each.strip()
        try:
            address = MailAddress.parse(each)
        except ValueError:
            continue
        assert not set(f"{address.display}{address.address}") & set("\r\n\0")
