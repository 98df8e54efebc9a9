"""Which stalls of a run are told: a rule without a clock of its own."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from supervisor._alerts import AlertsInMemory
from supervisor._models import Kind
from supervisor._models.parts import NOTIFIED_SINGLY, NOTIFY_AGAIN_AFTER_S, Notification, StallHistory, next_stall

HOUR = NOTIFY_AGAIN_AFTER_S


def test_the_first_three_are_told() -> None:
    """Three stalls are told however close they come; the fourth is held back and counted."""
    known = None
    notified = []
    for number in range(4):
        changed = next_stall(known, float(number), float(number))
        assert changed is not None
        known, noted = changed
        notified.append(noted)
    assert notified == [Notification(1, 0), Notification(2, 0), Notification(3, 0), None]
    assert known == StallHistory(3.0, 2.0, 4, 1)


def test_the_same_stall_is_told_once() -> None:
    """Whoever finds a stall that is told already changes nothing, unless it is said to be another one."""
    assert next_stall(StallHistory(5.0, 6.0), 5.0, 9.0) is None
    assert next_stall(StallHistory(5.0, 6.0), 5.0, 9.0, is_new=True) == (StallHistory(5.0, 9.0, 2), Notification(2, 0))


def test_one_that_was_held_back_is_told_when_an_hour_is_over() -> None:
    """The hour counts from what was told last, and the number is of those that stayed untold before."""
    known = StallHistory(100.0, 50.0, 9, 6)
    assert next_stall(known, 100.0, 50.0 + HOUR - 1) is None
    assert next_stall(known, 100.0, 50.0 + HOUR) == (StallHistory(100.0, 50.0 + HOUR, 9), Notification(9, 5))
    assert next_stall(known, 101.0, 50.0 + HOUR) == (StallHistory(101.0, 50.0 + HOUR, 10), Notification(10, 6))


@given(st.lists(st.tuples(st.floats(0, 2 * HOUR), st.booleans()), max_size=60))
def test_there_are_never_too_many_and_none_is_lost(looks: list[tuple[float, bool]]) -> None:
    """Whatever the pace: at most three and one an hour are told, and each stall is told or counted."""
    known, now, since, notified = None, 0.0, 0.0, []
    for passed_s, is_another in looks:
        now += passed_s
        since += is_another
        changed = next_stall(known, since, now)
        if changed is not None:
            known, noted = changed
            notified += [(now, noted)] if noted is not None else []
    assert len(notified) <= NOTIFIED_SINGLY + now / HOUR
    if known is not None:
        assert known.times == len(notified) + sum(noted.skipped for _, noted in notified) + known.skipped
        assert all(later - earlier >= HOUR for (earlier, _), (later, _) in pairwise(notified[2:]))


def test_memory_goes_by_the_same_rule() -> None:
    """Without a journal a run knows what it has told, whom, and who is to hear of the end."""
    now = 0.0
    memory = AlertsInMemory(lambda: now)
    assert memory.resolve_stall() == ()
    assert memory.note(Kind.OVERDUE, is_new=False) == Notification()
    memory.await_recovery(Kind.OVERDUE, ["a"])
    for number in range(1, 4):
        assert memory.note(Kind.STALLED, is_new=True) == Notification(number)
        memory.await_recovery(Kind.STALLED, ["a", "b"])
        assert memory.resolve_stall() == (("a", "b") if number < NOTIFIED_SINGLY else ())
    assert memory.note(Kind.STALLED, is_new=True) is None
    assert memory.is_skipped
    now = HOUR
    assert memory.note(Kind.STALLED, is_new=False) == Notification(4)
    assert not memory.is_skipped
    assert (memory.stalls, memory.is_overdue, sorted(memory.awaiting)) == (4, True, ["a", "b"])
