"""A BERT encoder's forward pass in numpy: for folders that hold safetensors only, so that no framework is needed.

Twice to three times slower than onnxruntime and exact to float32 rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent_memory_server.errors import ConfigurationError

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_PREFIXES = ("", "bert.", "model.")


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: Floats
    """Transposed: (in, out)."""
    bias: Floats

    def __call__(self, states: Floats) -> Floats:
        return states @ self.weight + self.bias


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Floats
    bias: Floats
    epsilon: float

    def __call__(self, states: Floats) -> Floats:
        centred = states - states.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        return centred / np.sqrt(variance + np.float32(self.epsilon)) * self.weight + self.bias


@dataclass(frozen=True, slots=True)
class _Layer:
    query: _Linear
    key: _Linear
    value: _Linear
    attended: _Linear
    attended_norm: _Norm
    widened: _Linear
    narrowed: _Linear
    narrowed_norm: _Norm


class BertEncoder:
    """Token ids in, one vector a token out. Read-only after construction, so safe across threads."""

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Raises ConfigurationError for an architecture other than BERT with exact GELU, or missing tensors."""
        if config.get("model_type", "bert") != "bert" or config.get("hidden_act", "gelu") != "gelu":
            raise ConfigurationError(
                f"the model's architecture ({config.get('model_type')}, {config.get('hidden_act')}) needs an ONNX file: put "
                "onnx/model.onnx into the folder and install agent-memory-server[local]"
            )
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ConfigurationError("models with relative positions need an ONNX file in their folder")
        self._heads = int(config["num_attention_heads"])
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        self._tensors: Mapping[str, NDArray[Any]] = tensors
        self._prefix = next(
            (prefix for prefix in _PREFIXES if f"{prefix}embeddings.word_embeddings.weight" in tensors), None
        )
        if self._prefix is None:
            raise ConfigurationError("the model's weights hold no BERT embeddings")
        try:
            self._words = self._tensor("embeddings.word_embeddings.weight")
            self._positions = self._tensor("embeddings.position_embeddings.weight")
            self._first_type = self._tensor("embeddings.token_type_embeddings.weight")[0]
            self._embedding_norm = self._norm("embeddings.LayerNorm")
            self._layers = [self._layer(number) for number in range(int(config["num_hidden_layers"]))]
        except KeyError as error:
            raise ConfigurationError(f"the model's weights or configuration lack {error}") from error
        finally:
            self._tensors = {}

    def __call__(self, ids: Integers, mask: Integers) -> Floats:
        """``ids`` and ``mask`` of shape (texts, tokens); the answer of shape (texts, tokens, dimensions)."""
        length = ids.shape[1]
        states = self._embedding_norm(self._words[ids] + self._positions[:length] + self._first_type)
        hidden = np.where(mask[:, np.newaxis, np.newaxis, :] > 0, np.float32(0), np.float32(-1e9))
        for layer in self._layers:
            states = layer.attended_norm(states + layer.attended(self._attention(layer, states, hidden)))
            states = layer.narrowed_norm(states + layer.narrowed(_gelu(layer.widened(states))))
        return states

    def _attention(self, layer: _Layer, states: Floats, hidden: Floats) -> Floats:
        texts, length, size = states.shape
        shape = (texts, length, self._heads, size // self._heads)
        query, key, value = (
            part(states).reshape(shape).transpose(0, 2, 1, 3) for part in (layer.query, layer.key, layer.value)
        )
        scores = query @ key.transpose(0, 1, 3, 2) * np.float32(1 / math.sqrt(shape[3])) + hidden
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return (scores @ value).transpose(0, 2, 1, 3).reshape(texts, length, size)

    def _layer(self, number: int) -> _Layer:
        name = f"encoder.layer.{number}"
        return _Layer(
            query=self._linear(f"{name}.attention.self.query"),
            key=self._linear(f"{name}.attention.self.key"),
            value=self._linear(f"{name}.attention.self.value"),
            attended=self._linear(f"{name}.attention.output.dense"),
            attended_norm=self._norm(f"{name}.attention.output.LayerNorm"),
            widened=self._linear(f"{name}.intermediate.dense"),
            narrowed=self._linear(f"{name}.output.dense"),
            narrowed_norm=self._norm(f"{name}.output.LayerNorm"),
        )

    def _linear(self, name: str) -> _Linear:
        return _Linear(np.ascontiguousarray(self._tensor(f"{name}.weight").T), self._tensor(f"{name}.bias"))

    def _norm(self, name: str) -> _Norm:
        return _Norm(self._tensor(f"{name}.weight"), self._tensor(f"{name}.bias"), self._epsilon)

    def _tensor(self, name: str) -> Floats:
        return self._tensors[f"{self._prefix}{name}"].astype(np.float32, copy=False)


def _gelu(values: Floats) -> Floats:
    """x * Phi(x), with Abramowitz and Stegun's formula 7.1.26 for erf (absolute error below 1.5e-7)."""
    scaled = np.abs(values) * np.float32(1 / math.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * scaled)
    series = t * (
        np.float32(0.254829592)
        + t
        * (
            np.float32(-0.284496736)
            + t * (np.float32(1.421413741) + t * (np.float32(-1.453152027) + t * np.float32(1.061405429)))
        )
    )
    erf = np.sign(values) * (1 - series * np.exp(-scaled * scaled))
    return np.asarray(values * np.float32(0.5) * (1 + erf), dtype=np.float32)
