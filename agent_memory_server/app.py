"""The composition root: settings in, services out. The only place that reads settings and picks adapters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import quote

from ulid import ULID

from agent_memory_server.app_background import (
    compaction_policy,
    forgetting_policy,
    session_handlers,
    upkeep_schedules,
    view_handlers,
)
from agent_memory_server.app_language import (
    Asking,
    enriched_by,
    enrichment_policy,
    open_extractor,
    open_gate,
    open_partitions,
    open_query_optimizer,
    open_summarizer,
    secret,
)
from agent_memory_server.config import Settings
from agent_memory_server.domain.jobs import IntentKind, Lane
from agent_memory_server.embeddings.opening import open_embedder
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.ports.language_model import LanguageModel
from agent_memory_server.ports.outbox import Outbox
from agent_memory_server.ports.task_queue import TaskQueue
from agent_memory_server.queues.in_process import InProcessQueue
from agent_memory_server.services.compaction import CompactionService
from agent_memory_server.services.deduplication import NearDuplicates
from agent_memory_server.services.embedding import EmbeddingService
from agent_memory_server.services.enrichment import EnrichmentService, ModelEnrichment, RuleEnrichment
from agent_memory_server.services.extraction.on_request import ExtractionOnRequestService
from agent_memory_server.services.extraction.thread import ThreadExtractionService
from agent_memory_server.services.forgetting import ForgettingService
from agent_memory_server.services.hydration import HydrationService
from agent_memory_server.services.indexing import Indexer
from agent_memory_server.services.jobs import JobService
from agent_memory_server.services.language import UsageAccount
from agent_memory_server.services.memories import MemoryService
from agent_memory_server.services.merging import MergingService
from agent_memory_server.services.named_tasks import PERMANENT, NamedTaskService
from agent_memory_server.services.pending_work import PendingWorkService
from agent_memory_server.services.presence import WorkerPresence
from agent_memory_server.services.promotion import PromotionService
from agent_memory_server.services.public_tasks import SUMMARY_VIEWS, PublicTasks
from agent_memory_server.services.query_optimization import OptimizedSearchService
from agent_memory_server.services.readiness import ReadinessService
from agent_memory_server.services.reindexing import ReindexingService
from agent_memory_server.services.schedules import Schedule, ScheduleService
from agent_memory_server.services.search import SearchService
from agent_memory_server.services.summarization import (
    SummarizationService,
)
from agent_memory_server.services.summary_views import SummaryViewService
from agent_memory_server.services.upkeep import UpkeepService
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
    optimized_search: OptimizedSearchService
    extraction: ExtractionOnRequestService
    hydration: HydrationService
    forgetting: ForgettingService
    compaction: CompactionService
    upkeep: UpkeepService
    reindexing: ReindexingService
    pending_work: PendingWorkService
    summary_views: SummaryViewService
    summary_work: PendingWorkService
    """The lane of summary view runs: they may take long, and must not keep promotions waiting."""
    lanes: Mapping[Lane, PendingWorkService]
    """Every lane of pending work. Nothing goes on in them by itself: ``tasks.running`` works through them."""
    named_tasks: NamedTaskService
    outbox: Outbox
    presence: WorkerPresence
    task_timeout_s: float
    schedules: ScheduleService
    jobs: JobService
    readiness: ReadinessService
    model_usage: UsageAccount
    """Calls and tokens by purpose and model, for metrics."""
    long_term_memory: bool
    local_mode: bool
    """No language model is configured: everything runs in this process, offline."""
    require_message_timestamps: bool
    storage: str
    embedding_model: str
    now: Callable[[], datetime]
    new_id: Callable[[], str]


PARALLEL_WITH_MODEL = 4
"""Sessions that are worked on at a time where a language model answers."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def new_ulid() -> str:
    return str(ULID())


def storage_url(settings: Settings) -> str:
    """STORAGE_URL, else REDIS_URL, else a file in DATA_DIR."""
    # A folder's name may hold characters that mean something in a URL.
    return settings.storage_url or settings.redis_url or f"sqlite:///{quote(str(settings.data_dir / DATABASE_NAME))}"


