"""What one source says, and how a stronger one is laid over it.

- Where a value came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._config.problems import Key
    from supervisor._config.toml_file import Source

BROKEN = object()
"""Stands for an option of a handler that is wrong, until a stronger source gives another."""

DEFAULTS, RUNS, HANDLERS = "defaults", "runs", "handlers"


class Layer:
    """What one source says, or several together.

    Attributes:
        settings: Of all runs.
        runs: Of the runs of one name.
        handlers: The options of each handler, its type among them, with ``BROKEN`` for what is wrong.
        origins: Where each of these came from, by a key that begins with "defaults", "runs" or "handlers".
    """

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.handlers: dict[str, dict[str, Any]] = {}
        self.origins: dict[Key, Origin] = {}


def laid_over(layers: Iterable[Layer]) -> Layer:
    """Return what several sources say together, each stronger than those before it.

    What a stronger source says of all runs goes over what a weaker one says of the runs of one name: whoever chooses
    the profile "development" or sets ``SUPERVISOR_HANDLERS`` means every run. A handler's options are laid over one by
    one, unless it becomes one of another type.
    """
    whole = Layer()
    for layer in layers:
        _lay_settings(whole, layer)
        _lay_handlers(whole, layer)
        whole.origins.update(layer.origins)
    return whole


def _lay_settings(whole: Layer, layer: Layer) -> None:
    whole.settings.update(layer.settings)
    for run, settings in whole.runs.items():
        for name in settings.keys() & layer.settings.keys():
            del settings[name]
            whole.origins.pop((RUNS, run, name), None)
    for run, settings in layer.runs.items():
        whole.runs.setdefault(run, {}).update(settings)


def _lay_handlers(whole: Layer, layer: Layer) -> None:
    for name, options in layer.handlers.items():
        known = whole.handlers.setdefault(name, {})
        before, now = known.get("type", BROKEN), options.get("type", BROKEN)
        if before != now and BROKEN not in {before, now}:
            for key in [key for key in whole.origins if key[:2] == (HANDLERS, name)]:
                del whole.origins[key]
            known.clear()
        known.update(options)


@attrs.frozen(eq=False)
class Origin:
    """The file or the variable that a value came from.

    Args:
        source: The file; None for a variable.
        key: The value's key in it.
        variable: The environment variable; "" for a file.
    """

    source: Source | None = attrs.field(default=None, repr=False)
    key: Key = ()
    variable: str = ""

    @property
    def file(self) -> str:
        """Return the file's path; "" for a variable."""
        return self.source.path if self.source is not None else ""

    @property
    def line(self) -> int | None:
        """Return the line in the file, looked for only now; None where it is not known."""
        return self.source.line_of(self.key) if self.source is not None else None

    def __str__(self) -> str:
        if self.source is None:
            return f"environment variable {self.variable}"
        return self.file if self.line is None else f"{self.file}:{self.line}"
