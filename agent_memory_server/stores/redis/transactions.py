"""Changes that depend on what is stored: read, decide, then apply everything at once if nothing of it changed meanwhile.

A decision is made outside Redis, in typed code. Every value that it read goes along with the writes as a check; one script
compares them all and applies the writes, or applies nothing, and then the decision is made anew. So each transaction is
atomic and isolated without holding anything, from any number of processes.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from agent_memory_server.errors import DependencyUnavailable, MemoryServerError
from agent_memory_server.stores.redis import failures, naming
from agent_memory_server.stores.redis.connections import LIMIT_S, Argument, Link, Script
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.written import (
    CHANGES_KEPT,
    RowWrite,
    SelectionChange,
    Written,
    commands_of,
    is_coming,
)
from agent_memory_server.stores.values import to_json

Result = TypeVar("Result")
APPLY = Script("apply")
APPLY_RELEASING = Script("apply", allow_oom=True)
_Check = tuple[str, str, tuple[Argument, ...]]

Fields = dict[str, bytes]
VERSION = "ver"
"""The field of a row that every change of it renews."""


_SET = "members of "
"""Before the key of a set whose members are remembered."""
_MEMBERS_MAX = 32


class Transaction:
    """One attempt: what was read (with the changes made so far), the checks and the writes."""

    def __init__(self, link: Link, *, guesses: bool = False, remembers: bool = False) -> None:
        self.link = link
        self._guesses = guesses
        self._remembers = remembers
        self.guessed: set[tuple[str, str]] = set()
        """Checks of what was taken to be absent without a look."""
        self.recalled: set[tuple[str, str]] = set()
        """Checks of what was remembered."""
        self.token = secrets.token_hex(12)
        """Stands for the sequence of this transaction, and is the version of every row it changes."""
        self.releases = False
        """It frees memory: let it through when there is none left."""
        self.uses_sequence = False
        self._documents: dict[str, Any] = {}
        self._held: dict[str, bytes | None] = {}
        """The documents' bytes."""
        self._encoded: dict[int, tuple[object, bytes]] = {}
        """By identity; the things are held so that no other takes it."""
        self._made: dict[str, tuple[str, Any, int]] = {}
        self._rows: dict[str, Fields | None] = {}
        self._members: dict[str, set[str]] = {}
        self._changes: dict[str, dict[str, bool]] = {}
        """Members added (True) and removed, of sets that were not read yet."""
        self._checks: dict[tuple[str, str], _Check] = {}
        self._commands: list[Written | RowWrite] = []
        self._row_writes: dict[str, RowWrite] = {}
        self._changed: dict[tuple[str, str], dict[str, SelectionChange]] = {}
        """By (key of the statistics, prefix of the changes), then by tag."""
        self._arrivals = 0
        self.digests: dict[str, int] = {}
        """Of index terms that this attempt came upon: what it writes shares most of them."""
        self._noted: set[str] = set()

    # -- documents: one JSON value a key

    async def documents(self, keys: Iterable[str]) -> list[Any]:
        """The documents (None for absent) as this transaction has left them."""
        wanted = list(keys)
        missing = [key for key in dict.fromkeys(wanted) if key not in self._documents and not self._recall(key)]
        if missing:
            for key, held in zip(missing, await self.link.read("MGET", *missing), strict=True):
                self._take_document(key, held)
        return [self._documents[key] for key in wanted]

    def _take_document(self, key: str, held: bytes | None) -> None:
        self._documents[key] = None if held is None else from_json(held)
        self._held[key] = held
        self._check("value", key, () if held is None else (held,))

    def _recall(self, key: str) -> bool:
        """Take the document as it is remembered; False when it is not."""
        if not self._remembers or not self.link.remembered.has(key):
            return False
        held = self.link.remembered.get(key)
        assert held is None or isinstance(held, bytes)
        self._take_document(key, held)
        self.recalled.add(("value", key))
        return True

    def version(self, key: str) -> bytes | None:
        """The document's bytes as they are stored, or will be when this transaction is applied."""
        return self._held[key]

    def expect_absent(
        self, *, documents: Iterable[str] = (), rows: Iterable[str] = (), members: Iterable[str] = ()
    ) -> None:
        """What is new most of the time: the first attempt does not look, and the script that applies it does."""
        if not self._guesses:
            return
        for key in documents:
            if key not in self._documents:
                self._take_document(key, None)
                self.guessed.add(("value", key))
        for key in rows:
            if key not in self._rows:
                self._rows[key] = None
                self._check("field", key, (VERSION,))
                self.guessed.add(("field", key))
        for key in members:
            if key not in self._members:
                self._take_members(key, ())
                self.guessed.add(("members", key))

    def expects_no_fields(self, key: str, names: Sequence[str]) -> bool:
        """Take it that a hash has none of these fields; False when this attempt has to look."""
        if not self._guesses:
            return False
        self._check("fields", key, tuple(names))
        self.guessed.add(("fields", key))
        return True

    async def document(self, key: str) -> Any:
        return (await self.documents((key,)))[0]

    def put(self, key: str, value: object) -> None:
        written = to_json(value).encode()
        self._documents[key] = value
        self._held[key] = written
        self.command("SET", key, written)

    def drop(self, key: str) -> None:
        self._documents[key] = None
        self._held[key] = None
        self.command("DEL", key)

    def unchecked(self, key: str) -> None:
        """A document that was only looked at: its change does not matter."""
        self._checks.pop(("value", key), None)

    # -- rows: a hash with a version

    async def rows(self, keys: Iterable[str], fields: tuple[str, ...]) -> list[Fields | None]:
        """The named fields of rows (None for absent rows) as this transaction has left them."""
        wanted = list(keys)
        missing = [key for key in dict.fromkeys(wanted) if key not in self._rows]
        if missing:
            answers = await self.link.reads(*(("HMGET", key, VERSION, *fields) for key in missing))
            for key, answer in zip(missing, answers, strict=True):
                version = answer[0]
                if version is None:
                    self._rows[key] = None
                    self._check("field", key, (VERSION,))
                else:
                    self._rows[key] = {
                        name: value for name, value in zip(fields, answer[1:], strict=True) if value is not None
                    }
                    self._check("field", key, (VERSION, version))
        return [self._rows[key] for key in wanted]

    def put_row(self, key: str, fields: dict[str, Argument], *, known: Fields, without: Iterable[str] = ()) -> None:
        """Set these fields and remove others. ``known``: how the row reads from now on in this transaction."""
        is_new = self._rows.get(key) is None
        self._rows[key] = known
        write = self._row_writes.get(key)
        if write is None:
            # However often a row changes in a transaction, the search index sees one change.
            write = self._row_writes[key] = RowWrite(key, {VERSION: self.token}, set())
            self._commands.append(write)
        for name in () if is_new else without:
            write.fields.pop(name, None)
            write.gone.add(name)
        write.fields.update(fields)
        write.gone.difference_update(fields)

    def amend_row(self, key: str, fields: dict[str, Argument]) -> None:
        """Set more fields of a row that this transaction writes, which nothing in it reads; no other row is touched."""
        if key in self._row_writes:
            self._row_writes[key].fields.update(fields)

    def drop_row(self, key: str) -> None:
        self._rows[key] = None
        self._row_writes.pop(key, None)
        self.command("DEL", key)

    def move_row(self, key: str, new_key: str) -> None:
        """Rename a row that this transaction has read; the new place has been read as empty."""
        self._row_writes.pop(key, None)
        self._rows[new_key] = self._rows.get(key)
        self._rows[key] = None
        self.command("RENAME", key, new_key)

    def encoded(self, thing: object, encode: Callable[[], bytes]) -> bytes:
        """How a thing is written, once for all the writes of this transaction that hold it."""
        found = self._encoded.get(id(thing))
        if found is None:
            found = self._encoded[id(thing)] = (thing, encode())
        return found[1]

    # -- sets that a decision depends on

    async def members(self, key: str) -> set[str]:
        (found,) = await self.all_members((key,))
        return found

    async def all_members(self, keys: Iterable[str]) -> list[set[str]]:
        """The members of several sets, in one round trip, as this transaction has left them."""
        wanted = list(keys)
        missing = [key for key in dict.fromkeys(wanted) if key not in self._members and not self._recall_members(key)]
        if missing:
            answers = await self.link.reads(*(("SMEMBERS", key) for key in missing))
            for key, answer in zip(missing, answers, strict=True):
                self._take_members(key, [member.decode() for member in answer])
        return [set(self._members[key]) for key in wanted]

    def _take_members(self, key: str, held: Iterable[str]) -> None:
        found = set(held)
        self._check("members", key, tuple(found))
        for member, added in self._changes.pop(key, {}).items():
            (found.add if added else found.discard)(member)
        self._members[key] = found

    def _recall_members(self, key: str) -> bool:
        name = _SET + key
        if not self._remembers or not self.link.remembered.has(name):
            return False
        held = self.link.remembered.get(name)
        assert isinstance(held, frozenset)
        self._take_members(key, held)
        self.recalled.add(("members", key))
        return True

    def add(self, key: str, member: str) -> None:
        if key in self._members:
            self._members[key].add(member)
        else:
            self._changes.setdefault(key, {})[member] = True
        self.command("SADD", key, member)

    def discard(self, key: str, member: str) -> None:
        if key in self._members:
            self._members[key].discard(member)
        else:
            self._changes.setdefault(key, {})[member] = False
        self.command("SREM", key, member)

    def forget_members(self, key: str) -> None:
        """The set moved elsewhere with everything in it."""
        self._members[key] = set()

    # -- what is made of a document's version

    def made_of(self, name: str, key: str) -> Any:
        """What was kept under this name with the document as this transaction has it; None when there is nothing."""
        remembered = self.link.remembered
        held = remembered.get(name) if self._remembers and remembered.has(name) else None
        return held[1] if isinstance(held, tuple) and held[0] == self._held.get(key) else None

    def make_of(self, name: str, key: str, value: Any, *, size_bytes: int) -> None:
        """Keep something under this name for as long as the document is what it is when this is applied."""
        self._made[name] = (key, value, size_bytes)

    # -- hashes that grow

    def unchanged_length(self, key: str, length: int) -> None:
        """The decision depends on how many fields the hash was read to have."""
        self._check("length", key, (length,))

    def unchanged_field(self, key: str, name: bytes, value: bytes) -> None:
        """The decision depends on this field's value as it was read."""
        self._check("field", key, (name, value))

    # -- anything else

    def command(self, *arguments: Argument, sequenced: bool = False) -> None:
        """A write without a decision of its own. ``sequenced``: the token in its arguments becomes the sequence."""
        self.uses_sequence = self.uses_sequence or sequenced
        self._commands.append(("s" if sequenced else "-", arguments))

    def is_first_of(self, name: str) -> bool:
        """Whether this is named for the first time: what many writes of a transaction have in common is written once."""
        is_first = name not in self._noted
        self._noted.add(name)
        return is_first

    def arrival(self) -> str:
        """The next place in the order of arrival, as it stands until the sequence is given."""
        self._arrivals += 1
        self.uses_sequence = True
        return f"#{self._arrivals}"

    def in_arrival(self, *arguments: Argument) -> None:
        """A write whose last argument begins with an arrival, given already or still to come."""
        self._commands.append(("a" if is_coming(arguments[-1]) else "-", arguments))

    def count(
        self, statistics: str, changes: str, tags: Iterable[str], memory: str, *, documents: int = 0, terms: int = 0
    ) -> None:
        """Note that a memory of these selections changed, and what that adds to their counts."""
        held = self._changed.setdefault((statistics, changes), {})
        for tag in tags:
            changed = held.setdefault(tag, SelectionChange())
            changed.documents += documents
            changed.terms += terms
            changed.memories[memory] = None

    def rewrite(self, name: str, key: str, change: Callable[[str], str]) -> None:
        """Change the last argument of the writes of this kind to this key that are still to be applied."""
        for place, command in enumerate(self._commands):
            if isinstance(command, RowWrite):
                continue
            flag, arguments = command
            if arguments[0] == name and arguments[1] == key:
                self._commands[place] = (flag, (*arguments[:-1], change(str(arguments[-1]))))

    def _check(self, kind: str, key: str, values: tuple[Argument, ...]) -> None:
        self._checks.setdefault((kind, key), (kind, key, values))

    async def apply(self) -> int | None:
        """The sequence (0 without one) when everything was applied; None when something had changed meanwhile."""
        if not self._commands:
            return 0
        arguments: list[Argument] = [naming.SEQUENCE, self.token if self.uses_sequence else "", len(self._checks)]
        for kind, key, values in self._checks.values():
            arguments += (kind, key, len(values), *values)
        commands = [each for command in self._commands for each in commands_of(command)]
        for (statistics, changes), tags in self._changed.items():
            counts: list[Argument] = []
            for tag, changed in tags.items():
                counts += (tag, changed.documents, changed.terms, len(changed.memories), *changed.memories)
            commands.append(("-", ("COUNT", statistics, changes, self.token, CHANGES_KEPT, *counts)))
        arguments.append(len(commands))
        for flag, parts in commands:
            arguments += (flag, len(parts), *parts)
        script = APPLY_RELEASING if self.releases else APPLY
        outcome, detail = await self.link.script(script, arguments, durable=True)
        if outcome == b"ok":
            self._remember()
            return int(detail)
        kind, key, _ = list(self._checks.values())[int(detail) - 1]
        self.link.remembered.forget(key)
        self.link.remembered.forget(_SET + key)
        if (kind, key) in self.recalled:
            self.link.remembered.was(False)
        return None

    @property
    def is_certain(self) -> bool:
        """Whether everything was read that this attempt looked at."""
        return not (self.guessed or self.recalled)

    @property
    def writes(self) -> bool:
        return bool(self._commands)

    def _remember(self) -> None:
        """What is stored now."""
        remembered = self.link.remembered
        if self.recalled:
            remembered.was(True)
        for key, held in self._held.items():
            if held is not None:
                remembered.keep(key, held, size_bytes=len(held))
            else:
                remembered.forget(key)
        for key, members in self._members.items():
            if len(members) <= _MEMBERS_MAX:
                size = sum(len(member) for member in members)
                remembered.keep(_SET + key, frozenset(members), size_bytes=size)
            else:
                remembered.forget(_SET + key)
        for key in self._changes:
            remembered.forget(_SET + key)
        for name, (key, value, size_bytes) in self._made.items():
            version = self._held.get(key)
            if version is not None:
                remembered.keep(name, (version, value), size_bytes=size_bytes)


