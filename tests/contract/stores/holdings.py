"""What every engine promises that can be copied from and to: everything it holds, in portions, and written as it was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Carried, Embedded, Intent, Put, Supersede, TaskRequest
from agent_memory_server.domain.sessions import SessionDraft, SessionGuard, Strategy, Summarization
from agent_memory_server.domain.summary_views import Partition, SummaryView, ViewDraft, ViewSource
from agent_memory_server.domain.transfer import Kind, MemoryRecord, SessionRecord
from agent_memory_server.ports.comparisons import Stage
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.transfer import Holdings, Ledger, Portion
from tests.contract.stores.making import ALICE, MODEL, T0, memory, message, operation, put, session_scope, unit_vectors

Walked = TypeVar("Walked")
BOB = Scope("other tenant", None, "bob")


def holdings(stores: Stores) -> Holdings:
    assert stores.holdings is not None
    return stores.holdings


def ledger(stores: Stores) -> Ledger:
    assert stores.ledger is not None
    return stores.ledger


async def everything(walk: Callable[[str | None], Awaitable[Portion[Walked]]]) -> list[Walked]:
    """What a whole walk gives."""
    found: list[Walked] = []
    after: str | None = None
    while True:
        portion = await walk(after)
        found += portion.records
        after = portion.next
        if after is None:
            return found


async def all_memories(stores: Stores, limit: int = 3) -> list[MemoryRecord]:
    return await everything(lambda after: holdings(stores).walk_memories(after=after, limit=limit))


class HoldingsContract:
    async def test_memories_of_every_tenant_come_whole(self, stores: Stores) -> None:
        """With vectors of every model, marks of nothing to embed, copies, and what is still to be compared."""
        vectors = unit_vectors(12)
        for number in range(10):
            scope = ALICE if number % 2 else BOB
            made = memory(f"m{number}", f"text {number}", scope=scope)
            await stores.memories.commit(operation(put(made, vector=vectors[number]), tenant=scope.tenant))
        copy = memory("copy", "text 1")
        await stores.memories.commit(operation(put(copy, deduplicate=True)))
        nothing = Put(memory=memory("nothing", "…"), tokens={}, embedded=Embedded(model=MODEL, vector=None))
        await stores.memories.commit(operation(nothing))
        found = {record.memory.id: record for record in await all_memories(stores)}
        assert sorted(found) == sorted(["copy", "nothing", *(f"m{number}" for number in range(10))])
        assert await holdings(stores).count(Kind.MEMORIES, now=T0) == 12
        (vector,) = found["m3"].vectors
        assert vector.vector is not None
        assert vector.vector.tobytes() == vectors[3].tobytes()
        assert (vector.model, found["m3"].origin, found["m3"].is_copy) == (MODEL, "create", False)
        assert found["copy"].is_copy
        assert found["copy"].memory.superseded_by == "m1"
        assert [each.vector for each in found["nothing"].vectors] == [None]
        (again, absent) = await holdings(stores).memories(
            [found["m3"].key, found["m3"].key._replace(namespace="elsewhere")]
        )
        assert again is not None
        assert again.state() == found["m3"].state()
        assert absent is None

    async def test_a_carried_memory_is_as_it_was(self, stores: Stores) -> None:
        """Its origin, its vectors, that it is a copy, and that nothing has to be compared: a copy still goes with its
        survivor."""
        vectors = unit_vectors(2)
        carried = Carried(
            origin="extract",
            is_copy=False,
            compared=True,
            vectors=(
                Embedded(model="older", vector=vectors[0]),
                Embedded(model=MODEL, vector=vectors[1], tokens=b"words"),
            ),
        )
        survivor = memory("survivor", "says it")
        copy = memory("copy", "says it", superseded_by="survivor")
        await stores.memories.commit(
            operation(
                Put(memory=survivor, tokens={"it": 1}, carried=carried),
                Put(memory=copy, tokens={"it": 1}, carried=replace(carried, is_copy=True, vectors=())),
            )
        )
        found = {record.memory.id: record for record in await all_memories(stores)}
        assert (found["survivor"].origin, found["survivor"].compared) == ("extract", True)
        assert {each.model: each.tokens for each in found["survivor"].vectors} == {"older": None, MODEL: b"words"}
        assert found["copy"].is_copy
        assert not await stores.comparisons.due(ScopeSelector(ALICE.tenant), stage_max=Stage.CHANGED, limit=10)

    async def test_sessions_come_and_go_whole(self, stores: Stores) -> None:
        """Live and archived messages with their marks and places, in portions, into the same session elsewhere."""
        scope = session_scope()
        messages = tuple(
            message(f"m{number}", f"said {number}", extracted=number % 2 == 0, token_count=3) for number in range(7)
        )
        draft = SessionDraft(
            scope=scope,
            messages=messages,
            memories=(memory("pending", scope=Scope(scope.tenant)),),
            data={"a": {"b": [1, None]}},
            context="",
            tokens=9,
            strategy=Strategy(name="summary", config={"x": 1}),
            ttl_seconds=3600,
        )
        await stores.working_memory.replace(draft, at=T0, epoch="life")
        guard = SessionGuard(scope=scope, epoch="life")
        await stores.working_memory.archive(
            guard, messages=messages[:3], context="summary", if_context="", tokens=4, at=T0 + timedelta(seconds=1)
        )
        (record,) = await everything(lambda after: holdings(stores).walk_sessions(after=after, limit=2, now=T0))
        assert record.expires_at == T0 + timedelta(seconds=3600)
        assert (record.session.context, record.session.epoch) == ("summary", "life")
        before = await stores.working_memory.load(scope, now=T0)
        held = [*await holdings(stores).messages(scope, after=0, limit=4)]
        held += await holdings(stores).messages(scope, after=held[-1].sequence, limit=100)
        assert [(each.archived, each.message) for each in held] == [
            (number < 3, each) for number, each in enumerate(messages)
        ]

        elsewhere = replace(record, session=replace(record.session, scope=replace(scope, user_id="carol")))
        await holdings(stores).put_session(elsewhere, held[:2])
        await holdings(stores).add_messages(elsewhere.session.scope, held[2:])
        after = await stores.working_memory.load(elsewhere.session.scope, now=T0)
        assert before is not None
        assert after is not None
        assert replace(after, scope=scope) == before
        page = await stores.working_memory.page(elsewhere.session.scope, now=T0, limit=10, include_archived=True)
        assert page is not None
        assert page.total == 7
        backlog = await stores.working_memory.unextracted(
            SessionGuard(scope=elsewhere.session.scope, epoch="life"), now=T0, limit=10, context=0
        )
        assert [each.id for each in backlog.messages] == ["m1", "m3", "m5"]
        assert (await holdings(stores).count(Kind.SESSIONS, now=T0)) == 2

    async def test_a_session_is_put_in_place_of_the_one_that_is_there(self, stores: Stores) -> None:
        """Nothing of the earlier one is left but its pending work, and a client goes on with it."""
        scope = session_scope()
        intent = Intent(kind="run_delayed_extraction", key="s1", tenant="acme", namespace="work", user_id="alice",
                        payload={"session_id": "s1"})  # fmt: skip
        old = SessionDraft(scope=scope, messages=(message("old"), message("older")), data={"old": 1})
        await stores.working_memory.replace(old, at=T0, epoch="first", intents=(intent,))
        record = await holdings(stores).session(scope, now=T0)
        assert record is not None
        changed = replace(record.session, epoch="second", revision=4, data=None, summarization=Summarization.PENDING)
        held = await holdings(stores).messages(scope, after=0, limit=1)
        new = replace(held[0], message=message("new"))
        await holdings(stores).put_session(SessionRecord(session=changed, expires_at=None), (new,))
        loaded = await stores.working_memory.load(scope, now=T0)
        assert loaded is not None
        assert [each.id for each in loaded.messages] == ["new"]
        assert (loaded.etag, loaded.data, loaded.summarization) == ('"second.4"', None, Summarization.PENDING)
        await stores.working_memory.append(scope, (message("next"),), at=T0, epoch="x", live_max=10)
        loaded = await stores.working_memory.load(scope, now=T0)
        assert loaded is not None
        assert [each.id for each in loaded.messages] == ["new", "next"]
        assert (await stores.outbox.pending(ScopeSelector("acme"), now=T0)).pending == 1

    async def test_expired_sessions_are_not_there(self, stores: Stores) -> None:
        """Neither in a walk, nor by name, nor counted."""
        draft = SessionDraft(scope=session_scope(), messages=(message("m"),), ttl_seconds=5)
        await stores.working_memory.replace(draft, at=T0, epoch="e")
        later = T0 + timedelta(seconds=6)
        assert not await everything(lambda after: holdings(stores).walk_sessions(after=after, limit=2, now=later))
        assert await holdings(stores).session(session_scope(), now=later) is None
        assert await holdings(stores).count(Kind.SESSIONS, now=later) == 0

    async def test_what_a_summary_was_made_of_is_known(self, stores: Stores) -> None:
        """The sources of a stored summary, which go along so that deleting one still takes the summary with it."""
        await stores.memories.commit(operation(put(memory("m1")), put(memory("m2", "likes milk"))))
        view = SummaryView(
            id="v",
            owner=ScopeSelector("acme"),
            created_at=T0,
            created_by="tester",
            draft=ViewDraft(source=ViewSource.LONG_TERM, group_by=("user_id",)),
        )
        await stores.summary_views.add(view, views_max=5)
        partition = Partition(
            view_id="v", group={"user_id": "alice"}, summary="tea", memory_count=1, computed_at=T0, fingerprint="f"
        )
        keys = [memory("m1").key, memory("m2").key]
        await stores.summary_views.put_partition(view, partition, sources=keys)
        assert sorted(await holdings(stores).sources(view, group={"user_id": "alice"})) == sorted(keys)
        assert not await holdings(stores).sources(view, group={"user_id": "bob"})
        assert await holdings(stores).count(Kind.SUMMARY_VIEWS, now=T0) == 1
        assert await holdings(stores).count(Kind.PARTITIONS, now=T0) == 1

    async def test_work_and_the_tasks_that_follow_it(self, stores: Stores) -> None:
        """A task that is put behind its work moves on with it; work that is there already is not doubled."""
        intents = [
            Intent(
                kind="run_task",
                key=f"k{number}",
                tenant="acme",
                payload={"task": "compact", "n": number},
                task=TaskRequest(id=f"t{number}", owner=Scope("acme", None, "alice")),
            )
            for number in range(3)
        ]
        await stores.outbox.request(intents, at=T0)
        work = await everything(lambda after: holdings(stores).walk_work(after=after, limit=2))
        tasks = await everything(lambda after: holdings(stores).walk_tasks(after=after, limit=2, now=T0))
        assert sorted(each.name for each in work) == ["k0", "k1", "k2"]
        assert sorted(each.task.id for each in tasks) == ["t0", "t1", "t2"]
        assert await holdings(stores).count(Kind.WORK, now=T0) == 3
        assert await holdings(stores).count(Kind.TASKS, now=T0) == 3
        moved = [replace(each, owner=Scope("elsewhere")) for each in work]
        await holdings(stores).put_work([*moved, moved[0], replace(work[0], attempts=9)])
        held = await holdings(stores).work([moved[0].key, work[0].key, ("nowhere", None, None, "a", "b")])
        assert [each if each is None else each.attempts for each in held] == [0, 0, None]
        owner = Scope("elsewhere", None, "alice")
        follows = {each.name: each.key for each in moved}
        put_tasks = [
            replace(each, task=replace(each.task, scope=owner), follows=follows[f"k{each.task.id[1:]}"])
            for each in tasks
        ]
        await holdings(stores).put_tasks([*put_tasks, put_tasks[0]])
        claimed = await stores.outbox.claim(kinds=("run_task",), now=T0, lease_s=5, limit=10)
        assert len(claimed) == 6
        for each in claimed:
            await stores.outbox.complete(each)
        (task,) = await stores.jobs.find(ScopeSelector("elsewhere"), task_id="t1", now=T0)
        assert task.status.value == "success"

    async def test_a_walk_over_nothing(self, stores: Stores) -> None:
        """An empty store ends at once, whatever is walked over."""
        held = holdings(stores)
        assert await all_memories(stores) == []
        assert await everything(lambda after: held.walk_sessions(after=after, limit=2, now=T0)) == []
        assert await everything(lambda after: held.walk_work(after=after, limit=2)) == []
        assert await everything(lambda after: held.walk_tasks(after=after, limit=2, now=T0)) == []
        kinds = [kind for kind in Kind if kind not in (Kind.TOKENS, Kind.HISTORY)]
        assert [await held.count(kind, now=T0) for kind in kinds] == [0] * len(kinds)

    async def test_superseded_memories_go_along(self, stores: Stores) -> None:
        """A merge's sources, which an undo needs."""
        await stores.memories.commit(operation(put(memory("a", "one")), put(memory("b", "two"))))
        await stores.memories.commit(operation(Supersede(key=memory("a").key, by="b")))
        found = {record.memory.id: record.memory.superseded_by for record in await all_memories(stores)}
        assert found == {"a": "b", "b": None}


