"""An exception as plain values: its message, place, notes, local variables, and the whole traceback as text.

Exceptions are read safely: their class may raise when it is examined.
"""

from __future__ import annotations

import sys
import traceback
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import attrs

from supervisor._exceptions.facts import (
    MESSAGE_LIMIT,
    TRACEBACK_LIMIT,
    bases_of,
    exit_code_of,
    fit,
    fit_line,
    safe_text,
    type_name,
)
from supervisor._exceptions.frame_contents import Sources, ValueFormatter, local_variables
from supervisor._exceptions.frames import (
    Frame,
    Origin,
    fingerprint,
    folded_frames,
    frames_of,
    origin_of,
)
from supervisor._models.values import ErrorDetails
from supervisor._text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from supervisor._exceptions.frames import Step
    from supervisor._redaction import Redactor

T = TypeVar("T")

# How an exception is read

CAUSE = "The above exception was the direct cause of the following exception:"
CONTEXT = "During handling of the above exception, another exception occurred:"
MOST_NOTES = 20

_MOST_LINKS = 20
_LONGEST_CHAIN = 10_000
# The class of an exception may override these attributes; the base class has the values that Python uses.
_TRACE, _CAUSE, _CONTEXT, _SUPPRESSED = (
    vars(BaseException)[name] for name in ("__traceback__", "__cause__", "__context__", "__suppress_context__")
)
_EXCEPTIONS = vars(BaseExceptionGroup)["exceptions"]


def safe_result(make: Callable[..., T], *arguments: Any, otherwise: T) -> T:
    """Return what a function returns, or another value if it raises.

    The function examines objects of the script, which may raise anything; memory or stack may be exhausted, too.

    Args:
        make: The function.
        arguments: Its arguments.
        otherwise: What is returned if it raises.
    """
    try:
        return make(*arguments)
    except BaseException:  # noqa: BLE001 - the run's boundary: a fault of a report must not replace the error itself
        return otherwise


class Link(NamedTuple):
    """One exception of a chain.

    Args:
        error: The exception.
        sentence: The text between it and the exception that it led to; "" for the last one.
    """

    error: BaseException
    sentence: str


def trace_of(error: BaseException) -> TracebackType | None:
    """Return the traceback of an exception."""
    trace: TracebackType | None = _TRACE.__get__(error)
    return trace


def group_of(error: BaseException) -> tuple[BaseException, ...] | None:
    """Return the exceptions of a group; None if it is no group."""
    if not issubclass(type(error), BaseExceptionGroup):
        return None
    errors: tuple[BaseException, ...] = _EXCEPTIONS.__get__(error)
    return errors


def chain_of(error: BaseException, seen: set[int]) -> list[Link]:
    """Return an exception and those that led to it, newest first; only the two ends of a long chain.

    Args:
        error: The newest exception.
        seen: The ids of exceptions that are not shown again; those of the chain are added.
    """
    links: list[Link] = [Link(error, "")]
    seen.add(id(error))
    while len(links) < _LONGEST_CHAIN:
        earlier = previous(error)
        if earlier is None or id(earlier.error) in seen:
            break
        seen.add(id(earlier.error))
        links.append(earlier)
        error = earlier.error
    if len(links) <= _MOST_LINKS:
        return links
    half = _MOST_LINKS // 2
    left_out = f"{links[half].sentence}\n\n[... {len(links) - _MOST_LINKS:,} exceptions between them left out ...]"
    return [*links[:half], links[-half]._replace(sentence=left_out), *links[-half + 1 :]]


def previous(error: BaseException) -> Link | None:
    """Return the exception that led to another one; None if none did or if it is suppressed."""
    cause = _CAUSE.__get__(error)
    if cause is not None:
        return Link(cause, CAUSE)
    context = None if _SUPPRESSED.__get__(error) else _CONTEXT.__get__(error)
    return None if context is None else Link(context, CONTEXT)


def notes_of(error: BaseException) -> list[str]:
    """Return the notes that were added with ``add_note``, at most twenty; if there are more, a last one says so."""
    notes = safe_result(_notes_attribute, error, otherwise=None)
    if notes is None:
        return []
    if not issubclass(type(notes), (list, tuple)):
        return [safe_text(notes)]
    size, texts = len(notes), [safe_text(each) for each in notes[:MOST_NOTES]]
    return texts if size <= MOST_NOTES else [*texts, f"... {size - MOST_NOTES:,} more notes"]


