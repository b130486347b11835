"""``/connect``: what to paste elsewhere, with this server's own address and the scope that was named."""

from __future__ import annotations

from starlette.responses import Response

from agent_memory_server.web.visits import PageRoute, Visit

TOKEN_PLACE = "YOUR_TOKEN"  # noqa: S105 - what a person puts the token in place of


async def connect(visit: Visit) -> Response:
    base = str(visit.request.base_url).rstrip("/")
    return visit.page(
        "connect.html",
        base=base,
        namespace=visit.asked("namespace") or visit.caller.namespace or "demo",
        user_id=visit.asked("user_id") or visit.caller.user_id or "mara",
        token=TOKEN_PLACE if visit.asks_for_credentials else None,
    )


ROUTES = (PageRoute(path="/connect", handler=connect),)
