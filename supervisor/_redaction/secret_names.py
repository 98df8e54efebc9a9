"""Decide by its name whether a key, setting, header or option holds a secret."""

from __future__ import annotations

import re
from functools import cache, lru_cache

LONGEST_NAME = 80
_CAMEL = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
# The name of a secret contains one of these. For other names, which are most, no pattern is compiled.
_IN_ALL = (
    *("pass", "pwd", "pw", "psk", "token", "key", "secret", "auth", "cred"),
    *("cookie", "sess", "sig", "sas", "dsn", "conn", "code"),
)
# A key is a secret behind one of these words; primary, foreign, sort, cache and public keys are not.
_KEYS = (
    "access|account|admin|aes|app|application|auth|cipher|client|consumer|crypto|decryption|deploy|encryption|fernet|functions|"
    "hmac|integration|jwt|license|master|ping|preshared|pre_shared|secret|service|shared|signing|ssh|storage|subscription|webhook|"
    "anthropic|mailgun|openai|sendgrid|stripe|twilio"
)
# The first pattern that matches gives the kind. Names are converted to lower-case words with underscores first.
_KINDS = (
    (
        "password",
        r"passw|pass_?phrase|passcode|pwd|(?:root|bind)_?pw$|(?:^|_)pw$|(?:^|_)psk$|^masterauth$|(?:^|_|admin|db|ftp|http|imap|mail|pg|proxy|require|root|smtp|sql|ssh|user)pass$",
    ),
    ("cookie", r"(?:^|_)cookies?$"),
    ("session", r"(?:^|_|j)session(?:_?(?:id|key))?$|sess_?id$"),
    ("private_key", r"private_?key(?:$|_)|(?:^|_)priv_?key$"),
    ("api_key", r"api_?keys?(?:$|_)"),
    ("token", r"token(?!s$|s_|i)|(?:access|api|auth|bearer|csrf|refresh)_?tokens$"),
    ("secret", r"secret(?!ar)"),
    ("access_key", rf"(?:^|_)(?:{_KEYS})_?keys?(?:$|_)"),
    ("credential", r"credential|(?:^|_)creds?$"),
    ("authorization", r"authorization|(?:^|_)auth$"),
    ("connection_string", r"conn(?:ection)?_?str(?:ing)?s?$|(?:^|_)dsn$"),
    ("signature", r"(?:^|_)sig(?:nature)?$|(?:^|_)sas$"),
)
# Names of something about a secret, which is no secret itself: password_file, token_url, session_timeout.
_ABOUT = (
    r"(?:_|(?<=pass)|(?<=word)|(?<=token)|(?<=ecret)|(?<=key)|(?<=cookie)|(?<=session))"
    r"(?:age|algorithm|allowed|at|attempts?|backend|class|column|counts?|created|date|dir|directory|domain|enabled|"
    r"endpoint|env|errors?|exists|expir\w*|field|file|filename|folder|format|header|help|hint|host|httponly|id|index|"
    r"is|issuer|kind|label|len|length|limit|location|manager|max|message|method|min|missing|names?|param|parameter|"
    r"path|policy|prefix|prompt|provider|required|reset|rotation|samesite|schema|scopes?|secure|size|source|state|"
    r"status|store|strategy|table|timeout|ttl|types?|updated|uri|url|usage|used|valid|validator|version|"
    r"accepted|available|changed|changes|checked|checks|failed|failures|found|generated|hits|invalid|issued|lifetime|"
    r"misses|num|number|ok|present|refreshed|rejected|requests|resets|reused|revoked|rotated|rotations|seen|sent|set|"
    r"refs?|reference|skipped|stored|sum|total|unused|updates|verified)$"
)
# Names of places in a list, which lists of many pages return, and of the words of a language.
_OTHER_TOKENS = (
    r"(?:page|paging|pagination|next|prev|previous|continuation|continue|sync|resume|resumption|start|starting|scroll|"
    r"cursor|delta|skip|marker|bookmark|offset|position|iterator|first|last|current|unexpected|unknown|"
    r"bos|cls|eos|mask|pad|sep|stop|unk)_?tokens?$"
)
_IS_IDENTIFIER = r"(?:secret|session|sess)_?id$"
# Names that are secrets only as parameters of a URL, since they mean other things too.
_IN_QUERY = {"key": "api_key", "code": "code"}

DOUBTFUL_KINDS = frozenset({"authorization", "session", "signature", "code"})
"""Kinds whose names mean other things too, so that only what looks random is taken for a secret of this kind."""

KINDS = frozenset(kind for kind, _ in _KINDS) | {"code"}
"""All kinds that :func:`secret_kind` knows."""


@lru_cache(4096)
def secret_kind(name: str, *, in_query: bool = False) -> str | None:
    """Return the kind of secret that a name means ("password", "api_key", ...), or None if it means none.

    Args:
        name: A key in any style: ``dbPassword``, ``AWS_SECRET_ACCESS_KEY``, ``X-Api-Key``.
        in_query: It is a parameter of a URL, where ``key`` and ``code`` mean secrets too.
    """
    name = name[-LONGEST_NAME:]  # the end of a name says what it means
    lower = name.lower()
    if not any(each in lower for each in _IN_ALL):
        return None
    plain = re.sub(r"[^a-z0-9]+", "_", re.sub(_CAMEL, "_", name).lower()).strip("_0123456789")
    if in_query and plain in _IN_QUERY:
        return _IN_QUERY[plain]
    if plain.endswith(("token", "tokens")) and re.search(_OTHER_TOKENS, plain):
        return None
    if re.search(_ABOUT, plain) and not re.search(_IS_IDENTIFIER, plain):
        return None
    return next((kind for kind, pattern in _compiled_kinds() if pattern.search(plain)), None)


@cache
def _compiled_kinds() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((kind, re.compile(pattern)) for kind, pattern in _KINDS)
