"""Secrets: where they may stand, what is reported when they are missing, and that nothing shows them."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import tomli_w
from configuration_kit import NO_SUCH_FILE, Machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor import message_handlers
from supervisor._cli.config_command import masked
from supervisor._config.checks import ConfigurationProblems
from supervisor._config.handler_specs import HandlerSpec, Secret, build, hides
from supervisor._redaction import Redactor
from supervisor.errors import ConfigurationError
from supervisor.message_handlers._registry import built_in, handler_class

if TYPE_CHECKING:
    from collections.abc import Iterator


SENDGRID = """
    [handlers.ops]
    type = "sendgrid"
    api_key = {}
    from_address = "gis@example.com"
    to_addresses = ["ops@example.com"]
"""


def missing(spec: HandlerSpec, **environ: str) -> str:
    """Return what is reported when a handler's secrets are looked for in vain."""
    with pytest.raises(ConfigurationProblems) as caught:
        spec.resolved(environ)
    assert Redactor().text(str(caught.value)) == str(caught.value), "whoever logs it would take the evidence out"
    return str(caught.value)


def test_a_secret_in_a_variable(machine: Machine) -> None:
    """It is looked for when the handler is made, and a missing one is reported with file, line, handler and key."""
    spec = machine.load(SENDGRID.format('{ env = "SENDGRID_API_KEY" }')).spec("ops")
    assert spec.resolved({"SENDGRID_API_KEY": "SG.x"})["api_key"] == "SG.x"
    start = f"{machine.file}:4: [handlers.ops] api_key is missing: environment variable SENDGRID_API_KEY is "
    assert missing(spec) == f"{start}not set"
    assert missing(spec, SENDGRID_API_KEY=" ") == f"{start}blank"


def test_a_secret_in_a_file(machine: Machine) -> None:
    """The line end is not part of it, and all that can be wrong with the file is reported."""
    spec = machine.load(SENDGRID.format('{ file = "secrets/key" }')).spec("ops")
    path = machine.project / "secrets" / "key"
    start = f"{machine.file}:4: [handlers.ops] api_key is missing: file {path} "
    assert missing(spec).startswith(f"{start}cannot be read: {NO_SUCH_FILE}")
    path.mkdir(parents=True)
    assert missing(spec) == f"{start}cannot be read: is no regular file"
    path.rmdir()
    for data, value in ((b"SG.x\n", "SG.x"), (b"\xef\xbb\xbfSG.x\r\n", "SG.x"), (b"a\nb\n\n", "a\nb"), (b" x ", " x ")):
        path.write_bytes(data)
        assert spec.resolved({})["api_key"] == value
    for data, expected in (
        (b" \n", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"x" * 100_001, "is larger than a secret is"),
    ):
        path.write_bytes(data)
        assert missing(spec) == start + expected


NESTED = {"SENDGRID_API_KEY": "SG.outer", "smtp": {"relay": {"password": "p"}, "a.b": {"c": 7}}, "x.y": "dotted"}
WITH_KEY = '{{ file = "secrets/{name}", key = "{key}" }}'


@pytest.mark.parametrize(
    ("key", "expected"),
    [("SENDGRID_API_KEY", "SG.outer"), ("smtp.relay.password", "p"), ("smtp.a.b.c", "7"), ("x.y", "dotted")],
)
@pytest.mark.parametrize("ending", ["json", "toml"])
def test_a_secret_among_others_in_a_file(machine: Machine, ending: str, key: str, expected: str) -> None:
    """A cloud mounts several secrets as one document; dots lead inwards, unless a key has them itself."""
    path = machine.project / "secrets" / f"s.{ending}"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(NESTED) if ending == "json" else tomli_w.dumps(NESTED))
    spec = machine.load(SENDGRID.format(WITH_KEY.format(name=path.name, key=key))).spec("ops")
    assert spec.resolved({})["api_key"] == expected
    assert str(Secret("file", "/s.json", key=key)) == f'{{ file = "/s.json", key = "{key}" }}'


