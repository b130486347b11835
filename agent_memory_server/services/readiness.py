"""Whether the server can do its work now, and if not, what an operator has to do."""

from __future__ import annotations

from dataclasses import dataclass

from agent_memory_server.errors import MemoryServerError
from agent_memory_server.ports.stores import Check, Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    ready: bool
    checks: tuple[Check, ...]


class ReadinessService:
    def __init__(self, *, engine: Engine, embedding_model: str) -> None:
        self._engine = engine
        self._embedding_model = embedding_model

    async def check(self) -> Readiness:
        """Probe the store; never raises."""
        try:
            checks = await self._engine.checks()
        except MemoryServerError as error:
            checks = (Check(name="store", ok=False, detail=error.detail),)
        model = Check(name="embedding_model", ok=True, detail=self._embedding_model)
        return Readiness(ready=all(check.ok for check in checks), checks=(*checks, model))
