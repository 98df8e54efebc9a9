"""What the tests of captured exceptions share: code with files of its own, a script's or an installed library's."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from supervisor._exceptions import error_details

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.models import ErrorDetails

Code: TypeAlias = Callable[..., dict[str, Any]]
Failing: TypeAlias = Callable[[Callable[[], object]], BaseException]


def written(path: Path, source: str, **names: object) -> dict[str, Any]:
    """Write a module and run it; return its names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": path.stem, "__file__": str(path), **names}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), namespace)
    return namespace


@pytest.fixture
def script(tmp_path: Path) -> Code:
    """Return what makes the module of a script: ``script(source, **names)``."""
    return lambda source, name="parcels.py", **names: written(tmp_path / name, source, **names)


@pytest.fixture
def library(tmp_path: Path) -> Code:
    """Return what makes a module of an installed library: ``library("sqlalchemy/engine.py", source)``."""
    folder = tmp_path / "lib" / "site-packages"
    return lambda name, source, **names: written(folder / name, source, **names)


@pytest.fixture
def failing() -> Failing:
    """Return what calls a function and returns what it raised."""
    return raised_by


def raised_by(function: Callable[[], object]) -> BaseException:
    """Call a function, and return what it raised."""
    try:
        function()
    except BaseException as error:
        # This frame is none of the script's: the test would see itself at the top of each traceback.
        return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
    raise AssertionError("nothing was raised")


@pytest.fixture
def details() -> Callable[..., ErrorDetails]:
    """Return what calls a function and returns the details of what it raised."""
    return lambda function, **settings: error_details(raised_by(function), **settings)
