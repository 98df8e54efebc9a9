"""Handlers by scheme, from this package and from others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supervisor import ConfigurationError, message_handlers
from supervisor.message_handlers._registry import BUILT_IN, GROUP, handler_class


@pytest.fixture
def another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that offers a handler, one that cannot be loaded, and one under a built-in scheme."""
    (tmp_path / "pager_package.py").write_text("class PagerHandler:\n    def send_message(self, details): pass\n")
    facts = tmp_path / "pager-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: pager\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        f"[{GROUP}]\n"
        "pager = pager_package:PagerHandler\n"
        "broken = pager_package:Missing\n"
        "email = pager_package:PagerHandler\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("scheme", BUILT_IN)
def test_each_handler_of_ours_has_a_scheme(scheme: str) -> None:
    """Each built-in scheme has the class that the package exports."""
    found = handler_class(scheme)
    assert found is getattr(message_handlers, BUILT_IN[scheme])
    assert callable(found.send_message)


def test_none_of_ours_is_forgotten() -> None:
    """Every handler that the package exports, or that a module of it defines, has a scheme."""
    exported = {name for name in message_handlers.__all__ if name.endswith("Handler") and name != "MessageHandler"}
    folder = Path(message_handlers.__file__).parent
    defined = {
        name
        for path in folder.rglob("*.py")
        for name in re.findall(r"^class ([A-Z]\w*Handler)\b", path.read_text("utf-8"), re.MULTILINE)
    }
    registered = set(BUILT_IN.values())
    for where, names in (("a module", defined), ("__all__", exported)):
        assert not names - registered, f"_HANDLERS lacks {', '.join(sorted(names - registered))}, which {where} has"
        assert not registered - names, f"{where} lacks {', '.join(sorted(registered - names))}, which _HANDLERS has"


@pytest.mark.usefixtures("another_package")
def test_an_entry_point_adds_a_handler() -> None:
    """An entry point of the group adds a handler."""
    assert handler_class("pager").__name__ == "PagerHandler"


@pytest.mark.usefixtures("another_package")
def test_a_scheme_of_ours_cannot_be_taken_over() -> None:
    """An entry point cannot replace a built-in handler."""
    assert handler_class("email").__name__ == "EmailHandler"


@pytest.mark.usefixtures("another_package")
def test_an_unknown_scheme_is_reported_with_those_that_exist() -> None:
    """The error for an unknown scheme has a suggestion, and lists all schemes."""
    with pytest.raises(ConfigurationError, match=r"no handler of type 'pagr'; did you mean 'pager'\? .*console.*pager"):
        handler_class("pagr")


@pytest.mark.usefixtures("another_package")
def test_a_handler_that_cannot_be_loaded_is_reported_with_its_reason() -> None:
    """The error for an entry point that cannot be loaded has its target and the reason."""
    with pytest.raises(ConfigurationError, match=r"'broken' \(pager_package:Missing\) cannot be loaded"):
        handler_class("broken")
