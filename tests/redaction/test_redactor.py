"""What is taken out of texts, what is shown in its place, and what stays readable."""

from __future__ import annotations

import sys
import time

import pytest
from planted import private_key

from supervisor import ConfigurationError
from supervisor._redaction import REDACTED, Redactor, redactor, scanner
from supervisor._text import cut_clean

REDACTOR = Redactor()
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("connect(password=hunter2, host=db)", "connect(password=[redacted: password], host=db)"),
        ('{"user": "me", "password": "a \\"b\\" c"}', '{"user": "me", "password": "[redacted: password]"}'),
        ("postgresql://me:p@ss/w0rd@db:5432/x?y=1", "postgresql://me:[redacted: url_password]@db:5432/x?y=1"),
        (
            "amqp://a:one1@h1,amqp://b:two2@h2",
            "amqp://a:[redacted: url_password]@h1,amqp://b:[redacted: url_password]@h2",
        ),
        ("Authorization: Bearer abc", "Authorization: Bearer [redacted: authorization]"),
        ("authorization: Basic bWU6cHc=", "authorization: Basic [redacted: authorization]"),
        ('Digest realm="x"', 'Digest realm="x"'),
        ('Authorization: Digest username="me", response="1f2e"', "Authorization: Digest [redacted: authorization]"),
        (f"sent {JWT}.", "sent [redacted: jwt]."),
        ("Server=db;Pwd=a;b,c;Database=x", "Server=db;Pwd=[redacted: password];Database=x"),
        ("/rest?token=abc123&f=json", "/rest?token=[redacted: token]&f=json"),
        ("https://hooks.slack.com/services/T0/B0/x1y2z3", "https://hooks.slack.com/services/[redacted: slack_webhook]"),
        ("load --api-key=abc -v", "load --api-key=[redacted: api_key] -v"),
        ("db_password: correct horse battery\nport: 5432", "db_password: [redacted: password]\nport: 5432"),
        ("export DB_PASS='a b'", "export DB_PASS='[redacted: password]'"),
        ("Cookie: a=1; sid=2", "Cookie: [redacted: cookie]"),
        ("auth=('me', 'pw')", "auth=([redacted: authorization])"),
        ("AccountKey=a+b/c==;EndpointSuffix=x", "AccountKey=[redacted: access_key];EndpointSuffix=x"),
        ("aws_secret_access_key = wJalr/K7MDENG", "aws_secret_access_key = [redacted: secret]"),
        ("password: 'never closed", "password: '[redacted: password]"),
        ("'password': 'it''s'", "'password': '[redacted: password]'"),
        (r"password=hunter2\n  File", r"password=[redacted: password]\n  File"),
        ("token = 'password': 'x'", "token = 'password': '[redacted: password]'"),
        ("X-Api-Key: Qv7PwdBs9DeV\n= x", "X-Api-Key: [redacted: api_key]\n= x"),
        ("secret: abPwd7xyzQ==", "secret: [redacted: secret]"),
        ("password = kQx(7d!\n", "password = [redacted: password]\n"),
        (f"{'x' * 200}_token=abc", f"{'x' * 200}_token=[redacted: token]"),
        ("twist://password:secret12@x.org", "twist://password:[redacted: url_password]@x.org"),
    ],
)
def test_a_marker_tells_what_was_there_and_the_rest_stays(text: str, redacted: str) -> None:
    """Scheme, user, host, the other parameters and the closing punctuation are kept."""
    assert REDACTOR.text(text) == redacted
    assert REDACTOR.text(redacted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        # sentences
        *("token expired", "Password: ", "password:", "Enter the password for me: ", "password is wrong"),
        *("535 5.7.8 Username and Password not accepted", "Invalid token: unexpected end of input", "secret: missing"),
        *("Invalid API key: check your settings", "password: required", "Authorization failed for user me"),
        *(
            "the bearer of bad news",
            "Bearer authentication required",
            "Basic information about parcels",
            "tests pass: 12",
        ),
        # keys that are none
        *(
            "KeyError: 'apn'",
            "primary_key=12",
            "sort_key: name",
            "key=apn",
            "public_key=abc",
            "PIN=12-345",
            "author: Jane",
        ),
        *(
            "tokens: 512",
            "max_tokens=4096",
            "tokenizer=gpt2",
            "secretary: Bob",
            "bypass=true",
            "compass: N",
            "monkey: banana",
        ),
        *(
            "session: nightly",
            "session_timeout=30",
            "cookiecutter=1.7",
            "password_file=/run/secrets/db",
            "token_url=https://x/",
        ),
        *("https://x.org/?key=apn&code=404&sig=1", "KEYWORDS: a, b", "keyboard=us", "author_credits: 3"),
        # values that are none
        *(
            "password=None",
            '"token": null',
            "token=''",
            "password=********",
            "api_key=<hidden>",
            "token=${TOKEN}",
            "secret: [REDACTED]",
        ),
        *(
            "PWD=/home/me/work",
            "private_key=/etc/ssl/x.key",
            "ssh_key: ~/.ssh/id_rsa",
            "token=123",
            "client_secret={client_secret}",
        ),
        # code in tracebacks
        *(
            "login(user, password=password)",
            "connect(token=self._token)",
            'key = os.environ["API_KEY"]',
            "api_key=db_api_key,",
        ),
        *(
            "password = getpass('Password: ')",
            "token = tokens.pop(0)",
            "def f(password: str, token: str | None = None):",
        ),
        *(
            'url = base + "?token=" + token',
            "usage: load [--password PASSWORD] [--token TOKEN]",
            "session = requests.Session()",
        ),
        # things that look random
        *(
            "commit 6c522ec0a8f29ba91b7c3a1c5e6f3f8b9d0e1a2b",
            "id 123e4567-e89b-12d3-a456-426614174000",
            "md5 d41d8cd98f00b204e9800998ecf8427e",
        ),
        *(
            "/srv/data/sk-learn/disk-usage-2026-01-31-parcels.csv",
            "xoxo",
            "eyJ",
            "AKIA",
            "SG.com",
            "risk-assessment-2026",
        ),
        # URLs
        *(
            "https://x.org:8443/a@b",
            "mail me@x.org: hello",
            "http://localhost:8080/?mail=a@b.c",
            "file:///C:/users/me@work/x",
        ),
        *("docker://alpine:3.18@sha256:abc", "git@github.com:me/x.git", "https://x.org/a:b@c/d", "ssh://me@host/x"),
        *("services/TestLayer/FeatureServer/0", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"),
        "expected '-----BEGIN PRIVATE KEY-----' but found nothing",
    ],
)
def test_no_false_alarms(text: str) -> None:
    """What only looks like a secret stays readable, byte for byte."""
    assert REDACTOR.text(text) is text