def _notes_attribute(error: BaseException) -> Any:
    """Return the notes of an exception or of its class."""
    return object.__getattribute__(error, "__notes__")


_LONGEST_CODE = 1_000
_LONGEST_MESSAGE = 100_000
_LONGEST_NAME_ERROR = 1_000


class Texts:
    """The names and messages of the exceptions in one report; each is read once, since that may run the script's code.

    Args:
        redactor: Removes secrets from arguments; None keeps them.
    """

    def __init__(self, redactor: Redactor | None) -> None:
        self.redactor = redactor
        self._names: dict[int, str] = {}
        self._messages: dict[int, str] = {}

    def name(self, error: BaseException) -> str:
        """Return the name of an exception's class; "exception" if its metaclass raises."""
        found = self._names.get(id(error))
        if found is None:
            found = self._names[id(error)] = safe_result(type_name, type(error), otherwise="exception")
        return found

    def message(self, error: BaseException) -> str:
        """Return the message of an exception, in which no secret is hidden by quoting.

        A ``KeyError`` and exceptions with several arguments show the ``repr`` of their arguments, so secrets are
        removed from the arguments first. Other secrets may still be in the message.
        """
        found = self._messages.get(id(error))
        if found is None:
            redactor = self.redactor
            text = None if redactor is None else safe_result(_of_arguments, error, redactor, otherwise=None)
            found = self._messages[id(error)] = safe_text(error) if text is None else text
        return found


def _of_arguments(error: BaseException, redactor: Redactor) -> str | None:
    """Return the message built from redacted arguments as Python does it; None if there is nothing to redact."""
    arguments = vars(BaseException)["args"].__get__(error)
    is_key = type(error).__str__ is KeyError.__str__ and len(arguments) == 1
    if not is_key and not (type(error).__str__ is BaseException.__str__ and len(arguments) > 1):
        return None
    clean = tuple(fit(each, MESSAGE_LIMIT, redactor) if type(each) is str else each for each in arguments)
    if all(one is other for one, other in zip(clean, arguments, strict=True)):
        return None
    return repr(clean[0] if is_key else clean)


def exception_text(error: BaseException, texts: Texts) -> str:
    """Return an exception as Python shows it below the traceback: type and message, and the place of a syntax error."""
    kind, text = texts.name(error), texts.message(error)
    if len(text) > _LONGEST_MESSAGE:
        text = fit(text, MESSAGE_LIMIT, texts.redactor)
    line = f"{kind}: {text}" if text else kind
    if issubclass(type(error), SyntaxError):
        return safe_result(_syntax, error, kind, line, otherwise=line)
    if sys.version_info >= (3, 12) and issubclass(type(error), (NameError, AttributeError, ImportError)):
        return safe_result(_with_suggestion, error, line, otherwise=line)
    return line


def _syntax(error: SyntaxError, kind: str, line: str) -> str:
    """Return the file, the source line and the marks of a syntax error, as this version of Python shows them."""
    message = f"{kind}: {safe_text(error.msg or '<no detail available>')}"
    if error.lineno is None:
        return message if error.filename is None else f"{message} ({error.filename})"
    if not isinstance(error.text, (str, type(None))) or len(error.text or "") > _LONGEST_CODE:
        return line
    # A new exception, since Python would examine the whole chain of the original one.
    details = (error.filename, error.lineno, error.offset, error.text, error.end_lineno, error.end_offset)
    bare = SyntaxError("x", details if error.end_lineno is not None else details[:4])
    return "".join([*traceback.format_exception_only(bare)[:-1], message])


def _with_suggestion(error: BaseException, line: str) -> str:
    """Return the line with a suggestion of what was meant, as this version of Python makes it."""
    trace = trace_of(error)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if len(line) > _LONGEST_NAME_ERROR or trace is None or previous(error) is not None:
        return line  # Python would examine the whole chain, which may be very long
    whole = traceback.TracebackException(type(error), error, trace, lookup_lines=False, compact=True)
    text = next(iter(whole.format_exception_only())).rstrip("\n")
    return text if text.startswith(line) else line


