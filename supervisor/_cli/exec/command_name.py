"""The default name of the run of a command, and the file from which its configuration is looked for."""

from __future__ import annotations

import os
from typing import NamedTuple

_PYTHONS = {"python", "pythonw", "pypy", "py", "pyw"}
_INTERPRETERS = {
    *_PYTHONS,
    "sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "csh", "tcsh", "fish", "perl", "ruby", "node", "bun", "deno",
    "php", "rscript", "lua", "tclsh", "julia", "osascript", "pwsh", "powershell",
}  # fmt: skip
"""Programs that run the file given as their first argument, after options; a version may end their names."""

_BEFORE_ANOTHER = {
    "env": "-u --unset -C --chdir",
    "nice": "-n --adjustment",
    "ionice": "-c --class -n --classdata",
    "nohup": "",
    "setsid": "",
    "time": "-f --format -o --output",
    "timeout": "-k --kill-after -s --signal",
    "stdbuf": "-i -o -e",
    "chrt": "",
    "caffeinate": "-t -w",
    "sudo": "-u --user -g --group -h --host -p --prompt -C -D -R -T",
    "doas": "-u -C",
    "xvfb-run": "-n -s -e -f -p -w",
    "chronic": "",
}
"""Programs that run the rest of their command line, each with those of its options that take a value."""

_TAKE_A_NUMBER = {"timeout", "chrt"}
_RUNNERS = {"uv", "poetry", "pipenv", "pdm", "hatch", "rye", "pixi"}
_VALUES_OF_PYTHON = ("-W", "-X", "--check-hash-based-pycs")
_CODE = ("-c", "-e", "-s", "--eval", "-Command", "-")


class Target(NamedTuple):
    """The program or script that a command runs.

    Args:
        name: Its name, without folder and ending.
        file: Its file; None for a program that is looked for in ``PATH``.
    """

    name: str
    file: str | None


def target_of(command: tuple[str, ...]) -> Target:
    """Return the program or script that a command runs, behind programs like ``nice`` that only prepare it.

    ``/opt/jobs/backup.sh --full`` is "backup", ``python -u nightly.py`` is "nightly", ``python -m app.nightly`` is
    "nightly" too, ``nice -n 10 rsync -a x y`` is "rsync". Code on the command line has no name: ``sh -c '...'`` is
    "sh".

    Args:
        command: The program and its arguments.
    """
    words = list(command)
    while words:
        program = _stem(words[0])
        rest = _what_it_runs(program.lower(), words[1:])
        if rest is None:
            return _script(program, words[1:]) or Target(program or "command", _file(words[0], in_path=True))
        if not rest:
            return Target(program, None)
        words = rest
    return Target("command", None)


def _what_it_runs(program: str, arguments: list[str]) -> list[str] | None:
    """Return the command that a program like ``nice`` runs, or None for any other program."""
    if program in _RUNNERS and "run" in arguments[:1]:
        return _without_options(arguments[1:], ())
    values = _BEFORE_ANOTHER.get(program)
    if values is None:
        return None
    rest = _without_options(arguments, tuple(values.split()))
    if program == "env":
        while rest and "=" in rest[0]:
            rest.pop(0)
    return rest[1:] if program in _TAKE_A_NUMBER else rest


def _without_options(arguments: list[str], values: tuple[str, ...]) -> list[str]:
    """Return the arguments that follow the leading options and their values."""
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        if option in values and rest:
            rest.pop(0)
    return rest


def _script(program: str, arguments: list[str]) -> Target | None:
    """Return the script that an interpreter runs; None if there is none, or the program is no interpreter."""
    interpreter = program.lower().rstrip("0123456789.")
    is_python = interpreter in _PYTHONS
    if interpreter not in _INTERPRETERS:
        return None
    rest = list(arguments)
    while rest:
        first = rest.pop(0)
        if is_python and first.startswith("-m"):
            name = _module(first[2:] or next(iter(rest), ""))
            return Target(name, None) if name else None
        if first in _CODE:
            return None
        if not first.startswith("-"):
            name = _stem(first, is_script=True)
            return Target(name, _file(first, in_path=False)) if name else None
        if is_python and first in _VALUES_OF_PYTHON and rest:
            rest.pop(0)
    return None


def _module(name: str) -> str:
    """Return the last part of a module's name; for a package's ``__main__``, that of the package."""
    parts = [each for each in name.split(".") if each and each != "__main__"]
    return parts[-1] if parts else ""


def _stem(path: str, *, is_script: bool = False) -> str:
    """Return the name of a file without folder and ending; for a package's ``__main__.py``, the name of its folder."""
    folder, name = os.path.split(path.rstrip(os.sep))
    stem, dot, ending = name.rpartition(".")
    stem = stem if dot and stem and ending.isalpha() else name
    if is_script and stem == "__main__":
        return _stem(os.path.abspath(folder))  # noqa: PTH100 - pathlib costs 3 ms
    return stem.strip()


def _file(word: str, *, in_path: bool) -> str | None:
    """Return a word of the command if it is a file; None for a program that is looked for in ``PATH``."""
    if in_path and not os.path.dirname(word):  # noqa: PTH120 - pathlib costs 3 ms
        return None
    return word if os.path.isfile(word) else None  # noqa: PTH113 - pathlib costs 3 ms
