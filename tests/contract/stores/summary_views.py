"""What every engine's SummaryViewStore and ScheduleStore have to do. Inherit and give a ``stores`` fixture."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.jobs import IntentKind, TaskStatus
from agent_memory_server.domain.operations import Delete, Intent, OperationKind, TaskRequest
from agent_memory_server.domain.records import MemoryKey, MemoryType
from agent_memory_server.domain.summary_views import (
    NO_MATCHING_MEMORIES,
    SOURCE_DELETED,
    Member,
    Partition,
    SummaryView,
    ViewDraft,
    ViewSource,
    group_key,
    member_of,
)
from agent_memory_server.errors import InvalidInput
from agent_memory_server.ports.stores import Stores
from tests.contract.stores.making import ALICE, T0, memory, operation, put, selector

ACME = ScopeSelector("acme")
BOB = Scope("acme", "work", "bob")


def view(view_id: str = "v1", *, owner: ScopeSelector = ACME, **draft: Any) -> SummaryView:
    draft = {"source": ViewSource.LONG_TERM, "group_by": ("user_id",), **draft}
    return SummaryView(id=view_id, owner=owner, created_at=T0, created_by="tester", draft=ViewDraft(**draft))


def partition(user: str = "alice", summary: str = "Likes tea.", **fields: Any) -> Partition:
    made = Partition(
        view_id="v1",
        group={"user_id": user},
        summary=summary,
        memory_count=1,
        computed_at=T0,
        fingerprint="f1",
    )
    return replace(made, **fields)


def run_of(made: SummaryView, task_id: str) -> Intent:
    owner = made.owner_scope
    return Intent(
        kind=IntentKind.REFRESH_SUMMARY_VIEW.value,
        key=made.id,
        tenant=owner.tenant,
        namespace=owner.namespace,
        user_id=owner.user_id,
        payload={"view_id": made.id, "force": False},
        task=TaskRequest(id=task_id, owner=owner),
    )


class SummaryViewStoreContract:
    async def added(self, stores: Stores, made: SummaryView) -> SummaryView:
        assert await stores.summary_views.add(made, views_max=100)
        return made

    async def keys(self, stores: Stores, *memory_ids: str) -> tuple[MemoryKey, ...]:
        """Alice's memories with these ids, stored."""
        memories = [memory(memory_id, f"text of {memory_id}") for memory_id in memory_ids]
        await stores.memories.commit(operation(*(put(each) for each in memories)))
        return tuple(each.key for each in memories)

    async def test_a_view_is_read_back_equal(self, stores: Stores) -> None:
        """Every field, whatever it holds."""
        made = await self.added(
            stores,
            view(
                owner=selector(),
                name="über, 'name'",
                filters={"topics": {"any": ["a", "b"]}, "event_date": {"gte": 1.5}},
                time_window_days=2**40,
                continuous=True,
                prompt="Line\nline",
                model_name="gpt-9",
            ),
        )
        assert await stores.summary_views.get(ACME, view_id="v1") == made
        assert await stores.summary_views.list(ACME) == [made]

    async def test_a_view_is_visible_where_its_owner_lies_within(self, stores: Stores) -> None:
        """A caller sees a view when it may read all that the view reads; what reads further is absent."""
        whole = await self.added(stores, view("whole"))
        team = await self.added(stores, view("team", owner=ScopeSelector("acme", "work")))
        mine = await self.added(stores, view("mine", owner=selector()))
        everywhere = await self.added(stores, view("everywhere", owner=ScopeSelector("acme", None, "alice")))
        expected = {
            ACME: [whole, team, mine, everywhere],
            ScopeSelector("acme", "work"): [team, mine],
            ScopeSelector("acme", None, "alice"): [mine, everywhere],
            selector(): [mine],
            selector(BOB): [],
            ScopeSelector("other"): [],
        }
        for asking, visible in expected.items():
            assert await stores.summary_views.list(asking) == visible, asking
            for each in (whole, team, mine, everywhere):
                found = await stores.summary_views.get(asking, view_id=each.id)
                assert found == (each if each in visible else None), (asking, each.id)
                if each not in visible:
                    assert not await stores.summary_views.delete(asking, view_id=each.id, at=T0)
        assert len(await stores.summary_views.list(ACME)) == 4

    async def test_an_owner_has_a_bounded_number_of_views(self, stores: Stores) -> None:
        """The next one is refused; another owner's number is its own."""
        assert await stores.summary_views.add(view("v1"), views_max=1)
        assert not await stores.summary_views.add(view("v2"), views_max=1)
        assert await stores.summary_views.add(view("v3", owner=selector()), views_max=1)

    async def test_continuous_views_are_walked_in_pages(self, stores: Stores) -> None:
        """Those of every tenant, each once."""
        for number in range(5):
            owner = ScopeSelector(f"tenant-{number}")
            await self.added(stores, view(f"v{number}", owner=owner, continuous=number != 2))
        first = await stores.summary_views.continuous(limit=3)
        rest = await stores.summary_views.continuous(limit=3, after=first[-1].id)
        assert [each.id for each in (*first, *rest)] == ["v0", "v1", "v3", "v4"]

    async def test_members_are_those_of_the_filter_each_once(self, stores: Stores) -> None:
        """Page after page, what is in the listing of the same filter: key, session, type and revision, no more."""
        everybody = [ALICE, BOB, Scope("acme"), Scope("other", "work", "alice")]
        for number in range(12):
            scope = replace(everybody[number % 4], session_id=f"s{number % 3}" if number % 2 else None)
            made = memory(f"m{number}", f"text {number}", scope=scope, memory_type=list(MemoryType)[number % 3])
            await stores.memories.commit(operation(put(made), tenant=scope.tenant))
        for wanted in (
            MemoryFilter(selector=ACME),
            MemoryFilter(selector=selector()),
            MemoryFilter(selector=ACME, user_id=TextFilter(ne="bob"), memory_type=TextFilter(eq="semantic")),
            MemoryFilter(selector=ScopeSelector("nobody")),
        ):
            members: list[Member] = []
            cursor: str | None = None
            while True:
                page = await stores.summary_views.members(wanted, now=T0, limit=2, cursor=cursor)
                members.extend(page.members)
                cursor = page.next_cursor
                if cursor is None:
                    break
            listed = await stores.memories.list(wanted, now=T0, limit=100)
            assert sorted(members, key=repr) == sorted(map(member_of, listed.memories), key=repr)
        with pytest.raises(InvalidInput):
            await stores.summary_views.members(MemoryFilter(selector=ACME), now=T0, limit=2, cursor="x")

    async def test_a_partition_is_read_back_and_replaced(self, stores: Stores) -> None:
        """One a group, however its values look; a later one takes its place."""
        made = await self.added(stores, view())
        await self.keys(stores, "a")
        for odd in ("alice", "a|b", "", "x=y", 'q"', "%", "ü"):
            assert await stores.summary_views.put_partition(made, partition(odd), sources=())
            assert await stores.summary_views.partition(made, group={"user_id": odd}) == partition(odd)
        later = partition(summary="More.", memory_count=2, fingerprint="f2", computed_at=T0 + timedelta(hours=1))
        assert await stores.summary_views.put_partition(made, later, sources=())
        assert await stores.summary_views.partition(made, group={"user_id": "alice"}) == later
        assert await stores.summary_views.partition(made, group={"user_id": "nobody"}) is None

    async def test_partitions_are_listed_by_exact_values(self, stores: Stores) -> None:
        """In the order of their keys, a page at a time, with the total of what matches."""
        made = await self.added(stores, view(group_by=("user_id", "memory_type")))
        for user in ("b", "a", "ab"):
            for kind in ("semantic", "episodic"):
                each = partition(user, group={"user_id": user, "memory_type": kind})
                assert await stores.summary_views.put_partition(made, each, sources=())
        page = await stores.summary_views.partitions(made, where={}, limit=4)
        rest = await stores.summary_views.partitions(made, where={}, limit=4, offset=4)
        assert (page.total, len(page.partitions), len(rest.partitions)) == (6, 4, 2)
        keys = [group_key(each.group) for each in (*page.partitions, *rest.partitions)]
        assert keys == sorted(keys)
        of_a = await stores.summary_views.partitions(made, where={"user_id": "a", "memory_type": "semantic"}, limit=9)
        assert [dict(each.group) for each in of_a.partitions] == [{"user_id": "a", "memory_type": "semantic"}]
        assert (await stores.summary_views.partitions(made, where={"namespace": "a"}, limit=9)).total == 0
        assert set(await stores.summary_views.fingerprints(made)) == set(keys)

    async def test_partitions_without_memories_become_empty(self, stores: Stores) -> None:
        """Only the named ones change, once; the summary goes and the reason is there."""
        made = await self.added(stores, view())
        for user in ("alice", "bob"):
            await stores.summary_views.put_partition(made, partition(user), sources=())
        later = T0 + timedelta(hours=1)
        keys = [group_key({"user_id": "alice"}), group_key({"user_id": "nobody"})]
        for expected in (1, 0):
            emptied = await stores.summary_views.empty_partitions(made, group_keys=keys, fingerprint="none", at=later)
            assert emptied == expected
        found = await stores.summary_views.partition(made, group={"user_id": "alice"})
        assert found == partition(
            summary="", memory_count=0, computed_at=later, fingerprint="none", empty_reason=NO_MATCHING_MEMORIES
        )
        assert await stores.summary_views.partition(made, group={"user_id": "bob"}) == partition("bob")

    async def test_partitions_can_be_dropped(self, stores: Stores) -> None:
        """The named ones of this view alone, with what ties them to their sources; they can be made again."""
        made = await self.added(stores, view())
        other = await self.added(stores, view("v2"))
        sources = await self.keys(stores, "a", "b")
        for each, user in ((made, "alice"), (made, "bob"), (other, "alice")):
            stored = replace(partition(user), view_id=each.id)
            assert await stores.summary_views.put_partition(each, stored, sources=sources)
        groups = [{"user_id": "alice"}, {"user_id": "nobody"}]
        assert await stores.summary_views.drop_partitions(made, groups=groups) == 1
        assert await stores.summary_views.drop_partitions(made, groups=groups) == 0
        assert await stores.summary_views.drop_partitions(made, groups=[]) == 0
        left = await stores.summary_views.partitions(made, where={}, limit=9)
        assert [dict(each.group) for each in left.partitions] == [{"user_id": "bob"}]
        assert (await stores.summary_views.partitions(other, where={}, limit=9)).total == 1
        await stores.memories.commit(operation(Delete(key=sources[0], scrub=True)))
        emptied = await stores.summary_views.partition(made, group={"user_id": "bob"})
        assert emptied is not None
        assert emptied.empty_reason == SOURCE_DELETED
        assert await stores.summary_views.put_partition(made, partition("alice"), sources=sources[1:])

    async def test_a_deleted_view_takes_everything_with_it(self, stores: Stores) -> None:
        """Partitions and pending runs go, tasks fail with the reason, and work in flight cannot bring anything back."""
        made = await self.added(stores, view())
        await stores.summary_views.put_partition(made, partition(), sources=())
        await stores.summary_views.start(made, run_of(made, "t1"), at=T0)
        kinds = [IntentKind.REFRESH_SUMMARY_VIEW.value]
        (claimed,) = await stores.outbox.claim(kinds=kinds, now=T0, lease_s=10, limit=9)
        assert await stores.summary_views.delete(ACME, view_id="v1", at=T0)
        assert not await stores.summary_views.delete(ACME, view_id="v1", at=T0)
        assert await stores.summary_views.get(ACME, view_id="v1") is None
        assert not await stores.summary_views.put_partition(made, partition(), sources=())
        assert (await stores.summary_views.partitions(made, where={}, limit=9)).total == 0
        assert await stores.summary_views.start(made, run_of(made, "t2"), at=T0) is None
        await stores.outbox.complete(claimed)
        (task,) = await stores.jobs.find(ACME, task_id="t1", now=T0)
        assert (task.status, task.error_message) == (TaskStatus.FAILED, "the summary view was deleted")
        assert (await stores.outbox.pending(ACME, now=T0)).pending == 0

    async def test_a_run_has_a_task_whose_id_is_given_once(self, stores: Stores) -> None:
        """The same id again returns the first task, whatever became of it, and asks for nothing."""
        made = await self.added(stores, view(owner=selector()))
        started = await stores.summary_views.start(made, run_of(made, "t1"), at=T0)
        assert started is not None
        assert started.created
        task = started.task
        assert (task.type, task.view_id, task.status) == ("summary_view_full_run", "v1", TaskStatus.PENDING)
        assert task.scope == ALICE
        kinds = [IntentKind.REFRESH_SUMMARY_VIEW.value]
        (claimed,) = await stores.outbox.claim(kinds=kinds, now=T0, lease_s=10, limit=9)
        await stores.outbox.complete(claimed)
        again = await stores.summary_views.start(made, run_of(made, "t1"), at=T0)
        assert again is not None
        assert (again.created, again.task.status) == (False, TaskStatus.SUCCESS)
        assert (await stores.outbox.pending(ACME, now=T0)).pending == 0

    async def test_a_summary_goes_with_a_source_that_is_deleted_for_good(self, stores: Stores) -> None:
        """Its text is gone with the memory's, and it is due anew; a memory that was only forgotten leaves it."""
        made = await self.added(stores, view())
        deleted, forgotten, other = await self.keys(stores, "deleted", "forgotten", "other")
        first, second = partition("alice"), partition("bob")
        assert await stores.summary_views.put_partition(made, first, sources=(deleted, other))
        assert await stores.summary_views.put_partition(made, second, sources=(forgotten, other))
        await stores.memories.commit(operation(Delete(key=forgotten, scrub=False), kind=OperationKind.FORGET))
        assert await stores.summary_views.partition(made, group=second.group) == second
        await stores.memories.commit(operation(Delete(key=deleted, scrub=True), kind=OperationKind.DELETE))
        found = await stores.summary_views.partition(made, group=first.group)
        assert found is not None
        assert (found.summary, found.empty_reason, found.fingerprint) == ("", SOURCE_DELETED, None)
        assert await stores.summary_views.partition(made, group=second.group) == second
        await stores.memories.commit(operation(Delete(key=forgotten, scrub=True), kind=OperationKind.DELETE))
        found = await stores.summary_views.partition(made, group=second.group)
        assert found is not None
        assert found.summary == ""

    async def test_a_summary_of_a_memory_that_went_meanwhile_is_refused(self, stores: Stores) -> None:
        """What was read before a delete cannot be stored after it."""
        made = await self.added(stores, view())
        gone, there = await self.keys(stores, "gone", "there")
        await stores.memories.commit(operation(Delete(key=gone, scrub=True), kind=OperationKind.DELETE))
        assert not await stores.summary_views.put_partition(made, partition(), sources=(gone, there))
        assert await stores.summary_views.partition(made, group={"user_id": "alice"}) is None
        assert await stores.summary_views.put_partition(made, partition(), sources=(there,))

    async def test_a_source_that_moved_to_another_owner_is_still_a_source(self, stores: Stores) -> None:
        """After an edit of the owner, deleting the memory takes the old owner's summary too."""
        made = await self.added(stores, view())
        (key,) = await self.keys(stores, "a")
        assert await stores.summary_views.put_partition(made, partition(), sources=(key,))
        moved = memory("a", "text of a", scope=BOB)
        await stores.memories.commit(operation(put(moved, previous_key=key), kind=OperationKind.EDIT))
        await stores.memories.commit(operation(Delete(key=moved.key, scrub=True), kind=OperationKind.DELETE))
        found = await stores.summary_views.partition(made, group={"user_id": "alice"})
        assert found is not None
        assert found.summary == ""


class ScheduleStoreContract:
    async def test_one_of_many_processes_has_the_round(self, stores: Stores) -> None:
        """The time is noted and the work asked for once, whoever asks at the same time; the next round needs the last."""
        work = Intent(kind="work", key="k", tenant="acme")
        assert await stores.schedules.last_run("tidy") is None
        for last, at in ((None, T0), (T0, T0 + timedelta(hours=1))):
            got = await asyncio.gather(
                *(stores.schedules.tick("tidy", last=last, at=at, intents=[work]) for _ in range(5))
            )
            assert sum(got) == 1
            assert await stores.schedules.last_run("tidy") == at
            (claimed,) = await stores.outbox.claim(kinds=["work"], now=at, lease_s=1, limit=9)
            assert claimed.generation == 1
            await stores.outbox.complete(claimed)
        assert await stores.schedules.last_run("another") is None
