"""What older files hold is there after they became newer ones."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from journal_kit import NOON, Clock

from supervisor._models import DeliveryState
from supervisor._store import Journal
from supervisor._store.essentials import FILE_NAME
from supervisor._store.serialization import dump
from supervisor._store.sqlite import migrations
from supervisor.models import Attachment, MessageDetails

if TYPE_CHECKING:
    from pathlib import Path

APART = 4
"""The migrations that a file has seen whose messages stand apart from their deliveries."""
_MESSAGE = "INSERT INTO message (id, kind, created_at, subject, body) VALUES (?, 'notice', ?, ?, ?)"
_DELIVERY = """
INSERT INTO delivery (message, handler, state, attempts, due_at, changed_at, last_error) VALUES (?, ?, ?, ?, ?, ?, '')
"""


def test_messages_that_stood_apart_still_wait(state: Path) -> None:
    """Each handler gets what it has not sent, with its copies, under the key that a person may have noted."""
    (state / "outbox" / "1-x" / "0").mkdir(parents=True)
    (state / "outbox" / "1-x" / "0" / "a.log.gz").write_bytes(b"copy")
    waits = MessageDetails("waits", "text", Attachment("a.log"), id="w")
    lost = MessageDetails("refused", "text", id="r")
    with closing(sqlite3.connect(state / FILE_NAME)) as connection, connection:
        migrations.migrate(connection, migrations.MIGRATIONS[:APART])
        for message in (waits, lost):
            connection.execute(_MESSAGE, (message.id, NOON, message.subject, dump(message)))
        for message_key, handler, how, attempts in (
            (1, "mail", "sent", 1),
            (1, "chat", "pending", 2),
            (2, "mail", "failed", 1),
            (1, "hook", "pending", 0),
        ):
            connection.execute(_DELIVERY, (message_key, handler, how, attempts, NOON, NOON))
        copy = Attachment("outbox/1-x/0/a.log.gz", name="a.log.gz")
        connection.execute("INSERT INTO kept VALUES (1, 0, '1-x/0', 4, 1, ?)", (dump(copy),))
    journal = Journal(state, clock=Clock())
    assert [(each.key, each.handler, each.state, each.subject) for each in journal.deliveries()] == [
        (2, "chat", DeliveryState.PENDING, "waits"),
        (3, "mail", DeliveryState.FAILED, "refused"),
        (4, "hook", DeliveryState.PENDING, "waits"),
    ]
    assert journal.claim("mail") is None
    for handler, attempts in (("chat", 2), ("hook", 0)):
        claimed = journal.claim(handler)
        assert claimed is not None
        assert (claimed.message.id, claimed.message.message, claimed.attempts) == ("w", "text", attempts)
        assert claimed.message.attachments[0].path.read_bytes() == b"copy"
        journal.settle(claimed, DeliveryState.SENT)
    assert not (state / "outbox" / "1-x").exists()
    assert journal.retry(3)
    refused = journal.claim("mail")
    assert refused is not None
    assert refused.message == lost
    assert journal.put(MessageDetails("fresh"), ["mail"])[0].key > 4
    journal.close()
