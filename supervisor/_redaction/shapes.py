"""Find secrets of a known form: tokens and webhooks of vendors, private keys, and passwords in URLs."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from supervisor._redaction.spans import MARKER, Span, is_hidden
from supervisor._redaction.vendor_tokens import VENDOR_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

URL_PASSWORD = "url_password"  # noqa: S105 - the label of such passwords, none itself
PRIVATE_KEY = "private_key"
LONGEST_KEY_BYTES = 16 * 1024
"""The most bytes that are searched for the end of a private key: one of 16,384 bits has 13 kB."""

_SHORTEST_TOKEN = 6
_LONGEST_WORD = 24
# At the beginning of a word, or behind an escaped line break or a character that is quoted in a URL.
_APART = rb"(?:(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"


class Shape(NamedTuple):
    """One kind of secret that is known by its form.

    Args:
        label: Its name, by which it can be switched off.
        triggers: Texts in lower case; every secret of this kind begins with one of them.
        pattern: The form, from the trigger on. Where it has a group ``v``, only that group is replaced.
        fits: Whether what the pattern found is such a secret; None accepts everything.
    """

    label: str
    triggers: tuple[bytes, ...]
    pattern: bytes
    fits: Callable[[bytes], bool] | None = None

    def find(self, data: bytes, at: int) -> Span | None:
        """Return the secret that begins with a trigger, or None.

        Args:
            data: The bytes.
            at: Where the trigger begins.
        """
        match = _compiled(self.pattern).match(data, at)
        if match is None:
            return None
        start, end = match.span("v" if "v" in match.re.groupindex else 0)
        if self.fits is not None and not self.fits(data[start:end]):
            return None
        return Span(start, end, self.label, at)


@cache
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern)


def looks_random(value: bytes) -> bool:
    """Return whether a value is no word: it has digits, mixes small and capital letters, or is very long."""
    value = value.rstrip(b".,:;")
    if len(value) < _SHORTEST_TOKEN:
        return False
    has_digit = re.search(rb"\d", value) is not None
    is_mixed = re.search(rb"[a-z][A-Z][A-Za-z]*[a-z][A-Z]|[A-Z]{2}[a-z]+[A-Z]", value) is not None
    return has_digit or is_mixed or len(value) >= _LONGEST_WORD


def _is_user_and_password(value: bytes) -> bool:
    """Return whether a text is base64 of ``user:password``, as in HTTP's Basic scheme."""
    import base64

    try:
        return b":" in base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except ValueError:
        return False


def _is_base64(value: bytes) -> bool:
    """Return whether a text is base64 of at least two characters, and no word for a way to log in."""
    import base64

    if value.upper() in (b"PLAIN", b"LOGIN", b"NTLM", b"GSSAPI", b"CRAM", b"XOAUTH2", b"OAUTHBEARER", b"EXTERNAL"):
        return False
    try:
        return len(base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)) > 1
    except ValueError:
        return False


def _is_no_scheme(value: bytes) -> bool:
    """Return whether a text is none of the words that follow AUTH in SMTP."""
    return value.upper() not in (b"PLAIN", b"LOGIN", b"NTLM", b"GSSAPI", b"CRAM-MD5", b"XOAUTH2", b"TLS", b"SSL")


def _has_long_run(value: bytes) -> bool:
    """Return whether a text has twenty letters and digits in a row: words joined by hyphens have not."""
    return re.search(rb"[A-Za-z0-9]{20}", value) is not None


