"""``supervisor config``: what is in force, from where, and what is wrong."""

from __future__ import annotations

import importlib
import os
import stat
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from hooks import configured
from journalled import document, invoke, is_harmless

from supervisor._cli.config_command import example
from supervisor._config import load
from supervisor.message_handlers._registry import examples

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
profile = "production"

[defaults]
handlers = ["ops"]
report_on = ["success"]

[handlers.ops]
type = "webhook"
url = "https://example.com/hook"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

[handlers.chat]
type = "slack"
webhook_url = { env = "CHAT_URL" }

[runs."nightly parcels"]
handlers = ["chat"]
schedule = "0 2 * * *"

[profiles.production]
"""


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return an empty folder, which is the working directory, with no configuration around it but the machine's."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("SUPERVISOR_CONFIG")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "machine"))
    # the same for Windows, by platformdirs
    monkeypatch.setenv("WIN_PD_OVERRIDE_LOCAL_APPDATA", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("WIN_PD_OVERRIDE_COMMON_APPDATA", str(tmp_path / "machine"))
    return folder


def test_what_is_in_force_is_told_with_where_it_comes_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each key with its value and its file and line or variable; secrets are masked."""
    file = configured(monkeypatch, tmp_path, text=TEXT)
    for name in ("HOME", "USERPROFILE"):  # paths below it would be shown relative to it
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("CHAT_URL", "https://hooks.slack.com/services/T00000000/B00000000/secretsecretsecret")
    monkeypatch.setenv("SUPERVISOR_STALL_AFTER_S", "90")
    result = invoke("config")
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in result.stdout.splitlines()[1:] if line.strip()}
    assert rows["defaults.handlers"].split() == ['["ops"]', f"{file}:4"]
    assert rows["defaults.stall_after_s"].endswith("environment variable SUPERVISOR_STALL_AFTER_S")
    assert rows["handlers.ops.secret"].split()[0] == "********"
    assert rows["handlers.chat.webhook_url"].startswith('{ env = "CHAT_URL" }')
    assert "MfKQ9r8" not in result.output
    shown = document("config")
    assert shown["files"] == [str(file)]
    assert shown["profile"] == "production"
    assert {"key": "defaults.handlers", "value": '["ops"]', "origin": f"{file}:4"} in shown["entries"]
    assert shown["problems"] == []
    assert "secretsecret" not in str(shown)


def test_what_holds_for_one_run_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--run shows what runs of that name get, and the handlers that they use."""
    configured(monkeypatch, tmp_path, text=TEXT)
    monkeypatch.setenv("CHAT_URL", "https://hooks.slack.com/services/T00000000/B00000000/secretsecretsecret")
    keys = [each["key"] for each in document("config", "--run", "nightly parcels")["entries"]]
    assert keys == [
        *('runs."nightly parcels".handlers', "defaults.report_on", 'runs."nightly parcels".schedule'),
        *("handlers.chat.type", "handlers.chat.webhook_url"),
    ]
    keys = [each["key"] for each in document("config", "--run", "another")["entries"]]
    assert keys == [
        *("defaults.handlers", "defaults.report_on"),
        *("handlers.ops.type", "handlers.ops.url", "handlers.ops.secret"),
    ]


def test_what_holds_for_a_script_is_looked_for_from_its_folder(nowhere: Path, tmp_path: Path) -> None:
    """--script begins at the script's folder, without it the working directory counts."""
    (nowhere / "supervisor.toml").write_text("[defaults]\nrepeat_after_s = 1\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "supervisor.toml").write_text("[defaults]\nrepeat_after_s = 2\n")
    script = elsewhere / "script.py"
    script.touch()
    assert document("config")["entries"][0]["value"] == "1"
    assert document("config", "--script", str(script))["entries"][0]["value"] == "2"
    assert invoke("config", "--script", str(elsewhere / "missing.py")).exit_code == 2


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[defaults\n", 1, "TOML"),
        ("\n[defaults]\nreport_onn = []\n", 3, "did you mean 'report_on'?"),
        ("[defaults]\nhandlers = ['opps']\n[handlers.ops]\ntype = 'console'\n", 2, "did you mean 'ops'?"),
        ("[handlers.a]\ntype = 'slack'\nwebhook_url = { env = 'NOT_SET' }\n", 3, "variable NOT_SET is not set"),
        ("[handlers.a]\ntype = 'pigeon'\n", 2, "there are apprise, console, email"),
        ("[handlers.a]\ntype = 'console'\nstreem = 1\n", 3, "did you mean 'stream'?"),
        ("[handlers.a]\ntype = 'webhook'\n", 1, "url must be"),
    ],
)
def test_each_mistake_is_told_with_file_line_and_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, line: int, words: str
) -> None:
    """Bad TOML, unknown keys and handlers, missing secrets: 2, on stderr, with the place and what was meant."""
    file = configured(monkeypatch, tmp_path, text=text)
    result = invoke("config")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"mistake: {file}:{line}: ")
    assert words in result.stderr
    shown = document("config", code=2)["problems"]
    assert [(each["file"], each["line"]) for each in shown] == [(str(file), line)]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")
