"""Making memories ready for the store: content hash, index terms, and vectors when the embedder is in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.jobs import IntentKind
from agent_memory_server.domain.operations import Embedded, Intent, Put
from agent_memory_server.domain.records import Memory, MemoryType, content_hash
from agent_memory_server.domain.tokens import index_tokens
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.services.embedding import embedded_texts, text_to_embed


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """Puts in the order of the memories, and what is to be done about them later: their vectors, and comparing them."""

    puts: tuple[Put, ...]
    intents: tuple[Intent, ...]


class Indexer:
    """Prepares memories for ``MemoryStore.commit``; a remote embedder is never waited for (store first, think later)."""

    def __init__(self, *, embedder: Embedder, merges: bool = False) -> None:
        """``merges``: what is written with ``deduplicate`` is compared by meaning in the background, soon."""
        self._embedder = embedder
        self._merges = merges

    async def prepare(
        self, memories: Sequence[Memory], *, deduplicate: bool = False, if_absent: bool = False
    ) -> Indexed:
        hashed = [replace(each, memory_hash=content_hash(each.text, each.scope, each.memory_type)) for each in memories]
        embedded = await self._embed_now([text_to_embed(each) for each in hashed])
        puts = tuple(
            Put(
                memory=memory,
                tokens=index_tokens(memory.text, memory.name, memory.topics, memory.entities),
                embedded=vector,
                deduplicate=deduplicate,
                if_absent=if_absent,
            )
            for memory, vector in zip(hashed, embedded, strict=True)
        )
        intents: list[Intent] = []
        if any(put.embedded is None for put in puts):
            intents.append(embedding_intent(hashed[0].scope))
        if self._merges and deduplicate and any(each.memory_type is not MemoryType.MESSAGE for each in hashed):
            intents.append(deduplication_intent(hashed[0].scope))
        return Indexed(puts=puts, intents=tuple(intents))

    async def _embed_now(self, texts: Sequence[str]) -> Sequence[Embedded | None]:
        if not self._embedder.is_local or not texts:
            return [None] * len(texts)
        return await embedded_texts(self._embedder, texts)


def embedding_intent(scope: Scope) -> Intent:
    """One pending "embed what has no vector" a tenant; a second request while one waits is the same request."""
    return Intent(kind=IntentKind.EMBED_MEMORIES.value, key="", tenant=scope.tenant)


def deduplication_intent(scope: Scope) -> Intent:
    """One pending "compare what was written" a tenant: a burst of writes is compared together."""
    return Intent(kind=IntentKind.DEDUPLICATE_MEMORIES.value, key="", tenant=scope.tenant)
