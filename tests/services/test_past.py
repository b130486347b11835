"""Properties of looking back, over random sequences of operations on both engines: undoing everything gives what was before,
and every answer as of a time is what an oracle remembers of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent_memory_server.domain.filters import MemoryFilter, TextFilter, is_valid
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import Handle, SearchMode, SearchQuery
from agent_memory_server.errors import InvalidInput, NotFound
from agent_memory_server.ports.journal import Earlier
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.earlier_states import FEW
from agent_memory_server.stores.redis import open_redis
from tests.redis_server import running_redis
from tests.services.compacting import Clock, later
from tests.services.past import STEPS, TEXTS, USERS, Past, State, Step, content, open_past

quickly = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
sequences = st.lists(STEPS, min_size=1, max_size=12)


@dataclass(frozen=True)
class Engine:
    """One opened engine; ``run`` gives each call a tenant of its own."""

    past: Callable[[], Past]
    runner: asyncio.Runner

    def run(self, scenario: Callable[[Past], Awaitable[None]]) -> None:
        async def body() -> None:
            await scenario(self.past())

        self.runner.run(body())


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Opened once for all examples."""
    folder: Path = tmp_path_factory.mktemp("past")
    if request.param == "sqlite":
        yield from _engine(folder / "memory.db", None)
        return
    with running_redis(folder) as server:

        async def opened(clock: Clock) -> Stores:
            return await open_redis(server.url, now=clock)

        yield from _engine(folder, opened)


def _engine(path: Path, opened: Callable[[Clock], Awaitable[Stores]] | None) -> Iterator[Engine]:
    with asyncio.Runner() as runner:
        opening = open_past(path, opened=opened)
        past = runner.run(opening.__aenter__())
        yield Engine(past, runner)
        runner.run(opening.__aexit__(None, None, None))


@quickly
@given(before=st.lists(STEPS, max_size=4), steps=sequences)
@example(before=[("create", 0, 0), ("create", 2, 1)], steps=[("merge", 0, 0), ("undo", 0, 0), ("merge", 0, 0)])
@example(before=[("create", 0, 1)], steps=[("move", 0, 1), ("edit", 0, 2), ("forget", 0, 0), ("undo", 1, 0)])
def test_undoing_everything_gives_what_was_before(engine: Engine, before: list[Step], steps: list[Step]) -> None:
    """Creates, edits, moves, merges, compaction, forgetting and undos in any order: taken back one by one, nothing is left of
    them, and the undos themselves can be taken back."""

    async def scenario(past: Past) -> None:
        for step in before:
            await past.take(step)
        known = await past.operation_ids()
        start = await past.state()
        for step in steps:
            await past.take(step)
        end = await past.state()
        made = (await past.operation_ids())[len(known) :]
        await past.undo_all(made)
        assert await past.state() == start
        undone = (await past.operation_ids())[len(known) + len(made) :]
        await past.undo_all(undone)
        assert await past.state() == end

    engine.run(scenario)


def live(state: State, at: datetime) -> dict[str, Memory]:
    """The oracle: which memories of a state a listing shows."""
    return {
        str(key): memory
        for key, memory in state.items()
        if memory.superseded_by is None and (memory.expires_at is None or memory.expires_at > at)
    }


@quickly
@given(steps=sequences)
@example(steps=[("create", 0, 1), ("move", 0, 1), ("edit", 0, 2), ("create", 0, 3), ("forget", 0, 0)])
def test_what_the_store_knew_is_what_it_was(engine: Engine, steps: list[Step]) -> None:
    """At every point: listing, search and by id as of then, for everybody and for one user, with and without ``valid_at``."""

    async def scenario(past: Past) -> None:
        await past.remember()
        for step in steps:
            await past.take(step)
        for at, state in past.states:
            for user in (None, "alice"):
                await check(past, state, at, user, None)
                await check(past, state, at, user, at - timedelta(minutes=2))
        await check_by_id(past)

    engine.run(scenario)


def test_a_past_since_which_much_changed(engine: Engine) -> None:
    """More than is looked at on the event loop: the answers are the same."""

    async def scenario(past: Past) -> None:
        for number in range(4):
            await past.take(("create", number, number))
        at, state = past.states[-1]
        scope = Scope(past.caller.tenant, None, "alice")
        made = [
            Memory(
                id=f"later{number}",
                scope=scope,
                text=f"{TEXTS[0]} {number}",
                created_at=at,
                updated_at=at,
                last_accessed=at,
            )
            for number in range(FEW + 1)
        ]
        for some in (made[:600], made[600:]):
            await past.world.memories.create(past.caller, some, deduplicate=False)
        await past.remember()
        for user in (None, "alice"):
            await check(past, state, at, user, None)

    engine.run(scenario)


def test_the_same_past_is_asked_for_again(engine: Engine) -> None:
    """Every answer is that of the journal as it is: later edits change nothing, what is deleted for good is gone at once."""

    async def scenario(past: Past) -> None:
        owner = {"user_id": "alice"}
        for number in (0, 2):
            await past.take(("create", number, number))
        at, state = past.states[-1]
        for text in (1, 3):
            await past.take(("edit", 0, text))
            for _ in range(2):
                await check(past, state, at, "alice", None)
        assert await past.world.memories.delete(past.caller, memory_ids=["m0"], **owner) == 1
        left = {key: memory for key, memory in state.items() if key.id != "m0"}
        await check(past, left, at, "alice", None)

    engine.run(scenario)


ERASING = st.tuples(st.sampled_from(["delete", "thin", "leave"]), st.integers(0, 5), st.just(0))


