"""A session's messages: reading them, remembering them, and changing them within the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.sessions import Message
from agent_memory_server.ports.working_memory import MessageRow
from agent_memory_server.stores.redis.connections import Argument, Link, Script
from agent_memory_server.stores.redis.encoding import from_plain_json
from agent_memory_server.stores.redis.session_rows import Body, Head, SessionKeys
from agent_memory_server.stores.redis.transactions import Transaction
from agent_memory_server.stores.values import instant, instant_or_none, micros, micros_or_none, to_json

READ_MESSAGES = Script("messages", writes=False)
_PAIRS_AT_ONCE = 1_000
"""Pairs in one command: Lua hands over at most some thousand arguments."""
_MESSAGES_AT_ONCE = 1_000
_KEPT_BYTES = 500
"""What a message takes in memory beside its content."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A message as it is kept."""

    seq: int
    archived: bool
    message: Message


def member_of(seq: int) -> str:
    """A sequence as it stands in the sets: all of one length, so that ties sort by arrival."""
    return f"{seq:012d}"


def _row_of(kept: Kept) -> str:
    message = kept.message
    return to_json(
        [
            message.id,
            message.role,
            message.content,
            micros(message.created_at),
            message.name,
            micros_or_none(message.persisted_at),
            int(message.extracted),
            message.token_count,
            int(kept.archived),
        ]
    )


def kept_of(seq: bytes | str, row: bytes) -> Kept:
    values = from_plain_json(row)
    message = Message(
        id=values[0],
        role=values[1],
        content=values[2],
        created_at=instant(values[3]),
        name=values[4],
        persisted_at=instant_or_none(values[5]),
        extracted=values[6] == 1,
        token_count=values[7],
    )
    return Kept(int(seq), values[8] == 1, message)


async def read_messages(link: Link, scope: Scope, *command: Argument) -> tuple[Head, Body, list[Kept]] | None:
    """The session with the messages that ``command`` names the sequences of, as of one moment; None without a session."""
    found = await _read(link, scope, command)
    if found is None:
        return None
    head, body, sequences, rows = found
    return head, body, [kept_of(seq, row) for seq, row in zip(sequences, rows, strict=True) if row is not None]


async def read_rows(link: Link, scope: Scope, *command: Argument) -> tuple[Head, Body, list[MessageRow]] | None:
    """As ``read_messages``, the messages as rows to be written out: all are decoded at once."""
    found = await _read(link, scope, command)
    if found is None:
        return None
    head, body, _, rows = found
    decoded: list[list[Any]] = from_plain_json(b"[" + b",".join(row for row in rows if row is not None) + b"]")
    created = _moments([row[3] for row in decoded])
    persisted = iter(_moments([row[5] for row in decoded if row[5] is not None]))
    return (
        head,
        body,
        [
            (identity, role, content, at, name, None if stored is None else next(persisted), extracted == 1)
            for (identity, role, content, _, name, stored, extracted, *_), at in zip(decoded, created, strict=True)
        ],
    )


async def _read(
    link: Link, scope: Scope, command: Sequence[Argument]
) -> tuple[Head, Body, list[bytes], list[bytes | None]] | None:
    keys = SessionKeys(scope)
    head, *rest = await link.script(READ_MESSAGES, (keys.head, keys.body, keys.messages, *command))
    if head is None:
        return None
    body, sequences, rows = rest
    return Head(**from_plain_json(head)), {} if body is None else from_plain_json(body), sequences, rows


def _moments(micros_since_epoch: Sequence[int]) -> list[datetime]:
    """In UTC, without saying so."""
    return np.array(micros_since_epoch, dtype=np.int64).view("datetime64[us]").tolist()


async def kept_messages(link: Link, keys: SessionKeys, sequences: Sequence[str | bytes]) -> list[Kept]:
    """Messages by their sequences; the caller's check of the head says whether they are all of one moment."""
    found: list[Kept] = []
    for first in range(0, len(sequences), _MESSAGES_AT_ONCE):
        some = sequences[first : first + _MESSAGES_AT_ONCE]
        rows = await link.read("HMGET", keys.messages, *some)
        found += [kept_of(seq, row) for seq, row in zip(some, rows, strict=True) if row is not None]
    return found


async def kept_by_id(link: Link, keys: SessionKeys, message_ids: Sequence[str]) -> dict[str, Kept]:
    """The messages with these ids, live or archived."""
    found: dict[str, Kept] = {}
    for first in range(0, len(message_ids), _MESSAGES_AT_ONCE):
        some = message_ids[first : first + _MESSAGES_AT_ONCE]
        sequences = [seq for seq in await link.read("HMGET", keys.ids, *some) if seq is not None]
        for kept in await kept_messages(link, keys, sequences):
            found[kept.message.id] = kept
    return found


