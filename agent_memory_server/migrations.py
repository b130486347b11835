"""The ordered, resumable migrations: the schema of the configured store, and the door for the reference server's data.

The embedded engine also brings its schema up to date whenever it is opened; running this beforehand only says what it does.
What the reference server wrote is carried over by ``open_door``, in place or into another store, while it goes on serving.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from agent_memory_server.app import storage_url, utc_now
from agent_memory_server.config import Settings
from agent_memory_server.domain.transfer import Kind
from agent_memory_server.embeddings.opening import chosen_model, is_remote, open_embedder
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.ports.stores import Stores
from agent_memory_server.redis_addresses import names_redis
from agent_memory_server.services.transfer import BATCH, TransferService
from agent_memory_server.services.transfer_target import Target
from agent_memory_server.stores.opening import open_migrator, open_stores
from agent_memory_server.stores.places import Occupant, checked_url, describe, identity_of, occupant_of
from agent_memory_server.tokenizers.opening import open_tokenizer
from agent_memory_server.transfers import Transfer, abilities, refuse_occupied, refuse_target, transfer_name

if TYPE_CHECKING:
    from agent_memory_server.stores.redis.connections import Link
    from agent_memory_server.stores.reference.keys import Indexes, Inventory
    from agent_memory_server.stores.reference.layout import Reading
    from agent_memory_server.stores.reference.queue import HeldTask
    from agent_memory_server.stores.reference.source import ReferenceSource

Vectors = Literal["auto", "reuse", "embed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """``steps``: what was done, or for a dry run what would be; empty when the data is up to date."""

    storage: str
    steps: tuple[str, ...]
    dry_run: bool


async def migrate(settings: Settings, *, dry_run: bool = False) -> MigrationReport:
    """Run what is pending of the store's own schema. Raises ConfigurationError with what to change."""
    migrator = open_migrator(storage_url(settings))
    steps = tuple(await migrator.pending())
    if not dry_run:
        # Also without a pending step: it refuses a file that is not ours.
        await migrator.run()
    return MigrationReport(storage=migrator.describe(), steps=steps, dry_run=dry_run)


# -- the door for the reference server's data -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorOptions:
    """``from_url`` None: the configured store. ``to_url`` None: in place."""

    from_url: str | None = None
    to_url: str | None = None
    vectors: Vectors = "auto"
    merge: bool = False
    batch: int = BATCH


@dataclass(slots=True)
class Door:
    """The reference server's data, found; ``transfer`` is None while it is only looked at."""

    source: ReferenceSource
    inventory: Inventory
    indexes: Indexes
    reading: Reading
    in_place: bool
    target_place: str
    to_url: str
    session_index: str
    """The name of the reference's index of sessions."""
    queue_name: str
    link: Link
    transfer: Transfer | None = None

    async def held_tasks(self) -> Sequence[HeldTask]:
        """Tasks in the queue that only the reference server's worker can finish."""
        from agent_memory_server.stores.reference.queue import held_tasks

        return await held_tasks(self.link, self.queue_name)

    async def discard(self, tasks: Sequence[HeldTask]) -> None:
        from agent_memory_server.stores.reference.queue import discard

        await discard(self.link, tasks)

    async def finish(self) -> None:
        """Everything is there: servers that wait for it begin to serve."""
        if self.in_place:
            from agent_memory_server.stores.redis.migrating import finish_migration

            await finish_migration(self.to_url)


def door_urls(settings: Settings, options: DoorOptions) -> tuple[str, str]:
    """(from, to). Raises ConfigurationError for what cannot be one."""
    from_url = checked_url(options.from_url or storage_url(settings), "--from")
    to_url = checked_url(options.to_url or from_url, "--to")
    if not names_redis(from_url):
        raise ConfigurationError(
            f"{describe(from_url)} is a file, and the reference server kept its data in a Redis: name that with "
            "--from redis://host:6379/0. Nothing was written."
        )
    return from_url, to_url


async def refuse_unfinished(settings: Settings, options: DoorOptions) -> None:
    """Nothing may be removed before everything was carried over. Raises ConfigurationError."""
    _, to_url = door_urls(settings, options)
    if await occupant_of(to_url, queue_name=settings.docket_name) is not Occupant.OURS:
        raise ConfigurationError(
            "--prune removes nothing before everything was carried over and compared: run agent-memory migrate-memories --verify "
            "first. Nothing was removed."
        )


async def is_needed(settings: Settings, options: DoorOptions) -> bool:
    """Whether there is data of the reference server at all; asked for by name, it has to be there."""
    if options.from_url is not None or options.to_url is not None:
        return True
    url = storage_url(settings)
    if not names_redis(url):
        return False
    if await occupant_of(url, queue_name=settings.docket_name) is Occupant.REFERENCE:
        return True
    async with look_through_door(settings, options) as door:
        return door.inventory.total > 0


