"""Summary views over the real engine: who sees what, what a run makes anew, and what a failure leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.domain.identity import Principal, Scope, ScopeSelector
from agent_memory_server.domain.jobs import ClaimedIntent, IntentKind, TaskStatus
from agent_memory_server.domain.operations import Delete, Operation, OperationKind, Put
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.summary_views import Partition, SummaryView, ViewDraft, ViewSource
from agent_memory_server.errors import Conflict, ModelUnavailable, NotFound
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.jobs import JobService
from agent_memory_server.services.partition_summaries import ExtractivePartitions
from agent_memory_server.services.pending_work import ATTEMPTS_MAX, PendingWorkService
from agent_memory_server.services.schedules import Schedule, ScheduleService
from agent_memory_server.services.summary_views import SummaryViewService
from agent_memory_server.stores.sqlite import open_sqlite

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)
ADMIN = Principal(subject="admin", tenant="acme")
TEAM = Principal(subject="team", tenant="acme", namespace="work")
ALICE = Principal(subject="alice", tenant="acme", namespace="work", user_id="alice")
BOB = Principal(subject="bob", tenant="acme", namespace="work", user_id="bob")
STRANGER = Principal(subject="alice", tenant="other", namespace="work", user_id="alice")


class Joining:
    """A summariser that joins the texts, notes each call, and fails for the groups that it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.version = "1"
        self.failing: Callable[[str], bool] = lambda _: False
        self.before: Callable[[], Any] | None = None

    def method(self, *, prompt: str | None, model_name: str | None) -> str:
        return f"{self.version} {prompt} {model_name}"

    async def summarize(
        self,
        memories: Sequence[Memory],
        /,
        *,
        group: Mapping[str, str],
        total: int,
        prompt: str | None,
        model_name: str | None,
    ) -> str:
        name = ",".join(group.values())
        self.calls.append(name)
        if self.before is not None:
            await self.before()
        if self.failing(name):
            raise ModelUnavailable("the model is away")
        return f"{' + '.join(memory.text for memory in memories)} ({total})"


@dataclass
class World:
    """The services over one store, with a clock that a test moves."""

    stores: Stores
    summarizer: Joining = field(default_factory=Joining)
    now: datetime = T0
    made: int = 0
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.views = SummaryViewService(
            store=self.stores.summary_views,
            memories=self.stores.memories,
            summarizer=self.summarizer,
            now=lambda: self.now,
            new_id=self.new_id,
            wake=self.woken.set,
        )
        self.jobs = JobService(store=self.stores.jobs, now=lambda: self.now, wake=self.woken.set)
        self.work = PendingWorkService(
            outbox=self.stores.outbox,
            handlers={IntentKind.REFRESH_SUMMARY_VIEW.value: self.refresh},
            now=lambda: self.now,
            wake=self.woken,
            batch=1,
        )

    def new_id(self) -> str:
        self.made += 1
        return f"id{self.made:04d}"

    async def refresh(self, intent: ClaimedIntent) -> None:
        owner = ScopeSelector(intent.tenant, intent.namespace, intent.user_id)
        await self.views.refresh(owner, view_id=intent.payload["view_id"], force=intent.payload["force"])

    async def remember(self, memory_id: str, user: str | None, text: str, **fields: Any) -> Memory:
        scope = Scope(fields.pop("tenant", "acme"), "work", user)
        made = Memory(
            id=memory_id, scope=scope, text=text, created_at=self.now, updated_at=self.now, last_accessed=self.now,
            **fields,
        )  # fmt: skip
        await self.commit(Put(memory=made, tokens={}), tenant=scope.tenant)
        return made

    async def forget(self, memory: Memory) -> None:
        await self.commit(Delete(key=memory.key, scrub=True), tenant=memory.scope.tenant)

    async def commit(self, change: Put | Delete, *, tenant: str) -> None:
        operation = Operation(
            id=self.new_id(), tenant=tenant, kind=OperationKind.CREATE, actor="test", at=self.now, changes=(change,)
        )
        await self.stores.memories.commit(operation)

    async def view(self, caller: Principal = ADMIN, **fields: Any) -> SummaryView:
        given: dict[str, Any] = {"source": ViewSource.LONG_TERM, "group_by": ("user_id",), **fields}
        return await self.views.create(caller, ViewDraft(**given))

    async def summaries(self, view: SummaryView, caller: Principal = ADMIN) -> dict[str, str]:
        page = await self.views.partitions(caller, view_id=view.id, where={}, limit=1_000)
        return {",".join(each.group.values()): each.summary for each in page.partitions}

    async def partition(self, view: SummaryView, user: str) -> Partition:
        page = await self.views.partitions(ADMIN, view_id=view.id, where={"user_id": user}, limit=1)
        return page.partitions[0]

    async def try_until_done(self) -> None:
        """Let the clock run from retry to retry until nothing is due any more."""
        for _ in range(2 * ATTEMPTS_MAX):
            await self.work.run_due()
            due = await self.stores.outbox.next_due(now=self.now)
            if due is None:
                return
            self.now = max(self.now, due)
        raise AssertionError("the work never ends")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock: list[World] = []
    stores = await open_sqlite(tmp_path / "memory.db", now=lambda: clock[0].now if clock else T0)
    clock.append(World(stores))
    yield clock[0]
    await stores.engine.close()


