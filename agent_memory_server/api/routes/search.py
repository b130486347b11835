"""POST /v1/long-term-memory/search."""

from __future__ import annotations

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.memories import MemoryRecordResultsResponse, page_wire
from agent_memory_server.api.schemas.search import NOTHING, OptimizeQuery, SearchRequest, to_criteria, to_query
from agent_memory_server.domain.identity import Permission


async def search_memories(call: Call) -> Answer:
    """Find memories by meaning, by words or by both; a blank text lists what the filters leave."""
    app = call.long_term
    asked = call.query(OptimizeQuery)
    body = await call.body(SearchRequest)
    query = to_query(body)
    criteria = to_criteria(body, call.caller)
    page = (
        NOTHING
        if criteria is None
        else await app.optimized_search.search(criteria, query, optimize=asked.optimize_query)
    )
    if query.recency is not None and page.hits:
        call.runtime.afterwards.run(app.search.note_access(page), "note access")
    return answer(page_wire(page))


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/long-term-memory/search",
        handler=search_memories,
        permission=Permission.READ,
        query=OptimizeQuery,
        body=SearchRequest,
        answers=MemoryRecordResultsResponse,
    ),
)
