"""The composition root's part about background work: which service does what, by which policy, and how often."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from agent_memory_server.config import Settings
from agent_memory_server.domain.duplicate_thresholds import thresholds_for
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.jobs import ClaimedIntent, IntentKind
from agent_memory_server.domain.retention import ForgettingPolicy, RetentionPolicy
from agent_memory_server.services.compaction_reports import CompactionPolicy
from agent_memory_server.services.embedding import EmbeddingService
from agent_memory_server.services.extraction.thread import ThreadExtractionService
from agent_memory_server.services.pending_work import Handler
from agent_memory_server.services.promotion import PromotionService
from agent_memory_server.services.public_tasks import COMPACTION, FORGETTING
from agent_memory_server.services.schedules import Schedule
from agent_memory_server.services.summarization import SummarizationService
from agent_memory_server.services.summary_views import SummaryViewService
from agent_memory_server.services.upkeep import (
    PURGE_EXPIRED,
    PURGE_EXPIRED_MEMORIES,
    PURGED_EVERY,
    THIN_JOURNAL,
    THINNED_EVERY,
    UpkeepService,
)


def session_handlers(
    promotion: PromotionService,
    extraction: ThreadExtractionService,
    summarization: SummarizationService,
    embedding: EmbeddingService,
) -> dict[str, Handler]:
    """What is done about everything that a write asks for."""

    async def promote(intent: ClaimedIntent) -> None:
        await promotion.promote(_session_scope(intent), author=intent.payload.get("author"))

    async def extract(intent: ClaimedIntent) -> None:
        await extraction.run(_session_scope(intent), author=intent.payload.get("author"))

    async def summarize(intent: ClaimedIntent) -> None:
        await summarization.run(_session_scope(intent), window=intent.payload.get("window"))

    async def embed(_: ClaimedIntent) -> None:
        await embedding.embed_pending()

    return {
        IntentKind.PROMOTE_WORKING_MEMORY.value: promote,
        IntentKind.RUN_DELAYED_EXTRACTION.value: extract,
        IntentKind.SUMMARIZE_SESSION.value: summarize,
        IntentKind.EMBED_MEMORIES.value: embed,
    }


def view_handlers(summary_views: SummaryViewService) -> dict[str, Handler]:
    """What is done about runs of summary views."""

    async def refresh(intent: ClaimedIntent) -> None:
        await summary_views.refresh(
            ScopeSelector(intent.tenant, intent.namespace, intent.user_id),
            view_id=intent.payload["view_id"],
            force=intent.payload["force"],
        )

    return {IntentKind.REFRESH_SUMMARY_VIEW.value: refresh}


def compaction_policy(settings: Settings, embedding_model: str) -> CompactionPolicy:
    thresholds = thresholds_for(embedding_model)
    if settings.deduplication_distance_threshold is not None:
        thresholds = replace(thresholds, at_write=settings.deduplication_distance_threshold)
    return CompactionPolicy(by_meaning=settings.compact_semantic_duplicates, thresholds=thresholds)


def forgetting_policy(settings: Settings) -> ForgettingPolicy | None:
    if not settings.forgetting_enabled:
        return None
    return ForgettingPolicy(
        max_age_days=settings.forgetting_max_age_days,
        max_inactive_days=settings.forgetting_max_inactive_days,
        budget=settings.forgetting_budget_keep_top_n,
    )


def retention_policies(settings: Settings) -> tuple[RetentionPolicy, ...]:
    return tuple(
        RetentionPolicy(
            name=each.name,
            namespace=each.namespace,
            policy=ForgettingPolicy(
                max_age_days=each.max_age_days,
                max_inactive_days=each.max_inactive_days,
                memory_types=each.memory_types,
            ),
        )
        for each in settings.retention_policies
    )


def upkeep_schedules(upkeep: UpkeepService, settings: Settings) -> tuple[Schedule, ...]:
    return (
        Schedule(
            name=COMPACTION, every=timedelta(minutes=settings.compaction_every_minutes), intents=upkeep.compaction_due
        ),
        Schedule(
            name=FORGETTING, every=timedelta(minutes=settings.forgetting_every_minutes), intents=upkeep.forgetting_due
        ),
        Schedule(name=PURGE_EXPIRED, every=PURGED_EVERY, intents=upkeep.purge_due),
        Schedule(name=PURGE_EXPIRED_MEMORIES, every=PURGED_EVERY, intents=upkeep.expiry_due),
        Schedule(name=THIN_JOURNAL, every=THINNED_EVERY, intents=upkeep.thinning_due),
    )


def _session_scope(intent: ClaimedIntent) -> Scope:
    return Scope(intent.tenant, intent.namespace, intent.user_id, intent.payload["session_id"])
