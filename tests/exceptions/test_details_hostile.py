"""Whatever an exception does while it is looked at, something is shown, and nothing is raised."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from supervisor._exceptions import error_details, safe_text
from supervisor._redaction import Redactor
from supervisor.models import ErrorDetails


def boom(*_: object) -> Any:
    """Raise what is no ordinary exception."""
    raise SystemExit(9)


class LoopError(Exception):
    """Its text never ends."""

    def __str__(self) -> str:
        return str(self)


class Meta(type):
    """Does not tell its name."""

    def __getattribute__(cls, name: str) -> Any:
        return boom() if name in ("__qualname__", "__module__", "__name__") else super().__getattribute__(name)


HOSTILE: dict[str, Any] = {
    "its text raises": type("E", (Exception,), {"__str__": boom, "__repr__": boom}),
    "its text never ends": LoopError,
    "its text is none": type("E", (Exception,), {"__str__": lambda _: 5}),
    "its notes raise": type("E", (Exception,), {"__notes__": property(boom)}),
    "its notes are none": type("E", (Exception,), {"__notes__": 5}),
    "its notes are a text": type("E", (Exception,), {"__notes__": "abc"}),
    "its notes are no texts": type("E", (Exception,), {"__notes__": [None, type("N", (), {"__str__": boom})()]}),
    "its notes lie of their number": type("E", (Exception,), {"__notes__": type("L", (list,), {"__len__": boom})()}),
    "its cause raises": type("E", (Exception,), {"__cause__": property(boom), "__context__": property(boom)}),
    "its cause is none": type("E", (Exception,), {"__cause__": 5, "__traceback__": 5, "__suppress_context__": 5}),
    "its attributes raise": type("E", (Exception,), {"__getattribute__": boom}),
    "its class is another": type("E", (Exception,), {"__class__": property(boom)}),
    "its own details raise": type("E", (Exception,), {"__supervisor_error_details__": boom}),
    "its own details are none": type("E", (Exception,), {"__supervisor_error_details__": lambda _: "none"}),
    "its own details are half": type(
        "E",
        (Exception,),
        {"__supervisor_error_details__": lambda _: ErrorDetails(type="X", message=None)},  # type: ignore[arg-type] # on purpose
    ),
    "its class has no name": Meta("E", (Exception,), {}),
    "its module is none": type("E", (Exception,), {"__module__": 5}),
    "its members raise": type("E", (ExceptionGroup,), {"exceptions": property(boom)}),
    "it is broken syntax": type("E", (SyntaxError,), {"lineno": property(boom), "text": 5}),
}


def raised(kind: Any) -> BaseException:
    """Raise one of a class, and return it."""
    group = issubclass(kind, BaseExceptionGroup)
    try:
        raise kind("several", [ValueError("one")]) if group else kind("text")
    except BaseException as error:
        return error


@pytest.mark.parametrize("redactor", [None, Redactor(["hunter2abc"])], ids=["plain", "redacted"])
@pytest.mark.parametrize("kind", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_exception_is_shown(kind: Any, redactor: Redactor | None) -> None:
    """Its place is shown, and as much of it as can be."""
    password = "hunter2abc"
    found = error_details(raised(kind), show_locals=True, redactor=redactor)
    assert isinstance(found, ErrorDetails)
    assert found.where.endswith("in raised") or found.type == "X"
    assert found.type
    assert found.fingerprint
    assert len(found.traceback) < 60_100
    assert all(isinstance(each, str) for each in found.notes)
    assert redactor is None or password not in repr(found)


@pytest.mark.parametrize("kind", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_exception_among_others(kind: Any) -> None:
    """Those around it are shown: its cause, what it caused, and its neighbours in a group."""
    hostile = raised(kind)
    BaseException.__dict__["__context__"].__set__(hostile, KeyError("before"))
    after = OSError("after")
    after.__cause__ = hostile
    trace = error_details(BaseExceptionGroup("several", [ValueError("first"), after, ValueError("last")])).traceback
    for text in ("ValueError: first", "KeyError: 'before'", "OSError: after", "ValueError: last"):
        assert text in trace


def test_no_memory_is_left() -> None:
    """MemoryError is shown like any other."""
    try:
        raise MemoryError
    except MemoryError as error:
        found = error_details(error)
    assert (found.type, found.message) == ("MemoryError", "")
    assert found.source == "raise MemoryError"


class BrokenRedactor(Redactor):
    """Stands for one that cannot do its work."""

    def text(self, text: str) -> str:
        """Fail."""
        raise MemoryError

    def value(self, key: str, value: Any) -> Any:
        """Fail."""
        raise MemoryError


def test_what_cannot_be_redacted_is_not_shown() -> None:
    """Rather than a secret, nothing is shown."""
    password = "hunter2abc"
    try:
        raise ValueError(f"password={password}")  # hunter2abc
    except ValueError as error:
        error.add_note(password)
        found = error_details(error, thread=password, show_locals=True, redactor=BrokenRedactor())
    assert (found.type, found.thread) == ("ValueError", "a thread")
    assert "hunter2" not in repr(found)
    assert found.fingerprint


def test_code_without_a_place() -> None:
    """Code that was made at run time, with impossible file names and numbers, has no lines to show."""
    for name in ("", "<string>", "x" * 5000, "a\udcffb", "/dev/null", "."):
        code = compile("\n\ndef f():\n    1 / 0\nf()", name, "exec")
        try:
            exec(code, {})
        except ZeroDivisionError as error:
            found = error_details(error, show_locals=True)
        assert found.where.endswith("in f") or len(found.where) == 300
        assert "ZeroDivisionError: division by zero" in found.traceback
    broken = compile("1 / 0", "x", "exec").replace(co_filename="a\0b", co_firstlineno=2**31 - 5)
    with pytest.raises(ZeroDivisionError) as caught:
        exec(broken, {})
    assert error_details(caught.value).type == "ZeroDivisionError"


def test_a_namespace_of_a_script_s_own() -> None:
    """A class body may run in any mapping; it is not asked."""

    class Space(dict[str, Any]):
        __iter__ = keys = items = values = boom

    with pytest.raises(ZeroDivisionError) as caught:
        exec("apn = 5\n1 / 0", {}, Space())
    assert error_details(caught.value, show_locals=True).local_variables == (("apn", "5"),)


def test_a_text_that_raises_has_a_stand_in() -> None:
    """Whatever ``str()`` raises, there is a text."""
    assert safe_text(raised(HOSTILE["its text raises"])).endswith("whose str() raised SystemExit>")
    assert safe_text(5) == "5"


def test_limits_of_recursion_are_survived() -> None:
    """An exception whose text recurses, taken where hardly any stack is left."""

    def deep(left: int) -> ErrorDetails:
        return deep(left - 1) if left else error_details(LoopError())

    depth, frame = 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    found = deep(sys.getrecursionlimit() - depth - 60)
    assert found.type.endswith("LoopError")
