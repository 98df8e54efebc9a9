"""The line in which Python says what was raised."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

from supervisor._exceptions.chains import before, kind_of, trace_of
from supervisor._exceptions.guard import attempt
from supervisor._exceptions.plain import MESSAGE_LIMIT, fit, safe_text

if TYPE_CHECKING:
    from supervisor._redaction import Redactor

_LONGEST_CODE = 1_000
_LONGEST_NAME_ERROR = 1_000


def text_of(error: BaseException, redactor: Redactor | None) -> str:
    """Return the text of an exception; it may still have secrets, but none that quotes within quotes would hide.

    A ``KeyError`` and exceptions with several arguments quote what they are given, so their arguments are looked at
    before that.
    """
    text = None if redactor is None else attempt(_of_arguments, error, redactor, otherwise=None)
    return safe_text(error) if text is None else text


def _of_arguments(error: BaseException, redactor: Redactor) -> str | None:
    """Return a text that is made of arguments as Python makes it; None where they have no secrets, or it is not."""
    arguments = vars(BaseException)["args"].__get__(error)
    is_key = type(error).__str__ is KeyError.__str__ and len(arguments) == 1
    if not is_key and not (type(error).__str__ is BaseException.__str__ and len(arguments) > 1):
        return None
    clean = tuple(fit(each, MESSAGE_LIMIT, redactor) if type(each) is str else each for each in arguments)
    if all(one is other for one, other in zip(clean, arguments, strict=True)):
        return None
    return repr(clean[0] if is_key else clean)


def last_words(error: BaseException, redactor: Redactor | None) -> str:
    """Return an exception as Python says it below the traceback: type and text, for a syntax error with its place.

    Args:
        error: The exception.
        redactor: As for :func:`text_of`.
    """
    kind, text = kind_of(error), text_of(error, redactor)
    line = f"{kind}: {text}" if text else kind
    if issubclass(type(error), SyntaxError):
        return attempt(_syntax, error, line, otherwise=line)
    if sys.version_info >= (3, 12) and issubclass(type(error), (NameError, AttributeError, ImportError)):
        return attempt(_with_suggestion, error, line, otherwise=line)
    return line


def _syntax(error: SyntaxError, line: str) -> str:
    """Return the file, the line of code and the mark below it, as this version of Python shows them."""
    message = f"{kind_of(error)}: {safe_text(error.msg or '<no detail available>')}"
    if error.lineno is None:
        return message if error.filename is None else f"{message} ({error.filename})"
    if not isinstance(error.text, (str, type(None))) or len(error.text or "") > _LONGEST_CODE:
        return line
    # A new one, since Python looks at all of an exception's chain before it says a word.
    details = (error.filename, error.lineno, error.offset, error.text, error.end_lineno, error.end_offset)
    bare = SyntaxError("x", details if error.end_lineno is not None else details[:4])
    return "".join([*traceback.format_exception_only(bare)[:-1], message])


def _with_suggestion(error: BaseException, line: str) -> str:
    """Return the line with what was probably meant, as this version of Python guesses."""
    trace = trace_of(error)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if len(line) > _LONGEST_NAME_ERROR or trace is None or before(error) is not None:
        return line  # Python would look at the whole chain, however long that is
    whole = traceback.TracebackException(type(error), error, trace, lookup_lines=False, compact=True)
    said = next(iter(whole.format_exception_only())).rstrip("\n")
    return said if said.startswith(line) else line
