"""Counting tokens with tiktoken when its vocabulary is already on disk, else by an estimate. Never by a download."""

from __future__ import annotations

import hashlib
import importlib
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast

from agent_memory_server.ports.tokenizer import Tokenizer

_ENCODING = "cl100k_base"
_VOCABULARY = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"
"""tiktoken names its cached file by the SHA-1 of this address; it is never fetched here."""
_VOCABULARY_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
"""tiktoken downloads its file anew when the content is another, so that is looked at first."""
_CHARACTERS_A_TOKEN = 4
_EXACT_CHARACTERS_MAX = 200_000
"""Longer texts are estimated: byte-pair encoding of one endless word takes time that grows with its square."""


class EstimatingTokenizer:
    """A token for every four characters begun: about right for English, low for scripts with large alphabets."""

    def count(self, text: str, /) -> int:
        return -(-len(text) // _CHARACTERS_A_TOKEN)


class _Encoding(Protocol):
    def encode_ordinary(self, text: str) -> list[int]: ...


class TiktokenTokenizer:
    """Exact for OpenAI's cl100k vocabulary, close for other models."""

    def __init__(self, encoding: _Encoding) -> None:
        self._encoding = encoding
        self._estimate = EstimatingTokenizer()

    def count(self, text: str, /) -> int:
        if len(text) > _EXACT_CHARACTERS_MAX:
            return self._estimate.count(text)
        return len(self._encoding.encode_ordinary(text))


def open_tokenizer() -> Tokenizer:
    """tiktoken if it is installed and its vocabulary is in its cache folder; else the estimate."""
    if find_spec("tiktoken") is None or not _vocabulary_is_cached():
        return EstimatingTokenizer()
    tiktoken = importlib.import_module("tiktoken")
    return TiktokenTokenizer(cast(_Encoding, tiktoken.get_encoding(_ENCODING)))


def _vocabulary_is_cached() -> bool:
    """Whether tiktoken will find its file: in the folder that its own variables name, else in the temporary folder."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    if folder is None:
        folder = str(Path(tempfile.gettempdir()) / "data-gym-cache")
    if not folder:
        return False
    name = hashlib.sha1(_VOCABULARY.encode(), usedforsecurity=False).hexdigest()
    try:
        content = (Path(folder) / name).read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content).hexdigest() == _VOCABULARY_SHA256
