"""``python -m benchmarks.retrieval.cost``: what hybrid search costs beside a plain vector search, for one user's memories.

In this process, without HTTP, as both would pay for it alike: messages of sessions with speakers, searched for ten hits with
recency on, the two modes taking turns so that a busy machine slows both. Wall clock and processor time of each search, their
medians, and the difference.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import numpy as np

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Operation, OperationKind
from agent_memory_server.domain.recency import RecencyWeights
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.search import SearchMode, SearchQuery
from agent_memory_server.embeddings.opening import BUNDLED, open_embedder
from agent_memory_server.services.indexing import Indexer
from agent_memory_server.services.search import SearchService
from agent_memory_server.stores.opening import open_stores
from benchmarks.engines import ENGINES, engine
from benchmarks.processes import machine
from benchmarks.texts import query, text

_BATCH = 500
_A_SESSION = 40
_SPEAKERS = ("Ana", "Ben")
_WARM_UP = 10
_MODES = (SearchMode.SEMANTIC, SearchMode.HYBRID)
_USER = "somebody"
Times = dict[SearchMode, list[tuple[float, float]]]
"""Of each search (wall clock, processor) in milliseconds."""


async def measured(memories: int, queries: int, model: str, engine_name: str) -> tuple[str, Times]:
    """The model's name, and what each search took."""
    now = datetime.now(UTC)
    times: Times = {mode: [] for mode in _MODES}
    with tempfile.TemporaryDirectory(prefix="cost-") as folder, engine(engine_name, Path(folder)) as found:
        stores = await open_stores(found.storage_url, now=lambda: now)
        embedder = await open_embedder(model)
        try:
            indexer = Indexer(embedder=embedder)
            for start in range(0, memories, _BATCH):
                batch = [_message(number, now) for number in range(start, min(memories, start + _BATCH))]
                changes = (await indexer.prepare(batch)).puts
                await stores.memories.commit(
                    Operation(
                        id=str(start),
                        tenant="default",
                        kind=OperationKind.CREATE,
                        actor="benchmark",
                        at=now,
                        changes=changes,
                    )
                )
            service = SearchService(store=stores.memories, embedder=embedder, now=lambda: now)
            for number in range(-_WARM_UP, queries):
                asked = f"What did {_SPEAKERS[number % 2]} say about {query(number + _WARM_UP)}?"
                for mode in _MODES:
                    took = await _searched(service, asked, mode)
                    if number >= 0:
                        times[mode].append(took)
        finally:
            await stores.engine.close()
        return embedder.model, times


def _message(number: int, now: datetime) -> Memory:
    said_at = now - timedelta(minutes=10_000 * 10 - number)
    return Memory(
        id=f"m{number}",
        scope=Scope("default", None, _USER, f"session-{number // _A_SESSION}"),
        text=text(number),
        name=_SPEAKERS[number % 2],
        created_at=said_at,
        updated_at=now,
        last_accessed=said_at,
        memory_type=MemoryType.MESSAGE,
    )


async def _searched(service: SearchService, asked: str, mode: SearchMode) -> tuple[float, float]:
    criteria = MemoryFilter(selector=ScopeSelector("default", None, _USER))
    wall, processor = time.perf_counter(), time.process_time()
    await service.search(criteria, SearchQuery(text=asked, mode=mode, limit=10, recency=RecencyWeights()))
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - processor)


def _percentile(found: Sequence[tuple[float, float]], part: int, percent: int) -> float:
    return float(np.percentile([each[part] for each in found], percent))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--memories", default=10_000, show_default=True, help="Messages of one user.")
@click.option("--queries", default=200, show_default=True)
@click.option("--model", default=BUNDLED, show_default=True, help="The embedding model, as EMBEDDING_MODEL names it.")
@click.option("--engine", "engine_name", type=click.Choice(ENGINES), default="sqlite", show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(*, memories: int, queries: int, model: str, engine_name: str, json_file: Path | None) -> None:
    """What hybrid search adds to a plain vector search; a model of its own takes some minutes to embed the messages."""
    name, times = asyncio.run(measured(memories, queries, model, engine_name))
    found = {
        mode.value: {
            "p50_ms": _percentile(took, 0, 50),
            "p95_ms": _percentile(took, 0, 95),
            "processor_p50_ms": _percentile(took, 1, 50),
        }
        for mode, took in times.items()
    }
    plain, hybrid = found["semantic"], found["hybrid"]
    added = {key: hybrid[key] - plain[key] for key in ("p50_ms", "processor_p50_ms")}
    click.echo(f"{memories:,} messages of one user, {queries} queries, {name}, {engine_name}\n")
    click.echo("| search | p50 ms | p95 ms | processor p50 ms |\n|---|---|---|---|")
    for mode, each in found.items():
        click.echo(f"| {mode} | {each['p50_ms']:.1f} | {each['p95_ms']:.1f} | {each['processor_p50_ms']:.1f} |")
    click.echo(f"| **hybrid adds** | {added['p50_ms']:.1f} | | {added['processor_p50_ms']:.1f} |")
    if json_file is not None:
        told = {
            "machine": machine(),
            "memories": memories,
            "model": name,
            "engine": engine_name,
            "search": found,
            "added": added,
        }
        json_file.write_text(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
