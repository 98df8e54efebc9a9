"""Messages to a channel or chat of Microsoft Teams, as Adaptive Cards posted to a workflow's URL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import attrs

from supervisor._models import Kind
from supervisor._text import cut_clean, one_line, printable, size
from supervisor.errors import DeliveryError
from supervisor.message_handlers import _options
from supervisor.message_handlers._options import Destination, url_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor._models.parts import Code, Facts, Part, Row
    from supervisor._models.values import MessageDetails
    from supervisor.message_handlers._http import HttpConnection, Response

Element: TypeAlias = dict[str, Any]
"""An element of an Adaptive Card, as JSON."""

# https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
CARD_LIMIT_BYTES = 28_000
MOST_BUTTONS = 6  # what Teams shows of a card's actions
# How long each text may be, and how many rows a table may have; the first at which the card fits is used.
_SCALES = ((12_000, 60), (6_000, 40), (3_000, 30), (1_500, 20), (700, 12), (300, 8), (120, 4))
_STYLES = {
    Kind.FAILURE: "attention",
    Kind.DIED: "attention",
    Kind.WARNING: "warning",
    Kind.STALLED: "warning",
    Kind.OVERDUE: "warning",
    Kind.MISSED: "warning",
    Kind.SUCCESS: "good",
    Kind.RECOVERY: "good",
    Kind.START: "accent",
    Kind.PROGRESS: "accent",
}
_MENTIONED = frozenset({Kind.FAILURE, Kind.DIED, Kind.MISSED})
_MARKDOWN = re.compile(r"([\\`*\[\]<>]|(?<![^\W_])_|_(?![^\W_]))")
_BLANKS = re.compile(r"^ +| {2,}", re.MULTILINE)
_FENCE = "```"


EXAMPLE = """\
[handlers.team]
type = "teams"
webhook_url = { env = "TEAMS_WEBHOOK_URL" }
"""
"""The table of this handler in the file that ``supervisor config init`` writes."""


@attrs.define(kw_only=True, eq=False)
class TeamsHandler(Destination):
    """Posts each message as one Adaptive Card to the URL of a workflow in Microsoft Teams.

    The workflow is made in Teams: "Workflows", "Send webhook alerts to a channel" (or "a chat").

    A card has the subject in the colour of the message's kind, the text, what the run recorded and where it ran as
    facts, code and tracebacks in a monospace font, and links as buttons, six at most. No text of a message is taken for
    Markdown. A card has at most 28 kB, which is Teams' limit: in a longer one the middles of its texts and the ends of
    its tables are left out, and it says so. Attachments are only named.

    Responses: 202 is what a workflow answers; another 2xx comes from somebody in between, and is temporary, unless it
    bears the workflow's own header (``x-ms-workflow-run-id``). 429 (``Retry-After`` is honoured), 5xx, a timeout and a
    lost connection are temporary; so are 401, 403 and redirects, once an hour. Everything else is permanent.

    Args:
        webhook_url: The workflow's URL, which is a secret.
        mention: The address (user principal name) of a person who is mentioned, and so notified, when a run failed,
            died or was missed; None mentions nobody.
        prefix: The text before each subject.
        timeout_s: The most seconds to wait for a connection and for the response.
        kinds: The kinds of messages that it gets ("failure", "success"), one or several; None for those that the run
            reports.
        name: Identifies the handler when a stored message is sent later; None means "teams:webhook" and a short hash of
            the URL.

    Raises:
        ConfigurationError: A setting is missing, blank or cannot be used.
    """

    notes_handover: ClassVar[bool] = True

    webhook_url: str = attrs.field(default="", repr=False, validator=_options.requestable_url)
    mention: str | None = attrs.field(
        default=None,
        converter=_options.cleaned_address,
        validator=attrs.validators.optional(_options.one_address),
    )
    prefix: str = attrs.field(default="", converter=_options.text_or_empty)
    timeout_s: float = attrs.field(default=10.0, validator=_options.positive)
    kinds: frozenset[Kind] | None = attrs.field(default=None, converter=_options.kinds, validator=_options.only_kinds)
    name: str | None = attrs.field(default=None, validator=_options.optional_not_blank)
    _connection: HttpConnection | None = attrs.field(init=False, default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        self.name = self.name or self._default_name

    @property
    def _destination(self) -> tuple[object, ...]:
        return (url_hash(self.webhook_url),)

    @property
    def _default_name(self) -> str:
        return f"teams:webhook#{url_hash(self.webhook_url)}"

    def send_message(self, details: MessageDetails, /) -> None:
        """Post one message and return when the workflow has accepted it.

        Raises:
            DeliveryError: It was refused, or there was no answer.
        """
        from supervisor.message_handlers._http import HttpConnection

        self._connection = self._connection or HttpConnection(self.webhook_url, self.timeout_s)
        headers = {"Content-Type": "application/json", "User-Agent": "agrc-supervisor"}
        body = message_body(details, self.prefix, self.mention)
        response = self._connection.post(self._connection.path, body, headers)
        is_own = response.status == 202 or "x-ms-workflow-run-id" in response.headers  # noqa: PLR2004 - accepted
        if not response.is_success or not is_own:
            raise self._refusal(response)

    def prepare(self, details: MessageDetails, /) -> None:
        """Load what sending a message needs; nothing is sent."""
        from supervisor.message_handlers import _http  # noqa: F401 - it is loaded for later

        message_body(details, self.prefix, self.mention)

    def close(self) -> None:
        """Close the connection; the next message opens a new one."""
        if self._connection is not None:
            self._connection.close()

    def _refusal(self, response: Response) -> DeliveryError:
        from urllib.parse import urlsplit

        from supervisor.message_handlers._http import LOGIN_STATUSES

        parts = urlsplit(self.webhook_url)
        secrets = [parts.path, parts.query, parts.password or ""]
        text = response.redirect_note(secrets) or response.body_line(secrets)
        reason = f"Teams answered {response.status_text}: {text}".rstrip(": ")
        if response.status in LOGIN_STATUSES or response.status == 404:  # noqa: PLR2004 - no such workflow
            reason += "; check webhook_url: the workflow may be switched off, or was made anew with another URL"
        permanent = not (response.is_temporary or response.is_success)
        return DeliveryError(reason, permanent=permanent, retry_after_s=response.retry_after_s, scope=response.scope)


def message_body(details: MessageDetails, prefix: str = "", mention: str | None = None) -> bytes:
    """Return a message as the JSON that a workflow takes, of at most 28 kB."""
    import json

    body = b""
    for scale in _SCALES:
        content = card(details, prefix, mention if details.kind in _MENTIONED else None, *scale)
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
        document = {"type": "message", "attachments": [attachment]}
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        if len(body) <= CARD_LIMIT_BYTES:
            break
    return body


def card(details: MessageDetails, prefix: str, mention: str | None, text_limit: int, most_rows: int) -> Element:
    """Return a message as an Adaptive Card: https://adaptivecards.io/explorer/AdaptiveCard.html.

    Args:
        details: The message.
        prefix: The text before its subject.
        mention: The address of a person to mention.
        text_limit: The most characters of each text.
        most_rows: The most rows of each table, and the most elements of the card between its head and its end.
    """
    subject = one_line(printable(f"{prefix}{details.subject}"), min(300, text_limit)) or f"({details.kind})"
    head: Element = {"type": "Container", "bleed": True, "items": [_text(subject, weight="Bolder", size="Medium")]}
    if details.style in _STYLES:
        head["style"] = _STYLES[details.style]
    elements = list(_elements(details, text_limit, most_rows))
    left_out = len(elements) - most_rows
    if left_out > 0:
        elements = [*elements[:most_rows], _text(f"[{left_out:,} more parts are left out]", isSubtle=True)]
    result: Element = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.5",
        "fallbackText": subject,
        "body": [head, *elements, *_attachments(details, most_rows)],
        "msteams": {"width": "Full"},
    }
    if mention is not None:
        _add_mention(result, mention)
    if buttons := _buttons(details):
        result["actions"] = buttons
    return result


def _elements(details: MessageDetails, text_limit: int, most_rows: int) -> Iterator[Element]:
    """Yield what stands between a card's head and its end."""
    from supervisor._messages.sections import parts_of, recorded_values

    if details.parts and not details.own_text:
        for part in parts_of(details):
            yield from _of_part(part, text_limit, most_rows)
        return
    for index, piece in enumerate(cut_clean(details.message, text_limit, printable).split(_FENCE)):
        if piece.strip():
            yield _code(piece) if index % 2 else _text(piece.strip("\n"))
    if details.report is not None:
        for part in recorded_values(details.report):
            yield from _of_part(part, text_limit, most_rows)


