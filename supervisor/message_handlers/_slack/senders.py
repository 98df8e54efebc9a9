"""The two ways into a Slack channel: an incoming webhook, and a bot."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import attrs

from supervisor._models.kinds import Kind
from supervisor.message_handlers._slack.blocks import Post, notes_text
from supervisor.message_handlers._slack.slack_answers import EDIT_REFUSED, THREAD_REFUSED, SlackError
from supervisor.message_handlers._slack.web_api import Api, Webhook
from supervisor.settings import ALWAYS_REPORTED

if TYPE_CHECKING:
    from datetime import datetime

    from supervisor._models.values import MessageDetails

T = TypeVar("T")

THREADS_AT_MOST = 1_000


@attrs.define(eq=False)
class Thread:
    """Where the messages of one run are.

    Args:
        channel: The channel's id. Only posting takes a name, editing and uploading do not.
        ts: The message on top, by its time, which is Slack's id of a message.
        progress_ts: The message that shows progress; "" before there is one.
        progress_at: When what it shows was written.
    """

    channel: str
    ts: str
    progress_ts: str = ""
    progress_at: datetime | None = None


@attrs.define(kw_only=True, eq=False)
class Sending:
    """How far one message has come, so that the next attempt goes on where the last one stopped.

    Args:
        left: What is still to be posted.
        posted: How many messages Slack has of it.
        is_plain: Whether its blocks were refused.
        thread: Where it was posted.
        uploaded: Slack's ids of files that are uploaded, but not yet in the channel; by name and size.
        has_files: Whether its files are in the channel.
    """

    left: list[Post]
    posted: int = 0
    is_plain: bool = False
    thread: Thread | None = None
    uploaded: dict[tuple[str, int], str] = attrs.field(factory=dict)
    has_files: bool = False


class WebhookSender:
    """Posts through an incoming webhook: each message stands by itself, without files."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._webhook = Webhook(url, timeout_s)

    def is_outdated(self, _details: MessageDetails) -> bool:
        """Return False."""
        return False

    def post(self, post: Post, _details: MessageDetails, _so_far: Sending) -> None:
        """Post one message, or raise a :class:`SlackError`."""
        self._webhook.send(post)

    def attach(self, _details: MessageDetails, _so_far: Sending) -> None:
        """Do nothing: the message names the files."""


class ChannelSender:
    """Posts as a bot: in threads, editing progress in place, with files."""

    def __init__(self, token: str, channel: str, base_url: str, timeout_s: float) -> None:
        self._api = Api(token, base_url, timeout_s)
        self._channel = channel
        self._threads: dict[str, Thread] = {}

    def is_outdated(self, details: MessageDetails) -> bool:
        """Tell whether a message is about progress and the channel shows newer progress already."""
        thread = self._threads.get(_thread_key(details))
        if details.kind is not Kind.PROGRESS or thread is None or thread.progress_at is None:
            return False
        return details.created_at < thread.progress_at

    def post(self, post: Post, details: MessageDetails, so_far: Sending) -> None:
        """Post one message, or edit the one that shows progress, or raise a :class:`SlackError`."""
        is_first = so_far.posted == 0
        shows_progress = details.kind is Kind.PROGRESS and is_first and len(so_far.left) == 1
        thread = self._threads.get(_thread_key(details))
        if shows_progress and thread is not None and self._edit(post, thread):
            ts = thread.progress_ts
        else:
            ts, thread = self._say(post, details, is_loud=is_first and details.kind in ALWAYS_REPORTED)
        so_far.thread = thread
        if shows_progress:
            thread.progress_ts, thread.progress_at = ts, details.created_at

    def attach(self, details: MessageDetails, so_far: Sending) -> None:
        """Show the attachments in the thread, and tell there what became of those that cannot be.

        Raises:
            SlackError: Something failed that may pass.
        """
        if so_far.has_files or not details.attachments:
            return
        from supervisor.message_handlers._slack.slack_files import complaint, uploaded

        notes = uploaded(self._api, details, so_far)
        if so_far.uploaded and so_far.thread is not None:
            try:
                self._share(so_far.thread, so_far.uploaded, notes)
                notes = []
            except SlackError as exc:
                names = [name for name, _ in so_far.uploaded]
                if exc.code == "file_not_found":
                    so_far.uploaded = {}  # that was too long ago: the next attempt uploads again
                notes += [complaint(name, exc) for name in names]
        if notes:
            self._tell(notes, details)
        so_far.has_files = True

    def _say(self, post: Post, details: MessageDetails, *, is_loud: bool = False) -> tuple[str, Thread]:
        """Post one message into its thread, which the first one starts; return its ``ts`` and the thread.

        https://docs.slack.dev/reference/methods/chat.postMessage/
        """
        thread = self._threads.get(_thread_key(details))
        try:
            said = self._api.call(
                self._api.client.chat_postMessage,
                channel=thread.channel if thread else self._channel,
                text=post.text,
                blocks=list(post.blocks) or None,
                thread_ts=thread.ts if thread else None,
                reply_broadcast=True if thread and is_loud else None,
                unfurl_links=False,
                unfurl_media=False,
            )
        except SlackError as exc:
            if thread is None or exc.code not in THREAD_REFUSED:
                raise
            self._threads.pop(_thread_key(details), None)
            return self._say(post, details)
        ts = str(said["ts"])
        thread = thread or Thread(str(said["channel"]), ts)
        remember(self._threads, _thread_key(details), thread, THREADS_AT_MOST)
        return ts, thread

    def _edit(self, post: Post, thread: Thread) -> bool:
        """Let the message that shows progress show this; return whether there is one that can be edited.

        https://docs.slack.dev/reference/methods/chat.update/
        """
        if not thread.progress_ts:
            return False
        try:
            self._api.call(
                self._api.client.chat_update,
                channel=thread.channel,
                ts=thread.progress_ts,
                text=post.text,
                blocks=list(post.blocks),  # without any, the old ones would stay
                parse="none",  # unlike chat.postMessage, it looks for names otherwise
            )
        except SlackError as exc:
            if exc.code not in EDIT_REFUSED:
                raise
            return False
        return True

    def _share(self, thread: Thread, files: dict[tuple[str, int], str], notes: list[str]) -> None:
        """Show uploaded files, and what there is to say of them, in a thread.

        https://docs.slack.dev/reference/methods/files.completeUploadExternal/
        """
        self._api.call(
            self._api.client.files_completeUploadExternal,
            files=[{"id": file_id, "title": name} for (name, _), file_id in files.items()],
            channel_id=thread.channel,
            thread_ts=thread.ts,
            initial_comment=notes_text(notes) if notes else None,
        )

    def _tell(self, notes: list[str], details: MessageDetails) -> None:
        """Post what became of attachments; the message itself has arrived, so a refusal is only logged."""
        from supervisor.message_handlers._slack.slack_files import complaint

        try:
            self._say(Post(notes_text(notes)), details)
        except SlackError as exc:
            complaint("The list of attachments", exc)


def remember(memory: dict[str, T], key: str, value: T, at_most: int) -> None:
    """Keep a value as the youngest, and forget the oldest above ``at_most``."""
    memory.pop(key, None)
    memory[key] = value
    while len(memory) > at_most:
        memory.pop(next(iter(memory)), None)


def _thread_key(details: MessageDetails) -> str:
    """Return what messages of one thread share: their run, or the message itself outside of runs."""
    return details.report.id if details.report is not None else details.id
