"""The tool that finds long-term memories. Hybrid, by meaning and by words, unless another mode is asked for."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent_memory_server.api.schemas.memories import MemoryRecordResultsResponse, page_wire
from agent_memory_server.api.schemas.search import NOTHING, SearchModeName, SearchRequest, to_criteria, to_query
from agent_memory_server.api.schemas.values import Text, Weight
from agent_memory_server.domain.identity import Permission
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.search import Page, SearchMode, SearchQuery
from agent_memory_server.mcp.arguments import SearchFilters, Tagged
from agent_memory_server.mcp.scope import ToolCall
from agent_memory_server.mcp.tool import Effect, Tool


class Searching(SearchFilters):
    """How to search. Most calls need none of it."""

    search_mode: SearchModeName | None = Field(
        default=None, description="Unset: hybrid, or semantic with a distance_threshold."
    )
    distance_threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Semantic mode only: the largest cosine distance."
    )
    limit: Annotated[int, Field(ge=1, le=LIMITS.page_max)] = 10
    offset: Annotated[int, Field(ge=0, le=LIMITS.offset_max)] = 0
    optimize_query: bool = Field(default=False, description="Let a language model rewrite the query first.")
    recency_boost: bool | None = Field(default=None, description="false: recent memories are not preferred.")
    recency_semantic_weight: Weight | None = None
    recency_recency_weight: Weight | None = None
    recency_freshness_weight: Weight | None = None
    recency_novelty_weight: Weight | None = None
    recency_half_life_last_access_days: Weight | None = None
    recency_half_life_created_days: Weight | None = None
    server_side_recency: bool | None = Field(default=None, description="Accepted and ignored.")


class SearchArguments(Searching):
    text: Text | None = Field(description="What to find; null or empty lists what the filters leave, newest first.")
    extraction_strategy: Tagged = None


_NOT_OF_A_SEARCH = frozenset({"optimize_query"})


def search_of(call: ToolCall, given: dict[str, Any]) -> SearchRequest:
    """The search that these arguments ask for, in the call's scope where they name none."""
    named = {name: value for name, value in given.items() if name not in _NOT_OF_A_SEARCH and value is not None}
    return SearchRequest.model_validate({**named, **call.scope_filters(named)})


def query_of(body: SearchRequest) -> SearchQuery:
    return to_query(body, default_mode=SearchMode.HYBRID)


def note_shown(call: ToolCall, query: SearchQuery, page: Page) -> None:
    """Count that these were shown, after the answer."""
    if query.recency is not None and page.hits:
        call.afterwards.run(call.app.search.note_access(page), "note access")


async def search_long_term_memory(call: ToolCall, asked: SearchArguments) -> dict[str, Any]:
    """A page of memories with their scores, and how many there are."""
    app = call.long_term
    body = search_of(call, {name: getattr(asked, name) for name in asked.model_fields_set})
    query = query_of(body)
    criteria = to_criteria(body, call.caller)
    page = NOTHING
    if criteria is not None:
        page = await app.optimized_search.search(criteria, query, optimize=asked.optimize_query)
    note_shown(call, query, page)
    return page_wire(page)


TOOLS = (
    Tool(
        name="search_long_term_memory", title="Search memories", arguments=SearchArguments,
        answers=MemoryRecordResultsResponse, handler=search_long_term_memory, effect=Effect.READS,
        permission=Permission.READ,
    ),
)  # fmt: skip
