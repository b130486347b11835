"""POST /v1/long-term-memory/extract."""

from __future__ import annotations

from agent_memory_server.api import bodies
from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.routes.working_memory import apart, messages_of
from agent_memory_server.api.schemas.extraction import ExtractOptions, ExtractRequest, ExtractResponse
from agent_memory_server.api.schemas.memories import memory_wire
from agent_memory_server.domain.identity import Permission
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.sessions import Strategy


async def extract_memories(call: Call) -> Answer:
    """Show which memories would be extracted from these messages; with ``dry_run: false`` store them."""
    app = call.long_term
    items, rest = apart(await call.json(), LIMITS.messages_per_append_max, least=1)
    options = bodies.validated(ExtractOptions, rest, "body")
    messages, _ = await messages_of(app, items, app.now())
    chosen = options.long_term_memory_strategy
    dry_run = options.dry_run is not False
    extraction = await app.extraction.extract(
        call.caller,
        messages,
        strategy=Strategy() if chosen is None else chosen.to_strategy(),
        namespace=options.namespace,
        user_id=options.user_id,
        session_id=options.session_id,
        store=not dry_run,
    )
    wire = {
        "memories": [memory_wire(memory) for memory in extraction.memories],
        "dry_run": dry_run,
        "extractor": extraction.extractor,
        "ids": extraction.ids,
    }
    return answer(wire)


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/long-term-memory/extract",
        handler=extract_memories,
        permission=Permission.WRITE,
        body=ExtractRequest,
        answers=ExtractResponse,
        fails=(404,),
    ),
)
