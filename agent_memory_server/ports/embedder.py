"""Turning text into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.operations import Vector


class Embedder(Protocol):
    @property
    def model(self) -> str:
        """Name that is stored with each vector; another model never compares with them."""
        ...

    @property
    def is_local(self) -> bool:
        """True: computed in this process without the network, fast enough for the request itself."""
        ...

    async def embed(self, texts: Sequence[str], /, *, is_query: bool = False) -> Sequence[Vector | None]:
        """One unit-length float32 vector a text, or None for a text without anything to embed.

        Raises EmbedderUnavailable when the model cannot be reached or answers nonsense (wrong count or dimension, NaN).
        """
        ...

    async def close(self) -> None: ...


class WeightedSpan(NamedTuple):
    """Characters ``start`` to ``end`` of a text and how much they count."""

    start: int
    end: int
    weight: float


@runtime_checkable
class WeighsWords(Protocol):
    """An embedder that can pool a query's words by weight, so that its rare words decide rather than its common ones.

    Optional; comparable with the plain vectors of the same model.
    """

    async def embed_weighted(self, text: str, spans: Sequence[WeightedSpan], /) -> Vector | None:
        """Unit-length; text outside the spans counts for nothing. None when nothing is left."""
        ...


class QueryTokens(NamedTuple):
    """The tokens of a query's spans, each in its context."""

    vectors: NDArray[np.float32]
    """Shape (tokens, dimensions), unit-length; at least one."""
    spans: NDArray[np.int64]
    """For each token the span that it belongs to."""


@runtime_checkable
class EmbedsTokens(Protocol):
    """An embedder that also tells what each word of a text means in its context, so that a query is compared word by word.

    Optional. Token vectors of one model are kept packed (``domain.token_vectors``) beside the text's own vector.
    """

    async def embed_with_tokens(self, texts: Sequence[str], /) -> Sequence[tuple[Vector | None, bytes | None]]:
        """As ``embed``, each with the packed vectors of its telling tokens; None for a text without anything to embed."""
        ...

    async def embed_query_tokens(
        self, text: str, spans: Sequence[WeightedSpan], /
    ) -> tuple[Vector | None, QueryTokens | None]:
        """As ``embed_weighted``, and the tokens of the spans; (None, None) when nothing is left."""
        ...
