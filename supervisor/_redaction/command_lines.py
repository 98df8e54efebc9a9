"""Find secrets in the command lines of well-known programs, and in SQL that inserts rows.

Command lines stand in logs as in a shell (``curl -u 'me:x' URL``), or as Python shows a list (``['curl', '-u', 'x']``).
The values of ``INSERT INTO users (password) VALUES ('x')`` stand in the statement, or in the parameters shown with it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from supervisor._redaction.secret_names import secret_kind
from supervisor._redaction.value_syntax import MARKER, Span, is_hidden, says_nothing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LABEL = "password"
"""The label of what is found here."""

_LONGEST = 4000
_MOST = 60  # arguments


class Command(NamedTuple):
    """What is secret in the command lines of some programs.

    Args:
        names: The names of the programs, in lower case, separated by blanks.
        options: Options whose value is secret: the next argument, or what is attached to the option.
        attached: Options whose value is secret only where it is attached, as in ``mysql -pX``.
        logins: Options whose value is a user and, behind ``:``, ``%`` or a comma, a secret.
        needs: An argument without which nothing is secret; "" for none.
        connects: Whether an argument of the form ``user/secret@database`` has a secret.
    """

    names: str
    options: str = ""
    attached: str = ""
    logins: str = ""
    needs: str = ""
    connects: bool = False


_COMMANDS = (
    Command("curl wget", logins="-u -U --user --proxy-user"),
    Command("http https", logins="-a --auth"),
    Command("mysql mysqldump mysqladmin mysqlimport mysqlcheck mysqlsh mysqlpump mysqlbinlog", attached="-p"),
    Command("mariadb mariadb-dump mariadb-admin mariadb-import xtrabackup mariabackup", attached="-p"),
    Command("sshpass twine", options="-p"),
    Command("ldapsearch ldapmodify ldapadd ldapdelete ldapwhoami ldapcompare", options="-w"),
    Command("ldappasswd", options="-w -s -a"),
    Command("docker podman helm buildah skopeo nerdctl oras crane az", options="-p", needs="login"),
    Command("redis-cli redis-benchmark valkey-cli", options="-a"),
    Command("mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat", options="-p"),
    Command("sqlcmd bcp osql isql tsql freebcp", options="-P"),
    Command("cqlsh hdbsql nzsql ftpput ncftp ncftpput ncftpget", options="-p"),
    Command("mosquitto_pub mosquitto_sub ipmitool zip unzip", options="-P"),
    Command("snmpget snmpwalk snmpset", options="-A -X"),
    Command("7z 7za 7zz rar unrar", attached="-p -hp"),
    Command("ssh-keygen", options="-N -P"),
    Command("keytool jarsigner", options="-storepass -keypass -srcstorepass -deststorepass -srckeypass"),
    Command("xfreerdp rdesktop", options="-p", attached="/p:"),
    Command("openssl", logins="-pass -passin -passout", options="-k"),
    Command("smbclient rpcclient smbget", logins="-U --user"),
    Command("lftp", logins="-u --user"),
    Command("cmdkey", attached="/pass: /p:"),
    Command("schtasks", options="/RP /rp /P /p"),
    Command("plink pscp psftp putty", options="-pw"),
    Command("psexec psexec64", options="-p"),
    Command("sqlplus expdp impdp exp sqlldr rman connect conn", connects=True),
)
_BY_NAME = {name.encode(): command for command in _COMMANDS for name in command.names.split()}
# Behind any other program, these options take a user and a password where their value has a colon.
_OTHER = Command("", logins="-u --user --proxy-user --creds --userpwd")

_BEFORE = re.compile(rb"(?:^|[\s/\\\"'`(;|&=>\[])\Z")
_NAME = re.compile(rb"[\w.-]{1,40}")
_IN_LIST = re.compile(rb"""\\{0,4}["'](?:,[ \n]?)""")
_ITEM = re.compile(
    rb"""[ \n]?[bru]?\\{0,4}(?P<quote>["'])"""
    rb"""(?P<v>(?:(?!\\{0,4}(?P=quote)(?:,|\]|\)|\s*$))[^\r\n])*)\\{0,4}(?P=quote),?"""
)
_WORD = re.compile(
    rb"""[ \t]+(?:\\\r?\n[ \t]*)?(?:"""
    rb"""(?P<v>(?:--?\w[\w-]*=?)(?P<q>["'])(?:(?!(?P=q))[^\r\n])*)(?P=q)"""
    rb"""|(?P<quote>["'])(?P<quoted>(?:(?!(?P=quote))[^\r\n])*)(?P=quote)"""
    rb"""|(?P<plain>(?:""" + MARKER + rb"""|[^\s"'`])+(?:["'][^\s"'`,)\]]+)*))"""
)
_ENDS = frozenset((b"|", b"||", b"&&", b";", b"&"))
_LOGIN = re.compile(rb"(?P<user>[^\s:%,/]{0,100})[:%,](?P<v>.+)", re.DOTALL)
_CONNECTION = re.compile(rb"""["']?[\w$#.-]{1,60}/(?P<v>"[^"]+"|[^\s/@"'][^\s@"']{0,100})(?=@)""")
_ECHO = re.compile(
    rb"""(?:echo|printf)[ ]+(?:-[neE]+[ ]+|["']%s(?:\\n)?["'][ ]+)?(?P<quote>["']?)(?:[^\s:"']{1,60}:)?(?P<v>(?:"""
    + MARKER
    + rb"""|[^\s"'|])+)(?P=quote)[ ]*\Z"""
)
_NO_USERS = frozenset((b"env", b"file", b"fd", b"stdin", b"http", b"https", b"ftp", b"sftp"))
_NO_LOGIN = re.compile(rb"\d{1,6}|root|staff|users|wheel|nogroup|//.*|/.*|\\.*", re.DOTALL)


