"""The values that the parts of e-mail exchange: addresses, envelope, server, reply, and the errors of SMTP."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import attrs

from supervisor._text import one_line
from supervisor.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable

LOGIN_RETRY_S = 3600.0  # servers lock accounts whose logins fail more often

_ADDRESS = re.compile(r'\s*(?:"?(?P<display>[^<>]*?)"?\s*<(?P<boxed>[^<>\s]+)>|(?P<bare>[^<>\s]+))\s*')


@attrs.frozen
class MailAddress:
    """An e-mail address in its parts.

    Args:
        display: The display name; often empty.
        local: The part before the last ``@``.
        domain: The part after it, in its ASCII form ("münchen.de" is "xn--mnchen-3ya.de"): every server accepts that,
            but the other form only those with SMTPUTF8.
    """

    display: str
    local: str
    domain: str

    @classmethod
    def parse(cls, text: str) -> MailAddress:
        """Parse "ops@example.com" or "The Ops <ops@example.com>".

        Raises:
            ValueError: The text is not an address.
        """
        match = _ADDRESS.fullmatch(text)
        local, _, domain = (match["boxed"] or match["bare"] if match else "").rpartition("@")
        if match is None or not local or not domain:
            raise ValueError(f"{text!r} is no address like name@example.com")
        return cls(one_line(match["display"] or ""), local, _ascii_domain(domain))

    @property
    def address(self) -> str:
        """Return the address without the display name, as SMTP commands contain it."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """Return whether only a server with SMTPUTF8 (RFC 6531) accepts the address."""
        return not self.local.isascii()


def _ascii_domain(domain: str) -> str:
    """Return a domain in its ASCII form by IDNA 2008, which keeps ß; Python's codec follows IDNA 2003."""
    if domain.isascii():
        return domain
    labels = unicodedata.normalize("NFKC", domain).lower().replace("\u3002", ".").split(".")
    return ".".join(each if each.isascii() else f"xn--{each.encode('punycode').decode()}" for each in labels)


@attrs.frozen(kw_only=True)
class CommonHeaders:
    """The headers that all e-mails of a handler share.

    Args:
        sender: The sender.
        to: The recipients.
        cc: The recipients of a copy. Those of a blind copy stand in no header.
        prefix: The text before each subject.
        client: The sending program and its version, for the last line; empty leaves that out.
    """

    sender: MailAddress
    to: tuple[MailAddress, ...]
    cc: tuple[MailAddress, ...]
    prefix: str
    client: str


@attrs.frozen(kw_only=True)
class Envelope:
    """The sender and the recipients of one e-mail, as SMTP commands contain them.

    Args:
        sender: The address that bounces go to.
        recipients: The addresses that the e-mail is delivered to.
        utf8: Whether an address, and so a header, is not ASCII; only for servers with SMTPUTF8.
    """

    sender: str
    recipients: tuple[str, ...]
    utf8: bool = False


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

    def refusal_error(self, what: str, reply: Reply, remedy: str = "") -> DeliveryError:
        """Return the error for something that the server refused."""
        reason = f"{self} refused {what}: {reply}{remedy and f'; {remedy}'}"
        if reply.is_too_large:
            return TooLargeError(reason, permanent=True)
        return DeliveryError(reason, permanent=reply.is_permanent)
