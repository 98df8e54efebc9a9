"""A run as the JSON document that goes to the fleet, and back.

The journal has no secrets in it, and what has become one since, such as a password of a new handler, is taken out here.
A document has what the setting ``send`` of ``[fleet]`` names (:data:`.fleet_settings.SENDABLE`), in bounded size: one
that is too large loses parts, which it names in ``left_out``. It holds no text that a ``jsonb`` of PostgreSQL refuses
(https://www.postgresql.org/docs/current/datatype-json.html).
"""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from supervisor._fleet.fleet_settings import DEFAULT_SEND
from supervisor._models import Outcome
from supervisor._store.essentials import storable
from supervisor._store.records import RunRecord
from supervisor._text import cut_middle

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from supervisor._redaction import Redactor

START, DIED, ENDED = 1, 500, 1000
"""Revisions of a run's document: of two, the larger one counts."""

NAME_LIMIT = 200
"""Characters."""
MORE_LIMIT_BYTES = 60_000
TEXT_LIMIT = 60_000
"""Characters, which are 240 KB at most."""

_ERROR_TEXT_LIMIT = 4_000
_CODE_OF_ERROR = ("source", "excerpt", "local_variables")
_IN_FIELDS_OF_THEIR_OWN = ("title", "timezone", "owner", "each_host")
_DROPPED_FIRST = ("steps", "retried", "warnings", "settings", "links", "argv", "progress")


def revision_of(run: RunRecord) -> int:
    """Return the revision of a run as it is: that it has ended counts more than that it died, which may be wrong."""
    if run.outcome is None:
        return START
    return DIED if run.outcome == Outcome.DIED else ENDED


def document_of(
    run: RunRecord,
    *,
    environment: str,
    send: Collection[str] = DEFAULT_SEND,
    redactor: Redactor | None = None,
) -> dict[str, Any]:
    """Return a run as a document; what is not known is left out.

    Args:
        run: The run, from a journal.
        environment: The environment whose run it is: the same name in another environment is another script.
        send: Names from ``SENDABLE``.
        redactor: What takes out secrets that the journal's own redaction did not know. None for nothing.
    """
    settings = run.settings
    document: dict[str, Any] = {
        "id": run.id,
        "environment": environment,
        "name": _name(run.name),
        "rev": revision_of(run),
        "key": run.key,
        "outcome": run.outcome,
        "started_at": _instant(run.started_at_s),
        "ended_at": _instant(run.ended_at_s),
        "duration_s": run.duration_s,
        "alive_at": _instant(run.last_sign_at_s) if run.outcome is None else None,
        "alive_every_s": run.heartbeat_s,
        "instance": f"{run.pid}@{run.process_started}",
        "schedule": run.schedule,
        "grace_s": run.grace_s,
        "max_duration_s": run.max_duration_s,
        "next_due_at": _next_due_at(run),
        "fingerprint": run.fingerprint,
        "exit_code": run.exit_code,
        "cpu_s": run.cpu_s,
        "peak_memory_bytes": run.peak_memory_bytes,
        "parent_id": run.parent_id,
        **{name: settings.get(name) for name in _IN_FIELDS_OF_THEIR_OWN},
        "more": _bounded(dict(_more(run, send))),
        "text": dict(_texts(run, send)),
    }
    if redactor is not None:
        document["more"] = redactor.mapping(document["more"])
        document["text"] = {name: redactor.text(text) for name, text in document["text"].items()}
    document["text"] = {name: cut_middle(text, TEXT_LIMIT) for name, text in document["text"].items()}
    return {name: _plain(each) for name, each in document.items() if each not in (None, {})}


