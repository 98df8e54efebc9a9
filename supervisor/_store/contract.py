"""The contract of a store: what it is asked to keep of runs, messages and alerts, and what it promises.

The SQLite :class:`~supervisor._store.Journal` is a :class:`Store`; another one, say on a server, fits when it does what
stands here. A store never knows who asks. Its methods can be called from any thread, and after a fork also in the
child. Each raises :class:`~supervisor._store.essentials.JournalUnavailable` when it cannot read or write; nothing was
changed then. Instants are aware UTC datetimes, or seconds since 1970 where the name ends in ``_s``. A method that is
said to do something "for exactly one caller" returns to only one of all processes that it did; it is used in
:meth:`Runs.one_commit` together with :meth:`Outbox.put`, so that a kill in between neither loses the message nor
repeats it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from supervisor._models import DeliveryState, Kind
    from supervisor._models.parts import Notification, Past
    from supervisor._models.values import Delivery, MessageDetails, Progress, RunStep
    from supervisor._store.essentials import EndedRun, MessageChange, Pack, StartedRun, Surroundings
    from supervisor._store.processes import Process
    from supervisor._store.records import (
        AlertRecord,
        DeliveryStatus,
        DestinationRest,
        HeldDelivery,
        LastCheck,
        Mute,
        PresumedDead,
        Repeats,
        RunRecord,
        Streak,
        WaitingDelivery,
    )


class Outbox(Protocol):
    """The deliveries that are not settled yet, on disk (``Journal``) or in memory (``MemoryOutbox``).

    The promise: accepted = sent + pending + failed (+ dropped by a person, or passed on). A delivery is claimed before
    it is sent and settled after it, so that no two threads or processes send it at once; a repeat is possible only when
    the claimer was killed between sending and settling, or took longer than its lease, and bears the same message
    id. After a fork, a child has none of what its parent claimed.

    A destination that failed rests: until its time has come nothing is claimed for it, and then one delivery, whose
    end tells whether the destination goes on or rests again.
    """

    def put(
        self, message: MessageDetails, handlers: Sequence[str], *, claimed: bool = False, name: str = ""
    ) -> tuple[Delivery, ...]:
        """Accept one message for several handlers in one commit; it is durable when this returns.

        One that is claimed at once and has attachments is durable when :meth:`take_attachments` returns.

        Args:
            message: What is to be sent. Relative paths of attachments are made absolute; no attachment is copied yet
                (:meth:`take_attachments`).
            handlers: The names of the handlers; with none, nothing is stored.
            claimed: True leases each delivery to the caller at once, who sends it without another claim.
            name: The name of the runs that it is about, where it has no report that says so; "" for none.

        Returns:
            One pending delivery for each handler, in their order.
        """

    def note_unsent(self, message: MessageDetails, handlers: Sequence[str], name: str = "") -> None:
        """Note that some handlers do not get an alarm: :meth:`put` then takes no recovery from it for them."""

    def reached_by_alarms(self, handlers: Sequence[str], name: str) -> list[str]:
        """Return the handlers that get the recovery of a name now: those whose alarms before it were not all unsent."""

    def claim(self, handler: str, *, own: Collection[int] = ()) -> Delivery | None:
        """Lease the next delivery of a handler that is due.

        No other call gets it until it is settled, its lease ends (after 300 s), or its claimer's process is gone.

        Args:
            handler: The name of the handler.
            own: Keys that go first, in the order of acceptance: the messages of this process.

        Returns:
            First, as ``is_in_doubt``, one the answer to whose last attempt is not known, since its process ended: it is
            to be settled as failed, not to be sent. Otherwise the delivery, with kept copies of its attachments in the
            place of the originals where there are some; None when nothing is due. After the keys in ``own`` come alarms
            and their ends, then the others, each in the order of acceptance; None too, for ten seconds at most, while
            another process has one that comes before. For a destination that rests: None until its time has come, and
            while another delivery to it is under way. Then the first, or with ``other_next`` the one that was tried
            least; those that others passed come last.
        """

    def renew(self, delivery: Delivery, *, is_sent_now: bool = False) -> bool:
        """Begin the lease of a claimed delivery anew; False when it is settled or another process has claimed it.

        Args:
            delivery: What was claimed.
            is_sent_now: True notes that from now on the destination may have the message. The lease then lasts as long
                as the process, however long the answer takes. When the process ends without :meth:`settle`, the next
                :meth:`claim` returns the delivery as ``is_in_doubt``, ahead of all others.
        """

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """End the leases of claimed deliveries of one handler without an attempt, so that anybody can claim them."""

    def rest_of(self, handler: str) -> DestinationRest | None:
        """Return how the destination of a handler rests; None when it does not."""

    def rests(self) -> list[DestinationRest]:
        """Return the destinations that rest, in the order of their handlers' names."""

    def wake(self, handler: str) -> None:
        """Let the next attempt at a destination that rests be made now."""

    def settle(  # noqa: PLR0913 - all that one attempt says
        self,
        delivery: Delivery,
        state: DeliveryState,
        *,
        error: str = "",
        due_in_s: float = 0.0,
        rests: bool = False,
        is_suspected: bool = False,
        other_next: bool = False,
        given_up: bool = False,
    ) -> None:
        """Note how an attempt ended, count it, and end the lease.

        SENT is final, whoever calls. Otherwise a call is ignored when the caller has lost the lease meanwhile, or
        the delivery is settled already.

        Args:
            delivery: What was claimed.
            state: SENT; FAILED, to be tried again only by :meth:`retry`; PENDING, to be tried again.
            error: Why it was not sent.
            due_in_s: Seconds until a PENDING one may be claimed again, or until the destination is tried again.
            given_up: True for a FAILED one that was tried for too long; :meth:`given_up_unreported` then names it. If
                it was an alarm, recoveries that wait behind it are dropped, unless another alarm before them was sent
                or waits.
            rests: True lets the whole destination rest in the place of this delivery. Any other end of an attempt
                ends the rest of the destination, which has answered.
            is_suspected: With ``rests``, True where the message may be the cause: those for which others were accepted
                after that are counted as passed over.
            other_next: With ``rests``, True lets the next attempt take another message than the first.
        """

    def pass_on(
        self, delivery: Delivery, handler: str, change: MessageChange, *, error: str, is_refused: bool
    ) -> tuple[Delivery, ...] | None:
        """Give a claimed delivery to another handler, and settle it for good, both in one step.

        The copies of its attachments serve the other handler. Recoveries that wait behind an alarm follow it, unless
        another alarm before them was sent or waits.

        Args:
            delivery: What was claimed.
            handler: The name of the other handler.
            change: Returns the message as the other handler gets it.
            error: Why it was not sent.
            is_refused: True at the end of an attempt: it is counted, and the destination, which has answered, rests no
                more.

        Returns:
            The new delivery, which is claimed; nothing where the other handler has the same message already, or had.
            None where the lease was lost, or the other handler could not send it either: nothing was changed.
        """

    def claim_overdue(self, handler: str, after_s: float) -> tuple[Delivery, ...]:
        """Lease what has waited and could not be sent for so long, as it is for :meth:`pass_on`, the oldest first.

        Args:
            handler: The name of the handler.
            after_s: For how many seconds the message has waited, and attempts with it or others to its destination
                have failed.
        """

    def state_of(self, delivery: Delivery) -> DeliveryState | None:
        """Return where a delivery stands; None when it is not here, as in a file that was begun anew."""

    def next_due_s(self, handler: str) -> float | None:
        """Return the seconds until something of a handler can be claimed: 0 for now, None when nothing waits."""

    def waiting(self, handlers: Sequence[str]) -> set[str]:
        """Return which of these handlers have pending deliveries, due or not, claimed or not."""

    @property
    def copies(self) -> tuple[str, int]:
        """Return the directory of the copies of attachments, and how many bytes they may have in all."""

    def take_attachments(self, delivery: Delivery, take: Pack) -> Delivery:
        """Take the attachments of a delivery that was just accepted, before the script may change its files.

        Copies are made once for a message, however many handlers wait for it. They are bounded in all (200 MB by
        default): copies of logs are deleted first, the oldest first, and the attachment's note says so
        ("copy dropped: ..."). They are deleted when no handler waits for the message any more.

        Args:
            delivery: A pending one; neither its lease nor its state changes.
            take: Copies one attachment as it is, or links it.

        Returns:
            The delivery with the copies in the place of the originals.
        """

    def with_copies(self, delivery: Delivery) -> Delivery:
        """Return a delivery with the copies that there are now in the place of the originals."""

    def keep_attachments(self, delivery: Delivery, pack: Pack) -> Delivery:
        """Pack the attachments of a delivery that goes on waiting: smaller, and without secrets.

        While another handler sends the message its copies stay as they are. Does nothing in memory.

        Args:
            delivery: One that was settled just now; for whom its message still waits gets packed copies.
            pack: Makes one packed copy.

        Returns:
            The delivery with the copies in the place of the originals.
        """

    def pack_left(self, pack: Pack) -> None:
        """Pack what :meth:`take_attachments` copied of messages that nobody is sending any more.

        The process that was to send them has ended before it could do so. Does nothing in memory.

        Args:
            pack: Makes one packed copy, without secrets.
        """

    def deliveries(self, *, limit: int = 1_000) -> list[WaitingDelivery]:
        """Return what is pending or failed, oldest first, without the messages' texts."""

    def must_wait(self, delivery: Delivery) -> bool:
        """Return whether a recovery must not go yet, since an alarm of its run's name waits for the same handler.

        :meth:`claim` does not return it before. :meth:`put` does not take a recovery for a handler whose alarms before
        it all failed or were dropped.
        """

    def given_up_unreported(self) -> list[tuple[int, str, str]]:
        """Return the deliveries that were given up and that no message has named yet: key, handler and subject."""

    def mark_given_up_reported(self, keys: Collection[int]) -> None:
        """Note that an accepted message has named these deliveries as given up."""

    def note_waiting(self, message: MessageDetails, handler: str) -> None:
        """Note a message elsewhere that :meth:`put` does not take before the process ends.

        Whoever opens the store next takes it over. Its attachments are as they are then. Does nothing in memory.
        """

    def adopt(self, former: str, handler: str, run_name: str) -> bool:
        """Let what waits for a handler under the name that an earlier version gave it wait under today's.

        Args:
            former: The former name. Handlers of other runs may have had it too.
            handler: Today's name.
            run_name: Only messages of runs of this name are taken.

        Returns:
            Whether there were any.
        """

    def retry(self, key: int) -> bool:
        """Make a failed or waiting delivery due now, and its destination; False when there is none with this key."""

    def drop(self, key: int) -> bool:
        """Forget a failed or waiting delivery for good; return False when there is none with this key."""

    def close(self) -> None:
        """Close the file; the next use opens it again."""


