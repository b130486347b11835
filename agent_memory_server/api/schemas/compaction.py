"""Compaction on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from agent_memory_server.api.schemas.values import Body
from agent_memory_server.api.schemas.working_memory import SessionScopeQuery
from agent_memory_server.services.compaction_reports import Compacted, CompactionPlan, PlannedGroup

MODEL_WAIT_S = 15.0
"""How long a request waits for language models to decide about near duplicates; a task does the rest."""


class CompactQuery(SessionScopeQuery):
    dry_run: bool = Field(default=False, description="Change nothing and answer with the plan.")


class PlannedMemory(Body):
    id: str
    text: str


class PlannedGroupBody(Body):
    """Memories of which one would be left."""

    kind: Literal["exact", "near"] = Field(description="Equal in text, owner, session and type; or near in meaning.")
    namespace: str | None
    user_id: str | None
    memories: list[PlannedMemory]
    survivor: str | None = Field(description="The id that would stand for all; null: a language model decides.")
    merged_text: str | None = Field(
        description="What stands instead; of near duplicates only a language model can say it."
    )
    reason: str


class CompactResponse(Body):
    """``status`` is the contract's; everything else tells what the run did, or on a dry run what it would do."""

    status: str
    dry_run: bool
    compared: int = Field(description="Memories that were looked at: what changed since the last run.")
    superseded: int = Field(description="Memories that stepped back; they still answer by id.")
    merged: int = Field(description="New memories that stand for several.")
    near_duplicates: int = Field(description="Groups near in meaning that were left undecided.")
    unfinished: str | None = Field(description="Why something is still to be done.")
    run_id: str | None = Field(description="What to undo to take it all back; null when nothing changed.")
    task_id: str | None = Field(description="The task that does the rest, when there is some.")
    plan: list[PlannedGroupBody] | None = Field(description="Only on a dry run: the groups, at most 1,000 of them.")
    planned: int | None = Field(description="Only on a dry run: how many groups there are in all.")


def compacted_wire(done: Compacted, *, task_id: str | None) -> dict[str, Any]:
    return {
        "status": _status(done.remaining),
        "dry_run": False,
        "compared": done.compared,
        "superseded": done.superseded,
        "merged": done.merged,
        "near_duplicates": done.near_duplicates,
        "unfinished": done.unfinished,
        "run_id": done.run,
        "task_id": task_id,
        "plan": None,
        "planned": None,
    }


def plan_wire(plan: CompactionPlan) -> dict[str, Any]:
    exact = [group for group in plan.groups if group.kind == "exact"]
    return {
        "status": _status(plan.remaining),
        "dry_run": True,
        "compared": 0,
        "superseded": sum(len(group.memories) - 1 for group in exact),
        "merged": 0,
        "near_duplicates": len(plan.groups) - len(exact),
        "unfinished": None,
        "run_id": None,
        "task_id": None,
        "plan": [_group_wire(group) for group in plan.groups],
        "planned": plan.total,
    }


def _group_wire(group: PlannedGroup) -> dict[str, Any]:
    scope = group.memories[0].scope
    return {
        "kind": group.kind,
        "namespace": scope.namespace,
        "user_id": scope.user_id,
        "memories": [{"id": memory.id, "text": memory.text} for memory in group.memories],
        "survivor": group.survivor,
        "merged_text": None if group.survivor is None else group.memories[0].text,
        "reason": group.reason,
    }


def _status(remaining: int) -> str:
    return f"ok, {remaining} memories remaining after compaction"
