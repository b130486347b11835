"""Which keys of a Redis are the reference server's, which are ours and which somebody else's: found by looking at them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis import exceptions

from agent_memory_server.domain.transfer import Kind
from agent_memory_server.redis_addresses import Host
from agent_memory_server.stores.redis import failures, naming
from agent_memory_server.stores.redis.connections import Link

MEMORY_PREFIX = "memory_idx"
_OWN_FIELDS = frozenset({b"memory_hash", b"discrete_memory_extracted", b"extraction_strategy"})
"""An index with these fields is the reference's, whatever its name."""
_KEYS_A_STEP = 2_000
_EXAMPLES = 5

SESSIONS, VIEWS, TASKS, TOKENS = b"working_memory:", b"summary_view:", b"task:", b"auth_token:"
_CONFIG, _SUMMARY = b":config", b":summary:"
_LEFTOVERS = (b"extraction_pending:", b"extraction_debounce:")
LISTS = (b"summary_view:index", b"auth_tokens:list")


@dataclass(frozen=True, slots=True)
class Indexes:
    """The reference's search indexes over long-term memories: their names, prefixes and vector sizes."""

    names: tuple[str, ...]
    prefixes: tuple[str, ...]
    """Without the colon that follows them in keys."""
    dimensions: int | None


@dataclass(slots=True)
class Inventory:
    """What is in a database, by kind of record."""

    found: Counter[Kind] = field(default_factory=Counter[Kind])
    leftovers: int = 0
    """Lists and timers of the reference server that hold no record."""
    others: int = 0
    """Keys of other applications."""
    other_examples: list[str] = field(default_factory=list[str])

    @property
    def total(self) -> int:
        """Without tasks: other applications have keys that begin so, and the reference server had none without views."""
        return sum(count for kind, count in self.found.items() if kind is not Kind.TASKS)


def kind_of(key: bytes, prefixes: Sequence[bytes]) -> Kind | None:
    """The kind of record that is kept under such a key; None for what is no record of the reference server."""
    if key.startswith(tuple(prefix + b":" for prefix in prefixes)):
        return Kind.MEMORIES
    if key.startswith(SESSIONS):
        return Kind.SESSIONS
    if key.startswith(VIEWS) and key not in LISTS:
        if _SUMMARY in key[len(VIEWS) :]:
            return Kind.PARTITIONS
        return Kind.SUMMARY_VIEWS if key.endswith(_CONFIG) else None
    if key.startswith(TOKENS):
        return Kind.TOKENS
    return Kind.TASKS if key.startswith(TASKS) else None


async def indexes(link: Link, *, name: str, prefix: str) -> Indexes:
    """Found by what they index, so that settings that are forgotten do not matter; ``name`` and ``prefix`` count anyhow."""
    names, prefixes, dimensions = [name], [prefix], None
    try:
        for listed in await link.raw("FT._LIST"):
            known = listed.decode() if isinstance(listed, bytes) else str(listed)
            if known.startswith(naming.PREFIX):
                continue
            told = _pairs(await link.raw("FT.INFO", known))
            attributes = [_attribute(each) for each in told.get(b"attributes", ())]
            if not {each.get(b"attribute") for each in attributes} >= _OWN_FIELDS:
                continue
            definition = _pairs(told.get(b"index_definition", ()))
            names.append(known)
            prefixes += [each.decode().rstrip(":") for each in definition.get(b"prefixes", ()) if each]
            sizes = [int(each[b"dim"]) for each in attributes if b"dim" in each]
            dimensions = sizes[0] if sizes else dimensions
    except exceptions.RedisError as error:
        raise failures.translated(error) from error
    return Indexes(tuple(dict.fromkeys(names)), tuple(dict.fromkeys(prefixes)), dimensions)


def _pairs(answer: Any) -> dict[bytes, Any]:
    if isinstance(answer, Mapping):
        return {_name(key): value for key, value in answer.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return {_name(key): value for key, value in zip(answer[::2], answer[1::2], strict=False)}


def _attribute(answer: Any) -> dict[bytes, Any]:
    """One attribute of FT.INFO: pairs, and at the end flags without a value."""
    return {_name(key).lower(): value for key, value in _pairs(answer).items()}


def _name(key: object) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode()


async def inventory(link: Link, prefixes: Sequence[str], *, queue_name: str) -> Inventory:
    """Look at the name of every key, once."""
    found = Inventory()
    packed = [prefix.encode() for prefix in prefixes]
    queue = (f"{queue_name}:".encode(), f"{{{queue_name}}}:".encode())
    try:
        for server in await link.servers():
            await _look(link, server, packed, queue, found)
    except (exceptions.RedisError, OSError) as error:
        raise failures.translated(error) from error
    return found


async def _look(
    link: Link, server: Host, prefixes: Sequence[bytes], queue: tuple[bytes, ...], found: Inventory
) -> None:
    cursor = 0
    while True:
        cursor, keys = await link.raw_at(server, "SCAN", cursor, "COUNT", _KEYS_A_STEP)
        for key in keys:
            kind = kind_of(key, prefixes)
            if kind is not None:
                found.found[kind] += 1
            elif key.startswith((naming.PREFIX.encode(), *queue)):
                continue
            elif key in LISTS or key.startswith(_LEFTOVERS):
                found.leftovers += 1
            else:
                found.others += 1
                if len(found.other_examples) < _EXAMPLES:
                    found.other_examples.append(key[:80].decode(errors="replace"))
        cursor = int(cursor)
        if cursor == 0:
            return
