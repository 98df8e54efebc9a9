"""What it costs to tell of an exception: place, lines around it, notes, the folded traceback, without secrets.

Run it from the checkout: ``python tests/benchmarks/bench_capture.py``. It prints a table in Markdown, in microseconds
and as multiples of ``traceback.format_exception``. All ways take turns, each figure is the median of its turns. loguru
and sentry-sdk are measured where they are installed: loguru formats with its defaults (``diagnose`` on) and without
``diagnose``, sentry makes its event with its defaults and without local variables.
"""

from __future__ import annotations

import linecache
import os
import sys
import tempfile
import traceback
from pathlib import Path
from statistics import median
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from supervisor._exceptions import error_details
from supervisor._redaction import Redactor

TURNS = 60
SCRIPT = """
def plain(depth=5):
    rows, county = [1, 2, 3], "Cache"
    return plain(depth - 1) if depth > 1 else missing({"owner": 5})

def missing(row):
    return row["apn"]

def chained():
    try:
        plain()
    except KeyError as error:
        raise ValueError("parcel 5 has no apn") from error

def walk(depth=900):
    return walk(depth - 1) if depth else missing({})

def grouped():
    errors = []
    for number in range(5):
        try:
            plain()
        except KeyError as error:
            errors.append(error)
    raise ExceptionGroup("five parcels", errors)

def secret(password="hunter2abc"):
    raise ValueError(f"no login: password={password}")

def through_library():
    return enter(lambda: enter(missing_row))

def missing_row():
    return missing({})
"""
LAYERS = "\n".join(
    [
        "def enter(go): return step0(go)",
        *(f"def step{number}(go):\n    return step{number + 1}(go)" for number in range(19)),
        "def step19(go):\n    return go()",
    ]
)


def module(path, source, **names):
    path.parent.mkdir(parents=True, exist_ok=True)
    # As long as scripts are: the file is read for the lines of code.
    path.write_text(source + "\n# nothing\n" * 400)
    space = {"__name__": path.stem, "__file__": str(path), **names}
    exec(compile(path.read_text(), str(path), "exec"), space)
    return space


def caught(function):
    try:
        function()
    except BaseException as error:
        return error.with_traceback(error.__traceback__.tb_next)
    raise AssertionError


def loguru_ways():
    from loguru._better_exceptions import ExceptionFormatter

    full = ExceptionFormatter(diagnose=True, backtrace=True, encoding="utf8", colorize=False)
    short = ExceptionFormatter(diagnose=False, backtrace=False, encoding="utf8", colorize=False)

    def formatted(formatter):
        return lambda error: "".join(
            formatter.format_exception(type(error), error, error.__traceback__, from_decorator=False)
        )

    return {"loguru": formatted(full), "loguru, no diagnose": formatted(short)}


def sentry_ways():
    from sentry_sdk.utils import event_from_exception

    def event(**options):
        return lambda error: event_from_exception(
            (type(error), error, error.__traceback__), client_options={"max_value_length": 100_000, **options}
        )

    return {
        "sentry": event(include_local_variables=True, include_source_context=True),
        "sentry, no locals": event(include_local_variables=False, include_source_context=True),
    }


def ways():
    redactor = Redactor()
    found = {
        "format_exception": lambda error: "".join(traceback.format_exception(error)),
        "supervisor": lambda error: error_details(error, redactor=redactor),
        "supervisor, not redacted": error_details,
        "supervisor, show_locals": lambda error: error_details(error, show_locals=True, redactor=redactor),
    }
    for more in (loguru_ways, sentry_ways):
        try:
            found |= more()
        except ImportError as error:
            print(f"not measured: {error}", file=sys.stderr)
    return found


def measured(error, *, cold=False):
    """Return the median microseconds of each way; cold means that no file has been read yet."""
    took = {name: [] for name in WAYS}
    order = list(WAYS)
    for turn in range(TURNS):
        shift = turn % len(order)
        for name in order[shift:] + order[:shift]:
            if cold:
                linecache.clearcache()
            else:
                WAYS[name](error)
            began = perf_counter()
            try:
                WAYS[name](error)
            except Exception as fault:  # a peer that cannot
                took[name].append(float("nan"))
                print(f"{name} failed: {fault!r}", file=sys.stderr)
                continue
            took[name].append((perf_counter() - began) * 1e6)
    return {name: median(times) for name, times in took.items()}


def main():
    with tempfile.TemporaryDirectory() as folder:
        library = module(Path(folder) / "site-packages" / "layers" / "core.py", LAYERS)
        script = module(Path(folder) / "parcels.py", SCRIPT, enter=library["enter"])
        cases = {
            "6 frames of the script": script["plain"],
            "the same, files not read yet": script["plain"],
            "with a cause": script["chained"],
            "a secret in it": script["secret"],
            "46 frames, 42 of them of libraries": script["through_library"],
            "a group of five": script["grouped"],
            "recursion, 901 deep": script["walk"],
        }
        print(
            f"Python {sys.version.split()[0]}, {os.cpu_count()} cores; microseconds, (multiples of format_exception)\n"
        )
        print("| exception |", " | ".join(WAYS), "|")
        print("|---|" + "---:|" * len(WAYS))
        for name, function in cases.items():
            took = measured(caught(function), cold="not read" in name)
            base = took["format_exception"]
            print(f"| {name} |", " | ".join(f"{each:,.0f} ({each / base:.2f})" for each in took.values()), "|")


if __name__ == "__main__":
    WAYS = ways()
    main()
