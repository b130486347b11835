"""What is written to long-term memory: an operation is one atomic change with its reason, and it is journalled.

There is one door: ``MemoryStore.commit(operation)``. History, undo, export and the change feed read the journal it leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.sessions import SessionGuard
from agent_memory_server.domain.traceparent import current_traceparent

if TYPE_CHECKING:
    from agent_memory_server.domain.past import PastRevision

Vector = NDArray[np.float32]
"""One unit-length embedding, shape (dimensions,)."""


class OperationKind(StrEnum):
    CREATE = "create"
    EDIT = "edit"
    DELETE = "delete"
    MERGE = "merge"
    COMPACT = "compact"
    FORGET = "forget"
    PROMOTE = "promote"
    EXTRACT = "extract"
    ENRICH = "enrich"
    IMPORT = "import"
    UNDO = "undo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Vector(s) for one text from one model. ``kind`` leaves room for more than whole-text vectors."""

    model: str
    vector: Vector | None
    """None: the model finds nothing to embed in this text, and it need not be tried again."""
    kind: str = "text"
    tokens: bytes | None = None
    """The packed vectors of the text's words (``token_vectors``), of models that have some; kept as long as the vector is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What another store kept beside a record that is carried over from it."""

    origin: str
    """The kind of the operation that wrote it first."""
    is_copy: bool
    """It stepped back because it says the same as the memory that took its place."""
    compared: bool
    """It need not be compared with others before it changes."""
    vectors: tuple[Embedded, ...]
    past: tuple[PastRevision, ...] = ()
    """What happened to it there, where that is told with it: kept with the memory in place of what was told before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Create the memory, or replace the one with its key (keeping its ``persisted_at`` and author).

    ``tokens`` are the index terms of the memory with their counts (``domain.tokens``). With ``deduplicate``, a live memory
    of the same owner and ``memory_hash`` survives instead: this one is then stored as superseded by it, so that its id still
    answers. A Put whose content equals what is stored under its key changes nothing.
    """

    memory: Memory
    tokens: Mapping[str, int]
    embedded: Embedded | None = None
    deduplicate: bool = False
    if_absent: bool = False
    """Leave an existing memory with this key as it is (redelivered background work)."""
    previous_key: MemoryKey | None = None
    """The record with this key becomes this one: an edit that moves it to another owner; its history goes with it.
    A record already under the new key makes the operation fail as Conflict."""
    if_operation: str | None = None
    """Only if the stored memory's ``operation_id`` is this; else the operation fails as StaleRevision (an edit's If-Match)."""
    carried: Carried | None = None
    """The record comes from another store, with all that belongs to it; ``deduplicate`` and ``embedded`` are not used then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supersede:
    """Mark the memory as replaced by ``by`` (an id in the same owner scope). Pinned or absent ones are left alone.

    In an operation of kind MERGE it counts as a copy of what it was merged into, and is deleted with it.
    """

    key: MemoryKey
    by: str
    if_operation: str | None = None
    """Only if the stored memory's ``operation_id`` is this; else the operation fails as StaleRevision."""
    if_by_operation: str | None = None
    """Only if the ``operation_id`` of the memory that takes its place is this, before this operation; else StaleRevision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Remove the memory, its vectors and index terms.

    ``scrub`` (explicit deletion): its text also leaves every journal entry, and cannot be undone. Without it (forgetting by
    policy) the journal keeps the state before, and pinned memories are left alone.
    """

    key: MemoryKey
    scrub: bool
    expired_by: datetime | None = None
    """Only if its time to live was over by then: whoever set it meant pinned memories too."""


def is_spared(change: Delete, memory: Memory) -> bool:
    """Whether a deletion leaves this memory alone."""
    if change.expired_by is not None:
        return memory.expires_at is None or memory.expires_at > change.expired_by
    return memory.pinned and not change.scrub


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """Bring the memory back to a state that it had before: what an undo is made of.

    Its newest revision must be of ``if_operation`` and still have its text; what came later, and what was scrubbed, make the
    operation fail as Conflict. So do a memory that would be taken from under those that stepped back behind it, and one that
    would step back behind a memory which is not there. Unlike after other changes, what only stands for itself again is not
    compared with others: else the next compaction would do again what was undone.
    """

    key: MemoryKey
    """Where it is now, or was last."""
    memory: Memory | None
    """The state to bring back, with the key it had then; None: it was not there."""
    if_operation: str
    tokens: Mapping[str, int] = field(default_factory=dict[str, int])
    embedded: Embedded | None = None
    is_copy: bool = False
    """Whether the state is that of a copy of what it had stepped back behind (``Revision.before_is_copy``)."""


Change = Put | Supersede | Delete | Restore


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """A client-visible task (``domain.jobs.Task``) to be recorded with an intent. ``owner`` says who may read it."""

    id: str
    owner: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Work that is still to be done, recorded in the same commit as what causes it. ``payload`` holds ids only.

    A second intent with the same kind and key while one is waiting replaces its ``not_before`` (debounce) and is not doubled.
    """

    kind: str
    key: str
    tenant: str
    payload: Mapping[str, Any] = field(default_factory=dict[str, Any])
    namespace: str | None = None
    user_id: str | None = None
    not_before: datetime | None = None
    task: TaskRequest | None = None
    """A task that is to follow this intent; None when no client is given an id to ask about."""
    traceparent: str | None = field(default_factory=current_traceparent, compare=False)
    """The request that asks for it. Of several that ask for the same, the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One atomic, journalled change. Committing the same ``id`` twice has one effect."""

    id: str
    tenant: str
    kind: OperationKind
    actor: str
    """Subject of the principal, or name of the task."""
    at: datetime
    changes: tuple[Change, ...]
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Why, for programs: ids, names, numbers (``domain.history``). Never anybody's text: nothing scrubs it."""
    run: str | None = None
    """What the operations of one run (a compaction, a forgetting, an import) have in common: they can be undone together."""
    guard: SessionGuard | None = None
    extracted: tuple[str, ...] = ()
    """Ids of messages of the guard's session that get the extracted mark in the same commit, so that work which is
    delivered twice never extracts from them again."""
    intents: tuple[Intent, ...] = ()


class Effect(StrEnum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DUPLICATE = "duplicate"
    """Stored as superseded: ``survivor`` is the live memory's id."""
    SUPERSEDED = "superseded"
    DELETED = "deleted"
    ABSENT = "absent"
    SPARED = "spared"
    """Pinned: left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    key: MemoryKey
    effect: Effect
    survivor: str
    """Id of the memory that now stands for the input: its own, or the live duplicate's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """One outcome a change, in order. ``applied`` is False when the guard did not hold: then nothing was changed."""

    applied: bool
    outcomes: tuple[Outcome, ...]
