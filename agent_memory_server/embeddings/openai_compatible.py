"""Embeddings from an OpenAI-compatible endpoint: OpenAI itself, Azure, Ollama, vLLM, LM Studio and their like.

Every answer is checked (how many, how long, finite) before it becomes a vector: nonsense raises EmbedderUnavailable and
is never stored. Vectors are made unit-length. Requests are bounded in inputs and characters, time and attempts.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import openai
from numpy.typing import NDArray

from agent_memory_server.domain.operations import Vector
from agent_memory_server.embeddings.spans import encodable
from agent_memory_server.errors import EmbedderUnavailable

_INPUTS_PER_REQUEST_MAX = 256
_CHARACTERS_PER_REQUEST_MAX = 400_000
_CHARACTERS_PER_TEXT_MAX = 8_000
"""A text is cut to this: below 8,191 tokens, OpenAI's window, whatever its script (a token is at least one character
there but for rare ones, and a longer text is cut further when the endpoint still refuses)."""
_SHORTEST_CUT = 500
_NO_KEY = "not-needed"
"""Sent to an endpoint of one's own for which no key is set: such servers want a header but do not look at it."""


class OpenAIEmbedder:
    """One model of one endpoint. ``dimensions`` are those of its first answer; every later one must agree."""

    is_local = False

    def __init__(
        self,
        *,
        model: str,
        api_key: str | None,
        base_url: str | None,
        timeout_s: float = 20.0,
        query_timeout_s: float = 5.0,
        attempts_max: int = 3,
    ) -> None:
        """Somebody waits for a query: it has a time-out of its own, and of failures only a lost connection and a server
        error are tried again, once and at once. Memories wait in the background, with back-off."""
        self._name = model
        self.model = f"openai/{model}"
        self._dimensions: int | None = None
        self._client = openai.AsyncOpenAI(
            api_key=api_key or _NO_KEY, base_url=base_url, timeout=timeout_s, max_retries=max(0, attempts_max - 1)
        )
        self._query_client = self._client.with_options(timeout=query_timeout_s, max_retries=0)

    async def embed(self, texts: Sequence[str], /, *, is_query: bool = False) -> Sequence[Vector | None]:
        """None for a blank text, which endpoints refuse. A text beyond the model's window is represented by its beginning."""
        vectors: list[Vector | None] = [None] * len(texts)
        for places in _batches(texts):
            cut = [encodable(texts[place])[:_CHARACTERS_PER_TEXT_MAX] for place in places]
            for place, vector in zip(places, await self._request(cut, is_query), strict=True):
                vectors[place] = vector
        return vectors

    async def close(self) -> None:
        await self._client.close()

    async def _request(self, texts: Sequence[str], is_query: bool) -> list[Vector | None]:
        length = max(map(len, texts))
        while True:
            try:
                response = await self._send([text[:length] for text in texts], is_query)
            except openai.BadRequestError as error:
                # Only the window's size is known to be refused for a text; halving finds a length that fits.
                if length > _SHORTEST_CUT and _says_too_long(error):
                    length //= 2
                    continue
                raise _unavailable(error) from error
            except openai.OpenAIError as error:
                raise _unavailable(error) from error
            except ValueError as error:
                raise EmbedderUnavailable("the embedding endpoint answered something that is not JSON") from error
            return self._checked(response, len(texts))

    async def _send(self, texts: list[str], is_query: bool) -> object:
        client = self._query_client if is_query else self._client
        try:
            return await client.embeddings.create(model=self._name, input=texts, encoding_format="base64")
        except openai.APITimeoutError:
            raise
        except (openai.APIConnectionError, openai.InternalServerError):
            if not is_query:
                raise
            return await client.embeddings.create(model=self._name, input=texts, encoding_format="base64")

    def _checked(self, response: Any, expected: int) -> list[Vector | None]:
        data = getattr(response, "data", None)
        if not isinstance(data, list):
            raise EmbedderUnavailable("the embedding endpoint answered something that is not an embedding response")
        items = cast(list[Any], data)
        if len(items) != expected:
            raise EmbedderUnavailable(f"the embedding endpoint answered {len(items)} vectors for {expected} texts")
        ordered = sorted(enumerate(items), key=lambda each: _index(each[1], each[0]))
        return [self._vector(getattr(item, "embedding", None)) for _, item in ordered]

    def _vector(self, embedding: object) -> Vector | None:
        vector = _decoded(embedding)
        if vector.ndim != 1 or not len(vector):
            raise EmbedderUnavailable("the embedding endpoint answered an empty vector")
        if self._dimensions is not None and len(vector) != self._dimensions:
            raise EmbedderUnavailable(
                f"the embedding endpoint answered {len(vector)} dimensions where it answered {self._dimensions} before"
            )
        if not np.isfinite(vector).all():
            raise EmbedderUnavailable("the embedding endpoint answered a vector with numbers that are not finite")
        self._dimensions = len(vector)
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        return (vector / norm).astype(np.float32) if norm > 0 else None


