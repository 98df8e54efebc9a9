"""Write a log of so many MB, as a loading script logs; no two blocks are alike: ``write_log.py OUT PATH MB``."""

import random
import sys

from timing import say

WORDS = [
    "loaded",
    "parcel",
    "county",
    "geometry",
    "row",
    "insert",
    "update",
    "skipped",
    "warning",
    "repaired",
    "index",
    "cache",
    "layer",
]


def block(rng, at_ms):
    lines = []
    for _ in range(20_000):
        at_ms += rng.randrange(900)
        clock = f"{at_ms // 3_600_000 % 24:02}:{at_ms // 60_000 % 60:02}:{at_ms // 1000 % 60:02},{at_ms % 1000:03}"
        text = " ".join(rng.choices(WORDS, k=rng.randrange(3, 9)))
        level = rng.choice(("INFO", "INFO", "INFO", "DEBUG", "WARNING"))
        lines.append(f"2026-01-31 {clock} {level} parcels.load {text} id={rng.getrandbits(32):08x}\n")
    return "".join(lines).encode(), at_ms


def write(path, size_bytes):
    rng, written, at_ms = random.Random(4), 0, 0
    with open(path, "wb") as file:
        while written < size_bytes:
            some, at_ms = block(rng, at_ms)
            written += file.write(some[: size_bytes - written])


if __name__ == "__main__":
    write(sys.argv[2], int(sys.argv[3]) * 2**20)
    say(True)