class Runs(Protocol):
    """The record of runs. Texts come back as :func:`~supervisor._store.essentials.storable` makes them."""

    def start_run(self, run: StartedRun) -> bool:
        """Note that a run has started; durable when this returns.

        Returns:
            True when other runs of its name have not ended: they are under way, or died.
        """

    def join_run(self, run: StartedRun) -> None:
        """Go on with a run that another process has started: its progress and end are noted where its start was."""

    def progress(self, run_id: str, progress: Progress) -> None:
        """Note how far a run has come; it survives the end of the process, but perhaps not power loss.

        Call it at most once a second. A run that was not started or joined here is ignored.
        """

    def heartbeat(self, run_id: str, longest_s: float, memory: Sequence[int | None] | None = None) -> None:
        """Note that a run lives, as :meth:`progress` does, and renew the leases of what this process is sending.

        Args:
            run_id: The run.
            longest_s: The longest that it was without a sign of life, in seconds; at least its ``heartbeat_s``.
            memory: The memory of its container: a ``MemoryUse``; None where it has no limit.
        """

    def set_links(self, run_id: str, links: Mapping[str, str]) -> None:
        """Note the addresses of pages about a run, as :meth:`progress` does."""

    def set_steps(self, run_id: str, under_way: Sequence[RunStep]) -> None:
        """Note which steps of a run are under way, as :meth:`progress` does; its end has all of them."""

    def set_child_process(self, run_id: str, child: Process) -> None:
        """Note the process of the program that a run has started, as :meth:`progress` does."""

    def end_run(self, run_id: str, end: EndedRun, *, asks: bool = True) -> bool:
        """Note how a run has ended; durable when this returns. Some calls delete old runs.

        Args:
            run_id: A run that was started or joined here; any other is ignored.
            end: How it ended.
            asks: Whether the answer matters: what came before is looked up for it.

        Returns:
            True for a success when the newest run of its name that ended before it was none; False if not asked.
        """

    def note_end(self, started: StartedRun, end: EndedRun) -> None:
        """Note elsewhere how a run has ended, when :meth:`end_run` fails; whoever opens the store next takes it over.

        Args:
            started: The run as it was at its start, which may not be in the store either.
            end: How it ended. What does not fit into the note is left out.
        """

    def mark_died(self, run_id: str, *, lost: RunRecord | None = None, notified: Collection[str] = ()) -> bool:
        """Mark a run as died, for exactly one caller; False when it has ended or another was first.

        Args:
            run_id: The run.
            lost: The run as it was read, where it is only presumed to have died: then it is not marked when it has
                given a sign of life since, and :meth:`presumed_dead` tells the run itself, should it live.
            notified: The names of the handlers that are notified of that.
        """

    def presumed_dead(self, run_id: str) -> PresumedDead | None:
        """Return when a run that was started here was reported as died, and to whom; None when it was not."""

    def mark_notified(self, name: str, fingerprint: str) -> None:
        """Note that people are notified of a failure just now, and begin to count anew."""

    def mark_held_back(self, name: str, fingerprint: str) -> None:
        """Note that a failure was held back because people were notified of an equal one."""

    def repeats(self, name: str, fingerprint: str) -> Repeats:
        """Return when people were last notified of an equal failure, and how many were held back since."""

    def runs(
        self, name: str | None = None, *, failed: bool = False, since: datetime | None = None, limit: int = 100
    ) -> tuple[RunRecord, ...]:
        """Return the newest runs, newest first.

        Args:
            name: Of which name; None means of all.
            failed: Only those that failed, were terminated or died.
            since: Only those that started then or later.
            limit: How many at most.
        """

    def runs_since(self, since_s: float, names: Sequence[str] = ()) -> Iterator[RunRecord]:
        """Yield all runs that started since an instant, newest first, without holding them in memory.

        Args:
            since_s: The instant.
            names: Of which names; none means of all.
        """

    def last_run(self, name: str) -> RunRecord | None:
        """Return the newest run of a name, ended or not."""

    def first_run_since(self, name: str, since: datetime) -> RunRecord | None:
        """Return the first run of a name that started at an instant or later."""

    def run_now(self, record: RunRecord) -> RunRecord | None:
        """Return what is known of a run now; None when it is no longer kept."""

    def newest_runs(self) -> dict[str, RunRecord]:
        """Return the newest run of each name; it takes as long as there are names, however many runs each has."""

    def unended_runs(self) -> tuple[RunRecord, ...]:
        """Return the runs that have not ended, of all names and machines, oldest first."""

    def died_runs(self, name: str) -> tuple[RunRecord, ...]:
        """Return the runs of a name that never ended and whose process is gone or lost, oldest first."""

    def failures_since_success(self, name: str, *, before: str = "") -> Streak:
        """Return how many runs of a name failed in a row, and since when; runs under way do not count.

        Args:
            name: Of which name.
            before: The id of a run that has ended and does not count either; "" for none.
        """

    def has_facts(self, stamp: bytes) -> bool:
        """Return whether the facts of surroundings are kept already."""

    def keep_surroundings(self, found: Surroundings) -> Surroundings:
        """Keep what is around a run, once for all runs with the same stamp; it may not survive power loss.

        Returns:
            The same with its key, and with the facts that are kept.
        """

    def surroundings_of(self, run: RunRecord) -> Surroundings | None:
        """Return what was around a run; None where that is not known."""

    def successful_runs(self, name: str, *, limit: int, before: int | None = None) -> tuple[RunRecord, ...]:
        """Return the last runs of a name that succeeded, newest first; those before the run of a key, or all."""

    def past(self, name: str, *, before: str = "") -> Past:
        """Return what came before a run: the last 30 ended runs of its name, and how many ended alike in a row.

        Args:
            name: The name of the run.
            before: The run's id; "" means before one that starts now.
        """

    def one_commit(self) -> AbstractContextManager[object]:
        """Make what this thread writes in the block one commit: all of it or, after an exception, nothing.

        Do nothing slow in the block: no other process can write meanwhile.
        """


