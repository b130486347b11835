"""Long-term memories on the wire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from agent_memory_server.api.schemas.explanations import ScoreExplanationBody
from agent_memory_server.api.schemas.values import (
    Body,
    Count,
    JsonObject,
    Name,
    ScopeName,
    Tags,
    Text,
    Time,
    TimeToLive,
)
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import Memory, MemoryType, Source, trust_of
from agent_memory_server.domain.search import Hit, Page
from agent_memory_server.errors import InvalidInput
from agent_memory_server.services.memories import MemoryPatch

MemoryTypeName = Literal["episodic", "semantic", "message"]
Flag = Literal["t", "f"]
SourceName = Literal["user", "assistant", "tool", "imported", "derived"]


class Timed(Protocol):
    """A request that says from when to when something is so, or how long it is kept."""

    valid_from: datetime | None
    valid_to: datetime | None
    expires_at: datetime | None
    ttl_seconds: int | None


def check_times(given: Timed) -> None:
    if given.valid_from is not None and given.valid_to is not None and given.valid_from >= given.valid_to:
        raise PydanticCustomError("validity_order", "valid_to must be later than valid_from")
    if given.expires_at is not None and given.ttl_seconds is not None:
        raise PydanticCustomError("two_expiries", "expires_at and ttl_seconds say the same: give one of them")


class MemoryFields(Body):
    """What a client says about a memory. Its marks (persisted_at, memory_hash, discrete_memory_extracted) are the server's."""

    text: Text
    session_id: ScopeName | None = None
    user_id: ScopeName | None = None
    namespace: ScopeName | None = None
    last_accessed: Time | None = None
    created_at: Time | None = None
    updated_at: Time | None = None
    pinned: bool | None = False
    access_count: Count | None = 0
    topics: Tags | None = None
    entities: Tags | None = None
    memory_hash: Name | None = None
    discrete_memory_extracted: Flag | None = None
    memory_type: MemoryTypeName | None = None
    persisted_at: Time | None = None
    extracted_from: Tags | None = None
    event_date: Time | None = None
    extraction_strategy: Name | None = "discrete"
    extraction_strategy_config: JsonObject | None = Field(default_factory=dict)
    metadata: JsonObject | None = Field(default_factory=dict)
    name: Name | None = Field(default=None, description="Who spoke, or whom it is about.")
    valid_from: Time | None = Field(default=None, description="Since when it is so.")
    valid_to: Time | None = Field(default=None, description="The first moment at which it is not so any more.")
    expires_at: Time | None = Field(default=None, description="From then on it is shown no more, and soon forgotten.")
    ttl_seconds: TimeToLive | None = Field(default=None, description="The same, counted from now.")
    source: SourceName | None = Field(
        default=None, description="Whose words it is. What a tool said, or was imported, is trusted less."
    )
    trust: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="May lower the trust that the source has, never raise it."
    )

    @model_validator(mode="after")
    def _one_end(self) -> MemoryFields:
        check_times(self)
        return self


class ExtractedMemoryRecord(MemoryFields):
    """A memory to create; ``memory_type`` is semantic unless said."""

    id: Name


class WorkingMemoryRecord(MemoryFields):
    """A structured memory of a session; without an ``id`` it gets one, ``memory_type`` is message unless said."""

    id: Name | None = None


class CreateMemoryRecordRequest(Body):
    memories: list[ExtractedMemoryRecord] = Field(max_length=LIMITS.memories_per_request_max)
    deduplicate: bool | None = True


