"""What the documents' examples have around them: the services that they name, and a folder of their own."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import internet
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[internet.Internet]:
    """Return the services, which run as long as the tests do."""
    with internet.internet(tmp_path_factory.mktemp("authority")) as place:
        yield place


@pytest.fixture
def outside(services: internet.Internet, monkeypatch: pytest.MonkeyPatch) -> internet.Internet:
    """Return the services, with an environment that leads to them."""
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in services.environment.items():
        monkeypatch.setenv(name, value)
    services.forget()
    return services


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, which is the working directory; hooks of the process are put back behind it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    return tmp_path
