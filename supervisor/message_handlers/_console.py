"""Messages on the console, for a person to read."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

import attrs

from supervisor._forks import delaying_forks
from supervisor._models.kinds import Kind
from supervisor._terminal import shows_colour
from supervisor._text import one_line, size, without_controls
from supervisor.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor._models.values import Attachment, MessageDetails

_COLOURS = {
    Kind.FAILURE: "bold red",
    Kind.DIED: "bold red",
    Kind.STALLED: "bold yellow",
    Kind.OVERDUE: "bold yellow",
    Kind.MISSED: "bold yellow",
    Kind.SUCCESS: "bold green",
    Kind.RECOVERY: "bold green",
}


def _kinds(kinds: Iterable[str]) -> frozenset[Kind]:
    return frozenset(Kind(each) for each in kinds)


@attrs.frozen(kw_only=True)
class ConsoleHandler:
    """Prints messages: time, kind and subject on a line, below it the text and the attachments' names and sizes.

    It prints in colour on a terminal, unless ``NO_COLOR`` is set. Where there is no console (``sys.stdout`` is None
    under pythonw, or closed) it prints nothing, and characters that the console cannot show are replaced.

    Args:
        stream: The stream to print to; None means ``sys.stdout`` at the time of each message.
        kinds: The kinds to print; None prints all that the run sends.
        name: The handler's name in logs and in the outbox.
    """

    stream: TextIO | None = None
    kinds: frozenset[Kind] | None = attrs.field(default=None, converter=attrs.converters.optional(_kinds))
    name: str = "console"

    def send_message(self, details: MessageDetails, /) -> None:
        """Print one message.

        Raises:
            DeliveryError: The stream could not be written (a closed pipe).
        """
        stream = self.stream if self.stream is not None else sys.stdout
        if stream is None or getattr(stream, "closed", False):
            return
        try:
            _print(stream, details)
        except (OSError, ValueError, AttributeError) as error:
            raise DeliveryError(f"the console broke off: {error}", permanent=True) from error


def _print(stream: TextIO, details: MessageDetails) -> None:
    time = f"{details.created_at.astimezone():%H:%M:%S}"
    subject = _showable(one_line(details.subject), stream)
    body = _showable("".join(f"{line}\n" for line in _body(details)), stream)
    if shows_colour(stream):
        text = _coloured(stream, time, details.kind, subject, body)
    else:
        text = f"{time}  {details.kind.upper()}  {subject}\n{body}"
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


def _coloured(stream: TextIO, time: str, kind: Kind, subject: str, body: str) -> str:
    """Return the text with the terminal's codes for colours, which rich knows."""
    from rich.console import Console
    from rich.text import Text

    colour = _COLOURS.get(kind, "bold cyan")
    text = Text.assemble((time, "dim"), "  ", (kind.upper(), colour), "  ", (subject, "bold"), "\n", body)
    console = Console(file=stream, soft_wrap=True, highlight=False)
    with console.capture() as printed:
        console.print(text, end="")
    return printed.get()  # not printed by rich, which would bypass the stream that a progress bar has put in between


def _showable(text: str, stream: Any) -> str:
    """Return the text with escapes for the characters that the stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
