"""Thread-aware extraction: a session's new messages, with what they need to be understood, become memories.

Each batch is one commit: its records and the extracted marks of its messages together, under the guard of the session's
life. So nothing is lost and nothing doubled, wherever a process dies. A failure of the model is raised: the messages stay
unmarked and the work stays pending. What a model cannot use (a refusal, a cut answer) is asked again in halves, so that one
such message does not keep the others back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.operations import Operation, OperationKind
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.sessions import Message, Session, SessionGuard
from agent_memory_server.domain.summarization import portions
from agent_memory_server.errors import ModelAnswerUnusable
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.working_memory import WorkingMemoryStore
from agent_memory_server.services.endings import ending_intent
from agent_memory_server.services.extraction.batches import (
    CONTEXT_MESSAGES,
    NEW_MESSAGES_MAX,
    ExtractionBatch,
    Extractor,
    is_assistants,
    is_part_of_the_talk,
)
from agent_memory_server.services.extraction.records import ACTOR, is_summary, records_of, summary_key, told
from agent_memory_server.services.indexing import Indexer

UNUSABLE_MESSAGES_MAX = 3
"""So many messages without a usable answer end a run: then it is the model that fails, not the messages."""


@dataclass(slots=True)
class _Run:
    session: Session
    guard: SessionGuard
    author: str
    written: int = 0
    gone: bool = False
    """The session was deleted meanwhile: nothing may be written any more."""
    unusable: dict[str, ModelAnswerUnusable] = field(default_factory=dict[str, ModelAnswerUnusable])
    """Messages that alone in a batch had no usable answer, by id."""


class ThreadExtractionService:
    def __init__(
        self,
        *,
        sessions: WorkingMemoryStore,
        memories: MemoryStore,
        indexer: Indexer,
        extractor: Extractor,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        ends: bool = False,
    ) -> None:
        """``ends``: ask what the new statements end, in a question of its own."""
        self._sessions = sessions
        self._memories = memories
        self._indexer = indexer
        self._extractor = extractor
        self._ends = ends
        self._now = now
        self._new_id = new_id

    async def run(self, scope: Scope, *, author: str | None = None) -> int:
        """Extract from every message that was not extracted yet; returns how many memories were written.

        Raises ModelUnavailable; what was committed before stays, and the rest is found again by the next run. Messages that
        arrive while the last batch is worked on have an intent of their own, which waits for the session to be quiet.
        ``author``: the subject of whoever wrote what asked for this.
        """
        session = await self._sessions.load(scope, now=self._now(), recent_messages=1)
        if session is None:
            return 0
        run = _Run(session, SessionGuard(scope=scope, epoch=session.epoch), author or ACTOR)
        while not run.gone:
            limit = NEW_MESSAGES_MAX + len(run.unusable)
            backlog = await self._sessions.unextracted(
                run.guard, now=self._now(), limit=limit, context=CONTEXT_MESSAGES
            )
            waiting = [message for message in backlog.messages if message.id not in run.unusable]
            before = backlog.before
            for portion in portions(waiting, self._extractor.batch_tokens_max):
                await self._portion(run, portion, before)
                before = (*before, *portion)
            if len(backlog.messages) < limit:
                break
        if run.unusable and not run.gone:
            raise ModelAnswerUnusable(
                f"{len(run.unusable)} messages could not be extracted from: {next(iter(run.unusable.values())).detail}"
            )
        return run.written

    async def _portion(self, run: _Run, messages: Sequence[Message], before: Sequence[Message]) -> None:
        """Extract and commit; on an unusable answer each half by itself."""
        if run.gone:
            return
        try:
            await self._batch(run, messages, before)
        except ModelAnswerUnusable as error:
            if len(messages) == 1:
                run.unusable[messages[0].id] = error
                if len(run.unusable) >= UNUSABLE_MESSAGES_MAX:
                    raise
                return
            middle = len(messages) // 2
            await self._portion(run, messages[:middle], before)
            await self._portion(run, messages[middle:], (*before, *messages[:middle]))

    async def _batch(self, run: _Run, messages: Sequence[Message], before: Sequence[Message]) -> None:
        session = run.session
        keeps_summary = is_summary(session.strategy)
        previous = await self._memories.get(summary_key(session.scope)) if keeps_summary else None
        batch = ExtractionBatch(
            scope=session.scope,
            strategy=session.strategy,
            messages=messages,
            before=before[-CONTEXT_MESSAGES:],
            summary=previous.text if previous else session.context or "",
            now=self._now(),
        )
        found = await extracted(self._extractor, batch, previous)
        records = [replace(record, author=run.author) for record in found]
        run.gone = not await self._commit(run.guard, records, messages)
        if not run.gone:
            run.written += len(records)

    async def _commit(self, guard: SessionGuard, records: Sequence[Memory], messages: Sequence[Message]) -> bool:
        ids = tuple(message.id for message in messages)
        if not records:
            return await self._sessions.mark_extracted(guard, message_ids=ids)
        # A thread's summary is meant to be replaced; everything else, once written, is its owner's.
        replaces = records[0].id == summary_key(guard.scope).id
        indexed = await self._indexer.prepare(records, deduplicate=not replaces, if_absent=not replaces)
        operation_id = self._new_id()
        endings = (ending_intent(guard.scope, records, key=operation_id),) if self._ends and not replaces else ()
        committed = await self._memories.commit(
            Operation(
                id=operation_id,
                tenant=guard.scope.tenant,
                kind=OperationKind.EXTRACT,
                actor=ACTOR,
                at=self._now(),
                changes=indexed.puts,
                intents=(*indexed.intents, *endings),
                guard=guard,
                extracted=ids,
                details=told(self._extractor),
                reason=f"extracted by {self._extractor.name} from session {guard.scope.session_id}",
            )
        )
        return committed.applied


async def extracted(extractor: Extractor, batch: ExtractionBatch, previous: Memory | None) -> list[Memory]:
    """The records of one batch. The extractor is not asked when nobody but the assistant said anything."""
    talk = replace(
        batch,
        messages=[message for message in batch.messages if is_part_of_the_talk(message)],
        before=[message for message in batch.before if is_part_of_the_talk(message)],
    )
    if all(is_assistants(message) for message in talk.messages) and not is_summary(batch.strategy):
        return []
    if not talk.messages:
        return []
    return records_of(talk, await extractor.extract(talk), extractor=extractor.name, previous=previous)


def batches_of(batch: ExtractionBatch, extractor: Extractor) -> Iterator[ExtractionBatch]:
    """A batch of any size as batches that the extractor takes, each with what goes before it as context."""
    before = tuple(batch.before)
    for start in range(0, len(batch.messages), NEW_MESSAGES_MAX):
        for portion in portions(batch.messages[start : start + NEW_MESSAGES_MAX], extractor.batch_tokens_max):
            yield replace(batch, messages=portion, before=before[-CONTEXT_MESSAGES:])
            before = (*before, *portion)
