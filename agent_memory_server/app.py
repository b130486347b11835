"""The composition root: settings in, services out. The only place that reads settings and picks adapters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from ulid import ULID

from agent_memory_server.app_authentication import check_authentication
from agent_memory_server.app_language import Asking, open_gate, secret
from agent_memory_server.app_looking_back import refusing
from agent_memory_server.app_services import Services
from agent_memory_server.config import Settings
from agent_memory_server.domain.jobs import Lane
from agent_memory_server.domain.search import SearchMode
from agent_memory_server.embeddings.opening import open_embedder
from agent_memory_server.embeddings.rerankers import open_reranker
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.ports.language_model import LanguageModel
from agent_memory_server.ports.outbox import Outbox
from agent_memory_server.ports.reranker import Reranker
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.task_queue import TaskQueue
from agent_memory_server.queues.in_process import InProcessQueue
from agent_memory_server.services.access_tokens import AccessTokenService
from agent_memory_server.services.authentication import Authentication
from agent_memory_server.services.compaction import CompactionService
from agent_memory_server.services.doctor import DoctorService
from agent_memory_server.services.erasure import ErasureService
from agent_memory_server.services.events import EventFeed
from agent_memory_server.services.exporting import ExportService
from agent_memory_server.services.extraction.on_request import ExtractionOnRequestService
from agent_memory_server.services.forgetting import ForgettingService
from agent_memory_server.services.history import HistoryService
from agent_memory_server.services.hydration import HydrationService
from agent_memory_server.services.importing import ImportService
from agent_memory_server.services.jobs import JobService
from agent_memory_server.services.language import UsageAccount
from agent_memory_server.services.memories import MemoryService
from agent_memory_server.services.named_tasks import NamedTaskService
from agent_memory_server.services.overviews import OverviewService
from agent_memory_server.services.pending_work import PendingWorkService
from agent_memory_server.services.presence import WorkerPresence
from agent_memory_server.services.query_optimization import OptimizedSearchService
from agent_memory_server.services.quotas import ModelTokenQuota
from agent_memory_server.services.readiness import ReadinessService
from agent_memory_server.services.refused_content import RefusedContent
from agent_memory_server.services.reindexing import ReindexingService
from agent_memory_server.services.schedules import ScheduleService
from agent_memory_server.services.search import SearchService
from agent_memory_server.services.search_explanation import SearchExplanationService
from agent_memory_server.services.summary_views import SummaryViewService
from agent_memory_server.services.taking_in import TakingInService
from agent_memory_server.services.time_travel import TimeTravelService
from agent_memory_server.services.undo import UndoService
from agent_memory_server.services.upkeep import UpkeepService
from agent_memory_server.services.webhooks import WebhookService
from agent_memory_server.services.working_memory import WorkingMemoryService
from agent_memory_server.stores.opening import open_stores
from agent_memory_server.stores.own_engine import is_own, open_own_engine
from agent_memory_server.tokenizers.opening import open_tokenizer

DATABASE_NAME = "memory.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryApp:
    """The services of one running server, and what its banner and its transports need to know."""

    authentication: Authentication
    """Who is asking: every transport asks it before anything else."""
    access_tokens: AccessTokenService
    working_memory: WorkingMemoryService
    memories: MemoryService
    search: SearchService
    search_explanation: SearchExplanationService
    optimized_search: OptimizedSearchService
    extraction: ExtractionOnRequestService
    hydration: HydrationService
    doctor: DoctorService
    erasure: ErasureService
    refused_content: RefusedContent
    exporting: ExportService
    importing: ImportService
    taking_in: TakingInService
    """What people have elsewhere."""
    history: HistoryService
    """Histories of memories, and the operations there were."""
    undo: UndoService
    events: EventFeed
    webhooks: WebhookService
    time_travel: TimeTravelService
    """Search, listing and by id, as of an earlier time."""
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
    overviews: OverviewService
    readiness: ReadinessService
    model_usage: UsageAccount
    """Calls and tokens by purpose and model, for metrics."""
    long_term_memory: bool
    local_mode: bool
    """No language model is configured: everything runs in this process, offline."""
    require_message_timestamps: bool
    docs_public: bool
    """Whether the API's documentation is shown without a credential."""
    storage: str
    embedding_model: str
    search_mode_default: SearchMode
    """Of a REST search that names none."""
    now: Callable[[], datetime]
    new_id: Callable[[], str]


