"""A server, what it answers, and how its refusals are told.

- Addresses, as people write them and as servers take them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import attrs

from supervisor._text import one_line
from supervisor.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen
class Reply:
    """What a server answered: its code, and its words if it refused."""

    code: int
    text: str

    @property
    def is_permanent(self) -> bool:
        """Return whether the same will be refused again (RFC 5321, 4.2.1: 5yz is permanent, 4yz is not)."""
        return self.code >= 500  # noqa: PLR2004 - the RFC's own boundary

    @property
    def is_too_large(self) -> bool:
        """Return whether it is about size (RFC 1870: 552; RFC 3463: X.3.4, X.2.3). Gmail says 552 of contents too."""
        return self.code == 552 or self.text.startswith(("5.3.4", "5.2.3"))  # noqa: PLR2004 - as the RFC numbers it

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()


@attrs.frozen(kw_only=True)
class Envelope:
    """Whom a letter is from and to, as the server gets it.

    Args:
        sender: The address that bounces go to.
        recipients: The addresses that get it.
        utf8: Whether an address, and so a header, is not ASCII; only for servers with SMTPUTF8.
    """

    sender: str
    recipients: tuple[str, ...]
    utf8: bool = False


class LostError(DeliveryError):
    """Tell that a connection broke, was ended by the server or never came to be. Trying again can help."""


class TooLargeError(DeliveryError):
    """Tell that the server refused a letter for its size."""


@attrs.frozen(kw_only=True)
class Server:
    """Where letters are handed in, and how.

    Args:
        host: Its name or address.
        port: Its port.
        security: "starttls", "tls" or "none".
        timeout_s: The most seconds for each step.
        verify_certificate: False takes any certificate.
        ca_file: Authorities to trust instead of the system's; None for those.
        username: Who logs in; None for nobody.
        password: Its password, or
        oauth2_token: what returns its access token.
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

    def ask(self, step: str, command: Callable[..., tuple[int, bytes]], *arguments: str) -> Reply:
        """Give one command and return what the server answered.

        Raises:
            LostError: It did not answer in time, hung up, made no sense, or ended the session with 421.
        """
        try:
            code, text = command(*arguments)
        except OSError as error:  # what smtplib raises is an OSError too
            raise self.lost(step, error) from error
        refused = not 200 <= code < 400  # noqa: PLR2004 - RFC 5321, 4.2.1: 2yz and 3yz are fine
        reply = Reply(code, one_line(text.decode("utf-8", "replace"), 300) if refused else "")
        if code in (-1, 421):
            raise LostError(f"{self} ended the session at {step}: {reply}")
        return reply

    def lost(self, step: str, error: OSError) -> LostError:
        """Return the error that tells where a connection was lost, and how."""
        if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
            wants_tls = self.port == 465 and self.security != "tls"  # noqa: PLR2004 - RFC 8314, 7.3
            hint = "; this port usually takes security='tls'" if wants_tls else ""
            return LostError(f"{self} did not answer to {step} within {self.timeout_s:g} s{hint}")
        return LostError(f"{self} was lost at {step}: {one_line(str(error)) or type(error).__name__}")

    def refusal(self, what: str, reply: Reply, remedy: str = "") -> DeliveryError:
        """Return the error that tells what a server refused, and why."""
        reason = f"{self} refused {what}: {reply}{remedy and f'; {remedy}'}"
        return (
            TooLargeError(reason, permanent=True)
            if reply.is_too_large
            else DeliveryError(reason, permanent=reply.is_permanent)
        )


_ADDRESS = re.compile(r'\s*(?:"?(?P<display>[^<>]*?)"?\s*<(?P<boxed>[^<>\s]+)>|(?P<bare>[^<>\s]+))\s*')


@attrs.frozen
class MailAddress:
    """One address, taken apart.

    Args:
        display: The name that people see; often empty.
        local: What stands before the last ``@``.
        domain: What stands after it, in its ASCII form ("münchen.de" is "xn--mnchen-3ya.de"): every server takes
            that, the other form only those with SMTPUTF8.
    """

    display: str
    local: str
    domain: str

    @classmethod
    def of(cls, text: str) -> MailAddress:
        """Take apart "ops@example.com" or "The Ops <ops@example.com>".

        Raises:
            ValueError: It is no address.
        """
        match = _ADDRESS.fullmatch(text)
        local, _, domain = (match["boxed"] or match["bare"] if match else "").rpartition("@")
        if match is None or not local or not domain:
            raise ValueError(f"{text!r} is no address like name@example.com")
        return cls(one_line(match["display"] or ""), local, _ascii_domain(domain))

    @property
    def address(self) -> str:
        """Return the address alone, as the server gets it."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """Return whether only a server with SMTPUTF8 (RFC 6531) can take it."""
        return not self.local.isascii()


def _ascii_domain(domain: str) -> str:
    """Return a domain in its ASCII form by IDNA 2008, where ß is a letter of its own (Python's codec is older)."""
    if domain.isascii():
        return domain
    labels = unicodedata.normalize("NFKC", domain).lower().replace("\u3002", ".").split(".")
    return ".".join(each if each.isascii() else f"xn--{each.encode('punycode').decode()}" for each in labels)


@attrs.frozen(kw_only=True)
class CommonHeaders:
    """What all letters of a handler have in common.

    Args:
        sender: Whom they are from.
        to: Whom they are to.
        cc: Who gets a copy. Who gets a blind one stands in no letter.
        prefix: Stands before each subject.
        client: The sending program and its version, for the last line; empty leaves that out.
    """

    sender: MailAddress
    to: tuple[MailAddress, ...]
    cc: tuple[MailAddress, ...]
    prefix: str
    client: str
