"""Topics and entities for memories that came without; rewritten queries; and extraction that a client asks to be shown."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agent_memory_server.ports.language_model import ModelCall, Purpose
from agent_memory_server.testing.language_model import REFUSES, SERVER_DOWN, ScriptedLanguageModel, content_of
from tests.fundamentals.conversations import Talk, talking, until
from tests.fundamentals.test_journey_1_memories_form import memory, one_a_message


def label_all(call: ModelCall) -> Any:
    """Topics and entities for each memory of the question."""
    if call.purpose is not Purpose.ENRICHMENT:
        return None
    items: Any = json.loads(call.content)
    labelled = [{"n": each["n"], "topics": ["tea, green", "drinks"], "entities": ["Ana"]} for each in items]
    return {"memories": labelled}


async def create(talk: Talk, *memories: dict[str, Any]) -> dict[str, Any]:
    body = {"memories": [{**each, **talk.scope} for each in memories]}
    response = await talk.running.client.post("/v1/long-term-memory/", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def read(talk: Talk, memory_id: str) -> dict[str, Any]:
    response = await talk.running.client.get(f"/v1/long-term-memory/{memory_id}", params=talk.scope)
    assert response.status_code == 200, response.text
    return response.json()


async def test_in_local_mode_labels_are_there_at_once() -> None:
    """By rules, in the request; what the client gave stays."""
    async with talking() as talk:
        created = await create(
            talk,
            {"id": "a", "text": "User works as a nurse at Saint Mary Hospital in Lisbon."},
            {"id": "b", "text": "User works at Acme.", "topics": ["mine"], "entities": ["Own"]},
        )
        assert created["task_id"] is None
        first, second = await read(talk, "a"), await read(talk, "b")
        assert "work" in first["topics"]
        assert "Lisbon" in " ".join(first["entities"])
        assert (second["topics"], second["entities"]) == (["mine"], ["Own"])


async def test_a_model_labels_many_memories_with_one_question() -> None:
    """In the background, only what is empty, journalled as an operation of its own; the create's task shows its end."""
    model = ScriptedLanguageModel()
    model.answer_with(label_all)
    async with talking(model) as talk:
        given = [{"id": f"m{n}", "text": f"fact {n}"} for n in range(15)]
        created = await create(talk, *given, {"id": "own", "text": "own", "topics": ["mine"]})
        assert model.calls == []
        assert created["task_id"]
        await talk.work()
        assert len(model.calls_for(Purpose.ENRICHMENT)) == 1
        labelled, own = await read(talk, "m7"), await read(talk, "own")
        assert (labelled["topics"], labelled["entities"]) == (["tea green", "drinks"], ["Ana"])
        assert (own["topics"], own["entities"]) == (["mine"], ["Ana"])
        task = (await talk.running.client.get(f"/v1/tasks/{created['task_id']}")).json()
        assert task["status"] == "success"
        assert await talk.found("drinks", mode="keyword")


async def test_complete_memories_and_messages_cost_nothing() -> None:
    """No question for what has its labels, nor for messages that are indexed."""
    model = ScriptedLanguageModel()
    async with talking(
        model, index_all_messages_in_long_term_memory=True, enable_discrete_memory_extraction=False
    ) as talk:
        await create(talk, {"id": "a", "text": "tea", "topics": ["t"], "entities": ["e"]})
        await talk.say("I like tea.")
        await talk.become_quiet()
        assert model.calls == []
        assert await talk.found("tea")


@pytest.mark.parametrize("happens", ["delete", "edit"])
async def test_labels_that_come_too_late_change_nothing(happens: str) -> None:
    """A memory that was deleted stays gone; labels that its owner gave meanwhile stay."""
    model = ScriptedLanguageModel()
    model.answer_with(label_all)
    model.hold()
    async with talking(model) as talk:
        await create(talk, {"id": "a", "text": "tea"})
        run = asyncio.create_task(talk.work())
        await until(lambda: bool(model.calls), "the model was not asked")
        client = talk.running.client
        if happens == "delete":
            await client.delete("/v1/long-term-memory", params={"memory_ids": "a", **talk.scope})
        else:
            await client.patch("/v1/long-term-memory/a", params=talk.scope, json={"topics": ["theirs"]})
        model.recover()
        await run
        if happens == "delete":
            assert (await client.get("/v1/long-term-memory/a", params=talk.scope)).status_code == 404
        else:
            found = await read(talk, "a")
            assert (found["topics"], found["entities"]) == (["theirs"], ["Ana"])
        assert (await talk.pending())["pending"] == 0


async def test_a_failing_model_leaves_the_labels_for_later() -> None:
    """Nothing is made up, and nothing is forgotten."""
    model = ScriptedLanguageModel()
    model.fail()
    async with talking(model) as talk:
        await create(talk, {"id": "a", "text": "tea"})
        await talk.work()
        assert (await read(talk, "a"))["topics"] == []
        model.recover()
        model.answer_with(label_all)
        await talk.recover()
        assert (await read(talk, "a"))["topics"] == ["tea green", "drinks"]


async def search(talk: Talk, text: str, *, mode: str = "semantic", **body: Any) -> list[str]:
    filters = {name: {"eq": value} for name, value in talk.scope.items()}
    response = await talk.running.client.post(
        "/v1/long-term-memory/search",
        params={"optimize_query": "true"},
        json={"text": text, "search_mode": mode, "limit": 1, **filters, **body},
    )
    assert response.status_code == 200, response.text
    return [each["text"] for each in response.json()["memories"]]