def in_command(data: bytes, at: int) -> list[Span]:
    """Return the secrets in a command line.

    Args:
        data: The bytes.
        at: Where the name of the program begins.
    """
    name = _NAME.match(data, at)
    if name is None or _BEFORE.search(data, max(0, at - 1), at) is None:
        return []
    command = _BY_NAME.get(name[0].lower().removesuffix(b".exe"))
    return [] if command is None else _spans(data, _arguments(data, name.end()), command, at)


def in_login(data: bytes, at: int) -> list[Span]:
    """Return the password of an option that has a user and a password, whichever program it belongs to.

    Args:
        data: The bytes.
        at: Where the option begins.
    """
    at += data[at : at + 1] != b"-"
    is_quoted = data[at - 1 : at] in (b"'", b'"')
    name = _NAME.match(data, at)
    if name is None:
        return []
    if is_quoted:
        arguments = [(at, name.end()), *_arguments(data, name.end(), 1)]
    else:
        arguments = _arguments(data, at - 1, 2) if data[at - 1 : at] == b" " else []
    return _spans(data, arguments, _OTHER, at)


def in_pipe(data: bytes, at: int) -> list[Span]:
    """Return the password that a command writes into a pipe for another one, as in ``echo X | sudo -S``.

    Args:
        data: The bytes.
        at: Where the vertical bar is.
    """
    start = max(data.rfind(b"\n", 0, at) + 1, at - _LONGEST)
    echo = _ECHO.search(data, start, at)
    if echo is None or says_nothing(echo["v"]):
        return []
    return [Span(*echo.span("v"), LABEL, echo.start())]


_ARGUMENT = re.compile(
    rb"""\s{0,40}(?:[bru]?(?P<quote>\\{0,4}["'])(?P<v>(?:(?!(?P=quote))(?:[^\\\r\n]|\\[^\r\n]))*+)(?P=quote)|[\w$.>\[\]"'-]{1,80})"""
    rb"""\s{0,4}(?P<end>[,)])"""
)


def in_call(data: bytes, at: int, which: int) -> list[Span]:
    """Return the password in a call that has one among its arguments.

    Args:
        data: The bytes.
        at: Where the first argument begins.
        which: The number of the argument, from 0 on.
    """
    origin = at
    for number in range(which + 1):
        argument = _ARGUMENT.match(data, at, at + 1000)
        if argument is None:
            break
        at = argument.end()
        if number == which and argument["v"] and not says_nothing(argument["v"]):
            return [Span(*argument.span("v"), label=LABEL, origin=origin)]
        if argument["end"] == b")":
            break
    return []


def in_arguments(arguments: Sequence[bytes]) -> Iterator[tuple[int, int, int]]:
    """Yield which arguments of a process have a secret, and where in them it begins and ends."""
    for number, each in enumerate(arguments):
        name = re.split(rb"[/\\]", each)[-1].lower().removesuffix(b".exe")
        command = _BY_NAME.get(name)
        if command is not None:
            for which, start, end in _secrets(arguments[number + 1 :], command):
                yield number + 1 + which, start, end
    yield from _secrets(arguments, _OTHER)


def _spans(data: bytes, places: list[tuple[int, int]], command: Command, origin: int) -> list[Span]:
    texts = [data[start:end] for start, end in places]
    found = []
    for which, start, end in _secrets(texts, command):
        base = places[which][0]
        found.append(Span(base + start, base + end, LABEL, origin))
    return found


def _arguments(data: bytes, at: int, most: int = _MOST) -> list[tuple[int, int]]:
    """Return where the arguments behind a place are, without quotes around them, up to the next program's name."""
    limit = min(len(data), at + _LONGEST)
    comma = _IN_LIST.match(data, at, limit)
    pattern, at = (_ITEM, comma.end()) if comma is not None else (_WORD, at)
    found: list[tuple[int, int]] = []
    while len(found) < most and (match := pattern.match(data, at, limit)) is not None and match.end() > at:
        groups = match.groupdict()
        start, end = match.span(next(each for each in ("v", "quoted", "plain") if groups.get(each) is not None))
        if data[start:end] in _BY_NAME or (comma is None and data[start:end] in _ENDS):
            break
        found.append((start, end))
        at = match.end()
    return found


