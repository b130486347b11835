"""Rewriting a query before a search by meaning. It can only help: whatever goes wrong, the query is searched as it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from agent_memory_server import prompts
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.search import Page, SearchMode, SearchQuery
from agent_memory_server.domain.strategies import fill_template
from agent_memory_server.errors import ModelUnavailable
from agent_memory_server.ports.language_model import Purpose
from agent_memory_server.services.extraction.batches import fenced_json
from agent_memory_server.services.language import LanguageGate
from agent_memory_server.services.search import SearchService

QUERY_LENGTH_MAX = 2_000
"""A longer query is searched as it came: rewriting one would cost more than the search."""
_OUTPUT_TOKENS_MAX = 512
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["query"],
    "properties": {"query": {"type": "string"}},
}

_log = structlog.stdlib.get_logger(__name__)


class QueryOptimizer:
    """``gate`` None: there is no model, and queries stay as they are. ``prompt`` is the operator's own, with {query}."""

    def __init__(self, gate: LanguageGate | None, *, prompt: str | None = None, length_min: int = 2) -> None:
        self._gate = gate
        self._length_min = length_min
        pointing = {"query": "(the query in the JSON input)"}
        instructions = fill_template(prompt or prompts.load("query_optimization"), pointing)
        self._instructions = f"{instructions}\n\n{prompts.load('query_optimization_rules')}"

    async def optimized(self, query: str) -> str:
        """The rewritten query; the query itself without a model, on any failure, and when the answer is too short."""
        if self._gate is None or not query.strip() or len(query) > QUERY_LENGTH_MAX:
            return query
        try:
            rewritten = await self._gate.ask(
                Purpose.QUERY,
                instructions=self._instructions,
                content=fenced_json({"query": query}),
                schema=_SCHEMA,
                schema_name="query",
                parse=_parsed,
                output_tokens_max=_OUTPUT_TOKENS_MAX,
            )
        except ModelUnavailable as error:
            _log.warning("a query was not optimised", reason=error.detail)
            return query
        return rewritten if self._length_min <= len(rewritten) <= QUERY_LENGTH_MAX else query


class OptimizedSearchService:
    """Search, with the query rewritten first where that was asked for."""

    def __init__(self, *, search: SearchService, optimizer: QueryOptimizer) -> None:
        self._search = search
        self._optimizer = optimizer

    async def search(self, criteria: MemoryFilter, query: SearchQuery, /, *, optimize: bool = False) -> Page:
        """As ``SearchService.search``. Only searches by meaning are optimised: words are looked up as they were written.

        When a distance limit leaves nothing, the original query is tried as well.
        """
        if not optimize:
            return await self._search.search(criteria, query)
        rewritten = await self.rewritten(query)
        page = await self._search.search(criteria, rewritten)
        if page.total == 0 and query.distance_max is not None and rewritten.text != query.text:
            return await self._search.search(criteria, query)
        return page

    async def rewritten(self, query: SearchQuery, /) -> SearchQuery:
        """What ``search`` asks first when it may optimise."""
        if query.mode is not SearchMode.SEMANTIC:
            return query
        return replace(query, text=await self._optimizer.optimized(query.text))


def _parsed(answer: Mapping[str, Any]) -> str:
    query = answer.get("query")
    if not isinstance(query, str):
        raise ValueError("it holds no query")
    return query.strip()
