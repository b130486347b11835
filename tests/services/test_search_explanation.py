"""Why a search answered what it did: sums that add up, and one memory made to fall at each stage."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent_memory_server.domain.explanation import Expectation, Stage
from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Delete, Operation, OperationKind
from agent_memory_server.domain.recency import RecencyWeights
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.search import SearchMode, SearchQuery
from agent_memory_server.errors import InvalidInput
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.context_filling import ContextFilling
from agent_memory_server.services.search import SearchService
from agent_memory_server.services.search_explanation import SearchExplanationService
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.testing.embedder import HashEmbedder
from agent_memory_server.tokenizers.opening import EstimatingTokenizer
from tests.services.test_search import ANA, MINE, NOW, RANKED, add, explaining, ids, memory, said

WORDS = ["tea", "green", "noon", "cat", "sleeps", "May", "garden", "Lisbon", "river", "Ana", "Bo", "train", "bread"]


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    opened = await open_sqlite(tmp_path / "memory.db", now=lambda: NOW)
    yield opened
    await opened.engine.close()


@pytest.fixture
def search(stores: Stores) -> SearchService:
    filling = ContextFilling(store=stores.memories, tokenizer=EstimatingTokenizer())
    return SearchService(store=stores.memories, embedder=HashEmbedder(), now=lambda: NOW, filling=filling)


@pytest.fixture
def why(stores: Stores, search: SearchService) -> SearchExplanationService:
    return explaining(stores, search, HashEmbedder())


def chatter(count: int, seed: int) -> Sequence[Memory]:
    """Messages of two sessions and facts, some of them made from a message, of words at random."""
    draw = random.Random(seed)
    made: list[Memory] = []
    for number in range(count):
        text = " ".join(draw.choices(WORDS, k=draw.randint(1, 9))) + draw.choice(["", "?"])
        if number % 3:
            session = f"s{number % 2}"
            made.append(said(f"m{number}", text, number, session=session, name=draw.choice(["Ana", "Bo", None])))
        else:
            fact = memory(f"f{number}", text, days_ago=draw.random() * 90)
            source = (f"m{number - 1}",) if number else None
            made.append(replace(fact, scope=replace(ANA, session_id=f"s{(number - 1) % 2}"), extracted_from=source))
    return made


@pytest.mark.parametrize("mode", RANKED)
@pytest.mark.parametrize("alpha", [0.0, 0.4, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(3))
async def test_every_explanation_adds_up_to_its_score(
    stores: Stores, search: SearchService, why: SearchExplanationService, mode: SearchMode, alpha: float, seed: int
) -> None:
    """Parts make the score, recency makes the final score, the page falls by it; and explaining changes no page."""
    await add(stores, HashEmbedder(), *chatter(60, seed))
    await add(stores, None, memory("pending", "a cat in the garden"))
    draw = random.Random(seed)
    for _ in range(5):
        text = " ".join(draw.choices(WORDS, k=4)) + draw.choice(["", " in May", " last week"])
        query = SearchQuery(text=text, mode=mode, alpha=alpha, limit=40, recency=draw.choice([None, RecencyWeights()]))
        explained = await why.explained(MINE, query, as_of=draw.choice([None, NOW]))
        assert explained.page == await search.search(MINE, query)
        finals: list[float] = []
        for rank, (hit, each) in enumerate(zip(explained.page.hits, explained.explanations, strict=True), start=1):
            assert each.adds_up_to == pytest.approx(each.score, abs=2e-6)
            assert hit.score == pytest.approx(min(1.0, max(0.0, each.score)))
            assert hit.score_type is each.mode
            assert each.rank == rank
            blended = each.score if each.recency is None else each.recency.blended(each.score)
            assert each.final == pytest.approx(blended)
            assert (each.recency is None) is (query.recency is None)
            assert each.by_words is not None or each.by_meaning is not None or each.in_pool
            finals.append(each.final)
        assert finals == sorted(finals, reverse=True) or finals == pytest.approx(sorted(finals, reverse=True))


async def judged(
    why: SearchExplanationService, expected: str, query: SearchQuery, criteria: MemoryFilter = MINE
) -> Expectation:
    (found,) = (await why.expected(criteria, query, [expected])).expectations
    return found


@pytest.mark.parametrize("mode", RANKED)
async def test_what_is_outside_the_search_is_not_found(
    stores: Stores, why: SearchExplanationService, mode: SearchMode
) -> None:
    """Another's memory, by id and by text, looks exactly like none."""
    theirs = memory("theirs", "green tea of Bo", scope=Scope("default", "home", "bo"))
    await add(stores, HashEmbedder(), theirs)
    await add(stores, HashEmbedder(), memory("mine", "green tea"))
    query = SearchQuery(text="green tea", mode=mode)
    absent = await judged(why, "nobody's", query)
    assert (absent.stage, absent.memory) == (Stage.NOT_FOUND, None)
    for expected in ("theirs", "green tea of Bo"):
        assert await judged(why, expected, query) == replace(absent, expected=expected)
    beyond = await why.expected(None, query, ["mine"])
    assert [each.stage for each in beyond.expectations] == [Stage.NOT_FOUND]


