"""What was erased and is refused when it comes again: known by a keyed digest alone, never by its text or its owner.

The digest is HMAC-SHA256 by a key that is derived from the store's own, over the owner and the text in a plain form (case, width
and white space make no difference). So the files tell nobody what was erased, and whose it was; whoever has the text can ask.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from agent_memory_server.domain.identity import OutsideReach, Principal, Scope
from agent_memory_server.domain.operations import (
    Change,
    Committed,
    Delete,
    Effect,
    Operation,
    OperationKind,
    Outcome,
    Put,
)
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.errors import BadRequest, Conflict, NotFound
from agent_memory_server.ports.access_tokens import AccessTokenStore
from agent_memory_server.ports.journal import Journal
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.ports.transfer import Ledger

_PURPOSE = b"agent-memory refused content v1"
_KIND = "text"
_ASKED = frozenset({OperationKind.CREATE, OperationKind.EDIT})
"""Somebody waits for the answer, and is told."""
_CHECKED = _ASKED | {OperationKind.PROMOTE, OperationKind.EXTRACT, OperationKind.IMPORT}
"""Others make new memories of what is held already."""


class RefusedContent:
    """The digests of one store."""

    def __init__(
        self,
        *,
        ledger: Ledger | None,
        access_tokens: AccessTokenStore,
        new_key: Callable[[], bytes],
        now: Callable[[], datetime],
    ) -> None:
        """``new_key``: the store's own key, if it has none yet."""
        self._ledger = ledger
        self._access_tokens = access_tokens
        self._new_key = new_key
        self._now = now
        self._key: bytes | None = None

    async def note(self, tenant: str, erased: Sequence[tuple[Scope, str]]) -> None:
        """Refuse these texts of these owners from now on."""
        digests = await self._digests(erased)
        if digests:
            await self._held().note(_place(tenant), _KIND, dict.fromkeys(digests, self._now().isoformat()))

    async def since(self, tenant: str, texts: Sequence[tuple[Scope, str]]) -> Sequence[str | None]:
        """Since when each of them is refused, as ISO 8601; None for what is not."""
        return await self._held().marks(_place(tenant), _KIND, await self._digests(texts))

    async def check(
        self, caller: Principal, *, text: str, namespace: str | None, user_id: str | None
    ) -> datetime | None:
        """Since when this text of this owner is refused. Raises NotFound for an owner beyond the caller's reach."""
        (since,) = await self.since(caller.tenant, [(_owner(caller, namespace, user_id), text)])
        return None if since is None else datetime.fromisoformat(since)

    async def allow(self, caller: Principal, *, text: str, namespace: str | None, user_id: str | None) -> bool:
        """Let it come again; False when it was not refused."""
        texts = [(_owner(caller, namespace, user_id), text)]
        if await self.since(caller.tenant, texts) == [None]:
            return False
        await self._held().drop(_place(caller.tenant), _KIND, await self._digests(texts))
        return True

    def _held(self) -> Ledger:
        if self._ledger is None:
            raise BadRequest("this engine cannot remember what is to be refused: unset REFUSE_ERASED_CONTENT")
        return self._ledger

    async def _digests(self, texts: Sequence[tuple[Scope, str]]) -> list[str]:
        if self._key is None:
            stored = await self._access_tokens.digest_key(self._new_key())
            self._key = hmac.new(stored, _PURPOSE, hashlib.sha256).digest()
        return [_digest(self._key, scope, text) for scope, text in texts]


class RefusingMemories:
    """A ``MemoryStore`` that remembers what is deleted for good, and lets none of it in again.

    A create or an edit is told (Conflict); background work and imports go on without what is refused.
    """

    def __init__(self, store: MemoryStore, journal: Journal, refused: RefusedContent) -> None:
        self._store = store
        self._journal = journal
        self._refused = refused

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, operation: Operation, /) -> Committed:
        if operation.kind is OperationKind.DELETE:
            await self._refused.note(operation.tenant, await self._erased(operation.changes))
            return await self._store.commit(operation)
        if operation.kind not in _CHECKED:
            return await self._store.commit(operation)
        left_out = await self._left_out(operation)
        if not left_out:
            return await self._store.commit(operation)
        if operation.kind in _ASKED:
            raise Conflict(
                f"memory {next(iter(left_out))} of this request says what was erased, which is refused when it comes again "
                "(REFUSE_ERASED_CONTENT): nothing was stored. An administrator can allow it."
            )
        changes = tuple(change for number, change in enumerate(operation.changes) if number not in left_out)
        committed = await self._store.commit(replace(operation, changes=changes))
        outcomes = iter(committed.outcomes)
        # A guard that did not hold leaves no outcomes at all.
        return (
            committed
            if not committed.applied
            else replace(
                committed,
                outcomes=tuple(left_out.get(number) or next(outcomes) for number in range(len(operation.changes))),
            )
        )

    async def _left_out(self, operation: Operation) -> Mapping[int, Outcome]:
        puts = [(number, each) for number, each in enumerate(operation.changes) if isinstance(each, Put)]
        since = await self._refused.since(operation.tenant, [(put.memory.scope, put.memory.text) for _, put in puts])
        found: dict[int, Outcome] = {}
        for (number, put), moment in zip(puts, since, strict=True):
            if moment is not None and not await self._stands(put.memory):
                key = put.memory.key
                found[number] = Outcome(key=key, effect=Effect.UNCHANGED, survivor=key.id)
        return found

    async def _stands(self, memory: Memory) -> bool:
        """Whether the memory says that already: a copy of it was erased, and this one was not."""
        standing = await self._store.get(memory.key)
        return standing is not None and standing.text == memory.text

    async def _erased(self, changes: Sequence[Change]) -> list[tuple[Scope, str]]:
        found: list[tuple[Scope, str]] = []
        for change in changes:
            if isinstance(change, Delete) and change.scrub:
                memory = await self._store.get(change.key) or await self._last_known(change.key)
                if memory is not None:
                    found.append((memory.scope, memory.text))
        return found

    async def _last_known(self, key: MemoryKey) -> Memory | None:
        """What a memory that is gone said, as far as the journal has it."""
        states = [each.before for each in await self._journal.history(key) if each.before is not None]
        return states[-1] if states else None


def _owner(caller: Principal, namespace: str | None, user_id: str | None) -> Scope:
    try:
        return caller.owner(namespace, user_id)
    except OutsideReach:
        raise NotFound("There is no such user or namespace.") from None


def _place(tenant: str) -> str:
    return f"refused content:{tenant}"


def _digest(key: bytes, scope: Scope, text: str) -> str:
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    said = json.dumps([scope.tenant, scope.namespace, scope.user_id, plain])
    return hmac.new(key, said.encode(), hashlib.sha256).hexdigest()
