"""An SMTP server: the commands that it is given, its replies, and how a connection to it is opened.

``smtplib`` sends the commands. Connecting and logging in are done here: ``smtplib`` waits for name servers as long as
the system does, gives each of a host's addresses the whole timeout, and refuses passwords that are not ASCII.
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
from typing import TYPE_CHECKING, Literal

import attrs

from supervisor._text import one_line
from supervisor.errors import DeliveryError
from supervisor.message_handlers._sockets import BoundedReader, connect_socket, has_unread, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LOGIN_RETRY_S = 3600.0  # servers lock accounts whose logins fail more often


@attrs.frozen
class Reply:
    """A server's reply to a command: its code, and its text if it is a refusal."""

    code: int
    text: str

    @property
    def is_success(self) -> bool:
        """Return whether the command was completed (RFC 5321, 4.2.1: 2yz)."""
        return 200 <= self.code < 300  # noqa: PLR2004 - the range that the RFC defines

    @property
    def is_permanent(self) -> bool:
        """Return whether the same command would be refused again (RFC 5321, 4.2.1: 5yz is permanent, 4yz is not)."""
        return self.code >= 500  # noqa: PLR2004 - the range that the RFC defines

    @property
    def is_too_large(self) -> bool:
        """Return whether the message is too large (RFC 1870: 552; RFC 3463: X.3.4, X.2.3).

        Gmail also replies 552 to contents that it does not allow.
        """
        return self.code == 552 or self.text.startswith(("5.3.4", "5.2.3"))  # noqa: PLR2004 - the code of RFC 1870

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()


class LostError(DeliveryError):
    """A connection broke, was ended by the server or could not be made. Trying again can help."""


class TooLargeError(DeliveryError):
    """The server refused a message for its size."""


@attrs.frozen(kw_only=True)
class Server:
    """The SMTP server, and how to connect to it.

    Args:
        host: Its name or address.
        port: Its port.
        security: "starttls", "tls" or "none".
        timeout_s: The most seconds for each step.
        verify_certificate: False accepts any certificate.
        ca_file: Authorities to trust instead of the system's; None for those.
        username: The user who logs in; None sends without a login.
        password: The user's password.
        oauth2_token: Returns an access token, which replaces the password.
    """

    host: str
    port: int
    security: str
    timeout_s: float
    verify_certificate: bool = True
    ca_file: str | None = None
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    oauth2_token: Callable[[], str] | None = attrs.field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def run(self, step: str, command: Callable[..., tuple[int, bytes]], *arguments: str) -> Reply:
        """Call a method of smtplib that gives one command, and return the server's reply.

        Args:
            step: The command's name in errors.
            command: The method; it returns the reply's code and text.
            arguments: The method's arguments.

        Raises:
            LostError: The server did not reply in time, closed the connection, replied with something that is not
                SMTP, or ended the session with 421.
        """
        try:
            code, text = command(*arguments)
        except OSError as error:  # the exceptions of smtplib are OSErrors too
            raise self.lost_error(step, error) from error
        is_refusal = not 200 <= code < 400  # noqa: PLR2004 - RFC 5321, 4.2.1: 2yz and 3yz are positive
        reply = Reply(code, one_line(text.decode("utf-8", "replace"), 300) if is_refusal else "")
        if code in (-1, 421):
            raise LostError(f"{self} ended the session at {step}: {reply}")
        return reply

    def lost_error(self, step: str, error: OSError) -> LostError:
        """Return the error for a connection that was lost at some step."""
        if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
            wants_tls = self.port == 465 and self.security != "tls"  # noqa: PLR2004 - RFC 8314, 7.3: implicit TLS
            hint = "; this port usually takes security='tls'" if wants_tls else ""
            return LostError(f"{self} did not answer to {step} within {self.timeout_s:g} s{hint}")
        return LostError(f"{self} was lost at {step}: {one_line(str(error)) or type(error).__name__}")

    def login_error(self, what: str, reply: Reply, remedy: str) -> DeliveryError:
        """Return the error for a login that was refused: temporary, since others may set it right, but rarely tried."""
        return DeliveryError(f"{self} refused {what}: {reply}; {remedy}", retry_after_s=LOGIN_RETRY_S)

    def refusal_error(
        self, what: str, reply: Reply, remedy: str = "", scope: Literal["destination", "message"] = "destination"
    ) -> DeliveryError:
        """Return the error for something that the server refused.

        Args:
            what: What it refused.
            reply: Its reply.
            remedy: What helps against it.
            scope: "message" where a recipient was accepted before: the server takes messages, but not this one now.
        """
        reason = f"{self} refused {what}: {reply}{remedy and f'; {remedy}'}"
        if reply.is_too_large:
            return TooLargeError(reason, permanent=True, scope="message")
        return DeliveryError(reason, permanent=reply.is_permanent, scope=scope)


