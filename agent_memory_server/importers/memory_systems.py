"""Memories of mem0, of Zep and Graphiti, of LangGraph stores and of the MCP reference memory server, as statements.

Ids depend on the file alone, so importing it again changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from agent_memory_server.domain.records import derived_id
from agent_memory_server.domain.tags import clean_tags
from agent_memory_server.importers.contents import Elsewhere, FileFact
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


def read_mem0(content: Any) -> Elsewhere:
    """``get_all`` and exports of mem0: a list of memories, or that list as ``results`` or ``memories``; graph relations too."""
    facts: list[FileFact] = []
    items = listed(content, "results", "memories")
    for each in objects(items):
        text = text_of(each, "memory", "data", "text")
        if text is None:
            continue
        facts.append(
            FileFact(
                id=derived_id("mem0", text_of(each, "id", "uuid") or text),
                text=text,
                user_id=text_of(each, "user_id"),
                namespace=text_of(each, "agent_id", "app_id"),
                session_id=text_of(each, "run_id"),
                created_at=time_of(each, "created_at"),
                updated_at=time_of(each, "updated_at"),
                topics=clean_tags(map(str, list_of(each, "categories"))),
                metadata=object_of(each, "metadata") or None,
            )
        )
    left_out = len(items) - len(facts)
    relations = list_of(as_object(content), "relations")
    facts.extend(_related(relations, "source", ("relationship", "relation"), ("target", "destination"), "mem0"))
    return Elsewhere(facts=facts, left_out=left_out)


def _related(
    relations: Iterable[Any], start: str, relation: tuple[str, ...], end: tuple[str, ...], form: str
) -> Iterator[FileFact]:
    """Relations of a graph, read as sentences."""
    for each in objects(relations):
        subject, verb, thing = text_of(each, start), text_of(each, *relation), text_of(each, *end)
        if subject and verb and thing:
            text = f"{subject} {verb.replace('_', ' ')} {thing}."
            yield FileFact(
                id=derived_id(form, text),
                text=text,
                user_id=text_of(each, "user_id"),
                entities=clean_tags((subject, thing)),
            )


def read_zep(content: Any) -> Elsewhere:
    """Episodes and facts (edges) of Graphiti and Zep: lists of either, or an object with both."""
    facts: list[FileFact] = []
    items = listed(content, "episodes", "edges", "facts", "relevant_facts", "results")
    for each in [{"fact": item} if isinstance(item, str) else item for item in items]:
        fact = _zep_fact(as_object(each))
        if fact is not None:
            facts.append(fact)
    return Elsewhere(facts=facts, left_out=len(items) - len(facts))


def _zep_fact(each: Mapping[str, Any]) -> FileFact | None:
    text = text_of(each, "fact", "content", "body", "episode_body")
    if text is None:
        return None
    is_fact = "fact" in each
    began = time_of(each, "valid_at")
    return FileFact(
        id=derived_id("zep", text_of(each, "uuid", "id") or text),
        text=text,
        user_id=text_of(each, "user_id", "group_id"),
        created_at=time_of(each, "created_at"),
        event_date=None if is_fact else began or time_of(each, "reference_time"),
        valid_from=began if is_fact else None,
        valid_to=_not_before(time_of(each, "invalid_at", "expired_at"), began) if is_fact else None,
        name=None if is_fact else text_of(each, "role"),
        is_episode=not is_fact,
    )


def _not_before(ended: datetime | None, began: datetime | None) -> datetime | None:
    """An end that is not later than the beginning says nothing."""
    return None if ended is not None and began is not None and ended <= began else ended


def read_langgraph(content: Any) -> Elsewhere:
    """Items of a LangGraph store: namespace (a list), key, value. Values without a text are kept as their JSON."""
    facts: list[FileFact] = []
    items = listed(content, "items")
    for each in objects(items):
        text = _said(each.get("value"))
        if not text:
            continue
        parts = list_of(each, "namespace")
        namespace = cleaned("/".join(map(str, parts))) if parts else text_of(each, "namespace", "prefix")
        facts.append(
            FileFact(
                id=derived_id("langgraph", namespace or "", str(each.get("key", "")), text),
                text=text,
                namespace=namespace or None,
                created_at=time_of(each, "created_at"),
                updated_at=time_of(each, "updated_at"),
                metadata={"key": cleaned(str(each["key"]))} if "key" in each else None,
            )
        )
    return Elsewhere(facts=facts, left_out=len(items) - len(facts))


def _said(value: Any) -> str | None:
    """What the value of an item says: its text, also where LangMem wraps it as the content of a memory; else its JSON."""
    if value is None or isinstance(value, str):
        return None if value is None else cleaned(value)
    fields = as_object(value)
    inside = object_of(fields, "content")
    names = ("text", "content", "memory", "data", "fact")
    said = text_of(fields, *names) or text_of(inside, *names)
    return said or cleaned(json.dumps(inside or value, ensure_ascii=False, sort_keys=True))


def read_mcp_memory(content: Any) -> Elsewhere:
    """``memory.json`` of the MCP reference memory server: entities with observations, and relations."""
    facts: list[FileFact] = []
    items = _graph(content)
    left_out = 0
    for each in objects(items):
        if each.get("type") == "entity" or "observations" in each:
            found = list(_observations(each))
        else:
            found = list(_related([each], "from", ("relationType",), ("to",), "mcp-memory"))
        left_out += not found
        facts.extend(found)
    return Elsewhere(facts=facts, left_out=left_out + sum(not isinstance(each, dict) for each in items))


def _graph(content: Any) -> list[Any]:
    graph = as_object(content)
    if not graph:
        return list(listed(content))
    if "entities" not in graph and "relations" not in graph:
        return [graph]
    return [*list_of(graph, "entities"), *list_of(graph, "relations")]


def _observations(entity: Mapping[str, Any]) -> Iterator[FileFact]:
    """What is said of an entity; of one without observations, what it is."""
    name, kind = text_of(entity, "name"), text_of(entity, "entityType")
    if name is None:
        return
    said = [cleaned(each) if isinstance(each, str) else _said(each) or "" for each in list_of(entity, "observations")]
    for each in [each for each in said if each] or ([kind] if kind else []):
        yield FileFact(
            id=derived_id("mcp-memory", name, each),
            text=each if name.lower() in each.lower() else f"{name}: {each}",
            name=name,
            entities=clean_tags((name,)),
            topics=clean_tags((kind,)) if kind else (),
        )
