r"""Find all secrets in some bytes: known ones, those of a known form, and values whose key says that they are secret.

Every kind of secret has a short text near it that gives it away, a trigger. One walk over a text finds all triggers;
only there are patterns applied. With ahocorasick-rs (the extra ``fast``) the walk is about ten times as fast.

Colours and invisible characters may stand between a key and its value. Structlog writes
``\x1b[36mpassword\x1b[0m=\x1b[35mhunter2\x1b[0m``. Escape sequences and invisible characters are left out for the
search, full-width letters are replaced by plain ones, and what is found is looked up in the original.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from functools import cache, cached_property, partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor._redaction.credentials import KnownSecrets
from supervisor._redaction.shapes import (
    LONGEST_KEY_BYTES,
    PRIVATE_KEY,
    SHAPES,
    URL_PASSWORD,
    VENDOR_SHAPES,
    find_easy_connect,
    find_identified,
    find_private_key,
    find_url_password,
)
from supervisor._redaction.value_syntax import Span, merged_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from types import ModuleType

# What is seen of a text

# What a terminal takes for an escape sequence: https://www.ecma-international.org/publications-and-standards/standards/ecma-48/
_CSI = rb"\[[0-?]{0,40}[ -/]{0,4}[@-~]"
_LINK = rb"\](?:[^\x07\x1b\r\n]{0,1000})(?:\x07|\x1b\\)"
_DISGUISE = (
    rb"(?P<gone>\x1b(?:" + _CSI + rb"|" + _LINK + rb"|[()][0-9A-B]|[@-Z\\^_])"
    # The same within quoted text, as in JSON and in repr
    rb"|\\{1,4}(?:x1[bB]|u001[bB]|033|e)" + _CSI +
    # Soft hyphen, zero-width characters, marks of direction, word joiner, byte order mark, variation selectors
    rb"|\xc2\xad|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa0-\xa9]|\xef\xbb\xbf|\xef\xb8[\x80-\x8f])"
    # Blanks of other widths
    rb"|(?P<blank>\xc2\xa0|\xe2\x80[\x80-\x8a\xaf]|\xe3\x80\x80)"
    # Full-width forms of the characters from ! to ~
    rb"|(?P<wide>\xef(?:\xbc[\x81-\xbf]|\xbd[\x80-\x9e]))"
)
_FIRST_WIDE = 0xFF01
_ESCAPED = (rb"\x1b[", rb"\x1B[", rb"\u001b[", rb"\u001B[", rb"\033[", rb"\e[")
_BEYOND_ASCII = (
    b"\xc2\xa0",
    b"\xc2\xad",
    b"\xe2\x80",
    b"\xe2\x81",
    b"\xe3\x80\x80",
    b"\xef\xb8",
    b"\xef\xbb",
    b"\xef\xbc",
    b"\xef\xbd",
)


@cache
def _disguise() -> re.Pattern[bytes]:
    return re.compile(_DISGUISE)


def is_disguised(data: bytes) -> bool:
    """Return whether something in the bytes is not seen, or seen otherwise; False for most texts, at little cost."""
    if b"\x1b" in data:
        return True
    if b"\\" in data and any(each in data for each in _ESCAPED):
        return True
    return not data.isascii() and any(each in data for each in _BEYOND_ASCII) and _disguise().search(data) is not None


class VisibleText:
    """Bytes as they are seen, and where each of them comes from.

    Args:
        data: The original.
    """

    def __init__(self, data: bytes) -> None:
        self._size = len(data)
        pieces: list[bytes] = []
        # Where pieces begin, in what is seen and in the original, and how many bytes of the original each byte stands
        # for: what is replaced is a piece of its own.
        self._seen: list[int] = []
        self._original: list[int] = []
        self._width: list[int] = []
        at = done = 0
        for match in _disguise().finditer(data):
            replaced = _replacement(match)
            for piece, begin, width in (
                (data[done : match.start()], done, 1),
                (replaced, match.start(), match.end() - match.start()),
            ):
                if piece:
                    self._add(at, begin, width)
                    pieces.append(piece)
                    at += len(piece)
            done = match.end()
        self._add(at, done, 1)
        pieces.append(data[done:])
        self.data = b"".join(pieces)

    def _add(self, seen: int, original: int, width: int) -> None:
        self._seen.append(seen)
        self._original.append(original)
        self._width.append(width)

    def after(self, original: int) -> int:
        """Return the place that is seen at, or next after, a place of the original."""
        which = bisect_right(self._original, original) - 1
        if which < 0:
            return 0
        seen = self._seen[which] + -(-(original - self._original[which]) // self._width[which])
        return min(seen, self._seen[which + 1]) if which + 1 < len(self._seen) else seen

    def span(self, span: Span) -> Span:
        """Return where something that was found in :attr:`data` is in the original."""
        end = self._size if span.end == len(self.data) else self._place(span.end - 1, 1)
        return span._replace(start=self._place(span.start), end=end, origin=self._place(span.origin))

    def _place(self, seen: int, behind: int = 0) -> int:
        """Return the place of a byte in the original, or the place behind it."""
        which = bisect_right(self._seen, seen) - 1
        return self._original[which] + (seen - self._seen[which] + behind) * self._width[which]


def _replacement(match: re.Match[bytes]) -> bytes:
    if match["gone"] is not None:
        return b""
    if match["blank"] is not None:
        return b" "
    return bytes((ord(match["wide"].decode()) - _FIRST_WIDE + ord("!"),))


# Looking for triggers

SHORT_BYTES = 2048
"""For a shorter text, the time counts that it takes to make what looks for triggers."""

# About how many of a thousand letters of a log are these, each.
_BY_PER_MILLE = {75: b" e", 44: b"asroi2", 35: b"dnpt013", 20: b"cflu46-/:", 13: b"bg5789.", 10: b"hmy_=\"'v"}
_PER_MILLE = {letter: count for count, letters in _BY_PER_MILLE.items() for letter in letters}
_PER_MILLE_OF_OTHERS = 3
_PER_MILLE_AT_END = 150  # any letter may follow a trigger's last one, so that each stop there looks back
_STOP = 6  # each letter to stop at is another walk, which takes as long as so many per mille more stops

_URL_BYTES = 2400  # a password and its user are shorter


_PIECE_BYTES = 64 * 1024  # so much is walked over at a time, where only so many triggers are wanted


_PLACE = itemgetter(0, 1)


class Trigger(NamedTuple):
    """A text near which there may be a secret.

    Args:
        text: The text to look for, in lower case; it is found in any case.
        find: Takes the bytes and where the trigger is; returns the secret or, as a list, several; None where there is
            none.
        follows: What must follow the trigger, in lower case, if that makes most closer looks unnecessary.
        origin: Another text, in lower case, that is somewhere before the trigger and is common by itself: the trigger
            counts as being there. "" for none.
    """

    text: bytes
    find: Callable[[bytes, int], Span | list[Span] | None]
    follows: re.Pattern[bytes] | None = None
    origin: bytes = b""

    def place(self, lower: bytes, at: int, start: int) -> int:
        """Return where the trigger counts as being, at or after ``start``; -1 if that is nowhere.

        Args:
            lower: The bytes, in lower case.
            at: Where its text is.
            start: Where to begin.
        """
        end = at + len(self.text)
        if self.origin:
            at = lower.rfind(self.origin, max(start, at - _URL_BYTES), at)
            end = at + len(self.origin)
        return at if at >= 0 and (self.follows is None or self.follows.match(lower, end)) else -1


class Prefilter:
    """Finds all triggers in a text.

    Args:
        triggers: What to look for; none is empty.
    """

    def __init__(self, triggers: Iterable[Trigger]) -> None:
        self._triggers = tuple(triggers)

    def hits(self, data: bytes, start: int, most: int | None = None) -> list[tuple[int, int, Trigger]]:
        """Return the triggers in a text, from left to right: (its beginning, its number, the trigger).

        Args:
            data: The text.
            start: Where to begin; a trigger that begins before is not found.
            most: The search ends soon after so many; None for all.
        """
        lower = data.lower()
        found = {}  # many a trigger may count as being at the same place: each "@" behind one "://"
        size = len(lower)
        piece = size + 1 if most is None or size < _PIECE_BYTES else _PIECE_BYTES
        for begin in range(start, size, piece):
            for at, which in self._found(lower, begin, min(begin + piece, size)):
                trigger = self._triggers[which]
                place = at if trigger.follows is None else trigger.place(lower, at, start)
                if place >= 0:
                    found[place, which] = trigger
            if most is not None and len(found) > most:
                break
        return sorted(((*where, trigger) for where, trigger in found.items()), key=_PLACE) if found else []

    def _found(self, lower: bytes, begin: int, end: int) -> Iterable[tuple[int, int]]:
        """Return the triggers that begin in a part of a text: (its beginning, its number)."""
        is_quick = len(lower) < SHORT_BYTES and "_automaton" not in self.__dict__
        automaton = self._quickly_made if is_quick else self._automaton
        if automaton is None:
            return self._by_stops(lower, begin, end)
        if begin == 0 and end == len(lower):
            return [(at, which) for which, at, _ in automaton.find_matches_as_indexes(lower, overlapping=True)]
        part = lower[begin : end + self._longest - 1]
        found = automaton.find_matches_as_indexes(part, overlapping=True)
        return [(begin + at, which) for which, at, _ in found if begin + at < end]

    def _by_stops(self, lower: bytes, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Stop at one letter of each trigger, with the others around it, and look which triggers are there.

        There is one walk for each letter: Python looks for a single byte many times as fast as for one of several.
        """
        behind = min(end + self._longest, len(lower))
        for pattern, by_next in self._stops:
            at_end = by_next.get(b"", ())
            for match in pattern.finditer(lower, begin, behind):
                stop = match.start()
                for some in (by_next.get(lower[stop + 1 : stop + 2], ()), at_end):
                    for offset, which, text in some:
                        if begin <= stop - offset < end and lower.startswith(text, stop - offset):
                            yield stop - offset, which

    @cached_property
    def _longest(self) -> int:
        return max(len(trigger.text) for trigger in self._triggers)

    @cached_property
    def _stops(self) -> list[tuple[re.Pattern[bytes], dict[bytes, list[tuple[int, int, bytes]]]]]:
        """Return, for each letter to stop at, a pattern, and its triggers by the letter that follows upon it.

        Each trigger comes as: where the letter is in it, its number, its text.
        """
        letters = _letters_to_stop_at([trigger.text for trigger in self._triggers])
        by_letter: dict[bytes, dict[bytes, list[tuple[int, int, bytes]]]] = {}
        for which, (text, *_) in enumerate(self._triggers):
            places = (at for at, letter in enumerate(text) if letter in letters)
            offset = min(places, key=lambda at: _per_mille(text[at]) * _per_mille_behind(text, at))
            by_next = by_letter.setdefault(text[offset : offset + 1], {})
            by_next.setdefault(text[offset + 1 : offset + 2], []).append((offset, which, text))
        return [(re.compile(re.escape(letter) + _around(by_next)), by_next) for letter, by_next in by_letter.items()]

    @cached_property
    def _automaton(self) -> Any:
        return automaton([trigger.text for trigger in self._triggers])

    @cached_property
    def _quickly_made(self) -> Any:
        return automaton([trigger.text for trigger in self._triggers], is_quickly_made=True)


