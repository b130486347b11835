"""``GET /metrics``: what this process did and what the store has to do, in the format of Prometheus.

Labels are route templates, methods, statuses, purposes and model names: never an id, a user or a text.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.types import Receive, Scope, Send

from agent_memory_server.api.answers import NO_STORE, Answer
from agent_memory_server.api.dependencies import Runtime, caller_of
from agent_memory_server.app import MemoryApp
from agent_memory_server.domain.identity import Permission
from agent_memory_server.errors import MemoryServerError
from agent_memory_server.services.language import UsageAccount

PATH = "/metrics"
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNKNOWN = -1.0
"""What a gauge says while the store does not answer."""


class Metrics:
    """``api.server.Beside``: one for each API of a process. ``runtime.observe`` is told of every request."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "agent_memory_requests",
            "Requests by route template.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "agent_memory_request_seconds",
            "How long requests took.",
            ("method", "route"),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._pending = Gauge("agent_memory_pending", "Work still to be done, of all tenants.", registry=self._registry)
        self._oldest = Gauge(
            "agent_memory_pending_oldest_seconds", "How long the oldest of it has waited.", registry=self._registry
        )
        self._dead = Gauge("agent_memory_dead_letters", "Work that failed for good.", registry=self._registry)
        self._ready = Gauge("agent_memory_ready", "1 while the readiness checks hold.", registry=self._registry)
        self._usage: UsageAccount | None = None
        ProcessCollector(registry=self._registry)
        runtime.observe = self.observe

    def takes(self, scope: Scope) -> bool:
        return scope["type"] == "http" and scope["path"] == PATH and scope["method"] in ("GET", "HEAD")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        await caller_of(scope, self._runtime, Permission.ADMIN, action="read the metrics")
        body = await self._rendered(self._runtime.app)
        await Answer(body=body, media_type=CONTENT_TYPE_LATEST.encode(), headers=NO_STORE).send(send)

    async def close(self) -> None:
        """Nothing was begun."""

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        if method not in _METHODS:
            method = "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    async def _rendered(self, app: MemoryApp) -> bytes:
        if self._usage is None:
            self._usage = app.model_usage
            self._registry.register(_ModelUsage(app.model_usage))
        try:
            depth = await app.outbox.depth(now=app.now())
            self._pending.set(depth.pending)
            self._oldest.set(depth.oldest_age_s)
            self._dead.set(depth.dead)
        except MemoryServerError:
            for gauge in (self._pending, self._oldest, self._dead):
                gauge.set(_UNKNOWN)
        self._ready.set(1.0 if (await app.readiness.check()).ready else 0.0)
        return generate_latest(self._registry)


class _ModelUsage(Collector):
    """Calls and tokens of this process, read when somebody asks."""

    def __init__(self, account: UsageAccount) -> None:
        self._account = account

    def collect(self) -> list[CounterMetricFamily]:
        calls = CounterMetricFamily(
            "agent_memory_model_calls", "Calls to language models.", labels=("purpose", "model", "usable")
        )
        tokens = CounterMetricFamily(
            "agent_memory_model_tokens", "Tokens in and out.", labels=("purpose", "model", "direction")
        )
        for (purpose, model), total in self._account.totals.items():
            calls.add_metric((str(purpose), model, "true"), total.calls - total.unusable)
            calls.add_metric((str(purpose), model, "false"), total.unusable)
            tokens.add_metric((str(purpose), model, "input"), total.input_tokens)
            tokens.add_metric((str(purpose), model, "output"), total.output_tokens)
        return [calls, tokens]
