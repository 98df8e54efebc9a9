"""Bring the runs of a machine's journal into the fleet's database: the journal stays the truth.

``supervisor check`` calls this, and the end of a run where ``replicate = "end"`` says so. Runs are sent at least once,
in batches, oldest first; the database takes each revision of a run once. So a batch whose answer was lost goes again.

The database says up to which key it has the runs. Where it has fewer than this journal knows of, it was restored from a
backup, and gets again what it lacks.
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._fleet.documents import DIED, ENDED, document_of, revision_of
from supervisor._store.sqlite.replication import OpenRun

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from supervisor._redaction import Redactor
    from supervisor._store.records import RunRecord
    from supervisor._store.sqlite.replication import Replicated, ReplicationLog

BATCH_ROWS = 500
BATCH_BYTES = 1_000_000
RUNS_A_CHECK = 2_000
"""So many runs, at most, are sent by one check, so that an old journal comes little by little."""

_OLDEST_S = 399 * 86_400.0
"""Runs that started longer ago are not sent: the database refuses those of more than 400 days."""
_MAY_COME_BACK_S = 7 * 86_400.0
"""For so long after its start, a run that was reported as died may end after all."""
_MOST_TRIES = 3


@attrs.frozen(kw_only=True)
class Refused:
    """A run that the database did not take, and will not take another time.

    Args:
        run_id: The id of the run.
        why: What the database says.
    """

    run_id: str
    why: str


@attrs.frozen(kw_only=True)
class Synced:
    """What came of bringing runs into the fleet.

    Args:
        sent: How many runs were sent, in one revision or another.
        moved: How many of these were new to the database.
        left: Whether there are more runs to send, by the next check.
        skew_s: How far this machine's clock is ahead of the database's, in seconds; behind it is negative.
        round_trip_s: How long the first call took, in seconds.
        lost: How many runs were deleted here before the fleet had them.
        is_restored: Whether the database had fewer runs than before, as after a restore from a backup.
        refused: The runs that the database did not take.
    """

    sent: int = 0
    moved: int = 0
    left: bool = False
    skew_s: float = 0.0
    round_trip_s: float = 0.0
    lost: int = 0
    is_restored: bool = False
    refused: tuple[Refused, ...] = ()


@attrs.define
class _Position:
    """Where the replication stands.

    Args:
        high_key: The database has all runs up to this key.
        base: What is added to keys there.
        open: The runs that it has and that may change yet.
        may_sink: The journal still says that the database has more than it has.
    """

    high_key: int
    base: int
    open: dict[str, OpenRun]
    may_sink: bool = False


class Replica:
    """Brings the runs of one journal into one database.

    Args:
        log: What the journal knows of the database.
        call: Calls a function of the database, with documents for arguments, and returns its answer.
        host: The document of this machine (:func:`~supervisor._fleet.identity.host_document`).
        target: What the journal calls the database: it has no secrets, and is another one for another database.
        environment: The environment whose runs these are.
        send: What may leave the machine, of :data:`~supervisor._fleet.documents.SENDABLE`.
        redactor: Takes out what has become a secret since the runs were recorded. None for nothing.
        clock: Returns seconds since 1970.
    """

    def __init__(  # noqa: PLR0913 - what a connection and a journal have in common, and the seam for tests
        self,
        log: ReplicationLog,
        call: Callable[..., Any],
        host: Mapping[str, Any],
        *,
        target: str,
        environment: str,
        send: Collection[str],
        redactor: Redactor | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._call = call
        self._host = dict(host)
        self._target = target
        self._environment = environment
        self._send = tuple(send)
        self._redactor = redactor
        self._clock = clock
        self._synced = Synced()
        self._calls = 0

    def sync(self, limit: int = RUNS_A_CHECK) -> Synced:
        """Send what is new and what has ended since, and note what the database has taken.

        With nothing new that is two round trips: one for where the database stands, one that says that this machine
        lives.

        Args:
            limit: How many runs to send, at most.

        Raises:
            FleetUnavailable: The database does not answer, or refuses this machine. What it took before is noted.
            JournalUnavailable: The journal cannot be read or written.
        """
        replicated = self._log.begin(self._target)
        answer = self._hello()
        position = self._position(replicated, answer)
        self._synced = attrs.evolve(self._synced, is_restored=position.may_sink, lost=replicated.lost)
        self._host |= {"skew_s": round(self._synced.skew_s, 3), "missing": replicated.lost}
        changed = self._changed(position, answer.get("open") or ())
        for batch in _batches(self._document(run, position, is_new=False) for run in changed):
            self._put_changed(position, batch)
        self._send_new(position, limit - len(changed))
        if not self._calls:
            self._put([], {})
        return attrs.evolve(self._synced, left=bool(self._log.runs_after(position.high_key, 1)))

    # Where the database stands

    def _hello(self) -> dict[str, Any]:
        """Ask where the database stands, and measure how far the clocks are apart."""
        started_s, began = self._clock(), time.monotonic()
        answer: dict[str, Any] = self._call("hello", self._host)
        round_trip_s = time.monotonic() - began
        theirs_s = datetime.fromisoformat(answer["now"]).timestamp()
        # The database read its clock about in the middle.
        self._synced = Synced(skew_s=started_s + round_trip_s / 2 - theirs_s, round_trip_s=round_trip_s)
        return answer

    def _position(self, replicated: Replicated, answer: Mapping[str, Any]) -> _Position:
        """Return from where to go on: from the smaller key of the two."""
        position = _Position(replicated.high_key, replicated.base, dict(replicated.open))
        theirs = int(answer.get("high_key") or 0)
        known = theirs - position.base
        if known > position.high_key:
            # This journal is new, or older than what the database knows of it, or an answer was lost. From now on its
            # runs have larger keys there than any before, so that the next comparison means something.
            position.base = theirs - position.high_key
        elif known < position.high_key:
            position.high_key, position.may_sink = max(0, known), True
        return position

    def _changed(self, position: _Position, open_there: Iterable[str]) -> tuple[RunRecord, ...]:
        """Return the runs that the database has in a smaller revision than they are now.

        It says itself which runs it has as under way: one that was restored may lack ends that it had acknowledged.
        """
        unknown = [each for each in open_there if each not in position.open]
        for run_id, key in self._log.keys_of_ids(unknown, position.high_key).items():
            position.open[run_id] = OpenRun(key, 1)
        runs = {each.id: each for each in self._log.runs_of_keys([each.key for each in position.open.values()])}
        for run_id in position.open.keys() - runs.keys():
            del position.open[run_id]  # no longer kept
        return tuple(run for run in runs.values() if run.id in position.open and self._is_news(run, position))

    def _is_news(self, run: RunRecord, position: _Position) -> bool:
        if revision_of(run) > position.open[run.id].revision:
            return True
        if not self._may_change(run):
            del position.open[run.id]
        return False

    def _may_change(self, run: RunRecord) -> bool:
        revision = revision_of(run)
        return revision < DIED or (revision < ENDED and self._clock() - run.started_at_s < _MAY_COME_BACK_S)

    # What is sent

    def _send_new(self, position: _Position, limit: int) -> None:
        """Send what is new, oldest first."""
        while limit > 0 and (runs := self._log.runs_after(position.high_key, min(limit, BATCH_ROWS))):
            limit -= len(runs)
            for some, batch in self._parts(runs, position):
                if not self._put_new(position, some, batch):
                    break

    def _parts(
        self, runs: Sequence[RunRecord], position: _Position
    ) -> Iterator[tuple[Sequence[RunRecord], list[dict[str, Any]]]]:
        """Yield runs, each time with the batch that has those of them that are not too old."""
        sent = [run for run in runs if self._clock() - run.started_at_s < _OLDEST_S]
        done = 0
        for batch in _batches(self._document(run, position) for run in sent):
            end = next(place for place in range(done, len(runs)) if runs[place].id == batch[-1]["id"]) + 1
            yield runs[done:end], batch
            done = end
        if done < len(runs):
            yield runs[done:], []

    def _document(self, run: RunRecord, position: _Position, *, is_new: bool = True) -> dict[str, Any]:
        document = document_of(run, environment=self._environment, send=self._send, redactor=self._redactor)
        if is_new:
            document["key"] += position.base
        else:
            del document["key"]  # the database had it before
        return document

    def _put_changed(self, position: _Position, batch: Sequence[Mapping[str, Any]]) -> None:
        self._put(batch, {})
        for document in batch:
            self._note_open(position, document["id"], position.open[document["id"]].key, document["rev"])
        self._note(position)

    def _put_new(self, position: _Position, runs: Sequence[RunRecord], batch: list[dict[str, Any]]) -> bool:
        """Send a batch; return False where the database turns out to lack what came before."""
        for _ in range(_MOST_TRIES):
            after = position.base + position.high_key
            theirs = self._put(batch, {"after_key": after, "high_key": position.base + runs[-1].key})
            base = theirs - runs[-1].key
            if base <= position.base:
                break
            # Another process sent runs of this machine at the same time. The key by which the database knows that it
            # has these must be one that it did not have before: a backup of that moment lacks them. So once more.
            for document in batch:
                document["key"] += base - position.base
            position.base = base
        is_taken = base >= position.base
        if is_taken:
            position.high_key = runs[-1].key
            for run in runs:
                if self._may_change(run):
                    self._note_open(position, run.id, run.key, revision_of(run))
        else:  # it was restored from a backup meanwhile
            position.high_key, position.may_sink = max(0, theirs - position.base), True
        self._note(position)
        return is_taken

    def _note_open(self, position: _Position, run_id: str, key: int, revision: int) -> None:
        if revision < ENDED:
            position.open[run_id] = OpenRun(key, revision)
        else:
            position.open.pop(run_id, None)

    def _note(self, position: _Position) -> None:
        self._log.note(
            self._target,
            high_key=position.high_key,
            base=position.base,
            open_runs=position.open,
            may_sink=position.may_sink,
        )
        position.may_sink = False

    def _put(self, batch: Sequence[Mapping[str, Any]], keys: Mapping[str, int]) -> int:
        """Send a batch, note what came of it, and return up to which key the database has runs now.

        Args:
            batch: The documents.
            keys: Up to which key the database has all runs then, "high_key", if it had all up to "after_key" before.
        """
        answer: dict[str, Any] = self._call("put", {**self._host, **keys}, list(batch))
        self._calls += 1
        refused = (Refused(run_id=str(each.get("id")), why=str(each.get("why"))) for each in answer["refused"] or ())
        self._synced = attrs.evolve(
            self._synced,
            sent=self._synced.sent + len(batch),
            moved=self._synced.moved + int(answer["moved"]),
            refused=(*self._synced.refused, *refused),
        )
        return int(answer["high_key"] or 0)


def redactor_with(address: str, redactor: Redactor | None = None) -> Redactor | None:
    """Return a redactor that takes out the password of the fleet's URL as well; None where there is nothing to do.

    Args:
        address: The URL.
        redactor: What takes out all else. None for nothing.
    """
    from urllib.parse import unquote, urlsplit

    password = urlsplit(address).password
    if not password:
        return redactor
    from supervisor._redaction import Redactor

    known = redactor or Redactor()
    return attrs.evolve(known, secrets={*known.secrets, unquote(password)}, patterns=dict(known.patterns))


def _batches(documents: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield documents together, as many as one call takes."""
    batch: list[dict[str, Any]] = []
    total = 0
    for document in documents:
        size = len(json.dumps(document, ensure_ascii=False).encode())
        if batch and (len(batch) >= BATCH_ROWS or total + size > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(document)
        total += size
    if batch:
        yield batch
