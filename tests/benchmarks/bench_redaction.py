"""How fast logs and texts are redacted, and what it costs a run that has nothing to hide.

Run it as ``python tests/benchmarks/bench_redaction.py``; it needs nothing but the package, and writes no files.
"""

from __future__ import annotations

import base64
import os
import random
import subprocess
import sys
import time

from supervisor._redaction import Redactor

RANDOM = random.Random(6)
WORDS = ["loaded", "parcel", "county", "geometry", "row", "insert", "skipped", "warning", "repaired", "connection"]
WORDS += ["starting", "requests", "sessions", "finished", "processing", "completed", "database", "user", "worker"]
MEGABYTES = 20
CHUNK_BYTES = 256 * 1024


def line(number: int) -> str:
    """Return a line of a log without anything that looks like a secret."""
    stamp = f"2026-01-31 23:{number // 60 % 60:02}:{number % 60:02},{number % 1000:03}"
    if number % 6 == 4:
        return (
            f"{stamp} DEBUG urllib3.connectionpool https://gis.example.com:443 "
            f'"GET /arcgis/rest/services/Parcels/{RANDOM.randrange(99)}/query?f=json HTTP/1.1" 200 {RANDOM.randrange(9999)}'
        )
    if number % 6 == 5:
        return f"{stamp} INFO uuid {RANDOM.getrandbits(128):032x} /srv/data/{RANDOM.choice(WORDS)}.csv {RANDOM.random():.5f}"
    return f"{stamp} INFO app.loader {' '.join(RANDOM.choices(WORDS, k=RANDOM.randrange(4, 12)))} id={RANDOM.getrandbits(32):08x}"


def log(trigger: str, every: int) -> bytes:
    """Return a log in which each so many lines end with a text."""
    lines = [line(number) + (f" {trigger}" if trigger and number % every == 0 else "") for number in range(20_000)]
    block = ("\n".join(lines) + "\n").encode()
    return block * (MEGABYTES * 1_000_000 // len(block))


def speed(redactor: Redactor, data: bytes) -> float:
    """Return megabytes per second of processor time, the best of three."""
    best = 0.0
    for _ in range(3):
        passing = redactor.bytes_filter()
        begin_s = time.process_time()
        for at in range(0, len(data), CHUNK_BYTES):
            passing.feed(memoryview(data)[at : at + CHUNK_BYTES])
        passing.flush()
        best = max(best, len(data) / 1e6 / (time.process_time() - begin_s))
    return best


def import_ms() -> float:
    """Return the milliseconds that loading the package and redacting a command line take, beyond attrs."""
    code = (
        "import attrs, logging, supervisor.errors, time; begin = time.perf_counter(); "
        "from supervisor._redaction import Redactor; Redactor(['a-known-secret']).arguments(('load.py', '-v', 'parcels')); "
        "print((time.perf_counter() - begin) * 1000)"
    )
    return min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5))


def main() -> None:
    """Print a table."""
    known = Redactor([base64.b64encode(os.urandom(24)).decode() for _ in range(5)])
    plain = Redactor()
    own = Redactor(patterns={"case": r"\bAZ-\d{4}\b"})
    for name, redactor, data in (
        ("no trigger", plain, log("", 1)),
        ("the same, 5 known secrets", known, log("", 1)),
        ("the same, a pattern of one's own", own, log("", 1)),
        ("a trigger in every 20th line, no secret", plain, log("KeyError: 'apn', token expired", 20)),
        ("a trigger in every line, no secret", plain, log("KeyError: 'apn', token expired", 1)),
        ("a secret in every 20th line", plain, log("token=Xa1b2c3d4e5 done", 20)),
        ("a secret in every line", plain, log("token=Xa1b2c3d4e5 done", 1)),
        ("one line of 20 MB", plain, log("", 1).replace(b"\n", b" ")),
    ):
        print(f"{name:40} {speed(redactor, data):7.0f} MB/s")
    message = "".join(line(number) + "\n" for number in range(40)) + "ValueError: password=abc"
    begin_s = time.process_time()
    for _ in range(200):
        plain.text(message)
    print(f"{'a message of 4 KB':40} {(time.process_time() - begin_s) / 200 * 1e6:7.0f} µs")
    print(f"{'loading, and a command line':40} {import_ms():7.1f} ms")


if __name__ == "__main__":
    main()