# -- who sees what


async def test_a_view_is_seen_only_by_those_who_may_read_all_of_it(world: World) -> None:
    """For everybody else every operation answers exactly as for a view that is not there."""
    seen_by = {
        ADMIN: {"admin", "team", "alice"},
        TEAM: {"team", "alice"},
        ALICE: {"alice"},
        BOB: set[str](),
        STRANGER: set[str](),
    }
    made = {caller.subject: await world.view(caller, name=caller.subject) for caller in (ADMIN, TEAM, ALICE)}
    for caller, visible in seen_by.items():
        assert {view.draft.name for view in await world.views.list(caller)} == visible
        for name, view in made.items():
            if name in visible:
                assert (await world.views.get(caller, view_id=view.id)) == view
                continue
            for view_id in (view.id, "absent"):
                calls = (
                    world.views.get(caller, view_id=view_id),
                    world.views.partitions(caller, view_id=view_id, where={}, limit=1),
                    world.views.run_partition(caller, view_id=view_id, group={"user_id": "alice"}),
                    world.views.run(caller, view_id=view_id),
                )
                for call in calls:
                    with pytest.raises(NotFound, match=f"SummaryView {view_id} not found"):
                        await call
                assert not await world.views.delete(caller, view_id=view_id)
    assert len(await world.views.list(ADMIN)) == 3


async def test_partitions_hold_only_what_the_views_owner_may_read(world: World) -> None:
    """Whoever runs it: Alice's view summarises Alice's memories, also for the admin, and names nobody else."""
    await world.remember("a", "alice", "tea")
    await world.remember("b", "bob", "rum")
    await world.remember("c", "alice", "foreign", tenant="other")
    mine, whole = await world.view(ALICE), await world.view(ADMIN)
    for view in (mine, whole):
        await world.views.run(ADMIN, view_id=view.id)
    await world.work.run_due()
    assert await world.summaries(mine) == {"alice": "tea (1)"}
    assert await world.summaries(whole) == {"alice": "tea (1)", "bob": "rum (1)"}
    aimed_at_bob = await world.views.run_partition(ADMIN, view_id=mine.id, group={"user_id": "bob"})
    assert (aimed_at_bob.summary, aimed_at_bob.memory_count, aimed_at_bob.empty) == ("", 0, True)


async def test_tasks_are_seen_by_the_same_callers(world: World) -> None:
    """Alice's run is a task for Alice and those above her; for Bob and another tenant it is absent."""
    view = await world.view(ALICE)
    task = await world.views.run(ADMIN, view_id=view.id)
    for caller in (ADMIN, TEAM, ALICE):
        assert (await world.jobs.get(caller, task_id=task.id)).id == task.id
        assert (await world.jobs.list(caller)).total == 1
    for caller in (BOB, STRANGER):
        for call in (world.jobs.get(caller, task_id=task.id), world.jobs.replay(caller, task_id=task.id)):
            with pytest.raises(NotFound, match=f"Task {task.id} not found"):
                await call
        assert (await world.jobs.list(caller)).total == 0


# -- what is summarised


