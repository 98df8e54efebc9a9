"""The ping that tells somebody else that checks go on: a machine that is dead sends none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor._models.kinds import Kind

if TYPE_CHECKING:
    from supervisor.message_handlers import HealthchecksHandler

TIMEOUT_S = 10.0


def pinger(url: str) -> HealthchecksHandler:
    """Return what pings a URL as Healthchecks takes it (https://healthchecks.io/docs/http_api/).

    Raises:
        ConfigurationError: It is no URL that can be pinged; the text does not quote it, since it is a secret.
    """
    from supervisor.message_handlers import HealthchecksHandler

    return HealthchecksHandler(ping_url=url, timeout_s=TIMEOUT_S)


def ping(handler: HealthchecksHandler, subject: str, text: str, *, works: bool) -> None:
    """Tell that a check was made: success whatever it found, since findings are told elsewhere.

    Args:
        handler: What :func:`pinger` returned.
        subject: What the check came to.
        text: What it found.
        works: False when the check itself could not do its work: the URL with ``/fail`` is pinged then.

    Raises:
        DeliveryError: The ping was not taken.
    """
    from supervisor._models.values import MessageDetails

    try:
        handler.send_message(MessageDetails(subject, text, kind=Kind.SUCCESS if works else Kind.FAILURE))
    finally:
        handler.close()
