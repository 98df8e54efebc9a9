"""Which machine, and which account of it, a journal belongs to: what tells it apart in the fleet.

Two machines must not have one identity, nor one machine two after each restart. So it is made of the machine's own id,
the user, and a random number that is kept beside the journal. Where that was copied to another machine, the machine's
id shows it, and a new number is drawn. The machine's id itself is not sent
(https://www.freedesktop.org/software/systemd/man/latest/machine-id.html, "it must not be exposed"). Two machines that
were cloned with all that have one identity; the database finds them by their boot ids, which take turns.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import platform
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, UUID, uuid5

from supervisor._places import hostname, this_machine
from supervisor._store.essentials import JournalUnavailable
from supervisor._store.files import create_file, make_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = "fleet_host.json"
"""Has the random number, and of which machine it is; beside the journal."""

_NAMESPACE = uuid5(NAMESPACE_URL, "https://pypi.org/project/agrc-supervisor/fleet")
_KEY = b"agrc-supervisor fleet host"


def machine_hash() -> str:
    """Return what tells this machine from others, and does not say its id; of one without an id, by its name."""
    return hmac.new(_KEY, (this_machine().id or hostname()).encode(), hashlib.sha256).hexdigest()


def host_id(state_directory: str, account: str) -> UUID:
    """Return the identity of this machine and user in the fleet, the same each time; it is made by the first call.

    Args:
        state_directory: Where the journal is.
        account: The user.

    Raises:
        JournalUnavailable: The file beside the journal cannot be read or written.
    """
    path, machine = os.path.join(state_directory, FILE_NAME), machine_hash()  # noqa: PTH118 - a text
    try:
        number = _number_of(path, machine) or _begin(path, machine)
    except OSError as error:
        raise JournalUnavailable(path, error.strerror or str(error)) from error
    return uuid5(_NAMESPACE, f"{machine}\0{account}\0{number}")


def _number_of(path: str, machine: str) -> str:
    """Return the number of this machine; "" where there is none, or only that of another machine."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - a text is a path too
            known = json.load(file)
    except FileNotFoundError:
        return ""
    except ValueError:  # it was cut short, or is somebody else's
        return ""
    is_ours = isinstance(known, dict) and known.get("machine") == machine
    return str(known.get("number") or "") if is_ours else ""


def _begin(path: str, machine: str) -> str:
    """Draw a number, and return the one that counts: of two processes that do, the first one's."""
    from filelock import FileLock

    make_directory(os.path.dirname(path))  # noqa: PTH120 - a text
    with FileLock(f"{path}.lock", mode=0o600):
        if found := _number_of(path, machine):
            return found
        number = os.urandom(16).hex()
        new = f"{path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)  # noqa: PTH108 - a text; who wrote it was killed
        with os.fdopen(create_file(new), "w", encoding="utf-8") as file:
            json.dump({"machine": machine, "number": number}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)  # noqa: PTH105 - a text
        return number


def host_document(  # noqa: PLR0913 - the fields of the document
    state_directory: str,
    account: str,
    *,
    version: str,
    name: str | None = None,
    expect_every_s: float | None = None,
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return this machine as the fleet's functions take it.

    Args:
        state_directory: Where the journal is.
        account: The user.
        version: The version of supervisor.
        name: What people call the machine. None for its own name.
        expect_every_s: How often it checks in, at least, in seconds; None for not known.
        facts: What else people want to see of it.

    Raises:
        JournalUnavailable: The file beside the journal cannot be read or written.
    """
    own_facts = {"os": platform.platform(terse=True), "python": platform.python_version()}
    document = {
        "id": str(host_id(state_directory, account)),
        "name": name or hostname(),
        "account": account,
        "kind": "machine",
        "version": version,
        "boot": this_machine().boot,
        "facts": {**own_facts, **(facts or {})},
        "expect_every_s": expect_every_s,
    }
    return {field: each for field, each in document.items() if each is not None}
