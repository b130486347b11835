"""The receipt of an erasure: what went, by kind, signed so that anybody with the server's key can tell that it is the server's.

The signature is HMAC-SHA256 (RFC 2104) over the receipt without it as canonical JSON: sorted keys, no spaces, UTF-8. The key is
derived from the store's own, which never leaves it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

VERSION = 1
SIGNATURE = "signature"
_PURPOSE = b"agent-memory erasure receipts v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be erased: everything of a namespace or user, or what of theirs has this id: one session, or one memory."""

    namespace: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    memory_id: str | None = None

    def as_names(self) -> dict[str, str | None]:
        """As receipts name it."""
        return {spec.name: getattr(self, spec.name) for spec in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """How many records of each kind went, or would go."""

    sessions: int = 0
    messages: int = 0
    """Live and archived ones of those sessions."""
    memories: int = 0
    """Superseded ones too."""
    histories: int = 0
    """Memories that were gone before, or had moved to another owner, whose text of then was still kept for undo."""
    summary_views: int = 0
    summaries: int = 0
    """Of other views: those of a group that is the scope itself, or that were made of nothing else."""
    webhooks: int = 0
    """With their log of deliveries."""

    def plus(self, **counts: int) -> Erased:
        return replace(self, **{name: getattr(self, name) + count for name, count in counts.items()})

    def as_counts(self) -> dict[str, int]:
        return {spec.name: getattr(self, spec.name) for spec in fields(self)}


def receipt_key(store_key: bytes) -> bytes:
    """The key that receipts are signed with."""
    return hmac.new(store_key, _PURPOSE, hashlib.sha256).digest()


def signed(receipt: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    """The receipt with its signature."""
    return {**receipt, SIGNATURE: _signature(receipt, key)}


def is_genuine(receipt: Mapping[str, Any], key: bytes) -> bool:
    """Whether nothing in it was changed since it was signed with this key."""
    found = receipt.get(SIGNATURE)
    return isinstance(found, str) and hmac.compare_digest(found.encode(), _signature(receipt, key).encode())


def _signature(receipt: Mapping[str, Any], key: bytes) -> str:
    said = {name: value for name, value in receipt.items() if name != SIGNATURE}
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hmac.new(key, canonical.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
    return f"hmac-sha256:{digest}"
