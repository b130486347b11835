"""How values look in Redis: times as integers, records as JSON documents, index terms as packed integers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.records import EmbeddingStatus, Memory, MemoryType, Source
from agent_memory_server.stores.values import (
    COUNT_BITS,
    COUNT_MAX,
    instant,
    instant_or_none,
    micros,
    micros_or_none,
    unpack_terms,
)


def from_json(text: str | bytes) -> Any:
    return json.loads(text)


def from_plain_json(text: bytes) -> Any:
    """The fast reader, for what holds no integer beyond 64 bits: what clients sent, and times."""
    return orjson.loads(text)


# -- index terms ------------------------------------------------------------------------------------------------------


def token_text(value: int) -> str:
    """A token's digest as the search index holds it."""
    return f"{value:012x}"


def terms_field(terms: bytes) -> str:
    """All tokens of packed terms, for the index."""
    return ",".join(token_text(value >> COUNT_BITS) for value in unpack_terms(terms).tolist())


def token_of(terms: NDArray[np.int64]) -> NDArray[np.int64]:
    return terms >> COUNT_BITS


def count_of(terms: NDArray[np.int64]) -> NDArray[np.int64]:
    return terms & COUNT_MAX


# -- memories ---------------------------------------------------------------------------------------------------------


def document_of(memory: Memory) -> dict[str, Any]:
    """A memory as one JSON document; fields with their default are left out."""
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
        "topics": list(memory.topics) or None,
        "entities": list(memory.entities) or None,
        "name": memory.name,
        "access_count": memory.access_count or None,
        "pinned": memory.pinned or None,
        "memory_hash": memory.memory_hash or None,
        "extracted": None if memory.extracted else False,
        "persisted_at": micros_or_none(memory.persisted_at),
        "extracted_from": None if memory.extracted_from is None else list(memory.extracted_from),
        "event_date": micros_or_none(memory.event_date),
        "strategy_config": dict(memory.extraction_strategy_config) or None,
        "metadata": dict(memory.metadata) or None,
        "source": None if memory.source is Source.USER else memory.source.value,
        "author": memory.author,
        "trust": None if memory.trust == 1.0 else memory.trust,
        "derived_from": list(memory.derived_from) or None,
        "superseded_by": memory.superseded_by,
        "valid_from": micros_or_none(memory.valid_from),
        "valid_to": micros_or_none(memory.valid_to),
        "expires_at": micros_or_none(memory.expires_at),
        "embedding": None if memory.embedding is EmbeddingStatus.PENDING else memory.embedding.value,
        "revision": memory.revision or None,
        "operation_id": memory.operation_id or None,
    }
    document.update((name, value) for name, value in optional.items() if value is not None)
    return document


def memory_of(document: Mapping[str, Any]) -> Memory:
    """The record of one document."""
    tenant, namespace, user_id, session_id = document["scope"]
    extracted_from = document.get("extracted_from")
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
        name=document.get("name"),
        access_count=document.get("access_count", 0),
        pinned=document.get("pinned", False),
        memory_hash=document.get("memory_hash", ""),
        extracted=document.get("extracted", True),
        persisted_at=instant_or_none(document.get("persisted_at")),
        extracted_from=None if extracted_from is None else tuple(extracted_from),
        event_date=instant_or_none(document.get("event_date")),
        extraction_strategy=document["strategy"],
        extraction_strategy_config=document.get("strategy_config", {}),
        metadata=document.get("metadata", {}),
        source=Source(document.get("source", Source.USER)),
        author=document.get("author"),
        trust=document.get("trust", 1.0),
        derived_from=tuple(document.get("derived_from", ())),
        superseded_by=document.get("superseded_by"),
        valid_from=instant_or_none(document.get("valid_from")),
        valid_to=instant_or_none(document.get("valid_to")),
        expires_at=instant_or_none(document.get("expires_at")),
        embedding=EmbeddingStatus(document.get("embedding", EmbeddingStatus.PENDING)),
        revision=document.get("revision", 0),
        operation_id=document.get("operation_id", ""),
    )
