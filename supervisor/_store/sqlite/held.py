"""Deliveries that are held: accepted, and not to be sent before their time; and the names that people have muted.

A held delivery is in nobody's way: no worker claims it, and no other message waits for it. When its time has come it
either becomes an ordinary one (``release``), or it is dropped (``drop_held``), since what it says is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor._store.essentials import NO_SET_TIME_S
from supervisor._store.sqlite.outbox import OutboxStore, head_of
from supervisor._store.sqlite.outbox_reader import OutboxReader
from supervisor._store.sqlite.run_queries import instant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from supervisor._models.values import Delivery, MessageDetails
    from supervisor._store.records import HeldDelivery, Mute

_HELD = (
    "SELECT key, handler, subject, kind, created_at, held_until, held_for, run_name, reason, message_id FROM delivery"
)
_ALL_HELD = f"{_HELD} WHERE state = 'held' ORDER BY key"
_HOLD = """
INSERT INTO delivery (handler, state, attempts, due_at, changed_at, last_error, message_id, kind, created_at, subject,
                      body, run_name, held_until, held_for, reason)
VALUES (?, 'held', 0, ?, ?, '', ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SUPERSEDED = """
SELECT key FROM delivery WHERE state = 'held' AND handler = ? AND run_name = ? AND kind <> 'notice'
"""
_RELEASE_HELD = """
UPDATE delivery SET state = 'pending', due_at = ?, changed_at = ?, held_until = NULL WHERE key = ? AND state = 'held'
"""
_DROP_HELD = """
UPDATE delivery SET state = 'dropped', body = NULL, held_until = NULL WHERE key = ? AND state = 'held'
"""
_POSTPONE = "UPDATE delivery SET held_until = ? WHERE key = ? AND state = 'held'"
_TOLD = """
SELECT handler, created_at, kind FROM delivery
WHERE run_name = ? AND created_at >= ? AND state IN ({}) AND kind IN ({}) ORDER BY key
"""
# What was sent long ago is of no interest, and the newest stand at the end.
_ALIKE = """
SELECT run_name, min(created_at) FROM delivery
WHERE key > (SELECT max(key) FROM delivery) - 2000 AND handler = ? AND kind = 'failure' AND created_at >= ?
AND state IN ('sent', 'passed', 'pending', 'held', 'failed') AND reason = ? AND run_name <> ?
GROUP BY run_name ORDER BY 2
"""
# The end of a run after a message was written that says whether it still is as the message says.
_ENDED_AFTER = """
SELECT outcome FROM run WHERE name = ? AND outcome NOT IN ('interrupted', 'cancelled', 'skipped')
AND coalesce(ended_at, started_at + coalesce(duration_s, 0)) >= ? ORDER BY key DESC LIMIT 1
"""
_OPEN_ALERT = """
SELECT 1 FROM alert LEFT JOIN run ON run.key = alert.run AND run.id = alert.run_id
WHERE alert.kind = ? AND alert.name = ? AND resolved_at IS NULL AND (alert.kind = 'missed' OR run.outcome IS NULL)
"""
_MUTES = "SELECT name, since, until_at, until_ok FROM mute ORDER BY name"
_IS_OK_SINCE = """
SELECT 1 FROM run WHERE name = ? AND ended_at >= ? AND outcome NOT IN ('failure', 'terminated', 'died', 'interrupted',
'cancelled', 'skipped') ORDER BY key DESC LIMIT 1
"""
_MUTE = """
INSERT INTO mute (name, since, until_at, until_ok) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET since = excluded.since, until_at = excluded.until_at, until_ok = excluded.until_ok
"""


class HeldReader(OutboxReader):
    """Tell what is held and who is muted; see :class:`~supervisor._store.contract.Held`."""

    def held(self, handlers: Collection[str] | None = None) -> tuple[HeldDelivery, ...]:
        """Return what is held, oldest first."""
        from supervisor._models import Kind
        from supervisor._store.records import HeldDelivery

        rows = self._database.rows(_ALL_HELD)
        return tuple(
            HeldDelivery(
                key, handler, subject, Kind(kind), instant(created_at), until_s, why, name or "", reason, own_id
            )
            for key, handler, subject, kind, created_at, until_s, why, name, reason, own_id in rows
            if handlers is None or handler in handlers
        )

    def held_and_so(self) -> tuple[HeldDelivery, ...]:
        """Return what is held and still is so, oldest first; what is over is dropped when its time has come."""
        return tuple(each for each in self.held() if self.is_still_so(each))

    def is_any_held(self) -> bool:
        """Return whether anything is held."""
        return bool(self._database.rows("SELECT 1 FROM delivery WHERE state = 'held' LIMIT 1"))

    def is_still_so(self, held: HeldDelivery) -> bool:
        """Return whether what an alarm says still is so; of what is no alarm, True."""
        kind, at_s = str(held.kind), held.created_at.timestamp()
        if kind in {"failure", "died"}:
            rows = self._database.rows(_ENDED_AFTER, (held.name, at_s))
            return not rows or rows[0][0] in {"failure", "terminated", "died"}
        if kind in {"missed", "stalled", "overdue"}:
            return bool(self._database.rows(_OPEN_ALERT, (kind, held.name)))
        return True

    def mutes(self) -> dict[str, Mute]:
        """Return the mutes that are in force, by the names of the runs."""
        from supervisor._store.records import Mute

        now = self._clock()
        return {
            name: Mute(name, instant(since), None if until_at is None else instant(until_at), bool(until_ok))
            for name, since, until_at, until_ok in self._database.rows(_MUTES)
            if (until_at is None or now < until_at)
            and not (until_ok and self._database.rows(_IS_OK_SINCE, (name, since)))
        }

    def notified_since(
        self, name: str, since_s: float, kinds: Iterable[str], *, with_held: bool = False
    ) -> dict[str, tuple[float, str]]:
        """Return when handlers were last notified of a name's alarms since an instant, and the first one's kind."""
        states = ("sent", "passed", "pending", "held") if with_held else ("sent", "passed", "pending")
        sql = _TOLD.format(*(", ".join(f"'{each}'" for each in words) for words in (states, kinds)))
        found: dict[str, tuple[float, str]] = {}
        for handler, at_s, kind in self._database.rows(sql, (name, since_s)):
            found[handler] = (at_s, found[handler][1] if handler in found else kind)
        return found

    def failed_alike(self, handler: str, reason: str, name: str, since_s: float) -> dict[str, float]:
        """Return the other names whose failures for one reason a handler was to get since an instant, and when."""
        rows = self._database.rows(_ALIKE, (handler, since_s, reason, name))
        return {each: at_s for each, at_s in rows if each is not None}


class HeldStore(OutboxStore, HeldReader):
    """Hold deliveries, release them, and note mutes; see :class:`~supervisor._store.contract.Held`."""

    def hold(
        self, message: MessageDetails, handlers: Mapping[str, tuple[float, str]], name: str
    ) -> tuple[Delivery, ...]:
        """Accept a message that is not to be sent before its time, in the place of older ones that are held."""
        from supervisor._models.values import Delivery

        now, head, keys = self._clock(), head_of(message, name), []
        folders: list[str] = []
        with self._database.write() as connection:
            for handler, (until_s, why) in handlers.items():
                if str(message.kind) != "notice":
                    rows = connection.execute(_SUPERSEDED, (handler, head[5])).fetchall()
                    folders += self._dropped(connection, (key for (key,) in rows))
                facts = (handler, now, now, *head[:6], min(until_s, NO_SET_TIME_S), why, head[6])
                keys.append(connection.execute(_HOLD, facts).lastrowid or 0)
        self._copies.remove(folders)
        return tuple(Delivery(message=message, handler=each, key=key) for each, key in zip(handlers, keys, strict=True))

    def release_held(self, keys: Sequence[int]) -> None:
        """Let held deliveries be sent from now on."""
        now = self._clock()
        with self._database.write() as connection:
            connection.executemany(_RELEASE_HELD, [(now, now, key) for key in keys])
            for key in keys:
                self._let_follow(connection, key)

    def postpone(self, key: int, until_s: float) -> None:
        """Hold a held delivery for longer."""
        with self._database.write(durable=False) as connection:
            connection.execute(_POSTPONE, (min(until_s, NO_SET_TIME_S), key))

    def drop_held(self, keys: Sequence[int]) -> None:
        """Forget held deliveries, since what they say is over or was said otherwise."""
        with self._database.write() as connection:
            folders = self._dropped(connection, keys)
        self._copies.remove(folders)

    def held_message(self, key: int) -> MessageDetails | None:
        """Return a held message; None where it cannot be read."""
        from supervisor._store.serialization import UnreadableError, load_message

        rows = self._database.rows("SELECT body FROM delivery WHERE key = ?", (key,))
        try:
            return load_message(rows[0][0]) if rows else None
        except UnreadableError:
            return None

    def note_notified(self, keys: Sequence[int]) -> None:
        """Note that another message reported held deliveries, so that their recoveries are sent too."""
        with self._database.write() as connection:
            folders = self._dropped(connection, keys)
            connection.executemany("UPDATE delivery SET state = 'sent' WHERE key = ?", [(key,) for key in keys])
        self._copies.remove(folders)

    def _dropped(self, connection: Any, keys: Iterable[int]) -> list[str]:
        """Drop held deliveries; return the folders of the copies of attachments that nobody needs any more."""
        folders: list[str] = []
        for key in keys:
            sql = (
                "UPDATE delivery SET state = 'dropped', body = NULL, held_until = NULL WHERE key = ? AND state = 'held'"
            )
            if connection.execute(sql, (key,)).rowcount:
                (own_id,) = connection.execute("SELECT message_id FROM delivery WHERE key = ?", (key,)).fetchone()
                folders += self._copies.forget(connection, own_id)
        return folders

    def mute(self, name: str, until_s: float | None, *, until_ok: bool = False) -> None:
        """Send nothing about the runs of a name until an instant, or until one of them succeeds."""
        with self._database.write() as connection:
            connection.execute(_MUTE, (name, self._clock(), until_s, until_ok))

    def unmute(self, name: str) -> bool:
        """End a mute; False when there is none."""
        with self._database.write() as connection:
            return connection.execute("DELETE FROM mute WHERE name = ?", (name,)).rowcount > 0
