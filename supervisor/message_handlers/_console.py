"""Messages on the console, for a person to read."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

import attrs

from supervisor._forks import delaying_forks
from supervisor._models import Kind
from supervisor._places import shows_colour
from supervisor._text import in_zone, localized, one_line, size, without_controls
from supervisor.errors import DeliveryError
from supervisor.message_handlers import _options
from supervisor.message_handlers._options import Destination

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor._models.values import Attachment, MessageDetails

_COLOURS = {
    Kind.FAILURE: "bold red",
    Kind.DIED: "bold red",
    Kind.STALLED: "bold yellow",
    Kind.OVERDUE: "bold yellow",
    Kind.MISSED: "bold yellow",
    Kind.SUCCESS: "bold green",
    Kind.WARNING: "bold yellow",
    Kind.RECOVERY: "bold green",
    Kind.SKIPPED: "dim",
}


@attrs.frozen(kw_only=True, eq=False)
class ConsoleHandler(Destination):
    """Prints messages: time, kind and subject on a line, below it the text and the attachments' names and sizes.

    It prints in colour on a terminal, unless ``NO_COLOR`` is set. Where there is no console (``sys.stdout`` is None
    under pythonw, or closed) it prints nothing, and characters that the console cannot show are replaced.

    Args:
        stream: The stream to print to; None means ``sys.stdout`` at the time of each message.
        kinds: The kinds to print; None prints all that the run sends.
        name: The handler's name in logs and in the outbox.
    """

    stream: TextIO | None = None
    kinds: frozenset[Kind] | None = attrs.field(default=None, converter=_options.kinds, validator=_options.only_kinds)
    name: str = "console"

    @property
    def _destination(self) -> tuple[object, ...]:
        return (id(self.stream) if self.stream is not None else None,)

    @property
    def _default_name(self) -> str:
        return "console"

    def send_message(self, details: MessageDetails, /) -> None:
        """Print one message.

        Raises:
            DeliveryError: The stream could not be written (a closed pipe).
        """
        stream = self.stream if self.stream is not None else sys.stdout
        if stream is None or getattr(stream, "closed", False):
            return
        try:
            _print(stream, details, self._last_line(details))
        except (OSError, ValueError, AttributeError) as error:
            raise DeliveryError(f"the console broke off: {error}", permanent=True) from error

    def _last_line(self, details: MessageDetails) -> str:  # noqa: ARG002 - what stands in for other handlers needs it
        """Return what to print below a message; "" for nothing."""
        return ""


def _print(stream: TextIO, details: MessageDetails, last_line: str) -> None:
    from supervisor._messages import zone_of  # a script that makes a handler does not load it

    with in_zone(zone_of(details.report)):
        time = f"{localized(details.created_at):%H:%M:%S}"
    subject = _showable(one_line(details.subject), stream)
    last = [f"    {one_line(last_line)}"] if last_line else []
    body = _showable("".join(f"{line}\n" for line in (*_body(details), *last)), stream)
    if shows_colour(stream):
        text = _coloured(stream, time, details, subject, body)
    else:
        text = f"{time}  {_word(details)}  {subject}\n{body}"
    with delaying_forks():
        stream.write(text)
        flush = getattr(stream, "flush", None)
        if flush is not None:
            flush()


def _body(details: MessageDetails) -> Iterator[str]:
    for line in details.message.splitlines():
        yield f"    {without_controls(line)}".rstrip()
    for attachment in details.attachments:
        yield f"    + {_attachment(attachment)}"


def _attachment(attachment: Attachment) -> str:
    """Return an attachment's name, size and note ("report.csv, 12 KB", "parcels.log, missing")."""
    facts = [one_line(attachment.name)]
    if attachment.size_bytes is not None:
        facts.append(size(attachment.size_bytes))
    if attachment.note:
        facts.append(attachment.note)
    return ", ".join(facts)


def _word(details: MessageDetails) -> str:
    """Return the kind of the message, and of a notice its level if that is another than info."""
    level = "" if details.style is details.kind else f" ({details.level})"
    return f"{details.kind}{level}".upper()


def _coloured(stream: TextIO, time: str, details: MessageDetails, subject: str, body: str) -> str:
    """Return the text with the terminal's codes for colours, which rich knows."""
    from rich.console import Console
    from rich.text import Text

    colour = _COLOURS.get(details.style, "bold cyan")
    text = Text.assemble((time, "dim"), "  ", (_word(details), colour), "  ", (subject, "bold"), "\n", body)
    console = Console(file=stream, soft_wrap=True, highlight=False)
    with console.capture() as printed:
        console.print(text, end="")
    return printed.get()  # not printed by rich, which would bypass the stream that a progress bar has put in between


def _showable(text: str, stream: Any) -> str:
    """Return the text with escapes for the characters that the stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
