"""``supervisor migrate``: what it changes in a script of version 3, and what it leaves as it is."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from supervisor._cli.main import main
from supervisor._cli.migrate_command import migrated

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = '''\
"""Loads parcels."""
from supervisor.message_handlers import SendGridHandler
from supervisor.models import MessageDetails, Supervisor

def main():
    sup = Supervisor(logger=log, log_path="a.log")  # watch
    sup.add_message_handler(SendGridHandler(sendgrid_settings=config["mail"], client_name="ä", client_version=1))

    message = MessageDetails()
    message.subject = f"{config.NAME} loaded"
    rows = load()
    message.message = "\\n".join(rows)
    message.attachments = "a.log"

    sup.notify(message)
'''

MIGRATED = '''\
"""Loads parcels."""
from supervisor.message_handlers import SendGridHandler
from supervisor.models import Supervisor

def main():
    sup = Supervisor(handle_errors=True, logger=log, log_path="a.log")  # watch
    sup.add_message_handler(SendGridHandler(**config["mail"], client_name="ä", client_version=1))

    rows = load()

    sup.notify(f"{config.NAME} loaded", "\\n".join(rows), attachments="a.log")
'''


def changed(text: str) -> str:
    """Return what becomes of a script that imports all names of version 3."""
    head = "from supervisor.models import MessageDetails, Supervisor\n"
    head += "from supervisor.message_handlers import EmailHandler\n"
    new = migrated(head + text).text
    ast.parse(new)
    return new.removeprefix(head)


def test_a_script_is_written_anew() -> None:
    """Imports, settings, watching and messages; all else stays as it is, comments and quotes too."""
    assert migrated(SCRIPT).text == MIGRATED
    assert migrated(MIGRATED).text == MIGRATED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Supervisor()\n", "Supervisor(handle_errors=True)\n"),
        ("Supervisor(handle_errors=False)\n", "Supervisor(handle_errors=False)\n"),
        ("Supervisor(True, log, path)\n", "Supervisor(handle_errors=True, logger=log, log_path=path)\n"),
        ("Supervisor(handlers=[a], log_path=b)\n", "Supervisor(handlers=[a], log_path=b)\n"),
        (
            'EmailHandler(s, "a", v)\n',
            'EmailHandler(**s, security="none", client_name="a", client_version=v)\n',
        ),
        ("EmailHandler(a or b)\n", 'EmailHandler(**(a or b), security="none")\n'),
        ('EmailHandler(smtp_server="a")\n', 'EmailHandler(smtp_server="a")\n'),
    ],
)
def test_calls(old: str, new: str) -> None:
    """What stood in order gets its name, and settings are unpacked; calls of version 4 stay."""
    assert changed(old) == new


def test_what_may_change_on_the_way_is_kept_in_a_variable() -> None:
    """An expression is evaluated where it was, unless its value is the same at the end."""
    old = "m = MessageDetails()\nm.subject = name\nm.message = text()\nname = rows()\nsup.notify(m)\n"
    new = "m_subject = name\nm_message = text()\nname = rows()\nsup.notify(m_subject, m_message)\n"
    assert changed(old).endswith(new)


@pytest.mark.parametrize(
    "uses",
    [
        "m.attachments.append(1)\nsup.notify(m)\n",
        "if a:\n    m.message = b\nsup.notify(m)\n",
        "m.attachments = a\nm.attachments = b\nsup.notify(m)\n",
        "sup.notify(m)\nprint(m)\n",
        "send(m)\n",
        "m.slack_messages = a\nsup.notify(m)\n",
    ],
)
def test_messages_that_are_filled_in_otherwise_need_the_old_names(uses: str) -> None:
    """Then nothing changes but the import."""
    old = f"import os\nfrom supervisor.models import MessageDetails, Supervisor\nm = MessageDetails()\n{uses}"
    migration = migrated(old)
    head = "import os\nfrom supervisor.compat import MessageDetails, Supervisor\n"
    assert migration.text == f"{head}m = MessageDetails()\n{uses}"
    assert migration.remarks == ((2, "messages are filled in here and there, so only the import changes"),)


def test_modules_and_other_names() -> None:
    """``models.Supervisor`` and ``import ... as`` mean the same."""
    head = "from supervisor import models\nimport supervisor.message_handlers as h\n"
    old = f"{head}models.Supervisor()\nh.SlackHandler(s)\n"
    new = migrated(old).text.splitlines()[2:]
    assert new == ["models.Supervisor(handle_errors=True)", "h.SlackHandler(**s)"]
    assert migrated("from supervisor.models import Supervisor as S\nS()\n").text.endswith("S(handle_errors=True)\n")


def test_scripts_that_use_compat_are_brought_to_version_4() -> None:
    """The names come from where version 4 has them."""
    old = (
        "from supervisor.compat import EmailHandler, MessageDetails, Supervisor\nm = MessageDetails()\nsup.notify(m)\n"
    )
    new = 'from supervisor.message_handlers import EmailHandler\nfrom supervisor import Supervisor\nsup.notify("")\n'
    assert migrated(old).text == new


def test_the_diff_and_the_file(tmp_path: Path) -> None:
    """Without --write a diff, with it the file, in its encoding, with its line ends and mode."""
    script = tmp_path / "parcels.py"
    raw = f"# -*- coding: latin-1 -*-\n{SCRIPT}".replace("\n", "\r\n").encode("latin-1")
    script.write_bytes(raw)
    script.chmod(0o640)
    shown = CliRunner().invoke(main, ["migrate", str(script)])
    assert shown.exit_code == 0, shown.output
    assert "-    message = MessageDetails()\n" in shown.output
    assert "1 of 1 file would change; --write changes them." in shown.output
    assert script.read_bytes() == raw
    assert CliRunner().invoke(main, ["migrate", "--write", str(script)]).exit_code == 0
    assert script.read_bytes().decode("latin-1").replace("\r\n", "\n") == f"# -*- coding: latin-1 -*-\n{MIGRATED}"
    assert "Nothing to change." in CliRunner().invoke(main, ["migrate", str(script)]).output


def test_requirements_are_named(tmp_path: Path) -> None:
    """What asks for version 3 is a line of another file, which is said."""
    setup = tmp_path / "setup.py"
    setup.write_text('setup(install_requires=[\n    "ugrc-supervisor>=3.1.3",\n    "agrc-supervisor>=4",\n])\n')
    said = CliRunner().invoke(main, ["migrate", str(setup)])
    assert "setup.py:2: 'ugrc-supervisor>=3.1.3' asks for version 3: write 'agrc-supervisor>=4'" in said.output
    assert "setup.py:3" not in said.output


@pytest.mark.parametrize(("content", "words"), [(b"def (\n", ":1: this is no Python"), (b"# \xff\n", "cannot be read")])
def test_what_is_no_python_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """With the file and the line."""
    script = tmp_path / "a.py"
    script.write_bytes(content)
    refused = CliRunner().invoke(main, ["migrate", str(script)])
    assert refused.exit_code == 2
    assert words in refused.output
    assert CliRunner().invoke(main, ["migrate", str(tmp_path / "none.py")]).exit_code == 2