def _letters_to_stop_at(texts: Collection[bytes]) -> frozenset[int]:
    """Return letters of which each text has one: few ones, and rare ones."""
    chosen: set[int] = set()
    left = list(texts)
    while left:
        counts = Counter(letter for text in left for letter in set(text))
        chosen.add(min(counts, key=lambda letter: ((_STOP + _per_mille(letter)) / counts[letter], letter)))
        left = [text for text in left if chosen.isdisjoint(text)]
    return frozenset(chosen)


def _per_mille(letter: int) -> int:
    return _PER_MILLE.get(letter, _PER_MILLE_OF_OTHERS)


def _per_mille_behind(text: bytes, at: int) -> int:
    return _per_mille(text[at + 1]) if at + 1 < len(text) else _PER_MILLE_AT_END


def _around(by_next: Mapping[bytes, Iterable[tuple[int, int, bytes]]]) -> bytes:
    """Return a pattern of what is around one letter of some texts; it consumes nothing, as texts may overlap.

    The next letter decides which texts are tried, which takes a fraction of the time that trying all takes.

    Args:
        by_next: The texts by the letter that follows: where the letter is in each, the text's number, and the text.
    """
    branches = []
    for letter, some in by_next.items():
        rests = (re.escape(text[at + 2 :]) + (b"(?<=%s)" % re.escape(text) if at else b"") for at, _, text in some)
        if letter:
            branches.append(b"%s(?:%s)" % (re.escape(letter), b"|".join(rests)))
    at_end = [b"(?<=%s)" % re.escape(text) for _, _, text in by_next.get(b"", ())]  # all of the text stands before
    return b"(?:%s)" % b"|".join((*((b"(?=%s)" % b"|".join(branches),) if branches else ()), *at_end))


