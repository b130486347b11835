"""One memory's hash: the record, what the index reads, its vectors; and the sets and counters that go with it.

What keeps them in step is here and nowhere else; each function is part of its caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.operations import Embedded
from agent_memory_server.domain.records import MESSAGE_STRATEGY, EmbeddingStatus, Memory, MemoryKey, MemoryType, Source
from agent_memory_server.ports.comparisons import Stage
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Argument
from agent_memory_server.stores.redis.encoding import document_of, from_plain_json, memory_of, terms_field
from agent_memory_server.stores.redis.memory_keys import (
    changes_key,
    copies_key,
    due_key,
    hash_key,
    history_key,
    is_spoken,
    session_key,
    spoken_key,
    spoken_member,
    statistics_key,
    summaries_key,
)
from agent_memory_server.stores.redis.scopes import register
from agent_memory_server.stores.redis.transactions import Fields, Transaction
from agent_memory_server.stores.redis.written import ARRIVAL, is_coming
from agent_memory_server.stores.values import instant, micros, micros_or_none, terms_length, to_json

PLAIN_FIELDS = ("doc", "la", "ac", "emb")
"""What ``memory_of_fields`` reads."""
FIELDS = (*PLAIN_FIELDS, "org", "cpy", "terms", "sp", "due", ARRIVAL)
OPTIONAL = ("ses", "top", "ent", "ns", "usr", "event", "expires", "beg", "end", "src", "trs")
"""Index fields that a memory may lack."""
ANY = "any"
"""Stands in a tag field beside the digests when there is a value at all."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A memory as it stands in Redis, with what belongs to its hash."""

    handle: str
    is_copy: bool
    terms: bytes
    spaces: tuple[str, ...]
    """Index tokens of its vectors (``v…``) and of the models that were asked for one (``m…``)."""
    origin: str
    due: str
    embedding: str
    memory: Memory
    arrival: str = ""

    @property
    def digest(self) -> str:
        """The handle without its tenant."""
        return self.handle.partition(".")[2]

    @property
    def live(self) -> bool:
        return self.memory.superseded_by is None

    @property
    def owner(self) -> Scope:
        return self.memory.scope.owner


def memory_of_fields(values: Sequence[bytes | None]) -> Memory | None:
    """The record of the values of ``PLAIN_FIELDS``; None when it is gone."""
    document, accessed, accesses, embedding = values
    if document is None or accessed is None or accesses is None:
        return None
    fields: dict[str, Any] = from_plain_json(document)
    fields["last_accessed"] = int(accessed)
    fields["access_count"] = int(accesses)
    fields["embedding"] = "pending" if embedding is None else embedding.decode()
    return memory_of(fields)


def stored_of(handle: str, fields: Fields) -> Stored:
    memory = memory_of_fields([fields.get(name) for name in PLAIN_FIELDS])
    assert memory is not None
    return Stored(
        handle=handle,
        is_copy=fields.get("cpy") == b"1",
        terms=fields.get("terms", b""),
        spaces=tuple(each for each in fields.get("sp", b"").decode().split(",") if each),
        origin=fields.get("org", b"").decode(),
        due=fields.get("due", b"").decode(),
        embedding=fields.get("emb", b"").decode(),
        memory=memory,
        arrival=fields.get(ARRIVAL, b"").decode(),
    )


async def stored_memories(transaction: Transaction, handles: Sequence[str]) -> list[Stored | None]:
    if not handles:
        return []
    found = await transaction.rows([naming.memory_key(handle) for handle in handles], FIELDS)
    return [
        None if fields is None else stored_of(handle, fields) for handle, fields in zip(handles, found, strict=True)
    ]


async def stored_memory(transaction: Transaction, key: MemoryKey) -> Stored | None:
    return (await stored_memories(transaction, (naming.handle_of(*key),)))[0]


# -- sets that go with a memory ---------------------------------------------------------------------------------------


def _changed(transaction: Transaction, stored: Stored, *, documents: int = 0, terms: int = 0) -> None:
    """Everybody who keeps a copy of a selection with this memory is to know."""
    owner = stored.owner
    transaction.count(
        statistics_key(owner.tenant),
        changes_key(owner.tenant, ""),
        naming.tags_of(owner),
        stored.digest,
        documents=documents,
        terms=terms,
    )


