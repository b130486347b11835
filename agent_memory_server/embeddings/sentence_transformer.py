"""A sentence-transformer folder on this machine (``local:/path``), computed in this process without a framework.

Read: ``config.json``, ``tokenizer.json``, ``1_Pooling/config.json``, ``sentence_bert_config.json`` and the weights:
``onnx/model.onnx`` (or ``model.onnx``) when onnxruntime is installed, else ``model.safetensors``. Mean and first-token pooling.
Nothing is downloaded.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from agent_memory_server.domain.operations import Vector
from agent_memory_server.domain.token_vectors import packed
from agent_memory_server.domain.tokens import telling_spans
from agent_memory_server.embeddings.bert import BertEncoder, Floats, Integers
from agent_memory_server.embeddings.spans import encodable, token_weights
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.ports.embedder import QueryTokens, WeightedSpan

Encoder = Callable[[Integers, Integers], Floats]
"""(ids, mask) of shape (texts, tokens) to token vectors of shape (texts, tokens, dimensions)."""

_ONNX_FILES = ("onnx/model.onnx", "model.onnx")
_SAFETENSORS_FILE = "model.safetensors"
_BATCH_SIZE = 16
_FORM = "+tokens"
"""Part of the model's name: what was embedded without its tokens is embedded anew."""
_FINGERPRINT_SLICE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class _Folder:
    config: dict[str, Any]
    pooling: Literal["mean", "first"]
    tokens_max: int
    prompts: dict[str, str]


class SentenceTransformerEmbedder:
    """Computes in a worker thread, several texts at a time; safe for concurrent use."""

    is_local = True

    def __init__(self, *, model: str, tokenizer: Tokenizer, encoder: Encoder, folder: _Folder) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._folder = folder

    @classmethod
    def load(cls, path: str) -> SentenceTransformerEmbedder:
        """Raises ConfigurationError, with what is missing, for a folder that is not such a model."""
        root = Path(path).expanduser()
        if not root.is_dir():
            raise ConfigurationError(f"EMBEDDING_MODEL=local:{path} names no folder")
        folder = _read_folder(root)
        try:
            tokenizer = Tokenizer.from_file(str(root / "tokenizer.json"))
        except Exception as error:  # tokenizers raises nothing narrower
            raise ConfigurationError(f"EMBEDDING_MODEL=local:{path}: tokenizer.json is missing or broken") from error
        tokenizer.enable_truncation(folder.tokens_max)  # pyright: ignore[reportUnknownMemberType]
        tokenizer.no_padding()
        weights, encoder = _load_encoder(root, folder)
        return cls(
            model=f"local/{root.resolve().name}@{_fingerprint(weights)}{_FORM}",
            tokenizer=tokenizer,
            encoder=encoder,
            folder=folder,
        )

    async def embed(self, texts: Sequence[str], /, *, is_query: bool = False) -> Sequence[Vector | None]:
        """None for a blank text. Longer texts than the model's window are cut to it."""
        return await asyncio.to_thread(self._embed, texts, is_query=is_query)

    async def embed_weighted(self, text: str, spans: Sequence[WeightedSpan], /) -> Vector | None:
        """Pools token vectors by weight; a model that pools by its first token answers without weights."""
        return await asyncio.to_thread(self._embed_weighted, text, spans)

    async def embed_with_tokens(self, texts: Sequence[str], /) -> Sequence[tuple[Vector | None, bytes | None]]:
        """One pass of the encoder gives both; tokens of stop words and punctuation are not kept."""
        return await asyncio.to_thread(self._embed_with_tokens, texts)

    async def embed_query_tokens(
        self, text: str, spans: Sequence[WeightedSpan], /
    ) -> tuple[Vector | None, QueryTokens | None]:
        """As ``embed_weighted``, with the tokens of the same pass."""
        return await asyncio.to_thread(self._embed_query_tokens, text, spans)

    async def close(self) -> None:
        """Nothing is held open."""

    def _embed(self, texts: Sequence[str], *, is_query: bool) -> list[Vector | None]:
        vectors: list[Vector | None] = [None] * len(texts)
        for place, _, states in self._encoded(texts, self._folder.prompts.get("query" if is_query else "document", "")):
            vectors[place] = self._pooled(states)
        return vectors

    def _embed_with_tokens(self, texts: Sequence[str]) -> list[tuple[Vector | None, bytes | None]]:
        prompt = self._folder.prompts.get("document", "")
        found: list[tuple[Vector | None, bytes | None]] = [(None, None)] * len(texts)
        for place, encoding, states in self._encoded(texts, prompt):
            kept = _telling_tokens(prompt + encodable(texts[place]), encoding, start=len(prompt))
            vector = self._pooled(states)
            found[place] = (vector, packed(states[kept]) if vector is not None and len(kept) else None)
        return found

    def _encoded(self, texts: Sequence[str], prompt: str) -> Iterator[tuple[int, Encoding, Floats]]:
        """Each text that is not blank: its place, its tokens, and their vectors of shape (tokens, dimensions)."""
        encodings = [self._tokenizer.encode(prompt + encodable(text)) if text.strip() else None for text in texts]
        # Texts of like length together: a batch costs as much as its longest text times its size.
        found = [(place, encoding) for place, encoding in enumerate(encodings) if encoding is not None]
        found.sort(key=lambda each: len(each[1].ids))
        for start in range(0, len(found), _BATCH_SIZE):
            batch = found[start : start + _BATCH_SIZE]
            ids, mask = _padded([encoding.ids for _, encoding in batch])
            states = self._encoder(ids, mask)
            for row, (place, encoding) in enumerate(batch):
                yield place, encoding, states[row, : len(encoding.ids)]

    def _pooled(self, states: Floats) -> Vector | None:
        return _unit(states[0] if self._folder.pooling == "first" else states.mean(axis=0))

    def _embed_weighted(self, text: str, spans: Sequence[WeightedSpan]) -> Vector | None:
        return self._embed_query_tokens(text, spans)[0]

    def _embed_query_tokens(self, text: str, spans: Sequence[WeightedSpan]) -> tuple[Vector | None, QueryTokens | None]:
        encoding = self._tokenizer.encode(encodable(text))
        weights = token_weights(text, spans, encoding.offsets)
        weights[np.asarray(encoding.special_tokens_mask, dtype=np.bool_)] = 0
        kept = np.flatnonzero(weights)
        if not len(kept):
            return None, None
        ids, mask = _padded([encoding.ids])
        states = self._encoder(ids, mask)[0]
        if self._folder.pooling == "first":
            (vector,) = self._embed([text], is_query=True)
        else:
            vector = _unit(weights @ states / np.float32(weights.sum()))
        lengths = np.linalg.norm(states[kept], axis=1, keepdims=True)
        numbered = [WeightedSpan(span.start, span.end, number) for number, span in enumerate(spans)]
        places = token_weights(text, numbered, encoding.offsets)[kept].astype(np.int64)
        return vector, QueryTokens(states[kept] / np.maximum(lengths, np.float32(1e-12)), places)


