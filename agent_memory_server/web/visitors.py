"""Who looks at the pages, and whether a change was really asked for from one of them.

The login is the credential itself, in a cookie that no script can read and no other site sends along: each request is
authenticated by it as REST is, so that a revoked or expired credential ends the login at once.

A change needs two things: the browser's own word that the request comes from this site (``Sec-Fetch-Site``, or ``Origin``),
and the page's token, which another site cannot read.
"""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from agent_memory_server.api.local_callers import is_local_authority
from agent_memory_server.errors import NotPermitted

LOGIN_COOKIE = "agent_memory_login"
FORM_COOKIE = "agent_memory_form"
FORM_FIELD = "form_token"
FORM_HEADER = "x-form-token"
LOGIN_S = 8 * 3_600
"""How long a browser keeps a login."""


def credential_of(request: Request) -> str | None:
    """What the visitor has to show: the cookie of a login, else the headers that REST reads."""
    cookie = request.cookies.get(LOGIN_COOKIE)
    if cookie:
        return cookie
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("x-api-key")


def form_token(request: Request) -> str:
    """The token that this visitor's forms carry; a new visitor gets one."""
    held = request.cookies.get(FORM_COOKIE, "")
    if len(held) >= 32 and held.isalnum():
        return held
    token: str = getattr(request.state, "form_token", "") or secrets.token_hex(24)
    request.state.form_token = token
    return token


def keep_form_token(request: Request, response: Response) -> None:
    """Give a new visitor its token."""
    token: str = getattr(request.state, "form_token", "")
    if token:
        _set(request, response, FORM_COOKIE, token, LOGIN_S)


def keep_login(request: Request, response: Response, credential: str) -> None:
    _set(request, response, LOGIN_COOKIE, credential, LOGIN_S)


def end_login(request: Request, response: Response) -> None:
    response.delete_cookie(LOGIN_COOKIE, path="/", httponly=True, samesite="strict", secure=_is_secure(request))


def check_change(request: Request, token: str | None) -> None:
    """Raises NotPermitted unless the change was asked for from one of our own pages."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    # Where a page sends no referrer, the browser's Origin is "null": its newer word counts first.
    ours = site == "same-origin" if site is not None else _is_origin(origin, request.headers.get("host"))
    if not ours:
        raise NotPermitted("this change was not asked for from a page of this server")
    held = request.cookies.get(FORM_COOKIE, "")
    if not held or not token or not hmac.compare_digest(held.encode(), token.encode()):
        raise NotPermitted("the page is too old, or cookies are off: load it again and repeat the change")


def check_host(request: Request, *, is_open: bool) -> None:
    """Without authentication, refuse a name that another site may have pointed at this machine (DNS rebinding).

    ``is_open``: nobody is asked for a credential, and only loopback was meant to be served.
    """
    if is_open and not is_local_authority(request.headers.get("host", "")):
        raise NotPermitted(
            "without authentication the console answers on this machine's own names only: open it as http://127.0.0.1"
        )


def _is_origin(origin: str | None, host: str | None) -> bool:
    return origin is not None and host is not None and urlsplit(origin).netloc == host


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"


def _set(request: Request, response: Response, name: str, value: str, max_age_s: int) -> None:
    response.set_cookie(
        name, value, max_age=max_age_s, path="/", httponly=True, samesite="strict", secure=_is_secure(request)
    )
