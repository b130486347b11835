"""From weights of a text's characters to weights of a tokenizer's tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.ports.embedder import WeightedSpan


def encodable(text: str) -> str:
    """The text without lone surrogates, which UTF-8 cannot encode and tokenizers refuse; as long as it was."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def token_weights(text: str, spans: Sequence[WeightedSpan], offsets: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """One weight a token; those outside all spans weigh nothing.

    A token may begin with the space before its word, so its last character tells which word it belongs to.
    """
    characters = np.zeros(len(text) + 1, dtype=np.float32)
    for span in spans:
        characters[span.start : span.end] = span.weight
    return characters[np.asarray(offsets, dtype=np.int64).reshape(-1, 2)[:, 1] - 1]