def _link(transaction: Transaction, stored: Stored) -> None:
    """Put the memory into every set and counter that knows of it."""
    memory, owner = stored.memory, stored.owner
    _changed(transaction, stored, documents=int(stored.live), terms=terms_length(stored.terms) if stored.live else 0)
    if is_spoken(memory):
        member = spoken_member(stored.arrival, stored.digest)
        transaction.in_arrival("ZADD", spoken_key(memory.scope), micros(memory.created_at), member)
    if stored.live:
        if memory.memory_hash:
            transaction.add(hash_key(owner, memory.memory_hash), stored.handle)
    elif memory.superseded_by is not None:
        behind = naming.handle_of(owner.tenant, owner.namespace, owner.user_id, memory.superseded_by)
        transaction.add(copies_key(behind), stored.handle)
    if memory.scope.session_id is not None:
        transaction.add(session_key(memory.scope), stored.handle)
    if stored.due:
        transaction.command("ZADD", due_key(owner.tenant), 0, due_member(stored))


def _unlink(transaction: Transaction, stored: Stored) -> None:
    memory, owner = stored.memory, stored.owner
    _changed(transaction, stored, documents=-int(stored.live), terms=-terms_length(stored.terms) if stored.live else 0)
    if is_spoken(memory):
        transaction.in_arrival("ZREM", spoken_key(memory.scope), spoken_member(stored.arrival, stored.digest))
    if stored.live:
        if memory.memory_hash:
            transaction.discard(hash_key(owner, memory.memory_hash), stored.handle)
    elif memory.superseded_by is not None:
        behind = naming.handle_of(owner.tenant, owner.namespace, owner.user_id, memory.superseded_by)
        transaction.discard(copies_key(behind), stored.handle)
    if memory.scope.session_id is not None:
        transaction.discard(session_key(memory.scope), stored.handle)
    if stored.due:
        transaction.command("ZREM", due_key(owner.tenant), due_member(stored))


# -- what is due to be compared ---------------------------------------------------------------------------------------


def is_compared(memory: Memory) -> bool:
    """Whether this memory is ever due: live, and not the copy of a session's message."""
    is_message = memory.memory_type is MemoryType.MESSAGE and memory.extraction_strategy == MESSAGE_STRATEGY
    return memory.superseded_by is None and not is_message


def due_of(stage: Stage, attempts: int, stamp: str) -> str:
    return f"{stage.value}:{attempts}:{stamp}"


def due_parts(due: str) -> tuple[Stage, int, str]:
    stage, attempts, stamp = due.split(":")
    return Stage(int(stage)), int(attempts), stamp


def due_member(stored: Stored) -> str:
    owner = stored.owner
    stage = stored.due.partition(":")[0]
    return f"{stage}:{naming.owner_digest(owner.namespace, owner.user_id)}:{stored.handle}"


def marked_due(stored: Stored, transaction: Transaction, stage: Stage = Stage.CHANGED) -> Stored:
    """What is due already stays at least as urgent."""
    if stored.due:
        stage = min(stage, due_parts(stored.due)[0])
    return replace(stored, due=due_of(stage, 0, transaction.token))


# -- writing ----------------------------------------------------------------------------------------------------------


def insert_memory(transaction: Transaction, stored: Stored) -> Stored:
    """A new record."""
    due = due_of(Stage.CHANGED, 0, transaction.token) if is_compared(stored.memory) else ""
    stored = replace(stored, due=due, arrival=transaction.arrival())
    register(transaction, stored.owner)
    _write(transaction, stored)
    _link(transaction, stored)
    return stored


def update_memory(
    transaction: Transaction, stored: Stored, memory: Memory, *, is_copy: bool, terms: bytes, moved: bool = False
) -> Stored:
    """Replace the record under its handle; vectors of another text go."""
    after = replace(stored, memory=memory, is_copy=is_copy, terms=terms)
    gone: tuple[str, ...] = ()
    if memory.text != stored.memory.text:
        gone = (*_fields_of(stored.spaces), "sp", "emb")
        after = replace(after, spaces=(), embedding="")
    if not is_compared(memory):
        after = replace(after, due="")
    elif moved or not stored.live or _compares_anew(memory, stored.memory):
        after = marked_due(after, transaction)
    if not moved:
        _unlink(transaction, stored)
    _write(transaction, after, without=gone)
    _link(transaction, after)
    return after


def _compares_anew(new: Memory, old: Memory) -> bool:
    """Whether something changed that decides about duplicates."""
    return (
        new.text != old.text
        or new.memory_hash != old.memory_hash
        or new.memory_type is not old.memory_type
        or new.name != old.name
        or new.pinned != old.pinned
        or (new.event_date, new.valid_from, new.valid_to) != (old.event_date, old.valid_from, old.valid_to)
    )


