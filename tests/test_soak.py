"""A soak: processes that accept messages are killed at random, over and over, and not one message is lost.

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

from supervisor._store import open_journal

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

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
        unaccepted: How many notices arrived whose ``notify()`` was killed before it could return.
        died: How many runs died, as the journal knows.
        died_told: How many died runs were told, each by a message of its own.
        left: How many deliveries are still unsettled.
        seconds: How long it took.
    """

    accepted: int
    kills: int
    lost: int
    repeated: int
    unaccepted: int
    died: int
    died_told: int
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

    def flush(self) -> tuple[int, int]:
        """Let last runs deliver what is left; return how many deliveries remain unsettled, and how many runs died."""
        journal = open_journal(self.state)
        try:
            for _ in range(20):
                ended = self.start(FLUSHES).end()
                assert ended.code == 0, ended.stderr
                if not journal.deliveries():
                    break
            runs = journal.runs("soak", limit=100_000)
            assert None not in [each.report.outcome for each in runs]
            return len(journal.deliveries()), sum(each.report.outcome == "died" for each in runs)
        finally:
            journal.close()


def kill(script: Script) -> str:
    """Kill a process and return what it complained of before."""
    script.process.kill()
    return script.process.communicate()[1]


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
    complaints, kills = "", 0
    alive = [where.start(SPEAKS) for _ in range(processes)]
    while len(where.accepted()) < messages:
        time.sleep(chance.uniform(0.02, 0.4))
        victim = chance.randrange(processes)
        complaints += kill(alive[victim])
        kills += 1
        alive[victim] = where.start(SPEAKS)
    for each in alive:
        complaints += kill(each)
        kills += 1
    assert complaints == ""
    left, died = where.flush()
    accepted, arrived, told = set(where.accepted()), where.arrived("notice"), where.arrived("died")
    subjects = {which.split()[1] for which in arrived}
    return Figures(
        accepted=len(accepted),
        kills=kills,
        lost=len(accepted - subjects),
        repeated=(arrived + told).total() - len(arrived) - len(told),
        unaccepted=len(subjects - accepted),
        died=died,
        died_told=len(told),
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
    assert figures.repeated <= figures.kills
    assert figures.unaccepted <= figures.kills
    assert figures.died <= figures.kills
    assert figures.died_told == figures.died