def _of_part(part: Part, text_limit: int, most_rows: int) -> Iterator[Element]:
    from supervisor._messages.rendering import table_as_code
    from supervisor._models.parts import Code, Facts, Table

    if isinstance(part, Table):
        part = table_as_code(part) if part.is_data else part.as_facts()
    if isinstance(part, Facts):
        yield from () if part.role == "links" else _of_facts(part, text_limit, most_rows)
    elif isinstance(part, Code):
        yield from _of_code(part, text_limit)
    else:
        text = cut_clean(part.text, text_limit, printable)
        style = {"weight": "Bolder"} if getattr(part, "is_strong", False) else {}
        if text.strip():
            yield _text(text, **style)


def _of_facts(facts: Facts, text_limit: int, most_rows: int) -> Iterator[Element]:
    """Yield a table; its labels and values are Markdown to Teams, so they are escaped."""
    if facts.title:
        yield _text(one_line(printable(facts.title)), weight="Bolder")
    rows = [
        {"title": _plain(row.label, 100), "value": _plain(_value(row), text_limit)} for row in facts.rows[:most_rows]
    ]
    if len(facts.rows) > most_rows:
        rows.append({"title": "...", "value": f"{len(facts.rows) - most_rows:,} more are left out"})
    if rows:
        yield {"type": "FactSet", "facts": rows, "separator": facts.role == "machine"}


