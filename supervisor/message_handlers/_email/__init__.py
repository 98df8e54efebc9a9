"""E-mail through an SMTP server.

In: a message and the handler's settings. Out: the message in MIME form, accepted by the server for its recipients.
From top to bottom: the handler, which is here (settings), mailer (one message, one connection), smtp (commands and
replies), mime.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from supervisor import _log
from supervisor._text import one_line
from supervisor.errors import ConfigurationError
from supervisor.message_handlers import _options
from supervisor.message_handlers._options import MailAddress, MailDestination, name_of_recipients

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._models import Kind
    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._email.mailer import Mailer

MOST_PORT = 65_535
PORTS = {"starttls": 587, "tls": 465, "none": 25}
SERVERS = {"microsoft": "smtp.office365.com", "google": "smtp.gmail.com"}
DEFAULT_LIMIT_BYTES = 25_000_000


def _number(value: object) -> object:
    """Return a number that is given as text, as in an environment variable, as an integer."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


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
class EmailHandler(MailDestination):
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
        oauth2: How access tokens are got (XOAUTH2), for Microsoft 365 and Google, which take no passwords: a mapping
            with ``provider`` ("microsoft" or "google") and, for Microsoft, ``tenant``, ``client_id`` and
            ``client_secret`` or ``refresh_token``; for Google ``service_account`` (the JSON key, as text) and
            ``subject`` (the mailbox; the sender by default), or ``client_id``, ``client_secret`` and
            ``refresh_token``. ``smtp_server`` and ``username`` are then the provider's and the sender by default. A
            token is kept until it expires, and renewed once when the server refuses it.
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
        kinds: The kinds of messages that it gets ("failure", "success"), one or several; None for those that the run
            reports.
        name: Identifies the handler when a stored message is sent later; by default "email:" and the recipients in
            short.

    Raises:
        ConfigurationError: A setting is missing, blank or cannot be used.
    """

    notes_handover: ClassVar[bool] = True
    _v3_server: str = attrs.field(default="", alias="smtpServer", repr=False)
    _v3_port: Any = attrs.field(default=None, alias="smtpPort", repr=False)
    security: str = attrs.field(default="starttls")
    oauth2: Mapping[str, str] | None = attrs.field(default=None, repr=False, validator=_options.optional_mapping)
    smtp_server: str = attrs.field()
    smtp_port: int = attrs.field(converter=_number)
    username: str | None = attrs.field(default=None, validator=_options.optional_not_blank)
    password: str | None = attrs.field(default=None, validator=_options.optional_not_blank, repr=False)
    oauth2_token: Callable[[], str] | None = attrs.field(default=None, repr=False)
    timeout_s: float = attrs.field(default=10.0, validator=_options.positive)
    verify_certificate: bool = attrs.field(default=True, validator=_options.yes_or_no)
    ca_file: str | os.PathLike[str] | None = attrs.field(default=None)
    limit_bytes: int = attrs.field(default=DEFAULT_LIMIT_BYTES, validator=_options.positive)
    kinds: frozenset[Kind] | None = attrs.field(default=None, converter=_options.kinds, validator=_options.only_kinds)
    name: str | None = attrs.field(default=None, validator=_options.optional_not_blank)
    _tokens: Callable[[], str] | None = attrs.field(init=False, default=None, repr=False)
    _mailers: dict[int, Mailer] = attrs.field(init=False, factory=dict, repr=False)

    @smtp_server.default
    def _default_server(self) -> str:
        provider = self.oauth2.get("provider", "") if isinstance(self.oauth2, Mapping) else ""
        return self._v3_server or SERVERS.get(provider, "")

    @smtp_port.default
    def _default_port(self) -> Any:
        return PORTS.get(str(self.security)) if self._v3_port is None else self._v3_port

    @security.validator
    def _is_known(self, field: _options.Field, value: object) -> None:
        if value not in tuple(PORTS):
            raise _options.setting_error(self, field, "'starttls', 'tls' or 'none'", value)

    @smtp_server.validator
    def _is_one_word(self, field: _options.Field, value: object) -> None:
        _options.not_blank(self, field, value)
        host = str(value).strip()
        if not host.isprintable() or " " in host:
            raise _options.setting_error(self, field, "the name or address of a server", value)

    @smtp_port.validator
    def _is_a_port(self, field: _options.Field, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_PORT:
            raise _options.setting_error(self, field, "1-65535", value)

    @oauth2_token.validator
    def _can_be_called(self, field: _options.Field, value: object) -> None:
        if value is not None and not callable(value):
            raise _options.setting_error(self, field, "a function that returns an access token", value)

    @ca_file.validator
    def _is_a_file(self, field: _options.Field, value: str | os.PathLike[str] | None) -> None:
        if value is not None and not os.path.isfile(value):  # noqa: PTH113 - importing pathlib takes longer than everything else here
            raise _options.setting_error(self, field, "a file that exists", value)

    def __attrs_post_init__(self) -> None:
        secrets = [self.password, self.oauth2_token, self.oauth2]
        ways = sum(each is not None for each in secrets)
        if self.oauth2 is not None:
            self._use_oauth2()
        if (self.username is None) != (ways == 0):
            raise ConfigurationError("EmailHandler: username must come with password or oauth2_token, and they with it")
        if ways > 1:
            raise ConfigurationError("EmailHandler: only one of password, oauth2_token and oauth2 can be given")
        self.name = self.name or self._default_name

    @property
    def _destination(self) -> tuple[object, ...]:
        addresses = sorted(each.address.lower() for each in self._recipients)
        return (self.smtp_server.strip().lower(), self.smtp_port, *addresses)

    @property
    def _default_name(self) -> str:
        return name_of_recipients("email", [each.address for each in self._recipients])

    def send_message(self, details: MessageDetails, /) -> None:
        """Send one message and return when the server has accepted it for all recipients but those that it refuses.

        Raises:
            DeliveryError: The server did not accept it, or refused some recipients temporarily.
        """
        refused = self._own_mailer().send(details)
        if refused:
            replies = ", ".join(f"{address} ({reply})" for address, reply in refused.items())
            _log.warning("%s: %r was sent, but refused for: %s", self.name, one_line(details.subject), replies)

    def prepare(self, details: MessageDetails, /) -> None:
        """Load what sending a message needs; nothing is sent."""
        self._own_mailer().prepare(details)

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

    def _use_oauth2(self) -> None:
        """Check what the table ``oauth2`` says, and take tokens from there."""
        from supervisor.message_handlers._oauth2 import Login, TokenSource

        mailbox = MailAddress.parse(self.from_address).address
        self.username = self.username or mailbox
        login = Login.of(self.oauth2 or {}, "EmailHandler", self.username)
        self._tokens = TokenSource(login, "smtp", self.timeout_s)

    def _new_mailer(self) -> Mailer:
        from supervisor.message_handlers._email.mailer import Mailer
        from supervisor.message_handlers._email.mime import CommonHeaders
        from supervisor.message_handlers._email.smtp import Server

        head = CommonHeaders(
            sender=MailAddress.parse(self.from_address),
            to=tuple(map(MailAddress.parse, self.to_addresses)),
            cc=tuple(map(MailAddress.parse, self.cc)),
            prefix=self.prefix,
            client=_client(self.client_name, self.client_version),
        )
        server = Server(
            host=self.smtp_server.strip(),
            port=self.smtp_port,
            security=self.security,
            timeout_s=self.timeout_s,
            verify_certificate=self.verify_certificate,
            ca_file=os.fspath(self.ca_file) if self.ca_file is not None else None,
            username=self.username,
            password=self.password,
            oauth2_token=self.oauth2_token or self._tokens,
        )
        return Mailer(server, head, self._recipients, self.limit_bytes)


def _client(name: str, version: str) -> str:
    return one_line(f"{name} version: {version}" if name and version else name)


__all__ = ["EmailHandler"]
