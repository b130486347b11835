"""POST /v1/memory/prompt."""

from __future__ import annotations

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.hydration import (
    MemoryPromptRequest,
    MemoryPromptResponse,
    asks_for_search,
    prompt_message_wire,
    to_search,
)
from agent_memory_server.api.schemas.memories import hit_wire
from agent_memory_server.api.schemas.search import OptimizeQuery
from agent_memory_server.domain.identity import Permission
from agent_memory_server.errors import NotFound


async def memory_prompt(call: Call) -> Answer:
    """The messages to send to a language model: summary, conversation, memories that matter to the query, the query."""
    asked = call.query(OptimizeQuery)
    body = await call.body(MemoryPromptRequest)
    searches = asks_for_search(body)
    app = call.long_term if searches else call.app
    search = to_search(body, call.caller) if searches else None
    if searches and search is None:
        raise NotFound("the namespace or user was not found")
    prompt = await app.hydration.prompt(
        call.caller,
        query=body.query,
        session=None if body.session is None else body.session.to_session(),
        search=search,
        optimize=asked.optimize_query,
    )
    if search is not None and search[1].recency is not None and prompt.page is not None and prompt.page.hits:
        call.runtime.afterwards.run(app.search.note_access(prompt.page), "note access")
    hits = () if prompt.page is None else prompt.page.hits
    wire = {
        "messages": [prompt_message_wire(message) for message in prompt.messages],
        "long_term_memories": [hit_wire(hit) for hit in hits] or None,
    }
    return answer(wire)


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/memory/prompt",
        handler=memory_prompt,
        permission=Permission.READ,
        query=OptimizeQuery,
        body=MemoryPromptRequest,
        answers=MemoryPromptResponse,
        fails=(404, 409),
    ),
)
