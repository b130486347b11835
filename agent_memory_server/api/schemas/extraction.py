"""Extraction on request, on the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agent_memory_server.api.schemas.memories import MemoryRecord
from agent_memory_server.api.schemas.values import Body, ScopeName
from agent_memory_server.api.schemas.working_memory import MemoryMessage, MemoryStrategyConfig
from agent_memory_server.domain.limits import LIMITS


class ExtractOptions(Body):
    """The body without its messages."""

    long_term_memory_strategy: MemoryStrategyConfig | None = None
    user_id: ScopeName | None = None
    namespace: ScopeName | None = None
    session_id: ScopeName | None = None
    dry_run: bool | None = Field(default=True, description="Unless it is false, nothing is stored.")


class ExtractRequest(ExtractOptions):
    """Messages of one conversation, in order."""

    messages: list[MemoryMessage] = Field(min_length=1, max_length=LIMITS.messages_per_append_max)


class ExtractResponse(Body):
    """``ids``: one for each memory, the surviving record's; empty after a dry run."""

    memories: list[MemoryRecord]
    dry_run: bool
    extractor: Literal["model", "rules"]
    ids: list[str]
