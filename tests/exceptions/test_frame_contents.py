"""Local variables are shown in short, without running code of the script, and only when they are asked for."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import json
import pathlib
import sys
import threading
from dataclasses import dataclass, field
from decimal import Decimal
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import pytest

from supervisor._exceptions import error_details, script_name
from supervisor._exceptions.frame_contents import ValueFormatter
from supervisor._redaction import Redactor

FORMATTER = ValueFormatter(None)
REDACTING = ValueFormatter(Redactor())


class Color(enum.Enum):
    """Stands for a script's own words."""

    RED = 1


class Point(NamedTuple):
    """Stands for a script's own tuple."""

    x: int
    y: int


@attrs.frozen
class Parcel:
    """Stands for a script's own value, with slots."""

    apn: str
    owner: Any = None
    dsn: str = attrs.field(default="x", repr=False)


@dataclass
class Row:
    """Stands for a script's own record."""

    number: int
    key: str = field(default="x", repr=False)


class Hostile:
    """Ends the process when it is asked anything."""

    def __init__(self) -> None:
        self.size = 3

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(9)

    __repr__ = __str__ = __len__ = __iter__ = __hash__ = __eq__ = __bool__ = __getattribute__  # type: ignore[assignment] # on purpose


class HostileDict(dict[str, Any]):
    """The same for a container."""

    __iter__ = __len__ = __repr__ = items = keys = values = __getitem__ = Hostile.__getattribute__  # type: ignore[assignment] # as above


class HostileText(str):
    """The same for a text."""

    __slots__ = ()
    __str__ = __repr__ = __len__ = __hash__ = __eq__ = __getitem__ = Hostile.__getattribute__  # type: ignore[assignment] # as above


class HostileDate(dt.date):
    """The same for a date."""

    __str__ = __repr__ = isoformat = strftime = Hostile.__getattribute__  # type: ignore[assignment] # as above


PARCEL = f"{__name__}.Parcel"
SHOWN: list[tuple[Any, str]] = [
    (None, "None"),
    (True, "True"),
    (12, "12"),
    (1.5, "1.5"),
    (2j, "2j"),
    (10**400, "<int of 1,329 bits>"),
    (1 << 10_000_000, "<int of 10,000,001 bits>"),
    ("apn\n5", "'apn\\n5'"),
    (b"abc", "<bytes, 3 bytes>"),
    (bytearray(5), "<bytearray, 5 bytes>"),
    ([], "[]"),
    ({}, "{}"),
    (set(), "set()"),
    ([1, "a", None], "[1, 'a', None]"),
    ((1,), "(1,)"),
    ({1}, "{1}"),
    (frozenset({1}), "frozenset({1})"),
    ({"a": [1, 2]}, "{'a': [1, 2]}"),
    (collections.Counter("aa"), "collections.Counter({'a': 2})"),
    (collections.deque([1, 2]), "<collections.deque, 2 items>"),
    (list(range(1000)), "<list, 1,000 items>"),
    (dict.fromkeys(range(5000)), "<dict, 5,000 items>"),
    ([[[[[1]]]]], "[[[[<list, 1 item>]]]]"),
    (range(5), "range(0, 5)"),
    (dt.date(2026, 1, 31), "datetime.date(2026, 1, 31)"),
    (dt.timedelta(hours=1), "datetime.timedelta(seconds=3600)"),
    (Decimal("1.50"), "Decimal('1.50')"),
    (UUID(int=5), "UUID('00000000-0000-0000-0000-000000000005')"),
    (pathlib.PurePosixPath("/srv"), "PurePosixPath('/srv')"),
    (Color.RED, f"{__name__}.Color.RED"),
    (Point(1, 2), f"{__name__}.Point(x=1, y=2)"),
    (Parcel("1-2"), f"<{__name__}.Parcel apn='1-2', owner=None>"),
    (Parcel("1", Parcel("2")), f"<{PARCEL} apn='1', owner=<{PARCEL} apn='2', owner=None>>"),
    (Row(5), f"<{__name__}.Row number=5>"),
    (KeyError("apn"), "KeyError('apn')"),
    (json, "<module json>"),
    (json.dumps, "<function dumps>"),
    (len, "<builtin_function_or_method len>"),
    (Parcel, f"<class {__name__}.Parcel>"),
    (object(), "<object>"),
    (threading.Thread(), "<threading.Thread>"),
    (Hostile(), f"<{__name__}.Hostile size=3>"),
    (HostileDict(a=1), f"{__name__}.HostileDict({{'a': 1}})"),
    (HostileText("abc"), "'abc'"),
    (HostileDate(2026, 1, 31), "HostileDate(2026, 1, 31)"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), SHOWN, ids=[text[:40] for _, text in SHOWN])
