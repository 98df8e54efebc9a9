"""What the options of handlers have in common: how they are checked, and how they tell who a handler is.

Every error has the form ``EmailHandler: smtp_port must be 1-65535, got 0``, and no secret is ever quoted. A handler's
default name says where it takes messages to, and handlers to one place are equal.
"""

from __future__ import annotations

import re
import unicodedata
from binascii import crc32
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from supervisor._models import Kind
from supervisor._setting_values import FALLBACK_AFTER
from supervisor._text import one_line
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Self

    Field = attrs.Attribute[Any]


# How options are checked

_TIME = re.compile(r"(?:[01]?\d|2[0-3]):[0-5]\d")
_BETWEEN_SEPARATORS = re.compile(r'(?:"[^"]*"|<[^<>]*>|[^",;\r\n])+|"')
_MAILTO = re.compile(r"(?i)(^|<)\s*mailto:([^?>]*)(?:\?[^>]*)?")
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200e\u200f\u2060\ufeff"))  # of copying from mail programs and web pages
_ADDRESS = re.compile(r'\s*(?:"?(?P<display>[^<>]*?)"?\s*<(?P<boxed>[^<>\s]+)>|(?P<bare>[^<>\s]+))\s*')


def kinds(value: str | Iterable[str] | None) -> frozenset[Kind] | None:
    """Return kinds of messages; None for those that the run decides. What is no kind is left to :func:`only_kinds`."""
    try:
        return None if value is None else frozenset(map(Kind, (value,) if isinstance(value, str) else value))
    except (TypeError, ValueError):
        refused: Any = value
        return refused  # type: ignore[no-any-return]  # the validator quotes it


def only_kinds(handler: object, field: Field, value: object) -> None:
    """Refuse anything but kinds of messages; None means that the setting is not given."""
    if value is not None and not isinstance(value, frozenset):
        raise setting_error(handler, field, f"some of {', '.join(Kind)}", value)


def error_names(value: Any) -> Any:
    """Return names of exception types, which may be given as the types themselves; what is neither stays as it is."""
    try:
        given = (value,) if isinstance(value, (str, type)) else tuple(value or ())
    except TypeError:
        return value
    return tuple(_full_name(each) if isinstance(each, type) else each for each in given)


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def only_error_names(handler: object, field: Field, value: object) -> None:
    """Refuse anything but names of exception types, such as "TimeoutError" and "requests.ConnectionError"."""
    names = value if isinstance(value, tuple) else (value,)
    for name in names:
        if not isinstance(name, str) or not all(each.isidentifier() for each in name.split(".")):
            raise setting_error(handler, field, 'names of exception types like "TimeoutError"', name)


def texts(value: Any) -> Any:
    """Return one text or several as a tuple; None gives none, and what cannot be either stays as it is."""
    try:
        return (value,) if isinstance(value, str) else tuple(value or ())
    except TypeError:
        return value


def only_quiet_times(handler: object, field: Field, value: object) -> None:
    """Refuse anything but times of the day like "20:00-06:00"."""
    for each in value if isinstance(value, tuple) else (value,):
        start, _, end = each.partition("-") if isinstance(each, str) else ("", "", "")
        if not _TIME.fullmatch(start.strip()) or not _TIME.fullmatch(end.strip()) or start.strip() == end.strip():
            raise setting_error(handler, field, 'times of the day like "20:00-06:00"', each)


def only_fallback(handler: object, field: Field, value: object) -> None:
    """Refuse anything but the name of a handler, or a handler; None means that there is none."""
    is_name = isinstance(value, str) and value.strip()
    is_handler = not isinstance(value, type) and callable(getattr(value, "send_message", None))
    if value is not None and not is_name and not is_handler:
        raise setting_error(handler, field, "the name of another handler, or a handler", value)


def positive_or_duration(handler: object, field: Field, value: object) -> None:
    """Refuse anything but a number of seconds above 0, or a duration like "1h"."""
    if value == FALLBACK_AFTER:
        return  # most runs need not load what reads durations
    from supervisor._schedules import duration_s

    try:
        is_duration = isinstance(value, str) and duration_s(value) > 0
    except ValueError:
        is_duration = False
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    if not is_duration and not is_number:
        raise setting_error(handler, field, 'a number of seconds above 0, or a duration like "1h"', value)


def kinds_or_none(value: Any) -> Any:
    """Return kinds of messages; none for None."""
    return kinds(() if value is None else value)


def text_or_empty(value: object) -> str:
    """Return a setting as text; None becomes the empty text."""
    return "" if value is None else str(value)


def not_blank(handler: object, field: Field, value: object) -> None:
    """Refuse a text that is missing or blank."""
    if not isinstance(value, str) or not value.strip():
        raise setting_error(handler, field, "a text that is not blank", value)


def optional_not_blank(handler: object, field: Field, value: object) -> None:
    """Refuse a text that is blank; None means that the setting is not given."""
    if value is not None:
        not_blank(handler, field, value)


def at_least_one_address(handler: object, field: Field, value: tuple[str, ...]) -> None:
    """Refuse an empty list of addresses, and one that holds anything else."""
    if not value:
        raise setting_error(handler, field, "at least one address", value)
    only_addresses(handler, field, value)


