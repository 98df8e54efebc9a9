"""What ``SUPERVISOR_*`` variables say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._config import setting_checks
from supervisor._config.layers import DEFAULTS, Layer
from supervisor._config.loading import CONFIG, PREFIX
from supervisor._config.origins import Origin
from supervisor._config.problems import Notes, Problem, safe
from supervisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

PROFILE = "SUPERVISOR_PROFILE"
_CLOSE = 0.85


def layer_of(variables: Mapping[str, str], notes: Notes) -> Layer:
    """Return the settings that variables give. One that is blank counts as not set.

    A variable is called like the setting, in capitals: ``SUPERVISOR_REPORT_ON=start,success`` for a list,
    ``SUPERVISOR_JOURNAL=false`` (also no, off, 0) for yes or no, and ``none`` for a setting that can be None.

    Args:
        variables: All that begin with ``SUPERVISOR_`` and may be meant for us.
        notes: Get what is wrong with their values, and a warning of each that is probably misspelt.
    """
    layer = Layer()
    known = {PREFIX + name.upper(): name for name in setting_checks.FIELDS if setting_checks.fits_a_variable(name)}
    for variable, text in variables.items():
        name = known.get(variable)
        if name is None:
            _warn_if_misspelt(variable, {*known, PROFILE, CONFIG, "SUPERVISOR_STATE"}, notes)
        elif text.strip():
            try:
                layer.settings[name] = setting_checks.from_text(name, text.strip())
            except ConfigurationError as error:
                notes.problems.append(Problem(f"environment variable {variable}: {safe(str(error))}", key=variable))
            else:
                layer.origins[DEFAULTS, name] = Origin(variable=variable)
    return layer


def _warn_if_misspelt(variable: str, known: set[str], notes: Notes) -> None:
    """Warn of a variable that nearly has a known name. Any other may belong to a program of somebody else."""
    if variable in known:
        return
    from difflib import get_close_matches

    plain = {each.removeprefix(PREFIX): each for each in known}
    for close in get_close_matches(variable.removeprefix(PREFIX), plain, n=1, cutoff=_CLOSE):
        text = f"environment variable {variable} means nothing; did you mean {plain[close]}?"
        notes.warnings.append(Problem(text, key=variable))
