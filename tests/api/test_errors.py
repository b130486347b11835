"""Every error is problem+json with the ``detail`` that clients read, and tells nothing of the inside."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from agent_memory_server import errors
from agent_memory_server.api.answers import Answer
from agent_memory_server.api.dependencies import Runtime
from agent_memory_server.api.dispatch import Dispatcher
from agent_memory_server.api.middleware import Gateway
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.memories import AckResponse
from agent_memory_server.testing.running import running_app

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROBLEM_FIELDS = {"type", "title", "status", "detail", "instance"}
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/nowhere", 404),
        ("GET", "/v1/working-memory/missing-session", 404),
        ("GET", "/v1/long-term-memory/missing-memory", 404),
        ("DELETE", "/v1/health", 405),
        ("POST", "/v1/working-memory/x", 405),
        ("PUT", "/v1/long-term-memory/x", 405),
        ("TRACE", "/v1/working-memory", 405),
        ("GET", "/v1/working-memory/?limit=0", 422),
        ("PUT", "/v1/working-memory/x", 422),
    ],
)
async def test_every_error_is_a_problem_document(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    """With the same status inside and outside, and the trace id as its instance."""
    response = await client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json().keys() == PROBLEM_FIELDS
    assert response.json()["status"] == status
    assert response.json()["instance"] == f"urn:trace:{response.headers['x-request-id']}"
    assert response.headers["cache-control"] == "no-store"


async def test_a_wrong_method_says_which_are_allowed(client: httpx.AsyncClient) -> None:
    """Allow names all methods of the path, of fixed and by-id routes together."""
    response = await client.put("/v1/long-term-memory/search")
    assert response.headers["allow"] == "GET, PATCH, POST"


@pytest.mark.parametrize("flags", ["00", "01"])
async def test_a_good_traceparent_is_continued(client: httpx.AsyncClient, flags: str) -> None:
    """Same trace, another span, in every answer."""
    sent = f"00-{TRACE_ID}-00f067aa0ba902b7-{flags}"
    for path in ("/v1/health", "/nowhere", "/v1/working-memory/?limit=0"):
        response = await client.get(path, headers={"traceparent": sent})
        returned = response.headers["traceparent"]
        assert re.fullmatch(rf"00-{TRACE_ID}-[0-9a-f]{{16}}-{flags}", returned)
        assert returned != sent
        assert response.headers["x-request-id"] == TRACE_ID


@pytest.mark.parametrize(
    "sent",
    [
        "", "nonsense", f"ff-{TRACE_ID}-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE_ID}-{'0' * 16}-01", f"00-{TRACE_ID.upper()}-00f067aa0ba902b7-01", f"00-{TRACE_ID}-00f067aa0ba902b7-01-x",
        f"00-{TRACE_ID}", "x" * 10_000,
    ],
)  # fmt: skip
async def test_a_bad_traceparent_is_replaced(client: httpx.AsyncClient, sent: str) -> None:
    """By a fresh one; the request itself is served."""
    response = await client.get("/v1/health", headers={"traceparent": sent})
    assert response.status_code == 200
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", response.headers["traceparent"])
    assert TRACE_ID not in response.headers["traceparent"]


async def test_data_is_never_cached_and_types_never_guessed(client: httpx.AsyncClient) -> None:
    """Cheap headers on every answer."""
    response = await client.get("/v1/working-memory/")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"


# -- failures of what we depend on, at a gateway of our own


def raising(error: Exception) -> httpx.AsyncClient:
    """A client of an API whose only endpoint fails so."""

    async def fail(call: Call) -> Answer:
        raise error

    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("no other path is asked for")

    operation = Operation(method="GET", path="/fail", handler=fail, permission=None, answers=AckResponse)
    gateway = Gateway(nothing, dispatcher=Dispatcher([operation]), runtime=Runtime(body_bytes_max=1024))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=gateway), base_url="http://agent-memory")


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (errors.StoreUnavailable("the store is down", retry_after_s=3), 503, "3"),
        (errors.StoreTimeout(), 504, "1"),
        (errors.StoreFull(), 507, "1"),
        (errors.EmbedderUnavailable(), 503, "1"),
        (errors.TooManyRequests("slow down", retry_after_s=7), 429, "7"),
        (errors.NotPermitted("no"), 403, None),
        (errors.StaleRevision("stale"), 412, None),
    ],
)
async def test_a_deliberate_failure_keeps_its_status_and_says_when_to_retry(
    error: errors.MemoryServerError, status: int, retry_after: str | None
) -> None:
    """503, 504, 507 and 429 carry Retry-After."""
    async with raising(error) as failing:
        response = await failing.get("/fail")
    assert (response.status_code, response.headers.get("retry-after")) == (status, retry_after)
    assert response.json()["detail"] == error.detail


async def test_an_unexpected_failure_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """500 without its words; the log has them, under the trace id."""
    async with raising(RuntimeError("SELECT secret FROM /var/lib/x")) as failing:
        response = await failing.get("/fail")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "secret" not in response.text
    assert response.json()["detail"] == "Internal server error"


async def test_no_credential_says_how_to_authenticate() -> None:
    """401 carries WWW-Authenticate."""
    async with raising(errors.NotAuthenticated("Missing authorization header")) as failing:
        response = await failing.get("/fail")
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


# -- sizes


@pytest.fixture
async def small() -> AsyncGenerator[httpx.AsyncClient]:
    async with running_app(max_body_bytes=1024) as running:
        yield running.client


async def test_a_body_beyond_the_limit_is_413(small: httpx.AsyncClient) -> None:
    """By its declared length at once, and while it streams in without one."""

    async def parts() -> AsyncGenerator[bytes]:
        for _ in range(100):
            yield b" " * 100

    for content in (b" " * 1025, parts()):
        response = await small.put("/v1/working-memory/x", content=content)
        assert response.status_code == 413
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["connection"] == "close"
    assert (await small.put("/v1/working-memory/x", content=b"{}".ljust(1024))).status_code == 200
