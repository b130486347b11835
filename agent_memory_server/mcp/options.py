"""What the MCP server takes from the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent_memory_server.config import AuthMode, Settings, is_loopback
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.mcp.scope import Defaults


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """Whose tokens are accepted, for the metadata of RFC 9728."""

    issuer: str
    audience: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    tools: str = "full"
    defaults: Defaults = field(default_factory=Defaults)
    body_bytes_max: int = LIMITS.mcp_body_bytes_max
    on_loopback: bool = True
    """Whether only this machine is listened to: then only its own names are taken for ours."""
    allowed_hosts: Sequence[str] = ()
    allowed_origins: Sequence[str] = ()
    oauth: OAuth | None = None


def options_of(settings: Settings, *, host: str) -> Options:
    """``host``: the address that is bound."""
    oauth = None
    if settings.authentication_mode is AuthMode.OAUTH2 and settings.oauth2_issuer_url and settings.oauth2_audience:
        oauth = OAuth(issuer=settings.oauth2_issuer_url, audience=settings.oauth2_audience)
    return Options(
        tools=settings.mcp_tools,
        defaults=Defaults(namespace=settings.default_mcp_namespace, user_id=settings.default_mcp_user_id),
        body_bytes_max=min(LIMITS.mcp_body_bytes_max, settings.max_body_bytes),
        on_loopback=is_loopback(host),
        allowed_hosts=tuple(settings.mcp_allowed_hosts),
        allowed_origins=tuple(settings.mcp_allowed_origins),
        oauth=oauth,
    )
