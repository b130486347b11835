"""GET /v1/health, GET /v1/ready."""

from __future__ import annotations

import time

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.operation import HealthCheckResponse, ReadinessResponse


async def health(call: Call) -> Answer:
    """The process is alive: answered without looking at anything else."""
    del call
    return answer({"now": time.time_ns() // 1_000_000})


async def ready(call: Call) -> Answer:
    """Whether the server can do its work now; 503 with what an operator has to do when it cannot."""
    readiness = await call.app.readiness.check()
    wire = {
        "ready": readiness.ready,
        "checks": {check.name: {"ok": check.ok, "detail": check.detail} for check in readiness.checks},
    }
    if readiness.ready:
        return answer(wire)
    return answer(wire, status=503, headers=((b"retry-after", b"1"),))


OPERATIONS = (
    Operation(method="GET", path="/v1/health", handler=health, permission=None, answers=HealthCheckResponse),
    Operation(method="GET", path="/v1/ready", handler=ready, permission=None, answers=ReadinessResponse),
)
