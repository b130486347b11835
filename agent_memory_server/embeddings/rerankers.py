"""Cross-encoders in this process, by the name that an operator gave; off unless one is named.

fastembed/NAME              the extra ``fastembed``: onnxruntime
sentence-transformers/NAME  the extra ``sentence-transformers``: torch

NAME is a model that the library downloads once, or a folder on this machine.
"""

from __future__ import annotations

import asyncio
import importlib
import math
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import Any

from agent_memory_server.errors import ConfigurationError, RerankerUnavailable
from agent_memory_server.ports.reranker import Reranker

Scoring = Callable[[str, Sequence[str]], Iterable[float]]
"""(query, texts) → the model's log-odds."""

_EXTRAS = ("fastembed", "sentence-transformers")


class CrossEncoder:
    """Scores in a worker thread, one query at a time: the libraries use all cores for one."""

    def __init__(self, *, model: str, scoring: Scoring) -> None:
        self.model = model
        self._scoring = scoring
        self._one_at_a_time = asyncio.Lock()

    async def chances(self, query: str, texts: Sequence[str], /) -> Sequence[float]:
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._chances, query, texts)

    async def close(self) -> None:
        """Nothing is held open."""

    def _chances(self, query: str, texts: Sequence[str]) -> list[float]:
        try:
            return [_chance(float(score)) for score in self._scoring(query, texts)]
        except Exception as error:  # whatever the library or its runtime raises
            raise RerankerUnavailable("the reranker failed on this query") from error


async def open_reranker(name: str | None) -> Reranker | None:
    """None when none is named. Raises ConfigurationError, with what to change, for one that cannot be had."""
    if name is None or not name.strip():
        return None
    library, _, model = name.strip().partition("/")
    if library not in _EXTRAS or not model:
        raise ConfigurationError(
            f"RERANKER_MODEL={name}: name fastembed/MODEL or sentence-transformers/MODEL, such as "
            "fastembed/Xenova/ms-marco-MiniLM-L-6-v2"
        )
    if find_spec(library.replace("-", "_")) is None:
        raise ConfigurationError(f"RERANKER_MODEL={name} needs an extra: pip install 'agent-memory-server[{library}]'")
    load = _fastembed if library == "fastembed" else _sentence_transformers
    try:
        return CrossEncoder(model=name.strip(), scoring=await asyncio.to_thread(load, model))
    except Exception as error:  # each library has its own errors for a model that cannot be downloaded or read
        raise ConfigurationError(f"RERANKER_MODEL={name} cannot be loaded: {error}") from error


def _fastembed(model: str) -> Scoring:
    module: Any = importlib.import_module("fastembed.rerank.cross_encoder")
    encoder = module.TextCrossEncoder(model_name=model)
    return lambda query, texts: encoder.rerank(query, list(texts))


def _sentence_transformers(model: str) -> Scoring:
    module: Any = importlib.import_module("sentence_transformers")
    torch: Any = importlib.import_module("torch")
    # Models differ in what they apply last; log-odds are wanted of all.
    encoder = module.CrossEncoder(model, activation_fn=torch.nn.Identity())
    return lambda query, texts: encoder.predict([(query, text) for text in texts])


def _chance(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, log_odds))))
