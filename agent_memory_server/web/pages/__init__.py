"""All pages: a new one is a module here with its ``ROUTES``, and a line in this list."""

from __future__ import annotations

from agent_memory_server.web.pages import (
    access,
    background,
    connect,
    memories,
    memory,
    memory_map,
    operations,
    overview,
    search,
    sessions,
    users,
)
from agent_memory_server.web.visits import PageRoute

PAGES: tuple[PageRoute, ...] = (
    *overview.ROUTES,
    *search.ROUTES,
    *memories.ROUTES,
    *memory.ROUTES,
    *sessions.ROUTES,
    *users.ROUTES,
    *memory_map.ROUTES,
    *operations.ROUTES,
    *background.ROUTES,
    *access.ROUTES,
    *connect.ROUTES,
)
