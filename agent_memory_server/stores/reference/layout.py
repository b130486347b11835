"""The reference server's records, decoded and mapped to ours. Pure: bytes in, records out, nothing asked of any store.

Every record goes to one tenant. An empty namespace, user or session means none. What the layout cannot say (who wrote it, which
model a vector is of) is not invented; what it lacks (a hash, a time) is put in its place in the same way each time, with a note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import numpy as np

from agent_memory_server.domain.access_tokens import AccessToken
from agent_memory_server.domain.identity import DEFAULT_TENANT, Scope, ScopeSelector
from agent_memory_server.domain.jobs import SUMMARY_VIEW_FULL_RUN, IntentKind, Task, TaskStatus
from agent_memory_server.domain.operations import Embedded
from agent_memory_server.domain.records import (
    EmbeddingStatus,
    Memory,
    MemoryType,
    Source,
    content_hash,
    derived_id,
)
from agent_memory_server.domain.summary_views import (
    NO_MATCHING_MEMORIES,
    Partition,
    SummaryView,
    ViewDraft,
    ViewSource,
    checked,
)
from agent_memory_server.domain.transfer import (
    Key,
    MemoryRecord,
    PartitionRecord,
    TaskRecord,
    TokenRecord,
    ViewRecord,
    WorkRecord,
)
from agent_memory_server.errors import MemoryServerError
from agent_memory_server.stores.reference.values import (
    CannotRead,
    flag_of,
    json_of,
    listed,
    moment_of,
    moment_of_ulid,
    number_of,
    object_of,
    optional_text,
    required_text,
    tags_of,
    text_of,
)

EMPTY_TEXT = "without text: carried as they are"
NO_HASH = "without a content hash: computed"
NO_TIME = "without a time of creation: the time of their id, or of the transfer"
OTHER_VECTOR = "with a vector of another model or size: embedded anew in the background"
NO_VECTOR = "without a vector: embedded in the background"
BARS = "with tags that are separated by bars: separated"
ID_DIFFERS = "whose id is not that of their key: the id in the record counts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How records are read. The same reading of the same bytes gives the same records."""

    begun_at: datetime
    """Stands for times that are missing."""
    vector_model: str | None = None
    """The model that the reference's vectors are of, when it is the one configured now; None: they are not used."""
    vector_dimensions: int | None = None
    """The size that vectors of that model have in this data."""
    tenant: str = DEFAULT_TENANT

    def owner(self, namespace: str | None = None, user_id: str | None = None, session_id: str | None = None) -> Scope:
        return Scope(self.tenant, namespace, user_id, session_id)


@dataclass(slots=True)
class Notes:
    """What had to be done to read one record."""

    found: list[str] = field(default_factory=list[str])

    def add(self, note: str) -> None:
        if note not in self.found:
            self.found.append(note)


# -- long-term memories -----------------------------------------------------------------------------------------------


def decode_memory(identity: str, fields: Mapping[bytes, bytes], reading: Reading, notes: Notes) -> MemoryRecord:
    """The record of one hash; ``identity`` is the part of its key behind the prefix."""
    if b"text" not in fields:
        raise CannotRead("it has no text: what is left of a deleted memory that was touched later")
    vector = fields.get(b"vector")
    document: dict[str, Any] = {
        text_of(name, "a field's name"): text_of(value, text_of(name, "a field's name"))
        for name, value in fields.items()
        if name != b"vector"
    }
    named = optional_text(document.get("id_"), "id_")
    if named is not None and named != identity:
        notes.add(ID_DIFFERS)
    if not (named or identity):
        raise CannotRead("it has no id")
    if any("|" in document.get(name, "") for name in ("topics", "entities", "extracted_from")):
        notes.add(BARS)
    memory = memory_of(document, reading, notes, identity=named or identity)
    vectors = _vectors(vector, reading, notes)
    status = EmbeddingStatus.READY if vectors else EmbeddingStatus.PENDING
    return MemoryRecord(
        memory=replace(memory, embedding=status), vectors=vectors, origin=_origin(memory), is_copy=False, compared=False
    )


def _origin(memory: Memory) -> str:
    """The kind of operation that such a record comes from, here: what was extracted goes with a cascading delete."""
    return "extract" if memory.extracted_from else "import"


