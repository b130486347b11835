"""How large a model's context window is, how full a session makes it, and which messages still fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent_memory_server.domain.sessions import Message

DEFAULT_WINDOW_TOKENS = 16_000
"""The window that summarisation assumes when the client names neither a model nor a window."""

UNKNOWN_MODEL_WINDOW_TOKENS = 128_000
"""For a model that is not in the table: what current models have at the least."""

WINDOW_TOKENS: Mapping[str, int] = {
    "gpt-4.1": 128_000,
    "gpt-4.1-mini": 128_000,
    "gpt-4o": 128_000,
    "gpt-4o-mini": 128_000,
    "gpt-5": 128_000,
    "gpt-5-mini": 400_000,
    "gpt-5-nano": 400_000,
    "gpt-5.1-chat-latest": 128_000,
    "gpt-5.2-chat-latest": 128_000,
    "o1": 200_000,
    "o1-mini": 128_000,
    "o3-mini": 200_000,
    "gpt-3.5-turbo": 4_096,
    "gpt-3.5-turbo-16k": 16_384,
    "gpt-4": 8_192,
    "gpt-4-32k": 32_768,
    "text-embedding-ada-002": 8_191,
    "text-embedding-3-small": 8_191,
    "text-embedding-3-large": 8_191,
}
"""Tokens by model name (wire contract, section 4). Every Claude model has 200,000."""


def window_tokens(model_name: str | None, context_window_max: int | None) -> int | None:
    """The window in tokens, or None when neither is given (0 counts as not given). An explicit window beats the model's."""
    if context_window_max:
        return context_window_max
    if not model_name:
        return None
    bare = model_name.rsplit("/", 1)[-1]
    if bare in WINDOW_TOKENS:
        return WINDOW_TOKENS[bare]
    return 200_000 if bare.startswith("claude") else UNKNOWN_MODEL_WINDOW_TOKENS


def newest_that_fit(messages: Sequence[Message], window: int) -> Sequence[Message]:
    """The longest tail of ``messages`` whose tokens fit the window; at least the last message. One pass."""
    total = 0
    for index in range(len(messages) - 1, -1, -1):
        total += messages[index].token_count
        if total > window:
            return messages[min(index + 1, len(messages) - 1) :]
    return messages


def percentages(messages: Sequence[Message], window: int | None, threshold: float) -> tuple[float | None, float | None]:
    """(percent of the window used, percent of the way to summarisation), each capped at 100.

    Both None without a window, both 0.0 without messages (wire contract, section 6.2).
    """
    if window is None:
        return None, None
    if not messages:
        return 0.0, 0.0
    used = sum(message.token_count for message in messages)
    until = int(window * threshold)
    return min(100.0, used / window * 100.0), 100.0 if until <= 0 else min(100.0, used / until * 100.0)
