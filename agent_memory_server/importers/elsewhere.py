"""What people have in other memory systems and chat applications, read from the files that those write.

Each format is read as its makers document it, leniently where versions differ in what a field is called. A file becomes facts
(long-term memories) or conversations. Ids depend on the file alone, so importing it again changes nothing.
Raises InvalidInput that says what is wrong with the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from agent_memory_server.domain.records import derived_id
from agent_memory_server.domain.tags import clean_tags
from agent_memory_server.errors import InvalidInput
from agent_memory_server.importers.conversations import FileMessage, FileSession
from agent_memory_server.importers.markdown import notes_in


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFact:
    """One statement. ``user_id`` and ``namespace``: as the file has them; who imports may name others."""

    id: str
    text: str
    user_id: str | None = None
    namespace: str | None = None
    created_at: datetime | None = None
    event_date: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    topics: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    name: str | None = None
    is_episode: bool = False
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Everything that a file holds."""

    facts: Sequence[FileFact] = ()
    sessions: Sequence[FileSession] = ()


def read_elsewhere(path: Path, form: str) -> Elsewhere:
    """The file (for Markdown also a folder) in one of the ``FORMATS``."""
    if form == "markdown":
        return Elsewhere(facts=[_note(each) for each in notes_in(path)])
    found = FORMATS[form](_content(path))
    if not found.facts and not found.sessions:
        raise InvalidInput(f"{path.name} holds nothing that {form} files hold; is it of another format?")
    return found


# -- mem0 -------------------------------------------------------------------------------------------------------------


def _mem0(content: Any) -> Elsewhere:
    """``get_all`` and exports of mem0: a list of memories, or that list as ``results`` or ``memories``."""
    facts: list[FileFact] = []
    for each in _objects(_listed(content, "results", "memories")):
        text = _text(each, "memory", "text", "content")
        if text is None:
            continue
        categories = each.get("categories")
        facts.append(
            FileFact(
                id=_id("mem0", each, text),
                text=text,
                user_id=_text(each, "user_id"),
                namespace=_text(each, "agent_id", "app_id"),
                created_at=_time(each, "created_at"),
                topics=clean_tags(map(str, cast("list[object]", categories))) if isinstance(categories, list) else (),
                metadata=_object(each, "metadata"),
            )
        )
    return Elsewhere(facts=facts)


# -- Zep and Graphiti -------------------------------------------------------------------------------------------------


def _zep(content: Any) -> Elsewhere:
    """Episodes and facts (edges) of Graphiti and Zep: lists of either, or an object with both."""
    facts: list[FileFact] = []
    for each in _objects(_listed(content, "episodes", "edges", "facts", "results")):
        text = _text(each, "fact", "content", "body", "episode_body")
        if text is None:
            continue
        is_fact = "fact" in each
        facts.append(
            FileFact(
                id=_id("zep", each, text),
                text=text,
                user_id=_text(each, "user_id", "group_id"),
                created_at=_time(each, "created_at"),
                event_date=None if is_fact else _time(each, "valid_at", "reference_time"),
                valid_from=_time(each, "valid_at") if is_fact else None,
                valid_to=_time(each, "invalid_at") if is_fact else None,
                name=_text(each, "role") if not is_fact else None,
                is_episode=not is_fact,
            )
        )
    return Elsewhere(facts=facts)


# -- LangGraph --------------------------------------------------------------------------------------------------------


def _langgraph(content: Any) -> Elsewhere:
    """Items of a LangGraph store: namespace (a list), key, value. Values without a text are kept as their JSON."""
    facts: list[FileFact] = []
    for each in _objects(_listed(content, "items")):
        value = each.get("value")
        fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        text = _text(fields, "text", "content", "memory", "data", "fact")
        if text is None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
        parts = each.get("namespace")
        namespace = (
            "/".join(map(str, cast("list[object]", parts))) if isinstance(parts, list) else _text(each, "namespace")
        )
        facts.append(
            FileFact(
                id=derived_id("langgraph", namespace or "", str(each.get("key", "")), text),
                text=text,
                namespace=namespace or None,
                created_at=_time(each, "created_at"),
                metadata={"key": str(each["key"])} if "key" in each else None,
            )
        )
    return Elsewhere(facts=facts)


# -- the MCP reference memory server ----------------------------------------------------------------------------------


def _mcp_memory(content: Any) -> Elsewhere:
    """``memory.json`` of the MCP reference memory server: entities with observations, and relations."""
    facts: list[FileFact] = []
    for each in _objects(_graph(content)):
        if each.get("type") == "entity" or "observations" in each:
            facts.extend(_observations(each))
            continue
        start, relation, end = (_text(each, name) for name in ("from", "relationType", "to"))
        if start and relation and end:
            text = f"{start} {relation.replace('_', ' ')} {end}."
            facts.append(FileFact(id=derived_id("mcp-memory", text), text=text, entities=clean_tags((start, end))))
    return Elsewhere(facts=facts)


def _graph(content: Any) -> Sequence[Any]:
    if not isinstance(content, dict):
        return _listed(content)
    graph = cast("dict[str, Any]", content)
    if "entities" not in graph and "relations" not in graph:
        return [graph]
    return [*_listed(graph.get("entities", [])), *_listed(graph.get("relations", []))]


def _observations(entity: Mapping[str, Any]) -> Iterator[FileFact]:
    name = _text(entity, "name")
    observations = entity.get("observations")
    if name is None or not isinstance(observations, list):
        return
    kind = _text(entity, "entityType")
    for each in cast("list[object]", observations):
        said = str(each).strip()
        if said:
            text = said if name.lower() in said.lower() else f"{name}: {said}"
            yield FileFact(
                id=derived_id("mcp-memory", name, said),
                text=text,
                name=name,
                entities=clean_tags((name,)),
                topics=clean_tags((kind,)) if kind else (),
            )