def automaton(texts: Collection[bytes], *, is_quickly_made: bool = False) -> Any:
    """Return what finds many texts in one walk; None where ahocorasick-rs is not installed.

    Args:
        texts: What to look for; none is empty.
        is_quickly_made: It is made in a quarter of the time, and takes twice the time to walk over a text.
    """
    try:
        from ahocorasick_rs import BytesAhoCorasick, Implementation
    except ImportError:
        return None
    return BytesAhoCorasick(texts, implementation=None if is_quickly_made else Implementation.DFA)


# The triggers, and what looks more closely at each

UNSEARCHED = "unsearched"
"""The label of the rest of a text in which more may be secret than can be looked at in reasonable time."""

_BEFORE_TRIGGER_BYTES = LONGEST_KEY_BYTES
"""No secret begins so far before the trigger by which it is found: the lines above the END of a private key do."""

KEY_TRIGGERS = (
    *(b"passw", b"passph", b"_pass", b"-pass", b"pass=", b"pass:", b'pass"', b"pass'", b"passc", b"pwd"),
    *(b"psk=", b'psk"', b"psk:", b"psk ", b"requirepass", b"masterauth", b"rootpw", b"bindpw"),
    *(b"pw=", b"pw:", b'pw"', b"pw'"),
    *(b"secret", b"token", b"key", b"auth", b"cred", b"cookie", b"sig=", b"signature", b"code="),
    *(b"session_id", b"session-id", b"sessionid=", b'sessionid"', b"sessid=", b"session=", b'session"', b"session'"),
)
"""Every key whose value is secret has one of these in its name."""

