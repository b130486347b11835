"""Extraction in the request: what would be, or now is, extracted from messages that a client gives.

No session is read or marked: the messages are the request's own. Without ``store`` nothing is written anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from agent_memory_server.domain.identity import OutsideReach, Principal, Scope
from agent_memory_server.domain.operations import Operation, OperationKind
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.sessions import Message, Strategy
from agent_memory_server.domain.strategies import check_strategy
from agent_memory_server.errors import InvalidInput, NotFound
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.tokenizer import Tokenizer
from agent_memory_server.services.extraction.batches import ExtractionBatch, Extractor
from agent_memory_server.services.extraction.records import is_summary, summary_key, told
from agent_memory_server.services.extraction.thread import batches_of, extracted
from agent_memory_server.services.indexing import Indexer


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """``ids``: one a memory, the surviving record's; empty when nothing was stored."""

    memories: tuple[Memory, ...]
    extractor: str
    ids: tuple[str, ...] = ()


class ExtractionOnRequestService:
    def __init__(
        self,
        *,
        memories: MemoryStore,
        indexer: Indexer,
        extractor: Extractor,
        tokenizer: Tokenizer,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        wake: Callable[[], None],
    ) -> None:
        self._memories = memories
        self._indexer = indexer
        self._extractor = extractor
        self._tokenizer = tokenizer
        self._now = now
        self._new_id = new_id
        self._wake = wake

    async def extract(
        self,
        caller: Principal,
        messages: Sequence[Message],
        *,
        strategy: Strategy,
        namespace: str | None = None,
        user_id: str | None = None,
        session_id: str | None = None,
        store: bool = False,
    ) -> Extraction:
        """Raises InvalidInput (a strategy that cannot be followed), NotFound (a scope beyond the caller's), ModelUnavailable."""
        try:
            scope = replace(caller.owner(namespace, user_id), session_id=session_id)
        except OutsideReach:
            raise NotFound("the namespace or user was not found") from None
        checked(strategy)
        records = await self._records(scope, messages, strategy)
        ids = await self._stored(caller, records, replaces=is_summary(strategy)) if store and records else ()
        return Extraction(memories=tuple(records), extractor=self._extractor.name, ids=ids)

    async def _records(self, scope: Scope, messages: Sequence[Message], strategy: Strategy) -> list[Memory]:
        counted = [
            replace(each, token_count=self._tokenizer.count(f"{each.role}: {each.content}")) for each in messages
        ]
        whole = ExtractionBatch(scope=scope, strategy=strategy, messages=counted, now=self._now())
        keeps_summary = is_summary(strategy)
        summary = await self._memories.get(summary_key(scope)) if keeps_summary else None
        records: list[Memory] = []
        for batch in batches_of(whole, self._extractor):
            found = await extracted(self._extractor, replace(batch, summary=summary.text if summary else ""), summary)
            if keeps_summary:
                records = found or records
                summary = found[0] if found else summary
            else:
                records.extend(found)
        return records

    async def _stored(self, caller: Principal, records: Sequence[Memory], *, replaces: bool) -> tuple[str, ...]:
        authored = [replace(record, author=caller.subject) for record in records]
        indexed = await self._indexer.prepare(authored, deduplicate=not replaces, if_absent=not replaces)
        committed = await self._memories.commit(
            Operation(
                id=self._new_id(),
                tenant=caller.tenant,
                kind=OperationKind.EXTRACT,
                actor=caller.subject,
                at=self._now(),
                changes=indexed.puts,
                intents=indexed.intents,
                details=told(self._extractor),
                reason=f"extracted by {self._extractor.name} on request",
            )
        )
        if indexed.intents:
            self._wake()
        return tuple(outcome.survivor for outcome in committed.outcomes)


def checked(strategy: Strategy) -> Strategy:
    """The strategy, when it can be followed. Raises InvalidInput naming the field."""
    try:
        check_strategy(strategy)
    except ValueError as error:
        field = ("body", "long_term_memory_strategy", "config")
        raise InvalidInput(str(error), field=field) from None
    return strategy
