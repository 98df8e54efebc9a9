"""Messages as HTML: readable in every mail program, with nothing active in it, whatever scripts put into them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor._messages import message_for, message_from_parts, rendering, with_delay_note
from supervisor._models import Kind, Outcome
from supervisor._models.parts import (
    Code,
    Facts,
    Past,
    PastRun,
    Row,
    Summary,
    Text,
)
from supervisor._text import is_address
from supervisor.models import ErrorDetails, MessageDetails, RunReport

NOW = datetime(2026, 3, 1, 2, 0, 3, tzinfo=UTC)
REPORT = RunReport(
    id="r1",
    name="nightly parcels",
    outcome=Outcome.FAILURE,
    started_at=NOW,
    ended_at=NOW + timedelta(seconds=143),
    duration_s=143.0,
    values={"parcels": 412_345, "empty": 0},
    error=ErrorDetails(
        type="KeyError",
        message="'apn'",
        where="parcels.py:41 in load",
        excerpt="  40 | for row in rows:\n> 41 |     row['apn']\n  42 | ",
        notes=("county 35",),
        local_variables=(("row", "{'APN': 1}"),),
        traceback="Traceback (most recent call last):\n  File \"parcels.py\", line 41, in load\nKeyError: 'apn'",
    ),
    host="gis-01",
    user="svc",
    pid=42,
    argv=("parcels.py",),
    log_tail=("WARNING one", "ERROR two"),
    log_counts={"ERROR": 1, "WARNING": 1},
)
PAST = Past(
    runs=tuple(
        PastRun(
            outcome=Outcome.FAILURE if n == 4 else Outcome.SUCCESS,
            started_at=NOW - timedelta(days=n),
            duration_s=400.0 + n,
            values={"empty": 12_000 + n},
        )
        for n in range(1, 30)
    ),
    successes=3,
)
PASSIVE = {
    *("html", "head", "meta", "title", "style", "body"),
    *("table", "tr", "td", "div", "p", "h1", "pre", "b", "span", "a"),
}


class Page(HTMLParser):
    """A page taken apart."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """See that tags close in order."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note what is shown."""
        if not self.open or self.open[-1] not in ("style", "title"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        """Return all that is shown, blanks put together."""
        return " ".join("".join(self.texts).split())


def page_of(details: MessageDetails) -> Page:
    """Return a page that has been found well-formed and passive."""
    source = rendering.as_html(details)
    page = Page(source)
    assert not page.open
    assert set(page.tags) <= PASSIVE
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "background")]
    assert all(is_address(value) for name, value in page.attributes if name == "href")
    assert "url(" not in source
    assert "@import" not in source
    return page


def failure(**changes: Any) -> MessageDetails:
    """Return the message of a failure."""
    return message_for(Kind.FAILURE, attrs.evolve(REPORT, **changes), past=PAST)


def test_a_failure_shows_what_the_text_says() -> None:
    """Every word of the text stands in the page too."""
    details = failure()
    shown = page_of(details).text
    for line in details.message.replace("Traceback (most", "Traceback\n(most").split("\n"):
        for words in line.split("  "):
            assert " ".join(words.split()) in shown, words


def test_the_line_of_the_error_is_marked() -> None:
    """The line of code that failed stands in bold, its own neighbours do not, and each keeps its line."""
    source = rendering.as_html(failure())
    assert ">&gt; 41 |     row[&#39;apn&#39;]\n</b>  42 |" in source
    assert "  40 | for row in rows:\n<b class=" in source


def test_bars_have_heights_and_marks() -> None:
    """Each run is a cell with a height and a colour, the failed ones with a cross below, and words beside them."""
    page = page_of(failure())
    heights = [int(value) for name, value in page.attributes if name == "height" and value not in ("5", "8", "14")]
    assert len(heights) == 30
    assert max(heights) == 48
    assert page.text.count("\N{MULTIPLICATION SIGN}") == 2
    assert "Of the 29 runs before it, 28 succeeded" in page.text
    first, last = (f"{each.started_at.astimezone():%Y-%m-%d}" for each in (PAST.runs[-1], REPORT))
    assert f"{first} to {last}" in page.text


def test_one_run_that_took_for_ever_does_not_flatten_the_rest() -> None:
    """A bar is cut at four times the median."""
    page = page_of(message_for(Kind.SUCCESS, attrs.evolve(REPORT, error=None, duration_s=1e9), past=PAST))
    heights = sorted(
        int(value) for name, value in page.attributes if name == "height" and value not in ("5", "8", "14")
    )
    assert heights[-1] == 48
    assert heights[0] >= 11


def test_no_durations_divide_by_zero() -> None:
    """Runs that took no time at all have bars too."""
    past = attrs.evolve(PAST, runs=tuple(attrs.evolve(run, duration_s=0.0) for run in PAST.runs))
    page_of(message_for(Kind.FAILURE, attrs.evolve(REPORT, duration_s=0.0), past=past))


def test_what_stands_out_has_a_colour_of_its_own() -> None:
    """A success in which something stands out is not all green."""
    calm = message_for(Kind.SUCCESS, attrs.evolve(REPORT, error=None, values={"empty": 12_010}, duration_s=400.0))
    odd = message_for(Kind.SUCCESS, attrs.evolve(REPORT, error=None, duration_s=400.0), past=PAST)
    assert ("#1a7f45" in rendering.as_html(calm), "#a65b00" in rendering.as_html(odd)) == (True, True)
    assert "usually 12,003-12,019" in page_of(odd).text


