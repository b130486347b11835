"""Extraction strategies: what a strategy's configuration may hold, and what a strategy yields.

The strategies are discrete (facts and events), summary (one record a thread), preferences, and custom (a client's prompt).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

from agent_memory_server.domain.records import MemoryType
from agent_memory_server.domain.sessions import Message, Strategy
from agent_memory_server.domain.tags import clean_tags


class StrategyName(StrEnum):
    DISCRETE = "discrete"
    SUMMARY = "summary"
    PREFERENCES = "preferences"
    CUSTOM = "custom"


CUSTOM_PROMPT_LENGTH_MAX = 10_000
SUMMARY_WORDS_DEFAULT = 500
SUMMARY_WORDS_MAX = 5_000
TEXT_LENGTH_MAX = 4_000
"""A longer "memory" is not one statement; the answer is then not usable. Summaries may be as long as they were asked to be."""
_CHARS_A_WORD_MAX = 16
MEMORIES_PER_ANSWER_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedDraft:
    """What a strategy hands back: content only. Ids, owner, pins and timestamps are the server's to set."""

    text: str
    memory_type: MemoryType
    topics: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    event_date: datetime | None = None
    source_ids: tuple[str, ...] = ()
    """Ids of the messages that it comes from."""
    metadata: Mapping[str, Any] | None = None


def check_strategy(strategy: Strategy) -> None:
    """Raise ValueError with what is wrong about the name or the configuration, before anything is stored."""
    if strategy.name not in {name.value for name in StrategyName}:
        names = ", ".join(name.value for name in StrategyName)
        raise ValueError(f"unknown strategy {strategy.name!r}: it is one of {names}")
    if strategy.name == StrategyName.CUSTOM:
        prompt = strategy.config.get("custom_prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise ValueError("the custom strategy needs a custom_prompt in its config")
        if len(prompt) > CUSTOM_PROMPT_LENGTH_MAX:
            raise ValueError(f"custom_prompt must not be longer than {CUSTOM_PROMPT_LENGTH_MAX} characters")
    if strategy.name == StrategyName.SUMMARY:
        summary_words(strategy)


def summary_words(strategy: Strategy) -> int:
    """``max_summary_length`` of a summary strategy, in words. Raises ValueError when it is not a sensible number."""
    words = strategy.config.get("max_summary_length", SUMMARY_WORDS_DEFAULT)
    if isinstance(words, bool) or not isinstance(words, int) or not 1 <= words <= SUMMARY_WORDS_MAX:
        raise ValueError(f"max_summary_length must be a whole number from 1 to {SUMMARY_WORDS_MAX}")
    return words


def text_length_max(strategy: Strategy) -> int:
    """The longest text, in characters, that a memory of this strategy may have."""
    if strategy.name != StrategyName.SUMMARY:
        return TEXT_LENGTH_MAX
    return max(TEXT_LENGTH_MAX, summary_words(strategy) * _CHARS_A_WORD_MAX)


_VARIABLE = re.compile(r"\{([a-z_]+)\}")
_VARIABLE_OR_DOUBLED = re.compile(r"\{\{|\}\}|\{([a-z_]+)\}")


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """Put ``values`` in for ``{name}``; everything else stays as it is written.

    There is no attribute access, no indexing and no format specification, so a template reaches nothing but these values,
    and a JSON example in a prompt needs no escaping. One that was escaped nevertheless (some ``{{`` is there) has its
    doubled braces made single ones.
    """

    def replaced(match: re.Match[str]) -> str:
        whole = match.group(0)
        if whole in ("{{", "}}"):
            return whole[0]
        name = match.group(1)
        return values.get(name, whole)

    return (_VARIABLE_OR_DOUBLED if "{{" in template else _VARIABLE).sub(replaced, template)


EXTRACTION_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["memories"],
    "properties": {
        "memories": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["type", "text", "topics", "entities", "event_date", "sources"],
                "properties": {
                    "type": {"type": "string", "enum": ["semantic", "episodic"]},
                    "text": {"type": "string"},
                    "topics": {"type": "array", "items": {"type": "string"}},
                    "entities": {"type": "array", "items": {"type": "string"}},
                    "event_date": {"type": ["string", "null"]},
                    "sources": {"type": "array", "items": {"type": "integer"}},
                },
            },
        }
    },
}


def parse_extraction(
    answer: Mapping[str, Any], messages: Sequence[Message], *, length_max: int = TEXT_LENGTH_MAX
) -> tuple[ExtractedDraft, ...]:
    """The drafts in a model's answer; ``messages`` are the new ones that it numbered from 1.

    Items without text are skipped, unknown fields ignored, sources that do not exist dropped (none left: all messages).
    Raises ValueError when the answer as a whole is not the form that was asked for.
    """
    items = answer.get("memories")
    if not isinstance(items, list):
        raise ValueError("it has no list named memories")
    entries = cast(list[Any], items)
    if len(entries) > MEMORIES_PER_ANSWER_MAX:
        raise ValueError(f"it holds more than {MEMORIES_PER_ANSWER_MAX} memories")
    drafts = [
        _draft(cast(Mapping[str, Any], item), messages, length_max) for item in entries if isinstance(item, Mapping)
    ]
    if entries and not drafts:
        raise ValueError("none of its memories is an object")
    return tuple(draft for draft in drafts if draft is not None)


def _draft(item: Mapping[str, Any], messages: Sequence[Message], length_max: int) -> ExtractedDraft | None:
    text = item.get("text")
    if not isinstance(text, str) or not text.strip():
        return None
    if len(text) > length_max:
        raise ValueError(f"a memory is longer than {length_max} characters")
    event_date = _moment(item.get("event_date"))
    is_episodic = item.get("type") == MemoryType.EPISODIC.value
    return ExtractedDraft(
        text=text.strip(),
        memory_type=MemoryType.EPISODIC if is_episodic else MemoryType.SEMANTIC,
        topics=_tags(item.get("topics")),
        entities=_tags(item.get("entities")),
        event_date=event_date,
        source_ids=_sources(item.get("sources"), messages),
    )


def _tags(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return clean_tags(each for each in cast(list[Any], value) if isinstance(each, str))


def _sources(value: object, messages: Sequence[Message]) -> tuple[str, ...]:
    numbers = cast(list[Any], value) if isinstance(value, list) else []
    named = {number for number in numbers if type(number) is int and 1 <= number <= len(messages)}
    chosen = sorted(named) or range(1, len(messages) + 1)
    return tuple(messages[number - 1].id for number in chosen)


def _moment(value: object) -> datetime | None:
    """A date as models write them, or None: a date that cannot be read is no reason to lose the memory."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