def only_addresses(handler: object, field: Field, value: tuple[str, ...]) -> None:
    """Refuse a list that holds anything but addresses."""
    for address in value:
        try:
            MailAddress.parse(address)
        except (ValueError, TypeError):
            raise setting_error(handler, field, "addresses like name@example.com", address) from None


def one_address(handler: object, field: Field, value: object) -> None:
    """Refuse anything but one address."""
    not_blank(handler, field, value)
    only_addresses(handler, field, (str(value),))


def http_url(handler: object, field: Field, value: object) -> None:
    """Refuse anything but an http or https URL. A URL may hold a secret, so it is not quoted."""
    if not isinstance(value, str) or not value.lower().startswith(("https://", "http://")):
        raise setting_error(handler, field, "a URL that starts with https://", value)


def requestable_url(handler: object, field: Field, value: object) -> None:
    """Refuse a URL that cannot be requested: without a host, with a wrong port, blanks or control characters."""
    http_url(handler, field, value)
    from urllib.parse import urlsplit

    text = str(value)
    try:
        parts = urlsplit(text)
        labels = (parts.hostname or "").rstrip(".").split(".")
        fits = parts.port != 0 and all(0 < len(label) < 64 for label in labels)  # noqa: PLR2004 - RFC 1035, 2.3.4: 63 octets
    except ValueError:  # a port that is no number, or brackets that do not match
        fits = False
    if not fits or not all("!" <= c <= "~" for c in text):
        raise setting_error(handler, field, "a URL like https://example.com/path, in ASCII and without blanks", value)


def yes_or_no(handler: object, field: Field, value: object) -> None:
    """Refuse anything but True and False."""
    if not isinstance(value, bool):
        raise setting_error(handler, field, "True or False", value)


def optional_mapping(handler: object, field: Field, value: object) -> None:
    """Refuse anything but a mapping; None means that the setting is not given."""
    if value is not None and not isinstance(value, Mapping):
        raise setting_error(handler, field, "a mapping of settings, a table in TOML", value)


def positive(handler: object, field: Field, value: object) -> None:
    """Refuse anything but a number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise setting_error(handler, field, "a number above 0", value)


def split_addresses(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return one address or many as a tuple, as people paste them.

    A text may hold several, separated by commas, semicolons or line breaks, with one behind the last as well. A name
    before an address may have a comma in it, and "mailto:" is left out.
    """
    if value is None:
        return ()
    many: Iterable[Any] = (value,) if isinstance(value, str) else value
    return tuple(each for given in many for each in (_split(given) if isinstance(given, str) else (given,)))


def _split(text: str) -> Iterator[str]:
    """Yield the addresses in a text."""
    name = ""
    for piece in _BETWEEN_SEPARATORS.findall(text.translate(_INVISIBLE)):
        address = name + _MAILTO.sub(r"\1\2", piece.strip())
        # "Doe, Jane <jane@example.com>": what has no address belongs to the name in the next piece.
        is_name = "@" not in address and "<" not in address
        name = f"{address}, " if is_name and address else ""
        if address and not is_name:
            yield address
    if name:
        yield name.removesuffix(", ")


def cleaned_address(value: str | None) -> Any:
    """Return one address as :func:`split_addresses` has it; what is none, or several, stays as it is."""
    found = tuple(_split(value)) if isinstance(value, str) else ()
    return found[0] if len(found) == 1 else value


def setting_error(handler: object, field: Field, expected: str, value: object) -> ConfigurationError:
    """Return the error for a setting that is wrong; the value of a field with ``repr=False`` is not shown."""
    got = "nothing" if value is None or value in ("", ()) else repr(value) if field.repr else "something else"
    return ConfigurationError(f"{type(handler).__name__}: {field.name} must be {expected}, got {got}")


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
        match = None if set(text) & set("\r\n\0") else _ADDRESS.fullmatch(text)
        local, _, domain = (match["boxed"] or match["bare"] if match else "").rpartition("@")
        if match is None or not local or not domain or ("@" in local and not local.startswith('"')):
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


# Who a handler is