def _read_folder(root: Path) -> _Folder:
    config = _json(root / "config.json", required=True)
    pooling = _json(root / "1_Pooling" / "config.json")
    if pooling.get("pooling_mode_cls_token"):
        how: Literal["mean", "first"] = "first"
    elif pooling.get("pooling_mode_mean_tokens", True):
        how = "mean"
    else:
        raise ConfigurationError(f"the model in {root.name} pools neither by mean nor by its first token")
    window = int(config.get("max_position_embeddings", 512))
    asked = _json(root / "sentence_bert_config.json").get("max_seq_length") or window
    prompts = cast(dict[str, str], _json(root / "config_sentence_transformers.json").get("prompts") or {})
    return _Folder(config=config, pooling=how, tokens_max=min(int(asked), window), prompts=prompts)


def _load_encoder(root: Path, folder: _Folder) -> tuple[Path, Encoder]:
    onnx = next((root / name for name in _ONNX_FILES if (root / name).is_file()), None)
    safetensors = root / _SAFETENSORS_FILE
    if onnx is not None and find_spec("onnxruntime") is not None:
        from agent_memory_server.embeddings.onnx import OnnxEncoder

        return onnx, OnnxEncoder(onnx)
    if safetensors.is_file():
        from safetensors import SafetensorError
        from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType]

        try:
            tensors = load_file(safetensors)
        except SafetensorError as error:
            raise ConfigurationError(f"the weights in {root.name} cannot be read") from error
        return safetensors, BertEncoder(folder.config, tensors)
    if onnx is not None:
        raise ConfigurationError("this local model needs onnxruntime: pip install 'agent-memory-server[local]'")
    raise ConfigurationError(f"the folder {root.name} holds neither model.safetensors nor onnx/model.onnx")


def _json(path: Path, *, required: bool = False) -> dict[str, Any]:
    if not path.is_file():
        if required:
            raise ConfigurationError(f"the folder {path.parent.name} is not a sentence-transformer: no {path.name}")
        return {}
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigurationError(f"{path.name} of the local embedding model is not JSON") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path.name} of the local embedding model is not a JSON object")
    return cast(dict[str, Any], content)


def _fingerprint(weights: Path) -> str:
    """Tells models apart whose folders have the same name: the file's size and three slices of it."""
    size = weights.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with weights.open("rb") as file:
        for start in (0, size // 2, max(0, size - _FINGERPRINT_SLICE_BYTES)):
            file.seek(start)
            digest.update(file.read(_FINGERPRINT_SLICE_BYTES))
    return digest.hexdigest()[:8]


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Integers, Integers]:
    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return ids, mask


def _telling_tokens(text: str, encoding: Encoding, *, start: int) -> NDArray[np.int64]:
    """The tokens after ``start`` that are no stop words, punctuation or marks of the model; all of the text's when none is."""
    offsets = np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    is_text = ~np.asarray(encoding.special_tokens_mask, dtype=np.bool_) & (offsets[:, 1] > max(start, 0))
    spans = [WeightedSpan(first, last, 1.0) for first, last, _ in telling_spans(text)]
    is_telling = is_text & (token_weights(text, spans, encoding.offsets) > 0)
    is_telling &= [any(map(str.isalnum, text[first:last])) for first, last in encoding.offsets]
    return np.flatnonzero(is_telling if is_telling.any() else is_text)


def _unit(vector: Floats) -> Vector | None:
    norm = float(np.sqrt(vector @ vector))
    return (vector / np.float32(norm)).astype(np.float32) if norm > 0 and np.isfinite(norm) else None
