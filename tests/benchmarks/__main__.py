"""Run every benchmark here, one after the other: ``python -m tests.benchmarks [name ...]``."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(names):
    """Run the benchmarks that are named, or all; each prints its own tables as Markdown."""
    # Without byte code each child would compile the package anew, which no user has to wait for.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for path in sorted(HERE.glob("bench_*.py")):
        name = path.stem.removeprefix("bench_")
        if not names or name in names:
            print(f"\n## {name}\n", flush=True)
            subprocess.run([sys.executable, str(path)], env=env, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
