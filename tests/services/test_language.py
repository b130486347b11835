"""The gate to language models: attempts, bounds, and who may ask which model. What providers do is in tests/llm."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from agent_memory_server.errors import BadRequest, ModelAnswerUnusable, ModelUnavailable
from agent_memory_server.ports.language_model import Purpose
from agent_memory_server.services.language import GatePolicy, LanguageGate, ModelChoice, UsageAccount
from agent_memory_server.testing.language_model import REFUSES, SERVER_DOWN, ScriptedLanguageModel

SCHEMA: Mapping[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}}


class Gated:
    def __init__(self, **policy: Any) -> None:
        self.model = ScriptedLanguageModel()
        self.pauses: list[float] = []
        self.account = UsageAccount()
        self.gate = LanguageGate(
            model=self.model,
            choice=ModelChoice(generation="slow", fast="fast", allowed=frozenset({"other"})),
            policy=GatePolicy(**policy),
            sleep=self._pause,
            account=self.account.add,
        )

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def ask(self, content: str = "{}", model: str | None = None) -> int:
        return await self.gate.ask(
            Purpose.MERGING, instructions="", content=content, schema=SCHEMA, parse=_number, model=model
        )


def _number(answer: Mapping[str, Any]) -> int:
    return int(answer["n"])


async def test_the_pauses_double_up_to_a_bound() -> None:
    """And the last failure is raised."""
    gated = Gated(attempts_max=6, backoff_first_s=1.0, backoff_max_s=4.0)
    gated.model.fail()
    with pytest.raises(ModelUnavailable):
        await gated.ask()
    assert gated.pauses == [1.0, 2.0, 4.0, 4.0, 4.0]


async def test_while_a_model_is_down_each_question_is_tried_once() -> None:
    """Nobody waits for what just failed for another; the first answer ends that."""
    gated = Gated()
    gated.model.fail()
    for attempts in (3, 4, 5):
        with pytest.raises(ModelUnavailable):
            await gated.ask()
        assert len(gated.model.calls) == attempts
    gated.model.recover()
    gated.model.script(Purpose.MERGING, {"n": 1}, SERVER_DOWN, {"n": 2})
    assert [await gated.ask(), await gated.ask()] == [1, 2]


async def test_unusable_answers_do_not_count_as_down() -> None:
    """The model is there; what it says to another question may be fine."""
    gated = Gated()
    gated.model.script(Purpose.MERGING, *[REFUSES] * 6)
    for _ in range(2):
        with pytest.raises(ModelAnswerUnusable):
            await gated.ask()
    assert len(gated.model.calls) == 6


async def test_an_attempt_ends_in_time() -> None:
    """Whatever the adapter thinks of its own time-out."""
    gated = Gated(timeout_s=0.01, attempts_max=2)
    gated.model.hold()
    async with asyncio.timeout(5):
        with pytest.raises(ModelUnavailable, match=r"did not answer within 0\.01 seconds") as raised:
            await gated.ask()
    assert raised.value.retryable
    assert gated.account.totals[Purpose.MERGING, "fast"].calls == 2


async def test_a_question_beyond_its_bound_is_not_asked() -> None:
    """It is refused whole, not cut in the middle of its JSON."""
    gated = Gated(content_length_max=10)
    with pytest.raises(ModelUnavailable) as raised:
        await gated.ask("x" * 11)
    assert not raised.value.retryable
    assert gated.model.calls == []


async def test_a_client_picks_among_the_configured_models() -> None:
    """Another name is refused before anything is asked."""
    gated = Gated()
    gated.model.answer_with(lambda _: {"n": 1})
    for name in ("slow", "fast", "other"):
        assert await gated.ask(model=name) == 1
        assert gated.model.calls[-1].model == name
    with pytest.raises(BadRequest, match="expensive-one"):
        await gated.ask(model="expensive-one")
    assert len(gated.model.calls) == 3
