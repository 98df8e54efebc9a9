"""``supervisor migrate``: show how scripts of version 3 are written for version 4, or write them.

A script is read as a syntax tree, and only the places that change are replaced, so that all else stays as it is. Where
a message is filled in by more than plain assignments, the script keeps its calls and imports :mod:`supervisor.compat`.
"""

from __future__ import annotations

import ast
import re
import tokenize
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import attrs
import click

from supervisor._cli.completion_command import files
from supervisor._cli.shared import WRONG_USE, exit_codes, fail, line, print_problem, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMER_MODULES = ("supervisor", "supervisor.models", "supervisor.message_handlers", "supervisor.compat")
HANDLERS = ("EmailHandler", "SendGridHandler", "SlackHandler")
IN_COMPAT = frozenset({*HANDLERS, "ConsoleHandler", "MessageDetails", "MessageHandler", "Supervisor"})
_LINE_LENGTH = 100
_REQUIREMENT = re.compile(r"(?:agrc|ugrc)-supervisor(?![\w-])(?!>=4)")
_CODES = exit_codes(
    zero="the changes were shown or written, or there is nothing to change",
    two="wrong usage, or a file that cannot be read, parsed or written",
)


class Edit(NamedTuple):
    """A piece of a text that is replaced.

    Args:
        begin: Where it begins, in characters.
        end: Where it ends.
        text: What takes its place.
    """

    begin: int
    end: int
    text: str


@attrs.frozen
class Migration:
    """A script as version 4 has it.

    Args:
        text: The new text; the old one where nothing changes.
        remarks: What its author should know, each with a line number.
    """

    text: str
    remarks: tuple[tuple[int, str], ...] = ()


@click.command("migrate", epilog=_CODES)
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, shell_complete=files)
@click.option("--write", is_flag=True, help="Change the files, instead of showing the changes as a diff.")
def command(paths: tuple[str, ...], write: bool) -> None:
    """Show how scripts of version 3 are written for version 4.

    Handlers take their settings as keywords, `Supervisor()` is told to watch, and a message is given to `notify()`
    instead of being filled in. Where it is not sure that this does the same, only the import changes, to
    supervisor.compat.
    """
    changed = 0
    for path in paths:
        raw, text, encoding = _read(path)
        try:
            new = migrated(text)
        except SyntaxError as error:
            fail(f"{line(path)}:{error.lineno}: this is no Python: {error.msg}", WRONG_USE)
        changed += new.text != text
        if new.text != text and write:
            _write(path, new.text.encode(encoding), raw)
        elif new.text != text:
            click.echo(_diff(path, text, new.text), nl=False)
        for number, remark in new.remarks:
            print_problem(f"{line(path)}:{number}: {remark}", "note", "yellow")
    say(_summary(changed, len(paths), write=write))


def _summary(changed: int, count: int, *, write: bool) -> str:
    from supervisor._text import counted

    if not changed:
        return "Nothing to change."
    of = f"{changed} of {counted(count, 'file')}"
    return f"{of} changed." if write else f"{of} would change; --write changes them."


