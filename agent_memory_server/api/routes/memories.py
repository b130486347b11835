"""Long-term memories by id: create, list, read, edit, delete."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.preconditions import precondition_of
from agent_memory_server.api.schemas.memories import (
    AckResponse,
    CreatedResponse,
    CreateMemoryRecordRequest,
    EditMemoryRecordRequest,
    MemoryListResponse,
    MemoryRecord,
    MemoryTypeName,
    memory_wire,
    patch_of,
    to_memory,
)
from agent_memory_server.api.schemas.values import Body, Id, ScopeName, Time
from agent_memory_server.api.schemas.working_memory import SessionScopeQuery
from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import OutsideReach, Permission
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import MemoryType


class CreateQuery(Body):
    namespace: ScopeName | None = Field(default=None, description="For the records that name none.")


class DeleteQuery(SessionScopeQuery):
    memory_ids: list[Id] = Field(default_factory=list, max_length=LIMITS.ids_per_request_max)


class ListQuery(SessionScopeQuery):
    session_id: ScopeName | None = None
    memory_type: MemoryTypeName | None = None
    limit: Annotated[int, Field(ge=1, le=LIMITS.page_max)] = 20
    cursor: Annotated[str, Field(max_length=4 * LIMITS.id_length_max)] | None = None
    include_superseded: bool = False
    valid_at: Time | None = Field(default=None, description="Only what was so at that time.")
    as_of: Time | None = Field(default=None, description="What the store knew at that time.")


class GetQuery(SessionScopeQuery):
    as_of: Time | None = Field(default=None, description="As the store knew it at that time.")


async def create_memories(call: Call) -> Answer:
    """Store the memories durably: when this answers they are found by id, in listings and by keyword."""
    app = call.long_term
    query = call.query(CreateQuery)
    body = await call.body(CreateMemoryRecordRequest)
    at = app.now()
    memories = [
        to_memory(
            each if each.namespace is not None or query.namespace is None else _in_namespace(each, query.namespace),
            index,
            tenant=call.caller.tenant,
            at=at,
            new_id=app.new_id,
            default_type=MemoryType.SEMANTIC,
        )
        for index, each in enumerate(body.memories)
    ]
    created = await app.memories.create(call.caller, memories, deduplicate=body.deduplicate is not False)
    return answer({"status": "ok", "ids": created.ids, "task_id": created.task_id})


async def list_memories(call: Call) -> Answer:
    """A page in ``created_at desc, id`` order with the true total."""
    app = call.long_term
    query = call.query(ListQuery)
    try:
        selector = call.caller.selector(query.namespace, query.user_id)
    except OutsideReach:
        return answer({"memories": [], "total": 0, "next_cursor": None})
    criteria = MemoryFilter(
        selector=selector,
        session_id=None if query.session_id is None else TextFilter(eq=query.session_id),
        memory_type=None if query.memory_type is None else TextFilter(eq=query.memory_type),
        include_superseded=query.include_superseded,
        valid_at=query.valid_at,
    )
    if query.as_of is None:
        listing = await app.memories.list(criteria, limit=query.limit, cursor=query.cursor)
    else:
        listing = await app.time_travel.list(criteria, as_of=query.as_of, limit=query.limit, cursor=query.cursor)
    wire = {
        "memories": [memory_wire(memory) for memory in listing.memories],
        "total": listing.total,
        "next_cursor": listing.next_cursor,
    }
    return answer(wire)


async def delete_memories(call: Call) -> Answer:
    """Delete for good; ids that are not there are no error."""
    app = call.long_term
    query = call.query(DeleteQuery)
    count = await app.memories.delete(
        call.caller, memory_ids=query.memory_ids, namespace=query.namespace, user_id=query.user_id
    )
    return answer({"status": f"ok, deleted {count} memories"})


async def get_memory(call: Call) -> Answer:
    """The memory, also when another has taken its place (``superseded_by``)."""
    app = call.long_term
    query = call.query(GetQuery)
    memory_id = call.path_id("memory_id")
    if query.as_of is not None:
        then = await app.time_travel.get(
            call.caller, memory_id=memory_id, as_of=query.as_of, namespace=query.namespace, user_id=query.user_id
        )
        return answer(memory_wire(then))
    memory = await app.memories.get(call.caller, memory_id=memory_id, namespace=query.namespace, user_id=query.user_id)
    return answer(memory_wire(memory), etag=memory.etag)


async def edit_memory(call: Call) -> Answer:
    """Change the fields that are given; null means not given, ``clear`` empties."""
    app = call.long_term
    memory_id = call.path_id("memory_id")
    query = call.query(SessionScopeQuery)
    body = await call.body(EditMemoryRecordRequest)
    memory = await app.memories.edit(
        call.caller,
        memory_id=memory_id,
        patch=patch_of(body),
        namespace=query.namespace,
        user_id=query.user_id,
        if_match=precondition_of(call).if_match,
    )
    return answer(memory_wire(memory), etag=memory.etag)


def _in_namespace(memory: Any, namespace: str) -> Any:
    return memory.model_copy(update={"namespace": namespace})


_MEMORY = "/v1/long-term-memory/{memory_id}"
_MEMORIES = "/v1/long-term-memory"
_MEMORIES_SLASH = "/v1/long-term-memory/"

OPERATIONS = (
    Operation(
        method="POST", path=_MEMORIES_SLASH, same_as=_MEMORIES, handler=create_memories, permission=Permission.WRITE,
        query=CreateQuery,
        body=CreateMemoryRecordRequest, answers=CreatedResponse, fails=(404,),
    ),
    Operation(
        method="GET", path=_MEMORIES, same_as=_MEMORIES_SLASH, handler=list_memories, permission=Permission.READ,
        query=ListQuery,
        answers=MemoryListResponse,
    ),
    Operation(
        method="DELETE", path=_MEMORIES, same_as=_MEMORIES_SLASH, handler=delete_memories, permission=Permission.WRITE,
        query=DeleteQuery,
        answers=AckResponse, fails=(409,),
    ),
    Operation(
        method="GET", path=_MEMORY, handler=get_memory, permission=Permission.READ,
        query=GetQuery, answers=MemoryRecord,
        fails=(404, 409), returns_etag=True,
    ),
    Operation(
        method="PATCH", path=_MEMORY, handler=edit_memory, permission=Permission.WRITE,
        query=SessionScopeQuery, body=EditMemoryRecordRequest,
        answers=MemoryRecord, fails=(404, 409, 412), reads_headers=("If-Match",), returns_etag=True,
    ),
)  # fmt: skip
