"""Where a value came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from supervisor._config.problems import Key
    from supervisor._config.toml_file import Source


@attrs.frozen(eq=False)
class Origin:
    """The file or the variable that a value came from.

    Args:
        source: The file; None for a variable.
        key: The value's key in it.
        variable: The environment variable; "" for a file.
    """

    source: Source | None = attrs.field(default=None, repr=False)
    key: Key = ()
    variable: str = ""

    @property
    def file(self) -> str:
        """Return the file's path; "" for a variable."""
        return self.source.path if self.source is not None else ""

    @property
    def line(self) -> int | None:
        """Return the line in the file, looked for only now; None where it is not known."""
        return self.source.line_of(self.key) if self.source is not None else None

    def __str__(self) -> str:
        if self.source is None:
            return f"environment variable {self.variable}"
        return self.file if self.line is None else f"{self.file}:{self.line}"
