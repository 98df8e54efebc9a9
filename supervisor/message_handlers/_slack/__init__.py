"""Messages to Slack: through an incoming webhook, or as a bot with threads, edited progress and files.

In: a message and the handler's settings. Out: posts in Block Kit that Slack has accepted.
From top to bottom: the handler, which is here (settings), senders (webhook or bot), web_api (requests, errors), blocks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from supervisor.errors import ConfigurationError, DeliveryError
from supervisor.message_handlers import _options
from supervisor.message_handlers._options import Destination, short_hash, url_hash

if TYPE_CHECKING:
    from supervisor._models import Kind
    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._slack.blocks import Post
    from supervisor.message_handlers._slack.senders import ChannelSender, SendState, WebhookSender

PARTLY_SENT_AT_MOST = 100


def _stripped(value: Any) -> Any:
    """Return a text without the blanks and line breaks that copying may have added around it."""
    return value.strip() if isinstance(value, str) else value


def _workspace(token: str) -> str:
    """Return the part of a bot's token that stays when it is renewed: the workspace and the bot; else all of it."""
    match = re.match(r"xoxb-\d+-\d+-", token)
    return match[0] if match else token


EXAMPLE = """\
[handlers.chat]
type = "slack"
webhook_url = { env = "SLACK_WEBHOOK_URL" }
"""
"""The table of this handler in the file that ``supervisor config init`` writes."""


