"""What every engine's Overviews has to do. Inherit and give a ``stores`` fixture."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Supersede
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.domain.sessions import SessionDraft
from agent_memory_server.ports.stores import Stores
from tests.contract.stores.making import ALICE, MODEL, T0, memory, message, operation, put, unit_vectors

ACME = ScopeSelector("acme")
BOB = replace(ALICE, user_id="bob")
NOBODY = Scope("acme", None, None)


async def _fill(stores: Stores) -> None:
    vectors = unit_vectors(5)
    await stores.memories.commit(
        operation(
            put(memory("a1", "one", topics=("tea", "cups")), vector=vectors[0]),
            put(memory("a2", "two", memory_type=MemoryType.EPISODIC), vector=vectors[1]),
            put(memory("a3", "old", created_at=T0 - timedelta(days=3)), vector=vectors[2]),
            put(memory("a4", "gone"), vector=vectors[3]),
            Supersede(key=memory("a4").key, by="a1"),
            put(memory("a5", "expired", expires_at=T0 - timedelta(seconds=1))),
            put(memory("b1", "bob's", scope=BOB), vector=vectors[4]),
            put(memory("n1", "nobody's", scope=NOBODY)),
        )
    )
    stranger = replace(ALICE, tenant="other")
    await stores.memories.commit(operation(put(memory("x", scope=stranger)), tenant="other"))


class OverviewsContract:
    async def test_counts_are_of_what_is_live_within_the_selector(self, stores: Stores) -> None:
        """By type; what stepped back and what has expired is not among them; other tenants never are."""
        await _fill(stores)
        counts = await stores.overviews.counts(ACME, now=T0)
        assert dict(counts.by_type) == {"semantic": 4, "episodic": 1}
        assert (counts.memories, counts.superseded, counts.owners, counts.sessions) == (5, 1, 3, 0)
        alice = await stores.overviews.counts(ScopeSelector("acme", "work", "alice"), now=T0)
        assert dict(alice.by_type) == {"semantic": 2, "episodic": 1}
        nobody = await stores.overviews.counts(ScopeSelector("acme", "work", "carol"), now=T0)
        assert (nobody.memories, nobody.owners, nobody.superseded) == (0, 0, 0)
        assert (await stores.overviews.counts(ScopeSelector("never"), now=T0)).memories == 0

    async def test_owners_come_with_their_live_memories(self, stores: Stores) -> None:
        """Those with the most first, in pages, and by how their user's id begins."""
        await _fill(stores)
        found = await stores.overviews.largest_owners(ACME, limit=10)
        assert [each.owner for each in found] == [ALICE, NOBODY, BOB]
        assert [each.memories for each in found][1:] == [1, 1]
        assert found[0].memories >= 3
        assert [each.owner for each in await stores.overviews.largest_owners(ACME, limit=1, offset=1)] == [NOBODY]
        assert [each.owner for each in await stores.overviews.largest_owners(ACME, limit=9, user_prefix="bo")] == [BOB]
        assert await stores.overviews.largest_owners(ScopeSelector("acme", None, "carol"), limit=9) == []

    async def test_growth_is_by_the_day_in_utc(self, stores: Stores) -> None:
        """Of live memories alone, from a time on; days without any are missing."""
        await _fill(stores)
        long_ago = datetime(1, 1, 1, tzinfo=UTC)
        today, before = date(2026, 1, 2), date(2025, 12, 30)
        assert await stores.overviews.growth(ACME, since=long_ago, now=T0) == {today: 4, before: 1}
        assert await stores.overviews.growth(ACME, since=T0 - timedelta(days=1), now=T0) == {today: 4}
        bob = ScopeSelector("acme", "work", "bob")
        assert await stores.overviews.growth(bob, since=long_ago, now=T0) == {today: 1}

    async def test_days_before_the_epoch_are_days_too(self, stores: Stores) -> None:
        """A memory from 1969 is from the day that it is from."""
        moment = datetime(1969, 12, 31, 23, 59, tzinfo=UTC)
        await stores.memories.commit(operation(put(memory("a", created_at=moment))))
        found = await stores.overviews.growth(ACME, since=datetime(1, 1, 1, tzinfo=UTC), now=T0)
        assert found == {date(1969, 12, 31): 1}

    async def test_sessions_are_listed_with_whose_they_are(self, stores: Stores) -> None:
        """The latest first, with their messages counted; expired ones are absent."""
        for number, (owner, ttl) in enumerate([(ALICE, None), (BOB, None), (ALICE, 60)]):
            draft = SessionDraft(
                scope=replace(owner, session_id=f"s{number}"), messages=(message("m1"), message("m2")), ttl_seconds=ttl
            )
            await stores.working_memory.replace(draft, at=T0 + timedelta(seconds=number), epoch=f"e{number}")
        found = await stores.overviews.sessions(ACME, now=T0 + timedelta(seconds=5), limit=10)
        assert [each.scope.session_id for each in found.sessions] == ["s2", "s1", "s0"]
        assert found.sessions[1].scope == replace(BOB, session_id="s1")
        assert [(each.messages, each.archived) for each in found.sessions] == [(2, 0)] * 3
        assert found.sessions[0].expires_at == T0 + timedelta(seconds=62)
        assert found.total == 3
        later = await stores.overviews.sessions(ACME, now=T0 + timedelta(seconds=90), limit=1, offset=1)
        assert ([each.scope.session_id for each in later.sessions], later.total) == (["s0"], 2)
        assert (await stores.overviews.counts(ACME, now=T0 + timedelta(seconds=90))).sessions == 2
        bob = await stores.overviews.sessions(ScopeSelector("acme", None, "bob"), now=T0, limit=10)
        assert [each.scope.session_id for each in bob.sessions] == ["s1"]

    async def test_map_points_are_the_newest_that_have_a_vector(self, stores: Stores) -> None:
        """With the first topic and the vector of each, within the filter."""
        await _fill(stores)
        found = await stores.overviews.map_points(MemoryFilter(selector=ACME), model=MODEL, now=T0, limit=10)
        assert sorted(found.ids) == ["a1", "a2", "a3", "b1"]
        assert found.ids[-1] == "a3"
        place = list(found.ids).index("a1")
        assert (found.topics[place], found.types[place], found.owners[place]) == ("tea", "semantic", ALICE)
        assert np.allclose(found.vectors[place], unit_vectors(5)[0])
        assert len(found.created_us) == 4
        wanted = MemoryFilter(selector=ACME, memory_type=TextFilter(eq="episodic"))
        assert list((await stores.overviews.map_points(wanted, model=MODEL, now=T0, limit=10)).ids) == ["a2"]
        limited = await stores.overviews.map_points(MemoryFilter(selector=ACME), model=MODEL, now=T0, limit=2)
        assert len(limited.ids) == 2
        none = await stores.overviews.map_points(MemoryFilter(selector=ACME), model="other", now=T0, limit=10)
        assert list(none.ids) == []
        assert none.vectors.shape[0] == 0
