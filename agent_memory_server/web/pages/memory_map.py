"""``/map``: the vectors of a scope in a plane. The points come as one compact answer; texts only for the one looked at."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.responses import Response

from agent_memory_server.errors import NotFound
from agent_memory_server.ports.overviews import MapPoints
from agent_memory_server.services.overviews import MAP_POINTS_MAX, placed
from agent_memory_server.web import rendering
from agent_memory_server.web.pages.memories import criteria_of
from agent_memory_server.web.visits import PageRoute, Visit

COLOURS = 8
"""Topics that have a colour of their own; all others share one."""
_HOVER_TEXT_MAX = 400
_DAY_US = 86_400_000_000


async def memory_map(visit: Visit) -> Response:
    counts = await visit.app.overviews.counts(visit.selector())
    return visit.page(
        "map.html",
        total=counts.memories,
        most=MAP_POINTS_MAX,
        asked={name: visit.asked(name) for name in ("namespace", "user_id", "memory_type")},
        data=rendering.url(
            "/map/points", **{name: visit.asked(name) for name in ("namespace", "user_id", "memory_type")}
        ),
    )


async def points(visit: Visit) -> Response:
    found = await visit.app.overviews.memory_map(criteria_of(visit))
    body = await asyncio.to_thread(_drawn, found)
    return Response(body, media_type="application/json", headers=dict(rendering.PAGE_HEADERS))


async def point(visit: Visit) -> Response:
    """What a point says when it is looked at."""
    memory_id = visit.asked("id")
    if memory_id is None:
        raise NotFound("Name a memory by its id.")
    found = await visit.app.memories.get(
        visit.caller, memory_id=memory_id, namespace=visit.asked("namespace"), user_id=visit.asked("user_id")
    )
    said = {
        "text": found.text[:_HOVER_TEXT_MAX],
        "topics": list(found.topics),
        "created_at": rendering.moment(found.created_at),
    }
    return Response(orjson.dumps(said), media_type="application/json", headers=dict(rendering.PAGE_HEADERS))


def _drawn(found: MapPoints) -> bytes:
    """Columns in place of rows: each is one array of numbers, and owners and topics are told once."""
    places = placed(found)
    topics = [name for name, _ in Counter(topic for topic in found.topics if topic).most_common(COLOURS)]
    colour = {name: number for number, name in enumerate(topics)}
    owners: dict[tuple[str | None, str | None], int] = {}
    of: list[int] = [owners.setdefault((each.namespace, each.user_id), len(owners)) for each in found.owners]
    body: dict[str, Any] = {
        "x": _rounded(places[:, 0], 4),
        "y": _rounded(places[:, 1], 4),
        "id": list(found.ids),
        "owner": of,
        "owners": [list(owner) for owner in owners],
        "topic": [colour.get(topic or "", -1) for topic in found.topics],
        "topics": topics,
        "type": list(found.types),
        "age_days": _rounded(np.maximum((time.time() * 1_000_000 - found.created_us) / _DAY_US, 0.0), 2),
    }
    return orjson.dumps(body)


def _rounded(values: NDArray[np.floating[Any]], digits: int) -> list[float]:
    return np.round(values.astype(np.float64), digits).tolist()


ROUTES = (
    PageRoute(path="/map", handler=memory_map),
    PageRoute(path="/map/points", handler=points),
    PageRoute(path="/map/point", handler=point),
)
