"""What runs cost in a journal that has many already: ``runs.py OUT``."""

from statistics import median
from time import perf_counter

from timing import say

from supervisor import supervise
from supervisor._store import open_journal, state_directory

RUNS = 200


def opened():
    """Return the seconds that it takes to open the journal and ask for the last run of a name."""
    began = perf_counter()
    journal = open_journal(state_directory())
    record = journal.last_run("script 7")
    taken = perf_counter() - began
    journal.close()
    assert record is not None
    return taken


def started_and_ended():
    """Return the medians of the seconds that the start and the end of a run take."""
    starts, ends = [], []
    for number in range(RUNS):
        run = supervise(f"script {number % 100}")
        began = perf_counter()
        run.__enter__()
        between = perf_counter()
        run.__exit__(None, None, None)
        starts.append(between - began)
        ends.append(perf_counter() - between)
    return median(starts), median(ends)


if __name__ == "__main__":
    opened()  # also loads what reads records
    last = median(opened() for _ in range(20))
    start, end = started_and_ended()
    say({"start": start, "end": end, "last": last})
