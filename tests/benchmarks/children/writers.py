"""One of several processes that write runs at once: ``writers.py OUT NUMBER COUNT``; says the longest that a run took."""

import sys
from time import perf_counter, time

from timing import say

from supervisor._models import Outcome
from supervisor._store import EndedRun, StartedRun, open_journal, state_directory

if __name__ == "__main__":
    journal = open_journal(state_directory())
    slowest = 0.0
    for number in range(int(sys.argv[3])):
        began = perf_counter()
        run_id = f"{sys.argv[2]}-{number}"
        journal.start_run(StartedRun(id=run_id, name="many", started_at_s=time()))
        journal.end_run(run_id, EndedRun(outcome=Outcome.SUCCESS, ended_at_s=time(), duration_s=0))
        slowest = max(slowest, perf_counter() - began)
    journal.close()
    say(slowest)
