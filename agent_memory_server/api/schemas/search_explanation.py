"""Asking why a search answered what it did, on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agent_memory_server.api.schemas.explanations import ScoreExplanationBody, explanation_wire
from agent_memory_server.api.schemas.memories import MemoryRecordResultsResponse, page_wire
from agent_memory_server.api.schemas.search import SearchRequest
from agent_memory_server.api.schemas.values import Body
from agent_memory_server.domain.explanation import Expectation
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.services.search_explanation import ExplainedPage

Expected = Annotated[str, Field(min_length=1, max_length=LIMITS.text_length_max)]


class ExplainRequest(SearchRequest):
    """A search, and the memories that were expected on its page."""

    expect: Annotated[list[Expected], Field(max_length=LIMITS.expectations_max)] = Field(
        default_factory=list[str], description="Ids of memories, or text that they hold."
    )


class ExpectationBody(Body):
    """What became of an expected memory. ``missing_by``: how much its final score is below that of the page's last hit."""

    expected: str
    id: str | None
    namespace: str | None = Field(description="Whose it is: several owners may have a memory of one id.")
    user_id: str | None
    stage: Literal[
        "not_found",
        "filtered_out",
        "superseded",
        "expired",
        "no_candidate",
        "beyond_the_pool",
        "under_the_cut",
        "outranked",
        "over_the_budget",
        "earlier_page",
        "on_the_page",
    ]
    reason: str
    filters: list[str]
    missing_by: float | None
    explanation: ScoreExplanationBody | None


class ExplainResponse(MemoryRecordResultsResponse):
    expected: list[ExpectationBody]


def explained_page_wire(explained: ExplainedPage) -> dict[str, Any]:
    """The fields of MemoryRecordResultsResponse, each hit with its explanation."""
    wire = page_wire(explained.page)
    for hit, explanation in zip(wire["memories"], explained.explanations, strict=False):
        hit["explanation"] = explanation_wire(explanation)
    return wire


def explain_wire(explained: ExplainedPage) -> dict[str, Any]:
    """The fields of ExplainResponse."""
    return {**explained_page_wire(explained), "expected": [_expectation_wire(each) for each in explained.expectations]}


def _expectation_wire(found: Expectation) -> dict[str, Any]:
    scope = None if found.memory is None else found.memory.scope
    return {
        "expected": found.expected,
        "id": None if found.memory is None else found.memory.id,
        "namespace": None if scope is None else scope.namespace,
        "user_id": None if scope is None else scope.user_id,
        "stage": found.stage.value,
        "reason": found.reason,
        "filters": found.filters,
        "missing_by": found.missing_by,
        "explanation": None if found.explanation is None else explanation_wire(found.explanation),
    }
