"""Keys of the sets and counters that go with long-term memories."""

from __future__ import annotations

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.stores.redis import naming


def hash_key(owner: Scope, memory_hash: str) -> str:
    """Set of the live memories of this owner with this hash."""
    return naming.in_tenant(owner.tenant, "hash", naming.digest(owner.namespace, owner.user_id, memory_hash))


def copies_key(handle: str) -> str:
    """Set of the memories that stepped back behind a memory: duplicates (``is_copy``) and others."""
    return naming.beside(handle, "copies")


def history_key(handle: str) -> str:
    return naming.beside(handle, "history")


def summaries_key(handle: str) -> str:
    """Set of the summaries that this memory went into."""
    return naming.beside(handle, "summaries")


def session_key(scope: Scope) -> str:
    """Set of the memories that belong to a session."""
    return naming.in_tenant(
        scope.tenant, "memories-of", naming.digest(scope.namespace, scope.user_id, scope.session_id)
    )


def statistics_key(tenant: str) -> str:
    """Hash: for each tag of a selection its documents (``:d``), their terms (``:t``), its revision (``:r``) and the life of
    that counter (``:k``); and ``SCRUBBED``."""
    return naming.in_tenant(tenant, "statistics")


SCRUBBED = "scrubbed"
"""Field of the statistics: how often text left the history of some memory of the tenant."""


def statistics_beside(handle: str) -> str:
    """The same key as ``statistics_key``, of the tenant of a memory."""
    return f"{naming.PREFIX}{handle.partition('.')[0]}:statistics"


def changes_key(tenant: str, tag: str) -> str:
    """Sorted set: the memories of a selection that changed last, by its revision then."""
    return naming.in_tenant(tenant, "changes", tag)


def spoken_key(scope: Scope) -> str:
    """Sorted set: the live messages of a session in long-term memory, by when they were said, then by arrival."""
    return naming.in_tenant(scope.tenant, "spoken", naming.digest(scope.namespace, scope.user_id, scope.session_id))


def spoken_member(arrival: str, digest: str) -> str:
    return f"{arrival}:{digest}"


def is_spoken(memory: Memory) -> bool:
    """Whether this is a live message of a session: one that has neighbours."""
    return (
        memory.memory_type is MemoryType.MESSAGE
        and memory.scope.session_id is not None
        and memory.superseded_by is None
    )


def due_key(tenant: str) -> str:
    """Sorted set (by its members alone) of the memories that are to be compared: stage, owner, memory."""
    return naming.in_tenant(tenant, "comparisons")
