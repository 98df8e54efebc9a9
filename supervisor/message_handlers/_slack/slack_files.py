"""Attachments to a Slack thread, in bounded memory."""

from __future__ import annotations

from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from supervisor import _log
from supervisor._attachments import packed
from supervisor.message_handlers._slack.slack_answers import SlackError, refusal, unreachable

if TYPE_CHECKING:
    from supervisor._attachments import Part
    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._slack.senders import Sending
    from supervisor.message_handlers._slack.web_api import Api

# Slack takes files of 1 GB each (https://slack.com/help/articles/201330736); more than this takes too long to send.
LIMIT_BYTES = 100 * 1024 * 1024
_ANSWER_BYTES = 4_096


def uploaded(api: Api, details: MessageDetails, so_far: Sending) -> list[str]:
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
                notes.append(complaint(part.name, exc))
    return notes


def complaint(name: str, error: SlackError) -> str:
    """Return why a file stays behind, and log it; raise what may pass, so that it is tried again."""
    if not error.permanent:
        raise error
    text = f"{name} is not attached. {error.reason}"
    _log.warning("SlackHandler: %s", text)
    return text


def _file_id(api: Api, part: Part) -> str:
    """Upload one file and return Slack's id of it.

    slack_sdk's ``files_upload_v2`` makes the same requests, but reads each file into memory.
    https://docs.slack.dev/messaging/working-with-files/#uploading_files
    """
    place = api.call(api.client.files_getUploadURLExternal, filename=part.name, length=part.size_bytes)
    _send(str(place["upload_url"]), part, api)
    return str(place["file_id"])


def _send(url: str, part: Part, api: Api) -> None:
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
            raise refusal(exc.code, dict(exc.headers.items()), said, secrets=secrets) from exc
        except (OSError, HTTPException) as exc:
            raise unreachable(exc, secrets=secrets) from exc
