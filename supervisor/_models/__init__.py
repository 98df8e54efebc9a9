"""The values that travel through supervisor, all immutable: messages, reports of runs, and their parts.

The models know nothing of what stands above them. What converts the parts of a message into text is handed in: it is
``render_text``, which the package ``supervisor`` sets when it is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


render_text: Callable[[Any], str]
"""Returns the text of a message that consists of parts."""
