"""Calls of Slack's methods and webhooks by slack_sdk, with its answers as errors that say what they mean.

- What Slack's answers mean: which refusals last, what mends them, and which ones another form of message avoids.
"""

from __future__ import annotations

import logging
import ssl
from email.message import Message
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from supervisor._text import one_line
from supervisor.errors import DeliveryError
from supervisor.message_handlers._http import Response, redact_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from slack_sdk.errors import SlackApiError

    from supervisor.message_handlers._slack.blocks import Post

# The blocks are at fault: the same message may pass as plain text.
BLOCKS_REFUSED = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "invalid_payload"}
)
# The thread is at fault: the same message may pass outside of it.
THREAD_REFUSED = frozenset(
    {
        "cannot_reply_to_message",
        "invalid_thread_ts",
        "message_not_found",
        "restricted_action_non_threadable_channel",
        "restricted_action_thread_locked",
        "thread_not_found",
    }
)
# The message cannot be edited: a new one may pass.
EDIT_REFUSED = frozenset({"cant_update_message", "edit_window_closed", "message_not_found", "update_failed"})

_ALLOW_POSTING = "allow the app to post in this channel, or choose another one"
_REINSTALL = "install the app into the workspace again and use its new bot token"
_BAD_FORM = "Slack takes no message of this form"
# Answers that stay the same until somebody does something, and what mends them. Whatever is not listed may pass.
# https://docs.slack.dev/reference/methods/chat.postMessage/#errors
# https://docs.slack.dev/reference/methods/chat.update/#errors
# https://docs.slack.dev/reference/methods/files.getUploadURLExternal/#errors
# https://docs.slack.dev/reference/methods/files.completeUploadExternal/#errors
# https://docs.slack.dev/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks/
REMEDIES: Mapping[str, str] = {
    "access_denied": _ALLOW_POSTING,
    "account_inactive": _REINSTALL,
    "action_prohibited": "an administrator has to allow incoming webhooks in this channel",
    "as_user_not_supported": _BAD_FORM,
    "cannot_reply_to_message": _ALLOW_POSTING,
    "channel_is_archived": "unarchive the channel, or make a webhook for another one",
    "channel_not_found": "check the channel; in a private one, invite the bot with /invite",
    "ekm_access_denied": "an administrator has suspended posting",
    "enterprise_is_restricted": "use the token of a workspace, not of the organisation",
    "file_type_not_allowed": "an administrator has forbidden files of this kind",
    "blocked_file_type": "an administrator has forbidden files of this kind",
    "file_upload_size_restricted": "an administrator has forbidden files of this size",
    "file_uploads_disabled": "an administrator has forbidden files",
    "file_uploads_except_images_disabled": "an administrator has forbidden files other than images",
    "invalid_arguments": _BAD_FORM,
    "invalid_auth": "check the token; a bot token starts with xoxb-",
    "invalid_blocks": _BAD_FORM,
    "invalid_blocks_format": _BAD_FORM,
    "invalid_payload": _BAD_FORM,
    "invalid_token": "check the webhook URL, or make a new webhook",
    "is_archived": "unarchive the channel, or choose another one",
    "messages_tab_disabled": "switch on the messages tab of the app, or choose another channel",
    "method_deprecated": "update slack_sdk and agrc-supervisor",
    "missing_scope": "add the scope under OAuth & Permissions, then install the app again",
    "msg_blocks_too_long": _BAD_FORM,
    "msg_too_long": _BAD_FORM,
    "no_active_hooks": "make a new webhook: this one was switched off",
    "no_permission": _REINSTALL,
    "no_service": "make a new webhook: this one was removed or switched off",
    "no_team": "check the webhook URL, or make a new webhook",
    "no_text": _BAD_FORM,
    "not_allowed_token_type": "use a bot token, which starts with xoxb-",
    "not_authed": "check the token; a bot token starts with xoxb-",
    "not_in_channel": "invite the bot: type /invite and its name in the channel",
    "org_login_required": _REINSTALL,
    "posting_to_channel_denied": _ALLOW_POSTING,
    "posting_to_general_channel_denied": _ALLOW_POSTING,
    "restricted_action": _ALLOW_POSTING,
    "restricted_action_non_threadable_channel": _ALLOW_POSTING,
    "restricted_action_read_only_channel": _ALLOW_POSTING,
    "restricted_action_thread_locked": _ALLOW_POSTING,
    "restricted_action_thread_only_channel": _ALLOW_POSTING,
    "slack_connect_file_link_sharing_blocked": "an administrator has forbidden files in shared channels",
    "storage_limit_reached": "the workspace has no room for files left",
    "team_access_not_granted": _REINSTALL,
    "team_disabled": "the workspace is switched off",
    "token_expired": _REINSTALL,
    "token_revoked": _REINSTALL,
    "user_not_found": "check the user that the message goes to",
}