@attrs.define(kw_only=True, eq=False)
class SlackHandler(Destination):
    """Sends messages to a Slack channel, either through an incoming webhook or with a bot's token.

    Without Block Kit blocks of its own, a message gets a header, its text, what the run recorded as fields, and small
    print about the run. What is longer than Slack takes (https://docs.slack.dev/reference/block-kit/blocks/) goes on in
    further messages; only a text above 40,000 characters is cut, with a note. No text can mention (notify) anybody.

    With a token (scopes ``chat:write`` and, for attachments, ``files:write``; the bot must be in the channel):

    - A run's messages form a thread below its first one. Failures and other kinds that are always reported are shown in
      the channel as well.
    - Progress edits one message in place.
    - Attachments are uploaded into the thread. A file that cannot be uploaded is named there, and logged as a warning.
    - Threads of the last 1,000 runs are kept in memory: a message that a later process delivers starts a new thread.

    A webhook cannot do any of this; its messages list the attachments.

    An attempt that fails midway is continued by the next one in the same process, so nothing is posted twice. The
    ``block_id`` of the header is ``supervisor-`` and the message's id, so that a repeat can be recognised.

    Only Slack's own answer counts as acceptance ("ok", or its JSON), not the page of a proxy. 307 and 308 are followed
    to the same scheme, host and port; other redirects are not.

    Responses: 429 (``Retry-After`` is honoured), 5xx, timeouts and lost connections are temporary, and so are errors
    that are not known to be permanent; a refused login (a wrong token, a missing scope, 401, 403) is tried once an
    hour; blocks that Slack refuses are sent once more as text; the rest is permanent,
    with a remedy in the error. https://docs.slack.dev/reference/methods/chat.postMessage/#errors and
    https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/#handling_errors

    Args:
        webhook_url: The URL of an incoming webhook, which is a secret. None with a token.
        token: A bot's token ("xoxb-..."). None with a webhook.
        channel: The channel that the bot posts to, as an id or a name. None with a webhook, which has its own.
        client_name: The name of the sending program in the small print; empty leaves it out.
        client_version: Its version, in the same place.
        prefix: The text before each subject.
        base_url: The URL of Slack's Web API; another one is for tests and for proxies of your own.
        timeout_s: The most seconds to connect, and to read a whole response.
        kinds: The kinds of messages that it gets ("failure", "success"), one or several; None for those that the run
            reports.
        name: Identifies the handler when a stored message is sent later; None means "slack:webhook", with a token
            "slack:" and the channel, and a short hash of the URL or of the token's workspace.

    Raises:
        ConfigurationError: A setting is missing, blank or cannot be used.
    """

    notes_handover: ClassVar[bool] = True
    webhook_url: str | None = attrs.field(default=None, repr=False, converter=_stripped)
    token: str | None = attrs.field(default=None, repr=False, converter=_stripped)
    channel: str | None = attrs.field(default=None, converter=_stripped, validator=_options.optional_not_blank)
    client_name: str = attrs.field(default="", converter=_options.text_or_empty)
    client_version: str = attrs.field(default="", converter=_options.text_or_empty)
    prefix: str = attrs.field(default="", converter=_options.text_or_empty)
    base_url: str = attrs.field(default="https://slack.com/api/", validator=_options.requestable_url)
    timeout_s: float = attrs.field(default=10.0, validator=_options.positive)
    kinds: frozenset[Kind] | None = attrs.field(default=None, converter=_options.kinds, validator=_options.only_kinds)
    name: str | None = attrs.field(default=None, validator=_options.optional_not_blank)
    _sender: WebhookSender | ChannelSender | None = attrs.field(init=False, default=None, repr=False)
    _partly_sent: dict[str, SendState] = attrs.field(init=False, factory=dict, repr=False)

    @webhook_url.validator
    def _is_reachable(self, field: attrs.Attribute[Any], value: object) -> None:
        if value is not None:
            _options.requestable_url(self, field, value)

    @token.validator
    def _is_one_word(self, field: attrs.Attribute[Any], value: object) -> None:
        _options.optional_not_blank(self, field, value)
        if value is not None and not all("!" <= c <= "~" for c in str(value)):
            raise _options.setting_error(self, field, "the token as Slack shows it, in one line", value)

    def __attrs_post_init__(self) -> None:
        if self.webhook_url is not None and (self.token is not None or self.channel is not None):
            raise ConfigurationError(
                "SlackHandler takes webhook_url, or token and channel, but not both: leave one out"
            )
        if self.webhook_url is None and self.token is None and self.channel is None:
            raise ConfigurationError("SlackHandler: webhook_url, or token and channel, must be given, got nothing")
        if self.webhook_url is None and self.token is None:
            raise ConfigurationError("SlackHandler: token must be given along with channel, got nothing")
        if self.webhook_url is None and self.channel is None:
            raise ConfigurationError("SlackHandler: channel must be given along with token, got nothing")
        self.name = self.name or self._default_name

    @property
    def _destination(self) -> tuple[object, ...]:
        return (self._default_name,)

    @property
    def _default_name(self) -> str:
        if self.webhook_url is not None:
            return f"slack:webhook#{url_hash(self.webhook_url)}"
        return f"slack:{self.channel}#{short_hash(self.base_url, _workspace(self.token or ''))}"

    @property
    def _former_default(self) -> str:
        return f"slack:{self.channel}" if self.channel else "slack"

    def send_message(self, details: MessageDetails, /) -> None:
        """Send one message and return when Slack has accepted it.

        Raises:
            DeliveryError: Slack did not accept it, did not answer, or ``slack_sdk`` is missing.
        """
        from supervisor.message_handlers._slack.senders import SendState
        from supervisor.message_handlers._slack.web_api import BLOCKS_REFUSED, SlackError

        sender = self._sender = self._sender or self._new_sender()
        if sender.is_outdated(details):
            return
        so_far = self._partly_sent.get(details.id) or SendState(left=self._posts(details))
        try:
            self._post(sender, details, so_far)
        except SlackError as exc:
            if so_far.is_plain or exc.code not in BLOCKS_REFUSED:
                raise
            so_far.is_plain, so_far.left = True, self._posts(details, is_plain=True)
            self._post(sender, details, so_far)
        sender.attach(details, so_far)
        self._partly_sent.pop(details.id, None)

    def prepare(self, details: MessageDetails, /) -> None:
        """Load what sending a message needs; nothing is sent."""
        if self._sender is None:
            self._new_sender()  # not kept: the thread that sends may make its own just now
        self._posts(details)

    def close(self) -> None:
        """Close the connection; the next message opens a new one."""
        if self._sender is not None:
            self._sender.close()

    def _post(self, sender: WebhookSender | ChannelSender, details: MessageDetails, so_far: SendState) -> None:
        from supervisor.message_handlers._slack.senders import keep_newest

        while so_far.left:
            sender.post(so_far.left[0], details, so_far)
            del so_far.left[0]
            so_far.posted += 1
            keep_newest(self._partly_sent, details.id, so_far, PARTLY_SENT_AT_MOST)

    def _posts(self, details: MessageDetails, *, is_plain: bool = False) -> list[Post]:
        from supervisor.message_handlers._slack import blocks

        compose = blocks.plain_posts if is_plain else blocks.posts
        client = f"{self.client_name} {self.client_version}".strip()
        return compose(details, prefix=self.prefix, client=client, lists_files=self.webhook_url is not None)

    def _new_sender(self) -> WebhookSender | ChannelSender:
        from supervisor.message_handlers._slack.senders import ChannelSender, WebhookSender

        try:
            if self.webhook_url is not None:
                return WebhookSender(self.webhook_url, self.timeout_s)
            return ChannelSender(self.token or "", self.channel or "", self.base_url, self.timeout_s)
        except ImportError as exc:
            reason = "SlackHandler needs slack_sdk: pip install 'agrc-supervisor[slack]'"
            raise DeliveryError(reason, permanent=True) from exc


__all__ = ["SlackHandler"]
