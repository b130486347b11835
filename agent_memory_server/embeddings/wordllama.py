"""The bundled model: wordllama's 256-dimensional token vectors, pooled in this process. No network, no download.

Only the two data files of the ``wordllama`` package are read, never its code, which would import an HTTP client, validate
training configurations and configure logging (half a second and 40 MB). A text's vector is the mean of its tokens'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType]
from tokenizers import Tokenizer

from agent_memory_server.domain.operations import Vector
from agent_memory_server.embeddings.spans import encodable, token_weights
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.ports.embedder import WeightedSpan

MODEL = "wordllama/l2_supercat_256"
_WEIGHTS = Path("weights") / "l2_supercat_256.safetensors"
_TOKENIZER = Path("tokenizers") / "l2_supercat_tokenizer_config.json"

_INLINE_CHARACTERS_MAX = 50_000
"""As much is embedded on the event loop (some 5 ms); more goes to a thread in portions of this size."""


class WordLlamaEmbedder:
    """Safe for use from several threads: the tokenizer and the table are only read."""

    model = MODEL
    is_local = True

    def __init__(self, tokenizer: Tokenizer, table: NDArray[np.float16]) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._table = table
        self._known = _known_tokens(tokenizer, len(table))

    @classmethod
    def load(cls) -> WordLlamaEmbedder:
        """Read the files. Raises ConfigurationError when the package or one of its files is missing or broken."""
        package = find_spec("wordllama")
        if package is None or not package.submodule_search_locations:
            raise ConfigurationError("EMBEDDING_MODEL=wordllama needs the package wordllama, which is not installed")
        folder = Path(package.submodule_search_locations[0])
        try:
            tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
            table = load_file(folder / _WEIGHTS)["embedding.weight"].astype(np.float16, copy=False)
        except Exception as error:  # tokenizers raises nothing narrower
            raise ConfigurationError("the weights of the wordllama package cannot be read: reinstall it") from error
        return cls(tokenizer, table)

    async def embed(self, texts: Sequence[str], /, *, is_query: bool = False) -> Sequence[Vector | None]:  # noqa: ARG002 - the port's
        """None for a text without any token that the model knows (emoji alone, scripts beyond its vocabulary)."""
        if sum(map(len, texts)) <= _INLINE_CHARACTERS_MAX:
            return self._embed_all(texts)
        vectors: list[Vector | None] = []
        for portion in _portions(texts):
            vectors += await asyncio.to_thread(self._embed_all, portion)
        return vectors

    def _embed_all(self, texts: Sequence[str]) -> list[Vector | None]:
        return [self.embed_one(text) for text in texts]

    async def embed_weighted(self, text: str, spans: Sequence[WeightedSpan], /) -> Vector | None:
        encoding = self._tokenizer.encode(encodable(text), add_special_tokens=False)
        if not encoding.ids:
            return None
        return self._pooled(np.asarray(encoding.ids, dtype=np.int64), token_weights(text, spans, encoding.offsets))

    def embed_one(self, text: str) -> Vector | None:
        ids = np.asarray(self._tokenizer.encode(encodable(text), add_special_tokens=False).ids, dtype=np.int64)
        return self._pooled(ids, None)

    def _pooled(self, ids: NDArray[np.int64], weights: Vector | None) -> Vector | None:
        known = self._known[ids]
        if weights is not None:
            known &= weights > 0
            weights = weights[known]
        ids = ids[known]
        if not len(ids):
            return None
        tokens = self._table[ids].astype(np.float32)
        pooled: Vector = tokens.sum(axis=0) if weights is None else weights @ tokens
        norm = float(np.sqrt(pooled @ pooled))
        return pooled / np.float32(norm) if norm > 0 else None

    async def close(self) -> None:
        """Nothing is held open."""


def _known_tokens(tokenizer: Tokenizer, size: int) -> NDArray[np.bool_]:
    """Which tokens stand for text: not the control tokens, a bare space, or the raw bytes of what is not in the vocabulary."""
    known = np.ones(size, dtype=np.bool_)
    for token, identity in tokenizer.get_vocab(with_added_tokens=True).items():
        if identity < size and (token.startswith("<0x") or token in ("<unk>", "<s>", "</s>") or not token.strip("▁")):
            known[identity] = False
    return known


def _portions(texts: Sequence[str]) -> list[list[str]]:
    portions: list[list[str]] = [[]]
    characters = 0
    for text in texts:
        if characters + len(text) > _INLINE_CHARACTERS_MAX and portions[-1]:
            portions.append([])
            characters = 0
        portions[-1].append(text)
        characters += len(text)
    return portions
