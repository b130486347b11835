"""What every engine's Journal has to do beyond listing, and what bringing a state back means. Inherit and give a ``stores``
fixture."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.operations import Delete, Effect, OperationKind, Restore, Supersede
from agent_memory_server.domain.records import EmbeddingStatus, Memory
from agent_memory_server.errors import Conflict
from agent_memory_server.ports.comparisons import Stage
from agent_memory_server.ports.journal import Earlier
from agent_memory_server.ports.stores import Stores
from tests.contract.stores.making import ALICE, MODEL, T0, memory, operation, put, selector, unit_vectors

BOB = replace(ALICE, user_id="bob")
ACME = ScopeSelector("acme")
HOUR = timedelta(hours=1)


def content(found: Memory | None) -> Memory | None:
    """A memory without what every change of it renews."""
    return found and replace(
        found, revision=0, operation_id="", updated_at=T0, persisted_at=None, embedding=EmbeddingStatus.PENDING
    )


async def newest(stores: Stores, memory_id: str) -> str:
    return (await stores.journal.history(memory(memory_id).key))[-1].operation.id


async def back(stores: Stores, memory_id: str, state: Memory | None, *, is_copy: bool = False) -> None:
    """Bring a memory back to the state as an undo does."""
    change = Restore(
        key=memory(memory_id).key,
        memory=state,
        if_operation=await newest(stores, memory_id),
        tokens={"tea": 1},
        is_copy=is_copy,
    )
    await stores.memories.commit(operation(change, kind=OperationKind.UNDO))


class HistoryContract:
    async def test_operations_say_why_and_which_run(self, stores: Stores) -> None:
        """Details and run come back; the newest first on request; a run's operations are found by it."""
        for number, run in enumerate(("r1", "r1", None, "r2")):
            made = operation(
                put(memory(f"m{number}")), operation_id=f"o{number}", run=run, details={"n": number, "of": ["a"]}
            )
            await stores.memories.commit(made)
        found = await stores.journal.operations(ACME, newest_first=True, limit=3)
        assert [(each.id, each.run, each.details) for each in found] == [
            (f"o{number}", run, {"n": number, "of": ["a"]}) for number, run in ((3, "r2"), (2, None), (1, "r1"))
        ]
        (last,) = await stores.journal.operations(ACME, newest_first=True, after=found[-1].sequence)
        assert last.id == "o0"
        assert [each.id for each in await stores.journal.run(ACME, "r1")] == ["o0", "o1"]
        assert [each.id for each in await stores.journal.run(ACME, "r1", after=last.sequence)] == ["o1"]
        assert await stores.journal.run(selector(BOB), "r1") == []
        assert await stores.journal.newest() == found[0].sequence
        single = await stores.journal.operation(ACME, "o2")
        assert single == found[1]
        assert await stores.journal.operation(selector(BOB), "o2") is None
        assert await stores.journal.operation(ACME, "absent") is None

    async def test_changes_of_an_operation_in_pages(self, stores: Stores) -> None:
        """Each changed memory within the selector, by the key that it has now; what was left alone is not named."""
        await stores.memories.commit(operation(put(memory("same"))))
        made = operation(
            put(memory("a")), put(memory("same")), put(memory("b", scope=BOB)), put(memory("c")), operation_id="o"
        )
        await stores.memories.commit(made)
        found = await stores.journal.changes(ACME, "o")
        assert [(each.key.id, each.effect) for each in found] == [(id, Effect.CREATED) for id in "abc"]
        assert [each.key.id for each in await stores.journal.changes(selector(), "o", limit=1)] == ["a"]
        rest = await stores.journal.changes(selector(), "o", after=found[0].position)
        assert [each.key.id for each in rest] == ["c"]
        moved = memory("a", scope=BOB)
        await stores.memories.commit(operation(put(moved, previous_key=memory("a").key)))
        assert [each.key for each in await stores.journal.changes(ACME, "o", limit=1)] == [moved.key]
        assert [each.key.id for each in await stores.journal.changes(selector(), "o")] == ["c"]

    async def test_history_in_pages(self, stores: Stores) -> None:
        """A page's last state is the next page's first state before."""
        for text in ("one", "two", "three", "four"):
            await stores.memories.commit(operation(put(memory("a", text))))
        key = memory("a").key
        first = await stores.journal.history(key, limit=2)
        assert [each.after.text if each.after else None for each in first] == ["one", "two"]
        rest = await stores.journal.history(key, after=first[-1].position, limit=9)
        assert [each.before.text if each.before else None for each in rest] == ["two", "three"]
        assert rest[-1].after == await stores.memories.get(key)

    async def test_what_is_gone_is_found_by_its_id(self, stores: Stores) -> None:
        """Forgotten or deleted for good: the key is known, within the selector; what is back is not gone."""
        await stores.memories.commit(operation(put(memory("a")), put(memory("a", scope=BOB)), put(memory("b"))))
        await stores.memories.commit(
            operation(
                Delete(key=memory("a").key, scrub=False),
                Delete(key=memory("a", scope=BOB).key, scrub=True),
                Delete(key=memory("b").key, scrub=False),
            )
        )
        assert {each.user_id for each in await stores.journal.gone(ACME, memory_id="a")} == {"alice", "bob"}
        assert await stores.journal.gone(selector(BOB), memory_id="a") == [memory("a", scope=BOB).key]
        await stores.memories.commit(operation(put(memory("a"))))
        assert await stores.journal.gone(selector(), memory_id="a") == []
        assert await stores.journal.gone(ACME, memory_id="never") == []

    async def test_what_a_memory_said_at_a_former_owners_can_be_taken_out(self, stores: Stores) -> None:
        """It stays the new owner's, with what it was since; nothing of before is told, nor brought back."""
        await stores.memories.commit(operation(put(memory("a", "one")), put(memory("other", "two"))))
        await stores.memories.commit(operation(put(memory("a", "one more"))))
        there = memory("a", "three", scope=BOB)
        await stores.memories.commit(operation(put(there, previous_key=memory("a").key), operation_id="move"))
        await stores.memories.commit(operation(put(replace(there, text="four"))))
        assert await stores.journal.moved_away(selector(), limit=9) == [there.key]
        assert await stores.journal.moved_away(selector(BOB), limit=9) == []
        assert await stores.journal.moved_away(ACME, limit=9) == []
        await stores.journal.scrub_stay(selector(), there.key)
        told = await stores.journal.history(there.key)
        assert [each.before and each.before.text for each in told] == [None, None, None, "three"]
        assert await stores.journal.moved_away(selector(), limit=9) == []
        found = await stores.memories.get(there.key)
        assert found is not None
        assert found.text == "four"
        assert await stores.memories.get(memory("other").key) is not None

    async def test_a_store_knows_itself(self, stores: Stores) -> None:
        """The same each time, and nothing secret."""
        assert await stores.journal.identity() == await stores.journal.identity()
        assert len(await stores.journal.identity()) == 8

    # -- bringing back

    async def test_an_edit_goes_back_with_its_vector(self, stores: Stores) -> None:
        """Content as it was, as a new revision; reads since then stay counted; the words are found again."""
        vector = unit_vectors(2)
        await stores.memories.commit(operation(put(memory("a", "tea", topics=("t",)), vector=vector[0])))
        before = await stores.memories.get(memory("a").key)
        await stores.memories.commit(operation(put(memory("a", "coffee"), tokens={"coffee": 1}, vector=vector[1])))
        await stores.memories.touch([memory("a").key], at=T0 + HOUR, interval_min_s=0)
        await back(stores, "a", before)
        after = await stores.memories.get(memory("a").key)
        assert after is not None
        assert before is not None
        assert content(after) == content(replace(before, last_accessed=T0 + HOUR, access_count=1))
        assert after.revision == 3
        assert after.embedding is EmbeddingStatus.PENDING
        everything = MemoryFilter(selector=selector())
        for token, found in (("tea", 1), ("coffee", 0)):
            held = await stores.memories.holding(everything, tokens=[token], now=T0, limit=9)
            assert len(held.handles) == found

    async def test_the_same_text_keeps_its_vector_and_is_not_compared(self, stores: Stores) -> None:
        """What a merge put back stands for itself again, and the next compaction leaves it alone."""
        vector = unit_vectors(1)[0]
        await stores.memories.commit(operation(put(memory("a"), vector=vector), put(memory("m", "merged"))))
        standing = await stores.memories.get(memory("a").key)
        merging = operation(Supersede(key=memory("a").key, by="m"), kind=OperationKind.MERGE)
        await stores.memories.commit(merging)
        due = await stores.comparisons.due(ACME, stage_max=Stage.REFUSED, limit=9)
        await stores.comparisons.compared(due, stage=None)
        await back(stores, "a", standing)
        after = await stores.memories.get(memory("a").key)
        assert after is not None
        assert content(after) == content(standing)
        assert after.embedding is EmbeddingStatus.READY
        near = await stores.memories.nearest(
            MemoryFilter(selector=selector()), vector=vector, model=MODEL, now=T0, limit=9
        )
        assert len(near.handles) == 1
        assert await stores.comparisons.due(ACME, stage_max=Stage.REFUSED, limit=9) == []

    async def test_what_was_forgotten_comes_back_and_what_was_made_goes(self, stores: Stores) -> None:
        """Both leave an entry that can be taken back in turn."""
        await stores.memories.commit(operation(put(memory("a"))))
        before = await stores.memories.get(memory("a").key)
        await stores.memories.commit(operation(Delete(key=memory("a").key, scrub=False), kind=OperationKind.FORGET))
        await back(stores, "a", before)
        assert content(await stores.memories.get(memory("a").key)) == content(before)
        await back(stores, "a", None)
        assert await stores.memories.get(memory("a").key) is None
        history = await stores.journal.history(memory("a").key)
        assert [each.effect for each in history] == [Effect.CREATED, Effect.DELETED, Effect.CREATED, Effect.DELETED]
        assert content(history[-1].before) == content(before)

    async def test_a_copy_steps_back_again_and_goes_with_its_survivor(self, stores: Stores) -> None:
        """``before_is_copy`` tells what the state alone does not."""
        await stores.memories.commit(operation(put(memory("a")), put(memory("b"), deduplicate=True)))
        copy = await stores.memories.get(memory("b").key)
        assert copy is not None
        assert copy.superseded_by == "a"
        await stores.memories.commit(operation(Delete(key=memory("b").key, scrub=False)))
        last = (await stores.journal.history(memory("b").key))[-1]
        assert last.before_is_copy
        await back(stores, "b", last.before, is_copy=last.before_is_copy)
        assert await stores.memories.count(MemoryFilter(selector=selector()), now=T0) == 1
        await stores.memories.commit(operation(Delete(key=memory("a").key, scrub=True)))
        assert await stores.memories.get(memory("b").key) is None

    async def test_a_move_goes_back(self, stores: Stores) -> None:
        """To the owner that it had, with its history; an id that is taken there meanwhile is a conflict."""
        await stores.memories.commit(operation(put(memory("a"))))
        before = await stores.memories.get(memory("a").key)
        there = memory("a", "moved", scope=BOB)
        await stores.memories.commit(operation(put(there, previous_key=memory("a").key), operation_id="move"))
        assert (await stores.journal.history(there.key))[-1].before == before
        change = Restore(key=there.key, memory=before, if_operation="move", tokens={"tea": 1})
        await stores.memories.commit(operation(put(memory("a", "in the way"))))
        with pytest.raises(Conflict):
            await stores.memories.commit(operation(change))
        await stores.memories.commit(operation(Delete(key=memory("a").key, scrub=False)))
        await stores.memories.commit(operation(change))
        assert content(await stores.memories.get(memory("a").key)) == content(before)
        assert await stores.memories.get(there.key) is None

    async def test_what_came_later_is_a_conflict(self, stores: Stores) -> None:
        """A later change, a text that was scrubbed, somebody behind it, nobody ahead of it: nothing is applied."""
        await stores.memories.commit(operation(put(memory("a")), operation_id="o1"))
        before = await stores.memories.get(memory("a").key)
        await stores.memories.commit(operation(put(memory("a", "new")), operation_id="o2"))
        stale = Restore(key=memory("a").key, memory=before, if_operation="o1", tokens={})
        with pytest.raises(Conflict):
            await stores.memories.commit(operation(put(memory("x")), stale))
        assert await stores.memories.get(memory("x").key) is None
        behind = operation(put(memory("b", "new")), Supersede(key=memory("b").key, by="a"), kind=OperationKind.COMPACT)
        await stores.memories.commit(behind)
        with pytest.raises(Conflict):
            await stores.memories.commit(operation(Restore(key=memory("a").key, memory=None, if_operation="o2")))
        assert before is not None
        orphan = Restore(key=memory("a").key, memory=replace(before, superseded_by="nobody"), if_operation="o2")
        with pytest.raises(Conflict):
            await stores.memories.commit(operation(orphan))
        await stores.memories.commit(operation(Delete(key=memory("a").key, scrub=True), operation_id="gone"))
        with pytest.raises(Conflict):
            await stores.memories.commit(operation(replace(stale, if_operation="gone")))
        assert await stores.memories.get(memory("a").key) is None

    async def test_a_text_that_is_scrubbed_after_it_was_forgotten_stays_gone(self, stores: Stores) -> None:
        """Somebody deletes for good what a policy had removed: no undo brings it back."""
        await stores.memories.commit(operation(put(memory("a"))))
        before = await stores.memories.get(memory("a").key)
        forgotten = operation(Delete(key=memory("a").key, scrub=False), operation_id="f")
        await stores.memories.commit(forgotten)
        await stores.memories.commit(operation(Delete(key=memory("a").key, scrub=True)))
        with pytest.raises(Conflict):
            await stores.memories.commit(
                operation(Restore(key=memory("a").key, memory=before, if_operation="f", tokens={}))
            )

    # -- times to live

    async def test_what_has_expired_can_be_removed(self, stores: Stores) -> None:
        """Of all tenants, superseded and pinned ones too; one that got more time meanwhile is spared."""
        ends = T0 + HOUR
        other = replace(ALICE, tenant="other")
        await stores.memories.commit(
            operation(put(memory("a", expires_at=ends, pinned=True)), put(memory("c", expires_at=ends + HOUR)))
        )
        await stores.memories.commit(operation(put(memory("b", scope=other, expires_at=ends)), tenant="other"))
        await stores.memories.commit(operation(put(memory("x")), put(memory("y", expires_at=ends))))
        await stores.memories.commit(operation(Supersede(key=memory("y").key, by="x")))
        assert await stores.memories.expired(now=T0, limit=9) == []
        expired = await stores.memories.expired(now=ends, limit=9)
        assert {(each.tenant, each.id) for each in expired} == {("acme", "a"), ("other", "b"), ("acme", "y")}
        assert len(await stores.memories.expired(now=ends, limit=2)) == 2
        gone = [Delete(key=memory(name).key, scrub=False, expired_by=ends) for name in "acx"]
        done = await stores.memories.commit(operation(*gone, kind=OperationKind.FORGET))
        assert [each.effect for each in done.outcomes] == [Effect.DELETED, Effect.SPARED, Effect.SPARED]

    # -- other times

    async def test_what_was_at_a_point(self, stores: Stores) -> None:
        """Each memory that changed since, as it was; a filter leaves exactly those out."""
        for number, made in enumerate(
            (
                operation(put(memory("kept")), put(memory("edited", "old")), put(memory("gone"))),
                operation(put(memory("edited", "new")), put(memory("born"))),
                operation(Delete(key=memory("gone").key, scrub=False)),
                operation(put(memory("edited", "newer"))),
            )
        ):
            await stores.memories.commit(replace(made, at=T0 + number * HOUR))

        async def then(hours: float) -> tuple[dict[str, str | None], list[str]]:
            point = await stores.journal.point("acme", T0 + hours * HOUR)
            earlier = await stores.journal.earlier(selector(), point, limit=100)
            criteria = MemoryFilter(selector=selector(), unchanged_since=point)
            listed = await stores.memories.list(criteria, now=T0, limit=100)
            assert await stores.memories.count(criteria, now=T0) == listed.total
            found = {each.key.id: each.memory.text if each.memory else None for each in earlier}
            return found, sorted(each.id for each in listed.memories)

        every = ["kept", "edited", "gone", "born"]
        nothing = {name: None for name in every if name != "gone"}
        assert await then(-1) in [({**nothing, "gone": None}, []), (nothing, [])]
        assert await then(0) == ({"edited": "old", "gone": "likes tea", "born": None}, ["kept"])
        assert await then(1.5) == ({"edited": "new", "gone": "likes tea"}, ["born", "kept"])
        assert await then(2) == ({"edited": "new"}, ["born", "kept"])
        assert await then(3) == ({}, ["born", "edited", "kept"])
        point = await stores.journal.point("acme", T0)
        assert [each.key.id for each in await stores.journal.earlier(ACME, point, memory_id="gone", limit=9)] == [
            "gone"
        ]

    async def test_a_memory_that_moved_was_its_former_owners(self, stores: Stores) -> None:
        """It is found for the owner of that time, and is nobody's who got it later; by its id too."""
        await stores.memories.commit(operation(put(memory("a", "hers"))))
        there = memory("a", "his", scope=BOB)
        await stores.memories.commit(operation(put(there, previous_key=memory("a").key), at=T0 + HOUR))
        carol = replace(ALICE, user_id="carol")
        last = memory("a", "carol's", scope=carol)
        await stores.memories.commit(operation(put(last, previous_key=there.key), at=T0 + 2 * HOUR))
        point = await stores.journal.point("acme", T0)
        for who in (selector(ALICE), selector(BOB), selector(carol), ACME):
            for named in (None, "a"):
                (found,) = await stores.journal.earlier(who, point, memory_id=named, limit=9)
                assert found.key == last.key
                assert found.memory is not None
                assert (found.memory.text, found.memory.scope) == ("hers", ALICE)

    async def test_the_record_as_it_is_now_is_named(self, stores: Stores) -> None:
        """By its handle, so that what other reads find of it can be left out."""
        await stores.memories.commit(operation(put(memory("a", "old"))))
        await stores.memories.commit(operation(put(memory("a", "new")), at=T0 + HOUR))
        (found,) = await stores.journal.earlier(ACME, await stores.journal.point("acme", T0), limit=9)
        assert isinstance(found, Earlier)
        assert found.handle is not None
        assert (await stores.memories.get_many([found.handle]))[found.handle].text == "new"

    async def test_texts_of_what_is_gone_for_long_go(self, stores: Stores) -> None:
        """Who, when and which stays; what is back, or went later, keeps its text."""
        await stores.memories.commit(operation(*(put(memory(name)) for name in "abc")))
        await stores.memories.commit(operation(put(memory("a", "edited"))))
        for name, hours in (("a", 1), ("b", 1), ("c", 5)):
            gone = Delete(key=memory(name).key, scrub=False)
            await stores.memories.commit(operation(gone, at=T0 + hours * HOUR))
        await stores.memories.commit(operation(put(memory("b")), at=T0 + 2 * HOUR))
        assert await stores.journal.thin("acme", gone_before=T0, limit=9) == 0
        while await stores.journal.thin("acme", gone_before=T0 + 3 * HOUR, limit=9):
            pass
        kept = {name: await stores.journal.history(memory(name).key) for name in "abc"}
        assert all(each.scrubbed and each.before is None for each in kept["a"])
        assert [each.effect for each in kept["a"]] == [Effect.CREATED, Effect.UPDATED, Effect.DELETED]
        assert not any(each.scrubbed for name in "bc" for each in kept[name])
