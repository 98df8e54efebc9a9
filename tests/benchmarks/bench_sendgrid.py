"""How fast SendGrid mails go out, against a local server in a process of its own.

Run ``python tests/benchmarks/bench_sendgrid.py [--old-python PATH]``; it prints Markdown. ``--old-python`` names an
interpreter that has agrc-supervisor 3.x, which cannot be installed beside this version; without it those rows are
left out. Everybody sends the same mails, one after the other, each contestant in a fresh process.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
SUBJECT = "nightly parcels failed"
TEXT = "Traceback (most recent call last):\n" + "  File 'parcels.py', line 41, in load\n" * 40
SETTINGS = {"api_key": "SG.k", "from_address": "nightly@example.com", "to_addresses": ["ops@example.com"]}


def serve(certificate: str) -> None:
    """Answer 202 to every POST, and tell a GET how many connections there were, until stdin ends."""
    sys.path.insert(0, str(ROOT / "tests" / "message_handlers"))
    from http_peers import Answer, http_peer

    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    with http_peer(lambda request: Answer(body=peer.connections) if request.method == "GET" else None, tls) as peer:
        peer.answer(202)
        print(peer.url, flush=True)
        sys.stdin.read()


def new_handler(url, count):
    """Send by supervisor's SendGridHandler."""
    sys.path.insert(0, str(ROOT))
    from supervisor.message_handlers.sendgrid import SendGridHandler
    from supervisor.models import MessageDetails

    handler = SendGridHandler(**SETTINGS, host=url)
    messages = [MessageDetails(SUBJECT, TEXT) for _ in range(count + 1)]
    yield lambda: handler.send_message(messages.pop())
    handler.close()


def library(url, count):
    """Send by the sendgrid library as it comes, with a timeout."""
    import sendgrid

    client = sendgrid.SendGridAPIClient(SETTINGS["api_key"], host=url)
    client.client.timeout = 10
    yield lambda: client.send(plain_mail())


