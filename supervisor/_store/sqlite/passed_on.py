"""A delivery that is passed on: another handler gets the message, and the first one has no more to do with it.

Both rows change in one transaction of the caller's, so that a kill leaves the delivery with one of the two handlers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from supervisor._store.sqlite.database import Row

_SAME_MESSAGE = (
    "SELECT state FROM delivery WHERE handler = ? AND message_id = (SELECT message_id FROM delivery WHERE key = ?)"
)
_GIVE = """
INSERT INTO delivery (handler, state, attempts, due_at, changed_at, lease_until, claimer_host, claimer_pid,
                      claimer_started, last_error, message_id, kind, created_at, subject, body, run_name, reason)
SELECT ?, 'pending', 0, ?, ?, ?, ?, ?, ?, '', message_id, kind, created_at, subject, coalesce(?, body), run_name, reason
FROM delivery WHERE key = ?
"""
_SETTLE_PASSED = """
UPDATE delivery SET state = 'passed', passed_to = ?, last_error = ?, attempts = attempts + ?, changed_at = ?,
                    body = NULL, lease_until = NULL, claimer_host = NULL, claimer_pid = NULL, claimer_started = NULL,
                    sending_at = NULL
WHERE key = ?
"""
_ARRIVES = {"sent", "pending", "held"}
_CANNOT = {"failed", "passed"}


def pass_row(  # noqa: PLR0913 - what both rows have
    connection: sqlite3.Connection,
    key: int,
    handler: str,
    note: str,
    *,
    now: float,
    body: bytes | None = None,
    lease: Row = (None, None, None, None),
    tries: bool = False,
) -> int | None:
    """Give the message of a delivery to another handler, and mark the delivery as passed on.

    Args:
        connection: In whose transaction.
        key: The delivery's key.
        handler: The name of the other handler.
        note: Why, for people who look it up.
        now: The time.
        body: The message as the other handler gets it; None for the same.
        lease: Until when the new delivery is claimed, and by which process; all None for nobody.
        tries: Whether an attempt of the first handler ends by this.

    Returns:
        The key of the new delivery; 0 where the other handler has the message already; None where it could not send
        it either, and nothing was changed.
    """
    states = {state for (state,) in connection.execute(_SAME_MESSAGE, (handler, key)).fetchall()}
    if states & _CANNOT and not states & _ARRIVES:
        return None
    new_key = 0
    if not states & _ARRIVES:
        new_key = connection.execute(_GIVE, (handler, now, now, *lease, body, key)).lastrowid or 0
    connection.execute(_SETTLE_PASSED, (handler, note, int(tries), now, key))
    return new_key
