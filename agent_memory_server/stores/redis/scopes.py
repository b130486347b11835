"""The owner scopes that ever wrote, and which of them a call may touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent_memory_server.domain.filters import TextFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.transactions import Transaction
from agent_memory_server.stores.values import to_json


def scopes_key(tenant: str) -> str:
    return naming.in_tenant(tenant, "scopes")


def register(transaction: Transaction, scope: Scope) -> None:
    """Remember the owner scope and its tenant."""
    owner = naming.owner_digest(scope.namespace, scope.user_id)
    if not transaction.is_first_of(f"{scopes_key(scope.tenant)} {owner}"):
        return
    transaction.command("HSETNX", scopes_key(scope.tenant), owner, to_json([scope.namespace, scope.user_id]))
    transaction.command("HSETNX", naming.TENANTS, naming.tenant_digest(scope.tenant), scope.tenant)


async def owners(link: Link, selector: ScopeSelector) -> list[Scope]:
    """Every owner scope within the selector that ever wrote, in a stable order."""
    held = await link.read("HGETALL", scopes_key(selector.tenant))
    pairs = pairs_of(held)
    scopes = [Scope(selector.tenant, *from_json(value)) for _, value in sorted(pairs.items())]
    return naming.owners_admitted(scopes, selector)


async def owners_matching(
    link: Link, selector: ScopeSelector, namespace: TextFilter | None, user_id: TextFilter | None
) -> list[Scope]:
    """Those that the filters let through as well."""
    return [
        scope
        for scope in await owners(link, selector)
        if (namespace is None or namespace.matches(() if scope.namespace is None else (scope.namespace,)))
        and (user_id is None or user_id.matches(() if scope.user_id is None else (scope.user_id,)))
    ]


def pairs_of(answer: Mapping[bytes, bytes] | Sequence[bytes]) -> dict[bytes, bytes]:
    """The answer to HGETALL as a mapping, whichever form the client gives it."""
    if isinstance(answer, Mapping):
        return dict(answer)
    return dict(zip(answer[::2], answer[1::2], strict=True))


def scored(answer: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """The answer to a command WITHSCORES as (member, score), for scores that are whole numbers."""
    return [(member, int(float(score))) for member, score in zip(answer[::2], answer[1::2], strict=True)]
