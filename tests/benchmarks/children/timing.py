"""What the children share: it needs nothing but the standard library."""

import json
import sys
from time import perf_counter

ENOUGH_S = 0.02


def say(result):
    """Tell the process that started this one what was measured."""
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(result, file)


def per_call(action, repeat=7, most=20_000):
    """Return the seconds that one call takes: the best of several loops that each take long enough to be timed."""
    action()
    began = perf_counter()
    for _ in range(10):
        action()
    number = min(most, max(5, int(ENOUGH_S / ((perf_counter() - began) / 10))))
    return min(loop(action, number) for _ in range(repeat))


def loop(action, number):
    turns = range(number)
    began = perf_counter()
    for _ in turns:
        action()
    return (perf_counter() - began) / number


def per_item(action, number, repeat=5):
    """Return the seconds that one item of a loop takes, which the action runs through itself: the best of several."""
    times = []
    for _ in range(repeat):
        began = perf_counter()
        action(number)
        times.append(perf_counter() - began)
    return min(times) / number


def peak_bytes():
    """Return the most memory that this process had in use since it began."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def proportional_bytes():
    """Return the memory in use now, with a share of what it shares with others; 0 where nobody knows."""
    try:
        with open("/proc/self/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    except OSError:
        return 0
