"""What ``MCP_TOOLS=admin`` adds for summary views: define, list, read, delete, run, and read the summaries."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent_memory_server.api.schemas.memories import AckResponse
from agent_memory_server.api.schemas.summary_views import (
    CreateSummaryViewRequest,
    GroupValue,
    PartitionsQuery,
    SummaryViewPartitionResult,
    SummaryViewResponse,
    partition_wire,
    view_wire,
)
from agent_memory_server.api.schemas.tasks import TaskResponse, task_wire
from agent_memory_server.api.schemas.values import Body, Id
from agent_memory_server.domain.identity import Permission
from agent_memory_server.domain.summary_views import GROUP_FIELDS
from agent_memory_server.mcp.arguments import Arguments
from agent_memory_server.mcp.scope import ToolCall
from agent_memory_server.mcp.tool import Effect, Tool
from agent_memory_server.mcp.tools.clock import NoArguments


class CreateViewArguments(CreateSummaryViewRequest, Arguments):
    """What to summarise and how."""


class ViewArguments(Arguments):
    view_id: Id


class PartitionsArguments(PartitionsQuery, Arguments):
    view_id: Id


class RunPartitionArguments(ViewArguments):
    group: Annotated[dict[str, GroupValue], Field(max_length=len(GROUP_FIELDS))] = Field(
        description="One value for each field that the view groups by."
    )
    force: bool = Field(default=False, description="Summarise anew even when nothing changed.")


class RunViewArguments(ViewArguments):
    force: bool = Field(default=False, description="Summarise anew even where nothing changed.")


class ViewsAnswer(Body):
    """Oldest first."""

    views: list[SummaryViewResponse]


class PartitionsAnswer(Body):
    partitions: list[SummaryViewPartitionResult]
    total: int


async def create_summary_view(call: ToolCall, asked: CreateViewArguments) -> dict[str, Any]:
    """Held to the namespace and user of this connection where there are some and the filters name none."""
    draft = asked.model_copy(update={"filters": {**call.scope_filters(asked.filters or {}), **(asked.filters or {})}})
    return view_wire(await call.app.summary_views.create(call.caller, draft.to_draft()))


async def list_summary_views(call: ToolCall, asked: NoArguments) -> dict[str, Any]:
    """Those that summarise nothing but what the caller may read."""
    del asked
    return {"views": [view_wire(view) for view in await call.app.summary_views.list(call.caller)]}


async def get_summary_view(call: ToolCall, asked: ViewArguments) -> dict[str, Any]:
    """One definition."""
    return view_wire(await call.app.summary_views.get(call.caller, view_id=asked.view_id))


async def delete_summary_view(call: ToolCall, asked: ViewArguments) -> dict[str, Any]:
    """With its summaries and pending runs; one that is not there is no error."""
    await call.app.summary_views.delete(call.caller, view_id=asked.view_id)
    return {"status": "ok"}


async def run_summary_view(call: ToolCall, asked: RunViewArguments) -> dict[str, Any]:
    """In the background; the task says how it goes."""
    task = await call.app.summary_views.run(call.caller, view_id=asked.view_id, task_id=None, force=asked.force)
    return task_wire(task)


async def run_summary_view_partition(call: ToolCall, asked: RunPartitionArguments) -> dict[str, Any]:
    """One group, now."""
    partition = await call.app.summary_views.run_partition(
        call.caller, view_id=asked.view_id, group=asked.group, force=asked.force
    )
    return partition_wire(partition)


async def list_summary_view_partitions(call: ToolCall, asked: PartitionsArguments) -> dict[str, Any]:
    """The stored summaries."""
    page = await call.app.summary_views.partitions(
        call.caller, view_id=asked.view_id, where=asked.to_group(), limit=asked.limit, offset=asked.offset
    )
    return {"partitions": [partition_wire(each) for each in page.partitions], "total": page.total}


TOOLS = (
    Tool(
        name="create_summary_view", title="Define a summary view", arguments=CreateViewArguments,
        answers=SummaryViewResponse, handler=create_summary_view, effect=Effect.ADDS, permission=Permission.WRITE,
    ),
    Tool(
        name="list_summary_views", title="List summary views", arguments=NoArguments, answers=ViewsAnswer,
        handler=list_summary_views, effect=Effect.READS, permission=Permission.READ,
    ),
    Tool(
        name="get_summary_view", title="Read a summary view", arguments=ViewArguments, answers=SummaryViewResponse,
        handler=get_summary_view, effect=Effect.READS, permission=Permission.READ,
    ),
    Tool(
        name="delete_summary_view", title="Delete a summary view", arguments=ViewArguments, answers=AckResponse,
        handler=delete_summary_view, effect=Effect.CHANGES, permission=Permission.WRITE,
    ),
    Tool(
        name="run_summary_view", title="Refresh a summary view", arguments=RunViewArguments, answers=TaskResponse,
        handler=run_summary_view, effect=Effect.ADDS, permission=Permission.WRITE,
    ),
    Tool(
        name="run_summary_view_partition", title="Summarise one group", arguments=RunPartitionArguments,
        answers=SummaryViewPartitionResult, handler=run_summary_view_partition, effect=Effect.CHANGES,
        permission=Permission.WRITE,
    ),
    Tool(
        name="list_summary_view_partitions", title="Read summaries", arguments=PartitionsArguments,
        answers=PartitionsAnswer, handler=list_summary_view_partitions, effect=Effect.READS,
        permission=Permission.READ,
    ),
)  # fmt: skip
