"""The tool that builds a prompt: a conversation, the memories that matter to a query, and the query."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agent_memory_server.api.schemas.hydration import MemoryPromptResponse, prompt_message_wire
from agent_memory_server.api.schemas.memories import hit_wire
from agent_memory_server.api.schemas.search import to_criteria
from agent_memory_server.api.schemas.values import Name, Text
from agent_memory_server.api.schemas.working_memory import ContextWindow
from agent_memory_server.domain.identity import Permission
from agent_memory_server.errors import BadRequest, NotFound
from agent_memory_server.mcp.scope import ToolCall
from agent_memory_server.mcp.tool import Effect, Tool
from agent_memory_server.mcp.tools.search import Searching, note_shown, query_of, search_of
from agent_memory_server.services.hydration import PromptSession
from agent_memory_server.services.working_memory import Window


class PromptArguments(Searching):
    query: Text
    model_name: Name | None = Field(default=None, description="The conversation is cut to this model's window.")
    context_window_max: ContextWindow | None = Field(default=None, description="The same, in tokens.")
    include_long_term_search: bool = True


_OF_THE_PROMPT = frozenset({"query", "session_id", "model_name", "context_window_max", "include_long_term_search"})


async def memory_prompt(call: ToolCall, asked: PromptArguments) -> dict[str, Any]:
    """``session_id`` names the conversation, it does not narrow the search: memories of other conversations are the point."""
    session_id = None if asked.session_id is None else asked.session_id.eq
    if session_id is None and not asked.include_long_term_search:
        raise BadRequest("Either session_id or include_long_term_search=True must be provided")
    app = call.long_term if asked.include_long_term_search else call.app
    search = None
    if asked.include_long_term_search:
        given = {name: getattr(asked, name) for name in asked.model_fields_set - _OF_THE_PROMPT}
        body = search_of(call, given)
        criteria = to_criteria(body, call.caller)
        if criteria is None:
            raise NotFound("the namespace or user was not found")
        search = criteria, query_of(body)
    prompt = await app.hydration.prompt(
        call.caller,
        query=asked.query,
        session=None if session_id is None else _conversation(call, asked, session_id),
        search=search,
        optimize=asked.optimize_query,
    )
    if search is not None and prompt.page is not None:
        note_shown(call, search[1], prompt.page)
    hits = () if prompt.page is None else prompt.page.hits
    return {
        "messages": [prompt_message_wire(message) for message in prompt.messages],
        "long_term_memories": [hit_wire(hit) for hit in hits] or None,
    }


def _conversation(call: ToolCall, asked: PromptArguments, session_id: str) -> PromptSession:
    return PromptSession(
        session_id=session_id,
        namespace=call.namespace(None if asked.namespace is None else asked.namespace.eq),
        user_id=call.user_id(None if asked.user_id is None else asked.user_id.eq),
        window=Window(model_name=asked.model_name, context_window_max=asked.context_window_max),
    )


TOOLS = (
    Tool(
        name="memory_prompt", title="Prompt with memories", arguments=PromptArguments, answers=MemoryPromptResponse,
        handler=memory_prompt, effect=Effect.READS, permission=Permission.READ,
    ),
)  # fmt: skip
