"""The composition root of ``agent-memory copy``: two URLs in, a transfer between their stores out.

Everything that would be a mistake is refused before anything is opened for writing, in a sentence that says what to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent_memory_server.app import utc_now
from agent_memory_server.domain.records import derived_id
from agent_memory_server.domain.transfer import Kind
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.transfer import Holdings, Ledger, Source
from agent_memory_server.services.transfer import BATCH, TransferService
from agent_memory_server.services.transfer_source import StoreSource
from agent_memory_server.services.transfer_target import Target
from agent_memory_server.stores.opening import open_stores
from agent_memory_server.stores.places import Occupant, checked_url, describe, identity_of, occupant_of

QUEUE_NAME = "memory-server"
_NEWEST = "source_newest"
"""In what the target knows of a copy: how far the source's journal was."""


@dataclass(slots=True)
class Transfer:
    """One transfer, ready to run. ``state`` is what the target's ledger knows of it."""

    name: str
    source: Source
    source_place: str
    target_place: str
    service: TransferService
    ledger: Ledger
    kinds: Sequence[Kind]
    totals: Mapping[Kind, int]
    """Records of each kind in the source when it was opened."""
    now: Callable[[], datetime]
    is_resumed: bool
    state: dict[str, Any] = field(default_factory=dict[str, Any])

    async def note(self, **changes: Any) -> None:
        """Remember in the target how far this is."""
        self.state.update(changes)
        await self.ledger.save(self.name, self.state)


def transfer_name(kind: str, place: str) -> str:
    """The same for the same source, so that a transfer that is run again goes on."""
    return f"{kind}-{derived_id(kind, place)[:16]}"


