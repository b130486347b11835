"""The bundled model: wordllama's 256-dimensional token vectors, pooled in this process. No network, no download.

Only the two data files of the ``wordllama`` package are read, never its code: they are beside this module where it was installed
from a wheel (``hatch_build.py`` puts them there), else in the package itself. A text's vector is the mean of its tokens'.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from agent_memory_server.domain.operations import Vector
from agent_memory_server.embeddings.spans import encodable, token_weights
from agent_memory_server.embeddings.subwords import Subwords
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.ports.embedder import WeightedSpan

MODEL = "wordllama/l2_supercat_256"
_BESIDE = Path(__file__).parent / "bundled"
_WEIGHTS = Path("weights") / "l2_supercat_256.safetensors"
_TOKENIZER = Path("tokenizers") / "l2_supercat_tokenizer_config.json"

_INLINE_CHARACTERS_MAX = 8_000
"""As much is embedded on the event loop (some 1 ms; 40 ms where no word is set apart, as in Chinese). More goes to a thread."""
_PORTION_CHARACTERS = 50_000
"""What a thread is given at a time."""


class WordLlamaEmbedder:
    """Safe for use from several threads: the vocabulary and the table are only read."""

    model = MODEL
    is_local = True

    def __init__(self, subwords: Subwords, table: NDArray[np.float16]) -> None:
        self._subwords = subwords
        self._table = table
        self._known = np.array(subwords.known(len(table)), dtype=np.bool_)

    @classmethod
    def load(cls) -> WordLlamaEmbedder:
        """Read the files. Raises ConfigurationError when they are missing or broken."""
        folder = _folder()
        try:
            subwords = Subwords.of_file(orjson.loads((folder / _TOKENIZER).read_bytes()))
            table = _table(folder / _WEIGHTS)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError("the files of the bundled embedding model cannot be read: reinstall") from error
        return cls(subwords, table)

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
        if len(text) <= _INLINE_CHARACTERS_MAX:
            return self._embed_weighted(text, spans)
        return await asyncio.to_thread(self._embed_weighted, text, spans)

    def _embed_weighted(self, text: str, spans: Sequence[WeightedSpan]) -> Vector | None:
        placed = self._subwords.placed(encodable(text))
        if not placed:
            return None
        ends = [(0, each.last + 1) for each in placed]
        return self._pooled(np.array([each.id for each in placed], dtype=np.int64), token_weights(text, spans, ends))

    def embed_one(self, text: str) -> Vector | None:
        return self._pooled(np.array(self._subwords.ids(encodable(text)), dtype=np.int64), None)

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


def _folder() -> Path:
    if _BESIDE.is_dir():
        return _BESIDE
    package = find_spec("wordllama")
    if package is None or not package.submodule_search_locations:
        raise ConfigurationError(
            "the files of the bundled embedding model are missing: install this server with pip, which brings them, "
            "or the package wordllama beside it"
        )
    return Path(package.submodule_search_locations[0])


def _table(path: Path) -> NDArray[np.float16]:
    """The only tensor of a safetensors file: eight bytes say how long the description is, which says where the numbers are.

    The file stays where it is, and what of it is used comes into memory by itself."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        tensor = json.loads(file.read(length))["embedding.weight"]
    if tensor["dtype"] != "F16":
        raise ValueError(f"the vectors are {tensor['dtype']}, not F16")
    begin, _ = tensor["data_offsets"]
    return np.memmap(path, dtype="<f2", mode="r", offset=8 + length + begin, shape=tuple(tensor["shape"]))


def _portions(texts: Sequence[str]) -> list[list[str]]:
    portions: list[list[str]] = [[]]
    characters = 0
    for text in texts:
        if characters + len(text) > _PORTION_CHARACTERS and portions[-1]:
            portions.append([])
            characters = 0
        portions[-1].append(text)
        characters += len(text)
    return portions
