"""One recipe for each tool of the live listing: how a caller aims it at an id. A new tool without one fails the matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.contract.scope_matrix.recipes import QUERY

Arguments = Callable[[str], Mapping[str, Any]]
"""Target id → the tool's arguments, which name no scope."""


@dataclass(frozen=True)
class ToolRecipe:
    """``target``: what the id names, or None for tools over a whole scope. ``permission``: what it is meant to need.

    ``undo``: the tool that takes back what it may have made in the caller's own scope. ``owner``: the arguments that name a
    scope. ``shows``: whether the caller's own words or ids stand in the answer to its own target.
    """

    arguments: Arguments
    permission: str
    target: str | None = None
    undo: tuple[str, Arguments] | None = None
    owner: tuple[str, ...] = ("namespace", "user_id")
    shows: bool = True


_SAID = {"id": "m-new", "role": "user", "content": "overwritten", "created_at": "2024-05-01T10:00:00Z"}


def _nothing(_: str) -> Mapping[str, Any]:
    return {}


def _named(name: str, **more: Any) -> Arguments:
    return lambda target: {name: target, **more}


def _ids(target: str) -> Mapping[str, Any]:
    return {"memory_ids": [target]}


_DELETED_SESSION = ("delete_working_memory", _named("session_id"))
_DELETED_MEMORY = ("delete_long_term_memories", _ids)

TOOL_RECIPES: Mapping[str, ToolRecipe] = {
    "get_current_datetime": ToolRecipe(_nothing, "read", owner=(), shows=False),
    "create_long_term_memories": ToolRecipe(
        lambda target: {"memories": [{"id": target, "text": "overwritten"}]},
        "write", target="memory", undo=_DELETED_MEMORY, owner=(),
    ),
    "get_long_term_memory": ToolRecipe(_named("memory_id"), "read", target="memory"),
    "edit_long_term_memory": ToolRecipe(_named("memory_id", text="overwritten"), "write", target="memory", owner=()),
    "delete_long_term_memories": ToolRecipe(_ids, "write", target="memory"),
    "compact_long_term_memories": ToolRecipe(_nothing, "admin", shows=False),
    "search_long_term_memory": ToolRecipe(lambda _: {"text": QUERY, "limit": 100}, "read"),
    "memory_prompt": ToolRecipe(lambda target: {"query": QUERY, "session_id": target, "limit": 100}, "read", target="session"),
    "set_working_memory": ToolRecipe(
        _named("session_id", messages=[_SAID]), "write", target="session", undo=_DELETED_SESSION
    ),
    "get_working_memory": ToolRecipe(_named("session_id"), "read", target="session"),
    "list_sessions": ToolRecipe(lambda _: {"limit": 100}, "read"),
    "append_working_memory": ToolRecipe(
        _named("session_id", messages=[_SAID]), "write", target="session", undo=_DELETED_SESSION
    ),
    "delete_working_memory": ToolRecipe(_named("session_id"), "write", target="session"),
    "list_long_term_memories": ToolRecipe(lambda _: {"limit": 100}, "read"),
    "forget_long_term_memories": ToolRecipe(lambda _: {"max_age_days": 0}, "admin"),
    "get_memory_history": ToolRecipe(_named("memory_id"), "read", target="kept"),
    "list_operations": ToolRecipe(lambda _: {"limit": 100}, "read"),
    "undo_operation": ToolRecipe(_named("operation_id", dry_run=False), "write", target="operation", owner=()),
    "list_tasks": ToolRecipe(lambda _: {"limit": 100}, "read", owner=()),
    "get_task": ToolRecipe(_named("task_id"), "read", target="task", owner=()),
    "replay_task": ToolRecipe(_named("task_id"), "admin", target="task", owner=()),
    "create_summary_view": ToolRecipe(lambda _: {"source": "long_term"}, "write", owner=()),
    "list_summary_views": ToolRecipe(_nothing, "read", owner=()),
    "get_summary_view": ToolRecipe(_named("view_id"), "read", target="view", owner=()),
    "delete_summary_view": ToolRecipe(_named("view_id"), "write", target="view", owner=()),
    "run_summary_view": ToolRecipe(_named("view_id"), "write", target="view", owner=()),
    "run_summary_view_partition": ToolRecipe(
        _named("view_id", group={"session_id": "x"}), "write", target="view", owner=()
    ),
    "list_summary_view_partitions": ToolRecipe(_named("view_id"), "read", target="view"),
}  # fmt: skip
