"""How a tool is declared: its name, what it takes, what it answers, what it may do to memories, and who may call it.

What the model that calls it reads is ``descriptions/<name>.md``. From the declaration come the listing, the validation of
arguments, the permission check and ``docs/reference/mcp-tools.md``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

from pydantic import BaseModel

from agent_memory_server.domain.identity import Permission
from agent_memory_server.mcp.scope import ToolCall

Handler = Callable[[ToolCall, Any], Awaitable[dict[str, Any]]]
"""(call, arguments) → the answer's fields."""


class Effect(StrEnum):
    """What a call may do, for the hints that clients show before they let a model call it."""

    READS = "reads"
    ADDS = "adds"
    """Writes something new; nothing that was there is lost."""
    ADDS_ONCE = "adds once"
    """As ADDS, and repeating it with the same arguments adds nothing."""
    CHANGES = "changes"
    """Overwrites or removes; doing it twice is the same as once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    name: str
    title: str
    arguments: type[BaseModel]
    answers: type[BaseModel]
    handler: Handler
    effect: Effect
    permission: Permission

    @property
    def description(self) -> str:
        return text(self.name)


@cache
def text(name: str) -> str:
    """A text for models from ``descriptions/``, without the line breaks that only the file needs."""
    written = (
        resources.files("agent_memory_server.mcp").joinpath("descriptions", f"{name}.md").read_text(encoding="utf-8")
    )
    paragraphs = written.strip().split("\n\n")
    return "\n\n".join(_joined(paragraph) for paragraph in paragraphs)


def _joined(paragraph: str) -> str:
    """Lines of running text as one; lists and examples stay as they are."""
    lines = paragraph.split("\n")
    if any(line.startswith(("- ", "  ", "{", "`")) for line in lines):
        return paragraph
    return " ".join(lines)
