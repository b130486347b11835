"""What every engine's Outbox, Leases, Journal and Engine have to do. Inherit and give a ``stores`` fixture."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.operations import Intent
from agent_memory_server.ports.stores import Stores
from tests.contract.stores.making import ALICE, T0, memory, operation, put, selector

INTENT = Intent(kind="work", key="k", tenant="acme", namespace="work", user_id="alice", payload={"ids": ["a"]})


class OutboxContract:
    async def request(self, stores: Stores, *intents: Intent, at: object = T0) -> None:
        await stores.memories.commit(operation(intents=intents, at=at))

    async def test_an_intent_is_done_once(self, stores: Stores) -> None:
        """Asked for twice it is one; claimed it is held for the lease; completed it is gone."""
        await self.request(stores, INTENT)
        await self.request(stores, INTENT, replace(INTENT, user_id=None), replace(INTENT, kind="other"))
        assert (await stores.outbox.pending(selector(), now=T0)).pending == 2
        assert (await stores.outbox.pending(ScopeSelector("acme"), now=T0)).pending == 3
        batches = await asyncio.gather(
            *(stores.outbox.claim(kinds=["work"], now=T0, lease_s=10, limit=9) for _ in range(4))
        )
        claimed = [intent for batch in batches for intent in batch]
        assert len(claimed) == 2
        assert (claimed[0].payload, claimed[0].user_id, claimed[0].attempts) == ({"ids": ["a"]}, "alice", 0)
        lapsed = T0 + timedelta(seconds=10)
        assert len(await stores.outbox.claim(kinds=["work"], now=lapsed, lease_s=10, limit=1)) == 1
        for intent in claimed:
            await stores.outbox.complete(intent)
        assert await stores.outbox.claim(kinds=["work"], now=lapsed, lease_s=1, limit=9) == []
        assert (await stores.outbox.pending(ScopeSelector("acme"), now=T0)).pending == 1

    async def test_work_asked_for_meanwhile_is_pending_anew(self, stores: Stores) -> None:
        """Completing an intent that was asked for again since its claim does not lose the second request."""
        await self.request(stores, INTENT)
        (claimed,) = await stores.outbox.claim(kinds=["work"], now=T0, lease_s=10, limit=9)
        await self.request(stores, INTENT)
        await stores.outbox.complete(claimed)
        (again,) = await stores.outbox.claim(kinds=["work"], now=T0, lease_s=10, limit=9)
        assert again.generation > claimed.generation
        await stores.outbox.complete(again)
        assert await stores.outbox.next_due(now=T0) is None

    async def test_failures_are_retried_and_end_as_dead_letters(self, stores: Stores) -> None:
        """A failed attempt waits until its retry; without one it is dead, counted, and revived by a new request."""
        await self.request(stores, INTENT)
        (claimed,) = await stores.outbox.claim(kinds=["work"], now=T0, lease_s=10, limit=9)
        retry = T0 + timedelta(seconds=3)
        await stores.outbox.fail(claimed, reason="down", retry_at=retry)
        assert await stores.outbox.claim(kinds=["work"], now=T0, lease_s=10, limit=9) == []
        assert await stores.outbox.next_due(now=T0) == retry
        (claimed,) = await stores.outbox.claim(kinds=["work"], now=retry, lease_s=10, limit=9)
        assert claimed.attempts == 1
        await stores.outbox.fail(claimed, reason="for good", retry_at=None)
        found = await stores.outbox.pending(selector(), now=retry)
        assert (found.pending, found.dead) == (0, 1)
        await self.request(stores, INTENT)
        (revived,) = await stores.outbox.claim(kinds=["work"], now=retry, lease_s=10, limit=9)
        assert revived.attempts == 0

    async def test_work_says_which_request_asked_for_it(self, stores: Stores) -> None:
        """The newest that did; work that nobody's request asks for again keeps it, also after a failed attempt."""
        for asking in ("first", "newest", None):
            await self.request(stores, replace(INTENT, traceparent=asking))
        (claimed,) = await stores.outbox.claim(kinds=["work"], now=T0, lease_s=10, limit=9)
        assert claimed.traceparent == "newest"
        await stores.outbox.fail(claimed, reason="down", retry_at=T0)
        (again,) = await stores.outbox.claim(kinds=["work"], now=T0, lease_s=10, limit=9)
        assert again.traceparent == "newest"

    async def test_work_of_its_own_is_asked_for_and_counted(self, stores: Stores) -> None:
        """Work that no other change causes is one while it waits; the depth counts every tenant's."""
        other = replace(INTENT, tenant="other")
        await stores.outbox.request([INTENT, other], at=T0)
        await stores.outbox.request([INTENT], at=T0)
        found = await stores.outbox.depth(now=T0 + timedelta(seconds=4))
        assert (found.pending, found.oldest_age_s, found.dead) == (2, 4.0, 0)
        for claimed in await stores.outbox.claim(kinds=["work"], now=T0, lease_s=10, limit=9):
            await stores.outbox.fail(claimed, reason="for good", retry_at=None)
        found = await stores.outbox.depth(now=T0)
        assert (found.pending, found.dead) == (0, 2)


