"""A text as HTML, for those who read their messages there."""

from __future__ import annotations

from html import escape

_PAGE = """\
<!doctype html>
<html>
<head><meta charset="utf-8"><meta name="color-scheme" content="light dark"></head>
<body style="margin: 0; padding: 16px;">
<pre style="margin: 0; white-space: pre-wrap; overflow-wrap: anywhere;
font: 14px/1.5 ui-monospace, Consolas, Menlo, 'DejaVu Sans Mono', monospace;">
{text}</pre>
</body>
</html>
"""


def from_text(text: str) -> str:
    """Return a page that shows a text as it stands: its columns kept, its long lines wrapped, nothing in it active.

    The styles stand on the elements, since mail readers leave out the rest, and there are no colours, so that light
    and dark readers choose their own.
    """
    return _PAGE.format(text=escape(text))
