"""How long a page of many runs takes to be written, and to be usable in a headless Chromium.

Run it from the checkout: ``python tests/benchmarks/bench_page.py``. It prints a table in Markdown: medians of fresh
processes and of fresh tabs. Without Chromium only the writing is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "kit")]

from browser import Browser, find  # noqa: E402 - of this checkout
from year import a_year, many_runs  # noqa: E402 - found on the path that was just set

ROUNDS = 5
CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
began = time.perf_counter()
from supervisor._store.sqlite import open_reader
from supervisor._cli.report import render
from supervisor._cli.report import gather, write_page
journal = open_reader(sys.argv[2])
write_page(render(gather(journal)), sys.argv[3])
took = time.perf_counter() - began
journal.close()
try:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
except ImportError:
    peak = 0
print(took, peak)
"""
TIMES = """
(() => {
  const at = (kind, name) => performance.getEntriesByType(kind).find((each) => !name || each.name === name);
  return [at("paint", "first-contentful-paint").startTime, at("navigation").domInteractive, at("mark", "usable").startTime];
})()
"""
JOURNALS = (
    ("a year of six scripts, 10,271 runs", a_year),
    ("10,000 runs, a tenth failed", lambda directory: many_runs(directory, 10_000)),
    (
        "10,000 runs, all failed, 16,000 characters of traceback each",
        lambda directory: many_runs(directory, 10_000, failing=1.0),
    ),
    ("100,000 runs, a tenth failed (20,000 in the list)", lambda directory: many_runs(directory, 100_000)),
)


def written(directory):
    """Write the page in a fresh process; return its seconds and its megabytes of memory."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(ROOT), str(directory), str(directory / "runs.html")],
        env={**os.environ, "SUPERVISOR_CONFIG": os.devnull},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return tuple(float(each) for each in done.stdout.split())


def opened(browser, page):
    """Open the page in a fresh tab; return when it painted, when it was parsed and when its list could be used."""
    with browser.tab() as tab:
        tab.open(page)
        return tuple(each / 1_000 for each in tab.run(TIMES))


def main():
    """Measure all journals and print a table."""
    program = find()
    print("| journal | page | written in | memory | painted | parsed | list usable |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(program, Path(folder) / "profile") if program else None
        try:
            for number, (name, write) in enumerate(JOURNALS):
                directory = Path(folder) / str(number)
                write(directory).close()
                wrote = [written(directory) for _ in range(ROUNDS)]
                page = directory / "runs.html"
                looks = [opened(browser, page) for _ in range(ROUNDS)] if browser else []
                seen = " | ".join(f"{median(each):.2f} s" for each in zip(*looks, strict=True)) or "- | - | -"
                took_s, peak_mb = (median(each) for each in zip(*wrote, strict=True))
                print(
                    f"| {name} | {page.stat().st_size / 1e6:.1f} MB | {took_s:.2f} s | {peak_mb:.0f} MB | {seen} |",
                    flush=True,
                )
        finally:
            if browser:
                browser.close()


if __name__ == "__main__":
    main()
