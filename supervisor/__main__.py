"""``python -m supervisor`` is the command ``supervisor``.

``supervisor run`` starts with each scheduled program, so it takes the shortest way: it imports click only for a wrong
command line, and skips the 10 ms that an interpreter spends on freeing its memory at the end.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

__all__ = ["main"]

_SIGNED = 1 << 31  # Windows has exit codes from here on; os._exit() takes them as negative numbers


def main() -> None:
    """Run the command of the command line."""
    if sys.argv[1:2] == ["run"]:
        gc.disable()
        from supervisor._cli.exec import parse

        wanted = parse(sys.argv[2:])
        if wanted is not None:
            from supervisor._cli.exec.supervise_command import run

            _leave(run(wanted))
        gc.enable()
    from supervisor._cli.main import main as rest

    rest(prog_name="supervisor")


def _leave(code: int) -> None:
    """End the process at once, after what is registered for its end, with the journal closed and the output flushed."""
    import atexit

    atexit._run_exitfuncs()  # noqa: SLF001 - os._exit() below would skip it
    from supervisor._runtime import default_runtime

    default_runtime().close()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(code if code < _SIGNED else code - 2 * _SIGNED)


if __name__ == "__main__":
    main()
