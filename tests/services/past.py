"""Random operation sequences over a real engine, an oracle that remembers every state, and the services that look back."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import strategies as st

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Principal, Scope
from agent_memory_server.domain.records import EmbeddingStatus, Memory, MemoryKey
from agent_memory_server.domain.retention import ForgettingPolicy
from agent_memory_server.errors import Conflict, NotFound, NotUndoable
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.forgetting import ForgettingService
from agent_memory_server.services.history import HistoryService
from agent_memory_server.services.indexing import Indexer
from agent_memory_server.services.memories import MemoryPatch
from agent_memory_server.services.time_travel import TimeTravelService
from agent_memory_server.services.undo import UndoService
from agent_memory_server.tokenizers.opening import open_tokenizer
from tests.services.compacting import T0, Clock, World, later, new_id, open_world, says

TEXTS = ("User drinks tea.", "User likes to drink tea.", "User has two cats.", "Rain fell on the hills.", "Ana paints.")
USERS = ("alice", "bob")
Step = tuple[str, int, int]
STEPS = st.tuples(
    st.sampled_from(
        ["create", "create", "edit", "edit", "pin", "expire", "move", "replace", "compact", "merge", "forget", "undo"]
    ),
    st.integers(0, 5),
    st.integers(0, len(TEXTS) - 1),
)
State = Mapping[MemoryKey, Memory]


def content(memory: Memory) -> Memory:
    """A memory without what each change renews and what no journal notes."""
    return replace(
        memory,
        updated_at=T0,
        last_accessed=T0,
        access_count=0,
        persisted_at=None,
        revision=0,
        operation_id="",
        embedding=EmbeddingStatus.PENDING,
    )


@dataclass
class Past:
    """One tenant of an opened world. ``states`` is the oracle: what there was after each step, by its time."""

    world: World
    caller: Principal
    history: HistoryService
    undo: UndoService
    travel: TimeTravelService
    states: list[tuple[datetime, State]] = field(default_factory=list[tuple[datetime, State]])

    @property
    def clock(self) -> Clock:
        return self.world.clock

    async def state(self) -> State:
        """Everything there is, superseded memories too."""
        criteria = MemoryFilter(selector=self.caller.selector(), include_superseded=True)
        listing = await self.world.stores.memories.list(criteria, now=self.clock(), limit=1000)
        return {each.key: content(each) for each in listing.memories}

    async def remember(self) -> None:
        self.states.append((self.clock(), await self.state()))
        later(self.clock, minutes=1)

    async def take(self, step: Step) -> None:
        """One step; what is refused changes nothing."""
        with contextlib.suppress(NotFound, NotUndoable, Conflict):
            await self._take(*step)
        await self.remember()

    async def _take(self, kind: str, number: int, text: int) -> None:
        memories, at = self.world.memories, self.clock()
        owner = {"user_id": USERS[number % 2]}
        named = {"memory_id": f"m{number}", **owner}
        match kind:
            case "create":
                made = Memory(
                    id=f"m{number}",
                    scope=Scope(self.caller.tenant, None, owner["user_id"]),
                    text=TEXTS[text],
                    created_at=at - timedelta(days=number),
                    updated_at=at,
                    last_accessed=at - timedelta(days=number),
                    valid_from=at if text % 2 else None,
                )
                await memories.create(self.caller, [made], deduplicate=bool(text % 2))
            case "edit":
                await memories.edit(self.caller, patch=MemoryPatch(changes={"text": TEXTS[text]}), **named)
            case "pin":
                patch = MemoryPatch(changes={"pinned": bool(text % 2)}, clear=frozenset({"topics"}))
                await memories.edit(self.caller, patch=patch, **named)
            case "expire":
                # Later than any of these tests looks: what has expired comes back without its end.
                patch = MemoryPatch(changes={}, ttl_seconds=86_400 * (text + 1))
                await memories.edit(self.caller, patch=patch, **named)
            case "replace":
                patch = MemoryPatch(changes={"text": TEXTS[text]}, supersedes=True)
                await memories.edit(self.caller, patch=patch, **named)
            case "move":
                patch = MemoryPatch(changes={"user_id": USERS[text % 2], "topics": ("moved",)})
                await memories.edit(self.caller, patch=patch, **named)
            case "compact" | "merge":
                service = self.world.local if kind == "compact" else self.world.compaction
                await service.compact(MemoryFilter(selector=self.caller.selector()), actor="compactor")
            case "forget":
                forgetting = ForgettingService(
                    store=self.world.stores.memories, clock=self.world.stores.clock, now=self.clock, new_id=new_id
                )
                await forgetting.forget(
                    MemoryFilter(selector=self.caller.selector()),
                    policy=ForgettingPolicy(budget=text),
                    actor="forgetter",
                    limit=10,
                    dry_run=False,
                )
            case _:
                ids = await self.operation_ids()
                if ids:
                    await self.undo.undo(self.caller, operation_id=ids[-1 - number % len(ids)])

    async def operation_ids(self) -> list[str]:
        """Of all operations of this tenant, in commit order."""
        page = await self.history.operations(self.caller, limit=1000)
        return [each.operation.id for each in page.operations]

    async def undo_all(self, ids: Sequence[str]) -> None:
        """Take these back, the last one first. What changed nothing cannot be undone, and needs not to be."""
        for operation_id in reversed(ids):
            told = await self.history.operation(self.caller, operation_id=operation_id)
            if told.changes:
                await self.undo.undo(self.caller, operation_id=operation_id)
            later(self.clock, minutes=1)


@contextlib.asynccontextmanager
async def open_past(
    path: Path, *, opened: Callable[[Clock], Awaitable[Stores]] | None = None
) -> AsyncGenerator[Callable[[], Past]]:
    """Gives a new tenant each time it is called."""
    async with open_world(path, opened=opened) as world:
        stores = world.stores
        world.model.answer_with(lambda _: says("User drinks tea, and likes it."))

        def past() -> Past:
            return Past(
                world=world,
                caller=Principal(subject="tester", tenant=new_id()),
                history=HistoryService(
                    journal=stores.journal, memories=stores.memories, sessions=stores.working_memory, now=world.clock
                ),
                undo=UndoService(
                    journal=stores.journal,
                    memories=stores.memories,
                    indexer=Indexer(embedder=world.embedder),
                    retention=timedelta(days=30),
                    forgets=False,
                    now=world.clock,
                    new_id=new_id,
                    wake=lambda: None,
                ),
                travel=TimeTravelService(
                    journal=stores.journal,
                    store=stores.memories,
                    embedder=world.embedder,
                    tokenizer=open_tokenizer(),
                    now=world.clock,
                ),
            )

        yield past
