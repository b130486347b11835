"""Merging: several memories that say the same become one, by a language model, without losing what they were.

The model decides whether they are the same and how one sentence says it; nothing else is the model's. One commit writes the
merged memory and lets its sources step back, each only if it is still what the model read: an edit or delete that came in
between wins, and the group is looked at anew. A refusal, an empty or a wrong answer changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from agent_memory_server import prompts
from agent_memory_server.domain import fusing, sameness
from agent_memory_server.domain.history import GROUP, GROUP_NAMED_MAX
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.operations import Operation, OperationKind, Supersede
from agent_memory_server.domain.records import Memory
from agent_memory_server.ports.language_model import Purpose
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.services.extraction.batches import fenced_json
from agent_memory_server.services.indexing import Indexer
from agent_memory_server.services.language import LanguageGate

_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["same", "text"],
    "properties": {"same": {"type": "boolean"}, "text": {"type": "string"}},
}
_EXCESS_MAX = 200
"""Characters that a merged text may be longer than all its sources together; more is not a merge but an essay."""


class MergingService:
    def __init__(
        self,
        *,
        gate: LanguageGate,
        indexer: Indexer,
        store: MemoryStore,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._gate = gate
        self._indexer = indexer
        self._store = store
        self._now = now
        self._new_id = new_id

    async def ask(self, group: Sequence[Memory]) -> str | None:
        """One text that says what they all say; None when they are not the same.

        Raises ModelUnavailable, and ModelAnswerUnusable for an answer that cannot be used.
        """
        texts = [memory.text for memory in group]
        lines = [
            {"n": number, "text": memory.text, "date": memory.event_date.isoformat() if memory.event_date else None}
            for number, memory in enumerate(group, start=1)
        ]
        return await self._gate.ask(
            Purpose.MERGING,
            instructions=prompts.load("merging"),
            content=fenced_json({"memories": lines}),
            schema=_SCHEMA,
            schema_name="merge",
            parse=lambda answer: _parsed(answer, texts),
        )

    async def merge(self, group: Sequence[Memory], text: str, *, actor: str, run: str | None = None) -> Memory:
        """Store the merged memory in place of the group. Raises StaleRevision when one of them changed, Conflict when one
        is gone: then nothing of it happened."""
        at = self._now()
        merged = fusing.merged(group, text=text, version=prompts.VERSION, author=actor, at=at)
        indexed = await self._indexer.prepare([merged])
        await self._store.commit(
            Operation(
                id=self._new_id(),
                tenant=merged.scope.tenant,
                kind=OperationKind.MERGE,
                actor=actor,
                at=at,
                changes=(
                    *indexed.puts,
                    *(Supersede(key=each.key, by=merged.id, if_operation=each.operation_id) for each in group),
                ),
                intents=indexed.intents,
                reason=f"{len(group)} memories that say the same, in the judgement of a language model",
                details={
                    GROUP: [memory.id for memory in group[:GROUP_NAMED_MAX]],
                    "model": self._gate.choice.fast,
                    "prompt_version": prompts.VERSION,
                },
                run=run,
            )
        )
        return merged


def _parsed(answer: Mapping[str, Any], texts: Sequence[str]) -> str | None:
    same, text = answer.get("same"), answer.get("text")
    if not isinstance(same, bool):
        raise ValueError("it does not say whether they are the same")
    if not same:
        return None
    if not isinstance(text, str) or not text.strip() or text.strip().strip(".").upper() == "NONE":
        raise ValueError("it holds no merged text")
    merged = text.strip()
    if "\0" in merged or len(merged) > min(LIMITS.text_length_max, sum(map(len, texts)) + _EXCESS_MAX):
        raise ValueError("its merged text is too long")
    lost = sameness.loses(texts, merged)
    if lost is not None:
        raise ValueError(lost)
    return merged
