"""Every setting of the server. Each name is an environment variable in upper case; ``.env`` in the working directory is read.

Only entry points build ``Settings()``; ``app.open_app`` is the only reader. A setting is here when changing it changes
behaviour; names that the reference server had and that mean nothing here are in ``WITHOUT_EFFECT`` and are reported at start.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.errors import ConfigurationError


class AuthMode(StrEnum):
    DISABLED = "disabled"
    TOKEN = "token"  # noqa: S105 - the name of a mode
    OAUTH2 = "oauth2"


_PROMPT_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "progressive_summarization_prompt": ("{prev_summary}", "{messages_joined}"),
    "query_optimization_prompt_template": ("{query}",),
}


class Retention(BaseModel):
    """One of RETENTION_POLICIES: for how long memories of a namespace or of some types are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=100)]
    namespace: str | None = None
    memory_types: frozenset[MemoryType] | None = None
    max_age_days: Annotated[float, Field(ge=0, le=1e7)] | None = None
    max_inactive_days: Annotated[float, Field(ge=0, le=1e7)] | None = None

    @model_validator(mode="after")
    def _removes_something(self) -> Retention:
        if self.max_age_days is None and self.max_inactive_days is None:
            raise ValueError("must name max_age_days, max_inactive_days or both")
        return self


