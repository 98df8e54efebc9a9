"""A year in the life of six scripts, for tests and for looking at: see :func:`a_year`.

``python tests/kit/year.py [directory]`` writes its journal there and a page beside it.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._models import DeliveryState, Kind, Outcome
from supervisor._store import EndedRun, Journal, StartedRun
from supervisor._store.processes import Process
from supervisor.models import ErrorDetails, MessageDetails, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_S = 86_400.0
HOUR_S = 3_600.0
HOST = "gis-01"

_TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/jobs/{file}", line {line}, in <module>
    main()
  File "/srv/jobs/{file}", line {above}, in {function}
    {source}
  File "/srv/jobs/venv/lib/python3.12/site-packages/sqlalchemy/engine/base.py", line 1967, in _exec_single_context
    self.dialect.do_execute(cursor, str_statement, effective_parameters, context)
{type}: {message}
"""


@attrs.frozen(kw_only=True)
class Happened:
    """One run that happened.

    Args:
        name: Its name.
        at_s: When it started.
        outcome: How it ended; None while it is under way.
        took_s: How long it took.
        values: What it recorded.
        error: What went wrong.
        progress: Its last progress.
        schedule: When it should run.
        log_path: Its log.
        exit_code: What it asked for.
        stall_after_s: The longest it should be without progress.
        max_duration_s: The longest it should take.
    """

    name: str
    at_s: float
    outcome: Outcome | None = Outcome.SUCCESS
    took_s: float = 60.0
    values: dict[str, Any] = attrs.field(factory=dict)
    error: ErrorDetails | None = None
    progress: Progress | None = None
    schedule: str | None = None
    log_path: str | None = None
    exit_code: int | None = None
    stall_after_s: float | None = None
    max_duration_s: float | None = None


def failure(kind: str, message: str, *, file: str, line: int, function: str, source: str) -> ErrorDetails:
    """Return an error as a script makes it."""
    place = f"{file}:{line} in {function}"
    return ErrorDetails(
        type=kind,
        message=message,
        where=place,
        source=source,
        excerpt="".join(
            f"{'>' if number == line else ' '} {number:>4}  {text}\n"
            for number, text in (
                (line - 1, f"def {function}(rows):"),
                (line, f"    {source}"),
                (line + 1, "    return rows"),
            )
        ),
        traceback=_TRACEBACK.format(
            file=file, line=line + 40, above=line, function=function, source=source, type=kind, message=message
        ),
        fingerprint=f"{kind}{place}",
    )


def write_runs(directory: Path, runs: list[Happened], *, host: str = HOST) -> Journal:
    """Write runs into a journal, the oldest first, and return it."""
    process = Process(host, 4_711, "boot:1")
    clock = [0.0]
    journal = Journal(
        directory,
        keep_runs=1_000_000,
        keep_days=10_000,
        this=lambda: process,
        gone=lambda _: False,
        clock=lambda: clock[0],
    )
    runs = sorted(runs, key=lambda run: run.at_s)
    for start in range(0, len(runs), 1_000):
        with journal.one_commit():
            for number, run in enumerate(runs[start : start + 1_000], start):
                clock[0] = run.at_s + run.took_s  # when its last progress was noted, of one that died
                _write(journal, run, f"{number:08x}{random.Random(number).getrandbits(96):024x}")
    clock[0] = time.time()
    return journal


def _write(journal: Journal, run: Happened, run_id: str) -> None:
    file = run.name.replace(" ", "_") + ".py"
    started = StartedRun(
        id=run_id,
        name=run.name,
        started_at_s=run.at_s,
        user="svc-gis",
        python="3.12.4",
        schedule=run.schedule,
        argv=("/srv/jobs/venv/bin/python", f"/srv/jobs/{file}", "--all"),
        log_path=run.log_path,
        stall_after_s=run.stall_after_s,
        max_duration_s=run.max_duration_s,
    )
    journal.start_run(started)
    if run.outcome is None or run.outcome is Outcome.DIED:
        if run.progress is not None:
            journal.progress(run_id, run.progress)
        if run.outcome is None or not journal.mark_died(run_id):
            return
    else:
        end = EndedRun(
            outcome=run.outcome,
            ended_at_s=run.at_s + run.took_s,
            duration_s=run.took_s,
            values=run.values,
            progress=run.progress,
            error=run.error,
            exit_code=run.exit_code,
            cpu_s=run.took_s * 0.6,
            peak_memory_bytes=180_000_000 + hash(run.at_s) % 40_000_000,
        )
        journal.end_run(run_id, end)


def a_year(directory: Path, *, now_s: float | None = None, hours: int = 365 * 24) -> Journal:
    """Write a year of six scripts, with logs, and messages that wait.

    Args:
        directory: Where the journal goes; logs go beside it.
        now_s: When the year ends; None means now.
        hours: How often the hourly script ran: most of the runs are its.
    """
    now_s = time.time() if now_s is None else now_s
    midnight = now_s - now_s % DAY_S
    chance = random.Random(2025)
    logs = directory / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    parts = (nightly, weekly, backup, licences, tiles)
    runs = [run for part in parts for run in part(chance, midnight, logs)]
    runs += hourly(chance, midnight, logs, hours)
    runs = [run for run in runs if run.at_s < now_s]
    journal = write_runs(directory, runs)
    wait(journal)
    return journal