class EditMemoryRecordRequest(Body):
    """Null means "not provided"; ``clear`` names fields to empty."""

    text: Text | None = None
    topics: Tags | None = None
    entities: Tags | None = None
    memory_type: MemoryTypeName | None = None
    namespace: ScopeName | None = None
    user_id: ScopeName | None = None
    session_id: ScopeName | None = None
    event_date: Time | None = None
    pinned: bool | None = None
    name: Name | None = None
    metadata: JsonObject | None = None
    valid_from: Time | None = None
    valid_to: Time | None = None
    expires_at: Time | None = None
    ttl_seconds: TimeToLive | None = None
    supersede: bool | None = Field(
        default=None,
        description="The world has changed, and what was stored was right until then: it stays with `valid_to`, and the new "
        "text becomes a memory of its own with `valid_from` (now, unless given). The answer is the new memory.",
    )
    clear: list[Name] | None = Field(default=None, max_length=32)

    @model_validator(mode="after")
    def _one_end(self) -> EditMemoryRecordRequest:
        check_times(self)
        return self


class MemoryRecord(Body):
    """A memory as it is answered: every field is always there."""

    id: str
    text: str
    session_id: str | None
    user_id: str | None
    namespace: str | None
    last_accessed: datetime
    created_at: datetime
    updated_at: datetime
    pinned: bool
    access_count: int
    topics: list[str]
    entities: list[str]
    memory_hash: str
    discrete_memory_extracted: Flag
    memory_type: MemoryTypeName
    persisted_at: datetime | None
    extracted_from: list[str] | None
    event_date: datetime | None
    extraction_strategy: str
    extraction_strategy_config: dict[str, Any]
    metadata: dict[str, Any]
    name: str | None
    source: SourceName
    author: str | None
    derived_from: list[str]
    superseded_by: str | None
    trust: float
    valid_from: datetime | None
    valid_to: datetime | None
    expires_at: datetime | None
    embedding: Literal["ready", "pending", "none"]


class MemoryRecordResult(MemoryRecord):
    """A memory that was found. ``dist``: smaller is nearer; ``score``: larger is better, null in a listing."""

    dist: float
    score: float | None
    score_type: Literal["semantic", "keyword", "hybrid"] | None
    explanation: ScoreExplanationBody | None = Field(default=None, description="Where the search asked for it.")


class SearchContext(Body):
    """Hits and what was said around them: a line each, in the order in which it was said."""

    text: str
    tokens: int
    memory_ids: list[str]


class MemoryRecordResultsResponse(Body):
    memories: list[MemoryRecordResult]
    total: int
    next_offset: int | None
    context: SearchContext | None = Field(default=None, description="Where the search had `max_tokens`.")


class MemoryListResponse(Body):
    memories: list[MemoryRecord]
    total: int
    next_cursor: str | None


class CreatedResponse(Body):
    """``ids``: one for each input, the surviving record's. ``task_id``: work that is still to be done, else null."""

    status: str
    ids: list[str]
    task_id: str | None


class AckResponse(Body):
    status: str


def to_memory(
    fields: ExtractedMemoryRecord | WorkingMemoryRecord,
    index: int,
    *,
    tenant: str,
    at: datetime,
    new_id: Callable[[], str],
    default_type: MemoryType,
) -> Memory:
    """The memory of a request. Raises InvalidInput with the contract's words for an empty id or text."""
    if fields.id == "":
        raise InvalidInput(f"Value error, Memory at index {index} has empty id", field=("body",))
    if not fields.text.strip():
        raise InvalidInput(f"Value error, Memory at index {index} has empty text", field=("body",))
    source = Source(fields.source or Source.USER)
    return Memory(
        id=fields.id if fields.id is not None else new_id(),
        scope=Scope(tenant, fields.namespace, fields.user_id, fields.session_id),
        text=fields.text,
        created_at=fields.created_at or at,
        updated_at=fields.updated_at or at,
        last_accessed=fields.last_accessed or at,
        memory_type=MemoryType(fields.memory_type) if fields.memory_type else default_type,
        topics=tuple(fields.topics or ()),
        entities=tuple(fields.entities or ()),
        name=fields.name,
        access_count=fields.access_count or 0,
        pinned=fields.pinned or False,
        extracted=fields.discrete_memory_extracted == "t",
        extracted_from=None if fields.extracted_from is None else tuple(fields.extracted_from),
        event_date=fields.event_date,
        extraction_strategy=fields.extraction_strategy or "discrete",
        extraction_strategy_config=fields.extraction_strategy_config or {},
        metadata=fields.metadata or {},
        valid_from=fields.valid_from,
        valid_to=fields.valid_to,
        expires_at=_expiry(fields, at, index),
        source=source,
        trust=min(trust_of(source), 1.0 if fields.trust is None else fields.trust),
    )


