"""Texts of a script's own objects, without secrets and of bounded size.

Secrets are removed before a text is cut, since half a secret cannot be recognized any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._redaction import Redactor

MESSAGE_LIMIT = 4_000
TRACEBACK_LIMIT = 60_000
VALUE_LIMIT = 1_000

_WINDOW = 100_000  # of a longer text, only so much of its beginning and end is examined, and less is shown
_MARGIN = 20_000  # a secret at the border of the window is shorter than this


def type_name(kind: type) -> str:
    """Return a class's name, qualified unless it is a builtin or belongs to the script or supervisor."""
    if kind.__module__ in ("builtins", "__main__") or kind.__module__.startswith("supervisor."):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def safe_text(value: object) -> str:
    """Return ``str(value)``, or a text that says that it raised."""
    try:
        return str(value)
    except BaseException as fault:  # noqa: BLE001 - the run's boundary: a script's own __str__ may raise anything
        return f"<{type_name(type(value))} whose str() raised {type_name(type(fault))}>"


def redacted_text(text: str, redactor: Redactor | None) -> str:
    """Return a text without secrets; the same object if it has none."""
    return text if redactor is None else redactor.text(text)


def fit(text: str, limit: int, redactor: Redactor | None) -> str:
    """Return a text without secrets; above ``limit`` characters (less than 80,000), its middle is left out."""
    from supervisor._text import cut_middle  # loaded only where a text is to be cut

    if redactor is None:
        return cut_middle(text, limit)
    if len(text) <= 2 * _WINDOW:
        return cut_middle(redactor.text(text), limit)
    head = beginning(text, redactor.text)[: limit // 2]
    tail = redactor.text(text[-_WINDOW:])[_MARGIN:][-(limit // 2) :]
    return f"{head.rstrip()}\n\n[... {len(text) - limit:,} characters left out ...]\n\n{tail.lstrip()}"


def fit_line(line: str, limit: int, redactor: Redactor | None) -> str:
    """Return a line without secrets; above ``limit`` characters (less than 80,000), its end is left out."""
    if redactor is not None:
        line = beginning(line, redactor.text)
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def beginning(text: str, clean: Callable[[str], str]) -> str:
    """Return the beginning of a text without secrets, nor parts of one at the end of what is examined."""
    return clean(text) if len(text) <= 2 * _WINDOW else clean(text[:_WINDOW])[:-_MARGIN] or "[redacted]"


def plain_value(value: Any, *, name: str = "", redactor: Redactor | None = None) -> Any:
    """Return a recorded value as an immutable one: a number, text, date or None; anything else as bounded text.

    Args:
        value: The value.
        name: The name that it is recorded under, which may mean a secret.
        redactor: Removes secrets before the value is cut; None keeps them.
    """
    if value is None or isinstance(value, (bool, int, float, str)) or _is_date(value):
        return _plain(value, name, redactor)
    try:
        value = value.item()  # the scalars of numpy, pandas and torch
    except Exception:  # noqa: BLE001 - the run's boundary: an object of the script may raise anything
        return _plain(safe_text(value), name, redactor)
    return _plain(value if isinstance(value, (bool, int, float, str)) else safe_text(value), name, redactor)


def _plain(value: Any, name: str, redactor: Redactor | None) -> Any:
    if not isinstance(value, str):
        return value if redactor is None else redactor.value(name, value)
    if redactor is not None:
        value = beginning(value, lambda text: redactor.value(name, text))
    return value[:VALUE_LIMIT]


def _is_date(value: object) -> bool:
    from datetime import date  # a silent run that records numbers never imports it

    return isinstance(value, date)
