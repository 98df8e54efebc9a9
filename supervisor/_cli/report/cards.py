"""What the page says of each script, ready to be written down."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import attrs

from supervisor._alerts.messages import missed_words
from supervisor._cli.report.charts import (
    Calendar,
    calendar,
    duration_chart,
    element,
    number_chart,
    use,
)
from supervisor._cli.report.formatting import day, duration_span, line, minute, number_span
from supervisor._cli.report.script_summary import CODES, FAILED, OUTCOMES, STRIP, SUCCEEDED
from supervisor._cli.trends import MOST_RUNS, trends_in
from supervisor._models import Kind
from supervisor._text import counted, duration, number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from supervisor._alerts.evaluation import Alert
    from supervisor._cli.report.charts import TimeAxis
    from supervisor._cli.report.script_summary import Script, Series
    from supervisor._models.parts import Baseline

_STRIP_HEIGHT = 22.0
_STRIP_STEP = 6
_NOTEWORTHY_S = 10.0  # a difference below it is none for a person


@attrs.frozen(kw_only=True)
class Chart:
    """One drawn chart.

    Args:
        title: What it shows.
        note: What is usual, and the newest number.
        stands_out: True when the newest number is far from what is usual.
        summary: What it shows, for those who do not see it.
        svg: The drawing.
        key: The name of the recorded value; None for durations.
    """

    title: str
    note: str
    stands_out: bool
    summary: str
    svg: str
    key: str | None = None


@attrs.frozen(kw_only=True)
class AlertLine:
    """Something that is wrong now, as the page says it.

    Args:
        kind: Died, stalled, overdue or missed.
        name: Of which script.
        words: Since when, and what is known.
        run_id: The id of the run; "" where a start was missed.
        index: The place of the script; None for one without a run in the page.
    """

    kind: str
    name: str
    words: str
    run_id: str = ""
    index: int | None = None


def alert_line(alert: Alert, now: datetime, index: int | None = None) -> AlertLine:
    """Return an alert as the page says it.

    Args:
        alert: The alert.
        now: When the page is written.
        index: The place of its script; None for one without a run in the page.
    """
    return AlertLine(
        kind=str(alert.kind),
        name=line(alert.label, 120),
        words=_alert_words(alert, now),
        run_id=line(alert.run_id, 80),
        index=index,
    )


def _alert_words(alert: Alert, now: datetime) -> str:
    since = minute(alert.since.timestamp())
    if alert.plan is not None:
        starts = missed_words(alert.due, now).removeprefix("missed ")
        never = "" if alert.run is not None else "; it never started"
        return f"{starts} (schedule {line(alert.plan.schedule.text, 60)}){never}"
    if alert.kind is Kind.DIED:
        return f"its process is gone; its last sign of life was at {since}"
    return f"no progress since {since}" if alert.kind is Kind.STALLED else f"it should have ended by {since}"


@attrs.frozen(kw_only=True)
class Card:
    """One script.

    Args:
        script: What is known of it.
        outcome: How its newest run ended.
        last: When its newest run started.
        last_id: The id of that run, as the list has it.
        took: How long that took.
        took_stands_out: True when that is far from what is usual.
        usual: How long its runs usually take; "" when too little is known.
        streak: Its successes or failures in a row; "" before any run ended.
        share: Which share of its runs succeeded.
        strip: Its last runs as a small drawing.
        strip_summary: What that shows, in words.
        alerts: What is wrong with it now.
    """

    script: Script
    outcome: str
    last: str
    last_id: str
    took: str
    took_stands_out: bool
    usual: str
    streak: str
    share: str
    strip: str
    strip_summary: str
    alerts: tuple[AlertLine, ...] = ()

    @property
    def badges(self) -> tuple[str, ...]:
        """Return the words for a script's state: the newest run's outcome, then each kind of open alert."""
        return tuple(dict.fromkeys((self.outcome, *(each.kind for each in self.alerts))))


def card(script: Script, last_id: str, now: datetime) -> Card:
    """Return what the page says of a script."""
    durations, usual = script.durations, script.durations.usual
    return Card(
        script=script,
        outcome=OUTCOMES[script.newest.code],
        last=minute(script.newest.run.started_at_s),
        last_id=last_id,
        took=_took(script),
        took_stands_out=bool(
            script.newest.code in SUCCEEDED and usual and usual.stands_out(script.newest.duration_s, _NOTEWORTHY_S)
        ),
        usual=_usual_duration(usual),
        streak=_streak(script),
        share=_share(script.good_share),
        strip=_strip(durations),
        strip_summary=_strip_summary(durations),
        alerts=tuple(alert_line(each, now, script.index) for each in script.alerts),
    )


def trends(script: Script) -> list[str]:
    """Return where the durations and the numbers that are drawn are heading, in words."""
    values = [(name, series.last_successes(MOST_RUNS)) for name, series in script.charted()]
    limit_s = script.newest.run.max_duration_s
    return [line(str(each), 300) for each in trends_in(script.durations.last_successes(MOST_RUNS), limit_s, values)]


def year(script: Script, now_s: float) -> Calendar:
    """Return the calendar of a script."""
    return calendar(script.days, day(now_s))


def charts(script: Script, time: TimeAxis) -> Iterator[Chart]:
    """Yield the chart of the durations of a script, and one for each number that it records."""
    if script.durations.numbers:
        durations = script.durations
        longest = f"median {duration(median(durations.numbers))}, longest {duration(max(durations.numbers))}"
        yield Chart(
            title="Duration",
            note=_usual_duration(durations.usual, "usually "),
            stands_out=False,
            summary=f"Duration of {counted(len(durations.numbers), 'run')}: {longest}{_failures(durations)}",
            svg=duration_chart(durations, time),
        )
    for name, series in script.charted():
        yield _number_chart(name, series, time)


def _number_chart(name: str, series: Series, time: TimeAxis) -> Chart:
    newest, usual = series.numbers[0], series.usual
    note = f"last {number(newest)}" + (f", usually {number_span(usual.low, usual.high)}" if usual else "")
    lowest, highest = number(min(series.numbers)), number(max(series.numbers))
    return Chart(
        title=name,
        note=note,
        stands_out=bool(usual and series.codes[0] in SUCCEEDED and usual.stands_out(newest)),
        summary=f"{name}, recorded by {counted(len(series.numbers), 'run')}: from {lowest} to {highest}; {note}",
        svg=number_chart(series, time),
        key=name,
    )


def _took(script: Script) -> str:
    if script.newest.code == CODES["skipped"]:
        return ""
    return duration(script.newest.duration_s) + (" so far" if script.is_running else "")


def _failures(series: Series) -> str:
    failures = sum(code in FAILED for code in series.codes)
    return f"; {counted(failures, 'failure')} marked" if failures else ""


def _usual_duration(usual: Baseline | None, lead: str = "") -> str:
    if usual is None:
        return ""
    return lead + duration_span(usual.low, usual.high)


def _streak(script: Script) -> str:
    if script.is_failing is None:
        return ""
    if not script.is_failing:
        return f"{counted(script.streak, 'success')} in a row".replace("successs", "successes")
    since = minute(script.streak_since_s)
    return f"failing since {since}" if script.streak == 1 else f"{script.streak:,} failures in a row since {since}"


def _share(share: float | None) -> str:
    """Return a percentage; less than all is never rounded up to 100 %."""
    if share is None:
        return ""
    return "100 %" if share == 1 else f"{min(99.9, share * 100):.1f} %"


def _strip(durations: Series) -> str:
    """Return the last runs as bars, the newest at the right: as high as they took long, failures marked."""
    codes, numbers = durations.codes[:STRIP][::-1], durations.numbers[:STRIP][::-1]
    most = max(numbers, default=0.0) or 1.0
    parts = []
    for place, (code, took_s) in enumerate(zip(codes, numbers, strict=True)):
        x, height = (STRIP - len(codes) + place) * _STRIP_STEP, 3 + (_STRIP_HEIGHT - 3) * took_s / most
        style = "s-good" if code in SUCCEEDED else "s-bad" if code in FAILED else "s-other"
        if code in FAILED:
            parts.append(use("m-fail", str(x + 2), _STRIP_HEIGHT + 4.5, "m-fail"))
        y = _STRIP_HEIGHT - height
        parts.append(element("rect", class_=style, x=x, y=y, width=4, height=height))
    view = f"0 0 {STRIP * _STRIP_STEP} {_STRIP_HEIGHT + 9:.0f}"
    width, height = STRIP * _STRIP_STEP, _STRIP_HEIGHT + 9
    return element("svg", "".join(parts), class_="strip", width=width, height=height, view_box=view)


def _strip_summary(durations: Series) -> str:
    codes = durations.codes[:STRIP]
    failed = sum(code in FAILED for code in codes)
    return f"last {counted(len(codes), 'run')}: {failed or 'none'} failed"
