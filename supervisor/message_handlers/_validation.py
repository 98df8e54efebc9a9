"""Converters and validators for the settings of handlers.

Every error has the form ``EmailHandler: smtp_port must be 1-65535, got 0``, and no secret is ever quoted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import attrs

    Field = attrs.Attribute[Any]


def text_or_empty(value: object) -> str:
    """Return a setting as text; None becomes the empty text."""
    return "" if value is None else str(value)


def not_blank(handler: object, field: Field, value: object) -> None:
    """Refuse a text that is missing or blank."""
    if not isinstance(value, str) or not value.strip():
        raise setting_error(handler, field, "a text that is not blank", value)


def optional_not_blank(handler: object, field: Field, value: object) -> None:
    """Refuse a text that is blank; None means that the setting is not given."""
    if value is not None:
        not_blank(handler, field, value)


def at_least_one_address(handler: object, field: Field, value: tuple[str, ...]) -> None:
    """Refuse an empty list of addresses, and one that holds anything else."""
    if not value:
        raise setting_error(handler, field, "at least one address", value)
    only_addresses(handler, field, value)


def only_addresses(handler: object, field: Field, value: tuple[str, ...]) -> None:
    """Refuse a list that holds anything but addresses."""
    for address in value:
        if not isinstance(address, str) or "@" not in address or any(c in address for c in "\r\n\0"):
            raise setting_error(handler, field, "addresses like name@example.com", address)


def http_url(handler: object, field: Field, value: object) -> None:
    """Refuse anything but an http or https URL. A URL may hold a secret, so it is not quoted."""
    if not isinstance(value, str) or not value.lower().startswith(("https://", "http://")):
        raise setting_error(handler, field, "a URL that starts with https://", value)


def requestable_url(handler: object, field: Field, value: object) -> None:
    """Refuse a URL that cannot be requested: without a host, with a wrong port, blanks or control characters."""
    http_url(handler, field, value)
    from urllib.parse import urlsplit

    text = str(value)
    try:
        parts = urlsplit(text)
        labels = (parts.hostname or "").rstrip(".").split(".")
        fits = parts.port != 0 and all(0 < len(label) < 64 for label in labels)  # noqa: PLR2004 - RFC 1035, 2.3.4: 63 octets
    except ValueError:  # a port that is no number, or brackets that do not match
        fits = False
    if not fits or not all("!" <= c <= "~" for c in text):
        raise setting_error(handler, field, "a URL like https://example.com/path, in ASCII and without blanks", value)


def positive(handler: object, field: Field, value: object) -> None:
    """Refuse anything but a number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise setting_error(handler, field, "a number above 0", value)


def split_addresses(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return one address or many as a tuple; a text may hold several, separated by commas or semicolons."""
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.replace(";", ",").split(",")
    return tuple(each.strip() if isinstance(each, str) else each for each in value if each)


def setting_error(handler: object, field: Field, expected: str, value: object) -> ConfigurationError:
    """Return the error for a setting that is wrong; the value of a field with ``repr=False`` is not shown."""
    got = "nothing" if value is None or value in ("", ()) else repr(value) if field.repr else "something else"
    return ConfigurationError(f"{type(handler).__name__}: {field.name} must be {expected}, got {got}")
