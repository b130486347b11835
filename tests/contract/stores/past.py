"""What every engine promises of the histories that imports bring: told first, never undone, and gone with the text."""

from __future__ import annotations

from dataclasses import replace

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.operations import Carried, Delete, Effect, OperationKind
from agent_memory_server.domain.past import IMPORTED, PastRevision, stated
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.transfer import HistoryRecord
from agent_memory_server.ports.journal import Position
from agent_memory_server.ports.stores import Stores
from tests.contract.stores.history import ACME, BOB, HOUR
from tests.contract.stores.holdings import holdings
from tests.contract.stores.making import T0, memory, operation, put, selector


def revision(number: int, before: Memory | None, effect: Effect = Effect.UPDATED, **fields: object) -> PastRevision:
    """One that happened elsewhere, some hours ago."""
    made = PastRevision(
        operation_id=f"o{number}",
        kind=OperationKind.EDIT,
        actor="somebody elsewhere",
        at=T0 - HOUR * (9 - number),
        reason="because",
        details={"group": ["x", 1]},
        run=f"r{number}",
        effect=effect,
        before=None if before is None else stated(before),
    )
    return replace(made, **fields)  # pyright: ignore[reportArgumentType]


def created_and_edited(memory_id: str) -> tuple[PastRevision, ...]:
    return (
        revision(1, None, Effect.CREATED),
        revision(2, memory(memory_id, "first words", topics=("t",)), before_is_copy=True),
    )


def removed(memory_id: str) -> tuple[PastRevision, ...]:
    """The past of one that is gone."""
    return (*created_and_edited(memory_id), revision(3, memory(memory_id, "last words"), Effect.DELETED))


async def bring(stores: Stores, memory_id: str, *revisions: PastRevision) -> None:
    """Take over what another store tells of a memory."""
    record = HistoryRecord(memory_key=memory(memory_id).key, revisions=revisions)
    await holdings(stores).put_history([record])


