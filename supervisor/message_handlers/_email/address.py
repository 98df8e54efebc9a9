"""Addresses, as people write them and as servers take them."""

from __future__ import annotations

import re
import unicodedata

import attrs

from supervisor._text import one_line

_ADDRESS = re.compile(r'\s*(?:"?(?P<display>[^<>]*?)"?\s*<(?P<boxed>[^<>\s]+)>|(?P<bare>[^<>\s]+))\s*')


@attrs.frozen
class Mailbox:
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
    def of(cls, text: str) -> Mailbox:
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
class Letterhead:
    """What all letters of a handler have in common.

    Args:
        sender: Whom they are from.
        to: Whom they are to.
        cc: Who gets a copy. Who gets a blind one stands in no letter.
        prefix: Stands before each subject.
        client: The sending program and its version, for the last line; empty leaves that out.
    """

    sender: Mailbox
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    prefix: str
    client: str
