"""Every task of the contract under its name, through Docket: what it does, what it reports, and that twice is once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.app import MemoryApp, open_app
from agent_memory_server.docket_tasks import task_collection
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ANONYMOUS, Principal, Scope
from agent_memory_server.domain.jobs import Lane, TaskStatus
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.summary_views import ViewDraft, ViewSource
from agent_memory_server.services.named_tasks import NAMES
from agent_memory_server.services.public_tasks import COMPACTION, TASKS
from agent_memory_server.tasks.carrying import TaskFailed
from tests.setting_proofs.running import message, settings_of
from tests.tasks.in_process import Asking, asking

EVERYTHING = MemoryFilter(selector=ANONYMOUS.selector())


@dataclass(frozen=True, slots=True)
class World:
    app: MemoryApp
    ask: Asking

    async def ids(self) -> list[str]:
        listing = await self.app.memories.list(EVERYTHING, limit=100)
        return sorted(memory.id for memory in listing.memories)

    async def has(self, *ids: str) -> None:
        """Store memories of these ids with texts of their own."""
        at = self.app.now()
        await self.app.memories.create(
            ANONYMOUS,
            [
                Memory(
                    id=each,
                    scope=Scope("default", None, "ana"),
                    text=f"The lamp {each} stands in the hall",
                    memory_type=MemoryType.SEMANTIC,
                    created_at=at,
                    updated_at=at,
                    last_accessed=at,
                )
                for each in ids
            ],
        )


# No fixture: a worker has to be left in the task that entered it.
@contextlib.asynccontextmanager
async def opened(tmp_path: Path) -> AsyncGenerator[World]:
    async with open_app(settings_of(tmp_path)) as app, asking(app) as ask:
        yield World(app, ask)


def test_the_collection_holds_the_contract() -> None:
    """Docket knows the thirteen names, and one of ours that servers ask for."""
    assert {task.__name__ for task in task_collection} == {*NAMES, "work_through_pending_work"}
    assert len(NAMES) == 13


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("promote_working_memory_to_long_term", {"session_id": "none"}, {"session_id": "none"}),
        ("run_delayed_extraction", {"session_id": "none", "user_id": "u"}, {"session_id": "none"}),
        ("summarize_session", {"session_id": "none", "model": "m", "max_context_tokens": 100}, {}),
        ("extract_memories_with_strategy", {}, {"sessions": 0}),
        ("extract_memory_structure", {"memory_id": "a"}, {"found": 1}),
        ("index_long_term_memories", {"memory_ids": ["a", "nobody"]}, {"found": 1}),
        ("update_last_accessed", {"ids": ["a", "nobody"], "min_interval_seconds": 0}, {"updated": 1}),
        ("compact_long_term_memories", {"limit": 10, "user_id": "ana"}, {"superseded": 0}),
        ("forget_long_term_memories", {"policy": {"budget": 1}}, {"deleted": 1, "dry_run": True}),
        ("forget_long_term_memories", {"policy": {"budget": 1}, "dry_run": False}, {"deleted": 1, "dry_run": False}),
        ("delete_long_term_memories", {"ids": ["a", "nobody"]}, {"deleted": 1}),
        ("periodic_refresh_summary_views", {}, {}),
        ("periodic_forget_long_term_memories", {}, {}),
    ],
)
async def test_each_task_does_its_work_and_reports(
    tmp_path: Path, name: str, arguments: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    """By name and parameters, as another program puts it into the queue."""
    async with opened(tmp_path) as world:
        await world.has("a", "b")
        report = await world.ask.report(name, key="asked", **arguments)
        assert {key: report[key] for key in expected} == expected
        task = await world.app.jobs.get(TASKS, task_id="asked")
        assert (task.type, task.status, task.result) == (name, TaskStatus.SUCCESS, report)


async def test_a_session_is_promoted_and_extracted_by_name(tmp_path: Path) -> None:
    """The session's messages and what they say are long-term memories afterwards; twice is once."""
    async with opened(tmp_path) as world:
        await world.app.working_memory.append(ANONYMOUS, session_id="s", messages=[message(world.app.now())])
        for key in ("first", "second"):
            for name in ("promote_working_memory_to_long_term", "run_delayed_extraction"):
                assert (await world.ask.report(name, key=f"{key} {name}", session_id="s"))["session_id"] == "s"
        listing = await world.app.memories.list(EVERYTHING, limit=100)
        assert sorted(memory.memory_type.value for memory in listing.memories) == ["message", "semantic"]


