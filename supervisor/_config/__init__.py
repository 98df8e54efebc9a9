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

from supervisor._config.configuration import Configuration
from supervisor._config.loading import load
from supervisor._lazy import loads

if TYPE_CHECKING:
    from supervisor._config.configuration import Entry, masked
    from supervisor._config.handler_specs import HandlerSpec, build, check_options
    from supervisor._config.layers import Origin
    from supervisor._config.problems import ConfigurationProblems, Problem
    from supervisor._config.secret_references import Secret
    from supervisor._config.template import example

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
    "Entry": "configuration",
    "HandlerSpec": "handler_specs",
    "Origin": "layers",
    "Problem": "problems",
    "Secret": "secret_references",
    "build": "handler_specs",
    "check_options": "handler_specs",
    "example": "template",
    "masked": "configuration",
}

# Most runs find no configuration.
__getattr__ = loads(__name__, _MODULES)
