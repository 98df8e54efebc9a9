"""One page with all runs: a file that needs no server, no network and no other file.

``gather`` reads the journal; ``render`` returns the page as bytes: the frame by jinja2, the list of runs as data for
the page's own script; ``write_page`` puts it where it belongs, whole or not at all. What stands in the page is bounded,
however long the journal is, and it says what was left out.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import pkgutil
import stat
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from supervisor._cli.report.cards import alert_line, card, charts, trends, year
from supervisor._cli.report.charts import TimeAxis, legend
from supervisor._cli.report.formatting import (
    date_of,
    duration_span,
    json_for_html,
    line,
    lines,
    minute,
    number_span,
    offset_s,
    offsets,
    zone_name,
)
from supervisor._cli.report.gather import gather
from supervisor._cli.report.run_list import CARDS
from supervisor._cli.report.script_summary import DAYS, FAILED, OUTCOMES, RUNNING, SUCCEEDED
from supervisor._models import DeliveryState
from supervisor._store.essentials import VARIABLE
from supervisor._text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor._cli.report.cards import AlertLine, Card
    from supervisor._cli.report.gather import Gathered
    from supervisor._cli.report.run_list import LeftOut
    from supervisor._cli.report.script_summary import Script
    from supervisor._store.records import WaitingDelivery

__all__ = ["gather", "render", "write_page"]

_ASSETS = ("page.css", "page.js")

REPLACING_S = 3.0
"""How long the old page may be open in another program of Windows until it is an error."""


def render(gathered: Gathered) -> bytes:
    """Return the page as UTF-8."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["svg"] = Markup  # for our own drawings only: they hold numbers and words of ours
    css, js = (_asset(name) for name in _ASSETS)
    page = environment.from_string(_asset("page.html")).render(
        css=Markup(css),  # noqa: S704 - our own files
        js=Markup(js),  # noqa: S704 - our own script, without texts of others
        csp=_policy(css, js),
        data=Markup(json_for_html(_data(gathered))),  # noqa: S704 - escaped for the element that it stands in
        **_frame(gathered),
    )
    return page.encode("utf-8", "backslashreplace")


def _asset(name: str) -> str:
    data = pkgutil.get_data("supervisor._cli.report", name)
    assert data is not None, name
    return data.decode().replace("\r\n", "\n")  # browsers do so before they check a hash


def _policy(css: str, js: str) -> str:
    """Return the policy that lets this page's own style and script act and nothing else, not even a request.

    https://www.w3.org/TR/CSP3/
    """
    style, script = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, js))
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _frame(gathered: Gathered) -> dict[str, Any]:
    now_s = gathered.written_at_s
    now = datetime.fromtimestamp(now_s, UTC)
    cards = [card(script, _newest_id(script), now) for script in gathered.scripts]
    first_s = gathered.first_s if gathered.first_s is not None else now_s
    return {
        "host": gathered.host,
        "written": minute(now_s),
        "zone": zone_name(now_s),
        "since": f"{date_of(int((first_s + offset_s(first_s)) // 86_400)):%Y-%m-%d}",
        "runs": counted(gathered.runs, "run"),
        "scripts": counted(len(cards), "script"),
        "has_runs": bool(gathered.runs),
        "days": gathered.days,
        "variable": VARIABLE,
        "cards": cards,
        "most_cards": CARDS,
        "drawn_places": {each.script.index for each in cards[:CARDS]},
        "drawn": _drawn(cards, TimeAxis(first_s, now_s), now_s),
        "outcomes": OUTCOMES,
        "legend": [(legend(look), words) for look, words in DAYS.items()],
        "deliveries": [_delivery(each) for each in gathered.deliveries],
        "left_out": list(_left_out(gathered.left_out)),
        "tiles": list(_tiles(gathered)),
        "is_failing": any(script.is_failing for script in gathered.scripts),
        "alerts": _alerts(gathered, now),
        "alerts_in_short": _alerts_in_short(gathered),
        "muted": gathered.muted,
    }


def _alerts(gathered: Gathered, now: datetime) -> list[AlertLine]:
    places = {id(alert): script.index for script in gathered.scripts for alert in script.alerts}
    return [alert_line(each, now, places.get(id(each))) for each in gathered.alerts]


