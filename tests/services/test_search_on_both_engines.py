"""One search on both engines: the same memories in the same order for the same reasons, whatever the query holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Operation, OperationKind, Vector
from agent_memory_server.domain.recency import RecencyWeights
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import SearchMode, SearchQuery
from agent_memory_server.domain.token_vectors import packed
from agent_memory_server.ports.embedder import QueryTokens, WeightedSpan
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.indexing import Indexer
from agent_memory_server.services.search import SearchService
from agent_memory_server.services.search_explanation import ExplainedPage
from agent_memory_server.stores.redis import open_redis
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.testing.embedder import HashEmbedder
from tests.redis_server import running_redis
from tests.services.test_search import NOW, RANKED, explaining, memory, said

ANA = Scope("default", "home", "ana")
MINE = MemoryFilter(selector=ScopeSelector("default", "home", "ana"))


class WordByWord(HashEmbedder):
    """Has a vector for every word beside the text's; words of one beginning are near."""

    async def embed_with_tokens(self, texts: Sequence[str], /) -> Sequence[tuple[Vector | None, bytes | None]]:
        found: list[tuple[Vector | None, bytes | None]] = []
        for text in texts:
            vectors = [self._word(word) for word in text.split()]
            known = [each for each in vectors if each is not None]
            found.append((self.embed_one(text), packed(np.stack(known)) if known else None))
        return found

    async def embed_query_tokens(
        self, text: str, spans: Sequence[WeightedSpan], /
    ) -> tuple[Vector | None, QueryTokens | None]:
        vectors = [self._word(text[span.start : span.end]) for span in spans]
        kept = [place for place, vector in enumerate(vectors) if vector is not None]
        if not kept:
            return None, None
        stacked = np.stack([vector for vector in vectors if vector is not None])
        return self.embed_one(text), QueryTokens(stacked, np.array(kept, dtype=np.int64))

    def _word(self, word: str) -> Vector | None:
        return self.embed_one(f"{word} {word[:4]}")


@dataclass
class Engines:
    """Both engines with the same memories, and the loop that they live on."""

    run: asyncio.Runner
    by_name: dict[str, tuple[Stores, HashEmbedder]]

    def explained(self, name: str, query: SearchQuery, criteria: MemoryFilter, *expected: str) -> ExplainedPage:
        stores, embedder = self.by_name[name]
        search = SearchService(store=stores.memories, embedder=embedder, now=lambda: NOW)
        why = explaining(stores, search, embedder)
        if expected:
            return self.run.run(why.expected(criteria, query, expected))
        return self.run.run(why.explained(criteria, query))


def memories() -> list[Memory]:
    talk = ["Which lighthouse did you paint?", "The one near Porto, in oil.", "Was it for the museum?", "No, for Ben."]
    messages = [said(f"m{place}", text, place, name="Ana" if place % 2 else "Ben") for place, text in enumerate(talk)]
    more = [said(f"n{place:02}", f"subject {place} of the museum", place, session="s2") for place in range(40)]
    facts = [
        memory("tea", "the tea and the cat of Ana", days_ago=3),
        memory("cat", "黒猫が好きです", days_ago=2),
        memory("kyoto", "我去年住在京都", days_ago=1),
        memory("pizza", "tonight 🍕", days_ago=5),
        memory("paint", "Ana paints lighthouses", days_ago=40),
    ]
    told = replace(
        memory("told", "Ana painted near Porto"), scope=replace(ANA, session_id="s1"), extracted_from=("m1",)
    )
    return [*messages, *more, *facts, told]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    folder = tmp_path_factory.mktemp("engines")
    with running_redis(tmp_path_factory.mktemp("redis")) as redis, asyncio.Runner() as run:

        async def opened(embedder: HashEmbedder) -> dict[str, tuple[Stores, HashEmbedder]]:
            stores = {
                "sqlite": await open_sqlite(folder / "memory.db", now=lambda: NOW),
                "redis": await open_redis(redis.url, now=lambda: NOW),
            }
            prepared = await Indexer(embedder=embedder).prepare(memories())
            for each in stores.values():
                await each.memories.commit(
                    Operation(
                        id="all",
                        tenant="default",
                        kind=OperationKind.CREATE,
                        actor="test",
                        at=NOW,
                        changes=prepared.puts,
                    )
                )
            return {name: (each, embedder) for name, each in stores.items()}

        engines = Engines(run, run.run(opened(WordByWord())))
        yield engines
        for stores, _ in engines.by_name.values():
            run.run(stores.engine.close())


QUERIES = [
    "what did Ana paint?",
    "Ben museum lighthouse",
    "near Porto last year",
    "the of and",
    "?!",
    '"AND OR NOT NEAR( @text:{a|b} *',
    "猫",
    "京都",
    "🍕",
    "museum subject " * 5_000,
]


