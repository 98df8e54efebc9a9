"""Measures how fast EmailHandler hands in messages, against one connection each and against bare smtplib.

Run: ``python tests/benchmarks/bench_email.py [messages]``. Prints Markdown. The server is aiosmtpd in a process of its
own; the ways take turns in one run, so the ratios hold on a busy machine too.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import trustme
from aiosmtpd.smtp import SMTP

from supervisor.message_handlers.email import EmailHandler
from supervisor.models import MessageDetails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MESSAGES = 500
ROUNDS = 5
TEXT = "".join(f"{index:>6} parcels of county {index % 29} loaded\n" for index in range(30))
FROM, TO = "jobs@example.com", "ops@example.com"


class Sink:
    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        return "250 taken"


async def serve(context: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Sink(), tls_context=context, loop=loop), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def server(key: Path | None) -> Iterator[int]:
    command = [sys.executable, __file__, "serve", *([str(key)] if key else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def message(index: int) -> MessageDetails:
    return MessageDetails(f"Loaded {index}", TEXT)


def mail(index: int) -> EmailMessage:
    """Return what EmailHandler writes, as somebody would write it by hand."""
    details = message(index)
    result = EmailMessage()
    result["From"], result["To"], result["Subject"] = FROM, TO, details.subject
    result["Date"], result["Message-ID"] = details.created_at, f"<{details.id}@example.com>"
    result["Auto-Submitted"] = "auto-generated"
    result.set_content(TEXT)
    result.add_alternative(f"<html><body><pre>{TEXT}</pre></body></html>", subtype="html")
    return result


def by_handler(count: int, handler: EmailHandler, *, closing: bool) -> None:
    for index in range(count):
        handler.send_message(message(index))
        if closing:
            handler.close()
    handler.close()


def by_smtplib(count: int, port: int, context: ssl.SSLContext | None, *, ready: bytes | None) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="localhost") as smtp:
        if context:
            smtp.starttls(context=context)
        for index in range(count):
            if ready is None:
                smtp.send_message(mail(index))
            else:
                smtp.sendmail(FROM, [TO], ready)


def by_smtplib_each(count: int, port: int, context: ssl.SSLContext | None) -> None:
    for index in range(count):
        with smtplib.SMTP("127.0.0.1", port, local_hostname="localhost") as smtp:
            if context:
                smtp.starttls(context=context)
            smtp.send_message(mail(index))


def ways(port: int, ca_file: Path | None) -> dict[str, Callable[[int], None]]:
    security = {"security": "starttls", "ca_file": ca_file} if ca_file else {"security": "none"}
    handler = EmailHandler(smtp_server="127.0.0.1", smtp_port=port, from_address=FROM, to_addresses=TO, **security)
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    return {
        "EmailHandler, one connection": partial(by_handler, handler=handler, closing=False),
        "EmailHandler, a connection each": partial(by_handler, handler=handler, closing=True),
        "smtplib, a connection each, mail written each time": partial(by_smtplib_each, port=port, context=context),
        "smtplib, one connection, mail written each time": partial(by_smtplib, port=port, context=context, ready=None),
        "smtplib, one connection, the same ready bytes": partial(
            by_smtplib, port=port, context=context, ready=mail(0).as_bytes().replace(b"\n", b"\r\n")
        ),
    }


def measure(title: str, count: int, key: Path | None, ca_file: Path | None) -> None:
    with server(key) as port:
        taken: dict[str, list[float]] = {}
        for turn in range(ROUNDS + 1):
            for name, way in ways(port, ca_file).items():
                began = time.perf_counter()
                way(count if turn else 20)
                if turn:  # the first one warms up
                    taken.setdefault(name, []).append(time.perf_counter() - began)
    ours = next(iter(taken.values()))
    print(f"\n## {title}: {count} messages, median of {ROUNDS} rounds\n")
    print("| way | messages/s | ms each | time of EmailHandler / time of this |")
    print("|---|---|---|---|")
    for name, each in taken.items():
        ratio = median(mine / other for mine, other in zip(ours, each, strict=True))
        print(f"| {name} | {count / median(each):.0f} | {1000 * median(each) / count:.2f} | {ratio:.2f} |")


def main(count: int) -> None:
    print("# EmailHandler\n")
    print("Goals: at most 0.33 of smtplib with a connection each, as scripts usually send; at most 1.3 of smtplib with")
    print("one connection. Against our own with a connection each, the round trips of one letter are the limit.")
    with tempfile.TemporaryDirectory() as folder:
        authority = trustme.CA()
        key, ca_file = Path(folder, "key.pem"), Path(folder, "ca.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(key))
        authority.cert_pem.write_to_path(str(ca_file))
        measure("Plain", count, None, None)
        measure("STARTTLS", count, key, ca_file)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if sys.argv[2:] else None
        if tls:
            tls.load_cert_chain(sys.argv[2])
        asyncio.run(serve(tls))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else MESSAGES)
