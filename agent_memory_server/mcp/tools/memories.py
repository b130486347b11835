"""Tools over long-term memories by id: create, read, edit, delete, compact."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from agent_memory_server.api.schemas.compaction import MODEL_WAIT_S, CompactResponse, compacted_wire
from agent_memory_server.api.schemas.memories import (
    AckResponse,
    CreatedResponse,
    EditMemoryRecordRequest,
    MemoryRecord,
    MemoryTypeName,
    memory_wire,
    patch_of,
    to_memory,
)
from agent_memory_server.api.schemas.values import Id, ScopeName, Tags, Text, Time
from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import OutsideReach, Permission
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.mcp.arguments import Arguments, LenientMemoryRecord
from agent_memory_server.mcp.scope import ToolCall
from agent_memory_server.mcp.tool import Effect, Tool
from agent_memory_server.services.compaction_reports import Compacted

_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


class CreateArguments(Arguments):
    memories: list[LenientMemoryRecord] = Field(max_length=LIMITS.memories_per_request_max)


class GetArguments(Arguments):
    memory_id: Id
    namespace: ScopeName | None = Field(default=None, description="Needed only where several memories have this id.")
    user_id: ScopeName | None = Field(default=None, description="Needed only where several memories have this id.")


class EditArguments(Arguments):
    """Null means "leave as it is"."""

    memory_id: Id
    text: Text | None = None
    topics: Tags | None = None
    entities: Tags | None = None
    memory_type: MemoryTypeName | None = None
    namespace: ScopeName | None = Field(default=None, description="Moves the memory to this namespace.")
    user_id: ScopeName | None = Field(default=None, description="Moves the memory to this user.")
    session_id: ScopeName | None = None
    event_date: str | None = Field(default=None, description="ISO 8601, as 2024-05-01T10:00:00Z.")
    pinned: bool | None = Field(default=None, description="A pinned memory is never forgotten by policy.")

    @field_validator("event_date")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                _TIME.validate_python(value)
            except ValidationError:
                raise ValueError(f"Invalid ISO 8601 datetime format '{value[:100]}'") from None
        return value


class DeleteArguments(Arguments):
    memory_ids: Annotated[list[Id], Field(max_length=LIMITS.ids_per_request_max)]
    namespace: ScopeName | None = None
    user_id: ScopeName | None = None


class CompactArguments(Arguments):
    namespace: ScopeName | None = None
    user_id: ScopeName | None = None
    session_id: ScopeName | None = None


def memory_of(call: ToolCall, record: LenientMemoryRecord, index: int, at: datetime) -> Memory:
    """The memory of a record, in the call's scope where it names none."""
    placed = record.model_copy(
        update={"namespace": call.namespace(record.namespace), "user_id": call.user_id(record.user_id)}
    )
    return to_memory(
        placed, index, tenant=call.caller.tenant, at=at, new_id=call.app.new_id, default_type=MemoryType.SEMANTIC
    )


async def create_long_term_memories(call: ToolCall, asked: CreateArguments) -> dict[str, Any]:
    """Durable, and found by id and by words, when this answers."""
    app = call.long_term
    at = app.now()
    memories = [memory_of(call, record, index, at) for index, record in enumerate(asked.memories)]
    created = await app.memories.create(call.caller, memories)
    return {"status": "ok", "ids": created.ids, "task_id": created.task_id}


async def get_long_term_memory(call: ToolCall, asked: GetArguments) -> dict[str, Any]:
    """Also when another has taken its place."""
    memory = await call.long_term.memories.get(
        call.caller,
        memory_id=asked.memory_id,
        namespace=call.namespace(asked.namespace),
        user_id=call.user_id(asked.user_id),
    )
    return memory_wire(memory)


async def edit_long_term_memory(call: ToolCall, asked: EditArguments) -> dict[str, Any]:
    """``namespace`` and ``user_id`` are what changes; where the memory is looked for, the call's scope says."""
    changes = {name: getattr(asked, name) for name in asked.model_fields_set - {"memory_id"}}
    memory = await call.long_term.memories.edit(
        call.caller,
        memory_id=asked.memory_id,
        patch=patch_of(EditMemoryRecordRequest.model_validate(changes)),
        namespace=call.namespace(),
        user_id=call.user_id(),
    )
    return memory_wire(memory)


async def delete_long_term_memories(call: ToolCall, asked: DeleteArguments) -> dict[str, Any]:
    """For good; ids that are not there are no error."""
    count = await call.long_term.memories.delete(
        call.caller,
        memory_ids=asked.memory_ids,
        namespace=call.namespace(asked.namespace),
        user_id=call.user_id(asked.user_id),
    )
    return {"status": f"ok, deleted {count} memories"}


async def compact_long_term_memories(call: ToolCall, asked: CompactArguments) -> dict[str, Any]:
    """What language models did not decide in time is done in the background, as the task that is answered."""
    app = call.long_term
    try:
        selector = call.caller.selector(call.namespace(asked.namespace), call.user_id(asked.user_id))
    except OutsideReach:
        return compacted_wire(Compacted(), task_id=None)
    session = None if asked.session_id is None else TextFilter(eq=asked.session_id)
    criteria = MemoryFilter(selector=selector, session_id=session)
    done = await app.compaction.compact(criteria, actor=call.caller.subject, within_s=MODEL_WAIT_S)
    rest = done.unfinished is not None and session is None
    return compacted_wire(done, task_id=await app.upkeep.compact_later(call.caller, selector) if rest else None)


TOOLS = (
    Tool(
        name="create_long_term_memories", title="Store memories", arguments=CreateArguments, answers=CreatedResponse,
        handler=create_long_term_memories, effect=Effect.ADDS_ONCE, permission=Permission.WRITE,
    ),
    Tool(
        name="get_long_term_memory", title="Read a memory", arguments=GetArguments, answers=MemoryRecord,
        handler=get_long_term_memory, effect=Effect.READS, permission=Permission.READ,
    ),
    Tool(
        name="edit_long_term_memory", title="Correct a memory", arguments=EditArguments, answers=MemoryRecord,
        handler=edit_long_term_memory, effect=Effect.CHANGES, permission=Permission.WRITE,
    ),
    Tool(
        name="delete_long_term_memories", title="Delete memories", arguments=DeleteArguments, answers=AckResponse,
        handler=delete_long_term_memories, effect=Effect.CHANGES, permission=Permission.WRITE,
    ),
    Tool(
        name="compact_long_term_memories", title="Merge duplicate memories", arguments=CompactArguments,
        answers=CompactResponse, handler=compact_long_term_memories, effect=Effect.CHANGES, permission=Permission.ADMIN,
    ),
)  # fmt: skip
