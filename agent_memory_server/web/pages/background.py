"""``/background``: what the server does by itself: tasks, schedules, dead letters; and what a compaction would do."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Permission
from agent_memory_server.domain.jobs import TaskStatus
from agent_memory_server.errors import InvalidInput
from agent_memory_server.web.visits import PageRoute, Visit

TASKS_SHOWN = 25
PLANNED_SHOWN = 50
COMPACTION_WAIT_S = 10.0


async def background(visit: Visit) -> Response:
    app = visit.app
    status = _status(visit)
    tasks, dead, pending, views = await asyncio.gather(
        app.jobs.list(visit.caller, status=status, limit=TASKS_SHOWN, cursor=visit.asked("cursor")),
        app.jobs.list(visit.caller, status=TaskStatus.DEAD, limit=TASKS_SHOWN),
        app.pending_work.pending(visit.caller),
        app.summary_views.list(visit.caller),
    )
    return visit.page(
        "background.html",
        tasks=tasks,
        dead=dead,
        pending=pending,
        views=views,
        schedules=await app.schedules.lines(),
        status=status.value if status else "",
        statuses=[each.value for each in TaskStatus],
    )


async def replay(visit: Visit) -> Response:
    form = await visit.form()
    await visit.app.jobs.replay(visit.caller, task_id=str(form.get("task_id", "")))
    return visit.to("/background")


async def plan(visit: Visit) -> Response:
    """What a compaction would do, to be read before it is done."""
    found = await visit.app.compaction.plan(MemoryFilter(selector=visit.selector()))
    return visit.page(
        "plan.html",
        plan=found,
        groups=found.groups[:PLANNED_SHOWN],
        exact=sum(group.kind == "exact" for group in found.groups),
    )


async def compact(visit: Visit) -> Response:
    await visit.form()
    selector = visit.selector()
    done = await visit.app.compaction.compact(
        MemoryFilter(selector=selector), actor=visit.caller.subject, within_s=COMPACTION_WAIT_S
    )
    if done.unfinished is not None:
        await visit.app.upkeep.compact_later(visit.caller, selector)
    return visit.page("compacted.html", done=done)


def _status(visit: Visit) -> TaskStatus | None:
    asked = visit.asked("status")
    if asked is None:
        return None
    try:
        return TaskStatus(asked)
    except ValueError:
        raise InvalidInput(f"status must be one of {', '.join(TaskStatus)}") from None


ROUTES = (
    PageRoute(path="/background", handler=background),
    PageRoute(path="/background/replay", handler=replay, methods=("POST",), permission=Permission.ADMIN),
    PageRoute(path="/background/compaction", handler=plan, permission=Permission.ADMIN),
    PageRoute(path="/background/compact", handler=compact, methods=("POST",), permission=Permission.ADMIN),
)