class Alerts(Protocol):
    """What people were notified of, each once: runs that stalled, took too long, died or did not start."""

    def open_alert(self, kind: Kind, run_id: str, *, is_new: bool = False) -> Notification | None:
        """Open the alert that a run stalled, is overdue or died, for exactly one caller.

        Stalls that people are not notified of (see :mod:`~supervisor._models.parts`) are counted.

        Args:
            kind: Stalled, overdue or died.
            run_id: A run that has not ended.
            is_new: True for a stall of its own though the run made no progress since the last one.

        Returns:
            What to notify people of; None when they were, when the stall is held back, and when the run has ended.
        """

    def open_missed_alert(self, name: str, schedule: str, since: datetime, newest: RunRecord | None) -> bool:
        """Open the alert that a scheduled start was missed, for exactly one caller.

        Args:
            name: Of which runs.
            schedule: Their schedule, as text.
            since: When the first start was due that was missed.
            newest: The newest run that the caller knows of; when there is a newer one, nothing is opened.
        """

    def await_recovery(self, kind: Kind, run_id: str, names: Iterable[str]) -> None:
        """Note handlers that are to be notified of the recovery, besides those that were noted before."""

    def mark_recovery_notified(self, key: int, names: Collection[str]) -> bool:
        """Mark these handlers as notified of the recovery; the alert is resolved when all are.

        Returns:
            True for exactly one caller, when one of them was to be notified, or nobody was.
        """

    def resolve_stall(self, run_id: str, *, only: Collection[str] | None = None) -> tuple[str, ...] | None:
        """Resolve the stall of a run that makes progress again.

        Args:
            run_id: The run.
            only: The names of the handlers that the caller can notify; None for all.

        Returns:
            The names of the handlers to notify, for exactly one caller. None when no stall is open, when there are
            others to notify, and when the run has stalled so often that it is not over before its end.
        """

    def resolve_alert(self, key: int) -> bool:
        """Resolve an alert, for exactly one caller."""

    def open_alerts(self) -> tuple[AlertRecord, ...]:
        """Return the alerts that are not resolved, oldest first."""

    def alerts_since(self, since: datetime) -> tuple[AlertRecord, ...]:
        """Return the alerts that people were notified of since an instant, resolved or not, oldest first."""

    def alerts_of(self, run_id: str) -> tuple[AlertRecord, ...]:
        """Return the alerts of a run, resolved or not; all stalls of a run are one alert."""

    def note_schedules(self, configured: Mapping[str, str]) -> dict[str, tuple[str, datetime, datetime | None]]:
        """Note which schedules the configuration has now, and return them as :meth:`schedules` does."""

    def schedules(self, configured: Mapping[str, str]) -> dict[str, tuple[str, datetime, datetime | None]]:
        """Return which schedules the configuration has or had.

        Args:
            configured: Names and their schedules, as texts, as the configuration has them now.

        Returns:
            Of each name: its schedule, when a check first saw it, and when a check no longer saw it (None for those
            that are still configured). What no check has seen yet counts from now.
        """

    def note_check(self, awake_s: float) -> LastCheck:
        """Note that a check runs now, and return when the one before did.

        Args:
            awake_s: What a clock shows that stands still while the machine sleeps: ``time.monotonic()``
                (https://docs.python.org/3/library/time.html#time.monotonic), but on Windows, where it goes on.
        """

    def last_check(self, awake_s: float) -> LastCheck:
        """Return when a check last ran, and when the machine slept, as far as checks and clocks show it."""


