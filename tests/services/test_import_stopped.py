"""An import that was stopped goes on where it was: what is done is not done again, what is half done is done anew."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.domain.identity import ANONYMOUS, DEFAULT_TENANT, Scope
from agent_memory_server.domain.operations import Delete, Operation, OperationKind
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.domain.transfer import Kind
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.importing import Imported, ImportService
from agent_memory_server.stores.opening import open_stores
from agent_memory_server.testing.embedder import HashEmbedder

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DAY = "2026-01-01T00:00:00Z"


def now() -> datetime:
    return NOW


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncGenerator[Stores]:
    opened = await open_stores(f"sqlite:///{tmp_path / 'memory.db'}", now=now)
    yield opened
    await opened.engine.close()


def _file(*records: dict[str, Any]) -> bytes:
    kinds = [record["kind"] for record in records]
    head = {"kind": "export", "format": "agent-memory-export", "version": 1}
    end = {"kind": "end", "counts": {kind: kinds.count(kind) for kind in kinds}}
    return b"".join(json.dumps(each).encode() + b"\n" for each in (head, *records, end))


def _memory(number: int) -> dict[str, Any]:
    times = dict.fromkeys(("created_at", "updated_at", "last_accessed"), DAY)
    line = {"kind": "memory", "id": f"m{number}", "text": f"text {number}", "memory_type": "semantic", **times}
    return {**line, "extraction_strategy": "discrete"}


def _session(messages: int) -> list[dict[str, Any]]:
    times = dict.fromkeys(("created_at", "updated_at", "last_accessed"), DAY)
    said = [
        {"kind": "message", "sequence": number, "id": f"x{number}", "role": "user", "content": "hm", "created_at": DAY}
        for number in range(1, messages + 1)
    ]
    return [{"kind": "session", "session_id": "s", "live": messages, **times}, *said]


async def _import(stores: Stores, file: io.BytesIO, stop_at: int | None = None) -> Imported:
    def tell(kind: Kind, count: int) -> None:
        if kind is Kind.MEMORIES and count == stop_at:
            raise _Stopped

    service = ImportService(stores=stores, embedder=HashEmbedder(), now=now, wake=lambda: None, parse=json.loads)
    return await service.run(ANONYMOUS, file, tell=tell)


class _Stopped(Exception):
    """Somebody pulled the plug."""


class _Torn(io.BytesIO):
    """A file whose message 550 cannot be read a second time."""

    seen = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.seen += b'"x550"' in line
        if self.seen > 1:
            raise _Stopped
        return line


async def test_what_was_done_is_not_done_again(stores: Stores) -> None:
    """A memory that was imported and deleted before the rest came stays deleted; a later import of the file brings it back."""
    file = _file(*(_memory(number) for number in range(1_200)))
    with pytest.raises(_Stopped):
        await _import(stores, io.BytesIO(file), stop_at=500)
    key = MemoryKey(DEFAULT_TENANT, None, None, "m3")
    change = Delete(key=key, scrub=True)
    deletion = Operation(
        id="own", tenant=DEFAULT_TENANT, kind=OperationKind.DELETE, actor="me", at=NOW, changes=(change,)
    )
    await stores.memories.commit(deletion)
    done = await _import(stores, io.BytesIO(file))
    assert 200 <= done.written <= 700
    assert (done.found, done.kept, done.unchanged) == ({"memory": 1_200}, 0, 1_200 - done.written)
    assert await stores.memories.get(key) is None
    assert stores.holdings is not None
    assert await stores.holdings.count(Kind.MEMORIES, now=NOW) == 1_199
    assert (await _import(stores, io.BytesIO(file))).written == 1
    assert await stores.memories.get(key) is not None


async def test_a_session_that_was_half_written_is_written_again(stores: Stores) -> None:
    """A part of a long session is not taken for somebody else's session, and is whole afterwards."""
    file = _file(*_session(600))
    with pytest.raises(_Stopped):
        await _import(stores, _Torn(file))
    assert stores.holdings is not None
    scope = Scope(DEFAULT_TENANT, None, None, "s")
    assert len(await stores.holdings.messages(scope, after=0, limit=1_000)) == 500
    done = await _import(stores, io.BytesIO(file))
    assert (done.written, done.kept) == (1, 0)
    assert len(await stores.holdings.messages(scope, after=0, limit=1_000)) == 600
    assert (await _import(stores, io.BytesIO(file))).unchanged == 1
