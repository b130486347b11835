"""Scopes as small integers, and which of them a call may touch."""

from __future__ import annotations

from dataclasses import dataclass

from agent_memory_server.domain.filters import TextFilter
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import from_json
from agent_memory_server.stores.sqlite.filtering import Condition, text_condition
from agent_memory_server.stores.values import to_json


def known_tenant(connected: Connected, tenant: str) -> int | None:
    """The tenant's number, or None for one that never wrote."""
    known = connected.tenants.get(tenant)
    if known is None:
        known = connected.value("SELECT id FROM tenants WHERE name = ?", (tenant,))
        if known is not None:
            connected.tenants[tenant] = known
    return known


def known_scope(connected: Connected, tenant: str, namespace: str | None, user_id: str | None) -> int | None:
    """The owner scope's number, or None for one that never wrote."""
    owner = (tenant, namespace, user_id)
    known = connected.scopes.get(owner)
    if known is None:
        known = connected.value(
            "SELECT id FROM scopes WHERE tenant_id = (SELECT id FROM tenants WHERE name = ?) "
            "AND ifnull(user_id, x'') = ? AND ifnull(namespace, x'') = ?",
            (tenant, _key(user_id), _key(namespace)),
        )
        if known is not None:
            if len(connected.scopes) > _REMEMBERED_MAX:
                connected.scopes.clear()
            connected.scopes[owner] = known
    return known


_REMEMBERED_MAX = 50_000


def _key(part: str | None) -> str | bytes:
    """A blob stands for "none": it equals no text, whatever the text."""
    return b"" if part is None else part


def interned_tenant(connected: Connected, tenant: str) -> int:
    """The tenant's number, given now if it has none (within the caller's transaction)."""
    known = known_tenant(connected, tenant)
    if known is None:
        connected.execute("INSERT INTO tenants (name) VALUES (?)", (tenant,))
        known = connected.tenants[tenant] = connected.last_id
    return known


def interned_scope(connected: Connected, tenant: str, namespace: str | None, user_id: str | None) -> int:
    """The owner scope's number, given now if it has none (within the caller's transaction)."""
    known = known_scope(connected, tenant, namespace, user_id)
    if known is None:
        connected.execute(
            "INSERT INTO scopes (tenant_id, namespace, user_id) VALUES (?, ?, ?)",
            (interned_tenant(connected, tenant), namespace, user_id),
        )
        known = connected.scopes[(tenant, namespace, user_id)] = connected.last_id
    return known


@dataclass(frozen=True, slots=True)
class Selection:
    """The owner scopes that a call may touch. ``scope_ids`` None: all of the tenant."""

    tenant_id: int
    scope_ids: tuple[int, ...] | None

    @property
    def single(self) -> int | None:
        """The scope's number when it is exactly one."""
        return self.scope_ids[0] if self.scope_ids is not None and len(self.scope_ids) == 1 else None

    def condition(self, alias: str = "m", *, has_tenant: bool = True) -> Condition:
        """The rows of this selection, for a table with ``scope_id`` (and ``tenant_id``, unless told that it has none)."""
        if self.scope_ids is None:
            if has_tenant:
                return Condition(f"{alias}.tenant_id = ?", (self.tenant_id,))
            return Condition(f"{alias}.scope_id IN (SELECT id FROM scopes WHERE tenant_id = ?)", (self.tenant_id,))
        tenant = f"{alias}.tenant_id = ? AND " if has_tenant else ""
        bound = (self.tenant_id,) if has_tenant else ()
        if len(self.scope_ids) == 1:
            return Condition(f"{tenant}{alias}.scope_id = ?", (*bound, self.scope_ids[0]))
        return Condition(
            f"{tenant}{alias}.scope_id IN (SELECT value FROM json_each(?))", (*bound, to_json(self.scope_ids))
        )


def selected(
    connected: Connected,
    selector: ScopeSelector,
    *,
    namespace: TextFilter | None = None,
    user_id: TextFilter | None = None,
) -> Selection | None:
    """The scopes that the selector admits and the filters let through; None when there is none."""
    if connected.selections is None:
        return _selected(connected, selector, namespace, user_id)
    asked = (selector, namespace, user_id)
    if asked not in connected.selections:
        connected.selections[asked] = _selected(connected, selector, namespace, user_id)
    return connected.selections[asked]


def _selected(
    connected: Connected, selector: ScopeSelector, namespace: TextFilter | None, user_id: TextFilter | None
) -> Selection | None:
    tenant_id = known_tenant(connected, selector.tenant)
    if tenant_id is None:
        return None
    conditions: list[Condition] = []
    if selector.user_id is not None:
        conditions.append(Condition("ifnull(user_id, x'') = ?", (selector.user_id,)))
    if selector.namespace is not None:
        conditions.append(Condition("ifnull(namespace, x'') = ?", (selector.namespace,)))
    if namespace is not None:
        conditions.append(text_condition("namespace", namespace))
    if user_id is not None:
        conditions.append(text_condition("user_id", user_id))
    if not conditions:
        return Selection(tenant_id, None)
    where = Condition.all_of(Condition("tenant_id = ?", (tenant_id,)), *conditions)
    found = connected.value(f"SELECT json_group_array(id ORDER BY id) FROM scopes WHERE {where.sql}", where.values)
    ids = tuple(from_json(found))
    return Selection(tenant_id, ids) if ids else None
