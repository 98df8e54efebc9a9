"""Fill the journal of this home with so many runs of 1,000 names, a minute or less apart: ``fill_journal.py OUT RUNS``."""

import sys
from time import time

from timing import say

from supervisor._store import open_journal, state_directory

NAMES = 1000
SPACING_S = 30.0  # a million of them are 347 days, so that nothing is old enough to be pruned

FILL = """
WITH RECURSIVE counted(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n + 1 < :runs)
INSERT INTO run (id, name, outcome, started_at, ended_at, duration_s, fingerprint, host, pid, process_started, user,
                 python, exit_code, cpu_s, peak_memory_bytes, argv, "values")
SELECT printf('%032x', n), 'script ' || (n % :names), iif(n % 50 = 7, 'failure', 'success'),
       :began + n * :spacing, :began + n * :spacing + 9, 9.0, iif(n % 50 = 7, printf('%016x', n % 8), NULL),
       'gis-01', 1000 + n % 30000, 'earlier', 'gis', '3.12.1', NULL, 1.5, 50000000, :argv, NULL
FROM counted
"""


def fill(runs):
    journal = open_journal(state_directory())
    with journal.one_commit() as connection:
        connection.execute(
            FILL,
            {
                "runs": runs,
                "names": NAMES,
                "began": time() - 60 - runs * SPACING_S,
                "spacing": SPACING_S,
                "argv": b'["nightly.py", "--all"]',
            },
        )
    journal.close()


if __name__ == "__main__":
    fill(int(sys.argv[2]))
    say(True)
