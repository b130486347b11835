"""The optional cross-encoder: it reads the head of a hybrid search, its say counts half, and a failure is no page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from agent_memory_server.domain.search import SearchMode, SearchQuery
from agent_memory_server.errors import RerankerUnavailable
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.reranking import READ_MAX, Reranking
from agent_memory_server.services.search import SearchService
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.testing.embedder import HashEmbedder
from tests.services.test_search import MINE, NOW, add, explaining, ids, memory


class LikesNoon:
    """A cross-encoder that prefers texts about noon; told to, it answers nonsense."""

    model = "likes-noon"

    def __init__(self) -> None:
        self.read: list[str] = []
        self.answers_nonsense = False

    async def chances(self, query: str, texts: Sequence[str], /) -> Sequence[float]:
        self.read += texts
        return [0.5] if self.answers_nonsense else [0.99 if "noon" in text else 0.2 for text in texts]

    async def close(self) -> None:
        """Nothing is held open."""


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    opened = await open_sqlite(tmp_path / "memory.db", now=lambda: NOW)
    yield opened
    await opened.engine.close()


@pytest.fixture
def reranker() -> LikesNoon:
    return LikesNoon()


@pytest.fixture
def search(stores: Stores, reranker: LikesNoon) -> SearchService:
    reranking = Reranking(reranker=reranker)
    return SearchService(store=stores.memories, embedder=HashEmbedder(), now=lambda: NOW, reranking=reranking)


async def test_its_say_changes_the_order_and_is_explained(
    stores: Stores, search: SearchService, reranker: LikesNoon
) -> None:
    """What it likes comes first, scores stay chances that add up with its part in them, and no other mode asks it."""
    await add(stores, HashEmbedder(), memory("plain", "green tea"), memory("noon", "green tea noon river cat"))
    plain = SearchService(store=stores.memories, embedder=HashEmbedder(), now=lambda: NOW)
    query = SearchQuery(text="green tea", mode=SearchMode.HYBRID)
    assert ids(await plain.search(MINE, query)) == ["plain", "noon"]
    why = explaining(stores, search, HashEmbedder())
    explained = await why.explained(MINE, query)
    assert ids(explained.page) == ["noon", "plain"]
    for hit, each in zip(explained.page.hits, explained.explanations, strict=True):
        assert each.judged == (0.99 if hit.memory.id == "noon" else 0.2)
        assert each.adds_up_to == pytest.approx(hit.score, abs=2e-6)
    reranker.read.clear()
    for mode in (SearchMode.SEMANTIC, SearchMode.KEYWORD):
        await search.search(MINE, SearchQuery(text="green tea", mode=mode))
    assert reranker.read == []


async def test_it_reads_no_more_than_the_head(stores: Stores, search: SearchService, reranker: LikesNoon) -> None:
    """Its time is bounded, with the speaker before each text; the page is as long as ever."""
    many = [memory(f"m{number:02}", f"green tea {number}", name="Ana") for number in range(READ_MAX + 20)]
    await add(stores, HashEmbedder(), *many)
    page = await search.search(MINE, SearchQuery(text="green tea", mode=SearchMode.HYBRID, limit=50))
    assert len(page.hits) == 50
    assert len(reranker.read) == READ_MAX
    assert all(text.startswith("Ana: green tea") for text in reranker.read)


async def test_nonsense_is_refused(stores: Stores, search: SearchService, reranker: LikesNoon) -> None:
    """One number for two texts is no judgement: the search fails rather than looking complete."""
    await add(stores, HashEmbedder(), memory("a", "green tea"), memory("b", "green tea too"))
    reranker.answers_nonsense = True
    with pytest.raises(RerankerUnavailable):
        await search.search(MINE, SearchQuery(text="green tea", mode=SearchMode.HYBRID))