@pytest.mark.parametrize("mode", RANKED)
@pytest.mark.parametrize("text", QUERIES, ids=range(len(QUERIES)))
def test_both_engines_rank_alike_and_say_why(engines: Engines, mode: SearchMode, text: str) -> None:
    """Ids, scores and every part of every explanation are equal, also of odd queries and with vectors of words."""
    query = SearchQuery(text=text, mode=mode, limit=30, recency=RecencyWeights())
    pages = [engines.explained(name, query, MINE) for name in ("sqlite", "redis")]
    shown = [[(hit.memory.id, hit.score) for hit in each.page.hits] for each in pages]
    scores: list[list[float]] = [[score or 0.0 for _, score in each] for each in shown]
    assert [identity for identity, _ in shown[0]] == [identity for identity, _ in shown[1]]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    for one, other in zip(pages[0].explanations, pages[1].explanations, strict=True):
        assert [part.name for part in one.parts] == [part.name for part in other.parts]
        assert [part.contribution for part in one.parts] == pytest.approx(
            [part.contribution for part in other.parts], abs=1e-4
        )
        assert one.adds_up_to == pytest.approx(one.score, abs=2e-6)


@pytest.mark.parametrize("name", ["sqlite", "redis"])
def test_words_are_compared_one_by_one_where_the_embedder_can(engines: Engines, name: str) -> None:
    """Hybrid explains the signal of senses; a word that begins like the query's brings its memory to the front."""
    found = engines.explained(name, SearchQuery(text="painting", mode=SearchMode.HYBRID), MINE)
    assert all(part.name != "senses" or part.value >= 0 for each in found.explanations for part in each.parts)
    assert [part.name for part in found.explanations[0].parts][-1] == "senses"
    assert found.page.hits[0].memory.id in {"paint", "m0"}


@pytest.mark.parametrize("name", ["sqlite", "redis"])
def test_an_earlier_time_is_searched_word_by_word_too(engines: Engines, name: str) -> None:
    """As of now nothing changed since, so the answer is that of a plain search."""
    stores, embedder = engines.by_name[name]
    search = SearchService(store=stores.memories, embedder=embedder, now=lambda: NOW)
    why = explaining(stores, search, embedder)
    query = SearchQuery(text="painting near Porto", mode=SearchMode.HYBRID, limit=30)
    then = engines.run.run(why.explained(MINE, query, as_of=NOW))
    plain = engines.explained(name, query, MINE)
    assert [hit.memory.id for hit in then.page.hits] == [hit.memory.id for hit in plain.page.hits]
    scores = [hit.score for hit in then.page.hits]
    assert [each.adds_up_to for each in then.explanations] == pytest.approx(scores, abs=2e-6)


@pytest.mark.parametrize("name", ["sqlite", "redis"])
@pytest.mark.parametrize(("text", "identity"), [("猫", "cat"), ("京都", "kyoto"), ("🍕", "pizza"), ("好き", "cat")])
def test_every_script_is_found_by_keyword(engines: Engines, name: str, text: str, identity: str) -> None:
    """Chinese, Japanese and emoji are words to look up."""
    page = engines.explained(name, SearchQuery(text=text, mode=SearchMode.KEYWORD), MINE).page
    assert [hit.memory.id for hit in page.hits] == [identity]


@pytest.mark.parametrize("name", ["sqlite", "redis"])
@pytest.mark.parametrize("mode", RANKED)
def test_expected_memories_get_the_same_reason(engines: Engines, name: str, mode: SearchMode) -> None:
    """Stages do not depend on the engine."""
    query = SearchQuery(text="what did Ana paint?", mode=mode, limit=2)
    found = engines.explained(name, query, MINE, "tea", "nowhere", "Ana paints lighthouses", "cat")
    stages = [each.stage.value for each in found.expectations]
    unreached = {"keyword": "no_candidate", "semantic": "outranked"}.get(mode.value, stages[3])
    assert stages == ["outranked", "not_found", "on_the_page", unreached]
    filtered = replace(MINE, session_id=TextFilter(eq="s2"))
    (left_out,) = engines.explained(name, query, filtered, "m0").expectations
    assert left_out.filters == ("session_id",)


@pytest.mark.parametrize("name", ["sqlite", "redis"])
def test_a_blank_text_with_filters_lists(engines: Engines, name: str) -> None:
    """No text is no syntax error either: what the filter leaves, newest first."""
    page = engines.explained(name, SearchQuery(text=" "), replace(MINE, session_id=TextFilter(eq="s1"))).page
    assert {hit.memory.id for hit in page.hits} == {"m0", "m1", "m2", "m3", "told"}
