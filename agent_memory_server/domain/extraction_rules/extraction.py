"""The door of the rules: messages in, memories out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agent_memory_server.domain.extraction_rules.labels import entities_of, topics_of
from agent_memory_server.domain.extraction_rules.model import RuleMemory
from agent_memory_server.domain.extraction_rules.sentences import clauses_of
from agent_memory_server.domain.extraction_rules.statements import read_statement
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.domain.sessions import Message

USER_ROLE = "user"
CONTENT_CHARS_MAX = 20_000
"""Of a longer message only the beginning is read: it is a pasted document, and the time for one message stays bounded."""
MEMORIES_PER_MESSAGE_MAX = 20


def extract_by_rules(messages: Sequence[Message], *, speaker: str = "User") -> list[RuleMemory]:
    """The statements of these messages, in order, each text once (repeated ones carry all their message ids).

    Only messages of role ``user`` state anything. A message's ``name``, when it has one, is its subject; else ``speaker``.
    """
    found: dict[str, RuleMemory] = {}
    for message in messages:
        for memory in _of_message(message, speaker):
            known = found.get(memory.text.lower())
            if known is None:
                found[memory.text.lower()] = memory
            elif message.id not in known.message_ids:
                found[memory.text.lower()] = _also_from(known, message.id)
    return list(found.values())


def _of_message(message: Message, speaker: str) -> list[RuleMemory]:
    if message.role.lower() != USER_ROLE:
        return []
    named = " ".join(message.name.replace(",", " ").split()) if message.name else ""
    who = named or speaker
    memories: list[RuleMemory] = []
    for clause in clauses_of(message.content[:CONTENT_CHARS_MAX]):
        if not clause.asserted:
            continue
        statement = read_statement(clause, who, message.created_at, alone=not named)
        if statement is None:
            continue
        memories.append(
            RuleMemory(
                text=statement.text,
                memory_type=MemoryType.EPISODIC if statement.event_date else MemoryType.SEMANTIC,
                topics=topics_of(statement.text, statement.rule),
                entities=entities_of(statement.text, who),
                event_date=statement.event_date,
                message_ids=(message.id,),
                rule=statement.rule,
                confidence=statement.confidence,
            )
        )
        if len(memories) == MEMORIES_PER_MESSAGE_MAX:
            break
    return memories


def _also_from(memory: RuleMemory, message_id: str) -> RuleMemory:
    return replace(memory, message_ids=(*memory.message_ids, message_id))
