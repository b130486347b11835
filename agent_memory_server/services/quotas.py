"""How much one caller may use: requests, and tokens of language models. A bucket for each, which refills steadily, so that
short bursts pass.

Each process counts for itself: behind several, a caller gets so much from each.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from agent_memory_server.domain.identity import Principal
from agent_memory_server.errors import TooManyRequests

CALLERS_MAX = 10_000
"""Callers whose buckets are remembered; the one that was not seen for longest is forgotten, and begins with a full one."""

_Account = tuple[str, str]
_ACCOUNT: ContextVar[_Account] = ContextVar("agent_memory_account", default=("", ""))


def on_account_of(tenant: str, subject: str) -> None:
    """From here on, in this request or piece of background work, models are asked for this caller."""
    _ACCOUNT.set((tenant, subject))


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class _Buckets:
    """Full ones hold what may be used at once; each refills in ``period_s``."""

    def __init__(self, full: int, period_s: float, clock_s: Callable[[], float]) -> None:
        self._full = float(full)
        self._per_s = full / period_s
        self._clock_s = clock_s
        self._held: OrderedDict[_Account, _Bucket] = OrderedDict()

    def of(self, account: _Account) -> _Bucket:
        """The caller's bucket as it is now."""
        now = self._clock_s()
        bucket = self._held.get(account)
        if bucket is None:
            bucket = self._held[account] = _Bucket(self._full, now)
            if len(self._held) > CALLERS_MAX:
                self._held.popitem(last=False)
        self._held.move_to_end(account)
        bucket.left = min(self._full, bucket.left + (now - bucket.at) * self._per_s)
        bucket.at = now
        return bucket

    def seconds_until(self, wanted: float, bucket: _Bucket) -> int:
        return max(1, math.ceil((wanted - bucket.left) / self._per_s))


class RequestQuota:
    """``per_minute`` None: no limit."""

    def __init__(self, per_minute: int | None, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._buckets = None if per_minute is None else _Buckets(per_minute, 60.0, clock_s)

    def admit(self, caller: Principal) -> None:
        """Count one request. Raises TooManyRequests that says when the next one will pass."""
        if self._buckets is None:
            return
        bucket = self._buckets.of((caller.tenant, caller.subject))
        if bucket.left < 1:
            raise TooManyRequests(
                f"this credential may make {self._per_minute} requests a minute: repeat the request later",
                retry_after_s=self._buckets.seconds_until(1, bucket),
            )
        bucket.left -= 1


class ModelTokenQuota:
    """``per_hour`` None: no limit. What an answer will cost is known afterwards: one call may overdraw, the next one waits."""

    def __init__(self, per_hour: int | None, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._per_hour = per_hour
        self._buckets = None if per_hour is None else _Buckets(per_hour, 3_600.0, clock_s)

    def check(self) -> None:
        """Raises TooManyRequests while whoever the work is for has used up its tokens."""
        if self._buckets is None:
            return
        bucket = self._buckets.of(_ACCOUNT.get())
        if bucket.left <= 0:
            raise TooManyRequests(
                f"this credential may use {self._per_hour} tokens of language models an hour: repeat the request later",
                retry_after_s=self._buckets.seconds_until(1, bucket),
            )

    def charge(self, tokens: int) -> None:
        if self._buckets is not None:
            self._buckets.of(_ACCOUNT.get()).left -= tokens