@contextlib.asynccontextmanager
async def open_app(
    settings: Settings,
    *,
    now: Callable[[], datetime] = utc_now,
    new_id: Callable[[], str] = new_ulid,
    language_model: LanguageModel | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    queue: TaskQueue | None = None,
    parallel: int | None = None,
) -> AsyncGenerator[MemoryApp]:
    """Open stores and models and yield the services; close them in reverse order.

    Nothing goes on in the background by itself: ``tasks.running.open_working_app`` adds that. ``language_model`` answers in
    place of the one that the settings name (for tests and embedding applications), and ``sleep`` is how the gate to it waits
    between attempts. ``queue`` is told when there is work to do; ``parallel``: how much of one lane is done at a time. Raises
    ConfigurationError with what to change.
    """
    if settings.wants_authentication:
        raise ConfigurationError(
            "AUTH_MODE, TOKEN_AUTH_ENABLED or DISABLE_AUTH=false asks for authentication, which this version does not have "
            "yet; it will not start open instead. Unset them to run on loopback without authentication."
        )
    async with contextlib.AsyncExitStack() as stack:
        stores = await open_stores(storage_url(settings), now=now, strict=settings.durability == "strict")
        stack.push_async_callback(stores.engine.close)
        embedder = await open_embedder(
            model=settings.embedding_model,
            openai_api_key=secret(settings.openai_api_key),
            openai_api_base=settings.openai_api_base,
        )
        stack.push_async_callback(embedder.close)
        here = InProcessQueue()
        queue = queue or here
        woken = here.woken(Lane.SESSIONS)
        timeout_s = settings.llm_task_timeout_minutes * 60
        model_usage = UsageAccount()
        gate = open_gate(settings, stack, language_model, Asking(model_usage, sleep))
        local_mode = gate is None
        indexer = Indexer(embedder=embedder, merges=gate is not None and settings.compact_semantic_duplicates)
        extractor = open_extractor(gate, settings)
        index_all = settings.index_all_messages_in_long_term_memory
        index_messages = local_mode if index_all is None else index_all
        enriching = enrichment_policy(settings)
        enrichment = ModelEnrichment(enriching) if gate else RuleEnrichment(enriching)
        promotion = PromotionService(
            sessions=stores.working_memory,
            memories=stores.memories,
            indexer=indexer,
            index_messages=index_messages,
            now=now,
            new_id=new_id,
            enrichment=enrichment,
        )
        embedding = EmbeddingService(store=stores.memories, embedder=embedder)
        extraction = ThreadExtractionService(
            sessions=stores.working_memory,
            memories=stores.memories,
            indexer=indexer,
            extractor=extractor,
            now=now,
            new_id=new_id,
        )
        tokenizer = open_tokenizer()
        summarization = SummarizationService(
            store=stores.working_memory,
            summarizer=open_summarizer(gate, settings),
            tokenizer=tokenizer,
            threshold=settings.summarization_threshold,
            now=now,
        )

        handlers = session_handlers(promotion, extraction, summarization, embedding)
        if gate is not None:
            enriching_later = EnrichmentService(
                store=stores.memories, gate=gate, policy=enriching, now=now, new_id=new_id
            )
            handlers[IntentKind.EXTRACT_MEMORY_STRUCTURE.value] = enriched_by(enriching_later)
        pending_work = PendingWorkService(
            outbox=stores.outbox,
            handlers=handlers,
            now=now,
            wake=woken,
            # A configured model is mostly waited for; rules and a scripted model gain nothing from company.
            parallel=parallel or (PARALLEL_WITH_MODEL if gate is not None and language_model is None else 1),
            timeout_s=timeout_s,
        )
        summaries_woken = here.woken(Lane.SUMMARIES)
        summary_views = SummaryViewService(
            store=stores.summary_views,
            memories=stores.memories,
            summarizer=open_partitions(gate, settings),
            now=now,
            new_id=new_id,
            wake=partial(queue.wake, Lane.SUMMARIES),
        )

        summary_work = PendingWorkService(
            outbox=stores.outbox,
            handlers=view_handlers(summary_views),
            now=now,
            wake=summaries_woken,
            batch=1,
            timeout_s=5 * timeout_s,
        )
        forgetting = ForgettingService(store=stores.memories, clock=stores.clock, now=now, new_id=new_id)
        compaction = CompactionService(
            store=stores.memories,
            comparisons=stores.comparisons,
            near_duplicates=NearDuplicates(
                store=stores.memories, comparisons=stores.comparisons, model=embedder.model, now=now
            ),
            merging=gate and MergingService(gate=gate, indexer=indexer, store=stores.memories, now=now, new_id=new_id),
            policy=compaction_policy(settings, embedder.model),
            now=now,
            new_id=new_id,
        )
        upkeep = UpkeepService(
            compaction=compaction,
            forgetting=forgetting,
            embedding=embedding,
            memories=stores.memories,
            sessions=stores.working_memory,
            outbox=stores.outbox,
            queue=queue,
            policy=forgetting_policy(settings),
            now=now,
            new_id=new_id,
        )
        schedules = ScheduleService(
            store=stores.schedules,
            schedules=(
                Schedule(
                    name=SUMMARY_VIEWS,
                    every=timedelta(minutes=settings.summary_view_refresh_every_minutes),
                    intents=summary_views.due_refreshes,
                ),
                *upkeep_schedules(upkeep, settings),
            ),
            now=now,
            wake=lambda: wake_all(),
        )

        def wake_all() -> None:
            for lane in Lane:
                queue.wake(lane)

        working_memory = WorkingMemoryService(
            store=stores.working_memory,
            tokenizer=tokenizer,
            policy=WorkingMemoryPolicy(
                promotes=settings.long_term_memory,
                indexes_messages=index_messages,
                extracts=settings.enable_discrete_memory_extraction,
                extraction_debounce_s=settings.extraction_debounce_seconds,
                summarizes=settings.enable_working_memory_summarization,
                summarization_threshold=settings.summarization_threshold,
                max_future_timestamp_s=settings.max_future_timestamp_seconds,
            ),
            now=now,
            new_id=new_id,
            wake=partial(queue.wake, Lane.SESSIONS),
        )
        search = SearchService(store=stores.memories, embedder=embedder, now=now)
        optimized_search = OptimizedSearchService(
            search=search,
            optimizer=open_query_optimizer(gate, settings),
        )
        memories = MemoryService(
            store=stores.memories,
            indexer=indexer,
            enrichment=enrichment,
            now=now,
            new_id=new_id,
            wake=partial(queue.wake, Lane.SESSIONS),
        )
        extraction_on_request = ExtractionOnRequestService(
            memories=stores.memories,
            indexer=indexer,
            extractor=extractor,
            tokenizer=tokenizer,
            now=now,
            new_id=new_id,
            wake=partial(queue.wake, Lane.SESSIONS),
        )
        lanes = {
            Lane.SESSIONS: pending_work,
            Lane.SUMMARIES: summary_work,
            Lane.UPKEEP: PendingWorkService(
                outbox=stores.outbox, handlers=upkeep.handlers, now=now, wake=here.woken(Lane.UPKEEP), batch=1
            ),
        }
        jobs = JobService(store=stores.jobs, now=now, wake=wake_all)
        named_tasks = NamedTaskService(
            tasks=PublicTasks(
                memories=memories,
                store=stores.memories,
                outbox=stores.outbox,
                forgetting=forgetting,
                compaction=compaction,
                summary_views=summary_views,
                schedules=schedules,
                enrichment=enrichment,
                configured_policy=forgetting_policy(settings),
                lanes=lanes,
                now=now,
            ),
            outbox=stores.outbox,
            jobs=jobs,
            queue=queue,
            now=now,
            new_id=new_id,
        )
        lanes[Lane.TASKS] = PendingWorkService(
            outbox=stores.outbox,
            handlers={IntentKind.RUN_TASK.value: named_tasks.carry_out},
            now=now,
            wake=here.woken(Lane.TASKS),
            batch=1,
            timeout_s=timeout_s,
            permanent=PERMANENT,
        )
        app = MemoryApp(
            working_memory=working_memory,
            memories=memories,
            search=search,
            optimized_search=optimized_search,
            extraction=extraction_on_request,
            hydration=HydrationService(working_memory=working_memory, search=optimized_search),
            forgetting=forgetting,
            compaction=compaction,
            upkeep=upkeep,
            reindexing=ReindexingService(store=stores.memories, embedder=embedder),
            pending_work=pending_work,
            summary_views=summary_views,
            summary_work=summary_work,
            schedules=schedules,
            lanes=lanes,
            named_tasks=named_tasks,
            outbox=stores.outbox,
            presence=WorkerPresence(leases=stores.leases, holder=new_id(), now=now),
            task_timeout_s=timeout_s,
            jobs=jobs,
            readiness=ReadinessService(engine=stores.engine, embedding_model=embedder.model),
            model_usage=model_usage,
            long_term_memory=settings.long_term_memory,
            local_mode=local_mode,
            require_message_timestamps=settings.require_message_timestamps,
            storage=stores.engine.describe(),
            embedding_model=embedder.model,
            now=now,
            new_id=new_id,
        )
        yield app