@contextlib.asynccontextmanager
async def look_through_door(
    settings: Settings, options: DoorOptions, *, now: Callable[[], datetime] = utc_now
) -> AsyncGenerator[Door]:
    """What is there and how it would be read; nothing is written anywhere."""
    from agent_memory_server.stores.redis.engine import linked
    from agent_memory_server.stores.reference.keys import indexes, inventory
    from agent_memory_server.stores.reference.layout import Reading
    from agent_memory_server.stores.reference.source import ReferenceSource

    from_url, to_url = door_urls(settings, options)
    async with contextlib.AsyncExitStack() as stack:
        link = await linked(from_url)
        stack.push_async_callback(link.close)
        found = await indexes(link, name=settings.redisvl_index_name, prefix=settings.redisvl_index_prefix)
        model = await _vector_model(settings, options.vectors)
        reading = Reading(begun_at=now(), vector_model=model, vector_dimensions=found.dimensions)
        seen = await inventory(link, found.prefixes, queue_name=settings.docket_name)
        source = ReferenceSource(
            link,
            reading=reading,
            prefixes=found.prefixes,
            inventory=seen,
            count=open_tokenizer().count,
            now=now,
        )
        stack.push_async_callback(source.close)
        same = from_url == to_url or await identity_of(from_url) == await identity_of(to_url)
        yield Door(
            source=source,
            inventory=seen,
            indexes=found,
            reading=reading,
            in_place=same,
            target_place=describe(to_url),
            to_url=to_url,
            session_index=settings.working_memory_index_name,
            queue_name=settings.docket_name,
            link=link,
        )


@contextlib.asynccontextmanager
async def open_door(
    settings: Settings,
    options: DoorOptions,
    *,
    kinds: Sequence[Kind] = tuple(Kind),
    now: Callable[[], datetime] = utc_now,
) -> AsyncGenerator[Door]:
    """As ``look_through_door``, with the target opened for writing. Raises ConfigurationError before anything is written."""
    async with look_through_door(settings, options, now=now) as door, contextlib.AsyncExitStack() as stack:
        place = door.source.describe()
        if door.inventory.total == 0:
            raise ConfigurationError(f"{place} holds no data of the reference server. Nothing was written.")
        if not door.in_place:
            await refuse_target(door.to_url, settings.docket_name)
        stores = await _opened_target(settings, door, now=now)
        stack.push_async_callback(stores.engine.close)
        holdings, ledger = abilities(stores, door.to_url)
        name = transfer_name("reference", place)
        state = dict(await ledger.state(name) or {})
        if not state and not options.merge:
            await refuse_occupied(holdings, door.to_url, now=now)
        # Times that are missing are put in their place in the same way in every run.
        begun_at = datetime.fromisoformat(state["begun_at"]) if "begun_at" in state else now()
        door.reading = replace(door.reading, begun_at=begun_at)
        door.source.read_as(door.reading)
        target = Target(stores, holdings, door.source, transfer=name, now=now)
        service = TransferService(
            source=door.source,
            target=target,
            ledger=ledger,
            journal=stores.journal,
            transfer=name,
            now=now,
            batch=options.batch,
        )
        door.transfer = Transfer(
            name=name,
            source=door.source,
            source_place=place,
            target_place=stores.engine.describe(),
            service=service,
            ledger=ledger,
            kinds=kinds,
            totals={kind: door.inventory.found[kind] for kind in kinds},
            now=now,
            is_resumed=bool(state),
            state=state,
        )
        if "begun_at" not in state:
            await door.transfer.note(source=place, begun_at=begun_at.isoformat())
        yield door


async def _opened_target(settings: Settings, door: Door, *, now: Callable[[], datetime]) -> Stores:
    strict = settings.durability == "strict"
    if not door.in_place:
        return await open_stores(door.to_url, now=now, strict=strict, queue_name=settings.docket_name)
    from agent_memory_server.stores.redis import open_redis

    return await open_redis(door.to_url, now=now, strict=strict, queue_name=settings.docket_name, migrating=True)


async def _vector_model(settings: Settings, vectors: Vectors) -> str | None:
    """The name under which the reference's vectors are kept; None: they are embedded anew.

    A hash does not say which model its vector is of. EMBEDDING_MODEL named it for the reference server as it does here, so when
    it names a model of an endpoint the vectors are its; a model in this process was never the reference's.
    """
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key is not None else None
    chosen = chosen_model(settings.embedding_model, openai_api_key=key)
    if vectors == "embed" or (vectors == "auto" and not is_remote(chosen)):
        return None
    if is_remote(chosen):
        return chosen.removeprefix("openai/")
    embedder = await open_embedder(
        settings.embedding_model, openai_api_key=key, openai_api_base=settings.openai_api_base
    )
    try:
        return embedder.model
    finally:
        await embedder.close()