async def test_a_run_summarises_each_group_oldest_first(world: World) -> None:
    """Filters and window narrow, memories without the field are skipped, and text stands in the order it happened."""
    for day, (memory_id, user, text) in enumerate(
        [("old", "alice", "too old"), ("a1", "alice", "tea"), ("a2", "alice", "bees"), ("x", None, "nobody's")]
    ):
        world.now = T0 + timedelta(days=10 * day)
        await world.remember(memory_id, user, text)
    await world.remember("said", "alice", "hello", memory_type=MemoryType.MESSAGE)
    view = await world.view(filters={"memory_type": {"ne": "message"}}, time_window_days=25)
    await world.views.run(ADMIN, view_id=view.id)
    await world.work.run_due()
    assert await world.summaries(view) == {"alice": "tea + bees (2)"}


async def test_without_group_fields_there_is_one_partition(world: World) -> None:
    """Everything is one group, which has no name."""
    await world.remember("a", "alice", "tea")
    await world.remember("b", None, "rum")
    view = await world.view(group_by=())
    result = await world.views.run_partition(ADMIN, view_id=view.id, group={})
    assert (result.group, result.summary) == ({}, "tea + rum (2)")


async def test_only_what_changed_is_summarised_again(world: World) -> None:
    """A new memory makes its own group due; a new prompt or model makes all of them due; force does as well."""
    await world.remember("a", "alice", "tea")
    await world.remember("b", "bob", "rum")
    view = await world.view()

    async def summarised(**options: Any) -> list[str]:
        world.summarizer.calls.clear()
        await world.views.run(ADMIN, view_id=view.id, **options)
        assert await world.work.run_due() == 1
        return sorted(world.summarizer.calls)

    assert await summarised() == ["alice", "bob"]
    assert await summarised() == []
    await world.remember("b2", "bob", "gin")
    assert await summarised() == ["bob"]
    assert await summarised(force=True) == ["alice", "bob"]
    world.summarizer.version = "2"
    assert await summarised() == ["alice", "bob"]
    world.summarizer.calls.clear()
    again = await world.views.run_partition(ADMIN, view_id=view.id, group={"user_id": "bob"})
    assert (again.summary, world.summarizer.calls) == ("rum + gin (2)", [])
    await world.views.run_partition(ADMIN, view_id=view.id, group={"user_id": "bob"}, force=True)
    assert world.summarizer.calls == ["bob"]


async def test_a_group_that_lost_its_memories_becomes_empty(world: World) -> None:
    """Not left stale: no text, no count, the contract's reason; and it comes back with new memories."""
    memory = await world.remember("a", "alice", "tea")
    view = await world.view()
    await world.views.refresh(view.owner, view_id=view.id)
    moved = replace(memory, scope=Scope("acme", "work", "bob"))
    await world.commit(Put(memory=moved, tokens={}, previous_key=memory.key), tenant="acme")
    world.now += timedelta(hours=1)
    done = await world.views.refresh(view.owner, view_id=view.id)
    assert (done.summarized, done.emptied) == (1, 1)
    emptied = await world.partition(view, "alice")
    assert (emptied.summary, emptied.memory_count, emptied.empty_reason) == ("", 0, "no_matching_memories")
    assert emptied.computed_at == world.now
    assert (await world.views.refresh(view.owner, view_id=view.id)).emptied == 0
    await world.remember("a2", "alice", "bees")
    await world.views.refresh(view.owner, view_id=view.id)
    assert await world.summaries(view) == {"alice": "bees (1)", "bob": "tea (1)"}


async def test_a_memory_deleted_while_it_is_summarised_is_not_in_the_summary(world: World) -> None:
    """The summary is made again without it; nothing that was deleted comes back."""
    memory = await world.remember("a", "alice", "secret")
    await world.remember("b", "alice", "tea")
    view = await world.view()

    async def delete_once() -> None:
        world.summarizer.before = None
        await world.forget(memory)

    world.summarizer.before = delete_once
    result = await world.views.run_partition(ADMIN, view_id=view.id, group={"user_id": "alice"})
    assert result.summary == "tea (1)"
    assert await world.summaries(view) == {"alice": "tea (1)"}


async def test_local_mode_tells_what_the_memories_say(world: World) -> None:
    """The extractive way: sentences of the memories, something even for texts without words, never a notice about keys."""
    views = SummaryViewService(
        store=world.stores.summary_views,
        memories=world.stores.memories,
        summarizer=ExtractivePartitions(),
        now=lambda: world.now,
        new_id=world.new_id,
        wake=lambda: None,
    )
    await world.remember("a", "alice", "Alice keeps bees on the roof. She sells the honey in autumn.")
    await world.remember("b", "bob", "!!!")
    view = await world.view()
    of_alice = await views.run_partition(ADMIN, view_id=view.id, group={"user_id": "alice"})
    assert "keeps bees" in of_alice.summary
    of_bob = await views.run_partition(ADMIN, view_id=view.id, group={"user_id": "bob"})
    assert (of_bob.summary, of_bob.empty) == ("!!!", False)


