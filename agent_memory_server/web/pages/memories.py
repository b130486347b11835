"""``/memories``: the table of memories, with every filter; a page of it costs the same in a store of any size."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from agent_memory_server.domain.filters import MemoryFilter, TextFilter, TimeFilter
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.errors import InvalidInput
from agent_memory_server.ports.memories import Order
from agent_memory_server.web.visits import PageRoute, Visit

PAGE_SIZE = 50
FILTERS = (
    "namespace",
    "user_id",
    "session_id",
    "memory_type",
    "topic",
    "entity",
    "strategy",
    "since",
    "until",
    "order",
    "superseded",
)
_ORDERS = {"newest": "Newest first", "used": "Longest unused first"}


async def memories(visit: Visit) -> Response:
    asked = {name: visit.asked(name) for name in FILTERS}
    if asked["order"] not in (None, *_ORDERS):
        raise InvalidInput(f"order must be one of {', '.join(_ORDERS)}")
    order = Order.LAST_ACCESSED_ASC if asked["order"] == "used" else Order.CREATED_DESC
    listing = await visit.app.memories.list(
        criteria_of(visit), limit=PAGE_SIZE, cursor=visit.asked("cursor"), order=order
    )
    return visit.page(
        "_memory_rows.html" if visit.wants_part and visit.asked("cursor") else "memories.html",
        memories=listing.memories,
        total=listing.total,
        next_cursor=listing.next_cursor,
        asked=asked,
        orders=_ORDERS,
        types=[each.value for each in MemoryType],
        is_filtered=any(value for name, value in asked.items() if name != "order"),
    )


def criteria_of(visit: Visit) -> MemoryFilter:
    """The filter that the query's fields make. Raises InvalidInput for a field that makes no sense."""
    memory_type = visit.asked("memory_type")
    if memory_type is not None and memory_type not in {each.value for each in MemoryType}:
        raise InvalidInput(f"memory_type must be one of {', '.join(each.value for each in MemoryType)}")
    since, until = _day(visit, "since"), _day(visit, "until")
    if since is not None and until is not None and until < since:
        raise InvalidInput("until must not be before since")
    created = None
    if since is not None or until is not None:
        created = TimeFilter(gte=since, lt=None if until is None else until + timedelta(days=1))
    criteria = MemoryFilter(
        selector=visit.selector(),
        session_id=_equal(visit, "session_id"),
        topics=_equal(visit, "topic"),
        entities=_equal(visit, "entity"),
        memory_type=None if memory_type is None else TextFilter(eq=memory_type),
        extraction_strategy=_equal(visit, "strategy"),
        created_at=created,
    )
    return replace(criteria, include_superseded=visit.asked("superseded") == "1")


def _equal(visit: Visit, name: str) -> TextFilter | None:
    value = visit.asked(name)
    return None if value is None else TextFilter(eq=value)


def _day(visit: Visit, name: str) -> datetime | None:
    value = visit.asked(name)
    if value is None:
        return None
    try:
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInput(f"{name} must be a day such as 2026-01-31") from None


ROUTES = (PageRoute(path="/memories", handler=memories),)
