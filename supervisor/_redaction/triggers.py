"""What tells that a secret may be near. On every run's path, so it loads nothing that few texts need."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from supervisor._redaction.scanner import Span

URL_PASSWORD = "url_password"  # noqa: S105 - a label
PRIVATE_KEY = "private_key"
_USER = rb"[^\s/:@?#\"'<>]{0,256}+:(?!\d{1,5}[/?#\s\"'])"  # and no port behind it
IN_KEYS = (
    *(b"passw", b"passph", b"_pass", b"-pass", b"pass=", b"pass:", b'pass"', b"pass'", b"pwd"),
    *(b"secret", b"token", b"key", b"auth", b"cred", b"cookie", b"sig=", b"signature", b"code="),
    *(b"session_id", b"session-id", b"sessionid=", b'sessionid"', b"sessid=", b"session=", b'session"', b"session'"),
)
"""What the name of a key has in it whose value is secret."""


class Hint(NamedTuple):
    """A text that tells that a secret may be near.

    Args:
        text: What to look for, in lower case; it counts in any case.
        find: Looks closely from the hint's beginning on, and returns the secret if there is one.
        then: A pattern of what must follow, in lower case, where that spares most closer looks.
    """

    text: bytes
    find: Callable[[bytes, int], Span | None]
    then: bytes = b""


def hints(off: frozenset[str], *, more: bool) -> Iterator[Hint]:
    """Yield all hints; of several at one place, the first of them that finds something counts.

    Args:
        off: Labels of what is not looked for.
        more: Whether more may follow behind what is looked at. A secret that may go on there ends at its very end.
    """
    from supervisor._redaction.shapes import SHAPES

    for shape in SHAPES:
        if shape.label not in off:
            yield from (Hint(text, shape.find) for text in shape.hints)
    if URL_PASSWORD not in off:
        yield Hint(b"://", _find_url_password, _USER)
    if PRIVATE_KEY not in off:
        yield Hint(b"private key", _find_open_private_key if more else _find_private_key)
    yield from (Hint(text, _find_value) for text in IN_KEYS)


def _find_url_password(data: bytes, at: int) -> Span | None:
    from supervisor._redaction.shapes import find_url_password

    return find_url_password(data, at)


def _find_private_key(data: bytes, at: int, *, more: bool = False) -> Span | None:
    from supervisor._redaction.shapes import find_private_key

    return find_private_key(data, at, more=more)


def _find_open_private_key(data: bytes, at: int) -> Span | None:
    return _find_private_key(data, at, more=True)


def _find_value(data: bytes, at: int) -> Span | None:
    from supervisor._redaction.key_values import find_value

    return find_value(data, at)
