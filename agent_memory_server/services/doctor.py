"""A look at everything that tends to go wrong, each with what was found and what mends it. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agent_memory_server.errors import MemoryServerError
from agent_memory_server.ports.access_tokens import AccessTokenStore
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.outbox import Outbox
from agent_memory_server.services.presence import WorkerPresence
from agent_memory_server.services.readiness import ReadinessService

WAITING_LONG_S = 300.0
_LOOKED_AT = 1_000
_CHECK_REMEDIES = {
    "store-space": "make room on the disk, or let agent-memory purge give back what deleted data held",
    "store-read": "see that the data's folder, or Redis, is there and readable; then run agent-memory doctor again",
    "store-write": "see that nothing else holds the data, and that its disk takes writes",
    "store-migration": "agent-memory migrate-memories",
}


class Verdict(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``remedy``: the command or the step that mends it; None where nothing has to be mended."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str | None = None


class DoctorService:
    def __init__(
        self,
        *,
        readiness: ReadinessService,
        memories: MemoryStore,
        outbox: Outbox,
        presence: WorkerPresence,
        access_tokens: AccessTokenStore,
        model: str,
        authenticates: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._readiness = readiness
        self._memories = memories
        self._outbox = outbox
        self._presence = presence
        self._access_tokens = access_tokens
        self._model = model
        self._authenticates = authenticates
        self._now = now

    async def examine(self) -> Sequence[Finding]:
        """Every finding, good ones too; what cannot be looked at because the store is down is a finding."""
        ready = await self._readiness.check()
        found = [
            Finding(
                name=check.name.replace("_", "-"),
                verdict=Verdict.GOOD if check.ok else Verdict.BAD,
                detail=check.detail,
                remedy=None if check.ok else _CHECK_REMEDIES.get(check.name),
            )
            for check in ready.checks
        ]
        if not ready.ready:
            return found
        for look in (self._work, self._vectors, self._tokens):
            try:
                found += await look()
            except MemoryServerError as error:
                found.append(Finding(name="store", verdict=Verdict.BAD, detail=error.detail))
        return found

    async def _work(self) -> Sequence[Finding]:
        depth = await self._outbox.depth(now=self._now())
        somebody = await self._presence.is_anybody_there()
        found = [self._waiting(depth.pending, depth.oldest_age_s, somebody)]
        if depth.dead:
            said = f"failed for good: {depth.dead}; nothing is lost, but it is not done"
            remedy = "agent-memory tasks --status dead says why; mend that, then agent-memory tasks --replay ID"
            found.append(Finding(name="dead-letters", verdict=Verdict.BAD, detail=said, remedy=remedy))
        else:
            found.append(Finding(name="dead-letters", verdict=Verdict.GOOD, detail="none"))
        return found

    def _waiting(self, pending: int, oldest_age_s: float, somebody: bool) -> Finding:
        if not pending:
            working = "somebody works" if somebody else "nobody works at the moment"
            return Finding(name="background-work", verdict=Verdict.GOOD, detail=f"nothing is waiting; {working}")
        said = f"waiting: {pending}, the oldest for {oldest_age_s:.0f} s"
        if not somebody:
            remedy = "start agent-memory api, or agent-memory task-worker where workers share a Redis"
            return Finding(
                name="background-work", verdict=Verdict.BAD, detail=f"{said}; nobody works through them", remedy=remedy
            )
        if oldest_age_s > WAITING_LONG_S:
            remedy = "agent-memory tasks says what it is; start another agent-memory task-worker if it only is much"
            return Finding(name="background-work", verdict=Verdict.WARNING, detail=said, remedy=remedy)
        return Finding(name="background-work", verdict=Verdict.GOOD, detail=said)

    async def _vectors(self) -> Sequence[Finding]:
        missing = await self._memories.without_vector(model=self._model, limit=_LOOKED_AT)
        if not missing:
            return [Finding(name="vectors", verdict=Verdict.GOOD, detail=f"every memory has one of {self._model}")]
        many = f"{len(missing)} or more" if len(missing) >= _LOOKED_AT else str(len(missing))
        return [
            Finding(
                name="vectors",
                verdict=Verdict.WARNING,
                detail=f"{many} memories have no vector of {self._model}: they are found by words alone",
                remedy="agent-memory rebuild-index (the background does it too, where the model answers)",
            )
        ]

    async def _tokens(self) -> Sequence[Finding]:
        if not self._authenticates:
            said = "off: fine on this machine alone"
            return [Finding(name="authentication", verdict=Verdict.GOOD, detail=said)]
        tokens = await self._access_tokens.list()
        good = [token for token in tokens if not token.has_expired(self._now())]
        if tokens and not good:
            return [
                Finding(
                    name="authentication",
                    verdict=Verdict.WARNING,
                    detail=f"on; all {len(tokens)} access tokens have expired",
                    remedy='agent-memory token add --description "what it is for"',
                )
            ]
        return [Finding(name="authentication", verdict=Verdict.GOOD, detail=f"on; {len(good)} access tokens are valid")]