class LeasesContract:
    async def test_one_holder_at_a_time(self, stores: Stores) -> None:
        """Many ask, one gets it; it can renew and release; an expired lease is free."""
        got = await asyncio.gather(*(stores.leases.acquire("job", holder=f"h{n}", now=T0, ttl_s=5) for n in range(10)))
        assert sum(got) == 1
        holder = f"h{got.index(True)}"
        assert await stores.leases.acquire("job", holder=holder, now=T0, ttl_s=5)
        await stores.leases.release("job", holder="another")
        assert not await stores.leases.acquire("job", holder="another", now=T0, ttl_s=5)
        assert await stores.leases.acquire("job", holder="another", now=T0 + timedelta(seconds=5), ttl_s=5)
        await stores.leases.release("job", holder="another")
        assert await stores.leases.acquire("job", holder=holder, now=T0, ttl_s=5)


class JournalContract:
    async def test_operations_are_those_of_the_scope(self, stores: Stores) -> None:
        """In commit order, with the counts of the selected scopes alone, after a sequence."""
        bob = replace(ALICE, user_id="bob")
        await stores.memories.commit(operation(put(memory("a")), put(memory("b", scope=bob)), operation_id="both"))
        await stores.memories.commit(operation(put(memory("c", scope=bob)), operation_id="bob", reason="why"))
        mine = await stores.journal.operations(selector())
        assert [(each.id, each.counts) for each in mine] == [("both", {"created": 1})]
        everyone = await stores.journal.operations(ScopeSelector("acme"))
        assert [(each.id, each.counts) for each in everyone] == [("both", {"created": 2}), ("bob", {"created": 1})]
        rest = await stores.journal.operations(selector(bob), after=everyone[0].sequence, limit=5)
        assert [(each.id, each.reason, each.at) for each in rest] == [("bob", "why", T0)]
        assert await stores.journal.operations(ScopeSelector("other")) == []

    async def test_history_shows_before_and_after(self, stores: Stores) -> None:
        """Each revision's state after is the next one's state before, the last one what is stored."""
        for text in ("one", "two", "three"):
            await stores.memories.commit(operation(put(memory("a", text))))
        history = await stores.journal.history(memory("a").key)
        assert [each.before.text if each.before else None for each in history] == [None, "one", "two"]
        assert [each.after.text if each.after else None for each in history] == ["one", "two", "three"]
        assert history[-1].after == await stores.memories.get(memory("a").key)


class EngineContract:
    async def test_a_healthy_engine_says_so(self, stores: Stores) -> None:
        """All checks pass with a detail, and the place is named."""
        checks = await stores.engine.checks()
        assert all(check.ok and check.detail for check in checks), checks
        assert stores.engine.describe()
