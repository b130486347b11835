"""What every engine's ComparisonStore and ClockStore, and what forgetting asks of a MemoryStore, have to do. Inherit and give a
``stores`` fixture."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from agent_memory_server.domain.clock_guard import ClockRecord
from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Delete, Embedded, OperationKind, Supersede
from agent_memory_server.domain.records import MESSAGE_STRATEGY, MemoryType
from agent_memory_server.errors import StaleRevision
from agent_memory_server.ports.comparisons import Due, Stage
from agent_memory_server.ports.stores import Stores
from tests.contract.stores.making import ALICE, MODEL, T0, memory, operation, put, selector, unit_vectors

ACME = ScopeSelector("acme")
BOB = replace(ALICE, user_id="bob")
NOBODY = Scope("acme", None, None)


async def due(stores: Stores, *, stage_max: Stage = Stage.REFUSED, scope: ScopeSelector = ACME) -> list[Due]:
    """All that is due, walked in pages of one."""
    found: list[Due] = []
    while page := await stores.comparisons.due(scope, stage_max=stage_max, limit=1, after=found[-1] if found else None):
        found.extend(page)
    return found


class ComparisonStoreContract:
    async def test_what_is_written_or_changed_is_due(self, stores: Stores) -> None:
        """Until it is compared; a message's copy never, a superseded or deleted memory no more."""
        copied = memory("m", memory_type=MemoryType.MESSAGE, extraction_strategy=MESSAGE_STRATEGY)
        await stores.memories.commit(operation(put(memory("a")), put(memory("b"), deduplicate=True), put(copied)))
        await stores.memories.commit(operation(put(memory("c", "other"), deduplicate=True)))
        assert [each.stage for each in await due(stores)] == [Stage.NEW, Stage.CHANGED]
        assert await stores.comparisons.tenants_due(stage_max=Stage.NEW) == ["acme"]
        await stores.memories.commit(operation(Delete(key=memory("c").key, scrub=True)))
        (left,) = await due(stores)
        assert await stores.comparisons.compared([left], stage=None) == 1
        assert await due(stores) == []
        assert await stores.comparisons.tenants_due(stage_max=Stage.REFUSED) == []
        await stores.memories.commit(operation(put(memory("a", topics=("t",)))))
        assert await due(stores) == []
        for changed in (memory("a", text="new"), memory("a", event_date=T0), memory("a", name="Ann")):
            await stores.memories.commit(operation(put(changed)))
            (again,) = await due(stores)
            await stores.comparisons.compared([again], stage=None)

    async def test_a_change_while_it_is_compared_keeps_it_due(self, stores: Stores) -> None:
        """The note of the earlier state does nothing, and the attempts begin anew."""
        await stores.memories.commit(operation(put(memory("a"))))
        (before,) = await due(stores)
        assert await stores.comparisons.compared([before], stage=Stage.CHANGED, failed=True) == 1
        assert [each.attempts for each in await due(stores)] == [1]
        await stores.memories.commit(operation(put(memory("a", "new"))))
        assert await stores.comparisons.compared([before], stage=None) == 0
        assert [each.attempts for each in await due(stores)] == [0]

    async def test_stages_and_scopes_narrow(self, stores: Stores) -> None:
        """Only up to the stage, and only within the selector."""
        await stores.memories.commit(operation(put(memory("a")), put(memory("a", scope=BOB))))
        (mine,) = await due(stores, scope=selector(ALICE))
        assert mine.owner == ALICE
        await stores.comparisons.compared([mine], stage=Stage.UNDECIDED)
        assert [each.owner for each in await due(stores, stage_max=Stage.CHANGED)] == [BOB]
        assert len(await due(stores, stage_max=Stage.UNDECIDED)) == 2
        assert await due(stores, scope=ScopeSelector("other")) == []

    async def test_a_vector_that_comes_later_makes_it_due(self, stores: Stores) -> None:
        """By then it may have been looked at in vain."""
        await stores.memories.commit(operation(put(memory("a"))))
        await stores.comparisons.compared(await due(stores), stage=None)
        ((handle, _, _, operation_id),) = await stores.memories.without_vector(model=MODEL, limit=9)
        embedded = Embedded(model=MODEL, vector=unit_vectors(1)[0])
        await stores.memories.put_vectors([(handle, operation_id, embedded)])
        assert [each.handle for each in await due(stores)] == [handle]

    async def test_copies_are_found_around_what_is_due(self, stores: Stores) -> None:
        """Of one owner and one hash, not those of a session's messages, whoever of them is due."""
        message = memory("m", memory_type=MemoryType.MESSAGE, extraction_strategy=MESSAGE_STRATEGY)
        await stores.memories.commit(
            operation(*(put(memory(name)) for name in "abc"), put(memory("d", scope=BOB)), put(message))
        )
        (first, *rest) = await due(stores, scope=selector(ALICE))
        await stores.comparisons.compared(rest, stage=None)
        groups = await stores.comparisons.copies([first], now=T0)
        assert [[each.id for each in group] for group in groups] == [["a", "b", "c"]]

    async def test_neighbours_are_of_exactly_one_owner_and_type(self, stores: Stores) -> None:
        """By stored vectors, within the distance, nearest first; what must not mix is not there."""
        base = unit_vectors(1)[0]
        close = base + 0.1 * unit_vectors(2)[1]
        vectors = {"a": base, "b": close / np.linalg.norm(close), "far": unit_vectors(3, seed=7)[2]}
        puts = [put(memory(name, name), vector=vector) for name, vector in vectors.items()]
        others = [
            memory("bob", scope=BOB),
            memory("nobody", scope=NOBODY),
            memory("none", scope=replace(ALICE, user_id=None)),
            memory("pinned", pinned=True),
            memory("event", memory_type=MemoryType.EPISODIC),
            memory("message", memory_type=MemoryType.MESSAGE),
            memory("summary", extraction_strategy="summary"),
            memory("expired", expires_at=T0 - timedelta(seconds=1)),
        ]
        puts += [put(each, vector=base) for each in others]
        await stores.memories.commit(operation(*puts, put(memory("unembedded"))))
        await stores.memories.commit(operation(put(memory("gone", "g"), vector=base)))
        await stores.memories.commit(operation(Supersede(key=memory("gone").key, by="far")))
        handles = [each.handle for each in await due(stores)]
        names = {handle: found.id for handle, found in (await stores.memories.get_many(handles)).items()}
        near = await stores.comparisons.near(handles, model=MODEL, now=T0, distance_max=0.2, limit=5)
        found = {names[one]: [names[other] for other in around] for one, around in near.items()}
        assert {name: around for name, around in found.items() if around} == {"a": ["b"], "b": ["a"]}
        assert await stores.comparisons.near(handles, model="another", now=T0, distance_max=2, limit=5) == {}

    async def test_superseding_what_changed_meanwhile_fails(self, stores: Stores) -> None:
        """Neither what steps back nor what stays may have been changed since it was read."""
        await stores.memories.commit(operation(put(memory("a")), put(memory("b")), operation_id="read"))
        await stores.memories.commit(operation(put(memory("b", "edited")), operation_id="edit"))
        for change in (
            Supersede(key=memory("b").key, by="a", if_operation="read"),
            Supersede(key=memory("a").key, by="b", if_by_operation="read"),
            Supersede(key=memory("gone").key, by="a", if_operation="read"),
        ):
            with pytest.raises(StaleRevision):
                await stores.memories.commit(operation(change))
        kept = Supersede(key=memory("b").key, by="a", if_operation="edit", if_by_operation="read")
        await stores.memories.commit(operation(kept))

    async def test_deleting_a_source_takes_the_merge_apart(self, stores: Stores) -> None:
        """The merged text goes from record and journal; the other source lives again."""
        await stores.memories.commit(operation(put(memory("a", "one")), put(memory("b", "two"))))
        merged = memory("m", "one and two", derived_from=("a", "b"))
        steps = (Supersede(key=memory(name).key, by="m") for name in "ab")
        await stores.memories.commit(operation(put(merged), *steps, kind=OperationKind.MERGE))
        await stores.memories.commit(operation(Delete(key=memory("a").key, scrub=True)))
        assert await stores.memories.get(merged.key) is None
        revived = await stores.memories.get(memory("b").key)
        assert revived is not None
        assert revived.superseded_by is None
        assert all(each.scrubbed for each in await stores.journal.history(merged.key))
        words = await stores.memories.holding(MemoryFilter(selector=selector()), tokens=["tea"], now=T0, limit=9)
        assert words.statistics.documents == 1


