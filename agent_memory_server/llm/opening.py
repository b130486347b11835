"""Which adapter serves a model's name, and whether any model is configured at all (else: local mode)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from agent_memory_server.errors import ConfigurationError
from agent_memory_server.llm.access import ModelAccess
from agent_memory_server.ports.language_model import LanguageModel, ModelCall, ModelReply
from agent_memory_server.telemetry import note, span

Provider = Literal["openai", "anthropic", "bedrock", "litellm"]

_PACKAGES: dict[Provider, str] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "bedrock": "boto3",
    "litellm": "litellm",
}
DEFAULTS: dict[Provider, tuple[str, str]] = {
    "openai": ("gpt-5", "gpt-5-mini"),
    "anthropic": ("claude-sonnet-5-5", "claude-haiku-5-5"),
}
"""Models for generation and for what has to be fast, when none is named."""
LITELLM_PREFIXES = frozenset(
    {
        *("azure", "azure_ai", "cohere", "databricks", "deepseek", "fireworks_ai", "gemini", "groq", "hosted_vllm"),
        *("huggingface", "litellm", "lm_studio", "mistral", "nvidia_nim", "ollama", "ollama_chat", "openrouter"),
        *("perplexity", "sagemaker", "together_ai", "vertex_ai", "watsonx", "xai"),
    }
)
"""First parts of names that mean a provider of LiteLLM's. Other names with a slash are an endpoint's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNames:
    generation: str
    fast: str


def chosen_models(access: ModelAccess, *, generation: str | None, fast: str | None) -> ModelNames | None:
    """The models to use, or None for local mode: no key, no address of a provider and no name of a keyless one is set.

    Raises ConfigurationError when only an address is set and no model's name: what it serves cannot be guessed; and when
    the provider's package, an extra, is not installed.
    """
    keyless = generation is not None and provider_of(generation, access) in ("bedrock", "litellm")
    if not access.has_openai and not access.has_anthropic and not keyless:
        return None
    if generation is None and access.openai_api_key is None and access.anthropic_api_key is None:
        raise ConfigurationError(
            "OPENAI_API_BASE or ANTHROPIC_API_BASE is set, but neither a key nor GENERATION_MODEL: name the model that "
            "this endpoint serves, as in GENERATION_MODEL=llama3.2"
        )
    defaults = DEFAULTS["openai" if access.has_openai else "anthropic"]
    # A single named model answers everything: its endpoint need not know our default for the fast one.
    names = ModelNames(generation=generation or defaults[0], fast=fast or generation or defaults[1])
    for name in (names.generation, names.fast):
        provider = provider_of(name, access)
        if not is_installed(_PACKAGES[provider]):
            raise ConfigurationError(
                f"the model {name} needs the package {_PACKAGES[provider]}: pip install 'agent-memory-server[{provider}]'; "
                "without GENERATION_MODEL and a key (OPENAI_API_KEY, ANTHROPIC_API_KEY) the server runs in local mode"
            )
    return names


def is_installed(package: str) -> bool:
    return find_spec(package) is not None


def provider_of(model: str, access: ModelAccess) -> Provider:
    """Which adapter a name belongs to: by its prefix or family, else by what is configured.

    With OPENAI_API_BASE set that endpoint is asked for every name that is not another native provider's: it may well call
    its models ``ollama/…`` or ``meta-llama/…``.
    """
    prefix = model.partition("/")[0] if "/" in model else ""
    if prefix == "bedrock":
        return "bedrock"
    if prefix == "anthropic" or (model.startswith("claude") and access.has_anthropic):
        return "anthropic"
    if prefix in LITELLM_PREFIXES and access.openai_api_base is None:
        return "litellm"
    return "openai" if access.has_openai or not access.has_anthropic else "anthropic"


class RoutedLanguageModel:
    """Calls the adapter that a model's name belongs to; adapters are opened when first called."""

    def __init__(self, access: ModelAccess) -> None:
        self._access = access
        self._opened: dict[Provider, LanguageModel] = {}

    async def call(self, call: ModelCall, /) -> ModelReply:
        with span("model call", is_call=True, model=call.model) as begun:
            reply = await self._adapter(call.model).call(call)
            note(begun, input_tokens=reply.input_tokens, output_tokens=reply.output_tokens)
            return reply

    async def close(self) -> None:
        for adapter in self._opened.values():
            await adapter.close()

    def _adapter(self, model: str) -> LanguageModel:
        provider = provider_of(model, self._access)
        if provider not in self._opened:
            self._opened[provider] = _open(provider, self._access)
        return self._opened[provider]


def _open(provider: Provider, access: ModelAccess) -> LanguageModel:
    if provider == "anthropic":
        from agent_memory_server.llm.anthropic import AnthropicLanguageModel

        return AnthropicLanguageModel(api_key=access.anthropic_api_key, base_url=access.anthropic_api_base)
    if provider == "bedrock":
        from agent_memory_server.llm.bedrock import BedrockLanguageModel

        return BedrockLanguageModel(access.aws)
    if provider == "litellm":
        from agent_memory_server.llm.litellm import LiteLLMLanguageModel

        return LiteLLMLanguageModel()
    from agent_memory_server.llm.openai import OpenAILanguageModel

    return OpenAILanguageModel(api_key=access.openai_api_key, base_url=access.openai_api_base)
