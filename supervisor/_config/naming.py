"""Tells by its name whether an option of a handler holds a secret."""

from __future__ import annotations

_SECRET = frozenset(
    {
        "api_key", "headers", "oauth2_token", "password", "ping_key", "ping_url", "secret", "token", "url", "urls",
        "uuid", "webhook_url",
    }
)  # fmt: skip
_HARMLESS = frozenset(
    {
        "base_url", "bcc", "ca_file", "cc", "channel", "client_name", "client_version", "from_address", "host", "kinds",
        "late_after_s", "limit_bytes", "name", "prefix", "security", "slug", "smtp_port", "smtp_server", "smtpPort",
        "smtpServer", "stream", "timeout_s", "to_addresses", "type", "username", "verify_certificate",
    }
)  # fmt: skip
_CLOSE = 0.75
_LONG = 10


def hides(name: str) -> bool:
    """Tell whether what an option holds is never shown: a secret, by its name or by one that it nearly has.

    So the value of ``api_kye`` does not come to light by the misspelling. A mapping counts as a whole: of ``headers``
    anything may be secret.
    """
    if name in _HARMLESS or name in _SECRET:
        return name in _SECRET
    lower = name.lower()
    return lower.endswith(("url", "urls", "uri")) or _is_secret(name) or _is_nearly_secret(lower)


def is_credential(key: tuple[str, ...], value: object) -> bool:
    """Tell whether a hidden value is so probably a secret that one should warn of it where others can read it.

    Args:
        key: The option's name, and the names within it.
        value: What stands there.
    """
    name, *inner = key
    if value in {"", None}:
        return False
    if name == "headers" and inner:
        return _is_secret(inner[-1])
    return name != "url" or _has_more_than_a_path(str(value))


def _has_more_than_a_path(url: str) -> bool:
    """Tell whether a webhook's URL has a user, a query, or a part of its path that is no word."""
    parts = url.partition("://")[2].split("/")[1:]
    return "@" in url or "?" in url or any(len(each) >= _LONG and not each.isalpha() for each in parts)


def takes_text(name: str) -> bool:
    """Tell whether an option of this package is a secret that cannot be a mapping."""
    return name in _SECRET and name != "headers"


def _is_secret(name: str) -> bool:
    from supervisor._redaction.names import kind_of  # 10 ms that the usual names do not cost

    return kind_of(name) is not None


def _is_nearly_secret(name: str) -> bool:
    from difflib import get_close_matches

    return bool(get_close_matches(name, _SECRET, n=1, cutoff=_CLOSE))
