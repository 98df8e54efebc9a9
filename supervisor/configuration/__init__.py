"""Settings that stand outside of scripts: in files, and in environment variables.

Later wins: ``supervisor.toml`` in the machine's config directory, the same in the user's, the nearest
``supervisor.toml`` or ``[tool.supervisor]`` of a ``pyproject.toml`` from the script's folder upwards; then what the
chosen profile says in any of them; then ``SUPERVISOR_*`` variables. ``SUPERVISOR_CONFIG`` names one file that is read
instead of all these. A file looks so::

    profile = "production"            # the profile to use where SUPERVISOR_PROFILE does not say

    [defaults]                        # settings of all runs; handlers are called by their names
    handlers = ["ops"]
    report_on = ["success"]

    [handlers.ops]
    type = "sendgrid"
    api_key = { env = "SENDGRID_API_KEY" }
    from_address = "gis@example.com"
    to_addresses = ["ops@example.com"]

    [runs."nightly parcels"]          # settings of the runs of one name
    delivery_deadline_s = 60

    [profiles.development.defaults]   # the same tables, laid over the rest when the profile is chosen
    handlers = ["console"]

What is wrong is never raised by :func:`load`: it is left out and told in :attr:`Configuration.problems`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.configuration.loading import load
from supervisor.configuration.result import Configuration
from supervisor.lazily import loads

if TYPE_CHECKING:
    from supervisor.configuration.building import build, check_options
    from supervisor.configuration.handlers import HandlerSpec
    from supervisor.configuration.origins import Origin
    from supervisor.configuration.problems import ConfigurationProblems, Problem
    from supervisor.configuration.references import Secret
    from supervisor.configuration.showing import Entry, masked
    from supervisor.configuration.template import example

__all__ = [
    "Configuration",
    "ConfigurationProblems",
    "Entry",
    "HandlerSpec",
    "Origin",
    "Problem",
    "Secret",
    "build",
    "check_options",
    "example",
    "load",
    "masked",
]

_MODULES = {
    "ConfigurationProblems": "problems",
    "Entry": "showing",
    "HandlerSpec": "handlers",
    "Origin": "origins",
    "Problem": "problems",
    "Secret": "references",
    "build": "building",
    "check_options": "building",
    "example": "template",
    "masked": "showing",
}

# Most runs find no configuration.
__getattr__ = loads(__name__, _MODULES)
