"""``/memory?id=``: one memory as it is, where it came from, what became of it; edit, pin, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import FormData
from starlette.responses import Response

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Permission, ScopeSelector
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.search import Hit, SearchMode, SearchQuery
from agent_memory_server.errors import InvalidInput, MemoryServerError, NotFound
from agent_memory_server.services.history import Event, Origin, Outcome
from agent_memory_server.services.memories import MemoryPatch
from agent_memory_server.web import rendering
from agent_memory_server.web.differences import word_differences
from agent_memory_server.web.visits import OwnerQuery, PageRoute, Visit

NEIGHBOURS = 6
REVISIONS_SHOWN = 50
_NEIGHBOUR_TEXT_MAX = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A revision as the page tells it. ``diffs``: by the field's name, pieces as (how, text): same, gone or new."""

    event: Event
    diffs: Sequence[tuple[str, Sequence[tuple[str, str]]]]


async def memory(visit: Visit) -> Response:
    try:
        found = await _found(visit)
    except NotFound as error:
        return await _gone(visit, error)
    history = await visit.app.history.history(
        visit.caller, memory_id=found.id, limit=REVISIONS_SHOWN, after=visit.asked("after"), **_owner(found)
    )
    origin, outcome = history.origin or Origin(), history.outcome or Outcome()
    return visit.page(
        "memory.html",
        memory=found,
        messages=origin.messages,
        lost=[each for each in found.extracted_from or () if each not in {message.id for message in origin.messages}],
        sources=origin.memories,
        outcome=outcome,
        neighbours=await _neighbours(visit, found),
        events=[Told(event=each, diffs=_diffs(each)) for each in history.events],
        next_events=history.next_cursor,
        types=[each.value for each in MemoryType],
        where=_where(found),
        saved=visit.asked("saved") == "1",
    )


async def _gone(visit: Visit, error: NotFound) -> Response:
    """What the journal knows of a memory that is not there any more. Raises the NotFound when it knows nothing."""
    memory_id = visit.asked("id")
    if memory_id is None or visit.wants_part:
        raise error
    try:
        history = await visit.app.history.history(
            visit.caller, memory_id=memory_id, limit=REVISIONS_SHOWN, after=visit.asked("after"), **visit.scope_query
        )
    except NotFound:
        raise error from None
    return visit.gone(
        "gone.html",
        detail=error.detail,
        events=[Told(event=each, diffs=_diffs(each)) for each in history.events],
        next_events=history.next_cursor,
        where={"id": memory_id, **visit.scope_query},
    )


async def edit(visit: Visit) -> Response:
    form = await visit.form()
    found = await _found(visit)
    patch = _patch(found, form)
    if not patch.changes and not patch.clear:
        return visit.to("/memory", **_where(found))
    edited = await visit.app.memories.edit(
        visit.caller, memory_id=found.id, patch=patch, if_match=(_field(form, "etag") or found.etag,), **_owner(found)
    )
    return visit.to("/memory", saved="1", **_where(edited))


async def pin(visit: Visit) -> Response:
    form = await visit.form()
    found = await _found(visit)
    patch = MemoryPatch(changes={"pinned": _field(form, "pinned") == "1"})
    await visit.app.memories.edit(visit.caller, memory_id=found.id, patch=patch, **_owner(found))
    return visit.to("/memory", saved="1", **_where(found))


async def delete(visit: Visit) -> Response:
    form = await visit.form()
    found = await _found(visit)
    if _field(form, "confirmed") != "1":
        raise InvalidInput("tick the box that says you mean it: a deleted memory does not come back")
    await visit.app.memories.delete(visit.caller, memory_ids=[found.id], **_owner(found))
    return visit.to("/memories", user_id=found.scope.user_id, namespace=found.scope.namespace)


async def _found(visit: Visit) -> Memory:
    memory_id = visit.asked("id")
    if memory_id is None:
        raise NotFound("Name a memory by its id.")
    return await visit.app.memories.get(
        visit.caller, memory_id=memory_id, namespace=visit.asked("namespace"), user_id=visit.asked("user_id")
    )


async def _neighbours(visit: Visit, found: Memory) -> Sequence[Hit]:
    """What is nearest by meaning among the same owner's memories; none while the embedding model does not answer."""
    selector = ScopeSelector(found.scope.tenant, found.scope.namespace, found.scope.user_id)
    query = SearchQuery(text=found.text[:_NEIGHBOUR_TEXT_MAX], mode=SearchMode.SEMANTIC, limit=NEIGHBOURS + 1)
    try:
        page = await visit.app.search.search(MemoryFilter(selector=selector), query)
    except MemoryServerError:
        return ()
    return [hit for hit in page.hits if hit.memory.key != found.key][:NEIGHBOURS]


def _diffs(event: Event) -> Sequence[tuple[str, Sequence[tuple[str, str]]]]:
    """What changed, word by word. A revision that made the memory, or removed it, has nothing to compare."""
    if event.revision.before is None or event.revision.after is None:
        return ()
    return [
        (each.name.replace("_", " "), word_differences(_said(each.before), _said(each.after))) for each in event.changes
    ]


def _said(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return rendering.moment(value)
    return value if isinstance(value, str) else rendering.pretty(value)


def _patch(found: Memory, form: FormData) -> MemoryPatch:
    """What the form changed. Raises InvalidInput."""
    changes: dict[str, Any] = {}
    cleared: set[str] = set()
    text = _field(form, "text")
    if text is not None and text.replace("\r\n", "\n") != found.text.replace("\r\n", "\n"):
        changes["text"] = text.replace("\r\n", "\n")
    kind = _field(form, "memory_type")
    if kind is not None and kind != found.memory_type.value:
        if kind not in {each.value for each in MemoryType}:
            raise InvalidInput("this is no type of memory")
        changes["memory_type"] = MemoryType(kind)
    for name in ("topics", "entities"):
        value = _field(form, name)
        if value is None:
            continue
        tags = tuple(dict.fromkeys(tag.strip() for tag in value.split(",") if tag.strip()))
        if tags != getattr(found, name):
            changes[name] = tags
    event = _field(form, "event_date")
    if event is not None:
        moment = _moment(event)
        if moment is None and found.event_date is not None:
            cleared.add("event_date")
        elif moment is not None and (found.event_date is None or moment.date() != found.event_date.date()):
            changes["event_date"] = moment
    return MemoryPatch(changes=changes, clear=frozenset(cleared))


def _moment(value: str) -> datetime | None:
    if not value.strip():
        return None
    try:
        return datetime.strptime(value.strip(), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInput("the date of the event must be a day such as 2026-01-31") from None


def _field(form: FormData, name: str) -> str | None:
    value = form.get(name)
    if not isinstance(value, str):
        return None
    if "\0" in value:
        raise InvalidInput(f"{name} must not contain the NUL character")
    return value


def _owner(found: Memory) -> OwnerQuery:
    return {"namespace": found.scope.namespace, "user_id": found.scope.user_id}


def _where(found: Memory) -> dict[str, str | None]:
    return {"id": found.id, "namespace": found.scope.namespace, "user_id": found.scope.user_id}


ROUTES = (
    PageRoute(path="/memory", handler=memory),
    PageRoute(path="/memory/edit", handler=edit, methods=("POST",), permission=Permission.WRITE),
    PageRoute(path="/memory/pin", handler=pin, methods=("POST",), permission=Permission.WRITE),
    PageRoute(path="/memory/delete", handler=delete, methods=("POST",), permission=Permission.WRITE),
)