def _secrets(arguments: Sequence[bytes], command: Command) -> Iterator[tuple[int, int, int]]:
    if command.needs and command.needs.encode() not in arguments:
        return
    options, attached, logins = (each.encode().split() for each in (command.options, command.attached, command.logins))
    for which, text in enumerate(arguments):
        if command.connects and (found := _CONNECTION.match(text)) is not None:
            yield which, *found.span("v")
        for option in (*options, *attached, *logins):
            place = _value(arguments, which, option, is_alone=option not in attached)
            if place is None:
                continue
            number, start = place
            value = arguments[number][start:].rstrip(b"\r\n")
            if option in logins and not is_hidden(value):
                login = _LOGIN.fullmatch(value)
                if login is None or not _is_login(login["user"], login["v"], command):
                    continue
                start, value = start + login.start("v"), login["v"]
            if not says_nothing(value):
                yield number, start, start + len(value)


def _value(arguments: Sequence[bytes], which: int, option: bytes, *, is_alone: bool) -> tuple[int, int] | None:
    """Return in which argument the value of an option is, and where it begins there; None if it has none."""
    text = arguments[which]
    if text == option:
        return (which + 1, 0) if is_alone and which + 1 < len(arguments) else None
    if not text.startswith(option):
        return None
    rest = text[len(option) :]
    is_short = len(option) == 2 or not is_alone  # noqa: PLR2004 - a hyphen and a letter
    if rest[:1] != b"=" and not is_short:
        return None
    start = len(option) + (rest[:1] == b"=")
    return (which, start + (text[start : start + 1] in (b"'", b'"'))) if rest else None


def _is_login(user: bytes, password: bytes, command: Command) -> bool:
    if user.lower() in _NO_USERS or (command is _OTHER and (not user or _NO_LOGIN.fullmatch(password) is not None)):
        return False
    return user != password or command is not _OTHER


_LONGEST_ROWS = 16 * 1024
_MOST_ROWS = 200
_INSERT = re.compile(
    rb"(?i:(?:insert|replace)[ ](?:ignore[ ])?into)\s{1,4}[\w.\"'`\[\]]{1,120}\s{0,4}\((?P<columns>[^()]{1,2000})\)"
    rb"[^;()]{0,200}?(?i:values?)\s{0,4}(?=\()"
)
# An item of a row: a text in quotes, in which doubled and escaped quotes are part of it, or anything up to a comma.
_ROW_ITEM = re.compile(
    rb"""\s{0,40}(?:[NEBXbru]{0,2}(?P<quote>\\{0,4}['"])(?P<quoted>(?:(?!(?P=quote))(?:[^\\]|\\[^\r\n])|(?P=quote){2})*+)(?P=quote)"""
    rb"""|(?P<plain>(?:""" + MARKER + rb"""|%\(\w+\)s|[^,()'"]|\([^()]{0,200}\)){1,500}+))\s{0,40}(?P<end>[,)\]])"""
)
_NEXT_ROW = re.compile(rb"\s{0,4},\s{0,40}(?=\()")
_PARAMETERS = re.compile(rb"[^\r\n]{0,2000}?\]?\s{0,4}\[?parameters: \[?(?=\()")
_PLACEHOLDER = re.compile(rb"\?|%s|%\(\w+\)s|:\w+|\$\d+|@\w+|")


def in_insert(data: bytes, at: int) -> list[Span]:
    """Return the values of secret columns in the rows that a statement inserts.

    Args:
        data: The bytes.
        at: Where the statement begins.
    """
    insert = _INSERT.match(data, at)
    if insert is None:
        return []
    names = [each.strip(b" \t\r\n\"'`[]\\").decode("utf-8", "replace") for each in insert["columns"].split(b",")]
    kinds = [secret_kind(each) for each in names]
    if not any(kinds):
        return []
    found, end = _in_rows(data, insert.end(), kinds, at)
    parameters = _PARAMETERS.match(data, end) if not found else None
    return _in_rows(data, parameters.end(), kinds, at)[0] if parameters is not None else found


def _in_rows(data: bytes, at: int, kinds: list[str | None], origin: int) -> tuple[list[Span], int]:
    """Return the secrets in some rows, and where the rows end."""
    found: list[Span] = []
    for _ in range(_MOST_ROWS):
        items = list(_items(data, at + 1, min(len(data), at + _LONGEST_ROWS)))
        if not items:
            break
        for (start, end), kind in zip(items, kinds, strict=False):
            text = data[start:end]
            if kind is not None and not says_nothing(text) and _PLACEHOLDER.fullmatch(text) is None:
                found.append(Span(start, end, kind, origin))
        at = _end_of_row(data, items[-1][1])
        following = _NEXT_ROW.match(data, at)
        if following is None:
            break
        at = following.end()
    return found, at


def _items(data: bytes, at: int, limit: int) -> Iterator[tuple[int, int]]:
    """Yield where the items of a row are, without their quotes."""
    while (item := _ROW_ITEM.match(data, at, limit)) is not None:
        start, end = item.span("quoted" if item["quote"] is not None else "plain")
        yield start, start + len(data[start:end].rstrip())
        if item["end"] != b",":
            return
        at = item.end()


def _end_of_row(data: bytes, at: int) -> int:
    closing = data.find(b")", at, at + 100)
    return closing + 1 if closing >= 0 else at
