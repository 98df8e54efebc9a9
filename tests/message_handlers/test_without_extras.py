"""Handlers whose client library is an extra, where it is not installed."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from supervisor.errors import DeliveryError
from supervisor.message_handlers import AppriseHandler, SlackHandler
from supervisor.models import MessageDetails

HANDLERS = {
    "slack": ("slack_sdk", lambda: SlackHandler(webhook_url="http://127.0.0.1:9/services/T/B/x"), "slack_sdk"),
    "slack with a token": ("slack_sdk", lambda: SlackHandler(token="xoxb-1", channel="#ops"), "slack_sdk"),
    "apprise": ("apprise", lambda: AppriseHandler(urls="json://127.0.0.1:9"), "apprise"),
}


@pytest.mark.parametrize(("library", "make", "named"), HANDLERS.values(), ids=HANDLERS)
def test_a_missing_library_is_reported_with_its_remedy(
    library: str, make: Any, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler can be built, and sending raises a permanent error that names the package to install."""
    for name in [each for each in sys.modules if each.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    handler = make()
    with pytest.raises(DeliveryError, match=rf"needs {named}: pip install 'agrc-supervisor\[") as refused:
        handler.send_message(MessageDetails("subject", "text"))
    assert refused.value.permanent
