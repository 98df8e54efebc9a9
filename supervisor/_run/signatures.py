"""What type checkers and editors see of the decorators; a script that runs does not load it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

import attrs

from supervisor._settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor._run.run import Run

S = ParamSpec("S")
P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
O_contra = TypeVar("O_contra", contravariant=True)


@attrs.frozen
class SupervisorSettings(Settings):  # without a docstring: editors then show the one of Supervisor
    handle_errors: bool = attrs.field(default=False, kw_only=True)


class TakesRun(Protocol[P, R_co]):
    """A function whose first parameter is named ``run``."""

    def __call__(self, run: Run, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call it with a run."""


class MethodTakesRun(Protocol[O_contra, P, R_co]):
    """A method whose first parameter after ``self`` is named ``run``."""

    def __call__(self, owner: O_contra, /, run: Run, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call it with a run."""


# A parameter ``run`` that is not the first cannot be taken out of a signature: ``ParamSpec`` has no way to say so, and
# the function becomes ``(...) -> R``. Pyright needs one protocol for that. Mypy does not take ``*args: Any`` for any
# number of parameters where a keyword follows, so it needs one for each number of parameters before.


class TakesRunByKeyword(Protocol[R_co]):
    """A function with a parameter ``run`` after others."""

    def __call__(self, *args: Any, run: Run, **kwargs: Any) -> R_co:
        """Call it with a run."""


class TakesRunByKeywordAlone(Protocol[R_co]):
    """A function with a keyword ``run`` and nothing before it."""

    def __call__(self, *, run: Run) -> R_co:
        """Call it with a run."""


class TakesRunByKeywordAfterOne(Protocol[R_co]):
    """A function with a keyword ``run`` after one parameter, such as ``self``."""

    def __call__(self, first: Any, /, *, run: Run) -> R_co:
        """Call it with a run."""


class TakesRunByKeywordAfterTwo(Protocol[R_co]):
    """A function with a keyword ``run`` after two parameters."""

    def __call__(self, first: Any, second: Any, /, *, run: Run) -> R_co:
        """Call it with a run."""


# What takes any keyword (``**kwargs``) takes ``run`` too, but does not ask for it: it keeps its signature.


class TakesKeywords(Protocol):
    """A function that takes any keyword."""

    def __call__(self, *args: Any, any_keyword_at_all: Any, **kwargs: Any) -> Any:
        """Call it with a keyword that no function names."""


class TakesKeywordsAlone(Protocol):
    """A function that takes any keyword and nothing before it."""

    def __call__(self, *, any_keyword_at_all: Any) -> Any:
        """Call it with a keyword that no function names."""


class TakesKeywordsAfterOne(Protocol):
    """A function that takes any keyword after one parameter."""

    def __call__(self, first: Any, /, *, any_keyword_at_all: Any) -> Any:
        """Call it with a keyword that no function names."""


class TakesKeywordsAfterTwo(Protocol):
    """A function that takes any keyword after two parameters."""

    def __call__(self, first: Any, second: Any, /, *, any_keyword_at_all: Any) -> Any:
        """Call it with a keyword that no function names."""


F = TypeVar("F", bound=TakesKeywords | TakesKeywordsAlone | TakesKeywordsAfterOne | TakesKeywordsAfterTwo)


class Decorator(Protocol):
    """Wraps a function and keeps its signature, less the parameter ``run`` that it fills in."""

    @overload
    def __call__(self, function: TakesRun[P, R], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, function: MethodTakesRun[O_contra, P, R], /) -> Callable[Concatenate[O_contra, P], R]: ...
    @overload
    def __call__(self, function: F, /) -> F: ...
    @overload
    def __call__(self, function: TakesRunByKeyword[R], /) -> Callable[..., R]: ...
    @overload
    def __call__(self, function: TakesRunByKeywordAlone[R], /) -> Callable[..., R]: ...
    @overload
    def __call__(self, function: TakesRunByKeywordAfterOne[R], /) -> Callable[..., R]: ...
    @overload
    def __call__(self, function: TakesRunByKeywordAfterTwo[R], /) -> Callable[..., R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...
