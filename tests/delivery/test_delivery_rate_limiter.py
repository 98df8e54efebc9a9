"""The rate limiter: a burst passes, then one message a second, and the others are counted."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripts import run as run_script

from supervisor._delivery import BURST, PER_S, RateLimiter

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A clock that goes only when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:  # noqa: D102 - a clock
        return self.now_s


def passed(limiter: RateLimiter, count: int) -> int:
    """Return how many of so many messages pass."""
    return sum(limiter.allows(f"number {i}") for i in range(count))


def test_a_burst_passes_and_no_more() -> None:
    """While no time passes, a burst of 500 goes through; the rest is counted."""
    limiter = RateLimiter(clock=Clock())
    assert passed(limiter, 2000) == BURST == 500
    assert limiter.held_back == 1500


def test_after_the_burst_one_a_second_passes() -> None:
    """When the burst is used up, each second lets one more pass, and part of a second none."""
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    passed(limiter, BURST)
    for _ in range(10):
        clock.now_s += 0.5
        assert passed(limiter, 3) == 0
        clock.now_s += 0.5
        assert passed(limiter, 3) == 1 == PER_S


def test_silence_earns_another_burst_and_no_more() -> None:
    """However long a script was silent, no more than one burst passes at once."""
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    passed(limiter, BURST)
    clock.now_s += 1e6
    assert passed(limiter, 2000) == BURST


def test_the_last_subjects_are_remembered_in_short() -> None:
    """What was held back last can be told, five subjects of bounded length, whatever was given as a subject.

    They are cut where they are told, after secrets are taken out.
    """
    limiter = RateLimiter(burst=0, clock=Clock())
    for i in range(100):
        limiter.allows(f"{i} " + "x" * 200_000)
    assert not limiter.allows(7)
    assert [each.split()[0] for each in limiter.last_subjects] == ["96", "97", "98", "99", "7"]
    assert max(map(len, limiter.last_subjects)) <= 100_000


@given(
    burst=st.integers(0, 20),
    per_s=st.floats(0, 5),
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 40)), max_size=20),
)
def test_what_passes_is_bounded_and_the_rest_is_counted(
    burst: int, per_s: float, steps: list[tuple[float, int]]
) -> None:
    """In any stretch of time no more than the burst and the rate pass, and passed and held back are all."""
    clock = Clock()
    limiter = RateLimiter(burst=burst, per_s=per_s, clock=clock)
    through = 0
    for pause_s, count in steps:
        clock.now_s += pause_s
        now = passed(limiter, count)
        assert now <= burst
        through += now
    assert through <= burst + per_s * (clock.now_s - 1000.0) + 1e-6
    assert through + limiter.held_back == sum(count for _, count in steps)


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells how much memory another process had")
def test_a_hundred_thousand_messages_cost_little(tmp_path: Path) -> None:
    """100,000 calls of ``notify()`` end soon, take little memory, and the closing message accounts for all of them."""
    ended = run_script(
        tmp_path,
        """
        import time
        def peak_kb():
            return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
        with supervise("warm-up", handlers=[recorder]) as run:
            run.notify("hello")
        before_kb, before_s = peak_kb(), time.monotonic()
        with supervise("flood", handlers=[recorder], delivery_deadline_s=60) as run:
            for i in range(100_000):
                run.notify(f"number {i}", "text " * 1000)
        print(time.monotonic() - before_s, peak_kb() - before_kb)
        """,
    )
    assert (ended.code, ended.stderr) == (0, "")
    spent_s, more_kb = map(float, ended.stdout.split())
    assert spent_s < 50
    assert more_kb < 30_000
    *said, closing = ended.messages[1:]
    assert [each["subject"] for each in said][:500] == [f"number {i}" for i in range(500)]
    count = re.search(r": ([\d,]+) more messages held back$", closing["subject"])
    assert count is not None, closing["subject"]
    assert int(count[1].replace(",", "")) + len(said) == 100_000
    assert "number 99999" in closing["message"]


def test_a_failure_passes_the_flood(tmp_path: Path) -> None:
    """A script that said too much and then fails has its failure told, before the notices that still wait."""
    ended = run_script(
        tmp_path,
        """
        from supervisor import MessageDetails
        with supervise("flood", handlers=[recorder]) as run:
            for i in range(2_000):
                run.notify(f"number {i}")
            run.notify(MessageDetails("by hand", kind="failure"))
            raise KeyError("apn")
        """,
    )
    assert ended.code == 1
    assert "by hand" in [each["subject"] for each in ended.messages]
    assert ended.kinds.count("failure") == 2
    assert any("held back" in each["subject"] for each in ended.messages)