def rekey_memory(transaction: Transaction, stored: Stored, key: MemoryKey, superseded_by: str | None) -> Stored:
    """Put a record, its vectors and its history under another key of the same tenant."""
    scope = Scope(key.tenant, key.namespace, key.user_id, stored.memory.scope.session_id)
    memory = replace(stored.memory, id=key.id, scope=scope, superseded_by=superseded_by)
    handle = naming.handle_of(*key)
    if handle == stored.handle:
        return update_memory(transaction, stored, memory, is_copy=stored.is_copy, terms=stored.terms)
    _unlink(transaction, stored)
    transaction.move_row(naming.memory_key(stored.handle), naming.memory_key(handle))
    transaction.command("HMERGE", history_key(stored.handle), history_key(handle))
    for key_of in (copies_key, summaries_key):
        transaction.command("SUNIONSTORE", key_of(handle), key_of(handle), key_of(stored.handle))
        transaction.command("DEL", key_of(stored.handle))
    transaction.forget_members(copies_key(stored.handle))
    register(transaction, scope.owner)
    moving = replace(stored, handle=handle, due="")
    return update_memory(transaction, moving, memory, is_copy=stored.is_copy, terms=stored.terms, moved=True)


def remove_memory(transaction: Transaction, stored: Stored) -> None:
    """Take away the record and everything that was made of it."""
    _unlink(transaction, stored)
    transaction.drop_row(naming.memory_key(stored.handle))


def with_due(transaction: Transaction, stored: Stored, due: str) -> Stored:
    """Change only what says when it is to be compared."""
    after = replace(stored, due=due)
    if stored.due:
        transaction.command("ZREM", due_key(stored.owner.tenant), due_member(stored))
    if due:
        transaction.command("ZADD", due_key(stored.owner.tenant), 0, due_member(after))
    key = naming.memory_key(stored.handle)
    transaction.put_row(
        key, {"due": due} if due else {}, known=_known(transaction, after), without=() if due else ("due",)
    )
    return after


def touch_memory(transaction: Transaction, stored: Stored, *, at_us: int, counts: bool) -> Stored:
    """Change only when it was last accessed."""
    accesses = stored.memory.access_count + int(counts)
    memory = replace(stored.memory, last_accessed=instant(at_us), access_count=accesses)
    after = replace(stored, memory=memory)
    key = naming.memory_key(stored.handle)
    transaction.put_row(key, {"la": at_us, "ac": accesses}, known=_known(transaction, after))
    _changed(transaction, after)
    return after


TEXT_KIND = "text"
"""Vectors of the whole text: what search compares, and what says whether a memory is embedded."""


def store_vector(transaction: Transaction, stored: Stored, embedded: Embedded) -> Stored:
    """The vector of this model for the text as it stands, or the mark that there is nothing to embed."""
    is_text = embedded.kind == TEXT_KIND
    asked = model_token(embedded.model)
    spaces = set(stored.spaces)
    fields: dict[str, Argument] = {}
    if embedded.vector is None:
        status = EmbeddingStatus.NONE
    else:
        status = EmbeddingStatus.READY
        space = space_token(embedded.model, embedded.vector.size, embedded.kind)
        spaces.add(space)
        fields[space] = np.ascontiguousarray(embedded.vector, dtype="<f4").tobytes()
    without: tuple[str, ...] = ()
    if is_text and embedded.tokens is not None:
        fields[tokens_field(embedded.model)] = embedded.tokens
    elif is_text:
        without = (tokens_field(embedded.model),)
    if is_text:
        spaces.add(asked)
    after = replace(stored, spaces=tuple(sorted(spaces)), embedding=status.value if is_text else stored.embedding)
    fields["sp"] = ",".join(after.spaces)
    if after.embedding:
        fields["emb"] = after.embedding
    transaction.put_row(naming.memory_key(stored.handle), fields, known=_known(transaction, after), without=without)
    _changed(transaction, after)
    return after


def drop_vectors(transaction: Transaction, stored: Stored, tokens: set[str]) -> Stored:
    """Take away the vectors and marks with these index tokens."""
    left = tuple(space for space in stored.spaces if space not in tokens)
    gone = _fields_of(space for space in stored.spaces if space in tokens)
    after = replace(stored, spaces=left, embedding=stored.embedding if left else "")
    fields: dict[str, Argument] = {"sp": ",".join(left)} if left else {}
    if not left:
        gone += ["sp", "emb"]
    transaction.put_row(naming.memory_key(stored.handle), fields, known=_known(transaction, after), without=gone)
    _changed(transaction, after)
    return after


