"""Vectors of many dimensions as points in a plane, so that a person can see what lies together.

Principal component analysis (Pearson 1901, Hotelling 1933): the two orthogonal directions in which the vectors differ most.
Deterministic: each axis points to where its largest component is positive. The directions are those of a few thousand vectors,
dealt out evenly: more of them turn the axes by less than a pixel, and cost most of the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLED_MAX = 4_000


def two_dimensions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shape (points, dimensions) to (points, 2), scaled so that the farthest point of each axis is at 1 or -1.

    Fewer than three points have no directions to find: they lie side by side.
    """
    count = len(vectors)
    if count < 3:
        places = np.zeros((count, 2), dtype=np.float32)
        places[:, 0] = np.linspace(-0.5, 0.5, count) if count > 1 else 0.0
        return places
    middle = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = vectors[:: -(-count // SAMPLED_MAX)] - middle
    axes = _principal_axes(centred.T @ centred)
    places = vectors @ axes - middle @ axes
    largest = np.abs(places).max(axis=0)
    largest[largest == 0] = 1.0
    return (places / largest).astype(np.float32)


def _principal_axes(covariance: NDArray[np.float32]) -> NDArray[np.float32]:
    """The two eigenvectors of the largest eigenvalues, shape (dimensions, 2)."""
    _, vectors = np.linalg.eigh(covariance.astype(np.float64))
    axes = vectors[:, [-1, -2]]
    strongest = np.abs(axes).argmax(axis=0)
    signs = np.sign(axes[strongest, [0, 1]])
    return (axes * np.where(signs == 0, 1.0, signs)).astype(np.float32)
