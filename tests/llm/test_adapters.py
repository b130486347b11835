"""The adapters to language models, through the gate, against a fake server on loopback: every fault is a failure, never data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent_memory_server.errors import ModelAnswerUnusable, ModelUnavailable
from agent_memory_server.llm.access import AwsKeys
from agent_memory_server.llm.openai import OpenAILanguageModel
from agent_memory_server.ports.language_model import LanguageModel, Purpose
from agent_memory_server.services.language import GatePolicy, LanguageGate, ModelChoice, UsageAccount
from agent_memory_server.testing import chat_answers, model_server
from agent_memory_server.testing.chat_answers import ChatAnswer
from agent_memory_server.testing.model_server import Fault, ModelServer

KEY = "sk-very-secret-key"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"memories": {"type": "array", "items": {"type": "object"}}},
    "required": ["memories"],
    "additionalProperties": False,
}


def openai_model(server: ModelServer, _: pytest.MonkeyPatch) -> LanguageModel:
    return OpenAILanguageModel(api_key=KEY, base_url=server.base_url)


def anthropic_model(server: ModelServer, _: pytest.MonkeyPatch) -> LanguageModel:
    # An SDK of three seconds, which every process that collects tests would import.
    from agent_memory_server.llm.anthropic import AnthropicLanguageModel

    return AnthropicLanguageModel(api_key=KEY, base_url=server.base_url)


def bedrock_model(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
    from agent_memory_server.llm.bedrock import BedrockLanguageModel

    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.root_url)
    return BedrockLanguageModel(AwsKeys(region="eu-west-1", access_key_id="AKTEST", secret_access_key=KEY))


class Asking:
    """A gate over one adapter, with recorded pauses in place of sleeping."""

    def __init__(self, model: LanguageModel, server: ModelServer, *, timeout_s: float = 30) -> None:
        """``timeout_s`` is short where the model never answers; a busy machine takes its time over what it does answer."""
        self.model = model
        self.server = server
        self.pauses: list[float] = []
        self.account = UsageAccount()
        self.gate = LanguageGate(
            model=model,
            choice=ModelChoice(generation="slow-model", fast="fast-model"),
            policy=GatePolicy(timeout_s=timeout_s),
            sleep=self._pause,
            account=self.account.add,
        )

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def ask(self, purpose: Purpose = Purpose.EXTRACTION) -> list[Any]:
        return await self.gate.ask(
            purpose, instructions="Rules.", content='{"n": 1}', schema=SCHEMA, schema_name="memories", parse=_memories
        )


def _memories(answer: Mapping[str, Any]) -> list[Any]:
    memories: Any = answer.get("memories")
    if not isinstance(memories, list):
        raise ValueError("it has no list named memories")
    if len(memories) > 200:  # pyright: ignore[reportUnknownArgumentType]
        raise ValueError("it holds more than 200 memories")
    return memories  # pyright: ignore[reportUnknownVariableType]


@pytest.fixture(params=[openai_model, anthropic_model, bedrock_model], ids=["openai", "anthropic", "bedrock"])
async def asking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asking]:
    make: Callable[[ModelServer, pytest.MonkeyPatch], LanguageModel] = request.param
    async with ModelServer() as server:
        model = make(server, monkeypatch)
        yield Asking(model, server)
        await model.close()


async def test_a_right_answer_arrives_with_its_tokens(asking: Asking) -> None:
    """Instructions and content go apart; tokens are accounted to purpose and model."""
    asking.server.chat.say({"memories": [{"text": "User likes tea"}]})
    assert await asking.ask() == [{"text": "User likes tea"}]
    request = asking.server.requests[0]
    assert "Rules." in str(request.body)
    assert KEY not in str(request.body)
    total = asking.account.totals[Purpose.EXTRACTION, "slow-model"]
    assert (total.calls, total.unusable, total.input_tokens, total.output_tokens) == (1, 0, 11, 7)
    assert total.seconds > 0


@pytest.mark.parametrize("name", chat_answers.UNUSABLE)
async def test_an_unusable_answer_is_a_failure(asking: Asking, name: str) -> None:
    """Whatever is wrong with it, it is retried a bounded number of times and never becomes data."""
    asking.server.chat.say(*[chat_answers.UNUSABLE[name]] * 3)
    with pytest.raises(ModelAnswerUnusable) as raised:
        await asking.ask()
    assert raised.value.retryable
    assert len(asking.server.requests) == 3
    assert asking.pauses == [0.5, 1.0]
    assert asking.account.totals[Purpose.EXTRACTION, "slow-model"].unusable == 3


@pytest.mark.parametrize("name", chat_answers.WRAPPED)
async def test_a_wrapped_answer_is_unwrapped(asking: Asking, name: str) -> None:
    """Local models put their JSON into prose and fences, or after their thoughts."""
    asking.server.chat.say(chat_answers.WRAPPED[name])
    assert await asking.ask() == []


@pytest.mark.parametrize(
    ("fault", "requests", "retryable"),
    [
        (model_server.SERVER_ERROR, 3, True),
        (model_server.RATE_LIMITED, 3, True),
        (model_server.UNAUTHORIZED, 1, False),
        (Fault(status=403), 1, False),
        (model_server.UNKNOWN_MODEL, 1, False),
        (Fault(status=400), 1, False),
        (model_server.NEVER_ANSWERS, 3, True),
        (model_server.RESET, 3, True),
        (model_server.NOT_JSON, 3, True),
        (Fault(raw_body=b'{"id": "x", "choi'), 3, True),
        (Fault(raw_body=b"<html>gateway</html>", headers={"content-type": "text/html"}), 3, True),
    ],
    ids=["500", "429", "401", "403", "404", "400", "never answers", "reset", "no JSON", "cut", "HTML"],
)
async def test_a_fault_of_the_provider_is_a_failure(
    asking: Asking, fault: Fault, requests: int, retryable: bool
) -> None:
    """Retried with back-off where another attempt can help, and only there; neither key nor address is told or logged."""
    if fault == model_server.NEVER_ANSWERS:
        asking = Asking(asking.model, asking.server, timeout_s=0.5)
    asking.server.fail(fault)
    with capture_logs() as logs, pytest.raises(ModelUnavailable) as raised:
        await asking.ask()
    assert raised.value.retryable is retryable
    assert len(asking.server.requests) == requests
    assert asking.pauses == [0.5, 1.0][: requests - 1]
    told = f"{raised.value.detail} {logs}"
    assert KEY not in told
    assert asking.server.root_url not in told


async def test_it_goes_on_after_a_fault(asking: Asking) -> None:
    """One failed attempt costs a pause, not the answer."""
    asking.server.fail_next(model_server.SERVER_ERROR)
    assert await asking.ask() == []
    assert asking.pauses == [0.5]


async def test_the_asked_for_pause_is_kept_up_to_a_bound(asking: Asking) -> None:
    """Retry-After of a few seconds is waited for; a longer one is handed to the caller with the failure."""
    asking.server.fail_next(model_server.rate_limited(3))
    assert await asking.ask() == []
    assert asking.pauses == [3.0]
    asking.server.fail_next(model_server.rate_limited(120))
    with pytest.raises(ModelUnavailable) as raised:
        await asking.ask()
    assert raised.value.retry_after_s == 120
    assert asking.pauses == [3.0]


async def test_a_slow_answer_counts_when_it_is_in_time(asking: Asking) -> None:
    """Slow is not failed."""
    asking.server.fail_next(model_server.slow(0.05))
    assert await asking.ask() == []


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as running:
        yield running


async def test_an_endpoint_without_json_schema_is_asked_in_words(server: ModelServer) -> None:
    """What the endpoint refused is remembered: the next call does not try it again."""
    server.chat.refused_formats = frozenset({"json_schema", "json_object"})
    model = OpenAILanguageModel(api_key=None, base_url=server.base_url)
    asking = Asking(model, server)
    assert await _prose(asking) == []
    formats: list[Any] = [request.body.get("response_format") for request in server.requests]
    assert [each and each["type"] for each in formats] == ["json_schema", "json_object", None]
    assert '"required": ["memories"]' in server.requests[-1].body["messages"][0]["content"]
    assert await _prose(asking) == []
    assert len(server.requests) == 4
    assert asking.pauses == []
    await model.close()


async def _prose(asking: Asking) -> list[Any]:
    asking.server.chat.say(chat_answers.IN_PROSE)
    return await asking.ask()


async def test_a_refused_request_is_not_taken_for_a_refused_format(server: ModelServer) -> None:
    """Another 400 is a failure at once, and no format is given up for it."""
    model = OpenAILanguageModel(api_key=None, base_url=server.base_url)
    server.chat.say(ChatAnswer(text="this model's maximum context length is 8192 tokens", status=400))
    asking = Asking(model, server)
    with pytest.raises(ModelUnavailable) as raised:
        await asking.ask()
    assert not raised.value.retryable
    assert await asking.ask() == []
    assert [request.body["response_format"]["type"] for request in server.requests] == ["json_schema", "json_schema"]
    await model.close()


async def test_fast_purposes_ask_the_fast_model(server: ModelServer) -> None:
    """Extraction and summaries are worth the better model; the rest is not."""
    model = OpenAILanguageModel(api_key=None, base_url=server.base_url)
    asking = Asking(model, server)
    for purpose in Purpose:
        await asking.ask(purpose)
    asked = dict(zip(Purpose, (request.body["model"] for request in server.requests), strict=True))
    slow = {purpose for purpose, name in asked.items() if name == "slow-model"}
    assert slow == {Purpose.EXTRACTION, Purpose.SUMMARIZATION}
    await model.close()


async def test_half_an_aws_key_is_a_failure_that_says_so() -> None:
    """It is not retried, and names the settings."""
    from agent_memory_server.llm.bedrock import BedrockLanguageModel

    with pytest.raises(ModelUnavailable, match="AWS_SECRET_ACCESS_KEY") as raised:
        BedrockLanguageModel(AwsKeys(region="eu-west-1", access_key_id="AKTEST"))
    assert not raised.value.retryable


async def test_litellm_reaches_other_providers(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real library, where it is installed: an answer, bad answers and faults."""
    pytest.importorskip("litellm")
    from agent_memory_server.llm.litellm import LiteLLMLanguageModel

    monkeypatch.setenv("LM_STUDIO_API_BASE", server.base_url)
    monkeypatch.setenv("LM_STUDIO_API_KEY", KEY)
    asking = Asking(LiteLLMLanguageModel(), server)
    asking.gate = LanguageGate(
        model=asking.model,
        choice=ModelChoice(generation="lm_studio/some-model", fast="lm_studio/some-model"),
        policy=GatePolicy(timeout_s=5, attempts_max=1),
        sleep=asking._pause,  # pyright: ignore[reportPrivateUsage]
        account=asking.account.add,
    )
    assert await asking.ask() == []
    for answer in chat_answers.UNUSABLE.values():
        server.chat.say(answer)
        with pytest.raises(ModelAnswerUnusable):
            await asking.ask()
    for fault, retryable in (
        (model_server.SERVER_ERROR, True),
        (model_server.RATE_LIMITED, True),
        (model_server.UNAUTHORIZED, False),
        (model_server.RESET, True),
    ):
        server.fail(fault)
        with pytest.raises(ModelUnavailable) as raised:
            await asking.ask()
        assert raised.value.retryable is retryable
        assert KEY not in raised.value.detail
        server.recover()
