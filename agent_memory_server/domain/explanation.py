"""Why a memory is where it is in the answer to a search, and why another one is not on the page. Data and arithmetic only.

A score is explained as a sum that anybody can check:

    total = base + sum of value * weight over the parts
    score = total, or 1 / (1 + exp(-total)) where ``logistic`` says so
            (then at most ``said_once`` where the message that a memory came from was found as well;
            then the chance with the mean log-odds of that and ``judged``, where a cross-encoder read it)
    final = what recency makes of the score; the order of the page is by it
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import SearchMode


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPlace:
    """Where one channel had the memory, from 1, and its own score there: BM25's share, or 1 - distance."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One signal: what it is for this memory, what it is multiplied by, and what it adds."""

    name: str
    value: float
    weight: float

    @property
    def contribution(self) -> float:
        return self.value * self.weight


@dataclass(frozen=True, slots=True, kw_only=True)
class RecencyShare:
    """What recency did: ``final = score * semantic_weight + recency_weight * r``, times the score when ``in_proportion``."""

    r: float
    semantic_weight: float
    recency_weight: float
    in_proportion: bool

    def blended(self, score: float) -> float:
        worth = self.recency_weight * self.r
        return self.semantic_weight * score + (worth * score if self.in_proportion else worth)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreExplanation:
    """One candidate's way to its place. Ranks count from 1."""

    mode: SearchMode
    by_words: ChannelPlace | None
    """None: it holds no word of the query."""
    by_meaning: ChannelPlace | None
    """None: it has no vector, or was not among those that were compared."""
    in_pool: bool | None
    """Hybrid: whether its neighbours, its speaker and its time were looked at; None in other modes."""
    parts: Sequence[Part]
    base: float
    logistic: bool
    said_once: float | None
    """The most that its score may be because the message it came from was found; None: no such bound."""
    judged: float | None
    """What the cross-encoder said, where one is configured and read this memory."""
    score: float
    rank_by_score: int
    recency: RecencyShare | None
    final: float
    rank: int

    @property
    def total(self) -> float:
        return self.base + sum(part.contribution for part in self.parts)

    @property
    def adds_up_to(self) -> float:
        """The score that the parts make; ``score`` is this, rounded."""
        total = self.total
        made = 1.0 / (1.0 + math.exp(-total)) if self.logistic else total
        once = made if self.said_once is None else min(made, self.said_once)
        if self.judged is None:
            return once
        return 1.0 / (1.0 + math.sqrt((1.0 - once) / once * (1.0 - self.judged) / self.judged))


class Stage(StrEnum):
    """Where on its way to the page a memory fell; the last ones are no fall."""

    NOT_FOUND = "not_found"
    FILTERED_OUT = "filtered_out"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    NO_CANDIDATE = "no_candidate"
    BEYOND_THE_POOL = "beyond_the_pool"
    UNDER_THE_CUT = "under_the_cut"
    OUTRANKED = "outranked"
    OVER_THE_BUDGET = "over_the_budget"
    EARLIER_PAGE = "earlier_page"
    ON_THE_PAGE = "on_the_page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What became of one memory that was expected. ``missing_by``: of its final score, to the last hit of the page."""

    expected: str
    stage: Stage
    reason: str
    memory: Memory | None = None
    filters: tuple[str, ...] = ()
    missing_by: float | None = None
    explanation: ScoreExplanation | None = None
