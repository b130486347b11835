"""Search over the real engine: what each mode finds, how pages fit together, and what happens while vectors are missing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent_memory_server.domain.filters import MemoryFilter, TextFilter, TimeFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.operations import Embedded, Operation, OperationKind, Put
from agent_memory_server.domain.recency import RecencyWeights
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.search import Page, SearchMode, SearchQuery
from agent_memory_server.domain.tokens import index_tokens
from agent_memory_server.errors import BadRequest, EmbedderUnavailable, InvalidInput
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.embedding import EmbeddingService, text_to_embed
from agent_memory_server.services.reindexing import ReindexingService
from agent_memory_server.services.search import RERANKED_MAX, SearchService
from agent_memory_server.services.search_explanation import SearchExplanationService
from agent_memory_server.services.time_travel import TimeTravelService
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.testing.embedder import HashEmbedder, SwitchableEmbedder
from agent_memory_server.tokenizers.opening import EstimatingTokenizer
from tests.recency_formula import blended

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ANA = Scope("default", "home", "ana")
MINE = MemoryFilter(selector=ScopeSelector("default", "home", "ana"))
RANKED = [SearchMode.SEMANTIC, SearchMode.KEYWORD, SearchMode.HYBRID]


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    opened = await open_sqlite(tmp_path / "memory.db", now=lambda: NOW)
    yield opened
    await opened.engine.close()


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder()


@pytest.fixture
def service(stores: Stores, embedder: HashEmbedder) -> SearchService:
    return SearchService(store=stores.memories, embedder=embedder, now=lambda: NOW)


def memory(identity: str, text: str, *, scope: Scope = ANA, days_ago: float = 0.0, name: str | None = None) -> Memory:
    at = NOW - timedelta(days=days_ago)
    return Memory(id=identity, scope=scope, text=text, name=name, created_at=at, updated_at=at, last_accessed=at)


async def add(stores: Stores, embedder: Embedder | None, *memories: Memory) -> None:
    """Store memories; without an embedder their vectors are still to come."""
    embedded: list[Embedded | None] = [None] * len(memories)
    if embedder is not None:
        vectors = await embedder.embed([text_to_embed(each) for each in memories])
        embedded = [Embedded(model=embedder.model, vector=vector) for vector in vectors]
    changes = tuple(
        Put(memory=each, tokens=index_tokens(each.text, each.name, each.topics, each.entities), embedded=vector)
        for each, vector in zip(memories, embedded, strict=True)
    )
    await stores.memories.commit(
        Operation(
            id=f"add-{memories[0].scope.user_id}-{memories[0].id}-{len(memories)}",
            tenant=memories[0].scope.tenant,
            kind=OperationKind.CREATE,
            actor="test",
            at=NOW,
            changes=changes,
        )
    )


def ids(page: Page) -> list[str]:
    return [hit.memory.id for hit in page.hits]


def explaining(stores: Stores, search: SearchService, embedder: Embedder) -> SearchExplanationService:
    """Why ``search`` answers what it does, now and as of a time."""
    travel = TimeTravelService(
        journal=stores.journal,
        store=stores.memories,
        embedder=embedder,
        tokenizer=EstimatingTokenizer(),
        now=lambda: NOW,
    )
    return SearchExplanationService(
        search=search, store=stores.memories, journal=stores.journal, embedder=embedder, travel=travel
    )


def numbered(count: int) -> Sequence[Memory]:
    """Memories that all speak of tea, each in its own degree."""
    return [
        memory(f"m{number:03}", "tea " * (1 + number % 7) + f"and subject {number}", days_ago=number % 50)
        for number in range(count)
    ]


@pytest.mark.parametrize("mode", RANKED)
async def test_the_right_memory_comes_first(
    stores: Stores, embedder: HashEmbedder, service: SearchService, mode: SearchMode
) -> None:
    """In every mode the memory that the query is about leads, with a score in 0..1 and its distance."""
    await add(
        stores,
        embedder,
        memory("tea", "green tea at noon"),
        memory("cat", "the cat sleeps"),
        memory("tax", "taxes in May"),
    )
    page = await service.search(MINE, SearchQuery(text="green tea", mode=mode))
    assert ids(page)[0] == "tea"
    best = page.hits[0]
    assert best.score is not None
    assert 0 < best.score <= 1
    assert best.distance == pytest.approx(1 - best.score, abs=1e-5)
    assert best.score_type is mode
    scores = [hit.score for hit in page.hits]
    assert scores == sorted(scores, key=lambda score: -(score or 0))


async def test_keyword_finds_only_what_holds_a_word(
    stores: Stores, embedder: HashEmbedder, service: SearchService
) -> None:
    """Words are the only way in for keyword mode; its total counts the matches."""
    await add(stores, embedder, memory("tea", "green tea"), memory("cat", "the cat sleeps"))
    page = await service.search(MINE, SearchQuery(text="teas", mode=SearchMode.KEYWORD))
    assert (ids(page), page.total, page.next_offset) == (["tea"], 1, None)


async def test_neither_channel_gates_the_other(stores: Stores, embedder: HashEmbedder, service: SearchService) -> None:
    """Hybrid finds a memory without a common word by its vector, and one without a vector by its words."""
    await add(stores, embedder, memory("vector", "green tea at noon"))
    await add(stores, None, memory("words", "a pot of tea"))
    stored = await embedder.embed(["zebra crossing"])
    await stores.memories.commit(
        Operation(
            id="odd",
            tenant="default",
            kind=OperationKind.CREATE,
            actor="test",
            at=NOW,
            changes=(
                Put(
                    memory=memory("meaning", "nothing alike"),
                    tokens={"nothing": 1, "alike": 1},
                    embedded=Embedded(model=embedder.model, vector=stored[0]),
                ),
            ),
        )
    )
    page = await service.search(MINE, SearchQuery(text="tea zebra crossing", mode=SearchMode.HYBRID))
    assert set(ids(page)) == {"vector", "words", "meaning"}


async def test_alpha_tilts_hybrid_between_the_pure_orders(
    stores: Stores, embedder: HashEmbedder, service: SearchService
) -> None:
    """Alpha 0 orders as keyword mode and alpha 1 as semantic mode."""
    await add(stores, embedder, *numbered(30))
    for alpha, mode in ((0.0, SearchMode.KEYWORD), (1.0, SearchMode.SEMANTIC)):
        hybrid = await service.search(MINE, SearchQuery(text="tea subject 7", mode=SearchMode.HYBRID, alpha=alpha))
        pure = await service.search(MINE, SearchQuery(text="tea subject 7", mode=mode))
        assert ids(hybrid) == ids(pure)


@pytest.mark.parametrize("mode", RANKED)
async def test_what_has_no_vector_yet_is_found_in_every_mode(
    stores: Stores, embedder: HashEmbedder, service: SearchService, mode: SearchMode
) -> None:
    """A memory whose vector is pending is found by its words at once, and a semantic hit says how it was found."""
    await add(stores, embedder, *(memory(f"other{number}", f"subject {number}") for number in range(20)))
    await add(stores, None, memory("pending", "the violet umbrella"))
    page = await service.search(MINE, SearchQuery(text="where is my violet umbrella", mode=mode))
    assert ids(page)[0] == "pending"
    assert page.hits[0].score_type is (SearchMode.KEYWORD if mode is SearchMode.SEMANTIC else mode)


async def test_pending_memories_are_found_beside_narrower_filters(
    stores: Stores, embedder: HashEmbedder, service: SearchService
) -> None:
    """Also where more than the scope narrows the search, and within a distance limit."""
    session = replace(ANA, session_id="s1")
    await add(stores, embedder, *(memory(f"o{number}", f"subject {number}", scope=session) for number in range(5)))
    await add(stores, None, memory("pending", "violet umbrella", scope=session), memory("elsewhere", "violet umbrella"))
    narrowed = replace(MINE, session_id=TextFilter(eq="s1"))
    page = await service.search(narrowed, SearchQuery(text="violet umbrella"))
    assert ids(page)[0] == "pending"
    assert "elsewhere" not in ids(page)
    near = await service.search(narrowed, SearchQuery(text="violet umbrella", distance_max=0.6))
    assert ids(near) == ["pending"]
    assert (await service.search(narrowed, SearchQuery(text="violet umbrella", distance_max=0.01))).hits == ()


async def test_emoji_and_unknown_scripts_are_found_without_a_vector(stores: Stores) -> None:
    """A query with nothing to embed is answered by its words in semantic mode."""
    embedder = SwitchableEmbedder(NothingToEmbed(), is_local=True)
    service = SearchService(store=stores.memories, embedder=embedder, now=lambda: NOW)
    await add(stores, embedder, memory("pizza", "tonight 🍕"), memory("none", "tomorrow"))
    for mode in RANKED:
        assert ids(await service.search(MINE, SearchQuery(text="🍕", mode=mode))) == ["pizza"]


class NothingToEmbed(HashEmbedder):
    async def embed(self, texts: Sequence[str], /, *, is_query: bool = False) -> Sequence[None]:
        return [None] * len(texts)


@pytest.mark.parametrize("mode", RANKED)
@pytest.mark.parametrize(
    "text", ["?!", "AND OR NOT NEAR(", '"', "the of and", "a* -b ^c:d", "\x00", "猫", "x " * 5_000]
)
async def test_odd_queries_are_answered(
    stores: Stores, embedder: HashEmbedder, service: SearchService, mode: SearchMode, text: str
) -> None:
    """Operators, quotes, stop words, other scripts and long texts are words to look for, never syntax."""
    await add(stores, embedder, memory("tea", "the tea and the cat"), memory("cat", "黒猫"))
    page = await service.search(MINE, SearchQuery(text=text, mode=mode))
    assert page.total >= len(page.hits)


@pytest.mark.parametrize("mode", RANKED)
@pytest.mark.parametrize("recency", [None, RecencyWeights()])
async def test_pages_fit_together(
    stores: Stores, embedder: HashEmbedder, service: SearchService, mode: SearchMode, recency: RecencyWeights | None
) -> None:
    """Walking by next_offset shows every match once, in the order of one big page, and total says how many."""
    await add(stores, embedder, *numbered(230))
    whole: list[str] = []
    for offset in range(0, 230, 100):
        page = await service.search(MINE, SearchQuery(text="tea", mode=mode, recency=recency, limit=100, offset=offset))
        whole += ids(page)
    walked: list[str] = []
    offset: int | None = 0
    while offset is not None:
        page = await service.search(MINE, SearchQuery(text="tea", mode=mode, recency=recency, limit=23, offset=offset))
        assert page.total == 230
        walked += ids(page)
        offset = page.next_offset
    assert walked == whole
    assert len(set(walked)) == 230


@pytest.mark.parametrize("mode", RANKED)
async def test_rankings_repeat_and_ties_go_to_the_newest(
    stores: Stores, embedder: HashEmbedder, service: SearchService, mode: SearchMode
) -> None:
    """Equal texts tie; the newest comes first, then the lower id; asked twice, the answer is the same."""
    await add(
        stores,
        embedder,
        memory("b", "tea time", days_ago=3),
        memory("a", "tea time", days_ago=3),
        memory("new", "tea time", days_ago=1),
        memory("old", "tea time", days_ago=9),
    )
    query = SearchQuery(text="tea time", mode=mode)
    assert ids(await service.search(MINE, query)) == ["new", "a", "b", "old"]
    assert await service.search(MINE, query) == await service.search(MINE, query)
    second = await service.search(MINE, replace(query, limit=2, offset=1))
    assert ids(second) == ["a", "b"]


@pytest.mark.parametrize("mode", RANKED)
async def test_recency_orders_by_the_formula(
    stores: Stores, embedder: HashEmbedder, service: SearchService, mode: SearchMode
) -> None:
    """The page's order is that of the contract's formula over the best by relevance; scores stay those of relevance."""
    await add(stores, embedder, *numbered(60))
    weights = RecencyWeights()
    plain = await service.search(MINE, SearchQuery(text="tea", mode=mode, limit=60))
    boosted = await service.search(MINE, SearchQuery(text="tea", mode=mode, limit=60, recency=weights))
    relevance = {hit.memory.id: 1 - hit.distance for hit in plain.hits}
    expected = sorted(
        (hit.memory for hit in plain.hits),
        key=lambda each: (
            -round(blended(relevance[each.id], each, weights, NOW, in_proportion=mode is SearchMode.HYBRID), 9),
            -each.created_at.timestamp(),
            each.id,
        ),
    )
    assert ids(boosted) == [each.id for each in expected]
    assert ids(boosted) != ids(plain)
    assert {hit.memory.id: hit.score for hit in boosted.hits} == {hit.memory.id: hit.score for hit in plain.hits}


async def test_recency_reaches_no_further_than_documented(
    stores: Stores, embedder: HashEmbedder, service: SearchService
) -> None:
    """Beyond the first RERANKED_MAX by relevance, pages go by relevance alone."""
    await add(stores, embedder, *numbered(RERANKED_MAX + 40))
    query = SearchQuery(text="tea", mode=SearchMode.KEYWORD, offset=RERANKED_MAX, limit=40)
    boosted = await service.search(MINE, replace(query, recency=RecencyWeights()))
    scores = [hit.score or 0 for hit in boosted.hits]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("mode", RANKED)
async def test_nobody_elses_memories(
    stores: Stores, embedder: HashEmbedder, service: SearchService, mode: SearchMode
) -> None:
    """Another user's, namespace's or tenant's exact text is not found, nor does it move a score."""
    await add(stores, embedder, memory("mine", "green tea at noon"), memory("cat", "the cat sleeps at noon"))
    query = SearchQuery(text="green tea secret", mode=mode)
    before = await service.search(MINE, query)
    for scope in (Scope("default", "home", "bob"), Scope("default", "work", "ana"), Scope("other", "home", "ana")):
        await add(stores, embedder, *(memory(f"x{number}", "green tea secret", scope=scope) for number in range(5)))
    after = await service.search(MINE, query)
    assert after == before


