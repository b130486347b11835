"""Progressive summaries: the request never waits, and every message is live or archived under a summary that includes it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from agent_memory_server.ports.language_model import ModelCall, Purpose
from agent_memory_server.services.pending_work import ATTEMPTS_MAX
from agent_memory_server.testing.language_model import (
    CUT,
    REFUSES,
    SAYS_NOTHING,
    SERVER_DOWN,
    ScriptedLanguageModel,
    content_of,
)
from tests.fundamentals.conversations import Talk, talking, until

WORDS = "Some words about the trip to Lisbon and what to pack for it, number"


def texts(first: int, last: int) -> list[dict[str, Any]]:
    """Messages of about 20 tokens; 500 tokens are the window that ``Talk.put`` names."""
    return [
        {"id": f"t{n}", "role": "user", "content": f"{WORDS} {n}.", "created_at": "2026-03-01T08:00:00Z"}
        for n in range(first, last)
    ]


def tell_all(call: ModelCall) -> dict[str, Any] | None:
    """A model whose summary names every message that it has seen: what is not in it was never told."""
    if call.purpose is not Purpose.SUMMARIZATION:
        return None
    asked = content_of(call)
    numbers = [each["text"].rsplit(" ", 1)[-1].strip(".") for each in asked["messages"]]
    return {"summary": " ".join([asked["summary"], *numbers]).strip()}


async def accounted_for(talk: Talk, count: int) -> None:
    """Every message is live, or archived and in the summary; all can be paged through."""
    session = await talk.session()
    live = {each["id"] for each in session["messages"]}
    told = {f"t{number}" for number in (session["context"] or "").split()}
    assert [each["id"] for each in await talk.messages()] == [f"t{n}" for n in range(count)]
    assert live | told == {f"t{n}" for n in range(count)}
    assert not live & told


async def test_the_request_answers_at_once_and_the_summary_follows() -> None:
    """``pending`` first; then the newest that fit into 40 % stay, the others are archived under the summary."""
    model = ScriptedLanguageModel()
    model.answer_with(tell_all)
    async with talking(model, enable_discrete_memory_extraction=False) as talk:
        stored = await talk.put(messages=texts(0, 40))
        assert (stored["summarization"], len(stored["messages"]), stored["context"]) == ("pending", 40, None)
        assert stored["context_percentage_until_summarization"] == 100.0
        assert model.calls == []
        await talk.work()
        session = await talk.session()
        assert session["summarization"] == "none"
        assert 0 < len(session["messages"]) < 15
        await accounted_for(talk, 40)
        oldest_first = [each["text"] for call in model.calls for each in content_of(call)["messages"]]
        assert oldest_first[:2] == [f"{WORDS} 0.", f"{WORDS} 1."]


async def test_in_local_mode_sentences_are_chosen() -> None:
    """Without a model the summary is made of what was said."""
    async with talking(enable_discrete_memory_extraction=False) as talk:
        await talk.put(messages=texts(0, 40))
        await talk.work()
        session = await talk.session()
        assert session["context"]
        assert "Lisbon" in session["context"]
        assert len(session["messages"]) < 15
        assert len(await talk.messages()) == 40


async def test_a_summary_is_carried_on() -> None:
    """The next one extends it; a context that the client wrote is carried on too."""
    model = ScriptedLanguageModel()
    model.answer_with(tell_all)
    async with talking(model, enable_discrete_memory_extraction=False) as talk:
        await talk.put(messages=texts(0, 40), context="client-says")
        await talk.work()
        await talk.put(messages=texts(0, 80))
        await talk.work()
        session = await talk.session()
        assert session["context"].startswith("client-says 0 1 2")
        told = session["context"].split()[1:]
        assert told == [str(number) for number in range(len(told))]
        assert len(told) + len(session["messages"]) == 80


@pytest.mark.parametrize(
    "answer", [{"summary": "NONE"}, {"summary": ""}, {"summary": " none. "}, SAYS_NOTHING, REFUSES, CUT, SERVER_DOWN]
)
async def test_a_bad_answer_changes_nothing(answer: Any) -> None:
    """Old summary and all messages stay as they are; a later run makes up for it."""
    model = ScriptedLanguageModel()
    model.script(Purpose.SUMMARIZATION, *[answer] * 3)
    model.answer_with(tell_all)
    async with talking(model, enable_discrete_memory_extraction=False) as talk:
        stored = await talk.put(messages=texts(0, 40), context="before")
        await talk.work()
        session = await talk.session()
        assert (session["context"], len(session["messages"])) == ("before", 40)
        assert session["messages"] == stored["messages"]
        assert (await talk.pending())["pending"] == 1
        await talk.recover()
        assert (await talk.session())["context"].startswith("before 0 1")
        assert (await talk.pending())["pending"] == 0


@pytest.mark.parametrize("writes", ["append", "put", "context"])
async def test_what_is_written_meanwhile_is_not_lost(writes: str) -> None:
    """Messages appended or put, and a context of the client's, while the model thinks."""
    model = ScriptedLanguageModel()
    model.answer_with(tell_all)
    model.hold()
    async with talking(model, enable_discrete_memory_extraction=False) as talk:
        await talk.put(messages=texts(0, 40))
        run = asyncio.create_task(talk.work())
        await until(lambda: bool(model.calls), "the model was not asked")
        if writes == "append":
            response = await talk.running.client.post(
                "/v1/working-memory/trip/messages", json={"messages": texts(40, 42), **talk.scope}
            )
            assert response.json()["total"] == 42
        elif writes == "put":
            await talk.put(messages=texts(0, 42))
        else:
            await talk.put(messages=texts(0, 42), context="theirs")
        model.recover()
        await run
        await talk.work()
        session = await talk.session()
        told = session["context"].split()
        if writes == "context":
            assert told.pop(0) == "theirs"
        assert told == [str(number) for number in range(len(told))]
        assert [each["id"] for each in session["messages"]] == [f"t{n}" for n in range(len(told), 42)]
        assert session["summarization"] == "none"


