"""The commented example that ``supervisor config init`` writes; its settings follow from ``Settings``."""

from __future__ import annotations

import re
from textwrap import wrap
from typing import TYPE_CHECKING

import attrs

from supervisor._settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WIDTH = 118
_IN_FORCE = "handlers"

_BEGIN = """\
# The settings of supervisor for scripts that do not give them.
#
# The strongest source is the last: the machine's supervisor.toml, the user's, the nearest supervisor.toml (or
# [tool.supervisor] in pyproject.toml) from the script's folder upwards, the chosen profile, SUPERVISOR_* variables,
# the script itself.
# `supervisor config` shows the values in force and their origins. Remove the "#" before what you want to use.

# The profile, unless SUPERVISOR_PROFILE names another; see [profiles] below.
#profile = "production"

# Settings of all runs. Each can also be given by a variable: SUPERVISOR_REPORT_ON=start,success
# The words are those of the script's settings: None is "none" here, True and False are true and false, a path is
# relative to the folder of this file, and handlers are the names of the tables [handlers.NAME] below.
[defaults]
"""
_HANDLERS = """\

# Handlers, with the options of the classes in supervisor.message_handlers. A secret is best kept elsewhere:
#   { env = "NAME" }                          an environment variable
#   { file = "PATH" }                         a file of its own
#   { keyring = "SERVICE", user = "NAME" }    the system's keyring: pip install 'agrc-supervisor[keyring]'
# If you write a secret here, let nobody else read the file: chmod 600

"""
_END = """\
# Settings of the runs of one name, stronger than [defaults].
#[runs."nightly parcels"]
#handlers = ["ops", "chat"]
#report_on = ["start", "success"]
#schedule = "0 2 * * 1-5"
#overlap = "skip"

# A profile has the same tables, stronger than all of the above. SUPERVISOR_PROFILE=development chooses this one.
#[profiles.development.defaults]
#handlers = ["console"]

#[profiles.production]
"""


def example(handlers: Iterable[str]) -> str:
    """Return the example: runs print their messages, and everything else is commented out.

    Args:
        handlers: The table of each type of handler, as TOML; the configuration does not know the types itself.
    """
    tables = (re.sub(r"(?m)^(?=.)", "#", f"{table.strip()}\n\n") for table in handlers)
    return f"{_BEGIN}{''.join(map(''.join, _settings()))}{_HANDLERS}{''.join(tables)}{_END}"


def _settings() -> Iterator[tuple[str, str]]:
    """Yield each setting that a file can give: its explanation as a comment, and an example, commented out."""
    meanings = _meanings()
    for field in attrs.fields(Settings):
        value = field.metadata.get("example")
        if value is not None:
            mark = "" if field.name == _IN_FORCE else "#"
            meaning = meanings.get(field.name, "").replace("``", "`")
            yield "".join(f"# {each}\n" for each in wrap(meaning, _WIDTH)), f"{mark}{field.name} = {value}\n"


def _meanings() -> dict[str, str]:
    """Return what the docstring says of each setting, in one line each; nothing under ``python -OO``."""
    text = (Settings.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    parts = re.split(r"^        (\w+): ", text, flags=re.MULTILINE)
    return {name: " ".join(each.split()) for name, each in zip(parts[1::2], parts[2::2], strict=True)}
