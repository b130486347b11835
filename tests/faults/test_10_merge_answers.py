"""Check 10: a merge while the model answers "", a refusal or "NONE": both originals stay readable, and are merged later."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from agent_memory_server.domain.jobs import Lane
from agent_memory_server.errors import ModelUnavailable
from agent_memory_server.ports.language_model import Finish, ModelReply, Purpose
from agent_memory_server.testing.language_model import REFUSES, SERVER_DOWN, ScriptedLanguageModel
from agent_memory_server.testing.running import running_app

NAMESPACE = "tea"
TEXTS = {"a": "User likes to drink green tea.", "b": "User likes drinking green tea."}
MERGED = "User likes drinking green tea"
COMPACT = "/v1/long-term-memory/compact"


async def readable(client: httpx.AsyncClient) -> dict[str, str]:
    """Text by id, of what stands in the listing; every original also answers by id and in keyword search."""
    for each, text in TEXTS.items():
        found = (await client.get(f"/v1/long-term-memory/{each}", params={"namespace": NAMESPACE})).json()
        assert found["text"] == text
    listed = await client.get("/v1/long-term-memory", params={"namespace": NAMESPACE})
    return {each["id"]: each["text"] for each in listed.json()["memories"]}


CUT = ModelReply(text="{", finish=Finish.LENGTH)


@pytest.mark.parametrize(
    ("answer", "deduplicate"),
    [
        ("", True),
        ("NONE", False),
        ('{"same": true, "text": "NONE"}', False),
        (REFUSES, True),
        (CUT, False),
        (SERVER_DOWN, True),
    ],
)
async def test_check_10_an_answer_that_cannot_be_used_changes_nothing(answer: Any, deduplicate: bool) -> None:
    """At write time and in compaction; as soon as the model answers sensibly, one memory stands for both."""
    model = ScriptedLanguageModel()
    failing = True

    def answered(call: Any) -> Any:
        if call.purpose is not Purpose.MERGING:
            return None
        return answer if failing else {"same": True, "text": MERGED}

    model.answer_with(answered)
    async with running_app(background=False, language_model=model, embedding_model="wordllama") as running:
        client = running.client
        memories = [{"id": each, "text": text, "namespace": NAMESPACE} for each, text in TEXTS.items()]
        created = await client.post("/v1/long-term-memory/", json={"memories": memories, "deduplicate": deduplicate})
        assert created.json()["ids"] == ["a", "b"]
        await running.app.lanes[Lane.UPKEEP].run_due()
        assert await readable(client) == TEXTS
        compacted = (await client.post(COMPACT, params={"namespace": NAMESPACE})).json()
        assert compacted["status"] == "ok, 2 memories remaining after compaction"
        assert compacted["unfinished"]
        assert model.calls_for(Purpose.MERGING)
        task = (await client.get(f"/v1/tasks/{compacted['task_id']}")).json()
        assert task["status"] in ("pending", "running")
        assert await readable(client) == TEXTS
        assert isinstance(answer, str | ModelReply | ModelUnavailable)
        failing = False
        compacted = (await client.post(COMPACT, params={"namespace": NAMESPACE})).json()
        assert compacted["status"] == "ok, 1 memories remaining after compaction"
        assert list((await readable(client)).values()) == [MERGED]
