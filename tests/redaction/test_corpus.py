"""A corpus of realistic shapes of secrets, all of which are found, and of lines and values that stay as they are.

Each file of the corpus is one test, which lists the lines that fail: that takes a tenth of the time of a test per line.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from corpus import coloured, commands, files, innocent, nightly, options, pairs, protocols, vendors

from supervisor._redaction import Redactor
from supervisor._redaction.shapes import VENDOR_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

REDACTOR = Redactor()
# A password as machines make them, and one that is a word.
PASSWORDS = ("Tr0ub4dor3x", "blueherring")


def planted(shape: str, password: str) -> tuple[str, str]:
    """Return a text with a secret in it, and what must not be seen of it: the password, or its form in base64."""
    in_base64 = b64encode(f"\0me\0{password}".encode()).decode()
    return shape.replace("@@", password).replace("##", in_base64), in_base64 if "##" in shape else password


def survives(secret: str, text: str) -> bool:
    """Return whether a secret, or half of it, is in a text."""
    half = max(4, len(secret) // 2)
    return secret[:half] in text or secret[-half:] in text


def unredacted(shapes: Iterable[str]) -> list[str]:
    """Return the texts in which a secret is still seen, or which change when they are redacted again."""
    found = []
    for shape in shapes:
        for password in PASSWORDS:
            text, secret = planted(shape, password)
            redacted = REDACTOR.text(text)
            if survives(secret, redacted) or REDACTOR.text(redacted) != redacted:
                found.append(redacted)
    return found


@pytest.mark.parametrize(
    "shapes",
    [
        pytest.param(coloured.SHAPES, id="coloured"),
        pytest.param(options.SHAPES, id="options"),
        pytest.param(pairs.SHAPES, id="pairs"),
        pytest.param(files.SHAPES, id="files"),
        pytest.param(protocols.SHAPES, id="protocols"),
        pytest.param(nightly.SHAPES, id="nightly"),
        pytest.param(commands.SHAPES, id="commands"),
    ],
)
def test_each_shape_of_a_secret_is_found(shapes: Sequence[str]) -> None:
    """Of no secret more than half is left, and redacting again changes nothing."""
    assert unredacted(shapes) == []


def test_command_lines_of_processes_have_no_secrets() -> None:
    """Also where a value begins with a hyphen, and where only the program's name tells what an option means."""
    found = []
    for arguments in options.ARGUMENTS:
        for password in PASSWORDS:
            redacted = REDACTOR.arguments([each.replace("@@", password) for each in arguments])
            if any(survives(password, each) for each in redacted):
                found.append(redacted)
    assert found == []


@pytest.mark.parametrize("prefix", [prefix for _, prefixes, _ in VENDOR_TOKENS for prefix in prefixes])
def test_a_token_is_known_by_its_prefix(prefix: str) -> None:
    """Within a sentence, quoted, in a URL and behind an escaped line break; but not within a word."""
    token = prefix + vendors.TOKENS[prefix]
    for template in ("sent {}, done", "'{}'", "https://example.com/{}", r"a\n{}", "x={}"):
        redacted = REDACTOR.text(template.format(token))
        assert vendors.TOKENS[prefix][-16:] not in redacted
        assert "[redacted: " in redacted
    assert REDACTOR.text(f"a word{prefix}") == f"a word{prefix}"


def test_what_only_looks_like_a_secret_stays() -> None:
    """Words, numbers and booleans under such names, words that contain a key, lists of pages, commands and code."""
    changed = {line: REDACTOR.text(line) for line in (*innocent.LINES, *nightly.LINES)}
    assert {line: text for line, text in changed.items() if line != text} == {}


def test_recorded_values_that_are_no_secrets_stay() -> None:
    """Numbers, booleans and words, by names that only contain the name of a secret."""
    assert REDACTOR.mapping(innocent.VALUES) == innocent.VALUES


@pytest.mark.parametrize(("text", "secrets"), files.WHOLE)
def test_the_lines_of_a_key_of_putty_go(text: str, secrets: tuple[str, ...]) -> None:
    """Its comment, its public lines and its checksum stay."""
    redacted = REDACTOR.text(text)
    assert not any(survives(each, redacted) for each in secrets)
    assert "Private-MAC: 9f8e" in redacted