# Its details

OWN_DETAILS = "__supervisor_error_details__"

_NOTE_LIMIT = 1_000
_NAME_LIMIT = 300
_REASON_LIMIT = 200
_ROOM = 2 * TRACEBACK_LIMIT  # a longer traceback is not written, since it would be cut
_MOST_IN_GROUP = 15  # the limits of Python's own tracebacks
_DEEPEST_GROUP = 10
_MOST_VARIABLES = 10
_MOST_MEMBERS = 1_000  # of a group, those whose types are compared with what handlers ask for
_GAVE_UP = "tenacity.RetryError"  # its own message says only that, and its cause what the last attempt failed with
_CLOSING = "+------------------------------------"


def details_of(error: BaseException, thread: str, redactor: Redactor | None, *, show_locals: bool) -> ErrorDetails:
    """Return an exception as plain values; see :func:`supervisor._exceptions.error_details`."""
    texts = Texts(redactor)
    kind = texts.name(error)
    attempted = _CAUSE.__get__(error) if kind == _GAVE_UP else None
    inner = None if attempted is None else trace_of(attempted)
    origin = safe_result(origin_of, trace_of(error), kind, inner, otherwise=Origin())
    own = safe_result(_own_details, error, origin.frames, thread, redactor, otherwise=None)
    if own is not None:
        return own
    bases, some_bases = _lineage(error)
    place, sources, nothing = origin.innermost, Sources(redactor), ("", "")
    source, excerpt = nothing if place is None else safe_result(sources.excerpt, place, otherwise=nothing)
    writer = TracebackWriter(sources, texts, origin.package, place if show_locals else None)
    return ErrorDetails(
        type=kind,
        message=safe_result(_message, error, attempted, texts, otherwise="<its text cannot be shown>"),
        where=safe_result(_line, origin.location, redactor, otherwise=""),
        source=source,
        excerpt=excerpt,
        notes=safe_result(_notes, error, redactor, otherwise=()),
        local_variables=safe_result(_variables, place, redactor, otherwise=()) if show_locals else (),
        traceback=safe_result(writer.write, error, origin.frames, otherwise=f"{kind}: its traceback cannot be shown"),
        thread=safe_result(_line, thread, redactor, otherwise="a thread"),
        fingerprint=origin.fingerprint,
        bases=bases,
        some_bases=some_bases,
    )


def _lineage(error: BaseException) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what ``errors`` and ``not_errors`` of handlers compare: ``bases`` and ``some_bases`` of the details."""
    own = _bases(error)
    members = [set(_bases(each)) for each in islice(_leaves(error, 0), _MOST_MEMBERS)]
    if not members:
        return own, ()
    common, some = set.intersection(*members), set.union(*members)
    return tuple(dict.fromkeys((*own, *sorted(common)))), tuple(sorted(some - common - set(own)))


def _bases(error: BaseException) -> tuple[str, ...]:
    nothing: tuple[str, ...] = ()
    return safe_result(bases_of, type(error), otherwise=nothing)


def _leaves(error: BaseException, depth: int) -> Iterator[BaseException]:
    """Yield the exceptions in a group and in the groups within it, ten deep; none for what is no group."""
    for each in (group_of(error) or ()) if depth < _DEEPEST_GROUP else ():
        if group_of(each) is None:
            yield each
        else:
            yield from _leaves(each, depth + 1)


def _message(error: BaseException, attempted: BaseException | None, texts: Texts) -> str:
    """Return the message of an error, or else the last attempt's error before it; "" for none."""
    if attempted is not None:
        text = f"{texts.name(attempted)}: {texts.message(attempted)}"
        return fit(text, MESSAGE_LIMIT, texts.redactor)
    text = texts.message(error)
    code = exit_code_of(error)
    if code and text == str(code) and (reason := _reason_of_exit(error, texts)):
        text = f"{text} after {reason}"
    return fit(text, MESSAGE_LIMIT, texts.redactor) if text else ""


def _reason_of_exit(error: BaseException, texts: Texts) -> str:
    """Return the exception for which a script exits ("KeyError 'apn'"), in one line; "" without one."""
    for earlier, _ in chain_of(error, set())[1:]:
        if exit_code_of(earlier) is None:
            return one_line(f"{texts.name(earlier)} {texts.message(earlier)}", _REASON_LIMIT).strip()
    return ""


