"""The tables that a person reads and the document that a script reads."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from agent_memory_server import __version__
from benchmarks.processes import machine
from benchmarks.retrieval.asking import SYSTEMS, Answers
from benchmarks.retrieval.datasets import Sample, digest
from benchmarks.retrieval.figures import LEAST_SCORES, NAMES, at_least, averaged

JSON = dict[str, Any]


def document(path: Path, samples: Sequence[Sample], runs: Sequence[JSON]) -> JSON:
    """Everything that was measured, with what it was measured on."""
    return {
        "versions": {"agent_memory_server": __version__, "numpy": np.__version__},
        "machine": machine(),
        "data": {
            "file": path.name,
            "sha256": digest(path),
            "conversations": len(samples),
            "messages": sum(sample.messages for sample in samples),
            "questions": sum(len(sample.questions) for sample in samples),
        },
        "runs": list(runs),
    }


def run(way: str, index_s: float, answers: Mapping[str, Answers], again: Mapping[str, Answers] | None) -> JSON:
    """One way in: the figures of each system, and of those that were asked a second time."""
    return {
        "way": way,
        "index_s": index_s,
        "systems": {system: _system(each) for system, each in answers.items()},
        "again": {system: _system(each) for system, each in (again or {}).items()},
    }


def show(found: JSON, console: Console) -> None:
    data = found["data"]
    console.print(
        f"\n[bold]Retrieval[/bold]: {data['file']} ({data['sha256'][:12]}), {data['conversations']} conversations, "
        f"{data['messages']:,} messages, {data['questions']:,} questions, over the API"
    )
    for each in found["runs"]:
        console.print(
            "\n".join([*_table(each), *_abstention_table(each)]), soft_wrap=True, highlight=False, markup=False
        )


def _system(answers: Answers) -> JSON:
    categories = sorted(set(answers.categories))
    return {
        "questions": len(answers.figures),
        "figures": averaged(answers.figures),
        "R@10 by category": {
            category: statistics.fmean(
                each["R@10"] for each, own in zip(answers.figures, answers.categories, strict=True) if own == category
            )
            for category in categories
        },
        "p50_ms": 1000 * float(np.percentile(answers.seconds, 50)) if answers.seconds else None,
        "p95_ms": 1000 * float(np.percentile(answers.seconds, 95)) if answers.seconds else None,
        "min_score": _abstention(answers) if answers.unanswerable else [],
        "rankings_sha256": hashlib.sha256(json.dumps(answers.rankings).encode()).hexdigest(),
    }


def _abstention(answers: Answers) -> list[JSON]:
    """For each least score: what is lost of the evidence, how pure the page is, and which questions are answered with nothing."""
    lines: list[JSON] = []
    for least in LEAST_SCORES:
        own = [
            at_least(scored, evidence, least) for scored, evidence in zip(answers.scored, answers.evidence, strict=True)
        ]
        line: JSON = {"min_score": least}
        for name in ("R@10", "precision", "hits", "nothing"):
            line[name] = statistics.fmean(each[name] for each in own) if own else None
        for kind, asked in answers.unanswerable.items():
            nothing = [at_least(scored, (), least)["nothing"] for scored in asked]
            line[f"nothing, {kind}"] = statistics.fmean(nothing) if nothing else None
        lines.append(line)
    return lines


def _abstention_table(found: JSON) -> list[str]:
    lines: list[JSON] = found["systems"]["hybrid"]["min_score"] if "hybrid" in found["systems"] else []
    if not lines:
        return []
    heads = {
        "min_score": "`min_score`",
        "R@10": "R@10",
        "precision": "precision",
        "hits": "hits of 10",
        "nothing": "nothing: answerable",
        "nothing, adversarial": "nothing: adversarial",
        "nothing, foreign": "nothing: another conversation's",
    }
    table = [f"\nhybrid, first ten hits\n\n| {' | '.join(heads.values())} |", f"|{'---|' * len(heads)}"]
    for line in lines:
        cells = ["–" if line.get(name) is None else f"{line[name]:.2f}" for name in heads]
        table.append(f"| {' | '.join(cells)} |")
    return table


def _table(found: JSON) -> list[str]:
    """Markdown, so that it can be pasted where figures are told."""
    categories = sorted({name for each in found["systems"].values() for name in each["R@10 by category"]})
    head = ["system", *NAMES, *(f"R@10 {category}" for category in categories), "p50 ms", "p95 ms"]
    rows = [(SYSTEMS[system], each) for system, each in found["systems"].items()]
    rows += [(f"{SYSTEMS[system]}, asked again", each) for system, each in found["again"].items()]
    lines = [
        f"\n{found['way']}; {found['engine']}, {found['embedding_model']}; indexed in {found['index_s']:.1f} s, server "
        f"{(found['server_bytes'] or 0) / 2**20:.0f} MiB\n",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for title, each in rows:
        if each["figures"]:
            cells = [f"{each['figures'][name]:.3f}" for name in NAMES]
            cells += [f"{each['R@10 by category'].get(category, float('nan')):.3f}" for category in categories]
            cells += [f"{each['p50_ms']:.1f}", f"{each['p95_ms']:.1f}"]
            lines.append(f"| {' | '.join([title, *cells])} |")
    return lines