@pytest.mark.parametrize(
    ("name", "text", "key", "expected"),
    [
        ("s.json", '{"a": "secret-1"}', "b", "has nothing at the key 'b'"),
        ("s.json", '{"a": {"b": "secret-1"}}', "a", "has no text, or a blank one, at the key 'a'"),
        ("s.json", '{"a": " "}', "a", "has no text, or a blank one, at the key 'a'"),
        ("s.json", '{"a": "secret-1"', "a", "is no valid JSON"),
        ("s.toml", "a = secret-1", "a", "is no valid TOML"),
        ("s.json", '["secret-1"]', "a", "has nothing at the key 'a'"),
        ("s.txt", "a: secret-1", "a", "must end in .json or .toml, since a key of it is asked for"),
    ],
)
def test_what_is_wrong_with_a_document_is_reported(
    machine: Machine, name: str, text: str, key: str, expected: str
) -> None:
    """The error names file and key, and never shows what stands there."""
    path = machine.project / "secrets" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    reported = missing(machine.load(SENDGRID.format(WITH_KEY.format(name=name, key=key))).spec("ops"))
    assert reported == f"{machine.file}:4: [handlers.ops] api_key is missing: file {path} {expected}"
    assert "secret-1" not in reported


def test_a_key_without_a_file_is_refused(machine: Machine) -> None:
    """It says where in a file a secret is."""
    configuration = machine.load(SENDGRID.format('{ env = "A", key = "b" }'))
    assert "must be one of" in str(configuration.problems)


