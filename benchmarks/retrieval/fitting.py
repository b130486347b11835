"""``python -m benchmarks.retrieval.fitting DATA…``: fit the weights of ``domain.second_stage``, leaving one conversation out.

Each conversation is indexed in this process (with the bundled model, or that of ``--model``), and the signals of every
candidate of every question are taken from the search itself. For each fold the weights are fitted on the other conversations
(the likelihood that evidence is drawn first among the candidates, with a small penalty; Newton's method) and the figures are
those of the conversation that was left out. Last, the weights of all conversations with the calibration of the bias, beside
those that are shipped.

Nothing is written: rounded weights are put into ``domain/second_stage.py`` by hand, with a reason.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
from numpy.typing import NDArray

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Operation, OperationKind
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.second_stage import Scale, scale_of, signals
from agent_memory_server.embeddings.opening import BUNDLED, open_embedder
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.hybrid_search import HybridSearch
from agent_memory_server.services.indexing import Indexer
from agent_memory_server.stores.sqlite import open_sqlite
from benchmarks.retrieval.datasets import read_samples
from benchmarks.retrieval.figures import NAMES, averaged, of_ranking
from benchmarks.retrieval.samples import Sample

Numbers = NDArray[np.float64]
CANDIDATES_MAX = 300
"""The likeliest candidates of a question that are fitted on, and all evidence: about the pool, which the weights decide among."""
_PENALTY = 1e-3
_STEPS_MAX = 50
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: ids and signals of its candidates, which of them are evidence, and all its evidence."""

    ids: Sequence[str]
    values: Numbers
    is_evidence: NDArray[np.bool_]
    evidence: frozenset[str]
    scale: Scale


async def signals_of(samples: Sequence[Sample], folder: Path, model: str) -> list[list[Asked]]:
    """The questions of each conversation with the signals that a search computes."""
    now = datetime.now(UTC)
    stores = await open_sqlite(folder / "fitting.db", now=lambda: now)
    embedder = await open_embedder(model)
    try:
        return [await _asked(stores, embedder, sample, now) for sample in samples]
    finally:
        await stores.engine.close()


async def _asked(stores: Stores, embedder: Embedder, sample: Sample, now: datetime) -> list[Asked]:
    await _index(stores, embedder, sample, now)
    hybrid = HybridSearch(store=stores.memories, embedder=embedder)
    criteria = MemoryFilter(selector=ScopeSelector("default", None, sample.name))
    asked: list[Asked] = []
    for question in sample.questions:
        found = await hybrid.candidates(criteria, question.text, now=now)
        if found is None:
            continue
        keys = await stores.memories.keys(found.handles)
        ids = [keys[handle].id for handle in found.handles]
        is_evidence = np.array([identity in question.evidence for identity in ids])
        asked.append(Asked(ids, signals(found.candidates), is_evidence, question.evidence, scale_of(found.candidates)))
    return asked


async def _index(stores: Stores, embedder: Embedder, sample: Sample, now: datetime) -> None:
    memories = [
        Memory(
            id=message.id,
            scope=Scope("default", None, sample.name, session.session_id),
            text=message.content,
            name=message.name,
            created_at=message.created_at or now,
            updated_at=now,
            last_accessed=message.created_at or now,
            memory_type=MemoryType.MESSAGE,
        )
        for session in sample.sessions
        for message in session.messages
    ]
    indexer = Indexer(embedder=embedder)
    for start in range(0, len(memories), _BATCH):
        prepared = await indexer.prepare(memories[start : start + _BATCH])
        await stores.memories.commit(
            Operation(
                id=f"{sample.name}-{start}",
                tenant="default",
                kind=OperationKind.CREATE,
                actor="benchmark",
                at=now,
                changes=prepared.puts,
            )
        )


def fitted(questions: Sequence[Asked]) -> Numbers:
    """Weights that maximise the chance of drawing evidence first, a question counting as one whatever its evidence."""
    rows: list[Numbers] = []
    targets: list[Numbers] = []
    for each in questions:
        if each.is_evidence.any():
            likeliest = np.argsort(-(each.values @ each.scale.weights), kind="stable")[:CANDIDATES_MAX]
            kept = np.union1d(likeliest, np.flatnonzero(each.is_evidence))
            rows.append(each.values[kept])
            targets.append(each.is_evidence[kept] / each.is_evidence[kept].sum())
    table, target = np.concatenate(rows), np.concatenate(targets)
    sizes = np.array([len(each) for each in rows])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    mean, spread = table.mean(axis=0), table.std(axis=0)
    scaled = (table - mean) / np.where(spread > 0, spread, 1.0)
    weights: Numbers = np.zeros(len(questions[0].scale.signals))
    loss, chances = _likelihood(weights, scaled, target, sizes, starts)
    for _ in range(_STEPS_MAX):
        gradient = scaled.T @ (chances - target) / len(sizes) + 2 * _PENALTY * weights
        weighted = scaled * chances[:, np.newaxis]
        means = _summed(weighted, starts)
        curvature: Numbers = (scaled.T @ weighted - means.T @ means) / len(sizes) + 2 * _PENALTY * np.eye(len(weights))
        step = _solved(curvature, gradient)
        size = 1.0
        tried, tried_chances = _likelihood(weights - step, scaled, target, sizes, starts)
        while tried > loss and size > 1e-3:
            size /= 2
            tried, tried_chances = _likelihood(weights - size * step, scaled, target, sizes, starts)
        if loss - tried < 1e-7:
            break
        weights, loss, chances = weights - size * step, tried, tried_chances
    return weights / np.where(spread > 0, spread, 1.0)


