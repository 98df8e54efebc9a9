"""The page as a file: alone in the world, and whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
import sys
import threading
import time
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from year import Happened, page_of, write_runs

import supervisor._cli.report
from supervisor._cli.report import write_page
from supervisor._cli.report.charts import (
    CELL,
    LEFT,
    SIDE,
    STEP,
    TOP,
    WIDTH,
)

FOLDER = Path(supervisor._cli.report.__file__).parent
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")

PAGE = b'<!doctype html><meta name="generator" content="supervisor">'


class Looked(HTMLParser):
    """What a parser sees in a page."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a page with a few runs."""
    runs = [Happened(name="nightly", at_s=time.time() - 60 * place, values={"rows": place}) for place in range(9)]
    journal = write_runs(tmp_path_factory.mktemp("page"), runs)
    try:
        return page_of(journal).decode()
    finally:
        journal.close()


def test_nothing_in_it_needs_a_network(page: str) -> None:
    """No element names anything but a place in the page, or data in it."""
    for tag, attributes in Looked(page).elements:
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href", "ping", "formaction"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/svg+xml,")), (tag, name, value)
        assert not [name for name in attributes if name.startswith("on")], tag
        assert "style" not in attributes, "the policy would not let it act"
    css = (FOLDER / "page.css").read_text("utf-8")
    assert "url(" not in css
    assert "@import" not in css


def test_policy_allows_its_own_style_and_script_and_nothing_else(page: str) -> None:
    """The policy names the very style and script that stand in the page, and forbids all the rest."""
    policy = (
        next(attributes["content"] for tag, attributes in Looked(page).elements if attributes.get("http-equiv")) or ""
    )
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for directive, pattern in (("style-src", "<style>(.*?)</style>"), ("script-src", "<script>(.*?)</script>")):
        (text,) = re.findall(pattern, page, re.DOTALL)
        known = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{known}'" in policy


def test_script_never_makes_html_of_data() -> None:
    """The page's script has no way to make elements of text."""
    js = (FOLDER / "page.js").read_text("utf-8")
    for never in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
        "fetch(",
        "XMLHttpRequest",
    ):
        assert never not in js, never


def test_template_is_escaped_but_for_drawings() -> None:
    """Only our own drawings pass unescaped, and nothing is marked safe."""
    html = (FOLDER / "page.html").read_text("utf-8")
    assert "|safe" not in html.replace(" ", "")
    assert {each.strip() for each in re.findall(r"\{\{ ([^}]*?) \| svg \}\}", html)} == {
        "each.strip",
        "square",
        "each.year.svg",
        "chart.svg",
    }


def test_script_and_drawings_agree() -> None:
    """The script looks for days and runs where the drawings have them."""
    js = (FOLDER / "page.js").read_text("utf-8")
    assert f"const [cell, step, left, top] = [{CELL}, {STEP}, {LEFT}, {TOP}];" in js
    assert f"{SIDE / WIDTH:g} + {1 - 2 * SIDE / WIDTH:g} *" in js


@POSIX
def test_a_new_page_is_its_owners_alone(tmp_path: Path) -> None:
    """A new page has mode 0600 whatever the umask; one that was opened to others stays so; nothing is left over."""
    target = tmp_path / "runs.html"
    before = os.umask(0)
    try:
        assert write_page(b"one", target) == target
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    target.chmod(0o644)
    write_page(b"two", target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert target.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [target]


def test_readers_see_the_old_page_or_the_new_one(tmp_path: Path) -> None:
    """Who reads while pages are written never sees a part of one."""
    target = tmp_path / "runs.html"
    pages = [bytes([letter]) * 200_000 for letter in b"ab"]
    write_page(pages[0], target)
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            with suppress(PermissionError):  # Windows lets nobody read it at the moment when it is replaced
                seen.add(target.read_bytes())
            done.wait(0.05 if sys.platform == "win32" else 0.0)  # nor is it replaced while somebody always reads it

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        write_page(pages[number % 2], target)
    done.set()
    reader.join()
    assert seen <= set(pages)


@pytest.mark.skipif(sys.platform != "win32", reason="elsewhere an open file can be replaced")
def test_a_page_that_stays_open_is_an_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows replaces no file that somebody has open: the old page stays, and no part of the new one."""
    monkeypatch.setattr(supervisor._cli.report, "REPLACING_S", 0.1)
    target = tmp_path / "runs.html"
    write_page(b"old", target)
    with target.open("rb") as reader, pytest.raises(OSError, match="another program has the old page open"):
        write_page(b"new", target)
    assert reader.closed
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]
    write_page(b"new", target)
    assert target.read_bytes() == b"new"


def test_what_cannot_be_written_leaves_no_trace(tmp_path: Path) -> None:
    """A folder that is not there, and a folder in the page's place, raise OSError and leave nothing behind."""
    with pytest.raises(OSError, match="missing"):
        write_page(b"x", tmp_path / "missing" / "runs.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_page(b"x", tmp_path / "folder")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


@POSIX
def test_a_link_is_followed_and_a_device_left_as_it_is(tmp_path: Path) -> None:
    """A link goes on pointing to the page, and a device takes the page without becoming a file."""
    there, link = tmp_path / "there.html", tmp_path / "link.html"
    link.symlink_to(there)
    for page in (PAGE, PAGE + b"new"):
        assert write_page(page, link) == there
        assert link.is_symlink()
        assert there.read_bytes() == page
    write_page(b"x", "/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@POSIX
def test_a_link_to_something_else_is_not_written_through(tmp_path: Path) -> None:
    """What a link leads to stays, unless it is such a page; a link that another user made is not followed at all."""
    there, link = tmp_path / "thesis.txt", tmp_path / "runs.html"
    there.write_text("years of work")
    link.symlink_to(there)
    with pytest.raises(OSError, match="no such page and would be lost"):
        write_page(PAGE, link)
    assert there.read_text() == "years of work"
    assert link.is_symlink()
    there.write_bytes(PAGE)
    posix: Any = os
    if posix.geteuid() == 0:
        posix.chown(link, 65534, 65534, follow_symlinks=False)
        with pytest.raises(OSError, match="another user"):
            write_page(PAGE, link)


@POSIX
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    """Nobody may ever read from it, so it is not waited for."""
    posix: Any = os
    posix.mkfifo(tmp_path / "runs.html")
    with pytest.raises(OSError, match="use -o -"):
        write_page(PAGE, tmp_path / "runs.html")
