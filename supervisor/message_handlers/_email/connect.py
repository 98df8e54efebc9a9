"""From a server's address to a connection that takes letters: connected, greeted, encrypted, logged in.

``smtplib`` speaks the commands. Looking up, connecting and logging in are done here: ``smtplib`` waits for the name
server as long as the system does, gives each of a host's addresses the whole timeout, and takes no password that is
not ASCII.
"""

from __future__ import annotations

import os
import re
import smtplib
import socket
import ssl
import time
from base64 import b64encode
from contextlib import ExitStack
from functools import lru_cache
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias

from supervisor._forks import THREAD_PREFIX
from supervisor.errors import DeliveryError
from supervisor.message_handlers._email.protocol import LostError, Reply, Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AddressInfo: TypeAlias = "tuple[Any, ...]"  # what socket.getaddrinfo returns

# In the order of preference. CRAM-MD5 is left out: servers that offer nothing else died out with TLS.
PASSWORD_MECHANISMS = ("PLAIN", "LOGIN")
# What tells OpenSSL other authorities than the system's: https://docs.openssl.org/master/man7/openssl-env/
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def open_connection(server: Server) -> smtplib.SMTP:
    """Return a connection that takes letters.

    Raises:
        DeliveryError: It could not be had; permanent where only another setting helps.
    """
    smtp = smtplib.SMTP(local_hostname="localhost", timeout=server.timeout_s)  # does not connect yet
    with ExitStack() as undo:
        undo.callback(smtp.close)
        smtp.sock = _connect(server)
        smtp.local_hostname = _helo_name(smtp.sock)
        if server.security == "tls":
            _encrypt(smtp, server)
        reply = server.ask("the connection", smtp.getreply)
        if reply.code != 220:  # noqa: PLR2004 - "ready"
            raise server.refusal("the connection", reply)
        _say_hello(smtp, server)
        if server.security == "starttls":
            _start_tls(smtp, server)
        if server.username is not None:
            _log_in(smtp, server, server.username)
        undo.pop_all()
    return smtp


def _connect(server: Server) -> socket.socket:
    try:
        return connect_socket(resolve(server.host, server.port, server.timeout_s), server.timeout_s)
    except ValueError as error:  # UnicodeError among them
        raise DeliveryError(
            f"smtp_server {server.host!r} is not the name of a host: {error}", permanent=True
        ) from error
    except TimeoutError as error:
        raise LostError(f"{server} could not be reached within {server.timeout_s:g} s") from error
    except OSError as error:
        raise LostError(f"{server} could not be reached: {error}") from error


def resolve(host: str, port: int, timeout_s: float) -> Sequence[AddressInfo]:
    """Return the addresses of a host, from a thread of its own since the system's look-up heeds no timeout.

    Raises:
        TimeoutError: The name servers did not answer in time.
        OSError: There is no such host.
        ValueError: The name cannot be one of a host.
    """
    found: SimpleQueue[Sequence[AddressInfo] | OSError | ValueError] = SimpleQueue()

    def ask() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:
            found.put(error)

    try:
        Thread(target=ask, name=f"{THREAD_PREFIX}look-up", daemon=True).start()
    except RuntimeError:  # no threads any more: the interpreter is shutting down
        ask()
    try:
        answer = found.get(timeout=timeout_s)
    except Empty:
        raise TimeoutError(f"no name server told the address of {host!r} within {timeout_s:g} s") from None
    if isinstance(answer, (OSError, ValueError)):
        raise answer
    return answer


