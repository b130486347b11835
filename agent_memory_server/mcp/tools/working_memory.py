"""Tools over the working memory of one session."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent_memory_server.api.schemas.values import JsonObject, ScopeName
from agent_memory_server.api.schemas.working_memory import (
    Context,
    MemoryMessage,
    MemoryStrategyConfig,
    SessionAttributes,
    TimeToLive,
    WorkingMemoryResponse,
    session_wire,
    to_draft,
    to_message,
)
from agent_memory_server.domain.identity import Permission
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.sessions import Message
from agent_memory_server.errors import InvalidInput, NotFound
from agent_memory_server.mcp.arguments import Arguments, LenientMemoryRecord
from agent_memory_server.mcp.scope import ToolCall
from agent_memory_server.mcp.tool import Effect, Tool

TTL_S = 3600
"""How long a session that a tool wrote lives without being written again (contract, section 2.2)."""


class SetArguments(Arguments):
    session_id: ScopeName
    memories: Annotated[list[LenientMemoryRecord], Field(max_length=LIMITS.memories_per_request_max)] | None = None
    messages: Annotated[list[MemoryMessage], Field(max_length=LIMITS.messages_per_request_max)] | None = None
    context: Context | None = None
    data: JsonObject | None = None
    namespace: ScopeName | None = None
    user_id: ScopeName | None = None
    ttl_seconds: TimeToLive | None = Field(default=TTL_S, description="Null: the session does not expire.")
    long_term_memory_strategy: MemoryStrategyConfig | None = None


class GetArguments(Arguments):
    session_id: ScopeName
    user_id: ScopeName | None = None
    namespace: ScopeName | None = None
    recent_messages_limit: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = Field(
        default=None, description="Only so many messages, the newest."
    )


def messages_of(call: ToolCall, given: list[MemoryMessage] | None) -> tuple[Message, ...]:
    """Raises InvalidInput where a time is required and missing."""
    at = call.app.now()
    for index, message in enumerate(given or ()):
        if message.created_at is None and call.app.require_message_timestamps:
            raise InvalidInput("Field required", field=("messages", index, "created_at"), kind="missing")
    return tuple(to_message(message, at=at, new_id=call.app.new_id) for message in given or ())


async def set_working_memory(call: ToolCall, asked: SetArguments) -> dict[str, Any]:
    """Replaces the session. Its memories are its owner's: a memory that names another user is taken as the session's."""
    app = call.app
    namespace, user_id = call.namespace(asked.namespace), call.user_id(asked.user_id)
    owner = {name: value for name, value in {"namespace": namespace, "user_id": user_id}.items() if value is not None}
    attributes = SessionAttributes(
        memories=[record.model_copy(update=owner) for record in asked.memories or ()],
        data=asked.data,
        context=asked.context,
        user_id=user_id,
        namespace=namespace,
        long_term_memory_strategy=asked.long_term_memory_strategy,
        ttl_seconds=asked.ttl_seconds,
    )
    draft = to_draft(
        attributes,
        messages_of(call, asked.messages),
        tenant=call.caller.tenant,
        session_id=asked.session_id,
        at=app.now(),
        new_id=app.new_id,
    )
    return session_wire(await app.working_memory.put(call.caller, draft))


async def get_working_memory(call: ToolCall, asked: GetArguments) -> dict[str, Any]:
    """A session that is not there is an empty one, as the contract wants it; a store that fails is an error."""
    namespace, user_id = call.namespace(asked.namespace), call.user_id(asked.user_id)
    try:
        view = await call.app.working_memory.show(
            call.caller,
            session_id=asked.session_id,
            namespace=namespace,
            user_id=user_id,
            recent_messages=asked.recent_messages_limit,
        )
    except NotFound:
        return _empty(call, asked.session_id, namespace, user_id)
    return session_wire(view)


def _empty(call: ToolCall, session_id: str, namespace: str | None, user_id: str | None) -> dict[str, Any]:
    at = call.app.now()
    return {
        "messages": [],
        "memories": [],
        "data": None,
        "context": None,
        "user_id": user_id,
        "tokens": 0,
        "session_id": session_id,
        "namespace": namespace,
        "long_term_memory_strategy": {"strategy": "discrete", "config": {}},
        "ttl_seconds": None,
        "last_accessed": at,
        "created_at": at,
        "updated_at": at,
        "context_percentage_total_used": None,
        "context_percentage_until_summarization": None,
        "summarization": "none",
    }


TOOLS = (
    Tool(
        name="set_working_memory", title="Write a session", arguments=SetArguments, answers=WorkingMemoryResponse,
        handler=set_working_memory, effect=Effect.CHANGES, permission=Permission.WRITE,
    ),
    Tool(
        name="get_working_memory", title="Read a session", arguments=GetArguments, answers=WorkingMemoryResponse,
        handler=get_working_memory, effect=Effect.READS, permission=Permission.READ,
    ),
)  # fmt: skip