def raw(url, count):
    """Send by http.client on one kept connection: the least that anybody can do."""
    from http.client import HTTPConnection, HTTPSConnection

    scheme, _, server = url.partition("://")
    connection = (HTTPSConnection if scheme == "https" else HTTPConnection)(server, timeout=10)
    headers = {"Authorization": "Bearer SG.k", "Content-Type": "application/json"}

    def send():
        connection.request("POST", "/v3/mail/send", json.dumps(plain_mail()).encode(), headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 202

    yield send
    connection.close()


def old_handler(url, count):
    """Send by the SendGridHandler of agrc-supervisor 3.x, whose host can only be set from behind."""
    from supervisor.message_handlers import SendGridHandler
    from supervisor.models import MessageDetails

    handler = SendGridHandler(SETTINGS)
    handler.sendgrid_client.client.host = url
    details = MessageDetails()
    details.subject, details.message = SUBJECT, TEXT
    yield lambda: handler.send_message(details)


def plain_mail():
    return {
        "personalizations": [{"to": [{"email": "ops@example.com"}]}],
        "from": {"email": "nightly@example.com"},
        "subject": SUBJECT,
        "content": [{"type": "text/plain", "value": TEXT}, {"type": "text/html", "value": f"<pre>{TEXT}</pre>"}],
    }


CONTESTANTS = {"new": new_handler, "library": library, "raw": raw, "old": old_handler}
NAMES = {
    "raw": "`http.client`, one connection",
    "new": "`SendGridHandler`",
    "library": "`sendgrid` library alone",
    "old": "agrc-supervisor 3.x",
}


def work(name: str, url: str, count: int) -> None:
    """Send the mails as one contestant, and print how long it took, without imports and the first mail."""
    for send in CONTESTANTS[name](url, count):
        send()
        started_s, cpu_started_s = time.perf_counter(), time.process_time()
        for _ in range(count):
            send()
        print(json.dumps([time.perf_counter() - started_s, time.process_time() - cpu_started_s]))


def stages(count: int) -> None:
    """Print where the handler's own time goes."""
    sys.path.insert(0, str(ROOT))
    import io

    from supervisor.attachments import packed
    from supervisor.message_handlers import sendgrid_mail
    from supervisor.message_handlers.sendgrid import SendGridHandler
    from supervisor.models import MessageDetails

    handler, details = SendGridHandler(**SETTINGS), MessageDetails(SUBJECT, TEXT)
    mail = sendgrid_mail.mail(handler, details)

    def pack_nothing():
        with packed((), limit_bytes=1):
            pass

    steps = {
        "make the mail (subject, text, HTML)": lambda: sendgrid_mail.mail(handler, details),
        "pack no attachments": pack_nothing,
        "write it as JSON": lambda: sendgrid_mail.write(mail, io.BytesIO()),
    }
    print("\n| step | µs per mail |\n|---|---:|")
    for name, step in steps.items():
        started_s = time.perf_counter()
        for _ in range(count):
            step()
        print(f"| {name} | {(time.perf_counter() - started_s) / count * 1e6:.0f} |")


def measure(python: str, name: str, url: str, count: int, environment: dict[str, str]) -> tuple[float, float]:
    command = [python, str(HERE), "--worker", name, "--url", url, "--count", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment, cwd=HERE.parent)
    wall_s, cpu_s = json.loads(done.stdout)
    return wall_s, cpu_s


def connections(url: str) -> int:
    from urllib.request import urlopen

    with urlopen(url, context=ssl._create_unverified_context() if url.startswith("https") else None) as answer:
        return int(answer.read())


def compare(pythons: dict[str, str], certificate: str, environment: dict[str, str], count: int, rounds: int) -> None:
    """Print one table: each contestant's best of several rounds, taken in turns so that noise hits all alike."""
    command = [sys.executable, str(HERE), "--serve", "--certificate", certificate]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin
    assert server.stdout
    try:
        url = server.stdout.readline().strip()
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in pythons}
        opened = dict.fromkeys(pythons, 0)
        for _ in range(rounds):
            for name, python in pythons.items():
                before = connections(url)
                results[name].append(measure(python, name, url, count, environment))
                opened[name] = connections(url) - before - 1
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()
    print("| | mails per s | ms per mail (best) | (median) | CPU ms per mail | connections | time, raw = 1 |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    best_raw_s = min(results["raw"])[0]
    for name, runs in results.items():
        wall_s, cpu_s = min(runs)
        median_ms = statistics.median(run[0] for run in runs) / count * 1e3
        print(
            f"| {NAMES[name]} | {count / wall_s:,.0f} | {wall_s / count * 1e3:.2f} | {median_ms:.2f} "
            f"| {cpu_s / count * 1e3:.2f} | {opened[name]:,} | {wall_s / best_raw_s:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old-python", default="", help="an interpreter that has agrc-supervisor 3.x")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--certificate", default="", help=argparse.SUPPRESS)
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.certificate)
    if options.worker:
        return work(options.worker, options.url, options.count)
    pythons = dict.fromkeys(("raw", "new", "library"), sys.executable)
    if (
        options.old_python
        and not subprocess.run(
            [options.old_python, "-c", "from supervisor.message_handlers import SendGridHandler"],
            cwd=HERE.parent,
            check=False,
        ).returncode
    ):
        pythons["old"] = options.old_python
    environment = os.environ | {"no_proxy": "127.0.0.1"}
    print(f"## {options.count} mails to a local SendGrid, Python {sys.version.split()[0]}\n\n### Plain HTTP\n")
    compare(pythons, "", environment, options.count, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        import trustme

        authority = trustme.CA()
        authority.cert_pem.write_to_path(f"{folder}/ca.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(f"{folder}/server.pem")
        print("\n### TLS, as the real service has it\n")
        environment["SSL_CERT_FILE"] = f"{folder}/ca.pem"
        compare(pythons, f"{folder}/server.pem", environment, options.count, options.rounds)
    print("\n### Where the handler's own time goes")
    return stages(options.count)


if __name__ == "__main__":
    main()