# -- failures


async def test_a_failure_never_replaces_a_good_summary(world: World) -> None:
    """The old one stays, the others are made, the task says why, and what succeeded is not made again by the retry."""
    for user in ("alice", "bob", "carol"):
        await world.remember(user, user, "tea")
    view = await world.view()
    await world.views.refresh(view.owner, view_id=view.id)
    good = await world.partition(view, "bob")
    for user in ("alice", "bob", "carol"):
        await world.remember(f"{user}2", user, "bees")
    world.summarizer.failing = lambda name: name == "bob"
    world.summarizer.calls.clear()
    task = await world.views.run(ADMIN, view_id=view.id)
    await world.work.run_due()
    assert sorted(world.summarizer.calls) == ["alice", "bob", "carol"]
    assert await world.partition(view, "bob") == good
    assert (await world.summaries(view))["carol"] == "tea + bees (2)"
    seen = await world.jobs.get(ADMIN, task_id=task.id)
    assert seen.status is TaskStatus.RUNNING
    assert seen.error_message == "1 of 3 summaries failed; the last one: the model is away"
    world.summarizer.calls.clear()
    world.summarizer.failing = lambda _: False
    world.now += timedelta(minutes=1)
    await world.work.run_due()
    assert world.summarizer.calls == ["bob"]
    assert (await world.jobs.get(ADMIN, task_id=task.id)).status is TaskStatus.SUCCESS


async def test_a_model_that_stays_away_ends_in_a_replayable_failure(world: World) -> None:
    """After the last attempt the task has failed with the reason; replayed when the model is back, it succeeds."""
    await world.remember("a", "alice", "tea")
    view = await world.view()
    world.summarizer.failing = lambda _: True
    task = await world.views.run(ADMIN, view_id=view.id)
    await world.try_until_done()
    assert len(world.summarizer.calls) == ATTEMPTS_MAX
    failed = await world.jobs.get(ADMIN, task_id=task.id)
    assert (failed.status, failed.error_message is not None) == (TaskStatus.FAILED, True)
    assert [each.id for each in (await world.jobs.list(ADMIN, status=TaskStatus.DEAD)).tasks] == [task.id]
    assert await world.summaries(view) == {}
    world.summarizer.failing = lambda _: False
    world.woken.clear()
    assert (await world.jobs.replay(ADMIN, task_id=task.id)).status is TaskStatus.PENDING
    assert world.woken.is_set()
    await world.work.run_due()
    assert (await world.jobs.get(ADMIN, task_id=task.id)).status is TaskStatus.SUCCESS
    assert await world.summaries(view) == {"alice": "tea (1)"}
    with pytest.raises(Conflict, match="only what failed for good"):
        await world.jobs.replay(ADMIN, task_id=task.id)


async def test_a_model_that_is_away_is_not_asked_for_every_group(world: World) -> None:
    """After three failures in a row the rest waits for the retry."""
    for number in range(10):
        await world.remember(f"m{number}", f"user{number}", "tea")
    view = await world.view()
    world.summarizer.failing = lambda _: True
    with pytest.raises(ModelUnavailable, match="3 of 10"):
        await world.views.refresh(view.owner, view_id=view.id)
    assert len(world.summarizer.calls) == 3


async def test_a_summary_that_takes_too_long_or_says_nothing_is_a_failure(world: World) -> None:
    """A hanging model ends in a time-out, an empty answer is no summary."""
    await world.remember("a", "alice", "tea")
    view = await world.view()
    patience = SummaryViewService(
        store=world.stores.summary_views,
        memories=world.stores.memories,
        summarizer=world.summarizer,
        now=lambda: world.now,
        new_id=world.new_id,
        wake=lambda: None,
        summary_timeout_s=0.01,
    )
    world.summarizer.before = asyncio.Event().wait
    with pytest.raises(ModelUnavailable, match=r"longer than 0\.01 s"):
        await patience.run_partition(ADMIN, view_id=view.id, group={"user_id": "alice"})
    world.summarizer.before = None

    class Silent(Joining):
        async def summarize(self, memories: Sequence[Memory], /, **_: Any) -> str:
            del memories
            return " \n"

    silent = SummaryViewService(
        store=world.stores.summary_views,
        memories=world.stores.memories,
        summarizer=Silent(),
        now=lambda: world.now,
        new_id=world.new_id,
        wake=lambda: None,
    )
    with pytest.raises(ModelUnavailable, match="empty"):
        await silent.run_partition(ADMIN, view_id=view.id, group={"user_id": "alice"})
    assert await world.summaries(view) == {}


