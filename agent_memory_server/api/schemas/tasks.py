"""Tasks on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agent_memory_server.api.schemas.values import Body, Time
from agent_memory_server.domain.jobs import Task
from agent_memory_server.domain.limits import LIMITS

TaskStatusName = Literal["pending", "running", "success", "failed", "dead"]


class TaskQuery(Body):
    status: TaskStatusName | None = Field(
        default=None, description="dead: what failed for good and can be replayed; unset: all."
    )
    limit: Annotated[int, Field(ge=1, le=LIMITS.page_max)] = 20
    cursor: Annotated[str, Field(max_length=8 * LIMITS.id_length_max)] | None = None


class TaskResponse(Body):
    """Long work. ``type``: summary_view_full_run, or the kind of background work that it is."""

    id: str
    type: str
    status: TaskStatusName
    view_id: str | None
    created_at: Time
    started_at: Time | None
    completed_at: Time | None
    error_message: str | None = Field(description="Why it failed; while it runs, why the last attempt failed.")
    result: dict[str, Any] | None = Field(description="The report of work that succeeded and has one: counts and ids.")


class TaskListResponse(Body):
    """Newest first."""

    tasks: list[TaskResponse]
    total: int
    next_cursor: str | None


def task_wire(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "type": task.type,
        "status": task.status.value,
        "view_id": task.view_id,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "completed_at": task.completed_at,
        "error_message": task.error_message,
        "result": task.result,
    }
