"""A soak: processes that accept messages are killed at random, over and over, and not one message is lost.

Their one destination dies and comes back meanwhile. What a process has accepted arrives in that order, whoever sends it
in the end.

Each process runs and speaks as scripts do, by turns in plain words and by whole messages. It writes the subject of a
message, which no other has, to a file of its own when ``notify()`` has returned, so that file holds what was accepted,
whenever the kill falls.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import attrs
import pytest
from scripts import Script
from waiting import let_time_pass

from supervisor._store import open_journal

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

OUTAGES = 0.3
"""How often a kill comes with the end or the beginning of an outage."""
HELPERS = """
import os, time
from supervisor import MessageDetails

def append(path, line):
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, (line + "\\n").encode())
    os.close(file)

class Mail:
    name = "mail"
    def send_message(self, details):
        if os.path.exists(os.environ["MAIL"] + ".down"):
            raise ConnectionRefusedError("down")
        append(os.environ["MAIL"], f"{details.kind} {details.id} {details.subject}")
mail = Mail()
"""
SPEAKS = """
me = str(os.getpid()) + "-" + os.urandom(4).hex()
accepted = os.path.join(os.environ["ACCEPTED"], me)
count = 0
while True:
    with supervise("soak", handlers=[mail]) as run:
        for i in range(50):
            count += 1
            subject = f"{me}-{count}"
            if i % 2:
                run.notify(MessageDetails(subject, "text"))
            else:
                run.notify(subject, "text")
            append(accepted, subject)
"""
FLUSHES = """
with supervise("soak", handlers=[mail], delivery_deadline_s=50): pass
"""


class Figures(NamedTuple):
    """What a soak came to.

    Args:
        accepted: How many messages ``notify()`` accepted.
        kills: How many processes were killed.
        lost: How many accepted messages never arrived.
        repeated: How many arrivals were repeats of the same id.
        disordered: How many messages arrived for the first time after a later one of their process.
        outages: How often the destination was down.
        unaccepted: How many notices arrived whose ``notify()`` was killed before it could return.
        died: How many runs died, as the journal knows.
        deaths_reported: How many died runs were reported, each by a message of its own.
        left: How many deliveries are still unsettled.
        seconds: How long it took.
    """

    accepted: int
    kills: int
    lost: int
    repeated: int
    disordered: int
    outages: int
    unaccepted: int
    died: int
    deaths_reported: int
    left: int
    seconds: float


@attrs.frozen
class Soak:
    """Where a soak keeps its files.

    Args:
        folder: A folder of its own.
        state: Where the journal is.
    """

    folder: Path
    state: Path
    started: list[Script] = attrs.field(factory=list)

    def start(self, body: str) -> Script:
        """Start a process."""
        environment = {"MAIL": str(self.folder / "mail"), "ACCEPTED": str(self.folder / "accepted")}
        self.started.append(Script(self.folder / str(len(self.started)), HELPERS + body, extra_env=environment))
        return self.started[-1]

    def accepted(self) -> list[str]:
        """Return the subjects of the messages that were accepted so far."""
        return [line for each in (self.folder / "accepted").iterdir() for line in each.read_text().split()]

    def arrived(self, kind: str) -> Counter[str]:
        """Return how often each message of a kind arrived, by its id and subject."""
        lines = [line.split(maxsplit=1) for line in (self.folder / "mail").read_text().splitlines()]
        return Counter(which for of_kind, which in lines if of_kind == kind)

    def toggle(self) -> int:
        """Let the destination die or come back, which somebody says; return how often it has died by that."""
        down = self.folder / "mail.down"
        if down.exists():
            down.unlink()
            self.wake()
            return 0
        down.touch()
        return 1

    def wake(self) -> None:
        """Let the destination be tried now, as ``supervisor flush`` does."""
        journal = open_journal(self.state)
        journal.wake("mail")
        journal.close()

    def disordered(self) -> int:
        """Return how many notices arrived for the first time after a later one of the same process."""
        newest: dict[str, int] = {}
        late, seen = 0, set()
        for line in (self.folder / "mail").read_text().splitlines():
            kind, _, subject = line.split(maxsplit=2)
            process, _, number = subject.rpartition("-")
            if kind == "notice" and subject not in seen:
                seen.add(subject)
                late += int(number) < newest.get(process, 0)
                newest[process] = max(int(number), newest.get(process, 0))
        return late

    def flush(self) -> tuple[int, int]:
        """Let last runs deliver what is left; return how many deliveries remain unsettled, and how many runs died."""
        journal = open_journal(self.state)
        try:
            for _ in range(20):
                journal.wake("mail")
                ended = self.start(FLUSHES).end()
                assert ended.code == 0, ended.stderr
                if not journal.deliveries():
                    break
            runs = journal.runs("soak", limit=100_000)
            assert None not in [each.report.outcome for each in runs]
            return len(journal.deliveries()), sum(each.report.outcome == "died" for each in runs)
        finally:
            journal.close()


def kill(script: Script) -> list[str]:
    """Kill a process and return what it complained of before, besides the destination."""
    script.process.kill()
    lines = script.process.communicate()[1].splitlines()
    return [each for each in lines if not each.startswith(("mail did not take", "not delivered yet"))]


def soak(where: Soak, messages: int, processes: int, chance: random.Random) -> Figures:
    """Let processes accept messages, kill them at random, and see what arrives in the end.

    Args:
        where: Where the files are.
        messages: How many are to be accepted.
        processes: How many speak at once.
        chance: Decides who is killed and when.
    """
    began_s = time.monotonic()
    (where.folder / "accepted").mkdir()
    complaints: list[str] = []
    kills = outages = 0
    alive = [where.start(SPEAKS) for _ in range(processes)]
    while len(where.accepted()) < messages:
        let_time_pass(chance.uniform(0.02, 0.4), "the process gets some way")
        victim = chance.randrange(processes)
        complaints += kill(alive[victim])
        kills += 1
        alive[victim] = where.start(SPEAKS)
        if chance.random() < OUTAGES:
            outages += where.toggle()
    for each in alive:
        complaints += kill(each)
        kills += 1
    assert complaints == []
    (where.folder / "mail.down").unlink(missing_ok=True)
    left, died = where.flush()
    accepted, arrived, deaths = set(where.accepted()), where.arrived("notice"), where.arrived("died")
    subjects = {which.split()[1] for which in arrived}
    return Figures(
        accepted=len(accepted),
        kills=kills,
        lost=len(accepted - subjects),
        repeated=(arrived + deaths).total() - len(arrived) - len(deaths),
        disordered=where.disordered(),
        outages=outages,
        unaccepted=len(subjects - accepted),
        died=died,
        deaths_reported=len(deaths),
        left=left,
        seconds=time.monotonic() - began_s,
    )


@pytest.mark.parametrize(
    ("messages", "processes"), [(300, 4), pytest.param(10_000, 4, marks=pytest.mark.soak)], ids=["small", "large"]
)
def test_random_kills_lose_nothing(messages: int, processes: int, tmp_path: Path, state: Path) -> None:
    """Whatever was accepted arrives, whoever is killed when; a kill repeats one message of each process at most."""
    seed = random.randrange(1_000_000)
    figures = soak(Soak(tmp_path, state), messages, processes, random.Random(seed))
    print(f"seed {seed}: {figures}")
    assert figures.accepted >= messages
    assert (figures.lost, figures.left) == (0, 0)
    assert figures.disordered == 0
    assert figures.repeated <= figures.kills
    assert figures.unaccepted <= figures.kills
    assert figures.died <= figures.kills
    assert figures.deaths_reported == figures.died
