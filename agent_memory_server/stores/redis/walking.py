"""Walks over everything that matches, a portion at a time.

Servers cap how much one query may answer and skip: 1,000,000 by default, 10,000 where a provider sets it so. No query here asks
for more than the smaller of the two.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent_memory_server.domain.search import Handle
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.index import Index, records_of, rows_of
from agent_memory_server.stores.redis.rows import place_of

ANSWERED_MAX = 10_000
"""What one query may answer or skip, on any server."""
_WALKED_AT_ONCE = 5_000


async def walk(
    index: Index,
    text: str,
    fields: Sequence[str],
    *,
    limit: int | None,
    after: Handle | None,
    at_once: int = _WALKED_AT_ONCE,
) -> list[tuple[str, dict[bytes, bytes]]]:
    """(handle, fields) of up to ``limit`` matches in handle order; of all for None."""
    found: list[tuple[str, dict[bytes, bytes]]] = []
    last = after if isinstance(after, str) else ""
    while True:
        # Two more: what was the last one comes again, and what shares the last place is left for the next portion.
        wanted = at_once if limit is None else min(limit - len(found) + 2, at_once)
        start = place_of(last) if last else 0
        answer = await index.search(
            "FT.SEARCH", f"({text} @place:[{start} +inf])", "RETURN", len(fields), *fields,
            "SORTBY", "place", "ASC", "LIMIT", 0, wanted,
        )  # fmt: skip
        rows = [(naming.handle_of_key(key), values) for key, values in rows_of(answer)]
        rows.sort(key=lambda row: walk_order(row[0]))
        is_end = len(rows) < wanted
        if not is_end:
            edge = place_of(rows[-1][0])
            # All at one place: digests of 52 bits do not meet so often.
            rows = [row for row in rows if place_of(row[0]) != edge] or rows
        behind = [row for row in rows if not last or walk_order(row[0]) > walk_order(last)]
        found += behind
        if is_end or not behind or (limit is not None and len(found) >= limit):
            return found[:limit]
        last = found[-1][0]


def walk_order(handle: str) -> tuple[int, str]:
    return place_of(handle), handle


async def repeated_hashes(index: Index, text: str, *, at_once: int = ANSWERED_MAX) -> list[str]:
    """Every value of the hash field that several matches of one owner share, in order."""
    found: list[str] = []
    while True:
        # Hashes are hexadecimal: nothing in one can be more than a value.
        behind = f" && @hsh > '{found[-1]}'" if found else ""
        answer = await index.search(
            "FT.AGGREGATE", text, "LOAD", 2, "@hsh", "@own", "GROUPBY", 2, "@hsh", "@own",
            "REDUCE", "COUNT", 0, "AS", "held", "FILTER", f"@held > 1{behind}",
            "SORTBY", 4, "@hsh", "ASC", "@own", "ASC", "MAX", at_once, "LIMIT", 0, at_once,
        )  # fmt: skip
        rows = records_of(answer)
        found += sorted({row[b"hsh"].decode() for row in rows})
        if len(rows) < at_once:
            return found
