"""Find all secrets in some bytes: known ones, those of a known form, and values whose key says that they are secret."""

from __future__ import annotations

import re
from functools import cache, partial
from typing import TYPE_CHECKING

from supervisor._redaction.prefilter import KnownSecrets, Prefilter, Trigger
from supervisor._redaction.shapes import (
    PRIVATE_KEY,
    SHAPES,
    URL_PASSWORD,
    VENDOR_SHAPES,
    find_private_key,
    find_url_password,
)
from supervisor._redaction.spans import Span, merged_spans
from supervisor._redaction.visible_text import VisibleText, is_disguised

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

CREDENTIAL = "credential"
"""The label of secrets that are known by themselves."""

KEY_TRIGGERS = (
    *(b"passw", b"passph", b"_pass", b"-pass", b"pass=", b"pass:", b'pass"', b"pass'", b"passc", b"pwd"),
    *(b"psk=", b'psk"', b"psk:", b"psk ", b"requirepass", b"masterauth"),
    *(b"secret", b"token", b"key", b"auth", b"cred", b"cookie", b"sig=", b"signature", b"code="),
    *(b"session_id", b"session-id", b"sessionid=", b'sessionid"', b"sessid=", b"session=", b'session"', b"session'"),
)
"""Every key whose value is secret has one of these in its name."""

COMMAND_TRIGGERS = (
    *(b"curl", b"wget", b"mysql", b"mariadb", b"mariabackup", b"xtrabackup", b"sshpass", b"ldap", b"podman"),
    *(b"buildah", b"docker ", b"docker'", b"helm ", b"helm'", b"skopeo", b"nerdctl", b"oras ", b"crane ", b"az "),
    *(b"az'", b"redis-", b"valkey-", b"mongo", b"sqlcmd", b"bcp ", b"bcp'", b"osql", b"isql", b"tsql", b"freebcp"),
    *(b"cqlsh", b"hdbsql", b"nzsql", b"ftpput", b"mosquitto", b"ipmitool", b"zip ", b"zip'", b"unzip", b"snmp"),
    *(b"7z", b"rar ", b"rar'", b"keytool", b"ssh-keygen", b"jarsigner", b"xfreerdp", b"rdesktop", b"openssl"),
    *(b"smb", b"rpcclient", b"lftp", b"sqlplus", b"expdp", b"impdp", b"exp ", b"sqlldr", b"rman ", b"connect "),
    *(b"conn ", b"http -", b"http '-", b"https -"),
)
"""How command lines of programs begin that take secrets in options without a telling name."""

LOGIN_TRIGGERS = (
    *(b" -u ", b"'-u'", b'"-u"', b"--user ", b"--user=", b"--user'", b'--user"', b"--proxy-user", b"--creds"),
)
"""What stands at the beginning of options that have a user and a password."""

PIPE_TRIGGERS = (
    *(b"| kinit", b"| sudo -s", b"| passwd", b"| sudo passwd", b"| chpasswd", b"| sudo chpasswd", b"| smbpasswd"),
)
"""Commands that read a password from a pipe."""

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
        yield Trigger(b"://", find_url_password, re.compile(_USER))
    if PRIVATE_KEY not in off:
        yield Trigger(b"private key", partial(find_private_key, more=more))
    yield from (Trigger(text, _find_value) for text in KEY_TRIGGERS)
    yield from (Trigger(text, _find_in_command, _PROGRAM) for text in COMMAND_TRIGGERS)
    yield from (Trigger(text, _find_in_login) for text in LOGIN_TRIGGERS)
    yield from (Trigger(text, _find_in_insert) for text in (b"insert into", b"insert ignore into", b"replace into"))
    yield from (Trigger(text, _find_in_pipe) for text in PIPE_TRIGGERS)
    for shape in VENDOR_SHAPES:
        if shape.label not in off:
            yield from (Trigger(text, shape.find, in_long_word=True) for text in shape.triggers)


# These modules are loaded when they are needed, since their patterns take some ms to compile, and few texts need them.


def _find_value(data: bytes, at: int) -> Span | None:
    from supervisor._redaction.key_values import find_key_value, may_be_key
    from supervisor._redaction.neighbors import find_neighbor

    return (find_key_value(data, at) or find_neighbor(data, at)) if may_be_key(data, at) else None


def _find_in_command(data: bytes, at: int) -> list[Span]:
    from supervisor._redaction.command_lines import in_command

    return in_command(data, at)


def _find_in_insert(data: bytes, at: int) -> list[Span]:
    from supervisor._redaction.statements import in_insert

    return in_insert(data, at)


def _find_in_pipe(data: bytes, at: int) -> list[Span]:
    from supervisor._redaction.command_lines import in_pipe

    return in_pipe(data, at)


def _find_in_login(data: bytes, at: int) -> list[Span]:
    from supervisor._redaction.command_lines import in_login

    return in_login(data, at)


@cache
def _prefilter(off: frozenset[str], *, more: bool) -> Prefilter:
    return Prefilter(triggers(off, more=more))


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
        self._known = KnownSecrets(known)
        self._prefilter = _prefilter(self._off, more=False)

    def spans(self, data: bytes, start: int = 0, *, more: bool = False) -> list[Span]:
        """Return the secrets from ``start`` on, in order and without overlaps.

        Args:
            data: The bytes; those before ``start`` have been scanned before.
            start: Where to begin.
            more: Whether more bytes may follow. A secret that may continue there ends at the very end of ``data``.
        """
        if is_disguised(data):
            found = self._behind_disguise(data, start, more=more)
        else:
            found = list(self._by_trigger(data, start, more=more))
        found += (Span(first, last, CREDENTIAL, first) for first, last in self._known.places(data, start))
        if self._patterns:
            found += self._by_pattern(data, start)
        return merged_spans(found) if found else found

    def _behind_disguise(self, data: bytes, start: int, *, more: bool) -> list[Span]:
        visible = VisibleText(data)
        begin = visible.after(start)
        found = list(self._by_trigger(visible.data, begin, more=more))
        found += (Span(first, last, CREDENTIAL, first) for first, last in self._known.places(visible.data, begin))
        return [visible.span(each) for each in found]

    def _by_trigger(self, data: bytes, start: int, *, more: bool) -> Iterator[Span]:
        floor = start
        prefilter = _prefilter(self._off, more=True) if more else self._prefilter
        for at, _, trigger in prefilter.hits(data, start):
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