def _value(row: Row) -> str:
    """Return a row's value, with what it is compared with."""
    return f"{row.text} ({row.aside})" if row.aside else row.text


def _of_code(code: Code, text_limit: int) -> Iterator[Element]:
    if code.title:
        yield _text(one_line(printable(code.title)), weight="Bolder")
    if code.text.strip():
        yield _code(cut_clean(code.text, text_limit, printable))


def _text(text: str, **style: Any) -> Element:
    """Return a text as it is: a ``TextRun`` knows no Markdown, and so mentions and links nobody and nothing."""
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}


def _code(text: str) -> Element:
    """Return lines in a monospace font, with blanks that do not collapse; cards know no code fences."""
    kept = _BLANKS.sub(lambda blanks: "\N{NO-BREAK SPACE}" * len(blanks[0]), text.strip("\n"))
    return _text(kept, fontType="Monospace", size="Small")


def _plain(text: str, limit: int) -> str:
    """Return a text for a place where Teams reads Markdown, in which it stays a text."""
    return _MARKDOWN.sub(r"\\\1", cut_clean(text, limit, printable))


def _attachments(details: MessageDetails, most: int) -> Iterator[Element]:
    if not details.attachments:
        return
    named = []
    for each in details.attachments[:most]:
        known = [size(each.size_bytes)] if each.size_bytes is not None else []
        facts = ", ".join([*known, *([each.note] if each.note else [])])
        named.append(one_line(printable(f"{each.name} ({facts})" if facts else each.name), 200))
    more = [f"and {len(details.attachments) - most:,} more"] if len(details.attachments) > most else []
    yield _text("\n".join(["Not attached, since a workflow takes no files:", *named, *more]), isSubtle=True)


def _buttons(details: MessageDetails) -> list[Element]:
    """Return the links of a run as buttons."""
    links = details.report.links if details.report is not None else {}
    return [
        {"type": "Action.OpenUrl", "title": one_line(printable(title), 40) or url[:40], "url": url}
        for title, url in list(links.items())[:MOST_BUTTONS]
        if len(url) <= 1_000  # noqa: PLR2004 - a longer one would take the room of the message itself
    ]


def _add_mention(content: Element, address: str) -> None:
    """Mention a person below a card: https://learn.microsoft.com/en-us/microsoftteams/platform/task-modules-and-cards/cards/cards-format#user-mention-in-incoming-webhook-with-adaptive-cards."""
    parsed = _options.MailAddress.parse(address)
    shown = f"<at>{parsed.display or parsed.address}</at>"
    mentioned = {"id": parsed.address, "name": parsed.display or parsed.address}
    content["body"].append({"type": "TextBlock", "text": shown, "wrap": True})
    content["msteams"]["entities"] = [{"type": "mention", "text": shown, "mentioned": mentioned}]