def _line(text: str, redactor: Redactor | None) -> str:
    return fit_line(text, _NAME_LIMIT, redactor) if text else ""


def _notes(error: BaseException, redactor: Redactor | None) -> tuple[str, ...]:
    return tuple(fit(each, _NOTE_LIMIT, redactor) for each in notes_of(error))


def _variables(place: Frame | None, redactor: Redactor | None) -> tuple[tuple[str, str], ...]:
    """Return the local variables of the innermost frame if it belongs to the script."""
    if place is None or not place.is_script:
        return ()
    return tuple(local_variables(place.trace.tb_frame, ValueFormatter(redactor)))


def _own_details(
    error: BaseException, frames: Sequence[Frame], thread: str, redactor: Redactor | None
) -> ErrorDetails | None:
    """Return the details that an exception's class provides itself; None if it provides none."""
    provide = getattr(type(error), OWN_DETAILS, None)
    details = provide(error) if callable(provide) else None
    if not isinstance(details, ErrorDetails):
        return None
    bases, some_bases = (details.bases, details.some_bases) if details.bases else _lineage(error)
    return attrs.evolve(
        _redacted_details(details, redactor),
        bases=bases,
        some_bases=some_bases,
        thread=_line(thread or details.thread, redactor),
        fingerprint=details.fingerprint or fingerprint(details.type, frames),
    )


def _redacted_details(details: ErrorDetails, redactor: Redactor | None) -> ErrorDetails:
    """Return details without secrets, each text within its usual limit."""
    if redactor is not None:
        from supervisor._redaction.run_redactor import redacted_error

        details = redacted_error(redactor, details)
    return attrs.evolve(
        details,
        message=fit(details.message, MESSAGE_LIMIT, redactor),
        where=_line(details.where, redactor),
        source=_line(details.source, redactor),
        excerpt=fit(details.excerpt, MESSAGE_LIMIT, redactor),
        notes=tuple(fit(each, _NOTE_LIMIT, redactor) for each in details.notes),
        local_variables=tuple((name, fit(text, _NOTE_LIMIT, redactor)) for name, text in details.local_variables),
        traceback=fit(details.traceback, TRACEBACK_LIMIT, redactor),
    )


# Its traceback


