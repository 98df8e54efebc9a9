"""Secrets to plant: each with the text that it stands in, and the part of it that must never be seen again."""

from __future__ import annotations

import string

from hypothesis import strategies as st

ALNUM = string.ascii_letters + string.digits
Planted = tuple[str, str]


def _text(alphabet: str, size: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=size, max_size=size)


# No dictionary has it: digits, and both small and capital letters.
WORD = st.tuples(_text("xQ", 2), st.text(ALNUM, min_size=8, max_size=24)).map(lambda parts: f"{parts[0]}{parts[1]}7kQ")
TWO_WORDS = st.tuples(WORD, WORD)


def _shape(*parts: str | tuple[str, int]) -> st.SearchStrategy[Planted]:
    pieces = [st.just(each) if isinstance(each, str) else _text(*each) for each in parts]
    return st.tuples(*pieces).map(lambda drawn: ("".join(drawn), "".join(drawn)))


def _around(template: str, between: str = "") -> st.SearchStrategy[Planted]:
    """Return values within a template; with ``between`` one of its characters stands in their middle."""
    if not between:
        return WORD.map(lambda word: (template.replace("@@", word), word))
    joined = st.tuples(WORD, st.sampled_from(between), WORD).map("".join)
    return joined.map(lambda word: (template.replace("@@", word), word))


def private_key(body: str, kind: str = "RSA ") -> str:
    """Return something that looks like a private key of several lines."""
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


DIGITS, UPPER = string.digits, string.ascii_uppercase
SHAPES: dict[str, st.SearchStrategy[Planted]] = {
    "sendgrid": _shape("SG.", (ALNUM + "-_", 22), ".", (ALNUM + "-_", 43)),
    "aws": _shape("AKIA", (UPPER + "234567", 16)),
    "aws temporary": _shape("ASIA", (UPPER + "234567", 16)),
    "slack bot": _shape("xoxb-", (DIGITS, 12), "-", (DIGITS, 12), "-", (ALNUM, 24)),
    "slack app": _shape("xapp-1-A", (UPPER, 9), "-", (DIGITS, 12), "-", (ALNUM, 40)),
    "jwt": _shape("eyJ", (ALNUM, 30), ".eyJ", (ALNUM, 60), ".", (ALNUM + "-_", 43)),
    "github": _shape("ghp_", (ALNUM, 36)),
    "github fine-grained": _shape("github_pat_", (ALNUM, 22), "_", (ALNUM, 59)),
    "gitlab": _shape("glpat-", (ALNUM, 20)),
    "google": _shape("AIza", (ALNUM + "-_", 35)),
    "stripe": _shape("sk_live_", (ALNUM, 24)),
    "stripe restricted": _shape("rk_test_", (ALNUM, 24)),
    "standard webhooks": _shape("whsec_", (ALNUM, 32)),
    "openai": _shape("sk-proj-", (ALNUM, 48)),
    "npm": _shape("npm_", (ALNUM, 36)),
    "slack webhook": st.tuples(_text(UPPER, 9), _text(UPPER, 9), _text(ALNUM, 24)).map(
        lambda parts: (f"https://hooks.slack.com/services/T{parts[0]}/B{parts[1]}/{parts[2]}", parts[2])
    ),
    "slack webhook's path": st.tuples(_text(UPPER, 9), _text(UPPER, 9), _text(ALNUM, 24)).map(
        lambda parts: (f'"POST /services/T{parts[0]}/B{parts[1]}/{parts[2]} HTTP/1.1" 200', parts[2])
    ),
    "teams webhook": _around("https://example.webhook.office.com/webhookb2/1f-2@3f-4/IncomingWebhook/@@/5a-6b"),
    "discord webhook": _around("https://discord.com/api/webhooks/123456789/@@x1y2z3"),
    "telegram": _text(ALNUM, 33).map(lambda text: (f"https://api.telegram.org/bot123456789:AA{text}/getMe", text)),
    "URL": _around("postgresql://scott:@@@db.example.com:5432/parcels"),
    "URL with punctuation": _around("https://me:@@@example.com/x?y=1", "/#!$@:;,&=+%*"),
    "URL without user": _around("redis://:@@@cache/0"),
    "key=value": _around("password=@@", "!#$%&()*+,-./:;<=>?@[]^_{|}~"),
    "key: value": _around("password: @@"),
    "environment": _around("PGPASSWORD=@@"),
    "JSON": _around('"token": "@@"', " ,;:!/'{}[]&="),
    "JSON within text": _around(r"\"client_secret\": \"@@\"", " ,;:!/{}[]&="),
    "JSON within CSV": _around('""apiKey"": ""@@""'),
    "repr": _around("'api_key': '@@'", ' ,;:!/"{}[]&='),
    "repr of a pair": _around("('password', '@@')"),
    "assignment": _around('os.environ["DB_PASSWORD"] = "@@"'),
    "argument": _around("connect(host=db, password='@@', port=1)"),
    "option": _around("load --db-password @@ --verbose"),
    "option with =": _around("load --token=@@"),
    "option in a list": _around("['load', '--password', '@@', '-v']"),
    "bearer": _around("Authorization: Bearer @@"),
    "basic": _around("authorization: Basic @@"),
    "header within quotes": _around('curl -H "Authorization: Bearer @@" https://example.com'),
    "header within bytes": _around(r"b'GET / HTTP/1.1\r\nAuthorization: Token @@\r\nHost: x\r\n\r\n'"),
    "header of one's own": _around("X-Api-Key: @@"),
    "cookie": _around("Cookie: theme=dark; sid=@@"),
    "set-cookie": _around("Set-Cookie: id=@@; Path=/; HttpOnly"),
    "Azure storage": _around("AccountName=x;AccountKey=@@==;EndpointSuffix=core.windows.net", "/+"),
    "ODBC": _around("Server=db;Uid=sa;Pwd=@@;Database=x", "!#$%&()*+,-./:<=>?@"),
    "ODBC in braces": _around("DRIVER={ODBC Driver 18};PWD={@@};UID=sa", ";=, "),
    "query": _around("https://example.com/rest?f=json&token=@@&where=1"),
    "query quoted twice": _around("?next=https%3A%2F%2Fx%2F%3Ftoken%3D@@%26f%3Djson"),
    "shared access signature": _around("https://x.blob.core.windows.net/c?sv=2022&se=1&sig=@@%3D&sp=r"),
    "function key": _around("https://x.azurewebsites.net/api/f?code=@@@@=="),
    "XML": _around("<db:Password>@@</db:Password>"),
    ".NET": _around('<add key="Password" value="@@"/>'),
    "HTML": _around("<td>password</td><td>@@</td>"),
    "HTML in bold": _around("<b>Password:</b> <code>@@</code>"),
    "HTML quoted": _around("password: &quot;@@&quot;"),
    "SQL": _around("ALTER ROLE me WITH PASSWORD '@@'"),
    "SQL of MySQL": _around("CREATE USER me IDENTIFIED BY '@@'"),
    "SQL within SQL": _around("EXEC('ALTER LOGIN me WITH PASSWORD=''@@'' ')"),
    "private key": st.text(ALNUM + "+/", min_size=200, max_size=2000).map(
        lambda body: (private_key(body), body[64:120])
    ),
    "private key in one line": st.text(ALNUM + "+/", min_size=200, max_size=600).map(
        lambda body: (private_key(body, "").replace("\n", "\\n"), body[64:120])
    ),
}

