"""The OpenAI-compatible adapter against a fake server on loopback: every fault becomes EmbedderUnavailable, never a vector."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest

from agent_memory_server.embeddings.openai_compatible import OpenAIEmbedder
from agent_memory_server.errors import EmbedderUnavailable
from agent_memory_server.testing import model_server as faults
from agent_memory_server.testing.embedder import HashEmbedder
from agent_memory_server.testing.model_server import Fault, ModelServer


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as running:
        yield running


@pytest.fixture
async def embedder(server: ModelServer) -> AsyncIterator[OpenAIEmbedder]:
    opened = OpenAIEmbedder(
        model="fake", api_key=None, base_url=server.base_url, timeout_s=0.5, query_timeout_s=0.5, attempts_max=2
    )
    yield opened
    await opened.close()


async def test_vectors_arrive_in_order_and_unit_length(embedder: OpenAIEmbedder) -> None:
    """Each text gets its own vector; blank texts are not sent and have none."""
    texts = ["tea", "  ", "cake in the garden", ""]
    vectors = await embedder.embed(texts)
    expected = await HashEmbedder().embed(texts)
    assert vectors[1] is None
    assert vectors[3] is None
    for place in (0, 2):
        vector = vectors[place]
        assert vector is not None
        assert vector.dtype == np.float32
        assert vector == pytest.approx(expected[place], abs=1e-6)


async def test_requests_are_bounded(embedder: OpenAIEmbedder, server: ModelServer) -> None:
    """Many texts go in several requests, long texts are cut, and all asks are for base64."""
    vectors = await embedder.embed([f"note {number}" for number in range(300)] + ["long " * 100_000])
    assert len(vectors) == 301
    assert [len(request.body["input"]) for request in server.requests] == [256, 45]
    assert max(len(text) for request in server.requests for text in request.body["input"]) <= 8_000
    assert all(request.body["encoding_format"] == "base64" for request in server.requests)


async def test_a_key_is_sent_and_its_absence_is_no_error(server: ModelServer, embedder: OpenAIEmbedder) -> None:
    """Endpoints of one's own need no key; where there is one, it is sent."""
    await embedder.embed(["tea"])
    with_key = OpenAIEmbedder(model="fake", api_key="sk-secret", base_url=server.base_url)
    await with_key.embed(["tea"])
    await with_key.close()
    assert server.requests[0].headers["authorization"] == "Bearer not-needed"
    assert server.requests[1].headers["authorization"] == "Bearer sk-secret"


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (faults.SERVER_ERROR, "failed"),
        (faults.UNAUTHORIZED, "refused the configured API key"),
        (faults.UNKNOWN_MODEL, "does not know the configured model"),
        (faults.RATE_LIMITED, "limits our rate"),
        (faults.NEVER_ANSWERS, "did not answer in time"),
        (faults.slow(5.0), "did not answer in time"),
        (faults.RESET, "cannot be reached"),
        (faults.NOT_JSON, "not JSON|not an embedding response"),
        (Fault(raw_body=b"[1, 2"), "not JSON|not an embedding response"),
        (Fault(raw_body=b'{"data": 5}'), "not an embedding response"),
        (faults.NO_DATA, "0 vectors for 2 texts"),
        (faults.TOO_FEW, "1 vectors for 2 texts"),
        (faults.WRONG_DIMENSIONS, "63 dimensions where it answered 64"),
        (faults.NOT_A_NUMBER, "not finite"),
        (Fault(spoil=lambda body: {**body, "data": [{"index": 0, "embedding": "%%"}] * 2}), "cannot be read"),
        (Fault(spoil=lambda body: {**body, "data": [{"index": 0, "embedding": ""}] * 2}), "empty vector"),
        (Fault(spoil=lambda body: {**body, "data": [{"index": 0}] * 2}), "no vector"),
    ],
)
@pytest.mark.parametrize("is_query", [True, False])
async def test_every_fault_is_unavailable(server: ModelServer, fault: Fault, sentence: str, *, is_query: bool) -> None:
    """Whatever the endpoint does, the answer is a 503 with a sentence; afterwards the embedder works again."""
    embedder = OpenAIEmbedder(
        model="fake", api_key=None, base_url=server.base_url, timeout_s=0.3, query_timeout_s=0.3, attempts_max=1
    )
    await embedder.embed(["first"])
    server.fail(fault)
    with pytest.raises(EmbedderUnavailable, match=sentence) as raised:
        await embedder.embed(["tea", "cake"], is_query=is_query)
    assert raised.value.retry_after_s >= 1
    assert "127.0.0.1" not in str(raised.value)
    server.recover()
    assert (await embedder.embed(["tea"]))[0] is not None
    await embedder.close()


@pytest.mark.parametrize("fault", [faults.SERVER_ERROR, faults.RESET])
@pytest.mark.parametrize("is_query", [True, False])
async def test_a_passing_failure_is_tried_again(
    server: ModelServer, embedder: OpenAIEmbedder, fault: Fault, *, is_query: bool
) -> None:
    """One lost connection or server error costs a second attempt, not the request."""
    server.fail_next(fault)
    assert (await embedder.embed(["tea"], is_query=is_query))[0] is not None
    assert len(server.requests) == 2


async def test_a_rate_limit_waits_in_the_background_only(server: ModelServer, embedder: OpenAIEmbedder) -> None:
    """Documents wait as asked; a query is told to come back later, in the endpoint's own words."""
    server.fail_next(faults.RATE_LIMITED)
    assert (await embedder.embed(["tea"]))[0] is not None
    server.fail_next(faults.rate_limited(17))
    with pytest.raises(EmbedderUnavailable) as raised:
        await embedder.embed(["tea"], is_query=True)
    assert raised.value.retry_after_s == 17


async def test_a_text_beyond_the_window_is_cut_until_it_fits(server: ModelServer, embedder: OpenAIEmbedder) -> None:
    """An endpoint with a smaller window refuses; the text is halved and its beginning embedded."""
    server.fail_next(faults.TOO_LONG, times=2)
    assert (await embedder.embed(["word " * 1_000]))[0] is not None
    assert [len(request.body["input"][0]) for request in server.requests] == [5_000, 2_500, 1_250]


async def test_plain_number_lists_are_understood(server: ModelServer, embedder: OpenAIEmbedder) -> None:
    """Servers that ignore the asked format and answer lists of numbers work as well."""
    server.fail_next(
        Fault(spoil=lambda body: {**body, "data": [{"index": 0, "embedding": [3.0, 4.0], "object": "embedding"}]})
    )
    (vector,) = await embedder.embed(["tea"])
    assert vector == pytest.approx([0.6, 0.8])


async def test_answers_out_of_order_are_sorted(server: ModelServer, embedder: OpenAIEmbedder) -> None:
    """The index of an answer counts, not its place."""
    straight = await embedder.embed(["tea", "cake"])
    server.fail_next(Fault(spoil=lambda body: {**body, "data": body["data"][::-1]}))
    turned = await embedder.embed(["tea", "cake"])
    assert np.array_equal(np.asarray(straight), np.asarray(turned))


async def test_an_endpoint_that_is_not_there() -> None:
    """A refused connection is unavailable, quickly."""
    embedder = OpenAIEmbedder(model="fake", api_key=None, base_url="http://127.0.0.1:9/v1", attempts_max=1)
    with pytest.raises(EmbedderUnavailable, match="cannot be reached"):
        await embedder.embed(["tea"], is_query=True)
    await embedder.close()