class AgesContract:
    async def test_ages_are_read_without_texts(self, stores: Stores) -> None:
        """Every matching memory once, in pages, of exactly one owner where one is named."""
        for name, scope in (("a", ALICE), ("b", ALICE), ("c", BOB), ("d", NOBODY)):
            await stores.memories.commit(operation(put(memory(name, name, scope=scope, pinned=name == "b"))))
        everything = MemoryFilter(selector=ACME)
        first = await stores.memories.ages(everything, now=T0, limit=3)
        rest = await stores.memories.ages(everything, now=T0, limit=3, after=first[-1].handle)
        found = sorted((*first, *rest), key=lambda each: each.id)
        assert [each.id for each in found] == ["a", "b", "c", "d"]
        assert [each.pinned for each in found] == [False, True, False, False]
        assert first[0].created_us == round(T0.timestamp() * 1e6)
        alone = await stores.memories.ages(everything, now=T0, limit=9, owner=NOBODY)
        assert [each.id for each in alone] == ["d"]
        none = replace(everything, memory_type=TextFilter(eq="episodic"))
        assert await stores.memories.ages(none, now=T0, limit=9) == []
        assert set(await stores.memories.owners(ACME)) == {ALICE, BOB, NOBODY}
        assert await stores.memories.owners(selector(BOB)) == [BOB]
        keys = await stores.memories.keys([each.handle for each in first])
        assert {handle: key.id for handle, key in keys.items()} == {each.handle: each.id for each in first}
        assert await stores.memories.tenants() == ["acme"]


class ClockStoreContract:
    async def test_every_commit_notes_the_time(self, stores: Stores) -> None:
        """So that a jump is noticed whenever it is asked about."""
        await stores.memories.commit(operation(put(memory("a")), at=T0))
        ahead = T0 + timedelta(days=365)
        await stores.memories.commit(operation(put(memory("b")), at=ahead))
        expected = ClockRecord(seen=ahead, stepped_from=T0, stepped_at=ahead)
        assert await stores.clock.observe(ahead + timedelta(seconds=1)) == expected
        assert await stores.clock.trust(ahead) == ClockRecord(seen=ahead)
        assert await stores.clock.observe(ahead) == ClockRecord(seen=ahead)

    async def test_a_schedule_notes_the_time(self, stores: Stores) -> None:
        """An idle server is not taken for one that was off."""
        last = None
        for day in range(8):
            at = T0 + timedelta(days=day)
            assert await stores.schedules.tick("x", last=last, at=at, intents=())
            last = at
        assert await stores.clock.observe(T0 + timedelta(days=8)) == ClockRecord(seen=T0 + timedelta(days=8))
