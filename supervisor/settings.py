"""The settings of a run: what ``supervise``, ``supervised`` and ``Supervisor`` all take."""

from supervisor._settings import Settings

__all__ = ["Settings"]
