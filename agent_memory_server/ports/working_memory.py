"""Working memory as a store offers it: a message is a row, a session is a view over rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Intent
from agent_memory_server.domain.sessions import (
    Appended,
    Backlog,
    Message,
    MessagePage,
    Session,
    SessionDraft,
    SessionGuard,
    SessionListing,
    SessionPatch,
)


class WorkingMemoryStore(Protocol):
    """Every ``scope`` has its session id set and is exact; expired sessions are absent everywhere.

    Writes are durable when they return and carry their intents in the same commit. ``at`` is the time of the write.
    """

    async def find(
        self, selector: ScopeSelector, /, *, session_id: str, now: datetime, limit: int = 2
    ) -> Sequence[Scope]:
        """Scopes within the selector that have a live session of this id."""
        ...

    async def load(self, scope: Scope, /, *, now: datetime, recent_messages: int | None = None) -> Session | None:
        """The session with its live messages in order of arrival; ``recent_messages`` keeps the newest N by
        (created_at, arrival), returned oldest first."""
        ...

    async def replace(
        self,
        draft: SessionDraft,
        /,
        *,
        at: datetime,
        epoch: str,
        if_match: Sequence[str] | None = None,
        if_none_match: bool = False,
        intents: Sequence[Intent] = (),
    ) -> Session:
        """Create the session (with this new ``epoch``) or replace its live messages, memories and attributes.

        Archived messages stay, and an archived message's id in the draft is left out of the live ones. While there are
        archived messages, a draft without context keeps the stored one: it is their summary (a patch can clear it). The
        server's marks (extracted, persisted) of messages that keep id, role and content are kept. ``ttl_seconds`` None
        removes an earlier time to live. Raises StaleRevision when ``if_match`` (ETags; ``"*"`` = any existing) or
        ``if_none_match`` (must not exist) does not hold.
        """
        ...

    async def append(
        self,
        scope: Scope,
        messages: Sequence[Message],
        /,
        *,
        at: datetime,
        epoch: str,
        live_max: int,
        if_match: Sequence[str] | None = None,
        intents: Sequence[Intent] = (),
    ) -> Appended:
        """Insert messages after the existing ones, creating the session if there is none. A known id (live or archived) with
        equal role and content counts as a duplicate; with other content raises MessageConflict and nothing is applied.
        More than ``live_max`` live messages raise InvalidInput. A time to live starts anew. O(new messages)."""
        ...

    async def patch(
        self,
        scope: Scope,
        patch: SessionPatch,
        /,
        *,
        at: datetime,
        if_match: Sequence[str] | None = None,
        intents: Sequence[Intent] = (),
    ) -> Session | None:
        """Apply the named fields; None when there is no such session."""
        ...

    async def page(
        self,
        scope: Scope,
        /,
        *,
        now: datetime,
        limit: int,
        cursor: str | None = None,
        descending: bool = False,
        include_archived: bool = False,
    ) -> MessagePage | None:
        """Messages in order of arrival (or its reverse); None when there is no such session.

        Raises InvalidInput for a cursor that this store did not make."""
        ...

    async def delete(
        self,
        scope: Scope,
        /,
        *,
        cascade: bool = False,
        operation_id: str,
        actor: str,
        at: datetime,
        if_match: Sequence[str] | None = None,
    ) -> bool:
        """Remove the session, its messages (archived too), its message memories (``extraction_strategy`` "message") and its
        pending work, scrubbing them from the journal. ``cascade`` also removes the memories extracted from it. False when
        there was none. Raises StaleRevision when there is one that ``if_match`` does not mean; nothing is removed then."""
        ...

    async def list(self, selector: ScopeSelector, /, *, now: datetime, limit: int, offset: int = 0) -> SessionListing:
        """Session ids, most recently updated first, then by id."""
        ...

    async def unpromoted(self, guard: SessionGuard, /, *, now: datetime, limit: int) -> Sequence[Message]:
        """Live or archived messages that are not copied to long-term memory yet, oldest first; empty when the guard fails."""
        ...

    async def mark_promoted(
        self, guard: SessionGuard, /, *, message_ids: Sequence[str], memory_ids: Sequence[str], at: datetime
    ) -> bool:
        """Set ``persisted_at`` on these messages and structured memories. Changes neither content nor ETag; False when the
        guard fails."""
        ...

    async def unextracted(self, guard: SessionGuard, /, *, now: datetime, limit: int, context: int) -> Backlog:
        """Up to ``limit`` live or archived messages without the extracted mark, with up to ``context`` messages that came
        right before the first of them; empty when the guard fails."""
        ...

    async def mark_extracted(self, guard: SessionGuard, /, *, message_ids: Sequence[str]) -> bool:
        """Set the extracted mark. Changes neither content nor ETag; False when the guard fails."""
        ...

    async def archive(
        self,
        guard: SessionGuard,
        /,
        *,
        messages: Sequence[Message],
        context: str,
        if_context: str | None,
        tokens: int,
        at: datetime,
    ) -> bool:
        """Make these messages archived and ``context`` the summary, in one step, as a new content revision.

        False, and nothing changed, when the guard fails, the stored context is no longer ``if_context``, or one of the
        messages is not live any more with this role and content: the summary would not be of what is archived.
        """
        ...

    async def request_summary(self, scope: Scope, intent: Intent, /, *, at: datetime) -> bool:
        """Record the intent and show ``summarization: pending``; False when there is no such session."""
        ...

    async def summarized(self, guard: SessionGuard, /) -> bool:
        """Show ``summarization: none`` again. Changes neither content nor ETag; False when the guard fails."""
        ...

    async def purge_expired(self, *, now: datetime, limit: int) -> int:
        """Remove up to ``limit`` expired sessions for good; returns how many."""
        ...


MessageRow = tuple[str, str, str, datetime, str | None, datetime | None, bool]
"""Id, role, content, created_at, name, persisted_at, extracted. These times are in UTC and say no time zone: they are only to be
written out."""


@runtime_checkable
class ShowsRows(Protocol):
    """What an engine may be able to do beside: a session that is only to be shown, its messages as rows."""

    async def load_rows(
        self, scope: Scope, /, *, now: datetime, recent_messages: int | None = None
    ) -> tuple[Session, Sequence[MessageRow]] | None:
        """As ``load``, without building the messages: the session has none, and its rows come beside it in the same order."""
        ...