@pytest.mark.parametrize("mode", RANKED)
async def test_filters_superseding_and_expiry_are_named(
    stores: Stores, why: SearchExplanationService, mode: SearchMode
) -> None:
    """What never became a candidate says which filter left it out, by what it was superseded, or when it ended."""
    gone = replace(memory("gone", "green tea gone"), expires_at=NOW - timedelta(seconds=1))
    await add(stores, HashEmbedder(), memory("tea", "green tea"), gone)
    await add(stores, HashEmbedder(), replace(memory("old", "old green tea"), superseded_by="tea"))
    query = SearchQuery(text="green tea", mode=mode)
    filtered = replace(MINE, topics=TextFilter(any=("food",)), memory_type=TextFilter(eq="episodic"))
    found = await judged(why, "tea", query, filtered)
    assert (found.stage, found.filters) == (Stage.FILTERED_OUT, ("topics", "memory_type"))
    elsewhere = replace(MINE, selector=ScopeSelector("default"), namespace=TextFilter(ne="home"))
    assert (await judged(why, "tea", query, elsewhere)).filters == ("namespace",)
    old = await judged(why, "old", query)
    assert old.stage is Stage.SUPERSEDED
    assert "superseded by tea" in old.reason
    assert (await judged(why, "old", query, replace(MINE, include_superseded=True))).stage is Stage.ON_THE_PAGE
    assert (await judged(why, "gone", query)).stage is Stage.EXPIRED


async def test_what_no_channel_brings(stores: Stores, why: SearchExplanationService) -> None:
    """Without a word of the query there is no way in by keyword; with neither word nor vector in no mode."""
    await add(stores, HashEmbedder(), memory("tea", "green tea"), memory("cat", "the cat sleeps"))
    await add(stores, None, memory("pending", "taxes in May"))
    by_words = await judged(why, "cat", SearchQuery(text="green tea", mode=SearchMode.KEYWORD))
    assert by_words.stage is Stage.NO_CANDIDATE
    assert "none of the query's words (green, tea)" in by_words.reason
    for mode in (SearchMode.SEMANTIC, SearchMode.HYBRID):
        found = await judged(why, "taxes in may", SearchQuery(text="green tea", mode=mode))
        assert (found.stage, found.memory and found.memory.id) == (Stage.NO_CANDIDATE, "pending")
        assert "has no vector yet" in found.reason


@pytest.mark.parametrize("mode", RANKED)
async def test_what_is_outranked_says_by_how_much(
    stores: Stores, why: SearchExplanationService, mode: SearchMode
) -> None:
    """Its own place and score, those of the page's last hit, and where the difference comes from; pages before count too."""
    texts = ["green tea at noon", "green tea", "green bread", "green river train ticket jar"]
    await add(stores, HashEmbedder(), *(memory(f"m{place}", text) for place, text in enumerate(texts)))
    query = SearchQuery(text="green tea", mode=mode, limit=2)
    page = await why.expected(MINE, query, ["m3", "m0", "m1"])
    last, first, second = page.expectations
    assert last.stage is Stage.OUTRANKED
    assert last.explanation is not None
    assert last.missing_by == pytest.approx(page.explanations[-1].final - last.explanation.final)
    assert last.missing_by is not None
    assert last.missing_by > 0
    assert {first.stage, second.stage} == {Stage.ON_THE_PAGE}
    later = await judged(why, ids(page.page)[0], replace(query, offset=1))
    assert later.stage is Stage.EARLIER_PAGE


