"""The benchmarks run to their end on a small size, so that they do not rot; their figures are not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.running import ROOT, figures_of
from tests.redis_server import RedisServer

pytestmark = pytest.mark.long


def test_scale_measures_every_size(tmp_path: Path) -> None:
    """The scale benchmark finds hits at each size in every mode and says how large the files are; filled stores can be kept."""
    kept = tmp_path / "kept"
    found = figures_of(tmp_path, "benchmarks.scale", "--sizes", "300,900", "--queries", "8", "--keep", str(kept))
    assert [step["memories"] for step in found["steps"]] == [300, 900]
    for step in found["steps"]:
        assert all(each["found"] > 0 for kind in ("user", "everything") for each in step["search"][kind].values())
        assert step["file_bytes"] == (kept / str(step["memories"]) / "memory.db").stat().st_size


def test_background_compacts_without_embedding_and_counts_calls(tmp_path: Path) -> None:
    """Every duplicate goes without a text being embedded, an idle run looks at nothing, and messages become memories."""
    found = figures_of(tmp_path, "benchmarks.background", "--quick")
    for run in found["compaction"]:
        assert run["superseded"] >= run["memories"] // 100
        assert run["texts_embedded"] == 0
        assert 0 < run["idle_ms"] < run["first_s"] * 1000
    for flow in found["flow"]:
        assert flow["memories"] > flow["messages"] // 2
        assert flow["messages_per_s"] > 0


def test_history_costs_little_and_is_found(tmp_path: Path) -> None:
    """What the journal adds to a write, one history among many operations, and each question now and as of then."""
    asked = ("--engine", "sqlite", "--sizes", "200", "--operations", "5000", "--rounds", "10")
    found = figures_of(tmp_path, "benchmarks.history", *asked)["engines"]["sqlite"]
    assert found["history_ms"] > 0
    assert found["operations"] == 5000
    assert all(cost["with_ms"] > 0 < cost["without_ms"] for cost in found["writes"].values())
    assert {each["question"] for each in found["compared"]} > {"semantic search", "hybrid search", "listing", "by id"}
    assert all(each["then_ms"] > 0 for each in found["compared"])


def test_thresholds_judges_every_installed_model(tmp_path: Path) -> None:
    """The rules part most look-alikes and few paraphrases, and the thresholds in use find most duplicates."""
    found = figures_of(tmp_path, "benchmarks.thresholds", "--model", "wordllama")
    assert found["pairs"] >= 80
    assert found["rules"]["parted"] > 0.75
    assert found["rules"]["by_mistake"] < 0.15
    (lines,) = (value for name, value in found.items() if name.startswith("wordllama"))
    in_use = next(line for line in lines if line["threshold"] == 0.4)
    assert in_use["recall"] > 0.9
    assert in_use["precision_with_rules"] > 0.8


def test_retrieval_asks_over_the_api(tmp_path: Path) -> None:
    """The shipped conversation goes in both ways, every question is asked of every system, and evidence is found; another server
    gives byte-identical rankings."""
    found = figures_of(tmp_path, "benchmarks.retrieval", "examples/conversation.json", "--again")
    assert [len(run["systems"]) for run in found["runs"]] == [4, 4]
    for run in found["runs"]:
        assert run["systems"]["hybrid"]["questions"] == found["data"]["questions"] > 0
        assert run["systems"]["hybrid"]["figures"]["R@10"] > 0.5
        assert run["again"]["hybrid"]["figures"].keys() == run["systems"]["hybrid"]["figures"].keys()
        assert run["systems"]["hybrid"]["min_score"][0]["R@10"] > 0.5
        assert run["embedding_model"].startswith("wordllama")
        assert run["identical_when_asked_again"] is True
        kept = run["systems"]["hybrid"]["recall_kept"]
        assert [line["recall kept"] for line in kept] == [0.99, 0.95, 0.9, 0.8]
        assert all(line["R@10"] >= line["recall kept"] * kept[0]["R@10"] - 1e-9 for line in kept)
    once_more = figures_of(
        tmp_path, "benchmarks.retrieval", "examples/conversation.json", "--only", "hybrid", "--way", "b"
    )
    first, second = (each["runs"][0]["systems"]["hybrid"]["rankings_sha256"] for each in (found, once_more))
    assert first == second
    assert found["data"]["sha256"] == once_more["data"]["sha256"]


def test_retrieval_says_what_hybrid_search_adds(tmp_path: Path) -> None:
    """Both searches are timed in turns, and the difference is told by the clock and by processor time."""
    found = figures_of(tmp_path, "benchmarks.retrieval.cost", "--memories", "300", "--queries", "8")
    assert found["search"].keys() == {"semantic", "hybrid"}
    assert found["added"]["p50_ms"] == found["search"]["hybrid"]["p50_ms"] - found["search"]["semantic"]["p50_ms"]


def test_hybrid_does_not_lose_on_other_kinds_of_text() -> None:
    """On short facts, notes and chats with an assistant hybrid search finds at least what keyword search finds."""
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.retrieval.smoke"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_migrate_carries_and_copies_everything(tmp_path: Path) -> None:
    """Each command ends well, and the time and the memory that it took are known."""
    found = figures_of(tmp_path, "benchmarks.migrate", "--quick")
    assert [run["memories"] for run in found["runs"]] == [200] * 4
    for run in found["runs"]:
        assert run["per_s"] > 0, run["title"]
        assert run["peak_mib"] < 400, run["title"]


@pytest.mark.parametrize("engine", ["sqlite", "redis"])
def test_transfer_takes_out_what_it_takes_in(tmp_path: Path, engine: str) -> None:
    """Exports, imports and an erasure of everything, beside what a user would write otherwise; and searches of then."""
    if engine == "redis":
        RedisServer(tmp_path)  # skips where there is none
    found = figures_of(tmp_path, "benchmarks.transfer", "--memories", "600", "--rounds", "3", "--engine", engine)
    figures = found["engines"][engine]
    assert {"export", "import", "import once more", "erasing a user"} < {each["title"] for each in figures["work"]}
    assert all(each["memories"] >= 500 for each in figures["work"])
    assert all(each["then_ms"] > 0 for each in figures["searches"].values())
