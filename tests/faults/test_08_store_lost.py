"""Check 8: the database becomes unusable under a running server: every answer says so, none pretends that nothing is there."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_memory_server.api.routes import OPERATIONS
from tests.faults.traffic import memory, message
from tests.problem_details import assert_problem
from tests.server_process import START_TIMEOUT_S, ServerProcess, wait_for_no_pending_work
from tests.waiting import wait_until

ANSWER_TIME_MAX_S = 5.0
NAMESPACE = "lost"


_TIMES = dict.fromkeys(("created_at", "updated_at", "last_accessed"), "2026-01-01T00:00:00Z")
AN_EXPORT = "\n".join(
    map(
        json.dumps,
        (
            {"kind": "export", "format": "agent-memory-export", "version": 1},
            {
                "kind": "memory",
                "id": "x",
                "text": "tea",
                "memory_type": "semantic",
                "extraction_strategy": "discrete",
                "namespace": NAMESPACE,
                **_TIMES,
            },
            {"kind": "end", "counts": {"memory": 1}},
        ),
    )
)


DATA_ROUTES = {
    (operation.method, operation.path): re.compile(re.sub(r"\{\w+\}", "[^/]+", operation.path.rstrip("/")))
    for operation in OPERATIONS
    if operation.name not in ("health", "ready")
}
"""All that the server offers, by method and path; how a request's path is known as one of them."""


def route_of(request: httpx.Request) -> tuple[str, str] | None:
    """Which of the data routes a request asks for; the one with most words of its own where several fit."""
    path = request.url.path.rstrip("/")
    fitting = [each for each, form in DATA_ROUTES.items() if each[0] == request.method and form.fullmatch(path)]
    return min(fitting, key=lambda each: each[1].count("{"), default=None)


def operations(client: httpx.Client) -> dict[str, Callable[[], httpx.Response]]:
    """Every data route, some in several ways: what exists, what does not, and what is empty answer alike without a store."""
    scope = {"namespace": NAMESPACE}
    body: dict[str, Any] = {"messages": [message("new", "new words")], **scope}
    search: dict[str, Any] = {"text": "tea", "namespace": {"eq": NAMESPACE}}
    return {
        "GET session": lambda: client.get("/v1/working-memory/s", params=scope),
        "GET absent session": lambda: client.get("/v1/working-memory/absent", params=scope),
        "list sessions": lambda: client.get("/v1/working-memory/", params=scope),
        "list sessions of nobody": lambda: client.get("/v1/working-memory/", params={"namespace": "nobody"}),
        "page messages": lambda: client.get("/v1/working-memory/s/messages", params=scope),
        "PUT session": lambda: client.put("/v1/working-memory/s", json=body),
        "PUT new session": lambda: client.put("/v1/working-memory/new", json=body),
        "append": lambda: client.post("/v1/working-memory/s/messages", json=body),
        "PATCH session": lambda: client.patch("/v1/working-memory/s", json={"context": "x", **scope}),
        "DELETE session": lambda: client.delete("/v1/working-memory/s", params=scope),
        "GET memory": lambda: client.get("/v1/long-term-memory/m"),
        "GET absent memory": lambda: client.get("/v1/long-term-memory/absent"),
        "list memories": lambda: client.get("/v1/long-term-memory", params=scope),
        "create": lambda: client.post("/v1/long-term-memory/", json={"memories": [memory("n", "new", NAMESPACE)]}),
        "edit": lambda: client.patch("/v1/long-term-memory/m", json={"text": "x"}),
        "delete memory": lambda: client.delete("/v1/long-term-memory", params={"memory_ids": "m"}),
        "search semantic": lambda: client.post("/v1/long-term-memory/search", json=search),
        "search keyword": lambda: client.post("/v1/long-term-memory/search", json={**search, "search_mode": "keyword"}),
        "search hybrid": lambda: client.post("/v1/long-term-memory/search", json={**search, "search_mode": "hybrid"}),
        "search listing": lambda: client.post("/v1/long-term-memory/search", json={"namespace": {"eq": NAMESPACE}}),
        "forget": lambda: client.post(
            "/v1/long-term-memory/forget", params=scope, json={"policy": {"max_age_days": 1}}
        ),
        "compact": lambda: client.post("/v1/long-term-memory/compact", params=scope),
        "prompt": lambda: client.post(
            "/v1/memory/prompt",
            json={"query": "tea", "session": {"session_id": "s", **scope}, "long_term_search": search},
        ),
        "pending": lambda: client.get("/v1/pending"),
        "explain": lambda: client.post("/v1/long-term-memory/search/explain", json=search),
        "extract": lambda: client.post(
            "/v1/long-term-memory/extract",
            json={"messages": [message("e", "I live in Paris and my dog is called Rex.")], "dry_run": False, **scope},
        ),
        "history": lambda: client.get("/v1/long-term-memory/m/history"),
        "operations": lambda: client.get("/v1/operations"),
        "an operation": lambda: client.get("/v1/operations/absent"),
        "undo": lambda: client.post("/v1/operations/absent/undo"),
        "events": lambda: client.get("/v1/events", params={"wait_seconds": 0}),
        "views": lambda: client.get("/v1/summary-views"),
        "a view": lambda: client.get("/v1/summary-views/absent"),
        "create a view": lambda: client.post(
            "/v1/summary-views", json={"source": "long_term", "group_by": ["user_id"]}
        ),
        "delete a view": lambda: client.delete("/v1/summary-views/absent"),
        "run a view": lambda: client.post("/v1/summary-views/absent/run", json={}),
        "partitions of a view": lambda: client.get("/v1/summary-views/absent/partitions"),
        "run a partition": lambda: client.post(
            "/v1/summary-views/absent/partitions/run", json={"group": {"user_id": "nobody"}}
        ),
        "tasks": lambda: client.get("/v1/tasks"),
        "a task": lambda: client.get("/v1/tasks/absent"),
        "replay": lambda: client.post("/v1/tasks/absent/replay"),
        "webhooks": lambda: client.get("/v1/webhooks"),
        "create a webhook": lambda: client.post("/v1/webhooks", json={"url": "https://192.0.32.8/"}),
        "delete a webhook": lambda: client.delete("/v1/webhooks/absent"),
        "deliveries": lambda: client.get("/v1/webhooks/absent/deliveries"),
        "export of a user": lambda: client.get("/v1/users/nobody/export"),
        "export": lambda: client.get("/v1/export"),
        "import": lambda: client.post("/v1/import", content=AN_EXPORT),
        "erase a user": lambda: client.post("/v1/users/nobody/erase"),
        "what an erasure would do": lambda: client.post("/v1/users/nobody/erase", params={"dry_run": True}),
        "erase a namespace": lambda: client.post("/v1/namespaces/nobody/erase"),
        "erase a session": lambda: client.post("/v1/working-memory/s/erase"),
        "erase a memory": lambda: client.post("/v1/long-term-memory/m/erase"),
        "whether content is refused": lambda: client.post("/v1/refused-content/check", json={"text": "tea"}),
        "allow content again": lambda: client.post("/v1/refused-content/allow", json={"text": "tea"}),
        "check a receipt": lambda: client.post("/v1/erasure-receipts/check", json={"id": "made up"}),
    }


