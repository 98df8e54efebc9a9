"""What is configured, as runs get it: settings, handlers by their names, and what is wrong with them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from supervisor import Supervisor, supervise, supervised
from supervisor._config import ActiveConfiguration, active
from supervisor._models import DeliveryState, Kind
from supervisor._store import open_journal
from supervisor.message_handlers._registry import handler_class

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recorders import Recorder

    from supervisor import Run


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return what writes the one configuration that counts."""

    def write(text: str) -> Path:
        path = tmp_path / "supervisor.toml"
        path.write_text(textwrap.dedent(text))
        monkeypatch.setenv("SUPERVISOR_CONFIG", str(path))
        active().forget()
        return path

    return write


def test_settings_come_from_the_configuration_and_the_script_wins(configure: Callable[[str], Path]) -> None:
    """Defaults hold for all runs, a run's own table over them, and what the script says over both."""
    configure(
        """
        [defaults]
        delivery_deadline_s = 5
        repeat_after_s = 60
        [runs.night]
        repeat_after_s = 120
        max_duration_s = 7200
        """
    )
    other, night, own = supervise("other"), supervise("night"), supervise("night", max_duration_s=60)
    assert (other.settings.delivery_deadline_s, other.settings.repeat_after_s) == (5, 60)
    assert (night.settings.repeat_after_s, night.settings.max_duration_s) == (120, 7200)
    assert (own.settings.repeat_after_s, own.settings.max_duration_s) == (120, 60)


def test_each_entrance_takes_what_is_configured_for_the_name(configure: Callable[[str], Path]) -> None:
    """A bare decorator, one with settings, and a Supervisor find the table of their runs."""
    configure("[runs.load]\ndelivery_deadline_s = 7\n")
    seen: list[float] = []

    @supervised
    def load(run: Run) -> None:
        seen.append(run.settings.delivery_deadline_s)

    bare = load

    @supervised(journal=False)  # type: ignore[no-redef]  # each is called as its runs are
    def load(run: Run) -> None:
        seen.append(run.settings.delivery_deadline_s)

    @Supervisor().supervised
    def load_all(run: Run) -> None:
        seen.append(run.settings.delivery_deadline_s)

    bare()
    load()
    load_all()
    Supervisor("load").supervise().__enter__().__exit__(None, None, None)
    seen.append(Supervisor().supervise("load").settings.delivery_deadline_s)
    assert seen == [7, 7, 30, 7]


def test_handlers_go_by_their_names(configure: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A name stands for the configured handler, beside objects too, and is the same object each time."""
    configure('[handlers.screen]\ntype = "console"\n')
    with supervise("night", handlers="screen") as run:
        run.notify("Loaded", "12 rows")
    assert "Loaded" in capsys.readouterr().out
    assert active().named("screen") is supervise("other", handlers=["screen"]).settings.handlers[0]


def test_without_handlers_of_its_own_a_run_has_the_configured_ones(
    configure: Callable[[str], Path], recorder: Recorder
) -> None:
    """``[defaults] handlers`` count where the script names none; the script's replace them, also with nothing."""
    configure('[defaults]\nhandlers = ["console"]\n')
    assert [type(each).__name__ for each in supervise("night").settings.handlers] == ["ConsoleHandler"]
    assert supervise("night", handlers=[recorder]).settings.handlers == (recorder,)
    assert supervise("night", handlers=[]).settings.handlers == ()


def test_a_handler_that_cannot_be_built_keeps_its_messages(
    configure: Callable[[str], Path], recorder: Recorder, state: Path, log: pytest.LogCaptureFixture
) -> None:
    """The reason is logged and in the outbox, the others get the message, and a mended handler can still send it."""
    configure('[handlers.ops]\ntype = "sendgrid"\napi_kee = "x"\n')
    with supervise("night", handlers=["ops", "nobody", recorder]) as run:
        run.notify("Loaded", "12 rows")
    assert recorder.received == ["notice"]
    assert "there is no option 'api_kee'" in log.text
    assert "did you mean 'api_key'?" in log.text
    journal = open_journal(state)
    kept = {each.handler: each for each in journal.deliveries()}
    journal.close()
    assert kept.keys() == {"ops", "nobody"}
    assert kept["ops"].state is DeliveryState.FAILED
    assert "supervisor.toml:3" in kept["ops"].last_error
    assert "there is no handler 'nobody'" in kept["nobody"].last_error
    assert kept["ops"].kind is Kind.NOTICE


def test_mistakes_in_the_file_are_logged_once_and_the_rest_holds(
    configure: Callable[[str], Path], log: pytest.LogCaptureFixture
) -> None:
    """A run goes on with what is right, and the log names file, line and what was probably meant."""
    configure("[defaults]\njurnal = false\ndelivery_deadline_s = 5\n")
    assert [supervise("night").settings.delivery_deadline_s for _ in range(3)] == [5, 5, 5]
    assert log.text.count("supervisor.toml:2") == 1
    assert "did you mean 'journal'?" in log.text


def test_commands_look_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program ``supervisor`` stands in no project: its configuration is that of the folder it is called in."""
    (tmp_path / "supervisor.toml").write_text('[handlers.screen]\ntype = "console"\n')
    monkeypatch.delenv("SUPERVISOR_CONFIG")
    monkeypatch.chdir(tmp_path)
    configuration = ActiveConfiguration(lambda: __file__, handler_class=handler_class)
    assert "screen" not in configuration.loaded.handlers
    configuration.look_from(None)
    assert "screen" in configuration.loaded.handlers
