"""Pending work that the store remembers: written with the change that causes it, claimed under a lease, done at least once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.jobs import ClaimedIntent, PendingWork
from agent_memory_server.domain.operations import Intent


class Outbox(Protocol):
    async def request(self, intents: Sequence[Intent], /, *, at: datetime) -> None:
        """Ask for work that no other change causes, in one commit. What is waiting already is not doubled."""
        ...

    async def claim(
        self, *, kinds: Sequence[str], now: datetime, lease_s: float, limit: int
    ) -> Sequence[ClaimedIntent]:
        """Take due intents that nobody holds, oldest first, for ``lease_s`` seconds.

        A claim that ran out without an outcome counts as a failed attempt: whoever worked on it died.
        """
        ...

    async def complete(self, intent: ClaimedIntent, /, *, result: Mapping[str, Any] | None = None) -> None:
        """Remove it, unless it was asked for again since it was claimed: then it is pending anew.

        ``result`` is kept with the tasks that follow it.
        """
        ...

    async def fail(self, intent: ClaimedIntent, /, *, reason: str, retry_at: datetime | None) -> None:
        """Count a failed attempt; ``retry_at`` None makes it a dead letter with its reason."""
        ...

    async def renew(self, intent: ClaimedIntent, /, *, now: datetime, lease_s: float) -> None:
        """Hold a claim longer, until ``now + lease_s``: this process still works on it."""
        ...

    async def release(self, intent: ClaimedIntent, /) -> None:
        """Give a claim back without an outcome (the process stops): another may take it at once. No attempt is counted."""
        ...

    async def next_due(self, *, now: datetime, kinds: Sequence[str] | None = None) -> datetime | None:
        """When the next pending intent (of these kinds) is due (``now`` or earlier = at once); None when none is pending."""
        ...

    async def pending(self, selector: ScopeSelector, /, *, now: datetime) -> PendingWork:
        """What is pending within the selector."""
        ...

    async def depth(self, *, now: datetime) -> PendingWork:
        """What is pending in the whole store: for an operator's log, never for a caller."""
        ...
