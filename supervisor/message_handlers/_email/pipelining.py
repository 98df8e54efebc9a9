"""Several commands in one go, for servers that offer it (RFC 2920): Postfix, Exim, Exchange and Gmail among them.

A letter takes four round trips to such a server, or two when its sender, its recipients and DATA go together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import smtplib
    from collections.abc import Iterator, Sequence

    from supervisor.message_handlers._email.protocol import Reply, Server

# RFC 2920, 3.1: the answers must fit into the buffers of the network, or both sides wait for each other for ever.
MOST_AT_ONCE = 100


def replies(server: Server, smtp: smtplib.SMTP, commands: Sequence[str]) -> Iterator[Reply]:
    """Give commands and yield the answer to each; one command at a time where the server does not offer more.

    Whoever stops taking answers leaves the connection in the midst of a dialogue, and has to drop it. Where a command
    depends on the answers before it, as DATA does, nothing is lost by giving it with them: no letter has been sent.

    Args:
        server: Who is asked.
        smtp: The connection to it.
        commands: MAIL, RCPT and DATA, which must be the last (RFC 2920, 3.1).

    Raises:
        LostError: There was no answer.
    """
    at_once = MOST_AT_ONCE if smtp.has_extn("pipelining") else 1
    for first in range(0, len(commands), at_once):
        group = commands[first : first + at_once]
        try:
            smtp.send("\r\n".join(group) + "\r\n")
        except OSError as error:
            raise server.lost(group[0].partition(":")[0], error) from error
        for command in group:
            yield server.ask(command.partition(":")[0], smtp.getreply)
