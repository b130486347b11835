"""Who is asking, and whose a record is.

The tenant comes only from the credential and leads every key, index and query. Namespace and user are hard filters inside
it. ``None`` means "none" on a record and "not named" in a selector; the empty string is never a scope.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a record lives. Its identity is (tenant, namespace, user, id); the session is an attribute."""

    tenant: str
    namespace: str | None = None
    user_id: str | None = None
    session_id: str | None = None

    @property
    def owner(self) -> Scope:
        """The same scope without its session: what identities are unique within."""
        return self if self.session_id is None else Scope(self.tenant, self.namespace, self.user_id)


@dataclass(frozen=True, slots=True)
class ScopeSelector:
    """The owner scopes that a call may touch: all of the tenant, narrowed by what is named (``None`` = any)."""

    tenant: str
    namespace: str | None = None
    user_id: str | None = None

    def admits(self, scope: Scope) -> bool:
        return (
            scope.tenant == self.tenant
            and (self.namespace is None or scope.namespace == self.namespace)
            and (self.user_id is None or scope.user_id == self.user_id)
        )


class Permission(StrEnum):
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


_IMPLIED = {
    Permission.READ: frozenset({Permission.READ}),
    Permission.WRITE: frozenset({Permission.READ, Permission.WRITE}),
    Permission.ADMIN: frozenset(Permission),
}


def implied(permissions: Iterable[Permission]) -> frozenset[Permission]:
    """With everything that these include: who may write may read, and an administrator may do both."""
    return frozenset(each for permission in permissions for each in _IMPLIED[permission])


class OutsideReach(Exception):
    """A caller named a namespace or user beyond its credential. Callers answer exactly as for something absent."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller. ``namespace`` and ``user_id`` are set when the credential is bound to them."""

    subject: str
    tenant: str = DEFAULT_TENANT
    namespace: str | None = None
    user_id: str | None = None
    permissions: frozenset[Permission] = frozenset(Permission)

    def permits(self, permission: Permission) -> bool:
        return permission in self.permissions

    def owner(self, namespace: str | None = None, user_id: str | None = None) -> Scope:
        """The scope a *write* goes to: absent parts are filled in from the binding, else none.

        Raises OutsideReach when a named part is not the bound one.
        """
        return Scope(self.tenant, _bound(self.namespace, namespace), _bound(self.user_id, user_id))

    def selector(self, namespace: str | None = None, user_id: str | None = None) -> ScopeSelector:
        """The scopes a *read* may touch: absent parts mean any that the binding allows.

        Raises OutsideReach when a named part is not the bound one.
        """
        return ScopeSelector(self.tenant, _bound(self.namespace, namespace), _bound(self.user_id, user_id))


def _bound(bound: str | None, asked: str | None) -> str | None:
    if bound is None:
        return asked
    if asked is not None and asked != bound:
        raise OutsideReach
    return bound


ANONYMOUS = Principal(subject="anonymous")
"""Who calls when authentication is off: everything in the default tenant."""

STRANGER = Principal(subject="anonymous", permissions=frozenset())
"""Who calls what is open to all (the health check) while authentication is on: it may touch nothing."""
