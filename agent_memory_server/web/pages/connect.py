"""``/connect``: what to paste elsewhere, with this server's own address and the scope that was named."""

from __future__ import annotations

from starlette.responses import Response

from agent_memory_server.web.pages.overview import EXAMPLE_USER
from agent_memory_server.web.visits import PageRoute, Visit

TOKEN_PLACE = "YOUR_TOKEN"  # noqa: S105 - what a person puts the token in place of


async def connect(visit: Visit) -> Response:
    base = str(visit.request.base_url).rstrip("/")
    user_id = visit.asked("user_id") or visit.caller.user_id or EXAMPLE_USER
    namespace = visit.asked("namespace") or visit.caller.namespace
    host = visit.facts.mcp_host or {"command": "agent-memory", "args": ["mcp"]}
    scope = {"DEFAULT_MCP_USER_ID": user_id, **({"DEFAULT_MCP_NAMESPACE": namespace} if namespace else {})}
    return visit.page(
        "connect.html",
        base=base,
        namespace=namespace or "",
        user_id=user_id,
        claude_desktop={"mcpServers": {"memory": {**host, "env": {**host.get("env", {}), **scope}}}},
        token=TOKEN_PLACE if visit.asks_for_credentials else None,
    )


ROUTES = (PageRoute(path="/connect", handler=connect),)