async def test_a_blank_text_lists(stores: Stores, embedder: HashEmbedder, service: SearchService) -> None:
    """Nothing to rank by: everything that matches, newest first, without scores, with the true total."""
    await add(stores, embedder, *(memory(f"m{number}", f"note {number}", days_ago=number) for number in range(5)))
    page = await service.search(MINE, SearchQuery(text="  ", limit=2, offset=2, recency=RecencyWeights()))
    assert (ids(page), page.total, page.next_offset) == (["m2", "m3"], 5, 4)
    assert all((hit.distance, hit.score, hit.score_type) == (0.0, None, None) for hit in page.hits)
    assert (await service.search(MINE, SearchQuery(text="", limit=2, offset=4))).next_offset is None


async def test_a_distance_limit(stores: Stores, embedder: HashEmbedder, service: SearchService) -> None:
    """In semantic mode only what is near enough is found and counted; elsewhere it is refused in the contract's words."""
    await add(stores, embedder, memory("tea", "green tea"), memory("cat", "the cat sleeps"))
    page = await service.search(MINE, SearchQuery(text="green tea", distance_max=0.1))
    assert (ids(page), page.total, page.next_offset) == (["tea"], 1, None)
    for mode in (SearchMode.KEYWORD, SearchMode.HYBRID):
        with pytest.raises(BadRequest, match=r"^distance_threshold is only supported for semantic search mode$"):
            await service.search(MINE, SearchQuery(text="tea", mode=mode, distance_max=0.1))


