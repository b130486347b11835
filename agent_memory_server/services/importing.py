"""Taking in what an export holds: checked as a whole before anything is written, repeatable, and resumable where it was cut.

A file is carried in as from another store (``services.transfer``): what is there already and says the same is left, what says
something else is left too and counted as kept, the rest is written with one journalled operation a portion. A run that was
stopped goes on where it was, because each portion is noted in the store with what it held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

from agent_memory_server.domain.identity import Principal, ScopeSelector
from agent_memory_server.domain.transfer import Kind
from agent_memory_server.errors import BadRequest, InvalidInput
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.transfer import Ledger, Unreadable
from agent_memory_server.services.export_file import FileSource
from agent_memory_server.services.transfer import TransferService
from agent_memory_server.services.transfer_counts import Tally
from agent_memory_server.services.transfer_target import Target

_BATCH = 500
"""Records of a portion: the file is at hand, and each portion costs the store a few round trips and a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did (or would do), by kind of line."""

    found: Mapping[str, int]
    written: int
    unchanged: int
    """Already there with the same content."""
    kept: int
    """Something else is there under the same id: left as it is."""
    histories: int
    """Memories, also such that are gone, whose past was taken over."""
    dry_run: bool


class ImportService:
    def __init__(
        self,
        *,
        stores: Stores,
        embedder: Embedder,
        now: Callable[[], datetime],
        wake: Callable[[], None],
        parse: Callable[[bytes], Any],
    ) -> None:
        """``embedder``: of the model in use; vectors of others are stored and not searched. ``parse``: JSON, as ``FileSource``
        says."""
        self._stores = stores
        self._embedder = embedder
        self._now = now
        self._wake = wake
        self._parse = parse

    async def run(
        self,
        caller: Principal,
        file: BinaryIO,
        *,
        dry_run: bool = False,
        waits: bool = False,
        tell: Callable[[Kind, int], None] = lambda _kind, _count: None,
    ) -> Imported:
        """Import the whole file, or nothing of it when one line is wrong.

        Raises InvalidInput that names the line (not an export, of another version, cut, a scope beyond the caller's), BadRequest
        where the engine cannot take it, and what the store raises: then run it again, and it goes on where it was. ``waits``:
        a store that is away for a moment is waited for first.
        """
        holdings, ledger = self._stores.holdings, self._stores.ledger
        if holdings is None or ledger is None:
            raise BadRequest("this engine cannot import")
        source = FileSource(file, caller, model=self._embedder.model, parse=self._parse)
        await source.check()
        await self._refuse_other_vectors(source)
        await self._refuse_taken_views(source)
        target = Target(self._stores, holdings, source, transfer=source.name, now=self._now)
        transfer = TransferService(
            source=source,
            target=target,
            ledger=ledger,
            journal=self._stores.journal,
            transfer=source.name,
            now=self._now,
            batch=_BATCH,
            waits=waits,
        )
        if dry_run:
            return _imported(source, await transfer.foresee(kinds=source.kinds), dry_run=True)
        # Nobody adds to the file meanwhile: one walk sees all of it.
        report = await transfer.run(kinds=source.kinds, tell=tell, quarantine=_never, removes=False, passes=1)
        self._wake()
        await self._finish(ledger, source)
        return _imported(source, report.tallies, dry_run=False)

    async def _refuse_other_vectors(self, source: FileSource) -> None:
        """Vectors of one model are compared with each other: one of another length would be in the way of all."""
        if not source.dimensions:
            return
        (vector,) = await self._embedder.embed(["dimensions"])
        if vector is None or source.dimensions != {len(vector)}:
            said = ", ".join(map(str, sorted(source.dimensions)))
            raise InvalidInput(
                f"its vectors of {self._embedder.model} have {said} dimensions, which is not what that model has here: "
                "import an export without vectors, and they are made anew",
                field=("body",),
                kind="import_vectors",
            )

    async def _refuse_taken_views(self, source: FileSource) -> None:
        """A summary is written to its view: one that is somebody else's must not get any."""
        for view_id, owner in source.views.items():
            standing = await self._stores.summary_views.get(ScopeSelector(owner.tenant), view_id=view_id)
            if standing is not None and standing.owner != owner:
                raise InvalidInput(
                    f"the id of the summary view {view_id} is taken", field=("body",), kind="import_view"
                )

    async def _finish(self, ledger: Ledger, source: FileSource) -> None:
        """Forget what was noted: a later import of the same file brings back what was deleted since."""
        for kind in source.kinds:
            await ledger.forget(source.name, kind.value)


def _imported(source: FileSource, tallies: Mapping[Kind, Tally], *, dry_run: bool) -> Imported:
    records = [tally for kind, tally in tallies.items() if kind is not Kind.HISTORY]
    written = sum(each.carried + each.updated for each in records)
    kept = sum(each.kept for each in records)
    pasts = tallies[Kind.HISTORY]
    return Imported(
        found=source.found,
        written=written,
        unchanged=max(0, source.records - written - kept),
        kept=kept,
        histories=pasts.carried + pasts.updated,
        dry_run=dry_run,
    )


def _never(_: Kind, unreadable: Unreadable) -> None:
    raise AssertionError(f"every line was checked before: {unreadable.ref}")