COMMAND_TRIGGERS = (
    *(b"curl", b"wget", b"mysql", b"mariadb", b"mariabackup", b"xtrabackup", b"sshpass", b"ldap", b"podman"),
    *(b"buildah", b"docker ", b"docker'", b"helm ", b"helm'", b"skopeo", b"nerdctl", b"oras ", b"crane ", b"az "),
    *(b"az'", b"redis-", b"valkey-", b"mongo", b"sqlcmd", b"bcp ", b"bcp'", b"osql", b"isql", b"tsql", b"freebcp"),
    *(b"cqlsh", b"hdbsql", b"nzsql", b"ftpput", b"mosquitto", b"ipmitool", b"zip ", b"zip'", b"unzip", b"snmp"),
    *(b"7z", b"rar ", b"rar'", b"unrar", b"keytool", b"ssh-keygen", b"jarsigner", b"xfreerdp", b"rdesktop", b"openssl"),
    *(b"smb", b"rpcclient", b"lftp", b"sqlplus", b"expdp", b"impdp", b"exp ", b"sqlldr", b"rman ", b"connect "),
    *(b"schtasks", b"cmdkey", b"ncftp", b"twine ", b"plink", b"pscp", b"psftp", b"putty", b"psexec"),
    *(b"conn ", b"http -", b"http '-", b"https -"),
)
"""How command lines of programs begin that take secrets in options without a telling name."""

LOGIN_TRIGGERS = (
    *(b" -u ", b"'-u'", b'"-u"', b"--user ", b"--user=", b"--user'", b'--user"', b"--proxy-user", b"--creds"),
)
"""What stands at the beginning of options that have a user and a password."""

PIPE_TRIGGERS = (
    *(b"| docker login", b"| podman login", b"| skopeo login", b"| helm registry login", b"| gh auth login"),
    *(b"| kinit", b"| sudo -s", b"| passwd", b"| sudo passwd", b"| chpasswd", b"| sudo chpasswd", b"| smbpasswd"),
)
"""Commands that read a password from a pipe."""

