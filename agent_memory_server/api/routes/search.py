"""POST /v1/long-term-memory/search, and why it answers what it does."""

from __future__ import annotations

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.memories import MemoryRecordResultsResponse, page_wire
from agent_memory_server.api.schemas.search import (
    NOTHING,
    OptimizeQuery,
    SearchOptionsQuery,
    SearchRequest,
    to_criteria,
    to_query,
)
from agent_memory_server.api.schemas.search_explanation import (
    ExplainRequest,
    ExplainResponse,
    explain_wire,
    explained_page_wire,
)
from agent_memory_server.domain.identity import Permission
from agent_memory_server.domain.search import Page, SearchQuery
from agent_memory_server.errors import BadRequest


async def search_memories(call: Call) -> Answer:
    """Find memories by meaning, by words or by both; a blank text lists what the filters leave."""
    app = call.long_term
    asked = call.query(SearchOptionsQuery)
    body = await call.body(SearchRequest)
    query = to_query(body, default_mode=app.search_mode_default)
    criteria = to_criteria(body, call.caller, include_superseded=asked.include_superseded)
    if criteria is None:
        return answer(page_wire(NOTHING))
    if body.explain:
        rewritten = await _rewritten(call, query, asked)
        explained = await app.search_explanation.explained(criteria, rewritten, as_of=body.as_of)
        if body.as_of is None:
            _note_access(call, query, explained.page)
        return answer(explained_page_wire(explained))
    if body.as_of is not None:
        then = await app.time_travel.search(criteria, await _rewritten(call, query, asked), as_of=body.as_of)
        return answer(page_wire(then))
    page = await app.optimized_search.search(criteria, query, optimize=asked.optimize_query)
    _note_access(call, query, page)
    return answer(page_wire(page))


async def explain_search(call: Call) -> Answer:
    """Search, with how each hit's score came about, and for each expected memory the stage at which it was lost.

    What is shown here does not count as used.
    """
    app = call.long_term
    asked = call.query(SearchOptionsQuery)
    body = await call.body(ExplainRequest)
    if body.as_of is not None:
        raise BadRequest("what was expected is looked for in the store as it is now: leave as_of out")
    query = await _rewritten(call, to_query(body, default_mode=app.search_mode_default), asked)
    criteria = to_criteria(body, call.caller, include_superseded=asked.include_superseded)
    found = await app.search_explanation.expected(criteria, query, body.expect)
    return answer(explain_wire(found))


async def _rewritten(call: Call, query: SearchQuery, asked: OptimizeQuery) -> SearchQuery:
    return await call.app.optimized_search.rewritten(query) if asked.optimize_query else query


def _note_access(call: Call, query: SearchQuery, page: Page) -> None:
    if query.recency is not None and page.hits:
        call.runtime.afterwards.run(call.app.search.note_access(page), "note access")


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/long-term-memory/search",
        handler=search_memories,
        permission=Permission.READ,
        query=SearchOptionsQuery,
        body=SearchRequest,
        answers=MemoryRecordResultsResponse,
    ),
    Operation(
        method="POST",
        path="/v1/long-term-memory/search/explain",
        handler=explain_search,
        permission=Permission.READ,
        query=SearchOptionsQuery,
        body=ExplainRequest,
        answers=ExplainResponse,
    ),
)
