"""What scripts say in plain words: taken down at once as one small row, and made messages of when somebody looks.

A script waits while it says something. So neither a message is made then nor a report of its run: only what was said,
and what is so at that moment, goes into the table ``said``. Whoever next looks at the outbox, a courier of the same
process or another process, makes deliveries of what stands there, under the keys that it has already. What else a
report says was noted when the run started.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from supervisor._models.kinds import Kind
from supervisor._store.contract import LEASE_S
from supervisor._store.sqlite.run_history import record_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from supervisor._models.values import Delivery, MessageDetails, RunReport
    from supervisor._store.processes import Process
    from supervisor._store.sqlite.database import Row

_SAID = """
SELECT key, handler, run, run_id, id, said_at, duration_s, cpu_s, peak_memory_bytes, subject, body, more
FROM said ORDER BY key
"""
_MAKE = """
INSERT INTO delivery (key, handler, state, attempts, due_at, changed_at, lease_until, claimer_host, claimer_pid,
                      claimer_started, last_error, message, kind, created_at, subject, body)
VALUES (?, ?, 'pending', 0, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?)
"""
AS_IF_MADE = f"""
CREATE TEMP VIEW delivery AS SELECT * FROM main.delivery UNION ALL
SELECT said.key, handler, 'pending', 0, said_at, said_at, said_at + {LEASE_S}, host, pid, process_started, '', said.id,
       '{Kind.NOTICE}', said_at, CAST(subject AS TEXT), '"id":"' || run_id || '"'
FROM main.said LEFT JOIN main.run ON run.key = said.run AND run.id = run_id
"""  # noqa: S608
"""Shows deliveries, and what was said as if it were some, to those who may only read."""

# What each notice says by itself, and what no run under way has.
_NOT_OF_START = frozenset(
    {"duration_s", "cpu_s", "peak_memory_bytes", "values", "progress", "outcome", "ended_at", "error", "exit_code"}
)


class Notice(NamedTuple):
    """What a script says in plain words, and what is so at that moment.

    Args:
        run_id: The run's id.
        id: The message's own id.
        said_at_s: When it was said, in seconds since 1970.
        duration_s: How long the run has taken so far.
        cpu_s: Processor seconds so far.
        peak_memory_bytes: The most memory so far; None where the platform does not tell.
        subject: The headline, in UTF-8.
        text: The text, in UTF-8.
        more: What else there is to say, by :func:`more_of`.
        facts: What all notices of the run say, by :func:`facts_of`; b"" where nothing is known of the run.
    """

    run_id: str
    id: str
    said_at_s: float
    duration_s: float
    cpu_s: float
    peak_memory_bytes: int | None
    subject: bytes
    text: bytes
    more: bytes
    facts: bytes

    def put_for(self, handler: str, key: int) -> PutNotice:
        """Return it as it was put for a handler, and the key that the outbox finds it by."""
        return PutNotice(self, handler, key)

    def message(self) -> MessageDetails:
        """Return the message that it is."""
        from supervisor._models.values import MessageDetails
        from supervisor._store.serialization import load

        report = _report_with(self.facts)
        if report is not None:
            more = load(b"{%s}" % self.more[1:]) if self.more else {}
            report = attrs.evolve(
                report,
                duration_s=self.duration_s,
                cpu_s=self.cpu_s,
                peak_memory_bytes=self.peak_memory_bytes,
                **more,
            )
        subject, text = (each.decode("utf-8", "surrogatepass") for each in (self.subject, self.text))
        created_at = datetime.fromtimestamp(self.said_at_s, UTC)
        return MessageDetails(subject, text, id=self.id, created_at=created_at, report=report)

    def dump(self) -> bytes:
        """Return that message as the codec stores it."""
        from supervisor._store.serialization import dump

        created_at = datetime.fromtimestamp(self.said_at_s, UTC)
        subject, text = (dump(each.decode("utf-8", "surrogatepass")) for each in (self.subject, self.text))
        return b'{"$":"MessageDetails","v":{"subject":%s,"own_text":%s,"report":%s,"id":%s,"created_at":%s}}' % (
            subject,
            text,
            self._report() if self.facts else b"null",
            dump(self.id),
            dump(created_at),
        )

    def _report(self) -> bytes:
        from supervisor._store.serialization import dump

        memory = dump(self.peak_memory_bytes)
        return b'{"$":"RunReport","v":{%s,"duration_s":%s,"cpu_s":%s,"peak_memory_bytes":%s%s}}' % (
            self.facts,
            dump(self.duration_s),
            dump(self.cpu_s),
            memory,
            self.more,
        )


@lru_cache(maxsize=16)  # all notices of a run have the same
def _report_with(facts: bytes) -> RunReport | None:
    from supervisor._store.serialization import load

    report: RunReport | None = load(b'{"$":"RunReport","v":{%s}}' % facts) if facts else None
    return report


class PutNotice(NamedTuple):
    """A notice that was put for one handler: a delivery as soon as somebody looks at it.

    Args:
        notice: The notice.
        handler: The name of the handler.
        key: How the outbox finds it.
    """

    notice: Notice
    handler: str
    key: int

    def delivery(self) -> Delivery:
        """Return the delivery that it is."""
        from supervisor._models.values import Delivery

        return Delivery(message=self.notice.message(), handler=self.handler, key=self.key)


def facts_of(report: RunReport) -> bytes:
    """Return what all notices of a run say of it: a part of a report's JSON."""
    from supervisor._store.serialization import members_of

    return members_of(report, without=_NOT_OF_START)


def more_of(values: Mapping[str, Any], progress: object) -> bytes:
    """Return what only some notices say: another part of a report's JSON, with a comma before it; b"" for nothing."""
    from supervisor._store.serialization import dump

    some = {"values": values or None, "progress": progress}
    return b"".join(b',"%s":%s' % (name.encode(), dump(each)) for name, each in some.items() if each is not None)


def make_deliveries(connection: sqlite3.Connection, lease_s: float) -> None:
    """Make deliveries of all that was said, within a commit; each is leased to the process of its run."""
    known: dict[Row, tuple[bytes, Process | None]] = {}
    for key, handler, *run, message_id, said_at, duration_s, cpu_s, memory, subject, body, more in connection.execute(
        _SAID
    ).fetchall():
        if tuple(run) not in known:
            known[tuple(run)] = _start_of(connection, *run)
        facts, process = known[tuple(run)]
        notice = Notice(run[1], message_id, said_at, duration_s, cpu_s, memory, subject, body, more, facts)
        lease = (None, None, None, None) if process is None else (said_at + lease_s, *process)
        title = subject.decode("utf-8", "backslashreplace")
        row = (key, handler, said_at, said_at, *lease, message_id, Kind.NOTICE.value, said_at, title, notice.dump())
        connection.execute(_MAKE, row)
        connection.execute("DELETE FROM said WHERE key = ?", (key,))


def _start_of(connection: sqlite3.Connection, key: int, run_id: str) -> tuple[bytes, Process | None]:
    """Return what a report says of a run, and its process, as they were noted; nothing of one that is noted no more."""
    record = record_of(connection, key, run_id)
    return (facts_of(record.report), record.process) if record is not None else (b"", None)