CALLS: dict[bytes, int] = {
    b"user.set_password(": 0,
    **dict.fromkeys((b".login(", b"httpbasicauth(", b"networkcredential(", b"usernamepasswordcredentials("), 1),
    b"db.auth(": 1,
    **dict.fromkeys((b"'database_auth',", b'"database_auth",'), 1),
    **dict.fromkeys((b"new pdo(", b"new mysqli(", b"mysqli_connect(", b"drivermanager.getconnection(", b"ftp("), 2),
    **dict.fromkeys((b"ftp_tls(", b"pymysql.connect(", b"mysqldb.connect(", b"keyring.set_password("), 2),
}
"""How calls begin that take a password without naming it, and which of the arguments behind is the password."""

_STEMS = tuple({each.rstrip(b" '-").decode() for each in COMMAND_TRIGGERS})
_LOGINS = ("-u", "--user", "--proxy-user", "--creds")
_PROGRAM = re.compile(rb"[\w-]{0,20}(?:\.exe)?\\{0,4}[ \"'-]|(?<=[ '\"])")
_USER = rb"[^\s/:@?#\"'<>]{0,256}+:(?!\d{1,5}[/?#\s\"'])"  # followed by a password, not by a port


def may_have_login(argument: str) -> bool:
    """Return whether an argument is a program or an option that takes a password without a telling name."""
    return argument.startswith(_LOGINS) or re.split(r"[/\\]", argument)[-1].lower().startswith(_STEMS)


def triggers(off: frozenset[str], *, more: bool) -> Iterator[Trigger]:
    """Yield all triggers; of several at one place, the first whose closer look finds a secret counts.

    Args:
        off: Labels of what is not looked for.
        more: Whether more bytes may follow those that are scanned. A private key that may continue there reaches up
            to the end.
    """
    for shape in SHAPES:
        if shape.label not in off:
            yield from (Trigger(text, shape.find) for text in shape.triggers)
    if URL_PASSWORD not in off:
        yield Trigger(b"@", find_url_password, re.compile(_USER), origin=b"://")
        yield Trigger(b"@//", find_easy_connect)
    yield Trigger(b"identified ", find_identified)
    if PRIVATE_KEY not in off:
        yield Trigger(b"private key", partial(find_private_key, more=more))
    yield from (Trigger(text, _find_value) for text in KEY_TRIGGERS)
    yield Trigger(b"input_value=", _find_input_value)
    yield from (Trigger(text, _find_in_command, _PROGRAM) for text in COMMAND_TRIGGERS)
    yield from (Trigger(text, _find_in_login) for text in LOGIN_TRIGGERS)
    yield from (Trigger(text, _find_in_insert) for text in (b"insert into", b"insert ignore into", b"replace into"))
    yield from (Trigger(text, _find_in_pipe) for text in PIPE_TRIGGERS)
    yield from (Trigger(text, partial(_find_in_call, len(text), which)) for text, which in CALLS.items())
    for shape in VENDOR_SHAPES:
        if shape.label not in off:
            yield from (Trigger(text, shape.find) for text in shape.triggers)


# These modules are loaded when they are needed, since their patterns take some ms to compile, and few texts need them.


@cache
def _key_values() -> ModuleType:
    from supervisor._redaction import key_values

    return key_values


@cache
def _neighbors() -> ModuleType:
    from supervisor._redaction import neighbors

    return neighbors


@cache
def _command_lines() -> ModuleType:
    from supervisor._redaction import command_lines

    return command_lines


def _find_value(data: bytes, at: int) -> Any:
    return _key_values().find_value(data, at)


def _find_input_value(data: bytes, at: int) -> Any:
    return _neighbors().find_input_value(data, at)


def _find_in_command(data: bytes, at: int) -> Any:
    return _command_lines().in_command(data, at)


def _find_in_insert(data: bytes, at: int) -> Any:
    return _command_lines().in_insert(data, at)


def _find_in_pipe(data: bytes, at: int) -> Any:
    return _command_lines().in_pipe(data, at)


