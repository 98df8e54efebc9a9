"""Logs that are redacted on their way through, in bounded memory."""

from __future__ import annotations

import random

import pytest
from planted import private_key

from supervisor._redaction import Redactor
from supervisor._redaction.redactor import BLOCK_BYTES

RANDOM = random.Random(6)
KIB = 1024
HELD_BYTES = 2_500 * KIB
"""The most that the filter may hold back, with room to spare."""


def passed(redactor: Redactor, data: bytes, size: int = 64 * KIB) -> bytes:
    """Return some bytes as the filter lets them through."""
    passing = redactor.bytes_filter()
    out = [passing.feed(memoryview(data)[at : at + size]) for at in range(0, len(data), size)]
    return b"".join([*out, passing.flush()])


def lines(count: int) -> bytes:
    """Return lines of a log without secrets."""
    return b"".join(
        b"2026-01-31 23:59:%02d INFO loaded parcel %08x\n" % (n % 60, RANDOM.getrandbits(32)) for n in range(count)
    )


@pytest.mark.parametrize("size", [1, 7, 4096, 64 * KIB, 10_000 * KIB])
def test_a_log_without_secrets_comes_out_byte_for_byte(size: int) -> None:
    """Whatever it is: text in any encoding, or no text at all."""
    for data in (lines(1500), RANDOM.randbytes(70_000), "日本 ä €\r\n".encode() * 5000, b"", b"\n", bytes(70_000)):
        clean = data.replace(b"@", b"0").replace(b"=", b"0")
        assert passed(Redactor(), clean, size) == clean


