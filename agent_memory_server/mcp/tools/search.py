"""The tool that finds long-term memories. Hybrid, by meaning and by words, unless another mode is asked for."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent_memory_server.api.schemas.memories import MemoryRecordResultsResponse, page_wire
from agent_memory_server.api.schemas.search import NOTHING, SearchModeName, SearchRequest, to_criteria, to_query
from agent_memory_server.api.schemas.values import Text, Time, Weight
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
    min_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="Only what scores at least this; nothing when nothing does."
    )
    min_trust: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="1: only what users and assistants said; tools and imports have 0.5."
    )
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
    max_tokens: Annotated[int, Field(ge=1, le=LIMITS.search_tokens_max)] | None = Field(
        default=None,
        description="Instead of limit: fill so many tokens; `context` holds what fits, in order, with dates.",
    )
    valid_at: Time | None = Field(default=None, description="Only what was so at that time.")
    as_of: Time | None = Field(default=None, description="Search what was known at that time.")


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
    if criteria is None:
        return page_wire(NOTHING)
    if asked.as_of is not None:
        rewritten = await app.optimized_search.rewritten(query) if asked.optimize_query else query
        return page_wire(await app.time_travel.search(criteria, rewritten, as_of=asked.as_of))
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
