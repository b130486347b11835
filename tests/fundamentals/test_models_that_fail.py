"""P5 and P6: a model outage loses nothing, bad answers are never data, and work that is delivered twice has one effect."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.ports.language_model import ModelCall, Purpose
from agent_memory_server.services.pending_work import ATTEMPTS_MAX
from agent_memory_server.testing import model_server
from agent_memory_server.testing.language_model import (
    CUT,
    REFUSES,
    SAYS_NOTHING,
    WRONG_KEY,
    ScriptedLanguageModel,
    content_of,
)
from agent_memory_server.testing.model_server import ModelServer
from agent_memory_server.testing.running import running_app
from tests.fundamentals.conversations import Clock, Talk, talking, until
from tests.fundamentals.test_journey_1_memories_form import memory, one_a_message


async def test_nothing_is_lost_while_model_and_embedder_fail(store_fields: dict[str, Any]) -> None:
    """Check 9, over the real SDKs: 50 creates and 50 appends are acknowledged, readable and found by words while everything
    answers 500; all are embedded and extracted within a minute of its return."""
    async with (
        ModelServer() as server,
        talking(
            openai_api_base=server.base_url,
            openai_api_key="k",
            generation_model="model",
            embedding_model="embeddings",
            enable_topic_extraction=False,
            enable_ner=False,
            **store_fields,
        ) as talk,
    ):
        server.chat.say_with(
            lambda asked: (
                {"memories": [memory(f"Extracted {asked.content.count('tower')}", 1)]} if asked.schema else None
            )
        )
        server.fail(model_server.SERVER_ERROR)
        client = talk.running.client
        for number in range(50):
            created = await client.post(
                "/v1/long-term-memory/",
                json={"memories": [{"id": f"c{number}", "text": f"created castle {number}", **talk.scope}]},
            )
            assert created.status_code == 200
            talk.session_id = f"s{number}"
            await talk.say(f"said tower {number}")
        for _ in range(3):
            talk.clock.pass_by(timedelta(seconds=20))
            await talk.work()
        assert (await talk.pending())["pending"] >= 50
        assert len(await talk.found("castle")) == 50
        for number in range(50):
            session = (await client.get(f"/v1/working-memory/s{number}", params=talk.scope)).json()
            assert [each["content"] for each in session["messages"]] == [f"said tower {number}"]
        server.recover()
        for _ in range(6):
            talk.clock.pass_by(timedelta(seconds=10))
            await talk.work()
        pending = await talk.pending()
        assert (pending["pending"], pending["dead"]) == (0, 0)
        memories = await _all(talk)
        assert {each["embedding"] for each in memories} == {"ready"}
        assert sum(each["text"].startswith("Extracted") for each in memories) == 50


async def _all(talk: Talk) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {**talk.scope, "limit": 100, **({"cursor": cursor} if cursor else {})}
        page = (await talk.running.client.get("/v1/long-term-memory", params=params)).json()
        found += page["memories"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


@pytest.mark.parametrize("answer", [REFUSES, SAYS_NOTHING, CUT, "NONE", {"facts": []}, {"memories": "many"}])
async def test_a_bad_answer_marks_nothing_extracted(answer: Any) -> None:
    """It is asked again later, and then the messages become memories."""
    model = ScriptedLanguageModel()
    model.script(Purpose.EXTRACTION, *[answer] * 3)
    model.answer_with(one_a_message)
    async with talking(model) as talk:
        await talk.say("I like tea.")
        await talk.become_quiet()
        assert await talk.memories() == []
        assert [each["discrete_memory_extracted"] for each in (await talk.session())["messages"]] == ["f"]
        assert (await talk.pending())["pending"] == 1
        await talk.recover()
        assert [each["text"] for each in await talk.memories()] == ["Memory of: I like tea."]
        assert (await talk.pending())["pending"] == 0


async def test_one_message_that_no_model_answers_keeps_nobody_back() -> None:
    """The others become memories; it alone stays unmarked, and ends as a dead letter that a person can replay."""

    def answer(call: ModelCall) -> Any:
        if call.purpose is Purpose.EXTRACTION and any(
            "poison" in each["text"] for each in content_of(call)["messages"]
        ):
            return REFUSES
        return one_a_message(call)

    model = ScriptedLanguageModel()
    model.answer_with(answer)
    async with talking(model) as talk:
        await talk.say("a", "b", "poison", "c", "d", "e")
        await talk.become_quiet()
        assert {each["text"][-1] for each in await talk.memories()} == set("abcde")
        marks = {each["content"]: each["discrete_memory_extracted"] for each in (await talk.session())["messages"]}
        assert marks == {"a": "t", "b": "t", "poison": "f", "c": "t", "d": "t", "e": "t"}
        await talk.say("f")
        await talk.become_quiet()
        assert {each["text"][-1] for each in await talk.memories()} == set("abcdef")
        for _ in range(ATTEMPTS_MAX):
            talk.clock.pass_by(timedelta(seconds=400))
            await talk.work()
        assert await talk.pending() == {"pending": 0, "oldest_age_s": 0.0, "dead": 1}
        model.answer_with(one_a_message)
        dead = (await talk.running.client.get("/v1/tasks", params={"status": "dead"})).json()["tasks"]
        assert "refused" in dead[0]["error_message"]
        await talk.running.client.post(f"/v1/tasks/{dead[0]['id']}/replay", params=talk.scope)
        await talk.work()
        assert "Memory of: poison" in {each["text"] for each in await talk.memories()}


async def test_a_model_that_fails_for_everything_is_not_asked_about_every_message() -> None:
    """When a few messages alone have no usable answer, the run ends: the fault is the model's."""
    model = ScriptedLanguageModel()
    model.answer_with(lambda _: REFUSES)
    async with talking(model) as talk:
        await talk.say(*(f"fact {number}" for number in range(40)))
        await talk.become_quiet()
        assert len(model.calls) < 40
        assert await talk.memories() == []


