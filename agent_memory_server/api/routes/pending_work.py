"""GET /v1/pending."""

from __future__ import annotations

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.operation import PendingResponse
from agent_memory_server.api.schemas.working_memory import SessionScopeQuery
from agent_memory_server.domain.identity import Permission


async def pending(call: Call) -> Answer:
    """What is still to be done within the caller's scope: await ``pending`` 0 instead of sleeping."""
    query = call.query(SessionScopeQuery)
    work = await call.app.pending_work.pending(call.caller, namespace=query.namespace, user_id=query.user_id)
    return answer({"pending": work.pending, "oldest_age_s": work.oldest_age_s, "dead": work.dead})


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/pending",
        handler=pending,
        permission=Permission.READ,
        answers=PendingResponse,
        query=SessionScopeQuery,
    ),
)
