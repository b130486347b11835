"""The tasks over memories under the names that ``agent-memory schedule-task`` takes, and no more."""

from agent_memory_server.docket_tasks import (
    compact_long_term_memories,
    delete_long_term_memories,
    extract_memories_with_strategy,
    extract_memory_structure,
    forget_long_term_memories,
    index_long_term_memories,
    periodic_forget_long_term_memories,
    promote_working_memory_to_long_term,
    run_delayed_extraction,
    update_last_accessed,
)

__all__ = [
    "compact_long_term_memories",
    "delete_long_term_memories",
    "extract_memories_with_strategy",
    "extract_memory_structure",
    "forget_long_term_memories",
    "index_long_term_memories",
    "periodic_forget_long_term_memories",
    "promote_working_memory_to_long_term",
    "run_delayed_extraction",
    "update_last_accessed",
]
