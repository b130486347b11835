"""Which embedder a name opens, and the sentence for a name that opens none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent_memory_server.embeddings.opening import chosen_model, open_embedder
from agent_memory_server.errors import ConfigurationError


@pytest.mark.parametrize(
    ("model", "key", "chosen"),
    [
        (None, None, "wordllama"),
        ("", None, "wordllama"),
        (None, "sk-1", "text-embedding-3-small"),
        ("wordllama", "sk-1", "wordllama"),
        ("nomic-embed-text", None, "nomic-embed-text"),
    ],
)
def test_the_default_model(model: str | None, key: str | None, chosen: str) -> None:
    """A named model wins; without one, a key means OpenAI's small model and no key the bundled one."""
    assert chosen_model(model, openai_api_key=key) == chosen


async def test_without_anything_the_bundled_model_opens() -> None:
    """No setting at all gives a working local embedder."""
    embedder = await open_embedder()
    assert embedder.is_local
    assert embedder.model == "wordllama/l2_supercat_256"


@pytest.mark.parametrize("key", [None, "sk-1"])
async def test_an_endpoint_may_need_no_key(key: str | None) -> None:
    """A base URL is enough for a server of one's own; nothing is sent when it is opened."""
    embedder = await open_embedder("openai/some-model", openai_api_key=key, openai_api_base="http://127.0.0.1:9/v1")
    assert not embedder.is_local
    assert embedder.model == "openai/some-model"
    await embedder.close()


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("text-embedding-3-large", "set OPENAI_API_KEY, or OPENAI_API_BASE"),
        ("local:/does/not/exist", "names no folder"),
        ("fastembed/bge-small", "fastembed"),
        ("sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers"),
    ],
)
async def test_what_cannot_be_opened_says_what_to_do(model: str, sentence: str) -> None:
    """A model that is not to be had fails at start with a sentence, not at the first search."""
    with pytest.raises(ConfigurationError, match=sentence):
        await open_embedder(model)


async def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    """An empty folder, a broken tokenizer and missing weights are each named."""
    with pytest.raises(ConfigurationError, match=r"no config\.json"):
        await open_embedder(f"local:{tmp_path}")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigurationError, match="not JSON"):
        await open_embedder(f"local:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json is missing or broken"):
        await open_embedder(f"local:{tmp_path}")


def test_opening_the_bundled_model_imports_no_http_client() -> None:
    """The package's own code (an HTTP client, logging set up at import) stays out, and so do the vendors' libraries."""
    script = (
        "import asyncio, sys\n"
        "from agent_memory_server.embeddings.opening import open_embedder\n"
        "asyncio.run(open_embedder())\n"
        "print([name for name in ('wordllama', 'requests', 'httpx', 'openai', 'onnxruntime', 'torch') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert run.stderr == ""
