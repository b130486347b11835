"""Forgetting on the wire."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent_memory_server.api.schemas.memories import MemoryTypeName
from agent_memory_server.api.schemas.values import Body, Count, Id, ScopeName
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.domain.retention import ForgettingPolicy
from agent_memory_server.services.forgetting import Forgotten

Days = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]


class ForgettingPolicyBody(Body):
    """What goes: see docs/reference for the rules. An empty policy removes nothing."""

    max_age_days: Days | None = None
    max_inactive_days: Days | None = None
    budget: Count | None = Field(default=None, description="Keep this many, the most recent ones.")
    memory_type_allowlist: list[MemoryTypeName] | None = Field(
        default=None, description="Only these types may be removed; null for all."
    )
    hard_age_multiplier: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = 12.0

    def to_policy(self) -> ForgettingPolicy:
        allowed = self.memory_type_allowlist
        return ForgettingPolicy(
            max_age_days=self.max_age_days,
            max_inactive_days=self.max_inactive_days,
            budget=self.budget,
            memory_types=None if allowed is None else frozenset(MemoryType(name) for name in allowed),
            hard_age_multiplier=12.0 if self.hard_age_multiplier is None else self.hard_age_multiplier,
        )


class ForgetRequest(Body):
    policy: ForgettingPolicyBody
    pinned_ids: list[Id] | None = Field(default=None, max_length=LIMITS.forget_limit_max)


class ForgetQuery(Body):
    namespace: ScopeName | None = None
    user_id: ScopeName | None = None
    session_id: ScopeName | None = None
    limit: Annotated[int, Field(ge=1, le=LIMITS.forget_limit_max)] = 1000
    dry_run: bool = True
    trust_clock: bool = Field(
        default=False, description="The clock is right although it jumped: go by age again, from now on."
    )


class ForgetResponse(Body):
    """``deleted`` counts what went, or on a dry run what would go."""

    scanned: int
    deleted: int
    deleted_ids: list[str]
    dry_run: bool
    held_back: int = Field(description="Too old by a clock that is in doubt: these stay for now.")
    reason: str | None = Field(description="Why something was held back.")
    run_id: str | None = Field(description="What to undo to bring back what went; null when nothing did.")


def forgotten_wire(forgotten: Forgotten) -> dict[str, Any]:
    """The fields of ForgetResponse."""
    return {
        "scanned": forgotten.scanned,
        "deleted": forgotten.deleted,
        "deleted_ids": forgotten.deleted_ids,
        "dry_run": forgotten.dry_run,
        "held_back": forgotten.held_back,
        "reason": forgotten.reason,
        "run_id": forgotten.run,
    }
