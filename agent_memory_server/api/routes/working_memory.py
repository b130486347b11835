"""Sessions: list, read, replace, patch, delete; append to and page through their messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from agent_memory_server.api import bodies
from agent_memory_server.api.answers import Answer, Headers, answer, answer_of, encoded_in_pieces
from agent_memory_server.api.errors import BadBody
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.preconditions import precondition_of
from agent_memory_server.api.schemas.memories import AckResponse
from agent_memory_server.api.schemas.working_memory import (
    AppendMessagesRequest,
    AppendResponse,
    AppendScope,
    DeleteSessionQuery,
    GetSessionQuery,
    MemoryMessage,
    MessagePageResponse,
    MessagesQuery,
    PatchWorkingMemory,
    SessionAttributes,
    SessionListQuery,
    SessionListResponse,
    UpdateWorkingMemory,
    WindowQuery,
    WorkingMemoryResponse,
    attributes_wire,
    message_wire,
    messages_and_wire,
    to_draft,
    to_message,
    to_patch,
)
from agent_memory_server.app import MemoryApp
from agent_memory_server.domain.identity import Permission
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.sessions import Message
from agent_memory_server.errors import InvalidInput
from agent_memory_server.services.working_memory import SessionView, Window

UNTIMED: Headers = (
    (
        b"x-deprecation-warning",
        b"messages[].created_at will become required in the next major version. "
        b"Please provide timestamps for all messages.",
    ),
)
_MESSAGES: TypeAdapter[list[MemoryMessage]] = TypeAdapter(list[MemoryMessage])


async def list_sessions(call: Call) -> Answer:
    """Ids of the sessions, most recently updated first, with the true total."""
    query = call.query(SessionListQuery)
    listing = await call.app.working_memory.list_sessions(
        call.caller, namespace=query.namespace, user_id=query.user_id, limit=query.limit, offset=query.offset
    )
    return answer({"sessions": listing.session_ids, "total": listing.total})


async def get_session(call: Call) -> Answer:
    """The session; cut to the newest messages that fit when a model or a window is named."""
    query = call.query(GetSessionQuery)
    view = await call.app.working_memory.show(
        call.caller,
        session_id=call.path_id("session_id"),
        namespace=query.namespace,
        user_id=query.user_id,
        recent_messages=query.recent_messages_limit,
        window=Window(model_name=query.model_name, context_window_max=query.context_window_max),
    )
    return await session_answer(view)


async def put_session(call: Call) -> Answer:
    """Create the session or replace it; the scope comes from the body alone. Without If-Match the last writer wins."""
    session_id = call.path_id("session_id")
    query = call.query(WindowQuery)
    app = call.app
    at = app.now()
    items, rest = apart(await call.json(), LIMITS.messages_per_request_max)
    attributes = bodies.validated(SessionAttributes, rest, "body")
    messages, untimed = await messages_of(app, items, at)
    draft = to_draft(attributes, messages, tenant=call.caller.tenant, session_id=session_id, at=at, new_id=app.new_id)
    view = await app.working_memory.put(
        call.caller,
        draft,
        window=Window(model_name=query.model_name, context_window_max=query.context_window_max),
        precondition=precondition_of(call),
    )
    return await session_answer(view, headers=UNTIMED if untimed else ())


async def patch_session(call: Call) -> Answer:
    """Change the named attributes of an existing session; its messages stay as they are."""
    session_id = call.path_id("session_id")
    query = call.query(WindowQuery)
    body = await call.body(PatchWorkingMemory)
    view = await call.app.working_memory.patch(
        call.caller,
        session_id=session_id,
        patch=to_patch(body),
        namespace=body.namespace,
        user_id=body.user_id,
        window=Window(model_name=query.model_name, context_window_max=query.context_window_max),
        precondition=precondition_of(call),
    )
    return await session_answer(view)


async def delete_session(call: Call) -> Answer:
    """Remove the session with its messages; ``cascade`` also removes the memories extracted from it. 200 if there is none."""
    query = call.query(DeleteSessionQuery)
    await call.app.working_memory.delete(
        call.caller,
        session_id=call.path_id("session_id"),
        namespace=query.namespace,
        user_id=query.user_id,
        cascade=query.cascade,
        precondition=precondition_of(call),
    )
    return answer({"status": "ok"})


async def append_messages(call: Call) -> Answer:
    """Add messages after those that are there, creating the session. Safe to repeat: a known id is not stored twice."""
    session_id = call.path_id("session_id")
    query = call.query(WindowQuery)
    app = call.app
    items, rest = apart(await call.json(), LIMITS.messages_per_append_max, least=1)
    scope = bodies.validated(AppendScope, rest, "body")
    messages, untimed = await messages_of(app, items, app.now())
    appended = await app.working_memory.append(
        call.caller,
        session_id=session_id,
        messages=messages,
        namespace=scope.namespace,
        user_id=scope.user_id,
        window=Window(model_name=query.model_name, context_window_max=query.context_window_max),
        precondition=precondition_of(call),
    )
    wire = {
        "status": "ok",
        "appended": appended.appended,
        "duplicates": appended.duplicates,
        "total": appended.total,
    }
    return answer(wire, etag=appended.etag, headers=UNTIMED if untimed else ())


async def page_messages(call: Call) -> Answer:
    """A page through the session's messages in order of arrival, or its reverse."""
    query = call.query(MessagesQuery)
    page = await call.app.working_memory.messages(
        call.caller,
        session_id=call.path_id("session_id"),
        namespace=query.namespace,
        user_id=query.user_id,
        limit=query.limit,
        cursor=query.cursor,
        descending=query.order == "desc",
        include_archived=query.include_archived,
    )
    wire = {
        "messages": [message_wire(message) for message in page.messages],
        "total": page.total,
        "next_cursor": page.next_cursor,
    }
    return answer(wire, etag=page.etag)