class Settings(BaseSettings):
    """All settings with their defaults. Units are in the names or descriptions."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    # -- where data lives
    storage_url: str | None = Field(
        default=None,
        description="Engine and place of the data: sqlite:///path or redis://host:port/0 (also rediss://, redis+sentinel:// "
        "and redis+cluster://). Unset: REDIS_URL, else a file in DATA_DIR.",
    )
    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("agent-memory-server", appauthor=False)),
        description="Folder of the embedded engine's data, when STORAGE_URL names no place.",
    )
    redis_url: str | None = Field(
        default=None,
        description="Where the queue for separate workers is; selects the Redis engine when STORAGE_URL is unset.",
    )
    memory_vector_db_factory: str = Field(
        default="agent_memory_server.memory_vector_db_factory.create_redis_memory_vector_db",
        description="Dotted path of a function that opens an engine of your own. The default stands for the built-in engines.",
    )
    durability: Literal["standard", "strict"] = Field(
        default="standard",
        description="strict: Redis answers a write when it is in its append-only file on disk (WAITAOF). SQLite always does.",
    )

    redisvl_index_name: str = Field(
        default="memory_records", description="The reference server's index of memories, for `migrate-memories`."
    )
    redisvl_index_prefix: str = Field(
        default="memory_idx", description="How its keys of memories began. Indexes that it made are found anyhow."
    )
    working_memory_index_name: str = Field(
        default="working_memory_idx", description="Its index of sessions, which `migrate-memories --prune` removes."
    )

    # -- background work
    use_docket: bool = Field(
        default=True,
        description="With REDIS_URL: leave background work to workers that share that Redis. `--task-backend` wins over it.",
    )
    docket_name: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        default="memory-server", description="Name of the queue that the server and its workers share."
    )
    llm_task_timeout_minutes: Annotated[float, Field(gt=0, le=1440)] = Field(
        default=5, description="How long, in minutes, one background task may take before it counts as failed."
    )

    # -- the REST server
    host: str = Field(default="127.0.0.1", description="Address that `agent-memory api` binds to.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8000, description="Port of the REST server.")
    allow_unauthenticated: bool = Field(
        default=False,
        description="Without authentication: allow addresses beyond loopback, any host name and pages of any site.",
    )
    auth_mode: AuthMode = Field(default=AuthMode.DISABLED, description="disabled, token or oauth2.")
    disable_auth: bool | None = Field(
        default=None, description="false asks for authentication; true or unset leaves that to AUTH_MODE."
    )
    token_auth_enabled: bool = Field(
        default=False, description="Asks for token authentication, as AUTH_MODE=token does."
    )
    oauth2_issuer_url: str | None = Field(
        default=None, description="Issuer of the tokens that AUTH_MODE=oauth2 accepts, exactly as their iss says."
    )
    oauth2_audience: str | None = Field(
        default=None, description="What the tokens' aud must hold: this server. Needed for AUTH_MODE=oauth2."
    )
    oauth2_jwks_url: str | None = Field(
        default=None, description="Where the issuer's keys are. Unset: as the issuer's own metadata says."
    )
    oauth2_algorithms: list[str] = Field(
        default=["RS256"], description="Signature algorithms that are accepted, as JSON: RS, PS, ES and EdDSA ones."
    )
    oauth2_tenant_claim: str | None = Field(
        default=None, description="Claim that names the tenant. Unset: every token is of the tenant default."
    )
    oauth2_user_claim: str | None = Field(
        default=None,
        description="Claim that binds a token to one user, such as sub. Unset: a token reaches every user of its tenant.",
    )
    oauth2_namespace_claim: str | None = Field(
        default=None,
        description="Claim that binds a token to one namespace. Unset: it reaches every one of its tenant.",
    )
    rate_limit_requests_per_minute: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Requests that one credential may make in a minute, of each server process; more are answered with 429. "
        "Unset: no limit.",
    )
    rate_limit_model_tokens_per_hour: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Tokens of language models that one credential may use in an hour, of each process: requests beyond are "
        "answered with 429, and its background work waits. Unset: no limit.",
    )
    docs_public: bool = Field(
        default=False, description="With authentication on: show /docs, /redoc and /openapi.json without a credential."
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=16 * 1024 * 1024, description="Largest request body in bytes; a larger one is answered with 413."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", description="Least severe level that is logged (JSON lines on stderr)."
    )

    # -- the MCP server
    mcp_host: str = Field(
        default="127.0.0.1", description="Address that `agent-memory mcp` binds to (sse, streamable-http)."
    )
    mcp_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=9000, description="Port of `agent-memory mcp` (sse, streamable-http)."
    )
    mcp_tools: Literal["simple", "full", "admin"] = Field(
        default="full",
        description="simple: remember, recall, forget. full: the ten tools of the reference server. admin: those, and sessions, "
        "listings, forgetting, tasks, summary views.",
    )
    metrics: bool = Field(default=True, description="The API's process answers Prometheus at /metrics.")
    console: bool = Field(default=True, description="The API's process serves the console, its pages for people, at /.")
    mcp_in_api: bool = Field(default=True, description="The REST server also serves MCP at /mcp and /{namespace}/mcp.")
    default_mcp_namespace: Annotated[str, Field(max_length=LIMITS.id_length_max)] | None = Field(
        default=None, description="Namespace of tool calls that name none, where the credential is not bound to one."
    )
    default_mcp_user_id: Annotated[str, Field(max_length=LIMITS.id_length_max)] | None = Field(
        default=None, description="User of tool calls that name none, where the credential is not bound to one."
    )
    mcp_token: SecretStr | None = Field(
        default=None,
        description="Credential of `agent-memory mcp --mode stdio`. Unset: whoever can open the data may do everything.",
    )
    mcp_allowed_hosts: list[str] = Field(
        default=[],
        description="Host headers that MCP accepts, as JSON, with or without a port. Empty: this machine's names when it listens "
        "on loopback, else any.",
    )
    mcp_allowed_origins: list[str] = Field(
        default=[],
        description="Web origins beside its own that may call MCP from a browser, as JSON. On loopback also this machine's.",
    )

    # -- memory
    long_term_memory: bool = Field(
        default=True, description="Off: long-term endpoints answer 400, nothing is promoted."
    )
    index_all_messages_in_long_term_memory: bool | None = Field(
        default=None,
        description="Also make each message a searchable memory. Unset: yes in local mode (no language model), else no.",
    )
    require_message_timestamps: bool = Field(default=False, description="Refuse messages without created_at (422).")
    max_future_timestamp_seconds: Annotated[int, Field(ge=0)] = Field(
        default=300, description="How far in the future, in seconds, a message's created_at may lie."
    )
    summarization_threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.7, description="Share of the context window at which a session counts as full."
    )

    enable_working_memory_summarization: bool = Field(
        default=True, description="Summarise the older messages of a session that passes its threshold."
    )
    enable_discrete_memory_extraction: bool = Field(
        default=True, description="Extract memories from a session's messages in the background."
    )
    extraction_debounce_seconds: Annotated[float, Field(ge=0)] = Field(
        default=30.0, description="How long, in seconds, a session has to be quiet before it is extracted from."
    )
    top_k_topics: Annotated[int, Field(ge=0, le=20)] = Field(
        default=3, description="Most topics that a model gives one memory."
    )
    enable_topic_extraction: bool = Field(
        default=True, description="Give memories that a client stored without topics some, by FAST_MODEL or by rules."
    )
    enable_ner: bool = Field(
        default=True, description="Give memories that a client stored without entities some, by FAST_MODEL or by rules."
    )
    compact_semantic_duplicates: bool = Field(
        default=True, description="Also compare memories by meaning, when they are written and in compaction."
    )
    deduplication_distance_threshold: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None,
        description="Cosine distance within which a new memory may be a duplicate. Unset: as measured for the embedding "
        "model, 0.35 for OpenAI's.",
    )
    compaction_every_minutes: Annotated[int, Field(gt=0, le=525_600)] = Field(
        default=10, description="How often, in minutes, memories that changed are compacted."
    )
    forgetting_enabled: bool = Field(default=False, description="Forget periodically, by the three settings below.")
    forgetting_every_minutes: Annotated[int, Field(gt=0, le=525_600)] = Field(
        default=60, description="How often, in minutes, memories are forgotten by policy."
    )
    forgetting_max_age_days: Annotated[float, Field(ge=0, le=1e7)] | None = Field(
        default=None, description="Forget what is older, in days (with the next one: and unused for that long)."
    )
    forgetting_max_inactive_days: Annotated[float, Field(ge=0, le=1e7)] | None = Field(
        default=None, description="Forget what was not used for longer, in days."
    )
    forgetting_budget_keep_top_n: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Keep so many memories of each owner (namespace and user), the most recent ones."
    )
    retention_policies: Annotated[tuple[Retention, ...], NoDecode] = Field(
        default=(),
        description='JSON list of how long memories are kept, by namespace or type: `[{"name": "support", "namespace": '
        '"support", "memory_types": ["message"], "max_age_days": 90}]`. Applied every FORGETTING_EVERY_MINUTES.',
    )
    webhook_allow_private_addresses: bool = Field(
        default=False,
        description="Let webhooks call addresses of this machine and network. Only where every administrator may.",
    )
    refuse_erased_content: bool = Field(
        default=False,
        description="Remember a keyed digest of every memory that is deleted or erased, and refuse its text when it comes "
        "again for the same owner.",
    )
    undo_retention_days: Annotated[float, Field(ge=0, le=36_500)] = Field(
        default=30,
        description="For how long, in days, an operation can be undone, and the text of forgotten memories is kept for it.",
    )
    summary_view_refresh_every_minutes: Annotated[int, Field(gt=0, le=525_600)] = Field(
        default=60, description="How often, in minutes, continuous summary views are refreshed."
    )

    # -- models
    generation_model: str | None = Field(
        default=None,
        description="Model for extraction and summaries. Unset: gpt-5 or claude-sonnet-5-5, by the key that is set.",
    )
    fast_model: str | None = Field(
        default=None,
        description="Model for merging, enrichment and summary views. Unset: GENERATION_MODEL, else gpt-5-mini or "
        "claude-haiku-5-5.",
    )
    progressive_summarization_prompt: str | None = Field(
        default=None,
        description="What a model is told to do when it summarises a session; must name {prev_summary} and "
        "{messages_joined}. Unset: the built-in prompt.",
    )
    query_optimization_prompt_template: str | None = Field(
        default=None,
        description="What a model is told to do when it rewrites a query (optimize_query=true); must name {query}. Unset: "
        "the built-in prompt.",
    )
    min_optimized_query_length: Annotated[int, Field(ge=0, le=1_000)] = Field(
        default=2, description="A rewritten query of fewer characters is not used; the original is searched."
    )
    anthropic_api_key: SecretStr | None = Field(default=None, description="Key of Anthropic's endpoint.")
    anthropic_api_base: str | None = Field(default=None, description="Base URL of Anthropic's endpoint.")
    region_name: str | None = Field(default=None, description="AWS region of bedrock/ models. Unset: AWS's own chain.")
    aws_access_key_id: SecretStr | None = Field(default=None, description="AWS key. Unset: AWS's own chain.")
    aws_secret_access_key: SecretStr | None = Field(default=None, description="The secret of AWS_ACCESS_KEY_ID.")
    aws_session_token: SecretStr | None = Field(default=None, description="For temporary AWS keys.")
    embedding_model: str | None = Field(
        default=None,
        description="wordllama (bundled), local:/path, or any model of an OpenAI-compatible endpoint. "
        "Unset: text-embedding-3-small when OPENAI_API_KEY is set, else wordllama.",
    )
    reranker_model: str | None = Field(
        default=None,
        description="A cross-encoder that reads the best of a hybrid search once more: fastembed/NAME or "
        "sentence-transformers/NAME, an extra each. Unset: none.",
    )
    search_mode_default: Literal["semantic", "keyword", "hybrid"] = Field(
        default="semantic",
        description="Mode of a REST search that names none; the memory prompt, MCP and the command line use hybrid.",
    )
    openai_api_key: SecretStr | None = Field(default=None, description="Key of the OpenAI-compatible endpoint.")
    openai_api_base: str | None = Field(default=None, description="Base URL of the OpenAI-compatible endpoint.")

    @field_validator("*", mode="before")
    @classmethod
    def _blank_is_unset(cls, value: object, info: object) -> object:
        """Compose files often pass empty strings for what is not set."""
        if isinstance(value, str) and not value.strip():
            name = getattr(info, "field_name", "")
            return cls.model_fields[name].get_default(call_default_factory=True)
        return value

    @field_validator("retention_policies", mode="before")
    @classmethod
    def _policies(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value.strip() else ()
        except ValueError as error:
            raise ValueError(f"must be a JSON list of policies: {error}") from None

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @property
    def has_workers(self) -> bool:
        """Background work is left to workers that share a Redis; else it is done in the server's own process."""
        return self.use_docket and self.redis_url is not None

    @field_validator("progressive_summarization_prompt", "query_optimization_prompt_template")
    @classmethod
    def _names_its_input(cls, value: str | None, info: ValidationInfo) -> str | None:
        for variable in _PROMPT_VARIABLES[info.field_name or ""]:
            if value is not None and variable not in value:
                raise ValueError(f"must contain {variable}, which stands for what the model is given")
        return value

    @property
    def wants_authentication(self) -> bool:
        """A setting that asks for authentication always wins over one that leaves it off."""
        return self.auth_mode is not AuthMode.DISABLED or self.token_auth_enabled or self.disable_auth is False

    @property
    def authentication_mode(self) -> AuthMode:
        """What the three settings say together; access tokens are accepted in both modes that authenticate."""
        if self.auth_mode is AuthMode.DISABLED and self.wants_authentication:
            return AuthMode.TOKEN
        return self.auth_mode

    @property
    def is_for_this_machine(self) -> bool:
        """Nobody is asked for a credential, and nobody said that everybody may come in."""
        return not self.wants_authentication and not self.allow_unauthenticated

    def checked_host(self, host: str, *, setting: str = "HOST") -> str:
        """The address to bind to, or ConfigurationError: without authentication only loopback is bound."""
        if self.wants_authentication or self.allow_unauthenticated or is_loopback(host):
            return host
        raise ConfigurationError(
            f"refusing to listen on {host} without authentication: everybody who reaches it could read and change every "
            f"memory. Use {setting}=127.0.0.1, or set ALLOW_UNAUTHENTICATED=true if that is what you want."
        )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


