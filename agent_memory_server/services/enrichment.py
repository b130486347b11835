"""Topics and entities for memories that came without: at once by rules, or in the background by a model.

Only what the client left empty is filled. Memories that the server made of messages are left alone: a question about every
message would cost more than it tells. Enrichment is an operation of its own in the journal; it never brings back what was
deleted, and never overwrites an edit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, cast

from agent_memory_server import prompts
from agent_memory_server.domain.extraction_rules.labels import entities_of, topics_of
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.jobs import IntentKind
from agent_memory_server.domain.operations import Intent, Operation, OperationKind, Put
from agent_memory_server.domain.records import MESSAGE_STRATEGY, Memory, MemoryKey, derived_id
from agent_memory_server.domain.strategies import fill_template
from agent_memory_server.domain.tags import clean_tags
from agent_memory_server.domain.tokens import index_tokens
from agent_memory_server.errors import StaleRevision
from agent_memory_server.ports.language_model import Purpose
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.services.extraction.batches import fenced_json
from agent_memory_server.services.language import LanguageGate

ACTOR = "task:extract_memory_structure"
BATCH_SIZE_MAX = 20
"""Memories in one question."""
TEXT_LENGTH_MAX = 2_000
"""Characters of each that are read: what a text is about shows at its beginning."""
ENTITIES_MAX = 20
_COMMIT_ATTEMPTS_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrichmentPolicy:
    """What the operator wants filled in."""

    topics: bool = True
    entities: bool = True
    top_k_topics: int = 3

    def lacks(self, memory: Memory) -> bool:
        """Whether something that is wanted is missing."""
        if memory.extraction_strategy == MESSAGE_STRATEGY:
            return False
        return (self.topics and not memory.topics) or (self.entities and not memory.entities)

    def filled(self, memory: Memory, topics: Sequence[str], entities: Sequence[str]) -> Memory:
        """The memory with these where it has none."""
        wanted_topics = clean_tags(topics)[: self.top_k_topics] if self.topics else ()
        wanted_entities = clean_tags(entities)[:ENTITIES_MAX] if self.entities else ()
        return replace(memory, topics=memory.topics or wanted_topics, entities=memory.entities or wanted_entities)


class Enrichment(Protocol):
    """What is done about memories that are about to be stored."""

    def at_once(self, memories: Sequence[Memory], /) -> Sequence[Memory]:
        """The memories, with what can be filled in without waiting."""
        ...

    def intents(self, memories: Sequence[Memory], /) -> tuple[Intent, ...]:
        """The work that is left for the background, to be recorded in the same commit."""
        ...


class RuleEnrichment:
    """Without a model: keyword topics and capitalised names, a few dozen microseconds each."""

    def __init__(self, policy: EnrichmentPolicy) -> None:
        self._policy = policy

    def at_once(self, memories: Sequence[Memory], /) -> Sequence[Memory]:
        return [self._enriched(memory) if self._policy.lacks(memory) else memory for memory in memories]

    def intents(self, memories: Sequence[Memory], /) -> tuple[Intent, ...]:  # noqa: ARG002 - the protocol's
        return ()

    def _enriched(self, memory: Memory) -> Memory:
        text = memory.text[:TEXT_LENGTH_MAX]
        return self._policy.filled(memory, topics_of(text, ""), entities_of(text, "User"))


class ModelEnrichment:
    """By a model, later: the request does not wait for it."""

    def __init__(self, policy: EnrichmentPolicy) -> None:
        self._policy = policy

    def at_once(self, memories: Sequence[Memory], /) -> Sequence[Memory]:
        return memories

    def intents(self, memories: Sequence[Memory], /) -> tuple[Intent, ...]:
        """One for each owner, with the ids of its memories."""
        by_owner: dict[Scope, list[str]] = {}
        for memory in memories:
            if self._policy.lacks(memory):
                by_owner.setdefault(memory.scope.owner, []).append(memory.id)
        return tuple(
            Intent(
                kind=IntentKind.EXTRACT_MEMORY_STRUCTURE.value,
                key=derived_id(*ids),
                tenant=owner.tenant,
                namespace=owner.namespace,
                user_id=owner.user_id,
                payload={"ids": ids},
            )
            for owner, ids in by_owner.items()
        )


class EnrichmentService:
    """Does what ``ModelEnrichment`` left for the background."""

    def __init__(
        self,
        *,
        store: MemoryStore,
        gate: LanguageGate,
        policy: EnrichmentPolicy,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._gate = gate
        self._policy = policy
        self._now = now
        self._new_id = new_id

    async def enrich(self, owner: Scope, ids: Sequence[str]) -> int:
        """Returns how many memories were enriched. Those that are gone, superseded or complete by now are left alone.

        Raises ModelUnavailable; batches that were done stay done.
        """
        keys = [MemoryKey(owner.tenant, owner.namespace, owner.user_id, each) for each in ids]
        enriched = 0
        for start in range(0, len(keys), BATCH_SIZE_MAX):
            lacking = await self._lacking(keys[start : start + BATCH_SIZE_MAX])
            if lacking:
                enriched += await self._commit(owner, await self._ask(lacking))
        return enriched

    async def _lacking(self, keys: Sequence[MemoryKey]) -> list[Memory]:
        found = [await self._store.get(key) for key in keys]
        return [each for each in found if each is not None and not each.superseded_by and self._policy.lacks(each)]

    async def _ask(self, memories: Sequence[Memory]) -> Mapping[MemoryKey, _Labels]:
        items = [{"n": n, "text": each.text[:TEXT_LENGTH_MAX]} for n, each in enumerate(memories, start=1)]
        topics = str(self._policy.top_k_topics)
        labels = await self._gate.ask(
            Purpose.ENRICHMENT,
            instructions=fill_template(prompts.load("enrichment"), {"top_k_topics": topics}),
            content=fenced_json(items),
            schema=_SCHEMA,
            schema_name="labels",
            parse=_parsed,
        )
        return {each.key: labels[n] for n, each in enumerate(memories, start=1) if n in labels}

    async def _commit(self, owner: Scope, labels: Mapping[MemoryKey, _Labels]) -> int:
        """Written only over the state that is read here, so that an edit meanwhile wins."""
        for _ in range(_COMMIT_ATTEMPTS_MAX):
            current = await self._lacking(list(labels))
            enriched = [self._policy.filled(each, *labels[each.key]) for each in current]
            puts = tuple(
                Put(
                    memory=new,
                    tokens=index_tokens(new.text, new.name, new.topics, new.entities),
                    if_operation=old.operation_id,
                )
                for old, new in zip(current, enriched, strict=True)
                if new != old
            )
            if not puts:
                return 0
            try:
                await self._store.commit(self._operation(owner, puts))
            except StaleRevision:
                continue
            return len(puts)
        raise StaleRevision("the memories are changed faster than they can be enriched; this is tried again later")

    def _operation(self, owner: Scope, puts: tuple[Put, ...]) -> Operation:
        return Operation(
            id=self._new_id(),
            tenant=owner.tenant,
            kind=OperationKind.ENRICH,
            actor=ACTOR,
            at=self._now(),
            changes=puts,
            reason="topics and entities",
        )


_Labels = tuple[tuple[str, ...], tuple[str, ...]]

_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["memories"],
    "properties": {
        "memories": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["n", "topics", "entities"],
                "properties": {
                    "n": {"type": "integer"},
                    "topics": {"type": "array", "items": {"type": "string"}},
                    "entities": {"type": "array", "items": {"type": "string"}},
                },
            },
        }
    },
}


def _parsed(answer: Mapping[str, Any]) -> Mapping[int, _Labels]:
    items: Any = answer.get("memories")
    if not isinstance(items, list):
        raise ValueError("it has no list named memories")
    labels: dict[int, _Labels] = {}
    for item in cast(list[Any], items):
        if isinstance(item, Mapping):
            entry = cast(Mapping[str, Any], item)
            number = entry.get("n")
            if type(number) is int:
                labels[number] = (_strings(entry.get("topics")), _strings(entry.get("entities")))
    if items and not labels:
        raise ValueError("none of its entries names a memory")
    return labels


def _strings(value: object) -> tuple[str, ...]:
    return tuple(each for each in cast(list[Any], value) if isinstance(each, str)) if isinstance(value, list) else ()
