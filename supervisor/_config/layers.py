"""What one source says, and how a stronger one is laid over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisor._config.origins import Origin
    from supervisor._config.problems import Key

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
