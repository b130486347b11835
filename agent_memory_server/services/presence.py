"""Whether somebody works through this store's pending work now, so that a command knows if it has to do its job itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from agent_memory_server.ports.leases import Leases

LEASE = "somebody works through pending work"
TTL_S = 15.0
RENEW_S = 5.0


class WorkerPresence:
    """One lease that any worker holds: while there is one, somebody does."""

    def __init__(self, *, leases: Leases, holder: str, now: Callable[[], datetime]) -> None:
        self._leases = leases
        self._holder = holder
        self._now = now

    async def announce(self) -> None:
        """To be repeated every ``RENEW_S`` seconds by whoever works; that another holds the lease is as good."""
        await self._leases.acquire(LEASE, holder=self._holder, now=self._now(), ttl_s=TTL_S)

    async def leave(self) -> None:
        await self._leases.release(LEASE, holder=self._holder)

    async def is_anybody_there(self) -> bool:
        """True while a worker announces itself, and up to ``TTL_S`` seconds after one was killed."""
        if not await self._leases.acquire(LEASE, holder=self._holder, now=self._now(), ttl_s=TTL_S):
            return True
        await self.leave()
        return False
