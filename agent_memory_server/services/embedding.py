"""Vectors for memories: in the request when the model is in this process, by the background runner when it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent_memory_server.domain.operations import Embedded
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import Handle
from agent_memory_server.ports.embedder import Embedder, EmbedsTokens
from agent_memory_server.ports.memories import MemoryStore

BATCH_SIZE_MAX = 128
"""Memories that are read, embedded and stored at a time: what a crash can cost."""


def text_to_embed(memory: Memory) -> str:
    """What a memory's vector is made of: its text, and before it the name of who speaks or whom it is about.

    Questions name people ("What did Ana say about …"), while those people's own words do not.
    """
    return f"{memory.name}: {memory.text}" if memory.name else memory.text


async def embedded_texts(embedder: Embedder, texts: Sequence[str]) -> Sequence[Embedded]:
    """What is stored of each text: its vector, and the vectors of its words where the embedder has some."""
    if isinstance(embedder, EmbedsTokens):
        pairs = await embedder.embed_with_tokens(texts)
        return [Embedded(model=embedder.model, vector=vector, tokens=tokens) for vector, tokens in pairs]
    return [Embedded(model=embedder.model, vector=vector) for vector in await embedder.embed(texts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingReport:
    """``scanned`` memories had no vector; ``embedded`` of them have one now (or are known to have nothing to embed); the
    others were changed or deleted meanwhile."""

    scanned: int
    embedded: int


class EmbeddingService:
    """Works through whatever has no vector of the embedder's model."""

    def __init__(self, *, store: MemoryStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder

    async def embed_pending(
        self, *, tenant: str | None = None, on_progress: Callable[[int], None] | None = None
    ) -> EmbeddingReport:
        """Embed every memory that has no vector yet. Each batch is stored before the next: after a failure or a crash the
        next call goes on from there. ``on_progress`` is told how many were scanned so far.

        Raises EmbedderUnavailable, StoreUnavailable: what was stored stays stored, the caller retries.
        """
        scanned = embedded = 0
        after: Handle | None = None
        while True:
            batch = await self._store.without_vector(
                model=self._embedder.model, limit=BATCH_SIZE_MAX, after=after, tenant=tenant
            )
            if not batch:
                return EmbeddingReport(scanned=scanned, embedded=embedded)
            after = batch[-1][0]
            read_at = {handle: operation_id for handle, _, _, operation_id in batch}
            memories = await self._store.get_many(list(read_at))
            # A memory that changed since the batch was listed comes again with its new text: put_vectors skips it here.
            handles = [handle for handle in read_at if handle in memories]
            vectors = await self._embedded([memories[handle] for handle in handles])
            embedded += await self._store.put_vectors(
                [(handle, read_at[handle], vector) for handle, vector in zip(handles, vectors, strict=True)]
            )
            scanned += len(batch)
            if on_progress is not None:
                on_progress(scanned)

    async def _embedded(self, memories: Sequence[Memory]) -> Sequence[Embedded]:
        return await embedded_texts(self._embedder, [text_to_embed(memory) for memory in memories])
