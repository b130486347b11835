"""Vectors of the words of a text, small enough to be kept: two bits a number, a byte for every four of them.

A token's vector is reduced to the sign of each number and whether it is among the larger half. Against vectors at full
precision nothing measurable is lost (docs/decisions/0006-retrieval-pipeline.md), at a sixteenth of their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

PER_BYTE = 4
_SMALL, _LARGE = 0.45, 1.5
"""What a number of the smaller and of the larger half stands for, roughly as in a normal distribution."""


def bytes_per_token(dimensions: int) -> int:
    return -(-dimensions // PER_BYTE)


def packed(vectors: Floats) -> bytes:
    """Token vectors of shape (tokens, dimensions); of no consequence how long they are."""
    size = np.abs(vectors)
    is_large = size > np.median(size, axis=1, keepdims=True)
    codes = (vectors < 0).astype(np.uint8) | (is_large.astype(np.uint8) << 1)
    missing = -codes.shape[1] % PER_BYTE
    codes = np.pad(codes, ((0, 0), (0, missing)))
    quads = codes.reshape(len(codes), -1, PER_BYTE)
    return (quads[..., 0] | quads[..., 1] << 2 | quads[..., 2] << 4 | quads[..., 3] << 6).astype(np.uint8).tobytes()


def unpacked(texts: Sequence[bytes], dimensions: int) -> tuple[Floats, NDArray[np.int64]]:
    """The token vectors of all texts one below the other, about unit-length, and how many each text has."""
    width = bytes_per_token(dimensions)
    counts = np.array([len(text) // width for text in texts], dtype=np.int64)
    codes = np.frombuffer(b"".join(texts), dtype=np.uint8)
    return np.take(_numbers(dimensions), codes, axis=0).reshape(-1, width * PER_BYTE)[:, :dimensions], counts


@cache
def _numbers(dimensions: int) -> Floats:
    """The four numbers that each byte stands for, so that a vector of so many is about unit-length."""
    codes = np.arange(256)[:, np.newaxis] >> np.array([0, 2, 4, 6]) & 3
    numbers = np.array([_SMALL, -_SMALL, _LARGE, -_LARGE], dtype=np.float32)[codes]
    return numbers * np.float32(1.0 / np.sqrt(dimensions * (_SMALL**2 + _LARGE**2) / 2))


def nearest_tokens(query: Floats, texts: Sequence[bytes]) -> NDArray[np.float64]:
    """For each text and each query token how near the text comes to it, 0..1: shape (texts, query tokens).

    Every text has at least one token.
    """
    vectors, counts = unpacked(texts, query.shape[1])
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    found = np.maximum.reduceat(vectors @ query.T, starts, axis=0)
    return np.round(np.clip(found.astype(np.float64), 0.0, 1.0), 6)
