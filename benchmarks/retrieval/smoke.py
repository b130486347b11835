"""``python -m benchmarks.retrieval.smoke``: other kinds of text than conversations between friends, written for this project.

Short facts, notes of a few sentences and chats with an assistant, each with a query in other words than its answer
(``benchmarks/data/retrieval_smoke.jsonl``). The weights are fitted to conversations; here hybrid must not lose to keyword
search on any kind. Exits with 1 when it does. An argument names another embedding model, as EMBEDDING_MODEL does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Operation, OperationKind
from agent_memory_server.domain.recency import RecencyWeights
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.search import SearchMode, SearchQuery
from agent_memory_server.embeddings.opening import BUNDLED, open_embedder
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.indexing import Indexer
from agent_memory_server.services.search import SearchService
from agent_memory_server.stores.sqlite import open_sqlite
from benchmarks.retrieval.figures import averaged, of_ranking

DATA = Path(__file__).parents[1] / "data" / "retrieval_smoke.jsonl"
MODES = (SearchMode.HYBRID, SearchMode.KEYWORD, SearchMode.SEMANTIC)
SHOWN = ("R@5", "R@10", "MRR", "nDCG@10")
Line = dict[str, Any]
Figures = dict[str, dict[SearchMode, dict[str, float]]]


async def measured(model: str = BUNDLED) -> Figures:
    """By kind and mode; each kind is a user of its own, and ``all`` is one user with everything."""
    lines: list[Line] = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
    kinds = {kind: [line for line in lines if line["kind"] == kind] for kind in dict.fromkeys(x["kind"] for x in lines)}
    now = datetime.now(UTC)
    found: Figures = {}
    with tempfile.TemporaryDirectory(prefix="smoke-") as folder:
        stores = await open_sqlite(Path(folder) / "smoke.db", now=lambda: now)
        embedder = await open_embedder(model)
        service = SearchService(store=stores.memories, embedder=embedder, now=lambda: now)
        try:
            for kind, own in {**kinds, "all": lines}.items():
                await _index(stores, embedder, kind, own, now)
                found[kind] = {mode: await _asked(service, kind, own, mode) for mode in MODES}
        finally:
            await stores.engine.close()
    return found


async def _index(stores: Stores, embedder: Embedder, user: str, lines: Sequence[Line], now: datetime) -> None:
    memories = [
        Memory(
            id=line["id"],
            scope=Scope("default", None, user, line.get("session")),
            text=line["text"],
            name=line.get("name"),
            created_at=now,
            updated_at=now,
            last_accessed=now,
            memory_type=MemoryType.MESSAGE if "session" in line else MemoryType.SEMANTIC,
        )
        for line in lines
    ]
    prepared = await Indexer(embedder=embedder).prepare(memories)
    await stores.memories.commit(
        Operation(
            id=user, tenant="default", kind=OperationKind.CREATE, actor="benchmark", at=now, changes=prepared.puts
        )
    )


async def _asked(service: SearchService, user: str, lines: Sequence[Line], mode: SearchMode) -> dict[str, float]:
    figures: list[dict[str, float]] = []
    criteria = MemoryFilter(selector=ScopeSelector("default", None, user))
    for line in lines:
        if "query" in line:
            page = await service.search(
                criteria, SearchQuery(text=line["query"], mode=mode, limit=50, recency=RecencyWeights())
            )
            figures.append(of_ranking([hit.memory.id for hit in page.hits], {line["id"]}))
    return averaged(figures)


def main() -> None:
    found = asyncio.run(measured(*sys.argv[1:2]))
    print(f"| kind | mode | {' | '.join(SHOWN)} |\n|{'---|' * (2 + len(SHOWN))}")
    lost = False
    for kind, by_mode in found.items():
        for mode, own in by_mode.items():
            print(f"| {kind} | {mode} | {' | '.join(f'{own[name]:.3f}' for name in SHOWN)} |")
        hybrid, keyword = by_mode[SearchMode.HYBRID], by_mode[SearchMode.KEYWORD]
        lost |= any(hybrid[name] < keyword[name] for name in SHOWN)
    sys.exit("hybrid lost to keyword search" if lost else 0)


if __name__ == "__main__":
    main()