def record_from(document: Mapping[str, Any], *, key: int = 0) -> RunRecord:
    """Return the run that a document describes, as far as it was sent.

    Args:
        document: What :func:`document_of` returned, perhaps by way of a ``jsonb``.
        key: How whoever keeps it finds it again.
    """
    more, text = document.get("more") or {}, document.get("text") or {}
    settings = {name: document[name] for name in _IN_FIELDS_OF_THEIR_OWN if document.get(name) is not None}
    pid, _, process_started = str(document.get("instance", "")).partition("@")
    facts: dict[str, Any] = {
        "key": key or document.get("key") or 0,
        "id": document["id"],
        "name": document["name"],
        "outcome": document.get("outcome"),
        "host": more.get("host", ""),
        "pid": int(pid) if pid.isdigit() else 0,
        "process_started": process_started,
        "started_at_s": _seconds(document["started_at"]),
        "ended_at_s": _seconds(document.get("ended_at")),
        "duration_s": document.get("duration_s"),
        "progress_at_s": more.get("progress_at_s"),
        "schedule": document.get("schedule"),
        "grace_s": document.get("grace_s"),
        "max_duration_s": document.get("max_duration_s"),
        "stall_after_s": more.get("stall_after_s"),
        "parent_id": document.get("parent_id"),
        "user": more.get("user", ""),
        "python": more.get("python", ""),
        "log_path": more.get("log_path"),
        "exit_code": document.get("exit_code"),
        "cpu_s": document.get("cpu_s"),
        "peak_memory_bytes": document.get("peak_memory_bytes"),
        "fingerprint": document.get("fingerprint"),
        "heartbeat_s": document.get("alive_every_s"),
        "heartbeat_at_s": _seconds(document.get("alive_at")),
        "stored_progress": _stored(more.get("progress")),
        "stored_argv": _stored(more.get("argv")),
        "stored_values": _stored(_in_order(more.get("values"), more.get("value_order"))),
        "stored_error": _stored_error(more.get("error"), text.get("traceback", "")),
        "stored_settings": _stored({**(more.get("settings") or {}), **settings} or None),
        "stored_links": _stored(more.get("links")),
        "stored_warnings": _stored(more.get("warnings")),
        "stored_steps": _stored(more.get("steps")),
        "stored_retried": _stored(more.get("retried")),
        "is_gone": False,
        "is_lost": False,
        "is_copied": False,
    }
    return RunRecord(**{**dict.fromkeys(RunRecord._fields), **facts})  # what was not sent is not known


# What is sent


