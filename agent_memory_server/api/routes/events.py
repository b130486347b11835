"""GET /v1/events: what changes, as it changes, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from pydantic import Field

from agent_memory_server.api.answers import Answer, encoded
from agent_memory_server.api.event_stream import HEARTBEAT, MEDIA_TYPE, EventStream, event
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.history import Cursor, OperationResponse, told_wire
from agent_memory_server.api.schemas.working_memory import SessionScopeQuery
from agent_memory_server.domain.identity import Permission
from agent_memory_server.services.history import Told


class EventsQuery(SessionScopeQuery):
    after: Cursor | None = Field(
        default=None, description="Begin behind this cursor. A `Last-Event-ID` header says the same, and wins."
    )
    start: Literal["now", "beginning"] = Field(default="now", description="Where to begin without a cursor.")
    wait_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] | None = Field(
        default=None, description="End the stream when nothing came for so long. Unset: it goes on."
    )


async def follow_events(call: Call) -> Answer:
    """Every operation within the caller's reach as it is committed, by whichever process: `event` is its kind, `id` the cursor,
    `data` the operation as JSON with up to 100 of the memories that it changed. A comment comes at least every 15 seconds.

    A client that comes back with `Last-Event-ID` misses nothing. The credential is looked at again with every heartbeat.
    """
    feed = call.long_term.events
    query = call.query(EventsQuery)
    last = call.header(b"last-event-id")
    after = await feed.place(last or query.after, from_start=query.start == "beginning")
    following = feed.follow(
        call.caller, after=after, namespace=query.namespace, user_id=query.user_id, idle_s=query.wait_seconds
    )
    if call.is_head:
        return Answer(body=b"", media_type=MEDIA_TYPE)
    leave = feed.enter(call.caller)
    return EventStream(body=b"", events=_written(call, following), receive=call.receive, leave=leave)


async def _written(call: Call, following: AsyncIterator[Told | None]) -> AsyncIterator[bytes]:
    async for told in following:
        if told is None:
            await call.check_again(Permission.READ, action="follow events")
            yield HEARTBEAT
        else:
            yield _event(told)


def _event(told: Told) -> bytes:
    operation = told.listed.operation
    return event(cursor=told.listed.cursor, kind=operation.kind.value, data=encoded(told_wire(told)))


OPERATIONS = (
    Operation(
        method="GET", path="/v1/events", handler=follow_events, permission=Permission.READ, query=EventsQuery,
        answers=OperationResponse, media_type="text/event-stream", reads_headers=("Last-Event-ID",),
    ),
)  # fmt: skip