def nightly(chance: random.Random, midnight: float, logs: Path) -> Iterator[Happened]:
    """Grows slower over the year, had a bad week in spring, and fails since two nights."""
    for day in range(365, -1, -1):
        at_s = midnight - day * DAY_S + 2 * HOUR_S
        took_s = 360 + (365 - day) * 1.1 + chance.gauss(0, 18)
        parcels = 11_800 + (365 - day) * 1.3 + chance.gauss(0, 40)
        common: dict[str, Any] = {"name": "nightly parcels", "at_s": at_s, "schedule": "0 2 * * *"}
        log_path = str(logs / f"parcels-{day}.log") if day < 12 else None
        if day in (0, 1) or 231 <= day <= 236:
            if log_path:
                _log(Path(log_path), at_s, chance, "KeyError: 'apn'")
            error = failure("KeyError", "'apn'", file="parcels.py", line=41, function="load", source='key = row["apn"]')
            done = Progress(
                done=chance.randrange(900, 4_000), total=int(parcels), message="loading Salt Lake", rate_per_s=31
            )
            yield Happened(
                **common,
                outcome=Outcome.FAILURE,
                took_s=took_s / 3,
                error=error,
                progress=done,
                log_path=log_path,
                values={"parcels": done.done},
            )
            continue
        if day == 100:
            yield Happened(
                **common, outcome=Outcome.DIED, progress=Progress(done=3_120, total=11_990, message="loading Utah")
            )
            continue
        if log_path:
            _log(Path(log_path), at_s, chance, "done")
        empty = chance.choice((0, 0, 0, 1, 2)) if day > 20 else chance.randrange(3, 9)
        values = {"parcels": round(parcels), "empty": empty, "source": "county FTP"}
        yield Happened(**common, took_s=took_s, values=values, log_path=log_path)


def hourly(chance: random.Random, midnight: float, logs: Path, hours: int) -> Iterator[Happened]:
    """Runs each hour, fails now and then, and hung once for hours."""
    for hour in range(hours, -24, -1):
        at_s = midnight - hour * HOUR_S + 300
        common: dict[str, Any] = {
            "name": "traffic counters",
            "at_s": at_s,
            "schedule": "5 * * * *",
            "log_path": str(logs / "traffic.log"),
        }
        if chance.random() < 0.004 or 2_000 <= hour < 2_005:
            error = failure(
                "requests.exceptions.ConnectTimeout",
                "HTTPSConnectionPool(host='counters.example.gov', port=443): Max retries exceeded: /v2/stations",
                file="traffic.py",
                line=88,
                function="fetch",
                source="response = session.get(url, timeout=10)",
            )
            yield Happened(**common, outcome=Outcome.FAILURE, took_s=31 + chance.random(), error=error)
        elif hour == 4_000:
            yield Happened(**common, outcome=Outcome.TERMINATED, took_s=5 * HOUR_S, exit_code=143)
        elif chance.random() < 0.003:
            yield Happened(**common, outcome=Outcome.SKIPPED, took_s=0)
        else:
            day_time = 1 + 0.6 * (6 <= (at_s % DAY_S) / HOUR_S < 20)
            yield Happened(
                **common,
                took_s=22 * day_time + chance.expovariate(0.4),
                values={"stations": chance.randrange(388, 402), "rows": int(4_000 * day_time + chance.gauss(0, 300))},
            )
    _log(logs / "traffic.log", midnight, chance, "done")


def weekly(chance: random.Random, midnight: float, logs: Path) -> Iterator[Happened]:
    """Runs on Sundays, for an hour."""
    for week in range(52, -1, -1):
        at_s = midnight - ((midnight / DAY_S + 4) % 7) * DAY_S - week * 7 * DAY_S + 4 * HOUR_S
        values = {"GB": round(118 + (52 - week) * 0.9 + chance.gauss(0, 0.8), 2), "tables": 214}
        if week == 30:
            error = failure(
                "OSError",
                "[Errno 28] No space left on device: '/mnt/backup/cadastre.dump'",
                file="dump.py",
                line=17,
                function="copy",
                source="shutil.copyfileobj(source, target)",
            )
            yield Happened(
                name="weekly dump",
                at_s=at_s,
                outcome=Outcome.FAILURE,
                took_s=2_400,
                error=error,
                schedule="0 4 * * 0",
                exit_code=1,
            )
        else:
            yield Happened(
                name="weekly dump",
                at_s=at_s,
                took_s=3_300 + (52 - week) * 20 + chance.gauss(0, 120),
                values=values,
                schedule="0 4 * * 0",
            )