async def test_a_view_is_run_by_name(tmp_path: Path) -> None:
    """Its partitions are there when the task has ended, and the client's own task tells the end."""
    async with opened(tmp_path) as world:
        await world.has("a")
        draft = ViewDraft(name="of users", source=ViewSource.LONG_TERM, group_by=("user_id",))
        view = await world.app.summary_views.create(ANONYMOUS, draft)
        report = await world.ask.report("refresh_summary_view", view_id=view.id, task_id="mine")
        assert report == {"task_id": "mine"}
        assert (await world.app.jobs.get(ANONYMOUS, task_id="mine")).status is TaskStatus.SUCCESS
        found = await world.app.summary_views.partitions(ANONYMOUS, view_id=view.id, where={}, limit=10)
        assert len(found.partitions) == 1


async def test_a_task_that_is_delivered_twice_has_one_effect(tmp_path: Path) -> None:
    """The second delivery finds the first one's record and repeats its report."""
    async with opened(tmp_path) as world:
        await world.has("a", "b", "c")
        first = await world.ask.report("forget_long_term_memories", key="k", policy={"budget": 2}, dry_run=False)
        await world.has("d", "e")
        await world.ask.docket.clear()
        again = await world.ask.report("forget_long_term_memories", key="k", policy={"budget": 2}, dry_run=False)
        assert first == again
        assert len(await world.ids()) == 4


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("refresh_summary_view", {"view_id": "nobody"}, "SummaryView nobody not found"),
        ("forget_long_term_memories", {"policy": {"max_age": 3}}, "policy: unknown max_age"),
    ],
)
async def test_what_cannot_succeed_is_a_dead_letter_at_once(
    tmp_path: Path, name: str, arguments: Mapping[str, Any], said: str
) -> None:
    """With its reason, listed as dead, and replayable; Docket does not try it again either."""
    async with opened(tmp_path) as world:
        with pytest.raises(TaskFailed, match=said):
            await world.ask.report(name, key="bad", **arguments)
        dead = await world.app.jobs.list(TASKS, status=TaskStatus.DEAD)
        assert [(task.id, task.error_message) for task in dead.tasks] == [("bad", said)]
        assert (await world.app.jobs.replay(TASKS, task_id="bad")).status is TaskStatus.PENDING


async def test_arguments_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Nothing is noted for them, and the task ends with the reason."""
    async with opened(tmp_path) as world:
        with pytest.raises(Exception, match="ids must be a list of ids"):
            await world.ask.report("delete_long_term_memories", key="bad", ids="a")
        page = await world.app.jobs.list(TASKS)
        assert "delete_long_term_memories" not in {task.type for task in page.tasks}


async def test_periodic_tasks_ask_for_each_round_once(tmp_path: Path) -> None:
    """At the configured interval, whoever looks and however often: a worker that is started anew does not repeat a round."""
    chosen = settings_of(tmp_path, compaction_every_minutes=60)
    async with open_app(chosen) as app:
        noted: list[timedelta] = []
        for _ in range(2):
            async with asking(app) as ask:
                await _until(lambda: app.schedules.until_due(COMPACTION), 3000, "no round was noted")
                assert not ask.worker.done()
                noted.append(await app.schedules.until_due(COMPACTION))
        assert noted[1] < noted[0], "the second worker asked for a round of its own"


async def _until(due: Any, at_least_s: float, failure: str) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while (await due()).total_seconds() < at_least_s:  # noqa: ASYNC110 - another task's round
                await asyncio.sleep(0.01)
            return
    raise AssertionError(failure)


async def test_a_task_has_the_reach_of_whoever_asked(tmp_path: Path) -> None:
    """Asked for with a credential's reach, it does nothing beyond it: not in another tenant, and not to another user."""
    alice, bob, stranger = (
        Principal("a", tenant="T1", user_id="alice"),
        Principal("b", tenant="T1", user_id="bob"),
        Principal("s", tenant="T2", user_id="alice"),
    )
    async with open_app(settings_of(tmp_path)) as app:
        at = app.now()
        for owner in (alice, bob, stranger):
            memory = Memory(id="m", scope=Scope(owner.tenant), text="x", created_at=at, updated_at=at, last_accessed=at)
            await app.memories.create(owner, [memory])

        async def asked(name: str, **arguments: Any) -> TaskStatus:
            task = await app.named_tasks.request(alice, name=name, arguments=arguments)
            await app.lanes[Lane.TASKS].run_due()
            return (await app.jobs.get(alice, task_id=task.id)).status

        beyond = await asked("compact_long_term_memories", user_id="bob")
        assert beyond is TaskStatus.FAILED
        assert await asked("run_delayed_extraction", session_id="s", user_id="bob") is TaskStatus.FAILED
        everything = {"policy": {"max_age_days": 0.0}, "dry_run": False}
        assert await asked("forget_long_term_memories", **everything) is TaskStatus.SUCCESS
        assert await asked("delete_long_term_memories", ids=["m"]) is TaskStatus.SUCCESS
        for owner, count in ((alice, 0), (bob, 1), (stranger, 1)):
            assert (await app.memories.list(MemoryFilter(selector=owner.selector()))).total == count, owner