# In the order of preference. CRAM-MD5 is left out: since TLS is common, no server offers it alone.
PASSWORD_MECHANISMS = ("PLAIN", "LOGIN")
# With these, OpenSSL trusts other authorities than the system's: https://docs.openssl.org/master/man7/openssl-env/
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")

# https://learn.microsoft.com/en-us/exchange/clients-and-mobile-in-exchange-online/deprecation-of-basic-authentication-exchange-online
# https://learn.microsoft.com/en-us/exchange/clients-and-mobile-in-exchange-online/authenticated-client-smtp-submission
# https://support.google.com/a/answer/3726730
_LOGIN_REMEDIES = {
    "5.7.139": (
        "Microsoft 365 refuses passwords, or SMTP AUTH is off for the mailbox: give oauth2 in place of the password, "
        "and let an administrator turn on authenticated SMTP for it; or use a handler of type 'msgraph'"
    ),
    "5.7.30": "Microsoft 365 takes no passwords any more: give oauth2 in place of the password",
    "5.7.3 ": (
        "Exchange does not let this application in: register its service principal there and give it the mailbox "
        "(New-ServicePrincipal, Add-MailboxPermission), and let an administrator consent to SMTP.SendAsApp"
    ),
    "5.7.9": "Google asks for an app password, or for oauth2 in place of the password",
    "5.7.8 Username and Password not accepted": (
        "Google does not take this password: give an app password, or oauth2 in place of it"
    ),
}


def open_connection(server: Server) -> BoundedSmtp:
    """Return a connection that is ready for e-mails.

    Raises:
        DeliveryError: It could not be opened; permanent where only another setting helps.
    """
    smtp = BoundedSmtp(local_hostname="localhost", timeout=server.timeout_s)  # does not connect yet
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


class BoundedSmtp(smtplib.SMTP):
    """Reads each reply within the timeout of the socket, which smtplib starts anew for each of its bytes."""

    _reader: BoundedReader | None = None

    @property
    def has_unread(self) -> bool:
        """Whether the server has said more than it was asked: the next command would get a reply of before."""
        is_ahead = self.file is not None and self._reader is not None and self._reader.has_read_ahead(self.file)
        return is_ahead or self.sock is None or has_unread(self.sock)

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
    reply = _authenticate(smtp, server, username, mechanism)
    renew = getattr(server.oauth2_token, "renew", None)
    if reply.code == 535 and renew is not None and renew():  # noqa: PLR2004 - RFC 4954, 6: credentials invalid
        reply = _authenticate(smtp, server, username, mechanism)
    if reply.code not in (235, 503):  # "authentication succeeded", "already authenticated"
        what = f"the login of {username!r}"
        if reply.is_permanent:
            raise server.login_error(what, reply, _login_remedy(server, reply))
        raise server.refusal_error(what, reply, _login_remedy(server, reply))


def _authenticate(smtp: smtplib.SMTP, server: Server, username: str, mechanism: str) -> Reply:
    """Try to log in; return the server's reply, without the password or token that it may repeat."""
    secret = server.oauth2_token() if server.oauth2_token else server.password or ""
    initial, responses = _auth_exchange(mechanism, username, secret)
    reply = server.run("AUTH", smtp.docmd, "AUTH", " ".join((mechanism, *initial)))
    for response in responses:
        if reply.code == 334:  # noqa: PLR2004 - RFC 4954, 4: "continue"
            reply = server.run("AUTH", smtp.docmd, response)
    return _without_secrets(reply, [secret, *initial, *responses])


def _login_remedy(server: Server, reply: Reply) -> str:
    """Return what helps against a login that was refused, by the enhanced status code of Microsoft or Google."""
    found = next((remedy for code, remedy in _LOGIN_REMEDIES.items() if code in reply.text), "")
    return found or ("mend oauth2_token" if server.oauth2_token else "mend username and password")


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