def backup(chance: random.Random, midnight: float, logs: Path) -> Iterator[Happened]:
    """Runs on workdays; somebody stops it at times; it runs just now."""
    for day in range(300, -1, -1):
        at_s = midnight - day * DAY_S + 22 * HOUR_S
        if (midnight / DAY_S - day + 3) % 7 >= 5:
            continue
        if day % 71 == 3:
            yield Happened(name="address geocoder", at_s=at_s, outcome=Outcome.INTERRUPTED, took_s=80)
        else:
            yield Happened(
                name="address geocoder",
                at_s=at_s,
                took_s=1_260 + chance.gauss(0, 90),
                values={
                    "matched": round(96.4 + chance.gauss(0, 0.3), 2),
                    "addresses": 41_200 + chance.randrange(-400, 400),
                },
            )
    under_way = Progress(done=18_200, total=41_310, message="geocoding Weber", rate_per_s=29)
    yield Happened(name="address geocoder", at_s=midnight - 1_500 + DAY_S / 4, outcome=None, progress=under_way)


def licences(chance: random.Random, midnight: float, logs: Path) -> Iterator[Happened]:
    """Began two months ago, and has never failed."""
    for day in range(60, -1, -1):
        yield Happened(
            name="licence usage",
            at_s=midnight - day * DAY_S + 5 * HOUR_S,
            took_s=4 + chance.random(),
            values={"in use": chance.randrange(30, 61)},
        )


def tiles(chance: random.Random, midnight: float, logs: Path) -> Iterator[Happened]:
    """Runs every six hours; it died twice, and was cancelled once."""
    for run in range(4 * 200, -4, -1):
        at_s = midnight - run * 6 * HOUR_S
        outcome = Outcome.DIED if run in (77, 400) else Outcome.CANCELLED if run == 180 else Outcome.SUCCESS
        yield Happened(
            name="basemap tiles",
            at_s=at_s,
            outcome=outcome,
            took_s=900 + 400 * (run % 4 == 0) + chance.gauss(0, 40),
            values={"tiles": 88_000 + chance.randrange(2_000)} if outcome is Outcome.SUCCESS else {},
        )


def wait(journal: Journal) -> None:
    """Let three messages wait, and one be refused."""
    failure = "nightly parcels failed on gis-01: KeyError 'apn'"
    for subject, handler, state, error in (
        (failure, "ops-mail", DeliveryState.PENDING, "mail.example.gov:587: connection refused"),
        (
            failure,
            "slack",
            DeliveryState.FAILED,
            "Slack answered 404 no_service: the webhook was removed; make a new one",
        ),
        (
            "address geocoder started on gis-01",
            "ops-mail",
            DeliveryState.PENDING,
            "mail.example.gov:587: connection refused",
        ),
    ):
        kind = Kind.FAILURE if "failed" in subject else Kind.START
        for delivery in journal.put(MessageDetails(subject, "text", kind=kind), [handler], claimed=True):
            journal.settle(delivery, state, error=error, due_in_s=900)


def many_runs(directory: Path, count: int, *, failing: float = 0.1, now_s: float | None = None) -> Journal:
    """Write many runs of twenty scripts, a part of them failures with long tracebacks that differ."""
    now_s = time.time() if now_s is None else now_s
    chance = random.Random(count)
    every_s = 390 * DAY_S / count
    runs = []
    for number in range(count):
        common: dict[str, Any] = {"name": f"script {number % 20:02}", "at_s": now_s - (count - number) * every_s}
        values = {"rows": chance.randrange(10_000), "ratio": chance.random()}
        if chance.random() < failing:
            error = failure(
                "ValueError", f"bad row {number}", file="load.py", line=7, function="load", source="check(row)"
            )
            error = attrs.evolve(error, traceback=error.traceback + f"{number} " * 2_000)
            runs.append(Happened(**common, outcome=Outcome.FAILURE, took_s=chance.random() * 60, error=error))
        else:
            runs.append(Happened(**common, took_s=60 + chance.random() * 60, values=values))
    return write_runs(directory, runs)


def _log(path: Path, at_s: float, chance: random.Random, last: str) -> None:
    """Write a log as scripts do."""
    counties = ("Salt Lake", "Utah", "Weber", "Davis", "Cache", "Washington")
    lines = [
        f"{_clock(at_s + number * 2)} INFO     loader: {chance.choice(counties)}: {chance.randrange(100, 999)} rows"
        for number in range(70)
    ]
    lines.insert(-3, f"{_clock(at_s + 130)} WARNING  loader: retrying with token=ghp_{'a1B2' * 9}")
    path.write_text(
        "\n".join([*lines, f"{_clock(at_s + 150)} {'INFO    ' if last == 'done' else 'ERROR   '} loader: {last}"])
        + "\n",
        "utf-8",
    )


def _clock(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))


def page_of(journal: Journal, **options: Any) -> bytes:
    """Return the page of a journal of :func:`write_runs`, where the processes of runs count as alive."""
    from supervisor._cli.report import gather, render

    return render(gather(journal, **options))


def main() -> None:
    """Write a year and its page."""
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "year")
    began_s = time.monotonic()
    journal = a_year(directory)
    wrote_s = time.monotonic()
    page = page_of(journal)
    (directory / "runs.html").write_bytes(page)
    journal.close()
    print(
        f"{directory / 'runs.html'}: {len(page):,} bytes in {time.monotonic() - wrote_s:.2f} s; "
        f"its journal took {wrote_s - began_s:.1f} s",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
