"""The composition root's part about what is open, and about looking back: history, undo, time travel and who is told."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import cast

from agent_memory_server.app_background import forgetting_policy
from agent_memory_server.config import Settings
from agent_memory_server.domain.jobs import Lane
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.reranker import Reranker
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.task_queue import TaskQueue
from agent_memory_server.ports.tokenizer import Tokenizer
from agent_memory_server.queues.in_process import InProcessQueue
from agent_memory_server.queues.webhook_sender import HttpWebhookSender
from agent_memory_server.services.events import EventFeed
from agent_memory_server.services.history import HistoryService
from agent_memory_server.services.indexing import Indexer
from agent_memory_server.services.language import LanguageGate
from agent_memory_server.services.refused_content import RefusedContent, RefusingMemories
from agent_memory_server.services.reranking import Reranking
from agent_memory_server.services.time_travel import TimeTravelService
from agent_memory_server.services.undo import UndoService
from agent_memory_server.services.webhooks import WebhookService


def refused_content_of(stores: Stores, now: Callable[[], datetime]) -> RefusedContent:
    new_key = partial(secrets.token_bytes, 32)
    return RefusedContent(ledger=stores.ledger, access_tokens=stores.access_tokens, new_key=new_key, now=now)


def refusing(stores: Stores, now: Callable[[], datetime]) -> Stores:
    """The same stores, where what is erased from now on is refused when it comes again."""
    memories = RefusingMemories(stores.memories, stores.journal, refused_content_of(stores, now))
    return replace(stores, memories=cast("MemoryStore", memories))


@dataclass(frozen=True, kw_only=True)
class LookingBack:
    """What is passed in is open already, and closed by whoever opened it."""

    settings: Settings
    stores: Stores
    embedder: Embedder
    reranker: Reranker | None
    tokenizer: Tokenizer
    gate: LanguageGate | None
    """None: local mode."""
    queue: TaskQueue
    here: InProcessQueue
    parallel: int
    """Sessions that are worked on at a time."""
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    @cached_property
    def indexer(self) -> Indexer:
        merges = self.gate is not None and self.settings.compact_semantic_duplicates
        return Indexer(embedder=self.embedder, merges=merges)

    @cached_property
    def refused_content(self) -> RefusedContent:
        return refused_content_of(self.stores, self.now)

    @cached_property
    def history(self) -> HistoryService:
        stores = self.stores
        return HistoryService(
            journal=stores.journal, memories=stores.memories, sessions=stores.working_memory, now=self.now
        )

    @cached_property
    def events(self) -> EventFeed:
        return EventFeed(journal=self.stores.journal, history=self.history)

    @cached_property
    def webhooks(self) -> WebhookService:
        return WebhookService(
            store=self.stores.webhooks,
            journal=self.stores.journal,
            feed=self.events,
            sender=HttpWebhookSender(allow_private=self.settings.webhook_allow_private_addresses),
            outbox=self.stores.outbox,
            now=self.now,
            new_id=self.new_id,
            wake=partial(self.queue.wake, Lane.WEBHOOKS),
        )

    @cached_property
    def reranking(self) -> Reranking | None:
        return None if self.reranker is None else Reranking(reranker=self.reranker)

    @cached_property
    def time_travel(self) -> TimeTravelService:
        return TimeTravelService(
            journal=self.stores.journal,
            store=self.stores.memories,
            embedder=self.embedder,
            tokenizer=self.tokenizer,
            now=self.now,
            reranking=self.reranking,
        )

    @cached_property
    def undo(self) -> UndoService:
        policy = forgetting_policy(self.settings)
        return UndoService(
            journal=self.stores.journal,
            memories=self.stores.memories,
            indexer=self.indexer,
            retention=timedelta(days=self.settings.undo_retention_days),
            forgets=bool(self.settings.retention_policies) or (policy is not None and not policy.removes_nothing),
            now=self.now,
            new_id=self.new_id,
            wake=partial(self.queue.wake, Lane.SESSIONS),
        )
