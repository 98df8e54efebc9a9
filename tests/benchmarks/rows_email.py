"""500 e-mails to a server on the loopback."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks import table
from tests.benchmarks.harness import Bench, CannotMeasureError, available, interleave, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 500
MOST, AHEAD = 1.3, 3


def rows(bench: Bench) -> Iterator[table.Row]:
    """Yield rows without TLS, beside ugrc-supervisor, and one with STARTTLS, which that cannot do."""
    if not find_spec("aiosmtpd"):
        raise CannotMeasureError("aiosmtpd is not installed here")
    yield plain_row(bench)
    if find_spec("trustme"):
        key, ca_file = certificate(bench.disk)
        yield tls_row(bench, key, ca_file)


@contextmanager
def server(bench: Bench, script: str, *args: object) -> Iterator[str]:
    """Start a server of ``children/``; give what it prints first: where it listens."""
    command = [sys.executable, str(bench.scripts / script), *map(str, args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline().strip()
            if not line:
                raise CannotMeasureError(f"{script} does not start")
            yield line
        finally:
            process.terminate()


def certificate(directory: Path) -> tuple[Path, Path]:
    """Write a server's key and the certificate of who vouches for it."""
    import trustme

    key, ca_file = directory / "key.pem", directory / "ca.pem"
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca_file))
    return key, ca_file


def plain_row(bench: Bench) -> table.Row:
    """Measure without TLS."""
    with server(bench, "mail_server.py") as port:
        theirs, missing = available(
            {"ugrc-supervisor": partial(bench.theirs, "ugrc-supervisor", "mails.py", "ugrc", port, COUNT)}
        )
        ways = ("supervisor", "smtplib", "ready_bytes", "smtplib_each")
        took = interleave(
            {way: partial(bench.ours, "mails.py", way, port, COUNT) for way in ways} | theirs, bench.rounds
        )
    mine, times = median(took["supervisor"]), ratio(took["supervisor"], took["ready_bytes"])
    peers = {peer: median(took[peer]) for peer in theirs}
    by_hand = {
        "smtplib, one connection, each mail written by `email`": median(took["smtplib"]),
        "the same, a connection each": median(took["smtplib_each"]),
    }
    return table.Row(
        key="e-mail",
        what=f"{COUNT} e-mails to a local aiosmtpd",
        ours=mine,
        limit=("smtplib, one connection, the same ready bytes again and again", median(took["ready_bytes"])),
        ratio=times,
        peers=peers | by_hand,
        missing=missing,
        goals=(table.at_most(times, MOST, "the limit"), table.ahead(mine, peers, "ugrc-supervisor", times=AHEAD)),
        notes=(
            f"beside smtplib that writes each mail by `email`, too, {ratio(took['supervisor'], took['smtplib']):.2f} x",
            *(floor(took["ready_bytes"], took[peer]) for peer in theirs),
        ),
    )


def floor(limit: list[float], theirs: list[float]) -> str:
    """Return in words how far ahead of ugrc-supervisor a client could be that waits for each reply of this server."""
    ahead = f"{ratio(theirs, limit):.2f} x"
    return f"against this server, no client that waits for each reply is further ahead of ugrc-supervisor than {ahead}"


def tls_row(bench: Bench, key: Path, ca_file: Path) -> table.Row:
    """Measure with STARTTLS."""
    with server(bench, "mail_server.py", key) as port:
        ways = {
            way: partial(bench.ours, "mails.py", way, port, COUNT, ca_file) for way in ("supervisor", "ready_bytes")
        }
        took = interleave(ways, bench.rounds)
    times = ratio(took["supervisor"], took["ready_bytes"])
    return table.Row(
        key="e-mail, STARTTLS",
        what=f"{COUNT} e-mails over STARTTLS to a local aiosmtpd",
        ours=median(took["supervisor"]),
        limit=("smtplib, one connection, ready bytes", median(took["ready_bytes"])),
        ratio=times,
        missing=("ugrc-supervisor: has no STARTTLS",),
        goals=(table.at_most(times, MOST, "the limit"),),
    )
