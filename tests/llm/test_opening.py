"""Which adapter a model's name belongs to, what is configured by which settings, and what is said when a package is missing."""

from __future__ import annotations

import pytest

from agent_memory_server.errors import ConfigurationError
from agent_memory_server.llm.access import AwsKeys, ModelAccess
from agent_memory_server.llm.opening import (
    DEFAULTS,
    ModelNames,
    RoutedLanguageModel,
    chosen_models,
    is_installed,
    provider_of,
)
from agent_memory_server.ports.language_model import ModelCall
from agent_memory_server.testing.model_server import ModelServer

NOTHING = ModelAccess()
OPENAI = ModelAccess(openai_api_key="sk-secret")
ENDPOINT = ModelAccess(openai_api_base="http://localhost:1/v1")
ANTHROPIC = ModelAccess(anthropic_api_key="sk-secret")
BOTH = ModelAccess(openai_api_key="sk-secret", anthropic_api_key="sk-secret")


@pytest.mark.parametrize(
    ("model", "access", "provider"),
    [
        ("gpt-5", OPENAI, "openai"),
        ("openai/gpt-5", OPENAI, "openai"),
        ("claude-sonnet-4-5", ANTHROPIC, "anthropic"),
        ("claude-sonnet-4-5", BOTH, "anthropic"),
        ("claude-sonnet-4-5", ENDPOINT, "openai"),
        ("anthropic/claude-sonnet-4-5", OPENAI, "anthropic"),
        ("gpt-5", BOTH, "openai"),
        ("llama3.2", ENDPOINT, "openai"),
        ("meta-llama/Llama-3-8B", ENDPOINT, "openai"),
        ("ollama/llama3.2", ENDPOINT, "openai"),
        ("ollama/llama3.2", NOTHING, "litellm"),
        ("gemini/gemini-2.5-flash", OPENAI, "litellm"),
        ("bedrock/anthropic.claude-v2", BOTH, "bedrock"),
    ],
)
def test_a_name_leads_to_its_adapter(model: str, access: ModelAccess, provider: str) -> None:
    """By prefix or family, else by what is configured; an endpoint of one's own names its models as it likes."""
    assert provider_of(model, access) == provider


@pytest.mark.parametrize(
    ("access", "generation", "fast", "names"),
    [
        (NOTHING, None, None, None),
        (NOTHING, "gpt-5", None, None),
        (OPENAI, None, None, ModelNames(generation="gpt-5", fast="gpt-5-mini")),
        (ANTHROPIC, None, None, ModelNames(generation=DEFAULTS["anthropic"][0], fast=DEFAULTS["anthropic"][1])),
        (ENDPOINT, "llama3.2", None, ModelNames(generation="llama3.2", fast="llama3.2")),
        (OPENAI, "a", "b", ModelNames(generation="a", fast="b")),
        (NOTHING, "bedrock/m", None, ModelNames(generation="bedrock/m", fast="bedrock/m")),
    ],
)
def test_the_settings_choose_the_models(
    access: ModelAccess, generation: str | None, fast: str | None, names: ModelNames | None
) -> None:
    """No key, no address and no keyless model: local mode. A single named model answers everything."""
    assert chosen_models(access, generation=generation, fast=fast) == names


def test_an_address_without_a_name_stops_the_start() -> None:
    """What an endpoint serves cannot be guessed."""
    with pytest.raises(ConfigurationError, match="GENERATION_MODEL"):
        chosen_models(ENDPOINT, generation=None, fast=None)


@pytest.mark.skipif(is_installed("litellm"), reason="the package is installed here")
def test_a_missing_package_stops_the_start_and_names_its_extra() -> None:
    """Not the first extraction, hours later."""
    with pytest.raises(ConfigurationError, match=r"pip install 'agent-memory-server\[litellm\]'"):
        chosen_models(NOTHING, generation="ollama/llama3.2", fast=None)


def test_keys_do_not_show() -> None:
    """The text form of the access, which may end up in a trace, has none of them."""
    access = ModelAccess(
        openai_api_key="sk-one",
        anthropic_api_key="sk-two",
        aws=AwsKeys(secret_access_key="sk-three", session_token="sk-4"),
    )
    assert "sk-" not in repr(access)


async def test_one_server_asks_several_providers() -> None:
    """Each call goes to its model's adapter; all are closed at the end."""
    async with ModelServer() as server:
        model = RoutedLanguageModel(
            ModelAccess(openai_api_base=server.base_url, anthropic_api_key="k", anthropic_api_base=server.root_url)
        )
        for name in ("llama3.2", "claude-haiku-4-5", "llama3.2"):
            await model.call(ModelCall(model=name, instructions="", content="hello"))
        paths = [request.path for request in server.requests]
        assert paths == ["/v1/chat/completions", "/v1/messages", "/v1/chat/completions"]
        await model.close()
