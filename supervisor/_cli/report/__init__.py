"""One page with all runs: a file that needs no server, no network and no other file.

``written_page(journal)`` reads the journal and returns the page as bytes; ``write_page`` puts it where it belongs.
What stands in it is bounded, however long the journal is, and it says what was left out.
"""

from __future__ import annotations

from supervisor._cli.report.gather import gather
from supervisor._cli.report.render import render, write_page

__all__ = ["gather", "render", "write_page"]
