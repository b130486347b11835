"""A page as a text of bounded length for a prompt: the hits, and what was said around the best of them, in the order of talk.

The budget goes to hits in their order; one that does not fit is passed over. A share of it is kept for the messages around
the hits, the best first. What each costs is counted on the line as it is written, so the text never exceeds the budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from graphlib import TopologicalSorter
from itertools import pairwise

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.prompt_safety import on_one_line
from agent_memory_server.domain.records import Memory, MemoryKey, MemoryType
from agent_memory_server.domain.search import Context, Handle, Page
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.tokenizer import Tokenizer

AROUND_SHARE = 0.15
"""Of the budget, for messages that are no hits. Measured on conversations: more costs evidence in small budgets, and from
1,000 tokens on it makes no difference."""
AROUND_SPAN = 1
"""Messages on each side of a hit."""
ONE_MOMENT_SPAN = 64
"""Messages of one moment are in order if no more than so many lie between one and the next that is shown."""
_LINE_END_TOKENS = 1


class ContextFilling:
    def __init__(self, *, store: MemoryStore, tokenizer: Tokenizer) -> None:
        self._store = store
        self._tokenizer = tokenizer

    async def filled(self, criteria: MemoryFilter, page: Page, *, tokens_max: int, now: datetime) -> Page:
        """The hits that fit, in their order, and the text that they make with what stands around them."""
        budget = _Budget(tokens_max)
        costs = [self._cost(hit.memory) for hit in page.hits]
        for hit, cost in zip(page.hits, costs, strict=True):
            budget.take(hit.memory, cost, reserved=int(tokens_max * AROUND_SHARE))
        handles = [hit.handle for hit in page.hits if hit.handle is not None and hit.memory.key in budget.held]
        windows = await self._store.neighbours(handles, span=AROUND_SPAN)
        beside = await self._store.get_many(list(dict.fromkeys(each for one in windows.values() for each in one)))
        for memory in beside.values():
            # What the filter leaves out stays out, whoever its neighbours are.
            if criteria.matches(memory, now):
                budget.take(memory, self._cost(memory))
        for hit, cost in zip(page.hits, costs, strict=True):
            budget.take(hit.memory, cost)
        handle_of = {memory.key: handle for handle, memory in beside.items()}
        handle_of |= {hit.memory.key: hit.handle for hit in page.hits if hit.handle is not None}
        # Time alone does not say which of two messages of one moment came first, nor do windows that only touch.
        between = await self._store.neighbours(_of_one_moment(budget.held, handle_of), span=ONE_MOMENT_SPAN)
        memories = _in_order(budget.held, between, handle_of)
        context = Context(
            text="\n".join(map(line, memories)), tokens=budget.spent, memory_ids=tuple(each.id for each in memories)
        )
        hits = tuple(hit for hit in page.hits if hit.memory.key in budget.held)
        return Page(hits=hits, total=page.total, next_offset=None, context=context)

    def _cost(self, memory: Memory) -> int:
        return self._tokenizer.count(line(memory)) + _LINE_END_TOKENS


class _Budget:
    def __init__(self, tokens_max: int) -> None:
        self._tokens_max = tokens_max
        self.spent = 0
        self.held: dict[MemoryKey, Memory] = {}

    def take(self, memory: Memory, cost: int, *, reserved: int = 0) -> None:
        """Hold the memory if it is not held yet and fits beside what is reserved."""
        if memory.key not in self.held and self.spent + cost <= self._tokens_max - reserved:
            self.held[memory.key] = memory
            self.spent += cost


def line(memory: Memory) -> str:
    """``[2026-05-08 13:56] Ana: …``: when it was said (or happened), by whom, and what, on one line."""
    name = f"{on_one_line(memory.name)}: " if memory.name else ""
    return f"[{_moment(memory):%Y-%m-%d %H:%M}] {name}{on_one_line(memory.text)}"


def _of_one_moment(held: Mapping[MemoryKey, Memory], handle_of: Mapping[MemoryKey, Handle]) -> list[Handle]:
    """The messages that share time and session with another one."""
    together: dict[tuple[datetime, Scope], list[Handle]] = {}
    for key, memory in held.items():
        if memory.memory_type is MemoryType.MESSAGE and key in handle_of:
            together.setdefault((memory.created_at, memory.scope), []).append(handle_of[key])
    return [handle for handles in together.values() if len(handles) > 1 for handle in handles]


def _in_order(
    held: Mapping[MemoryKey, Memory],
    windows: Mapping[Handle, Sequence[Handle]],
    handle_of: Mapping[MemoryKey, Handle],
) -> list[Memory]:
    """By time; messages of one moment in the order of their session."""
    order: TopologicalSorter[Handle] = TopologicalSorter()
    for window in windows.values():
        for earlier, later in pairwise(window):
            order.add(later, earlier)
    place_of = {handle: place for place, handle in enumerate(order.static_order())}
    return sorted(
        held.values(),
        key=lambda each: (
            _moment(each),
            each.scope.session_id or "",
            place_of.get(handle_of.get(each.key, ""), -1),
            each.id,
        ),
    )


def _moment(memory: Memory) -> datetime:
    """When a message was said; when what another memory tells of happened."""
    if memory.memory_type is MemoryType.MESSAGE or memory.event_date is None:
        return memory.created_at
    return memory.event_date
