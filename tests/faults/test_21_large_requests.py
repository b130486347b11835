"""Check 21: large bodies meet documented limits, quickly, without being read to the end and without growing the server."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.problem_details import assert_problem
from tests.server_process import ServerProcess

MIB = 1024 * 1024
LIMIT_BYTES = 16 * MIB
ANSWER_TIME_MAX_S = 1.0
GROWTH_MAX_BYTES = 200 * MIB
"""A body is held as bytes and as JSON at once: some few times the largest one that is accepted."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServerProcess]:
    """A server whose memory nobody else grows."""
    with ServerProcess(tmp_path_factory.mktemp("large") / "data") as started:
        yield started


@dataclass
class Raw:
    """What a connection saw: how much it could send before the answer came, the answer, and when its first byte came."""

    sent_bytes: int
    status: int
    head: str
    body: str
    after_s: float


def send_raw(server: ServerProcess, path: str, body_bytes: int, *, chunked: bool = False) -> Raw:
    """POST so many bytes of a JSON text, and stop as soon as the server answers."""
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {body_bytes}"
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    piece = b'{"memories":[{"id":"x","text":"' + b"a" * (64 * 1024)
    started = time.monotonic()
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode())
        connection.setblocking(False)
        waiting = b""
        while sent < body_bytes:
            readable, writable, _ = select.select([connection], [connection], [], 10)
            if readable:
                break
            if writable:
                if not waiting:
                    waiting = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece[: body_bytes - sent]
                with contextlib.suppress(BlockingIOError):
                    count = connection.send(waiting)
                    sent, waiting = sent + count, waiting[count:]
        connection.settimeout(10)
        answer = connection.recv(65536)
        after_s = time.monotonic() - started
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                answer += more
    top, _, body = answer.partition(b"\r\n\r\n")
    return Raw(sent, int(top.split()[1]), top.decode().lower(), body.decode(), after_s)


@pytest.mark.parametrize("size_mib", [20, 60])
def test_check_21_a_declared_large_body_is_refused_unread(server: ServerProcess, size_mib: int) -> None:
    """Content-Length above the limit: 413 within a second, before a noteworthy part of the body was taken."""
    before = server.memory_peak_bytes()
    raw = send_raw(server, "/v1/long-term-memory/", size_mib * MIB)
    assert raw.status == 413, raw.head
    assert "application/problem+json" in raw.head
    assert str(LIMIT_BYTES) in raw.body
    assert raw.after_s < ANSWER_TIME_MAX_S
    assert raw.sent_bytes < 8 * MIB, f"{raw.sent_bytes} bytes were taken before the answer"
    assert server.memory_peak_bytes() - before < 20 * MIB


def test_check_21_an_undeclared_large_body_stops_at_the_limit(server: ServerProcess) -> None:
    """Chunked, with no length to know in advance: 413 once the limit is reached, not at the end of 60 MB."""
    raw = send_raw(server, "/v1/working-memory/x/messages", 60 * MIB, chunked=True)
    assert raw.status in (405, 413), raw.head
    assert raw.status == 413, raw.head
    # Beside what the server read there is what the kernel holds for both sides, up to 10 MB on a busy machine.
    assert raw.sent_bytes < 2 * LIMIT_BYTES
    assert raw.after_s < 2 * ANSWER_TIME_MAX_S


def timed(server: ServerProcess, method: str, path: str, body: dict[str, Any]) -> tuple[Any, float]:
    content = json.dumps(body).encode()
    with server.client() as client:
        started = time.monotonic()
        response = client.request(method, path, content=content, headers={"content-type": "application/json"})
        return response, time.monotonic() - started


@pytest.mark.parametrize(
    ("why", "method", "path", "body", "field"),
    [
        (
            "100k messages in a PUT",
            "PUT",
            "/v1/working-memory/many",
            {"messages": [{"role": "user", "content": "hi"}] * 100_000},
            "messages",
        ),
        (
            "100k messages in an append",
            "POST",
            "/v1/working-memory/many/messages",
            {"messages": [{"role": "user", "content": "hi"}] * 100_000},
            "messages",
        ),
        (
            "10k topics",
            "POST",
            "/v1/long-term-memory/",
            {"memories": [{"id": "t", "text": "t", "topics": [f"topic {n}" for n in range(10_000)]}]},
            "topics",
        ),
        (
            "10k memories",
            "POST",
            "/v1/long-term-memory/",
            {"memories": [{"id": f"m{n}", "text": "t"} for n in range(10_000)]},
            "memories",
        ),
        ("a memory of 1 MB", "POST", "/v1/long-term-memory/", {"memories": [{"id": "l", "text": "a" * MIB}]}, "text"),
        ("a query of 1 MB", "POST", "/v1/long-term-memory/search", {"text": "word " * (MIB // 5)}, "text"),
        (
            "a filter of 10k values",
            "POST",
            "/v1/long-term-memory/search",
            {"user_id": {"any": [f"u{n}" for n in range(10_000)]}},
            "user_id",
        ),
        ("data of 5 MB", "PUT", "/v1/working-memory/data", {"data": {"k": "a" * 5 * MIB}}, "data"),
        ("an id of 100k", "POST", "/v1/long-term-memory/", {"memories": [{"id": "i" * 100_000, "text": "t"}]}, "id"),
        ("a user of 10k", "PUT", "/v1/working-memory/u", {"user_id": "u" * 10_000}, "user_id"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_check_21_counts_have_limits(
    server: ServerProcess, why: str, method: str, path: str, body: dict[str, Any], field: str
) -> None:
    """What is too many or too long is 422 within a second, and the answer names the field and stays short."""
    response, took_s = timed(server, method, path, body)
    problem = assert_problem(response, 422)
    assert any(field in [str(part) for part in each["loc"]] for each in problem["detail"]), problem
    assert took_s < ANSWER_TIME_MAX_S, f"{why}: {took_s:.2f} s"
    assert len(response.content) < 64 * 1024


@pytest.mark.parametrize("size_mib", [1, 5])
def test_check_21_bodies_within_the_limit_round_trip(server: ServerProcess, size_mib: int) -> None:
    """1 and 5 MB of messages are stored, read back equal, and health answers meanwhile."""
    count = size_mib * 10
    messages = [
        {
            "id": f"m{n}",
            "role": "user",
            "content": f"{n} " + "word " * (MIB // 50),
            "created_at": "2024-05-01T10:00:00Z",
        }
        for n in range(count)
    ]
    response, took_s = timed(server, "PUT", f"/v1/working-memory/size-{size_mib}", {"messages": messages})
    assert response.status_code == 200, response.text[:300]
    assert took_s < 2 * size_mib * ANSWER_TIME_MAX_S
    with server.client() as client:
        read = client.get(f"/v1/working-memory/size-{size_mib}").json()["messages"]
    assert [each["content"] for each in read] == [each["content"] for each in messages]


def test_check_21_memory_stays_bounded_under_many_large_requests(tmp_path: Path) -> None:
    """Eight bodies of 15 MB, refused by their content, one after another: the peak does not add up."""
    body = {"messages": [{"role": "user", "content": "hi there"}] * 300_000}
    with ServerProcess(tmp_path / "data") as server:
        before = server.memory_peak_bytes()
        for _ in range(8):
            response, _ = timed(server, "PUT", "/v1/working-memory/many", body)
            assert_problem(response, 422)
        growth = server.memory_peak_bytes() - before
        assert growth < GROWTH_MAX_BYTES, f"grew by {growth / MIB:.0f} MiB"
