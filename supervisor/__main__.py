"""``python -m supervisor`` is the command ``supervisor``.

``supervisor run`` stands before many a scheduled program, and takes the shortest way: without click, which only
helps with a wrong command line, and without the 10 ms that an interpreter needs to tidy up before it ends.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

__all__ = ["main"]

_SIGNED = 1 << 31  # the exit codes of Windows go beyond what Python takes for one


def main() -> None:
    """Carry out what the command line says."""
    if sys.argv[1:2] == ["run"]:
        gc.disable()
        from supervisor._cli.exec.options import parse

        wanted = parse(sys.argv[2:])
        if wanted is not None:
            from supervisor._cli.exec.supervise_command import run

            _leave(run(wanted))
        gc.enable()
    from supervisor._cli.main import main as rest

    rest(prog_name="supervisor")


def _leave(code: int) -> None:
    """End the process: everything is told and closed."""
    import atexit

    atexit._run_exitfuncs()  # noqa: SLF001 - what is registered is done, as at any other end
    from supervisor._runtime import default_runtime

    default_runtime().close()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(code if code < _SIGNED else code - 2 * _SIGNED)


if __name__ == "__main__":
    main()
