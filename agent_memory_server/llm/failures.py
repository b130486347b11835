"""A provider's failure as ours: whether another attempt can help, and when. No key, address or body goes into the sentence."""

from __future__ import annotations

import math

from agent_memory_server.errors import ModelUnavailable

_REMEDIES = {
    401: "the language model's provider refused the API key: check OPENAI_API_KEY, ANTHROPIC_API_KEY or the provider's own",
    403: "the language model's provider does not allow this key to use the model",
    404: "the language model's provider does not know the model: check GENERATION_MODEL and FAST_MODEL",
    413: "the request was too large for the language model",
}
_RETRYABLE = frozenset({408, 409, 425, 429})


def from_status(status: int, text: str, retry_after: str | None) -> ModelUnavailable:
    """``text`` is the vendor's message; only its cause chain keeps it, since it may repeat what was sent."""
    del text
    sentence = _REMEDIES.get(status, f"the language model's provider answered {status}")
    return ModelUnavailable(
        sentence, retryable=status in _RETRYABLE or status >= 500, retry_after_s=_seconds(retry_after)
    )


def from_connection(error: Exception) -> ModelUnavailable:
    return ModelUnavailable(f"the language model's provider could not be reached ({type(error).__name__})")


def _seconds(retry_after: str | None) -> int:
    try:
        seconds = float(retry_after or 1)
    except ValueError:  # the header's date form
        return 1
    return max(1, math.ceil(seconds)) if math.isfinite(seconds) else 1
