"""Texts from outside on the terminal: nothing in them gives it orders, and what shows nothing is seen."""

from __future__ import annotations

import pytest

from supervisor._cli.shared import line, lines, reason


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b[2K\x1b[1Gdone", "done"),
        ("a\x07b", "a b"),
        ("invoice\u202egpj.exe", r"invoice\u202egpj.exe"),
        ("night\u200bly", r"night\u200bly"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("\x1b[0m", "(blank)"),
    ],
)
def test_a_line_shows_what_is_there(text: str, shown: str) -> None:
    """Escape sequences leave no litter, and what turns the direction or shows nothing stands there as an escape."""
    assert line(text) == shown


def test_lines_keep_their_indentation_and_nothing_else() -> None:
    """A traceback or a log with colours is shown without them."""
    assert lines("\x1b[31mTraceback\x1b[0m\n\tat \x1b[4mmain\x1b[0m\u202e") == ["Traceback", r"    at main\u202e"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "answered 502: <html><head><title>502 Bad\n Gateway</title></head>",
            "answered 502: 502 Bad Gateway (a page in HTML)",
        ),
        (
            "answered 503: <!DOCTYPE html><style>p { color: red }</style><p>Down for <b>repair</b> &amp; tests",
            "answered 503: Down for repair & tests (a page in HTML)",
        ),
        ("refused <ops@example.com>: no such user", "refused <ops@example.com>: no such user"),
    ],
)
def test_a_page_of_a_proxy_is_told_by_its_title(text: str, shown: str) -> None:
    """Where a proxy answers with a page, the reason is what a person would have read there."""
    assert reason(text) == shown
