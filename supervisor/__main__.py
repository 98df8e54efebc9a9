"""``python -m supervisor`` is the command ``supervisor``."""

from supervisor.cli import main

if __name__ == "__main__":
    main(prog_name="supervisor")