async def test_a_page_too_deep_is_refused(service: SearchService) -> None:
    """The window of a ranked search is bounded and the error names the field."""
    with pytest.raises(InvalidInput, match="offset") as raised:
        await service.search(MINE, SearchQuery(text="tea", offset=LIMITS.search_window_max))
    assert raised.value.field == ("body", "offset")


async def test_an_embedder_that_is_down_is_not_dressed_up(stores: Stores) -> None:
    """Keyword mode goes on; semantic and hybrid say so instead of answering by words alone; then they work again."""
    embedder = SwitchableEmbedder()
    service = SearchService(store=stores.memories, embedder=embedder, now=lambda: NOW)
    await add(stores, embedder, memory("tea", "green tea"))
    embedder.fail()
    assert ids(await service.search(MINE, SearchQuery(text="tea", mode=SearchMode.KEYWORD))) == ["tea"]
    assert (await service.search(MINE, SearchQuery(text="???", mode=SearchMode.KEYWORD))).hits == ()
    for mode in (SearchMode.SEMANTIC, SearchMode.HYBRID):
        with pytest.raises(EmbedderUnavailable):
            await service.search(MINE, SearchQuery(text="tea", mode=mode))
    embedder.recover()
    for mode in RANKED:
        assert ids(await service.search(MINE, SearchQuery(text="tea", mode=mode))) == ["tea"]


