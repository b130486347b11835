"""Taking data along: exports as lines of JSON, and taking them in."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from agent_memory_server.api.answers import NO_STORE, Answer, StreamedAnswer, answer, encoded_lines
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.elsewhere import Checked, checked
from agent_memory_server.api.schemas.transfer import (
    EverythingQuery,
    ExportedLine,
    ExportQuery,
    ImportQuery,
    ImportResponse,
    imported_wire,
    taken_in_wire,
)
from agent_memory_server.domain.identity import OutsideReach, Permission, ScopeSelector
from agent_memory_server.errors import InvalidInput
from agent_memory_server.importers.elsewhere import read_content
from agent_memory_server.services.exporting import ExportOptions

NDJSON = "application/x-ndjson"


async def export_user(call: Call) -> Answer:
    """Everything that is held on a user, as lines of JSON: memories with their history, sessions with archived messages too, and
    summary views. Streamed; the last line counts what came before it, so that an answer that was cut is known."""
    query = call.query(ExportQuery)
    user_id = call.path_id("user_id")
    if not user_id.strip():
        raise InvalidInput("must not be blank", field=("path", "user_id"), kind="blank")
    return _exported(call, query, user_id)


async def export_everything(call: Call) -> Answer:
    """The same of everything that the credential reaches, or of one namespace."""
    query = call.query(EverythingQuery)
    return _exported(call, query, query.user_id)


async def import_lines(call: Call) -> Answer:
    """Take in an export, or with ``from`` a file of another system: checked as a whole first, then written; what is there already
    is left as it is.

    Importing the same file again changes nothing. One that is too large for a request (MAX_BODY_BYTES) is for
    ``agent-memory import`` on the command line.
    """
    query = call.query(ImportQuery)
    lines = await call.lines()
    if query.form != "agent-memory":
        return await _taken_in(call, query, lines)
    if query.user_id is not None or query.namespace is not None:
        raise InvalidInput(
            "an export says itself whose its records are: leave user_id and namespace out", field=("query",)
        )
    done = await call.app.importing.run(call.caller, io.BytesIO(lines), dry_run=query.dry_run)
    return answer(imported_wire(done))


async def _taken_in(call: Call, query: ImportQuery, content: bytes) -> Answer:
    app = call.app

    def read() -> Checked:
        return checked(
            read_content(content, query.form, name=query.name or "the file"),
            tenant=call.caller.tenant,
            at=app.now(),
            new_id=app.new_id,
            timestamps_required=app.require_message_timestamps,
        )

    held = await asyncio.to_thread(read)
    done = await app.taking_in.run(
        call.caller,
        held.memories,
        held.conversations,
        namespace=query.namespace,
        user_id=query.user_id,
        dry_run=query.dry_run,
    )
    return answer(taken_in_wire(held, done))


def _exported(call: Call, query: ExportQuery, user_id: str | None) -> Answer:
    try:
        selector, is_beyond_reach = call.caller.selector(query.namespace, user_id), False
    except OutsideReach:
        selector, is_beyond_reach = ScopeSelector(call.caller.tenant, query.namespace, user_id), True
    options = ExportOptions(vectors=query.vectors, history=query.history)
    lines = call.app.exporting.lines(selector, options, reach=call.caller.selector(), is_beyond_reach=is_beyond_reach)
    return StreamedAnswer(
        pieces=_encoded(lines),
        media_type=NDJSON.encode(),
        headers=(*NO_STORE, (b"content-disposition", b'attachment; filename="agent-memory-export.ndjson"')),
    )


async def _encoded(portions: AsyncGenerator[Sequence[dict[str, Any]]]) -> AsyncGenerator[bytes]:
    """The head of the file waits for what the store says: one that cannot be read is answered as such, not as a cut file."""
    async with contextlib.aclosing(portions):
        head = encoded_lines(await anext(portions, ()))
        async for lines in portions:
            yield head + encoded_lines(lines)
            head = b""
        if head:
            yield head


OPERATIONS = (
    Operation(
        method="GET", path="/v1/users/{user_id}/export", handler=export_user, permission=Permission.READ,
        query=ExportQuery, answers=ExportedLine, media_type=NDJSON,
    ),
    Operation(
        method="GET", path="/v1/export", handler=export_everything, permission=Permission.READ,
        query=EverythingQuery, answers=ExportedLine, media_type=NDJSON,
    ),
    Operation(
        method="POST", path="/v1/import", handler=import_lines, permission=Permission.ADMIN,
        query=ImportQuery, takes_lines=True, answers=ImportResponse,
    ),
)  # fmt: skip