def memory_of(document: Mapping[str, Any], reading: Reading, notes: Notes, *, identity: str) -> Memory:
    """A record, from a hash's fields or from JSON (a session's structured memory)."""
    text = required_text(document.get("text"), "text")
    if not text:
        notes.add(EMPTY_TEXT)
    scope = reading.owner(
        optional_text(document.get("namespace"), "namespace"),
        optional_text(document.get("user_id"), "user_id"),
        optional_text(document.get("session_id"), "session_id"),
    )
    memory_type = _memory_type(document.get("memory_type"))
    strategy = optional_text(document.get("extraction_strategy"), "extraction_strategy") or "discrete"
    created_at = moment_of(document.get("created_at"), "created_at")
    if created_at is None:
        notes.add(NO_TIME)
        created_at = moment_of_ulid(identity) or reading.begun_at
    memory_hash = optional_text(document.get("memory_hash"), "memory_hash")
    if memory_hash is None:
        notes.add(NO_HASH)
        memory_hash = content_hash(text, scope, memory_type)
    extracted_from = tags_of(document.get("extracted_from"), "extracted_from")
    return Memory(
        id=required_text(identity, "id_"),
        scope=scope,
        text=text,
        created_at=created_at,
        updated_at=moment_of(document.get("updated_at"), "updated_at") or created_at,
        last_accessed=moment_of(document.get("last_accessed"), "last_accessed") or created_at,
        memory_type=memory_type,
        topics=tags_of(document.get("topics"), "topics"),
        entities=tags_of(document.get("entities"), "entities"),
        access_count=max(0, number_of(document.get("access_count"), "access_count", absent=0)),
        pinned=flag_of(document.get("pinned"), "pinned", absent=False),
        memory_hash=memory_hash,
        extracted=flag_of(document.get("discrete_memory_extracted"), "discrete_memory_extracted", absent=False),
        persisted_at=moment_of(document.get("persisted_at"), "persisted_at"),
        extracted_from=extracted_from or None,
        event_date=moment_of(document.get("event_date"), "event_date"),
        extraction_strategy=strategy,
        extraction_strategy_config=_json_object(
            document.get("extraction_strategy_config"), "extraction_strategy_config"
        ),
        metadata=_json_object(document.get("metadata"), "metadata"),
        source=_source(text, memory_type, extracted_from),
    )


def _memory_type(value: object) -> MemoryType:
    """The reference's migrations made a missing type "message"."""
    try:
        return MemoryType(optional_text(value, "memory_type") or MemoryType.MESSAGE)
    except ValueError:
        raise CannotRead("memory_type is none of semantic, episodic and message") from None


def _source(text: str, memory_type: MemoryType, extracted_from: Sequence[str]) -> Source:
    """A message's text begins with who spoke; what was extracted was made by a model of what was said."""
    if memory_type is MemoryType.MESSAGE:
        spoken = {"assistant": Source.ASSISTANT, "tool": Source.TOOL, "function": Source.TOOL}
        return spoken.get(text.partition(": ")[0].lower(), Source.USER)
    return Source.DERIVED if extracted_from else Source.USER


def _json_object(value: object, what: str) -> Mapping[str, Any]:
    if value is None or value == "":
        return {}
    found = json_of(value, what) if isinstance(value, str) else value
    return {} if found is None else object_of(found, what)


def _vectors(packed: bytes | None, reading: Reading, notes: Notes) -> tuple[Embedded, ...]:
    """The vector, made unit-length, when it is of the model that is configured now."""
    if not packed:
        notes.add(NO_VECTOR)
        return ()
    if reading.vector_model is None or len(packed) % 4 or len(packed) // 4 != reading.vector_dimensions:
        notes.add(OTHER_VECTOR)
        return ()
    vector = np.frombuffer(packed, dtype="<f4").astype(np.float32)
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(length) or length == 0.0:
        notes.add(OTHER_VECTOR)
        return ()
    return (Embedded(model=reading.vector_model, vector=(vector / np.float32(length)).astype(np.float32)),)


# -- summary views ----------------------------------------------------------------------------------------------------


def decode_view(identity: str, value: bytes, reading: Reading) -> ViewRecord:
    document = object_of(json_of(value, "the view"), "the view")
    view_id = optional_text(document.get("id"), "id") or identity
    if view_id != identity:
        raise CannotRead("its id is not that of its key")
    try:
        draft = checked(
            ViewDraft(
                source=ViewSource(document.get("source", "long_term")),
                name=optional_text(document.get("name"), "name"),
                group_by=tuple(
                    required_text(each, "group_by") for each in listed(document.get("group_by") or [], "group_by")
                ),
                filters=object_of(document.get("filters") or {}, "filters"),
                time_window_days=_window(document.get("time_window_days")),
                continuous=flag_of(document.get("continuous"), "continuous", absent=False),
                prompt=optional_text(document.get("prompt"), "prompt"),
                model_name=optional_text(document.get("model_name"), "model_name"),
            )
        )
    except MemoryServerError as error:
        raise CannotRead(error.detail) from error
    except ValueError:
        raise CannotRead("source is neither long_term nor working_memory") from None
    return ViewRecord(
        view=SummaryView(
            id=view_id,
            owner=ScopeSelector(reading.tenant),
            created_at=moment_of_ulid(view_id) or reading.begun_at,
            created_by="reference",
            draft=draft,
        )
    )