WITHOUT_EFFECT: Mapping[str, str] = {
    "AUTH0_CLIENT_ID": "only test scripts of the reference server used it",
    "AUTH0_CLIENT_SECRET": "only test scripts of the reference server used it",
    "NER_MODEL": "entities are found by FAST_MODEL, or by rules without a model",
    "NER_MODEL_SOURCE": "entities are found by FAST_MODEL, or by rules without a model",
    "REDIS_MEMORY_CONFIG": "configuration files were never loaded; set environment variables or a .env file",
    "REDISVL_DISTANCE_METRIC": "distances are always cosine",
    "REDISVL_INDEXING_ALGORITHM": "the engine chooses its index by the size of the scope",
    "REDISVL_VECTOR_DIMENSIONS": "the embedding model says how many dimensions it has",
    "SLOW_MODEL": "no task used it; set GENERATION_MODEL and FAST_MODEL",
    "TOPIC_MODEL": "topics are found by FAST_MODEL, or by rules without a model",
    "TOPIC_MODEL_SOURCE": "topics are found by FAST_MODEL, or by rules without a model",
    "WORKING_MEMORY_INDEX_PREFIX": "the reference server's keys never followed it",
    "WORKING_MEMORY_MIGRATION_COMPLETE": "migrate-memories looks at the form of each session itself",
}
"""Settings of the reference server that mean nothing here, with what to do instead; named at start when somebody sets them."""
