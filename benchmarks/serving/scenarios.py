"""What is measured, against which bare route, and what is promised (issue 2, "Speed and memory")."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One line of the table. Targets are None where nothing is promised."""

    title: str
    workload: str
    clients: int
    bare: str
    """The bare route with as many bytes: bare_read, bare_ask, or bare_durable (which fsyncs the request's bytes)."""
    writes: bool = False
    per_s_min: float | None = None
    p50_ms_max: float | None = None
    share_of_fsync_min: float | None = None
    """Of the bare fsync rate measured in the same run."""
    redis_per_s_min: float | None = None
    """What is promised on Redis, in place of the other targets."""
    reference_per_s: float | None = None
    """Of the Redis Agent Memory Server 0.15.2, measured elsewhere on another day: an order of magnitude, no comparison."""

    def on(self, engine: str) -> Scenario:
        """The scenario with what is promised for an engine."""
        if engine == "sqlite":
            return self
        return replace(self, per_s_min=self.redis_per_s_min, p50_ms_max=None, share_of_fsync_min=None)

    @property
    def has_target(self) -> bool:
        return not (self.per_s_min is None and self.p50_ms_max is None and self.share_of_fsync_min is None)

    def holds(self, *, per_s: float, p50_ms: float, fsyncs_per_s: float) -> bool:
        return (
            (self.per_s_min is None or per_s >= self.per_s_min)
            and (self.p50_ms_max is None or p50_ms <= self.p50_ms_max)
            and (self.share_of_fsync_min is None or per_s >= self.share_of_fsync_min * fsyncs_per_s)
        )

    @property
    def target(self) -> str:
        parts: list[str] = []
        if self.per_s_min is not None:
            parts.append(f"≥ {self.per_s_min:g}/s")
        if self.p50_ms_max is not None:
            parts.append(f"p50 ≤ {self.p50_ms_max:g} ms")
        if self.share_of_fsync_min is not None:
            parts.append(f"≥ {self.share_of_fsync_min:.0%} of fsync")
        return ", ".join(parts)


BIG_SESSION_S_MAX = 1.0
BIG_SESSION_GROWTH_BYTES_MAX = 80 * 1024 * 1024
BIG_SESSION_HEALTH_MS_MAX = 100.0

SCENARIOS = (
    Scenario(title="health", workload="health", clients=8, bare="bare_read", reference_per_s=2942),
    Scenario(
        title="GET session of 100 messages",
        workload="get",
        clients=8,
        bare="bare_read",
        per_s_min=1500,
        reference_per_s=779,
    ),
    Scenario(
        title="PUT session of 1–10 messages",
        workload="put",
        clients=8,
        bare="bare_durable",
        writes=True,
        redis_per_s_min=680,
        reference_per_s=136,
    ),
    Scenario(title="append a message", workload="append", clients=16, bare="bare_durable", writes=True, per_s_min=600),
    Scenario(
        title="append a message",
        workload="append",
        clients=1,
        bare="bare_durable",
        writes=True,
        share_of_fsync_min=0.6,
    ),
    Scenario(
        title="create a memory",
        workload="create",
        clients=16,
        bare="bare_durable",
        writes=True,
        per_s_min=500,
        redis_per_s_min=610,
        reference_per_s=610,
    ),
    Scenario(
        title="create a memory", workload="create", clients=1, bare="bare_durable", writes=True, share_of_fsync_min=0.6
    ),
    Scenario(title="search, hybrid", workload="search_hybrid", clients=1, bare="bare_ask", p50_ms_max=5),
    Scenario(title="search, hybrid", workload="search_hybrid", clients=8, bare="bare_ask", per_s_min=400),
    Scenario(
        title="search, semantic",
        workload="search_semantic",
        clients=8,
        bare="bare_ask",
        redis_per_s_min=480,
        reference_per_s=48,
    ),
    Scenario(title="search, keyword", workload="search_keyword", clients=8, bare="bare_ask"),
    Scenario(
        title="prompt: 20 messages + hybrid search",
        workload="prompt",
        clients=8,
        bare="bare_ask",
        reference_per_s=44,
    ),
)