def _more(run: RunRecord, send: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Yield what only people look at."""
    yield from _known(host=run.host, python=run.python, pid=run.pid, stall_after_s=run.stall_after_s)
    settings = {name: each for name, each in run.settings.items() if name not in _IN_FIELDS_OF_THEIR_OWN}
    yield from _known(links=_loaded(run.stored_links), settings=settings or None)
    if "values" in send:
        values = _loaded(run.stored_values)
        yield from _known(values=values, value_order=_order(values), progress=_loaded(run.stored_progress))
        yield from _known(progress_at_s=run.progress_at_s, steps=_without_code(_loaded(run.stored_steps), send))
    if "error" in send:
        yield from _known(error=_error(run, send), retried=_without_code(_loaded(run.stored_retried), send))
        yield from _known(warnings=_loaded(run.stored_warnings))
    if "argv" in send:
        yield from _known(argv=_loaded(run.stored_argv), user=run.user, log_path=run.log_path)


def _known(**facts: Any) -> Iterator[tuple[str, Any]]:
    return ((name, each) for name, each in facts.items() if each not in (None, "", 0, [], {}))


def _error(run: RunRecord, send: Collection[str]) -> dict[str, Any] | None:
    """Return the error as a mapping that is read without supervisor; its traceback stands among the texts."""
    stored = _loaded(run.stored_error)
    if not isinstance(stored, dict) or not isinstance(stored.get("v"), dict):
        return None
    fields = _without_code(stored["v"], send)
    fields.pop("traceback", None)
    return {name: _untagged(each) for name, each in fields.items()}


def _without_code(stored: Any, send: Collection[str]) -> Any:
    """Return stored errors without what shows source code and local variables, unless that may be sent."""
    if "traceback" in send:
        return stored
    if isinstance(stored, list):
        return [_without_code(each, send) for each in stored]
    if isinstance(stored, dict):
        hidden = (*_CODE_OF_ERROR, "traceback") if "type" in stored or stored.get("$") == "ErrorDetails" else ()
        return {name: _without_code(each, send) for name, each in stored.items() if name not in hidden}
    return stored


def _untagged(value: Any) -> Any:
    """Return the tuples of an error as lists, and its texts in a length that people read."""
    if isinstance(value, dict):
        return _untagged(value.get("v"))
    if isinstance(value, list):
        return [_untagged(each) for each in value]
    return cut_middle(value, _ERROR_TEXT_LIMIT) if isinstance(value, str) else value


def _texts(run: RunRecord, send: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield long texts, which the fleet keeps apart and for a shorter time."""
    error = run.error if "traceback" in send else None
    if error is not None and error.traceback:
        yield "traceback", error.traceback
    if "log_tail" in send and run.log_path and run.outcome not in (None, Outcome.SUCCESS, Outcome.SKIPPED):
        tail = _log_tail(run.log_path)
        if tail:
            yield "log_tail", tail


_TAIL_BYTES = 16_384


def _log_tail(path: str) -> str:
    """Return the last lines of a log; "" where it is no longer there."""
    from supervisor._store.files import last_lines

    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - a pipe would be waited for
            return ""
        with open(path, "rb") as file:  # noqa: PTH123 - a text is a path too
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""
    # What was cut at its beginning may be a part of a secret.
    lines = text.rstrip("\n") if size <= _TAIL_BYTES else text.rstrip("\n").partition("\n")[2]
    return "\n".join(last_lines([lines]))


def _name(name: str) -> str:
    """Return a name that the fleet takes; of two long ones that begin alike, two."""
    plain = _text(name)
    if len(plain) <= NAME_LIMIT:
        return plain
    from hashlib import sha256

    mark = sha256(plain.encode()).hexdigest()[:8]
    return f"{plain[: NAME_LIMIT - len(mark) - 1]}…{mark}"


def _next_due_at(run: RunRecord) -> str | None:
    """Return when the next start is due after this one, by the run's own schedule."""
    if run.schedule is None:
        return None
    from supervisor._schedules import parse_schedule
    from supervisor.errors import ConfigurationError

    try:
        due = parse_schedule(run.schedule).next_after(datetime.fromtimestamp(run.started_at_s, UTC))
    except (ConfigurationError, OverflowError):  # a newer version, or somebody, wrote it
        return None
    return due.isoformat() if due is not None else None


# Sizes


def _bounded(more: dict[str, Any]) -> dict[str, Any]:
    """Return it in a size that the fleet takes; what was left out is named."""
    left_out: list[str] = []
    for name in _DROPPED_FIRST:
        if _bytes_of(more) <= MORE_LIMIT_BYTES:
            break
        if more.pop(name, None) is not None:
            left_out.append(name)
    values = dict(more["values"]) if isinstance(more.get("values"), dict) else {}
    while values and _bytes_of(more) > MORE_LIMIT_BYTES:
        largest = max(values, key=lambda name: _bytes_of(values[name]) + len(name))
        del values[largest]
        left_out.append(f"values.{largest}"[:NAME_LIMIT])
        more.update(values=values, value_order=_order(values))
    if _bytes_of(more) > MORE_LIMIT_BYTES:  # texts that no sane run has, such as a user of 60,000 characters
        more = {name: each for name, each in more.items() if _bytes_of(each) < _ERROR_TEXT_LIMIT}
    return {**more, "left_out": left_out[:100]} if left_out else more


def _bytes_of(value: Any) -> int:
    """Return about how long it is as the text of a ``jsonb``."""
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


# What JSON, and what a jsonb, can hold


def _plain(value: Any) -> Any:
    r"""Return a value that a ``jsonb`` takes: without U+0000, lone surrogates, NaN and infinity."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and not isfinite(value):
        return {"$": "float", "v": repr(value)}
    if isinstance(value, dict):
        return {_text(str(name)): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


def _text(text: str) -> str:
    return storable(text).replace("\0", "␀")


def _loaded(stored: bytes | None) -> Any:
    """Return what was stored, still with its tags; None for what is no JSON."""
    try:
        return None if stored is None else json.loads(stored.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None


def _stored(value: Any) -> bytes | None:
    if value is None:
        return None
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _stored_error(error: Mapping[str, Any] | None, traceback: str) -> bytes | None:
    if error is None:
        return None
    fields = {name: _tagged(each) for name, each in error.items()}
    return _stored({"$": "ErrorDetails", "v": {**fields, **({"traceback": traceback} if traceback else {})}})


def _tagged(value: Any) -> Any:
    """Return the lists of an error as the tuples that they were."""
    return {"$": "tuple", "v": [_tagged(each) for each in value]} if isinstance(value, list) else value


def _order(values: Any) -> list[str] | None:
    """Return the order of recorded values where a ``jsonb``, which sorts them, would change it."""
    if not isinstance(values, dict) or "$" in values:
        return None
    names = list(values)
    return names if names != sorted(names, key=lambda name: (len(storable(name).encode()), storable(name))) else None


def _in_order(values: Any, order: Any) -> Any:
    if not isinstance(values, dict) or not isinstance(order, list):
        return values
    places = {name: place for place, name in enumerate(order)}
    return dict(sorted(values.items(), key=lambda each: places.get(each[0], len(places))))


def _instant(seconds: float | None) -> str | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):  # a clock that was set wrong beyond the year 9999
        return None


def _seconds(instant: str | datetime | None) -> Any:
    if instant is None:
        return None
    return (datetime.fromisoformat(instant) if isinstance(instant, str) else instant).timestamp()
