"""Sessions and their messages on the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from agent_memory_server.api.schemas.memories import Flag, MemoryRecord, WorkingMemoryRecord, memory_wire, to_memory
from agent_memory_server.api.schemas.values import Body, Count, Id, JsonObject, Name, ScopeName, Time
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.domain.sessions import Message, SessionDraft, SessionPatch, Strategy
from agent_memory_server.ports.working_memory import MessageRow
from agent_memory_server.services.working_memory import SessionView

Context = Annotated[str, Field(max_length=LIMITS.message_length_max)]
TimeToLive = Annotated[int, Field(ge=1, le=LIMITS.ttl_seconds_max)]
ContextWindow = Annotated[int, Field(ge=0, le=2**31 - 1)]


class MemoryMessage(Body):
    """A message as clients send it; persisted_at and discrete_memory_extracted are the server's marks and ignored."""

    role: Name
    content: Annotated[str, Field(max_length=LIMITS.message_length_max)]
    id: Id | None = None
    created_at: Time | None = Field(default=None, description="Will become required; now when absent.")
    persisted_at: Time | None = None
    discrete_memory_extracted: Flag | None = None
    name: Name | None = Field(default=None, description="The speaker.")


class MemoryStrategyConfig(Body):
    strategy: Literal["discrete", "summary", "preferences", "custom"] | None = "discrete"
    config: JsonObject | None = Field(default_factory=dict)

    def to_strategy(self) -> Strategy:
        return Strategy(name=self.strategy or "discrete", config=self.config or {})


class SessionAttributes(Body):
    """A PUT's body without its messages, which are validated apart because there may be many."""

    memories: list[WorkingMemoryRecord] | None = Field(default=None, max_length=LIMITS.memories_per_request_max)
    data: JsonObject | None = None
    context: Context | None = None
    user_id: ScopeName | None = None
    namespace: ScopeName | None = None
    tokens: Count | None = 0
    long_term_memory_strategy: MemoryStrategyConfig | None = None
    ttl_seconds: TimeToLive | None = None
    last_accessed: Time | None = None
    created_at: Time | None = None
    updated_at: Time | None = None


class UpdateWorkingMemory(SessionAttributes):
    """Replaces the session's live messages, memories and attributes. An absent ``created_at`` keeps the stored one."""

    messages: list[MemoryMessage] | None = Field(default=None, max_length=LIMITS.messages_per_request_max)


class AppendScope(Body):
    """An append's body without its messages."""

    user_id: ScopeName | None = None
    namespace: ScopeName | None = None


class AppendMessagesRequest(AppendScope):
    messages: list[MemoryMessage] = Field(min_length=1, max_length=LIMITS.messages_per_append_max)


class PatchWorkingMemory(Body):
    """An absent field stays, null clears it; ``data`` is merged by RFC 7396. The scope names the session, it is not changed."""

    user_id: ScopeName | None = None
    namespace: ScopeName | None = None
    data: JsonObject | None = None
    context: Context | None = None
    ttl_seconds: TimeToLive | None = None
    long_term_memory_strategy: MemoryStrategyConfig | None = None


class SessionScopeQuery(Body):
    user_id: ScopeName | None = None
    namespace: ScopeName | None = None


class WindowQuery(Body):
    model_name: Name | None = None
    context_window_max: ContextWindow | None = None


class GetSessionQuery(SessionScopeQuery, WindowQuery):
    recent_messages_limit: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None


class DeleteSessionQuery(SessionScopeQuery):
    cascade: bool = False


class SessionListQuery(SessionScopeQuery):
    limit: Annotated[int, Field(ge=1, le=LIMITS.page_max)] = 20
    offset: Annotated[int, Field(ge=0, le=LIMITS.offset_max)] = 0


class MessagesQuery(SessionScopeQuery):
    limit: Annotated[int, Field(ge=1, le=LIMITS.messages_page_max)] = 100
    cursor: Name | None = None
    order: Literal["asc", "desc"] = "asc"
    include_archived: bool = False


class SessionListResponse(Body):
    sessions: list[str]
    total: int


class MessageResponse(Body):
    role: str
    content: str
    id: str
    created_at: datetime
    persisted_at: datetime | None
    discrete_memory_extracted: Flag
    name: str | None


class StrategyResponse(Body):
    strategy: str
    config: dict[str, Any]


