"""An export as lines of JSON (NDJSON): what each kind of record looks like in it, written and read back equal.

The first line says format and version; the last one, ``end``, counts what came between, so that a file that was cut is known.
A session's messages follow it. The tenant is not told: whoever imports has one. Times are ISO-8601 in UTC, vectors are base64 of
little-endian 32-bit floats. Reading raises BadLine with what is wrong, never with what the line says.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import numpy as np

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.line_reading import BadLine, Reading, SureReading, moment_said
from agent_memory_server.domain.operations import Embedded, OperationKind, Vector
from agent_memory_server.domain.records import Memory, MemoryKey, MemoryType, Source
from agent_memory_server.domain.sessions import Message, Session, Strategy, Summarization
from agent_memory_server.domain.summary_views import Partition, SummaryView, ViewDraft, ViewSource
from agent_memory_server.domain.token_vectors import bytes_per_token
from agent_memory_server.domain.transfer import (
    MemoryRecord,
    PartitionRecord,
    SessionMessage,
    SessionRecord,
    ViewRecord,
)

FORMAT = "agent-memory-export"
VERSION = 1
OUTSIDE_SUMMARY = "outside_summary"
_BY_STORE = frozenset({"id", "scope", "embedding", "revision", "operation_id"})
_TOLD = tuple(spec.name for spec in fields(Memory) if spec.name not in _BY_STORE)
_told_of: Callable[[Memory], tuple[Any, ...]] = attrgetter(*_TOLD)
_DIMENSIONS_MAX = 65_536


def memory_line(record: MemoryRecord, *, vectors: bool) -> dict[str, Any]:
    line = {"kind": "memory", **_memory(record.memory), "origin": record.origin}
    if record.is_copy:
        line["is_copy"] = True
    if record.compared:
        line["compared"] = True
    if vectors:
        line["vectors"] = [_vector(each) for each in sorted(record.vectors, key=attrgetter("model", "kind"))]
    return line


def session_line(record: SessionRecord) -> dict[str, Any]:
    session = record.session
    return {
        "kind": "session",
        **_scope(session.scope),
        "context": session.context,
        "data": None if session.data is None else dict(session.data),
        "tokens": session.tokens,
        "strategy": {"name": session.strategy.name, "config": dict(session.strategy.config)},
        "ttl_seconds": session.ttl_seconds,
        "expires_at": _time(record.expires_at),
        "created_at": _time(session.created_at),
        "updated_at": _time(session.updated_at),
        "last_accessed": _time(session.last_accessed),
        "memories": [_memory(memory) for memory in session.memories],
        "live": session.message_count,
        "archived": session.archived_count,
    }


def message_line(each: SessionMessage) -> dict[str, Any]:
    message = each.message
    return {
        "kind": "message",
        "sequence": each.sequence,
        "archived": each.archived,
        "id": message.id,
        "role": message.role,
        "content": message.content,
        "name": message.name,
        "created_at": _time(message.created_at),
        "persisted_at": _time(message.persisted_at),
        "extracted": message.extracted,
        "token_count": message.token_count,
    }


def view_line(record: ViewRecord) -> dict[str, Any]:
    view, draft = record.view, record.view.draft
    return {
        "kind": "summary_view",
        "id": view.id,
        "namespace": view.owner.namespace,
        "user_id": view.owner.user_id,
        "created_at": _time(view.created_at),
        "created_by": view.created_by,
        "source": draft.source.value,
        "name": draft.name,
        "group_by": list(draft.group_by),
        "filters": dict(draft.filters),
        "time_window_days": draft.time_window_days,
        "continuous": draft.continuous,
        "prompt": draft.prompt,
        "model_name": draft.model_name,
    }


def summary_line(record: PartitionRecord) -> dict[str, Any]:
    partition = record.partition
    return {
        "kind": "summary",
        "view_id": partition.view_id,
        "group": dict(partition.group),
        "summary": partition.summary,
        "memory_count": partition.memory_count,
        "computed_at": _time(partition.computed_at),
        "fingerprint": partition.fingerprint,
        "empty_reason": partition.empty_reason,
        "sources": [[key.namespace, key.user_id, key.id] for key in record.sources or ()],
    }


def outside_summary_line(partition: Partition) -> dict[str, Any]:
    """What a view says that the caller may not see: told, and never taken in."""
    return {
        "kind": OUTSIDE_SUMMARY,
        "view_id": partition.view_id,
        "group": dict(partition.group),
        "summary": partition.summary,
        "memory_count": partition.memory_count,
        "computed_at": _time(partition.computed_at),
        "empty_reason": partition.empty_reason,
    }


# -- reading back -----------------------------------------------------------------------------------------------------


def read_memory(line: Reading, tenant: str) -> MemoryRecord:
    return MemoryRecord(
        memory=_read_memory(line, tenant),
        vectors=tuple(_read_vector(each) for each in line.objects("vectors")),
        origin=line.one_of("origin", OperationKind, OperationKind.IMPORT.value).value,
        is_copy=line.truth("is_copy"),
        compared=line.truth("compared"),
    )


def read_session(line: Reading, tenant: str, *, epoch: str) -> SessionRecord:
    scope = Scope(tenant, line.scope_part("namespace"), line.scope_part("user_id"), line.text("session_id"))
    strategy = Reading(line.object_or_none("strategy") or {"name": "discrete"})
    session = Session(
        scope=scope,
        messages=(),
        memories=tuple(_read_memory(each, tenant) for each in line.objects("memories")),
        data=line.object_or_none("data"),
        context=line.text_or_none("context", length_max=LIMITS.message_length_max),
        tokens=line.number("tokens"),
        strategy=Strategy(name=strategy.text("name"), config=strategy.object_or_none("config") or {}),
        ttl_seconds=line.number_or_none("ttl_seconds", least=1, most=LIMITS.ttl_seconds_max),
        created_at=line.time("created_at"),
        updated_at=line.time("updated_at"),
        last_accessed=line.time("last_accessed"),
        epoch=epoch,
        revision=1,
        message_count=line.number("live", most=LIMITS.messages_per_session_max),
        archived_count=line.number("archived"),
        summarization=Summarization.NONE,
    )
    return SessionRecord(session=session, expires_at=line.time_or_none("expires_at"))


def read_message(line: Reading) -> SessionMessage:
    message = Message(
        id=line.text("id"),
        role=line.text("role"),
        content=line.text("content", length_max=LIMITS.message_length_max),
        created_at=line.time("created_at"),
        name=line.text_or_none("name"),
        persisted_at=line.time_or_none("persisted_at"),
        extracted=line.truth("extracted"),
        token_count=line.number("token_count"),
    )
    return SessionMessage(sequence=line.number("sequence", least=1), archived=line.truth("archived"), message=message)


def read_view(line: Reading, tenant: str) -> ViewRecord:
    draft = ViewDraft(
        source=line.one_of("source", ViewSource, ViewSource.LONG_TERM.value),
        name=line.text_or_none("name"),
        group_by=line.texts("group_by"),
        filters=line.object_or_none("filters") or {},
        time_window_days=line.number_or_none("time_window_days", least=1),
        continuous=line.truth("continuous"),
        prompt=line.text_or_none("prompt", length_max=LIMITS.view_prompt_length_max),
        model_name=line.text_or_none("model_name"),
    )
    view = SummaryView(
        id=line.text("id"),
        owner=ScopeSelector(tenant, line.scope_part("namespace"), line.scope_part("user_id")),
        draft=draft,
        created_at=line.time("created_at"),
        created_by=line.text("created_by"),
    )
    return ViewRecord(view=view)


def read_summary(line: Reading, tenant: str) -> PartitionRecord:
    partition = Partition(
        view_id=line.text("view_id"),
        group={name: str(value) for name, value in (line.object_or_none("group") or {}).items()},
        summary=line.text_or_none("summary", length_max=LIMITS.message_length_max) or "",
        memory_count=line.number("memory_count"),
        computed_at=line.time("computed_at"),
        fingerprint=line.text_or_none("fingerprint"),
        empty_reason=line.text_or_none("empty_reason"),
    )
    sources: list[tuple[str | None, str | None, str]] = line.one_of("sources", _keys)
    return PartitionRecord(
        tenant=tenant,
        partition=partition,
        sources=tuple(MemoryKey(tenant, *each) for each in sources),
    )


def _keys(value: Any) -> list[tuple[str | None, str | None, str]]:
    return [(namespace, user_id, str(memory_id)) for namespace, user_id, memory_id in value or ()]


# -- pieces -----------------------------------------------------------------------------------------------------------


def _scope(scope: Scope) -> dict[str, Any]:
    return {"session_id": scope.session_id, "namespace": scope.namespace, "user_id": scope.user_id}


def _memory(memory: Memory) -> dict[str, Any]:
    """Times, enumerations and tuples as they are: whoever writes JSON writes them as such. There are millions of these."""
    return {"id": memory.id, **_scope(memory.scope), **dict(zip(_TOLD, _told_of(memory), strict=True))}


def _read_memory(line: Reading, tenant: str) -> Memory:
    """Most fields of most memories have nothing in them: those are not asked for one by one."""
    if isinstance(line, SureReading):
        return _sure_memory(line.fields, tenant)
    held = line.fields.get
    scope = Scope(tenant, line.scope_part("namespace"), line.scope_part("user_id"), line.text_or_none("session_id"))
    long = LIMITS.id_length_max
    extracted_from = None if held("extracted_from") in _NO_TEXTS else line.texts("extracted_from", length_max=long)
    return Memory(
        id=line.text("id"),
        scope=scope,
        text=line.text("text", length_max=LIMITS.text_length_max),
        created_at=line.time("created_at"),
        updated_at=line.time("updated_at"),
        last_accessed=line.time("last_accessed"),
        memory_type=line.one_of("memory_type", MemoryType),
        topics=() if held("topics") in _NO_TEXTS else line.texts("topics"),
        entities=() if held("entities") in _NO_TEXTS else line.texts("entities"),
        name=None if held("name") is None else line.text_or_none("name"),
        access_count=line.number("access_count"),
        pinned=line.truth("pinned"),
        memory_hash=line.text_or_none("memory_hash") or "",
        extracted=line.truth("extracted", default=True),
        persisted_at=None if held("persisted_at") is None else line.time_or_none("persisted_at"),
        extracted_from=extracted_from or None,
        event_date=None if held("event_date") is None else line.time_or_none("event_date"),
        extraction_strategy=line.text("extraction_strategy"),
        extraction_strategy_config=line.object_or_none("extraction_strategy_config") or {},
        metadata=line.object_or_none("metadata") or {},
        source=line.one_of("source", Source, Source.USER.value),
        author=line.text_or_none("author"),
        trust=line.share("trust", 1.0),
        derived_from=() if held("derived_from") in _NO_TEXTS else line.texts("derived_from", length_max=long),
        superseded_by=None if held("superseded_by") is None else line.text_or_none("superseded_by"),
        valid_from=None if held("valid_from") is None else line.time_or_none("valid_from"),
        valid_to=None if held("valid_to") is None else line.time_or_none("valid_to"),
        expires_at=None if held("expires_at") is None else line.time_or_none("expires_at"),
    )


_NO_TEXTS: tuple[Any, ...] = (None, [])
_MEMORY_TYPES = {each.value: each for each in MemoryType}
_SOURCES = {each.value: each for each in Source}


def _sure_memory(line: Mapping[str, Any], tenant: str) -> Memory:
    """The same of a line that was read before and is right: values as they are, without a call for each."""
    held = line.get
    return Memory(
        id=line["id"],
        scope=Scope(tenant, held("namespace"), held("user_id"), held("session_id")),
        text=line["text"],
        created_at=moment_said(line["created_at"]),
        updated_at=moment_said(line["updated_at"]),
        last_accessed=moment_said(line["last_accessed"]),
        memory_type=_MEMORY_TYPES[line["memory_type"]],
        topics=tuple(held("topics") or ()),
        entities=tuple(held("entities") or ()),
        name=held("name"),
        access_count=held("access_count", 0),
        pinned=held("pinned", False),
        memory_hash=held("memory_hash") or "",
        extracted=held("extracted", True),
        persisted_at=_sure_time(held("persisted_at")),
        extracted_from=tuple(held("extracted_from") or ()) or None,
        event_date=_sure_time(held("event_date")),
        extraction_strategy=line["extraction_strategy"],
        extraction_strategy_config=held("extraction_strategy_config") or {},
        metadata=held("metadata") or {},
        source=_SOURCES[held("source", Source.USER.value)],
        author=held("author"),
        trust=float(held("trust", 1.0)),
        derived_from=tuple(held("derived_from") or ()),
        superseded_by=held("superseded_by"),
        valid_from=_sure_time(held("valid_from")),
        valid_to=_sure_time(held("valid_to")),
        expires_at=_sure_time(held("expires_at")),
    )


def _sure_time(value: str | None) -> datetime | None:
    return None if value is None else moment_said(value)


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _vector(embedded: Embedded) -> dict[str, Any]:
    held = None
    if embedded.vector is not None:
        held = base64.b64encode(np.ascontiguousarray(embedded.vector, dtype="<f4").tobytes()).decode()
    told = {"model": embedded.model, "kind": embedded.kind, "vector": held}
    if embedded.tokens is not None:
        told["tokens"] = base64.b64encode(embedded.tokens).decode()
    return told


def _read_vector(line: Reading) -> Embedded:
    held = line.text_or_none("vector", length_max=8 * _DIMENSIONS_MAX)
    vector = None
    if held is not None:
        try:
            vector = np.frombuffer(base64.b64decode(held, validate=True), dtype="<f4").astype(np.float32)
        except (binascii.Error, ValueError):
            raise BadLine("vector must be base64 of 32-bit floats") from None
        if not len(vector) or not np.isfinite(vector).all():
            raise BadLine("vector must hold finite numbers")
    return Embedded(model=line.text("model"), kind=line.text("kind"), vector=vector, tokens=_read_tokens(line, vector))


def _read_tokens(line: Reading, vector: Vector | None) -> bytes | None:
    held = line.text_or_none("tokens", length_max=8 * _DIMENSIONS_MAX)
    if held is None:
        return None
    try:
        tokens = base64.b64decode(held, validate=True)
    except (binascii.Error, ValueError):
        raise BadLine("tokens must be base64") from None
    if vector is None or not tokens or len(tokens) % bytes_per_token(len(vector)):
        raise BadLine("tokens must be whole vectors of words, beside a vector of the text")
    return tokens
