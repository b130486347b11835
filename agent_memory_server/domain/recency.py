"""How recently a memory was made and used, as a number that search and forgetting weigh.

    r = clamp01(freshness_weight * F + novelty_weight * N)
    F = exp(-ln 2 * days since last access / half_life_last_access_days)
    N = exp(-ln 2 * days since creation    / half_life_created_days)
    score = semantic_weight * (1 - distance) + recency_weight * r

Source: the wire contract, section 7.7 (the reference server's formula).

In hybrid mode relevance is a chance (``second_stage``): most of what a search finds is unlikely, and the distances between
the unlikely are far smaller than what a recent access is worth. There recency counts in proportion to relevance:

    score = relevance * (semantic_weight + recency_weight * r)

For a sure hit that is the same; and what was merely shown a while ago does not overtake what answers the query.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

_HALF_LIFE_MIN_DAYS = 0.001
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecencyWeights:
    """Weights are plain factors; half-lives are days and floored at 0.001."""

    semantic_weight: float = 0.8
    recency_weight: float = 0.2
    freshness_weight: float = 0.6
    novelty_weight: float = 0.4
    half_life_last_access_days: float = 7.0
    half_life_created_days: float = 30.0


def blended_scores(
    relevance: NDArray[np.float64], recency: NDArray[np.float64], weights: RecencyWeights, *, in_proportion: bool
) -> NDArray[np.float64]:
    """The scores that order a page: relevance (1 - distance, or a keyword or hybrid score) blended with recency;
    ``in_proportion`` where relevances are chances."""
    worth = weights.recency_weight * recency
    return weights.semantic_weight * relevance + (worth * relevance if in_proportion else worth)


def recency_scores(
    created_us: NDArray[np.int64], accessed_us: NDArray[np.int64], weights: RecencyWeights, now: datetime
) -> NDArray[np.float64]:
    """r of the formula above for many candidates at once, each 0..1. Times are microseconds since the epoch; one in the
    future counts as now."""
    now_s = now.timestamp()
    freshness = _decays(accessed_us, weights.half_life_last_access_days, now_s)
    novelty = _decays(created_us, weights.half_life_created_days, now_s)
    return np.clip(weights.freshness_weight * freshness + weights.novelty_weight * novelty, 0.0, 1.0)


def _decays(then_us: NDArray[np.int64], half_life_days: float, now_s: float) -> NDArray[np.float64]:
    days = np.maximum(0.0, (now_s - then_us / 1e6) / _DAY_S)
    with np.errstate(under="ignore"):
        return np.exp(-math.log(2.0) * days / max(_HALF_LIFE_MIN_DAYS, half_life_days))
