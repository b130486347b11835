"""The small tool set, ``MCP_TOOLS=simple``: remember, recall, forget. Few arguments, short answers, everything else decided."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from agent_memory_server.api.schemas.memories import MemoryTypeName
from agent_memory_server.api.schemas.search import NOTHING, to_criteria
from agent_memory_server.api.schemas.values import Body, Id, ScopeName, Tags, Text, Time
from agent_memory_server.domain.identity import Permission
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.search import Hit
from agent_memory_server.mcp.arguments import Arguments, LenientMemoryRecord
from agent_memory_server.mcp.scope import ToolCall
from agent_memory_server.mcp.tool import Effect, Tool
from agent_memory_server.mcp.tools.memories import memory_of
from agent_memory_server.mcp.tools.search import note_shown, query_of, search_of


class RememberArguments(Arguments):
    text: Text = Field(description="One self-contained statement: names instead of pronouns, dates instead of 'today'.")
    topics: Tags | None = None
    event_date: Time | None = Field(default=None, description="When it happened, if it is an event.")
    user_id: ScopeName | None = Field(default=None, description="Whom it is about. Unset: as configured.")


class Remembered(Body):
    """``id``: of the memory that says it now, which may be an older one that said the same."""

    id: str
    stored: bool = Field(description="false: an older memory said the same already.")


class RecallArguments(Arguments):
    query: Text = Field(description="A question or a few words. Empty: the newest memories.")
    limit: Annotated[int, Field(ge=1, le=LIMITS.page_max)] = 10
    since: Time | None = Field(default=None, description="Only what was stored since then.")
    user_id: ScopeName | None = Field(default=None, description="Whose memories. Unset: as configured.")


class Recalled(Body):
    id: str
    text: str
    memory_type: MemoryTypeName
    created_at: datetime
    event_date: datetime | None
    topics: list[str]
    user_id: str | None
    score: float | None


class RecalledPage(Body):
    """The best first. ``total``: how many were candidates."""

    memories: list[Recalled]
    total: int


class ForgetArguments(Arguments):
    memory_ids: Annotated[list[Id], Field(min_length=1, max_length=LIMITS.ids_per_request_max)]
    user_id: ScopeName | None = None


class Forgotten(Body):
    deleted: int = Field(description="How many of them there were.")


async def remember(call: ToolCall, asked: RememberArguments) -> dict[str, Any]:
    """One memory; an exact duplicate stores nothing new."""
    app = call.long_term
    record = LenientMemoryRecord(
        text=asked.text,
        topics=asked.topics,
        event_date=asked.event_date,
        memory_type="semantic" if asked.event_date is None else "episodic",
        user_id=asked.user_id,
    )
    memory = memory_of(call, record, 0, app.now())
    created = await app.memories.create(call.caller, [memory])
    return {"id": created.ids[0], "stored": created.ids[0] == memory.id}


async def recall(call: ToolCall, asked: RecallArguments) -> dict[str, Any]:
    """Hybrid search; only what a model needs of each memory."""
    app = call.long_term
    given: dict[str, Any] = {"text": asked.query, "limit": asked.limit}
    if asked.user_id is not None:
        given["user_id"] = {"eq": asked.user_id}
    if asked.since is not None:
        given["created_at"] = {"gte": asked.since}
    body = search_of(call, given)
    query, criteria = query_of(body), to_criteria(body, call.caller)
    page = NOTHING if criteria is None else await app.search.search(criteria, query)
    note_shown(call, query, page)
    return {"memories": [_recalled(hit) for hit in page.hits], "total": page.total}


async def forget(call: ToolCall, asked: ForgetArguments) -> dict[str, Any]:
    """For good."""
    deleted = await call.long_term.memories.delete(
        call.caller, memory_ids=asked.memory_ids, namespace=call.namespace(), user_id=call.user_id(asked.user_id)
    )
    return {"deleted": deleted}


def _recalled(hit: Hit) -> dict[str, Any]:
    memory = hit.memory
    return {
        "id": memory.id,
        "text": memory.text,
        "memory_type": memory.memory_type.value,
        "created_at": memory.created_at,
        "event_date": memory.event_date,
        "topics": memory.topics,
        "user_id": memory.scope.user_id,
        "score": hit.score,
    }


TOOLS = (
    Tool(
        name="remember", title="Remember", arguments=RememberArguments, answers=Remembered, handler=remember,
        effect=Effect.ADDS_ONCE, permission=Permission.WRITE,
    ),
    Tool(
        name="recall", title="Recall", arguments=RecallArguments, answers=RecalledPage, handler=recall,
        effect=Effect.READS, permission=Permission.READ,
    ),
    Tool(
        name="forget", title="Forget", arguments=ForgetArguments, answers=Forgotten, handler=forget,
        effect=Effect.CHANGES, permission=Permission.WRITE,
    ),
)  # fmt: skip
