"""Calls of Slack's methods and webhooks by slack_sdk, with its answers as errors that say what they mean."""

from __future__ import annotations

import logging
import ssl
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from supervisor.message_handlers._slack.slack_answers import SlackError, refusal, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from slack_sdk.errors import SlackApiError

    from supervisor.message_handlers._slack.blocks import Post


class Webhook:
    """An incoming webhook.

    Args:
        url: Its URL, which is a secret.
        timeout_s: The most seconds for each step on the way.

    Raises:
        ImportError: slack_sdk is not installed.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        from slack_sdk import WebhookClient

        path = urlsplit(url).path
        self._secrets = (url, path, path.rpartition("/")[2])
        self._client = _prepared(WebhookClient, url=url, timeout=timeout_s)

    def send(self, post: Post) -> None:
        """Send one message.

        Raises:
            SlackError: Slack did not accept it, or did not answer.
        """
        shown = {"text": post.text, "blocks": list(post.blocks) or None}
        try:
            answer = self._client.send(**shown, unfurl_links=False, unfurl_media=False)
        except (OSError, HTTPException, ValueError) as exc:
            raise unreachable(exc, secrets=self._secrets) from exc
        # Slack says "ok"; HTML is from a proxy in between, whatever its status.
        if not 200 <= answer.status_code < 300 or answer.body.lstrip().startswith("<"):  # noqa: PLR2004 - success
            raise refusal(answer.status_code, answer.headers, answer.body, secrets=self._secrets)


class Api:
    """Slack's methods, as a bot may call them.

    Args:
        token: The bot's token, which is a secret.
        base_url: Where the methods are found.
        timeout_s: The most seconds for each step on the way.

    Attributes:
        client: The client whose methods :meth:`call` takes.
        tls: What certificates are verified with.

    Raises:
        ImportError: slack_sdk is not installed.
    """

    def __init__(self, token: str, base_url: str, timeout_s: float) -> None:
        from slack_sdk import WebClient

        self.client = _prepared(WebClient, token=token, base_url=base_url, timeout=timeout_s)
        self.timeout_s = timeout_s
        self.tls: ssl.SSLContext = self.client.ssl
        self._secrets = (token,)

    def call(self, method: Callable[..., Any], **arguments: Any) -> Any:
        """Return what Slack answered to one method.

        Raises:
            SlackError: Slack refused it, or did not answer.
        """
        from slack_sdk.errors import SlackApiError

        try:
            return method(**arguments)
        except SlackApiError as exc:
            raise self._refusal(exc) from exc
        except (OSError, HTTPException, ValueError) as exc:
            raise unreachable(exc, secrets=self._secrets) from exc

    def _refusal(self, error: SlackApiError) -> SlackError:
        response: Any = error.response
        data = response.data if isinstance(response.data, dict) else {}
        said = data.get("response_metadata")
        more = "; ".join(str(each) for each in said.get("messages") or ()) if isinstance(said, dict) else ""
        if data.get("needed"):
            more = f"it needs {data['needed']}, the token has {data.get('provided') or 'nothing'}"
        code = str(data.get("error") or "an error without a name")
        return refusal(response.status_code, response.headers, code, secrets=self._secrets, details=more)


def _prepared(client: Callable[..., Any], **settings: Any) -> Any:
    """Return a client that leaves retrying and logging to us.

    slack_sdk would try a lost connection again by itself, and writes requests with the webhook's URL into debug logs.
    """
    silent = logging.Logger("slack", level=logging.CRITICAL + 1)  # noqa: LOG001 - one that nobody can switch on
    return client(**settings, ssl=ssl.create_default_context(), logger=silent, retry_handlers=[])