async def test_access_is_noted_once_in_a_while(stores: Stores, embedder: HashEmbedder, service: SearchService) -> None:
    """Showing a memory counts as an access, at most once in fifteen minutes."""
    await add(stores, embedder, memory("old", "green tea", days_ago=2), memory("new", "tea now"))
    page = await service.search(MINE, SearchQuery(text="tea", mode=SearchMode.KEYWORD))
    assert await service.note_access(page) == 1
    assert await service.note_access(page) == 0
    touched = await stores.memories.get(memory("old", "").key)
    assert touched is not None
    assert (touched.access_count, touched.last_accessed) == (1, NOW)


async def test_pending_vectors_are_worked_through(stores: Stores) -> None:
    """What was stored without a vector gets one, in batches, with progress; a second run finds nothing to do."""
    embedder = SwitchableEmbedder()
    await add(stores, None, *numbered(300))
    embedding = EmbeddingService(store=stores.memories, embedder=embedder)
    progress: list[int] = []
    report = await embedding.embed_pending(on_progress=progress.append)
    assert (report.scanned, report.embedded, progress[-1]) == (300, 300, 300)
    assert len(progress) > 1
    assert (await embedding.embed_pending()).scanned == 0
    page = await SearchService(store=stores.memories, embedder=embedder, now=lambda: NOW).search(
        MINE, SearchQuery(text="tea subject 7")
    )
    assert page.hits[0].score_type is SearchMode.SEMANTIC


