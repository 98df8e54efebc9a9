"""Planted secrets never survive, whatever stands around them, and nothing else changes."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planted import ALNUM, ANY_SECRET, MANY, NOISE, SHAPES, WORD, Planted, surrounded, survives

from supervisor._redaction import Redactor

REDACTOR = Redactor()
QUICK = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
THOROUGH = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
# Letters that make no trigger: what is written with them holds no secret.
HARMLESS = st.text(st.characters(exclude_characters=string.ascii_letters + ":@_-=\"'"))


def streamed(redactor: Redactor, data: bytes, sizes: list[int]) -> bytes:
    """Return some bytes as the filter lets them through, fed in pieces of these sizes, over and over."""
    passing, out, at, turn = redactor.bytes_filter(), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        out.append(passing.feed(data[at : at + size]))
        at, turn = at + size, turn + 1
    return b"".join([*out, passing.flush()])


@pytest.mark.parametrize("name", SHAPES)
def test_a_secret_of_every_known_shape_is_found_in_hostile_surroundings(name: str) -> None:
    """Not even half of it is left, and a marker tells what was there."""

    @settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
    @given(surrounded(SHAPES[name]))
    def check(planted: Planted) -> None:
        text, secret = planted
        redacted = REDACTOR.text(text)
        assert not survives(secret, redacted)
        assert "[redacted: " in redacted

    check()


@THOROUGH
@given(MANY)
def test_many_secrets_in_one_text_are_all_found(planted: list[Planted]) -> None:
    """One secret never hides another one."""
    redacted = REDACTOR.text("".join(text for text, _ in planted))
    assert not any(survives(secret, redacted) for _, secret in planted)


@THOROUGH
@given(MANY)
def test_redacting_twice_changes_nothing(planted: list[Planted]) -> None:
    """A message that is redacted on its way is not damaged by being redacted again."""
    once = REDACTOR.text("".join(text for text, _ in planted))
    assert REDACTOR.text(once) == once


@QUICK
@given(st.lists(NOISE | st.text(), max_size=20).map("\n".join))
def test_redacting_any_text_twice_changes_nothing(text: str) -> None:
    """The same holds for text that nobody has planted anything in."""
    once = REDACTOR.text(text)
    assert REDACTOR.text(once) == once


@THOROUGH
@given(MANY, st.booleans())
def test_secrets_are_found_in_long_texts_as_in_short_ones(planted: list[Planted], is_before: bool) -> None:
    """The two ways of looking for triggers find the same."""
    text, filling = "".join(each for each, _ in planted), "parcel\n" * 1000
    long, redacted = (filling + text, filling + REDACTOR.text(text)) if is_before else (text + "\n" + filling, "")
    assert REDACTOR.text(long) == (redacted or REDACTOR.text(text + "\n") + filling)


@QUICK
@given(HARMLESS)
def test_a_text_without_secrets_is_the_very_same_object(text: str) -> None:
    """Nothing is copied, and no character is touched: lone surrogates and NUL among them."""
    assert REDACTOR.text(text) is text


@THOROUGH
@given(MANY, st.lists(st.sampled_from([1, 2, 7, 63, 1000, 4096, 70_000]), min_size=1, max_size=5))
def test_a_log_is_redacted_as_the_text_is_wherever_its_pieces_end(planted: list[Planted], sizes: list[int]) -> None:
    """Borders of pieces, even within a secret, make no difference."""
    text = "".join(each for each, _ in planted)
    data = text.encode("utf-8", "surrogatepass")
    redacted = streamed(REDACTOR, data, sizes)
    assert redacted == REDACTOR.text(text).encode("utf-8", "surrogatepass")


@QUICK
@given(
    st.lists(st.tuples(surrounded(ANY_SECRET), st.integers(0, 90_000)), min_size=1, max_size=4),
    st.sampled_from([997, 16_384, 65_536, 262_144]),
    st.sampled_from(["harmless words ", "x", "line\n", "€"]),
)
def test_secrets_at_the_borders_of_blocks_are_found(
    planted: list[tuple[Planted, int]], size: int, filling: str
) -> None:
    """Long lines and long logs are looked at in blocks, and no secret falls between two."""
    text = "".join(f"{filling * (count // len(filling))}\n{each}" for (each, _), count in planted)
    redacted = streamed(REDACTOR, text.encode("utf-8", "surrogatepass"), [size])
    assert not any(survives(secret, redacted.decode("utf-8", "surrogatepass")) for (_, secret), _ in planted)


@QUICK
@given(st.binary(max_size=300), st.lists(st.integers(1, 50), min_size=1, max_size=4))
def test_bytes_without_secrets_come_out_as_they_went_in(data: bytes, sizes: list[int]) -> None:
    """No encoding is needed for that: what cannot be decoded is not changed."""
    data = re.sub(rb"[A-Za-z:@_=-]", b"0", data)
    assert streamed(REDACTOR, data, sizes) == data


@QUICK
@given(st.text(max_size=300), st.sampled_from(["utf-16-le", "utf-16-be"]), st.lists(st.integers(1, 9), min_size=1))
def test_utf_16_comes_out_as_it_went_in(text: str, encoding: str, sizes: list[int]) -> None:
    """The same holds for what PowerShell writes, wherever its pieces end."""
    text = "\ufeff" + re.sub("[A-Za-z:@_=-]", "0", text)
    data = text.encode(encoding, "surrogatepass")
    assert streamed(REDACTOR, data, sizes) == data


BETWEEN = st.sampled_from(["", " ", "&", "'", '"', "ü", "<", "\\", "%", "日本"])


@THOROUGH
@given(st.tuples(WORD, BETWEEN, WORD), NOISE, NOISE, st.sampled_from(["", " "]))
def test_a_known_secret_is_found_anywhere(parts: tuple[str, str, str], before: str, behind: str, gap: str) -> None:
    """Nothing needs to tell of it, and it may be part of a longer word."""
    secret = "".join(parts)
    redacted = Redactor([secret]).text(f"{before}{gap}{secret}{gap}{behind}")
    assert secret not in redacted
    assert parts[2] not in redacted


@QUICK
@given(st.dictionaries(st.text(ALNUM, max_size=8), st.none() | st.integers() | st.text(max_size=20), max_size=5), WORD)
def test_values_under_the_key_of_a_secret_never_survive(values: dict[str, object], word: str) -> None:
    """Neither at the top nor deep within."""
    nested = {
        "run": [values, {"db": {"password": word}}],
        "api_key": [word, (word, {word})],
        "credentials": {"a": word},
    }
    redacted = REDACTOR.mapping({**nested, "n": 1, "key": f"token={word}"})
    assert word not in repr(redacted)
    assert redacted["n"] == 1
    assert REDACTOR.mapping(redacted) == redacted