def test_a_secret_in_the_keyring(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for by service and user; a missing one, and a keyring that cannot be used, are reported."""
    keyring = pytest.importorskip("keyring")
    backends = pytest.importorskip("keyring.backends.fail")
    known = {("sendgrid", "gis"): "SG.x"}
    methods = {"get_password": lambda _, *key: known.get(key), "set_password": lambda *_: None, "priority": 1}
    in_memory: Any = type("InMemory", (pytest.importorskip("keyring.backend").KeyringBackend,), methods)
    before = keyring.get_keyring()
    spec = machine.load(SENDGRID.format('{ keyring = "sendgrid", user = "gis" }')).spec("ops")
    try:
        keyring.set_keyring(in_memory())
        assert spec.resolved({})["api_key"] == "SG.x"
        known.clear()
        expected = "the keyring has nothing for 'gis' in 'sendgrid': keyring set sendgrid gis"
        assert missing(spec) == f"{machine.file}:4: [handlers.ops] api_key is missing: {expected}"
        keyring.set_keyring(backends.Keyring())
        assert "the keyring cannot be used: No recommended backend was available" in missing(spec)
    finally:
        keyring.set_keyring(before)
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "the keyring needs keyring: pip install 'agrc-supervisor[keyring]'" in missing(spec)


def test_all_missing_secrets_of_a_handler_are_told_at_once(machine: Machine) -> None:
    """Secrets may be in lists and mappings too, and whoever mends one sees the others."""
    spec = machine.load(
        """
        [handlers.x]
        type = "webhook"
        url = { env = "URL" }
        secret = "plain"
        headers = { Authorization = { env = "AUTH" }, Accept = "text/plain" }
        urls = ["a://b", { env = "ONE" }, { env = "TWO" }]
        """
    ).spec("x")
    environ = {"URL": "https://localhost", "AUTH": "Bearer x", "ONE": "1", "TWO": "2"}
    assert spec.resolved(environ) == {
        "url": "https://localhost",
        "secret": "plain",
        "headers": {"Authorization": "Bearer x", "Accept": "text/plain"},
        "urls": ["a://b", "1", "2"],
    }
    with pytest.raises(ConfigurationProblems) as caught:
        spec.resolved({"ONE": "1"})
    assert [(each.line, each.key) for each in caught.value.problems] == [
        (4, "handlers.x.url"),
        (6, "handlers.x.headers"),
        (7, "handlers.x.urls"),
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('{ env = "A", file = "b" }', "must be one of { env = "),
        ('{ user = "a" }', "must be one of { env = "),
        ('{ keyring = "a" }', "must be one of { env = "),
        ('{ env = "A", user = "b" }', "must be one of { env = "),
        ("{ env = 5 }", "env must be a text that is not blank"),
        ('{ file = " " }', "file must be a text that is not blank"),
        ('{ file = "a\\u0000b" }', "file must be a text that is not blank"),
        (
            '{ env = "SG.the-key-itself" }',
            "env takes the name of an environment variable, and what stands there is none",
        ),
        ('{ enviroment = "A" }', "must be a text, or say where it is by { env = "),
        ("{}", "must be a text, or say where it is by { env = "),
    ],
)
def test_a_wrong_reference_is_told(machine: Machine, value: str, expected: str) -> None:
    """What says wrongly where a secret is makes the handler unusable, and is not quoted: it may be the secret."""
    configuration = machine.load(SENDGRID.format(value))
    (problem,) = configuration.problems
    assert problem.text.startswith("[handlers.ops] api_key ")
    assert expected in problem.text
    assert (problem.line, problem.key) == (4, "handlers.ops.api_key")
    assert "the-key-itself" not in problem.text
    assert configuration.unusable == {"ops"}
    with pytest.raises(ConfigurationError, match="api_key"):
        configuration.spec("ops")


# Files that others can read

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX's")


@posix_only
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_can_read_is_warned_of(machine: Machine, mode: int) -> None:
    """One warning for a file names its secrets and the remedy."""
    machine.load(SENDGRID.format('"SG.x"') + '[handlers.chat]\ntype = "slack"\nwebhook_url = "https://x"')
    machine.file.chmod(mode)
    configuration = machine.load()
    (warning,) = configuration.warnings
    assert warning.text.startswith(
        "holds secrets (handlers.ops.api_key, handlers.chat.webhook_url) and others can read"
    )
    assert f"chmod 600 {machine.file}" in warning.text
    assert (warning.file, warning.line, warning.key) == (str(machine.file), 4, "handlers.ops.api_key")
    machine.file.chmod(0o600)
    assert not machine.load().warnings


@posix_only
@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ("password = 'x'", True),
        ("pasword = 'x'", True),
        ("token = 'x'", True),
        ("urls = ['mailto://x']", True),
        ("uuid = 'x'", True),
        ("ping_url = 'https://hc-ping.com/x'", True),
        ("bot_token = 'x'", True),
        ("url = 'https://user:x@example.com/'", True),
        ("url = 'https://example.com/?key=x'", True),
        ("url = 'https://example.com/hooks/T0123456789'", True),
        ("headers = { Authorization = 'Bearer x' }", True),
        ("url = 'https://example.com/supervisor'", False),
        ("headers = { Accept = 'text/plain' }", False),
        ("password = ''", False),
        ("password = { env = 'X' }", False),
        ("urls = [{ env = 'X' }]", False),
        ("username = 'x'", False),
        ("timeout_s = 5", False),
        ("room = 'x'", False),
    ],
)
def test_what_is_warned_of(machine: Machine, options: str, warned: bool) -> None:
    """Literal secrets are, also under a misspelt name and in handlers of others; what is none, or elsewhere, is not."""
    machine.load(f'[handlers.x]\ntype = "x"\n{options}')
    machine.file.chmod(0o644)
    assert bool(machine.load().warnings) is warned
    machine.load(f'[profiles.dev.handlers.x]\ntype = "x"\n{options}')
    machine.file.chmod(0o644)
    assert bool(machine.load().warnings) is warned


# Nothing shows them


NO_SECRETS = {"kinds", "errors", "not_errors", "quiet", "urgent", "fallback", "fallback_after"}


def test_which_options_are_secret() -> None:
    """Every option of every handler is known by name: those that the handler hides are hidden, the others shown."""
    for name in built_in().values():
        for field in attrs.fields(getattr(message_handlers, name)):
            option = field.alias or field.name
            is_ours = field.init and (not field.name.startswith("_") or option in {"smtpServer", "smtpPort"})
            if is_ours and option not in {"smtpServer", "smtpPort", *NO_SECRETS}:
                assert hides(option) is not field.repr, f"{name}.{option}"
            elif is_ours:
                assert not hides(option), f"{name}.{option}"


def test_a_secret_has_no_face() -> None:
    """A literal secret is never part of what is printed of it; where one is may be seen."""
    secret = Secret("literal", "SG.x")
    assert "SG.x" not in f"{secret} {secret!r} {[secret]}"
    assert secret.value({}) == "SG.x"
    assert str(Secret("keyring", "s", "u")) == '{ keyring = "s", user = "u" }'


planted_secrets = st.from_regex(r"sek[a-zA-Z0-9]{12}[0-9]", fullmatch=True)
wrong_ways = st.sampled_from(
    [
        lambda secret: secret,
        lambda secret: {"value": secret},
        lambda secret: {"env": f"{secret}!"},
        lambda secret: {"env": secret, "file": secret},
        lambda secret: {"keyring": secret},
        lambda secret: [secret],
        lambda secret: {"Authorization": f"Bearer {secret}"},
        lambda secret: {"a": [{"b": secret}]},
        lambda secret: f"https://gis:{secret}@example.com",
    ]
)
option_names = st.sampled_from(
    ["api_key", "api_kye", "apikey", "password", "pasword", "token", "tokn", "webhook_url", "webhookurl", "url", "urls",
     "secret", "headers", "ping_url", "uuid", "bot_token", "smtp_password", "client_secret", "dsn"]
)  # fmt: skip


class Chatty:
    """A handler that takes anything, and says all of it when it refuses."""

    def __init__(self, **options: Any) -> None:
        raise ValueError(f"cannot do with {options!r}: {options} {list(options.values())}")


def texts_of(error: BaseException | None) -> Iterator[str]:
    """Yield all that a traceback would show of an error."""
    while error is not None:
        yield f"{error} {error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(secret=planted_secrets, name=option_names, way=wrong_ways, kind=st.sampled_from([*built_in(), "chatty"]))
def test_no_secret_comes_to_light(machine: Machine, secret: str, name: str, way: Any, kind: str) -> None:
    """Wherever a literal secret stands, no repr, no problem, no warning and nothing that is shown has it."""
    machine.file.write_text(tomli_w.dumps({"handlers": {"x": {"type": kind, name: way(secret), "timeout_s": 5}}}))
    machine.file.chmod(0o644)
    configuration = machine.load()
    shown = [repr(configuration), *map(str, masked(configuration))]
    shown += [f"{each} {each!r}" for each in (*configuration.problems, *configuration.warnings)]
    for error in (ConfigurationProblems(configuration.problems or configuration.warnings),):
        shown += texts_of(error)
    try:
        spec = configuration.spec("x")
        shown += [repr(spec), str(spec.options), repr(spec.origins)]
        handler = build(spec, lambda each: Chatty if each == "chatty" else handler_class(each), {})
        shown.append(repr(handler))
    except ConfigurationError as error:
        shown += texts_of(error)
    assert not [each for each in shown if secret in each]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=planted_secrets, name=option_names)
def test_no_secret_from_elsewhere_comes_to_light(machine: Machine, secret: str, name: str) -> None:
    """What a variable holds is in no error either, when a handler refuses it or quotes it."""
    reference = {"env": "PLANTED"}
    options = {"room": reference, "rooms": [reference], "doors": {"a": reference}, name: reference}
    machine.write(tomli_w.dumps({"handlers": {"x": {"type": "chatty", **options}}}))
    with pytest.raises(ConfigurationProblems) as caught:
        build(machine.load().spec("x"), lambda _: Chatty, {"PLANTED": secret})
    assert not [each for each in texts_of(caught.value) if secret in each]
    assert "cannot do with" in str(caught.value)


def test_a_setting_that_is_wrong_may_hold_a_secret(machine: Machine) -> None:
    """The value of a wrong setting is quoted as evidence, but not what of it looks like a secret."""
    configuration = machine.load('[defaults]\nreport_on = "https://gis:hunter22@example.com"')
    assert "https://gis:[redacted: url_password]@example.com" in configuration.problems[0].text
    assert "hunter22" not in configuration.problems[0].text


def test_the_process_environment_is_where_secrets_are_looked_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless another environment is given, it is the one that the process has now."""
    spec = machine.load(SENDGRID.format('{ env = "PLANTED" }')).spec("ops")
    monkeypatch.setitem(os.environ, "PLANTED", "SG.x")
    assert spec.resolved()["api_key"] == "SG.x"
