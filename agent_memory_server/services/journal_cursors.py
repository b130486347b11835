"""Places in the journal as texts that clients hand back: which store they are of stands in them, so that no other takes them."""

from __future__ import annotations

import re

from agent_memory_server.errors import InvalidInput
from agent_memory_server.ports.journal import Journal, Position

_FORM = re.compile(r"([0-9a-f]{8})-(\d{1,18})(?:-(\d{1,9})-(\d{1,9}))?")


class JournalCursors:
    """Cursors of one store: ``<identity>-<sequence>``, or with the change and its part behind it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._identity: str | None = None

    async def of(self, position: Position) -> str:
        """The cursor of a place; of an operation as a whole when it names no change."""
        identity = await self._known_identity()
        if position.change < 0:
            return f"{identity}-{position.sequence}"
        return f"{identity}-{position.sequence}-{position.change}-{position.part}"

    async def position(self, cursor: str, *, field: tuple[str, str] = ("query", "after")) -> Position:
        """The place that a cursor means. Raises InvalidInput for one that this store did not make."""
        parts = _FORM.fullmatch(cursor)
        if parts is None:
            raise InvalidInput(
                "This is no cursor of the journal: use one that an answer gave you, or leave it out.", field=field
            )
        identity, sequence, change, part = parts.groups()
        if identity != await self._known_identity():
            raise InvalidInput(
                "This cursor was made by another store: begin anew without a cursor, and expect what you know already.",
                field=field,
            )
        found = Position(int(sequence)) if change is None else Position(int(sequence), int(change), int(part))
        if found.sequence > await self._journal.newest():
            raise InvalidInput(
                "This cursor lies ahead of everything in this store, which may have been put back from an older copy: "
                "begin anew without a cursor.",
                field=field,
            )
        return found

    async def _known_identity(self) -> str:
        if self._identity is None:
            self._identity = await self._journal.identity()
        return self._identity
