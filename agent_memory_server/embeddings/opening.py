"""Which model turns text into vectors, by the name that an operator gave.

(unset)                    text-embedding-3-small when an OpenAI key is set, else wordllama
wordllama                  bundled weights, in this process, nothing downloaded
local:/path                a sentence-transformer folder, in this process: the extra ``local``
fastembed/NAME             an extra: downloads its weights once
sentence-transformers/NAME an extra: downloads its weights once
anything else              a model of the OpenAI-compatible endpoint
"""

from __future__ import annotations

import asyncio
import importlib
from importlib.util import find_spec

from agent_memory_server.errors import ConfigurationError
from agent_memory_server.ports.embedder import Embedder

BUNDLED = "wordllama"
OPENAI_DEFAULT = "text-embedding-3-small"
_EXTRAS = ("fastembed", "sentence-transformers")


def chosen_model(model: str | None, *, openai_api_key: str | None) -> str:
    """The model's name after the default: a banner shows it."""
    if model is not None and model.strip():
        return model.strip()
    return OPENAI_DEFAULT if openai_api_key else BUNDLED


def is_remote(name: str) -> bool:
    """Whether a chosen model answers at an endpoint, and not in this process."""
    return name != BUNDLED and not name.startswith(("wordllama/", "local:", *(f"{extra}/" for extra in _EXTRAS)))


async def open_embedder(
    model: str | None = None, *, openai_api_key: str | None = None, openai_api_base: str | None = None
) -> Embedder:
    """Load the model. Raises ConfigurationError, with what to change, for one that cannot be had; no network is touched."""
    name = chosen_model(model, openai_api_key=openai_api_key)
    if name in (BUNDLED, "wordllama/l2_supercat_256"):
        from agent_memory_server.embeddings.wordllama import WordLlamaEmbedder

        return await asyncio.to_thread(WordLlamaEmbedder.load)
    if name.startswith("local:"):
        if find_spec("tokenizers") is None or find_spec("safetensors") is None:
            raise ConfigurationError(
                f"EMBEDDING_MODEL={name} needs two packages more: pip install 'agent-memory-server[local]'"
            )
        from agent_memory_server.embeddings.sentence_transformer import SentenceTransformerEmbedder

        return await asyncio.to_thread(SentenceTransformerEmbedder.load, name.removeprefix("local:"))
    extra = name.partition("/")[0]
    if extra in _EXTRAS:
        raise ConfigurationError(
            f"EMBEDDING_MODEL={name}: {extra} models are not built in yet; use wordllama, local:/path of a downloaded folder, "
            "or an OpenAI-compatible endpoint"
        )
    if not openai_api_key and not openai_api_base:
        raise ConfigurationError(
            f"EMBEDDING_MODEL={name} is a model of an OpenAI-compatible endpoint: set OPENAI_API_KEY, or OPENAI_API_BASE for an "
            "endpoint of your own, or use wordllama, which needs neither"
        )
    if find_spec("openai") is None:
        raise ConfigurationError(
            f"EMBEDDING_MODEL={name} needs the openai package: pip install 'agent-memory-server[openai]'"
        )
    # Its import takes most of a second: in a thread, and only for those who use it.
    adapter = await asyncio.to_thread(importlib.import_module, "agent_memory_server.embeddings.openai_compatible")
    embedder: Embedder = adapter.OpenAIEmbedder(
        model=name.removeprefix("openai/"), api_key=openai_api_key, base_url=openai_api_base
    )
    return embedder