def _read(path: str) -> tuple[bytes, str, str]:
    """Return a file's bytes, its text with line ends as they are, and its encoding."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - the path is shown as it was typed
            raw = file.read()
        encoding, _ = tokenize.detect_encoding(BytesIO(raw).readline)
        return raw, raw.decode(encoding), encoding
    except OSError as error:
        fail(f"{line(path)} cannot be read: {error.strerror}", WRONG_USE)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        fail(f"{line(path)} cannot be read: {error}", WRONG_USE)


def _write(path: str, new: bytes, old: bytes) -> None:
    """Write a file in place, so that it keeps its mode and owner; after an error it is as it was."""
    try:
        with open(path, "r+b") as file:  # noqa: PTH123 - the path is shown as it was typed
            try:
                file.write(new)
                file.flush()
            except OSError:
                file.seek(0)
                file.write(old)
                raise
            finally:
                file.truncate()
    except OSError as error:
        fail(f"{line(path)} cannot be written: {error.strerror}", WRONG_USE)


def _diff(path: str, old: str, new: str) -> str:
    import difflib

    shown = difflib.unified_diff(old.splitlines(), new.splitlines(), path, path, lineterm="")
    return "".join(f"{each}\n" for each in shown)


# What changes


def migrated(text: str) -> Migration:
    """Return a script as version 4 has it.

    Raises:
        SyntaxError: It is no Python.
    """
    script = _Script.of(text)
    remarks = list(_remarks_on_requirements(script.tree))
    if not script.names:
        return Migration(text, tuple(remarks))
    edits = list(_edits_of_calls(script))
    messages = _messages(script)
    if messages is None:
        remarks.append((script.imports[0].lineno, "messages are filled in here and there, so only the import changes"))
        edits = list(_edits_of_imports(script, compat=True, dropped=()))
        return Migration(_replaced(text, edits), tuple(sorted(remarks)))
    for each in messages:
        edits += each.edits(script)
    still_used = _count(script.tree, script.local_names("MessageDetails")) - len(messages)
    dropped = ("MessageDetails",) if messages and not still_used else ()
    edits += _edits_of_imports(script, compat=False, dropped=dropped)
    remarks += _remarks_on_calls(script)
    return Migration(_replaced(text, edits), tuple(sorted(remarks)))


def _replaced(text: str, edits: Sequence[Edit]) -> str:
    for each in sorted(edits, reverse=True):
        text = text[: each.begin] + each.text + text[each.end :]
    return text


@attrs.frozen
class _Script:
    """A script, and what it calls the names of version 3.

    Args:
        text: Its text.
        tree: Its syntax tree.
        imports: The statements that import from supervisor, with names of version 3 or modules that have them.
        names: What the script writes ("Supervisor", "models.Supervisor"), with the name of version 3 that it means.
        starts: Where each line begins, in characters.
    """

    text: str
    tree: ast.Module
    imports: tuple[ast.ImportFrom, ...]
    names: dict[str, str]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> _Script:
        tree = ast.parse(text)
        found = [each for each in ast.walk(tree) if isinstance(each, ast.ImportFrom) and each.module in FORMER_MODULES]
        imports = tuple(each for each in found if any(alias.name in IN_COMPAT for alias in each.names))
        names = {alias.asname or alias.name: alias.name for each in imports for alias in each.names}
        names = {local: name for local, name in names.items() if name in IN_COMPAT}
        for module in _imported_modules(tree):
            names |= {f"{module}.{name}": name for name in IN_COMPAT}
        lengths = [len(each) for each in text.splitlines(keepends=True)]
        return cls(text, tree, imports, names, (0, *(sum(lengths[:at]) for at in range(1, len(lengths) + 1))))

    def at(self, number: int, column: int) -> int:
        """Return a place of the tree, a line and a column in bytes, in characters of the text."""
        start = self.starts[number - 1]
        whole = self.text[start : self.starts[number] if number < len(self.starts) else None]
        return start + len(whole.encode()[:column].decode())

    def begin(self, node: ast.expr | ast.stmt) -> int:
        return self.at(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt) -> int:
        return self.at(node.end_lineno or node.lineno, node.end_col_offset or 0)

    def source(self, node: ast.expr) -> str:
        return self.text[self.begin(node) : self.end(node)]

    def meaning(self, node: ast.expr) -> str:
        """Return the name of version 3 that an expression means, or ""."""
        return self.names.get(_dotted(node), "")

    def local_names(self, name: str) -> set[str]:
        return {local for local, meant in self.names.items() if meant == name}

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Yield the calls of what version 3 has, with the name."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and self.meaning(node.func):
                yield self.meaning(node.func), node


def _imported_modules(tree: ast.Module) -> Iterator[str]:
    """Yield what a script calls the modules that have the names of version 3."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "supervisor":
            yield from (each.asname or each.name for each in node.names if f"supervisor.{each.name}" in FORMER_MODULES)
        elif isinstance(node, ast.Import):
            yield from (each.asname or each.name for each in node.names if each.name in FORMER_MODULES[1:])


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{_dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def _count(tree: ast.AST, names: set[str]) -> int:
    """Return how often names are used."""
    return sum(_dotted(each) in names for each in ast.walk(tree) if isinstance(each, (ast.Name, ast.Attribute)))


# Calls


def _edits_of_calls(script: _Script) -> Iterator[Edit]:
    for name, call in script.calls():
        if name == "Supervisor" and not {each.arg for each in call.keywords} & {"handlers", "name", None}:
            yield from _edits_of_supervisor(script, call)
        elif name in HANDLERS:
            yield from _edits_of_handler(script, name, call)


def _edits_of_supervisor(script: _Script, call: ast.Call) -> Iterator[Edit]:
    """Name what stands in order, and ask for the watching that was the default."""
    parameters = ("handle_errors", "logger", "log_path")
    for parameter, argument in zip(parameters, call.args, strict=False):
        yield _before(script, argument, f"{parameter}=")
    if not call.args and not any(each.arg == "handle_errors" for each in call.keywords):
        at = script.end(call.func) + script.text[script.end(call.func) :].index("(") + 1
        yield Edit(at, at, "handle_errors=True" + (", " if call.keywords else ""))


def _edits_of_handler(script: _Script, name: str, call: ast.Call) -> Iterator[Edit]:
    """Unpack the settings, and name what stands behind them."""
    settings_name = f"{name.removesuffix('Handler').lower()}_settings"
    settings = call.args[0] if call.args and not isinstance(call.args[0], ast.Starred) else None
    for parameter, argument in zip(("client_name", "client_version"), call.args[1:], strict=False):
        yield _before(script, argument, f"{parameter}=")
    for keyword in call.keywords:
        if keyword.arg == settings_name:
            settings = keyword.value
            begin = script.at(keyword.lineno, keyword.col_offset)
            yield Edit(begin, script.begin(keyword.value), "")
    if settings is None:
        return
    security = ', security="none"' if name == "EmailHandler" else ""
    is_simple = isinstance(settings, (ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.Dict))
    begin, end = script.begin(settings), script.end(settings)
    yield Edit(begin, begin, "**" if is_simple else "**(")
    yield Edit(end, end, ("" if is_simple else ")") + security)


def _before(script: _Script, node: ast.expr, text: str) -> Edit:
    return Edit(script.begin(node), script.begin(node), text)


# Messages


@attrs.frozen
class _Message:
    """A message that is made, filled in and sent by statements of one block.

    Args:
        made: The statement that makes it.
        filled: The statements that fill it in.
        sent: The call of ``notify``.
        between: The statements in between that have to do with other things.
    """

    made: ast.Assign
    filled: tuple[ast.Assign, ...]
    sent: ast.Call
    between: tuple[ast.stmt, ...]

    def edits(self, script: _Script) -> Iterator[Edit]:
        """Give what is filled in to ``notify``; what may change on the way is kept under a name of its own."""
        yield _without(script, self.made)
        given: dict[str, str] = {}
        for each in self.filled:
            target = each.targets[0]
            name, _, attribute = _dotted(target).partition(".")
            if self._stays_the_same(each):
                given[attribute] = script.source(each.value)
                yield _with_blank_lines(script, _without(script, each))
            else:
                given[attribute] = f"{name}_{attribute}"
                yield Edit(script.begin(target), script.end(target), given[attribute])
        yield self._sending(script, given)

    def _sending(self, script: _Script, given: dict[str, str]) -> Edit:
        arguments = [given.get("subject", '""'), *([given["message"]] if "message" in given else ())]
        arguments += [f"attachments={given['attachments']}"] if "attachments" in given else []
        message = self.sent.args[0]
        begin, end = script.begin(message), script.end(message)
        one_line = ", ".join(arguments)
        indent = " " * self.sent.col_offset
        if len(indent) + len(script.source(self.sent.func)) + len(one_line) + 2 > _LINE_LENGTH or "\n" in one_line:
            one_line = "".join(f"\n{indent}    {each}," for each in arguments) + f"\n{indent}"
        return Edit(begin, end, one_line)

    def _stays_the_same(self, filled: ast.Assign) -> bool:
        """Return whether an expression has the same value at the end, so that it can move there."""
        later = [each for each in self.between if each.lineno > filled.lineno]
        if not later:
            return True
        plain = (ast.Constant, ast.Name, ast.Attribute, ast.JoinedStr, ast.FormattedValue, ast.Load)
        if not all(isinstance(each, plain) for each in ast.walk(filled.value)):
            return False
        used = {each.id for each in ast.walk(filled.value) if isinstance(each, ast.Name)}
        stored = {_dotted(each).partition(".")[0] for part in later for each in ast.walk(part) if _is_stored(each)}
        return not used & stored


def _is_stored(node: ast.AST) -> bool:
    return isinstance(node, (ast.Name, ast.Attribute)) and not isinstance(node.ctx, ast.Load)


def _messages(script: _Script) -> list[_Message] | None:
    """Return the messages of a script; None if one is used in another way than by statements of one block."""
    makers = [call for name, call in script.calls() if name == "MessageDetails" and not call.args and not call.keywords]
    found = []
    for block in _blocks(script.tree):
        for at, statement in enumerate(block):
            if isinstance(statement, ast.Assign) and any(statement.value is each for each in makers):
                message = _message(statement, block[at + 1 :])
                found += [message] if message else []
    names = {_dotted(each.made.targets[0]) for each in found}
    uses = sum(len(each.filled) + 2 for each in found)  # one makes it, and one sends it
    return found if len(found) == len(makers) and uses == _count(script.tree, names) else None


def _blocks(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                yield block


def _message(made: ast.Assign, following: list[ast.stmt]) -> _Message | None:
    name = _dotted(made.targets[0]) if len(made.targets) == 1 and isinstance(made.targets[0], ast.Name) else ""
    filled: list[ast.Assign] = []
    between: list[ast.stmt] = []
    for statement in following if name else ():
        sent = _sent(statement, name)
        if sent is not None:
            is_filled_twice = len({_dotted(each.targets[0]) for each in filled}) < len(filled)
            return None if is_filled_twice else _Message(made, tuple(filled), sent, tuple(between))
        if isinstance(statement, ast.Assign) and _fills_in(statement, name):
            filled.append(statement)
        elif _uses(statement, name) or isinstance(statement, (ast.Return, ast.Raise)):
            return None
        else:
            between.append(statement)
    return None


def _sent(statement: ast.stmt, name: str) -> ast.Call | None:
    """Return the call if a statement is ``something.notify(message)``."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr != "notify":
        return None
    return call if not call.keywords and len(call.args) == 1 and _dotted(call.args[0]) == name else None


def _fills_in(statement: ast.Assign, name: str) -> bool:
    """Return whether a statement is ``message.subject = ...``, or the same with the text or the attachments."""
    if len(statement.targets) != 1 or _uses(statement.value, name):
        return False
    return _dotted(statement.targets[0]) in {f"{name}.{each}" for each in ("subject", "message", "attachments")}


def _uses(node: ast.AST, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node))


def _without(script: _Script, statement: ast.stmt) -> Edit:
    """Take out a statement with its line; a comment behind it stays."""
    begin, end = script.begin(statement), script.end(statement)
    line_begin = script.starts[statement.lineno - 1]
    rest = script.text[end:].splitlines(keepends=True)[:1] or [""]
    if script.text[line_begin:begin].strip() or rest[0].strip():
        return Edit(begin, end + len(rest[0]) - len(rest[0].lstrip(" ")), "")
    return Edit(line_begin, end + len(rest[0]), "")


def _with_blank_lines(script: _Script, edit: Edit) -> Edit:
    """Take out the blank lines behind what is taken out as well, where one stands before it."""
    before = script.text[: edit.begin].splitlines()[-1:]
    if not before or before[0].strip():
        return edit
    end = edit.end
    for each in script.text[edit.end :].splitlines(keepends=True):
        if each.strip():
            break
        end += len(each)
    return edit._replace(end=end)


# Imports and remarks


def _edits_of_imports(script: _Script, *, compat: bool, dropped: Sequence[str]) -> Iterator[Edit]:
    """Import from :mod:`supervisor.compat` what the script uses, or from where version 4 has it."""
    moved = [alias for each in script.imports for alias in each.names if alias.name in IN_COMPAT]
    for at, statement in enumerate(script.imports):
        stay = [each for each in statement.names if each.name not in IN_COMPAT]
        new = {statement.module or "": stay}
        if compat:
            new["supervisor.compat"] = moved if at == 0 else []
        else:
            for each in statement.names:
                if each.name in IN_COMPAT and each.name not in dropped:
                    new.setdefault(_home(statement.module or "", each.name), []).append(each)
        if new != {statement.module: statement.names}:
            indent = " " * statement.col_offset
            texts = (f"{indent}from {module} import {_listed(names)}\n" for module, names in new.items() if names)
            yield _without(script, statement)._replace(text="".join(texts))


def _home(module: str, name: str) -> str:
    """Return the module of version 4 that has a name which a script imports from another one."""
    if module != "supervisor.compat":
        return module
    return "supervisor.message_handlers" if name.endswith("Handler") else "supervisor"


def _listed(names: Sequence[ast.alias]) -> str:
    return ", ".join(sorted(map(ast.unparse, names)))


def _remarks_on_calls(script: _Script) -> Iterator[tuple[int, str]]:
    for name, call in script.calls():
        if name == "EmailHandler" and (call.args or any(each.arg == "email_settings" for each in call.keywords)):
            yield (
                call.lineno,
                'security="none" sends unencrypted, as version 3 did; take it out where the server has STARTTLS',
            )
    for node in ast.walk(script.tree):
        if isinstance(node, ast.ClassDef) and any(script.meaning(each) == "MessageHandler" for each in node.bases):
            yield node.lineno, "the attachments of a message are Attachment objects now: use their .path"


def _remarks_on_requirements(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _REQUIREMENT.match(node.value):
            yield node.lineno, f"{node.value!r} asks for version 3: write 'agrc-supervisor>=4'"