def _solved(matrix: Numbers, vector: Numbers) -> Numbers:
    return cast(Any, np.linalg.solve)(matrix, vector)


def _summed(values: Numbers, starts: NDArray[np.int64]) -> Numbers:
    """Sums of the rows of each question."""
    return cast(Any, np.add.reduceat)(values, starts, axis=0)


def _likelihood(
    weights: Numbers, table: Numbers, target: Numbers, sizes: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[float, Numbers]:
    scores = table @ weights
    scores -= np.repeat(np.maximum.reduceat(scores, starts), sizes)
    odds = np.exp(scores)
    totals = np.repeat(_summed(odds, starts), sizes)
    loss = -float((target * (scores - np.log(totals))).sum()) / len(sizes) + _PENALTY * float(weights @ weights)
    return loss, odds / totals


def calibrated(questions: Sequence[Asked], weights: Numbers) -> tuple[float, float]:
    """(scale, bias) of the logistic that turns the weighted sum into the chance of being evidence."""
    sums = np.concatenate([each.values @ weights for each in questions])
    target = np.concatenate([each.is_evidence for each in questions]).astype(np.float64)
    design = np.stack([sums, np.ones(len(sums))], axis=1)
    found: Numbers = np.array([1.0, -float(np.percentile(sums, 99.9))])
    for _ in range(_STEPS_MAX):
        chances = 1 / (1 + np.exp(-(design @ found)))
        gradient = design.T @ (chances - target)
        curvature: Numbers = (design * (chances * (1 - chances))[:, np.newaxis]).T @ design + 1e-9 * np.eye(2)
        step = _solved(curvature, gradient)
        found = found - step
        if float(np.abs(step).max()) < 1e-9:
            break
    return float(found[0]), float(found[1])


def figures(questions: Sequence[Asked], weights: Numbers) -> list[dict[str, float]]:
    return [
        of_ranking([each.ids[place] for place in best_first], each.evidence)
        for each in questions
        for best_first in [_best_first(each, weights)]
    ]


def _best_first(asked: Asked, weights: Numbers) -> list[int]:
    return np.argsort(-(asked.values @ weights), kind="stable").tolist()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--model", default=BUNDLED, show_default=True, help="The embedding model, as EMBEDDING_MODEL names it.")
def main(*, files: tuple[Path, ...], model: str) -> None:
    """Figures fold by fold, and the weights; FILES in the formats of ``datasets.py``."""
    samples = list(itertools.chain.from_iterable(read_samples(path) for path in files))
    if len(samples) < 2:
        raise click.UsageError("leaving one out needs two conversations or more")
    with tempfile.TemporaryDirectory(prefix="fitting-") as name:
        by_sample = asyncio.run(signals_of(samples, Path(name), model))
    scale_shipped = next(asked.scale for each in by_sample for asked in each)
    heads = [*NAMES, *scale_shipped.signals]
    click.echo(f"| left out | {' | '.join(heads)} |\n|{'---|' * (1 + len(heads))}")
    left_out: list[dict[str, float]] = []
    for number, sample in enumerate(samples):
        others = [each for place, asked in enumerate(by_sample) if place != number for each in asked]
        weights = fitted(others)
        left_out += (own := figures(by_sample[number], weights))
        scale, _ = calibrated(others, weights)
        click.echo(_row(sample.name, averaged(own), weights * scale))
    everything = [each for asked in by_sample for each in asked]
    weights = fitted(everything)
    scale, bias = calibrated(everything, weights)
    click.echo(_row("**mean, each left out**", averaged(left_out)))
    click.echo(_row(f"none: fitted on all, bias {bias:.2f}", averaged(figures(everything, weights)), weights * scale))
    shipped = scale_shipped.weights
    title = f"none: as shipped, bias {scale_shipped.bias:.2f}"
    click.echo(_row(title, averaged(figures(everything, shipped)), shipped))
    click.echo("as shipped, calibrated: scale {:.2f}, bias {:.2f}".format(*calibrated(everything, shipped)))


def _row(title: str, found: dict[str, float], weights: Numbers | None = None) -> str:
    cells = [f"{found[name]:.3f}" for name in NAMES] + ([] if weights is None else [f"{each:.1f}" for each in weights])
    return f"| {title} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
