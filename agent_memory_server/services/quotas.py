"""How many requests one caller may make: a bucket for each credential that refills steadily, so that short bursts pass.

Each process counts for itself: behind several, a caller gets so many from each.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from agent_memory_server.domain.identity import Principal
from agent_memory_server.errors import TooManyRequests

CALLERS_MAX = 10_000
"""Callers whose buckets are remembered; the one that was not seen for longest is forgotten, and begins with a full one."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class RequestQuota:
    """``per_minute`` None: no limit."""

    def __init__(self, per_minute: int | None, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock_s = clock_s
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def admit(self, caller: Principal) -> None:
        """Count one request. Raises TooManyRequests that says when the next one will pass."""
        if self._per_minute is None:
            return
        now, per_s = self._clock_s(), self._per_minute / 60
        bucket = self._bucket(caller, now)
        bucket.left = min(float(self._per_minute), bucket.left + (now - bucket.at) * per_s)
        bucket.at = now
        if bucket.left < 1:
            raise TooManyRequests(
                f"this credential may make {self._per_minute} requests a minute: repeat the request later",
                retry_after_s=max(1, math.ceil((1 - bucket.left) / per_s)),
            )
        bucket.left -= 1

    def _bucket(self, caller: Principal, now: float) -> _Bucket:
        key = (caller.tenant, caller.subject)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(float(self._per_minute or 0), now)
            if len(self._buckets) > CALLERS_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return bucket
