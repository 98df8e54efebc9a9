"""How to mend what keeps a handler from its destination, by the errors that are behind the failure."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_REMEDIES: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "The name of the host is not known here: check its spelling, and this machine's DNS."),
    (
        ssl.SSLCertVerificationError,
        "The certificate is not trusted: check the host's name, or trust your own authority (ca_file, SSL_CERT_FILE).",
    ),
    (ssl.SSLError, "The two could not agree on TLS: check the port, and for e-mail `security`."),
    (ConnectionRefusedError, "Nothing listens there: check host and port, and whether the server runs."),
    (TimeoutError, "No answer came: check host and port; a firewall may swallow what goes out from this machine."),
    (ConnectionResetError, "The other side hung up: check the port, and whether it expects TLS."),
    (ImportError, "Install what is missing."),
)
_BY_WORDS = (
    ("535", "Check the user name and the password."),
    ("401", "Check the key or token: it may be misspelt, revoked or expired."),
    ("403", "Check what the key or token is allowed to do, and the address of the sender."),
)
_MOST = 20


def remedy(error: BaseException) -> str:
    """Return how to mend what is behind an error; "" where its own text has to do."""
    causes = list(_causes(error))
    for kind, text in _REMEDIES:
        if any(isinstance(each, kind) for each in causes):
            return text
    said = str(error)
    if ";" in said:  # it says so itself
        return ""
    return next((text for word, text in _BY_WORDS if word in said.split()), "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it."""
    each: BaseException | None = error
    for _ in range(_MOST):
        if each is None:
            return
        yield each
        each = each.__cause__ or each.__context__
