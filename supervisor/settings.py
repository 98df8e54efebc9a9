"""The settings of a run: what ``supervise``, ``supervised`` and ``Supervisor`` all take."""

from supervisor._settings import Settings

__all__ = ["Settings"]


def __dir__() -> list[str]:
    return sorted(__all__)