# Where the vendors document the form of their tokens:
# https://docs.slack.dev/authentication/tokens, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html,
# https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github,
# https://docs.stripe.com/keys, https://docs.gitlab.com/security/tokens/, https://www.rfc-editor.org/rfc/rfc7519
SHAPES = (
    Shape("authorization", (b"bearer",), rb"(?i:bearer)(?: |%20|\+)+(?P<v>[\w.~+/=-]{6,})", looks_random),
    Shape("authorization", (b"basic",), rb"(?i:basic)(?: |%20)+(?P<v>[A-Za-z0-9+/]{8,}={0,2})", _is_user_and_password),
    Shape("sendgrid_api_key", (b"sg.",), rb"SG\.[\w-]{16,32}\.[\w-]{32,64}"),
    Shape("aws_access_key_id", (b"akia", b"asia"), rb"A[KS]IA[A-Z0-9]{16}"),
    Shape("slack_token", (b"xox", b"xapp-"), rb"(?:xox[a-z](?:\.xox[a-z])?|xapp)-[\w-]{10,}"),
    Shape(
        "slack_webhook",
        (b"hooks.slack",),
        rb"(?i:hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/)(?P<v>[\w/-]{8,})",
    ),
    # HTTP clients log the host and the path separately.
    Shape("slack_webhook", (b"services/t",), rb"services/(?P<v>T[A-Z0-9]{6,16}/B[A-Z0-9]{6,16}/[A-Za-z0-9]{12,64})"),
    Shape("teams_webhook", (b"webhookb2/",), rb"(?i:webhookb2)/(?P<v>[\w@-]{8,}(?:/[\w@-]+)*)"),
    Shape("discord_webhook", (b"api/webhooks/",), rb"(?i:api/webhooks)/\d{5,}/(?P<v>[\w-]{16,})"),
    Shape("healthchecks_url", (b"hc-ping.com/",), rb"(?i:hc-ping\.com)/(?P<v>[\w-]{20,})"),
    Shape("telegram_token", (b":aa",), rb"(?<=\d{6}):(?P<v>AA[\w-]{30,})"),
    Shape("jwt", (b"eyj",), rb"eyJ[\w-]{8,1024}+\.[\w-]{8,}(?:\.[\w-]+){0,3}"),
    Shape("github_token", (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"), rb"gh[pousr]_[A-Za-z0-9_]{20,255}"),
    Shape("github_token", (b"github_pat_",), rb"github_pat_[A-Za-z0-9_]{20,255}"),
    Shape("google_api_key", (b"aiza",), rb"AIza[\w-]{35}"),
    Shape("google_oauth", (b"gocspx-", b"ya29."), _APART + rb"(?:GOCSPX-|ya29\.)[\w-]{20,}"),
    Shape(
        "stripe_key",
        (b"sk_live_", b"sk_test_", b"rk_live_", b"rk_test_"),
        _APART + rb"[sr]k_(?:live|test)_[A-Za-z0-9]{10,}",
    ),
    Shape("webhook_secret", (b"whsec_",), rb"whsec_[A-Za-z0-9+/=]{16,}"),
    Shape("openai_key", (b"sk-",), _APART + rb"sk-[\w-]{20,200}", _has_long_run),
    Shape("mailgun_key", (b"key-",), rb"(?<![\w-])key-[0-9a-f]{32}"),
    Shape("pypi_token", (b"pypi-",), rb"pypi-AgE[\w-]{20,}"),
    Shape("npm_token", (b"npm_",), rb"npm_[A-Za-z0-9]{36}"),
    Shape(
        "password",
        (b"identified ",),
        rb"""(?i:identified\s+(?:with\s+[\w'"]{1,40}\s+)?(?:by|as|using)\s+(?:values\s+|password\s+)?)"""
        rb"""(?:(?P<q>\\{0,16}['"]|&quot;|&\#(?:34|39|x27);)(?P<v>(?:(?!(?P=q))\S)+)(?=(?P=q)))""",
    ),
    # Without quotes, a sentence may follow: only after a statement that makes or changes a user
    Shape(
        "password",
        (b"create user", b"alter user", b"grant ", b"create role", b"alter role"),
        rb"""[\w ]{0,20}[^;\r\n]{0,200}?(?i:\sidentified\s+by\s+)(?P<v>(?![&\\'"(])(?:"""
        + MARKER
        + rb"""|[^\s;'"`])++)(?=;|\s+(?:[A-Z]|$)|\s*$|\\n|["'\])])""",
    ),
    # What stands in /etc/shadow and in files of htpasswd: https://man.archlinux.org/man/crypt.5
    Shape(
        "password",
        (b"$1$", b"$2a$", b"$2b$", b"$2y$", b"$5$", b"$6$", b"$7$", b"$y$", b"$apr1$", b"$argon2", b"$scrypt$"),
        rb"""\$(?:[12567y]|2[aby]|apr1|argon2(?:id?|d)|scrypt)\$[\w./$=,+-]{16,}""",
    ),
    Shape("password", (b"pbkdf2_sha", b"pbkdf2:sha"), rb"pbkdf2[_:]sha\d{1,3}[:$]\d{1,8}\$[\w./+=-]+\$[\w./+=-]{16,}"),
    Shape(
        "password", (b"{ssha", b"{sha", b"{smd5}", b"{crypt}"), rb"\{(?:S?SHA\d*|SMD5|CRYPT)\}(?P<v>[\w./+=$-]{16,})"
    ),
    # What SMTP, IMAP and POP clients print: https://www.rfc-editor.org/rfc/rfc4954, https://www.rfc-editor.org/rfc/rfc9051
    Shape(
        "authorization",
        (b"auth plain", b"auth login", b"auth xoauth2", b"auth oauthbearer", b"authenticate "),
        rb"(?i:auth(?:enticate)? (?:plain|login|xoauth2|oauthbearer)) (?P<v>[A-Za-z0-9+/]{3,}={0,2})(?=\\|['\"\s]|\Z)",
        _is_base64,
    ),
    # The answer to the question for a password, which is Password: in base64
    Shape(
        "authorization",
        (b"ugfzc3dvcmq6",),
        rb"UGFzc3dvcmQ6(?:(?!UGFzc3dvcmQ6)[^\0]){0,200}?(?:send: [bru]?['\"]|[\r\n]+(?:[<>-]{0,3}|[CS]:|=>|>>>)[ ]?)"
        rb"(?P<v>(?!\d{3}[ -])[A-Za-z0-9+/]{3,}={0,2})(?=\\[rn]|['\"\r\n]|\Z)",
    ),
    Shape(
        "password",
        (b" login ",),
        rb"(?<=\d) (?i:login) (?:\"[^\"\r\n]*\"|[^\s\"]{1,100}) (?P<q>\\?\"?)(?P<v>(?:"
        + MARKER
        + rb"|[^\s\"\\])+)(?P=q)(?=\\[rn]|['\"\r\n]|\s*\Z)",
    ),
    Shape(
        "password",
        (b"'pass ", b"> pass ", b": pass "),
        rb"(?:'|> |: )PASS (?P<v>(?:" + MARKER + rb"|[^\s'\\])+)(?=\\[rn]|'|[\r\n]|\Z)",
    ),
    Shape(
        "password",
        (b"\npass ",),
        rb"\nPASS (?P<v>(?:" + MARKER + rb"|\S)+)[ \t]*\r?\n(?=\d{3}[ -]|[<>-])",
    ),
    Shape(
        "password",
        (b"> auth ",),
        rb"> (?i:auth) (?:[\w.-]{1,60} )?(?P<v>(?:" + MARKER + rb"|[^\s])+)(?=[ \t]*(?:[\r\n]|\Z))",
        _is_no_scheme,
    ),
    # .pgpass: https://www.postgresql.org/docs/current/libpq-pgpass.html
    Shape(
        "password",
        (b":543", b":*:", b":6432:", b":6543:"),
        rb"(?<=[\w*\]])(?::(?:\d{4,5}|\*):[^\s:/]{1,64}:[^\s:/]{1,64}|:\*:[^\s:/]{1,64}(?::[^\s:/]{1,64})?):"
        rb"(?P<v>(?:" + MARKER + rb"|\\:|[^\s:])+)(?=[\r\n]|\Z|['\"])",
    ),
    # PuTTY's keys: https://tartarus.org/~simon/putty-snapshots/htmldoc/AppendixC.html
    Shape(
        "private_key",
        (b"private-lines:",),
        rb"(?i:private-lines: )\d{1,3}(?:\r?\n|\\n)(?P<v>(?:[A-Za-z0-9+/]{1,64}={0,2}(?:\r?\n|\\n|\Z)){1,300}?)"
        rb"(?=(?:Private-MAC|\Z)|[^A-Za-z0-9+/])",
    ),
    # Oracle's user/password@database, where it is known to be one: in a call or URL, or with a user that all have
    Shape(
        "password",
        (b"connect('", b'connect("', b":thin:", b":oci:"),
        rb"""(?i:connect\(["']|:(?:thin|oci):)[\w$\#.-]{1,60}/(?P<v>[^\s/@"'][^\s@"']{0,100})(?=@)""",
    ),
    Shape(
        "password",
        (b"scott/", b"system/", b"sys/", b"sysman/"),
        rb"""(?<![\w/.\\~-])(?i:scott|system|sys|sysman)/(?P<v>[^\s/@"'][^\s@"'/]{0,60})(?=@[\w/])""",
    ),
)
VENDOR_SHAPES = tuple(
    Shape(label, (prefix.lower().encode(),), _APART + re.escape(prefix.encode()) + rest)
    for label, prefixes, rest in VENDOR_TOKENS
    for prefix in prefixes
)
"""The shapes of tokens that have a prefix and, with it, at least 20 characters without a blank."""


# Private keys in PEM, the one kind of secret that spans several lines: https://www.rfc-editor.org/rfc/rfc7468

_BEGINNING = re.compile(rb"-{4,5} ?(BEGIN|END) [A-Z0-9 ]{0,20}\Z")
_FRAME = re.compile(rb"PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_NEXT = re.compile(rb"-{4,5} ?(BEGIN|END) ")
# Within one line, line breaks are escaped as \n. Lines may be indented or quoted.
_BREAK = rb"(?:\s|\\[nr]|[\"'>|,])"
_BODY = re.compile(
    rb"(?:" + _BREAK + rb"*+[A-Za-z0-9+/]{16,}+={0,2})++(?:" + _BREAK + rb"++[A-Za-z0-9+/]{1,80}+={1,2})?"
)
_BLANK = re.compile(rb"(?:\s|\\[nr])*+")
_RUN = re.compile(rb"[A-Za-z0-9+/]{16}")
_LINE = re.compile(rb"[ \t]*[A-Za-z0-9+/]{1,80}={0,2}[ \t]*\r?\n?")


def find_private_key(data: bytes, at: int, *, more: bool) -> Span | None:
    """Return the contents of a private key, between its BEGIN and END lines, or None.

    Where one of the lines is missing, as in a log that was cut, the lines that look like those of a key are returned.

    Args:
        data: The bytes.
        at: Where "PRIVATE KEY" is.
        more: Whether more bytes may follow ``data``.
    """
    frame = _FRAME.match(data, at)
    if frame is None:
        return None
    beginning = _BEGINNING.search(data, max(0, at - 40), at)
    if beginning is None:
        return None
    if beginning[1] == b"END":
        return _key_above(data, beginning.start())
    return _key_below(data, frame.end(), at, more=more)


def _key_below(data: bytes, start: int, origin: int, *, more: bool) -> Span | None:
    closing = _NEXT.search(data, start, start + LONGEST_KEY_BYTES)
    if closing is None and more and len(data) < start + LONGEST_KEY_BYTES:
        return Span(start, len(data), PRIVATE_KEY, origin)
    if closing is not None and closing[1] == b"END":
        end = closing.start()
    else:
        body = _BODY.match(data, start)
        end = body.end() if body is not None else start
    return _trimmed(data, start, end, origin)


def _key_above(data: bytes, end: int) -> Span | None:
    """Return the lines of a key above its END line; a complete key is found by its BEGIN line."""
    start = end
    while start > 0 and end - start < LONGEST_KEY_BYTES:
        line = data.rfind(b"\n", 0, start - 1) + 1
        if _LINE.fullmatch(data, line, start) is None:
            break
        start = line
    return _trimmed(data, start, end, start)


def _trimmed(data: bytes, start: int, end: int, origin: int) -> Span | None:
    """Leave the line breaks, whichever way they are written, around what is replaced."""
    blank = _BLANK.match(data, start, end)
    start = blank.end() if blank is not None else start
    while start < end and (data[end - 1] in b" \t\r\n" or data[end - 2 : end] in (rb"\n", rb"\r")):
        end -= 1 if data[end - 1] in b" \t\r\n" else 2
    if start >= end or is_hidden(data[start:end]) or _RUN.search(data, start, end) is None:
        return None
    return Span(start, end, PRIVATE_KEY, min(origin, start))


_LONGEST_PASSWORD_BYTES = 2048
_USER_BEFORE_PASSWORD = re.compile(rb"""://[^\s/:@?#"'<>\[\]{}(),;\\]{0,256}:(?=[^\s/])""")
# A password may contain "@", "/" and "#"; they should be quoted in a URL, but often are not.
_REST = re.compile(rb"""(?:""" + MARKER + rb"""|[^\s"'<>\\?]|\\(?![nrt"']))++""")
_PORT = re.compile(rb"\d{1,5}(?:[/?#,;)\]}]|$)")
_HOST = re.compile(rb"(?!sha256:)[\w\[.%-]")


def find_url_password(data: bytes, at: int) -> Span | None:
    """Return the password in ``scheme://user:password@host``, up to the last "@" before a blank or a query, or None.

    Args:
        data: The bytes.
        at: Where "://" is.
    """
    head = _USER_BEFORE_PASSWORD.match(data, at)
    if head is None:
        return None
    next_url = data.find(b"://", head.end(), head.end() + _LONGEST_PASSWORD_BYTES)
    rest = _REST.match(data, head.end(), next_url if next_url >= 0 else head.end() + _LONGEST_PASSWORD_BYTES)
    if rest is None or _PORT.match(rest[0]):
        return None
    start, end = rest.span()
    while (end := data.rfind(b"@", start, end)) > start:
        if _HOST.match(data, end + 1):
            return None if is_hidden(data[start:end]) else Span(start, end, URL_PASSWORD, at)
    return None
