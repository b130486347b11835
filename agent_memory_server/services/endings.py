"""A new statement may end an older one: "moved to Lisbon" ends "lives in Berlin". Both stay, with their dates.

Only a language model decides that, never a rule: rules and vectors choose what it is asked about. An older statement that
ended gets ``valid_to``, the new one ``valid_from``. What was changed meanwhile wins, and pinned memories are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from agent_memory_server import prompts
from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.history import REPLACED_BY
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.jobs import ClaimedIntent, IntentKind
from agent_memory_server.domain.operations import Intent, Operation, OperationKind, Put
from agent_memory_server.domain.records import Memory, MemoryKey, MemoryType
from agent_memory_server.domain.tokens import index_tokens
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.language_model import Purpose
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.services.embedding import text_to_embed
from agent_memory_server.services.extraction.batches import fenced_json
from agent_memory_server.services.language import LanguageGate

ACTOR = "task:end_statements"
DISTANCE_MAX = 0.7
"""Wider than for duplicates: what ends a statement shares its subject, and often few of its words."""
EARLIER_MAX = 8
_LOOKED_AT = 32
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["ended"],
    "properties": {"ended": {"type": "array", "items": {"type": "integer"}}},
}


def ending_intent(scope: Scope, memories: Sequence[Memory], *, key: str) -> Intent:
    """Ask later what these new statements of one owner end."""
    return Intent(
        kind=IntentKind.END_STATEMENTS.value,
        key=key,
        tenant=scope.tenant,
        namespace=scope.namespace,
        user_id=scope.user_id,
        payload={"ids": [memory.id for memory in memories]},
    )


class EndingService:
    def __init__(
        self,
        *,
        gate: LanguageGate,
        store: MemoryStore,
        embedder: Embedder,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._gate = gate
        self._store = store
        self._embedder = embedder
        self._now = now
        self._new_id = new_id

    async def carry_out(self, intent: ClaimedIntent) -> Mapping[str, Any]:
        """Decide about each memory that the intent names. Raises ModelUnavailable, EmbedderUnavailable, StaleRevision: then
        those that are left are asked about again."""
        ended = 0
        for memory_id in intent.payload["ids"]:
            key = MemoryKey(intent.tenant, intent.namespace, intent.user_id, memory_id)
            memory = await self._store.get(key)
            if memory is not None and _is_statement(memory):
                ended += await self._decide(memory)
        return {"ended": ended}

    async def _decide(self, memory: Memory) -> int:
        earlier = await self._earlier(memory)
        if not earlier:
            return 0
        numbers = await self._gate.ask(
            Purpose.ENDING,
            instructions=prompts.load("ending"),
            content=fenced_json(
                {
                    "new": _line(memory),
                    "earlier": [{"n": n, **_line(each)} for n, each in enumerate(earlier, start=1)],
                }
            ),
            schema=_SCHEMA,
            schema_name="ended",
            parse=lambda answer: _parsed(answer, len(earlier)),
        )
        ended = [earlier[number - 1] for number in numbers]
        if ended:
            await self._commit(memory, ended)
        return len(ended)

    async def _earlier(self, memory: Memory) -> Sequence[Memory]:
        """The nearest live statements of exactly the same owner that began before this one and have no end."""
        (vector,) = await self._embedder.embed([text_to_embed(memory)])
        if vector is None:
            return []
        scope = memory.scope
        near = await self._store.nearest(
            MemoryFilter(
                selector=ScopeSelector(scope.tenant, scope.namespace, scope.user_id),
                memory_type=TextFilter(eq=MemoryType.SEMANTIC.value),
            ),
            vector=vector,
            model=self._embedder.model,
            now=self._now(),
            limit=_LOOKED_AT,
            distance_max=DISTANCE_MAX,
        )
        found = await self._store.get_many(near.handles)
        return [
            each
            for handle in near.handles
            if (each := found.get(handle)) is not None
            and each.key != memory.key
            and each.scope.owner == scope.owner
            and each.name == memory.name
            and not each.pinned
            and _is_statement(each)
            and _begins(each) < _begins(memory)
        ][:EARLIER_MAX]

    async def _commit(self, memory: Memory, ended: Sequence[Memory]) -> None:
        at, begins = self._now(), _begins(memory)
        puts = [_put(each, replace(each, valid_to=begins, updated_at=at)) for each in ended]
        if memory.valid_from is None:
            puts.append(_put(memory, replace(memory, valid_from=begins, updated_at=at)))
        await self._store.commit(
            Operation(
                id=self._new_id(),
                tenant=memory.scope.tenant,
                kind=OperationKind.EXTRACT,
                actor=ACTOR,
                at=at,
                changes=tuple(puts),
                reason=f"ended by {memory.id}, in the judgement of a language model",
                details={
                    REPLACED_BY: {each.id: memory.id for each in ended},
                    "model": self._gate.choice.for_purpose(Purpose.ENDING),
                    "prompt_version": prompts.VERSION,
                },
            )
        )


def _is_statement(memory: Memory) -> bool:
    """Whether it says how something is, and not that something happened; and it is still said to be so."""
    return memory.memory_type is MemoryType.SEMANTIC and memory.superseded_by is None and memory.valid_to is None


def _begins(memory: Memory) -> datetime:
    return memory.valid_from or memory.event_date or memory.created_at


def _put(before: Memory, after: Memory) -> Put:
    tokens = index_tokens(after.text, after.name, after.topics, after.entities)
    return Put(memory=after, tokens=tokens, if_operation=before.operation_id)


def _line(memory: Memory) -> dict[str, Any]:
    return {"text": memory.text, "date": _begins(memory).date().isoformat()}


def _parsed(answer: Mapping[str, Any], count: int) -> Sequence[int]:
    numbers: Any = answer.get("ended")
    if not isinstance(numbers, list):
        raise ValueError("it has no list named ended")
    found: list[int] = []
    for number in numbers:  # pyright: ignore[reportUnknownVariableType] - checked next
        if type(number) is not int or not 1 <= number <= count:  # pyright: ignore[reportUnknownArgumentType]
            raise ValueError("it names a statement that it was not given")
        found.append(number)
    return list(dict.fromkeys(found))
