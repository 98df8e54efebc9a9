"""The blocks that version 3 had."""

from __future__ import annotations

import json

import pytest

from supervisor import MessageDetails
from supervisor.slack import ContextBlock, DividerBlock, Message, SectionBlock, Text, split_blocks


def test_blocks_are_what_slack_takes() -> None:
    """Each block as Slack's API documents it."""
    assert SectionBlock("*12* rows", ["a", ""]).to_dict() == {
        "type": "section",
        "text": {"type": "mrkdwn", "text": "*12* rows"},
        "fields": [{"type": "mrkdwn", "text": "a"}, {"type": "mrkdwn", "text": " "}],
    }
    assert ContextBlock(["erap"]).to_dict() == {"type": "context", "elements": [{"type": "mrkdwn", "text": "erap"}]}
    assert DividerBlock().to_dict() == {"type": "divider"}
    assert json.loads(repr(SectionBlock(""))) == {"type": "section", "text": {"type": "mrkdwn", "text": " "}}
    assert json.loads(str(Text("a"))) == {"type": "mrkdwn", "text": "a"}


def test_they_are_blocks_of_version_4_too() -> None:
    """``MessageDetails(blocks=...)`` takes them."""
    assert MessageDetails("Loaded", blocks=[DividerBlock()]).blocks == [{"type": "divider"}]


@pytest.mark.parametrize(("limit", "end"), [(100, "... (text truncated due to length)"), (10, "AAA")])
def test_long_texts_are_cut_with_a_warning(limit: int, end: str) -> None:
    """What is cut fits, and says so where there is room."""
    with pytest.warns(UserWarning, match=f"Text truncated from 5000 to {limit} characters"):
        text = Text.to_text("A" * 5000, limit).text
    assert len(text) == limit
    assert text.endswith(end)


def test_small_print_has_at_most_ten_texts() -> None:
    """Slack refuses more, so the block is."""
    with pytest.raises(ValueError, match="maximum of ten elements, got 11"):
        ContextBlock(["a"] * 11)


def test_a_message_is_a_mapping_and_json() -> None:
    """As it was given to Slack's clients."""
    message = Message("Loaded", SectionBlock("a"))
    message.add(DividerBlock())
    assert dict(message)["text"] == "Loaded"
    assert [each["type"] for each in json.loads(message.json())["blocks"]] == ["section", "divider"]
    assert json.loads(repr(Message())) == {"text": ""}


def test_many_blocks_are_several_messages() -> None:
    """Slack takes 50 blocks at a time."""
    message = Message("Loaded", [SectionBlock(str(number)) for number in range(120)])
    assert [len(json.loads(each)["blocks"]) for each in message.get_messages()] == [50, 50, 20]
    assert [json.loads(each) for each in Message("Loaded").get_messages()] == [{"text": "Loaded"}]
    assert split_blocks([], 50) == [[]]
