"""Which adapter serves a model's name, and whether any model is configured at all (else: local mode)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from agent_memory_server.errors import ConfigurationError
from agent_memory_server.ports.language_model import LanguageModel, ModelCall, ModelReply


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAccess:
    """Keys and addresses of the providers; None where a setting is unset."""

    openai_api_key: str | None = None
    openai_api_base: str | None = None
    anthropic_api_key: str | None = None
    anthropic_api_base: str | None = None

    @property
    def has_openai(self) -> bool:
        return self.openai_api_key is not None or self.openai_api_base is not None

    @property
    def has_anthropic(self) -> bool:
        return self.anthropic_api_key is not None or self.anthropic_api_base is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNames:
    generation: str
    fast: str


def chosen_models(access: ModelAccess, *, generation: str | None, fast: str | None) -> ModelNames | None:
    """The models to use, or None for local mode: no key and no address of a provider is set.

    Raises ConfigurationError when only an address is set and no model's name: what it serves cannot be guessed; and when
    the provider's package, an extra, is not installed.
    """
    if not access.has_openai and not access.has_anthropic:
        return None
    if generation is None and access.openai_api_key is None and access.anthropic_api_key is None:
        raise ConfigurationError(
            "OPENAI_API_BASE or ANTHROPIC_API_BASE is set, but neither a key nor GENERATION_MODEL: name the model that "
            "this endpoint serves, as in GENERATION_MODEL=llama3.2"
        )
    defaults = ("gpt-5", "gpt-5-mini") if access.has_openai else ("claude-sonnet-4-5", "claude-haiku-4-5")
    # A single named model answers everything: its endpoint need not know our default for the fast one.
    names = ModelNames(generation=generation or defaults[0], fast=fast or generation or defaults[1])
    for name in (names.generation, names.fast):
        provider = provider_of(name, access)
        if find_spec(provider) is None:
            raise ConfigurationError(
                f"the model {name} needs the {provider} package: pip install 'agent-memory-server[{provider}]'; without a "
                "key (OPENAI_API_KEY, ANTHROPIC_API_KEY) the server runs in local mode"
            )
    return names


class RoutedLanguageModel:
    """Calls the adapter that a model's name belongs to; adapters are opened when first called."""

    def __init__(self, access: ModelAccess) -> None:
        self._access = access
        self._opened: dict[str, LanguageModel] = {}

    async def call(self, call: ModelCall, /) -> ModelReply:
        return await self._adapter(call.model).call(call)

    async def close(self) -> None:
        for adapter in self._opened.values():
            await adapter.close()

    def _adapter(self, model: str) -> LanguageModel:
        provider = provider_of(model, self._access)
        if provider not in self._opened:
            self._opened[provider] = _open(provider, self._access)
        return self._opened[provider]


def provider_of(model: str, access: ModelAccess) -> str:
    """``anthropic`` or ``openai``, by the name's prefix or family, else by what is configured."""
    if model.startswith("anthropic/") or (model.startswith("claude") and access.has_anthropic):
        return "anthropic"
    return "openai" if access.has_openai or not access.has_anthropic else "anthropic"


def _open(provider: str, access: ModelAccess) -> LanguageModel:
    if provider == "anthropic":
        from agent_memory_server.llm.anthropic import AnthropicLanguageModel

        return AnthropicLanguageModel(api_key=access.anthropic_api_key, base_url=access.anthropic_api_base)
    from agent_memory_server.llm.openai import OpenAILanguageModel

    return OpenAILanguageModel(api_key=access.openai_api_key, base_url=access.openai_api_base)
