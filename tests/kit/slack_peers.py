"""A local server that answers as Slack does, and rejects what Slack would reject.

What it checks is documented at https://docs.slack.dev/reference/block-kit/blocks/ and at the methods' own pages;
``msg_blocks_too_long`` is measured in https://github.com/slackapi/bolt-js/issues/2509. Slack's own behaviour where its
documentation is silent is not known to it.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from http_peers import Answer, HttpPeer, Request, http_peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "xoxb-1234-secret-of-the-bot"
HOOK = "/services/T0123/B0123/secretOfTheHook"
CHANNEL = "C0123456"

_BLOCK_TYPES = {
    "actions", "context", "divider", "file", "header", "image", "markdown", "rich_text", "section", "table", "video",
}  # fmt: skip
_PINGS = re.compile(r"<!(?:channel|here|everyone)|<@|<!subteam")
_BARE_PINGS = re.compile(r"@(?:channel|here|everyone)\b")


def problem_with(blocks: Any) -> str:
    """Return why Slack would reject blocks, "" when it would not."""
    if not isinstance(blocks, list) or not all(isinstance(each, dict) for each in blocks):
        return "invalid_blocks_format"
    if len(blocks) > 50:
        return f"invalid_blocks: no more than 50 items allowed, got {len(blocks)}"
    if len(json.dumps(blocks, ensure_ascii=False)) > 13_200:
        return "msg_blocks_too_long"
    ids = [each["block_id"] for each in blocks if "block_id" in each]
    if len(ids) != len(set(ids)) or any(not 0 < len(each) <= 255 for each in ids):
        return "invalid_blocks: block_id"
    found = (f"{each} [json-pointer:/blocks/{n}]" for n, block in enumerate(blocks) if (each := _problem(block)))
    return next((f"invalid_blocks: {each}" for each in found), "")


def _problem(block: dict[str, Any]) -> str:
    if block.get("type") not in _BLOCK_TYPES:
        return f"unsupported type: {block.get('type')}"
    checks: dict[str, Callable[[dict[str, Any]], str]] = {"header": _header, "section": _section, "context": _context}
    checks["actions"] = _actions
    check = checks.get(block["type"])
    return check(block) if check is not None else ""


def _header(block: dict[str, Any]) -> str:
    return _text(block.get("text"), 150, ("plain_text",))


def _section(block: dict[str, Any]) -> str:
    if "text" not in block and "fields" not in block:
        return "missing required field: text or fields"
    if "text" in block and (found := _text(block["text"], 3_000)):
        return found
    fields = block.get("fields", [{"type": "mrkdwn", "text": "-"}])
    if not 1 <= len(fields) <= 10:
        return "1 to 10 fields"
    return next((found for each in fields if (found := _text(each, 2_000))), "")


def _actions(block: dict[str, Any]) -> str:
    elements = block.get("elements", ())
    if not 1 <= len(elements) <= 25 or len({each.get("action_id") for each in elements}) != len(elements):
        return "1 to 25 elements, each with an action_id of its own"
    if any(len(each.get("url", "")) > 3_000 for each in elements):
        return "a url has at most 3000 characters"
    return next((found for each in elements if (found := _text(each.get("text"), 75, ("plain_text",)))), "")


def _context(block: dict[str, Any]) -> str:
    if not 1 <= len(block.get("elements", ())) <= 10:
        return "1 to 10 elements"
    texts = (each for each in block["elements"] if each.get("type") != "image")
    return next((found for each in texts if (found := _text(each, 3_000))), "")


def _text(value: Any, limit: int, types: tuple[str, ...] = ("plain_text", "mrkdwn")) -> str:
    if not isinstance(value, dict) or value.get("type") not in types or not isinstance(value.get("text"), str):
        return f"a text object of {types}"
    # Counted as UTF-16, which is what Slack's own clients do; an emoji has two.
    size = len(value["text"].encode("utf-16-le", "surrogatepass")) // 2
    if not value["text"].strip():
        return "must be more than 0 characters"
    return f"must be less than {limit + 1} characters, got {size}" if size > limit else ""


def texts_of(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all text objects in blocks."""
    if isinstance(value, dict):
        if value.get("type") in ("plain_text", "mrkdwn") and isinstance(value.get("text"), str):
            yield value
        for each in value.values():
            yield from texts_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_of(each)


