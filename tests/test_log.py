"""The log: loaded when there is something to log, passed to the loggers that a script set up, never an error for it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pytest
from scripts import run

from supervisor import _log

if TYPE_CHECKING:
    from pathlib import Path


def test_a_script_that_prints_never_loads_logging(tmp_path: Path) -> None:
    """A whole run with the journal and a message needs no log, and writes nothing to stderr."""
    body = """
        from supervisor.message_handlers import ConsoleHandler
        with supervise("night", handlers=[ConsoleHandler()], report_on=["success"]) as run:
            run.notify("hello")
        print("logging" in sys.modules)
    """
    ended = run(tmp_path, body)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.endswith("False\n")


def test_a_warning_reaches_stderr_where_no_log_is_configured(tmp_path: Path) -> None:
    """Warnings and errors are printed as logging prints what no handler hears; anything less is not."""
    body = """
        from supervisor import _log as log
        log.info("quiet")
        print("logging" in sys.modules)
        log.warning("%s%% of %r", 80, "disk")
        log.error("no facts: 100%")
        log.info("quiet")
    """
    ended = run(tmp_path, body)
    assert (ended.code, ended.stdout) == (0, "False\n")
    assert ended.stderr == "80% of 'disk'\nno facts: 100%\n"


def test_a_script_that_configures_logging_silences_no_warning(tmp_path: Path) -> None:
    """``dictConfig`` disables loggers that it does not name, by default: ours still says that a message was refused."""
    body = """
        import logging.config
        from supervisor import DeliveryError, _log as log
        class Refusing:
            name = "refusing"
            def send_message(self, details):
                raise DeliveryError("webhook refused", permanent=True)
        with supervise("night", handlers=[Refusing()], capture_logs=True) as run:
            logging.config.dictConfig({"version": 1, "root": {"handlers": []}})
            logging.getLogger("roads").warning("said in the run")
            run.notify("subject")
        print(open(run.log_path).read())
        logging.getLogger("supervisor").setLevel("CRITICAL")
        log.error("unheard")
        logging.getLogger("supervisor").setLevel("NOTSET")
        logging.disable("ERROR")
        log.error("unheard")
    """
    ended = run(tmp_path, body)
    assert "webhook refused" in ended.stderr
    assert "said in the run" in ended.stdout
    assert "unheard" not in ended.stderr


@pytest.mark.parametrize("place", ["before the import", "before the run", "in the run"])
def test_a_log_is_heard_from_where_it_is_configured(place: str, tmp_path: Path) -> None:
    """A script may configure logging when it likes: what is said from then on is in its log."""
    configure = "import logging; logging.basicConfig(level='INFO', format='%(name)s %(message)s', stream=sys.stdout)"
    lines = {
        "before the import": "for each in [each for each in sys.modules if each.startswith('supervisor')]:"
        f" del sys.modules[each]\n{configure}\nfrom supervisor import supervise",
        "before the run": configure,
        "in the run": "",
    }
    inside = configure if place == "in the run" else "pass"
    ended = run(tmp_path, f"{lines[place]}\nwith supervise('first'): pass\nwith supervise('night'):\n    {inside}")
    assert (ended.code, ended.stderr) == (0, "")
    heard = [line.split(" (")[0].split(": ")[0] for line in ended.stdout.splitlines() if "'night'" in line]
    expected = ["supervisor run 'night' started", "supervisor run 'night' ended"]
    assert heard == (expected[1:] if place == "in the run" else expected)


def test_a_record_names_the_line_that_said_it(caplog: pytest.LogCaptureFixture) -> None:
    """Each record has the place in supervisor that it came from, and not the log's own."""
    with caplog.at_level(logging.INFO, logger="supervisor"):
        _log.info("info")
        _log.warning("warning")
        _log.error("error")
    assert [(each.levelname, each.funcName) for each in caplog.records] == [
        (level, "test_a_record_names_the_line_that_said_it") for level in ("INFO", "WARNING", "ERROR")
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on open files to speak of")
def test_a_warning_is_printed_where_logging_cannot_be_loaded_any_more(tmp_path: Path) -> None:
    """A script that has used up its file descriptors is warned all the same."""
    body = """
        import resource
        from supervisor import _log as log
        resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
        try:
            files = []
            while True:
                files.append(open("/dev/null"))
        except OSError:
            log.warning("the journal %r is out of reach", "/var")
            log.error("100%")
        print("logging" in sys.modules)
    """
    ended = run(tmp_path, body)
    assert (ended.code, ended.stdout) == (0, "False\n")
    assert ended.stderr == "the journal '/var' is out of reach\n100%\n"
