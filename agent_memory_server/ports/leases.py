"""Named, expiring claims to do something alone, across processes."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Leases(Protocol):
    async def acquire(self, name: str, /, *, holder: str, now: datetime, ttl_s: float) -> bool:
        """True when ``holder`` has the lease until ``now + ttl_s``: it was free, expired, or its own (then it is renewed)."""
        ...

    async def release(self, name: str, /, *, holder: str) -> None:
        """Give it up; nothing happens when another holds it."""
        ...