async def test_an_outage_while_embedding_loses_nothing(stores: Stores) -> None:
    """The batch that failed stays pending and raises; the next run goes on from there."""
    embedder = SwitchableEmbedder()
    await add(stores, None, *numbered(300))
    embedding = EmbeddingService(store=stores.memories, embedder=embedder)

    def stop_after_first(_: int) -> None:
        embedder.fail()

    with pytest.raises(EmbedderUnavailable):
        await embedding.embed_pending(on_progress=stop_after_first)
    embedder.recover()
    report = await embedding.embed_pending()
    assert 0 < report.embedded < 300
    assert embedder.texts_embedded == 300


async def test_reindexing_replaces_the_model(stores: Stores, embedder: HashEmbedder) -> None:
    """Every memory gets a vector of the new model and those of the old one go; search works before, between and after."""
    await add(stores, embedder, *numbered(20), memory("silent", "🍕"))
    renewed = HashEmbedder(dimensions=32, model="renewed")
    service = SearchService(store=stores.memories, embedder=renewed, now=lambda: NOW)
    assert (await service.search(MINE, SearchQuery(text="tea"))).total >= 20
    progress: list[int] = []
    reindexing = ReindexingService(store=stores.memories, embedder=renewed)
    report = await reindexing.rebuild(on_progress=progress.append)
    assert (report.model, report.embedded, report.dropped, report.remaining) == (renewed.model, 21, 21, False)
    assert progress == sorted(progress)
    again = await reindexing.rebuild()
    assert (again.embedded, again.dropped) == (0, 0)
    page = await service.search(MINE, SearchQuery(text="tea subject 3"))
    assert all(hit.score_type is SearchMode.SEMANTIC for hit in page.hits)


async def test_names_are_part_of_what_is_embedded(stores: Stores, embedder: HashEmbedder) -> None:
    """Whose words they are is in the vector."""
    spoken = memory("m", "I painted a lake", name="Ana")
    assert text_to_embed(spoken) == "Ana: I painted a lake"
    await add(stores, None, spoken)
    await EmbeddingService(store=stores.memories, embedder=embedder).embed_pending()
    service = SearchService(store=stores.memories, embedder=embedder, now=lambda: NOW)
    page = await service.search(MINE, SearchQuery(text="Ana: I painted a lake"))
    assert [hit.distance for hit in page.hits] == pytest.approx([0.0], abs=1e-5)


