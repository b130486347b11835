"""How values look in the file: times as integers, records as JSON documents, index terms as packed integers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.records import EmbeddingStatus, Memory, MemoryType, Source
from agent_memory_server.stores.values import instant, instant_or_none, micros, micros_or_none, to_json

_MEMORY_TYPES = {each.value: each for each in MemoryType}


def mapping_to_json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else to_json(dict(value))


_LONG_NUMBER = re.compile(r"\d{18}")
_SHORT = 4_096


def from_json(text: str) -> Any:
    """What ``to_json`` wrote. The fast parser rounds integers that do not fit its 64 bits: those go to the standard library."""
    if len(text) > _SHORT or _LONG_NUMBER.search(text) is not None:
        return json.loads(text)
    return orjson.loads(text)


# -- index terms ------------------------------------------------------------------------------------------------------


# -- memories ---------------------------------------------------------------------------------------------------------


def extra_of(memory: Memory) -> str | None:
    """The fields that are neither filtered nor sorted by, without those that have their default."""
    fields: dict[str, Any] = {
        "name": memory.name,
        "extracted": None if memory.extracted else False,
        "persisted_at": micros_or_none(memory.persisted_at),
        "extracted_from": memory.extracted_from,
        "strategy_config": dict(memory.extraction_strategy_config) or None,
        "metadata": dict(memory.metadata) or None,
        "source": None if memory.source is Source.USER else memory.source.value,
        "author": memory.author,
        "trust": None if memory.trust == 1.0 else memory.trust,
        "derived_from": memory.derived_from or None,
        "valid_from": micros_or_none(memory.valid_from),
        "valid_to": micros_or_none(memory.valid_to),
    }
    extra = {name: value for name, value in fields.items() if value is not None}
    return to_json(extra) if extra else None


def _extra_fields(extra: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in ("name", "extracted", "author", "trust", "metadata"):
        if name in extra:
            fields[name] = extra[name]
    for name in ("persisted_at", "valid_from", "valid_to"):
        if name in extra:
            fields[name] = instant(extra[name])
    for name in ("extracted_from", "derived_from"):
        if name in extra:
            fields[name] = tuple(extra[name])
    if "strategy_config" in extra:
        fields["extraction_strategy_config"] = extra["strategy_config"]
    if "source" in extra:
        fields["source"] = Source(extra["source"])
    return fields


MEMORY_COLUMNS = (
    "m.id, t.name, s.namespace, s.user_id, m.session_id, m.superseded_by, m.created_at, m.updated_at, m.last_accessed, "
    "m.access_count, m.expires_at, m.event_date, m.memory_type, m.strategy, m.memory_hash, m.pinned, m.revision, "
    "m.operation_id, m.space_id, m.has_vector, m.extra, m.topics, m.entities, m.text"
)
"""What ``memory_of`` reads, from ``memories m JOIN scopes s JOIN tenants t``."""

MEMORY_TABLES = "memories AS m JOIN scopes AS s ON s.id = m.scope_id JOIN tenants AS t ON t.id = m.tenant_id"


def memory_of(row: Sequence[Any]) -> Memory:
    """The record of one row of ``MEMORY_COLUMNS``."""
    (
        memory_id, tenant, namespace, user_id, session_id, superseded_by, created_at, updated_at, last_accessed,
        access_count, expires_at, event_date, memory_type, strategy, memory_hash, pinned, revision,
        operation_id, space_id, has_vector, extra, topics, entities, text,
    ) = row  # fmt: skip
    marked = EmbeddingStatus.READY if has_vector else EmbeddingStatus.NONE
    return Memory(
        id=memory_id,
        scope=Scope(tenant, namespace, user_id, session_id),
        text=text,
        created_at=instant(created_at),
        updated_at=instant(updated_at),
        last_accessed=instant(last_accessed),
        memory_type=_MEMORY_TYPES[memory_type],
        topics=tuple(from_json(topics)) if topics else (),
        entities=tuple(from_json(entities)) if entities else (),
        access_count=access_count,
        pinned=bool(pinned),
        memory_hash=memory_hash,
        event_date=instant_or_none(event_date),
        extraction_strategy=strategy,
        superseded_by=superseded_by,
        expires_at=instant_or_none(expires_at),
        embedding=EmbeddingStatus.PENDING if space_id is None else marked,
        revision=revision,
        operation_id=operation_id,
        **(_extra_fields(from_json(extra)) if extra else {}),
    )


def document_of(memory: Memory) -> dict[str, Any]:
    """A memory as one JSON document: a journal entry's state, or a session's structured memory."""
    document: dict[str, Any] = {
        "id": memory.id,
        "scope": [memory.scope.tenant, memory.scope.namespace, memory.scope.user_id, memory.scope.session_id],
        "text": memory.text,
        "created_at": micros(memory.created_at),
        "updated_at": micros(memory.updated_at),
        "last_accessed": micros(memory.last_accessed),
        "memory_type": memory.memory_type.value,
        "strategy": memory.extraction_strategy,
    }
    optional: dict[str, Any] = {
        "topics": list(memory.topics),
        "entities": list(memory.entities),
        "access_count": memory.access_count,
        "pinned": memory.pinned,
        "memory_hash": memory.memory_hash,
        "event_date": micros_or_none(memory.event_date),
        "superseded_by": memory.superseded_by,
        "expires_at": micros_or_none(memory.expires_at),
        "revision": memory.revision,
        "operation_id": memory.operation_id,
        "extra": extra_of(memory),
    }
    document.update((name, value) for name, value in optional.items() if value not in (None, "", 0, False, []))
    if memory.embedding is not EmbeddingStatus.PENDING:
        document["embedding"] = memory.embedding.value
    return document


def memory_of_document(document: Mapping[str, Any]) -> Memory:
    tenant, namespace, user_id, session_id = document["scope"]
    extra = document.get("extra")
    return Memory(
        id=document["id"],
        scope=Scope(tenant, namespace, user_id, session_id),
        text=document["text"],
        created_at=instant(document["created_at"]),
        updated_at=instant(document["updated_at"]),
        last_accessed=instant(document["last_accessed"]),
        memory_type=MemoryType(document["memory_type"]),
        topics=tuple(document.get("topics", ())),
        entities=tuple(document.get("entities", ())),
        access_count=document.get("access_count", 0),
        pinned=document.get("pinned", False),
        memory_hash=document.get("memory_hash", ""),
        event_date=instant_or_none(document.get("event_date")),
        extraction_strategy=document["strategy"],
        superseded_by=document.get("superseded_by"),
        expires_at=instant_or_none(document.get("expires_at")),
        embedding=EmbeddingStatus(document.get("embedding", EmbeddingStatus.PENDING)),
        revision=document.get("revision", 0),
        operation_id=document.get("operation_id", ""),
        **(_extra_fields(from_json(extra)) if extra else {}),
    )
