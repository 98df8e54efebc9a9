"""What a web server answered, as data that handlers judge."""

from __future__ import annotations

import http.client
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

import attrs

from supervisor._text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from email.message import Message

LONGEST_WAIT_S = 86_400.0
TEMPORARY = frozenset({408, 425, 429})  # besides all of 5xx: https://www.rfc-editor.org/rfc/rfc9110#section-15


@attrs.frozen(kw_only=True)
class Answer:
    """What a server answered.

    Args:
        status: The status code.
        headers: Finds a name in any case.
        body: The first 64 KiB of the body.
    """

    status: int
    headers: Message
    body: bytes = b""

    @property
    def is_temporary(self) -> bool:
        """Return whether the same request may succeed later."""
        return self.status in TEMPORARY or self.status >= 500  # noqa: PLR2004 - the server's own faults

    def told(self, secrets: Iterable[str] = ()) -> str:
        """Return the body as one short line, without secrets that it may repeat."""
        return one_line(hide(self.body.decode("utf-8", "replace"), secrets), 300)

    @property
    def phrase(self) -> str:
        """Return the status as people say it ("503 Service Unavailable")."""
        return f"{self.status} {http.client.responses.get(self.status, '')}".rstrip()

    @property
    def retry_after_s(self) -> float | None:
        """Return the seconds that the server asks to wait, or None when it does not say; a day at most.

        ``Retry-After`` holds seconds or a date (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3). A date is
        counted from the server's own ``Date``, so that a wrong clock on either side does no harm.
        """
        value = (self.headers.get("Retry-After") or "").strip()
        try:
            seconds = float(value)
            return min(seconds, LONGEST_WAIT_S) if seconds >= 0 else None
        except ValueError:
            moment = _moment(value)
            return self.seconds_until(moment) if moment else None

    def seconds_until(self, moment: datetime) -> float:
        """Return the seconds from this answer until an aware moment, between 0 and a day."""
        now = _moment(self.headers.get("Date") or "") or datetime.now(UTC)
        return min(max(0.0, (moment - now).total_seconds()), LONGEST_WAIT_S)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def hide(text: str, secrets: Iterable[str]) -> str:
    """Return a text without the given secrets and their parts, as they are and as URLs quote them.

    Do this before a text is cut, or half a secret may stay.
    """
    parts = {part for each in secrets for part in (each, *re.split(r"[/:@?&=#,;\s]+", each))}
    for secret in sorted(parts | {unquote(each) for each in parts}, key=len, reverse=True):
        if len(secret) > 3:  # noqa: PLR2004 - what is shorter is no secret, and part of ordinary words
            text = text.replace(secret, "***")
    return text