class Held(Protocol):
    """Deliveries that are accepted and not to be sent before their time, and the names that people have muted."""

    def hold(
        self, message: MessageDetails, handlers: Mapping[str, tuple[float, str]], name: str
    ) -> tuple[Delivery, ...]:
        """Accept a message that is not to be sent before its time; it is durable when this returns.

        Of what is held for a handler about the same runs, it takes the place, notices aside: only the last word counts.

        Args:
            message: What is to be sent.
            handlers: Until when, in seconds since 1970, and why, by the names of the handlers; see ``HeldDelivery``.
            name: The name of the runs that it is about; "" for none.
        """

    def held(self, handlers: Collection[str] | None = None) -> tuple[HeldDelivery, ...]:
        """Return what is held for some handlers, oldest first; None for all."""

    def held_and_so(self) -> tuple[HeldDelivery, ...]:
        """Return what is held and still is so, oldest first; what is over is dropped when its time has come."""

    def is_any_held(self) -> bool:
        """Return whether anything is held."""

    def held_message(self, key: int) -> MessageDetails | None:
        """Return a held message; None where it cannot be read."""

    def is_still_so(self, held: HeldDelivery) -> bool:
        """Return whether what a held alarm says still is so; True for what is no alarm."""

    def release_held(self, keys: Sequence[int]) -> None:
        """Let held deliveries be sent from now on."""

    def postpone(self, key: int, until_s: float) -> None:
        """Hold a held delivery until another instant."""

    def drop_held(self, keys: Sequence[int]) -> None:
        """Forget held deliveries: what they say is over."""

    def note_notified(self, keys: Sequence[int]) -> None:
        """Note that another message reported these held deliveries, so that their recoveries are sent too."""

    def mutes(self) -> dict[str, Mute]:
        """Return the mutes that are in force, by the names of the runs."""

    def mute(self, name: str, until_s: float | None, *, until_ok: bool = False) -> None:
        """Send nothing about the runs of a name until an instant, or with ``until_ok`` until one of them succeeds."""

    def unmute(self, name: str) -> bool:
        """End a mute; False when there is none."""

    def notified_since(
        self, name: str, since_s: float, kinds: Iterable[str], *, with_held: bool = False
    ) -> dict[str, tuple[float, str]]:
        """Return when handlers were last notified of a name's alarms since an instant, and the first one's kind.

        Args:
            name: Of which runs.
            since_s: The instant, in seconds since 1970.
            kinds: The kinds of alarms.
            with_held: Whether what is held counts too.
        """

    def failed_alike(self, handler: str, reason: str, name: str, since_s: float) -> dict[str, float]:
        """Return the other names whose failures for one reason a handler was to get since an instant, and when."""