class SlackError(DeliveryError):
    """Tell what Slack answered.

    Args:
        reason: The answer and its remedy.
        code: Slack's own word for it; "" where there was no answer of Slack's.
        permanent: True when the same message would be refused again.
        retry_after_s: Seconds Slack asked us to wait; None lets delivery choose.
    """

    def __init__(
        self, reason: str, *, code: str = "", permanent: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(reason, permanent=permanent, retry_after_s=retry_after_s)
        self.code = code


def response_error(
    status: int, headers: Mapping[str, Any], code: str, *, secrets: Iterable[str], details: str = ""
) -> SlackError:
    """Return the error for an answer that is no success.

    429, 5xx and every word that is not known to last are temporary. So is what a proxy says in Slack's place, which
    is HTML. ``Retry-After`` is in seconds: https://docs.slack.dev/apis/web-api/rate-limits/

    Args:
        status: The status code.
        headers: The headers of the answer.
        code: Slack's word for the error, or the body as it came.
        secrets: What must not be told.
        details: More that Slack said of it.
    """
    answer = Response(status=status, headers=_as_message_headers(headers))
    word = code.strip() if code.strip().replace("_", "").isalnum() else ""
    is_refused = 400 <= status < 500 and bool(word)  # noqa: PLR2004 - the sender's faults
    is_permanent = not answer.is_temporary and (word in REMEDIES or is_refused or status == 413)  # noqa: PLR2004 - too large
    said = "Slack answered " + ", ".join(filter(None, [answer.phrase if status != 200 else "", _said(code, details)]))  # noqa: PLR2004
    remedy = f": {REMEDIES[word]}" if word in REMEDIES else ""
    return SlackError(
        redact_secrets(f"{said}{remedy}", secrets),
        code=word,
        permanent=is_permanent,
        retry_after_s=answer.retry_after_s,
    )


def connection_error(error: Exception, *, secrets: Iterable[str]) -> SlackError:
    """Return the error for a request without an answer: always temporary."""
    cause = getattr(error, "reason", error)
    told = str(cause) or type(cause).__name__
    if isinstance(cause, TimeoutError):
        told = "it did not answer in time"
    return SlackError(redact_secrets(f"Slack could not be reached: {one_line(told)}", secrets))


def _said(code: str, details: str) -> str:
    return one_line(f"{code} ({details})" if details else code)


def _as_message_headers(headers: Mapping[str, Any]) -> Message:
    """Return headers as an object that finds them in any case."""
    message = Message()
    for name, value in headers.items():
        message[name] = str(value)
    return message


class SlackWebhook:
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
        self._client = _quiet_client(WebhookClient, url=url, timeout=timeout_s)

    def send(self, post: Post) -> None:
        """Send one message.

        Raises:
            SlackError: Slack did not accept it, or did not answer.
        """
        shown = {"text": post.text, "blocks": list(post.blocks) or None}
        try:
            answer = self._client.send(**shown, unfurl_links=False, unfurl_media=False)
        except (OSError, HTTPException, ValueError) as exc:
            raise connection_error(exc, secrets=self._secrets) from exc
        # Slack says "ok"; HTML is from a proxy in between, whatever its status.
        if not 200 <= answer.status_code < 300 or answer.body.lstrip().startswith("<"):  # noqa: PLR2004 - success
            raise response_error(answer.status_code, answer.headers, answer.body, secrets=self._secrets)


class SlackApi:
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

        self.client = _quiet_client(WebClient, token=token, base_url=base_url, timeout=timeout_s)
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
            raise connection_error(exc, secrets=self._secrets) from exc

    def _refusal(self, error: SlackApiError) -> SlackError:
        response: Any = error.response
        data = response.data if isinstance(response.data, dict) else {}
        said = data.get("response_metadata")
        more = "; ".join(str(each) for each in said.get("messages") or ()) if isinstance(said, dict) else ""
        if data.get("needed"):
            more = f"it needs {data['needed']}, the token has {data.get('provided') or 'nothing'}"
        code = str(data.get("error") or "an error without a name")
        return response_error(response.status_code, response.headers, code, secrets=self._secrets, details=more)


def _quiet_client(client: Callable[..., Any], **settings: Any) -> Any:
    """Return a client that leaves retrying and logging to us.

    slack_sdk would try a lost connection again by itself, and writes requests with the webhook's URL into debug logs.
    """
    silent = logging.Logger("slack", level=logging.CRITICAL + 1)  # noqa: LOG001 - one that nobody can switch on
    return client(**settings, ssl=ssl.create_default_context(), logger=silent, retry_handlers=[])
