"""POST /v1/long-term-memory/compact."""

from __future__ import annotations

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.memories import AckResponse
from agent_memory_server.api.schemas.working_memory import SessionScopeQuery
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import OutsideReach


async def compact(call: Call) -> Answer:
    """Let one of each group of duplicates stand for all; the others stay readable by id as superseded."""
    app = call.long_term
    query = call.query(SessionScopeQuery)
    try:
        selector = call.caller.selector(query.namespace, query.user_id)
    except OutsideReach:
        return answer({"status": "ok, 0 memories remaining after compaction"})
    compacted = await app.compaction.compact(MemoryFilter(selector=selector), actor=call.caller.subject)
    return answer({"status": f"ok, {compacted.remaining} memories remaining after compaction"})


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/long-term-memory/compact",
        handler=compact,
        query=SessionScopeQuery,
        answers=AckResponse,
    ),
)