# -- tasks


async def test_a_client_may_name_its_task_once(world: World) -> None:
    """While that run is open the same task answers again; an id that is used up or another view's is a conflict."""
    view, other = await world.view(), await world.view()
    task = await world.views.run(ADMIN, view_id=view.id, task_id="mine")
    assert task.id == "mine"
    assert await world.views.run(ADMIN, view_id=view.id, task_id="mine") == task
    with pytest.raises(Conflict, match="mine"):
        await world.views.run(ADMIN, view_id=other.id, task_id="mine")
    await world.work.run_due()
    done = await world.jobs.get(ADMIN, task_id="mine")
    with pytest.raises(Conflict, match="mine"):
        await world.views.run(ADMIN, view_id=view.id, task_id="mine")
    assert await world.jobs.get(ADMIN, task_id="mine") == done


async def test_runs_that_wait_are_one_run_with_a_task_each(world: World) -> None:
    """Asked for five times before it begins, it is done once, and every task succeeds."""
    await world.remember("a", "alice", "tea")
    view = await world.view()
    tasks = [await world.views.run(ADMIN, view_id=view.id) for _ in range(5)]
    assert await world.work.run_due() == 1
    assert len({task.id for task in tasks}) == 5
    for task in tasks:
        assert (await world.jobs.get(ADMIN, task_id=task.id)).status is TaskStatus.SUCCESS


async def test_a_view_deleted_while_it_runs_ends_the_run(world: World) -> None:
    """Nothing is stored, nothing stays pending, and the task says what happened."""
    for user in ("alice", "bob"):
        await world.remember(user, user, "tea")
    view = await world.view()
    task = await world.views.run(ADMIN, view_id=view.id)

    async def delete() -> None:
        await world.views.delete(ADMIN, view_id=view.id)

    world.summarizer.before = delete
    await world.work.run_due()
    assert len(world.summarizer.calls) == 1
    failed = await world.jobs.get(ADMIN, task_id=task.id)
    assert (failed.status, failed.error_message) == (TaskStatus.FAILED, "the summary view was deleted")
    assert (await world.work.pending(ADMIN)).pending == 0


# -- the schedule


async def test_continuous_views_are_refreshed_once_an_interval(world: World) -> None:
    """By whichever process comes first, across restarts; the others find nothing to do. Other views are left alone."""
    await world.remember("a", "alice", "tea")
    kept = await world.view(ALICE, continuous=True)
    by_hand = await world.view()

    def process() -> ScheduleService:
        schedule = Schedule(name="refresh", every=timedelta(minutes=10), intents=world.views.due_refreshes)
        return ScheduleService(
            store=world.stores.schedules, schedules=[schedule], now=lambda: world.now, wake=world.woken.set
        )

    assert sum(await asyncio.gather(*(process().run_due() for _ in range(3)))) == 1
    assert world.woken.is_set()
    assert await world.work.run_due() == 1
    assert await world.summaries(kept) == {"alice": "tea (1)"}
    assert await world.summaries(by_hand) == {}
    world.now += timedelta(minutes=9)
    assert await process().run_due() == 0
    world.now += timedelta(minutes=1)
    await world.remember("a2", "alice", "bees")
    assert await process().run_due() == 1
    assert await world.work.run_due() == 1
    assert await world.summaries(kept) == {"alice": "tea + bees (2)"}


async def test_a_clock_that_was_set_back_does_not_stop_a_schedule(world: World) -> None:
    """A last run in the far future counts as due, once."""
    schedule = Schedule(name="refresh", every=timedelta(minutes=10), intents=world.views.due_refreshes)
    service = ScheduleService(
        store=world.stores.schedules, schedules=[schedule], now=lambda: world.now, wake=lambda: None
    )
    world.now = T0 + timedelta(days=365)
    assert await service.run_due() == 1
    world.now = T0
    assert await service.run_due() == 1
    assert await service.run_due() == 0