class PastContract:
    async def test_what_happened_elsewhere_comes_first(self, stores: Stores) -> None:
        """Each with who, when, why and the state before; what came of the last is what was brought. In pages too."""
        brought = operation(put(memory("a", "second words")), kind=OperationKind.IMPORT, operation_id="import")
        await stores.memories.commit(brought)
        await bring(stores, "a", *created_and_edited("a"))
        await stores.memories.commit(operation(put(memory("a", "third words")), operation_id="own"))
        first, second, imported, own = await stores.journal.history(memory("a").key)
        assert [each.imported for each in (first, second, imported, own)] == [True, True, False, False]
        assert (first.operation.id, second.operation.run) == (f"{IMPORTED}o1", f"{IMPORTED}r2")
        assert (second.operation.at, second.operation.details) == (T0 - 7 * HOUR, {"group": ["x", 1]})
        assert (first.before, first.effect, second.before_is_copy) == (None, Effect.CREATED, True)
        assert first.after == second.before == stated(memory("a", "first words", topics=("t",)))
        assert second.after is not None
        assert second.after.text == "second words"
        assert (imported.operation.id, own.operation.id) == ("import", "own")
        found = [first, second, imported, own]
        for number, each in enumerate(found):
            page = await stores.journal.history(memory("a").key, after=each.position, limit=1)
            assert page == found[number + 1 : number + 2]
        assert await stores.journal.history(memory("a").key, limit=2) == found[:2]
        absent = memory("absent").key
        assert await stores.journal.histories([absent, memory("a").key]) == [[], found]

    async def test_it_can_be_brought_again(self, stores: Stores) -> None:
        """In place of what was brought before."""
        await stores.memories.commit(operation(put(memory("a")), kind=OperationKind.IMPORT))
        await bring(stores, "a", *removed("a")[:2])
        await bring(stores, "a", revision(1, None, Effect.CREATED))
        assert len(await stores.journal.history(memory("a").key)) == 2

    async def test_it_comes_with_the_memory(self, stores: Stores) -> None:
        """In the commit that writes the memory, many at once or one, and in place of what was told of an earlier one; a memory
        that is not written, as it is there, keeps its own."""
        for names in ("abcdefghij", "k"):
            carried = [
                Carried(origin="create", is_copy=False, compared=False, vectors=(), past=created_and_edited(name))
                for name in names
            ]
            puts = [put(memory(name), carried=each, if_absent=True) for name, each in zip(names, carried, strict=True)]
            await bring(stores, names[0], *removed(names[0]))
            await stores.memories.commit(operation(*puts, kind=OperationKind.IMPORT))
            for name in names:
                history = await stores.journal.history(memory(name).key)
                assert [each.operation.id for each in history[:2]] == [f"{IMPORTED}o1", f"{IMPORTED}o2"]
                assert [each.imported for each in history] == [True, True, False]
        other = Carried(origin="create", is_copy=False, compared=False, vectors=(), past=removed("k")[:1])
        await stores.memories.commit(operation(put(memory("k"), carried=other, if_absent=True)))
        assert len(await stores.journal.history(memory("k").key)) == 3

    async def test_no_operation_here_did_it(self, stores: Stores) -> None:
        """It is in no list of operations, and nothing that was then is told as of then."""
        await stores.memories.commit(operation(put(memory("a")), kind=OperationKind.IMPORT))
        await bring(stores, "a", *created_and_edited("a"))
        await bring(stores, "b", *removed("b"))
        assert len(await stores.journal.operations(ACME)) == 1
        assert await stores.journal.operation(ACME, f"{IMPORTED}o2") is None
        point = await stores.journal.point("acme", T0 - 5 * HOUR)
        earlier = await stores.journal.earlier(selector(), point, limit=9)
        assert [(each.key.id, each.memory) for each in earlier] == [("a", None)]

    async def test_what_is_gone_is_known_as_gone(self, stores: Stores) -> None:
        """Found by its id, with what it said, by those whose it was; one that is made here under its id is another."""
        await bring(stores, "a", *removed("a"))
        assert await stores.journal.gone(selector(), memory_id="a") == [memory("a").key]
        assert await stores.journal.gone(selector(BOB), memory_id="a") == []
        assert await stores.journal.remembered(selector(), limit=9) == [memory("a").key]
        assert await stores.journal.remembered(selector(BOB), limit=9) == []
        last = (await stores.journal.history(memory("a").key))[-1]
        assert (last.after, last.position) == (None, Position(0, 2, 0))
        assert last.before is not None
        assert last.before.text == "last words"
        await stores.memories.commit(operation(put(memory("a", "anew"))))
        assert await stores.journal.gone(ACME, memory_id="a") == []
        assert await stores.journal.remembered(ACME, limit=9) == []

    async def test_it_goes_with_the_text(self, stores: Stores) -> None:
        """By explicit deletion of the memory, and of one that is gone already: no revision of elsewhere is left."""
        await stores.memories.commit(operation(put(memory("a")), kind=OperationKind.IMPORT))
        await bring(stores, "a", *created_and_edited("a"))
        await bring(stores, "b", *removed("b"))
        for name in "ab":
            await stores.memories.commit(operation(Delete(key=memory(name).key, scrub=True)))
            history = await stores.journal.history(memory(name).key)
            assert not any(each.imported or each.before or each.after for each in history)
        assert await stores.journal.remembered(ACME, limit=9) == []

    async def test_it_stays_while_a_policy_can_be_undone(self, stores: Stores) -> None:
        """Forgetting keeps it for undo, and so does coming back."""
        await stores.memories.commit(operation(put(memory("a")), kind=OperationKind.IMPORT))
        await bring(stores, "a", *created_and_edited("a"))
        await stores.memories.commit(operation(Delete(key=memory("a").key, scrub=False), kind=OperationKind.FORGET))
        assert await stores.journal.remembered(selector(), limit=9) == [memory("a").key]
        await stores.memories.commit(operation(put(memory("a"))))
        assert [each.imported for each in await stores.journal.history(memory("a").key)] == [True, True] + [False] * 3

    async def test_it_moves_with_the_memory(self, stores: Stores) -> None:
        """To another owner, who reads it from then on."""
        await stores.memories.commit(operation(put(memory("a")), kind=OperationKind.IMPORT))
        await bring(stores, "a", *created_and_edited("a"))
        there = memory("a", "moved", scope=BOB)
        await stores.memories.commit(operation(put(there, previous_key=memory("a").key)))
        assert [each.imported for each in await stores.journal.history(there.key)] == [True, True, False, False]
        assert not any(each.imported for each in await stores.journal.history(memory("a").key))

    async def test_it_is_let_go_of_in_its_time(self, stores: Stores) -> None:
        """Of what went elsewhere by when it went there; of what is there, nothing."""
        await stores.memories.commit(operation(put(memory("a")), put(memory("c")), kind=OperationKind.IMPORT))
        for name in "ac":
            await bring(stores, name, *created_and_edited(name))
        await bring(stores, "b", *removed("b"))
        await stores.memories.commit(operation(Delete(key=memory("c").key, scrub=False, expired_by=None)))
        assert await stores.journal.thin("acme", gone_before=T0 - 8 * HOUR, limit=9) == 0
        while await stores.journal.thin("acme", gone_before=T0 - 5 * HOUR, limit=9):
            pass
        assert await stores.journal.history(memory("b").key) == []
        assert await stores.journal.remembered(ACME, limit=9) == [memory("c").key]
        while await stores.journal.thin("acme", gone_before=T0 + HOUR, limit=9):
            pass
        assert await stores.journal.remembered(ACME, limit=9) == []
        assert sum(each.imported for each in await stores.journal.history(memory("c").key)) == 0
        assert sum(each.imported for each in await stores.journal.history(memory("a").key)) == 2

    async def test_it_does_not_outlive_its_memory(self, stores: Stores) -> None:
        """A memory that was deleted while its past came stays without one, and one that is there is not told to be gone."""
        await bring(stores, "deleted", *created_and_edited("deleted"))
        assert await stores.journal.history(memory("deleted").key) == []
        assert await stores.journal.remembered(ACME, limit=9) == []
        await stores.memories.commit(operation(put(memory("there"))))
        await bring(stores, "there", *removed("there"))
        assert [each.imported for each in await stores.journal.history(memory("there").key)] == [False]

    async def test_tenants_know_nothing_of_each_other(self, stores: Stores) -> None:
        """The same key in another tenant has no past."""
        await bring(stores, "a", *removed("a"))
        assert await stores.journal.history(memory("a").key._replace(tenant="other")) == []
        assert await stores.journal.remembered(ScopeSelector("other"), limit=9) == []
