"""What is carried from one store to another: each kind of record whole, with what a store keeps beside it.

Every record has a ``key`` that names it in any store, and two documents. ``content`` is what clients and operators wrote or
see; a store that was not written to since holds it unchanged. ``state`` is everything that is carried, background marks and
vectors included. Fields that a store sets by itself (revision, operation, times of access) are in neither.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from agent_memory_server.domain.access_tokens import AccessToken
from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.instants import micros_or_none
from agent_memory_server.domain.jobs import Task
from agent_memory_server.domain.operations import Effect, Embedded
from agent_memory_server.domain.past import PastRevision, stated
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.sessions import Message, Session
from agent_memory_server.domain.summary_views import Partition, SummaryView, group_key

Key = tuple[str | None, ...]


class Kind(StrEnum):
    """Kinds of records, in the order in which they are carried: what refers to others comes after them."""

    MEMORIES = "memories"
    HISTORY = "history"
    SESSIONS = "sessions"
    SUMMARY_VIEWS = "summary views"
    PARTITIONS = "summaries"
    WORK = "pending work"
    TASKS = "tasks"
    TOKENS = "access tokens"


WHOLE_STORE = tuple(kind for kind in Kind if kind is not Kind.HISTORY)
"""What a store is walked by; histories are walked in export files alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecord:
    memory: Memory
    vectors: tuple[Embedded, ...] = ()
    """Every vector of every model, and the marks that a model finds nothing to embed."""
    origin: str
    """The kind of operation that wrote it first."""
    is_copy: bool = False
    """It says the same as what took its place, and goes with it."""
    compared: bool = False
    """Nothing about it is waiting to be compared with others."""

    @property
    def key(self) -> MemoryKey:
        return self.memory.key

    def content(self) -> object:
        memory = self.memory
        return [
            list(memory.key),
            memory.scope.session_id,
            memory.text,
            micros_or_none(memory.created_at),
            micros_or_none(memory.updated_at),
            memory.memory_type.value,
            memory.topics,
            memory.entities,
            memory.name,
            memory.pinned,
            memory.memory_hash,
            memory.extracted,
            micros_or_none(memory.persisted_at),
            memory.extracted_from,
            micros_or_none(memory.event_date),
            memory.extraction_strategy,
            memory.extraction_strategy_config,
            memory.metadata,
            memory.source.value,
            memory.author,
            memory.trust,
            memory.derived_from,
            memory.superseded_by,
            micros_or_none(memory.valid_from),
            micros_or_none(memory.valid_to),
            micros_or_none(memory.expires_at),
        ]

    def state(self) -> object:
        return [self.content(), *self.beside_content()]

    def beside_content(self) -> list[object]:
        return [sorted(map(vector_state, self.vectors)), self.origin, self.is_copy, self.compared]