@contextlib.asynccontextmanager
async def open_copy(
    from_url: str,
    to_url: str,
    *,
    merge: bool = False,
    strict: bool = False,
    queue_name: str = QUEUE_NAME,
    batch: int = BATCH,
    now: Callable[[], datetime] = utc_now,
) -> AsyncGenerator[Transfer]:
    """Open both stores. ``merge``: the target may hold other data, which stays. Raises ConfigurationError, StoreTooNew."""
    checked_url(from_url, "--from")
    checked_url(to_url, "--to")
    await refuse_same(from_url, to_url)
    await _refuse_source(from_url, queue_name)
    await refuse_target(to_url, queue_name)
    async with contextlib.AsyncExitStack() as stack:
        origin = await _opened(stack, from_url, now=now, strict=False, queue_name=queue_name)
        goal = await _opened(stack, to_url, now=now, strict=strict, queue_name=queue_name)
        source = StoreSource(origin, abilities(origin, from_url)[0], now=now)
        holdings, ledger = abilities(goal, to_url)
        name = transfer_name("copy", f"{source.describe()} {await origin.journal.identity()}")
        state = dict(await ledger.state(name) or {})
        if not state and not merge:
            await refuse_occupied(holdings, to_url, now=now)
        newest = await origin.journal.newest()
        if newest < state.get(_NEWEST, 0):
            raise ConfigurationError(_put_back(from_url))
        keyed = await _token_keys_agree(origin, goal)
        kinds = tuple(kind for kind in source.kinds if kind is not Kind.TOKENS or keyed)
        target = Target(goal, holdings, source, transfer=name, now=now)
        service = TransferService(
            source=source,
            target=target,
            ledger=ledger,
            journal=goal.journal,
            transfer=name,
            now=now,
            batch=batch,
            is_same_source=True,
        )
        yield Transfer(
            name=name,
            source=source,
            source_place=source.describe(),
            target_place=goal.engine.describe(),
            service=service,
            ledger=ledger,
            kinds=kinds,
            totals={kind: await source.count(kind) for kind in source.kinds},
            now=now,
            is_resumed=bool(state),
            state=state | {_NEWEST: newest},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a copy would do, from counts alone."""

    source_place: str
    target_place: str
    source: Mapping[Kind, int]
    target: Mapping[Kind, int]


async def preview_copy(
    from_url: str, to_url: str, *, queue_name: str = QUEUE_NAME, now: Callable[[], datetime] = utc_now
) -> Preview:
    """Look at both sides; nothing is made or changed in the target. Refuses what ``open_copy`` refuses."""
    checked_url(from_url, "--from")
    checked_url(to_url, "--to")
    await refuse_same(from_url, to_url)
    await _refuse_source(from_url, queue_name)
    there = await refuse_target(to_url, queue_name)
    async with contextlib.AsyncExitStack() as stack:
        origin = await _opened(stack, from_url, now=now, strict=False, queue_name=queue_name)
        counts = await counts_of(origin, from_url, now=now)
        held: Mapping[Kind, int] = {}
        if there is Occupant.OURS:
            goal = await _opened(stack, to_url, now=now, strict=False, queue_name=queue_name)
            held = await counts_of(goal, to_url, now=now)
    return Preview(source_place=describe(from_url), target_place=describe(to_url), source=counts, target=held)


async def counts_of(stores: Stores, url: str, *, now: Callable[[], datetime]) -> Mapping[Kind, int]:
    source = StoreSource(stores, abilities(stores, url)[0], now=now)
    return {kind: await source.count(kind) for kind in source.kinds}


async def _opened(
    stack: contextlib.AsyncExitStack, url: str, *, now: Callable[[], datetime], strict: bool, queue_name: str
) -> Stores:
    stores = await open_stores(url, now=now, strict=strict, queue_name=queue_name)
    stack.push_async_callback(stores.engine.close)
    return stores


def abilities(stores: Stores, url: str) -> tuple[Holdings, Ledger]:
    if stores.holdings is None or stores.ledger is None:
        raise ConfigurationError(f"The engine at {describe(url)} cannot be copied from or to.")
    return stores.holdings, stores.ledger


async def _token_keys_agree(origin: Stores, goal: Stores) -> bool:
    """Access tokens are known by digests under a key of the store; they can only be carried when the target has the same."""
    if not await origin.access_tokens.list():
        return True
    key = await origin.access_tokens.digest_key(b"")
    return await goal.access_tokens.digest_key(key) == key


def _put_back(url: str) -> str:
    return (
        f"{describe(url)} was put back from an older copy since it was copied there: what it lost would be taken for deleted. "
        "Name an empty target. Nothing was written."
    )


# -- refusals ---------------------------------------------------------------------------------------------------------


async def refuse_same(from_url: str, to_url: str) -> None:
    if await identity_of(from_url) == await identity_of(to_url):
        raise ConfigurationError(
            f"--from and --to are the same place ({describe(from_url)}): name another target. Nothing was written."
        )


async def _refuse_source(url: str, queue_name: str) -> None:
    found = await occupant_of(url, queue_name=queue_name)
    if found is Occupant.OURS:
        return
    if found is Occupant.REFERENCE:
        raise ConfigurationError(
            f"{describe(url)} holds the data of the reference server: agent-memory migrate-memories --from … --to … carries "
            "that over. Nothing was written."
        )
    raise ConfigurationError(f"{describe(url)} holds no data of this server: check --from. Nothing was written.")


async def refuse_target(url: str, queue_name: str) -> Occupant:
    """Whose data is in the target; refused when it is the reference server's or another application's."""
    found = await occupant_of(url, queue_name=queue_name)
    if found is Occupant.REFERENCE:
        raise ConfigurationError(
            f"{describe(url)} holds the data of the reference server, which is not carried over yet: run agent-memory "
            "migrate-memories there first, or name another target. Nothing was written."
        )
    return found


async def refuse_occupied(holdings: Holdings, url: str, *, now: Callable[[], datetime]) -> None:
    """A target with data of its own: only on request, and then nothing of it is changed."""
    counted = {
        kind: await holdings.count(kind, now=now()) for kind in (Kind.MEMORIES, Kind.SESSIONS, Kind.SUMMARY_VIEWS)
    }
    held = ", ".join(f"{count:,} {kind.value}" for kind, count in counted.items() if count)
    if held:
        raise ConfigurationError(
            f"{describe(url)} is not empty: it holds {held}. Name an empty target; or say --merge, then what is missing there "
            "is added and nothing of its own is changed. Nothing was written."
        )