def _fields_of(spaces: Iterable[str]) -> list[str]:
    """The fields of a row that hold what these index tokens stand for: a vector; the vectors of a text's words."""
    return [space if space.startswith("v") else f"w{space[1:]}" for space in spaces]


def tokens_field(model: str) -> str:
    """The field of a row that holds the packed vectors of its text's words."""
    return "w" + naming.digest(model)


def model_token(model: str) -> str:
    return "m" + naming.digest(model)


def space_token(model: str, dimensions: int, kind: str = TEXT_KIND) -> str:
    """A model's vectors of one size and kind: a field of the index, and a token in the memories that have one."""
    return "v" + naming.digest(model, str(dimensions), kind)


def _known(transaction: Transaction, stored: Stored) -> Fields:
    """How the hash reads in this transaction from now on."""
    known: Fields = {
        "doc": transaction.encoded(stored.memory, lambda: to_json(document_of(stored.memory)).encode()),
        "la": str(micros(stored.memory.last_accessed)).encode(),
        "ac": str(stored.memory.access_count).encode(),
        "org": stored.origin.encode(),
        "cpy": b"1" if stored.is_copy else b"0",
        "terms": stored.terms,
    }
    for name, value in (
        ("emb", stored.embedding),
        ("sp", ",".join(stored.spaces)),
        ("due", stored.due),
        (ARRIVAL, stored.arrival),
    ):
        if value:
            known[name] = value.encode()
    return known


def _write(transaction: Transaction, stored: Stored, *, without: tuple[str, ...] = ()) -> None:
    known = _known(transaction, stored)
    fields: dict[str, Argument] = {name: known[name] for name in ("doc", "la", "ac", "org", "cpy", "terms")}
    if stored.due:
        fields["due"] = stored.due
    if is_coming(stored.arrival):
        fields[ARRIVAL] = stored.arrival
    fields |= _indexed(stored)
    gone = {name for name in OPTIONAL if name not in fields} | set(without)
    if not stored.due:
        gone.add("due")
    transaction.put_row(naming.memory_key(stored.handle), fields, known=known, without=sorted(gone))


@lru_cache(maxsize=1_024)
def _selections(owner: Scope, *, live: bool) -> str:
    """The index tokens of every selection that a memory of this owner is in."""
    tags = naming.tags_of(owner)
    both = (False, True) if live else (False,)
    return ",".join([naming.index_token(owner.tenant, tag, live=each) for each in both for tag in tags])


def _indexed(stored: Stored) -> dict[str, Argument]:
    memory, owner = stored.memory, stored.owner
    fields: dict[str, Argument] = {
        "s": _selections(owner, live=stored.live),
        "mid": naming.digest(memory.id),
        "idx": memory.id.encode().hex() or "0",
        "own": naming.owner_digest(owner.namespace, owner.user_id),
        "created": micros(memory.created_at),
        "place": place_of(stored.handle),
        "len": terms_length(stored.terms),
        "tok": terms_field(stored.terms),
        "typ": tag_values((memory.memory_type.value,)),
        "str": tag_values((memory.extraction_strategy,)),
        "hsh": tag_values((memory.memory_hash,)),
    }
    optional: dict[str, Argument | None] = {
        "ses": None if memory.scope.session_id is None else tag_values((memory.scope.session_id,)),
        "ns": None if owner.namespace is None else tag_values((owner.namespace,)),
        "usr": None if owner.user_id is None else tag_values((owner.user_id,)),
        "top": tag_values(memory.topics) if memory.topics else None,
        "ent": tag_values(memory.entities) if memory.entities else None,
        "event": None if memory.event_date is None else micros(memory.event_date),
        "beg": micros_or_none(memory.valid_from or memory.event_date),
        "end": micros_or_none(memory.valid_to),
        # A user's own, fully trusted words have neither.
        "src": None if memory.source is Source.USER else source_number(memory.source),
        "trs": None if memory.trust == 1.0 else repr(float(memory.trust)),
        "expires": None if memory.expires_at is None else micros(memory.expires_at),
    }
    fields.update((name, value) for name, value in optional.items() if value is not None)
    return fields


def source_number(source: Source) -> int:
    """What the index holds of a source."""
    return list(Source).index(source)


def tag_values(values: Sequence[str]) -> str:
    return ",".join((ANY, *(naming.digest(value) for value in values)))


def place_of(handle: str) -> int:
    """A number that sorts as the memory's digest does, as far as a double can tell."""
    return int(handle.partition(".")[2][:13], 16)
