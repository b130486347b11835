"""How a score came about, on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from agent_memory_server.api.schemas.values import Body
from agent_memory_server.domain.explanation import ChannelPlace, ScoreExplanation


class ChannelPlaceBody(Body):
    """Where one channel had the memory: ``rank`` from 1, and its score there."""

    rank: int
    score: float


class PartBody(Body):
    """One signal; ``contribution`` is ``value * weight``."""

    name: str
    value: float
    weight: float
    contribution: float


class RecencyBody(Body):
    """``final = semantic_weight * score + recency_weight * r``; with ``in_proportion`` the second part is times the score."""

    r: float
    semantic_weight: float
    recency_weight: float
    in_proportion: bool


class ScoreExplanationBody(Body):
    """How a score came about.

    ``total = base + sum of contributions``; ``score`` is ``total``, or ``1 / (1 + exp(-total))`` where ``logistic``; then at most
    ``said_once`` where that is set, and in the middle (of log-odds) between that and ``judged`` where that is set. ``final`` is
    what recency makes of it, and the page is in its order.
    """

    mode: Literal["semantic", "keyword", "hybrid"]
    by_words: ChannelPlaceBody | None = Field(description="Null: it holds no word of the query.")
    by_meaning: ChannelPlaceBody | None = Field(description="Null: it has no vector, or others were nearer.")
    in_pool: bool | None = Field(description="Hybrid: whether neighbours, speaker and time were looked at.")
    parts: list[PartBody]
    base: float
    total: float
    logistic: bool
    said_once: float | None = Field(description="Its most, because the message that it came from was found as well.")
    judged: float | None = Field(description="What the cross-encoder said, where RERANKER_MODEL is set and read it.")
    score: float
    rank_by_score: int
    recency: RecencyBody | None
    final: float
    rank: int


def explanation_wire(explanation: ScoreExplanation) -> dict[str, Any]:
    """The fields of ScoreExplanationBody."""
    recency = explanation.recency
    return {
        "mode": explanation.mode.value,
        "by_words": _place_wire(explanation.by_words),
        "by_meaning": _place_wire(explanation.by_meaning),
        "in_pool": explanation.in_pool,
        "parts": [
            {"name": part.name, "value": part.value, "weight": part.weight, "contribution": part.contribution}
            for part in explanation.parts
        ],
        "base": explanation.base,
        "total": explanation.total,
        "logistic": explanation.logistic,
        "said_once": explanation.said_once,
        "judged": explanation.judged,
        "score": explanation.score,
        "rank_by_score": explanation.rank_by_score,
        "recency": None
        if recency is None
        else {
            "r": recency.r,
            "semantic_weight": recency.semantic_weight,
            "recency_weight": recency.recency_weight,
            "in_proportion": recency.in_proportion,
        },
        "final": explanation.final,
        "rank": explanation.rank,
    }


def _place_wire(place: ChannelPlace | None) -> dict[str, Any] | None:
    return None if place is None else {"rank": place.rank, "score": place.score}
