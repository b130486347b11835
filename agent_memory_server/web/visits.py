"""One request for a page: who looks, what was asked, and how the answer is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agent_memory_server.api.dependencies import Runtime
from agent_memory_server.config_report import SettingInForce
from agent_memory_server.domain.identity import OutsideReach, Permission, Principal, ScopeSelector
from agent_memory_server.errors import InvalidInput, NotFound, TooLarge
from agent_memory_server.web import rendering, visitors

FORM_FIELDS_MAX = 60
FORM_BYTES_MAX = 2 * 1024 * 1024

NAVIGATION: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("/", "Overview", ()),
    ("/search", "Search", ()),
    ("/memories", "Memories", ("/memory",)),
    ("/sessions", "Sessions", ("/session",)),
    ("/users", "Users", ("/user",)),
    ("/map", "Map", ()),
    ("/operations", "Operations", ("/operation", "/operation/undo")),
    ("/background", "Background", ("/background/compaction", "/background/compact")),
    ("/access", "Access", ("/access/add",)),
    ("/connect", "Connect", ()),
)
"""Address and name of each page, and which others belong to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleFacts:
    """What the console knows of the server beside its services. ``settings``: the page of settings in force."""

    is_open_on_purpose: bool = False
    """ALLOW_UNAUTHENTICATED: without authentication under any name, because somebody said so."""
    settings: tuple[SettingInForce, ...] = ()
    mcp_host: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """How a program on this machine starts an MCP server on the same data."""


class OwnerQuery(TypedDict):
    """The parts of a scope that a page's address names."""

    namespace: str | None
    user_id: str | None


class Visit:
    """What a page's handler works with."""

    def __init__(self, request: Request, runtime: Runtime, facts: ConsoleFacts, caller: Principal) -> None:
        self.request = request
        self.app = runtime.app
        self.failures = runtime.failures
        self.facts = facts
        self.caller = caller

    def asked(self, name: str) -> str | None:
        """A query parameter; a blank one is none."""
        value = self.request.query_params.get(name, "").strip()
        if "\0" in value:
            raise InvalidInput(f"{name} must not contain the NUL character")
        return value or None

    def asked_number(self, name: str, *, default: int, least: int, most: int) -> int:
        """A whole number from the query. Raises InvalidInput."""
        value = self.asked(name)
        if value is None:
            return default
        if not value.lstrip("-").isdecimal() or not least <= int(value[:12]) <= most:
            raise InvalidInput(f"{name} must be a whole number from {least} to {most}")
        return int(value)

    def selector(self) -> ScopeSelector:
        """What the query's namespace and user select within the visitor's reach. Raises NotFound beyond it."""
        try:
            return self.caller.selector(self.asked("namespace"), self.asked("user_id"))
        except OutsideReach:
            raise NotFound("There is nothing here that you may see.") from None

    @property
    def scope_query(self) -> OwnerQuery:
        return {"namespace": self.asked("namespace"), "user_id": self.asked("user_id")}

    @property
    def asks_for_credentials(self) -> bool:
        return self.app.authentication.is_on

    def may(self, permission: Permission) -> bool:
        return self.caller.permits(permission)

    async def form(self) -> FormData:
        """The form of a change, checked to come from one of our pages. Raises NotPermitted, TooLarge."""
        length = self.request.headers.get("content-length", "")
        if not length.isdigit() or int(length[:20]) > FORM_BYTES_MAX:
            raise TooLarge(f"a form may hold {FORM_BYTES_MAX} bytes")
        form = await self.request.form(max_files=0, max_fields=FORM_FIELDS_MAX)
        token = form.get(visitors.FORM_FIELD) or self.request.headers.get(visitors.FORM_HEADER)
        visitors.check_change(self.request, token if isinstance(token, str) else None)
        return form

    def page(self, template: str, /, **context: Any) -> HTMLResponse:
        """A page with its frame; a part of one when htmx asks for a part and the template has it."""
        return rendering.html(template, {**self._frame(), **context})

    def gone(self, template: str, /, **context: Any) -> HTMLResponse:
        """The same with status 404: what was asked for is not there, and the page says what is known of it."""
        return rendering.html(template, {**self._frame(), **context}, status=404)

    def to(self, path: str, **query: Any) -> Response:
        """Go on to another page after a change."""
        address = rendering.url(path, **query)
        if self.wants_part:
            return Response(status_code=204, headers={"HX-Redirect": address, **rendering.PAGE_HEADERS})
        return RedirectResponse(address, status_code=303, headers=dict(rendering.PAGE_HEADERS))

    @property
    def wants_part(self) -> bool:
        """Whether a page that is there already asks for a part of itself."""
        return self.request.headers.get("hx-request") == "true"

    def _frame(self) -> Mapping[str, Any]:
        return {
            "here": self.request.url.path,
            "navigation": NAVIGATION,
            "visitor": self.caller,
            "signed_in": self.asks_for_credentials,
            "local_mode": self.app.local_mode,
            "form_token": visitors.form_token(self.request),
            "scope": self.scope_query,
            "now": self.app.now(),
            "may_write": self.may(Permission.WRITE),
            "may_manage": self.may(Permission.ADMIN),
        }


Handler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoute:
    """Where a page is, and what a visitor must be allowed to do there."""

    path: str
    handler: Handler
    methods: tuple[str, ...] = ("GET",)
    permission: Permission = Permission.READ
