"""``/sessions`` and ``/session?id=``: conversations as they went, with what was made of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence

from starlette.datastructures import FormData
from starlette.responses import Response

from agent_memory_server.domain.context_window import DEFAULT_WINDOW_TOKENS
from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import Permission, Scope, ScopeSelector
from agent_memory_server.domain.records import MESSAGE_STRATEGY, Memory
from agent_memory_server.domain.sessions import Message
from agent_memory_server.errors import InvalidInput, NotFound
from agent_memory_server.services.working_memory import Window
from agent_memory_server.web.visits import OwnerQuery, PageRoute, Visit

PAGE_SIZE = 50
MESSAGES_SHOWN = 100
MEMORIES_SHOWN = 100
ROLES = ("user", "assistant", "system", "tool")


async def sessions(visit: Visit) -> Response:
    offset = visit.asked_number("offset", default=0, least=0, most=10_000_000)
    found = await visit.app.overviews.sessions(visit.selector(), limit=PAGE_SIZE, offset=offset)
    end = offset + len(found.sessions)
    return visit.page(
        "_session_rows.html" if visit.wants_part and offset else "sessions.html",
        sessions=found.sessions,
        total=found.total,
        loaded=visit.asked("loaded") == "1",
        next_offset=end if end < found.total else None,
    )


async def session(visit: Visit) -> Response:
    app = visit.app
    session_id = _id(visit)
    window = visit.asked_number("window", default=DEFAULT_WINDOW_TOKENS, least=1, most=10_000_000)
    view = await app.working_memory.get(
        visit.caller,
        session_id=session_id,
        window=Window(context_window_max=window),
        **visit.scope_query,
    )
    scope = view.session.scope
    owner: OwnerQuery = {"namespace": scope.namespace, "user_id": scope.user_id}
    page, extracted = await asyncio.gather(
        app.working_memory.messages(
            visit.caller,
            session_id=session_id,
            limit=MESSAGES_SHOWN,
            cursor=visit.asked("cursor"),
            descending=True,
            include_archived=True,
            **owner,
        ),
        _extracted(visit, scope),
    )
    return visit.page(
        "_messages.html" if visit.wants_part and visit.asked("cursor") else "session.html",
        session=view.session,
        messages=page.messages[::-1],
        total=page.total,
        next_cursor=page.next_cursor,
        memories=extracted,
        memories_of=_by_message(extracted),
        used=view.percentage_used or 0.0,
        until_summary=view.percentage_until_summarization or 0.0,
        window=window,
        where={"id": session_id, **owner},
        roles=ROLES,
    )


async def append(visit: Visit) -> Response:
    form = await visit.form()
    content, role = _text(form, "content"), _text(form, "role")
    if not content.strip():
        raise InvalidInput("write something first: a message must not be empty")
    if role not in ROLES:
        raise InvalidInput(f"the role must be one of {', '.join(ROLES)}")
    message = Message(
        id=visit.app.new_id(),
        role=role,
        content=content.replace("\r\n", "\n"),
        created_at=visit.app.now(),
        name=_text(form, "name").strip() or None,
    )
    await visit.app.working_memory.append(visit.caller, session_id=_id(visit), messages=[message], **visit.scope_query)
    return visit.to("/session", id=_id(visit), **visit.scope_query)


async def delete(visit: Visit) -> Response:
    form = await visit.form()
    if _text(form, "confirmed") != "1":
        raise InvalidInput("tick the box that says you mean it: a deleted session does not come back")
    await visit.app.working_memory.delete(
        visit.caller, session_id=_id(visit), cascade=_text(form, "cascade") == "1", **visit.scope_query
    )
    return visit.to("/sessions", **visit.scope_query)


async def _extracted(visit: Visit, scope: Scope) -> Sequence[Memory]:
    """What was remembered from the session, without the copies of its messages."""
    criteria = MemoryFilter(
        selector=ScopeSelector(scope.tenant, scope.namespace, scope.user_id),
        session_id=TextFilter(eq=scope.session_id),
        extraction_strategy=TextFilter(ne=MESSAGE_STRATEGY),
    )
    return (await visit.app.memories.list(criteria, limit=MEMORIES_SHOWN)).memories


def _by_message(memories: Sequence[Memory]) -> Mapping[str, Sequence[Memory]]:
    found: dict[str, list[Memory]] = defaultdict(list)
    for memory in memories:
        for message_id in memory.extracted_from or ():
            found[message_id].append(memory)
    return found


def _id(visit: Visit) -> str:
    session_id = visit.asked("id")
    if session_id is None:
        raise NotFound("Name a session by its id.")
    return session_id


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    if not isinstance(value, str):
        return ""
    if "\0" in value:
        raise InvalidInput(f"{name} must not contain the NUL character")
    return value


ROUTES = (
    PageRoute(path="/sessions", handler=sessions),
    PageRoute(path="/session", handler=session),
    PageRoute(path="/session/append", handler=append, methods=("POST",), permission=Permission.WRITE),
    PageRoute(path="/session/delete", handler=delete, methods=("POST",), permission=Permission.WRITE),
)
