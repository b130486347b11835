"""The change feed of a real server: in order, resumable, from another process too, and ended by whoever leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_memory_server.api.event_stream import event
from agent_memory_server.domain.identity import ANONYMOUS, Principal
from agent_memory_server.errors import TooManyRequests
from agent_memory_server.services.events import LISTENERS_MAX, LISTENERS_OF_ONE_MAX
from agent_memory_server.testing.running import RunningApp
from tests.server_process import ServerProcess

MEMORIES = "/v1/long-term-memory"


def create(client: httpx.Client, memory_id: str, namespace: str, **fields: Any) -> None:
    memory = {"id": memory_id, "text": f"Fact {memory_id}.", "namespace": namespace, **fields}
    assert client.post(f"{MEMORIES}/", json={"memories": [memory]}).status_code == 200


def events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Each event with its id, kind and operation."""
    event: dict[str, Any] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if not line and "data" in event:
            yield event
            event = {}
        elif name in ("id", "event", "data"):
            event[name] = json.loads(value) if name == "data" else value


def follow(client: httpx.Client, headers: dict[str, str] | None = None, **query: Any) -> list[dict[str, Any]]:
    """What comes until nothing comes any more."""
    query = {"wait_seconds": 0, **query}
    with client.stream("GET", "/v1/events", params=query, headers=headers) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"] == "text/event-stream"
        return list(events(response))


def test_everything_comes_in_order_and_once(shared_server: ServerProcess, namespace: str) -> None:
    """From the beginning or behind any event; only what lies within the asked scope; what changed is named, not its text."""
    with shared_server.client() as client:
        for name in "abc":
            create(client, f"{namespace}-{name}", namespace)
        create(client, f"{namespace}-other", f"{namespace}-other")
        client.patch(f"{MEMORIES}/{namespace}-a", params={"namespace": namespace}, json={"text": "New."})
        every = follow(client, namespace=namespace, start="beginning")
        assert [each["event"] for each in every] == ["create", "create", "create", "edit"]
        assert [each["data"]["changes"][0]["memory_id"][-1] for each in every] == ["a", "b", "c", "a"]
        assert all(each["data"]["cursor"] == each["id"] for each in every)
        assert "New." not in json.dumps(every)
        resumed = follow(client, {"Last-Event-ID": every[1]["id"]}, namespace=namespace, after=every[3]["id"])
        assert resumed == every[2:]
        assert follow(client, namespace=namespace, after=every[3]["id"]) == []
        assert follow(client, namespace=namespace) == []
        for bad in ("deadbeef-1", "nonsense"):
            assert client.get("/v1/events", params={"after": bad}).status_code == 422
        assert client.head("/v1/events").status_code == 200


def test_a_change_arrives_while_one_listens(tmp_path: Path) -> None:
    """Within a second, from a second process on the same store; a server that stops ends the stream and does not wait."""
    with (
        ServerProcess(tmp_path / "data") as one,
        ServerProcess(tmp_path / "data") as other,
        one.client(timeout=20) as listening,
        other.client() as writing,
        listening.stream("GET", "/v1/events") as response,
    ):
        coming = events(response)
        create(writing, "a", "n")
        begun = time.monotonic()
        assert next(coming)["data"]["changes"][0]["memory_id"] == "a"
        assert time.monotonic() - begun < 3
        stopped = time.monotonic()
        one.stop()
        assert list(coming) == []
        assert time.monotonic() - stopped < 8


@pytest.mark.parametrize("query", [{"wait_seconds": -1}, {"start": "middle"}, {"wait_seconds": "x"}])
def test_bad_queries_are_refused(shared_server: ServerProcess, query: dict[str, Any]) -> None:
    """Before a stream begins."""
    with shared_server.client() as client:
        assert client.get("/v1/events", params=query).status_code == 422


async def test_listeners_are_bounded(running: RunningApp) -> None:
    """One more is refused until somebody leaves: 429 with Retry-After, before a stream begins; nobody can take all places."""
    feed = running.app.events
    ours = [feed.enter(ANONYMOUS) for _ in range(LISTENERS_OF_ONE_MAX)]
    refused = await running.client.get("/v1/events", params={"wait_seconds": 0})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    another = Principal(subject="another")
    theirs = [feed.enter(another) for _ in range(LISTENERS_MAX - LISTENERS_OF_ONE_MAX)]
    with pytest.raises(TooManyRequests):
        feed.enter(Principal(subject="a third"))
    for leave in (*ours, *theirs):
        leave()
    for _ in range(LISTENERS_MAX + 1):  # a stream that ended holds no place
        assert (await running.client.get("/v1/events", params={"wait_seconds": 0})).status_code == 200


def test_an_event_is_on_one_line_for_everybody() -> None:
    """Some clients end lines at any character that Unicode calls a line's end."""
    told = event(cursor="1", kind="edit", data=json.dumps({"a": "x\u2028y\u2029z\x85"}, ensure_ascii=False).encode())
    data = told.decode().splitlines()[2]
    assert json.loads(data.removeprefix("data: ")) == {"a": "x\u2028y\u2029z\x85"}
