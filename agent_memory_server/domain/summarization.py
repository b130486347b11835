"""Which messages of a session are summarised, and in which portions. Pure.

A session passes its threshold when its live messages hold more than ``int(window * threshold)`` tokens. Then the newest
messages that fit in 40 % of the window stay live (at least the last), and the older ones are summarised oldest first, in
portions that the summarising model can read; each portion is archived with the summary that names it (wire contract,
section 6.4, without its losses).
"""

from __future__ import annotations

from collections.abc import Sequence

from agent_memory_server.domain.sessions import Message

KEPT_SHARE = 0.4
PORTION_MESSAGES_MAX = 200


def passes_threshold(live_tokens: int, window: int, threshold: float) -> bool:
    return live_tokens > int(window * threshold)


def to_summarize(messages: Sequence[Message], window: int, threshold: float) -> Sequence[Message]:
    """The oldest messages that have to leave, in order; empty while the session is below its threshold."""
    if not passes_threshold(sum(message.token_count for message in messages), window, threshold):
        return ()
    budget = int(window * KEPT_SHARE)
    kept_tokens = 0
    for index in range(len(messages) - 1, -1, -1):
        kept_tokens += messages[index].token_count
        if kept_tokens > budget:
            return messages[: min(index + 1, len(messages) - 1)]
    return ()


def summary_tokens(model_window: int) -> int:
    """How long a summary may be, by the summarising model's window (wire contract, section 6.4)."""
    if model_window < 10_000:
        return max(512, model_window // 8)
    return max(1_024, model_window // 10) if model_window < 50_000 else max(2_048, model_window // 20)


def portion_tokens(model_window: int) -> int:
    """How many tokens of messages fit into one question beside the summary and a buffer."""
    buffer = min(max(230, model_window // 100), 1_000)
    return max(256, model_window - 2 * summary_tokens(model_window) - buffer)


def portions(messages: Sequence[Message], tokens_max: int) -> list[Sequence[Message]]:
    """Consecutive portions, each of at least one message and at most ``tokens_max`` tokens where that is possible."""
    found: list[Sequence[Message]] = []
    start = 0
    tokens = 0
    for index, message in enumerate(messages):
        full = tokens + message.token_count > tokens_max or index - start >= PORTION_MESSAGES_MAX
        if index > start and full:
            found.append(messages[start:index])
            start, tokens = index, 0
        tokens += message.token_count
    if start < len(messages):
        found.append(messages[start:])
    return found
