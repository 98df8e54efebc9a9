"""How much memory a process takes that does one thing: ``memory.py OUT WAY``."""

import sys

from timing import peak_bytes, proportional_bytes, say


def by_bare():
    pass


def by_attrs():
    import attrs  # noqa: F401 - to have it loaded is the point


def by_sqlite3():
    import os
    import sqlite3

    connection = sqlite3.connect(os.path.expanduser("~/plain.sqlite3"))
    connection.execute("CREATE TABLE plain (key INTEGER PRIMARY KEY, body TEXT)")
    connection.commit()


def by_attrs_and_sqlite3():
    by_attrs()
    by_sqlite3()


def by_supervisor():
    """A run that is journalled, tells of itself on the console, and makes progress."""
    from supervisor import supervise
    from supervisor.message_handlers import ConsoleHandler

    with supervise("nightly", handlers=ConsoleHandler()) as run:
        for _ in run.track(range(1000)):
            pass
        run.record(parcels=1000)
        run.notify("Parcels loaded", "1,000 parcels in 29 counties")


def by_ugrc():
    from supervisor.message_handlers import ConsoleHandler
    from supervisor.models import MessageDetails, Supervisor

    watched = Supervisor()
    watched.add_message_handler(ConsoleHandler())
    details = MessageDetails()
    details.subject, details.message = "Parcels loaded", "1,000 parcels in 29 counties"
    watched.notify(details)


if __name__ == "__main__":
    globals()[f"by_{sys.argv[2]}"]()
    say({"peak": peak_bytes(), "proportional": proportional_bytes()})
