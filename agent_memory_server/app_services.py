"""Every service over the opened adapters: each is made once, when something first asks for it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial

from agent_memory_server.app_authentication import open_authentication
from agent_memory_server.app_background import (
    compaction_policy,
    forgetting_policy,
    retention_policies,
    session_handlers,
    upkeep_schedules,
    view_handlers,
)
from agent_memory_server.app_language import (
    enriched_by,
    enrichment_policy,
    open_extractor,
    open_partitions,
    open_query_optimizer,
    open_summarizer,
)
from agent_memory_server.app_looking_back import LookingBack
from agent_memory_server.auth.bcrypt_hashes import BcryptHashes
from agent_memory_server.domain.jobs import IntentKind, Lane
from agent_memory_server.services.access_tokens import AccessTokenService
from agent_memory_server.services.audit import Audit
from agent_memory_server.services.authentication import Authentication
from agent_memory_server.services.compaction import CompactionService
from agent_memory_server.services.context_filling import ContextFilling
from agent_memory_server.services.deduplication import NearDuplicates
from agent_memory_server.services.embedding import EmbeddingService
from agent_memory_server.services.endings import EndingService
from agent_memory_server.services.enrichment import EnrichmentService, ModelEnrichment, RuleEnrichment
from agent_memory_server.services.erasure import ErasureService
from agent_memory_server.services.exporting import ExportService
from agent_memory_server.services.extraction.batches import Extractor
from agent_memory_server.services.extraction.on_request import ExtractionOnRequestService
from agent_memory_server.services.extraction.thread import ThreadExtractionService
from agent_memory_server.services.forgetting import ForgettingService
from agent_memory_server.services.hydration import HydrationService
from agent_memory_server.services.imported_tokens import ImportedTokens
from agent_memory_server.services.importing import ImportService
from agent_memory_server.services.jobs import JobService
from agent_memory_server.services.memories import MemoryService
from agent_memory_server.services.merging import MergingService
from agent_memory_server.services.named_tasks import PERMANENT, NamedTaskService
from agent_memory_server.services.overviews import OverviewService
from agent_memory_server.services.pending_work import PendingWorkService
from agent_memory_server.services.promotion import PromotionService
from agent_memory_server.services.public_tasks import SUMMARY_VIEWS, PublicTasks
from agent_memory_server.services.query_optimization import OptimizedSearchService
from agent_memory_server.services.reindexing import ReindexingService
from agent_memory_server.services.schedules import Schedule, ScheduleService
from agent_memory_server.services.search import SearchService
from agent_memory_server.services.search_explanation import SearchExplanationService
from agent_memory_server.services.summarization import SummarizationService
from agent_memory_server.services.summary_views import SummaryViewService
from agent_memory_server.services.taking_in import TakingInService
from agent_memory_server.services.upkeep import UpkeepService
from agent_memory_server.services.working_memory import WorkingMemoryPolicy, WorkingMemoryService
from agent_memory_server.stores.values import exact_json
from agent_memory_server.telemetry import traced

PARALLEL_WEBHOOKS = 4
"""Receivers that are told at a time: one that is slow keeps few others waiting."""


@dataclass(frozen=True, kw_only=True)
class Services(LookingBack):
    """The wiring. What is passed in is open already, and closed by whoever opened it."""

    @property
    def task_timeout_s(self) -> float:
        return self.settings.llm_task_timeout_minutes * 60

    @property
    def index_messages(self) -> bool:
        chosen = self.settings.index_all_messages_in_long_term_memory
        return self.gate is None if chosen is None else chosen

    def wake_all(self) -> None:
        for lane in Lane:
            self.queue.wake(lane)

    # -- who may do what

    @cached_property
    def audit(self) -> Audit:
        return Audit()

    @cached_property
    def access_tokens(self) -> AccessTokenService:
        imported = ImportedTokens(store=self.stores.access_tokens, hashes=BcryptHashes())
        return AccessTokenService(
            store=self.stores.access_tokens, imported=imported, audit=self.audit, now=self.now, new_id=self.new_id
        )

    @cached_property
    def authentication(self) -> Authentication:
        return open_authentication(self.settings, self.access_tokens, self.audit)

    # -- making memories

    @cached_property
    def extractor(self) -> Extractor:
        return open_extractor(self.gate, self.settings)

    @cached_property
    def enrichment(self) -> ModelEnrichment | RuleEnrichment:
        policy = enrichment_policy(self.settings)
        return ModelEnrichment(policy) if self.gate else RuleEnrichment(policy)

    @cached_property
    def embedding(self) -> EmbeddingService:
        return EmbeddingService(store=self.stores.memories, embedder=self.embedder)

    @cached_property
    def promotion(self) -> PromotionService:
        return PromotionService(
            sessions=self.stores.working_memory,
            memories=self.stores.memories,
            indexer=self.indexer,
            index_messages=self.index_messages,
            now=self.now,
            new_id=self.new_id,
            enrichment=self.enrichment,
        )

    @cached_property
    def thread_extraction(self) -> ThreadExtractionService:
        return ThreadExtractionService(
            sessions=self.stores.working_memory,
            memories=self.stores.memories,
            indexer=self.indexer,
            extractor=self.extractor,
            now=self.now,
            new_id=self.new_id,
            ends=self.gate is not None,
        )

    @cached_property
    def extraction_on_request(self) -> ExtractionOnRequestService:
        return ExtractionOnRequestService(
            memories=self.stores.memories,
            indexer=self.indexer,
            extractor=self.extractor,
            tokenizer=self.tokenizer,
            now=self.now,
            new_id=self.new_id,
            wake=partial(self.queue.wake, Lane.SESSIONS),
        )

    @cached_property
    def summarization(self) -> SummarizationService:
        return SummarizationService(
            store=self.stores.working_memory,
            summarizer=open_summarizer(self.gate, self.settings),
            tokenizer=self.tokenizer,
            threshold=self.settings.summarization_threshold,
            now=self.now,
        )

    # -- what clients ask for

    @cached_property
    def working_memory(self) -> WorkingMemoryService:
        settings = self.settings
        return WorkingMemoryService(
            store=self.stores.working_memory,
            tokenizer=self.tokenizer,
            policy=WorkingMemoryPolicy(
                promotes=settings.long_term_memory,
                indexes_messages=self.index_messages,
                extracts=settings.enable_discrete_memory_extraction,
                extraction_debounce_s=settings.extraction_debounce_seconds,
                summarizes=settings.enable_working_memory_summarization,
                summarization_threshold=settings.summarization_threshold,
                max_future_timestamp_s=settings.max_future_timestamp_seconds,
            ),
            now=self.now,
            new_id=self.new_id,
            wake=partial(self.queue.wake, Lane.SESSIONS),
        )

    @cached_property
    def memories(self) -> MemoryService:
        return MemoryService(
            store=self.stores.memories,
            journal=self.stores.journal,
            indexer=self.indexer,
            enrichment=self.enrichment,
            now=self.now,
            new_id=self.new_id,
            wake=partial(self.queue.wake, Lane.SESSIONS),
        )

    @cached_property
    def search(self) -> SearchService:
        filling = ContextFilling(store=self.stores.memories, tokenizer=self.tokenizer)
        return SearchService(
            store=self.stores.memories, embedder=self.embedder, now=self.now, filling=filling, reranking=self.reranking
        )

    @cached_property
    def search_explanation(self) -> SearchExplanationService:
        return SearchExplanationService(
            search=self.search,
            store=self.stores.memories,
            journal=self.stores.journal,
            embedder=self.embedder,
            travel=self.time_travel,
        )

    @cached_property
    def optimized_search(self) -> OptimizedSearchService:
        return OptimizedSearchService(search=self.search, optimizer=open_query_optimizer(self.gate, self.settings))

    @cached_property
    def hydration(self) -> HydrationService:
        return HydrationService(working_memory=self.working_memory, search=self.optimized_search)

    @cached_property
    def summary_views(self) -> SummaryViewService:
        return SummaryViewService(
            store=self.stores.summary_views,
            memories=self.stores.memories,
            summarizer=open_partitions(self.gate, self.settings),
            now=self.now,
            new_id=self.new_id,
            wake=partial(self.queue.wake, Lane.SUMMARIES),
        )

    @cached_property
    def jobs(self) -> JobService:
        return JobService(store=self.stores.jobs, now=self.now, wake=self.wake_all)

    @cached_property
    def overviews(self) -> OverviewService:
        return OverviewService(store=self.stores.overviews, model=self.embedder.model, now=self.now)

    @cached_property
    def exporting(self) -> ExportService:
        return ExportService(stores=self.stores, now=self.now)

    @cached_property
    def importing(self) -> ImportService:
        return ImportService(
            stores=self.stores, embedder=self.embedder, now=self.now, wake=self.wake_all, parse=exact_json
        )

    @cached_property
    def taking_in(self) -> TakingInService:
        return TakingInService(
            stores=self.stores, memories=self.memories, working_memory=self.working_memory, now=self.now
        )

    @cached_property
    def erasure(self) -> ErasureService:
        return ErasureService(
            stores=self.stores,
            now=self.now,
            new_id=self.new_id,
            new_key=partial(secrets.token_bytes, 32),
            wake=partial(self.queue.wake, Lane.UPKEEP),
        )

    # -- upkeep

    @cached_property
    def forgetting(self) -> ForgettingService:
        stores = self.stores
        return ForgettingService(store=stores.memories, clock=stores.clock, now=self.now, new_id=self.new_id)

    @cached_property
    def compaction(self) -> CompactionService:
        stores, model = self.stores, self.embedder.model
        merging = None
        if self.gate is not None:
            merging = MergingService(
                gate=self.gate, indexer=self.indexer, store=stores.memories, now=self.now, new_id=self.new_id
            )
        return CompactionService(
            store=stores.memories,
            comparisons=stores.comparisons,
            near_duplicates=NearDuplicates(
                store=stores.memories, comparisons=stores.comparisons, model=model, now=self.now
            ),
            merging=merging,
            policy=compaction_policy(self.settings, model),
            now=self.now,
            new_id=self.new_id,
        )

    @cached_property
    def reindexing(self) -> ReindexingService:
        return ReindexingService(store=self.stores.memories, embedder=self.embedder)

    @cached_property
    def upkeep(self) -> UpkeepService:
        return UpkeepService(
            compaction=self.compaction,
            forgetting=self.forgetting,
            embedding=self.embedding,
            memories=self.stores.memories,
            sessions=self.stores.working_memory,
            outbox=self.stores.outbox,
            queue=self.queue,
            journal=self.stores.journal,
            undo_retention=timedelta(days=self.settings.undo_retention_days),
            policy=forgetting_policy(self.settings),
            retention=retention_policies(self.settings),
            now=self.now,
            new_id=self.new_id,
        )

    @cached_property
    def schedules(self) -> ScheduleService:
        views = Schedule(
            name=SUMMARY_VIEWS,
            every=timedelta(minutes=self.settings.summary_view_refresh_every_minutes),
            intents=self.summary_views.due_refreshes,
        )
        return ScheduleService(
            store=self.stores.schedules,
            schedules=(views, *upkeep_schedules(self.upkeep, self.settings)),
            now=self.now,
            wake=self.wake_all,
        )

    # -- working through what is pending

    @cached_property
    def session_lane(self) -> PendingWorkService:
        handlers = session_handlers(self.promotion, self.thread_extraction, self.summarization, self.embedding)
        if self.gate is not None:
            enriching = EnrichmentService(
                store=self.stores.memories,
                gate=self.gate,
                policy=enrichment_policy(self.settings),
                now=self.now,
                new_id=self.new_id,
            )
            handlers[IntentKind.EXTRACT_MEMORY_STRUCTURE.value] = enriched_by(enriching)
            endings = EndingService(
                gate=self.gate,
                store=self.stores.memories,
                embedder=self.embedder,
                now=self.now,
                new_id=self.new_id,
            )
            handlers[IntentKind.END_STATEMENTS.value] = endings.carry_out
        return PendingWorkService(
            outbox=self.stores.outbox,
            handlers=traced(handlers),
            now=self.now,
            wake=self.here.woken(Lane.SESSIONS),
            parallel=self.parallel,
            timeout_s=self.task_timeout_s,
        )

    @cached_property
    def summary_lane(self) -> PendingWorkService:
        return PendingWorkService(
            outbox=self.stores.outbox,
            handlers=traced(view_handlers(self.summary_views)),
            now=self.now,
            wake=self.here.woken(Lane.SUMMARIES),
            batch=1,
            timeout_s=5 * self.task_timeout_s,
        )

    @cached_property
    def upkeep_lane(self) -> PendingWorkService:
        return PendingWorkService(
            outbox=self.stores.outbox,
            handlers=traced({**self.upkeep.handlers, IntentKind.ERASE.value: self.erasure.carry_out}),
            now=self.now,
            wake=self.here.woken(Lane.UPKEEP),
            batch=1,
        )

    @cached_property
    def worked_on_by_name(self) -> Mapping[Lane, PendingWorkService]:
        """The lanes that a task by name may have to work through."""
        return {
            Lane.SESSIONS: self.session_lane,
            Lane.SUMMARIES: self.summary_lane,
            Lane.UPKEEP: self.upkeep_lane,
        }

    @cached_property
    def named_tasks(self) -> NamedTaskService:
        tasks = PublicTasks(
            memories=self.memories,
            store=self.stores.memories,
            outbox=self.stores.outbox,
            forgetting=self.forgetting,
            compaction=self.compaction,
            summary_views=self.summary_views,
            schedules=self.schedules,
            enrichment=self.enrichment,
            configured_policy=forgetting_policy(self.settings),
            lanes=self.worked_on_by_name,
            now=self.now,
        )
        return NamedTaskService(
            tasks=tasks,
            outbox=self.stores.outbox,
            jobs=self.jobs,
            queue=self.queue,
            now=self.now,
            new_id=self.new_id,
        )

    @cached_property
    def lanes(self) -> Mapping[Lane, PendingWorkService]:
        """Every lane of pending work."""
        by_name = PendingWorkService(
            outbox=self.stores.outbox,
            handlers=traced({IntentKind.RUN_TASK.value: self.named_tasks.carry_out}),
            now=self.now,
            wake=self.here.woken(Lane.TASKS),
            batch=1,
            timeout_s=self.task_timeout_s,
            permanent=PERMANENT,
        )
        webhooks = PendingWorkService(
            outbox=self.stores.outbox,
            handlers=traced({IntentKind.DELIVER_WEBHOOK.value: self.webhooks.carry_out}),
            now=self.now,
            wake=self.here.woken(Lane.WEBHOOKS),
            parallel=PARALLEL_WEBHOOKS,
        )
        return {**self.worked_on_by_name, Lane.TASKS: by_name, Lane.WEBHOOKS: webhooks}
