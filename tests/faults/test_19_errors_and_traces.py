"""Check 19: every error path is problem+json without internals; a good traceparent is continued, a bad one replaced."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from tests.problem_details import assert_problem
from tests.server_process import ServerProcess

ERRORS: Sequence[tuple[str, str, str, dict[str, Any], set[int]]] = [
    ("unknown route", "GET", "/v1/nothing-here", {}, {404}),
    ("unknown root", "GET", "/nothing", {}, {404}),
    ("wrong method", "POST", "/v1/health", {}, {405}),
    ("wrong method on an item", "POST", "/v1/long-term-memory/x", {}, {405}),
    ("absent session", "GET", "/v1/working-memory/absent", {}, {404}),
    ("absent memory", "GET", "/v1/long-term-memory/absent", {}, {404}),
    ("absent to edit", "PATCH", "/v1/long-term-memory/absent", {"json": {"text": "x"}}, {404}),
    ("nothing to edit", "PATCH", "/v1/long-term-memory/absent", {"json": {}}, {400}),
    ("absent to patch", "PATCH", "/v1/working-memory/absent", {"json": {"context": "x"}}, {404}),
    ("query out of range", "GET", "/v1/working-memory/?limit=0", {}, {422}),
    ("query of a wrong type", "GET", "/v1/working-memory/?limit=many", {}, {422}),
    ("huge query number", "GET", "/v1/working-memory/?offset=99999999999999999999999999", {}, {422}),
    ("foreign cursor", "GET", "/v1/long-term-memory?cursor=%27%3B%20DROP%20TABLE", {}, {422}),
    ("blank scope", "GET", "/v1/working-memory/?namespace=%20", {}, {422}),
    ("empty filter scope", "POST", "/v1/long-term-memory/search", {"json": {"user_id": {"eq": ""}}}, {422}),
    ("empty filter list", "POST", "/v1/long-term-memory/search", {"json": {"topics": {"any": []}}}, {422}),
    ("unknown operator", "POST", "/v1/long-term-memory/search", {"json": {"topics": {"like": "x"}}}, {422}),
    ("filter as text", "POST", "/v1/long-term-memory/search", {"json": {"user_id": "alice"}}, {422}),
    ("unknown memory type", "POST", "/v1/long-term-memory/search", {"json": {"memory_type": {"eq": "x"}}}, {422}),
    (
        "threshold with keywords",
        "POST",
        "/v1/long-term-memory/search",
        {"json": {"text": "x", "search_mode": "keyword", "distance_threshold": 0.3}},
        {400},
    ),
    (
        "no JSON",
        "POST",
        "/v1/long-term-memory/",
        {"content": b"{", "headers": {"content-type": "application/json"}},
        {422},
    ),
    ("no UTF-8", "POST", "/v1/long-term-memory/", {"content": b'{"memories": ["\xff"]}'}, {422}),
    ("NaN", "POST", "/v1/long-term-memory/search", {"content": b'{"hybrid_alpha": NaN}'}, {422}),
    (
        "deep JSON",
        "PUT",
        "/v1/working-memory/deep",
        {"content": b'{"data":' + b'{"a":' * 200 + b"1" + b"}" * 201},
        {422},
    ),
    ("very deep JSON", "PUT", "/v1/working-memory/deep", {"content": b"[" * 100_000}, {422}),
    ("no body", "POST", "/v1/long-term-memory/", {}, {422}),
    ("list for an object", "PUT", "/v1/working-memory/x", {"json": []}, {422}),
    ("null body", "PUT", "/v1/working-memory/x", {"json": None, "content": b"null"}, {422}),
    ("form body", "PUT", "/v1/working-memory/x", {"data": {"messages": "x"}}, {415, 422}),
    (
        "blank message",
        "PUT",
        "/v1/working-memory/x",
        {"json": {"messages": [{"role": "user", "content": "  "}]}},
        {400},
    ),
    ("empty memory id", "POST", "/v1/long-term-memory/", {"json": {"memories": [{"id": "", "text": "x"}]}}, {422}),
    ("blank memory", "POST", "/v1/long-term-memory/", {"json": {"memories": [{"id": "x", "text": " "}]}}, {422}),
    (
        "comma in a tag",
        "POST",
        "/v1/long-term-memory/",
        {"json": {"memories": [{"id": "x", "text": "x", "topics": ["a,b"]}]}},
        {422},
    ),
    (
        "message of the future",
        "PUT",
        "/v1/working-memory/x",
        {"json": {"messages": [{"role": "user", "content": "x", "created_at": "2999-01-01T00:00:00Z"}]}},
        {422},
    ),
    ("negative TTL", "PUT", "/v1/working-memory/x", {"json": {"ttl_seconds": -1}}, {422}),
    ("NUL in a text", "PUT", "/v1/working-memory/x", {"content": b'{"context": "a\\u0000b"}'}, {422}),
    ("lone surrogate", "PUT", "/v1/working-memory/x", {"content": b'{"context": "\\ud800"}'}, {422}),
    ("broken percent encoding", "GET", "/v1/working-memory/%ff%fe", {}, {400}),
    ("NUL in a path", "GET", "/v1/working-memory/a%00b", {}, {400, 404, 422}),
    ("unknown policy", "POST", "/v1/long-term-memory/forget", {"json": {"max_age_days": 1}}, {422}),
    ("no session, no search", "POST", "/v1/memory/prompt", {"json": {"query": "q"}}, {400}),
    ("SQL as an id", "GET", "/v1/long-term-memory/'%20OR%201=1%20--", {}, {404}),
]


@pytest.mark.parametrize(
    ("method", "path", "options", "statuses"), [row[1:] for row in ERRORS], ids=[e[0] for e in ERRORS]
)
def test_check_19_every_error_is_a_problem_document(
    shared_server: ServerProcess, method: str, path: str, options: dict[str, Any], statuses: set[int]
) -> None:
    """The status is the documented one, the body is a problem document, and it shows nothing of the inside."""
    with shared_server.client() as client:
        body = {key: value for key, value in options.items() if value is not None}
        response = client.request(method, path, **body)
    problem = assert_problem(response, *statuses, sent="'; DROP TABLE")
    if response.status_code == 422:
        found: list[dict[str, Any]] = problem["detail"]
        assert all(each["loc"] and each["msg"] and each["type"] for each in found)
    else:
        assert isinstance(problem["detail"], str)


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize("flags", ["00", "01"])
def test_check_19_a_good_traceparent_is_continued(shared_server: ServerProcess, flags: str) -> None:
    """The caller's trace id is that of the answer, success or error, under a span of our own."""
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-{flags}"}
    with shared_server.client() as client:
        for path in ("/v1/health", "/v1/working-memory/absent"):
            response = client.get(path, headers=headers)
            version, trace, span, _ = response.headers["traceparent"].split("-")
            assert (version, trace) == ("00", TRACE)
            assert span != PARENT
            assert re.fullmatch(r"[0-9a-f]{16}", span)
        assert TRACE in response.json()["instance"]


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-extra",
        f"00-{TRACE}x-{PARENT}-01",
        "00-" + "a" * 5000,
    ],
)
def test_check_19_a_bad_traceparent_is_replaced(shared_server: ServerProcess, traceparent: str) -> None:
    """Anything that is not a valid traceparent begins a new trace, which the error names."""
    with shared_server.client() as client:
        response = client.get("/v1/working-memory/absent", headers={"traceparent": traceparent})
    trace = response.headers["traceparent"].split("-")[1]
    assert re.fullmatch(r"[0-9a-f]{32}", trace)
    assert trace not in (TRACE, "0" * 32)
    assert trace in assert_problem(response, 404)["instance"]


def test_check_19_two_requests_have_two_traces(shared_server: ServerProcess) -> None:
    """Without a traceparent each request has an id of its own."""
    with shared_server.client() as client:
        ids = {client.get("/v1/health").headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


def raw_answer(server: ServerProcess, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """What the server answers to these bytes: status, headers in lower case, body."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(sent)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(65536):
                answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"this is not HTTP\r\n\r\n", 400),
        (b"GET /v1/health HTTP/9.9\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /v1/health?x=" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST /v1/memory/prompt HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400),
        (b"GET /v1/health HTTP/1.1\r\nHost: x\r\nX-Endless: " + b"a" * 300_000, 431),
    ],
    ids=["words", "version", "TLS", "long URL", "bad length", "endless header"],
)
def test_check_19_what_is_not_http_is_a_problem_too(shared_server: ServerProcess, sent: bytes, status: int) -> None:
    """Below the application as well: bytes that are no request, and heads without end, get a problem document."""
    answered, headers, body = raw_answer(shared_server, sent)
    assert answered == status, body
    assert headers["content-type"].split(";")[0] == "application/problem+json"
    assert json.loads(body)["status"] == status
    with shared_server.client() as client:
        assert client.get("/v1/health").status_code == 200
