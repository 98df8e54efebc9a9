"""E-mail through an SMTP server."""

from __future__ import annotations

import os
from binascii import crc32
from typing import TYPE_CHECKING, Any

import attrs

from supervisor import _log
from supervisor._text import one_line
from supervisor.errors import ConfigurationError
from supervisor.message_handlers import _validation
from supervisor.message_handlers._email.protocol import CommonHeaders, MailAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._email.mailer import Mailer

MOST_PORT = 65_535
PORTS = {"starttls": 587, "tls": 465, "none": 25}
DEFAULT_LIMIT_BYTES = 25_000_000


def _number(value: object) -> object:
    """Return a number that is given as text, as in an environment variable, as an integer."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _yes_or_no(handler: object, field: _validation.Field, value: object) -> None:
    if not isinstance(value, bool):
        raise _validation.setting_error(handler, field, "True or False", value)


EXAMPLE = """\
[handlers.ops]
type = "email"
smtp_server = "smtp.example.com"
username = "gis@example.com"
password = { env = "SMTP_PASSWORD" }
from_address = "gis@example.com"
to_addresses = ["ops@example.com"]
prefix = "[gis] "
"""
"""The table of this handler in the file that ``supervisor config init`` writes."""


@attrs.define(kw_only=True, eq=False)
class EmailHandler:
    """Sends messages as e-mail, as text and as HTML, through an SMTP server.

    One connection serves many messages; it is replaced when the server has closed it. A repeat has the same
    ``Message-ID``; the messages of a run form a thread in mail programs that follow ``References``.

    Replies 4yz, a lost connection and a timeout are temporary; 5yz (RFC 5321, 4.2.1), a server without STARTTLS where
    that is required, and a certificate that is not trusted are permanent. When some recipients are refused, the others
    get the message once: permanent refusals are logged as a warning, and recipients that were refused temporarily are
    tried again alone, as long as the process lasts.

    The settings of version 3 are accepted, with ``smtpServer`` and ``smtpPort`` for ``smtp_server`` and ``smtp_port``.
    Version 3 sent everything unencrypted; where the server has no STARTTLS, ``security="none"`` does the same.

    Args:
        smtp_server: The server's name or address.
        smtp_port: Its port; by default the usual one for ``security``: 587, 465 or 25.
        security: "starttls" encrypts the connection before anything is sent, or sends nothing; "tls" is encrypted from
            the start; "none" encrypts nothing, not even the password.
        username: The user who logs in, with a password or a token; None sends without a login.
        password: The password. Gmail and Microsoft 365 require a token or an app password instead.
        oauth2_token: Returns an access token (XOAUTH2); called for each new connection.
        from_address: The sender, "name@example.com" or "Name <name@example.com>". Bounces go there.
        to_addresses: One recipient or many.
        cc: Recipients of a copy; none by default.
        bcc: Recipients of a copy whom the others do not see; none by default.
        prefix: The text before each subject.
        client_name: The name of the sending program in the last line; empty leaves the line out.
        client_version: Its version, in the same line.
        timeout_s: The most seconds for each step with the server. Its final reply to a whole message may take six times
            as long, because a message is sent twice when the client gives up too early.
        verify_certificate: False accepts any certificate, and so any server that pretends to be the right one.
        ca_file: The certificates (PEM) of the authorities to trust instead of the system's; None for those.
        limit_bytes: The most that a message may have with its attachments, unless the server announces less (SIZE).
            25 MB is what large providers accept: https://support.google.com/mail/answer/6584
        name: Identifies the handler when a stored message is sent later; by default "email:" and the recipients in
            short.

    Raises:
        ConfigurationError: A setting is missing, blank or cannot be used.
    """

    _v3_server: str = attrs.field(default="", alias="smtpServer", repr=False)
    _v3_port: Any = attrs.field(default=None, alias="smtpPort", repr=False)
    security: str = attrs.field(default="starttls")
    smtp_server: str = attrs.field()
    smtp_port: int = attrs.field(converter=_number)
    username: str | None = attrs.field(default=None, validator=_validation.optional_not_blank)
    password: str | None = attrs.field(default=None, validator=_validation.optional_not_blank, repr=False)
    oauth2_token: Callable[[], str] | None = attrs.field(default=None, repr=False)
    from_address: str = attrs.field(default="")
    to_addresses: tuple[str, ...] = attrs.field(
        default=(), converter=_validation.split_addresses, validator=_validation.at_least_one_address
    )
    cc: tuple[str, ...] = attrs.field(
        default=(), converter=_validation.split_addresses, validator=_validation.only_addresses
    )
    bcc: tuple[str, ...] = attrs.field(
        default=(), converter=_validation.split_addresses, validator=_validation.only_addresses
    )
    prefix: str = attrs.field(default="", converter=_validation.text_or_empty)
    client_name: str = attrs.field(default="", converter=_validation.text_or_empty)
    client_version: str = attrs.field(default="", converter=_validation.text_or_empty)
    timeout_s: float = attrs.field(default=10.0, validator=_validation.positive)
    verify_certificate: bool = attrs.field(default=True, validator=_yes_or_no)
    ca_file: str | os.PathLike[str] | None = attrs.field(default=None)
    limit_bytes: int = attrs.field(default=DEFAULT_LIMIT_BYTES, validator=_validation.positive)
    name: str | None = attrs.field(default=None, validator=_validation.optional_not_blank)
    _head: CommonHeaders = attrs.field(init=False, repr=False)
    _recipients: tuple[MailAddress, ...] = attrs.field(init=False, repr=False)
    _mailers: dict[int, Mailer] = attrs.field(init=False, factory=dict, repr=False)

    @smtp_server.default
    def _default_server(self) -> str:
        return self._v3_server

    @smtp_port.default
    def _default_port(self) -> Any:
        return PORTS.get(str(self.security)) if self._v3_port is None else self._v3_port

    @security.validator
    def _is_known(self, field: _validation.Field, value: object) -> None:
        if value not in tuple(PORTS):
            raise _validation.setting_error(self, field, "'starttls', 'tls' or 'none'", value)

    @smtp_server.validator
    def _is_one_word(self, field: _validation.Field, value: object) -> None:
        _validation.not_blank(self, field, value)
        host = str(value).strip()
        if not host.isprintable() or " " in host:
            raise _validation.setting_error(self, field, "the name or address of a server", value)

    @smtp_port.validator
    def _is_a_port(self, field: _validation.Field, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_PORT:
            raise _validation.setting_error(self, field, "1-65535", value)

    @oauth2_token.validator
    def _can_be_called(self, field: _validation.Field, value: object) -> None:
        if value is not None and not callable(value):
            raise _validation.setting_error(self, field, "a function that returns an access token", value)

    @from_address.validator
    def _is_one_address(self, field: _validation.Field, value: object) -> None:
        _validation.not_blank(self, field, value)
        _validation.only_addresses(self, field, (str(value),))

    @ca_file.validator
    def _is_a_file(self, field: _validation.Field, value: str | os.PathLike[str] | None) -> None:
        if value is not None and not os.path.isfile(value):  # noqa: PTH113 - importing pathlib takes longer than everything else here
            raise _validation.setting_error(self, field, "a file that exists", value)

    def __attrs_post_init__(self) -> None:
        if (self.username is None) != (self.password is None and self.oauth2_token is None):
            raise ConfigurationError("EmailHandler: username must come with password or oauth2_token, and they with it")
        if self.password is not None and self.oauth2_token is not None:
            raise ConfigurationError("EmailHandler: password and oauth2_token must not both be given")
        self._head = CommonHeaders(
            sender=self._parse("from_address", (self.from_address,))[0],
            to=self._parse("to_addresses", self.to_addresses),
            cc=self._parse("cc", self.cc),
            prefix=self.prefix,
            client=_client(self.client_name, self.client_version),
        )
        unique: dict[str, MailAddress] = {}
        for each in (*self._head.to, *self._head.cc, *self._parse("bcc", self.bcc)):
            unique.setdefault(each.address.lower(), each)
        self._recipients = tuple(unique.values())
        self.name = self.name or _name([each.address for each in self._recipients])

    def _parse(self, field: str, addresses: tuple[str, ...]) -> tuple[MailAddress, ...]:
        try:
            return tuple(map(MailAddress.parse, addresses))
        except ValueError as error:
            raise ConfigurationError(
                f"EmailHandler: {field} must be addresses like name@example.com: {error}"
            ) from error

    def send_message(self, details: MessageDetails, /) -> None:
        """Send one message and return when the server has accepted it for all recipients but those that it refuses.

        Raises:
            DeliveryError: The server did not accept it, or refused some recipients temporarily.
        """
        refused = self._own_mailer().send(details)
        if refused:
            replies = ", ".join(f"{address} ({reply})" for address, reply in refused.items())
            _log.warning("%s: %r was sent, but refused for: %s", self.name, one_line(details.subject), replies)

    def close(self) -> None:
        """Close the connection after the message that is being sent; the next one opens a new connection."""
        mailer = self._mailers.get(os.getpid())
        if mailer is not None:
            mailer.close()

    def _own_mailer(self) -> Mailer:
        """Return the mailer of this process; a forked child must not use its parent's connection."""
        own = os.getpid()
        for pid in [each for each in self._mailers if each != own]:
            self._mailers.pop(pid).drop()
        mailer = self._mailers.get(own)
        return mailer if mailer is not None else self._mailers.setdefault(own, self._new_mailer())

    def _new_mailer(self) -> Mailer:
        from supervisor.message_handlers._email.mailer import Mailer
        from supervisor.message_handlers._email.protocol import Server

        server = Server(
            host=self.smtp_server.strip(),
            port=self.smtp_port,
            security=self.security,
            timeout_s=self.timeout_s,
            verify_certificate=self.verify_certificate,
            ca_file=os.fspath(self.ca_file) if self.ca_file is not None else None,
            username=self.username,
            password=self.password,
            oauth2_token=self.oauth2_token,
        )
        return Mailer(server, self._head, self._recipients, self.limit_bytes)


def _name(addresses: list[str]) -> str:
    """Return a name that differs between handlers with other recipients, and is short however many there are."""
    if len(addresses) == 1:
        return f"email:{addresses[0]}"
    return f"email:{addresses[0]}+{len(addresses) - 1}.{crc32(','.join(sorted(addresses)).encode()):08x}"


def _client(name: str, version: str) -> str:
    return one_line(f"{name} version: {version}" if name and version else name)
