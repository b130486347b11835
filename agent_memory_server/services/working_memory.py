"""Working memory: store the session first, then let the background make memories of it.

A session is found by its exact (namespace, user, session) first, else by the parts that were named: exactly one visible
session answers, several are ambiguous (409), none is 404. Writes never fall back: an absent part means none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from agent_memory_server.domain.context_window import DEFAULT_WINDOW_TOKENS, newest_that_fit, percentages, window_tokens
from agent_memory_server.domain.identity import OutsideReach, Principal, Scope
from agent_memory_server.domain.jobs import IntentKind
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.operations import Intent
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.sessions import (
    Appended,
    Message,
    MessagePage,
    Session,
    SessionDraft,
    SessionListing,
    SessionPatch,
    Summarization,
)
from agent_memory_server.domain.summarization import passes_threshold
from agent_memory_server.errors import AmbiguousScope, BadRequest, InvalidInput, NotFound
from agent_memory_server.ports.tokenizer import Tokenizer
from agent_memory_server.ports.working_memory import MessageRow, ShowsRows, WorkingMemoryStore
from agent_memory_server.services import audit
from agent_memory_server.services.extraction.on_request import checked

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingMemoryPolicy:
    """What the operator decided about sessions."""

    promotes: bool = True
    """Whether sessions feed long-term memory at all."""
    extracts: bool = True
    """Whether memories are extracted from messages."""
    extraction_debounce_s: float = 30.0
    """How long a session has to be quiet before its messages are extracted from."""
    indexes_messages: bool = True
    """Whether each message becomes a searchable memory."""
    summarizes: bool = True
    summarization_threshold: float = 0.7
    max_future_timestamp_s: int = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The context window that a client named; both absent means no truncation and no percentages."""

    model_name: str | None = None
    context_window_max: int | None = None

    @property
    def tokens(self) -> int | None:
        return window_tokens(self.model_name, self.context_window_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session as a client sees it; percentages are 0..100, or None when no window was named."""

    session: Session
    percentage_used: float | None
    percentage_until_summarization: float | None
    rows: Sequence[MessageRow] | None = None
    """The messages when ``show`` did not build them; the session then has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precondition:
    """``If-Match`` (ETags, or ``("*",)``) and ``If-None-Match: *`` of a conditional write."""

    if_match: Sequence[str] | None = None
    if_none_match: bool = False


_CHECKED_AT_ONCE = 500  # messages whose tokens are counted between two chances for other requests
UNCONDITIONAL, NO_WINDOW = Precondition(), Window()


class WorkingMemoryService:
    def __init__(
        self,
        *,
        store: WorkingMemoryStore,
        tokenizer: Tokenizer,
        policy: WorkingMemoryPolicy,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._shows = store if isinstance(store, ShowsRows) else None
        self._tokenizer = tokenizer
        self._policy = policy
        self._now = now
        self._new_id = new_id
        self._wake = wake

    async def get(
        self,
        caller: Principal,
        *,
        session_id: str,
        namespace: str | None = None,
        user_id: str | None = None,
        recent_messages: int | None = None,
        window: Window = NO_WINDOW,
    ) -> SessionView:
        """The session, cut to the newest messages as asked (the stored one is never cut). Raises NotFound, AmbiguousScope."""
        recent = recent_messages if recent_messages and recent_messages > 0 else None

        def load(scope: Scope) -> Awaitable[Session | None]:
            return self._store.load(scope, now=self._now(), recent_messages=recent)

        return self._view(await self._found(caller, session_id, namespace, user_id, load), window)

    async def show(
        self,
        caller: Principal,
        *,
        session_id: str,
        namespace: str | None = None,
        user_id: str | None = None,
        recent_messages: int | None = None,
        window: Window = NO_WINDOW,
    ) -> SessionView:
        """What ``get`` gives, to be written out and no more: where the engine can, the messages stay rows."""
        shows = self._shows
        if shows is None or window.tokens is not None:
            return await self.get(
                caller,
                session_id=session_id,
                namespace=namespace,
                user_id=user_id,
                recent_messages=recent_messages,
                window=window,
            )
        recent = recent_messages if recent_messages and recent_messages > 0 else None

        def load(scope: Scope) -> Awaitable[tuple[Session, Sequence[MessageRow]] | None]:
            return shows.load_rows(scope, now=self._now(), recent_messages=recent)

        session, rows = await self._found(caller, session_id, namespace, user_id, load)
        return SessionView(session=session, percentage_used=None, percentage_until_summarization=None, rows=rows)

    async def _found(
        self,
        caller: Principal,
        session_id: str,
        namespace: str | None,
        user_id: str | None,
        load: Callable[[Scope], Awaitable[Found | None]],
    ) -> Found:
        """What ``load`` gives of the exact session, else of the one that the parts leave. Raises NotFound, AmbiguousScope."""
        found = await load(self._exact(caller, session_id, namespace, user_id))
        if found is None:
            scope = await self._by_parts(caller, session_id, namespace, user_id)
            found = await load(scope) if scope else None
        if found is None:
            raise _absent(session_id)
        return found

    async def put(
        self,
        caller: Principal,
        draft: SessionDraft,
        *,
        window: Window = NO_WINDOW,
        precondition: Precondition = UNCONDITIONAL,
    ) -> SessionView:
        """Create the session or replace what a client may replace. Raises InvalidInput, BadRequest, StaleRevision."""
        session_id = draft.scope.session_id or ""
        checked(draft.strategy)
        scope = self._exact(caller, session_id, draft.scope.namespace, draft.scope.user_id)
        for memory in draft.memories:
            self._reachable(caller, memory.scope)
        _refuse_twice(draft.memories, scope)
        at = self._now()
        messages = await self._checked(draft.messages, at)
        session = await self._store.replace(
            replace(draft, scope=scope, messages=messages),
            at=at,
            epoch=self._new_id(),
            if_match=precondition.if_match,
            if_none_match=precondition.if_none_match,
            intents=self._intents(caller, scope, at, has_messages=bool(messages), has_memories=bool(draft.memories)),
        )
        live_tokens = sum(message.token_count for message in session.messages)
        if await self._summary_requested(scope, live_tokens, window):
            session = replace(session, summarization=Summarization.PENDING)
        self._wake()
        return self._view(session, window, truncate=False)

    async def append(
        self,
        caller: Principal,
        *,
        session_id: str,
        messages: Sequence[Message],
        namespace: str | None = None,
        user_id: str | None = None,
        window: Window = NO_WINDOW,
        precondition: Precondition = UNCONDITIONAL,
    ) -> Appended:
        """Add messages after what is there, creating the session. Safe to repeat: a known id is counted, not stored twice."""
        scope = self._exact(caller, session_id, namespace, user_id)
        at = self._now()
        appended = await self._store.append(
            scope,
            await self._checked(messages, at),
            at=at,
            epoch=self._new_id(),
            live_max=LIMITS.messages_per_session_max,
            if_match=precondition.if_match,
            intents=self._intents(caller, scope, at, has_messages=True, has_memories=False),
        )
        await self._summary_requested(scope, appended.live_tokens, window)
        self._wake()
        return appended

    async def patch(
        self,
        caller: Principal,
        *,
        session_id: str,
        patch: SessionPatch,
        namespace: str | None = None,
        user_id: str | None = None,
        window: Window = NO_WINDOW,
        precondition: Precondition = UNCONDITIONAL,
    ) -> SessionView:
        """Change the named attributes of an existing session. Raises InvalidInput, NotFound, StaleRevision."""
        if patch.strategy is not None:
            checked(patch.strategy)
        scope = self._exact(caller, session_id, namespace, user_id)
        session = await self._store.patch(scope, patch, at=self._now(), if_match=precondition.if_match)
        if session is None:
            raise _absent(session_id)
        return self._view(session, window, truncate=False)

    async def messages(
        self,
        caller: Principal,
        *,
        session_id: str,
        namespace: str | None = None,
        user_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        descending: bool = False,
        include_archived: bool = False,
    ) -> MessagePage:
        """A page through a session's messages in order of arrival. Raises NotFound, AmbiguousScope, InvalidInput (cursor)."""
        exact = self._exact(caller, session_id, namespace, user_id)
        scope: Scope | None = exact
        for attempt in range(2):
            if scope is None:
                break
            page = await self._store.page(
                scope,
                now=self._now(),
                limit=limit,
                cursor=cursor,
                descending=descending,
                include_archived=include_archived,
            )
            if page is not None:
                return page
            scope = await self._by_parts(caller, session_id, namespace, user_id) if attempt == 0 else None
        raise _absent(session_id)

    async def delete(
        self,
        caller: Principal,
        *,
        session_id: str,
        namespace: str | None = None,
        user_id: str | None = None,
        cascade: bool = False,
        precondition: Precondition = UNCONDITIONAL,
    ) -> None:
        """Remove the session with its messages, message memories and pending work; nothing happens when there is none.
        Raises AmbiguousScope when the parts that were named leave several, StaleRevision."""
        try:
            exact = self._exact(caller, session_id, namespace, user_id)
        except NotFound:
            return
        if not await self._delete_exact(caller, exact, cascade, precondition.if_match):
            scope = await self._by_parts(caller, session_id, namespace, user_id)
            if scope is not None:
                await self._delete_exact(caller, scope, cascade, precondition.if_match)

    async def list_sessions(
        self,
        caller: Principal,
        *,
        namespace: str | None = None,
        user_id: str | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> SessionListing:
        """Ids of the visible sessions, most recently updated first, with the true total."""
        try:
            selector = caller.selector(namespace, user_id)
        except OutsideReach:
            return SessionListing(session_ids=(), total=0)
        return await self._store.list(selector, now=self._now(), limit=limit, offset=offset)

    async def _delete_exact(
        self, caller: Principal, scope: Scope, cascade: bool, if_match: Sequence[str] | None
    ) -> bool:
        actor, at = caller.subject, self._now()
        deleted = await self._store.delete(
            scope, cascade=cascade, operation_id=self._new_id(), actor=actor, at=at, if_match=if_match
        )
        audit.erased(subject=caller.subject, tenant=caller.tenant, what="sessions", count=int(deleted))
        return deleted

    def _exact(self, caller: Principal, session_id: str, namespace: str | None, user_id: str | None) -> Scope:
        try:
            owner = caller.owner(namespace, user_id)
        except OutsideReach:
            raise _absent(session_id) from None
        return replace(owner, session_id=session_id)

    def _reachable(self, caller: Principal, scope: Scope) -> None:
        try:
            caller.owner(scope.namespace, scope.user_id)
        except OutsideReach:
            raise NotFound("the namespace or user of a memory was not found") from None

    async def _by_parts(
        self, caller: Principal, session_id: str, namespace: str | None, user_id: str | None
    ) -> Scope | None:
        found = await self._store.find(
            caller.selector(namespace, user_id), session_id=session_id, now=self._now(), limit=2
        )
        if len(found) > 1:
            raise AmbiguousScope(
                f"several sessions have the id {session_id}: name the one you mean with user_id or namespace"
            )
        return found[0] if found else None

    async def _checked(self, messages: Sequence[Message], at: datetime) -> tuple[Message, ...]:
        """The messages with their token counts, other work being let in between.

        Raises BadRequest (blank), InvalidInput (future, id twice).
        """
        latest = at + timedelta(seconds=self._policy.max_future_timestamp_s)
        seen: set[str] = set()
        checked: list[Message] = []
        for index, message in enumerate(messages):
            if index and index % _CHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if not message.content.strip():
                raise BadRequest(f"Message content cannot be empty (message ID: {message.id})")
            if message.created_at > latest:
                raise InvalidInput(
                    f"Value error, created_at cannot be more than {self._policy.max_future_timestamp_s} seconds in the "
                    f"future. Received: {message.created_at.isoformat()}, Max allowed (with "
                    f"{self._policy.max_future_timestamp_s}s tolerance): {latest.isoformat()}",
                    field=("body", "messages", index, "created_at"),
                )
            if message.id in seen:
                raise InvalidInput(
                    f"the message id {message.id} is there twice; ids are unique within a session",
                    field=("body", "messages", index, "id"),
                )
            seen.add(message.id)
            checked.append(replace(message, token_count=self._tokenizer.count(f"{message.role}: {message.content}")))
        return tuple(checked)

    def _intents(
        self, caller: Principal, scope: Scope, at: datetime, *, has_messages: bool, has_memories: bool
    ) -> tuple[Intent, ...]:
        """What the background has to do after this write, recorded in the same commit."""
        if not self._policy.promotes:
            return ()
        intents: list[Intent] = []
        if has_memories or (has_messages and self._policy.indexes_messages):
            intents.append(_session_intent(IntentKind.PROMOTE_WORKING_MEMORY, scope, author=caller.subject))
        if has_messages and self._policy.extracts:
            quiet_at = at + timedelta(seconds=self._policy.extraction_debounce_s)
            intents.append(
                _session_intent(IntentKind.RUN_DELAYED_EXTRACTION, scope, not_before=quiet_at, author=caller.subject)
            )
        return tuple(intents)

    async def _summary_requested(self, scope: Scope, live_tokens: int, window: Window) -> bool:
        """Ask for a summary when the session has passed its threshold; asking again while one is on its way makes it look
        again at the end, and wakes one that failed for good."""
        if not self._policy.summarizes:
            return False
        tokens = window.tokens or DEFAULT_WINDOW_TOKENS
        if not passes_threshold(live_tokens, tokens, self._policy.summarization_threshold):
            return False
        intent = _session_intent(IntentKind.SUMMARIZE_SESSION, scope, window=tokens)
        return await self._store.request_summary(scope, intent, at=self._now())

    def _view(self, session: Session, window: Window, *, truncate: bool = True) -> SessionView:
        tokens = window.tokens
        if tokens is not None and truncate:
            kept = newest_that_fit(session.messages, tokens)
            if len(kept) != len(session.messages):
                session = replace(session, messages=tuple(kept))
        used, until = percentages(session.messages, tokens, self._policy.summarization_threshold)
        return SessionView(session=session, percentage_used=used, percentage_until_summarization=until)


def _session_intent(kind: IntentKind, scope: Scope, *, not_before: datetime | None = None, **payload: object) -> Intent:
    assert scope.session_id is not None
    return Intent(
        kind=kind.value,
        key=scope.session_id,
        tenant=scope.tenant,
        namespace=scope.namespace,
        user_id=scope.user_id,
        payload={"session_id": scope.session_id, **payload},
        not_before=not_before,
    )


def _refuse_twice(memories: Sequence[Memory], scope: Scope) -> None:
    """Two structured memories that would be promoted to one identity are a mistake of the client: one would be lost."""
    seen: set[tuple[str | None, str | None, str]] = set()
    for index, memory in enumerate(memories):
        key = (memory.scope.namespace or scope.namespace, memory.scope.user_id or scope.user_id, memory.id)
        if key in seen:
            raise InvalidInput(
                f"the memory id {memory.id} is there twice for the same owner; ids are unique within a namespace and user",
                field=("body", "memories", index, "id"),
            )
        seen.add(key)


def _absent(session_id: str) -> NotFound:
    return NotFound(f"Session {session_id} not found")
