"""Calling a language model: one raw call, answered as it came. Checks, retries and parsing are the gate's.

Only ``services.language.LanguageGate`` calls this port.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class Purpose(StrEnum):
    """What a call is for: the key of token accounting, of quotas and of the choice of model."""

    EXTRACTION = "extraction"
    SUMMARIZATION = "summarization"
    MERGING = "merging"
    ENRICHMENT = "enrichment"
    QUERY = "query"
    SUMMARY_VIEW = "summary_view"
    ENDING = "ending"


class Finish(StrEnum):
    """Why the model stopped. Everything but COMPLETE makes the answer unusable."""

    COMPLETE = "complete"
    LENGTH = "length"
    REFUSAL = "refusal"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """``instructions`` are ours; ``content`` holds stored text, fenced as data by whoever wrote the prompt."""

    model: str
    instructions: str
    content: str
    schema: Mapping[str, Any] | None = None
    """JSON schema of the answer (an object); None asks for plain text."""
    schema_name: str = "answer"
    output_tokens_max: int = 4_096
    timeout_s: float = 60.0
    purpose: Purpose | None = None
    """For accounting and for tests; adapters send nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReply:
    """``text`` as the model wrote it (structured output as its JSON text); tokens are 0 when not reported."""

    text: str
    finish: Finish
    input_tokens: int = 0
    output_tokens: int = 0


class LanguageModel(Protocol):
    async def call(self, call: ModelCall, /) -> ModelReply:
        """One attempt. Raises ModelUnavailable: ``retryable`` says whether another attempt can help, ``retry_after_s`` when."""
        ...

    async def close(self) -> None: ...
