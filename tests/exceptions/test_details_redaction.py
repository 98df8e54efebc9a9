"""Planted secrets never come out: not in the text, the notes, the variables, the lines of code, chains or groups."""

from __future__ import annotations

import linecache
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planted import ALNUM, ANY_SECRET, WORD, Planted, private_key, surrounded, survives

from supervisor._exceptions import error_details, plain_value
from supervisor._exceptions.facts import fit, fit_line
from supervisor._redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REDACTOR = Redactor()
KNOWN = st.text("QXZ0123456789", min_size=12, max_size=40)  # no part of it is part of a marker
PLANTED = settings(deadline=None, max_examples=120, suppress_health_check=list(HealthCheck))


class TextError(Exception):
    """Says what it is given, as it is."""

    def __str__(self) -> str:
        return str(self.args[0])


def raised(error: BaseException) -> BaseException:
    """Give an exception a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def raised_by(function: Callable[[], object]) -> BaseException:
    """Call a function, and return what it raised, without the frames of the test, which hold what was planted."""
    try:
        function()
    except BaseException as error:
        trace = error.__traceback__
        assert trace is not None
        assert trace.tb_next is not None
        return error.with_traceback(trace.tb_next.tb_next)
    raise AssertionError("nothing was raised")


@contextmanager
def file_of(name: str, lines: list[str]) -> Iterator[None]:
    """Let code of this name have these lines, as Python sees them."""
    source = "\n".join(lines)
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        yield
    finally:
        del linecache.cache[name]


def texts_of(error: BaseException, redactor: Redactor = REDACTOR) -> str:
    """Return all texts of the details of an exception."""
    details = error_details(error, show_locals=True, redactor=redactor)
    assert details.fingerprint == error_details(error).fingerprint
    return "\n".join(
        [
            *(details.message, details.where, details.source, details.excerpt, details.traceback, details.thread),
            *details.notes,
            *(text for pair in details.local_variables for text in pair),
        ]
    )


@PLANTED
@given(
    surrounded(ANY_SECRET), st.sampled_from(["text", "key", "arguments", "note", "cause", "context", "group", "nested"])
)
def test_secrets_in_texts(planted: Planted, place: str) -> None:
    """Wherever in an exception a text is, what it holds is redacted; indentation in groups changes nothing."""
    text, secret = planted
    error: BaseException = TextError(text if place != "note" else "no rows")
    if place == "key":
        error = KeyError(text)
    if place == "arguments":
        error = ValueError(5, text)
    if place == "note":
        error.add_note(text)
    error = raised(error)
    outer = ValueError("outer")
    if place in ("cause", "context"):
        setattr(outer, f"__{place}__", error)
        error = outer
    if place in ("group", "nested"):
        error = BaseExceptionGroup("several", [KeyError("x"), error])
    if place == "nested":
        error = BaseExceptionGroup("several", [error, ValueError("last")])
    assert not survives(secret, texts_of(raised(error)))


@PLANTED
@given(surrounded(ANY_SECRET), st.integers(0, 3))
def test_secrets_in_variables(planted: Planted, depth: int) -> None:
    """As they are, within containers and within objects."""
    text, secret = planted
    value: Any = text
    for _ in range(depth):
        value = [1, value]

    def fail(held: Any) -> None:
        raise TextError("no rows")

    error = raised_by(lambda: fail(value))
    assert not survives(secret, texts_of(error))


@PLANTED
@given(WORD, st.sampled_from(["password", "api_key", "client_secret", "DB_TOKEN"]), st.integers(0, 2))
def test_secrets_that_a_name_tells(word: str, name: str, depth: int) -> None:
    """By the name of a variable, of a key, of an attribute."""
    value: Any = word
    for _ in range(depth):
        value = {"a": value, "b": [value]}
    holder = type("Holder", (), {})()
    setattr(holder, name, value)
    space = {name: value, "settings": {name: value}, "holder": holder}
    assert word not in texts_of(raised_by(lambda: exec(compile("1 / 0", "x.py", "exec"), {}, space)))


ONE_LINE = ANY_SECRET.filter(lambda planted: len(planted[0].splitlines()) == 1 and "\\" not in planted[0])


@PLANTED
@given(ONE_LINE, st.integers(1, 9), st.booleans())
def test_secrets_in_lines_of_code(planted: Planted, line: int, is_comment: bool) -> None:
    """In the line itself and in those around it: in the excerpt, the source and the traceback."""
    text, secret = planted
    lines = [f"    # {text}" if is_comment else f"    text = {text!r}", *["    # nothing"] * 9]
    lines.insert(line, "    1 / 0")
    whole = ["def main():", *lines, "main()"]
    with file_of("planted.py", whole):
        error = raised_by(lambda: exec(compile("\n".join(whole), "planted.py", "exec"), {}))
        assert not survives(secret, texts_of(error))


@PLANTED
@given(
    st.lists(st.text(ALNUM, min_size=64, max_size=64), min_size=4, max_size=50, unique=True),
    st.integers(0, 2),
    st.booleans(),
)
def test_a_private_key_in_the_code(body: list[str], between: int, is_before: bool) -> None:
    """A secret of many lines of which the excerpt shows a part, and which nothing tells there."""
    key = [*f'KEY = """{private_key("".join(body))}'.split("\n"), '"""']
    gap = ["# nothing"] * between
    lines = [*key, *gap, "1 / 0"] if is_before else ["1 / 0", *gap, *key]
    with file_of("key.py", lines):
        code = compile("\n" * lines.index("1 / 0") + "1 / 0", "key.py", "exec")
        details = error_details(raised_by(lambda: exec(code, {})), redactor=REDACTOR)
    assert not any(each in repr(details) for each in body)
    assert ">" in details.excerpt
    assert "1 / 0" in details.excerpt


def has_part(word: str, text: str) -> bool:
    """Tell whether six characters of a secret, or more, are in a text."""
    return any(word[at : at + 6] in text for at in range(len(word) - 5))


@PLANTED
@given(KNOWN, st.integers(100, 3000), st.integers(6, 11))
def test_secrets_at_the_border_of_a_cut(word: str, before: int, within: int) -> None:
    """A known secret, half of which would be cut off, leaves no half."""
    redactor, limit = Redactor([word]), 2 * (before + within)
    text = f"{'.' * before}{word}{'.' * 9000}"
    assert not has_part(word, fit(text, limit, redactor))
    assert not has_part(word, fit(f"{'.' * 9000}{word}{'.' * before}", limit, redactor))
    assert not has_part(word, fit_line(text, before + within, redactor))
    assert not has_part(word, plain_value("." * (1000 - within) + word, redactor=redactor))


@PLANTED
@given(KNOWN, st.integers(6, 11), st.sampled_from([100, 70_000, 79_000]))
def test_secrets_at_the_border_of_what_is_looked_at(word: str, within: int, size: int) -> None:
    """Of a huge text only the ends are looked at, and a secret at the border leaves nothing, whatever else there is."""
    other = "K" * size
    redactor = Redactor([word, other])
    behind = other.ljust(100_000 - len(word) + within, ".")
    text = f"{behind}{word}{'.' * 500_000}{word}{behind}"
    shown = fit(text, 60_000, redactor)
    assert not has_part(word, shown)
    assert len(shown) < 60_100
    assert not has_part(word, fit_line(text, 70_000, redactor))


def test_a_secret_that_is_quoted_twice() -> None:
    """An exception that quotes its arguments hides nothing from redaction."""
    for error in (KeyError("\n('password', 'hunter2abc')\n"), ValueError(5, "IDENTIFIED BY 'hunter2abc' \"")):
        assert "hunter2abc" not in texts_of(raised_by(partial(throw, error)))


def throw(error: BaseException) -> None:
    """Raise an exception."""
    raise error


def test_a_line_in_the_middle_of_a_private_key() -> None:
    """A file that was changed since may have anything at the place: the traceback shows no part of a key either."""
    body = [f"{number:02}" + "MIIEabc9" * 7 for number in range(30)]
    key = private_key("".join(each.ljust(64, "x") for each in body)).split("\n")
    with file_of("key.py", ['KEY = """', *key, '"""']):
        code = compile("\n" * 15 + "1 / 0", "key.py", "exec")
        text = texts_of(raised_by(lambda: exec(code, {})))
    assert "MIIE" not in text
    assert "[redacted" in text


@given(st.integers(1, 3), st.booleans())
def test_marks_do_not_tell_how_long_a_secret_is(count: int, is_secret: bool) -> None:
    """Where a line had a secret, nothing is underlined."""
    call = f"1 / len(connect(password='{'x7Q' * count if is_secret else ''}'))"
    source = f"def connect(password): return ''\nvalue = [{call}]"
    with file_of("c.py", source.split("\n")):
        error = raised_by(lambda: exec(compile(source, "c.py", "exec"), {}))
        details = error_details(error, redactor=Redactor())
    line = details.traceback.partition("c.py")[2]
    assert ("^^" in line) is not is_secret
    assert ("^^" in details.excerpt) is not is_secret


@given(st.lists(st.sampled_from(["rows", "1,204", "parcels.py", "key", "°"]), max_size=8).map(" ".join))
def test_a_text_without_secrets_is_not_changed(text: str) -> None:
    """Redaction removes nothing but secrets."""
    error = raised(TextError(text))
    plain, redacted = error_details(error), error_details(error, redactor=REDACTOR)
    assert plain == redacted


# Recorded values


def test_recorded_values_are_redacted_before_they_are_cut() -> None:
    """By their names and by their looks."""
    assert plain_value("hunter2abc", name="password", redactor=REDACTOR) == "[redacted: password]"
    assert plain_value(1234, name="password", redactor=REDACTOR) == "[redacted: password]"
    assert plain_value(1234, name="rows", redactor=REDACTOR) == 1234
    assert plain_value("x" * 990 + " token=hunter2abcdefgh", redactor=REDACTOR)[990:] == " token=[re"
    assert plain_value("y" * 3_000_000, name="api_key", redactor=REDACTOR) == "[redacted]"
    assert "hunter2abc" not in plain_value(["password=hunter2abc"], redactor=REDACTOR)


def test_recorded_values_without_a_redactor() -> None:
    """They are as they ever were."""
    assert plain_value("x" * 2_000) == "x" * 1_000
    assert plain_value(5) == 5
    assert plain_value(None) is None
    assert plain_value([1, 2]) == "[1, 2]"
