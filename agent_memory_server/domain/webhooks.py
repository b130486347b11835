"""Webhooks: who is told of changes, how a request proves that it is ours, and which addresses are never called. Pure."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from datetime import datetime

from agent_memory_server.domain.identity import Scope, ScopeSelector

SIGNATURE_HEADER = "X-Memory-Signature"
_TRANSLATING = tuple(
    ipaddress.ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)
"""Addresses that carry another one, which may be private."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """``scope``: whose changes are told, which is also who may see it; the parts that are None mean any."""

    id: str
    scope: Scope
    url: str
    secret: str
    kinds: tuple[str, ...]
    """Kinds of operations; empty for all."""
    description: str
    created_at: datetime
    created_by: str
    position: int
    """Every operation up to this sequence was told, or is of no interest."""
    failing_since: datetime | None = None
    last_error: str | None = None

    @property
    def selector(self) -> ScopeSelector:
        return ScopeSelector(self.scope.tenant, self.scope.namespace, self.scope.user_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One attempt. ``status`` None: there was no answer, and ``error`` says why."""

    id: str
    at: datetime
    events: int
    first_operation: str
    last_operation: str
    status: int | None
    error: str | None
    duration_ms: int

    @property
    def is_done(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def signature(secret: str, body: bytes, *, at: datetime) -> str:
    """``t=<seconds>,v1=<hex>``: HMAC-SHA256 with the secret over ``<seconds>.<body>``. Receivers refuse old times."""
    seconds = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's, and not of this machine, this network or a cloud's inside."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if any(found in network for network in _TRANSLATING):
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved and not found.is_unspecified