class LedgerContract:
    async def test_it_remembers_what_was_carried(self, stores: Stores) -> None:
        """By transfer and kind, whatever characters a name holds."""
        book = ledger(stores)
        assert await book.state("copy-1") is None
        await book.save("copy-1", {"begun_at": "now"})
        await book.save("copy-1", {"begun_at": "then", "über": 1})
        assert await book.state("copy-1") == {"begun_at": "then", "über": 1}
        refs = [f"ref {number} ü|,:" for number in range(25)]
        await book.note("copy-1", "memories", {ref: f"mark {ref}" for ref in refs})
        await book.note("copy-1", "memories", {refs[0]: "changed"})
        await book.note("copy-2", "memories", {refs[0]: "of another"})
        await book.note("copy-1", "sessions", {})
        assert await book.marks("copy-1", "memories", [refs[1], "absent", refs[0]]) == [
            f"mark {refs[1]}",
            None,
            "changed",
        ]
        assert await book.marks("copy-1", "sessions", refs) == [None] * 25
        await book.drop("copy-1", "memories", refs[:24])
        assert await book.marks("copy-1", "memories", refs) == [*[None] * 24, f"mark {refs[24]}"]
        assert await book.marks("copy-2", "memories", refs[:1]) == ["of another"]
        await book.end("copy-1")
        await book.end("never begun")
        assert await book.state("copy-1") is None
