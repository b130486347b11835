"""A sentence-transformer's encoder through onnxruntime (the extra ``local``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingImports]

from agent_memory_server.embeddings.bert import Floats, Integers
from agent_memory_server.errors import ConfigurationError


class OnnxEncoder:
    """Token ids in, one vector a token out: the graph's first output. Sessions are safe across threads."""

    def __init__(self, path: Path) -> None:
        runtime = cast(Any, onnxruntime)
        try:
            self._session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises many kinds, all of them its own
            raise ConfigurationError(f"the ONNX file {path.name} cannot be read") from error
        self._inputs = {str(each.name) for each in self._session.get_inputs()}

    def __call__(self, ids: Integers, mask: Integers) -> Floats:
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        outputs = self._session.run(None, {name: value for name, value in feed.items() if name in self._inputs})
        return np.asarray(outputs[0], dtype=np.float32)
