"""The page in a real browser, as people with little screen, little light or no eyes have it; and hostile texts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from year import HOUR_S, Happened, a_year, failure, page_of, write_runs

from supervisor._cli.report.formatting import line
from supervisor._models import DeliveryState, Outcome
from supervisor.models import MessageDetails, Progress

if TYPE_CHECKING:
    from pathlib import Path

    from browser import Tab

NOW_S = time.time()
HOSTILE = (
    '<img src=x onerror="window.hacked=1">',
    "</script><script>window.hacked=1</script>",
    "<!--<script>",
    "--></style><svg onload=window.hacked=1>",
    "\"'`><b>bold</b>",
    "{{ 7 * 7 }}${7*7}{% raw %}",
    "\u202egpj.exe\u2066",
    "line\u2028and\u2029paragraph",
    "nul\x00bell\x07escape\x1b[31mred",
    "lone\udcff surrogate \ud83d",
    "&lt;b&gt;&#60;",
    "javascript:window.hacked=1",
    "__proto__",
    "constructor",
    "%3Cb%3E#run=1",
    "\u0645\u0631\u062d\u0628\u0627 \U0001f469\u200d\U0001f680",
)
# Walks over all texts that can be seen, and returns those whose contrast is less than 4.5 (WCAG 2.2, 1.4.3).
PALE = """
(() => {
  const parse = (text) => {
    const found = (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    return found.length === 3 ? [...found, 1] : found;
  };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, share, i) => sum + share * linear(rgb[i] / 255), 0);
  const behind = (it) => {
    if (!it) return [255, 255, 255];
    const mine = parse(getComputedStyle(it).backgroundColor);
    return mine[3] === 1 ? mine.slice(0, 3) : over(mine, behind(it.parentElement));
  };
  const pale = new Set();
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim().slice(0, 30);
    const it = walker.currentNode.parentElement;
    if (!text || it.closest("script,noscript,option,[hidden],.unseen,.skip") || !it.checkVisibility()) continue;
    seen += 1;
    const style = getComputedStyle(it);
    const back = behind(it);
    const front = over(parse(it instanceof SVGElement ? style.fill : style.color), back);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) pale.add(`${contrast.toFixed(2)} ${it.tagName}.${it.getAttribute("class")} ${text}`);
  }
  return [seen, [...pale]];
})()
"""


# What hangs out of its card, whose edge would cut it.
CUT = """
[...document.querySelectorAll(".card")].filter(it => it.scrollWidth > it.clientWidth)
  .map(it => `${it.className} ${it.scrollWidth} ${it.clientWidth}`)
"""


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a year."""
    directory = tmp_path_factory.mktemp("year")
    journal = a_year(directory, hours=1_500)
    path = directory / "runs.html"
    path.write_bytes(page_of(journal))
    journal.close()
    return path


def open_failure(tab: Tab) -> None:
    """Open the page of the newest failure."""
    tab.run(
        "(() => { const data = JSON.parse(document.getElementById('data').textContent); "
        "location.hash = '#run=' + data.runs.find(run => data.outcomes[run[2]] === 'failure')[0]; })()"
    )
    tab.until("document.querySelector('dialog').open")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(tab: Tab, year: Path, scheme: str) -> None:
    """In light and in dark, every text of the page and of a run's page has a contrast of at least 4.5."""
    tab.prefer(prefers_color_scheme=scheme)
    tab.open(year)
    is_dark = tab.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every(each => each < 60)")
    assert is_dark is (scheme == "dark")
    seen, pale = tab.run(PALE)
    assert seen > 300
    assert pale == []
    open_failure(tab)
    seen, pale = tab.run(PALE)
    assert pale == []


def test_colours_can_be_chosen_and_are_remembered(tab: Tab, year: Path) -> None:
    """The buttons override what the system prefers, tell which is pressed, and the choice outlives a reload."""
    tab.prefer(prefers_color_scheme="light")
    tab.open(year)
    back = "getComputedStyle(document.body).backgroundColor"
    light = tab.run(back)
    tab.click("[data-theme-choice=dark]")
    dark = tab.run(back)
    assert dark != light
    pressed = "[...document.querySelectorAll('.theme button')].map(it => it.getAttribute('aria-pressed')).join()"
    assert tab.run(pressed) == "false,false,true"
    tab.open(year)
    assert tab.run(back) == dark
    tab.click("[data-theme-choice=light]")
    assert tab.run(back) == light