def _alerts_in_short(gathered: Gathered) -> str:
    """Return how many alerts there are of each kind ("3 alerts: 1 stalled, 1 overdue, 1 missed"); "" for none."""
    if not gathered.alerts:
        return ""
    counts = Counter(str(each.kind) for each in gathered.alerts)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    return f"{counted(len(gathered.alerts), 'alert')}: {kinds}"


def _newest_id(script: Script) -> str:
    return line(script.newest.run.id, 80)


def _drawn(cards: list[Card], time: TimeAxis, now_s: float) -> Iterator[dict[str, Any]]:
    """Yield the cards with their drawings, one after the other, since together they are large."""
    for each in cards[:CARDS]:
        script = each.script
        yield {
            "card": each,
            "trends": trends(script),
            "year": year(script, now_s),
            "charts": charts(script, time),
            "time": time,
        }


def _tiles(gathered: Gathered) -> Iterator[tuple[str, str, str]]:
    """Yield the page's headline figures: the style of each, its number, and its label."""
    failing = sum(bool(script.is_failing) for script in gathered.scripts)
    running = sum(script.counts[OUTCOMES.index(RUNNING)] for script in gathered.scripts)
    waiting = sum(each.state is DeliveryState.PENDING for each in gathered.deliveries)
    refused = len(gathered.deliveries) - waiting
    good, ended = _week(gathered)
    alerts = len(gathered.alerts)
    if failing or alerts or refused:
        yield ("bad" if failing else "", f"{failing:,}", "failing now")
    else:
        yield ("good", "0", "failing: all is well")
    yield ("warn" if alerts else "", f"{alerts:,}", _alerts_in_short(gathered).partition(": ")[2] or "alerts")
    yield ("run" if running else "", f"{running:,}", "running now")
    yield (
        "",
        f"{100 * good / ended:.{0 if good == ended else 1}f} %" if ended else "no runs",
        "went well in the last 7 days",
    )
    yield ("warn" if waiting else "", f"{waiting:,}", "messages waiting")
    yield ("bad" if refused else "", f"{refused:,}", "messages failed")