async def transact(
    link: Link,
    work: Callable[[Transaction], Awaitable[Result]],
    *,
    alone: str | None = None,
    looks_later: bool = False,
) -> Result:
    """Run ``work`` until its writes could be applied to exactly what it read. ``alone`` names what it changes: within this
    process such transactions wait for each other. Raises StoreBusy when others were faster for too long.

    ``looks_later``: the first attempt may rest on what is remembered or expected, which the script compares. What it decides
    without a write, or refuses, is decided again on what is read.
    """
    if alone is not None:
        async with link.alone(alone):
            return await _attempted(link, work, looks_later=looks_later)
    return await _attempted(link, work, looks_later=looks_later)


async def _attempted(link: Link, work: Callable[[Transaction], Awaitable[Result]], *, looks_later: bool) -> Result:
    until = time.monotonic() + LIMIT_S
    attempt = 0
    transaction = Transaction(link)
    if looks_later:
        transaction = Transaction(link, guesses=True, remembers=link.remembered.is_worth_trying())
        try:
            result = await work(transaction)
            if (transaction.is_certain or transaction.writes) and await transaction.apply() is not None:
                return result
        except DependencyUnavailable:
            raise
        except MemoryServerError:
            # A refusal may rest on what was not looked at.
            if transaction.is_certain:
                raise
        transaction = Transaction(link)
    while True:
        result = await work(transaction)
        if await transaction.apply() is not None:
            return result
        attempt += 1
        if time.monotonic() > until:
            raise failures.busy()
        await asyncio.sleep(random.uniform(0, min(0.001 * attempt, 0.02)))
        transaction = Transaction(link)
