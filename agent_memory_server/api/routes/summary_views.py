"""Summary views: define, list, read, delete, run one partition or all, read the partitions."""

from __future__ import annotations

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.bodies import validated
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.memories import AckResponse
from agent_memory_server.api.schemas.summary_views import (
    CreateSummaryViewRequest,
    ForceQuery,
    PartitionsQuery,
    RunSummaryViewPartitionRequest,
    RunSummaryViewRequest,
    SummaryViewList,
    SummaryViewPartitionList,
    SummaryViewPartitionResult,
    SummaryViewResponse,
    partition_wire,
    view_wire,
)
from agent_memory_server.api.schemas.tasks import TaskResponse, task_wire
from agent_memory_server.domain.identity import Permission


async def create_summary_view(call: Call) -> Answer:
    """Save a definition. It summarises what the caller may read; values that make no sense are refused now, not when run."""
    body = await call.body(CreateSummaryViewRequest)
    return answer(view_wire(await call.app.summary_views.create(call.caller, body.to_draft())))


async def list_summary_views(call: Call) -> Answer:
    """The views that summarise nothing but what the caller may read."""
    return answer([view_wire(view) for view in await call.app.summary_views.list(call.caller)])


async def get_summary_view(call: Call) -> Answer:
    """One view."""
    return answer(view_wire(await call.app.summary_views.get(call.caller, view_id=call.path_id("view_id"))))


async def delete_summary_view(call: Call) -> Answer:
    """Remove the view, its partitions and its pending runs; a view that is not there is no error."""
    await call.app.summary_views.delete(call.caller, view_id=call.path_id("view_id"))
    return answer({"status": "ok"})


async def run_summary_view_partition(call: Call) -> Answer:
    """Summarise one group now. Nothing is made anew when its memories are as they were, unless ``force``."""
    view_id = call.path_id("view_id")
    query = call.query(ForceQuery)
    body = await call.body(RunSummaryViewPartitionRequest)
    partition = await call.app.summary_views.run_partition(
        call.caller, view_id=view_id, group=body.group, force=bool(query.force or body.force)
    )
    return answer(partition_wire(partition))


async def list_summary_view_partitions(call: Call) -> Answer:
    """The stored summaries. The header X-Total-Count says how many there are beyond ``limit``."""
    view_id = call.path_id("view_id")
    query = call.query(PartitionsQuery)
    page = await call.app.summary_views.partitions(
        call.caller, view_id=view_id, where=query.to_group(), limit=query.limit, offset=query.offset
    )
    return answer(
        [partition_wire(partition) for partition in page.partitions],
        headers=((b"x-total-count", b"%d" % page.total),),
    )


async def run_summary_view(call: Call) -> Answer:
    """Bring all partitions up to date in the background; the task says how it goes."""
    view_id = call.path_id("view_id")
    query = call.query(ForceQuery)
    given = await call.optional_json()
    body = validated(RunSummaryViewRequest, {} if given is None else given, "body")
    task = await call.app.summary_views.run(
        call.caller, view_id=view_id, task_id=body.task_id, force=bool(query.force or body.force)
    )
    return answer(task_wire(task))


_VIEWS = "/v1/summary-views"
_VIEW = "/v1/summary-views/{view_id}"
_PARTITIONS = "/v1/summary-views/{view_id}/partitions"

OPERATIONS = (
    Operation(
        method="POST", path=_VIEWS, handler=create_summary_view, permission=Permission.WRITE,
        body=CreateSummaryViewRequest,
        answers=SummaryViewResponse,
    ),
    Operation(
        method="GET", path=_VIEWS, handler=list_summary_views, permission=Permission.READ, answers=SummaryViewList
    ),
    Operation(
        method="GET", path=_VIEW, handler=get_summary_view, permission=Permission.READ, answers=SummaryViewResponse, fails=(404,)
    ),
    Operation(
        method="DELETE", path=_VIEW, handler=delete_summary_view, permission=Permission.WRITE, answers=AckResponse
    ),
    Operation(
        method="POST", path=f"{_PARTITIONS}/run", handler=run_summary_view_partition, permission=Permission.WRITE,
        query=ForceQuery,
        body=RunSummaryViewPartitionRequest, answers=SummaryViewPartitionResult, fails=(404, 409),
    ),
    Operation(
        method="GET", path=_PARTITIONS, handler=list_summary_view_partitions, permission=Permission.READ,
        query=PartitionsQuery,
        answers=SummaryViewPartitionList, fails=(404,),
    ),
    Operation(
        method="POST", path=f"{_VIEW}/run", handler=run_summary_view, permission=Permission.WRITE,
        query=ForceQuery, body=RunSummaryViewRequest,
        body_is_optional=True, answers=TaskResponse, fails=(404, 409),
    ),
)  # fmt: skip
