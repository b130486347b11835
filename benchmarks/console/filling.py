"""A store as a busy server has it: memories of many users, their messages, conversations, edits and what stepped back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from agent_memory_server.app import MemoryApp, open_app
from agent_memory_server.config import Settings
from agent_memory_server.domain.identity import ANONYMOUS, DEFAULT_TENANT, Scope
from agent_memory_server.domain.records import MESSAGE_STRATEGY, Memory, MemoryType
from agent_memory_server.domain.sessions import Message
from agent_memory_server.services.memories import MemoryPatch
from benchmarks import texts

BATCH = 1_000
EDITS = 50
SESSION_MESSAGES = 40
NAMESPACES = ("work", "home", None)
_DAYS = 700
_FIRST_DAY = datetime(2024, 6, 1, tzinfo=UTC)
_KINDS = (MemoryType.SEMANTIC, MemoryType.SEMANTIC, MemoryType.EPISODIC, MemoryType.MESSAGE)


def user_of(index: int, users: int) -> str:
    return f"user-{index % users:05d}"


def memory(index: int, users: int) -> Memory:
    """The memory number ``index``, the same in every run: half of them semantic, a quarter copies of messages."""
    kind = _KINDS[index % len(_KINDS)]
    at = _FIRST_DAY + timedelta(seconds=Random(index).randrange(_DAYS * 86_400))
    user = user_of(index // len(_KINDS), users)
    return Memory(
        id=f"m{index:09d}",
        scope=Scope(DEFAULT_TENANT, NAMESPACES[hash_of(user) % len(NAMESPACES)], user, f"past-{index % 9973:04d}"),
        text=texts.text(index),
        memory_type=kind,
        topics=() if kind is MemoryType.MESSAGE else (texts.topic(index),),
        extraction_strategy=MESSAGE_STRATEGY if kind is MemoryType.MESSAGE else "discrete",
        event_date=at if kind is MemoryType.EPISODIC else None,
        created_at=at,
        updated_at=at,
        last_accessed=at + timedelta(days=index % 90),
    )


def hash_of(user: str) -> int:
    """The same in every run, unlike ``hash``."""
    return int(user.rpartition("-")[2]) if user[-1].isdigit() else len(user)


async def _fill(app: MemoryApp, *, memories: int, users: int, sessions: int, say: Callable[[str], None]) -> None:
    begun = time.perf_counter()
    for first in range(0, memories, BATCH):
        batch = [memory(index, users) for index in range(first, min(first + BATCH, memories))]
        await app.memories.create(ANONYMOUS, batch, deduplicate=False)
    say(f"{memories:,} memories of {users:,} users are stored after {time.perf_counter() - begun:,.0f} s")
    for number in range(sessions):
        messages = [
            Message(
                id=f"s{number}-{each}",
                role=("user", "assistant")[each % 2],
                content=texts.passage(number * SESSION_MESSAGES + each, 200),
                created_at=_FIRST_DAY + timedelta(days=_DAYS, minutes=each),
            )
            for each in range(SESSION_MESSAGES)
        ]
        user = user_of(number, users)
        await app.working_memory.append(
            ANONYMOUS,
            session_id=f"talk-{number:05d}",
            messages=messages,
            namespace=NAMESPACES[hash_of(user) % len(NAMESPACES)],
            user_id=user,
        )
    for index in range(0, min(memories, EDITS * len(_KINDS)), len(_KINDS)):
        edited = memory(index, users)
        await app.memories.edit(
            ANONYMOUS,
            memory_id=edited.id,
            patch=MemoryPatch(changes={"text": f"{edited.text} (seen again)", "topics": ("edited",)}),
            namespace=edited.scope.namespace,
            user_id=edited.scope.user_id,
        )
    await app.pending_work.run_due()
    say(f"conversations and edits too, after {time.perf_counter() - begun:,.0f} s")


def fill(
    storage_url: str, folder: Path, *, memories: int, users: int, sessions: int, say: Callable[[str], None]
) -> Memory:
    """Fill the store through the services; returns a memory that was edited, for its page."""

    async def filled() -> None:
        async with open_app(Settings(storage_url=storage_url, data_dir=folder)) as app:
            await _fill(app, memories=memories, users=users, sessions=sessions, say=say)

    asyncio.run(filled())
    return replace(memory(0, users))
