"""Every limit with its name and unit. Documented in docs/reference/limits.md; answered with 413, 422 or 429."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one request and on one record. Lengths are in characters (code points) unless the name says bytes."""

    body_bytes_max: int = 16 * 1024 * 1024
    import_unpacked_bytes_max: int = 64 * 1024 * 1024
    body_seconds_max: float = 30.0
    head_seconds_max: float = 10.0
    """How long a client may take to send a body."""
    json_depth_max: int = 64
    id_length_max: int = 512
    """Of ids, session ids, namespaces, users, names, roles and strategies."""
    text_length_max: int = 100_000
    """Of a memory's text and of a query."""
    message_length_max: int = 1_000_000
    messages_per_request_max: int = 10_000
    messages_per_append_max: int = 1_000
    messages_per_session_max: int = 100_000
    """Live messages of one session."""
    memories_per_request_max: int = 1_000
    tags_max: int = 256
    """Topics, entities and source messages of one memory."""
    tag_length_max: int = 512
    json_bytes_max: int = 1024 * 1024
    """Of one data, metadata or config object as JSON."""
    filter_values_max: int = 256
    ids_per_request_max: int = 1_000
    page_max: int = 100
    messages_page_max: int = 1_000
    offset_max: int = 1_000_000
    search_window_max: int = 10_000
    """offset + limit of a ranked search."""
    search_tokens_max: int = 1_000_000
    """Budget of language-model tokens that a search may fill."""
    expectations_max: int = 20
    """Expected memories that one explanation is asked about."""
    forget_limit_max: int = 100_000
    plan_groups_max: int = 1_000
    """Groups that a compaction's dry run lists; it counts them all."""
    summary_views_max: int = 1_000
    """Of one owner: callers with the same reach."""
    view_prompt_length_max: int = 20_000
    partitions_max: int = 100_000
    """Groups of one summary view."""
    partitions_page_max: int = 1_000
    mcp_body_bytes_max: int = 4 * 1024 * 1024
    """Of one MCP message over HTTP; MAX_BODY_BYTES counts where it is smaller."""
    mcp_streams_max: int = 1_000
    """Connections to /sse that are open at a time."""
    webhooks_max: int = 100
    """Of one tenant."""
    changes_since_max: int = 20_000
    """Memories that may have changed since the time that ``as_of`` names."""
    undo_memories_max: int = 100_000
    """Memories that one undo may change."""
    ttl_seconds_max: int = 10 * 365 * 86_400


LIMITS = Limits()
