"""Keys and addresses of the providers of language models."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsKeys:
    """None: AWS's own chain (profile, role, container) decides."""

    region: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAccess:
    """Keys and addresses of the providers; None where a setting is unset. Keys do not show in its text form."""

    openai_api_key: str | None = field(default=None, repr=False)
    openai_api_base: str | None = None
    anthropic_api_key: str | None = field(default=None, repr=False)
    anthropic_api_base: str | None = None
    aws: AwsKeys = field(default_factory=AwsKeys)

    @property
    def has_openai(self) -> bool:
        return self.openai_api_key is not None or self.openai_api_base is not None

    @property
    def has_anthropic(self) -> bool:
        return self.anthropic_api_key is not None or self.anthropic_api_base is not None
