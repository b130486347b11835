"""What ``MCP_TOOLS=admin`` adds: sessions, listings, forgetting by policy, tasks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent_memory_server.api.schemas.forgetting import Days, ForgetResponse, forgotten_wire
from agent_memory_server.api.schemas.memories import AckResponse, MemoryListResponse, MemoryTypeName, memory_wire
from agent_memory_server.api.schemas.tasks import TaskListResponse, TaskResponse, TaskStatusName, task_wire
from agent_memory_server.api.schemas.values import Count, Id, ScopeName
from agent_memory_server.api.schemas.working_memory import AppendResponse, MemoryMessage, SessionListResponse
from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import OutsideReach, Permission
from agent_memory_server.domain.jobs import TaskStatus
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.domain.retention import ForgettingPolicy
from agent_memory_server.mcp.arguments import Arguments
from agent_memory_server.mcp.scope import ToolCall
from agent_memory_server.mcp.tool import Effect, Tool
from agent_memory_server.mcp.tools.working_memory import messages_of
from agent_memory_server.services.forgetting import Forgotten

_Page = Annotated[int, Field(ge=1, le=LIMITS.page_max)]
_Cursor = Annotated[str, Field(max_length=8 * LIMITS.id_length_max)]


class OwnerArguments(Arguments):
    namespace: ScopeName | None = None
    user_id: ScopeName | None = None


class ListSessionsArguments(OwnerArguments):
    limit: _Page = 20
    offset: Annotated[int, Field(ge=0, le=LIMITS.offset_max)] = 0


class SessionArguments(OwnerArguments):
    session_id: ScopeName


class DeleteSessionArguments(SessionArguments):
    cascade: bool = Field(default=False, description="Also delete the memories that were extracted from it.")


class AppendArguments(SessionArguments):
    messages: Annotated[list[MemoryMessage], Field(min_length=1, max_length=LIMITS.messages_per_append_max)]


class ListMemoriesArguments(OwnerArguments):
    session_id: ScopeName | None = None
    memory_type: MemoryTypeName | None = None
    limit: _Page = 20
    cursor: _Cursor | None = Field(default=None, description="next_cursor of the page before.")
    include_superseded: bool = False


class ForgetByPolicyArguments(OwnerArguments):
    """What goes; without any of the first three nothing does."""

    max_age_days: Days | None = None
    max_inactive_days: Days | None = None
    budget: Count | None = Field(default=None, description="Keep this many, the most recent ones.")
    memory_types: list[MemoryTypeName] | None = Field(default=None, description="Only these types; unset: all.")
    session_id: ScopeName | None = None
    pinned_ids: Annotated[list[Id], Field(max_length=LIMITS.forget_limit_max)] | None = None
    limit: Annotated[int, Field(ge=1, le=LIMITS.forget_limit_max)] = 1000
    dry_run: bool = Field(default=True, description="Only say what would go.")


class ListTasksArguments(Arguments):
    status: TaskStatusName | None = Field(default=None, description="dead: what failed for good and can be replayed.")
    limit: _Page = 20
    cursor: _Cursor | None = None


class TaskArguments(Arguments):
    task_id: Id


async def list_sessions(call: ToolCall, asked: ListSessionsArguments) -> dict[str, Any]:
    """Most recently updated first."""
    listing = await call.app.working_memory.list_sessions(
        call.caller,
        namespace=call.namespace(asked.namespace),
        user_id=call.user_id(asked.user_id),
        limit=asked.limit,
        offset=asked.offset,
    )
    return {"sessions": listing.session_ids, "total": listing.total}


async def append_working_memory(call: ToolCall, asked: AppendArguments) -> dict[str, Any]:
    """Safe to repeat where messages carry ids: a known id is not stored twice."""
    appended = await call.app.working_memory.append(
        call.caller,
        session_id=asked.session_id,
        messages=messages_of(call, asked.messages),
        namespace=call.namespace(asked.namespace),
        user_id=call.user_id(asked.user_id),
    )
    return {
        "status": "ok",
        "appended": appended.appended,
        "duplicates": appended.duplicates,
        "total": appended.total,
    }


async def delete_working_memory(call: ToolCall, asked: DeleteSessionArguments) -> dict[str, Any]:
    """A session that is not there is no error."""
    await call.app.working_memory.delete(
        call.caller,
        session_id=asked.session_id,
        namespace=call.namespace(asked.namespace),
        user_id=call.user_id(asked.user_id),
        cascade=asked.cascade,
    )
    return {"status": "ok"}


async def list_long_term_memories(call: ToolCall, asked: ListMemoriesArguments) -> dict[str, Any]:
    """Newest first, with the true total."""
    app = call.long_term
    try:
        selector = call.caller.selector(call.namespace(asked.namespace), call.user_id(asked.user_id))
    except OutsideReach:
        return {"memories": [], "total": 0, "next_cursor": None}
    criteria = MemoryFilter(
        selector=selector,
        session_id=None if asked.session_id is None else TextFilter(eq=asked.session_id),
        memory_type=None if asked.memory_type is None else TextFilter(eq=asked.memory_type),
        include_superseded=asked.include_superseded,
    )
    listing = await app.memories.list(criteria, limit=asked.limit, cursor=asked.cursor)
    return {
        "memories": [memory_wire(memory) for memory in listing.memories],
        "total": listing.total,
        "next_cursor": listing.next_cursor,
    }


async def forget_long_term_memories(call: ToolCall, asked: ForgetByPolicyArguments) -> dict[str, Any]:
    """Pinned memories are spared, and while the clock is in doubt nothing goes for its age."""
    app = call.long_term
    try:
        selector = call.caller.selector(call.namespace(asked.namespace), call.user_id(asked.user_id))
    except OutsideReach:
        return forgotten_wire(Forgotten(scanned=0, deleted=0, deleted_ids=(), dry_run=asked.dry_run))
    types = asked.memory_types
    forgotten = await app.forgetting.forget(
        MemoryFilter(
            selector=selector, session_id=None if asked.session_id is None else TextFilter(eq=asked.session_id)
        ),
        policy=ForgettingPolicy(
            max_age_days=asked.max_age_days,
            max_inactive_days=asked.max_inactive_days,
            budget=asked.budget,
            memory_types=None if types is None else frozenset(MemoryType(each) for each in types),
        ),
        actor=call.caller.subject,
        limit=asked.limit,
        dry_run=asked.dry_run,
        pinned_ids=asked.pinned_ids or (),
    )
    return forgotten_wire(forgotten)


async def list_tasks(call: ToolCall, asked: ListTasksArguments) -> dict[str, Any]:
    """Newest first."""
    status = None if asked.status is None else TaskStatus(asked.status)
    page = await call.app.jobs.list(call.caller, status=status, limit=asked.limit, cursor=asked.cursor)
    return {"tasks": [task_wire(task) for task in page.tasks], "total": page.total, "next_cursor": page.next_cursor}


async def get_task(call: ToolCall, asked: TaskArguments) -> dict[str, Any]:
    """It can be read for seven days after it last changed."""
    return task_wire(await call.app.jobs.get(call.caller, task_id=asked.task_id))


async def replay_task(call: ToolCall, asked: TaskArguments) -> dict[str, Any]:
    """Only what failed for good."""
    return task_wire(await call.app.jobs.replay(call.caller, task_id=asked.task_id))


TOOLS = (
    Tool(
        name="list_sessions", title="List sessions", arguments=ListSessionsArguments, answers=SessionListResponse,
        handler=list_sessions, effect=Effect.READS, permission=Permission.READ,
    ),
    Tool(
        name="append_working_memory", title="Add messages to a session", arguments=AppendArguments,
        answers=AppendResponse, handler=append_working_memory, effect=Effect.ADDS, permission=Permission.WRITE,
    ),
    Tool(
        name="delete_working_memory", title="Delete a session", arguments=DeleteSessionArguments, answers=AckResponse,
        handler=delete_working_memory, effect=Effect.CHANGES, permission=Permission.WRITE,
    ),
    Tool(
        name="list_long_term_memories", title="List memories", arguments=ListMemoriesArguments,
        answers=MemoryListResponse, handler=list_long_term_memories, effect=Effect.READS, permission=Permission.READ,
    ),
    Tool(
        name="forget_long_term_memories", title="Forget by policy", arguments=ForgetByPolicyArguments,
        answers=ForgetResponse, handler=forget_long_term_memories, effect=Effect.CHANGES, permission=Permission.ADMIN,
    ),
    Tool(
        name="list_tasks", title="List tasks", arguments=ListTasksArguments, answers=TaskListResponse,
        handler=list_tasks, effect=Effect.READS, permission=Permission.READ,
    ),
    Tool(
        name="get_task", title="Read a task", arguments=TaskArguments, answers=TaskResponse, handler=get_task,
        effect=Effect.READS, permission=Permission.READ,
    ),
    Tool(
        name="replay_task", title="Try a failed task again", arguments=TaskArguments, answers=TaskResponse,
        handler=replay_task, effect=Effect.ADDS_ONCE, permission=Permission.ADMIN,
    ),
)  # fmt: skip
