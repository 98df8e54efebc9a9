"""A log of 500 MB becomes a gzip attachment: time against isal alone, and memory.

Run it with ``python tests/benchmarks/bench_attachments.py [MB] [rounds]``. Each way runs in fresh processes, taking
turns, so that a noisy machine disturbs all alike; the table shows medians. The goals: ours takes at most 1.3 times
what isal alone takes (the faster of its two ways of streaming, as people call them), and needs under 64 MiB.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHUNK_BYTES = 256 * 1024
GOAL_TIMES, GOAL_MIB = 1.3, 64


def ours(log, place, limit_bytes=None):
    from supervisor.attachments import pack
    from supervisor.models import Attachment

    result = pack(Attachment(log), place, limit_bytes=limit_bytes)
    return result.part.size_bytes


def ours_cut(log, place):
    return ours(log, place, limit_bytes=22 * 1024 * 1024)


def ours_by_zlib(log, place):
    sys.modules["isal"] = None  # as if it were not installed
    return ours(log, place)


def isal_plain(log, place):
    import shutil

    from isal import igzip

    with log.open("rb") as source, igzip.open(place / "x.gz", "wb") as output:
        shutil.copyfileobj(source, output, CHUNK_BYTES)
    return (place / "x.gz").stat().st_size


def isal_threaded(log, place, threads=1):
    import shutil

    from isal import igzip_threaded

    with log.open("rb") as source, igzip_threaded.open(place / "x.gz", "wb", threads=threads) as output:
        shutil.copyfileobj(source, output, CHUNK_BYTES)
    return (place / "x.gz").stat().st_size


def isal_two_threads(log, place):
    return isal_threaded(log, place, threads=2)


def gzip_of_the_library(log, place):
    import gzip
    import shutil

    with log.open("rb") as source, gzip.open(place / "x.gz", "wb", compresslevel=6) as output:
        shutil.copyfileobj(source, output, CHUNK_BYTES)
    return (place / "x.gz").stat().st_size


WAYS = {
    "igzip, plain loop (isal alone)": isal_plain,
    "igzip_threaded, its default of 1 thread (isal alone)": isal_threaded,
    "igzip_threaded, 2 threads (for information)": isal_two_threads,
    "supervisor.attachments with isal": ours,
    "supervisor.attachments with isal, limit 22 MB (cut)": ours_cut,
    "supervisor.attachments without isal": ours_by_zlib,
    "gzip of the standard library, level 6 (for information)": gzip_of_the_library,
}
SLOW = {"supervisor.attachments without isal", "gzip of the standard library, level 6 (for information)"}


def peak_mib():
    # ru_maxrss begins with that of the parent, which is kept small for that reason.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


def child(way, log):
    import attrs  # noqa: F401 - what any process that uses supervisor has loaded is not counted as growth

    before = peak_mib()
    with tempfile.TemporaryDirectory(dir=log.parent) as place:
        start = time.perf_counter()
        size = WAYS[way](log, Path(place))
        elapsed_s = time.perf_counter() - start
    print(json.dumps({"elapsed_s": elapsed_s, "peak_mib": peak_mib(), "growth_mib": peak_mib() - before, "size": size}))


def run(way, log):
    command = [sys.executable, __file__, "--child", way, str(log)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=environment(root))
    return json.loads(done.stdout)


def environment(root):
    import os

    return os.environ | {"PYTHONPATH": str(root)}


def write_log(path, size_bytes):
    """Write lines as a loading script logs them; no two blocks are alike."""
    rng = random.Random(4)
    words = [
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
    written = at_ms = 0
    with path.open("wb") as file:
        while written < size_bytes:
            lines = []
            for _ in range(20_000):
                at_ms += rng.randrange(900)
                clock = (
                    f"{at_ms // 3_600_000 % 24:02}:{at_ms // 60_000 % 60:02}:{at_ms // 1000 % 60:02},{at_ms % 1000:03}"
                )
                text = " ".join(rng.choices(words, k=rng.randrange(3, 9)))
                level = rng.choice(("INFO", "INFO", "INFO", "DEBUG", "WARNING"))
                lines.append(f"2026-01-31 {clock} {level} parcels.load {text} id={rng.getrandbits(32):08x}\n")
            block = "".join(lines).encode()[: size_bytes - written]
            written += file.write(block)


def measure(log, rounds):
    runs = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS:
            if number == 0 or way not in SLOW:
                runs[way].append(run(way, log))
    return runs


def report(runs, megabytes, rounds):
    medians = {
        way: {key: statistics.median(each[key] for each in some) for key in some[0]} for way, some in runs.items()
    }
    alone_s = min(figures["elapsed_s"] for way, figures in medians.items() if way.endswith("(isal alone)"))
    print(f"A log of {megabytes} MB; medians of {rounds} interleaved rounds of fresh processes (slow ways: one).\n")
    print("| way | seconds | times isal alone | peak MiB | growth MiB | gzip MB |")
    print("|---|---:|---:|---:|---:|---:|")
    for way, figures in medians.items():
        print(
            f"| {way} | {figures['elapsed_s']:.2f} | {figures['elapsed_s'] / alone_s:.2f} |"
            f" {figures['peak_mib']:.0f} | {figures['growth_mib']:.0f} | {figures['size'] / 2**20:.1f} |"
        )
    mine = medians["supervisor.attachments with isal"]
    times, peak = mine["elapsed_s"] / alone_s, mine["peak_mib"]
    good = times <= GOAL_TIMES and peak < GOAL_MIB
    print(
        f"\nGoal: at most {GOAL_TIMES} times isal alone and under {GOAL_MIB} MiB. "
        f"Got {times:.2f} times and {peak:.0f} MiB: {'met' if good else 'MISSED'}."
    )
    return good


def main():
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]))
        return 0
    megabytes, rounds = (int(each) for each in (*sys.argv[1:], *("500", "5")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "big.log"
        # In a process of its own: the memory it takes must not count as a child's.
        make = f"import sys; sys.argv = ['']; import runpy; m = runpy.run_path({__file__!r}); "
        make += f"import pathlib; m['write_log'](pathlib.Path({str(log)!r}), {megabytes} * 2**20)"
        subprocess.run([sys.executable, "-c", make], check=True)
        good = report(measure(log, rounds), megabytes, rounds)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
