"""What ties summaries to the memories they were made of: each function runs within its caller's transaction."""

from __future__ import annotations

from agent_memory_server.domain.summary_views import SOURCE_DELETED
from agent_memory_server.stores.sqlite.connections import Connected


def scrub_summaries(connected: Connected, *, scope_id: int, memory_id: str) -> None:
    """Take away the text of every summary that this memory, which is deleted for good, went into."""
    found = connected.rows(
        "SELECT partition FROM partition_sources WHERE scope_id = ? AND memory_id = ?", (scope_id, memory_id)
    )
    for (partition,) in found:
        connected.execute(
            "UPDATE partitions SET summary = '', memory_count = 0, fingerprint = NULL, empty_reason = ? WHERE number = ?",
            (SOURCE_DELETED, partition),
        )
        connected.execute("DELETE FROM partition_sources WHERE partition = ?", (partition,))


def rekey_sources(
    connected: Connected, *, scope_id: int, memory_id: str, new_scope_id: int, new_memory_id: str
) -> None:
    """A memory moved to another owner: the summaries that hold its text still go when it is deleted."""
    connected.execute(
        "UPDATE OR REPLACE partition_sources SET scope_id = ?, memory_id = ? WHERE scope_id = ? AND memory_id = ?",
        (new_scope_id, new_memory_id, scope_id, memory_id),
    )
