"""Judging how well texts answer a query by reading both together: slower than vectors, and optional."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Reranker(Protocol):
    @property
    def model(self) -> str: ...

    async def chances(self, query: str, texts: Sequence[str], /) -> Sequence[float]:
        """For each text how likely it answers the query, strictly between 0 and 1. Raises RerankerUnavailable."""
        ...

    async def close(self) -> None: ...
