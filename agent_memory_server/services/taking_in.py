"""Taking in what people have elsewhere: statements become memories, conversations become sessions.

Everything is looked up before anything is written. What is there already and says the same is left, what says something else
under the same id is left too and counted: taking a file in again changes nothing, and goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent_memory_server.domain.identity import OutsideReach, Principal, Scope
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.sessions import Message
from agent_memory_server.errors import InvalidInput
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.memories import MemoryService
from agent_memory_server.services.working_memory import WorkingMemoryService

_MEMORIES_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    session_id: str
    messages: Sequence[Message]


@dataclass(slots=True, kw_only=True)
class TakenIn:
    """What was (or would be) done. ``kept``: memories and messages that say something else here under the same id."""

    memories_written: int = 0
    messages_written: int = 0
    unchanged: int = 0
    kept: int = 0
    dry_run: bool


@dataclass(frozen=True, slots=True)
class _Due:
    """What is not there yet."""

    memories: list[Memory] = field(default_factory=list[Memory])
    conversations: list[Conversation] = field(default_factory=list[Conversation])


class TakingInService:
    def __init__(
        self,
        *,
        stores: Stores,
        memories: MemoryService,
        working_memory: WorkingMemoryService,
        now: Callable[[], datetime],
    ) -> None:
        self._stores = stores
        self._memories = memories
        self._working_memory = working_memory
        self._now = now

    async def run(
        self,
        caller: Principal,
        memories: Sequence[Memory],
        conversations: Sequence[Conversation],
        *,
        namespace: str | None = None,
        user_id: str | None = None,
        dry_run: bool = False,
    ) -> TakenIn:
        """``namespace`` and ``user_id`` say whose they become; else a memory's own scope does.

        Raises InvalidInput for a namespace or user beyond the caller's reach: then nothing is written.
        """
        done = TakenIn(dry_run=dry_run)
        due = _Due()
        placed = [self._placed(caller, memory, namespace, user_id) for memory in memories]
        owner = self._owner(caller, namespace, user_id)
        for memory in {memory.key: memory for memory in reversed(placed)}.values():
            await self._look_at_memory(memory, due, done)
        for conversation in conversations:
            await self._look_at_conversation(
                replace(owner, session_id=conversation.session_id), conversation, due, done
            )
        if not dry_run:
            await self._write(caller, due, owner)
        return done

    def _owner(self, caller: Principal, namespace: str | None, user_id: str | None) -> Scope:
        try:
            return caller.owner(namespace, user_id)
        except OutsideReach:
            raise InvalidInput(
                "it belongs to a namespace or user that your credential does not reach", field=("body",)
            ) from None

    def _placed(self, caller: Principal, memory: Memory, namespace: str | None, user_id: str | None) -> Memory:
        owner = self._owner(caller, namespace or memory.scope.namespace, user_id or memory.scope.user_id)
        return replace(memory, scope=replace(owner, session_id=memory.scope.session_id))

    async def _look_at_memory(self, memory: Memory, due: _Due, done: TakenIn) -> None:
        standing = await self._stores.memories.get(memory.key)
        if standing is None:
            due.memories.append(memory)
            done.memories_written += 1
        elif standing.text == memory.text:
            done.unchanged += 1
        else:
            done.kept += 1

    async def _look_at_conversation(self, scope: Scope, conversation: Conversation, due: _Due, done: TakenIn) -> None:
        known = await self._known(scope)
        new: list[Message] = []
        for message in {message.id: message for message in reversed(conversation.messages)}.values():
            said = known.get(message.id)
            if said is None:
                new.append(message)
                done.messages_written += 1
            elif said == (message.role, message.content):
                done.unchanged += 1
            else:
                done.kept += 1
        if new:
            due.conversations.append(replace(conversation, messages=new[::-1]))

    async def _known(self, scope: Scope) -> Mapping[str, tuple[str, str]]:
        """Role and content of every message of the session by id."""
        known: dict[str, tuple[str, str]] = {}
        cursor: str | None = None
        while True:
            page = await self._stores.working_memory.page(
                scope, now=self._now(), limit=LIMITS.messages_page_max, cursor=cursor, include_archived=True
            )
            if page is None:
                return known
            known |= {each.id: (each.role, each.content) for each in page.messages}
            cursor = page.next_cursor
            if cursor is None:
                return known

    async def _write(self, caller: Principal, due: _Due, owner: Scope) -> None:
        for first in range(0, len(due.memories), _MEMORIES_AT_ONCE):
            await self._memories.create(caller, due.memories[first : first + _MEMORIES_AT_ONCE])
        for conversation in due.conversations:
            for first in range(0, len(conversation.messages), LIMITS.messages_per_append_max):
                await self._working_memory.append(
                    caller,
                    session_id=conversation.session_id,
                    messages=conversation.messages[first : first + LIMITS.messages_per_append_max],
                    namespace=owner.namespace,
                    user_id=owner.user_id,
                )
