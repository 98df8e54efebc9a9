"""No trigger and no known secret is missed, whichever way they are looked for."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor._redaction.credentials import KnownSecrets
from supervisor._redaction.scanner import Prefilter, triggers

TRIGGERS = list(triggers(frozenset(), more=True))
TEXTS = [trigger.text for trigger in TRIGGERS]
# Triggers, their beginnings and ends next to each other: "asiasia", "sessiontoken", "key-pass".
PIECE = st.one_of(
    st.sampled_from(TEXTS),
    st.builds(lambda text, at: text[at:], st.sampled_from(TEXTS), st.integers(0, 12)),
    st.builds(lambda text, at: text[:at], st.sampled_from(TEXTS), st.integers(0, 12)),
    st.builds(bytes.upper, st.sampled_from(TEXTS)),
    st.builds(lambda text: b" %s0123456789abcdefghij" % text, st.sampled_from(TEXTS)),
    st.sampled_from([b" ", b"\n", b"x", b"=", b"https://me:", "ß".encode()]),
)


def expected(data: bytes, start: int) -> list[tuple[int, int]]:
    """Return where triggers are, each place once, looked for in the plainest way."""
    lower = data.lower()
    places = {
        (trigger.place(lower, at, start), which)
        for at in range(start, len(lower))
        for which, trigger in enumerate(TRIGGERS)
        if lower.startswith(trigger.text, at)
    }
    return sorted(each for each in places if each[0] >= 0)


def found(prefilter: Prefilter, data: bytes, start: int) -> list[tuple[int, int]]:
    """Return where a prefilter finds triggers."""
    return [(at, which) for at, which, _ in prefilter.hits(data, start)]


@pytest.fixture(params=[pytest.param(True, id="ahocorasick-rs"), pytest.param(False, id="alone")])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ahocorasick-rs, or have it not."""
    if request.param:
        pytest.importorskip("ahocorasick_rs")
    else:
        monkeypatch.setitem(sys.modules, "ahocorasick_rs", None)


@pytest.mark.usefixtures("library")
def test_each_trigger_is_found_where_it_is() -> None:
    """In long texts and in short ones; also triggers that begin within another one."""
    prefilter = Prefilter(TRIGGERS)

    @settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
    @given(st.lists(PIECE, max_size=12).map(b"".join), st.integers(0, 20), st.sampled_from([0, 40, 100]))
    def check(data: bytes, start: int, lines: int) -> None:
        start = min(start, len(data))
        data += b"\nparcel" * lines
        assert found(prefilter, data, start) == expected(data, start)

    check()


@pytest.mark.usefixtures("library")
def test_each_place_is_searched_once() -> None:
    """Each "@" behind one "://" leads to the same search: a thousand of them took a second."""
    data = b"x://a:" + b"@" * 1000
    assert found(Prefilter(TRIGGERS), data, 0) == expected(data, 0)
    assert len(expected(data, 0)) == 1


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("count", [1, 40])
def test_each_known_secret_is_found_where_it_is(count: int) -> None:
    """Among few and many, in short and long texts, those that end or begin like another one too."""

    @settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(st.binary(min_size=6, max_size=40) | st.text("ab", min_size=6).map(str.encode), min_size=1),
        st.data(),
        st.sampled_from([0, 400]),
    )
    def check(some: list[bytes], data: st.DataObject, lines: int) -> None:
        secrets = [*some, *(b"%d-secret" % number for number in range(count - len(some)))]
        piece = st.sampled_from(secrets) | st.sampled_from([each[1:] for each in secrets]) | st.just(b"parcel\n")
        text = b"".join(data.draw(st.lists(piece, max_size=6))) + b"\nparcel" * lines
        start = data.draw(st.integers(0, min(len(text), 10)))
        found = {(each.start, each.end) for each in KnownSecrets(secrets).spans(text, start)}
        assert {text.find(each, start) for each in secrets} - {-1} <= {at for at, _ in found}
        assert all(text[at:end] in secrets and at >= start for at, end in found)

    check()