def test_the_page_says_how_it_is_to_be_shown() -> None:
    """Dark mode and phones are asked for, and a mail program shows the error behind the subject in its list."""
    source = rendering.as_html(failure())
    assert '<meta name="color-scheme" content="light dark">' in source
    assert "prefers-color-scheme: dark" in source
    assert "max-width:640px" in source
    hidden = source.index("display:none")
    assert hidden < source.index("KeyError: &#39;apn&#39;") < source.index("<h1")


@pytest.mark.parametrize("details", [failure(), MessageDetails("s", "t", level="error")], ids=["parts", "a level"])
def test_a_message_is_text_where_the_template_is_gone(monkeypatch: pytest.MonkeyPatch, details: MessageDetails) -> None:
    """A package that was removed or is being replaced has no template any more; the text is sent all the same."""
    monkeypatch.setattr(rendering, "_template", removed_template)
    text, html = rendering.rendered(details)
    assert text
    assert html is None


def removed_template() -> object:
    """Do as jinja2 does when its folder of templates has been removed."""
    raise ValueError("PackageLoader could not find a '_messages/templates' directory in the 'supervisor' package.")


def test_own_html_goes_first_and_text_comes_last() -> None:
    """A script's own HTML is used as it is; a text without parts is shown as it stands."""
    assert rendering.as_html(MessageDetails("s", "t", html="<p>mine</p>")) == "<p>mine</p>"
    assert rendering.as_html(MessageDetails("s", "1 < 2")) == rendering.html_from_text("1 < 2")


def test_a_late_message_says_so_first() -> None:
    """What was delayed says so above all else, in text and HTML."""
    late = with_delay_note(failure(), datetime.now(UTC) + timedelta(hours=5))
    assert late.message.startswith("Delayed 5 h")
    assert page_of(late).text.index("Delayed 5 h") < page_of(late).text.index("Recorded")


def test_a_huge_failure_fits_what_gmail_shows() -> None:
    """The page of a failure with the longest traceback, log and notes stays below 102 KB."""
    error = attrs.evolve(
        REPORT.error or ErrorDetails(type="E"),
        traceback='  File "x.py", line 1, in <module>\n' * 5_000,
        notes=("n" * 5_000,) * 50,
        local_variables=tuple((f"v{n}", "'<b>'" * 20) for n in range(100)),
    )
    source = rendering.as_html(failure(error=error, log_tail=("l" * 200,) * 500))
    assert len(source.encode()) < 102_000
    assert "characters left out" in source


HOSTILE = st.text(
    st.characters() | st.sampled_from("<>&\"'`\r\n\0\x1b\ud800\udfff{}%\u2028\u202e😀"), max_size=120
) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        "</pre></td></table><img src=x onerror=alert(1)>",
        "{{ 7*7 }}{% raw %}",
        "]]><!--",
        "--><b>",
        '" onload="x',
        "http://",
        'https://x/"onclick="y',
        "\x1b[31mred\x1b[0m",
    ]
)


@settings(deadline=None, max_examples=60)
@given(name=HOSTILE, text=HOSTILE, code=HOSTILE)
def test_hostile_text_is_only_text(name: str, text: str, code: str) -> None:
    """Whatever stands in names, values, code and subjects, it is shown, and is nothing but text."""
    report = attrs.evolve(
        REPORT,
        name=name,
        host=text,
        values={name: text, text: 1},
        argv=(code,),
        error=ErrorDetails(
            type=text, message=code, where=name, excerpt=code, notes=(text,), local_variables=((name, code),),
            traceback=code,
        ),
        log_tail=(code,),
        log_counts={text: 1},
    )  # fmt: skip
    for details in (
        message_for(Kind.FAILURE, report, note=text, past=PAST),
        message_from_parts(Kind.NOTICE, text, [Text(text), Code(name, code), Facts(name, (Row(name, text, code),))]),
    ):
        page_of(details)
        rendering.as_html(details).encode()
        assert not any(ord(c) < 32 and c not in "\n\t" for c in details.message)
        details.message.encode()


def test_nothing_is_escaped_twice() -> None:
    """A text arrives as it was, however many ampersands it has."""
    page = page_of(message_from_parts(Kind.NOTICE, "a &amp; <b>", [Text("1 < 2 &amp; 3"), Code("", "a\n  b &lt;")]))
    assert page.text == "1 < 2 &amp; 3 Notice a &amp; <b> 1 < 2 &amp; 3 a b &lt;"


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_its_page(kind: Kind) -> None:
    """A message of any kind, with an account of its run, can be shown."""
    page = page_of(MessageDetails("subject", kind=kind, report=REPORT, parts=(Summary(note="A note."),)))
    assert "A note." in page.text
    assert page_of(MessageDetails("subject", kind=kind, parts=(Summary(), Text("text")))).text.endswith("text")


def test_composing_loads_no_jinja() -> None:
    """A run that fails composes its message and text without the library that only HTML needs."""
    script = """
import sys
from datetime import UTC, datetime
from supervisor._messages import message_for
from supervisor._models.parts import Past
from supervisor.models import ErrorDetails, Kind, RunReport
report = RunReport(id="1", name="a", started_at=datetime.now(UTC), error=ErrorDetails(type="E"), values={"n": 1})
for kind in (Kind.FAILURE, Kind.SUCCESS):
    assert message_for(kind, report, past=Past()).message
print(sorted({"jinja2", "statistics", "importlib.resources"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
