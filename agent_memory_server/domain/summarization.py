"""Which messages of a session are summarised, and in which portions. Pure.

A session passes its threshold when its live messages hold more than ``int(window * threshold)`` tokens. Then the newest
messages that fit in 40 % of the window stay live (at least the last), and the older ones are summarised oldest first, in
portions that the summarising model can read; each portion is archived with the summary that names it (wire contract,
section 6.4, without its losses).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agent_memory_server.domain.sessions import Message

KEPT_SHARE = 0.4
KEPT_SHARE_OF_THRESHOLD = 0.6
"""With a low threshold less than KEPT_SHARE stays, so that a summary always makes room."""
PORTION_MESSAGES_MAX = 200
PORTION_TOKENS_MAX = 24_000
"""Of the messages in one question, however large the model's window: a summary of more overlooks too much."""
_PORTION_SHARE = 0.8
_OVERHEAD_TOKENS = 30
"""What time, role and JSON add to each message in a question."""


def passes_threshold(live_tokens: int, window: int, threshold: float) -> bool:
    return live_tokens > int(window * threshold)


def to_summarize(messages: Sequence[Message], window: int, threshold: float) -> Sequence[Message]:
    """The oldest messages that have to leave, in order; empty while the session is below its threshold."""
    if not passes_threshold(sum(message.token_count for message in messages), window, threshold):
        return ()
    budget = int(window * min(KEPT_SHARE, threshold * KEPT_SHARE_OF_THRESHOLD))
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
    """How many tokens of messages fit into one question beside the old summary, the new one (twice its aim) and a buffer."""
    buffer = min(max(230, model_window // 100), 1_000)
    room = int((model_window - 3 * summary_tokens(model_window) - buffer) * _PORTION_SHARE)
    return min(PORTION_TOKENS_MAX, max(256, room))


def portions(messages: Sequence[Message], tokens_max: int) -> list[Sequence[Message]]:
    """Consecutive portions, each of at least one message and at most ``tokens_max`` tokens where that is possible."""
    found: list[Sequence[Message]] = []
    start = 0
    tokens = 0
    for index, message in enumerate(messages):
        cost = message.token_count + _OVERHEAD_TOKENS
        full = tokens + cost > tokens_max or index - start >= PORTION_MESSAGES_MAX
        if index > start and full:
            found.append(messages[start:index])
            start, tokens = index, 0
        tokens += cost
    if start < len(messages):
        found.append(messages[start:])
    return found


def pieces(message: Message, tokens_max: int) -> list[Message]:
    """The message as consecutive messages of about ``tokens_max`` tokens each; itself when it is not longer."""
    if message.token_count <= tokens_max:
        return [message]
    length = max(1, len(message.content) * tokens_max // message.token_count)
    starts = range(0, len(message.content), length)
    return [
        replace(message, content=message.content[start : start + length], token_count=tokens_max) for start in starts
    ]
