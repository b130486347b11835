"""``/``: how much there is, whose it is, how it grew, whether everything works, and what to do first."""

from __future__ import annotations

import asyncio
from importlib import resources
from pathlib import Path

from starlette.responses import Response

import agent_memory_server
from agent_memory_server.domain.identity import Permission
from agent_memory_server.domain.jobs import TaskStatus
from agent_memory_server.domain.sessions import Message
from agent_memory_server.errors import NotFound
from agent_memory_server.importers.conversations import read_sessions
from agent_memory_server.web.visits import PageRoute, Visit

OWNERS_SHOWN = 8
FAILURES_SHOWN = 5
RUNNING_LOOKED_AT = 50
"""Of what is being done, how many of the newest are looked through for those whose last attempt failed."""
EXAMPLE_USER = "mara"
_EXAMPLE = "example_conversation.json"
INSTALLED_EXAMPLE = f"agent_memory_server/web/{_EXAMPLE}"
"""Where a wheel has it."""


async def overview(visit: Visit) -> Response:
    app, selector = visit.app, visit.selector()
    counts = await app.overviews.counts(selector)
    owners, growth, pending, ready, dead, tried = await asyncio.gather(
        app.overviews.owners(selector, limit=OWNERS_SHOWN),
        app.overviews.growth(selector, memories=counts.memories),
        app.pending_work.pending(visit.caller),
        app.readiness.check(),
        app.jobs.list(visit.caller, status=TaskStatus.DEAD, limit=FAILURES_SHOWN),
        app.jobs.list(visit.caller, status=TaskStatus.RUNNING, limit=RUNNING_LOOKED_AT),
    )
    manages = visit.may(Permission.ADMIN)
    return visit.page(
        "overview.html",
        counts=counts,
        owners=owners,
        growth={
            "unit": growth.unit,
            "days": [day.isoformat() for day, _ in growth.bars],
            "counts": [count for _, count in growth.bars],
        },
        grew=sum(count for _, count in growth.bars),
        pending=pending,
        ready=ready,
        dead=dead.tasks,
        tried=[task for task in tried.tasks if task.error_message][:FAILURES_SHOWN],
        requests=visit.failures.newest(visit.caller.tenant, limit=FAILURES_SHOWN) if manages else (),
        storage=app.storage,
        embedding_model=app.embedding_model,
        usage=app.model_usage.totals if manages else {},
        is_empty=not counts.memories and not counts.sessions,
        has_example=_example_path() is not None,
    )


async def load_example(visit: Visit) -> Response:
    """Load the conversation that comes with the server; loading it again changes nothing."""
    await visit.form()
    path = _example_path()
    if path is None:
        raise NotFound("This installation came without the example conversation.")
    at = visit.app.now()
    for session in await asyncio.to_thread(read_sessions, path):
        messages = [
            Message(
                id=each.id,
                role=each.role,
                content=each.content,
                created_at=each.created_at or at,
                name=each.name,
            )
            for each in session.messages
        ]
        await visit.app.working_memory.append(
            visit.caller, session_id=session.session_id, messages=messages, user_id=visit.caller.user_id or EXAMPLE_USER
        )
    return visit.to("/sessions", user_id=visit.caller.user_id or EXAMPLE_USER, loaded="1")


def _example_path() -> Path | None:
    """In the installed package; in a clone it is among the examples."""
    places = (
        Path(str(resources.files("agent_memory_server.web") / _EXAMPLE)),
        Path(agent_memory_server.__file__).parent.parent / "examples" / "conversation.json",
    )
    return next((place for place in places if place.is_file()), None)


ROUTES = (
    PageRoute(path="/", handler=overview),
    PageRoute(path="/example", handler=load_example, methods=("POST",), permission=Permission.WRITE),
)