def test_nothing_scrolls_sideways(tab: Tab, year: Path) -> None:
    """At every width the page and a run's page fit, and nothing hangs out at the right."""
    tab.open(year)
    for width in (360, 480, 768, 921, 1_024, 1_121, 1_920):
        tab.resize(width, 800)
        tab.run("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        assert tab.run("document.documentElement.scrollWidth") == width
        assert tab.run(CUT) == [], width
        if width > 900:  # on less a year has no room, and is scrolled
            assert tab.run("document.querySelector('.scroller').scrollWidth") <= tab.run(
                "document.querySelector('.scroller').clientWidth"
            )
        open_failure(tab)
        assert tab.run("(it => it.scrollWidth - it.clientWidth)(document.querySelector('dialog'))") == 0, width
        tab.run("document.querySelector('dialog').close()")
        tab.until("location.hash === ''")


def test_every_control_has_a_name(tab: Tab, year: Path) -> None:
    """Assistive technology finds landmarks, one main heading, and a name for everything that can be focused."""
    tab.open(year)
    named = tab.named()
    assert [role for role, name in named if not name.strip()] == []
    assert {"button", "link", "combobox", "searchbox", "slider"} <= {role for role, _ in named}
    for wanted in ("header", "main", "footer", "nav[aria-label]", "form[role=search][aria-label]", "html[lang=en]"):
        assert tab.run(f"document.querySelectorAll('{wanted}').length") >= 1, wanted
    assert tab.run("document.querySelectorAll('h1').length") == 1
    assert tab.run("(all => all.length === new Set(all.map(it => it.id)).size)([...document.querySelectorAll('[id]')])")
    assert tab.run(
        "[...document.querySelectorAll('section')].map(it => it.getAttribute('aria-labelledby'))"
        ".every(id => document.getElementById(id))"
    )
    assert tab.run("[...document.querySelectorAll('thead th')].every(it => it.scope === 'col')")
    open_failure(tab)
    assert [role for role, name in tab.named() if not name.strip()] == []


def test_first_stop_skips_to_the_list_and_focus_is_seen(tab: Tab, year: Path) -> None:
    """The first Tab reaches a link to the list, which shows itself; what has the focus has an outline."""
    tab.open(year)
    tab.press("Tab")
    assert tab.run("document.activeElement.className") == "skip"
    assert tab.run("document.activeElement.getBoundingClientRect().left") >= 0
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.press("Enter")
    tab.until("location.hash === '#runs'")
    tab.press("Tab")
    assert tab.run("document.activeElement.id") == "f-script"


def test_nothing_moves_for_those_who_want_no_motion(tab: Tab, year: Path) -> None:
    """With reduced motion there is no animation, and no smooth scrolling."""
    tab.prefer(prefers_reduced_motion="reduce")
    tab.open(year)
    open_failure(tab)
    assert tab.run("document.getAnimations().length") == 0
    assert tab.run("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_it_prints_without_its_controls(tab: Tab, year: Path) -> None:
    """On paper there are light colours whatever the screen has, and no filters, buttons or navigation."""
    tab.open(year)
    tab.click("[data-theme-choice=dark]")
    tab.call("Emulation.setEmulatedMedia", media="print")
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for hidden in (".filters", ".pager", ".sections", ".theme", ".show-runs"):
        assert not tab.run(f"document.querySelector('{hidden}').checkVisibility()"), hidden
    assert tab.run("document.querySelector('.chart').checkVisibility()")
    tab.resize(718, 1_000)  # an A4 sheet within its margins
    assert tab.run("document.documentElement.scrollWidth") == 718
    assert tab.run(CUT) == []


def test_hostile_texts_are_only_text(tab: Tab, tmp_path: Path) -> None:
    """Whatever a script calls itself, records, raises or logs is text: nothing of it runs or becomes an element."""
    path = hostile_page(tmp_path)
    tab.open(path)
    names = tab.run("[...document.querySelectorAll('#table tbody th')].map(it => it.textContent)")
    assert sorted(set(names)) == sorted({line(name) for name in HOSTILE})
    for _ in range(tab.run("JSON.parse(document.getElementById('data').textContent).runs.length")):
        tab.run("document.querySelector('dialog').open || document.querySelector('#table tbody a').click()")
        tab.until("document.querySelector('dialog').open")
        tab.run("document.getElementById('r-older').click()")
    for place in range(len(HOSTILE)):
        tab.run(f"location.hash = document.querySelectorAll('#table tbody a')[{place}].hash")
        shown = line(HOSTILE[len(HOSTILE) - 1 - place])
        tab.until(f"document.querySelector('dialog h2').textContent === {js(shown)}")
        body = tab.run("document.querySelector('dialog').textContent")
        assert body.count(shown) >= 8, shown
    tab.run("document.querySelector('.plot.days').focus(); document.querySelector('.plot.time').focus()")
    assert tab.run("window.hacked") is None
    assert tab.run("document.scripts.length") == 2
    assert (
        tab.run(
            "document.querySelectorAll('img, b:not(.pair b), iframe, object, svg [onload], [onerror], [onload]').length"
        )
        == 0
    )
    assert tab.run("({}).hacked") is None


def js(text: str) -> str:
    """Return a text as JavaScript writes it."""
    import json

    return json.dumps(text)


def hostile_page(directory: Path) -> Path:
    """Write a page in which everything that a script or a machine can name is hostile."""
    runs = []
    for place, text in enumerate(HOSTILE):
        log = directory / f"{place}.log"
        log.write_text(f"{text}\n", "utf-8", "surrogatepass")
        error = failure(text, text, file=text, line=1, function=text, source=text)
        error = attrs.evolve(error, notes=(text,), local_variables=((text, text),), thread=text)
        common: dict[str, Any] = {"name": text, "at_s": NOW_S - (len(HOSTILE) - place) * HOUR_S, "schedule": text}
        values = {text: text, "number": place, "big": 10**30, "bad": float("nan"), "far": float("inf")}
        runs.append(
            Happened(
                **common,
                outcome=Outcome.FAILURE,
                error=error,
                log_path=str(log),
                values=values,
                progress=Progress(done=1, total=2, message=text),
            )
        )
    journal = write_runs(directory, runs, host=HOSTILE[1])
    for text in HOSTILE:
        for delivery in journal.put(MessageDetails(text, text), [text], claimed=True):
            journal.settle(delivery, DeliveryState.FAILED, error=text)
    path = directory / "runs.html"
    path.write_bytes(page_of(journal))
    journal.close()
    return path
