"""Work that can be repeated is done again after a wait when a store is away for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from agent_memory_server.errors import StoreCorrupt, StoreUnavailable

Result = TypeVar("Result")
WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Between attempts, while a store restarts, loads, or builds its index."""

_log = structlog.stdlib.get_logger(__name__)


async def patiently(
    work: Callable[[], Awaitable[Result]],
    *,
    waits_s: Sequence[float] = WAITS_S,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Result:
    """Raises what the last attempt raised, and at once what waiting does not change."""
    for wait_s in waits_s:
        try:
            return await work()
        except StoreCorrupt:
            raise
        except StoreUnavailable as error:
            _log.warning("a store does not answer: waiting", reason=error.detail, wait_s=wait_s)
            await sleep(wait_s)
    return await work()