@pytest.mark.parametrize("mode", RANKED)
async def test_places_are_those_of_the_pages_among_equals_too(
    stores: Stores, why: SearchExplanationService, mode: SearchMode
) -> None:
    """Who says the same at the same time is told the place that walking the pages shows, whoever was stored first."""
    await add(stores, HashEmbedder(), *(memory(f"m{9 - place}", "green tea") for place in range(8)))
    for offset in (0, 3, 6):
        query = SearchQuery(text="green tea", mode=mode, limit=2, offset=offset)
        page = await why.expected(MINE, query, [f"m{place}" for place in range(2, 10)])
        assert [each.explanation and each.explanation.rank for each in page.expectations] == list(range(1, 9))
        stages = [each.stage for each in page.expectations]
        shown = [Stage.ON_THE_PAGE] * 2
        assert stages == [*[Stage.EARLIER_PAGE] * offset, *shown, *[Stage.OUTRANKED] * (6 - offset)]
        assert f"the page ends at number {offset + 2} with" in page.expectations[-1].reason or offset == 6


async def test_what_a_message_said_already_says_so(stores: Stores, why: SearchExplanationService) -> None:
    """A memory that gave way to the message it came from is told that, not a signal that it does not lack."""
    told = replace(memory("told", "green tea at noon"), scope=replace(ANA, session_id="s1"), extracted_from=("m0",))
    await add(stores, HashEmbedder(), said("m0", "green tea at noon", 0), told, memory("also", "green tea and bread"))
    query = SearchQuery(text="green tea noon", mode=SearchMode.HYBRID, limit=1)
    found = await judged(why, "told", query)
    assert found.stage is Stage.OUTRANKED
    assert "a quarter of that one's chance" in found.reason


async def test_a_text_means_the_likeliest_that_holds_it(stores: Stores, why: SearchExplanationService) -> None:
    """Of several the one that says just this, then the newest; the others are counted. What expired is found by its text, too."""
    made = [memory("x", "green tea daily"), memory("b", "green tea", days_ago=3), memory("a", "green tea", days_ago=1)]
    await add(stores, HashEmbedder(), *made)
    query = SearchQuery(text="green tea")
    found = await judged(why, "Green  tea", query)
    assert found.memory is not None
    assert found.memory.id == "a"
    assert "3 memories hold this text" in found.reason
    assert "hold this text" not in (await judged(why, "tea daily", query)).reason
    await add(stores, HashEmbedder(), replace(memory("gone", "an old river"), expires_at=NOW - timedelta(days=1)))
    assert (await judged(why, "old river", query)).stage is Stage.EXPIRED


async def test_what_is_no_more_there_says_what_took_it_away(stores: Stores, why: SearchExplanationService) -> None:
    """Forgotten or deleted is not found; the reason names the operation to whom the memory belonged, and to nobody else."""
    theirs = memory("theirs", "green river", scope=Scope("default", "home", "bo"))
    kept = [memory("forgotten", "green tea"), memory("deleted", "green bread"), theirs]
    await add(stores, HashEmbedder(), *kept)
    for each, kind in zip(kept, (OperationKind.FORGET, OperationKind.DELETE, OperationKind.FORGET), strict=True):
        change = Delete(key=each.key, scrub=kind is OperationKind.DELETE)
        removal = Operation(
            id=f"end-{each.id}", tenant="default", kind=kind, actor="test", at=NOW, reason="too old", changes=(change,)
        )
        await stores.memories.commit(removal)
    query = SearchQuery(text="green tea")
    reasons = {each.id: await judged(why, each.id, query) for each in kept}
    assert {each.stage for each in reasons.values()} == {Stage.NOT_FOUND}
    assert "operation end-forgotten, forget (too old), took it away" in reasons["forgotten"].reason
    assert "its text is gone" in reasons["deleted"].reason
    assert reasons["theirs"].reason == (await judged(why, "nobody's", query)).reason


async def test_beyond_the_pool(stores: Stores, why: SearchExplanationService) -> None:
    """Hybrid looks at the neighbours, the speaker and the time of the best of both channels only, and says so of others."""
    await add(stores, HashEmbedder(), *(memory(f"m{n:03}", "green tea" + " tea" * n) for n in range(40)))
    await add(stores, HashEmbedder(), memory("far", "green river train ticket jar bread garden cat sleeps noon"))
    found = await judged(why, "far", SearchQuery(text="green tea", mode=SearchMode.HYBRID))
    assert found.stage is Stage.BEYOND_THE_POOL
    assert found.explanation is not None
    assert found.explanation.in_pool is False


