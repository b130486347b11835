"""What handlers get to work with: the opened services, and who is calling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from starlette.types import Scope

from agent_memory_server.api.failures import RecentFailures
from agent_memory_server.api.local_callers import check_local_caller
from agent_memory_server.app import MemoryApp
from agent_memory_server.domain.identity import Permission, Principal
from agent_memory_server.errors import MemoryServerError, StoreUnavailable

_log = structlog.stdlib.get_logger(__name__)


async def caller_of(scope: Scope, runtime: Runtime, permission: Permission, *, action: str) -> Principal:
    """Who is calling, and that they may do this: the one place of REST that decides it, before anything else is read.

    Raises NotAuthenticated, NotPermitted, TooManyRequests.
    """
    if runtime.local_callers_only:
        check_local_caller(scope)
    authentication = runtime.app.authentication
    caller = await authentication.authenticate(scope["headers"])
    scope["tenant"] = caller.tenant
    authentication.require(caller, permission, action=action)
    return caller


class Afterwards:
    """Small work that is done after the answer and may be lost: failures are logged, shutdown waits for what has begun."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, object], name: str) -> None:
        task = asyncio.create_task(self._quietly(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for everything that is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def _quietly(self, work: Coroutine[Any, Any, object], name: str) -> None:
        try:
            await work
        except MemoryServerError as error:
            _log.warning("work after an answer failed", work=name, reason=error.detail)
        except Exception:  # noqa: BLE001 - nobody awaits this task: the log is where its failure is seen
            _log.exception("work after an answer failed unexpectedly", work=name)


class Runtime:
    """What lives as long as the server: the services (from the start of its lifespan to its end) and its limits."""

    def __init__(self, *, body_bytes_max: int, app: MemoryApp | None = None, local_callers_only: bool = False) -> None:
        self.body_bytes_max = body_bytes_max
        self.local_callers_only = local_callers_only
        """Nobody is asked for a credential, and nobody said that everybody may come in."""
        self.afterwards = Afterwards()
        self.failures = RecentFailures()
        self.opened = app
        self.observe: Callable[[str, str, int, float], None] | None = None
        """Told of every answered request: method, route template, status, seconds."""

    @property
    def app(self) -> MemoryApp:
        """Raises StoreUnavailable before the lifespan has begun and after it has ended."""
        if self.opened is None:
            raise StoreUnavailable("the server is starting or stopping")
        return self.opened
