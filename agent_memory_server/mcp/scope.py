"""Whose memories a tool call works on: from the credential of its own request, the namespace in its URL, and the defaults.

Nothing here outlives a call or is shared between two: 60 calls at once in two tenants have 60 of these. For each part of the
scope the first that is there counts:

    1. what the tool's arguments name
    2. the namespace of the URL (``/{namespace}/mcp``)
    3. what the credential is bound to (services fill it in)
    4. DEFAULT_MCP_NAMESPACE, DEFAULT_MCP_USER_ID

A credential that is bound to something else than a named part answers as if nothing were there (``domain.identity``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_memory_server.api.dependencies import Afterwards
from agent_memory_server.app import MemoryApp
from agent_memory_server.domain.identity import Principal
from agent_memory_server.errors import BadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """DEFAULT_MCP_NAMESPACE and DEFAULT_MCP_USER_ID: for calls that name none. They hold for every tool alike."""

    namespace: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call: the services, who calls, and what its scope is where the arguments are silent."""

    app: MemoryApp
    caller: Principal
    afterwards: Afterwards
    url_namespace: str | None = None
    defaults: Defaults = field(default_factory=Defaults)

    @property
    def long_term(self) -> MemoryApp:
        """The services, where long-term memory is on. Raises BadRequest."""
        if not self.app.long_term_memory:
            raise BadRequest("Long-term memory is disabled")
        return self.app

    def namespace(self, named: str | None = None) -> str | None:
        """The namespace that is meant; None: any for reads, none for writes, within the credential's reach."""
        if named is not None:
            return named
        if self.url_namespace is not None:
            return self.url_namespace
        return self.defaults.namespace if self.caller.namespace is None else None

    def user_id(self, named: str | None = None) -> str | None:
        """The user that is meant, as ``namespace``."""
        if named is not None:
            return named
        return self.defaults.user_id if self.caller.user_id is None else None

    def scope_filters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The filters on namespace and user of a search that gives none of its own."""
        meant = {"namespace": self.namespace(), "user_id": self.user_id()}
        return {name: {"eq": value} for name, value in meant.items() if value is not None and given.get(name) is None}