# -- ChatGPT and Claude -----------------------------------------------------------------------------------------------


def _chatgpt(content: Any) -> Elsewhere:
    """``conversations.json`` of a ChatGPT data export: a tree of messages, of which the branch shown last is taken."""
    sessions = [_chatgpt_session(each) for each in _objects(_listed(content, "conversations"))]
    return Elsewhere(sessions=[each for each in sessions if each.messages])


def _chatgpt_session(conversation: Mapping[str, Any]) -> FileSession:
    session_id = _text(conversation, "conversation_id", "id") or derived_id(
        "chatgpt", str(conversation.get("title")), str(conversation.get("create_time"))
    )
    mapping = _object(conversation, "mapping") or {}
    place = conversation.get("current_node")
    messages: list[FileMessage] = []
    seen: set[str] = set()
    while isinstance(place, str) and place in mapping and place not in seen:
        seen.add(place)
        node = cast("dict[str, Any]", mapping[place]) if isinstance(mapping[place], dict) else {}
        message = _chatgpt_message(_object(node, "message") or {}, place)
        if message is not None:
            messages.append(message)
        place = node.get("parent")
    return FileSession(session_id=f"chatgpt-{session_id}", messages=tuple(reversed(messages)))


def _chatgpt_message(message: Mapping[str, Any], node_id: str) -> FileMessage | None:
    role = _text(_object(message, "author") or {}, "role")
    parts = (_object(message, "content") or {}).get("parts")
    said = [each for each in cast("list[object]", parts) if isinstance(each, str)] if isinstance(parts, list) else []
    text = "\n".join(said).strip()
    if role not in ("user", "assistant", "tool") or not text:
        return None
    return FileMessage(
        id=_text(message, "id") or node_id, role=role, content=text, created_at=_time(message, "create_time")
    )


def _claude(content: Any) -> Elsewhere:
    """``conversations.json`` of a Claude data export: conversations with ``chat_messages``."""
    sessions: list[FileSession] = []
    for each in _objects(_listed(content, "conversations")):
        session_id = _text(each, "uuid", "id") or derived_id("claude", str(each.get("name")))
        messages = [
            message
            for place, turn in enumerate(_objects(_listed(each.get("chat_messages") or [])))
            if (message := _claude_message(turn, f"{session_id}-{place}")) is not None
        ]
        if messages:
            sessions.append(FileSession(session_id=f"claude-{session_id}", messages=tuple(messages)))
    return Elsewhere(sessions=sessions)


def _claude_message(turn: Mapping[str, Any], otherwise: str) -> FileMessage | None:
    blocks = turn.get("content")
    said = [
        text
        for block in (cast("list[object]", blocks) if isinstance(blocks, list) else [])
        if isinstance(block, dict) and (text := _text(cast("dict[str, Any]", block), "text"))
    ]
    text = "\n".join(said).strip() or (_text(turn, "text") or "")
    if not text:
        return None
    return FileMessage(
        id=_text(turn, "uuid", "id") or otherwise,
        role="user" if turn.get("sender") == "human" else "assistant",
        content=text,
        created_at=_time(turn, "created_at"),
    )


FORMATS: Mapping[str, Callable[[Any], Elsewhere]] = {
    "mem0": _mem0,
    "zep": _zep,
    "langgraph": _langgraph,
    "mcp-memory": _mcp_memory,
    "chatgpt": _chatgpt,
    "claude": _claude,
    "markdown": lambda _: Elsewhere(),
}
"""By the name that ``agent-memory import --from`` takes."""


# -- pieces -----------------------------------------------------------------------------------------------------------


def _note(note: tuple[str, tuple[str, ...], str, datetime | None]) -> FileFact:
    text, headings, place, day = note
    return FileFact(id=derived_id("markdown", place, text), text=text, topics=clean_tags(headings), created_at=day)


def _content(path: Path) -> Any:
    """One JSON value, or a list of those that stand on lines of their own."""
    try:
        raw = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidInput(f"{path} cannot be read: {reason}") from error
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        pass
    lines: list[Any] = []
    for number, line in enumerate(raw.splitlines(), start=1):
        if line.strip():
            try:
                lines.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise InvalidInput(f"{path.name}, line {number}: this is no JSON") from error
    return lines


def _listed(content: Any, *names: str) -> Sequence[Any]:
    """The list that the content is, or that it holds under these names, one after another."""
    if isinstance(content, list):
        return cast("list[Any]", content)
    if isinstance(content, dict):
        fields = cast("dict[str, Any]", content)
        found = [each for name in names for each in _listed(fields.get(name) or [])]
        return found or ([] if any(name in fields for name in names) else [fields])
    return []


def _objects(values: Iterable[Any]) -> Iterator[dict[str, Any]]:
    return (cast("dict[str, Any]", each) for each in values if isinstance(each, dict))


def _object(fields: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = fields.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _text(fields: Mapping[str, Any], *names: str) -> str | None:
    """The first of these fields that is a text and not blank."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def _id(form: str, fields: Mapping[str, Any], text: str) -> str:
    return derived_id(form, _text(fields, "id", "uuid") or text)


def _time(fields: Mapping[str, Any], *names: str) -> datetime | None:
    """ISO 8601 or seconds since 1970; what is neither is left out, as no memory depends on it."""
    for name in names:
        value = fields.get(name)
        try:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return datetime.fromtimestamp(value, UTC)
            if isinstance(value, str) and value.strip():
                found = datetime.fromisoformat(value.strip())
                return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError, OSError):
            continue
    return None
