"""Recall, hits, MRR and nDCG of rankings against known evidence."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Sequence

DEPTHS = (5, 10, 20, 50)
DEPTH_MAX = max(DEPTHS)
NAMES = (*(f"R@{depth}" for depth in DEPTHS), "P@10", "hit@10", "MRR", "nDCG@10")
LEAST_SCORES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Values of ``min_score`` at which abstention is measured."""
RECALL_KEPT = (0.99, 0.95, 0.9, 0.8)
"""Shares of the recall without a least score at which abstention is measured."""


def of_ranking(found: Sequence[str], evidence: Collection[str]) -> dict[str, float]:
    """One question's figures. ``found``: ids, best first."""
    right = [identity in evidence for identity in found]
    figures = {f"R@{depth}": sum(right[:depth]) / len(evidence) for depth in DEPTHS}
    gain = sum(1 / math.log2(place + 2) for place, is_right in enumerate(right[:10]) if is_right)
    best = sum(1 / math.log2(place + 2) for place in range(min(10, len(evidence))))
    figures["P@10"] = sum(right[:10]) / min(10, len(right)) if right else 0.0
    figures["hit@10"] = float(any(right[:10]))
    figures["MRR"] = 1 / (right.index(True) + 1) if any(right) else 0.0
    figures["nDCG@10"] = gain / best
    return figures


def at_least(scored: Sequence[tuple[str, float]], evidence: Collection[str], least: float) -> dict[str, float]:
    """One question's first ten hits when those below ``least`` are left out: what is kept, how pure, whether nothing is left."""
    kept = [identity in evidence for identity, score in scored[:10] if score >= least]
    return {
        "R@10": sum(kept) / len(evidence) if evidence else 0.0,
        "precision": sum(kept) / len(kept) if kept else 0.0,
        "hits": float(len(kept)),
        "nothing": float(not kept),
    }


def least_that_keeps(asked: Sequence[tuple[Sequence[tuple[str, float]], Collection[str]]], share: float) -> float:
    """The highest least score at which this share of the recall among the first ten hits is kept, averaged over questions."""
    worth = sorted(
        (score, 1 / (len(evidence) * len(asked)))
        for scored, evidence in asked
        for identity, score in scored[:10]
        if identity in evidence
    )
    may_lose = (1 - share) * sum(each for _, each in worth)
    for score, each in worth:
        may_lose -= each
        if may_lose < 0:
            return score
    return 0.0


def averaged(each: Iterable[dict[str, float]]) -> dict[str, float]:
    """The mean over questions; nothing for no question."""
    all_of_them = list(each)
    return {name: statistics.fmean(one[name] for one in all_of_them) for name in NAMES} if all_of_them else {}


def fused(rankings: Iterable[Sequence[str]], constant: int = 60) -> list[str]:
    """Reciprocal rank fusion: the naive hybrid."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for place, identity in enumerate(ranking, start=1):
            scores[identity] = scores.get(identity, 0.0) + 1 / (constant + place)
    return sorted(scores, key=lambda identity: (-scores[identity], identity))
