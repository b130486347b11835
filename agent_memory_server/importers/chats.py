"""Conversations of ChatGPT and Claude, as their data exports hold them: what people said and were shown, in order.

What was never shown (system messages, hidden context, thoughts, calls and results of tools) and turns without a text are left
out and counted. A message without a time has that of the one before it, or of its conversation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from agent_memory_server.domain.records import derived_id
from agent_memory_server.importers.contents import Elsewhere
from agent_memory_server.importers.conversations import FileMessage, FileSession
from agent_memory_server.importers.fields import (
    as_object,
    cleaned,
    list_of,
    listed,
    object_of,
    objects,
    text_of,
    time_of,
)

_SHOWN = frozenset({"text", "multimodal_text"})
"""Contents of ChatGPT's messages that are shown as what was said; others are code, thoughts, context, or what tools gave."""


def read_chatgpt(content: Any) -> Elsewhere:
    """``conversations.json`` of a ChatGPT data export: a tree of messages, of which the branch shown last is taken."""
    return _conversations([_chatgpt_session(each) for each in objects(listed(content, "conversations"))])


def read_claude(content: Any) -> Elsewhere:
    """``conversations.json`` of a Claude data export: conversations with ``chat_messages``."""
    return _conversations([_claude_session(each) for each in objects(listed(content, "conversations"))])


def _conversations(sessions: Sequence[FileSession]) -> Elsewhere:
    left_out = sum(session.blank for session in sessions)
    return Elsewhere(sessions=[each for each in sessions if each.messages], left_out=left_out)


def _session(session_id: str, turns: Sequence[FileMessage | None], begun: datetime | None) -> FileSession:
    """The turns in their order; None for one that is left out."""
    messages: list[FileMessage] = []
    at = begun
    for turn in turns:
        if turn is not None:
            at = turn.created_at or at
            messages.append(replace(turn, created_at=at))
    return FileSession(session_id=session_id, messages=tuple(messages), blank=len(turns) - len(messages))


# -- ChatGPT ----------------------------------------------------------------------------------------------------------


def _chatgpt_session(conversation: Mapping[str, Any]) -> FileSession:
    session_id = text_of(conversation, "conversation_id", "id") or derived_id(
        "chatgpt", str(conversation.get("title")), str(conversation.get("create_time"))
    )
    mapping = object_of(conversation, "mapping")
    turns: list[FileMessage | None] = []
    seen: set[str] = set()
    place = _shown_last(conversation, mapping)
    while isinstance(place, str) and place in mapping and place not in seen:
        seen.add(place)
        node = object_of(mapping, place)
        message = object_of(node, "message")
        if message:
            turns.append(_chatgpt_message(message, place))
        place = node.get("parent")
    return _session(f"chatgpt-{session_id}", turns[::-1], time_of(conversation, "create_time"))


def _shown_last(conversation: Mapping[str, Any], mapping: Mapping[str, Any]) -> object:
    """The end of the branch that was shown last; where the file does not say, of the one that was written to last."""
    place = conversation.get("current_node")
    if isinstance(place, str) and place in mapping:
        return place
    ends = [name for name in mapping if not list_of(object_of(mapping, name), "children")]
    times = {name: time_of(object_of(object_of(mapping, name), "message"), "create_time") for name in ends}
    dated = [name for name in ends if times[name] is not None]
    return max(dated, key=lambda name: times[name] or datetime.min) if dated else (ends[-1] if ends else None)


def _chatgpt_message(message: Mapping[str, Any], node_id: str) -> FileMessage | None:
    role = text_of(object_of(message, "author"), "role")
    content = object_of(message, "content")
    is_hidden = object_of(message, "metadata").get("is_visually_hidden_from_conversation") or message.get("weight") == 0
    is_to_a_tool = message.get("recipient") not in (None, "all")
    if role not in ("user", "assistant") or is_hidden or is_to_a_tool:
        return None
    if content.get("content_type", "text") not in _SHOWN:
        return None
    text = cleaned("\n".join(filter(None, map(_part, list_of(content, "parts")))))
    if not text:
        return None
    return FileMessage(
        id=text_of(message, "id") or node_id, role=role, content=text, created_at=time_of(message, "create_time")
    )


def _part(part: object) -> str | None:
    """A text, or what was said aloud; pictures and files are left out."""
    return part if isinstance(part, str) else text_of(as_object(part), "text")


# -- Claude -----------------------------------------------------------------------------------------------------------


def _claude_session(conversation: Mapping[str, Any]) -> FileSession:
    session_id = text_of(conversation, "uuid", "id") or derived_id("claude", str(conversation.get("name")))
    turns = [
        _claude_message(turn, f"{session_id}-{place}")
        for place, turn in enumerate(objects(list_of(conversation, "chat_messages")))
    ]
    return _session(f"claude-{session_id}", turns, time_of(conversation, "created_at"))


def _claude_message(turn: Mapping[str, Any], otherwise: str) -> FileMessage | None:
    """Its texts, and those of files that were pasted or attached."""
    role = {"human": "user", "user": "user", "assistant": "assistant"}.get(text_of(turn, "sender", "role") or "")
    said = [
        text_of(block, "text")
        for block in objects(list_of(turn, "content"))
        if block.get("type", "text") in ("text", "voice_note")
    ]
    text = "\n".join(filter(None, said)) or text_of(turn, "text")
    attached = [_attached(each) for each in objects(list_of(turn, "attachments"))]
    whole = "\n\n".join(filter(None, (text, *attached)))
    if role is None or not whole:
        return None
    return FileMessage(
        id=text_of(turn, "uuid", "id") or otherwise, role=role, content=whole, created_at=time_of(turn, "created_at")
    )


def _attached(attachment: Mapping[str, Any]) -> str | None:
    text = text_of(attachment, "extracted_content")
    name = text_of(attachment, "file_name")
    return None if text is None else f"{name}:\n{text}" if name else text
