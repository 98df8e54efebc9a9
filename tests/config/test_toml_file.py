"""On which line a key stands."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from supervisor._config.toml_file import lines_of_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = '''\
# [not.a.table]
profile = "a"

[handlers.ops]            # 4
type = """
[handlers.trap]
"""
to = [                    # 8
  "a",  # ]
  "b",
]
api_key = { env = "X" }   # 12
a . "b c" . 'd' = 1       # 13
  [ handlers . "the other" ]
[[runs.x]]
y = 1
[[runs.x]]
z = 2                     # 18
["\\u0061b"]
'''


def test_each_key_has_its_line() -> None:
    """Comments, texts and lists over several lines, dotted and quoted keys, inline tables: all are where they begin."""
    lines = lines_of_keys(TEXT)
    assert lines == {
        ("profile",): 2,
        ("handlers",): 4,
        ("handlers", "ops"): 4,
        ("handlers", "ops", "type"): 5,
        ("handlers", "ops", "to"): 8,
        ("handlers", "ops", "api_key"): 12,
        ("handlers", "ops", "api_key", "env"): 12,
        ("handlers", "ops", "a"): 13,
        ("handlers", "ops", "a", "b c"): 13,
        ("handlers", "ops", "a", "b c", "d"): 13,
        ("handlers", "the other"): 14,
        ("runs",): 15,
        ("runs", "x"): 15,
        ("runs", "x", "y"): 16,
        ("runs", "x", "z"): 18,
        ("ab",): 19,
    }
    assert lines_of_keys(TEXT.replace("\n", "\r\n")) == lines
    assert lines_of_keys("") == {}


def test_a_long_statement_ends_the_search() -> None:
    """What comes after a list of a thousand lines has no line, and the search for it takes no time to speak of."""
    text = "a = 1\nb = [\n" + "1,\n" * 1000 + "]\nc = 3"
    tomllib.loads(text)
    assert lines_of_keys(text) == {("a",): 1}


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(
    st.integers()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
    | st.lists(st.integers(), max_size=3),
    lambda inner: st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


def every_key(table: dict[str, Any], outer: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the keys of a table and of the tables in it."""
    for name, value in table.items():
        yield (*outer, name)
        if isinstance(value, dict):
            yield from every_key(value, (*outer, name))


@given(table=st.dictionaries(names, values, max_size=4), multiline=st.booleans())
def test_every_key_is_found(table: dict[str, Any], multiline: bool) -> None:
    """Each key of any file has a line, and that line can be read in which it stands."""
    text = tomli_w.dumps(table, multiline_strings=multiline)
    lines = lines_of_keys(text)
    assert set(every_key(table)) == set(lines)
    for number in lines.values():
        assert text.split("\n")[number - 1].strip()
