"""Calls Slack's Web API and incoming webhooks with slack_sdk, and turns every refusal into a SlackError.

The tables say which of Slack's error codes are permanent, what helps against them, and which ones another form of the
same message avoids.
"""

from __future__ import annotations

import json
import logging
from contextlib import closing
from email.message import Message
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode, urlsplit

from supervisor._text import one_line
from supervisor.errors import DeliveryError
from supervisor.message_handlers._http import ANSWER_LIMIT_BYTES, RESTING_S, HttpConnection, Response, redact_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from slack_sdk.errors import SlackApiError

    from supervisor._attachments import PackedFile
    from supervisor.message_handlers._slack.blocks import Post

_JSON_TYPE = "application/json;charset=utf-8"
# Slack refused the blocks: the same message may be accepted as plain text.
BLOCKS_REFUSED = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "invalid_payload"}
)
# Slack refused the thread: the same message may be accepted outside of it.
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
# The message cannot be edited: a new one may be accepted.
EDIT_REFUSED = frozenset({"cant_update_message", "edit_window_closed", "message_not_found", "update_failed"})

_ALLOW_POSTING = "allow the app to post in this channel, or choose another one"
_REINSTALL = "install the app into the workspace again and use its new bot token"
_BAD_FORM = "Slack takes no message of this form"
# Permanent error codes, with what a person can do about them. All codes that are not listed are temporary.
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


# Those of them that somebody may set right without a change of the script, as a login that is refused: HTTP's 401 and
# 403 in another form. They are tried once an hour.
LOGIN_REFUSED = frozenset(
    {
        "access_denied",
        "account_inactive",
        "ekm_access_denied",
        "enterprise_is_restricted",
        "invalid_auth",
        "invalid_token",
        "missing_scope",
        "no_permission",
        "not_allowed_token_type",
        "not_authed",
        "team_access_not_granted",
        "team_disabled",
        "token_expired",
        "token_revoked",
    }
)


class SlackError(DeliveryError):
    """A refusal by Slack, or no response from it.

    Args:
        reason: The error code and its remedy.
        code: Slack's error code; "" without a response from Slack itself.
        permanent: True when the same message would be refused again.
        retry_after_s: The seconds that Slack asks to wait; None when it does not say.
        scope: "message" when Slack refused the form or the size of this message alone.
    """

    def __init__(
        self,
        reason: str,
        *,
        code: str = "",
        permanent: bool = False,
        retry_after_s: float | None = None,
        scope: Literal["destination", "message"] = "destination",
    ) -> None:
        super().__init__(reason, permanent=permanent, retry_after_s=retry_after_s, scope=scope)
        self.code = code


def response_error(
    status: int, headers: Mapping[str, Any], code: str, *, secrets: Iterable[str], details: str = ""
) -> SlackError:
    """Return the error for a response that is no success.

    429, 5xx, and error codes that are not known to be permanent, are temporary; so are refused logins, and HTML, which
    a proxy sends in place of Slack. ``Retry-After`` is in seconds: https://docs.slack.dev/apis/web-api/rate-limits/

    Args:
        status: The status code.
        headers: The headers of the response.
        code: Slack's error code, or the body as it is.
        secrets: Texts that the error must not contain.
        details: What else Slack says about the error.
    """
    response = Response(status=status, headers=_as_message_headers(headers))
    word = code.strip() if code.strip().replace("_", "").isalnum() else ""
    is_client_error = 400 <= status < 500 and bool(word)  # noqa: PLR2004 - 4xx are the client's faults
    is_too_large = status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    is_login = word in LOGIN_REFUSED and not response.is_temporary
    is_permanent = not (response.is_temporary or is_login) and (word in REMEDIES or is_client_error or is_too_large)
    retry_after_s = RESTING_S if is_login else response.retry_after_s
    shown_status = response.status_text if status != HTTPStatus.OK else ""
    shown_code = one_line(f"{code} ({details})" if details else code)
    remedy = f": {REMEDIES[word]}" if word in REMEDIES else ""
    shown = response.redirect_note(secrets) or shown_code
    reason = f"Slack answered {', '.join(filter(None, [shown_status, shown]))}{remedy}"
    reason = redact_secrets(reason, secrets)
    scope = "message" if word in BLOCKS_REFUSED else response.scope
    return SlackError(reason, code=word, permanent=is_permanent, retry_after_s=retry_after_s, scope=scope)