class SlackPeer:
    """A workspace with one channel, #ops.

    Attributes:
        http: The server; ``http.requests`` are what it was asked, ``http.answers`` what it answers instead.
        messages: What stands in the channel: all arguments of a message, with its ``ts``.
        files: What was shared: ``name``, ``content``, ``thread_ts``, ``comment``.
        calls: The methods that were called, in order.
        planned: For each method (also "webhook" and "upload"), answers to give instead, in order.
        scopes: What the token may do.
        is_member: Whether the bot was invited, which sharing files needs.
        pings: Texts that would have notified somebody.
    """

    def __init__(self, http: HttpPeer) -> None:
        self.http = http
        self.messages: list[dict[str, Any]] = []
        self.files: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.planned: dict[str, list[Answer]] = {}
        self.scopes = {"chat:write", "files:write"}
        self.is_member = True
        self.pings: list[str] = []
        self.uploads: dict[str, dict[str, Any]] = {}

    @property
    def webhook_url(self) -> str:
        """Return the URL of the incoming webhook."""
        return f"{self.http.url}{HOOK}"

    @property
    def base_url(self) -> str:
        """Return the base URL of the methods."""
        return f"{self.http.url}/api/"

    def refuse(self, method: str, code: str, times: int = 1, **more: Any) -> None:
        """Answer the next calls of a method with an error."""
        self.plan(method, *[Answer(body={"ok": False, "error": code, **more})] * times)

    def plan(self, method: str, *answers: Answer) -> None:
        """Answer the next calls of a method like this."""
        self.planned.setdefault(method, []).extend(answers)

    def answer(self, request: Request) -> Answer:
        """Answer one request as Slack would."""
        name = "webhook" if request.path == HOOK else request.path.rpartition("/")[2]
        name = "upload" if request.path.startswith("/upload/") else name
        self.calls.append(name)
        if self.planned.get(name):
            return self.planned[name].pop(0)
        if name == "webhook":
            return self._webhook(request)
        if name == "upload":
            return self._upload(request)
        return Answer(body=self._method(name, request))

    def _webhook(self, request: Request) -> Answer:
        arguments = _json(request)
        if arguments is None:
            return Answer(400, body="invalid_payload")
        if problem := self._reject(arguments):
            return Answer(400, body=problem.split(":")[0])
        self._post(arguments)
        return Answer(body="ok")

    def _method(self, name: str, request: Request) -> dict[str, Any]:
        if request.headers["Authorization"] != f"Bearer {TOKEN}":
            return _error("invalid_auth" if request.headers["Authorization"] else "not_authed")
        is_json = "json" in (request.headers["Content-Type"] or "")
        arguments = _json(request) if is_json else {key: each[0] for key, each in _form(request).items()}
        if arguments is None:
            return _error("invalid_json")
        scope = "files:write" if name.startswith("files.") else "chat:write"
        if scope not in self.scopes:
            return _error("missing_scope", needed=scope, provided=",".join(sorted(self.scopes)))
        methods: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "chat.postMessage": self._post_message,
            "chat.update": self._update,
            "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._complete,
        }
        return methods[name](arguments) if name in methods else _error("unknown_method")

    def _post_message(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments.get("channel") not in (CHANNEL, "#ops", "ops"):
            return _error("channel_not_found")
        if problem := self._reject(arguments):
            code, _, more = problem.partition(": ")
            return _error(code, response_metadata={"messages": [f"[ERROR] {more}"]})
        if arguments.get("reply_broadcast") and not arguments.get("thread_ts"):
            return _error("invalid_arguments")
        ts = self._post(arguments)
        return {"ok": True, "channel": CHANNEL, "ts": ts, "message": arguments}

    def _update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments.get("channel") != CHANNEL:  # a name will not do
            return _error("channel_not_found")
        if problem := self._reject(arguments):
            return _error(problem.split(":")[0])
        found = next((each for each in self.messages if each["ts"] == arguments["ts"]), None)
        if found is None:
            return _error("message_not_found")
        found["edits"] += 1
        found.update({key: each for key, each in arguments.items() if key in ("text", "blocks")})
        return {"ok": True, "channel": CHANNEL, "ts": arguments["ts"], "text": arguments["text"]}

    def _upload_url(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if not arguments.get("filename") or not int(arguments.get("length") or 0):
            return _error("missing_argument")
        file_id = f"F{len(self.uploads)}"
        self.uploads[file_id] = {"name": arguments["filename"], "length": int(arguments["length"])}
        return {"ok": True, "file_id": file_id, "upload_url": f"{self.http.url}/upload/v1/{file_id}"}

    def _upload(self, request: Request) -> Answer:
        upload = self.uploads[request.path.rpartition("/")[2]]
        if len(request.body) != upload["length"] or "Transfer-Encoding" in request.headers:
            return Answer(400, body="bad length")
        upload["content"] = request.body
        return Answer(body=f"OK - {len(request.body)}")

    def _complete(self, arguments: dict[str, Any]) -> dict[str, Any]:
        files = json.loads(arguments["files"])
        if any("content" not in self.uploads.get(each["id"], ()) for each in files):
            return _error("file_not_found")
        if arguments.get("channel_id") != CHANNEL:  # a name will not do
            return _error("channel_not_found")
        if not self.is_member:
            return _error("not_in_channel")
        for each in files:
            shared = {"thread_ts": arguments.get("thread_ts"), "comment": arguments.get("initial_comment", "")}
            self.files.append({**self.uploads.pop(each["id"]), **shared})
        return {"ok": True, "files": files}

    def _reject(self, arguments: dict[str, Any]) -> str:
        """Return why Slack would refuse a message; record whom it would notify."""
        blocks = arguments.get("blocks")
        if not blocks and not str(arguments.get("text") or "").strip():
            return "no_text"
        if len(arguments.get("text") or "") > 40_000:
            return "msg_too_long"
        if blocks and (problem := problem_with(blocks)):
            return problem
        shown = [each for each in texts_of(blocks) if each["type"] == "mrkdwn"]
        self.pings += [each["text"] for each in shown if _PINGS.search(each["text"])]
        self.pings += [each["text"] for each in shown if not each.get("verbatim") and _BARE_PINGS.search(each["text"])]
        self.pings += [arguments["text"]] if _PINGS.search(arguments.get("text") or "") else []
        return ""

    def _post(self, arguments: dict[str, Any]) -> str:
        ts = f"1700000000.{len(self.messages):06}"
        self.messages.append({"edits": 0, **arguments, "ts": ts})
        return ts


def _error(code: str, **more: Any) -> dict[str, Any]:
    return {"ok": False, "error": code, **more}


def _json(request: Request) -> dict[str, Any] | None:
    """Return the arguments, or None if a strict parser refuses them: lone surrogates and NUL."""
    try:
        arguments: dict[str, Any] = json.loads(request.body)
        json.dumps(arguments, ensure_ascii=False).encode()
    except ValueError:
        return None
    return None if "\\u0000" in json.dumps(arguments) else arguments


def _form(request: Request) -> dict[str, list[str]]:
    return parse_qs(request.body.decode(), strict_parsing=True, errors="strict")


@contextmanager
def slack_peer() -> Iterator[SlackPeer]:
    """Run a workspace on a free port of 127.0.0.1."""
    with http_peer() as http:
        peer = SlackPeer(http)
        http.rule = peer.answer
        yield peer