def _expiry(fields: MemoryFields, at: datetime, index: int) -> datetime | None:
    if fields.ttl_seconds is not None:
        return at + timedelta(seconds=fields.ttl_seconds)
    if fields.expires_at is not None and fields.expires_at <= at:
        raise InvalidInput(
            "lies in the past: the memory would never be shown", field=("body", "memories", index, "expires_at")
        )
    return fields.expires_at


def patch_of(body: EditMemoryRecordRequest) -> MemoryPatch:
    """What a PATCH asks for. Raises InvalidInput when a field is both set and cleared."""
    clear = frozenset(body.clear or ())
    given = {name: getattr(body, name) for name in body.model_fields_set - {"clear", "supersede", "ttl_seconds"}}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    both = sorted(clear & changes.keys())
    if both:
        raise InvalidInput(f"{', '.join(both)} cannot be both set and cleared", field=("body", "clear"))
    for name in ("topics", "entities"):
        if name in changes:
            changes[name] = tuple(changes[name])
    if "memory_type" in changes:
        changes["memory_type"] = MemoryType(changes["memory_type"])
    return MemoryPatch(changes=changes, clear=clear, supersedes=body.supersede or False, ttl_seconds=body.ttl_seconds)


def memory_wire(memory: Memory) -> dict[str, Any]:
    """The fields of MemoryRecord."""
    scope = memory.scope
    return {
        "id": memory.id,
        "text": memory.text,
        "session_id": scope.session_id,
        "user_id": scope.user_id,
        "namespace": scope.namespace,
        "last_accessed": memory.last_accessed,
        "created_at": memory.created_at,
        "updated_at": memory.updated_at,
        "pinned": memory.pinned,
        "access_count": memory.access_count,
        "topics": memory.topics,
        "entities": memory.entities,
        "memory_hash": memory.memory_hash,
        "discrete_memory_extracted": "t" if memory.extracted else "f",
        "memory_type": memory.memory_type.value,
        "persisted_at": memory.persisted_at,
        "extracted_from": memory.extracted_from,
        "event_date": memory.event_date,
        "extraction_strategy": memory.extraction_strategy,
        "extraction_strategy_config": memory.extraction_strategy_config,
        "metadata": memory.metadata,
        "name": memory.name,
        "source": memory.source.value,
        "author": memory.author,
        "derived_from": memory.derived_from,
        "superseded_by": memory.superseded_by,
        "trust": memory.trust,
        "valid_from": memory.valid_from,
        "valid_to": memory.valid_to,
        "expires_at": memory.expires_at,
        "embedding": memory.embedding.value,
    }


def hit_wire(hit: Hit) -> dict[str, Any]:
    """The fields of MemoryRecordResult."""
    wire = memory_wire(hit.memory)
    wire["dist"] = hit.distance
    wire["score"] = hit.score
    wire["score_type"] = None if hit.score_type is None else hit.score_type.value
    return wire


def page_wire(page: Page) -> dict[str, Any]:
    """The fields of MemoryRecordResultsResponse."""
    wire: dict[str, Any] = {
        "memories": [hit_wire(hit) for hit in page.hits],
        "total": page.total,
        "next_offset": page.next_offset,
    }
    if page.context is not None:
        context = page.context
        wire["context"] = {"text": context.text, "tokens": context.tokens, "memory_ids": context.memory_ids}
    return wire
