"""A new statement ends an older one only where a language model says so, and both stay with their dates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agent_memory_server.ports.language_model import ModelCall, Purpose
from agent_memory_server.testing.language_model import ScriptedLanguageModel, content_of
from agent_memory_server.testing.running import RunningApp, running_app

BERLIN, LISBON = "User lives in Berlin.", "User moved to Lisbon and lives there now."
DATES = {BERLIN: "2023-01-05T10:00:00Z", LISBON: "2024-06-01T10:00:00Z"}


async def says(running: RunningApp, text: str, *, user: str = "alice") -> None:
    """One session with one message, of which extraction makes one statement with this text."""
    session = f"{user}-{len(text)}"
    said = {"id": f"m-{session}", "role": "user", "content": text, "created_at": DATES[text]}
    response = await running.client.put(f"/v1/working-memory/{session}", json={"messages": [said], "user_id": user})
    assert response.status_code == 200, response.text
    await running.idle()


async def statements(running: RunningApp, **query: Any) -> dict[str, tuple[str | None, str | None]]:
    """Validity of each statement, by its text."""
    body = {"text": "Where does the user live?", "user_id": {"eq": "alice"}, "memory_type": {"eq": "semantic"}, **query}
    found = (await running.client.post("/v1/long-term-memory/search", json=body)).json()["memories"]
    return {each["text"]: (each["valid_from"], each["valid_to"]) for each in found}


def model_that_ends(*numbers: int) -> ScriptedLanguageModel:
    model = ScriptedLanguageModel()

    def answer(call: ModelCall) -> Mapping[str, Any] | None:
        if call.purpose is Purpose.EXTRACTION:
            (message,) = content_of(call)["messages"]
            statement: dict[str, Any] = {
                "type": "semantic",
                "text": message["text"],
                "event_date": None,
                "topics": [],
                "entities": [],
            }
            return {"memories": [{**statement, "sources": [1]}]}
        return {"ended": list(numbers)} if call.purpose is Purpose.ENDING else None

    model.answer_with(answer)
    return model


SETTINGS: Mapping[str, Any] = {"extraction_debounce_seconds": 0, "compact_semantic_duplicates": False}


async def test_a_statement_ends_where_the_model_says_so() -> None:
    """Both are found, each at its own time; the journal says who decided, and undoing it opens the older one again."""
    async with running_app(language_model=model_that_ends(1), **SETTINGS) as running:
        await says(running, BERLIN)
        await says(running, LISBON)
        assert await statements(running) == {BERLIN: (None, DATES[LISBON]), LISBON: (DATES[LISBON], None)}
        assert set(await statements(running, valid_at="2023-07-01T00:00:00Z")) == {BERLIN}
        assert set(await statements(running, valid_at="2025-07-01T00:00:00Z")) == {LISBON}
        listed = (await running.client.get("/v1/operations", params={"order": "desc", "limit": 1})).json()
        (operation,) = listed["operations"]
        assert operation["actor"] == "task:end_statements"
        assert operation["details"]["model"]
        undone = await running.client.post(f"/v1/operations/{operation['id']}/undo")
        assert undone.status_code == 200, undone.text
        assert await statements(running) == {BERLIN: (None, None), LISBON: (None, None)}


@pytest.mark.parametrize("numbers", [(), (7,)], ids=["nothing ended", "an unusable answer"])
async def test_nothing_ends_otherwise(numbers: tuple[int, ...]) -> None:
    """Whatever words stand in the new statement: no rule ends anything, and an answer that cannot be used changes nothing."""
    model = model_that_ends(*numbers)
    async with running_app(language_model=model, background=False, **SETTINGS) as running:
        for text in (BERLIN, LISBON):
            session = f"s-{len(text)}"
            said = {"id": f"m-{session}", "role": "user", "content": text, "created_at": DATES[text]}
            await running.client.put(f"/v1/working-memory/{session}", json={"messages": [said], "user_id": "alice"})
            for _ in range(3):
                await running.app.pending_work.run_due()
        assert model.calls_for(Purpose.ENDING)
        assert await statements(running) == {BERLIN: (None, None), LISBON: (None, None)}


async def test_another_owners_statement_is_not_asked_about() -> None:
    """The model never sees another user's words beside one's own."""
    model = model_that_ends(1)
    async with running_app(language_model=model, **SETTINGS) as running:
        await says(running, BERLIN, user="bob")
        await says(running, LISBON)
        assert model.calls_for(Purpose.ENDING) == []
