"""Posts messages to a Slack channel: through an incoming webhook, or as a bot with threads, edits and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import attrs

from supervisor import _log
from supervisor._attachments import packed
from supervisor._models import Kind
from supervisor._setting_values import ALWAYS_REPORTED
from supervisor.message_handlers._slack.blocks import Post, notes_text
from supervisor.message_handlers._slack.web_api import (
    EDIT_REFUSED,
    LOGIN_REFUSED,
    THREAD_REFUSED,
    SlackApi,
    SlackError,
    SlackWebhook,
)

if TYPE_CHECKING:
    from datetime import datetime

    from supervisor._models.values import MessageDetails

T = TypeVar("T")

THREADS_AT_MOST = 1_000
# Slack accepts 1 GB per file (https://slack.com/help/articles/201330736), which would take too long to send.
UPLOADS_LIMIT_BYTES = 100 * 1024 * 1024


@attrs.define(eq=False)
class SlackThread:
    """The thread with the messages of one run.

    Args:
        channel: The channel's id. Posting accepts a name as well, editing and uploading do not.
        ts: The first message, by its timestamp, which is Slack's id of a message.
        progress_ts: The message that shows the progress; "" before there is one.
        progress_at: When the progress that it shows was reported.
    """

    channel: str
    ts: str
    progress_ts: str = ""
    progress_at: datetime | None = None


@attrs.define(kw_only=True, eq=False)
class SendState:
    """How much of one message has been sent, so that the next attempt continues where the last one stopped.

    Args:
        left: The posts that are still to be sent.
        posted: The number of posts that Slack has accepted.
        is_plain: Whether its blocks were refused, so that it is sent as plain text.
        thread: The thread that it was posted to.
        uploaded: Slack's ids of the files that are uploaded, but not yet in the channel, by name and size.
        has_files: Whether its files are in the channel.
    """

    left: list[Post]
    posted: int = 0
    is_plain: bool = False
    thread: SlackThread | None = None
    uploaded: dict[tuple[str, int], str] = attrs.field(factory=dict)
    has_files: bool = False


class WebhookSender:
    """Posts through an incoming webhook: without threads, edits and files."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._webhook = SlackWebhook(url, timeout_s)

    def is_outdated(self, _details: MessageDetails) -> bool:
        """Return False: a webhook cannot edit messages, so it posts each one."""
        return False

    def post(self, post: Post, _details: MessageDetails, _so_far: SendState) -> None:
        """Send one post.

        Raises:
            SlackError: Slack did not accept it.
        """
        self._webhook.send(post)

    def attach(self, _details: MessageDetails, _so_far: SendState) -> None:
        """Do nothing: a webhook cannot upload files, so the message lists them."""

    def close(self) -> None:
        """Close the connection; the next message opens a new one."""
        self._webhook.close()


