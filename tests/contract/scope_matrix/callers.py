"""Who asks, in the scope matrix. Today a caller is the scope that its requests name; a credential can lead it later."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Caller:
    """One party of the matrix. ``headers`` is the place for a credential, ``tenant`` for whose it is."""

    namespace: str | None
    user_id: str | None
    tenant: str = "default"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def named(self) -> dict[str, str]:
        """The parts of the scope that a request of this caller names."""
        parts = {"namespace": self.namespace, "user_id": self.user_id}
        return {name: value for name, value in parts.items() if value is not None}

    @property
    def filters(self) -> dict[str, Any]:
        """The same as search filters."""
        return {name: {"eq": value} for name, value in self.named.items()}

    @property
    def is_fully_named(self) -> bool:
        """A part that is not named means any in reads; only a caller who names both is confined to its own."""
        return self.namespace is not None and self.user_id is not None

    def admits(self, owner: Caller) -> bool:
        """Whether this caller's reads may show what the owner wrote."""
        return (
            self.tenant == owner.tenant
            and self.namespace in (None, owner.namespace)
            and self.user_id in (None, owner.user_id)
        )


def near_equal_callers(prefix: str) -> list[Caller]:
    """Scopes that a careless key, pattern, index or comparison would confuse with one another."""
    composed, decomposed = unicodedata.normalize("NFC", "über"), unicodedata.normalize("NFD", "über")
    pairs: list[tuple[str | None, str | None]] = [
        ("a-b", "alice"),
        ("a b", "alice"),
        ("A-B", "alice"),
        ("a-b", "ALICE"),
        ("a-b", "alice*"),
        ("a-b", "alic_"),
        ("a-b", "%"),
        ("a-b", "alice "),
        ("a-b", "alice,bob"),
        ("a-b", "None"),
        ("a-b", "null"),
        ("a|b", "alice"),
        ("a-b", "auth0|x"),
        ("a-b", "auth0"),
        ("a-b:alice", "s"),
        ("a-b", "alice:s"),
        (composed, "alice"),
        (decomposed, "alice"),
        ("a-b", composed),
        ("a-b", decomposed),
        ("a-b", "' OR 1=1 --"),
        ("a-b", "../alice"),
        ("a-b", None),
        (None, "alice"),
        (None, None),
    ]
    return [
        Caller(
            namespace=None if namespace is None else f"{prefix}{namespace}",
            user_id=None if user is None else f"{user}" if namespace else f"{prefix}{user}",
        )
        for namespace, user in pairs
    ]