class Queries(Protocol):
    """What commands show besides."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all runs, in the order of the alphabet."""

    def newest_of_each(self, limit: int = 10) -> tuple[RunRecord, ...]:
        """Return the newest run of each name, of the names that ran last, newest first."""

    def with_id(self, beginning: str, *, limit: int = 10) -> tuple[RunRecord, ...]:
        """Return the runs whose ids begin so, newest first."""

    def nested_in(self, run_id: str, *, limit: int = 100) -> tuple[RunRecord, ...]:
        """Return the runs that were started within a run, oldest first."""

    def shared_names(self, newest: int = 2_000) -> dict[str, tuple[str, ...]]:
        """Return the names under which scripts of several paths take turns, and these paths; of the newest runs."""

    def successes(self, name: str, *, limit: int = 20) -> tuple[tuple[str, float], ...]:
        """Return the ids and the durations in seconds of the last successes of a name, newest first."""

    def waiting_by_handler(self) -> dict[str, int]:
        """Return how many deliveries are pending, by the names of the handlers."""

    def waiting_counts(self) -> tuple[int, int]:
        """Return how many deliveries are pending, and how many have failed."""

    def waiting_of(self, run_id: str) -> frozenset[int]:
        """Return the keys of the deliveries that are not settled whose message was written in a run."""

    def delivery_statuses(self, keys: Collection[int]) -> dict[int, DeliveryStatus]:
        """Return where deliveries stand; those that are forgotten are left out."""


class Store(Outbox, Runs, Alerts, Held, Queries, Protocol):
    """All of it, in one place, so that one commit can hold a run's end, its alerts and its messages."""

    @property
    def directory(self) -> str:
        """Return the directory of its file, as people are shown it."""
