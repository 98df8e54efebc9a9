"""The program that ``supervisor run`` starts: how it joins the run, how it ended, and why it could not be started.

The failure that a message describes stands where a Python script has a traceback. How the run is shared:
``supervisor._run.join``.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from supervisor import _log
from supervisor._models import SUCCEEDED, Kind, Outcome
from supervisor._run.join import (
    JOURNALLED,
    LOCKED,
    NOTE,
    PROGRAM,
    RETRIED,
    RETRIES,
    TAKEN,
    TRIED_AGAIN,
    VARIABLE,
    VERSION,
    WARNS,
)
from supervisor._run.process_events import CommandError
from supervisor._text import duration, size

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from supervisor._models.values import ErrorDetails, RunReport

NOT_FOUND = 127
NOT_EXECUTABLE = 126
TIMED_OUT = 124
_KILLED = 128 + 9
"""As shells show it too when SIGKILL ends what they have started."""
_LINE_LIMIT = 300
_TEXT_LIMIT = 50_000
_OUTCOMES = {signal.SIGINT: Outcome.INTERRUPTED, signal.SIGTERM: Outcome.TERMINATED}
if hasattr(signal, "SIGHUP"):
    _OUTCOMES[signal.SIGHUP] = Outcome.TERMINATED
if hasattr(signal, "SIGBREAK"):
    _OUTCOMES[signal.SIGBREAK] = Outcome.TERMINATED


class ExitStatus(NamedTuple):
    """How a program ended.

    Args:
        code: Its exit code, or 128 plus the number of the signal that ended it, as in a shell.
        signal: The number of that signal; 0 if there was none.
        cpu_s: Processor seconds used by it and by the processes that it waited for; None if unknown.
        peak_memory_bytes: The highest memory use of one of these processes; None if unknown.
    """

    code: int
    signal: int = 0
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None


class CannotStartError(Exception):
    """A program could not be started.

    Args:
        code: The exit code of shells for it: 127 if the program does not exist, otherwise 126.
        reason: A short name for it ("command not found").
        evidence: What was looked for, and where.
    """

    def __init__(self, code: int, reason: str, evidence: str) -> None:
        super().__init__(f"{reason}: {evidence}")
        self.code = code
        self.reason = reason
        self.evidence = evidence


def shell_advice(program: str, shell: str) -> str:
    """Return what is wrong with a "program" that is a line for a shell, and how a shell gets it."""
    from shlex import quote

    return (
        f"there is no program of the name {program!r}. To let a shell read such a line: "
        f"supervisor run -- {shell} {quote(program)}"
    )


def failed_to_start(error: CannotStartError) -> CommandError:
    """Return the failure of a program that could not be started."""
    return CommandError(Outcome.FAILURE, error.code, _details(error.reason, error.evidence))


def stopped_before_start(stop_signal: int) -> CommandError:
    """Return the failure of a program that was not started because a signal to stop came first."""
    text = f"ended by {_signal_name(stop_signal)} before it was started"
    return CommandError(_OUTCOMES[signal.Signals(stop_signal)], 128 + stop_signal, _details(text))


def stopped_while_waiting(*, stop_signal: int, overdue: str, timed_out_after_s: float | None) -> CommandError:
    """Return the failure of a program that was to be started again, but the run was ended before that.

    Args:
        stop_signal: The signal to stop that we received; 0 for none.
        overdue: Why the run was interrupted for taking too long; "" if it was not.
        timed_out_after_s: Its time limit, if it reached that; otherwise None.
    """
    ended = ExitStatus(128 + stop_signal if stop_signal else 1)
    outcome, code, text = _outcome(ended, stop_signal, overdue, timed_out_after_s)
    return CommandError(outcome, code, _details(f"{text}, while it waited to try again"))


def failure_of(  # noqa: PLR0913 - the facts that decide on a failure
    ended: ExitStatus,
    *,
    stop_signal: int,
    overdue: str,
    timed_out_after_s: float | None,
    child: ChildReport | None,
    lines: Sequence[str],
    errors: Sequence[str],
    warn_exit_codes: Collection[int] = (),
    oom_limit_bytes: int | None = None,
) -> CommandError | None:
    """Return the failure of a program that has ended, or the warning that its exit code is; None if it succeeded.

    Args:
        ended: Its exit status.
        stop_signal: The signal to stop that we received and forwarded; 0 for none.
        overdue: Why it was interrupted for taking too long or stalling; "" if it was not.
        timed_out_after_s: Its time limit, if it reached that; otherwise None.
        child: Its own report, if it is a Python program that joined the run.
        lines: The last lines of its output.
        errors: The last lines that it wrote to stderr, of which one says in the subject what went wrong.
        warn_exit_codes: The exit codes that are a warning and no failure.
        oom_limit_bytes: How much memory its control group may have, if the kernel killed a process there meanwhile for
            want of it; otherwise None.
    """
    outcome, code, text = _outcome(ended, stop_signal, overdue, timed_out_after_s)
    if oom_limit_bytes is not None and code == _KILLED and outcome is Outcome.FAILURE:
        text += f" for want of memory, of which there may be {size(oom_limit_bytes)}"
    warned = child is not None and child.report.outcome is Outcome.WARNING and child.report.exit_code == code
    if ended.code and text == _exit_text(code) and (warned or code in warn_exit_codes):
        return CommandError(Outcome.WARNING, code, _details(text, telling_line(errors), lines))
    report = child.report if child is not None and child.report.outcome not in SUCCEEDED else None
    if report is None or report.outcome is None or report.error is None:
        return (
            None
            if outcome is Outcome.SUCCESS
            else CommandError(outcome, code, _details(text, telling_line(errors), lines))
        )
    error = report.error
    if overdue or timed_out_after_s is not None:
        error = attrs.evolve(error, type=text, message="")  # the program itself only knows that it was interrupted
    elif outcome in (Outcome.SUCCESS, Outcome.FAILURE):
        outcome = report.outcome
    return CommandError(outcome, code, attrs.evolve(error, fingerprint=_fingerprint(text, error.fingerprint)))


def _outcome(
    ended: ExitStatus, stop_signal: int, overdue: str, timed_out_after_s: float | None
) -> tuple[Outcome, int, str]:
    """Return outcome, exit code and description, as far as they can be seen from outside the program."""
    if timed_out_after_s is not None:
        return Outcome.FAILURE, TIMED_OUT, f"timed out after {duration(timed_out_after_s)}"
    if overdue:
        return Outcome.FAILURE, ended.code, f"interrupted: {overdue}"
    if stop_signal:
        return _OUTCOMES[signal.Signals(stop_signal)], ended.code, f"asked to end by {_signal_name(stop_signal)}"
    if ended.signal:
        return _OUTCOMES.get(ended.signal, Outcome.FAILURE), ended.code, f"killed by {_signal_name(ended.signal)}"  # type: ignore[call-overload]  # a signal is a number
    return Outcome.FAILURE if ended.code else Outcome.SUCCESS, ended.code, _exit_text(ended.code)


def _exit_text(code: int) -> str:
    return f"exit code {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _details(text: str, message: str = "", lines: Sequence[str] = ()) -> ErrorDetails:
    """Return a description and the last output as the error of a failure message."""
    from supervisor._models.values import ErrorDetails  # only a program that fails needs it

    output = "\n".join(lines)
    if len(output) > _TEXT_LIMIT:
        output = f"[...]\n{output[-_TEXT_LIMIT:].partition(chr(10))[2]}"
    return ErrorDetails(
        type=text,
        message=message[:_LINE_LIMIT],
        traceback=f"The last of its output:\n{output}" if output else "",
        fingerprint=_fingerprint(text),
    )


ERROR_LINES = 8
_RULER = re.compile(r"\W*")
_REMARK = re.compile(r"(?:[\w./-]+: )?(?:detail|hint|context|note|try)\b", re.IGNORECASE)


def telling_line(lines: Sequence[str]) -> str:
    """Return the last line that says what went wrong, of the last that a program wrote to stderr; "" for none.

    Rulers say nothing, and a remark ("pg_dump: detail: ...", "HINT: ...") belongs to the line before.
    """
    said = [line for line in lines if not _RULER.fullmatch(line)]
    return next((line for line in reversed(said) if not _REMARK.match(line.strip())), said[-1] if said else "")


def _fingerprint(*parts: str) -> str:
    """Return the text by which repeated failures are recognised: the same for equal failures.

    It differs from the fingerprint of a Python program's own error: the program holds back repeats from its own
    handlers, and ours are others.
    """
    import hashlib  # only a program that fails needs it

    return hashlib.sha256("\n".join(("command", *parts)).encode(errors="replace")).hexdigest()[:16]


# The run that it joins

_NEITHER = "-"
_LONGEST_NAME = 1_000  # the operating system limits the size of the environment


class ChildReport:
    """What a program that joined the run left behind at its end.

    Args:
        report: Its report on the run.
        attachments: The attachments for the message about the end.
        notified: The names of the handlers that it has notified of the end, by the kind of message.
    """

    __slots__ = ("attachments", "notified", "report")

    def __init__(
        self, report: RunReport, attachments: tuple[Any, ...], notified: Mapping[Kind, frozenset[str]]
    ) -> None:
        self.report = report
        self.attachments = attachments
        self.notified = notified


class SharedRun:
    """Lets the program that is about to start join the run, by an environment variable and a private directory.

    Args:
        id: The run's id.
        name: The run's name.
        is_journalled: Whether the run is in the journal.
        has_lock: Whether we already hold the lock that keeps other runs of the name from starting.
        warn_exit_codes: The exit codes that are a warning and no failure, which the program then has too.
        tries_again: After which exit codes the program is started again, () for all; None where it is not.
        has_retries: Whether we try again at all, so that the program does not do so too.
        retried: What the attempts before this one failed with, which the program's own messages tell.
    """

    def __init__(  # noqa: PLR0913 - one for each part of an offer
        self,
        *,
        id: str,  # noqa: A002 - the name of this value everywhere
        name: str,
        is_journalled: bool,
        has_lock: bool,
        warn_exit_codes: Sequence[int] = (),
        tries_again: Sequence[int] | None = None,
        has_retries: bool = False,
        retried: Sequence[ErrorDetails] = (),
    ) -> None:
        self._id = id
        self._directory = directory = _new_directory(id) if len(name) <= _LONGEST_NAME else None
        self.variables: dict[str, str] = {}
        if directory is not None:
            flags = JOURNALLED * is_journalled + LOCKED * has_lock + RETRIES * has_retries or _NEITHER
            flags += "".join(f"{WARNS}{code}" for code in warn_exit_codes)
            if tries_again is not None:
                flags += TRIED_AGAIN + ",".join(map(str, tries_again))
            fields = (VERSION, id, str(os.getpid()), flags, _to_hex(directory), _to_hex(name))
            self.variables[VARIABLE] = " ".join(fields)
            if retried:
                _write_retried(directory, retried)

    def announce(self, pid: int) -> None:
        """Write down which process the program is, so that it can join, and no other."""
        if self._directory is None:
            return
        path = os.path.join(self._directory, PROGRAM)  # noqa: PTH118 - pathlib costs 3 ms
        with suppress(OSError):
            # Under another name first: whoever reads it must not find it empty.
            with open(f"{path}.new", "xb") as file:  # noqa: PTH123 - pathlib costs 3 ms
                file.write(b"%d" % pid)
            os.replace(f"{path}.new", path)  # noqa: PTH105 - pathlib costs 3 ms

    def last_activity(self) -> int | None:
        """Return a number that changes whenever a program that has joined is active; None while none has joined."""
        if self._directory is None:
            return None
        try:
            return os.stat(os.path.join(self._directory, TAKEN)).st_mtime_ns  # noqa: PTH116, PTH118 - pathlib costs 3 ms
        except OSError:
            return None

    def report(self) -> ChildReport | None:
        """Return the report of a program that joined; None if it has not joined, or was killed."""
        if self._directory is None:
            return None
        try:
            with open(self._open_note(self._directory), "rb") as file:  # noqa: PTH123 - a descriptor
                data = file.read()
        except OSError:
            return None
        return self._read(data)

    def _open_note(self, directory: str) -> int:
        """Open the note, if both it and the directory are ours: others may be able to change what is around it.

        Raises:
            OSError: There is none, or it is somebody else's.
        """
        if sys.platform == "win32":
            return os.open(os.path.join(directory, NOTE), os.O_RDONLY | os.O_BINARY)  # noqa: PTH118 - a text
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = os.fstat(folder)
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise PermissionError("the directory of the offer is somebody else's")
            note = os.open(NOTE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        finally:
            os.close(folder)
        found = os.fstat(note)
        if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
            os.close(note)
            raise PermissionError("the note is somebody else's")
        return note

    def _read(self, data: bytes) -> ChildReport | None:
        from supervisor._models.values import Attachment, RunReport
        from supervisor._store.serialization import UnreadableError, load

        try:
            content = load(data)
            report = content["report"]
            notified = {Kind(kind): frozenset(map(str, names)) for kind, names in content["notified"].items()}
            attachments = tuple(
                each for each in content["attachments"] if isinstance(each, (str, os.PathLike, Attachment))
            )
        except (UnreadableError, ValueError, TypeError, LookupError, AttributeError) as error:
            _log.info("the report of a program that joined the run cannot be read: %s", error)
            return None
        if not isinstance(report, RunReport) or report.id != self._id or report.outcome is None:
            return None
        return ChildReport(report, attachments, notified)

    def close(self) -> None:
        """Remove the directory."""
        directory, self._directory = self._directory, None
        if directory is not None:
            for name in (TAKEN, NOTE, f"{NOTE}.new", PROGRAM, f"{PROGRAM}.new", RETRIED):
                with suppress(OSError):
                    os.unlink(os.path.join(directory, name))  # noqa: PTH108, PTH118 - pathlib costs 3 ms
            with suppress(OSError):
                os.rmdir(directory)  # noqa: PTH106 - pathlib costs 3 ms


def _write_retried(directory: str, retried: Sequence[ErrorDetails]) -> None:
    """Write down what earlier attempts failed with, before the program starts that reads it."""
    from supervisor._store.serialization import dump

    data = dump(list(retried))
    with suppress(OSError), open(os.path.join(directory, RETRIED), "xb") as file:  # noqa: PTH118, PTH123 - pathlib costs 3 ms
        file.write(data)


def _new_directory(run_id: str) -> str | None:
    """Return a new private directory, or None if none can be made; ``tempfile`` takes 5 ms to load."""
    places = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    for place in (*places, *(() if sys.platform == "win32" else ("/tmp", "/var/tmp"))):  # noqa: S108 - a new directory of our own
        if place and os.path.isabs(place) and _is_safe(place):  # noqa: PTH117 - pathlib costs 3 ms
            directory = os.path.join(place, f"supervisor-run-{run_id}-{os.urandom(8).hex()}")  # noqa: PTH118 - pathlib costs 3 ms
            with suppress(OSError, ValueError):
                os.mkdir(directory, 0o700)  # noqa: PTH102 - pathlib costs 3 ms
                return directory
    return None


def _is_safe(place: str) -> bool:
    """Tell whether a directory for temporary files is root's or this user's: its owner can swap what is in it."""
    if sys.platform == "win32":
        return True
    try:
        return os.stat(place).st_uid in {0, os.geteuid()}  # noqa: PTH116 - pathlib costs 3 ms
    except (OSError, ValueError):
        return False


def _to_hex(value: str) -> str:
    return value.encode("utf-8", "surrogatepass").hex()