PARALLEL_WITH_MODEL = 4
"""Sessions that are worked on at a time where a language model answers."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def new_ulid() -> str:
    return str(ULID())


def storage_url(settings: Settings) -> str:
    """Where the built-in engines have the data: STORAGE_URL, else REDIS_URL, else a file in DATA_DIR.

    Raises ConfigurationError when the data are in an engine of somebody's own: nothing built in can migrate or copy those.
    """
    if is_own(settings.memory_vector_db_factory):
        raise ConfigurationError(
            "The engine that MEMORY_VECTOR_DB_FACTORY opens brings its data up to date itself; unset the setting to work on what "
            "STORAGE_URL names."
        )
    # A folder's name may hold characters that mean something in a URL.
    return settings.storage_url or settings.redis_url or f"sqlite:///{quote(str(settings.data_dir / DATABASE_NAME))}"


async def _opened_stores(settings: Settings, now: Callable[[], datetime]) -> Stores:
    if is_own(settings.memory_vector_db_factory):
        return await open_own_engine(settings.memory_vector_db_factory, settings.storage_url, now=now)
    return await open_stores(
        storage_url(settings), now=now, strict=settings.durability == "strict", queue_name=settings.docket_name
    )


@contextlib.asynccontextmanager
async def open_app(
    settings: Settings,
    *,
    now: Callable[[], datetime] = utc_now,
    new_id: Callable[[], str] = new_ulid,
    language_model: LanguageModel | None = None,
    reranker: Reranker | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    queue: TaskQueue | None = None,
    parallel: int | None = None,
) -> AsyncGenerator[MemoryApp]:
    """Open stores and models and yield the services; close them in reverse order.

    Nothing goes on in the background by itself: ``tasks.running.open_working_app`` adds that. ``language_model`` and
    ``reranker`` answer in place of those that the settings name (for tests and embedding applications), and ``sleep`` is how the
    gate to the model waits between attempts. ``queue`` is told when there is work to do; ``parallel``: how much of one lane is
    done at a time. Raises ConfigurationError with what to change.
    """
    check_authentication(settings)
    async with contextlib.AsyncExitStack() as stack:
        stores = await _opened_stores(settings, now)
        stack.push_async_callback(stores.engine.close)
        if settings.refuse_erased_content:
            stores = refusing(stores, now)
        embedder = await open_embedder(
            model=settings.embedding_model,
            openai_api_key=secret(settings.openai_api_key),
            openai_api_base=settings.openai_api_base,
        )
        stack.push_async_callback(embedder.close)
        reranker = reranker or await open_reranker(settings.reranker_model)
        here = InProcessQueue()
        model_usage = UsageAccount()
        gate = open_gate(
            settings,
            stack,
            language_model,
            Asking(model_usage, sleep, ModelTokenQuota(settings.rate_limit_model_tokens_per_hour)),
        )
        services = Services(
            settings=settings,
            stores=stores,
            embedder=embedder,
            reranker=reranker,
            tokenizer=open_tokenizer(),
            gate=gate,
            queue=queue or here,
            here=here,
            # A configured model is mostly waited for; rules and a scripted model gain nothing from company.
            parallel=parallel or (PARALLEL_WITH_MODEL if gate is not None and language_model is None else 1),
            now=now,
            new_id=new_id,
        )
        stack.push_async_callback(services.authentication.close)
        yield _app(services, model_usage)


def _app(services: Services, model_usage: UsageAccount) -> MemoryApp:
    """What the transports see of the services."""
    settings, stores = services.settings, services.stores
    presence = WorkerPresence(leases=stores.leases, holder=services.new_id(), now=services.now)
    readiness = ReadinessService(engine=stores.engine, embedding_model=services.embedder.model)
    return MemoryApp(
        authentication=services.authentication,
        access_tokens=services.access_tokens,
        working_memory=services.working_memory,
        memories=services.memories,
        search=services.search,
        search_explanation=services.search_explanation,
        optimized_search=services.optimized_search,
        extraction=services.extraction_on_request,
        hydration=services.hydration,
        doctor=_doctor(services, presence, readiness),
        erasure=services.erasure,
        refused_content=services.refused_content,
        exporting=services.exporting,
        importing=services.importing,
        taking_in=services.taking_in,
        history=services.history,
        undo=services.undo,
        events=services.events,
        webhooks=services.webhooks,
        time_travel=services.time_travel,
        forgetting=services.forgetting,
        compaction=services.compaction,
        upkeep=services.upkeep,
        reindexing=services.reindexing,
        pending_work=services.session_lane,
        summary_views=services.summary_views,
        summary_work=services.summary_lane,
        schedules=services.schedules,
        lanes=services.lanes,
        named_tasks=services.named_tasks,
        outbox=stores.outbox,
        presence=presence,
        task_timeout_s=services.task_timeout_s,
        jobs=services.jobs,
        overviews=services.overviews,
        readiness=readiness,
        model_usage=model_usage,
        long_term_memory=settings.long_term_memory,
        local_mode=services.gate is None,
        require_message_timestamps=settings.require_message_timestamps,
        docs_public=settings.docs_public or not services.authentication.is_on,
        storage=stores.engine.describe(),
        embedding_model=services.embedder.model,
        search_mode_default=SearchMode(settings.search_mode_default),
        now=services.now,
        new_id=services.new_id,
    )


def _doctor(services: Services, presence: WorkerPresence, readiness: ReadinessService) -> DoctorService:
    return DoctorService(
        readiness=readiness,
        memories=services.stores.memories,
        outbox=services.stores.outbox,
        presence=presence,
        access_tokens=services.stores.access_tokens,
        model=services.embedder.model,
        authenticates=services.authentication.is_on,
        now=services.now,
    )
