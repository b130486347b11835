"""What happens to work that takes long, is stopped, or kills whoever does it; and whose end a create's task tells."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from agent_memory_server.domain.identity import ANONYMOUS, Scope, ScopeSelector
from agent_memory_server.domain.jobs import ClaimedIntent, IntentKind, TaskStatus
from agent_memory_server.domain.operations import Intent, Operation, OperationKind, TaskRequest
from agent_memory_server.domain.records import Memory
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.embedding import EmbeddingService
from agent_memory_server.services.enrichment import EnrichmentPolicy, RuleEnrichment
from agent_memory_server.services.indexing import Indexer
from agent_memory_server.services.jobs import JobService
from agent_memory_server.services.memories import MemoryService
from agent_memory_server.services.pending_work import ATTEMPTS_MAX, INTERRUPTED, PendingWorkService
from agent_memory_server.stores.sqlite import open_sqlite
from agent_memory_server.testing.embedder import SwitchableEmbedder

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)
EVERYBODY = ScopeSelector("default")


class Clock:
    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def stores(tmp_path: Path, clock: Clock) -> AsyncIterator[Stores]:
    opened = await open_sqlite(tmp_path / "memory.db", now=clock)
    yield opened
    await opened.engine.close()


class Worker:
    """A worker whose handler waits until it is let go."""

    def __init__(self, stores: Stores, clock: Clock, *, lease_s: float = 60.0) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.done = 0
        self.service = PendingWorkService(
            outbox=stores.outbox, handlers={"work": self._do}, now=clock, wake=asyncio.Event(), lease_s=lease_s
        )

    async def _do(self, _: ClaimedIntent) -> None:
        self.begun.set()
        await self.go.wait()
        self.done += 1


async def request(stores: Stores, *keys: str) -> None:
    owner = Scope("default")
    intents = tuple(
        Intent(kind="work", key=key, tenant="default", task=TaskRequest(id=f"task {key}", owner=owner)) for key in keys
    )
    operation = Operation(
        id="".join(keys), tenant="default", kind=OperationKind.CREATE, actor="test", at=T0, changes=(), intents=intents
    )
    await stores.memories.commit(operation)


async def status(stores: Stores, task_id: str) -> tuple[TaskStatus, str | None]:
    (task,) = await stores.jobs.find(EVERYBODY, task_id=task_id, now=T0)
    return task.status, task.error_message


async def test_long_work_stays_claimed(stores: Stores, clock: Clock) -> None:
    """While the handler works, the claim (and that of what waits behind it) is renewed: no other process begins with it."""
    await request(stores, "a", "b")
    worker = Worker(stores, clock, lease_s=0.03)
    running = asyncio.create_task(worker.service.run_due())
    await worker.begun.wait()
    clock.now = T0 + timedelta(hours=1)
    async with asyncio.timeout(5):
        while (await stores.outbox.next_due(now=clock.now)) == T0:  # noqa: ASYNC110 - the renewal is a write of another task
            await asyncio.sleep(0.005)
    assert await stores.outbox.claim(kinds=["work"], now=clock.now, lease_s=1, limit=9) == []
    worker.go.set()
    assert await running == 2
    assert [await status(stores, f"task {key}") for key in "ab"] == [(TaskStatus.SUCCESS, None)] * 2


async def test_a_stopped_worker_gives_its_work_back(stores: Stores, clock: Clock) -> None:
    """Cancelled in the middle, everything it had claimed can be done at once by another, and no attempt is counted."""
    await request(stores, "a", "b")
    stopped = Worker(stores, clock)
    running = asyncio.create_task(stopped.service.run_due())
    await stopped.begun.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    claimed = await stores.outbox.claim(kinds=["work"], now=clock.now, lease_s=1, limit=9)
    assert [(intent.key, intent.attempts) for intent in claimed] == [("a", 0), ("b", 0)]


async def test_work_that_kills_its_process_ends_as_a_failure(stores: Stores, clock: Clock) -> None:
    """Claimed again and again without an outcome, it is not begun for ever: it ends dead and its task failed, with why."""
    await request(stores, "a")
    for _ in range(ATTEMPTS_MAX + 1):
        assert len(await stores.outbox.claim(kinds=["work"], now=clock.now, lease_s=60, limit=9)) == 1
        clock.now += timedelta(seconds=61)
    worker = Worker(stores, clock)
    worker.go.set()
    assert await worker.service.run_due() == 0
    assert worker.done == 0
    assert await status(stores, "task a") == (TaskStatus.FAILED, INTERRUPTED)
    assert (await stores.outbox.pending(EVERYBODY, now=clock.now)).dead == 1


async def test_work_that_was_interrupted_once_is_done(stores: Stores, clock: Clock) -> None:
    """A crash costs an attempt and the rest of the lease, nothing else."""
    await request(stores, "a")
    await stores.outbox.claim(kinds=["work"], now=clock.now, lease_s=60, limit=9)
    worker = Worker(stores, clock)
    worker.go.set()
    assert await worker.service.run_due() == 0
    assert (await status(stores, "task a"))[0] is TaskStatus.RUNNING
    clock.now += timedelta(seconds=60)
    assert await worker.service.run_due() == 1
    assert await status(stores, "task a") == (TaskStatus.SUCCESS, None)


async def test_a_task_does_not_repeat_what_an_unforeseen_error_says(stores: Stores, clock: Clock) -> None:
    """Clients read the reason: paths, statements and others' text stay in the log."""

    async def broken(_: ClaimedIntent) -> None:
        raise RuntimeError("/var/secret: alice said no")

    await request(stores, "a")
    work = PendingWorkService(outbox=stores.outbox, handlers={"work": broken}, now=clock, wake=asyncio.Event())
    assert await work.run_due() == 0
    _, told = await status(stores, "task a")
    assert told == "an unexpected failure (RuntimeError); the server's log says more"