def said(identity: str, text: str, place: int, *, session: str = "s1", name: str | None = None) -> Memory:
    """A message of a session, ``place`` minutes after its start."""
    at = NOW - timedelta(days=300) + timedelta(minutes=place)
    scope = replace(ANA, session_id=session)
    return replace(memory(identity, text, scope=scope, name=name), created_at=at, memory_type=MemoryType.MESSAGE)


async def test_an_answer_is_found_by_the_question_before_it(
    stores: Stores, embedder: HashEmbedder, service: SearchService
) -> None:
    """The reply that shares no word with the query comes with the message that does; other sessions' messages do not."""
    await add(
        stores,
        embedder,
        said("ask", "Which lighthouse did you paint?", 1, name="Ben"),
        said("reply", "The one near Porto, in oil.", 2, name="Ana"),
        said("far", "Good night then.", 9, session="s2"),
        *(said(f"x{number}", f"subject {number}", number, session="s3") for number in range(30)),
    )
    page = await service.search(MINE, SearchQuery(text="lighthouse paint", mode=SearchMode.HYBRID, limit=2))
    assert set(ids(page)) == {"ask", "reply"}


async def test_who_asks_when_is_told_a_time(stores: Stores, embedder: HashEmbedder, service: SearchService) -> None:
    """Of two memories that say the same, the one that tells a time comes first when a time is asked for, and only then."""
    await add(
        stores,
        embedder,
        memory("place", "Ana moved to the house in Porto"),
        memory("time", "Ana moved to the house last May"),
        replace(memory("dated", "Ana moved to the house by herself"), event_date=NOW - timedelta(days=90)),
    )
    order = {
        text: ids(await service.search(MINE, SearchQuery(text=text, mode=SearchMode.HYBRID)))
        for text in ("When did Ana move to the house?", "Did Ana move to the house?")
    }
    asked, unasked = order.values()
    assert asked[2] == "place"
    assert set(unasked) == {"place", "time", "dated"}


async def test_neighbours_that_the_filter_leaves_out_stay_out(
    stores: Stores, embedder: HashEmbedder, service: SearchService
) -> None:
    """Context never brings in what was filtered away or superseded."""
    await add(stores, embedder, said("a", "green tea", 1), said("b", "with milk", 2), said("c", "no sugar", 3))
    early = replace(MINE, created_at=TimeFilter(lt=said("b", "", 2).created_at))
    assert ids(await service.search(early, SearchQuery(text="green tea", mode=SearchMode.HYBRID))) == ["a"]


async def test_whose_words_and_when(stores: Stores, embedder: HashEmbedder, service: SearchService) -> None:
    """Of equal words those of the named speaker lead; of equal words those of the named month lead."""
    await add(
        stores,
        embedder,
        said("ben", "I sold the boat", 1, session="s1", name="Ben"),
        said("ana", "I sold the boat", 1, session="s2", name="Ana"),
    )
    for name, first in (("Ana", "ana"), ("Ben", "ben")):
        found = await service.search(MINE, SearchQuery(text=f"Did {name} sell a boat?", mode=SearchMode.HYBRID))
        assert ids(found)[0] == first
    dated = [memory(f"m{month}", "paid the tax", days_ago=31 * month) for month in range(1, 9)]
    await add(stores, embedder, *dated)
    wanted = dated[4].created_at
    query = SearchQuery(text=f"tax paid in {wanted:%B %Y}", mode=SearchMode.HYBRID, recency=RecencyWeights())
    assert ids(await service.search(MINE, query))[0] == "m5"


async def test_earlier_searches_do_not_decide_later_ones(
    stores: Stores, embedder: HashEmbedder, service: SearchService
) -> None:
    """In hybrid mode a memory that was just shown stays behind one that answers clearly better."""
    await add(
        stores,
        embedder,
        memory("right", "the violet umbrella is in the car", days_ago=90),
        memory("shown", "an umbrella stand", days_ago=90),
        *(memory(f"x{number}", f"subject {number}", days_ago=90) for number in range(30)),
    )
    query = SearchQuery(text="where is my violet umbrella", mode=SearchMode.HYBRID, recency=RecencyWeights(), limit=5)
    assert ids(await service.search(MINE, query))[0] == "right"
    assert await stores.memories.touch([memory("shown", "").key], at=NOW, interval_min_s=0) == 1
    assert ids(await service.search(MINE, query))[0] == "right"