async def test_a_message_that_changes_meanwhile_is_not_archived_under_its_old_words() -> None:
    """The summary of words that are gone is thrown away and made again."""
    model = ScriptedLanguageModel()
    model.answer_with(tell_all)
    model.hold()
    async with talking(model, enable_discrete_memory_extraction=False) as talk:
        await talk.put(messages=texts(0, 40))
        run = asyncio.create_task(talk.work())
        await until(lambda: bool(model.calls), "the model was not asked")
        changed = texts(0, 40)
        changed[3]["content"] = f"{WORDS} 333."
        await talk.put(messages=changed)
        model.recover()
        await run
        assert " 333 " in (await talk.session())["context"]


async def test_a_failure_between_portions_keeps_what_is_done() -> None:
    """Each portion is a step of its own: what was summarised is not summarised again."""
    model = ScriptedLanguageModel()
    model.answer_with(tell_all)
    async with talking(model, enable_discrete_memory_extraction=False, generation_model="gpt-3.5-turbo") as talk:
        model.script(Purpose.SUMMARIZATION, {"summary": " ".join(map(str, range(10)))}, *[SERVER_DOWN] * 9)
        await talk.put(messages=texts(0, 200))
        await talk.work()
        first = await talk.session()
        assert first["context"] is not None
        archived = 200 - len(first["messages"])
        assert 0 < archived < 180
        await talk.recover()
        last = model.calls_for(Purpose.SUMMARIZATION)[-1]
        assert f"{WORDS} 0." not in {each["text"] for each in content_of(last)["messages"]}
        assert (await talk.session())["summarization"] == "none"
        assert len(await talk.messages()) == 200


async def test_a_summary_that_failed_for_good_is_asked_for_again_by_the_next_message() -> None:
    """A dead letter does not leave the session ``pending`` for ever."""
    model = ScriptedLanguageModel()
    model.fail()
    async with talking(model, enable_discrete_memory_extraction=False) as talk:
        await talk.put(messages=texts(0, 40))
        for _ in range(ATTEMPTS_MAX):
            talk.clock.pass_by(timedelta(seconds=400))
            await talk.work()
        assert (await talk.pending())["dead"] == 1
        model.recover()
        model.answer_with(tell_all)
        await talk.put(messages=texts(0, 41))
        await talk.work()
        await accounted_for(talk, 41)


async def test_summarised_messages_are_still_extracted_from() -> None:
    """Being archived before the session was quiet costs no memory."""
    model = ScriptedLanguageModel()
    model.answer_with(tell_all)
    async with talking(model) as talk:
        await talk.put(messages=texts(0, 40))
        await talk.work()
        assert len((await talk.session())["messages"]) < 15
        assert model.calls_for(Purpose.EXTRACTION) == []
        await talk.become_quiet()
        asked = [each["text"] for call in model.calls_for(Purpose.EXTRACTION) for each in content_of(call)["messages"]]
        assert asked == [f"{WORDS} {n}." for n in range(40)]


async def test_one_message_larger_than_the_models_window_is_read_in_pieces() -> None:
    """Nothing of it is left out, and no question is larger than the window."""
    model = ScriptedLanguageModel()
    model.answer_with(lambda call: {"summary": "so far"} if call.purpose is Purpose.SUMMARIZATION else None)
    async with talking(model, enable_discrete_memory_extraction=False, generation_model="gpt-3.5-turbo") as talk:
        long = {"id": "long", "role": "user", "content": "word " * 20_000, "created_at": "2026-03-01T08:00:00Z"}
        await talk.put(messages=[long, *texts(0, 2)])
        await talk.work()
        calls = model.calls_for(Purpose.SUMMARIZATION)
        assert "".join(content_of(call)["messages"][0]["text"] for call in calls) == long["content"]
        assert max(len(call.content) for call in calls) < 4_096 * 4


async def test_the_operators_prompt_is_used() -> None:
    """Its variables point to the input: stored text stays data."""
    model = ScriptedLanguageModel()
    model.answer_with(tell_all)
    prompt = "In French, please. Before: {prev_summary} Now: {messages_joined}"
    async with talking(model, enable_discrete_memory_extraction=False, progressive_summarization_prompt=prompt) as talk:
        await talk.put(messages=texts(0, 40))
        await talk.work()
        assert model.calls[0].instructions.startswith("In French, please. Before: (the summary in the JSON input)")
        assert "Lisbon" not in model.calls[0].instructions


@pytest.mark.parametrize(
    "settings",
    [
        {"progressive_summarization_prompt": "{messages_joined}"},
        {"progressive_summarization_prompt": "{prev_summary}"},
        {"query_optimization_prompt_template": "no variable"},
    ],
)
async def test_a_prompt_without_its_variables_stops_the_start(settings: dict[str, Any]) -> None:
    """With the name of what is missing."""
    with pytest.raises(ValueError, match=r"must contain \{"):
        async with talking(**settings):
            pass
