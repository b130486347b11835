"""``/users`` and ``/user?user_id=``: everything that is known about one user, as a person would read it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from starlette.responses import Response

from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.errors import NotFound
from agent_memory_server.web.visits import PageRoute, Visit

PAGE_SIZE = 50
PROFILE_MAX = 300
TIMELINE_MAX = 200
UNSORTED = "Everything else"


async def users(visit: Visit) -> Response:
    offset = visit.asked_number("offset", default=0, least=0, most=10_000_000)
    prefix = visit.asked("starts")
    owners = await visit.app.overviews.owners(visit.selector(), limit=PAGE_SIZE + 1, offset=offset, user_prefix=prefix)
    return visit.page(
        "users.html",
        owners=owners[:PAGE_SIZE],
        starts=prefix,
        offset=offset,
        next_offset=offset + PAGE_SIZE if len(owners) > PAGE_SIZE else None,
    )


async def user(visit: Visit) -> Response:
    if visit.asked("user_id") is None and visit.caller.user_id is None:
        raise NotFound("Name a user.")
    app, selector = visit.app, visit.selector()
    counts, profile, timeline, sessions = await asyncio.gather(
        app.overviews.counts(selector),
        app.memories.list(_of_type(visit, MemoryType.SEMANTIC), limit=PROFILE_MAX),
        app.memories.list(_of_type(visit, MemoryType.EPISODIC), limit=TIMELINE_MAX),
        app.overviews.sessions(selector, limit=10),
    )
    if not counts.memories and not counts.sessions:
        raise NotFound("Nothing is known about this user.")
    return visit.page(
        "user.html",
        user_id=visit.asked("user_id") or visit.caller.user_id,
        counts=counts,
        profile=by_topic(profile.memories),
        profile_total=profile.total,
        timeline=sorted(timeline.memories, key=_when, reverse=True),
        timeline_total=timeline.total,
        sessions=sessions.sessions,
    )


def by_topic(memories: Sequence[Memory]) -> Sequence[tuple[str, Sequence[Memory]]]:
    """Each memory once, under the topic of its own that most of them share; the largest topics first."""
    held: dict[str, int] = defaultdict(int)
    for memory in memories:
        for topic in memory.topics:
            held[topic] += 1
    groups: dict[str, list[Memory]] = defaultdict(list)
    for memory in memories:
        best = max(memory.topics, key=lambda topic: (held[topic], topic), default=UNSORTED)
        groups[best].append(memory)
    return sorted(groups.items(), key=lambda group: (group[0] == UNSORTED, -len(group[1]), group[0]))


def _when(memory: Memory) -> datetime:
    return memory.event_date or memory.created_at


def _of_type(visit: Visit, kind: MemoryType) -> MemoryFilter:
    return MemoryFilter(selector=visit.selector(), memory_type=TextFilter(eq=kind.value))


ROUTES = (PageRoute(path="/users", handler=users), PageRoute(path="/user", handler=user))
