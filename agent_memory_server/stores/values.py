"""How every engine writes times, JSON and index terms: as microseconds, without spaces, and as packed integers."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from agent_memory_server.domain.instants import EPOCH
from agent_memory_server.domain.instants import micros as micros
from agent_memory_server.domain.instants import micros_or_none as micros_or_none

COUNT_BITS = 15
COUNT_MAX = (1 << COUNT_BITS) - 1
"""A term that stands more often than this in one memory counts as this."""
_DIGEST_BYTES = 6
# Made once: ``json.dumps`` with options makes an encoder for every call.
_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def instant(value: int) -> datetime:
    return EPOCH + timedelta(microseconds=value)


def instant_or_none(value: int | None) -> datetime | None:
    return None if value is None else EPOCH + timedelta(microseconds=value)


def to_json(value: object) -> str:
    """Exact JSON: the standard library keeps integers of any size and floats to the last bit."""
    return _JSON.encode(value)


def exact_json(written: bytes) -> Any:
    """What JSON says, by the fast parser. Raises ValueError for what that one does not take, and for a number that it may have
    rounded: it makes floats of integers beyond 64 bits."""
    value = orjson.loads(written)
    inside: list[Iterable[Any]] = [(value,)]
    while inside:
        for held in inside.pop():
            # Millions of lines are read so, and most of what is in them is text or nothing: that is passed by first.
            kind = type(held)  # pyright: ignore[reportUnknownVariableType] - of anything
            if kind is str or held is None:
                continue
            if kind is float and not -_ROUNDED < held < _ROUNDED:
                raise ValueError("a number beyond 64 bits")
            if held and (kind is dict or kind is list):
                inside.append(held.values() if kind is dict else held)
    return value


_ROUNDED = 2.0**63


def token_digest(key: bytes, token: str) -> int:
    """48 bits that stand for a token in one store. Two of a scope's 100,000 tokens meet with a chance of 2 in 100,000."""
    digest = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES, key=key).digest()
    return int.from_bytes(digest, "big")


def pack_terms(key: bytes, tokens: Mapping[str, int]) -> bytes:
    """Digests with their counts as sorted little-endian 64-bit integers; equal tokens give equal bytes."""
    return packed(sorted_terms(key, tokens, {}))


def sorted_terms(key: bytes, tokens: Mapping[str, int], known: dict[str, int]) -> list[int]:
    """The same as integers. ``known``: digests under this key, those of further tokens are added; texts share most of theirs."""
    found: list[int] = []
    for token, count in tokens.items():
        if count > 0:
            digest = known.get(token)
            if digest is None:
                digest = known[token] = token_digest(key, token)
            found.append((digest << COUNT_BITS) | min(count, COUNT_MAX))
    found.sort()
    return found


def packed(terms: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(terms)}q", *terms)


def unpack_terms(terms: bytes) -> NDArray[np.int64]:
    return np.frombuffer(terms, dtype="<i8")


def terms_length(terms: bytes) -> int:
    """Index terms with their repetitions."""
    return int((unpack_terms(terms) & COUNT_MAX).sum())
