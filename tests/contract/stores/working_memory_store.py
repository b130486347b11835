"""What every engine's WorkingMemoryStore has to do. Inherit and give a ``stores`` fixture."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.jobs import IntentKind
from agent_memory_server.domain.operations import Intent, OperationKind
from agent_memory_server.domain.records import MESSAGE_STRATEGY
from agent_memory_server.domain.sessions import SessionDraft, SessionGuard, SessionPatch, Strategy
from agent_memory_server.errors import InvalidInput, MessageConflict, StaleRevision
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.working_memory import ShowsRows
from tests.contract.stores.making import ALICE, T0, memory, message, operation, put, selector, session_scope

SCOPE = session_scope()
PROMOTE = Intent(
    kind=IntentKind.PROMOTE_WORKING_MEMORY,
    key="s1",
    tenant="acme",
    namespace="work",
    user_id="alice",
    payload={"session_id": "s1"},
)


def draft(*names: str, **fields: object) -> SessionDraft:
    made = SessionDraft(scope=SCOPE, messages=tuple(message(name) for name in names))
    return replace(made, **fields)


async def load(stores: Stores, **options: object) -> list[str]:
    session = await stores.working_memory.load(SCOPE, now=T0, **options)  # pyright: ignore[reportArgumentType]
    return [] if session is None else [each.id for each in session.messages]


class WorkingMemoryStoreContract:
    async def test_a_session_reads_back_equal(self, stores: Stores) -> None:
        """All that a PUT holds comes back, with the same ETag on every view."""
        full = draft(
            messages=(message("m\0|", "c \0 ü 🎉", name="Ann", token_count=3, created_at=T0 - timedelta(days=9)),),
            memories=(memory("x", metadata={"n": 2**70}),),
            data={"a": [1.5, None, {"b": "\0"}]},
            context="so far",
            tokens=12,
            strategy=Strategy(name="custom", config={"k": 1}),
            ttl_seconds=60,
            last_accessed=T0 - timedelta(hours=1),
        )
        written = await stores.working_memory.replace(full, at=T0, epoch="e")
        read = await stores.working_memory.load(SCOPE, now=T0)
        assert read == written
        assert read is not None
        assert (read.messages, read.memories, read.data) == (full.messages, full.memories, full.data)
        assert (read.context, read.tokens, read.strategy) == ("so far", 12, full.strategy)
        assert (read.created_at, read.last_accessed, read.message_count) == (T0, full.last_accessed, 1)
        page = await stores.working_memory.page(SCOPE, now=T0, limit=1)
        assert page is not None
        assert page.etag == read.etag

    async def test_a_session_shown_as_rows_is_the_same_session(self, stores: Stores) -> None:
        """An engine that can show rows gives every field, time and window as loading does, and absence too."""
        store = stores.working_memory
        if not isinstance(store, ShowsRows):
            return
        assert await store.load_rows(SCOPE, now=T0) is None
        first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        times = (T0, first, last, T0 + timedelta(microseconds=1))
        full = draft(
            messages=tuple(
                message(f"m{number}", 'c "ü" 🎉', name="Ann" if number else None, created_at=at)
                for number, at in enumerate(times)
            ),
            data={"a": 1},
        )
        written = await store.replace(full, at=T0, epoch="e")
        guard = SessionGuard(scope=SCOPE, epoch=written.epoch)
        await stores.working_memory.mark_promoted(guard, message_ids=["m1"], memory_ids=(), at=T0)
        for recent in (None, 1, 3, 9):
            loaded = await stores.working_memory.load(SCOPE, now=T0, recent_messages=recent)
            shown = await store.load_rows(SCOPE, now=T0, recent_messages=recent)
            assert loaded is not None
            assert shown is not None
            session, rows = shown
            assert session == replace(loaded, messages=())
            assert list(rows) == [
                (
                    each.id,
                    each.role,
                    each.content,
                    each.created_at.replace(tzinfo=None),
                    each.name,
                    each.persisted_at and each.persisted_at.replace(tzinfo=None),
                    each.extracted,
                )
                for each in loaded.messages
            ]

    async def test_parallel_appends_lose_nothing(self, stores: Stores) -> None:
        """20 clients with 50 messages each: all stored, each client's in its order."""

        async def client(number: int) -> None:
            for step in range(50):
                await stores.working_memory.append(
                    SCOPE, [message(f"{number}-{step}")], at=T0, epoch=f"e{number}", live_max=2_000
                )

        await asyncio.gather(*(client(number) for number in range(20)))
        stored = await load(stores)
        assert len(stored) == 1_000
        for number in range(20):
            mine = [each for each in stored if each.startswith(f"{number}-")]
            assert mine == [f"{number}-{step}" for step in range(50)]

    async def test_appending_is_idempotent(self, stores: Stores) -> None:
        """A known message is a duplicate and changes no ETag; other content or too many apply nothing."""
        first = await stores.working_memory.append(SCOPE, [message("a")], at=T0, epoch="e", live_max=3)
        again = await stores.working_memory.append(SCOPE, [message("a")], at=T0, epoch="x", live_max=3)
        assert (again.appended, again.duplicates, again.total, again.etag) == (0, 1, 1, first.etag)
        with pytest.raises(MessageConflict):
            await stores.working_memory.append(
                SCOPE, [message("b"), message("a", "other")], at=T0, epoch="e", live_max=3
            )
        with pytest.raises(InvalidInput):
            await stores.working_memory.append(SCOPE, [message(name) for name in "bcd"], at=T0, epoch="e", live_max=3)
        assert await load(stores) == ["a"]

    async def test_preconditions(self, stores: Stores) -> None:
        """Of two writers with one ETag one wins; ``If-None-Match`` refuses what exists; nothing matches what does not."""
        with pytest.raises(StaleRevision):
            await stores.working_memory.replace(draft("a"), at=T0, epoch="e", if_match=["*"])
        session = await stores.working_memory.replace(draft("a"), at=T0, epoch="e", if_none_match=True)
        with pytest.raises(StaleRevision):
            await stores.working_memory.replace(draft("b"), at=T0, epoch="e", if_none_match=True)
        done = await asyncio.gather(
            *(
                stores.working_memory.replace(draft(name), at=T0, epoch="e", if_match=[session.etag])
                for name in ("x", "y")
            ),
            return_exceptions=True,
        )
        assert sorted(isinstance(each, StaleRevision) for each in done) == [False, True]
        with pytest.raises(StaleRevision):
            await stores.working_memory.append(
                SCOPE, [message("z")], at=T0, epoch="e", live_max=9, if_match=[session.etag]
            )

    async def test_replacing_keeps_marks(self, stores: Stores) -> None:
        """A message that keeps id, role and content keeps its marks; marks change neither ETag nor content."""
        session = await stores.working_memory.replace(draft("a", "b", memories=(memory("x"),)), at=T0, epoch="e")
        guard = SessionGuard(scope=SCOPE, epoch="e")
        assert [each.id for each in await stores.working_memory.unpromoted(guard, now=T0, limit=9)] == ["a", "b"]
        assert await stores.working_memory.mark_promoted(guard, message_ids=["a", "b"], memory_ids=["x"], at=T0)
        assert await stores.working_memory.unpromoted(guard, now=T0, limit=9) == ()
        marked = await stores.working_memory.load(SCOPE, now=T0)
        assert marked is not None
        assert marked.etag == session.etag
        changed = draft(messages=(message("c"), message("a"), message("b", "new")), memories=(memory("x"),))
        await stores.working_memory.replace(changed, at=T0, epoch="late")
        read = await stores.working_memory.load(SCOPE, now=T0)
        assert read is not None
        assert [each.persisted_at for each in read.messages] == [None, T0, None]
        assert read.memories[0].persisted_at == T0
        assert read.epoch == "e"
        assert [each.id for each in await stores.working_memory.unpromoted(guard, now=T0, limit=9)] == ["c", "b"]
        old = SessionGuard(scope=SCOPE, epoch="late")
        assert not await stores.working_memory.mark_promoted(old, message_ids=["c"], memory_ids=[], at=T0)
        assert await stores.working_memory.unpromoted(old, now=T0, limit=9) == ()

    async def test_recent_messages(self, stores: Stores) -> None:
        """The newest by (created_at, arrival), returned oldest first; the count is of all."""
        ages = (3, 1, 2, 1)
        messages = tuple(message(f"m{n}", created_at=T0 - timedelta(hours=age)) for n, age in enumerate(ages))
        await stores.working_memory.replace(draft(messages=messages), at=T0, epoch="e")
        assert await load(stores, recent_messages=3) == ["m2", "m1", "m3"]
        assert await load(stores, recent_messages=1) == ["m3"]
        session = await stores.working_memory.load(SCOPE, now=T0, recent_messages=1)
        assert session is not None
        assert session.message_count == 4

    async def test_paging(self, stores: Stores) -> None:
        """Cursors walk the messages in both directions; a foreign cursor is refused; an absent session is None."""
        names = [f"m{n}" for n in range(7)]
        await stores.working_memory.replace(draft(*names), at=T0, epoch="e")
        for descending in (False, True):
            seen: list[str] = []
            cursor: str | None = None
            while True:
                page = await stores.working_memory.page(SCOPE, now=T0, limit=3, cursor=cursor, descending=descending)
                assert page is not None
                seen += [each.id for each in page.messages]
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert seen == (names[::-1] if descending else names)
        for bad in ("x", "-1", "1.5", "", "٣"):
            with pytest.raises(InvalidInput):
                await stores.working_memory.page(SCOPE, now=T0, limit=3, cursor=bad)
        assert await stores.working_memory.page(session_scope("none"), now=T0, limit=3) is None

    async def test_patching(self, stores: Stores) -> None:
        """Named fields change, data merges, the others stay; an absent session is None."""
        assert await stores.working_memory.patch(SCOPE, SessionPatch(fields=frozenset()), at=T0) is None
        await stores.working_memory.replace(
            draft("a", data={"x": 1, "y": {"z": 2}}, context="c", ttl_seconds=9), at=T0, epoch="e"
        )
        change = SessionPatch(fields=frozenset({"data", "ttl_seconds"}), data={"x": None, "y": {"w": 3}})
        session = await stores.working_memory.patch(SCOPE, change, at=T0)
        assert session is not None
        assert (session.data, session.context, session.ttl_seconds) == ({"y": {"z": 2, "w": 3}}, "c", None)
        assert session.revision == 2
        assert session == await stores.working_memory.load(SCOPE, now=T0 + timedelta(days=9))

    async def test_time_to_live(self, stores: Stores) -> None:
        """An expired session is absent everywhere, is begun anew by a write, and is purged."""
        await stores.working_memory.replace(draft("a", ttl_seconds=10), at=T0, epoch="one")
        end = T0 + timedelta(seconds=10)
        appended = T0 + timedelta(seconds=5)
        await stores.working_memory.append(SCOPE, [message("b")], at=appended, epoch="x", live_max=9)
        assert await stores.working_memory.load(SCOPE, now=end) is not None
        end += timedelta(seconds=5)
        assert await stores.working_memory.load(SCOPE, now=end) is None
        assert await stores.working_memory.find(selector(), session_id="s1", now=end) == []
        assert (await stores.working_memory.list(selector(), now=end, limit=9)).total == 0
        await stores.working_memory.append(SCOPE, [message("c")], at=end, epoch="two", live_max=9)
        session = await stores.working_memory.load(SCOPE, now=end + timedelta(days=1))
        assert session is not None
        assert ([each.id for each in session.messages], session.epoch) == (["c"], "two")
        gone = replace(draft("z", ttl_seconds=1), scope=session_scope("gone"))
        await stores.working_memory.replace(gone, at=T0, epoch="e")
        assert await stores.working_memory.purge_expired(now=end, limit=9) == 1
        assert await stores.working_memory.purge_expired(now=end, limit=9) == 0

    async def test_listing_and_finding(self, stores: Stores) -> None:
        """Most recently updated first, then by id; found by id among the scopes that are visible."""
        bob = replace(ALICE, user_id="bob")
        for number, name in enumerate("cab"):
            scope = session_scope(name, ALICE if name != "b" else bob)
            at = T0 + timedelta(seconds=number // 2)
            await stores.working_memory.replace(replace(draft("m"), scope=scope), at=at, epoch="e")
        tenant = ScopeSelector("acme")
        listed = await stores.working_memory.list(tenant, now=T0, limit=9)
        assert (listed.session_ids, listed.total) == (("b", "a", "c"), 3)
        listed = await stores.working_memory.list(selector(), now=T0, limit=1, offset=1)
        assert (listed.session_ids, listed.total) == (("c",), 2)
        assert await stores.working_memory.find(tenant, session_id="b", now=T0) == [session_scope("b", bob)]
        assert await stores.working_memory.find(ScopeSelector("other"), session_id="b", now=T0) == []

    async def test_deleting(self, stores: Stores) -> None:
        """The session goes with its messages, message memories and pending work; extracted memories with ``cascade``."""
        made = memory("m", scope=SCOPE, extraction_strategy=MESSAGE_STRATEGY)
        for cascade, left in ((False, {"client", "extracted"}), (True, {"client"})):
            await stores.working_memory.replace(draft("m"), at=T0, epoch="e", intents=[PROMOTE])
            await stores.memories.commit(operation(put(made), put(memory("client", "mine", scope=SCOPE))))
            await stores.memories.commit(
                operation(put(memory("extracted", "fact", scope=SCOPE)), kind=OperationKind.EXTRACT)
            )
            assert await stores.working_memory.delete(
                SCOPE, cascade=cascade, operation_id=f"delete-{cascade}", actor="t", at=T0
            )
            assert await stores.working_memory.load(SCOPE, now=T0) is None
            names = ("m", "client", "extracted")
            found = {name for name in names if await stores.memories.get(memory(name).key)}
            assert found == left
            assert all(each.scrubbed for each in await stores.journal.history(made.key))
            assert (await stores.outbox.pending(selector(), now=T0)).pending == 0
        assert not await stores.working_memory.delete(SCOPE, operation_id="again", actor="t", at=T0, if_match=['"x"'])

    async def test_a_session_that_changed_is_not_deleted(self, stores: Stores) -> None:
        """Unless its ETag is the one that was named, everything stays."""
        session = await stores.working_memory.replace(draft("m"), at=T0, epoch="e")
        with pytest.raises(StaleRevision):
            await stores.working_memory.delete(SCOPE, operation_id="d", actor="t", at=T0, if_match=['"older"'])
        assert await stores.working_memory.load(SCOPE, now=T0) == session
        assert await stores.working_memory.delete(SCOPE, operation_id="d", actor="t", at=T0, if_match=[session.etag])