def fill(client: httpx.Client) -> None:
    """A session and a memory, and no work in flight."""
    created = client.post("/v1/long-term-memory/", json={"memories": [memory("m", "tea is green", NAMESPACE)]})
    assert created.status_code == 200, created.text
    body = {"messages": [message("a", "hello")], "namespace": NAMESPACE}
    assert client.put("/v1/working-memory/s", json=body).status_code == 200
    wait_for_no_pending_work(client)


def failures_to_say_so(client: httpx.Client) -> list[str]:
    """The operations that did not answer as a store outage has to be answered, each with its answer."""
    wrong: list[str] = []
    forgotten = set(DATA_ROUTES)
    for name, operation in operations(client).items():
        started = time.monotonic()
        response = operation()
        took_s = time.monotonic() - started
        forgotten -= {route_of(response.request)}
        if response.status_code not in (503, 504):
            wrong.append(f"{name}: {response.status_code} {response.text[:120]}")
            continue
        assert_problem(response, 503, 504)
        if took_s > ANSWER_TIME_MAX_S:
            wrong.append(f"{name}: answered after {took_s:.1f} s")
    wrong += [f"nothing here asks {method} {path}" for method, path in sorted(forgotten)]
    health = client.get("/v1/health")
    if health.status_code != 200:
        wrong.append(f"health: {health.status_code}")
    ready = client.get("/v1/ready")
    if ready.status_code != 503 or ready.json().get("ready") is not False:
        wrong.append(f"ready: {ready.status_code} {ready.text[:120]}")
    return wrong


