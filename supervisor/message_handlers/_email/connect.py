"""Opens an SMTP connection: finds the host's addresses, connects, starts TLS and logs in.

``smtplib`` sends the commands. Name resolution, connecting and logging in are done here: ``smtplib`` waits for name
servers as long as the system does, gives each of a host's addresses the whole timeout, and refuses passwords that are
not ASCII.
"""

from __future__ import annotations

import io
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
from supervisor.message_handlers._bounded_reader import BoundedReader
from supervisor.message_handlers._email.protocol import LOGIN_RETRY_S, LostError, Reply, Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AddressInfo: TypeAlias = "tuple[Any, ...]"  # what socket.getaddrinfo returns

# In the order of preference. CRAM-MD5 is left out: since TLS is common, no server offers it alone.
PASSWORD_MECHANISMS = ("PLAIN", "LOGIN")
# With these, OpenSSL trusts other authorities than the system's: https://docs.openssl.org/master/man7/openssl-env/
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def open_connection(server: Server) -> smtplib.SMTP:
    """Return a connection that is ready for e-mails.

    Raises:
        DeliveryError: It could not be opened; permanent where only another setting helps.
    """
    smtp = _BoundedSmtp(local_hostname="localhost", timeout=server.timeout_s)  # does not connect yet
    with ExitStack() as on_error:
        on_error.callback(smtp.close)
        smtp.sock = _connect(server)
        smtp.local_hostname = _helo_name(smtp.sock)
        if server.security == "tls":
            _encrypt(smtp, server)
        reply = server.run("the connection", smtp.getreply)
        if reply.code != 220:  # noqa: PLR2004 - RFC 5321, 4.2.3: "service ready"
            raise server.refusal_error("the connection", reply)
        _say_hello(smtp, server)
        if server.security == "starttls":
            _start_tls(smtp, server)
        if server.username is not None:
            _log_in(smtp, server, server.username)
        on_error.pop_all()
    return smtp


class _BoundedSmtp(smtplib.SMTP):
    """Reads each reply within the timeout of the socket, which smtplib starts anew for each of its bytes."""

    _reader: BoundedReader | None = None

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply, of any number of lines.

        Raises:
            OSError: It did not end in time, or is too long.
        """
        sock = self.sock
        assert sock is not None
        if self.file is None or self._reader is None:
            self._reader = BoundedReader(sock)
            self.file = io.BufferedReader(self._reader)
        timeout_s = sock.gettimeout() or 0.0
        self._reader.start(time.monotonic() + timeout_s)
        try:
            return super().getreply()
        finally:
            if self.sock is not None:
                sock.settimeout(timeout_s)


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
    """Return the addresses of a host; a thread of its own resolves it, because ``getaddrinfo`` takes no timeout.

    Raises:
        TimeoutError: The name servers did not answer in time.
        OSError: There is no such host.
        ValueError: The name is not valid for a host.
    """
    found: SimpleQueue[Sequence[AddressInfo] | OSError | ValueError] = SimpleQueue()

    def call_getaddrinfo() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:
            found.put(error)

    try:
        Thread(target=call_getaddrinfo, name=f"{THREAD_PREFIX}look-up", daemon=True).start()
    except RuntimeError:  # the interpreter is shutting down and starts no threads any more
        call_getaddrinfo()
    try:
        result = found.get(timeout=timeout_s)
    except Empty:
        raise TimeoutError(f"no name server gave an address of {host!r} within {timeout_s:g} s") from None
    if isinstance(result, (OSError, ValueError)):
        raise result
    return result


def connect_socket(addresses: Sequence[AddressInfo], timeout_s: float) -> socket.socket:
    """Connect to the first address that answers; each gets a share of the time, so that none can use up all of it.

    Args:
        addresses: The result of :func:`resolve`.
        timeout_s: The most seconds for all together, and later for each step on the connection.

    Raises:
        OSError: No address answered; this is the error of the last one.
    """
    until = time.monotonic() + timeout_s
    failure: OSError = OSError("the host has no address")
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(0.01, (until - time.monotonic()) / (len(addresses) - index)))
            sock.connect(address)
            sock.settimeout(timeout_s)
            # The last piece of an e-mail is small: it must not wait until the pieces before it are acknowledged.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _helo_name(sock: socket.socket) -> str:
    """Return this host's full name, or its address without one (RFC 5321, 4.1.3). No name server is queried."""
    name = socket.gethostname()
    if "." in name and re.fullmatch(r"[A-Za-z0-9.-]+", name):
        return name
    address = str(sock.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _say_hello(smtp: smtplib.SMTP, server: Server) -> None:
    reply = server.run("EHLO", smtp.ehlo)
    if reply.is_permanent:  # an old server, which knows no extensions
        reply = server.run("HELO", smtp.helo)
    if reply.code != 250:  # noqa: PLR2004 - RFC 5321, 4.2.3: "completed"
        raise server.refusal_error("the greeting", reply)


def _start_tls(smtp: smtplib.SMTP, server: Server) -> None:
    """Encrypt the connection and repeat EHLO: the first reply could have been forged (RFC 3207, 4.2)."""
    if not smtp.has_extn("starttls"):
        raise DeliveryError(
            f"{server} offers no STARTTLS, so nothing was sent; give security='tls' if it is encrypted from the start "
            "(port 465), or security='none' if messages may go unencrypted, as version 3 sent them"
        )
    reply = server.run("STARTTLS", smtp.docmd, "STARTTLS")
    if reply.code != 220:  # noqa: PLR2004 - RFC 3207, 4: "ready to start TLS"
        raise DeliveryError(f"{server} refused STARTTLS: {reply}")
    _encrypt(smtp, server)
    _say_hello(smtp, server)


def _encrypt(smtp: smtplib.SMTP, server: Server) -> None:
    """Start TLS on a connection.

    Raises:
        DeliveryError: The certificate is not trusted, or the server expects no TLS here. Both are temporary: a server
            may be set up wrongly for an hour.
    """
    assert smtp.sock is not None
    context = _context(server)
    try:
        smtp.sock = context.wrap_socket(smtp.sock, server_hostname=server.host)
    except ssl.SSLCertVerificationError as error:
        raise DeliveryError(
            f"{server} showed a certificate that is not to be trusted, so nothing was sent: {error.verify_message}; "
            "give the file of its authority as ca_file, or verify_certificate=False to take any"
        ) from error
    except ssl.SSLError as error:
        expects_no_tls = error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}
        remedy = "; it is not encrypted from the start: try security='starttls'" if expects_no_tls else ""
        reason = f"{server} could not be encrypted: {error}{remedy}"
        raise DeliveryError(reason) from error
    except OSError as error:
        raise server.lost_error("the TLS handshake", error) from error
    smtp.file = None  # drop bytes that smtplib has read ahead: they came unencrypted and could be forged


