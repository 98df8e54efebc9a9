"""What type checkers and editors see of the decorators; a script that runs does not load it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._run.run import Run

S = ParamSpec("S")
P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
O_contra = TypeVar("O_contra", contravariant=True)


class TakesRun(Protocol[P, R_co]):
    """A function whose first parameter is named ``run``."""

    def __call__(self, run: Run, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call it with a run."""


class MethodTakesRun(Protocol[O_contra, P, R_co]):
    """A method whose first parameter after ``self`` is named ``run``."""

    def __call__(self, owner: O_contra, /, run: Run, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call it with a run."""


class Decorator(Protocol):
    """Wraps a function and keeps its signature, less the parameter ``run`` that it fills in."""

    @overload
    def __call__(self, function: TakesRun[P, R], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, function: MethodTakesRun[O_contra, P, R], /) -> Callable[Concatenate[O_contra, P], R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...


class BareOrWithSettings(Protocol[S]):
    """A decorator that stands alone or takes settings first."""

    @overload
    def __call__(self, function: TakesRun[P, R], /) -> Callable[P, R]: ...  # type: ignore[overload-overlap]  # no function is a name
    @overload
    def __call__(self, function: MethodTakesRun[O_contra, P, R], /) -> Callable[Concatenate[O_contra, P], R]: ...  # type: ignore[overload-overlap]  # the same
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...  # type: ignore[overload-overlap]  # the same
    @overload
    def __call__(self, *settings: S.args, **more_settings: S.kwargs) -> Decorator: ...
