"""Handlers by scheme, from this package and from others."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from supervisor import ConfigurationError, message_handlers
from supervisor.message_handlers._registry import GROUP, built_in, handler_class


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


@pytest.mark.parametrize("scheme", built_in())
def test_each_handler_of_ours_has_a_scheme(scheme: str) -> None:
    """Each built-in scheme has the class that the package exports."""
    found = handler_class(scheme)
    assert found is getattr(message_handlers, built_in()[scheme])
    assert callable(found.send_message)


@pytest.mark.parametrize("scheme", sorted(built_in().keys() - {"console"}))
def test_each_handler_of_ours_has_its_table_in_the_template(scheme: str) -> None:
    """``supervisor config init`` writes a table for each handler; the console's is not commented out."""
    module = sys.modules[handler_class(scheme).__module__]
    needed = (
        f"{module.__file__} needs a text EXAMPLE with the handler's table for `supervisor config init`, such as:\n"
        f'[handlers.some-name]\ntype = "{scheme}"\nan_option = {{ env = "A_VARIABLE_WITH_A_SECRET" }}'
    )
    example = getattr(module, "EXAMPLE", None)
    assert example is not None, needed
    (table,) = tomllib.loads(example)["handlers"].values()
    assert table["type"] == scheme, needed


def test_none_of_ours_is_forgotten() -> None:
    """Each class of a handler stands where its name is looked for, and in the list that type checkers read."""
    package = Path(message_handlers.__file__)
    defined = {
        name: path
        for path in package.parent.rglob("*.py")
        for name in re.findall(r"^class ([A-Z]\w*Handler)\b", path.read_text("utf-8"), re.MULTILINE)
    }
    for name, path in defined.items():
        module = path.parent if path.name == "__init__.py" else path
        scheme = module.stem.removeprefix("_")
        assert built_in().get(scheme) == name, f"{path.name}: {name} must be a name of the module or package _{scheme}"
        line = f"    from supervisor.message_handlers._{scheme} import {name} as {name}\n"
        assert line in package.read_text("utf-8"), f"{package} lacks for type checkers: {line.strip()}"
    assert sorted(built_in().values()) == sorted(defined)


@pytest.mark.parametrize("scheme", ["", "http", "registry", "email.handler", "e\0", "../email", "EMAIL"])
def test_what_is_no_handler_has_no_scheme(scheme: str) -> None:
    """Other modules of the package, and what only looks like a scheme, are refused as unknown."""
    with pytest.raises(ConfigurationError, match=r"no handler of type .* apprise, console, email"):
        handler_class(scheme)


def test_a_missing_module_is_no_unknown_handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler whose own imports fail says which, and is not taken for one that does not exist."""
    (tmp_path / "_broken.py").write_text("import nothing_of_this_name\n")
    monkeypatch.setattr(message_handlers, "__path__", [*message_handlers.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        handler_class("broken")


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
