"""A browser for the tests that look at the page in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from browser import WHY_NOT, Browser, Tab, find

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser for all tests of a module."""
    program = find()
    if program is None:
        pytest.skip(WHY_NOT)
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    """Return a fresh tab; after each test nothing may be complained of, and nothing asked of a network."""
    with browser.tab() as tab:
        yield tab
        assert tab.events("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded") == []
        asked = [each["request"]["url"] for each in tab.events("Network.requestWillBeSent")]
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert len({url.partition("#")[0] for url in asked if url.startswith("file:")}) <= 1, asked