def test_private_keys_go_line_by_line_and_their_frame_stays() -> None:
    """The reader sees that a key was there, of which kind, and what stood before and behind it."""
    for kind in ("", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH "):
        text = f"before\n{private_key('A1b2' * 200, kind)}\nbehind"
        frame = f"-----BEGIN {kind}PRIVATE KEY-----\n[redacted: private_key]\n-----END {kind}PRIVATE KEY-----"
        assert REDACTOR.text(text) == f"before\n{frame}\nbehind"


@pytest.mark.parametrize("cut", [0, 40, 100, 500])
def test_what_is_left_of_a_private_key_goes_too(cut: int) -> None:
    """A log may be cut within a key: its beginning or its end is missing then."""
    key = private_key("A1b2C3d4" * 100)
    first = REDACTOR.text(f"2026-01-31 loaded\n{key[: -cut - 30]}")
    last = REDACTOR.text(f"{key[cut:]}\n2026-01-31 loaded")
    for text in (first, last):
        assert "A1b2C3d4" * 3 not in text
        assert "2026-01-31 loaded" in text


def test_whole_lines_of_headers_within_a_private_key_go_with_it() -> None:
    """An encrypted key has headers of its own."""
    body = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n" + "A1b2" * 16
    text = f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----"
    assert "0123456789ABCDEF" not in REDACTOR.text(text)
    assert "A1b2" not in REDACTOR.text(text)


def test_a_pattern_of_ones_own_is_shown_by_its_name() -> None:
    """Of one with a group ``secret`` only that is replaced; characters beyond ASCII do not shift it."""
    redactor = Redactor(patterns={"case number": r"\bAZ-\d{4}\b", "pin": r"PIN (?P<secret>\d+)"})
    assert redactor.text("zß日本 AZ-1234, PIN 99 für AZ-5678") == (
        "zß日本 [redacted: case number], PIN [redacted: pin] für [redacted: case number]"
    )
    assert redactor.text("password=x AZ-12") == "password=[redacted: password] AZ-12"


@pytest.mark.parametrize("name", sorted(REDACTED))
def test_every_marker_can_be_switched_off_by_what_it_says(name: str) -> None:
    """What is switched off is not looked for."""
    text = f'token="x" password=y {JWT} Cookie: a=1\nsecret=z https://a:b@c session_id=a1b2c3 api_key=q sig=a1b2c3d4\n'
    assert f"[redacted: {name}]" not in Redactor(["configured"], off={name}).text(f"{text}configured")


def test_what_is_switched_off_leaves_all_else_on() -> None:
    """Only the one kind stays."""
    assert Redactor(off=["token"]).text("token=abc password=abc") == "token=abc password=[redacted: password]"


@pytest.mark.parametrize(
    ("wrong", "subject", "remedy"),
    [
        ({"patterns": {"x": "("}}, "pattern 'x'", "no regular expression"),
        ({"patterns": {"x": b"x"}}, "pattern 'x'", "for text"),
        ({"patterns": {"x]": "x"}}, "name", "'x]'"),
        ({"off": ["passwort"]}, "'passwort'", "did you mean 'password'?"),
        ({"off": "qqq"}, "'qqq'", "there are access_key, "),
    ],
)
def test_a_wrong_setting_is_refused_with_its_remedy(wrong: dict[str, object], subject: str, remedy: str) -> None:
    """The text names what is wrong and what would be right."""
    with pytest.raises(ConfigurationError) as caught:
        Redactor(**wrong)  # type: ignore[arg-type]
    assert subject in str(caught.value)
    assert remedy in str(caught.value)


def test_no_text_takes_long() -> None:
    """What repeats a trigger without end, or goes on without one, takes time in proportion to its length."""
    units = [
        "authorization: ",
        "cookie: ",
        "://a:@",
        "token=",
        "token=self.",
        'token="',
        "password= ",
        "eyJ",
        "key: ,a",
    ]
    units += ["-----BEGIN PRIVATE KEY-----\n", "-----END PRIVATE KEY-----", "password>", "auth=(", "[redacted: ", "sk-"]
    units += ["curl -u ", "curl -u a:b ", "mysql ", "user -u a:b ", "insert into a (password) values (", "| password "]
    units += ["create user ", "- name: password\n", "password:\n", "login a password ", "\x1b[0m", "<a>password</a>"]
    fillings = ["\\", "a=", ";", "&amp;", "a.", "''", '\\"', "get_", " ", "@", "[redacted: x]", "A" * 70 + "\n"]
    texts = [unit * (25_000 // len(unit)) for unit in units]
    texts += [
        start + filling * (25_000 // len(filling)) for filling in fillings for start in ("token=", "://a:", "auth=(")
    ]
    for text in texts:
        begin_s = time.process_time()
        REDACTOR.text(text)
        assert time.process_time() - begin_s < 2.5, text[:40]  # 50 ms; quadratic it would be many seconds


@pytest.mark.parametrize("piece", ["pwd=a;", "token: ", '"password": ', "a@b://c:d@", "-u a:b "])
def test_a_text_that_is_nothing_but_keys_is_searched_in_bounded_time(piece: str) -> None:
    """What is behind the first 25,000 is taken out as a whole: nothing that was not searched is shown."""
    text = piece * (1_000_000 // len(piece)) + "hunter2hunter2"
    begin_s = time.process_time()
    redacted = Redactor().text(text)
    assert time.process_time() - begin_s < 5  # seconds of this processor, on which others work too; it was 8 a MB
    assert redacted.endswith("[redacted: unsearched]")
    assert "hunter2" not in redacted


def test_a_long_text_with_a_key_in_each_line_is_searched_to_its_end() -> None:
    """The bound is far from what logs contain."""
    text = "2026-03-01 02:00:01,113 INFO loader: token refreshed for county, password_resets=12\n" * 12_000
    assert Redactor().text(f"{text}password=hunter2") == f"{text}password=[redacted: password]"


def test_what_precedes_a_trigger_that_is_not_searched_is_not_shown() -> None:
    """The value is before its key, or a command before the pipe: it is found by a trigger that is not searched."""
    secret = "{'value': 'hunter2hunter2', 'name': 'DB_PASSWORD'}"
    for count in range(redactor._MOST_TRIGGERS - 10, redactor._MOST_TRIGGERS + 1):
        redacted = Redactor().text("key " * count + secret + "key " * 20_000)
        is_hidden = "hunter2" not in redacted
        assert is_hidden


@pytest.mark.parametrize(
    "piece", ["pwd=a;", "token=", "key: x ", '"', "://a:b@", "grant ", "create user ", "key", "sk-"]
)
@pytest.mark.parametrize("has_library", [True, False])
def test_a_megabyte_of_triggers_takes_less_than_a_second(
    piece: str, has_library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without ahocorasick-rs; up to three on a processor on which others work too."""
    if not has_library:
        monkeypatch.setitem(sys.modules, "ahocorasick_rs", None)
    scanner._prefilter.cache_clear()
    searching = scanner.Scanner((), (), ())
    scanner._prefilter.cache_clear()
    data = piece.encode() * (1_000_000 // len(piece))
    searching.spans(data[:10_000])
    begin_s = time.process_time()
    searching.spans(data, most=redactor._MOST_TRIGGERS)
    assert time.process_time() - begin_s < 3


def test_what_is_cut_is_not_shown_where_the_rest_became_shorter() -> None:
    """A long secret before the cut is replaced by a short mark, so that more has room; no half secret has."""
    clean, long = Redactor().text, "password='" + "x" * 400_000 + "' "
    head = long + "a" * (520_000 - len(long) - 12) + " ghp_A1b2C3d4E5f6G7h8J9k0 "
    tail = " b" * 300_000 + " password=hunter2hunter2" + (" b " + long + " d" * 300_000)[:519_993]
    for text in (head + "b " * 600_000, tail):
        is_shown = any(each in cut_clean(text, 1_000_000, clean) for each in ("ghp_A1b2", "hunter2", "nter2"))
        assert not is_shown