def connect_socket(addresses: Sequence[AddressInfo], timeout_s: float) -> socket.socket:
    """Connect to the first address that answers; each gets its share of the time, so that none uses up all of it.

    Args:
        addresses: What :func:`look_up` returned.
        timeout_s: The most seconds for all together, and later for each step on the connection.

    Raises:
        OSError: None answered; what the last one said.
    """
    until = time.monotonic() + timeout_s
    failure: OSError = OSError("the host has no address")
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(0.01, (until - time.monotonic()) / (len(addresses) - index)))
            sock.connect(address)
            sock.settimeout(timeout_s)
            # The last piece of a letter is small: it must not wait until the pieces before it are acknowledged.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _helo_name(sock: socket.socket) -> str:
    """Return this host's full name, or where it has none its address (RFC 5321, 4.1.3). Asks no name server."""
    name = socket.gethostname()
    if "." in name and re.fullmatch(r"[A-Za-z0-9.-]+", name):
        return name
    address = str(sock.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _say_hello(smtp: smtplib.SMTP, server: Server) -> None:
    reply = server.ask("EHLO", smtp.ehlo)
    if reply.is_permanent:  # it knows no extensions
        reply = server.ask("HELO", smtp.helo)
    if reply.code != 250:  # noqa: PLR2004 - "ok"
        raise server.refusal("the greeting", reply)


def _start_tls(smtp: smtplib.SMTP, server: Server) -> None:
    """Encrypt the connection, and greet anew: what was heard before may have been anybody's (RFC 3207, 4.2)."""
    if not smtp.has_extn("starttls"):
        raise DeliveryError(
            f"{server} offers no STARTTLS, so nothing was sent; give security='tls' if it is encrypted from the start "
            "(port 465), or security='none' if letters may go unencrypted, as version 3 sent them",
            permanent=True,
        )
    reply = server.ask("STARTTLS", smtp.docmd, "STARTTLS")
    if reply.code != 220:  # noqa: PLR2004 - "ready"
        raise server.refusal("STARTTLS", reply)
    _encrypt(smtp, server)
    _say_hello(smtp, server)


def _encrypt(smtp: smtplib.SMTP, server: Server) -> None:
    """Put TLS on a connection.

    Raises:
        DeliveryError: The certificate is not to be trusted, or there is no TLS at the other end (both permanent).
    """
    assert smtp.sock is not None
    context = _context(server)
    try:
        smtp.sock = context.wrap_socket(smtp.sock, server_hostname=server.host)
    except ssl.SSLCertVerificationError as error:
        raise DeliveryError(
            f"{server} showed a certificate that is not to be trusted, so nothing was sent: {error.verify_message}; "
            "give the file of its authority as ca_file, or verify_certificate=False to take any",
            permanent=True,
        ) from error
    except ssl.SSLError as error:
        speaks_no_tls = error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}
        remedy = "; it is not encrypted from the start: try security='starttls'" if speaks_no_tls else ""
        reason = f"{server} could not be encrypted: {error}{remedy}"
        raise DeliveryError(reason, permanent=speaks_no_tls) from error
    except OSError as error:
        raise server.lost("the TLS handshake", error) from error
    smtp.file = None  # what smtplib had read ahead of TLS is not to be believed


def _context(server: Server) -> ssl.SSLContext:
    try:
        return _cached_context(server.ca_file, *map(os.environ.get, _CERTIFICATES), verify=server.verify_certificate)
    except OSError as error:
        raise DeliveryError(f"ca_file {server.ca_file!r} holds no certificates: {error}", permanent=True) from error


@lru_cache(maxsize=8)  # loading the system's authorities takes longer than sending a letter
def _cached_context(ca_file: str | None, *said_by_environment: str | None, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _log_in(smtp: smtplib.SMTP, server: Server, username: str) -> None:
    """Log in with a password or an access token.

    Raises:
        DeliveryError: The server refused; permanent for 5yz (535 and 534 among them) until somebody mends it.
    """
    offered = smtp.esmtp_features.get("auth", "").upper().split()
    usable = ("XOAUTH2",) if server.oauth2_token else PASSWORD_MECHANISMS
    mechanism = next((each for each in usable if each in offered), None)
    if mechanism is None:
        offer = ", ".join(dict.fromkeys(offered)) or "none"
        reason = (
            f"{server} offers no login by {' or '.join(usable)} (it offers: {offer}), so {username!r} cannot log in"
        )
        raise DeliveryError(reason, permanent=True)
    secret = server.oauth2_token() if server.oauth2_token else server.password or ""
    first, answers = _auth_exchange(mechanism, username, secret)
    reply = server.ask("AUTH", smtp.docmd, "AUTH", " ".join((mechanism, *first)))
    for answer in answers:
        if reply.code == 334:  # noqa: PLR2004 - "go on"
            reply = server.ask("AUTH", smtp.docmd, answer)
    if reply.code not in (235, 503):  # "logged in", "already logged in"
        remedy = "mend oauth2_token" if server.oauth2_token else "mend username and password"
        raise server.refusal(f"the login of {username!r}", _without_secrets(reply, [secret, *first, *answers]), remedy)


def _auth_exchange(mechanism: str, username: str, secret: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what stands on the AUTH line, and what answers each 334 that follows.

    PLAIN is RFC 4616. A server that refuses an XOAUTH2 token tells why in a 334, and wants an empty line before it
    says 535: https://developers.google.com/workspace/gmail/imap/xoauth2-protocol#error_response_2
    """
    if mechanism == "XOAUTH2":
        return (_base64(f"user={username}\1auth=Bearer {secret}\1\1"),), ("",)
    if mechanism == "PLAIN":
        return (_base64(f"\0{username}\0{secret}"),), ()
    return (), (_base64(username), _base64(secret))


def _base64(text: str) -> str:
    return b64encode(text.encode("utf-8", "surrogateescape")).decode()


def _without_secrets(reply: Reply, secrets: Iterable[str]) -> Reply:
    """Return a reply without the secrets that a server may have repeated in it."""
    text = reply.text
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return Reply(reply.code, text)
