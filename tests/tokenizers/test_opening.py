"""Counting tokens never touches the network and never fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory_server.tokenizers.opening import EstimatingTokenizer, open_tokenizer


@pytest.mark.parametrize(("text", "count"), [("", 0), ("a", 1), ("four", 1), ("fives", 2), ("x" * 4_000, 1_000)])
def test_the_estimate(text: str, count: int) -> None:
    """A token for every four characters begun."""
    assert EstimatingTokenizer().count(text) == count


@given(st.text())
def test_any_text_is_counted(text: str) -> None:
    """At least one token for a text that is not empty, whatever it holds."""
    assert (EstimatingTokenizer().count(text) >= 1) == bool(text)


def test_without_a_vocabulary_on_disk_it_estimates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No vocabulary, or a damaged one that tiktoken would download anew: the estimate, not the network."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert isinstance(open_tokenizer(), EstimatingTokenizer)
    (tmp_path / "9b5ad71b2ce5302211f9c61530b329a4922fc6a4").write_bytes(b"damaged")
    assert isinstance(open_tokenizer(), EstimatingTokenizer)