def _batches(texts: Sequence[str]) -> Iterator[list[int]]:
    """Places of the texts that are not blank, in requests of bounded size."""
    batch: list[int] = []
    characters = 0
    for place, text in enumerate(texts):
        if not text.strip():
            continue
        length = min(len(text), _CHARACTERS_PER_TEXT_MAX)
        if batch and (len(batch) == _INPUTS_PER_REQUEST_MAX or characters + length > _CHARACTERS_PER_REQUEST_MAX):
            yield batch
            batch, characters = [], 0
        batch.append(place)
        characters += length
    if batch:
        yield batch


def _decoded(embedding: object) -> NDArray[np.float32]:
    """A vector from base64 (little-endian float32) or, of endpoints that ignore the asked format, a list of numbers."""
    try:
        if isinstance(embedding, str):
            return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
        if isinstance(embedding, list):
            return np.asarray(cast(list[float], embedding), dtype=np.float32)
    except (ValueError, TypeError, binascii.Error) as error:
        raise EmbedderUnavailable("the embedding endpoint answered a vector that cannot be read") from error
    raise EmbedderUnavailable("the embedding endpoint answered no vector")


def _index(item: Any, place: int) -> int:
    index = getattr(item, "index", None)
    return index if isinstance(index, int) else place


def _says_too_long(error: openai.BadRequestError) -> bool:
    text = str(error).lower()
    return any(
        sign in text for sign in ("context length", "maximum context", "too long", "too many tokens", "max_tokens")
    )


def _unavailable(error: openai.OpenAIError) -> EmbedderUnavailable:
    """What a client may read: neither the endpoint's address nor its answer, which may quote the key."""
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return EmbedderUnavailable("the embedding endpoint refused the configured API key", retry_after_s=60)
    if isinstance(error, openai.NotFoundError):
        return EmbedderUnavailable("the embedding endpoint does not know the configured model", retry_after_s=60)
    if isinstance(error, openai.RateLimitError):
        return EmbedderUnavailable("the embedding endpoint limits our rate", retry_after_s=_retry_after_s(error))
    if isinstance(error, openai.APITimeoutError):
        return EmbedderUnavailable("the embedding endpoint did not answer in time", retry_after_s=5)
    if isinstance(error, openai.APIConnectionError):
        return EmbedderUnavailable("the embedding endpoint cannot be reached", retry_after_s=5)
    if isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
        return EmbedderUnavailable("the embedding endpoint refused the request", retry_after_s=60)
    return EmbedderUnavailable("the embedding endpoint failed", retry_after_s=5)


def _retry_after_s(error: openai.RateLimitError) -> int:
    asked = error.response.headers.get("retry-after", "")
    return min(3_600, max(1, int(asked))) if asked.isdecimal() else 5