async def live_messages(transaction: Transaction, keys: SessionKeys, head: Head) -> list[Kept]:
    """The live messages in order, as they belong to the head that this transaction has read and has not changed yet."""
    if not head.live_count:
        return []
    held = known_messages(transaction, keys)
    if held is None:
        link = transaction.link
        held = await kept_messages(link, keys, await link.read("ZRANGE", keys.live, 0, -1))
    return list(held)


def known_messages(transaction: Transaction, keys: SessionKeys) -> Sequence[Kept] | None:
    """The live messages when this process remembers them of the head that this transaction has read."""
    return transaction.made_of(keys.live, keys.head)


def remember_messages(transaction: Transaction, keys: SessionKeys, kept: Sequence[Kept]) -> None:
    """These are the live messages once the transaction is applied."""
    size = sum(len(each.message.content) + _KEPT_BYTES for each in kept)
    transaction.make_of(keys.live, keys.head, tuple(kept), size_bytes=size)


async def marked_messages(
    transaction: Transaction, keys: SessionKeys, message_ids: Sequence[str], mark: Callable[[Message], Message]
) -> list[Kept]:
    """Store these messages, live or archived, with a mark of the server; returns them."""
    known = known_messages(transaction, keys)
    wanted = frozenset(message_ids)
    found = {} if known is None else {each.message.id: each for each in known if each.message.id in wanted}
    missing = [message_id for message_id in message_ids if message_id not in found]
    found |= await kept_by_id(transaction.link, keys, missing)
    marked = {name: replace(each, message=mark(each.message)) for name, each in found.items()}
    put_rows(transaction, keys, marked.values())
    if known is not None:
        remember_messages(transaction, keys, [marked.get(each.message.id, each) for each in known])
    return list(marked.values())


def put_pairs(transaction: Transaction, name: str, key: str, pairs: Iterable[tuple[Argument, Argument]]) -> None:
    """HSET or ZADD with as many pairs as there are."""
    batch: list[Argument] = []
    for first, second in pairs:
        batch += (first, second)
        if len(batch) >= 2 * _PAIRS_AT_ONCE:
            transaction.command(name, key, *batch)
            batch = []
    if batch:
        transaction.command(name, key, *batch)


def take_members(transaction: Transaction, name: str, key: str, members: Sequence[str]) -> None:
    """HDEL or ZREM of as many as there are."""
    for first in range(0, len(members), 2 * _PAIRS_AT_ONCE):
        transaction.command(name, key, *members[first : first + 2 * _PAIRS_AT_ONCE])


def insert_messages(
    transaction: Transaction, keys: SessionKeys, messages: Sequence[Message], *, first_seq: int
) -> list[Kept]:
    new = [Kept(seq, False, message) for seq, message in enumerate(messages, first_seq)]
    insert_kept(transaction, keys, new)
    return new


def insert_kept(transaction: Transaction, keys: SessionKeys, new: Sequence[Kept]) -> None:
    """New messages at their places, live or archived."""
    if not new:
        return
    live = [each for each in new if not each.archived]
    put_rows(transaction, keys, new)
    put_pairs(transaction, "HSET", keys.ids, ((each.message.id, member_of(each.seq)) for each in new))
    put_pairs(transaction, "ZADD", keys.live, ((each.seq, member_of(each.seq)) for each in live))
    put_pairs(transaction, "ZADD", keys.all, ((each.seq, member_of(each.seq)) for each in new))
    put_pairs(
        transaction, "ZADD", keys.recent, ((micros(each.message.created_at), member_of(each.seq)) for each in live)
    )
    put_pairs(
        transaction,
        "ZADD",
        keys.unpromoted,
        ((each.seq, member_of(each.seq)) for each in new if each.message.persisted_at is None),
    )
    put_pairs(
        transaction,
        "ZADD",
        keys.unextracted,
        ((each.seq, member_of(each.seq)) for each in new if not each.message.extracted),
    )


def put_rows(transaction: Transaction, keys: SessionKeys, kept: Iterable[Kept]) -> None:
    put_pairs(transaction, "HSET", keys.messages, ((member_of(each.seq), _row_of(each)) for each in kept))


def remove_messages(transaction: Transaction, keys: SessionKeys, gone: Sequence[Kept]) -> None:
    members = [member_of(each.seq) for each in gone]
    take_members(transaction, "HDEL", keys.messages, members)
    take_members(transaction, "HDEL", keys.ids, [each.message.id for each in gone])
    for key in (keys.live, keys.all, keys.recent, keys.unpromoted, keys.unextracted):
        take_members(transaction, "ZREM", key, members)


def with_marks(message: Message, marked: Message) -> Message:
    """The message with the server's own marks of what is stored."""
    return replace(message, extracted=marked.extracted, persisted_at=marked.persisted_at)