@attrs.define(kw_only=True, eq=False)
class Destination:
    """What the handlers of this package have in common: they know where they take messages to.

    Two are equal when they are of one class and have the same name, kinds and errors, and ``_destination`` is the same.
    One that gets other messages is another one: that it was notified says nothing of what the first one gets.
    Credentials are no part of a destination: what waits for it goes on waiting when a password is changed.

    Args:
        errors: The exception types whose failures the handler gets, by the name of the class or its full name; a class
            that derives from one of them counts too. Default (): all.
        not_errors: Those whose failures it does not get, by the same rule. Default (): none.
        quiet: Times of the day in which it gets nothing but what is urgent ("20:00-06:00"), one or several, in the time
            zone of the run or of the configuration; what is still so when they end is sent then. Default (): never.
        urgent: The kinds of messages that it gets in these times too. Default (): none.
        fallback: The name of another handler, of the run or of the configuration, or the handler itself. It gets what
            this one refuses for good, or cannot send for ``fallback_after``. Default None: nobody does.
        fallback_after: For how long this one tries first: seconds, or a duration. Default "1h".
    """

    errors: tuple[str, ...] = attrs.field(default=(), converter=error_names, validator=only_error_names)
    not_errors: tuple[str, ...] = attrs.field(default=(), converter=error_names, validator=only_error_names)

    quiet: tuple[str, ...] = attrs.field(default=(), converter=texts, validator=only_quiet_times)
    urgent: frozenset[Kind] = attrs.field(default=(), converter=kinds_or_none, validator=only_kinds)

    fallback: Any = attrs.field(default=None, validator=only_fallback)
    fallback_after: float | str = attrs.field(default=FALLBACK_AFTER, validator=positive_or_duration)

    if TYPE_CHECKING:  # a field of the handlers
        name: str | None

    def __new__(cls, *arguments: object, **settings: object) -> Self:
        """Say how a call of version 3, with all settings in one dictionary, is written now."""
        former = [each for each in settings if each.endswith("_settings")]
        if arguments or former:
            raise TypeError(
                f"{cls.__name__} takes each setting by its name since version 4: write {cls.__name__}(**settings, "
                f'client_name="..."), or from supervisor.compat import {cls.__name__}, or run `supervisor migrate`'
            )
        return super().__new__(cls)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return (self.name, self._destination, self._filters) == (other.name, other._destination, other._filters)

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    @property
    def _filters(self) -> tuple[object, ...]:
        """What says which messages the handler gets."""
        return (getattr(self, "kinds", None), self.errors, self.not_errors)

    @property
    def _destination(self) -> tuple[object, ...]:
        """What says where messages go, besides the name."""
        raise NotImplementedError

    @property
    def _default_name(self) -> str:
        """The name where none is given: no two destinations share it, and it holds no secret."""
        raise NotImplementedError

    @property
    def _former_default(self) -> str:
        """The default name of earlier versions, which other destinations may have had too."""
        return self._default_name

    @property
    def _former_name(self) -> str | None:
        """The name that messages of an earlier version may wait under; None where it is the same, or was given."""
        was_made = self.name == self._default_name != self._former_default
        return self._former_default if was_made else None

    @property
    def _is_named_by_hand(self) -> bool:
        """Whether the name was given, so that it says nothing about the destination."""
        return self.name != self._default_name


@attrs.define(kw_only=True, eq=False)
class MailDestination(Destination):
    """What the handlers that send mail have in common: a sender, recipients, and what stands around the text.

    Args:
        from_address: The sender, "name@example.com" or "Name <name@example.com>".
        to_addresses: One recipient or many.
        cc: Recipients of a copy; none by default.
        bcc: Recipients of a copy whom the others do not see; none by default.
        prefix: The text before each subject.
        client_name: The name of the sending program in the last line; empty leaves the line out.
        client_version: Its version, in the same line.
    """

    from_address: str = attrs.field(default="", converter=cleaned_address, validator=one_address)
    to_addresses: tuple[str, ...] = attrs.field(default=(), converter=split_addresses, validator=at_least_one_address)
    cc: tuple[str, ...] = attrs.field(default=(), converter=split_addresses, validator=only_addresses)
    bcc: tuple[str, ...] = attrs.field(default=(), converter=split_addresses, validator=only_addresses)
    prefix: str = attrs.field(default="", converter=text_or_empty)
    client_name: str = attrs.field(default="", converter=text_or_empty)
    client_version: str = attrs.field(default="", converter=text_or_empty)

    _unique: tuple[MailAddress, ...] = attrs.field(init=False, default=(), repr=False)

    @property
    def _recipients(self) -> tuple[MailAddress, ...]:
        """All recipients, each once however it is written; parsed once, since handlers are compared for each run."""
        if not self._unique:
            unique: dict[str, MailAddress] = {}
            for each in map(MailAddress.parse, (*self.to_addresses, *self.cc, *self.bcc)):
                unique.setdefault(each.address.lower(), each)
            self._unique = tuple(unique.values())
        return self._unique


def short_hash(*parts: object) -> str:
    """Return six characters that tell texts from each other, to put into a name that is shown.

    They hold 24 bits. Of the random parts of a URL or a token, which have 100 bits and more, that gives nothing away;
    what people make up themselves, such as a password, must not be among the parts: a guess could be confirmed.
    """
    try:
        from _blake2 import blake2b  # where hashlib has it from; that loads OpenSSL as well, which takes 3 ms
    except ImportError:
        from hashlib import blake2b

    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=3, person=b"supervisor").hexdigest()


def url_hash(url: str) -> str:
    """Return the short hash of a URL without the password in it."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return short_hash(parts.scheme.lower(), parts.username, parts.hostname, parts.port, parts.path, parts.query)


def name_of_recipients(channel: str, addresses: Sequence[str]) -> str:
    """Return a name that differs between handlers with other recipients, and is short however many there are."""
    if len(addresses) == 1:
        return f"{channel}:{addresses[0]}"
    return f"{channel}:{addresses[0]}+{len(addresses) - 1}.{crc32(','.join(sorted(addresses)).encode()):08x}"