def test_values_are_shown_in_short(value: Any, text: str) -> None:
    """Python's own values as they are, objects by their attributes, large ones by type and size."""
    assert FORMATTER.text("x", value) == text


def test_texts_are_bounded() -> None:
    """No value takes more than 200 characters, however large it is."""
    endless: list[Any] = []
    endless += [endless] * 40
    wide = {f"key {number}": ["x" * 1000] * 40 for number in range(40)}
    for value in ("x" * 10_000_000, ["x" * 1000] * 50, wide, endless, Parcel("y" * 5000)):
        assert 150 < len(FORMATTER.text("x", value)) <= 200 or value is endless


def test_a_hanging_repr_is_never_called() -> None:
    """An object that waits for a lock when it is printed does not hold up the report."""
    lock = threading.Lock()
    lock.acquire()

    class Waiting:
        def __repr__(self) -> str:
            lock.acquire()
            return "never"

    assert FORMATTER.text("x", [Waiting()]).endswith("Waiting>]")


def test_values_whose_name_tells_are_redacted() -> None:
    """By the variable's name, by a key, by an attribute's name, however deep; and by their look."""
    assert REDACTING.text("password", "hunter2abc") == "'[redacted: password]'"
    assert REDACTING.text("password", 123456) == "[redacted: password]"
    assert "hunter2abc" not in REDACTING.text("api_key", {"a": ["hunter2abc"]})
    assert "hunter2abc" not in REDACTING.text("settings", {"db": {"password": "hunter2abc", "user": "me"}})
    assert "'user': 'me'" in REDACTING.text("settings", {"db": {"password": "hunter2abc", "user": "me"}})
    assert "hunter2abc" not in REDACTING.text("x", type("Login", (), {})())
    login = Row(1)
    vars(login)["token"] = "hunter2abc"
    assert REDACTING.text("login", login) == f"<{__name__}.Row number=1, token='[redacted: token]'>"
    assert "hunter2abc" not in REDACTING.text("url", "postgresql://me:hunter2abc@db/x")


def test_objects_that_hide_a_secret_stay_hidden() -> None:
    """A class that says that it holds a secret is not looked into."""

    class SecretStr:
        def __init__(self) -> None:
            self.inside = "hunter2abc"

    assert FORMATTER.text("x", SecretStr()).endswith("SecretStr>")


def test_a_secret_is_redacted_before_it_is_cut() -> None:
    """One that reaches over the end of what is shown does not leave its beginning there."""
    shower = ValueFormatter(Redactor(["k9Q" * 30]))
    for before in range(100, 210, 7):
        assert "k9Qk9Q" not in shower.text("x", "y" * before + "k9Q" * 30)
        assert "k9Qk9Q" not in shower.text("x", ["y" * before, "k9Q" * 30])


def test_the_variables_of_the_place_are_shown(script: Any, details: Any) -> None:
    """Names and values in their order; modules, functions, classes and dunder names are left out."""
    source = """
        import json
        def load(apn, rows):
            import os
            number = len(rows)
            inner = lambda: 1
            class Own: pass
            __hidden__ = 1
            return rows[apn]
        def main(): load("1-2", [3, 4])
    """
    found = details(script(source)["main"], show_locals=True)
    assert found.local_variables == (("apn", "'1-2'"), ("rows", "[3, 4]"), ("number", "2"))
    assert details(script(source)["main"]).local_variables == ()


def test_module_variables_are_shown(script: Any, details: Any) -> None:
    """A script without functions has its variables in its module."""
    found = details(lambda: script("import json\napn = 5\napn / 0"), show_locals=True)
    assert found.local_variables == (("apn", "5"),)


