"""What every engine's JobStore has to do, and how its Outbox moves tasks on. Inherit and give a ``stores`` fixture."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.jobs import ERASED, TASK_LIFE, ClaimedIntent, Task, TaskStatus, may_become
from agent_memory_server.domain.operations import Intent, TaskRequest
from agent_memory_server.errors import InvalidInput
from agent_memory_server.ports.stores import Stores
from tests.contract.stores.making import ALICE, T0, operation, selector

BOB = Scope("acme", "work", "bob")
ACME = ScopeSelector("acme")
SECOND = timedelta(seconds=1)


def intent(task_id: str | None = None, *, owner: Scope = ALICE, **values: Any) -> Intent:
    """Work of Alice's, with a task that the owner may read."""
    task = None if task_id is None else TaskRequest(id=task_id, owner=owner)
    made = Intent(kind="work", key="k", tenant="acme", namespace="work", user_id="alice", task=task)
    return replace(made, **values)


class JobStoreContract:
    async def request(self, stores: Stores, *intents: Intent, at: datetime = T0) -> None:
        await stores.memories.commit(operation(intents=intents, at=at))

    async def claim(self, stores: Stores, *, now: datetime = T0, lease_s: float = 10) -> ClaimedIntent:
        (claimed,) = await stores.outbox.claim(kinds=["work"], now=now, lease_s=lease_s, limit=1)
        return claimed

    async def task(self, stores: Stores, task_id: str, *, where: ScopeSelector = ACME) -> Task:
        (found,) = await stores.jobs.find(where, task_id=task_id, now=T0)
        return found

    async def listed(self, stores: Stores, status: TaskStatus | None = None) -> list[tuple[str, str]]:
        page = await stores.jobs.list(ACME, now=T0, limit=100, status=status)
        assert page.total == len(page.tasks)
        assert page.next_cursor is None
        return [(task.id, task.status.value) for task in page.tasks]

    async def test_a_task_keeps_the_report_of_its_work(self, stores: Stores) -> None:
        """What the work reports is read with the task; a task by name is of the type that it names."""
        named = intent("t1", kind="work", payload={"task": "ignored"})
        await self.request(stores, named, replace(named, kind="run_task", payload={"task": "count"}, key="2"))
        claimed = await self.claim(stores)
        assert (await self.task(stores, "t1")).result is None
        await stores.outbox.complete(claimed, result={"counted": 3})
        assert (await self.task(stores, "t1")).result == {"counted": 3}
        assert await self.listed(stores, TaskStatus.SUCCESS) == [("t1", "success")]
        await self.request(stores, replace(named, kind="run_task", payload={"task": "count"}, key="3", task=None))
        page = await stores.jobs.list(ACME, now=T0, limit=100, status=TaskStatus.PENDING)
        assert {each.type for each in page.tasks} == {"count"}

    async def test_a_task_follows_its_intent_to_success(self, stores: Stores) -> None:
        """Pending when asked for, running when claimed, success when completed, with the times of each."""
        await self.request(stores, intent("t1", payload={"view_id": "v1"}))
        task = await self.task(stores, "t1")
        assert (task.status, task.type, task.view_id, task.scope) == (TaskStatus.PENDING, "work", "v1", ALICE)
        assert (task.created_at, task.started_at, task.completed_at) == (T0, None, None)
        claimed = await self.claim(stores)
        task = await self.task(stores, "t1")
        assert (task.status, task.started_at) == (TaskStatus.RUNNING, T0)
        await stores.outbox.complete(claimed)
        task = await self.task(stores, "t1")
        assert (task.status, task.completed_at, task.error_message) == (TaskStatus.SUCCESS, T0, None)
        assert await self.listed(stores) == [("t1", "success")]

    async def test_a_failing_task_says_why_and_ends_failed(self, stores: Stores) -> None:
        """While it is retried it stays running with the last reason; the last attempt ends it, replayable."""
        await self.request(stores, intent("t1"))
        await stores.outbox.fail(await self.claim(stores), reason="down", retry_at=T0 + SECOND)
        task = await self.task(stores, "t1")
        assert (task.status, task.error_message) == (TaskStatus.RUNNING, "down")
        await stores.outbox.fail(await self.claim(stores, now=T0 + SECOND), reason="for good", retry_at=None)
        task = await self.task(stores, "t1")
        assert (task.status, task.error_message, task.completed_at) == (TaskStatus.FAILED, "for good", T0)
        assert await self.listed(stores, TaskStatus.FAILED) == [("t1", "failed")]
        assert await self.listed(stores, TaskStatus.DEAD) == [("t1", "dead")]
        assert await self.listed(stores) == [("t1", "failed")]

    async def test_replay_gives_all_attempts_again(self, stores: Stores) -> None:
        """A dead task becomes pending, runs and succeeds; what is not dead is not replayed."""
        await self.request(stores, intent("t1"))
        assert await stores.jobs.replay(await self.task(stores, "t1"), at=T0) is None
        await stores.outbox.fail(await self.claim(stores), reason="for good", retry_at=None)
        replayed = await stores.jobs.replay(await self.task(stores, "t1"), at=T0)
        assert replayed is not None
        assert (replayed.status, replayed.error_message, replayed.completed_at) == (TaskStatus.PENDING, None, None)
        assert (await stores.outbox.pending(selector(), now=T0)).dead == 0
        claimed = await self.claim(stores)
        assert claimed.attempts == 0
        await stores.outbox.complete(claimed)
        task = await self.task(stores, "t1")
        assert task.status is TaskStatus.SUCCESS
        assert await stores.jobs.replay(task, at=T0) is None

    async def test_an_intent_without_a_task_is_listed_as_one(self, stores: Stores) -> None:
        """Pending, running and dead background work is found under its own id, its kind as type, and can be replayed."""
        await self.request(stores, intent())
        ((task_id, status),) = await self.listed(stores)
        assert status == "pending"
        claimed = await self.claim(stores)
        assert await self.listed(stores, TaskStatus.RUNNING) == [(task_id, "running")]
        await stores.outbox.fail(claimed, reason="gone wrong", retry_at=None)
        task = await self.task(stores, task_id)
        assert (task.status, task.type, task.error_message) == (TaskStatus.DEAD, "work", "gone wrong")
        assert await self.listed(stores, TaskStatus.DEAD) == [(task_id, "dead")]
        replayed = await stores.jobs.replay(task, at=T0)
        assert replayed is not None
        assert replayed.status is TaskStatus.PENDING
        await stores.outbox.complete(await self.claim(stores))
        assert await self.listed(stores) == []

    async def test_tasks_of_one_intent_end_with_the_attempt_that_began_after_them(self, stores: Stores) -> None:
        """Requests that wait together succeed together; one that comes during an attempt needs the next."""
        await self.request(stores, intent("t1"))
        await self.request(stores, intent("t2"))
        claimed = await self.claim(stores)
        await self.request(stores, intent("t3"))
        await stores.outbox.complete(claimed)
        states = {name: (await self.task(stores, name)).status for name in ("t1", "t2", "t3")}
        assert states == {"t1": TaskStatus.SUCCESS, "t2": TaskStatus.SUCCESS, "t3": TaskStatus.PENDING}
        await stores.outbox.complete(await self.claim(stores))
        assert (await self.task(stores, "t3")).status is TaskStatus.SUCCESS

    async def test_a_dead_attempt_does_not_take_a_later_request_with_it(self, stores: Stores) -> None:
        """The request that came meanwhile keeps the intent alive, and the first task's attempts go on with it."""
        await self.request(stores, intent("t1"))
        claimed = await self.claim(stores)
        await self.request(stores, intent("t2"))
        await stores.outbox.fail(claimed, reason="down", retry_at=None)
        assert {status for _, status in await self.listed(stores)} <= {"pending", "running"}
        await stores.outbox.complete(await self.claim(stores))
        assert await self.listed(stores, TaskStatus.SUCCESS) == [("t1", "success"), ("t2", "success")]

    async def test_a_claim_that_ran_out_counts_as_an_attempt(self, stores: Stores) -> None:
        """Work that kills its process is counted, so that it ends; the task is still running meanwhile, once started."""
        await self.request(stores, intent("t1"))
        first = await self.claim(stores, lease_s=1)
        again = await self.claim(stores, now=T0 + SECOND, lease_s=1)
        assert (first.attempts, again.attempts) == (0, 1)
        task = await self.task(stores, "t1")
        assert (task.status, task.started_at) == (TaskStatus.RUNNING, T0)

    async def test_a_claim_can_be_kept_and_given_back(self, stores: Stores) -> None:
        """Renewed it is held longer; released it is free at once, and no attempt is counted."""
        await self.request(stores, intent())
        claimed = await self.claim(stores, lease_s=1)
        await stores.outbox.renew(claimed, now=T0 + SECOND, lease_s=10)
        assert await stores.outbox.claim(kinds=["work"], now=T0 + 5 * SECOND, lease_s=1, limit=1) == []
        await stores.outbox.release(claimed)
        assert (await self.claim(stores, now=T0 + 5 * SECOND)).attempts == 0

    async def test_next_due_looks_at_the_named_kinds(self, stores: Stores) -> None:
        """A lane does not wake up for the work of another lane."""
        later = T0 + 60 * SECOND
        await self.request(stores, intent(), intent(kind="slow", not_before=later))
        assert await stores.outbox.next_due(now=T0, kinds=["slow"]) == later
        assert await stores.outbox.next_due(now=T0, kinds=["work"]) == T0
        assert await stores.outbox.next_due(now=T0) == T0
        assert await stores.outbox.next_due(now=T0, kinds=["none of these"]) is None

    async def test_another_scopes_task_is_absent(self, stores: Stores) -> None:
        """Found and listed by its owner and by whoever reads the whole tenant, by nobody else."""
        await self.request(stores, intent("t1"), intent("t2", owner=BOB, key="bob", user_id="bob"))
        assert (await self.task(stores, "t1", where=selector())).scope == ALICE
        for stranger in (selector(BOB), ScopeSelector("other"), ScopeSelector("acme", "elsewhere")):
            assert await stores.jobs.find(stranger, task_id="t1", now=T0) == []
        mine = await stores.jobs.list(selector(BOB), now=T0, limit=10)
        assert [task.id for task in mine.tasks] == ["t2"]
        assert (await stores.jobs.list(ScopeSelector("other"), now=T0, limit=10)).total == 0

    async def test_one_id_of_two_owners_stays_two_tasks(self, stores: Stores) -> None:
        """Ids are unique within an owner scope: each reads its own, whoever sees both is told of both."""
        await self.request(stores, intent("t"), intent("t", owner=BOB, key="bob", user_id="bob"))
        assert {task.scope for task in await stores.jobs.find(ACME, task_id="t", now=T0)} == {ALICE, BOB}
        assert (await self.task(stores, "t", where=selector(BOB))).scope == BOB

    async def test_an_expired_task_is_absent(self, stores: Stores) -> None:
        """A week after it last changed it is neither found nor listed."""
        await self.request(stores, intent("t1"))
        await stores.outbox.complete(await self.claim(stores))
        last = T0 + TASK_LIFE - SECOND
        assert len(await stores.jobs.find(ACME, task_id="t1", now=last)) == 1
        assert await stores.jobs.find(ACME, task_id="t1", now=last + SECOND) == []
        assert (await stores.jobs.list(ACME, now=last + SECOND, limit=10)).total == 0

    async def test_pages_hold_every_task_once_newest_first(self, stores: Stores) -> None:
        """By time and then id, tasks and bare intents alike, with the true total on every page; a foreign cursor is 422."""
        for number in range(5):
            at = T0 + (number // 2) * SECOND
            await self.request(stores, intent(f"t{number}", key=f"k{number}"), at=at)
        await self.request(stores, intent(key="bare"), at=T0 + 9 * SECOND)
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = await stores.jobs.list(ACME, now=T0, limit=2, cursor=cursor)
            assert page.total == 6
            seen.extend(task.id for task in page.tasks)
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen[1:] == ["t4", "t2", "t3", "t0", "t1"]
        for foreign in ("x", "", "e30", "é", "A" * 500):
            with pytest.raises(InvalidInput):
                await stores.jobs.list(ACME, now=T0, limit=2, cursor=foreign)

    async def test_only_legal_changes_of_status_happen(self, stores: Stores) -> None:
        """Whatever happens to an intent in whatever order, its task's status moves as the domain allows."""
        await self.request(stores, intent("t1"))
        seen = [(await self.task(stores, "t1")).status]

        async def note() -> None:
            seen.append((await self.task(stores, "t1")).status)

        for round_number in range(3):
            claimed = await self.claim(stores)
            await note()
            await stores.outbox.fail(claimed, reason="down", retry_at=T0 if round_number < 1 else None)
            await note()
            if seen[-1] is TaskStatus.FAILED:
                await stores.jobs.replay(await self.task(stores, "t1"), at=T0)
                await note()
        claimed = await self.claim(stores)
        await stores.outbox.complete(claimed)
        await note()
        await stores.outbox.fail(claimed, reason="too late", retry_at=None)
        await note()
        assert seen[-1] is TaskStatus.SUCCESS
        assert all(may_become(before, after) for before, after in pairwise(seen)), seen

    async def test_everything_of_a_scope_is_erased(self, stores: Stores) -> None:
        """Tasks, what waits and what is dead, but the kinds that are kept; one of somebody else that followed such work fails."""
        await self.request(stores, intent("mine"), intent(key="2"), intent("kept", kind="receipt", key="3"))
        await self.request(stores, intent("bobs", owner=BOB, user_id="bob"), intent("followed", owner=BOB, key="4"))
        await stores.outbox.fail(await self.claim(stores), reason="no", retry_at=None)
        assert await stores.jobs.erase(selector(), kept_kinds=["receipt"], at=T0) == 4
        assert await stores.jobs.erase(selector(), kept_kinds=["receipt"], at=T0) == 0
        assert sorted(await self.listed(stores)) == [("bobs", "pending"), ("followed", "failed"), ("kept", "pending")]
        assert await self.listed(stores, TaskStatus.DEAD) == []
        assert (await self.task(stores, "followed")).error_message == ERASED
        assert (await stores.outbox.pending(ACME, now=T0)).pending == 2
        assert (await stores.outbox.pending(ACME, now=T0)).dead == 0