# What stands around: words, quotes that do not close, brackets, markup, other keys, control characters, any text.
NOISE = st.lists(
    st.sampled_from(
        [
            *("loaded", "parcel", "2026-01-31", "23:59:59,123", "app:", "(", ")", ",", ";", "key=", '"', "'", "=", ":"),
            *("\\n", "https://x/", "[", "]", "{", "}", "<td>", "</td>", "%20", "token", "expired", "\t", "€", "\x00"),
            *("&", "?", "error", 'File "x.py", line 3', "password", "[redacted: token]", "\udcff", "\\", "--", "@"),
        ]
    )
    | st.text(max_size=8),
    max_size=8,
).map(" ".join)
APART = st.sampled_from(["\n", "\r\n", " \n", "\n\t"])


def surrounded(secret: st.SearchStrategy[Planted]) -> st.SearchStrategy[Planted]:
    """Return secrets with noise before and behind them, in lines of their own."""
    return st.tuples(NOISE, APART, secret, APART, NOISE).map(
        lambda parts: (f"{parts[0]}{parts[1]}{parts[2][0]}{parts[3]}{parts[4]}", parts[2][1])
    )


ANY_SECRET = st.one_of(*SHAPES.values())
MANY: st.SearchStrategy[list[Planted]] = st.lists(surrounded(ANY_SECRET), min_size=1, max_size=5)


def survives(secret: str, text: str) -> bool:
    """Tell whether a secret, or half of it, is still there."""
    half = len(secret) // 2
    return secret in text or secret[:half] in text or secret[-half:] in text