@pytest.mark.parametrize("mode", RANKED)
async def test_cuts_leave_out_and_may_leave_nothing(
    stores: Stores, search: SearchService, why: SearchExplanationService, mode: SearchMode
) -> None:
    """A least score and a share of the best one's: whatever passes is the beginning of the page, and all pages fit."""
    texts = ["green tea at noon", "green tea", "green bread", "green river train ticket jar"]
    await add(stores, HashEmbedder(), *(memory(f"m{place}", text) for place, text in enumerate(texts)))
    query = SearchQuery(text="green tea", mode=mode)
    full = await search.search(MINE, query)
    scores = [hit.score or 0.0 for hit in full.hits]
    lowest = (scores[1] + scores[2]) / 2
    for cutting in (replace(query, score_min=lowest), replace(query, relative_cut=lowest / scores[0])):
        page = await search.search(MINE, cutting)
        assert (ids(page), page.total, page.next_offset) == (ids(full)[:2], 2, None)
        found = await judged(why, ids(full)[3], cutting)
        assert found.stage is Stage.UNDER_THE_CUT
        assert "the cut is at" in found.reason
    nothing = await search.search(MINE, replace(query, score_min=1.0, text="zebra"))
    assert (nothing.hits, nothing.total) == ((), 0)


async def test_a_distance_limit_is_a_cut(stores: Stores, why: SearchExplanationService) -> None:
    """What lies beyond distance_threshold says how far it is."""
    await add(stores, HashEmbedder(), memory("tea", "green tea"), memory("cat", "the cat sleeps"))
    await add(stores, None, memory("pending", "tea and taxes and trains"))
    query = SearchQuery(text="green tea", distance_max=0.1)
    found = await judged(why, "cat", query)
    assert found.stage is Stage.UNDER_THE_CUT
    assert "beyond distance_threshold 0.1" in found.reason
    assert (await judged(why, "pending", query)).stage is Stage.UNDER_THE_CUT


async def test_a_budget_holds_hits_and_what_stands_around_them(
    stores: Stores, search: SearchService, why: SearchExplanationService
) -> None:
    """Never more tokens than asked for; lines in the order of talk with their time; who did not fit says so."""
    talk = ["Where shall we go?", "Lisbon, the river", "And the train?", "Bread and a jar", "The cat sleeps"]
    messages = [said(f"m{place}", text, place, name="Ana") for place, text in enumerate(talk)]
    await add(stores, HashEmbedder(), *messages, memory("long", "Lisbon river " * 40))
    query = SearchQuery(text="Lisbon river", mode=SearchMode.HYBRID, limit=2, tokens_max=70)
    page = await search.search(MINE, query)
    assert page.context is not None
    assert ids(page) == ["m1"]
    assert page.context.memory_ids == ("m0", "m1", "m2")
    assert page.context.tokens <= 70
    assert [line[:1] + line[18:] for line in page.context.text.splitlines()] == [f"[ Ana: {each}" for each in talk[:3]]
    found = await judged(why, "long", replace(query, limit=5))
    assert found.stage is Stage.OVER_THE_BUDGET
    assert "did not fit" in found.reason
    beside = await judged(why, "m0", query)
    assert (beside.stage, "beside one" in beside.reason) == (Stage.ON_THE_PAGE, True)
    small = await search.search(MINE, replace(query, tokens_max=3, limit=5))
    assert (small.hits, small.context and small.context.text) == ((), "")


async def test_a_listing_has_no_ranking_to_explain(stores: Stores, why: SearchExplanationService) -> None:
    """A blank text is refused where memories are expected, and else listed without explanations."""
    await add(stores, HashEmbedder(), memory("tea", "green tea"))
    with pytest.raises(InvalidInput):
        await why.expected(MINE, SearchQuery(text=" "), ["tea"])
    listed = await why.explained(MINE, SearchQuery(text=""))
    assert (ids(listed.page), listed.explanations) == (["tea"], ())


async def test_messages_of_one_moment_keep_their_order(stores: Stores, search: SearchService) -> None:
    """A session whose messages all carry one time is written down as it was said."""
    at = NOW - timedelta(days=1)
    talk = [
        Memory(
            id=f"x{31 - place}",
            scope=replace(ANA, session_id="s"),
            text=f"{'river' if place % 3 else 'garden'} part {place}",
            created_at=at,
            updated_at=at,
            last_accessed=at,
            memory_type=MemoryType.MESSAGE,
        )
        for place in range(11)
    ]
    await add(stores, HashEmbedder(), *talk)
    page = await search.search(MINE, SearchQuery(text="garden", mode=SearchMode.KEYWORD, tokens_max=500))
    assert len(page.hits) == 4
    assert page.context is not None
    assert page.context.memory_ids == tuple(f"x{31 - place}" for place in range(11))