def test_a_secret_that_others_can_read_is_warned_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A literal secret in a file that others may read is a warning, and no mistake."""
    file = configured(monkeypatch, tmp_path, text=TEXT)
    monkeypatch.setenv("CHAT_URL", "https://hooks.slack.com/services/T00000000/B00000000/secretsecretsecret")
    file.chmod(0o644)
    result = invoke("config")
    assert result.exit_code == 0
    assert result.stderr.startswith(f"warning: {file}")
    assert len(document("config")["warnings"]) == 1


def test_nothing_configured_tells_how_to_begin(nowhere: Path) -> None:
    """Without any file it is said how to write one, and where it may be; that is fine."""
    result = invoke("config")
    assert result.exit_code == 0
    assert "no file was found" in result.stdout
    assert "supervisor config init" in result.stdout
    assert document("config")["entries"] == []


@pytest.mark.parametrize("where", [[], ["other.toml"], ["folder"], ["new/deep/file.toml"], ["--user"]])
def test_init_writes_a_first_file_for_its_owner_alone(nowhere: Path, tmp_path: Path, where: list[str]) -> None:
    """The commented file goes to ./supervisor.toml, to a path, into a folder, or to the user's place, mode 0600."""
    (nowhere / "folder").mkdir()
    result = invoke("config", "init", *where)
    assert result.exit_code == 0, result.output
    expected = {
        (): nowhere / "supervisor.toml",
        ("folder",): nowhere / "folder" / "supervisor.toml",
        ("--user",): tmp_path / "home" / "config" / "supervisor" / "supervisor.toml",
    }.get(tuple(where), nowhere / where[-1] if where else nowhere)
    assert expected.read_text("utf-8") == example(examples())
    assert tomllib.loads(expected.read_text("utf-8"))
    assert load(nowhere, {"SUPERVISOR_CONFIG": str(expected)}).problems == ()
    if sys.platform != "win32":
        assert stat.S_IMODE(expected.stat().st_mode) == 0o600


def test_init_never_overwrites_unless_told(nowhere: Path) -> None:
    """A file that is there stays as it is without --force; with it, it becomes the example, with its mode."""
    path = nowhere / "supervisor.toml"
    path.write_text("mine")
    path.chmod(0o644)
    result = invoke("config", "init")
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert path.read_text() == "mine"
    assert invoke("config", "init", "--force").exit_code == 0
    assert path.read_text("utf-8") == example(examples())
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in nowhere.iterdir()] == ["supervisor.toml"]


def test_init_where_nothing_can_be_written_says_so(nowhere: Path) -> None:
    """A path that cannot be is reported with the reason, and leaves nothing behind."""
    (nowhere / "file").touch()
    for arguments in (["file/below.toml"], ["--force", "file/below.toml"]):
        result = invoke("config", "init", *arguments)
        assert result.exit_code == 1
        assert "cannot be written" in result.stderr
    assert invoke("config", "init", "x.toml", "--user").exit_code == 2
    assert [each.name for each in nowhere.iterdir()] == ["file"]


def test_path_lists_the_places_and_which_there_are(nowhere: Path, tmp_path: Path) -> None:
    """The machine's, the user's and the project's files, the strongest last: read, there but not read, not there."""
    machine = tmp_path / "machine" / "supervisor" / "supervisor.toml"
    machine.parent.mkdir(parents=True)
    machine.write_text("[defaults]\nrepeat_after_s = 1\n")
    (tmp_path / "supervisor.toml").write_text("[defaults]\n")
    (nowhere / "pyproject.toml").write_text("[tool.supervisor.defaults]\nrepeat_after_s = 2\n")
    shown = {each["path"]: (each["whose"], each["state"]) for each in document("config", "path")}
    user = tmp_path / "home" / "config" / "supervisor" / "supervisor.toml"
    assert list(shown)[:2] == [str(machine), str(user)]
    assert shown[str(machine)] == ("machine", "read")
    assert shown[str(user)] == ("user", "not there")
    assert shown[str(tmp_path / "supervisor.toml")] == ("project", "there")
    assert shown[str(nowhere / "pyproject.toml")] == ("project", "read")
    assert shown[str(nowhere / "supervisor.toml")] == ("project", "not there")
    assert str(machine) in invoke("config", "path").stdout


def test_path_knows_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SUPERVISOR_CONFIG is the only place when it is set; the null device is none."""
    file = configured(monkeypatch, tmp_path, text="[defaults]\nrepeat_after_s = 1\n")
    assert document("config", "path") == [{"path": str(file), "whose": "SUPERVISOR_CONFIG", "state": "read"}]
    monkeypatch.setenv("SUPERVISOR_CONFIG", os.devnull)
    assert document("config", "path") == []


def test_nothing_of_a_file_reaches_the_terminal_as_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Values and names that hold control characters or markup are shown as texts."""
    text = (
        '[runs."[bold]\\u001b[2J\\u202e"]\nschedule = "0 2 * * *"\n'
        '[handlers."\\u001b]0;x\\u0007"]\ntype = "\\u001b[31m"\n'
    )
    configured(monkeypatch, tmp_path, text=text)
    assert is_harmless(invoke("config").output)
    assert is_harmless(invoke("test").output)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give folders to any group")
def test_init_says_how_to_share_in_a_folder_of_a_group(nowhere: Path) -> None:
    """The file is its owner's alone; where a group works together, the lines that let it read the file are shown."""
    grp: Any = importlib.import_module("grp")  # Windows has none
    posix: Any = os
    group = next(each for each in grp.getgrall() if each.gr_name not in {"root", "nogroup"})
    assert "share" not in invoke("config", "init").stdout
    nowhere.chmod(0o775)
    posix.chown(nowhere, -1, group.gr_gid)
    said = invoke("config", "init", "--force").stdout
    assert f"chgrp {group.gr_name} supervisor.toml && chmod 640 supervisor.toml" in said
    assert (nowhere / "supervisor.toml").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no modes")
def test_a_state_directory_that_others_can_use_is_named(state: Path) -> None:
    """It may be shared on purpose, so it is not changed."""
    state.chmod(0o755)
    result = invoke("config")
    assert "others can read it (mode 0755); chmod 700 it" in " ".join(result.stderr.split())
    (warning,) = [each for each in document("config")["warnings"] if "private" in each["text"]]
    assert str(state) in warning["text"]
    state.chmod(0o700)
    assert "private" not in invoke("config").stderr
