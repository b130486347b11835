"""The bundled model: nearer texts are nearer, unknown scripts are said to be so, and big batches do not hold up the loop."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from agent_memory_server.embeddings.wordllama import WordLlamaEmbedder
from agent_memory_server.ports.embedder import Embedder, WeighsWords, WeightedSpan


@pytest.fixture(scope="module")
def embedder() -> WordLlamaEmbedder:
    return WordLlamaEmbedder.load()


async def similarity(embedder: Embedder, one: str, other: str) -> float:
    first, second = await embedder.embed([one, other])
    assert first is not None
    assert second is not None
    return float(first @ second)


async def test_paraphrases_are_nearer_than_strangers(embedder: WordLlamaEmbedder) -> None:
    """Meaning without a shared word brings texts together."""
    near = await similarity(embedder, "a cat sleeps on the sofa", "the kitten naps upon a couch")
    far = await similarity(embedder, "a cat sleeps on the sofa", "quarterly tax returns are due")
    assert near > far + 0.2


async def test_vectors_are_unit_length_float32(embedder: WordLlamaEmbedder) -> None:
    """What the store keeps needs no normalising."""
    vectors = await embedder.embed(["tea", "a much longer text about nothing in particular"])
    for vector in vectors:
        assert vector is not None
        assert vector.dtype == np.float32
        assert vector.shape == (256,)
        assert float(vector @ vector) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("text", ["", "   ", "🍕🎉", "𓀀𓀁", "\n\t"])
async def test_nothing_to_embed_is_none(embedder: WordLlamaEmbedder, text: str) -> None:
    """Texts without any known token have no vector, rather than one of noise."""
    assert await embedder.embed([text]) == [None]


async def test_any_text_is_embedded_or_none(embedder: WordLlamaEmbedder) -> None:
    """Lone surrogates, null bytes and mixed scripts are no error."""
    vectors = await embedder.embed(["\ud800 tea", "\x00", "東京 tea", "ﷺ", "a" * 10_000])
    assert len(vectors) == 5
    assert all(vector is None or np.isfinite(vector).all() for vector in vectors)


async def test_order_and_batching_do_not_matter(embedder: WordLlamaEmbedder) -> None:
    """A text's vector is the same alone, in a batch, and in a batch that is computed in a thread."""
    texts = [f"note {number} about subject {number % 7}" for number in range(40)]
    alone = [(await embedder.embed([text]))[0] for text in texts]
    long = "word " * 20_000
    together = await embedder.embed([*texts, long, long])
    for one, other in zip(alone, together, strict=False):
        assert one is not None
        assert other is not None
        assert np.array_equal(one, other)


async def test_weights_move_the_query(embedder: WordLlamaEmbedder) -> None:
    """A weighted query leans towards its heavy words; without any weight there is nothing to ask."""
    assert isinstance(embedder, WeighsWords)
    text = "what did ana paint"
    paint = WeightedSpan(text.index("paint"), len(text), 5.0)
    ana = WeightedSpan(text.index("ana"), text.index("ana") + 3, 0.1)
    weighted = await embedder.embed_weighted(text, [ana, paint])
    (plain, word) = await embedder.embed([text, "paint"])
    assert weighted is not None
    assert plain is not None
    assert word is not None
    assert float(weighted @ word) > float(plain @ word)
    assert await embedder.embed_weighted(text, []) is None


async def test_equal_weights_are_no_weights(embedder: WordLlamaEmbedder) -> None:
    """Weights only shift the balance: equal ones give the plain vector."""
    text = "tea in the garden"
    weighted = await embedder.embed_weighted(text, [WeightedSpan(0, len(text), 2.5)])
    (plain,) = await embedder.embed([text])
    assert weighted is not None
    assert plain is not None
    assert weighted == pytest.approx(plain, abs=1e-5)


async def test_a_big_batch_leaves_the_loop_running(embedder: WordLlamaEmbedder) -> None:
    """While a million characters are embedded, other requests are served."""
    texts = ["some ordinary words about an ordinary day " * 25] * 1_000
    longest_s = 0.0

    async def beat() -> None:
        nonlocal longest_s
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.perf_counter() - before)

    begun = time.perf_counter()
    beating = asyncio.create_task(beat())
    await embedder.embed(texts)
    beating.cancel()
    # On a machine with other work to do, everything pauses.
    assert longest_s < max(0.2, (time.perf_counter() - begun) / 3)


async def test_a_long_query_leaves_the_loop_running(embedder: WordLlamaEmbedder) -> None:
    """Nor does one endless word of a query keep the others waiting, weighed or not."""
    text = "漢字" * 10_000
    for embedding in (embedder.embed_weighted(text, [WeightedSpan(0, len(text), 1.0)]), embedder.embed([text])):
        asked = asyncio.ensure_future(embedding)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not asked.done()
        await asked
