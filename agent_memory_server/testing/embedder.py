"""Embedders for tests: no weights, no network, the same vectors on every machine; and one that fails when told to."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

import numpy as np

from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.tokens import index_tokens
from agent_memory_server.errors import EmbedderUnavailable
from agent_memory_server.ports.embedder import Embedder


class HashEmbedder:
    """Texts that share words are near, others nearly at right angles: each term adds to a few places that its hash names."""

    is_local = True

    def __init__(self, *, dimensions: int = 64, model: str = "hash") -> None:
        self.dimensions = dimensions
        self.model = f"{model}/{dimensions}"

    async def embed(self, texts: Sequence[str], /, *, is_query: bool = False) -> Sequence[Vector | None]:  # noqa: ARG002 - the port's
        """None for a text without a letter, digit or emoji."""
        return [self.embed_one(text) for text in texts]

    def embed_one(self, text: str) -> Vector | None:
        vector = np.zeros(self.dimensions, dtype=np.float32)
        terms = index_tokens(text)
        for term, count in terms.items():
            digest = hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=32).digest()
            for place in range(0, 32, 4):
                slot = int.from_bytes(digest[place : place + 3], "big") % self.dimensions
                vector[slot] += count if digest[place + 3] & 1 else -count
        norm = float(np.linalg.norm(vector))
        return vector / np.float32(norm) if norm > 0 else None

    async def close(self) -> None:
        """Nothing is held open."""


class SwitchableEmbedder:
    """Passes on to another embedder until ``fail()`` or ``hold()``; counts the texts. May pretend to be remote."""

    def __init__(self, inner: Embedder | None = None, *, is_local: bool = False) -> None:
        self._inner = inner or HashEmbedder()
        self._is_failing = False
        self._go = asyncio.Event()
        self._go.set()
        self.model = self._inner.model
        self.is_local = is_local
        self.texts_embedded = 0

    def fail(self) -> None:
        """From now on every call raises EmbedderUnavailable."""
        self._is_failing = True
        self._go.set()

    def hold(self) -> None:
        """From now on every call waits for ``recover()`` or ``fail()``."""
        self._go.clear()

    def recover(self) -> None:
        self._is_failing = False
        self._go.set()

    async def embed(self, texts: Sequence[str], /, *, is_query: bool = False) -> Sequence[Vector | None]:
        await self._go.wait()
        if self._is_failing:
            raise EmbedderUnavailable("the embedding model is switched off")
        self.texts_embedded += len(texts)
        return await self._inner.embed(texts, is_query=is_query)

    async def close(self) -> None:
        await self._inner.close()