def _context(server: Server) -> ssl.SSLContext:
    try:
        variables = map(os.environ.get, _CERTIFICATE_VARIABLES)
        return _cached_context(server.ca_file, *variables, verify=server.verify_certificate)
    except OSError as error:
        raise DeliveryError(f"ca_file {server.ca_file!r} holds no certificates: {error}") from error


@lru_cache(maxsize=8)  # loading the system's authorities takes longer than sending an e-mail
def _cached_context(ca_file: str | None, *_environment: str | None, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _log_in(smtp: smtplib.SMTP, server: Server, username: str) -> None:
    """Log in with a password or an access token.

    Raises:
        DeliveryError: The server refused; temporary, and tried once an hour where it refused the login itself.
    """
    offered = smtp.esmtp_features.get("auth", "").upper().split()
    usable = ("XOAUTH2",) if server.oauth2_token else PASSWORD_MECHANISMS
    mechanism = next((each for each in usable if each in offered), None)
    if mechanism is None:
        offer = ", ".join(dict.fromkeys(offered)) or "none"
        wanted = " or ".join(usable)
        reason = f"{server} offers no login by {wanted} (it offers: {offer}), so {username!r} cannot log in"
        raise DeliveryError(reason, retry_after_s=LOGIN_RETRY_S)
    secret = server.oauth2_token() if server.oauth2_token else server.password or ""
    initial, responses = _auth_exchange(mechanism, username, secret)
    reply = server.run("AUTH", smtp.docmd, "AUTH", " ".join((mechanism, *initial)))
    for response in responses:
        if reply.code == 334:  # noqa: PLR2004 - RFC 4954, 4: "continue"
            reply = server.run("AUTH", smtp.docmd, response)
    if reply.code not in (235, 503):  # "authentication succeeded", "already authenticated"
        remedy = "mend oauth2_token" if server.oauth2_token else "mend username and password"
        shown = _without_secrets(reply, [secret, *initial, *responses])
        what = f"the login of {username!r}"
        if reply.is_permanent:
            raise server.login_error(what, shown, remedy)
        raise server.refusal_error(what, shown, remedy)


def _auth_exchange(mechanism: str, username: str, secret: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the arguments of AUTH, and the response to each 334 that follows.

    PLAIN is RFC 4616. A server that refuses an XOAUTH2 token explains it in a 334, and expects an empty line before it
    replies 535: https://developers.google.com/workspace/gmail/imap/xoauth2-protocol#error_response_2
    """
    if mechanism == "XOAUTH2":
        return (_base64(f"user={username}\1auth=Bearer {secret}\1\1"),), ("",)
    if mechanism == "PLAIN":
        return (_base64(f"\0{username}\0{secret}"),), ()
    return (), (_base64(username), _base64(secret))


def _base64(text: str) -> str:
    return b64encode(text.encode("utf-8", "surrogateescape")).decode()


def _without_secrets(reply: Reply, secrets: Iterable[str]) -> Reply:
    """Return a reply without secrets that the server may have repeated in it."""
    text = reply.text
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return Reply(reply.code, text)
