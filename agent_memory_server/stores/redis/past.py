"""What happened to memories in other stores, as imports brought it: beside their own history, at the sequence 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.domain.transfer import HistoryRecord
from agent_memory_server.ports.journal import Position, Revision
from agent_memory_server.stores.past_documents import past_documents, past_revisions
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.encoding import document_of, from_json, memory_of
from agent_memory_server.stores.redis.journalling import PAST, gone_key, is_past, owners_key, to_thin_key
from agent_memory_server.stores.redis.memory_keys import history_key
from agent_memory_server.stores.redis.transactions import Transaction
from agent_memory_server.stores.values import micros, to_json


async def put_past(transaction: Transaction, records: Sequence[HistoryRecord]) -> None:
    """In place of what was brought before; one that is gone is known as that. A past without its memory was left behind by a
    deletion meanwhile: it goes too."""
    handles = [naming.handle_of(*record.memory_key) for record in records]
    rows = await transaction.rows([naming.memory_key(handle) for handle in handles], ())
    for record, handle, row in zip(records, handles, rows, strict=True):
        if record.is_of_gone is (row is not None):
            continue
        transaction.command("HFORGET", history_key(handle), PAST)
        documents = past_documents(record.revisions, document_of)
        fields = [(f"{PAST}{number}:0", to_json(document)) for number, document in enumerate(documents)]
        if fields:
            transaction.command("HSET", history_key(handle), *chain.from_iterable(fields))
        if row is None:
            _note_gone(transaction, record, handle)


def _note_gone(transaction: Transaction, record: HistoryRecord, handle: str) -> None:
    key = record.memory_key
    for tag in naming.tags_of(Scope(key.tenant, key.namespace, key.user_id)):
        # Before all times: it was never here.
        transaction.command("ZADD", gone_key(key.tenant, tag), "NX", 0, handle)
    transaction.command("SADD", owners_key(key.tenant, key.id), to_json([key.namespace, key.user_id]))
    transaction.command("ZADD", to_thin_key(key.tenant), "NX", micros(record.revisions[-1].at), handle)


def past_of(key: MemoryKey, held: Mapping[bytes, bytes], own: Sequence[Revision]) -> list[Revision]:
    """The revisions that an import brought, of all that a memory's history holds; ``own``: the others."""
    numbered = [(_position(name).change, from_json(value)) for name, value in held.items() if is_past(name)]
    return past_revisions(key, sorted(numbered, key=lambda pair: pair[0]), memory_of, own=own)


def _position(name: bytes) -> Position:
    return Position(*(int(part) for part in name.decode().split(":")))