async def test_a_wrong_key_is_not_tried_three_times_in_a_row() -> None:
    """What waiting cannot mend costs one call a run, and stays visible."""
    model = ScriptedLanguageModel()
    model.fail(WRONG_KEY)
    async with talking(model) as talk:
        await talk.say("I like tea.")
        await talk.become_quiet()
        assert len(model.calls) == 1
        assert (await talk.pending())["pending"] == 1


async def test_extracting_twice_has_one_effect() -> None:
    """P5: the same work delivered again, by two workers at once too, asks nothing and writes nothing."""
    model = ScriptedLanguageModel()
    model.answer_with(one_a_message)
    async with talking(model) as talk:
        await talk.say("I like tea.", "I like cake.")
        await talk.become_quiet()
        before = await talk.memories()
        intent = {"messages": [{"id": "m1", "role": "user", "content": "I like tea."}], **talk.scope}
        again = await talk.running.client.post("/v1/working-memory/trip/messages", json=intent)
        assert again.json()["duplicates"] == 1
        talk.clock.pass_by(timedelta(seconds=60))
        await talk.work()
        assert await talk.memories() == before
        assert len(model.calls_for(Purpose.EXTRACTION)) == 1


async def test_a_deleted_session_is_not_extracted_from() -> None:
    """What a model answers after the deletion comes too late: nothing is written, nothing is pending."""
    model = ScriptedLanguageModel()
    model.answer_with(one_a_message)
    model.hold()
    async with talking(model) as talk:
        await talk.say("I like tea.")
        run = asyncio.create_task(talk.become_quiet())
        await until(lambda: bool(model.calls), "the model was not asked")
        response = await talk.running.client.delete("/v1/working-memory/trip", params=talk.scope)
        assert response.status_code == 200
        model.recover()
        await run
        assert await talk.memories() == []
        assert (await talk.pending())["pending"] == 0


async def test_what_was_committed_before_a_failure_stays(tmp_path: Path) -> None:
    """A restart in the middle of a backlog goes on where it was: no batch is asked about or stored twice."""
    model = ScriptedLanguageModel()
    clock = Clock()
    async with running_app(data_dir=tmp_path, now=clock.now, background=False, language_model=model) as running:
        talk = Talk(running=running, clock=clock)
        await talk.say(*(f"fact {number}" for number in range(60)))
        model.script(Purpose.EXTRACTION, {"memories": [memory("The first forty.", 1)]}, WRONG_KEY)
        await talk.become_quiet()
        assert [each["text"] for each in await talk.memories()] == ["The first forty."]
    model.calls.clear()
    async with running_app(data_dir=tmp_path, now=clock.now, background=False, language_model=model) as running:
        talk = Talk(running=running, clock=clock)
        model.script(Purpose.EXTRACTION, {"memories": [memory("The last twenty.", 1)]})
        await talk.recover()
        assert {each["text"] for each in await talk.memories()} == {"The first forty.", "The last twenty."}
        (call,) = model.calls_for(Purpose.EXTRACTION)
        assert [each["text"] for each in content_of(call)["messages"]] == [f"fact {n}" for n in range(40, 60)]