def replace_by_garbage(folder: Path) -> None:
    """Every file of the database is overwritten in place, as a failing disk or a careless script would."""
    for path in folder.iterdir():
        size = max(path.stat().st_size, 8192)
        with path.open("r+b") as file:
            file.write(b"\xde\xad\xbe\xef" * (size // 4))


def remove_files(folder: Path) -> None:
    """The files are unlinked while the server has them open: what it writes from now on reaches nobody."""
    for path in folder.iterdir():
        path.unlink()


def replace_by_folder(folder: Path) -> None:
    """The database's name now belongs to a folder."""
    remove_files(folder)
    (folder / "memory.db").mkdir()


def replace_by_empty_files(folder: Path) -> None:
    """The files are truncated: an empty database is a failure, not an empty store.

    All but the index of the log, which SQLite keeps mapped: shortening a mapped file ends any process that reads it.
    """
    for path in (each for each in folder.iterdir() if not each.name.endswith("-shm")):
        with path.open("r+b") as file:
            file.truncate(0)


@pytest.mark.parametrize("harm", [replace_by_garbage, remove_files, replace_by_folder, replace_by_empty_files])
def test_check_08_a_lost_store_is_said_everywhere(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """Every data route answers 503 problem+json with Retry-After within 5 s; health stays 200 and ready turns 503."""
    with ServerProcess(tmp_path / "data") as server, server.client() as client:
        fill(client)
        assert client.get("/v1/ready").json()["ready"] is True
        harm(server.data_dir)
        assert failures_to_say_so(client) == []


def test_check_08_a_store_that_comes_back_is_used_again(tmp_path: Path) -> None:
    """The folder vanishes and returns (an unmounted disk): 503 meanwhile, then everything is there without a restart."""
    away = tmp_path / "elsewhere"
    with ServerProcess(tmp_path / "data") as server, server.client() as client:
        fill(client)
        server.data_dir.rename(away)
        assert failures_to_say_so(client) == []
        if server.data_dir.exists():  # a server may make its folder anew, but must not serve an empty store from it
            for path in server.data_dir.iterdir():
                path.unlink()
            server.data_dir.rmdir()
        away.rename(server.data_dir)
        wait_until(lambda: client.get("/v1/ready").status_code == 200, "the server did not recover", 10.0)
        assert client.get("/v1/long-term-memory/m").json()["text"] == "tea is green"
        assert client.get("/v1/working-memory/s", params={"namespace": NAMESPACE}).status_code == 200
        created = client.post("/v1/long-term-memory/", json={"memories": [memory("after", "written after", NAMESPACE)]})
        assert created.status_code == 200
        server.kill()
        server.start()
        assert client.get("/v1/long-term-memory/after").json()["text"] == "written after"


def test_check_08_a_corrupt_file_is_never_started_over(tmp_path: Path) -> None:
    """A server started on garbage does not serve an empty store and leaves the file for a person to rescue."""
    data = tmp_path / "data"
    data.mkdir()
    garbage = b"this is not a database " * 1000
    (data / "memory.db").write_bytes(garbage)
    server = ServerProcess(data)
    server.launch()
    try:

        def decided() -> bool:
            if server.exit_status() is not None:
                return True
            try:
                return httpx.get(f"{server.url}/v1/ready").status_code == 503
            except httpx.TransportError:
                return False

        wait_until(decided, "the server neither refused to start nor said that it is not ready", START_TIMEOUT_S)
        assert server.exit_status() != 0
        assert "Traceback" not in server.log
    finally:
        server.kill()
    assert (data / "memory.db").read_bytes() == garbage


def test_check_08_a_store_that_is_held_up_is_said_too(tmp_path: Path) -> None:
    """Another program holds the file's write lock: writes are 503 within 5 s, reads go on, and nothing is lost afterwards."""
    with ServerProcess(tmp_path / "data") as server, server.client() as client:
        fill(client)
        with contextlib.closing(sqlite3.connect(server.data_dir / "memory.db", isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            new = {"memories": [memory("held", "written while held", NAMESPACE)]}
            session = {"messages": [message("b", "held")], "namespace": NAMESPACE}
            started = time.monotonic()
            with ThreadPoolExecutor() as pool:
                answers = [
                    pool.submit(client.post, "/v1/long-term-memory/", json=new),
                    pool.submit(client.post, "/v1/working-memory/s/messages", json=session),
                ]
                for answer in answers:
                    assert_problem(answer.result(), 503, 504)
            assert time.monotonic() - started < ANSWER_TIME_MAX_S
            assert client.get("/v1/long-term-memory/m").json()["text"] == "tea is green"
            assert client.get("/v1/working-memory/s", params={"namespace": NAMESPACE}).status_code == 200
            holder.execute("ROLLBACK")
        wait_until(
            lambda: client.post("/v1/long-term-memory/", json=new).status_code == 200, "writes did not work again", 10.0
        )
        assert client.get("/v1/long-term-memory/held").json()["text"] == "written while held"
