"""A Redis that the reference server wrote, as something that is carried from: ``ports.transfer.Source``.

It is only read, whether the reference server goes on writing or not. Walks go over the key space, so they see whatever is there
from their beginning to their end, and need no search index.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from redis import exceptions
from redis.asyncio import Redis

from agent_memory_server.domain.identity import Scope
from agent_memory_server.domain.jobs import TASK_LIFE
from agent_memory_server.domain.summary_views import SummaryView
from agent_memory_server.domain.transfer import WHOLE_STORE, Key, Kind, SessionMessage, SessionRecord, TaskRecord
from agent_memory_server.ports.transfer import Item, Portion, Unreadable
from agent_memory_server.stores.redis import failures
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.finding import node_client
from agent_memory_server.stores.reference import layout, sessions
from agent_memory_server.stores.reference.keys import TASKS, TOKENS, VIEWS, Inventory, kind_of
from agent_memory_server.stores.reference.layout import Notes, Reading
from agent_memory_server.stores.reference.raw import Raw, as_text, excerpt, fields_of, literal, text_in, values_at
from agent_memory_server.stores.reference.values import CannotRead

_STEPS_MAX = 50
"""Looks at the key space before a portion without records is given back."""
_RARE_STEP = 1_000
_REMOVED_AT_ONCE = 50
LEFTOVER_KEYS = ("summary_view:index", "auth_tokens:list", *sorted(sessions.STATUS_KEYS))
_LIMIT_S = 30.0
"""How long one answer may take: a session can be many megabytes."""
_PATTERNS: dict[Kind, tuple[str, ...]] = {
    Kind.SESSIONS: ("working_memory:*",),
    Kind.SUMMARY_VIEWS: ("summary_view:*:config",),
    Kind.PARTITIONS: ("summary_view:*:summary:*",),
    Kind.WORK: ("task:*",),
    Kind.TASKS: ("task:*",),
    Kind.TOKENS: ("auth_token:*",),
}


class ReferenceSource:
    """``prefixes``: how keys of long-term memories begin, without the colon. ``count``: tokens of a text."""

    def __init__(
        self,
        link: Link,
        *,
        reading: Reading,
        prefixes: Sequence[str],
        inventory: Inventory,
        count: Callable[[str], int],
        now: Callable[[], datetime],
    ) -> None:
        self._link = link
        self._reading = reading
        self._prefixes = tuple(prefixes)
        self._inventory = inventory
        self._count = count
        self._now = now
        self._clients: list[Redis] = []
        self._views: dict[str, SummaryView | None] = {}

    def describe(self) -> str:
        return self._link.address.describe()

    @property
    def kinds(self) -> Sequence[Kind]:
        return WHOLE_STORE

    def read_as(self, reading: Reading) -> None:
        """From now on: how an earlier run read, so that the same bytes give the same records."""
        self._reading = reading

    async def count(self, kind: Kind, /) -> int:
        """Keys of this kind when the transfer began: records that cannot be read are among them."""
        return self._inventory.found[kind]

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()

    # -- walking

    async def walk(self, kind: Kind, /, *, after: str | None, limit: int) -> Portion[Item | Unreadable]:
        try:
            return await self._walked(kind, after, limit)
        except (exceptions.RedisError, OSError) as error:
            raise failures.translated(error) from error

    async def _walked(self, kind: Kind, after: str | None, limit: int) -> Portion[Item | Unreadable]:
        if after is None:
            self._views.clear()
        nodes = await self._nodes()
        patterns = _PATTERNS.get(kind) or tuple(f"{literal(prefix)}:*" for prefix in self._prefixes)
        places = [(node, pattern) for node in nodes for pattern in patterns]
        number, _, cursor = (after or "0:0").partition(":")
        place = int(number)
        found: list[bytes] = []
        for _ in range(_STEPS_MAX):
            node, pattern = places[place]
            step = limit if kind is Kind.MEMORIES else _RARE_STEP
            cursor, keys = cast(
                tuple[Any, list[bytes]],
                await node.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", step),  # pyright: ignore[reportUnknownMemberType]
            )
            cursor = as_text(cursor)
            found += keys
            if cursor == "0":
                place += 1
                break
            if found:
                break
        at_end = place >= len(places)
        items = await self._items(kind, list(dict.fromkeys(found)))
        return Portion(items, None if at_end else f"{place}:{cursor}")

    async def _nodes(self) -> Sequence[Redis]:
        if not self._clients:
            self._clients = [
                node_client(self._link.address, server, limit_s=_LIMIT_S) for server in await self._link.servers()
            ]
        return self._clients

    async def messages(
        self,
        record: SessionRecord,  # noqa: ARG002
        /,
        *,
        after: int,  # noqa: ARG002
        limit: int,  # noqa: ARG002
    ) -> Sequence[SessionMessage]:
        """A session comes whole, so there are no others."""
        return ()

    def refs(self, kind: Kind, key: Key, /) -> Sequence[str]:
        """Of the kinds that can be gone. A record under another key than the usual one is never taken for gone."""
        if kind is Kind.MEMORIES:
            return [f"{prefix}:{key[-1]}" for prefix in self._prefixes]
        if kind is Kind.SESSIONS:
            return (sessions.canonical_key(Scope("", *key[1:])),)
        return (f"summary_view:{key[-1]}:config",) if kind is Kind.SUMMARY_VIEWS else ()

    async def present(self, kind: Kind, refs: Sequence[str], /) -> Sequence[bool]:  # noqa: ARG002
        try:
            return [
                raw is not None for raw in await self._raw([ref.encode("utf-8", "surrogateescape") for ref in refs])
            ]
        except (exceptions.RedisError, OSError) as error:
            raise failures.translated(error) from error

    # -- reading

    async def _raw(self, keys: Sequence[bytes]) -> list[Raw | None]:
        """Type, value and time to live of each; None for what is gone."""
        if not keys:
            return []
        answers: dict[bytes, Raw] = {}
        for node in await self._nodes():
            answers |= await values_at(node, [key for key in keys if key not in answers])
        return [answers.get(key) for key in keys]

    async def _hashes(self, keys: Sequence[bytes]) -> list[Raw | None]:
        """As ``_raw``, in a third of the commands: nearly everything under a prefix of memories is a hash without an end."""
        found: dict[bytes, Raw] = {}
        others: list[bytes] = []
        for node in await self._nodes():
            pipeline = node.pipeline(transaction=False)
            for key in keys:
                pipeline.execute_command("HGETALL", key)  # pyright: ignore[reportUnknownMemberType]
            answers: list[Any] = await pipeline.execute(raise_on_error=False) if keys else []
            for key, answer in zip(keys, answers, strict=True):
                if isinstance(answer, exceptions.MovedError):
                    continue
                if isinstance(answer, exceptions.ResponseError):
                    others.append(key)
                elif isinstance(answer, Exception):
                    raise answer
                elif answer:
                    found[key] = ("hash", answer, -1)
        found |= {key: raw for key, raw in zip(others, await self._raw(others), strict=True) if raw is not None}
        return [found.get(key) for key in keys]

    async def _items(self, kind: Kind, keys: Sequence[bytes]) -> list[Item | Unreadable]:
        packed = [prefix.encode() for prefix in self._prefixes]
        wanted = [key for key in keys if kind_of(key, packed) in (kind, Kind.TASKS if kind is Kind.WORK else kind)]
        found: list[Item | Unreadable] = []
        held = await (self._hashes(wanted) if kind is Kind.MEMORIES else self._raw(wanted))
        for key, raw in zip(wanted, held, strict=True):
            if raw is None:
                continue
            ref = key.decode("utf-8", "surrogateescape")
            try:
                key.decode("utf-8")
                item = await self._item(kind, ref, raw)
            except (CannotRead, UnicodeDecodeError) as error:
                reason = str(error) if isinstance(error, CannotRead) else "its key is not UTF-8"
                found.append(Unreadable(ref, reason, excerpt(kind, raw)))
                continue
            if item is not None:
                found.append(item)
        return found

    async def _item(self, kind: Kind, ref: str, raw: Raw) -> Item | None:
        """None for a key that holds no record of this kind after all."""
        one: Callable[[str, Raw], Awaitable[Item | None]] = {
            Kind.MEMORIES: self._memory,
            Kind.SESSIONS: self._session,
            Kind.SUMMARY_VIEWS: self._view,
            Kind.PARTITIONS: self._partition,
            Kind.WORK: self._work,
            Kind.TASKS: self._task,
            Kind.TOKENS: self._token,
        }[kind]
        return await one(ref, raw)

    async def _memory(self, ref: str, raw: Raw) -> Item | None:
        prefix = max((each for each in self._prefixes if ref.startswith(each + ":")), key=len)
        notes = Notes()
        record = layout.decode_memory(ref[len(prefix) + 1 :], fields_of(raw), self._reading, notes)
        canonical = f"{prefix}:{record.memory.id}"
        if canonical != ref and (await self._raw([canonical.encode("utf-8", "surrogatepass")]))[0] is not None:
            raise CannotRead(f"its id is that of another record, {canonical}")
        return Item(ref, record, notes=tuple(notes.found))

    async def _session(self, ref: str, raw: Raw) -> Item | None:
        kind, value, lives_ms = raw
        if kind not in ("string", "ReJSON-RL"):
            raise CannotRead(f"it is a {kind}, and sessions are JSON documents or strings")
        if kind == "string" and sessions.is_status(ref, value):
            return None
        notes = Notes()
        if kind == "string":
            notes.add(sessions.OLD_FORM)
        record, messages = sessions.decode_session(
            ref,
            value,
            self._reading,
            notes,
            expires_at=None if lives_ms < 0 else self._now() + timedelta(milliseconds=lives_ms),
            count=self._count,
        )
        scope = record.session.scope
        canonical = sessions.canonical_key(scope)
        if canonical != ref and await self._is_same_session(canonical, record):
            raise CannotRead(f"{canonical} holds the session of the same name, namespace and user")
        waits = False
        if not all(each.message.extracted for each in messages):
            waits = (await self._raw([f"extraction_pending:{scope.session_id}".encode()]))[0] is not None
        intents = sessions.intents_of(record, messages, extraction_is_pending=waits)
        return Item(ref, record, messages, intents=intents, notes=tuple(notes.found))

    async def _is_same_session(self, canonical: str, record: SessionRecord) -> bool:
        (raw,) = await self._raw([canonical.encode()])
        if raw is None or raw[0] not in ("string", "ReJSON-RL"):
            return False
        try:
            other, _ = sessions.decode_session(
                canonical, raw[1], self._reading, Notes(), expires_at=None, count=lambda _: 0
            )
        except CannotRead:
            return False
        return other.key == record.key

    async def _view(self, ref: str, raw: Raw) -> Item | None:
        identity = ref[len(VIEWS) : -len(":config")]
        return Item(ref, layout.decode_view(identity, text_in(raw), self._reading))

    async def _partition(self, ref: str, raw: Raw) -> Item | None:
        view_id, _, group = ref[len(VIEWS) :].partition(":summary:")
        if view_id not in self._views:
            self._views[view_id] = await self._view_of(view_id)
        record = layout.decode_partition(view_id, group, text_in(raw), self._views[view_id], self._reading)
        return Item(ref, record)

    async def _view_of(self, view_id: str) -> SummaryView | None:
        (raw,) = await self._raw([f"summary_view:{view_id}:config".encode()])
        try:
            found = None if raw is None else layout.decode_view(view_id, text_in(raw), self._reading)
        except CannotRead:
            return None
        return None if found is None else found.view

    async def _task(self, ref: str, raw: Raw) -> Item | None:
        record = self._task_of(ref, raw)
        return None if record is None else Item(ref, record)

    def _task_of(self, ref: str, raw: Raw) -> TaskRecord | None:
        """None for another application's key."""
        kind, value, lives_ms = raw
        if kind != "string" or layout.TASK_MARK not in value:
            return None
        expires_at = self._now() + (TASK_LIFE if lives_ms < 0 else timedelta(milliseconds=lives_ms))
        return layout.decode_task(ref[len(TASKS) :], value, self._reading, expires_at=expires_at)

    async def _work(self, ref: str, raw: Raw) -> Item | None:
        """The run that a task which was not finished waits for; what cannot be read is told of once, among the tasks."""
        try:
            task = self._task_of(ref, raw)
        except CannotRead:
            return None
        work = None if task is None else layout.work_of(task)
        return None if work is None else Item(ref, work)

    async def _token(self, ref: str, raw: Raw) -> Item | None:
        return Item(ref, layout.decode_token(ref[len(TOKENS) :], text_in(raw), self._reading))

    # -- removing

    async def remove(
        self, kind: Kind, refs: Sequence[str], is_carried: Callable[[Sequence[Item]], Awaitable[Sequence[bool]]]
    ) -> int:
        """Delete those keys whose records ``is_carried`` approves, as they stand at that very moment."""
        try:
            removed = 0
            nodes = await self._nodes()
            # On a cluster a watch cannot span slots.
            step = _REMOVED_AT_ONCE if len(nodes) == 1 else 1
            for first in range(0, len(refs), step):
                keys = [ref.encode("utf-8", "surrogateescape") for ref in refs[first : first + step]]
                for node in nodes:
                    removed += await self._remove_at(node, kind, keys, is_carried)
            return removed
        except (exceptions.RedisError, OSError) as error:
            raise failures.translated(error) from error

    async def _remove_at(
        self,
        node: Redis,
        kind: Kind,
        keys: Sequence[bytes],
        is_carried: Callable[[Sequence[Item]], Awaitable[Sequence[bool]]],
    ) -> int:
        async with node.pipeline(transaction=True) as pipeline:
            try:
                await pipeline.watch(*keys)
                items = [each for each in await self._items(kind, keys) if isinstance(each, Item)]
                carried = await is_carried(items) if items else ()
                going = [item.ref for item, is_there in zip(items, carried, strict=True) if is_there]
                if not going:
                    return 0
                pipeline.multi()
                pipeline.unlink(*(ref.encode("utf-8", "surrogateescape") for ref in going))
                return int((await pipeline.execute())[0])
            except exceptions.WatchError:
                return 0  # written to at this moment: it stays, and the next run looks at it again
            except exceptions.MovedError:
                return 0  # another node has it

    async def remove_leftovers(self, indexes: Sequence[str]) -> None:
        """The lists, timers and search indexes that go with records which are gone."""
        try:
            for node in await self._nodes():
                for pattern in ("extraction_pending:*", "extraction_debounce:*", *LEFTOVER_KEYS):
                    async for key in node.scan_iter(match=pattern, count=_RARE_STEP):  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                        await node.unlink(key)  # pyright: ignore[reportUnknownArgumentType]
            for name in indexes:
                with contextlib.suppress(exceptions.ResponseError):
                    await self._link.raw("FT.DROPINDEX", name)
        except (exceptions.RedisError, OSError) as error:
            raise failures.translated(error) from error