def _week(gathered: Gathered) -> tuple[int, int]:
    """Return how many runs of the last seven days succeeded, and how many succeeded or failed."""
    today = int((gathered.written_at_s + offset_s(gathered.written_at_s)) // 86_400)
    days = [
        script.days[day] for script in gathered.scripts for day in range(today - 6, today + 1) if day in script.days
    ]
    good = sum(counts[code] for counts in days for code in SUCCEEDED)
    return good, good + sum(counts[code] for counts in days for code in FAILED)


def _delivery(delivery: WaitingDelivery) -> dict[str, Any]:
    is_waiting = delivery.state is DeliveryState.PENDING
    return {
        "key": delivery.key,
        "is_waiting": is_waiting,
        "state": "sending" if delivery.is_claimed and is_waiting else "waiting" if is_waiting else "failed",
        "handler": line(delivery.handler, 80),
        "kind": line(str(delivery.kind), 20),
        "subject": line(delivery.subject, 200) or "(no subject)",
        "created": minute(delivery.created_at.timestamp()),
        "due": minute(delivery.due_at.timestamp()) if delivery.due_at is not None else "",
        "attempts": delivery.attempts,
        "error": line(lines(delivery.last_error), 500),
    }


def _left_out(left_out: LeftOut) -> Iterator[str]:
    """Yield what does not stand in the page, and how to see it."""
    if left_out.runs:
        yield f"The list has the newest runs; {left_out.runs:,} older ones are only in the calendars and charts."
    if left_out.errors:
        yield f"The tracebacks of {counted(left_out.errors, 'older failed run')} were left out."
    if left_out.values:
        yield f"The recorded values of {counted(left_out.values, 'older run')} were left out of the list."
    if left_out.logs:
        yield f"The logs of {counted(left_out.logs, 'run')} were not read."
    if left_out.cards:
        yield f"Calendars and charts are there for the first {CARDS:,} scripts; {left_out.cards:,} have none."


def _data(gathered: Gathered) -> dict[str, Any]:
    """Return what the page's own script works with."""
    first_s = gathered.first_s if gathered.first_s is not None else gathered.written_at_s
    scripts = sorted(gathered.scripts, key=lambda script: script.index)
    return {
        "written": int(gathered.written_at_s),
        "offsets": offsets(first_s, gathered.written_at_s),
        "outcomes": OUTCOMES,
        "failed": FAILED,
        "scripts": [_script(script) for script in scripts],
        **({"runs": [], "texts": [], "errors": [], "facts": [], "logs": {}} | gathered.listed),
    }


def _script(script: Script) -> dict[str, Any]:
    usual = script.durations.usual
    usual_values = {name: series.usual for name, series in script.charted()}
    return {
        "name": script.name,
        "usual": "usually " + duration_span(usual.low, usual.high) if usual else "",
        "values": {name: number_span(each.low, each.high) for name, each in usual_values.items() if each},
        "steps": {name: duration_span(each.low, each.high) for name, each in script.usual_steps.items()},
        "days": {day: _trimmed(counts) for day, counts in script.days.items()},
    }


def _trimmed(counts: list[int]) -> list[int]:
    """Return counts without their trailing zeros: nearly all counts are zero."""
    counts = list(counts)
    while counts and not counts[-1]:
        counts.pop()
    return counts


_MARK = b'<meta name="generator" content="supervisor">'
_HEAD_BYTES = 4_096
PRIVATE = 0o600


def write_page(page: bytes, path: str | os.PathLike[str]) -> Path:
    """Write a page to a path, replacing the file there, and return the path of the written file.

    Who reads the old page meanwhile sees the old or the new one, never a part. A new file can be read only by its
    owner, since errors and logs may quote data; a page that its owner opened to others stays as open as it was.

    Args:
        page: The page.
        path: Where to. A link of the user's own is followed if it leads to such a page or to nothing; a device is
            written to as it is.

    Raises:
        OSError: It cannot be written; what was there before is unchanged.
    """
    _check_links(os.fspath(path))
    target = Path(os.path.realpath(path))
    if target.is_char_device():
        target.write_bytes(page)
        return target
    if target.exists() and not target.is_file() and not target.is_dir():
        raise OSError(errno.EINVAL, "it is no file; to hand the page to another program use -o -")
    number, name = tempfile.mkstemp(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent)
    try:
        with open(number, "wb") as file:  # noqa: PTH123 - of a number, not a path
            file.write(page)
        Path(name).chmod(_mode(target))
        _replace(Path(name), target)
    finally:
        with suppress(OSError):  # when all went well, it has its new name
            Path(name).unlink()
    return target


def _replace(part: Path, target: Path) -> None:
    """Give the written page its name. On Windows that fails while a reader has the old page open: wait a little then.

    Raises:
        OSError: The old page is still open, or cannot be replaced at all.
    """
    until_s = monotonic() + REPLACING_S
    while True:
        try:
            part.replace(target)
        except PermissionError as error:
            if sys.platform != "win32" or target.is_dir():
                raise
            if monotonic() > until_s:
                reason = "another program has the old page open, or it is marked as read-only"
                raise OSError(errno.EACCES, reason) from error
            sleep(0.01)
        else:
            return


def _check_links(path: str) -> None:
    """Refuse a link that somebody else made, and one that leads to a file which is no such page."""
    link = Path(path)
    if not link.is_symlink():
        return
    owner = link.lstat().st_uid
    if sys.platform != "win32" and owner not in {0, os.geteuid()}:
        raise OSError(errno.EPERM, f"it is a link that another user (uid {owner}) made")
    target = Path(os.path.realpath(path))
    if target.is_file():
        with target.open("rb") as file:
            if _MARK not in file.read(_HEAD_BYTES):
                raise OSError(errno.EEXIST, f"it is a link to {target}, which is no such page and would be lost")


def _mode(target: Path) -> int:
    """Return who may read the page: its owner, and whom its owner let read the page that it replaces."""
    try:
        status = target.stat()
    except OSError:
        return PRIVATE
    is_ours = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return stat.S_IMODE(status.st_mode) if is_ours else PRIVATE
