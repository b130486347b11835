"""Searches on the wire."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from agent_memory_server.api.schemas.filters import DateFilter, MemoryTypeFilter, ScopeFilter, TagFilter
from agent_memory_server.api.schemas.memories import SourceName
from agent_memory_server.api.schemas.values import Body, Name, Text, Time, Weight
from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import OutsideReach, Principal
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.recency import RecencyWeights
from agent_memory_server.domain.records import Source
from agent_memory_server.domain.search import Page, SearchMode, SearchQuery

SearchModeName = Literal["semantic", "keyword", "hybrid"]
LIMIT_DEFAULT = 10
NOTHING = Page(hits=(), total=0, next_offset=None)
"""The answer to a search beyond the caller's reach: as of an empty store."""


class SearchRequest(Body):
    """All filters are ANDed. A blank text lists what the filters leave, newest first."""

    text: Text | None = None
    search_mode: SearchModeName | None = "semantic"
    hybrid_alpha: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=0.7, description="Weight of the vector side in hybrid mode."
    )
    text_scorer: Name | None = Field(default="BM25STD", description="Accepted and ignored: scores are always BM25.")
    session_id: ScopeFilter | None = None
    namespace: ScopeFilter | None = None
    topics: TagFilter | None = None
    entities: TagFilter | None = None
    created_at: DateFilter | None = None
    last_accessed: DateFilter | None = None
    user_id: ScopeFilter | None = None
    distance_threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Semantic mode only."
    )
    memory_type: MemoryTypeFilter | None = None
    extraction_strategy: TagFilter | None = None
    event_date: DateFilter | None = None
    limit: Annotated[int, Field(ge=1, le=LIMITS.page_max)] | None = LIMIT_DEFAULT
    offset: Annotated[int, Field(ge=0, le=LIMITS.offset_max)] | None = 0
    recency_boost: bool | None = Field(default=None, description="Null is on.")
    recency_semantic_weight: Weight | None = 0.8
    recency_recency_weight: Weight | None = 0.2
    recency_freshness_weight: Weight | None = 0.6
    recency_novelty_weight: Weight | None = 0.4
    recency_half_life_last_access_days: Weight | None = 7.0
    recency_half_life_created_days: Weight | None = 30.0
    server_side_recency: bool | None = Field(default=None, description="Accepted and ignored.")
    include_superseded: bool | None = False
    sources: Annotated[list[SourceName], Field(min_length=1, max_length=5)] | None = Field(
        default=None, description="Only memories whose text came from one of these."
    )
    min_trust: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None,
        description="Only memories that are trusted at least so much: what a tool said, or was imported, has 0.5.",
    )
    valid_at: Time | None = Field(
        default=None, description="Only what was so at that time: by `valid_from` (else `event_date`) and `valid_to`."
    )
    as_of: Time | None = Field(default=None, description="Search what the store knew at that time.")
    min_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="Only memories whose score is at least this: an empty page when none is."
    )
    relative_cut: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="Only memories whose score is at least this share of the best one's."
    )
    max_tokens: Annotated[int, Field(ge=1, le=LIMITS.search_tokens_max)] | None = Field(
        default=None,
        description="Fill a budget of tokens in place of a count: the answer's `context` holds the hits that fit and what was "
        "said around them, in the order of talk, with dates. `limit` is then 100 unless given.",
    )
    explain: bool | None = Field(default=False, description="Say of each hit how its score came about.")


class OptimizeQuery(Body):
    optimize_query: bool = Field(
        default=False, description="Let a language model rewrite the query, where there is one."
    )


class SearchOptionsQuery(OptimizeQuery):
    include_superseded: bool = Field(default=False, description="As in the body: either asks for them.")


def to_query(body: SearchRequest, *, default_mode: SearchMode = SearchMode.SEMANTIC) -> SearchQuery:
    """What is searched for. ``default_mode`` counts where the client names none."""
    named = body.search_mode if "search_mode" in body.model_fields_set else None
    if named is None and body.distance_threshold is not None:
        named = "semantic"
    return SearchQuery(
        text=body.text or "",
        mode=SearchMode(named) if named is not None else default_mode,
        alpha=0.7 if body.hybrid_alpha is None else body.hybrid_alpha,
        distance_max=body.distance_threshold,
        limit=_limit(body),
        offset=body.offset or 0,
        recency=None if body.recency_boost is False else _weights(body),
        score_min=body.min_score,
        relative_cut=body.relative_cut,
        tokens_max=body.max_tokens,
    )


def _limit(body: SearchRequest) -> int:
    if body.limit is not None and (body.max_tokens is None or "limit" in body.model_fields_set):
        return body.limit
    return LIMITS.page_max if body.max_tokens is not None else LIMIT_DEFAULT


def to_criteria(body: SearchRequest, caller: Principal, *, include_superseded: bool = False) -> MemoryFilter | None:
    """Which memories may be found; None when that lies beyond the caller's reach.

    ``eq`` on namespace and user becomes the hard scope, which engines use first and keyword statistics are taken from.
    """
    namespace, user_id = _scope(body.namespace), _scope(body.user_id)
    try:
        selector = caller.selector(None if namespace is None else namespace.eq, None if user_id is None else user_id.eq)
    except OutsideReach:
        return None
    return MemoryFilter(
        selector=selector,
        namespace=_beyond_eq(namespace),
        user_id=_beyond_eq(user_id),
        session_id=_scope(body.session_id),
        topics=None if body.topics is None else body.topics.to_filter(),
        entities=None if body.entities is None else body.entities.to_filter(),
        memory_type=None if body.memory_type is None else body.memory_type.to_filter(),
        extraction_strategy=None if body.extraction_strategy is None else body.extraction_strategy.to_filter(),
        created_at=None if body.created_at is None else body.created_at.to_filter(),
        last_accessed=None if body.last_accessed is None else body.last_accessed.to_filter(),
        event_date=None if body.event_date is None else body.event_date.to_filter(),
        valid_at=body.valid_at,
        sources=None if body.sources is None else frozenset(Source(each) for each in body.sources),
        trust_min=body.min_trust,
        include_superseded=body.include_superseded or include_superseded,
    )


def _scope(body: ScopeFilter | None) -> TextFilter | None:
    return None if body is None else body.to_filter()


def _beyond_eq(text_filter: TextFilter | None) -> TextFilter | None:
    """The filter without ``eq``, which the selector has taken over."""
    if text_filter is None:
        return None
    rest = replace(text_filter, eq=None)
    return None if rest == TextFilter() else rest


def _weights(body: SearchRequest) -> RecencyWeights:
    given = {
        "semantic_weight": body.recency_semantic_weight,
        "recency_weight": body.recency_recency_weight,
        "freshness_weight": body.recency_freshness_weight,
        "novelty_weight": body.recency_novelty_weight,
        "half_life_last_access_days": body.recency_half_life_last_access_days,
        "half_life_created_days": body.recency_half_life_created_days,
    }
    return RecencyWeights(**{name: value for name, value in given.items() if value is not None})