@pytest.mark.parametrize(
    ("answers", "first"),
    [
        ([{"query": "penicillin allergy"}], "User is allergic to penicillin."),
        ([{"query": "x"}], "User plays the piano."),
        ([SERVER_DOWN], "User plays the piano."),
        ([REFUSES], "User plays the piano."),
    ],
)
async def test_a_query_is_rewritten_where_that_helps(answers: list[Any], first: str) -> None:
    """One attempt; too short an answer, a failure or a refusal: the query is searched as it came."""
    model = ScriptedLanguageModel()
    async with talking(model, enable_topic_extraction=False, enable_ner=False) as talk:
        await create(
            talk, {"id": "a", "text": "User is allergic to penicillin."}, {"id": "b", "text": "User plays the piano."}
        )
        model.script(Purpose.QUERY, *answers)
        assert await search(talk, "Which instrument does the user play, piano?") == [first]
        assert len(model.calls_for(Purpose.QUERY)) == 1


async def test_only_searches_by_meaning_are_rewritten() -> None:
    """Words are looked up as they were written; without a model nothing is rewritten at all."""
    model = ScriptedLanguageModel()
    async with talking(model, enable_topic_extraction=False, enable_ner=False) as talk:
        await create(talk, {"id": "a", "text": "User plays the piano."})
        for mode in ("keyword", "hybrid"):
            assert await search(talk, "piano", mode=mode) == ["User plays the piano."]
        assert model.calls == []
    async with talking() as talk:
        await create(talk, {"id": "a", "text": "User plays the piano."})
        assert await search(talk, "piano") == ["User plays the piano."]


async def test_the_original_is_tried_when_the_rewritten_query_finds_nothing() -> None:
    """With a distance limit that leaves nothing."""
    model = ScriptedLanguageModel()
    model.script(Purpose.QUERY, {"query": "quantum chromodynamics"})
    async with talking(model, enable_topic_extraction=False, enable_ner=False) as talk:
        await create(talk, {"id": "a", "text": "User plays the piano."})
        assert await search(talk, "User plays the piano.", distance_threshold=0.1) == ["User plays the piano."]


async def test_the_prompt_rewrites_its_query_too() -> None:
    """The memories are those of the rewritten query; the user's message stays as it was."""
    model = ScriptedLanguageModel()
    model.script(Purpose.QUERY, {"query": "penicillin allergy"})
    async with talking(model, enable_topic_extraction=False, enable_ner=False) as talk:
        await create(talk, {"id": "a", "text": "User is allergic to penicillin."})
        response = await talk.running.client.post(
            "/v1/memory/prompt",
            params={"optimize_query": "true"},
            json={"query": "hm?", "long_term_search": {"search_mode": "semantic", "user_id": {"eq": "ana"}}},
        )
        messages = response.json()["messages"]
        assert "allergic" in messages[0]["content"]["text"]
        assert messages[-1]["content"]["text"] == "hm?"


async def extract(talk: Talk, *contents: str, **body: Any) -> Any:
    said = [{"id": f"x{n}", "role": "user", "content": text} for n, text in enumerate(contents)]
    response = await talk.running.client.post(
        "/v1/long-term-memory/extract", json={"messages": said, **talk.scope, **body}
    )
    assert response.status_code == 200, response.text
    return response.json()


async def test_extraction_is_shown_without_storing() -> None:
    """The default: the records as they would be, and nothing is written."""
    async with talking() as talk:
        shown = await extract(talk, "I am allergic to penicillin.", session_id="trip")
        assert (shown["dry_run"], shown["extractor"], shown["ids"]) == (True, "rules", [])
        (found,) = shown["memories"]
        assert (found["text"], found["user_id"], found["session_id"], found["extracted_from"]) == (
            "User is allergic to penicillin.",
            "ana",
            "trip",
            ["x0"],
        )
        assert await talk.memories() == []


async def test_extraction_on_request_stores_when_asked_to() -> None:
    """With the ids; asked twice it is there once."""
    model = ScriptedLanguageModel()
    model.answer_with(one_a_message)
    async with talking(model) as talk:
        stored = await extract(talk, "tea", "cake", dry_run=False)
        assert stored["extractor"] == "model"
        assert await extract(talk, "tea", "cake", dry_run=False) == stored
        assert {each["id"] for each in await talk.memories()} == set(stored["ids"])
        assert len(stored["ids"]) == 2


async def test_extraction_on_request_follows_the_strategy() -> None:
    """A long conversation is one summary, extended batch by batch; a bad strategy and a failing model are errors."""
    model = ScriptedLanguageModel()
    model.script(Purpose.EXTRACTION, {"memories": [memory("first part")]}, {"memories": [memory("all of it")]})
    async with talking(model) as talk:
        strategy = {"strategy": "summary"}
        shown = await extract(talk, *(f"turn {n}" for n in range(50)), long_term_memory_strategy=strategy)
        assert [each["text"] for each in shown["memories"]] == ["all of it"]
        assert shown["memories"][0]["metadata"]["message_count"] == 50
        assert content_of(model.calls[-1])["context"]["summary"] == "first part"
        said = {"messages": [{"role": "user", "content": "tea"}]}
        bad = await talk.running.client.post(
            "/v1/long-term-memory/extract", json={**said, "long_term_memory_strategy": {"strategy": "custom"}}
        )
        assert bad.status_code == 422
        model.fail()
        down = await talk.running.client.post("/v1/long-term-memory/extract", json=said)
        assert down.status_code == 503
        assert down.headers["retry-after"]
