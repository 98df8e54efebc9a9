"""Runs whose messages are printed or dropped (``send``): whatever the script says, nothing leaves the machine."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from journal_kit import first_line_of, kill, notice, python
from recorders import Recorder

from supervisor import ConfigurationError, Supervisor, supervise, supervised
from supervisor._config import active
from supervisor._run import unsent
from supervisor._store import open_journal
from supervisor.testing import recording

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what sets the variable that developers set."""

    def set_variable(value: str) -> None:
        monkeypatch.setenv("SUPERVISOR_SEND", value)
        active().forget()
        unsent._noted.clear()

    return set_variable


def fail(*handlers: Recorder, **settings: object) -> None:
    """Fail in a run."""
    with pytest.raises(KeyError), supervise("night", handlers=handlers, **settings) as run:  # type: ignore[arg-type]
        run.notify("half way")
        raise KeyError("apn")


def test_messages_are_printed_with_whom_they_are_for(
    send: Callable[[str], None], recorder: Recorder, capsys: pytest.CaptureFixture[str], state: Path
) -> None:
    """Each is printed once for all handlers, with the names of those that want its kind; nothing is kept."""
    send("console")
    fail(recorder, Recorder("starts", kinds=["start"]), Recorder("all", kinds=["start", "failure"]))
    lines = capsys.readouterr().out.splitlines()
    heads = [line.split()[1] for line in lines if line and not line.startswith(" ")]
    ends = [line.strip() for line in lines if line.startswith("    not sent")]
    assert heads == ["START", "NOTICE", "FAILURE"]
    assert ends == ["not sent to starts, all", "not sent to recorder", "not sent to recorder, all"]
    assert recorder.messages == []
    assert list(state.iterdir()) == []


def test_off_prints_nothing(
    send: Callable[[str], None], recorder: Recorder, capsys: pytest.CaptureFixture[str], log: pytest.LogCaptureFixture
) -> None:
    """Nobody gets anything, and one line of the log says why; that no handler is given is no news."""
    send("OFF")  # as people write it
    for _ in range(2):
        fail(recorder, Recorder("starts", kinds=["start"]), report_on=["start", "success"])
        fail()
    assert capsys.readouterr().out == ""
    assert recorder.messages == []
    lines = [each.getMessage() for each in log.records if "run 'night'" not in each.getMessage()]
    assert lines == ['send = "off": no message is sent (`supervisor config` shows where that is set)']
    assert log.records[0].levelno == logging.INFO


def test_a_profile_says_it_and_wins_over_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    """The file's profile, and the environment over it, win over what stands in code; for one run its own table does."""
    path = tmp_path / "supervisor.toml"
    path.write_text(
        'profile = "dev"\n[profiles.dev.defaults]\nsend = "off"\n[profiles.dev.runs.loud]\nsend = "handlers"\n'
    )
    monkeypatch.setenv("SUPERVISOR_CONFIG", str(path))
    active().forget()
    assert supervise("night", send="handlers").settings.send == "off"
    assert Supervisor(handlers=recorder).supervise("night").settings.send == "off"
    assert supervise("loud").settings.send == "handlers"
    monkeypatch.setenv("SUPERVISOR_SEND", "handlers")
    active().forget()
    fail(recorder)
    assert recorder.received == ["notice", "failure"]


def test_a_script_may_say_it_too(recorder: Recorder, capsys: pytest.CaptureFixture[str], state: Path) -> None:
    """What the configuration leaves open, the script can say; it is then kept in memory, unless it says otherwise."""
    fail(recorder, send="console")
    assert "night failed" in capsys.readouterr().out
    assert list(state.iterdir()) == []
    fail(recorder, send="off", journal=True)
    assert recorder.messages == []
    journal = open_journal(state)
    (record,) = journal.runs("night")
    journal.close()
    assert dict(record.settings) == {"send": "off"}


def test_a_wrong_value_silences_nothing(
    send: Callable[[str], None], recorder: Recorder, log: pytest.LogCaptureFixture
) -> None:
    """It is logged with what would be right, and messages are sent; in code it is refused at once."""
    send("offf")
    fail(recorder)
    assert recorder.received == ["notice", "failure"]
    expected = "SUPERVISOR_SEND: send must be one of 'handlers', 'console', 'off', got 'offf'"
    assert expected in log.text
    with pytest.raises(ConfigurationError, match="send must be one of"):
        supervise("night", send="of")  # type: ignore[arg-type]


def test_notices_of_the_process_are_not_sent(
    send: Callable[[str], None], recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    """`Supervisor.notify` prints as well, and says that all is delivered; so it is for a handler that is added."""
    send("console")
    supervisor = Supervisor("night", handlers=recorder)
    supervisor.add_message_handler(Recorder("late"))
    supervisor.notify("by the way")
    assert supervisor.flush()
    assert "not sent to recorder, late" in capsys.readouterr().out
    assert recorder.messages == []


def test_without_handlers_the_outermost_run_prints(
    send: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A developer may have no handlers at all; an inner run leaves the failure to the outer one, as always."""
    send("console")

    @supervised("inner")
    def inner() -> None:
        raise KeyError("apn")

    with pytest.raises(KeyError), supervise("outer"):
        inner()
    heads = [line for line in capsys.readouterr().out.splitlines() if line and not line.startswith(" ")]
    assert [line.split()[1:3] for line in heads] == [["FAILURE", "outer"]]


def test_each_failure_is_printed(send: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """What holds failures back for people holds none back for the developer."""
    send("console")
    for _ in range(2):
        fail(alert_after=3, repeat_after_s=3600, journal=True)
    assert capsys.readouterr().out.count("FAILURE  night failed") == 2


def test_no_credential_of_a_handler_is_printed(send: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """What stands in for a handler knows its secrets: a library may quote them."""
    from supervisor.message_handlers import EmailHandler

    send("console")
    handler = EmailHandler(
        smtp_server="localhost",
        from_address="a@example.com",
        to_addresses="b@example.com",
        username="gis",
        password="correcthorse9",
    )
    with pytest.raises(OSError, match="login"), supervise("night", handlers=handler):
        raise OSError("login as gis, correcthorse9 refused")
    printed = capsys.readouterr().out
    assert "refused" in printed
    assert "correcthorse9" not in printed


def test_what_earlier_runs_left_is_left_alone(send: Callable[[str], None], recorder: Recorder, state: Path) -> None:
    """What waits in the outbox stays there, and a death is reported to nobody: the next real run does both."""
    process = python(
        "from supervisor import supervise\nimport sys\n"
        "with supervise('night'): print('ready', flush=True); sys.stdin.readline()\n"
    )
    assert first_line_of(process) == "ready"
    kill(process)
    journal = open_journal(state)
    journal.put(notice("waits"), [recorder.name])
    send("console")
    fail(recorder, journal=True)
    assert journal.waiting_by_handler() == {recorder.name: 1}
    journal.close()
    send("handlers")
    fail(recorder)
    assert sorted(recorder.received) == ["died", "failure", "notice", "notice"]


def test_tests_of_scripts_record_all_the_same(send: Callable[[str], None], recorder: Recorder) -> None:
    """A developer's tests see what would be sent, whatever is set on their machine."""
    send("off")
    with recording() as seen:
        fail(recorder)
    assert [str(each.kind) for each in seen.messages] == ["notice", "failure"]