class WorkingMemoryResponse(Body):
    messages: list[MessageResponse]
    memories: list[MemoryRecord]
    data: dict[str, Any] | None
    context: str | None
    user_id: str | None
    tokens: int
    session_id: str
    namespace: str | None
    long_term_memory_strategy: StrategyResponse
    ttl_seconds: int | None
    last_accessed: datetime
    created_at: datetime
    updated_at: datetime
    context_percentage_total_used: float | None
    context_percentage_until_summarization: float | None
    summarization: Literal["none", "pending"]


class AppendResponse(Body):
    """``total`` counts live and archived messages; a message that was already there counts as a duplicate."""

    status: str
    appended: int
    duplicates: int
    total: int


class MessagePageResponse(Body):
    messages: list[MessageResponse]
    total: int
    next_cursor: str | None


def to_message(body: MemoryMessage, *, at: datetime, new_id: Callable[[], str]) -> Message:
    """The message; without a time it gets ``at``, without an id a new one."""
    return Message(
        id=new_id() if body.id is None else body.id,
        role=body.role,
        content=body.content,
        created_at=body.created_at or at,
        name=body.name,
    )


def to_draft(
    attributes: SessionAttributes,
    messages: tuple[Message, ...],
    *,
    tenant: str,
    session_id: str,
    at: datetime,
    new_id: Callable[[], str],
) -> SessionDraft:
    """What a PUT asks for."""
    strategy = attributes.long_term_memory_strategy
    return SessionDraft(
        scope=Scope(tenant, attributes.namespace, attributes.user_id, session_id),
        messages=messages,
        memories=tuple(
            to_memory(each, index, tenant=tenant, at=at, new_id=new_id, default_type=MemoryType.MESSAGE)
            for index, each in enumerate(attributes.memories or ())
        ),
        data=attributes.data,
        context=attributes.context,
        tokens=attributes.tokens or 0,
        strategy=Strategy() if strategy is None else strategy.to_strategy(),
        ttl_seconds=attributes.ttl_seconds,
        created_at=attributes.created_at,
        last_accessed=attributes.last_accessed,
    )


def to_patch(body: PatchWorkingMemory) -> SessionPatch:
    """What a PATCH asks for; its fields are named as the domain names them."""
    named = {
        "data": "data",
        "context": "context",
        "ttl_seconds": "ttl_seconds",
        "long_term_memory_strategy": "strategy",
    }
    strategy = body.long_term_memory_strategy
    return SessionPatch(
        fields=frozenset(named[name] for name in body.model_fields_set if name in named),
        data=body.data,
        context=body.context,
        ttl_seconds=body.ttl_seconds,
        strategy=None if strategy is None else strategy.to_strategy(),
    )


def message_wire(message: Message) -> dict[str, Any]:
    """The fields of MessageResponse."""
    return {
        "role": message.role,
        "content": message.content,
        "id": message.id,
        "created_at": message.created_at,
        "persisted_at": message.persisted_at,
        "discrete_memory_extracted": "t" if message.extracted else "f",
        "name": message.name,
    }


def row_wire(row: MessageRow) -> dict[str, Any]:
    """The fields of MessageResponse, as ``message_wire`` names them."""
    identity, role, content, created_at, name, persisted_at, extracted = row
    return {
        "role": role,
        "content": content,
        "id": identity,
        "created_at": created_at,
        "persisted_at": persisted_at,
        "discrete_memory_extracted": "t" if extracted else "f",
        "name": name,
    }


def session_wire(view: SessionView) -> dict[str, Any]:
    """The fields of WorkingMemoryResponse."""
    messages, wire = messages_and_wire(view)
    return {"messages": [wire(message) for message in messages], **attributes_wire(view)}


def messages_and_wire(view: SessionView) -> tuple[Sequence[Any], Callable[[Any], dict[str, Any]]]:
    """The view's messages, and what makes a MessageResponse of one."""
    return (view.session.messages, message_wire) if view.rows is None else (view.rows, row_wire)


def attributes_wire(view: SessionView) -> dict[str, Any]:
    """The fields of WorkingMemoryResponse but its messages, which come before them."""
    session = view.session
    scope = session.scope
    return {
        "memories": [memory_wire(memory) for memory in session.memories],
        "data": session.data,
        "context": session.context,
        "user_id": scope.user_id,
        "tokens": session.tokens,
        "session_id": scope.session_id,
        "namespace": scope.namespace,
        "long_term_memory_strategy": {"strategy": session.strategy.name, "config": session.strategy.config},
        "ttl_seconds": session.ttl_seconds,
        "last_accessed": session.last_accessed,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "context_percentage_total_used": view.percentage_used,
        "context_percentage_until_summarization": view.percentage_until_summarization,
        "summarization": session.summarization.value,
    }
