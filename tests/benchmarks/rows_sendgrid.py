"""500 mails to a SendGrid on the loopback."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.benchmarks import table
from tests.benchmarks.harness import Bench, available, interleave, ratio
from tests.benchmarks.rows_email import server

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 500


def rows(bench: Bench) -> Iterator[table.Row]:
    """Yield the row, and say where the time goes."""
    with server(bench, "web_server.py") as url:
        theirs, missing = available(
            {"ugrc-supervisor": partial(bench.theirs, "ugrc-supervisor", "posts.py", "ugrc", url, COUNT)}
        )
        ways = ("supervisor", "http_client", "library", "library_mail")
        took = interleave(
            {way: partial(bench.ours, "posts.py", way, url, COUNT) for way in ways} | theirs, bench.rounds
        )
    taken = {way: [each["taken"] for each in some] for way, some in took.items()}
    peers = {peer: median(taken[peer]) for peer in theirs}
    mine, times = median(taken["supervisor"]), ratio(taken["supervisor"], taken["http_client"])
    yield table.Row(
        key="SendGrid",
        what=f"{COUNT} SendGrid messages to a local server",
        ours=mine,
        limit=("http.client, one connection", median(taken["http_client"])),
        ratio=times,
        peers=peers | {"the `sendgrid` library alone": median(taken["library"])},
        missing=missing,
        goals=(table.ahead(mine, peers, "ugrc-supervisor"),),
        notes=(
            f"where a message's {table.figure(mine / COUNT, 'ms')} go: {shares(took['supervisor'], mine)}",
            (
                f"the library's own `Mail` sent over one connection of http.client takes "
                f"{ratio(taken['library_mail'], taken['http_client']):.2f} x the limit: so close the official client lets"
            ),
        ),
    )


def shares(took: list[dict[str, Any]], whole_s: float) -> str:
    """Return in words where the time of one message goes."""
    steps = {name: median(each["shares"][name] for each in took) for name in took[0]["shares"]}
    rest = whole_s / COUNT - sum(steps.values())
    steps["the connection and the server's answer"] = rest
    return ", ".join(f"{name} {table.figure(each, 'ms')}" for name, each in steps.items())
