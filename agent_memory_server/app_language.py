"""The composition root's part about language models: settings in, a gate and what works through it out (or by rules)."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import SecretStr

from agent_memory_server.config import Settings
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.jobs import ClaimedIntent
from agent_memory_server.llm.access import AwsKeys, ModelAccess
from agent_memory_server.llm.opening import ModelNames, RoutedLanguageModel, chosen_models
from agent_memory_server.ports.language_model import LanguageModel
from agent_memory_server.ports.summarizer import Summarizer as PartitionSummarizer
from agent_memory_server.services.enrichment import EnrichmentPolicy, EnrichmentService
from agent_memory_server.services.extraction.batches import Extractor
from agent_memory_server.services.extraction.by_model import ModelExtractor
from agent_memory_server.services.extraction.by_rules import RuleExtractor
from agent_memory_server.services.language import IN_REQUEST, GatePolicy, LanguageGate, ModelChoice, UsageAccount
from agent_memory_server.services.partition_summaries import ExtractivePartitions, ModelPartitions
from agent_memory_server.services.pending_work import Handler
from agent_memory_server.services.query_optimization import QueryOptimizer
from agent_memory_server.services.quotas import ModelTokenQuota
from agent_memory_server.services.summarization import ExtractiveSummarizer, ModelSummarizer, Summarizer


def secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None


def enriched_by(service: EnrichmentService) -> Handler:
    async def enrich(intent: ClaimedIntent) -> None:
        await service.enrich(Scope(intent.tenant, intent.namespace, intent.user_id), intent.payload["ids"])

    return enrich


def enrichment_policy(settings: Settings) -> EnrichmentPolicy:
    return EnrichmentPolicy(
        topics=settings.enable_topic_extraction, entities=settings.enable_ner, top_k_topics=settings.top_k_topics
    )


def open_query_optimizer(gate: LanguageGate | None, settings: Settings) -> QueryOptimizer:
    return QueryOptimizer(
        gate and gate.with_policy(IN_REQUEST),
        prompt=settings.query_optimization_prompt_template,
        length_min=settings.min_optimized_query_length,
    )


def open_extractor(gate: LanguageGate | None, settings: Settings) -> Extractor:
    return ModelExtractor(gate=gate, top_k_topics=settings.top_k_topics) if gate else RuleExtractor()


def open_summarizer(gate: LanguageGate | None, settings: Settings) -> Summarizer:
    return ModelSummarizer(gate, prompt=settings.progressive_summarization_prompt) if gate else ExtractiveSummarizer()


def open_partitions(gate: LanguageGate | None, settings: Settings) -> PartitionSummarizer:
    return ModelPartitions(gate, threshold=settings.summarization_threshold) if gate else ExtractivePartitions()


@dataclass(frozen=True, slots=True)
class Asking:
    """What every gate shares."""

    usage: UsageAccount
    sleep: Callable[[float], Awaitable[None]]
    quota: ModelTokenQuota


def open_gate(
    settings: Settings, stack: contextlib.AsyncExitStack, given: LanguageModel | None, asking: Asking
) -> LanguageGate | None:
    """The gate to the given model or the configured ones, or None: local mode."""
    if given is not None:
        name = settings.generation_model or "given"
        names = ModelNames(generation=name, fast=settings.fast_model or name)
        return _gate(given, names, stack, asking)
    access = ModelAccess(
        openai_api_key=secret(settings.openai_api_key),
        openai_api_base=settings.openai_api_base,
        anthropic_api_key=secret(settings.anthropic_api_key),
        anthropic_api_base=settings.anthropic_api_base,
        aws=AwsKeys(
            region=settings.region_name,
            access_key_id=secret(settings.aws_access_key_id),
            secret_access_key=secret(settings.aws_secret_access_key),
            session_token=secret(settings.aws_session_token),
        ),
    )
    names = chosen_models(access, generation=settings.generation_model, fast=settings.fast_model)
    if names is None:
        return None
    return _gate(RoutedLanguageModel(access), names, stack, asking)


def _gate(model: LanguageModel, names: ModelNames, stack: contextlib.AsyncExitStack, asking: Asking) -> LanguageGate:
    stack.push_async_callback(model.close)
    return LanguageGate(
        model=model,
        choice=ModelChoice(generation=names.generation, fast=names.fast),
        policy=GatePolicy(),
        sleep=asking.sleep,
        quota=asking.quota,
        account=asking.usage.add,
    )