def vector_state(embedded: Embedded) -> tuple[str, str, str]:
    """Equal for vectors that are equal to the last bit."""
    held = b"" if embedded.vector is None else embedded.vector.tobytes()
    return embedded.model, embedded.kind, hashlib.blake2b(held, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRecord:
    """What happened to one memory, oldest first. The memory may be gone, and what it said still kept for undo.

    ``memory``: reads what it is since, where the source says it with them; few ask for it. ``opened_by``, where it is read from
    a store: the run of the import that brought the memory without telling of its past, so that one can be put before it.
    """

    memory_key: MemoryKey
    revisions: tuple[PastRevision, ...]
    memory: Callable[[], Memory | None] | None = field(default=None, compare=False, repr=False)
    opened_by: str | None = None

    @property
    def key(self) -> Key:
        return self.memory_key

    @property
    def is_of_gone(self) -> bool:
        """Whether it ends with the memory's removal."""
        return bool(self.revisions) and self.revisions[-1].effect is Effect.DELETED

    def content(self) -> object:
        return [list(self.memory_key), [_past_content(each) for each in self.revisions]]

    def state(self) -> object:
        return self.content()


def _past_content(revision: PastRevision) -> object:
    return [
        [revision.operation_id, revision.kind.value, revision.actor, micros_or_none(revision.at), revision.reason],
        [revision.details, revision.run, revision.effect.value, revision.scrubbed, revision.before_is_copy],
        None if revision.before is None else MemoryRecord(memory=stated(revision.before), origin="").content(),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionMessage:
    """A message with its place: ``sequence`` ascends with arrival."""

    sequence: int
    archived: bool
    message: Message

    def content(self) -> object:
        message = self.message
        return [
            self.archived,
            message.id,
            message.role,
            message.content,
            micros_or_none(message.created_at),
            message.name,
        ]

    def state(self) -> object:
        message = self.message
        return [self.content(), micros_or_none(message.persisted_at), message.extracted, message.token_count]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """A session whose messages are carried beside it, in portions."""

    session: Session
    """Without messages."""
    expires_at: datetime | None

    @property
    def key(self) -> Key:
        scope = self.session.scope
        return scope.tenant, scope.namespace, scope.user_id, scope.session_id

    def content(self) -> object:
        session = self.session
        return [
            list(self.key),
            [MemoryRecord(memory=memory, origin="").content() for memory in session.memories],
            session.data,
            session.context,
            session.tokens,
            session.strategy.name,
            session.strategy.config,
            session.ttl_seconds,
            micros_or_none(session.created_at),
            micros_or_none(session.updated_at),
        ]

    def state(self) -> object:
        return [self.content(), self.session.summarization.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewRecord:
    view: SummaryView

    @property
    def key(self) -> Key:
        return self.view.owner.tenant, self.view.id

    def content(self) -> object:
        view, draft = self.view, self.view.draft
        return [
            list(self.key),
            view.owner.namespace,
            view.owner.user_id,
            micros_or_none(view.created_at),
            view.created_by,
            draft.source.value,
            draft.name,
            draft.group_by,
            draft.filters,
            draft.time_window_days,
            draft.continuous,
            draft.prompt,
            draft.model_name,
        ]

    def state(self) -> object:
        return self.content()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRecord:
    tenant: str
    partition: Partition
    sources: tuple[MemoryKey, ...] | None
    """The memories that it was made of; None: not known."""

    @property
    def key(self) -> Key:
        return self.tenant, self.partition.view_id, group_key(self.partition.group)

    def content(self) -> object:
        partition = self.partition
        return [
            list(self.key),
            partition.summary,
            partition.memory_count,
            micros_or_none(partition.computed_at),
            partition.empty_reason,
        ]

    def state(self) -> object:
        sources = None if self.sources is None else sorted(_sortable(key) for key in self.sources)
        return [self.content(), self.partition.fingerprint, sources]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkRecord:
    """Pending or dead work. A claim is not carried: whoever finds it there may begin."""

    owner: Scope
    kind: str
    name: str
    """Its key: one of a kind and name in one owner scope."""
    payload: Mapping[str, Any]
    created_at: datetime
    requested_at: datetime
    not_before: datetime
    attempts: int
    generation: int
    dead: bool
    reason: str | None
    task_id: str

    @property
    def key(self) -> Key:
        return self.owner.tenant, self.owner.namespace, self.owner.user_id, self.kind, self.name

    def content(self) -> object:
        return [list(self.key), self.payload, micros_or_none(self.created_at), self.dead, self.reason, self.task_id]

    def state(self) -> object:
        return [
            self.content(),
            micros_or_none(self.requested_at),
            micros_or_none(self.not_before),
            self.attempts,
            self.generation,
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    task: Task
    kind: str
    """As stored: the intent's kind, or the task that it names."""
    expires_at: datetime
    follows: Key | None
    """The key of the work that it follows; None when that is done or gone."""
    generation: int

    @property
    def key(self) -> Key:
        scope = self.task.scope
        return scope.tenant, scope.namespace, scope.user_id, self.task.id

    def content(self) -> object:
        task = self.task
        return [
            list(self.key),
            self.kind,
            task.status.value,
            micros_or_none(task.created_at),
            task.view_id,
            micros_or_none(task.started_at),
            micros_or_none(task.completed_at),
            task.error_message,
            task.result,
        ]

    def state(self) -> object:
        follows = None if self.follows is None else list(self.follows)
        return [self.content(), follows, self.generation]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    token: AccessToken

    @property
    def key(self) -> Key:
        return (self.token.id,)

    def content(self) -> object:
        token = self.token
        return [
            token.id,
            token.description,
            micros_or_none(token.created_at),
            token.tenant,
            token.namespace,
            token.user_id,
            sorted(permission.value for permission in token.permissions),
            micros_or_none(token.expires_at),
        ]

    def state(self) -> object:
        """How it is recognised is not part of it: an imported token that was used is found by its digest from then on."""
        return self.content()


Record = (
    MemoryRecord | HistoryRecord | SessionRecord | ViewRecord | PartitionRecord | WorkRecord | TaskRecord | TokenRecord
)


class Digest:
    """Adds up documents to one short text: equal documents in equal order give an equal one."""

    def __init__(self) -> None:
        self._hashed = hashlib.blake2b(digest_size=8)

    def add(self, document: object) -> None:
        self.add_written(_JSON.encode(document))

    def add_written(self, document: str) -> None:
        """The same of a document that is written already."""
        encoded = document.encode("utf-8", "surrogatepass")
        self._hashed.update(b"%d:" % len(encoded) + encoded)

    def text(self) -> str:
        return self._hashed.hexdigest()


class Mark:
    """What was carried of one record, as the ledger keeps it: digests of its state and of its content, no names."""

    def __init__(self, record: Record) -> None:
        self._state, self._content = Digest(), Digest()
        self.add(record)

    def add(self, part: Record | SessionMessage) -> None:
        """The record first, then a session's messages in order."""
        content = _JSON.encode(part.content())
        self._content.add_written(content)
        if isinstance(part, MemoryRecord):
            # There are millions of them: the content is not written twice, nor what most have beside it.
            beside = (
                _JSON.encode(part.beside_content())
                if part.vectors
                else _beside_without_vectors(part.origin, part.is_copy, part.compared)
            )
            self._state.add_written(f"[{content},{beside[1:]}")
        elif isinstance(part, HistoryRecord):
            self._state.add_written(content)
        else:
            self._state.add(part.state())

    def text(self) -> str:
        return f"{self._state.text()}.{self._content.text()}"


def content_of(mark: str) -> str:
    """The part of a mark that only clients change."""
    return mark.partition(".")[2]


def ledger_name(ref: str) -> str:
    """How the ledger names a record: a digest, so that nobody's id outlives an erasure in it."""
    return hashlib.blake2b(ref.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    raise TypeError(f"{type(value).__name__} is not carried")


# Made once: ``json.dumps`` with options makes an encoder for every call.
_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain)


@lru_cache(maxsize=256)
def _beside_without_vectors(origin: str, is_copy: bool, compared: bool) -> str:
    return _JSON.encode([[], origin, is_copy, compared])


def _sortable(key: MemoryKey) -> list[str]:
    return ["-" if part is None else "=" + part for part in key]
