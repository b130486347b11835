"""The console beside the API in one process: every page behind one door that authenticates, permits and shows failures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from agent_memory_server.api.dependencies import Runtime
from agent_memory_server.domain.identity import Principal
from agent_memory_server.errors import AmbiguousScope, MemoryServerError, NotAuthenticated
from agent_memory_server.web import rendering, visitors
from agent_memory_server.web.pages import PAGES
from agent_memory_server.web.visits import ConsoleFacts, Handler, PageRoute, Visit

ASSETS_URL = "/console-assets"
_ASSET_AGE_S = 86_400

_log = structlog.stdlib.get_logger(__name__)


class Console:
    """``api.server.Beside``: pages over the services that the server has opened."""

    def __init__(self, runtime: Runtime, facts: ConsoleFacts) -> None:
        self._runtime = runtime
        self._facts = facts
        assets = Mount(ASSETS_URL, _Assets(packages=[("agent_memory_server.web", "static")]))
        pages = [Route(page.path, self._endpoint(page), methods=list(page.methods)) for page in PAGES]
        login = Route("/login", self._login, methods=["GET", "POST"])
        logout = Route("/logout", self._logout, methods=["POST"])
        self._router = Router([*pages, login, logout, assets], redirect_slashes=False)
        self._paths = frozenset({"/login", "/logout", *(page.path for page in PAGES)})

    def takes(self, scope: Scope) -> bool:
        path: str = scope["path"]
        return scope["type"] == "http" and (path in self._paths or path.startswith(ASSETS_URL + "/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._router(scope, receive, send)

    async def close(self) -> None:
        """Nothing was begun."""

    def _endpoint(self, page: PageRoute) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            request.scope["route_template"] = page.path
            try:
                caller = await self._caller(request)
                request.scope["tenant"] = caller.tenant
                action = f"{request.method} {page.path}"
                self._runtime.app.authentication.require(caller, page.permission, action=action)
                response = await self._visited(request, caller, page.handler)
            except NotAuthenticated as error:
                return self._to_login(request, error)
            except Exception as error:  # noqa: BLE001 - whatever failed is shown, and logged when unexpected
                return self._failed(request, error)
            return response

        return endpoint

    async def _visited(self, request: Request, caller: Principal, handler: Handler) -> Response:
        response = await handler(Visit(request, self._runtime, self._facts, caller))
        visitors.keep_form_token(request, response)
        return response

    async def _caller(self, request: Request) -> Principal:
        authentication = self._runtime.app.authentication
        visitors.check_host(request, is_open=not authentication.is_on and not self._facts.is_open_on_purpose)
        return await authentication.authenticate(visitors.credential_of(request))

    def _to_login(self, request: Request, error: NotAuthenticated) -> Response:
        if request.headers.get("hx-request") == "true":
            return Response(status_code=401, headers={"HX-Redirect": "/login", **rendering.PAGE_HEADERS})
        if request.method == "GET":
            asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            ended = "1" if request.cookies.get(visitors.LOGIN_COOKIE) else None
            where = rendering.url("/login", next=asked if asked != "/" else None, ended=ended)
            return RedirectResponse(where, status_code=303, headers=dict(rendering.PAGE_HEADERS))
        return self._failed(request, error)

    async def _login(self, request: Request) -> Response:
        if not self._runtime.app.authentication.is_on:
            return RedirectResponse("/", status_code=303)
        following = _local_path(request.query_params.get("next", "/"))
        problem = "Your login has ended: sign in again." if request.query_params.get("ended") else None
        status = 200
        try:
            if request.method == "POST":
                form = await request.form(max_files=0, max_fields=5)
                token = form.get(visitors.FORM_FIELD)
                visitors.check_change(request, token if isinstance(token, str) else None)
                credential = str(form.get("token", "")).strip()
                await self._runtime.app.authentication.authenticate(credential)
                response: Response = RedirectResponse(following, status_code=303, headers=dict(rendering.PAGE_HEADERS))
                visitors.keep_login(request, response, credential)
                return response
        except MemoryServerError as error:
            status = error.status
            problem = "This token is not known here, or it has expired." if status == 401 else error.detail
        context = {
            "form_token": visitors.form_token(request),
            "problem": problem,
            "action": rendering.url("/login", next=following if following != "/" else None),
        }
        page = rendering.html("login.html", context, status=status)
        visitors.keep_form_token(request, page)
        return page

    async def _logout(self, request: Request) -> Response:
        try:
            form = await request.form(max_files=0, max_fields=5)
            token = form.get(visitors.FORM_FIELD)
            visitors.check_change(request, token if isinstance(token, str) else None)
        except MemoryServerError as error:
            return self._failed(request, error)
        response = RedirectResponse("/login", status_code=303, headers=dict(rendering.PAGE_HEADERS))
        visitors.end_login(request, response)
        return response

    def _failed(self, request: Request, error: Exception) -> Response:
        """A page that says what is wrong and what to do, with the status that REST would answer."""
        if isinstance(error, MemoryServerError):
            status, title, detail = error.status, error.title, error.detail
        else:
            _log.exception("a page failed unexpectedly", path=request.url.path, exc_info=error)
            status, title, detail = 500, "Something went wrong", "The server's log says more; try again in a moment."
        trace = request.scope.get("trace")
        context = {
            "status": status,
            "title": title,
            "detail": detail,
            "request_id": "" if trace is None else trace.trace_id,
            "remedy": _remedy(error, status),
            "is_part": request.headers.get("hx-request") == "true",
        }
        answer = rendering.html("error.html", context, status=status)
        retry = getattr(error, "retry_after_s", None)
        if retry is not None:
            answer.headers["Retry-After"] = str(retry)
        return answer


def _remedy(error: Exception, status: int) -> str:
    if isinstance(error, AmbiguousScope):
        return "Name the user or the namespace, so that only one is meant."
    return _REMEDIES.get(status, "")


_REMEDIES = {
    400: "Go back and change what you asked for.",
    403: "Sign in with a credential that may do this, or ask whoever runs the server for one.",
    404: "It may have been deleted, forgotten or moved to another user. Search for it, or look at the list.",
    409: "Nothing was changed. Look at what is there now, then decide.",
    412: "Load the page again to see what changed, then repeat your edit.",
    422: "Change what you asked for: a filter or a field holds something that cannot be used.",
    429: "Wait a moment, then try again.",
    503: "The store or a model does not answer at the moment. Try again; `agent-memory doctor` says what is wrong.",
    504: "The store is slow at the moment. Try again, or narrow what you ask for.",
    507: "The disk is full: make room, and everything works again. What was stored is safe.",
}


def _local_path(asked: str) -> str:
    """A path of this server, whatever was asked for: never another host."""
    return asked if asked.startswith("/") and not asked.startswith(("//", "/\\")) and "\n" not in asked else "/"


class _Assets(StaticFiles):
    """Scripts and styles; their address changes with the version, so browsers may keep them."""

    def file_response(self, *args: object, **options: object) -> Response:
        response = super().file_response(*args, **options)  # pyright: ignore[reportArgumentType]
        response.headers["Cache-Control"] = f"public, max-age={_ASSET_AGE_S}"
        return response