@pytest.mark.parametrize(
    "pair", ["- name: DB_PASSWORD\n  value: {}\n", '"password":\n  "{}"\n', "login me\npassword {}\n"]
)
def test_a_pair_of_two_lines_is_found_wherever_a_block_ends(pair: str) -> None:
    """The last lines of a block wait for those that follow."""
    redactor = Redactor()
    text = pair.format("Tr0ub4dor3x").encode()
    for missing in range(len(text)):
        head = b"loaded\n" * ((BLOCK_BYTES + 100) // 7)
        stream = redactor.bytes_filter()
        done = stream.feed(head + text[:missing]) + stream.feed(text[missing:] + b"loaded\n" * 1000) + stream.flush()
        assert b"Tr0ub4dor3x" not in done
        assert done.startswith(head)


def test_memory_stays_bounded_with_lines_and_without() -> None:
    """What was fed comes out soon, even where a line, a value or a key never ends."""
    chunk = 64 * KIB
    endless = {
        "lines": lines(1500)[:chunk],
        "one line": b"x" * chunk,
        "one value": b"token=" + b"x" * (chunk - 6),
        "one quoted value": b'"token": "' + b" x" * (chunk // 2),
        "a private key": b"-----BEGIN PRIVATE KEY-----\n" + b"A1b2" * (chunk // 4),
        "a URL": b"https://me:" + b"x" * chunk,
    }
    for start in endless.values():
        passing = Redactor().bytes_filter()
        fed = out = 0
        for number in range(60):
            piece = start if number == 0 else start.replace(b'"', b"x").replace(b"-", b"x").replace(b"=", b"x")
            fed += len(piece)
            out += len(passing.feed(piece))
            held = sum(map(len, passing._blocks._pieces))
            assert held < HELD_BYTES
        passing.flush()


def test_a_value_that_never_ends_leaves_nothing_of_itself() -> None:
    """It is shortened while it is held, but never let go."""
    for start, end in ((b"token=", b"\nnext"), (b'"token": "', b'"\nnext'), (b"password: '", b"'\nnext")):
        value = bytes(RANDOM.choices(b"abcdefghXYZ0123456789\\", k=700_000))
        redacted = passed(Redactor(), start + value + end)
        assert redacted == start + b"[redacted: " + (b"password" if b"pass" in start else b"token") + b"]" + end


def test_a_private_key_is_found_across_blocks() -> None:
    """Wherever the border of a block falls within it."""
    key = private_key("A1b2C3d4" * 400).encode()
    unfinished = key.partition(b"\n-----END")[0]
    for before in range(BLOCK_BYTES - len(key) - 100, BLOCK_BYTES + 100, 97):
        for each in (key, unfinished):
            redacted = passed(Redactor(), b"x" * before + b"\n" + each + b"\n" + lines(10), 4096)
            assert b"A1b2C3d4" not in redacted
            assert redacted.count(b"[redacted: private_key]") == 1


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("SG.ngeVfQFYQlKU0ufo8x5d1A.TwL2iGABf9DHoTf9q4iGABf9DHoTfTwL2iGABf9DHoT", "TwL2iGABf9DHoTf9"),
        ("x-api-key=Xa1b2c3d4e5", "Xa1b2c3d4e5"),
        ("https://me:Xa1b2c3d4e5@example.com", "Xa1b2c3d4e5"),
        ('"client_secret": "Xa1b2c3 d4e5"', "d4e5"),
        ("--db-password Xa1b2c3d4e5", "Xa1b2c3d4e5"),
    ],
)
def test_in_a_long_line_a_secret_is_found_wherever_it_is_looked_at_in_parts(text: str, secret: str) -> None:
    """Neither the end of what has come nor the place where it is cut, 8 KiB before, hides it."""
    size = BLOCK_BYTES + 100
    for border in (size, size - 8 * KIB):
        for shift in range(len(text) + 2):
            line = b"x" * (border - shift - 1) + b" " + text.encode() + b" " + b"y" * size
            redacted = passed(Redactor(), line, size)
            assert secret.encode() not in redacted
            assert redacted.count(b"[redacted: ") == 1


def test_a_log_that_begins_within_a_private_key_loses_the_rest_of_it() -> None:
    """The last part of a long log may begin there."""
    key = private_key("A1b2C3d4" * 400).encode()
    redacted = passed(Redactor(), key[200:] + b"\n" + lines(3000), 5000)
    assert b"A1b2C3d4" not in redacted
    assert redacted.startswith(b"[redacted: private_key]\n-----END RSA PRIVATE KEY-----\n2026-")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("size", [1, 3, 100_000])
def test_utf_16_is_known_by_its_mark(encoding: str, size: int) -> None:
    """PowerShell's ``>`` writes it; half a character at its end stays."""
    text = f"\ufeffpassword=hunter2 \U0001f600 日本\n{'x' * 70_000}\ntoken=abc123 \ud800x"
    expected = text.replace("hunter2", "[redacted: password]").replace("abc123", "[redacted: token]")
    redacted = passed(Redactor(), text.encode(encoding, "surrogatepass") + b"x", size)
    assert redacted == expected.encode(encoding, "surrogatepass") + b"x"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("begin", [0, 1, 40])
def test_utf_16_is_known_without_its_mark(encoding: str, begin: int) -> None:
    """The end of a long log has none, and may begin within a character; so has what .NET appends."""
    text = f"2026-03-01 loaded 12,000 parcels of the county; password=hunter2\n{'x' * 9_000}\ntoken=abc123def\n"
    expected = text.replace("hunter2", "[redacted: password]").replace("abc123def", "[redacted: token]")
    assert passed(Redactor(), text.encode(encoding)[begin:], 1_000) == expected.encode(encoding)[begin:]


def test_bytes_that_are_no_utf_16_stay() -> None:
    """Zeros, a few characters, and binary files in which each second byte is often zero."""
    for data in (b"\0" * 100, b"a\0b\0", b"p\0a\0\0\1" * 40, bytes(range(256)) * 3):
        assert passed(Redactor(), data, 7) == data


def test_known_secrets_and_ones_own_patterns_are_found_across_pieces() -> None:
    """Wherever a piece ends, and behind characters of several bytes; what is no UTF-8 stays."""
    redactor = Redactor(["Tr0ub4dor"], {"case": r"\bAZ-\d+\b"})
    data = "日本 Tr0ub4dor für AZ-1234 \n".encode() + b"\xff AZ-77 \xfe\n"
    expected = "日本 [redacted: credential] für [redacted: case] \n".encode() + b"\xff [redacted: case] \xfe\n"
    for size in (1, 2, 3, 5, 11):
        assert passed(redactor, data, size) == expected
    long_line = b"x " * 40_000
    assert passed(redactor, (long_line + data) * 3, 999) == (long_line + expected) * 3


def test_a_filter_that_was_fed_nothing_returns_nothing() -> None:
    """An empty log stays empty; one of a single byte keeps it."""
    assert Redactor().bytes_filter().flush() == b""
    assert passed(Redactor(), b"\xff") == b"\xff"