def connection_error(error: Exception, *, secrets: Iterable[str]) -> SlackError:
    """Return the error for a request without a response: always temporary."""
    text = "it did not answer in time" if isinstance(error.__cause__, TimeoutError) else str(error)
    return SlackError(redact_secrets(f"Slack could not be reached: {one_line(text)}", secrets))


def _as_message_headers(headers: Mapping[str, Any]) -> Message:
    """Return headers as an object that finds names in upper or lower case."""
    message = Message()
    for name, value in headers.items():
        message[name] = str(value)
    return message


class SlackWebhook:
    """An incoming webhook.

    Args:
        url: Its URL, which is a secret.
        timeout_s: The most seconds to connect, and to read the whole response.

    Raises:
        ImportError: slack_sdk is not installed.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        from slack_sdk import WebhookClient

        parts = urlsplit(url)
        self._secrets = (url, parts.path, parts.path.rpartition("/")[2])
        self._connection = HttpConnection(url, timeout_s)
        self._client = _quiet_client(WebhookClient, url=url)
        self._client.send_dict = self._post

    def send(self, post: Post) -> None:
        """Send one message.

        Raises:
            SlackError: Slack did not accept it, or did not answer.
        """
        content = {"text": post.text, "blocks": list(post.blocks) or None}
        try:
            response = self._client.send(**content, unfurl_links=False, unfurl_media=False)
        except DeliveryError as exc:
            raise connection_error(exc, secrets=self._secrets) from exc
        body = response.body.decode("utf-8", "replace")
        # Slack's body is "ok", or JSON that says so; any other success is the page of somebody in between.
        if not response.is_success or not (body.strip() == "ok" or _says_ok(_as_object(body))):
            raise response_error(response.status, response.headers, body, secrets=self._secrets)

    def close(self) -> None:
        """Close the connection; the next message opens a new one."""
        self._connection.close()

    def _post(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
        """Send what slack_sdk gives to ``send_dict``, in its place."""
        given = {name: value for name, value in body.items() if value is not None}
        return self._connection.post(
            self._connection.path, json.dumps(given).encode(), {**self._headers(), **(headers or {})}
        )

    def _headers(self) -> dict[str, str]:
        return {**self._client.default_headers, "Content-Type": _JSON_TYPE}


class SlackApi:
    """The methods of Slack's Web API, called as a bot.

    Args:
        token: The bot's token, which is a secret.
        base_url: The URL that the methods' names are appended to.
        timeout_s: The most seconds to connect, and to read the whole response.

    Attributes:
        client: slack_sdk's client, whose methods are passed to :meth:`call`.

    Raises:
        ImportError: slack_sdk is not installed.
    """

    def __init__(self, token: str, base_url: str, timeout_s: float) -> None:
        from slack_sdk import WebClient

        self.client = _quiet_client(WebClient, token=token, base_url=base_url)
        self.client.api_call = self._post
        self._connection = HttpConnection(base_url, timeout_s, limit_bytes=ANSWER_LIMIT_BYTES)
        self._timeout_s = timeout_s
        self._secrets = (token,)

    def call(self, method: Callable[..., Any], **arguments: Any) -> Any:
        """Call one method and return Slack's response.

        Raises:
            SlackError: Slack refused the call, or did not answer.
        """
        from slack_sdk.errors import SlackApiError

        try:
            return method(**arguments)
        except SlackApiError as exc:
            raise self._refusal(exc) from exc
        except (DeliveryError, ValueError) as exc:
            raise connection_error(exc, secrets=self._secrets) from exc

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        self._connection.close()

    def _post(
        self, api_method: str, *, params: Mapping[str, Any] | None = None, json: Any = None, **_options: Any
    ) -> Any:
        """Send what slack_sdk's methods give to ``api_call``, in its place, and return the response as they do.

        Raises:
            SlackApiError: Slack refused it, or the response is not Slack's.
            ValueError: The response is no text.
        """
        from slack_sdk.web import SlackResponse

        new_response: Any = SlackResponse
        body, content_type = _encoded(params, json)
        headers = {**self.client.headers, "Authorization": f"Bearer {self.client.token}", "Content-Type": content_type}
        url = f"{self.client.base_url}{api_method}"
        response = self._connection.post(urlsplit(url).path, body, headers)
        text = response.body.decode()
        return new_response(
            client=self.client,
            http_verb="POST",
            api_url=url,
            req_args={},
            data=_as_object(text) or {"ok": False, "error": text},
            headers=dict(response.headers.items()),
            status_code=response.status,
        ).validate()

    def _refusal(self, error: SlackApiError) -> SlackError:
        response: Any = error.response
        data = response.data if isinstance(response.data, dict) else {}
        metadata = data.get("response_metadata")
        details = "; ".join(map(str, metadata.get("messages") or ())) if isinstance(metadata, dict) else ""
        if data.get("needed"):
            details = f"it needs {data['needed']}, the token has {data.get('provided') or 'nothing'}"
        code = str(data.get("error") or "an error without a name")
        return response_error(response.status_code, response.headers, code, secrets=self._secrets, details=details)

    def upload(self, file: PackedFile) -> str:
        """Upload one file and return Slack's id of it; the file is not yet shown in any channel.

        slack_sdk's ``files_upload_v2`` sends the same requests, but reads each file into memory.
        https://docs.slack.dev/messaging/working-with-files/#uploading_files

        Raises:
            SlackError: The file was not accepted.
        """
        place = self.call(self.client.files_getUploadURLExternal, filename=file.name, length=file.size_bytes)
        self._send_content(str(place["upload_url"]), file)
        return str(place["file_id"])

    def _send_content(self, url: str, file: PackedFile) -> None:
        """Send a file's content to the URL that Slack gave for it; the URL is a secret, since it permits the upload.

        https://docs.slack.dev/reference/methods/files.getUploadURLExternal/
        """
        parts = urlsplit(url)
        if parts.scheme.lower() not in {"http", "https"}:
            raise SlackError("Slack named no place to upload files to")
        secrets = (url, parts.path)
        connection = HttpConnection(url, self._timeout_s)
        with file.path.open("rb") as content, closing(connection):
            try:
                response = connection.post(connection.path, content, {"Content-Type": "application/octet-stream"})
            except DeliveryError as exc:
                raise connection_error(exc, secrets=secrets) from exc
        if not response.is_success:
            body = response.body.decode("utf-8", "replace")
            raise response_error(response.status, dict(response.headers.items()), body, secrets=secrets)


def _quiet_client(client: Callable[..., Any], **settings: Any) -> Any:
    """Return a client of slack_sdk that does not log, and whose requests the caller has to send.

    By itself, slack_sdk follows redirects, with the token, to any server and as GET, reads responses without bounds,
    repeats a request after a lost connection, and writes the webhook's URL into debug logs.
    """
    silent = logging.Logger("slack", level=logging.CRITICAL + 1)  # noqa: LOG001 - getLogger()'s could be switched on
    return client(**settings, logger=silent, retry_handlers=[])


def _encoded(params: Mapping[str, Any] | None, document: Any) -> tuple[bytes, str]:
    """Return a request's body and its type: a method's arguments as JSON or as a form."""
    given = {name: value for name, value in (document or params or {}).items() if value is not None}
    if document is not None:
        return json.dumps(given).encode(), _JSON_TYPE
    form = {name: int(value) if isinstance(value, bool) else value for name, value in given.items()}
    return urlencode(form).encode(), "application/x-www-form-urlencoded"


def _as_object(text: str) -> dict[str, Any]:
    """Return a JSON object, empty for what is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _says_ok(answer: Mapping[str, Any]) -> bool:
    """Tell whether JSON confirms a message; "success" is what servers that stand in for Slack's say."""
    return answer.get("ok") is True or answer.get("success") is True
