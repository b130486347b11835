"""Pages are cut from one order, however few of the candidates' times were loaded to find it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Embedded, Operation, OperationKind, Put
from agent_memory_server.domain.recency import RecencyWeights
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import SearchMode, SearchQuery
from agent_memory_server.domain.tokens import index_tokens
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.search import RERANKED_MAX, SearchService
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.testing.embedder import HashEmbedder
from tests.recency_formula import blended

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINE = MemoryFilter(selector=ScopeSelector("default", None, "ana"))
COUNT = 120
WORDS = "tea coffee train garden piano winter deadline budget"


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    opened = await open_sqlite(tmp_path / "memory.db", now=lambda: NOW)
    yield opened
    await opened.engine.close()


async def filled(stores: Stores, embedder: HashEmbedder, count: int = COUNT) -> None:
    """Memories of every age that share some words; some were written at one moment."""
    random = Random(7)
    texts = [" ".join(random.choices(WORDS.split(), k=6)) for _ in range(count)]
    vectors = await embedder.embed(texts)
    puts: list[Put] = []
    for number, text in enumerate(texts):
        created = NOW - timedelta(days=random.choice([0, 1, 5, 40, 400]))
        memory = Memory(
            id=f"m{number:03d}",
            scope=Scope("default", None, "ana"),
            text=text,
            created_at=created,
            updated_at=created,
            last_accessed=created + timedelta(hours=random.choice([0, 3])),
        )
        embedded = Embedded(model=embedder.model, vector=vectors[number])
        puts.append(Put(memory=memory, tokens=index_tokens(text), embedded=embedded))
    await stores.memories.commit(
        Operation(
            id="fill",
            tenant="default",
            kind=OperationKind.CREATE,
            actor="test",
            at=NOW,
            changes=tuple(puts),
            intents=(),
        )
    )


@pytest.mark.parametrize("mode", list(SearchMode))
@pytest.mark.parametrize(
    "weights",
    [
        None,
        RecencyWeights(),
        RecencyWeights(semantic_weight=0.1, recency_weight=0.9),
        RecencyWeights(semantic_weight=0.5, recency_weight=-0.5),
        RecencyWeights(semantic_weight=-1.0, recency_weight=0.0),
        RecencyWeights(semantic_weight=0.0, recency_weight=1.0, freshness_weight=3.0, novelty_weight=-1.0),
    ],
)
async def test_a_short_page_is_the_beginning_of_the_longest(
    stores: Stores, mode: SearchMode, weights: RecencyWeights | None
) -> None:
    """Pages of one to ten hits begin the page of all hits, whatever recency weighs, and hits fall by their score."""
    embedder = HashEmbedder()
    await filled(stores, embedder)
    service = SearchService(store=stores.memories, embedder=embedder, now=lambda: NOW)

    async def found(limit: int, offset: int = 0) -> list[str]:
        query = SearchQuery(text="tea in the winter garden", mode=mode, limit=limit, offset=offset, recency=weights)
        return [hit.memory.id for hit in (await service.search(MINE, query)).hits]

    everything = await found(COUNT)
    assert len(everything) > 60
    for limit in (1, 3, 10):
        assert await found(limit) == everything[:limit]
        assert await found(limit, offset=7) == everything[7 : 7 + limit]
    if weights is not None:
        query = SearchQuery(text="tea in the winter garden", mode=mode, limit=COUNT, recency=weights)
        hits = (await service.search(MINE, query)).hits
        in_proportion = mode is SearchMode.HYBRID
        scores = [blended(1.0 - hit.distance, hit.memory, weights, NOW, in_proportion=in_proportion) for hit in hits]
        assert all(before >= after - 1e-5 for before, after in pairwise(scores))


@pytest.mark.parametrize("mode", list(SearchMode))
async def test_every_page_says_how_many_pass_a_cut(stores: Stores, mode: SearchMode) -> None:
    """With a least score or a share of the best one's, the first page counts what walking them all finds."""
    embedder = HashEmbedder()
    await filled(stores, embedder, RERANKED_MAX + 60)
    service = SearchService(store=stores.memories, embedder=embedder, now=lambda: NOW)
    whole = SearchQuery(text="tea in the winter garden", mode=mode, limit=100)
    scores = [hit.score or 0.0 for hit in (await service.search(MINE, replace(whole, offset=150))).hits]
    best = (await service.search(MINE, whole)).hits[0].score or 1.0
    for cutting in (replace(whole, score_min=scores[-5]), replace(whole, relative_cut=scores[-5] / best)):
        offset: int | None = 0
        found: list[str] = []
        totals: set[int] = set()
        while offset is not None:
            page = await service.search(MINE, replace(cutting, offset=offset))
            found += [hit.memory.id for hit in page.hits]
            totals.add(page.total)
            offset = page.next_offset
        assert totals == {len(found)}
        assert len(set(found)) == len(found) > 100


async def test_pages_fit_together_while_time_goes_by(stores: Stores) -> None:
    """What hardly answers a query, and was used milliseconds apart, keeps its order from one request to the next."""
    embedder = HashEmbedder()
    await filled(stores, embedder)
    at = NOW
    service = SearchService(store=stores.memories, embedder=embedder, now=lambda: at)
    query = SearchQuery(text="zebra", mode=SearchMode.HYBRID, alpha=0.0, limit=5, recency=RecencyWeights())
    keys = [hit.memory.key for hit in (await service.search(MINE, replace(query, limit=30))).hits]
    for number, key in enumerate(keys):
        used = NOW + timedelta(days=1, milliseconds=number * 7 % 30)
        assert await stores.memories.touch([key], at=used, interval_min_s=0) == 1
    orders: set[tuple[str, ...]] = set()
    for seconds in range(1, 16):
        at = NOW + timedelta(days=1, seconds=seconds)
        orders.add(tuple(hit.memory.id for hit in (await service.search(MINE, query)).hits))
    assert len(orders) == 1
