"""Files of other systems can be sent to the server as well as read by the command: twice, dry, and for whom one says."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.api.schemas.elsewhere import checked
from agent_memory_server.domain.identity import ANONYMOUS
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.errors import InvalidInput
from agent_memory_server.importers.elsewhere import NAMES, read_content
from agent_memory_server.testing.running import RunningApp, running_app
from tests.importers.test_elsewhere import CHATGPT, CLAUDE, LANGGRAPH, MCP_MEMORY, MEM0, NOTES, ZEP
from tests.redis_server import RedisServer, running_redis

FILES = {
    "mem0": json.dumps(MEM0),
    "zep": json.dumps(ZEP),
    "langgraph": json.dumps(LANGGRAPH),
    "mcp-memory": MCP_MEMORY,
    "markdown": NOTES,
    "chatgpt": json.dumps(CHATGPT),
    "claude": json.dumps(CLAUDE),
}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
async def running(request: pytest.FixtureRequest, redis: RedisServer, tmp_path: Path) -> AsyncGenerator[RunningApp]:
    settings: dict[str, Any] = {}
    if request.param == "redis":
        redis.empty()
        settings["redis_url"] = redis.url
    async with running_app(data_dir=tmp_path, background=False, **settings) as started:
        yield started


async def _sent(running: RunningApp, form: str, content: str | bytes, **query: Any) -> dict[str, Any]:
    answer = await running.client.post("/v1/import", params={"from": form, **query}, content=content)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_every_format_can_be_sent_twice(running: RunningApp) -> None:
    """A dry run says the same and writes nothing, the second time nothing is written, and another owner gets their own."""
    assert set(FILES) == set(NAMES)
    for form, content in FILES.items():
        planned = await _sent(running, form, content, dry_run=True)
        done = await _sent(running, form, content)
        assert done["written"] > 0
        assert planned == {**done, "dry_run": True}
        again = await _sent(running, form, content)
        assert (again["written"], again["unchanged"], again["kept"]) == (0, done["written"], 0)
        assert (await _sent(running, form, content, user_id="zoe", namespace="z"))["written"] == done["written"]
    held = (await running.client.get("/v1/long-term-memory", params={"namespace": "travel", "user_id": "alex"})).json()
    (memory,) = held["memories"]
    assert (memory["source"], memory["trust"], memory["created_at"]) == ("imported", 0.5, "2024-07-01T17:00:00.123456Z")


async def test_what_says_something_else_is_kept(running: RunningApp) -> None:
    """An import never overwrites: neither a memory nor a message; what is new beside it comes in."""
    await _sent(running, "mem0", json.dumps([{"id": "1", "memory": "Likes tea", "user_id": "u"}]))
    newer = [{"id": "1", "memory": "Likes coffee", "user_id": "u"}, {"id": "2", "memory": "Likes rain", "user_id": "u"}]
    done = await _sent(running, "mem0", json.dumps(newer))
    assert (done["written"], done["kept"]) == (1, 1)
    turns = [{"uuid": "a", "sender": "human", "text": "Hi"}]
    await _sent(running, "claude", json.dumps([{"uuid": "c", "chat_messages": turns}]), user_id="u")
    turns = [{"uuid": "a", "sender": "human", "text": "Hello"}, {"uuid": "b", "sender": "assistant", "text": "Hello!"}]
    done = await _sent(running, "claude", json.dumps([{"uuid": "c", "chat_messages": turns}]), user_id="u")
    assert (done["written"], done["kept"]) == (1, 1)
    read = (await running.client.get("/v1/working-memory/claude-c", params={"user_id": "u"})).json()
    assert [each["content"] for each in read["messages"]] == ["Hi", "Hello!"]


async def test_wrong_files_are_refused_whole(running: RunningApp) -> None:
    """With a sentence; an export takes no owner, and a bound credential imports nothing for others."""
    cases = [
        ({"from": "mem0"}, json.dumps(CLAUDE), "it looks like claude"),
        ({"from": "mem0"}, b"\x1f\x8b", "unpack it first"),
        ({"from": "mem0"}, json.dumps([{"memory": "x", "user_id": "u" * 600}]), "statement 1 of the file: user_id"),
        ({"from": "nowhere"}, b"[]", "mcp-memory"),
        ({"user_id": "u"}, b"[]", "an export says itself"),
    ]
    for query, content, says in cases:
        answer = await running.client.post("/v1/import", params=query, content=content)
        assert answer.status_code == 422, answer.text
        assert says in answer.text
    app = running.app
    held = checked(
        read_content(FILES["mem0"].encode(), "mem0", name="f"), tenant="default", at=app.now(), new_id=app.new_id
    )
    with pytest.raises(InvalidInput, match="does not reach"):
        await app.taking_in.run(replace(ANONYMOUS, user_id="bob"), held.memories, held.conversations)
    assert (await running.client.get("/v1/export")).text.count("\n") == 2


async def test_a_text_that_is_too_long_is_cut_and_counted(running: RunningApp) -> None:
    """Rather than that one of a thousand conversations keeps all of them out."""
    turns = [{"uuid": "a", "sender": "human", "text": "x" * (LIMITS.message_length_max + 1)}]
    done = await _sent(running, "claude", json.dumps([{"uuid": "c", "chat_messages": turns}]))
    assert (done["written"], done["shortened"]) == (1, 1)