def _window(value: object) -> int | None:
    return None if value is None else number_of(value, "time_window_days", absent=0)


def decode_partition(
    view_id: str, group_text: str, value: bytes, view: SummaryView | None, reading: Reading
) -> PartitionRecord:
    """One summary. ``group_text`` is the part of the key that names the group."""
    if view is None:
        raise CannotRead("its summary view is not there: it was deleted, or cannot be read")
    document = object_of(json_of(value, "the summary"), "the summary")
    group = {
        required_text(name, "group"): required_text(held, "group")
        for name, held in object_of(document.get("group") or _group_of(group_text), "group").items()
    }
    if sorted(group) != sorted(view.draft.group_by):
        raise CannotRead(
            f"its group has the fields {sorted(group)}, and the view groups by {sorted(view.draft.group_by)}"
        )
    is_empty = flag_of(document.get("empty"), "empty", absent=False)
    return PartitionRecord(
        tenant=reading.tenant,
        partition=Partition(
            view_id=view_id,
            group={name: group[name] for name in view.draft.group_by},
            summary=required_text(document.get("summary", ""), "summary"),
            memory_count=max(0, number_of(document.get("memory_count"), "memory_count", absent=0)),
            computed_at=moment_of(document.get("computed_at"), "computed_at") or reading.begun_at,
            fingerprint=None,
            empty_reason=(optional_text(document.get("empty_reason"), "empty_reason") or NO_MATCHING_MEMORIES)
            if is_empty
            else None,
        ),
        sources=None,
    )


def _group_of(group_text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in group_text.split("|") if part)
    return {unquote(name): unquote(held) for name, _, held in pairs}


# -- tasks ------------------------------------------------------------------------------------------------------------


TASK_MARK = SUMMARY_VIEW_FULL_RUN.encode()
"""Stands in every task that the reference server wrote."""


def decode_task(identity: str, value: bytes, reading: Reading, *, expires_at: datetime) -> TaskRecord:
    """A run of a summary view, as a client may ask about it. One that was not finished begins anew (``work_of``)."""
    document = object_of(json_of(value, "the task"), "the task")
    try:
        status = TaskStatus(required_text(document.get("status"), "status"))
    except ValueError:
        raise CannotRead("status is none of pending, running, success and failed") from None
    view_id = optional_text(document.get("view_id"), "view_id")
    is_open = status in (TaskStatus.PENDING, TaskStatus.RUNNING)
    owner = reading.owner()
    return TaskRecord(
        task=Task(
            id=optional_text(document.get("id"), "id") or identity,
            scope=owner,
            type=SUMMARY_VIEW_FULL_RUN,
            status=TaskStatus.PENDING if is_open else status,
            created_at=moment_of(document.get("created_at"), "created_at") or reading.begun_at,
            view_id=view_id,
            started_at=None if is_open else moment_of(document.get("started_at"), "started_at"),
            completed_at=moment_of(document.get("completed_at"), "completed_at"),
            error_message=optional_text(document.get("error_message"), "error_message"),
        ),
        kind=IntentKind.REFRESH_SUMMARY_VIEW.value,
        expires_at=expires_at,
        follows=_run_of(owner, view_id) if is_open and view_id is not None else None,
        generation=1,
    )


def _run_of(owner: Scope, view_id: str) -> Key:
    return owner.tenant, owner.namespace, owner.user_id, IntentKind.REFRESH_SUMMARY_VIEW.value, view_id


def work_of(record: TaskRecord) -> WorkRecord | None:
    """The run that an unfinished task waits for."""
    task = record.task
    if record.follows is None or task.view_id is None:
        return None
    return WorkRecord(
        owner=task.scope,
        kind=IntentKind.REFRESH_SUMMARY_VIEW.value,
        name=task.view_id,
        payload={"view_id": task.view_id, "force": False},
        created_at=task.created_at,
        requested_at=task.created_at,
        not_before=task.created_at,
        attempts=0,
        generation=1,
        dead=False,
        reason=None,
        task_id=derived_id("reference task", task.id),
    )


# -- access tokens ----------------------------------------------------------------------------------------------------


def decode_token(identity: str, value: bytes, reading: Reading) -> TokenRecord:
    document = object_of(json_of(value, "the token"), "the token")
    hashed = optional_text(document.get("token_hash"), "token_hash") or identity
    if not hashed.startswith("$2"):
        raise CannotRead("its hash is not of bcrypt")
    return TokenRecord(
        token=AccessToken(
            id=derived_id("reference token", hashed),
            description=optional_text(document.get("description"), "description") or "",
            created_at=moment_of(document.get("created_at"), "created_at") or reading.begun_at,
            tenant=reading.tenant,
            expires_at=moment_of(document.get("expires_at"), "expires_at"),
            imported_hash=hashed,
        )
    )
