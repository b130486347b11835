"""What one server holds under a key, as it comes over the wire, and what of it may be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from redis import exceptions
from redis.asyncio import Redis

from agent_memory_server.domain.transfer import Kind
from agent_memory_server.stores.reference.values import CannotRead

_EXCERPT = 200
"""Characters of a value in the report of what cannot be read."""
Raw = tuple[str, Any, int]
"""(Redis type, value, milliseconds to live) of one key; -1 without an end."""


async def values_at(node: Redis, keys: Sequence[bytes]) -> dict[bytes, Raw]:
    """What one server holds of these keys."""
    if not keys:
        return {}
    there = await _known_at(node, keys)
    reads = {"hash": "HGETALL", "string": "GET", "ReJSON-RL": "JSON.GET"}
    pipeline = node.pipeline(transaction=False)
    for key, kind, _ in there:
        pipeline.execute_command(reads.get(kind, "TYPE"), key)  # pyright: ignore[reportUnknownMemberType]
    values: list[Any] = await pipeline.execute(raise_on_error=False)
    found: dict[bytes, Raw] = {}
    for (key, kind, lives_ms), value in zip(there, values, strict=True):
        if isinstance(value, exceptions.ResponseError) and "WRONGTYPE" in str(value):
            continue  # it became another one meanwhile: the next walk finds it
        if isinstance(value, Exception):
            raise value
        if value is not None and value != {}:
            found[key] = (kind, value, lives_ms)
    return found


async def _known_at(node: Redis, keys: Sequence[bytes]) -> list[tuple[bytes, str, int]]:
    """(key, type, milliseconds to live) of those that are there."""
    pipeline = node.pipeline(transaction=False)
    for key in keys:
        pipeline.execute_command("TYPE", key)  # pyright: ignore[reportUnknownMemberType]
        pipeline.execute_command("PTTL", key)  # pyright: ignore[reportUnknownMemberType]
    told: list[Any] = await pipeline.execute(raise_on_error=False)
    there: list[tuple[bytes, str, int]] = []
    for key, kind, lives_ms in zip(keys, told[::2], told[1::2], strict=True):
        if isinstance(kind, exceptions.MovedError):
            continue  # another node of the cluster has it
        for answer in (kind, lives_ms):
            if isinstance(answer, Exception):
                raise answer
        if as_text(kind) != "none":
            there.append((key, as_text(kind), int(lives_ms)))
    return there


def fields_of(raw: Raw) -> dict[bytes, bytes]:
    if raw[0] != "hash":
        raise CannotRead(f"it is a {raw[0]}, and memories are hashes")
    return cast(dict[bytes, bytes], raw[1])


def text_in(raw: Raw) -> bytes:
    if raw[0] != "string":
        raise CannotRead(f"it is a {raw[0]} and should be a string")
    return raw[1]


def excerpt(kind: Kind, raw: Raw) -> dict[str, Any]:
    """What helps a person to find out; never anything of a token."""
    if kind is Kind.TOKENS:
        return {"type": raw[0]}
    value = raw[1]
    if isinstance(value, dict):
        held = cast(dict[bytes, bytes], value)
        shown = {_shown(name): _shown(each) for name, each in held.items() if name != b"vector"}
        return {"type": raw[0], "fields": shown, "vector_bytes": len(held.get(b"vector", b""))}
    return {"type": raw[0], "begins": _shown(value) if isinstance(value, bytes) else ""}


def _shown(value: bytes) -> str:
    text = value[: 4 * _EXCERPT].decode("utf-8", "replace")
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"


def as_text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def literal(prefix: str) -> str:
    """A prefix as it stands in a pattern."""
    return "".join(f"\\{character}" if character in "*?[]\\^" else character for character in prefix)
