"""What operators and tests ask: is the process alive, can it work, is work pending."""

from __future__ import annotations

from agent_memory_server.api.schemas.values import Body


class HealthCheckResponse(Body):
    """``now``: milliseconds since the epoch."""

    now: int


class ReadinessCheck(Body):
    ok: bool
    detail: str


class ReadinessResponse(Body):
    ready: bool
    checks: dict[str, ReadinessCheck]


class PendingResponse(Body):
    """Work of the caller's scope that is still to be done, and what failed for good and can be replayed."""

    pending: int
    oldest_age_s: float
    dead: int