def test_variables_of_other_frames_stand_in_the_traceback(script: Any, library: Any, details: Any) -> None:
    """Below the line of each frame of the script, but not of libraries, and not again of the place itself."""
    outer = library("lib/x.py", "def call(go):\n    inner = 1\n    return go()")
    source = "def main():\n    parcels = 5\n    call(lambda: work(1))\ndef work(row):\n    return row / 0"
    found = details(script(source, call=outer["call"])["main"], show_locals=True)
    assert "    call(lambda: work(1))\n      parcels = 5\n" in found.traceback
    assert "inner" not in found.traceback
    assert "      row = 1" not in found.traceback
    assert found.local_variables == (("row", "1"),)


def test_variables_of_a_cause_are_shown(script: Any, details: Any) -> None:
    """Where the first exception happened is what is looked for."""
    source = """
        def read(apn): return {}[apn]
        def main():
            try: read("1-2")
            except KeyError as error: raise ValueError("no parcels") from error
    """
    assert "      apn = '1-2'\n" in details(script(source)["main"], show_locals=True).traceback


def test_many_variables_are_bounded(script: Any, details: Any) -> None:
    """Thirty at the place, the last one says how many more; ten of each other frame."""
    many = "\n".join(f"    v{number} = {number}" for number in range(100))
    source = f"def main():\n{many}\n    work()\ndef work():\n{many}\n    1 / 0"
    found = details(script(source)["main"], show_locals=True)
    assert (len(found.local_variables), found.local_variables[-1]) == (30, ("...", "71 more"))
    assert "      v8 = 8\n      ... = 91 more\n" in found.traceback


def test_a_variable_that_cannot_be_shown(script: Any, monkeypatch: pytest.MonkeyPatch, details: Any) -> None:
    """It says so, and the others are shown."""

    class Lying:
        __slots__ = ("x",)
        __dict__ = property(lambda _: 1 / 0)  # on purpose

    found = details(script("def main():\n    a, b = Lying(), 2\n    1 / 0", Lying=Lying)["main"], show_locals=True)
    assert found.local_variables == (("a", "<it cannot be shown>"), ("b", "2"))


def test_the_variables_of_a_comprehension(script: Any, failing: Any) -> None:
    """What Python itself names has no name for a reader."""
    error = failing(script("def main(): return [1 / apn for apn in [0]]")["main"])
    assert not any(name.startswith(".") for name, _ in error_details(error, show_locals=True).local_variables)


def test_what_ipython_keeps_is_no_variable_of_a_notebook() -> None:
    """In a cell the variables of the script are shown, without In, Out and the like; elsewhere such names stay."""
    kept: dict[str, Any] = {"_ih": [""], "_oh": {}, "In": [""], "Out": {}, "exit": object(), "_": 1, "_i1": "x"}
    cell = "rows = 12\n_private = 5\n1 / 0\n"
    of_script = ["rows", "_private"]
    for commands, expected in (({"get_ipython": print}, of_script), ({}, [*kept, *of_script])):
        with pytest.raises(ZeroDivisionError) as caught:
            exec(compile(cell, "<cell>", "exec"), {**kept, **commands})
        shown = error_details(caught.value, show_locals=True).local_variables
        assert [name for name, _ in shown] == expected


@pytest.mark.parametrize(
    ("environment", "variables", "name"),
    [
        ({"JPY_SESSION_NAME": "/home/gis/County summary.ipynb"}, {}, "County summary"),
        ({}, {"__vsc_ipynb_file__": "/home/gis/parcels.ipynb"}, "parcels"),
        ({"JPY_SESSION_NAME": "console-1"}, {}, "notebook"),
        ({}, {}, "notebook"),
    ],
)
def test_a_run_in_a_notebook_is_called_after_it(
    environment: dict[str, str], variables: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is that of the notebook where its editor tells it, and never "ipykernel_launcher"."""
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    main = ModuleType("__main__")
    main.__file__ = "/usr/lib/python3/site-packages/ipykernel_launcher.py"
    vars(main).update(variables)
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert script_name() == name