async def test_the_task_of_a_create_tells_how_its_embedding_ended(stores: Stores, clock: Clock) -> None:
    """A remote embedder that is away: the create has a task, which runs, fails with the reason, and succeeds when replayed."""
    embedder = SwitchableEmbedder()
    embedding = EmbeddingService(store=stores.memories, embedder=embedder)

    async def embed(_: ClaimedIntent) -> None:
        await embedding.embed_pending()

    work = PendingWorkService(
        outbox=stores.outbox, handlers={IntentKind.EMBED_MEMORIES.value: embed}, now=clock, wake=asyncio.Event()
    )
    ids = iter(f"id{number}" for number in range(100))
    memories = MemoryService(
        store=stores.memories,
        journal=stores.journal,
        indexer=Indexer(embedder=embedder),
        enrichment=RuleEnrichment(EnrichmentPolicy()),
        now=clock,
        new_id=lambda: next(ids),
        wake=lambda: None,
    )
    jobs = JobService(store=stores.jobs, now=clock, wake=lambda: None)
    embedder.fail()
    made = [
        await memories.create(
            ANONYMOUS,
            [Memory(id=name, scope=Scope("default"), text=name, created_at=T0, updated_at=T0, last_accessed=T0)],
        )
        for name in ("tea", "bees")
    ]
    tasks = [each.task_id for each in made if each.task_id is not None]
    assert len(set(tasks)) == 2
    for _ in range(ATTEMPTS_MAX):
        await work.run_due()
        clock.now += timedelta(minutes=10)
    for task_id in tasks:
        task = await jobs.get(ANONYMOUS, task_id=task_id)
        assert (task.status, task.type, bool(task.error_message)) == (TaskStatus.FAILED, "embed_memories", True)
    embedder.recover()
    await jobs.replay(ANONYMOUS, task_id=tasks[0])
    assert await work.run_due() == 1
    for task_id in tasks:
        assert (await jobs.get(ANONYMOUS, task_id=task_id)).status is TaskStatus.SUCCESS


class WatchedEvent(asyncio.Event):
    """Says when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.awaited.set()
        return await super().wait()


@pytest.mark.parametrize("steps_between", range(5))
async def test_stopping_while_work_is_announced_ends_at_once(stores: Stores, clock: Clock, steps_between: int) -> None:
    """However closely a wake and the stop follow each other, the stop is never lost."""
    wake = WatchedEvent()
    work = PendingWorkService(outbox=stores.outbox, handlers={}, now=clock, wake=wake)
    running = asyncio.create_task(work.run_for_ever())
    await wake.awaited.wait()
    wake.set()
    for _ in range(steps_between):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=5)
    assert running in done
    assert running.cancelled()
