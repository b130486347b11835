"""A full set of stores over one engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from agent_memory_server.ports.access_tokens import AccessTokenStore
from agent_memory_server.ports.clock import ClockStore
from agent_memory_server.ports.comparisons import ComparisonStore
from agent_memory_server.ports.jobs import JobStore
from agent_memory_server.ports.journal import Journal
from agent_memory_server.ports.leases import Leases
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.outbox import Outbox
from agent_memory_server.ports.overviews import Overviews
from agent_memory_server.ports.schedules import ScheduleStore
from agent_memory_server.ports.summary_views import SummaryViewStore
from agent_memory_server.ports.transfer import Holdings, Ledger
from agent_memory_server.ports.webhooks import WebhookStore
from agent_memory_server.ports.working_memory import WorkingMemoryStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One readiness check; ``detail`` tells an operator what is wrong and what to do."""

    name: str
    ok: bool
    detail: str


@runtime_checkable
class Purges(Protocol):
    """What an engine may be able to do beside: leave nothing of what was deleted in its files."""

    async def purge(self) -> str:
        """Write the data files anew with only what is there now; returns what was done, as a sentence for an operator.

        May take long and doubles the room on disk meanwhile. Raises StoreUnavailable and its kin; then nothing is lost.
        """
        ...


class Engine(Protocol):
    async def checks(self) -> tuple[Check, ...]:
        """Probe the engine (a real read and, where cheap, a write); answers within two seconds."""
        ...

    def describe(self) -> str:
        """Where the data lives, for a banner: a path or an address without credentials."""
        ...

    async def close(self) -> None:
        """Finish acknowledged work and release everything."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What an engine opens to. All parts share its transactions' durability and its failures."""

    engine: Engine
    memories: MemoryStore
    working_memory: WorkingMemoryStore
    outbox: Outbox
    journal: Journal
    leases: Leases
    jobs: JobStore
    summary_views: SummaryViewStore
    schedules: ScheduleStore
    comparisons: ComparisonStore
    clock: ClockStore
    webhooks: WebhookStore
    overviews: Overviews
    access_tokens: AccessTokenStore
    holdings: Holdings | None = None
    """None: an engine whose data cannot be copied."""
    ledger: Ledger | None = None
    """None: an engine that nothing can be carried into."""
