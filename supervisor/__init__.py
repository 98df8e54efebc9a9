"""Watch over scheduled scripts: report failures, time runs, and never lose a message."""

from typing import TYPE_CHECKING

from supervisor import _models
from supervisor._config import ActiveConfiguration as _ActiveConfiguration
from supervisor._run.decorators import Run, Supervisor, current_run, supervise, supervised
from supervisor._runtime import Runtime as _Runtime
from supervisor._runtime import set_default_runtime as _set_default_runtime
from supervisor.errors import ConfigurationError, DeliveryError, RunStateError, SupervisorError

if TYPE_CHECKING:
    from supervisor._models.values import MessageDetails

__all__ = [
    "ConfigurationError",
    "DeliveryError",
    "MessageDetails",
    "Run",
    "RunStateError",
    "Supervisor",
    "SupervisorError",
    "current_run",
    "supervise",
    "supervised",
]
__version__ = "4.0.0"


def _handler_class(scheme: str) -> object:
    from supervisor.message_handlers._registry import handler_class

    return handler_class(scheme)


# The core knows no configuration files, and these know no handlers: here they are put together.
_set_default_runtime(_Runtime(_ActiveConfiguration(handler_class=_handler_class)))


def _render_text(details: "MessageDetails") -> str:
    from supervisor._messages.rendering import text_of

    return text_of(details)


_models.render_text = _render_text


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))


def __getattr__(name: str) -> object:
    if name == "MessageDetails":  # a run without messages does not load it
        from supervisor._models.values import MessageDetails

        return MessageDetails
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