class ChannelSender:
    """Posts as a bot: in threads, with files, and with progress edited in place."""

    def __init__(self, token: str, channel: str, base_url: str, timeout_s: float) -> None:
        self._api = SlackApi(token, base_url, timeout_s)
        self._channel = channel
        self._threads: dict[str, SlackThread] = {}

    def is_outdated(self, details: MessageDetails) -> bool:
        """Return whether a message reports progress and the channel already shows newer progress."""
        thread = self._threads.get(_thread_key(details))
        if details.kind is not Kind.PROGRESS or thread is None or thread.progress_at is None:
            return False
        return details.created_at < thread.progress_at

    def post(self, post: Post, details: MessageDetails, so_far: SendState) -> None:
        """Send one post, or edit the message that shows the progress.

        Raises:
            SlackError: Slack did not accept it.
        """
        is_first = so_far.posted == 0
        shows_progress = details.kind is Kind.PROGRESS and is_first and len(so_far.left) == 1
        thread = self._threads.get(_thread_key(details))
        if shows_progress and thread is not None and self._edit(post, thread):
            ts = thread.progress_ts
        else:
            is_broadcast = is_first and details.kind in ALWAYS_REPORTED
            ts, thread = self._post_in_thread(post, details, is_broadcast=is_broadcast)
        so_far.thread = thread
        if shows_progress:
            thread.progress_ts, thread.progress_at = ts, details.created_at

    def attach(self, details: MessageDetails, so_far: SendState) -> None:
        """Upload the attachments into the thread, with notes about those that cannot be sent.

        Raises:
            SlackError: Something failed temporarily.
        """
        if so_far.has_files or not details.attachments:
            return
        notes = upload_attachments(self._api, details, so_far)
        if so_far.uploaded and so_far.thread is not None:
            try:
                self._share(so_far.thread, so_far.uploaded, notes)
                notes = []
            except SlackError as exc:
                names = [name for name, _ in so_far.uploaded]
                if exc.code == "file_not_found":
                    so_far.uploaded = {}  # Slack has dropped the uploads by now: the next attempt uploads again
                notes += [note_skipped_file(name, exc) for name in names]
        if notes:
            self._post_notes(notes, details)
        so_far.has_files = True

    def close(self) -> None:
        """Close the connection; the next message opens a new one."""
        self._api.close()

    def _post_in_thread(
        self, post: Post, details: MessageDetails, *, is_broadcast: bool = False
    ) -> tuple[str, SlackThread]:
        """Send one post to its thread, which the first one starts; return its ``ts`` and the thread.

        https://docs.slack.dev/reference/methods/chat.postMessage/
        """
        thread = self._threads.get(_thread_key(details))
        try:
            response = self._api.call(
                self._api.client.chat_postMessage,
                channel=thread.channel if thread else self._channel,
                text=post.text,
                blocks=list(post.blocks) or None,
                thread_ts=thread.ts if thread else None,
                reply_broadcast=True if thread and is_broadcast else None,
                unfurl_links=False,
                unfurl_media=False,
            )
        except SlackError as exc:
            if thread is None or exc.code not in THREAD_REFUSED:
                raise
            self._threads.pop(_thread_key(details), None)
            return self._post_in_thread(post, details)
        ts = str(response["ts"])
        thread = thread or SlackThread(str(response["channel"]), ts)
        keep_newest(self._threads, _thread_key(details), thread, THREADS_AT_MOST)
        return ts, thread

    def _edit(self, post: Post, thread: SlackThread) -> bool:
        """Replace the message that shows the progress; return False when there is none that can be edited.

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
                blocks=list(post.blocks),  # None would keep the old blocks
                parse="none",  # the default of chat.update turns names into mentions, unlike that of chat.postMessage
            )
        except SlackError as exc:
            if exc.code not in EDIT_REFUSED:
                raise
            return False
        return True

    def _share(self, thread: SlackThread, files: dict[tuple[str, int], str], notes: list[str]) -> None:
        """Show uploaded files in a thread, with notes about them.

        https://docs.slack.dev/reference/methods/files.completeUploadExternal/
        """
        self._api.call(
            self._api.client.files_completeUploadExternal,
            files=[{"id": file_id, "title": name} for (name, _), file_id in files.items()],
            channel_id=thread.channel,
            thread_ts=thread.ts,
            initial_comment=notes_text(notes) if notes else None,
        )

    def _post_notes(self, notes: list[str], details: MessageDetails) -> None:
        """Post notes about attachments; the message itself has arrived, so a permanent refusal is only logged."""
        try:
            self._post_in_thread(Post(notes_text(notes)), details)
        except SlackError as exc:
            note_skipped_file("The list of attachments", exc)


def keep_newest(memory: dict[str, T], key: str, value: T, at_most: int) -> None:
    """Store a value as the newest, and drop the oldest ones above ``at_most``."""
    memory.pop(key, None)
    memory[key] = value
    while len(memory) > at_most:
        memory.pop(next(iter(memory)), None)


def _thread_key(details: MessageDetails) -> str:
    """Return the id that the messages of one thread share: the run's, or the message's own outside of runs."""
    return details.report.id if details.report is not None else details.id


def upload_attachments(api: SlackApi, details: MessageDetails, so_far: SendState) -> list[str]:
    """Upload a message's attachments, and return notes about those that were changed or cannot be sent.

    Args:
        api: Slack's Web API.
        details: The message.
        so_far: Receives the ids of the files; files that it has already are not uploaded again.

    Raises:
        SlackError: Something failed temporarily.
    """
    with packed(details.attachments, limit_bytes=UPLOADS_LIMIT_BYTES) as attached:
        notes = list(attached.notes)
        kept = {(part.name, part.size_bytes): part for part in attached.parts}
        so_far.uploaded = {key: file_id for key, file_id in so_far.uploaded.items() if key in kept}
        for key, part in kept.items():
            if key in so_far.uploaded:
                continue
            try:
                so_far.uploaded[key] = api.upload(part)
            except SlackError as exc:
                notes.append(note_skipped_file(part.name, exc))
    return notes


def note_skipped_file(name: str, error: SlackError) -> str:
    """Log that a file is not attached and return a note that says so; raise a temporary error, to be tried again.

    That rests this message alone, since Slack has taken its text.
    A refused login is no reason to try again: the message itself was taken, so the token only may not upload files.
    """
    if not error.permanent and error.code not in LOGIN_REFUSED:
        error.scope = "message"
        raise error
    text = f"{name} is not attached. {error.reason}"
    _log.warning("SlackHandler: %s", text)
    return text
