"""The two ways into a Slack channel: an incoming webhook, and a bot.

- Attachments to a Slack thread, in bounded memory.
"""

from __future__ import annotations

from http.client import HTTPException
from typing import TYPE_CHECKING, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import attrs

from supervisor import _log
from supervisor._attachments import packed
from supervisor._models.kinds import Kind
from supervisor.message_handlers._slack.blocks import Post, notes_text
from supervisor.message_handlers._slack.web_api import (
    EDIT_REFUSED,
    THREAD_REFUSED,
    SlackApi,
    SlackError,
    SlackWebhook,
    connection_error,
    response_error,
)
from supervisor.settings import ALWAYS_REPORTED

if TYPE_CHECKING:
    from datetime import datetime

    from supervisor._attachments import PackedFile
    from supervisor._models.values import MessageDetails

T = TypeVar("T")

THREADS_AT_MOST = 1_000


@attrs.define(eq=False)
class SlackThread:
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
class SendState:
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
    thread: SlackThread | None = None
    uploaded: dict[tuple[str, int], str] = attrs.field(factory=dict)
    has_files: bool = False


class WebhookSender:
    """Posts through an incoming webhook: each message stands by itself, without files."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._webhook = SlackWebhook(url, timeout_s)

    def is_outdated(self, _details: MessageDetails) -> bool:
        """Return False."""
        return False

    def post(self, post: Post, _details: MessageDetails, _so_far: SendState) -> None:
        """Post one message, or raise a :class:`SlackError`."""
        self._webhook.send(post)

    def attach(self, _details: MessageDetails, _so_far: SendState) -> None:
        """Do nothing: the message names the files."""


class ChannelSender:
    """Posts as a bot: in threads, editing progress in place, with files."""

    def __init__(self, token: str, channel: str, base_url: str, timeout_s: float) -> None:
        self._api = SlackApi(token, base_url, timeout_s)
        self._channel = channel
        self._threads: dict[str, SlackThread] = {}

    def is_outdated(self, details: MessageDetails) -> bool:
        """Tell whether a message is about progress and the channel shows newer progress already."""
        thread = self._threads.get(_thread_key(details))
        if details.kind is not Kind.PROGRESS or thread is None or thread.progress_at is None:
            return False
        return details.created_at < thread.progress_at

    def post(self, post: Post, details: MessageDetails, so_far: SendState) -> None:
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

    def attach(self, details: MessageDetails, so_far: SendState) -> None:
        """Show the attachments in the thread, and tell there what became of those that cannot be.

        Raises:
            SlackError: Something failed that may pass.
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
                    so_far.uploaded = {}  # that was too long ago: the next attempt uploads again
                notes += [note_skipped_file(name, exc) for name in names]
        if notes:
            self._tell(notes, details)
        so_far.has_files = True

    def _say(self, post: Post, details: MessageDetails, *, is_loud: bool = False) -> tuple[str, SlackThread]:
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
        thread = thread or SlackThread(str(said["channel"]), ts)
        keep_newest(self._threads, _thread_key(details), thread, THREADS_AT_MOST)
        return ts, thread

    def _edit(self, post: Post, thread: SlackThread) -> bool:
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

    def _share(self, thread: SlackThread, files: dict[tuple[str, int], str], notes: list[str]) -> None:
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
        try:
            self._say(Post(notes_text(notes)), details)
        except SlackError as exc:
            note_skipped_file("The list of attachments", exc)


def keep_newest(memory: dict[str, T], key: str, value: T, at_most: int) -> None:
    """Keep a value as the youngest, and forget the oldest above ``at_most``."""
    memory.pop(key, None)
    memory[key] = value
    while len(memory) > at_most:
        memory.pop(next(iter(memory)), None)


def _thread_key(details: MessageDetails) -> str:
    """Return what messages of one thread share: their run, or the message itself outside of runs."""
    return details.report.id if details.report is not None else details.id


# Slack takes files of 1 GB each (https://slack.com/help/articles/201330736); more than this takes too long to send.
LIMIT_BYTES = 100 * 1024 * 1024
_ANSWER_BYTES = 4_096


def upload_attachments(api: SlackApi, details: MessageDetails, so_far: SendState) -> list[str]:
    """Upload a message's attachments, and return what there is to say of those that were changed or stay behind.

    Args:
        api: Slack's methods.
        details: The message.
        so_far: Gets the ids of the files; those that it has already are not sent again.

    Raises:
        SlackError: Something failed that may pass.
    """
    with packed(details.attachments, limit_bytes=LIMIT_BYTES) as attached:
        notes = list(attached.notes)
        kept = {(part.name, part.size_bytes): part for part in attached.parts}
        so_far.uploaded = {key: file_id for key, file_id in so_far.uploaded.items() if key in kept}
        for key, part in kept.items():
            if key in so_far.uploaded:
                continue
            try:
                so_far.uploaded[key] = _file_id(api, part)
            except SlackError as exc:
                notes.append(note_skipped_file(part.name, exc))
    return notes


def note_skipped_file(name: str, error: SlackError) -> str:
    """Return why a file stays behind, and log it; raise what may pass, so that it is tried again."""
    if not error.permanent:
        raise error
    text = f"{name} is not attached. {error.reason}"
    _log.warning("SlackHandler: %s", text)
    return text


def _file_id(api: SlackApi, part: PackedFile) -> str:
    """Upload one file and return Slack's id of it.

    slack_sdk's ``files_upload_v2`` makes the same requests, but reads each file into memory.
    https://docs.slack.dev/messaging/working-with-files/#uploading_files
    """
    place = api.call(api.client.files_getUploadURLExternal, filename=part.name, length=part.size_bytes)
    _send(str(place["upload_url"]), part, api)
    return str(place["file_id"])


def _send(url: str, part: PackedFile, api: SlackApi) -> None:
    """Send one file where Slack told to.

    https://docs.slack.dev/reference/methods/files.getUploadURLExternal/

    Args:
        url: Who knows it can upload, so it is hidden from errors.
        part: The file.
        api: Knows how long to wait and whom to trust.

    Raises:
        SlackError: It did not arrive.
    """
    if not url.lower().startswith(("https://", "http://")):
        raise SlackError("Slack named no place to upload files to")
    secrets = (url, urlsplit(url).path)
    headers = {"Content-Length": str(part.size_bytes), "Content-Type": "application/octet-stream"}
    with part.path.open("rb") as content:
        request = Request(url, content, headers, method="POST")  # noqa: S310 - its scheme was looked at
        try:
            with urlopen(request, timeout=api.timeout_s, context=api.tls) as answer:  # noqa: S310 - the same
                answer.read(_ANSWER_BYTES)
        except HTTPError as exc:
            with exc:
                said = exc.read(_ANSWER_BYTES).decode("utf-8", "replace")
            raise response_error(exc.code, dict(exc.headers.items()), said, secrets=secrets) from exc
        except (OSError, HTTPException) as exc:
            raise connection_error(exc, secrets=secrets) from exc
