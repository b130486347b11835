"""Tasks: read one, list them, replay what failed for good."""

from __future__ import annotations

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.tasks import TaskListResponse, TaskQuery, TaskResponse, task_wire
from agent_memory_server.domain.identity import Permission
from agent_memory_server.domain.jobs import TaskStatus


async def list_tasks(call: Call) -> Answer:
    """The caller's tasks and the background work of its scope, newest first. ``status=dead``: what can be replayed."""
    query = call.query(TaskQuery)
    page = await call.app.jobs.list(
        call.caller,
        status=None if query.status is None else TaskStatus(query.status),
        limit=query.limit,
        cursor=query.cursor,
    )
    wire = {"tasks": [task_wire(task) for task in page.tasks], "total": page.total, "next_cursor": page.next_cursor}
    return answer(wire)


async def get_task(call: Call) -> Answer:
    """One task; it can be read for seven days after it last changed."""
    return answer(task_wire(await call.app.jobs.get(call.caller, task_id=call.path_id("task_id"))))


async def replay_task(call: Call) -> Answer:
    """Give what failed for good all its attempts again; 409 for what did not."""
    return answer(task_wire(await call.app.jobs.replay(call.caller, task_id=call.path_id("task_id"))))


OPERATIONS = (
    Operation(
        method="GET", path="/v1/tasks", handler=list_tasks, permission=Permission.READ, query=TaskQuery, answers=TaskListResponse
    ),
    Operation(
        method="GET", path="/v1/tasks/{task_id}", handler=get_task, permission=Permission.READ,
        answers=TaskResponse, fails=(404, 409)
    ),
    Operation(
        method="POST", path="/v1/tasks/{task_id}/replay", handler=replay_task, permission=Permission.ADMIN,
        answers=TaskResponse, fails=(404, 409)
    ),
)  # fmt: skip
