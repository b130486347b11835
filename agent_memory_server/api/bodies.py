"""Reading a request's body: bounded, strict JSON, validated without holding the event loop for long.

Refused: a body beyond the limit (413), another content type than JSON in UTF-8 (415; none at all counts as JSON), and with 422
what is not JSON, ``NaN`` and its kin, lone surrogates, and the NUL character in any text. Of a key that stands twice in one
object the last value counts. Free-form objects are checked where they are declared (``schemas.values``).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.types import Message, Receive

from agent_memory_server.api.errors import BadBody, BodyTooLarge, ClientGone, UnsupportedMediaType
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.errors import RequestTimeout

Model = TypeVar("Model", bound=BaseModel)

CHUNK = 500
"""Items validated between two chances for other requests."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_LINES_TYPES = (
    b"application/x-ndjson",
    b"application/jsonl",
    b"application/json-lines",
    b"application/json",
    b"application/octet-stream",
    b"text/plain",
    b"text/markdown",
)
_JSON_TYPES = (b"application/json", b"text/json")


async def read_body(receive: Receive, *, bytes_max: int, seconds_max: float = LIMITS.body_seconds_max) -> bytes:
    """The whole body. Raises BodyTooLarge as soon as it is, RequestTimeout, ClientGone."""
    try:
        async with asyncio.timeout(seconds_max):
            return await _whole(receive, bytes_max)
    except TimeoutError:
        raise RequestTimeout(f"the body did not come within {seconds_max:g} seconds; send it again") from None


async def _whole(receive: Receive, bytes_max: int) -> bytes:
    message = await _received(receive)
    first: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return _within(first, bytes_max)
    parts = bytearray(first)
    while message.get("more_body", False):
        _within(parts, bytes_max)
        message = await _received(receive)
        parts += message.get("body", b"")
    return bytes(_within(parts, bytes_max))


def check_media_type(content_type: bytes | None) -> None:
    """Raise UnsupportedMediaType unless the body is declared as JSON, or not at all."""
    if content_type is None or not content_type.strip():
        return
    media_type, *parameters = (part.strip().lower() for part in content_type.split(b";"))
    is_json = media_type in _JSON_TYPES or (media_type.startswith(b"application/") and media_type.endswith(b"+json"))
    charsets = [each.partition(b"=")[2].strip(b' "') for each in parameters if each.startswith(b"charset")]
    if not is_json or any(charset not in (b"utf-8", b"utf8", b"us-ascii") for charset in charsets):
        raise UnsupportedMediaType("the body must be JSON in UTF-8: send Content-Type: application/json")


def check_lines_type(content_type: bytes) -> None:
    """Raise UnsupportedMediaType for what is surely no text of lines: a form, or a picture."""
    media_type = content_type.split(b";")[0].strip().lower()
    if media_type and media_type not in _LINES_TYPES:
        raise UnsupportedMediaType("the body must be an export: send Content-Type: application/x-ndjson")


def parsed(body: bytes) -> Any:
    """The JSON value of a body. Raises BadBody; an empty body is reported as a missing one."""
    if not body.strip():
        raise BadBody([{"type": "missing", "loc": ["body"], "msg": "Field required"}])
    try:
        value = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        if surrogate := _lone_surrogate(body):
            raise surrogate from None
        reason = str(error)
        raise BadBody(
            [{"type": "json_invalid", "loc": ["body"], "msg": f"JSON decode error: {reason}", "ctx": {"error": reason}}]
        ) from None
    if b"\\u0000" in body:
        refuse_nul(value)
    return value


def _lone_surrogate(body: bytes) -> BadBody | None:
    """The refusal that names the place, when half a character (``\\ud800`` alone) is why the body could not be read."""
    if not _SURROGATE.search(body):
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None  # something else is wrong as well; the parser's own message says what
    for text, where in _texts(value):
        if any("\ud800" <= character <= "\udfff" for character in text):
            place = [part.encode("utf-8", "replace").decode() if isinstance(part, str) else part for part in where]
            message = "must not contain a lone surrogate: it is half a character, which UTF-8 cannot hold"
            return BadBody([{"type": "lone_surrogate", "loc": place, "msg": message}])
    return None


def _texts(value: Any) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Every text of a JSON value, keys included, with its place."""
    waiting: list[tuple[Any, tuple[str | int, ...]]] = [(value, ("body",))]
    while waiting:
        current, where = waiting.pop()
        if isinstance(current, str):
            yield current, where
        elif isinstance(current, dict):
            for key, each in cast("dict[str, Any]", current).items():
                yield key, where
                waiting.append((each, (*where, key)))
        elif isinstance(current, list):
            waiting.extend((each, (*where, index)) for index, each in enumerate(cast("list[Any]", current)))


def refuse_nul(value: Any) -> None:
    """Raise BadBody that names the first text with a NUL: engines disagree about it, so none is ever stored."""
    for text, where in _texts(value):
        if "\0" in text:
            place = [part.replace("\0", "\ufffd") if isinstance(part, str) else part for part in where]
            raise BadBody([{"type": "nul_character", "loc": place, "msg": "must not contain the NUL character"}])


def validated(model: type[Model], value: Any, *location: str | int) -> Model:
    """The value as the model. Raises BadBody with ``location`` before each place."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise BadBody.of(error, *location) from None


async def validated_in_chunks(
    adapter: TypeAdapter[list[Model]], items: Sequence[Any], *location: str | int
) -> AsyncGenerator[list[Model]]:
    """Many items as models, a chunk at a time; other requests are served in between. Raises BadBody."""
    for start in range(0, len(items), CHUNK):
        if start:
            await asyncio.sleep(0)
        try:
            yield adapter.validate_python(items[start : start + CHUNK])
        except ValidationError as error:
            raise _moved(BadBody.of(error), start, location) from None


def _moved(error: BadBody, start: int, location: tuple[str | int, ...]) -> BadBody:
    return BadBody(
        [{**each, "loc": [*location, start + int(each["loc"][0]), *each["loc"][1:]]} for each in error.problems]
    )


async def _received(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def _within(body: bytes | bytearray, bytes_max: int) -> Any:
    if len(body) > bytes_max:
        raise body_too_large(bytes_max)
    return body


def body_too_large(bytes_max: int) -> BodyTooLarge:
    return BodyTooLarge(f"the request body is larger than {bytes_max} bytes (MAX_BODY_BYTES)")
