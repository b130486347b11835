"""What the claims of a signed token mean here: tenant, user, namespace and permissions. Pure; the token is verified already.

A setting that names a claim makes it binding: a token without it is refused, so that nobody reaches more by leaving it out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent_memory_server.domain.identity import DEFAULT_TENANT, Permission, Principal, implied
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.errors import NotAuthenticated

SCOPE_PREFIX = "memory:"
SUBJECT_PREFIX = "oauth2:"
"""Whoever the issuer names can never pass for an access token, a task or the operator in journals and quotas."""
_SCOPE_CLAIMS = ("scope", "scp", "permissions")
_SPACES = re.compile(r"[ \t\r\n]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsMapping:
    """Names of claims; None: not looked at. Without ``tenant`` everybody is in the default one; without ``user_id`` a token
    reaches every user of its tenant."""

    tenant: str | None = None
    user_id: str | None = None
    namespace: str | None = None


def principal_from(claims: Mapping[str, Any], mapping: ClaimsMapping) -> Principal:
    """The caller that these claims describe. Raises NotAuthenticated when one that is needed is missing or no text."""
    tenant = _claimed(claims, mapping.tenant)
    return Principal(
        subject=f"{SUBJECT_PREFIX}{_claimed(claims, 'sub')}",
        tenant=DEFAULT_TENANT if tenant is None else tenant,
        namespace=_claimed(claims, mapping.namespace),
        user_id=_claimed(claims, mapping.user_id),
        permissions=implied(permissions_in(claims)),
    )


def permissions_in(claims: Mapping[str, Any]) -> frozenset[Permission]:
    """The permissions that ``scope``, ``scp`` and ``permissions`` name as ``memory:read``, ``memory:write``, ``memory:admin``."""
    known = {SCOPE_PREFIX + permission.value: permission for permission in Permission}
    return frozenset(known[each] for name in _SCOPE_CLAIMS for each in _words(claims.get(name)) if each in known)


def _words(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return _SPACES.split(value)
    if isinstance(value, list):
        return [each for each in value if isinstance(each, str)]  # pyright: ignore[reportUnknownVariableType]
    return ()


def _claimed(claims: Mapping[str, Any], name: str | None) -> str | None:
    if name is None:
        return None
    value = claims.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > LIMITS.id_length_max or "\0" in value:
        raise NotAuthenticated("Invalid token", was_given=True)
    return value
