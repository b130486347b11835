"""``/operations`` and ``/operation?id=``: what changed memories, who did it and why; taking it back, the plan shown first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from agent_memory_server.domain.history import NEVER_UNDONE, UNDOES, UndoAction, UndoStep
from agent_memory_server.domain.identity import Permission
from agent_memory_server.domain.operations import OperationKind
from agent_memory_server.errors import AmbiguousScope, InvalidInput, NotFound
from agent_memory_server.ports.journal import JournalledOperation
from agent_memory_server.services.history import Listed
from agent_memory_server.web import rendering
from agent_memory_server.web.differences import word_differences
from agent_memory_server.web.visits import PageRoute, Visit

PAGE_SIZE = 50
LOOKED_AT_MAX = 2_000
"""Operations that one page looks through for those of a kind or of somebody: further back goes on from there."""
_LOOKED_AT_ONCE = 200
NEWS_MAX = 100
STEPS_SHOWN = 200
COMPARED_MAX = 25
"""Steps of a plan that are shown word by word."""
CHANGES_SHOWN = 200
FILTERS = ("namespace", "user_id", "kind", "actor")


async def operations(visit: Visit) -> Response:
    asked = _asked(visit)
    found, further = await _older(visit, asked)
    is_more = visit.wants_part and visit.asked("after") is not None
    return visit.page(
        "_operation_rows.html" if is_more else "operations.html",
        operations=found,
        further=further,
        newest=None if visit.asked("after") else await _newest(visit),
        asked=asked,
        kinds=[each.value for each in OperationKind],
        is_filtered=any(asked.values()),
        looked_at_max=LOOKED_AT_MAX,
        page_size=PAGE_SIZE,
    )


async def news(visit: Visit) -> Response:
    """What came behind ``after``, for a list that is open: rows, and where to look next. 204 when nothing came."""
    asked, after = _asked(visit), visit.asked("after")
    page = await visit.app.history.operations(
        visit.caller, after=after, limit=NEWS_MAX, namespace=asked["namespace"], user_id=asked["user_id"]
    )
    if not page.operations:
        return Response(status_code=204, headers=dict(rendering.PAGE_HEADERS))
    found = [each for each in page.operations if _fits(each.operation, asked)]
    return visit.page(
        "_operation_news.html", operations=found[::-1], newest=page.operations[-1].cursor, asked=asked, further=None
    )


async def operation(visit: Visit) -> Response:
    told = await visit.app.history.operation(visit.caller, operation_id=_id(visit))
    held = told.listed.operation
    return visit.page(
        "operation.html",
        operation=held,
        changes=told.changes[:CHANGES_SHOWN],
        has_more=told.has_more or len(told.changes) > CHANGES_SHOWN,
        undoes=await _undone(visit, held),
        is_final=held.kind in NEVER_UNDONE,
        undone=visit.asked("undone") == "1",
    )


async def _undone(visit: Visit, held: JournalledOperation) -> tuple[str, bool] | None:
    """What an undo took back, and whether that is one operation with a page of its own: a run of several has none."""
    name: str | None = held.details.get(UNDOES)
    if name is None:
        return None
    try:
        await visit.app.history.operation(visit.caller, operation_id=name)
    except NotFound:
        return name, False
    return name, True


async def plan(visit: Visit) -> Response:
    """What an undo would do, to be read before it is done. Changes nothing."""
    found = await visit.app.undo.plan(visit.caller, operation_id=_id(visit))
    steps = found.steps[:STEPS_SHOWN]
    return visit.page(
        "undo.html",
        plan=found,
        steps=[
            (each, await _difference(visit, each) if place < COMPARED_MAX else ()) for place, each in enumerate(steps)
        ],
        conflicts=found.conflicts[:STEPS_SHOWN],
    )


async def _difference(visit: Visit, step: UndoStep) -> Sequence[tuple[str, str]]:
    """From what the memory says now to what it would say; nothing where its text stays, or it comes or goes as a whole."""
    if step.action is not UndoAction.REVERT or step.memory is None:
        return ()
    try:
        now = await visit.app.memories.get(
            visit.caller, memory_id=step.key.id, namespace=step.key.namespace, user_id=step.key.user_id
        )
    except (NotFound, AmbiguousScope):
        return ()
    return () if now.text == step.memory.text else word_differences(now.text, step.memory.text)


async def undo(visit: Visit) -> Response:
    await visit.form()
    done = await visit.app.undo.undo(visit.caller, operation_id=_id(visit))
    return visit.to("/operation", id=done.operation_ids[0], undone="1")


async def _older(visit: Visit, asked: dict[str, str | None]) -> tuple[Sequence[Listed], str | None]:
    """Operations, newest first, and the cursor to go on with; None when there are no more."""
    found: list[Listed] = []
    after = visit.asked("after")
    looked_at = 0
    size = _LOOKED_AT_ONCE if asked["kind"] or asked["actor"] else PAGE_SIZE
    while looked_at < LOOKED_AT_MAX:
        page = await visit.app.history.operations(
            visit.caller,
            after=after,
            limit=size,
            namespace=asked["namespace"],
            user_id=asked["user_id"],
            newest_first=True,
        )
        for each in page.operations:
            if not _fits(each.operation, asked):
                continue
            found.append(each)
            if len(found) == PAGE_SIZE:
                return found, each.cursor
        looked_at, after = looked_at + size, page.next_cursor
        if after is None:
            return found, None
    return found, after


async def _newest(visit: Visit) -> str | None:
    """Where news begin: behind the newest operation that the visitor may know of."""
    page = await visit.app.history.operations(visit.caller, limit=1, newest_first=True)
    return page.operations[0].cursor if page.operations else None


def _fits(held: JournalledOperation, asked: dict[str, str | None]) -> bool:
    return asked["kind"] in (None, held.kind.value) and asked["actor"] in (None, held.actor)


def _asked(visit: Visit) -> dict[str, Any]:
    visit.selector()  # a scope beyond the visitor's is not found
    asked = {name: visit.asked(name) for name in FILTERS}
    kinds = [each.value for each in OperationKind]
    if asked["kind"] is not None and asked["kind"] not in kinds:
        raise InvalidInput(f"kind must be one of {', '.join(kinds)}", field=("query", "kind"))
    return asked


def _id(visit: Visit) -> str:
    operation_id = visit.asked("id")
    if operation_id is None:
        raise NotFound("Name an operation by its id.")
    return operation_id


ROUTES = (
    PageRoute(path="/operations", handler=operations),
    PageRoute(path="/operations/news", handler=news),
    PageRoute(path="/operation", handler=operation),
    PageRoute(path="/operation/undo", handler=plan, permission=Permission.WRITE),
    PageRoute(path="/operation/undone", handler=undo, methods=("POST",), permission=Permission.WRITE),
)
