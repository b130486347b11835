"""What was carried into this file from other stores: ``ports.transfer.Ledger`` over SQLite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.encoding import from_json
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import to_json


class SqliteLedger:
    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    async def state(self, transfer: str, /) -> Mapping[str, Any] | None:
        held = await self._readers.run(
            lambda connected: connected.value("SELECT state FROM transfers WHERE id = ?", (transfer,))
        )
        return None if held is None else from_json(held)

    async def save(self, transfer: str, state: Mapping[str, Any], /) -> None:
        await self._writer.run(
            lambda connected: connected.execute(
                "INSERT OR REPLACE INTO transfers (id, state) VALUES (?, ?)", (transfer, to_json(dict(state)))
            )
        )

    async def end(self, transfer: str, /) -> None:
        await self._writer.run(lambda connected: connected.execute("DELETE FROM transfers WHERE id = ?", (transfer,)))

    async def marks(self, transfer: str, kind: str, names: Sequence[str], /) -> Sequence[str | None]:
        def work(connected: Connected) -> list[str | None]:
            held = dict(
                connected.rows(
                    "SELECT ref, mark FROM transfer_marks WHERE transfer = ? AND kind = ? "
                    "AND ref IN (SELECT value FROM json_each(?))",
                    (transfer, kind, to_json(list(names))),
                )
            )
            return [held.get(ref) for ref in names]

        return await self._readers.run(work)

    async def note(self, transfer: str, kind: str, marks: Mapping[str, str], /) -> None:
        await self._writer.run(
            lambda connected: connected.many(
                "INSERT OR REPLACE INTO transfer_marks (transfer, kind, ref, mark) VALUES (?, ?, ?, ?)",
                [(transfer, kind, ref, mark) for ref, mark in marks.items()],
            )
        )

    async def drop(self, transfer: str, kind: str, names: Sequence[str], /) -> None:
        await self._writer.run(
            lambda connected: connected.execute(
                "DELETE FROM transfer_marks WHERE transfer = ? AND kind = ? AND ref IN (SELECT value FROM json_each(?))",
                (transfer, kind, to_json(list(names))),
            )
        )