async def session_answer(view: SessionView, *, headers: Headers = ()) -> Answer:
    """The whole session; of a long one other requests are served while it is written out."""
    messages, wire = messages_and_wire(view)
    body = await encoded_in_pieces("messages", messages, wire, attributes_wire(view))
    return answer_of(body, etag=view.session.etag, headers=headers)


async def messages_of(app: MemoryApp, items: Sequence[Any], at: datetime) -> tuple[tuple[Message, ...], bool]:
    """The messages, and whether one came without a time. Raises BadBody, InvalidInput where a time is required."""
    untimed = False
    messages: list[Message] = []
    async for chunk in bodies.validated_in_chunks(_MESSAGES, items, "body", "messages"):
        for body in chunk:
            if body.created_at is None:
                untimed = True
                if app.require_message_timestamps:
                    place = ("body", "messages", len(messages), "created_at")
                    raise InvalidInput("Field required", field=place, kind="missing")
            messages.append(to_message(body, at=at, new_id=app.new_id))
    return tuple(messages), untimed


def apart(value: Any, most: int, *, least: int = 0) -> tuple[list[Any], Any]:
    """The messages of a body and the body without them. Raises BadBody when they are no list or too many."""
    if not isinstance(value, dict):
        return [], value
    rest: dict[str, Any] = {str(key): each for key, each in value.items() if key != "messages"}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    messages: Any = value.get("messages")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if messages is None:
        if not least:
            return [], rest
        kind = "missing" if "messages" not in value else "list_type"
        text = "Field required" if kind == "missing" else "Input should be a valid list"
        raise BadBody([{"type": kind, "loc": ["body", "messages"], "msg": text}])
    if not isinstance(messages, list):
        raise BadBody([{"type": "list_type", "loc": ["body", "messages"], "msg": "Input should be a valid list"}])
    count = len(messages)  # pyright: ignore[reportUnknownArgumentType]
    if not least <= count <= most:
        kind, bound, word = ("too_short", least, "least") if count < least else ("too_long", most, "most")
        text = f"List should have at {word} {bound} item{'s' if bound != 1 else ''} after validation, not {count}"
        raise BadBody([{"type": kind, "loc": ["body", "messages"], "msg": text}])
    return messages, rest  # pyright: ignore[reportUnknownVariableType]


_LIST = "/v1/working-memory/"
_SESSION = "/v1/working-memory/{session_id}"
_SESSION_MESSAGES = "/v1/working-memory/{session_id}/messages"

OPERATIONS = (
    Operation(
        method="GET", path=_SESSION, handler=get_session, permission=Permission.READ,
        query=GetSessionQuery, answers=WorkingMemoryResponse,
        fails=(404, 409), returns_etag=True,
    ),
    Operation(
        method="POST", path=_SESSION_MESSAGES, handler=append_messages, permission=Permission.WRITE, query=WindowQuery,
        body=AppendMessagesRequest, answers=AppendResponse, fails=(404, 409, 412), reads_headers=("If-Match",), returns_etag=True,
    ),
    Operation(
        method="PUT", path=_SESSION, handler=put_session, permission=Permission.WRITE,
        query=WindowQuery, body=UpdateWorkingMemory,
        answers=WorkingMemoryResponse, fails=(404, 412), reads_headers=("If-Match", "If-None-Match"), returns_etag=True,
    ),
    Operation(
        method="PATCH", path=_SESSION, handler=patch_session, permission=Permission.WRITE,
        query=WindowQuery, body=PatchWorkingMemory,
        answers=WorkingMemoryResponse, fails=(404, 412), reads_headers=("If-Match",), returns_etag=True,
    ),
    Operation(
        method="DELETE", path=_SESSION, handler=delete_session, permission=Permission.WRITE,
        query=DeleteSessionQuery, answers=AckResponse,
        fails=(409, 412), reads_headers=("If-Match",),
    ),
    Operation(
        method="GET", path=_SESSION_MESSAGES, handler=page_messages, permission=Permission.READ, query=MessagesQuery,
        answers=MessagePageResponse, fails=(404, 409), returns_etag=True,
    ),
    Operation(
        method="GET", path=_LIST, same_as="/v1/working-memory", handler=list_sessions, permission=Permission.READ,
        query=SessionListQuery,
        answers=SessionListResponse,
    ),
)  # fmt: skip
