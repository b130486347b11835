"""What every engine's WorkingMemoryStore has to do for background work: backlogs, marks, archives and summaries."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from agent_memory_server.domain.jobs import IntentKind
from agent_memory_server.domain.operations import Intent, OperationKind
from agent_memory_server.domain.sessions import (
    Message,
    Session,
    SessionDraft,
    SessionGuard,
    SessionPatch,
    Summarization,
)
from agent_memory_server.errors import MessageConflict
from agent_memory_server.ports.stores import Stores
from tests.contract.stores.making import T0, memory, message, operation, put, selector, session_scope

SCOPE = session_scope()
GUARD = SessionGuard(scope=SCOPE, epoch="e")
STALE = SessionGuard(scope=SCOPE, epoch="another life")
SUMMARIZE = Intent(
    kind=IntentKind.SUMMARIZE_SESSION,
    key="s1",
    tenant="acme",
    namespace="work",
    user_id="alice",
    payload={"session_id": "s1", "window": 100},
)


def said(*names: str) -> tuple[Message, ...]:
    return tuple(message(name, f"words of {name}", token_count=10) for name in names)


async def write(stores: Stores, *names: str, context: str | None = None) -> Session:
    draft = SessionDraft(scope=SCOPE, messages=said(*names), context=context)
    return await stores.working_memory.replace(draft, at=T0, epoch="e")


async def read(stores: Stores) -> Session:
    session = await stores.working_memory.load(SCOPE, now=T0)
    assert session is not None
    return session


async def waiting(stores: Stores, guard: SessionGuard = GUARD, *, limit: int = 99) -> list[str]:
    backlog = await stores.working_memory.unextracted(guard, now=T0, limit=limit, context=2)
    return [each.id for each in backlog.messages]


async def archive(stores: Stores, messages: tuple[Message, ...], context: str, if_context: str | None) -> bool:
    return await stores.working_memory.archive(
        GUARD, messages=messages, context=context, if_context=if_context, tokens=7, at=T0 + timedelta(seconds=9)
    )


class SessionBackgroundContract:
    async def test_the_backlog_is_what_has_no_mark(self, stores: Stores) -> None:
        """Oldest first, in pages, with the messages right before the first of them; marks may come in any order."""
        await write(stores, *"abcdef")
        backlog = await stores.working_memory.unextracted(GUARD, now=T0, limit=2, context=2)
        assert ([each.id for each in backlog.messages], backlog.before) == (["a", "b"], ())
        assert await stores.working_memory.mark_extracted(GUARD, message_ids=["a", "b", "c", "e", "unknown"])
        backlog = await stores.working_memory.unextracted(GUARD, now=T0, limit=9, context=2)
        assert [each.id for each in backlog.messages] == ["d", "f"]
        assert [each.id for each in backlog.before] == ["b", "c"]
        assert [each.extracted for each in (await read(stores)).messages] == [True, True, True, False, True, False]

    async def test_what_is_added_later_is_waiting(self, stores: Stores) -> None:
        """Also when everything before it has its mark, and when a PUT brings the old messages along."""
        await write(stores, "a", "b")
        await stores.working_memory.mark_extracted(GUARD, message_ids=["a", "b"])
        assert await waiting(stores) == []
        await stores.working_memory.append(SCOPE, said("c"), at=T0, epoch="e", live_max=9)
        assert await waiting(stores) == ["c"]
        await write(stores, "new first", "a", "b", "c", "d")
        assert await waiting(stores) == ["new first", "c", "d"]

    async def test_a_message_with_new_words_is_waiting_again(self, stores: Stores) -> None:
        """A PUT that changes what a message says takes its mark away."""
        await write(stores, "a", "b")
        await stores.working_memory.mark_extracted(GUARD, message_ids=["a", "b"])
        changed = SessionDraft(scope=SCOPE, messages=(replace(said("a")[0], content="other words"), said("b")[0]))
        await stores.working_memory.replace(changed, at=T0, epoch="e")
        assert await waiting(stores) == ["a"]

    async def test_marks_are_no_change_of_content(self, stores: Stores) -> None:
        """Neither extracted marks nor asking for a summary, nor its end, change ETag or time of update."""
        before = await write(stores, "a")
        await stores.working_memory.mark_extracted(GUARD, message_ids=["a"])
        await stores.working_memory.request_summary(SCOPE, SUMMARIZE, at=T0 + timedelta(seconds=5))
        await stores.working_memory.summarized(GUARD)
        after = await read(stores)
        assert (after.etag, after.updated_at) == (before.etag, before.updated_at)

    async def test_another_life_is_left_alone(self, stores: Stores) -> None:
        """A guard of a session that was deleted, or began anew, reads nothing and writes nothing."""
        await write(stores, "a")
        assert await waiting(stores, STALE) == []
        assert not await stores.working_memory.mark_extracted(STALE, message_ids=["a"])
        assert not await stores.working_memory.summarized(STALE)
        assert not await stores.working_memory.archive(
            STALE, messages=said("a"), context="c", if_context=None, tokens=1, at=T0
        )
        assert await waiting(stores) == ["a"]
        gone = SessionGuard(scope=session_scope("gone"), epoch="e")
        assert await waiting(stores, gone) == []
        assert not await stores.working_memory.mark_extracted(gone, message_ids=["a"])

    async def test_records_and_marks_are_one_commit(self, stores: Stores) -> None:
        """An operation marks the messages that it extracted from; where its guard fails neither is there."""
        await write(stores, "a", "b")
        found = put(memory("fact", scope=SCOPE))
        for guard, applied, left in ((STALE, False, ["a", "b"]), (GUARD, True, ["b"])):
            extraction = operation(found, kind=OperationKind.EXTRACT, guard=guard, extracted=("a",))
            assert (await stores.memories.commit(extraction)).applied is applied
            assert await waiting(stores) == left
            assert (await stores.memories.get(memory("fact").key) is not None) is applied

    async def test_archiving_keeps_every_message_readable(self, stores: Stores) -> None:
        """Archived messages leave the live ones, are paged through on request, and cannot come back as new ones."""
        before = await write(stores, *"abcd")
        assert await archive(stores, said("a", "b"), "about a and b", None)
        session = await read(stores)
        assert [each.id for each in session.messages] == ["c", "d"]
        assert (session.context, session.tokens, session.archived_count) == ("about a and b", 7, 2)
        assert session.etag != before.etag
        assert session.updated_at == T0 + timedelta(seconds=9)
        for include, ids in ((True, list("abcd")), (False, ["c", "d"])):
            page = await stores.working_memory.page(SCOPE, now=T0, limit=9, include_archived=include)
            assert page is not None
            assert ([each.id for each in page.messages], page.total) == (ids, len(ids))
        again = await stores.working_memory.append(SCOPE, said("a"), at=T0, epoch="e", live_max=9)
        assert (again.appended, again.duplicates, again.total, again.live_tokens) == (0, 1, 4, 20)
        with pytest.raises(MessageConflict):
            await stores.working_memory.append(SCOPE, [message("a", "new")], at=T0, epoch="e", live_max=9)
        await write(stores, *"abcde", context="about a and b")
        assert [each.id for each in (await read(stores)).messages] == ["c", "d", "e"]

    async def test_archived_messages_can_still_be_extracted_from(self, stores: Stores) -> None:
        """A summary does not take a message out of the backlog."""
        await write(stores, *"abc")
        await archive(stores, said("a", "b"), "summary", None)
        assert await waiting(stores) == ["a", "b", "c"]
        assert await stores.working_memory.mark_extracted(GUARD, message_ids=["a", "b"])
        assert await waiting(stores) == ["c"]

    async def test_a_summary_of_something_else_is_not_stored(self, stores: Stores) -> None:
        """When the context or one of the messages is not what was read any more, nothing changes."""
        await write(stores, *"abc", context="the client's")
        before = await read(stores)
        assert not await archive(stores, said("a", "b"), "new", None)
        assert not await archive(stores, said("a", "gone"), "new", "the client's")
        assert not await archive(stores, (replace(said("a")[0], content="older words"),), "new", "the client's")
        assert await read(stores) == before
        assert await archive(stores, said("a"), "new", "the client's")
        assert not await archive(stores, said("a"), "again", "new")

    async def test_of_two_summaries_one_is_stored(self, stores: Stores) -> None:
        """Two workers with the same portion: the second finds it archived."""
        await write(stores, *"abc")
        done = await asyncio.gather(*(archive(stores, said("a", "b"), f"by {n}", None) for n in range(2)))
        assert sorted(done) == [False, True]
        assert (await read(stores)).archived_count == 2

    async def test_a_put_without_context_keeps_the_summary(self, stores: Stores) -> None:
        """It is all that is left of the archived messages; a patch clears it, and so does a PUT while nothing is archived."""
        await write(stores, "a", "b", context="mine")
        await write(stores, "a", "b")
        assert (await read(stores)).context is None
        await archive(stores, said("a"), "about a", None)
        await write(stores, "b", "c")
        assert (await read(stores)).context == "about a"
        await write(stores, "b", context="rewritten")
        assert (await read(stores)).context == "rewritten"
        await stores.working_memory.patch(SCOPE, SessionPatch(fields=frozenset({"context"})), at=T0)
        assert (await read(stores)).context is None

    async def test_a_requested_summary_is_shown_and_pending(self, stores: Stores) -> None:
        """Request and intent are one commit; its end shows, and the session's deletion takes the work away."""
        assert not await stores.working_memory.request_summary(SCOPE, SUMMARIZE, at=T0)
        assert (await stores.outbox.pending(selector(), now=T0)).pending == 0
        await write(stores, "a")
        assert await stores.working_memory.request_summary(SCOPE, SUMMARIZE, at=T0)
        assert (await read(stores)).summarization is Summarization.PENDING
        assert (await stores.outbox.pending(selector(), now=T0)).pending == 1
        await write(stores, "a", "b")
        assert (await read(stores)).summarization is Summarization.PENDING
        assert await stores.working_memory.summarized(GUARD)
        assert (await read(stores)).summarization is Summarization.NONE
        await stores.working_memory.delete(SCOPE, operation_id="d", actor="t", at=T0)
        assert (await stores.outbox.pending(selector(), now=T0)).pending == 0
