"""Giving every memory a vector of the model now configured, beside live traffic.

New vectors are stored next to the old ones, and those of other models go only when nothing is without a new one. Until
then a memory is found by its words, and by meaning as soon as its vector is there. Stopped at any point, the next run goes
on with what is still missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.services.embedding import EmbeddingService

_PASSES_MAX = 5
"""Walks over the store: memories that were changed during one are embedded by the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReindexingReport:
    """``embedded``: memories that were given a vector of ``model``. ``dropped``: vectors of other models that were removed.
    ``remaining``: whether something was still without a vector at the end (heavy writes); then nothing was dropped."""

    model: str
    embedded: int
    dropped: int
    remaining: bool


class ReindexingService:
    """Re-embeds all tenants of one store."""

    def __init__(self, *, store: MemoryStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._embedding = EmbeddingService(store=store, embedder=embedder)

    async def rebuild(self, *, on_progress: Callable[[int], None] | None = None) -> ReindexingReport:
        """Embed what has no vector of the current model, then drop those of other models. Safe to repeat and to interrupt.

        ``on_progress`` is told how many memories were worked through so far. Raises EmbedderUnavailable, StoreUnavailable.
        """
        model = self._embedder.model
        scanned = embedded = 0

        def tell(count: int) -> None:
            if on_progress is not None:
                on_progress(scanned + count)

        for _ in range(_PASSES_MAX):
            report = await self._embedding.embed_pending(on_progress=tell)
            scanned += report.scanned
            embedded += report.embedded
            if not await self._store.without_vector(model=model, limit=1):
                dropped = await self._store.drop_vectors_except(model=model)
                return ReindexingReport(model=model, embedded=embedded, dropped=dropped, remaining=False)
        return ReindexingReport(model=model, embedded=embedded, dropped=0, remaining=True)
