"""The keyword side of search: which memories hold the tokens, how often, and the statistics of the caller's scope."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.search import KeywordCandidates, KeywordStatistics
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Command
from agent_memory_server.stores.redis.encoding import count_of, token_of, token_text
from agent_memory_server.stores.redis.index import Index, records_of, rows_of
from agent_memory_server.stores.redis.memory_keys import (
    statistics_key,
)
from agent_memory_server.stores.redis.queries import Query, query_of
from agent_memory_server.stores.redis.scopes import owners_matching
from agent_memory_server.stores.values import micros, token_digest, unpack_terms

_Found = dict[str, list[int]]


async def holding(
    index: Index, criteria: MemoryFilter, *, tokens: Sequence[str], now: datetime, limit: int, token_key: bytes
) -> KeywordCandidates:
    """The port's ``holding``. Frequencies are exact whatever the selection; beyond ``limit`` the rarest tokens decide."""
    names = tuple(dict.fromkeys(tokens))
    whole = await query_of(index, _statistics_of(criteria), now)
    query = await query_of(index, criteria, now)
    if not names or whole is None:
        return _candidates(names, {}, (0, 0), dict.fromkeys(names, 0))
    digests = [token_digest(token_key, name) for name in names]
    fields = [f"@tok:{{{token_text(digest)}}}" for digest in digests]
    union = f"@tok:{{{'|'.join(token_text(digest) for digest in digests)}}}"
    documents = await _documents(index, criteria, whole, now)
    commands: list[Command] = [("FT.SEARCH", f"({whole.text} {field})", "LIMIT", 0, 0) for field in fields]
    # In a small scope everything comes in the same round trip; of a large one it may not be wanted.
    at_once = limit if documents[0] <= 2 * limit else 0
    if query is not None:
        commands.append(_collect(f"({query.text} {union})", at_once))
    counted = await index.searches(*commands)
    frequencies = {name: answer[0] for name, answer in zip(names, counted, strict=False)}
    found: _Found = {}
    if query is not None:
        matching = counted[-1][0]
        if matching <= limit:
            answer = counted[-1] if at_once else await _search(index, f"({query.text} {union})", limit)
            _take(found, answer, digests, limit)
        else:
            rarest_first = sorted(range(len(names)), key=lambda place: (frequencies[names[place]], place))
            for place in rarest_first:
                if len(found) < limit:
                    _take(found, await _search(index, f"({query.text} {fields[place]})", limit), digests, limit)
    return _candidates(names, found, documents, frequencies)


def _statistics_of(criteria: MemoryFilter) -> MemoryFilter:
    """The caller's scope alone: selector, namespace and user; superseded memories never count."""
    return MemoryFilter(selector=criteria.selector, namespace=criteria.namespace, user_id=criteria.user_id)


def _collect(text: str, limit: int) -> Command:
    return ("FT.SEARCH", text, "RETURN", 2, "terms", "len", "LIMIT", 0, limit)


async def _search(index: Index, text: str, limit: int) -> Sequence[Any]:
    return (await index.searches(_collect(text, limit)))[0]


def _take(found: _Found, answer: Sequence[Any], digests: Sequence[int], limit: int) -> None:
    """Each memory with its length and its count of every token."""
    rows = [(naming.handle_of_key(key), row) for key, row in rows_of(answer)]
    new = sorted(
        (handle, row[b"terms"], int(row[b"len"])) for handle, row in rows if handle not in found and b"terms" in row
    )
    new = new[: limit - len(found)]
    if not new:
        return
    # All memories' terms as one array: a loop over each would cost more than the search itself.
    terms = unpack_terms(b"".join(packed for _, packed, _ in new))
    row_of = np.repeat(np.arange(len(new)), [len(packed) // 8 for _, packed, _ in new])
    table = np.zeros((len(new), len(digests) + 1), dtype=np.int32)
    table[:, 0] = [length for _, _, length in new]
    for column, digest in enumerate(digests, 1):
        places = (token_of(terms) == digest).nonzero()[0]
        table[row_of[places], column] = count_of(terms[places])
    for (handle, _, _), counts in zip(new, table.tolist(), strict=True):
        found[handle] = counts


async def _documents(index: Index, criteria: MemoryFilter, whole: Query, now: datetime) -> tuple[int, int]:
    """Live memories of the scope and their index terms, less those that expired and wait to be removed."""
    key = statistics_key(whole.selector.tenant)
    if whole.has_owner_filters:
        scopes = await owners_matching(index.link, criteria.selector, criteria.namespace, criteria.user_id)
        tags = ["o" + naming.owner_digest(scope.namespace, scope.user_id) for scope in scopes]
    else:
        tags = [naming.tag_of(whole.selector)]
    if not tags:
        return 0, 0
    held = await index.link.read("HMGET", key, *(f"{tag}:{part}" for tag in tags for part in "dt"))
    documents, terms = sum(int(each or 0) for each in held[::2]), sum(int(each or 0) for each in held[1::2])
    scope = whole.text.replace(f"-@expires:[-inf {micros(now)}]", f"@expires:[-inf {micros(now)}]")
    gone = records_of(
        await index.search(
            "FT.AGGREGATE",
            scope,
            "LOAD",
            1,
            "@len",
            "GROUPBY",
            0,
            "REDUCE",
            "COUNT",
            0,
            "AS",
            "held",
            "REDUCE",
            "SUM",
            1,
            "@len",
            "AS",
            "terms",
        )
    )
    for row in gone:
        documents -= int(float(row[b"held"]))
        terms -= int(float(row[b"terms"]))
    return documents, terms


def _candidates(
    names: tuple[str, ...], found: _Found, size: tuple[int, int], frequencies: dict[str, int]
) -> KeywordCandidates:
    documents, terms = size
    handles = sorted(found)
    table: Any = np.array([found[handle] for handle in handles], dtype=np.int32).reshape(len(handles), len(names) + 1)
    return KeywordCandidates(
        tokens=names,
        handles=handles,
        counts=np.ascontiguousarray(table[:, 1:]),
        lengths=np.ascontiguousarray(table[:, 0]),
        statistics=KeywordStatistics(
            documents=documents,
            average_length=terms / documents if documents else 0.0,
            document_frequency=frequencies,
        ),
    )
