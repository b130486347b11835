"""Keys: every one begins with ``{ams}:``, so that a cluster keeps all of a store in one hash slot. Ids never stand in a key, only
digests of them.

``{ams}:`` is disjoint from all prefixes of the reference server. One slot is what makes a commit atomic on a cluster too, and
what lets one node's search index hold everything; the layout is the same on a standalone server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from agent_memory_server.domain.filters import TextFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector

PREFIX = "{ams}:"
MEMORY_PREFIX = PREFIX + "m:"
"""What the search index covers, and nothing else begins so."""
SCHEMA = PREFIX + "schema"
"""The version of the layout, as a decimal number."""
INDEX = PREFIX + "index"
"""The name of the search index that is complete, or being built."""
SPACES = PREFIX + "spaces"
"""Hash: vector space → JSON [model, dimensions]."""
SEQUENCE = PREFIX + "sequence"
TENANTS = PREFIX + "tenants"
"""Hash: tenant digest → name."""
CLOCK = PREFIX + "clock"
FACTS = PREFIX + "facts"
"""Hash: what this store knows about itself, as the key of the token digests."""
EXPIRING_SESSIONS = PREFIX + "expiring-sessions"
KINDS = PREFIX + "kinds"
"""Set: every kind of work that was ever asked for."""
WAITING = PREFIX + "waiting"
DEAD = PREFIX + "dead"
CONTINUOUS_VIEWS = PREFIX + "continuous-views"
PROBE = PREFIX + "probe"
NEVER = PREFIX + "never"
"""A key that never is: asking for it fails while a cluster moves our slot, and only then."""
MIGRATING = PREFIX + "migrating"
"""There while the reference server's data is carried over in place: nobody is served before everything is here."""

REFERENCE_PREFIXES = (b"memory_idx", b"working_memory:", b"auth_token:", b"auth_tokens:list", b"summary_view:")
"""How keys of the reference server begin (wire contract, section 10)."""
REFERENCE_INDEXES = (b"memory_records", b"working_memory_idx")


@lru_cache(maxsize=16_384)
def digest(*parts: str | None) -> str:
    """24 hex digits that stand for these parts: unambiguous, and None differs from every text."""
    hashed = hashlib.blake2b(digest_size=12)
    for part in parts:
        if part is None:
            hashed.update(b"-")
        else:
            encoded = part.encode("utf-8")
            hashed.update(b"%d:" % len(encoded) + encoded)
    return hashed.hexdigest()


def tenant_digest(tenant: str) -> str:
    return digest(tenant)[:16]


def in_tenant(tenant: str, *parts: str) -> str:
    """A key of the tenant."""
    return f"{PREFIX}{tenant_digest(tenant)}:{':'.join(parts)}"


def owner_digest(namespace: str | None, user_id: str | None) -> str:
    return digest(namespace, user_id)


def memory_digest(namespace: str | None, user_id: str | None, memory_id: str) -> str:
    return digest(namespace, user_id, memory_id)


def memory_key(handle: str) -> str:
    """The hash behind a handle (``<tenant digest>.<memory digest>``)."""
    tenant, _, found = handle.partition(".")
    return f"{MEMORY_PREFIX}{tenant}:{found}"


def handle_of(tenant: str, namespace: str | None, user_id: str | None, memory_id: str) -> str:
    return f"{tenant_digest(tenant)}.{memory_digest(namespace, user_id, memory_id)}"


def handle_of_key(key: bytes | str) -> str:
    """The handle of a memory's key."""
    text = key.decode() if isinstance(key, bytes) else key
    tenant, _, found = text[len(MEMORY_PREFIX) :].partition(":")
    return f"{tenant}.{found}"


def beside(handle: str, kind: str) -> str:
    """A key of the same tenant that belongs to a memory: its history, its copies, the summaries made of it."""
    tenant, _, found = handle.partition(".")
    return f"{PREFIX}{tenant}:{kind}:{found}"


@lru_cache(maxsize=4_096)
def _tags(namespace: str | None, user_id: str | None) -> tuple[str, ...]:
    tags = ["t", "o" + owner_digest(namespace, user_id)]
    if namespace is not None:
        tags.append("n" + digest(namespace))
    if user_id is not None:
        tags.append("u" + digest(user_id))
    return tuple(tags)


def tags_of(scope: Scope) -> tuple[str, ...]:
    """Every selection that holds this owner scope, and the owner itself, as short texts."""
    return _tags(scope.namespace, scope.user_id)


def tag_of(selector: ScopeSelector) -> str:
    """The one tag whose holders are exactly what the selector admits."""
    if selector.namespace is not None and selector.user_id is not None:
        return "o" + owner_digest(selector.namespace, selector.user_id)
    if selector.namespace is not None:
        return "n" + digest(selector.namespace)
    if selector.user_id is not None:
        return "u" + digest(selector.user_id)
    return "t"


def narrowed(
    selector: ScopeSelector, namespace: TextFilter | None, user_id: TextFilter | None
) -> tuple[ScopeSelector, bool]:
    """The selector with plain equalities folded into it, and whether the filters say more than that."""
    rest = False
    found_namespace, found_user = selector.namespace, selector.user_id
    if namespace is not None:
        if namespace == TextFilter(eq=namespace.eq) and found_namespace in (None, namespace.eq):
            found_namespace = namespace.eq
        else:
            rest = True
    if user_id is not None:
        if user_id == TextFilter(eq=user_id.eq) and found_user in (None, user_id.eq):
            found_user = user_id.eq
        else:
            rest = True
    return ScopeSelector(selector.tenant, found_namespace, found_user), rest


def ordered_member(text: str, suffix: str) -> bytes:
    """A member of a sorted set that sorts by the text's code points, then the suffix."""
    return text.encode().replace(b"\0", b"\0\1") + b"\0\0" + suffix.encode()


def text_of_member(member: bytes) -> str:
    return member.rpartition(b"\0\0")[0].replace(b"\0\1", b"\0").decode()


def suffix_of_member(member: bytes) -> str:
    return member.rpartition(b"\0\0")[2].decode()


def index_token(tenant: str, tag: str, *, live: bool) -> str:
    """What the index holds of a memory for each selection that it is in; live ones have it twice."""
    return f"{'l' if live else 'a'}{tenant_digest(tenant)}{tag}"


def owners_admitted(owners: Iterable[Scope], selector: ScopeSelector) -> list[Scope]:
    return [scope for scope in owners if selector.admits(scope)]