def _find_in_call(length: int, which: int, data: bytes, at: int) -> Any:
    return _command_lines().in_call(data, at + length, which)


def _find_in_login(data: bytes, at: int) -> Any:
    return _command_lines().in_login(data, at)


@cache
def _prefilter(off: frozenset[str], *, more: bool) -> Prefilter:
    return Prefilter(triggers(off, more=more))


# All secrets of a text


class Scanner:
    """Finds secrets.

    Args:
        known: Secrets that are known by themselves, in each form in which they may be written.
        patterns: Labels and patterns of what else is secret; if a pattern has a group ``secret``, only that group is.
        off: Labels of what is not looked for.
    """

    def __init__(
        self, known: Collection[bytes], patterns: Collection[tuple[str, re.Pattern[str]]], off: Collection[str]
    ) -> None:
        self._patterns = tuple(patterns)
        self._off = frozenset(off)
        self._known = KnownSecrets(known) if known else None
        self._prefilter = _prefilter(self._off, more=False)

    def spans(self, data: bytes, start: int = 0, *, more: bool = False, most: int | None = None) -> list[Span]:
        """Return the secrets from ``start`` on, in order and without overlaps.

        Args:
            data: The bytes; those before ``start`` have been scanned before.
            start: Where to begin.
            more: Whether more bytes may follow. A secret that may continue there ends at the very end of ``data``.
            most: How many triggers are looked at more closely; what may belong to the others counts as one secret,
                up to the end. None for all.
        """
        if is_disguised(data):
            found = self._behind_disguise(data, start, more=more, most=most)
        else:
            found = list(self._by_trigger(data, start, more=more, most=most))
        if self._known is not None:
            found += self._known.spans(data, start)
        if self._patterns:
            found += self._by_pattern(data, start)
        return merged_spans(found) if found else found

    def _behind_disguise(self, data: bytes, start: int, *, more: bool, most: int | None) -> list[Span]:
        visible = VisibleText(data)
        begin = visible.after(start)
        found = list(self._by_trigger(visible.data, begin, more=more, most=most))
        if self._known is not None:
            found += self._known.spans(visible.data, begin)
        return [visible.span(each) for each in found]

    def _by_trigger(self, data: bytes, start: int, *, more: bool, most: int | None) -> Iterator[Span]:
        floor = start
        prefilter = _prefilter(self._off, more=True) if more else self._prefilter
        hits = prefilter.hits(data, start, most)
        rest = None  # where what is not searched begins
        if most is not None and len(hits) > most:
            rest = max(start, hits[most][0] - _BEFORE_TRIGGER_BYTES)
            hits = hits[:most]
        for at, _, trigger in hits:
            if at < floor:
                continue
            span = trigger.find(data, at)
            if isinstance(span, list):  # among them may be other secrets, which have triggers of their own
                yield from (each for each in span if each.start >= floor and each.label not in self._off)
                continue
            if span is None or span.label in self._off:
                continue
            if span.start < floor:  # the lines above the END line of a private key: what was returned stays as it is
                span = span._replace(start=floor, origin=floor)
            if span.start < span.end:
                yield span
                floor = span.end
                if rest is not None and span.start < rest < span.end:
                    rest = span.end
        if rest is not None and rest < len(data):
            yield Span(rest, len(data), UNSEARCHED, rest)

    def _by_pattern(self, data: bytes, start: int) -> Iterator[Span]:
        """Yield what the user's own patterns find. They are patterns for text, so their places are converted."""
        text = data[start:].decode("utf-8", "surrogateescape")
        is_ascii = len(text) == len(data) - start
        for label, pattern in self._patterns:
            group = "secret" if "secret" in pattern.groupindex else 0
            done_at, done = 0, start
            for match in pattern.finditer(text):
                first, last = match.span(group)
                if first >= last:
                    continue
                if is_ascii:
                    yield Span(start + first, start + last, label, start + match.start())
                    continue
                origin = done + _byte_count(text, done_at, match.start())
                begin = origin + _byte_count(text, match.start(), first)
                done_at, done = last, begin + _byte_count(text, first, last)
                yield Span(begin, done, label, origin)


def _byte_count(text: str, start: int, end: int) -> int:
    return len(text[start:end].encode("utf-8", "surrogateescape"))