class TracebackWriter:
    """Writes the traceback of one exception as Python does, with its chain and groups, but bounded and folded.

    Args:
        sources: Where lines of source code come from.
        texts: The names and messages of the exceptions; with what removes secrets from the part of each exception
            before it is cut or indented.
        own: The installed package that is the script itself; "" for none.
        without_variables: The frame whose variables are shown elsewhere; None shows no variables at all.
    """

    def __init__(self, sources: Sources, texts: Texts, own: str, without_variables: Frame | None = None) -> None:
        self._sources = sources
        self._texts = texts
        self._redactor = texts.redactor
        self._formatter = ValueFormatter(texts.redactor)
        self._own = own
        self._without_variables = without_variables
        self._seen: set[int] = set()
        self._room = _ROOM

    def write(self, error: BaseException, frames: Sequence[Frame]) -> str:
        """Return the traceback.

        Args:
            error: The exception.
            frames: Its frames.
        """
        lines: list[str] = []
        self._chain(error, 0, lines, frames)
        # All parts are redacted already, and only a very long chain or group exceeds the limit.
        return fit("\n".join(lines), TRACEBACK_LIMIT, None).rstrip()

    def _chain(self, error: BaseException, depth: int, out: list[str], frames: Sequence[Frame] | None = None) -> bool:
        """Write an exception and those that led to it; return whether it ended with the closing line of a group.

        The newest is written first, so that the oldest is left out when there is no more room.
        """
        parts: list[list[str]] = []
        is_closed = False
        for number, link in enumerate(chain_of(error, self._seen)):
            part: list[str] = []
            closes = self._one(link.error, depth, part, frames if number == 0 else None)
            is_closed = is_closed or (closes and number == 0)
            if link.sentence:
                _emit(["", *link.sentence.split("\n"), ""], depth, part)
            parts.append(part)
            if self._room <= 0:
                break
        for part in reversed(parts):
            out += part
        return is_closed

    def _one(self, error: BaseException, depth: int, out: list[str], frames: Sequence[Frame] | None) -> bool:
        """Write one exception, with its members if it is a group; return whether a group's closing line ended it."""
        group = group_of(error)
        if group is not None and depth > _DEEPEST_GROUP:
            _emit([f"... (groups deeper than {_DEEPEST_GROUP} are left out)"], depth, out)
            return False
        if frames is None:
            frames = safe_result(frames_of, trace_of(error), self._own, otherwise=list[Frame]())
        text = self._block(error, frames, "Exception Group Traceback" if group is not None else "Traceback")
        self._room -= len(text)
        if group is None:
            _emit(text.split("\n"), depth, out)
            return False
        is_outermost = depth == 0
        depth = max(depth, 1)
        _emit(text.split("\n"), depth, out, "+" if is_outermost and frames else "|")
        self._members(group, depth, out)
        return True

    def _members(self, group: Sequence[BaseException], depth: int, out: list[str]) -> None:
        """Write the exceptions of a group, as many as there is room for, and its closing line."""
        is_closed = False
        for number, error in enumerate(group):
            is_shown = number < _MOST_IN_GROUP and self._room > 0
            title = f"+---------------- {number + 1 if is_shown else '...'} ----------------"
            out.append(f"{'  ' * depth}{'  ' if number else '+-'}{title}")
            if not is_shown:
                left_out = len(group) - number
                _emit([f"and {left_out:,} more exception{'' if left_out == 1 else 's'}"], depth + 1, out)
                is_closed = False
                break
            is_closed = self._chain(error, depth + 1, out)
        if not is_closed:
            out.append(f"{'  ' * (depth + 1)}{_CLOSING}")

    def _block(self, error: BaseException, frames: Sequence[Frame], title: str) -> str:
        """Return one exception with its own traceback, without secrets."""
        unknown = f"{self._texts.name(error)}: its text cannot be shown"
        steps: Sequence[Step] = safe_result(folded_frames, frames, otherwise=frames[-1:])
        last_lines = safe_result(self._last_lines, error, otherwise=unknown)
        text = self._joined(steps, title, last_lines, marked=True)
        clean = safe_result(self._redacted, text, otherwise=unknown)
        if clean is text or clean is unknown or "^" not in text:
            return clean
        # A line whose secret was replaced must not be underlined: the marks would show how long the secret was.
        text = self._joined(steps, title, last_lines, marked=False)
        return safe_result(self._redacted, text, otherwise=unknown)

    def _redacted(self, text: str) -> str:
        return text if self._redactor is None else self._redactor.text(text)

    def _last_lines(self, error: BaseException) -> str:
        """Return what is below the frames: the type and message of an exception, and its notes."""
        texts = [exception_text(error, self._texts), *notes_of(error)]
        return "\n".join(
            fit(each, MESSAGE_LIMIT, self._redactor) if len(each) > MESSAGE_LIMIT else each for each in texts
        )

    def _joined(self, steps: Sequence[Step], title: str, last_lines: str, *, marked: bool) -> str:
        if not steps:
            return last_lines
        lines = [f"{title} (most recent call last):"]
        for each in steps:
            lines += self._sources.step_lines(each, marked=marked)
            lines += safe_result(self._variables, each, otherwise=[])
        return "\n".join([*lines, last_lines])

    def _variables(self, step: Step) -> list[str]:
        shown_elsewhere = self._without_variables
        if shown_elsewhere is None or not isinstance(step, Frame) or not step.is_script:
            return []
        if step.trace is shown_elsewhere.trace:
            return []
        found = local_variables(step.trace.tb_frame, self._formatter, _MOST_VARIABLES)
        return [f"      {name} = {text}" for name, text in found]


def _emit(lines: Sequence[str], depth: int, out: list[str], first_margin: str = "|") -> None:
    """Append lines, each after the margin that shows how deep in groups they are."""
    if not depth:
        out += lines
        return
    margin = f"{'  ' * depth}| "
    for number, line in enumerate(lines):
        out.append(f"{margin}{line}" if number or first_margin == "|" else f"{'  ' * depth}{first_margin} {line}")
