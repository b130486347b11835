"""The scripted language model that ships for users' tests: what answers which call."""

from __future__ import annotations

from typing import Any

import pytest

from agent_memory_server.domain.strategies import EXTRACTION_SCHEMA
from agent_memory_server.errors import ModelUnavailable
from agent_memory_server.ports.language_model import ModelCall, Purpose
from agent_memory_server.testing.language_model import (
    DEFAULT_TEXT,
    SERVER_DOWN,
    WRONG_KEY,
    ScriptedLanguageModel,
    smallest_answer,
)


def call_of(purpose: Purpose, schema: Any = None) -> ModelCall:
    return ModelCall(model="m", instructions="", content="{}", purpose=purpose, schema=schema)


async def test_answers_go_to_their_purpose_in_order() -> None:
    """Scripts of two purposes do not get in each other's way, and every call is recorded."""
    model = ScriptedLanguageModel()
    model.script(Purpose.QUERY, "first", {"second": 1})
    model.script(Purpose.MERGING, "other")
    texts = [(await model.call(call_of(purpose))).text for purpose in (Purpose.QUERY, Purpose.MERGING, Purpose.QUERY)]
    assert texts == ["first", "other", '{"second": 1}']
    assert len(model.calls_for(Purpose.QUERY)) == 2


async def test_a_function_answers_what_is_not_scripted() -> None:
    """It may leave a call to the default by answering None."""
    model = ScriptedLanguageModel()
    model.answer_with(lambda call: "merged" if call.purpose is Purpose.MERGING else None)
    assert (await model.call(call_of(Purpose.MERGING))).text == "merged"
    assert (await model.call(call_of(Purpose.QUERY))).text == DEFAULT_TEXT


async def test_failures_are_raised_until_it_recovers() -> None:
    """A scripted failure happens once; ``fail`` lasts and keeps the script for afterwards."""
    model = ScriptedLanguageModel()
    model.script(Purpose.QUERY, WRONG_KEY, "after all")
    with pytest.raises(ModelUnavailable) as raised:
        await model.call(call_of(Purpose.QUERY))
    assert not raised.value.retryable
    model.fail()
    with pytest.raises(ModelUnavailable, match=str(SERVER_DOWN)):
        await model.call(call_of(Purpose.QUERY))
    model.recover()
    assert (await model.call(call_of(Purpose.QUERY))).text == "after all"


def test_the_smallest_answer_fits_the_schema() -> None:
    """Every property is there: lists are empty, what may be null is null."""
    assert smallest_answer(EXTRACTION_SCHEMA) == {"memories": []}
    item = EXTRACTION_SCHEMA["properties"]["memories"]["items"]
    assert smallest_answer(item) == {
        "type": "semantic",
        "text": DEFAULT_TEXT,
        "topics": [],
        "entities": [],
        "event_date": None,
        "sources": [],
    }
