"""Cross-encoders by name: what is refused with a remedy, and what becomes of a library's scores."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent_memory_server.embeddings.rerankers import open_reranker
from agent_memory_server.errors import ConfigurationError, RerankerUnavailable

FASTEMBED = """
class TextCrossEncoder:
    def __init__(self, model_name):
        if model_name == "unknown":
            raise ValueError("no such model")

    def rerank(self, query, documents):
        if query == "fail":
            raise RuntimeError("out of memory")
        return (float(len(text)) - 5.0 for text in documents)
"""


@pytest.fixture
def fastembed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library in place of the real one, which would download a model."""
    folder = tmp_path / "fastembed" / "rerank"
    folder.mkdir(parents=True)
    (tmp_path / "fastembed" / "__init__.py").write_text("")
    (folder / "__init__.py").write_text("")
    (folder / "cross_encoder.py").write_text(FASTEMBED)
    for name in [each for each in sys.modules if each.partition(".")[0] == "fastembed"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)  # pyright: ignore[reportUnknownMemberType]


async def test_none_is_named() -> None:
    """Off is the default, and a blank name is off."""
    assert await open_reranker(None) is None
    assert await open_reranker(" ") is None


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("ms-marco", "fastembed/MODEL or sentence-transformers/MODEL"),
        ("fastembed/", "fastembed/MODEL"),
        ("sentence-transformers/x", "pip install 'agent-memory-server[sentence-transformers]'"),
    ],
)
async def test_what_cannot_be_had_says_what_to_do(name: str, remedy: str) -> None:
    """A library that is not named, a model that is not, and an extra that is missing."""
    with pytest.raises(ConfigurationError, match="RERANKER_MODEL") as refused:
        await open_reranker(name)
    assert remedy in str(refused.value)


@pytest.mark.usefixtures("fastembed")
async def test_scores_become_chances_and_failures_are_told() -> None:
    """Log-odds become chances; what the library raises becomes one error, when it is loaded and when it is asked."""
    reranker = await open_reranker("fastembed/good")
    assert reranker is not None
    low, middle, high = await reranker.chances("tea", ["tea", "green", "green tea at noon"])
    assert middle == 0.5
    assert 0 < low < middle < high < 1
    with pytest.raises(RerankerUnavailable):
        await reranker.chances("fail", ["tea"])
    await reranker.close()
    with pytest.raises(ConfigurationError, match="no such model"):
        await open_reranker("fastembed/unknown")
