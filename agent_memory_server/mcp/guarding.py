"""Who is let in over HTTP: pages of this machine or of named origins, under names that are ours, with a credential that holds.

A page in somebody's browser can send requests to this machine, and by DNS rebinding under a name of its own. So a request
whose ``Origin`` is foreign is refused (403), and so is one whose ``Host`` is no name of ours (421). A credential travels in a
header only: one in the URL is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.exceptions import HTTPException
from starlette.types import Scope

from agent_memory_server.config import is_loopback
from agent_memory_server.domain.identity import Permission, Principal
from agent_memory_server.errors import NotAuthenticated, NotPermitted
from agent_memory_server.mcp.options import Options
from agent_memory_server.mcp.places import WELL_KNOWN
from agent_memory_server.services.authentication import Authentication

SCOPES = tuple(f"memory:{permission.value}" for permission in Permission)
"""As OAuth names the permissions."""
ALLOWED_HEADERS = (
    "accept, authorization, content-type, last-event-id, mcp-method, mcp-name, mcp-protocol-version, mcp-session-id, "
    "traceparent, x-api-key"
)


@dataclass(frozen=True, slots=True)
class Guard:
    """Checks one request. ``options`` say which names and origins are ours."""

    options: Options

    def admitted_origin(self, scope: Scope) -> str | None:
        """The request's origin, None when it comes from no page. Raises HTTPException 403 or 421."""
        host, origin = _only(scope, b"host"), _only(scope, b"origin")
        if not self._is_ours(host):
            raise HTTPException(421, f"{_shown(host)} is not a name of this server; MCP_ALLOWED_HOSTS can allow it")
        if origin is not None and not self._may_call(origin, host or ""):
            raise HTTPException(403, f"pages of {_shown(origin)} may not call this; MCP_ALLOWED_ORIGINS can allow it")
        return origin

    def _is_ours(self, host: str | None) -> bool:
        name = None if host is None else _name_in(host)
        if self.options.allowed_hosts:
            return host is not None and (host in self.options.allowed_hosts or name in self.options.allowed_hosts)
        return not self.options.on_loopback or (name is not None and is_loopback(name))

    def _may_call(self, origin: str, host: str) -> bool:
        if origin in self.options.allowed_origins:
            return True
        try:
            parts = urlsplit(origin)
            name = parts.hostname
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or name is None:
            return False
        return parts.netloc == host or (self.options.on_loopback and is_loopback(name))

    async def caller(self, authentication: Authentication, scope: Scope) -> Principal:
        """Who calls. Raises NotAuthenticated, with where the metadata is (RFC 9728)."""
        try:
            return await authentication.authenticate(scope["headers"])
        except NotAuthenticated as error:
            error.challenge = f"{error.challenge}{self._pointing(scope, error.challenge)}"
            raise

    def require(
        self, authentication: Authentication, caller: Principal, permission: Permission, scope: Scope, *, action: str
    ) -> None:
        """Raises NotPermitted, with the scope that is missing and where the metadata is."""
        try:
            authentication.require(caller, permission, action=action)
        except NotPermitted as error:
            if error.challenge is not None:
                error.challenge = f"{error.challenge}{self._pointing(scope, error.challenge)}"
            raise

    def _pointing(self, scope: Scope, challenge: str) -> str:
        """The parameters that lead a client to the metadata of what it asked for."""
        metadata = f"{_base(scope)}/{'/'.join(WELL_KNOWN)}{_path(scope)}"
        pointing = [f'resource_metadata="{metadata}"']
        if "scope=" not in challenge:
            pointing.append(f'scope="{SCOPES[0]} {SCOPES[1]}"')
        return f"{',' if '=' in challenge else ''} {', '.join(pointing)}"

    def metadata(self, scope: Scope, of: tuple[str, ...]) -> dict[str, Any]:
        """The document of RFC 9728 about the resource at this path."""
        oauth = self.options.oauth
        path = "/".join(quote(segment, safe="") for segment in of or ("mcp",))
        resource = f"{_base(scope)}/{path}"
        if oauth is not None and urlsplit(oauth.audience).scheme in ("http", "https"):
            # What clients ask a token for must be what we accept one for (RFC 8707).
            resource = oauth.audience
        document = {
            "resource": resource,
            "scopes_supported": list(SCOPES),
            "bearer_methods_supported": ["header"],
            "resource_name": "Agent Memory Server",
        }
        return document if oauth is None else {**document, "authorization_servers": [oauth.issuer]}


def cross_origin_headers(origin: str | None) -> list[tuple[bytes, bytes]]:
    """What a browser needs before it shows an answer to a page of an admitted origin."""
    if origin is None:
        return []
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"mcp-session-id, www-authenticate"),
        (b"vary", b"origin"),
    ]


def _base(scope: Scope) -> str:
    """Scheme and authority as the client named them; quoted, because they go into a header."""
    host = _only(scope, b"host") or "localhost"
    return f"{scope.get('scheme', 'http')}://{quote(host, safe='.:[]-_~')}"


def _path(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return quote(raw.partition(b"?")[0].decode("latin-1").rstrip("/"), safe="/%~")


def _only(scope: Scope, name: bytes) -> str | None:
    """The header's value; several of one kind are none that could be trusted."""
    values = [value for key, value in scope["headers"] if key == name]
    if len(values) > 1:
        raise HTTPException(400, f"more than one {name.decode()} header was sent")
    return values[0].decode("latin-1") if values else None


def _name_in(host: str) -> str | None:
    """The host's name without its port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _shown(value: str | None) -> str:
    return "a request without a Host" if value is None else value[:100]
