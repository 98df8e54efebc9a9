"""Attributes of packages that are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from sys import modules as modules_loaded
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def loads(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package.

    Args:
        package: The name of the package.
        modules: The names that it exports, each with the module of the package that defines it.
    """

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package}.{modules[name]}"), name)
        setattr(modules_loaded[package], name, found)  # so that it is asked for once
        return found

    return load
