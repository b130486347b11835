"""The long-term memory record, its identity and its content hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from agent_memory_server.domain.identity import Scope


class MemoryType(StrEnum):
    SEMANTIC = "semantic"
    EPISODIC = "episodic"
    MESSAGE = "message"


class Source(StrEnum):
    """Where a memory's text came from; what is not the user's or the assistant's own is trusted less."""

    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    IMPORTED = "imported"
    DERIVED = "derived"


UNTRUSTED = 0.5
"""Trust of what came from a tool or from elsewhere: a web page or a document may say anything."""


def trust_of(source: Source) -> float:
    """The most that a memory of this source is trusted."""
    return UNTRUSTED if source in (Source.TOOL, Source.IMPORTED) else 1.0


class EmbeddingStatus(StrEnum):
    """READY: a vector of the current model is stored. PENDING: one is to come. NONE: the text has nothing to embed."""

    READY = "ready"
    PENDING = "pending"
    NONE = "none"


MESSAGE_STRATEGY = "message"
"""``extraction_strategy`` of the memories that the server makes of a session's messages."""


class MemoryKey(NamedTuple):
    """A memory's identity: two users may hold the same id and never meet."""

    tenant: str
    namespace: str | None
    user_id: str | None
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One long-term record. Datetimes are aware (UTC); tags hold no commas; ``metadata`` is JSON."""

    id: str
    scope: Scope
    text: str
    created_at: datetime
    updated_at: datetime
    last_accessed: datetime
    memory_type: MemoryType = MemoryType.SEMANTIC
    topics: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    name: str | None = None
    """Who spoke, or whom it is about."""
    access_count: int = 0
    pinned: bool = False
    memory_hash: str = ""
    extracted: bool = True
    """Wire: ``discrete_memory_extracted`` "t"/"f": whether extraction has run over this record."""
    persisted_at: datetime | None = None
    extracted_from: tuple[str, ...] | None = None
    """Ids of the messages that it came from."""
    event_date: datetime | None = None
    extraction_strategy: str = "discrete"
    extraction_strategy_config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    source: Source = Source.USER
    author: str | None = None
    """Subject of the principal (or name of the task) that wrote it first."""
    trust: float = 1.0
    """0..1; lower for text that neither the user nor the operator wrote."""
    derived_from: tuple[str, ...] = ()
    superseded_by: str | None = None
    """Id, in the same scope, of the memory that took its place; superseded memories leave listings and search."""
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    expires_at: datetime | None = None
    embedding: EmbeddingStatus = EmbeddingStatus.PENDING
    """Set by the store when read; ignored when written."""
    revision: int = 0
    """Set by the store: counts committed content changes, from 1."""
    operation_id: str = ""
    """Set by the store: the operation that made this state; the strong ETag."""

    @property
    def key(self) -> MemoryKey:
        return MemoryKey(self.scope.tenant, self.scope.namespace, self.scope.user_id, self.id)

    @property
    def etag(self) -> str:
        return f'"{self.operation_id}"'


def content_hash(text: str, scope: Scope, memory_type: MemoryType) -> str:
    """SHA-256 hex digest of what makes two memories exact duplicates: text, owner, session and type.

    The JSON form (sorted keys, Python's default separators) is the reference server's, so that migrated hashes stay equal.
    """
    content = {
        "text": text,
        "user_id": scope.user_id,
        "session_id": scope.session_id,
        "namespace": scope.namespace,
        "memory_type": memory_type.value,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def derived_id(*parts: str) -> str:
    """A deterministic id for a derived record: the same sources and method give the same id, so redelivery upserts.

    ``parts``: scope, strategy, prompt version, source ids, ordinal. 32 hex digits of an unambiguous SHA-256.
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:32]
