"""The composition root: settings in, services out. The only place that reads settings and picks adapters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ulid import ULID

from agent_memory_server.config import Settings
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.jobs import ClaimedIntent, IntentKind
from agent_memory_server.embeddings.opening import open_embedder
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.services.compaction import CompactionService
from agent_memory_server.services.embedding import EmbeddingService
from agent_memory_server.services.forgetting import ForgettingService
from agent_memory_server.services.hydration import HydrationService
from agent_memory_server.services.indexing import Indexer
from agent_memory_server.services.memories import MemoryService
from agent_memory_server.services.pending_work import PendingWorkService
from agent_memory_server.services.promotion import PromotionService
from agent_memory_server.services.readiness import ReadinessService
from agent_memory_server.services.reindexing import ReindexingService
from agent_memory_server.services.search import SearchService
from agent_memory_server.services.working_memory import WorkingMemoryPolicy, WorkingMemoryService
from agent_memory_server.stores.opening import open_stores
from agent_memory_server.tokenizers.opening import open_tokenizer

DATABASE_NAME = "memory.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryApp:
    """The services of one running server, and what its banner and its transports need to know."""

    working_memory: WorkingMemoryService
    memories: MemoryService
    search: SearchService
    hydration: HydrationService
    forgetting: ForgettingService
    compaction: CompactionService
    reindexing: ReindexingService
    pending_work: PendingWorkService
    readiness: ReadinessService
    long_term_memory: bool
    local_mode: bool
    """No language model is configured: everything runs in this process, offline."""
    require_message_timestamps: bool
    storage: str
    embedding_model: str
    now: Callable[[], datetime]
    new_id: Callable[[], str]


def utc_now() -> datetime:
    return datetime.now(UTC)


def new_ulid() -> str:
    return str(ULID())


def storage_url(settings: Settings) -> str:
    """STORAGE_URL, else REDIS_URL, else a file in DATA_DIR."""
    return settings.storage_url or settings.redis_url or f"sqlite:///{settings.data_dir / DATABASE_NAME}"


@contextlib.asynccontextmanager
async def open_app(
    settings: Settings,
    *,
    now: Callable[[], datetime] = utc_now,
    new_id: Callable[[], str] = new_ulid,
    background: bool = True,
) -> AsyncGenerator[MemoryApp]:
    """Open stores and models and yield the services; close them in reverse order.

    ``background``: also work through pending work in this process. Raises ConfigurationError with what to change.
    """
    if settings.wants_authentication:
        raise ConfigurationError(
            "AUTH_MODE or TOKEN_AUTH_ENABLED asks for authentication, which this version does not have yet; it will not "
            "start open instead. Unset them to run on loopback without authentication."
        )
    async with contextlib.AsyncExitStack() as stack:
        stores = await open_stores(storage_url(settings), now=now)
        stack.push_async_callback(stores.engine.close)
        embedder = await open_embedder(
            model=settings.embedding_model,
            openai_api_key=settings.openai_api_key.get_secret_value() if settings.openai_api_key else None,
            openai_api_base=settings.openai_api_base,
        )
        stack.push_async_callback(embedder.close)
        woken = asyncio.Event()
        indexer = Indexer(embedder=embedder)
        local_mode = True
        index_messages = settings.index_all_messages_in_long_term_memory
        promotion = PromotionService(
            sessions=stores.working_memory,
            memories=stores.memories,
            indexer=indexer,
            index_messages=local_mode if index_messages is None else index_messages,
            now=now,
            new_id=new_id,
        )
        embedding = EmbeddingService(store=stores.memories, embedder=embedder)

        async def promote(intent: ClaimedIntent) -> None:
            await promotion.promote(
                Scope(intent.tenant, intent.namespace, intent.user_id, intent.payload["session_id"])
            )

        async def embed(_: ClaimedIntent) -> None:
            await embedding.embed_pending()

        pending_work = PendingWorkService(
            outbox=stores.outbox,
            handlers={
                IntentKind.PROMOTE_WORKING_MEMORY.value: promote,
                IntentKind.EMBED_MEMORIES.value: embed,
            },
            now=now,
            wake=woken,
        )
        working_memory = WorkingMemoryService(
            store=stores.working_memory,
            tokenizer=open_tokenizer(),
            policy=WorkingMemoryPolicy(
                promotes=settings.long_term_memory,
                summarization_threshold=settings.summarization_threshold,
                max_future_timestamp_s=settings.max_future_timestamp_seconds,
            ),
            now=now,
            new_id=new_id,
            wake=woken.set,
        )
        search = SearchService(store=stores.memories, embedder=embedder, now=now)
        app = MemoryApp(
            working_memory=working_memory,
            memories=MemoryService(store=stores.memories, indexer=indexer, now=now, new_id=new_id, wake=woken.set),
            search=search,
            hydration=HydrationService(working_memory=working_memory, search=search),
            forgetting=ForgettingService(store=stores.memories, now=now, new_id=new_id),
            compaction=CompactionService(store=stores.memories, now=now, new_id=new_id),
            reindexing=ReindexingService(store=stores.memories, embedder=embedder),
            pending_work=pending_work,
            readiness=ReadinessService(engine=stores.engine, embedding_model=embedder.model),
            long_term_memory=settings.long_term_memory,
            local_mode=local_mode,
            require_message_timestamps=settings.require_message_timestamps,
            storage=stores.engine.describe(),
            embedding_model=embedder.model,
            now=now,
            new_id=new_id,
        )
        if background:
            worker = asyncio.create_task(pending_work.run_for_ever(), name="pending work")
            stack.push_async_callback(_stop, worker)
        yield app


async def _stop(worker: asyncio.Task[None]) -> None:
    worker.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await worker
