"""Changes of older files that SQL alone cannot make. Loaded when such a file is found.

A published migration is never changed, so nothing here depends on how the rest of the store reads and writes today:
tables, columns and stored JSON are those of the file's own version.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

_LEASE_S = 300.0
_NOTICES = """
SELECT said.key, said.handler, said.id, said.said_at, said.duration_s, said.cpu_s, said.peak_memory_bytes, said.subject,
       said.body, said.more, run.id, run.name, run.started_at, run.parent_id, run.host, run.pid, run.process_started,
       run.user, run.python, run.log_path, run.argv
FROM said LEFT JOIN run ON run.key = said.run AND run.id = said.run_id ORDER BY said.key
"""
_INSERT = """
INSERT INTO delivery (key, handler, state, attempts, due_at, changed_at, lease_until, claimer_host, claimer_pid,
                      claimer_started, last_error, message, kind, created_at, subject, body)
VALUES (?, ?, 'pending', 0, ?, ?, ?, ?, ?, ?, '', ?, 'notice', ?, ?, ?)
"""


def notices_to_deliveries(connection: sqlite3.Connection) -> None:
    """Turn the rows of the table ``said`` of version 5 into deliveries with the same keys and message ids.

    Version 5 wrote a script's plain notices there, without the facts of their run, and made deliveries of them
    later. As there, each is leased to the process of its run, which may be sending it at this moment.
    """
    for row in connection.execute(_NOTICES).fetchall():
        key, handler, message_id, written_at, *_ = row
        subject, body = row[7:9]
        host, pid, process_started = row[14:17]
        lease_until = None if pid is None else written_at + _LEASE_S
        lease = (lease_until, host, pid, process_started)
        title = _text(subject).encode("utf-8", "backslashreplace").decode("utf-8")
        message = _message(subject, body, message_id, written_at, _report(row))
        connection.execute(
            _INSERT, (key, handler, written_at, written_at, *lease, message_id, written_at, title, _dump(message))
        )


def _message(subject: bytes, body: bytes, message_id: str, written_at: float, report: Any) -> dict[str, Any]:
    fields = {"subject": _text(subject), "own_text": _text(body), "report": report}
    return _tag("MessageDetails", {**fields, "id": message_id, "created_at": _instant(written_at)})


def _report(row: Sequence[Any]) -> dict[str, Any] | None:
    """Return what the message says of its run; None where the run is no longer in the file."""
    duration_s, cpu_s, peak_memory_bytes, _, _, more = row[4:10]
    run_id, name, started_at, parent_id, host, pid, _, user, python, log_path, argv = row[10:]
    if run_id is None:
        return None
    fields = {
        "id": run_id,
        "name": name,
        "started_at": _instant(started_at),
        "duration_s": duration_s,
        "parent_id": parent_id,
        "host": host,
        "user": user,
        "pid": pid,
        "argv": _tag("tuple", [] if argv is None else _load(argv)),
        "python": python,
        "cpu_s": cpu_s,
        "peak_memory_bytes": peak_memory_bytes,
        "log_path": None if log_path is None else _tag("Path", log_path),
    }
    # Recorded values and progress, as members of a JSON object with a comma before each.
    return _tag("RunReport", fields | (_load(b"{%s}" % more[1:]) if more else {}))


def _tag(tag: str, value: Any) -> dict[str, Any]:
    return {"$": tag, "v": value}


def _instant(seconds: float) -> dict[str, Any]:
    return _tag("datetime", datetime.fromtimestamp(seconds, UTC).isoformat())


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")


def _load(stored: bytes) -> Any:
    return json.loads(_text(stored))


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
