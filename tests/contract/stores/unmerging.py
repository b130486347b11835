"""What every engine does with merged memories when one of their sources is deleted for good: nothing of its text is left, and
nothing else is lost. Inherit and give a ``stores`` fixture."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.operations import Delete, OperationKind, Restore, Supersede
from agent_memory_server.domain.records import Memory
from agent_memory_server.ports.stores import Stores
from tests.contract.stores.making import ALICE, T0, memory, message, operation, put, selector


async def merged(
    stores: Stores, one: Memory | None = None, two: Memory | None = None, *, session_id: str | None = None
) -> Memory:
    """A merge ``m`` of ``a`` and ``b``, as operation ``merge``."""
    sources = [one or memory("a", "one"), two or memory("b", "two")]
    await stores.memories.commit(operation(*map(put, sources)))
    scope = replace(ALICE, session_id=session_id)
    merge = memory("m", "one and two", derived_from=("a", "b"), scope=scope, extracted_from=sources[0].extracted_from)
    steps = (Supersede(key=each.key, by="m") for each in sources)
    made = operation(put(merge), *steps, kind=OperationKind.MERGE, operation_id="merge")
    await stores.memories.commit(made)
    return merge


class UnmergingContract:
    async def test_what_was_decided_about_a_merge_holds_for_what_is_left_of_it(self, stores: Stores) -> None:
        """An edit that leaves the merged text, and a pin, do not keep it; the source that is left is pinned, ended and expires
        then, and what stepped back behind the merge for itself stands again."""
        merge = await merged(stores)
        kept = replace(merge, topics=("mine",), pinned=True, valid_to=T0, expires_at=T0 + timedelta(days=9))
        await stores.memories.commit(operation(put(kept), kind=OperationKind.EDIT))
        await stores.memories.commit(operation(put(memory("own", "one and two"), deduplicate=True)))
        await stores.memories.commit(operation(Delete(key=memory("a").key, scrub=True)))
        assert await stores.memories.get(merge.key) is None
        left = await stores.memories.get(memory("b").key)
        assert left is not None
        assert (left.superseded_by, left.pinned, left.valid_to, left.expires_at) == (
            None,
            True,
            kept.valid_to,
            kept.expires_at,
        )
        own = await stores.memories.get(memory("own").key)
        assert own is not None
        assert own.superseded_by is None

    async def test_a_merge_that_somebody_wrote_anew_stays_without_its_past(self, stores: Stores) -> None:
        """Its words are theirs, whatever else was edited afterwards; a second deleted source changes nothing about it."""
        merge = await merged(stores)
        theirs = replace(merge, text="my words")
        await stores.memories.commit(operation(put(theirs), kind=OperationKind.EDIT))
        await stores.memories.commit(operation(put(replace(theirs, topics=("t",))), kind=OperationKind.ENRICH))
        for name in "ab":
            await stores.memories.commit(operation(Delete(key=memory(name).key, scrub=True)))
        found = await stores.memories.get(merge.key)
        assert found is not None
        assert found.text == "my words"
        assert all(each.before is None for each in await stores.journal.history(merge.key))

    @pytest.mark.parametrize("is_undone", [True, False])
    async def test_a_merge_that_is_gone_leaves_no_text_of_a_deleted_source(
        self, stores: Stores, is_undone: bool
    ) -> None:
        """Undone, or forgotten with its sources: the journal had kept it to bring it back."""
        merge = await merged(stores)
        if is_undone:
            keys = [memory("a").key, memory("b").key, merge.key]
            states = [memory("a", "one"), memory("b", "two"), None]
            changes = [
                Restore(key=key, memory=state, if_operation="merge", tokens={"tea": 1})
                for key, state in zip(keys, states, strict=True)
            ]
            await stores.memories.commit(operation(*changes, kind=OperationKind.UNDO))
        else:
            forgotten = [Delete(key=key, scrub=False) for key in (merge.key, memory("a").key, memory("b").key)]
            await stores.memories.commit(operation(*forgotten, kind=OperationKind.FORGET))
        assert any(each.before for each in await stores.journal.history(merge.key))
        await stores.memories.commit(operation(Delete(key=memory("a").key, scrub=True)))
        assert all(each.scrubbed for each in await stores.journal.history(merge.key))

    async def test_a_session_takes_a_merge_apart_and_no_other_session(self, stores: Stores) -> None:
        """A cascade deletes what was extracted from the session; what was merged of it and of another's leaves the other's."""
        sessions = [replace(ALICE, session_id=name) for name in ("s1", "s2")]
        for scope in sessions:
            await stores.working_memory.append(
                scope, [message("m1")], at=T0, epoch="e", live_max=10, if_match=None, intents=()
            )
        one = memory("a", "one", scope=sessions[0], extracted_from=("m1",))
        two = memory("b", "two", scope=sessions[1])
        await merged(stores, one, two, session_id="s2")
        await stores.working_memory.delete(sessions[1], cascade=True, operation_id="d", actor="alice", at=T0)
        assert await stores.memories.get(one.key) is not None
        assert await stores.memories.get(two.key) is not None
        await stores.working_memory.delete(sessions[0], cascade=True, operation_id="e", actor="alice", at=T0)
        left = await stores.memories.list(MemoryFilter(selector=selector()), now=T0, limit=9)
        assert [each.id for each in left.memories] == ["b"]
