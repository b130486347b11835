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
from benchmarks.retrieval.datasets import digest
from benchmarks.retrieval.figures import LEAST_SCORES, NAMES, RECALL_KEPT, at_least, averaged, least_that_keeps
from benchmarks.retrieval.samples import Sample

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
            "unanswerable": sum(len(sample.unanswerable) for sample in samples),
            "left_out": sum(sample.left_out for sample in samples),
        },
        "runs": list(runs),
    }


def run(
    way: str,
    index_s: float,
    answers: Mapping[str, Answers],
    again: Mapping[str, Answers] | None,
    without_recency: Sequence[Answers],
) -> JSON:
    """One way in: the figures of each system, of those that were asked a second time, and whether rankings are identical that
    were asked for one after the other without recency, which goes by the clock."""
    digests = [_rankings_digest(each) for each in without_recency]
    return {
        "rankings_without_recency_sha256": digests[0] if digests else None,
        "identical_when_asked_again": len(set(digests)) == 1 if digests else None,
        "rankings_without_recency": without_recency[0].scored if without_recency else None,
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
    if data["left_out"]:
        console.print(f"{data['left_out']} more questions name no message as their evidence and are left out")
    for each in found["runs"]:
        console.print(
            "\n".join([*_table(each), *_abstention_tables(each), *_identity(each)]),
            soft_wrap=True,
            highlight=False,
            markup=False,
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
        "recall_kept": _curve(answers) if answers.unanswerable else [],
        "rankings_sha256": _rankings_digest(answers),
    }


def _rankings_digest(answers: Answers) -> str:
    return hashlib.sha256(json.dumps(answers.rankings).encode()).hexdigest()


def _identity(found: JSON) -> list[str]:
    identical = found["identical_when_asked_again"]
    if identical is None:
        return []
    said = "byte-identical" if identical else "DIFFERENT"
    return [
        f"\nhybrid rankings asked for twice (recency off, which goes by the clock): {said}, "
        f"sha256 {found['rankings_without_recency_sha256'][:16]}"
    ]


def _abstention(answers: Answers) -> list[JSON]:
    """For each least score: what is lost of the evidence, how pure the page is, and which questions are answered with nothing."""
    return [{"min_score": least, **_at_least(answers, least)} for least in LEAST_SCORES]


def _curve(answers: Answers) -> list[JSON]:
    """The same where a given share of the recall is kept."""
    asked = list(zip(answers.scored, answers.evidence, strict=True))
    lines: list[JSON] = []
    for kept in RECALL_KEPT if asked else ():
        least = least_that_keeps(asked, kept)
        lines.append({"recall kept": kept, "min_score": least, **_at_least(answers, least)})
    return lines


def _at_least(answers: Answers, least: float) -> JSON:
    own = [at_least(scored, evidence, least) for scored, evidence in zip(answers.scored, answers.evidence, strict=True)]
    line: JSON = {}
    for name in ("R@10", "precision", "hits", "nothing"):
        line[name] = statistics.fmean(each[name] for each in own) if own else None
    for kind, asked in answers.unanswerable.items():
        nothing = [at_least(scored, (), least)["nothing"] for scored in asked]
        line[f"nothing, {kind}"] = statistics.fmean(nothing) if nothing else None
    return line


_HEADS = {
    "recall kept": "recall kept",
    "min_score": "`min_score`",
    "R@10": "R@10",
    "precision": "precision",
    "hits": "hits of 10",
    "nothing": "nothing: answerable",
    "nothing, adversarial": "nothing: adversarial",
    "nothing, foreign": "nothing: another conversation's",
}


def _abstention_tables(found: JSON) -> list[str]:
    hybrid = found["systems"].get("hybrid", {})
    table: list[str] = []
    for lines in (hybrid.get("min_score"), hybrid.get("recall_kept")):
        if lines:
            heads = {name: title for name, title in _HEADS.items() if name in lines[0]}
            table += [f"\nhybrid, first ten hits\n\n| {' | '.join(heads.values())} |", f"|{'---|' * len(heads)}"]
            table += [f"| {' | '.join(_cell(name, line[name]) for name in heads)} |" for line in lines]
    return table


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if name == "min_score" else f"{value:.2f}"


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