@quickly
@given(steps=st.lists(st.one_of(STEPS, STEPS, ERASING), min_size=1, max_size=10))
@example(steps=[("create", 0, 1), ("edit", 0, 2), ("move", 0, 1), ("delete", 0, 0), ("create", 0, 3), ("move", 0, 0)])
@example(steps=[("create", 0, 1), ("edit", 0, 2), ("forget", 0, 0), ("thin", 0, 0), ("create", 0, 3)])
@example(steps=[("create", 0, 1), ("edit", 0, 2), ("move", 0, 1), ("leave", 0, 0)])
@example(steps=[("create", 0, 1), ("edit", 0, 2), ("move", 0, 1), ("undo", 0, 0)])
def test_what_is_kept_of_a_past_is_what_the_journal_says(engine: Engine, steps: list[Step]) -> None:
    """After every step, for everybody and for one user: what was read before and what is read now are the same. Nobody tells the
    reader of a step but the store, which other processes write to as well."""

    async def scenario(past: Past) -> None:
        journal, tenant = past.world.stores.journal, past.caller.tenant
        points: list[int] = []
        for step in steps:
            points.append(await journal.point(tenant, past.clock()))
            later(past.clock, minutes=1)
            if step[0] == "delete":
                await past.world.memories.delete(past.caller, memory_ids=[f"m{step[1]}"])
            elif step[0] == "thin":
                await journal.thin(tenant, gone_before=past.clock(), limit=10)
            elif step[0] == "leave":
                left = past.caller.selector(None, USERS[step[1] % 2])
                for key in await journal.moved_away(left, limit=10):
                    await journal.scrub_stay(left, key)
            else:
                await past.take(step)
            for user in (None, "alice", "bob"):
                selector = past.caller.selector(None, user)
                for point in points:
                    kept = await journal.earlier(selector, point, limit=100)
                    names = {each.key.id for each in kept} | {f"m{number}" for number in range(6)}
                    read = [
                        each
                        for name in names
                        for each in await journal.earlier(selector, point, memory_id=name, limit=100)
                    ]
                    assert told(selector, kept) == told(selector, read)

    engine.run(scenario)


def told(selector: ScopeSelector, states: Sequence[Earlier]) -> tuple[list[Memory], set[Handle]]:
    """What of these concerns the selector: states within it, and records of today to be left out."""
    memories = [each.memory for each in states if each.memory is not None and selector.admits(each.memory.scope)]
    hidden = {each.handle for each in states if each.handle is not None and selector.admits(Scope(*each.key[:3]))}
    return sorted(memories, key=repr), hidden


def test_a_past_is_searched_through_any_filter_and_to_the_end(engine: Engine) -> None:
    """However much a search may ask for, and whatever narrows it, an engine is asked for no more than it answers at once."""

    async def scenario(past: Past) -> None:
        for number in (0, 2):
            await past.take(("create", number, number))
        at, state = past.states[-1]
        await past.take(("edit", 0, 3))
        elsewhere = TextFilter(none=("elsewhere",))
        criteria = MemoryFilter(selector=past.caller.selector(), namespace=elsewhere)
        for query in (
            SearchQuery(text=TEXTS[0], mode=SearchMode.KEYWORD),
            SearchQuery(text=TEXTS[0], distance_max=2.0),
            SearchQuery(text=TEXTS[0], offset=LIMITS.search_window_max - 10),
        ):
            found = await past.travel.search(criteria, query, as_of=at)
            assert all(content(hit.memory) == state[hit.memory.key] for hit in found.hits)
            assert (found.total > 0, bool(found.hits)) == (True, query.offset == 0)
        deepest = SearchQuery(text="", offset=LIMITS.search_window_max - 1)
        assert (await past.travel.search(criteria, deepest, as_of=at)).hits == ()
        with pytest.raises(InvalidInput, match="narrow it by a filter"):
            await past.travel.search(criteria, replace(deepest, offset=LIMITS.search_window_max), as_of=at)

    engine.run(scenario)


async def check(past: Past, state: State, at: datetime, user: str | None, valid_at: datetime | None) -> None:
    """One point: the listing in pages and the searches against the oracle."""
    wanted = {
        name: memory
        for name, memory in live(state, at).items()
        if user in (None, memory.scope.user_id) and (valid_at is None or is_valid(memory, valid_at))
    }
    criteria = MemoryFilter(selector=past.caller.selector(None, user), valid_at=valid_at)
    listed: dict[str, Memory] = {}
    cursor: str | None = None
    while True:
        page = await past.travel.list(criteria, as_of=at, limit=2, cursor=cursor)
        assert page.total == len(wanted)
        listed |= {str(each.key): content(each) for each in page.memories}
        cursor = page.next_cursor
        if cursor is None:
            break
    assert listed == wanted
    for mode in SearchMode:
        query = SearchQuery(text=TEXTS[0], mode=mode, limit=50)
        found = await past.travel.search(criteria, query, as_of=at)
        hits = {str(hit.memory.key): content(hit.memory) for hit in found.hits}
        assert hits.items() <= wanted.items()
        same = {name for name, memory in wanted.items() if memory.text == TEXTS[0]}
        assert same <= hits.keys()


async def check_by_id(past: Past) -> None:
    """Every memory at every point by its id and owner, superseded ones too."""
    keys = {key for _, state in past.states for key in state}
    for at, state in past.states:
        for key in keys:
            try:
                found = await past.travel.get(past.caller, memory_id=key.id, as_of=at, user_id=key.user_id)
            except NotFound:
                assert key not in state
            else:
                assert content(found) == state[key]
