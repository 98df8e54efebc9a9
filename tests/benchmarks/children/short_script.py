"""A whole short script, and when it came to each part: ``short_script.py OUT``. Times are of the system's own clock."""

import sys
from time import perf_counter

marks = [perf_counter()]

from supervisor import supervise  # noqa: E402 - its import is what is measured

marks.append(perf_counter())

from supervisor.message_handlers import ConsoleHandler  # noqa: E402 - its import is what is measured

handler = ConsoleHandler()
marks.append(perf_counter())

run = supervise("nightly", handlers=handler)
marks.append(perf_counter())
with run:
    marks.append(perf_counter())
    run.notify("Parcels loaded", "1,000 parcels in 29 counties")
    marks.append(perf_counter())
marks.append(perf_counter())

with open(sys.argv[1], "w", encoding="ascii") as file:  # by hand, since json would be one more import
    file.write(repr(marks))
