"""The same without supervision: ``short_plain.py OUT``."""

import sys
from time import perf_counter

marks = [perf_counter()]

print("Parcels loaded\n    1,000 parcels in 29 counties", flush=True)
marks.append(perf_counter())

with open(sys.argv[1], "w", encoding="ascii") as file:  # by hand, since json would be one more import
    file.write(repr(marks))
