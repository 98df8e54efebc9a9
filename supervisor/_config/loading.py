"""Look for a configuration. A run that finds none has paid for a few looks at the disk, and loaded nothing more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from supervisor._config.configuration import Configuration
from supervisor._config.search import Place, places_upwards, standing_places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from supervisor._config.search import AnyPath

PREFIX = "SUPERVISOR_"
CONFIG = "SUPERVISOR_CONFIG"
NOT_OURS = frozenset(
    {
        CONFIG,
        # The journal's own, and those of commands.
        "SUPERVISOR_STATE",
        "SUPERVISOR_KEEP_RUNS",
        "SUPERVISOR_KEEP_DAYS",
        "SUPERVISOR_KEEP_COPIES_MB",
        "SUPERVISOR_PING_URL",
        # What the process manager of the same name gives to its children:
        # https://supervisord.org/subprocess.html#subprocess-environment
        "SUPERVISOR_ENABLED",
        "SUPERVISOR_PROCESS_NAME",
        "SUPERVISOR_GROUP_NAME",
        "SUPERVISOR_SERVER_URL",
    }
)

_NOTHING = Configuration()


def load(
    script: AnyPath | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    directories: Sequence[AnyPath] | None = None,
) -> Configuration:
    """Return what files and environment say. Nothing that they say raises: see :attr:`Configuration.problems`.

    Args:
        script: The script whose run it is for: its folder is where the search upwards starts, that of the file itself
            where it is a link. None starts in the working directory.
        environ: The environment. ``SUPERVISOR_CONFIG`` names one file that is read instead of the search, whatever
            its name and its owner; the null device (``/dev/null``) reads no file at all.
        directories: Where to look for the machine's and the user's file, the user's last. None means the platform's
            own places.
    """
    chosen = environ.get(CONFIG, "").strip()
    if chosen:
        path = os.path.abspath(os.path.expanduser(chosen))  # noqa: PTH100, PTH111 - pathlib costs 3 ms
        standing = [] if chosen == os.devnull else [Place(path)]
        upwards = []
    else:
        standing = list(standing_places(environ, directories))
        upwards = list(places_upwards(script))
    variables = [name for name in environ if name.startswith(PREFIX) and name not in NOT_OURS]
    if not standing and not upwards and not variables:
        return _NOTHING
    from supervisor._config.assembly import assemble

    return assemble(standing, upwards, {name: environ[name] for name in variables})
