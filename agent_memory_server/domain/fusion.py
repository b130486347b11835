"""One score from two channels, by meaning and by words, each already on a scale of its own that queries share.

    score = w * meaning + (1 - w) * words        w = alpha ** 3

``meaning`` is the cosine, floored at 0; ``words`` the keyword score of ``keyword_ranking``. Adding scores on fixed scales
(a convex combination with theoretical bounds: Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid
Retrieval", 2023) keeps how much better one memory is than another. Fusing ranks throws that away, and with a weak
vector model ranks worse than words alone. No score depends on the other candidates, so pages of any size agree.

``alpha`` is the caller's weight of the vector side: 0 orders by words alone and 1 by meaning alone. Cosines of unrelated
texts are far from 0 while keyword scores of unrelated texts are 0, so equal weights would let the vectors decide nearly
everything; the power puts the well-measured balance at the default alpha of 0.7.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ALPHA_EXPONENT = 3


def fused_scores(
    meaning: NDArray[np.float64], words: NDArray[np.float64], *, has_vector: NDArray[np.bool_], alpha: float
) -> NDArray[np.float64]:
    """Scores in 0..1. A memory without a vector (pending, or nothing to embed) is judged by its words alone."""
    weight = min(1.0, max(0.0, alpha)) ** _ALPHA_EXPONENT
    known = np.where(has_vector, np.clip(meaning, 0.0, 1.0), words)
    return np.clip(weight * known + (1.0 - weight) * words, 0.0, 1.0)
