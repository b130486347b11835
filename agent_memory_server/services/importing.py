"""Taking in what an export holds: checked as a whole before anything is written, repeatable, and resumable where it was cut.

A file is carried in as from another store (``services.transfer``): what is there already and says the same is left, what says
something else is left too and counted as kept, the rest is written with one journalled operation a portion. A run that was
stopped goes on where it was, because each portion is noted in the store with what it held.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, BinaryIO

from agent_memory_server.domain.export_lines import (
    FORMAT,
    VERSION,
    BadLine,
    Reading,
    read_memory,
    read_message,
    read_session,
    read_summary,
    read_view,
)
from agent_memory_server.domain.identity import OutsideReach, Principal, Scope, ScopeSelector
from agent_memory_server.domain.records import EmbeddingStatus, content_hash, derived_id
from agent_memory_server.domain.transfer import (
    Key,
    Kind,
    MemoryRecord,
    PartitionRecord,
    SessionMessage,
    SessionRecord,
    ViewRecord,
    ledger_name,
)
from agent_memory_server.errors import BadRequest, InvalidInput
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.transfer import Item, Ledger, Portion, Unreadable
from agent_memory_server.services.transfer import TransferReport, TransferService
from agent_memory_server.services.transfer_source import MESSAGES_AT_ONCE, ref_of
from agent_memory_server.services.transfer_target import Target

LINE_BYTES_MAX = 16 * 1024 * 1024
_KINDS = {
    "memory": Kind.MEMORIES,
    "session": Kind.SESSIONS,
    "summary_view": Kind.SUMMARY_VIEWS,
    "summary": Kind.PARTITIONS,
}
_UNUSED = frozenset({"revision"})
_FORGOTTEN_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did (or would do), by kind of line."""

    found: Mapping[str, int]
    written: int
    unchanged: int
    """Already there with the same content."""
    kept: int
    """Something else is there under the same id: left as it is."""
    dry_run: bool


class ImportService:
    def __init__(self, *, stores: Stores, model: str, now: Callable[[], datetime], wake: Callable[[], None]) -> None:
        """``model``: the embedding model in use; vectors of others are stored and not searched."""
        self._stores = stores
        self._model = model
        self._now = now
        self._wake = wake

    async def run(
        self,
        caller: Principal,
        file: BinaryIO,
        *,
        dry_run: bool = False,
        tell: Callable[[Kind, int], None] = lambda _kind, _count: None,
    ) -> Imported:
        """Import the whole file, or nothing of it when one line is wrong.

        Raises InvalidInput that names the line (not an export, of another version, cut, a scope beyond the caller's), BadRequest
        where the engine cannot take it, and what the store raises: then run it again, and it goes on where it was.
        """
        holdings, ledger = self._stores.holdings, self._stores.ledger
        if holdings is None or ledger is None:
            raise BadRequest("this engine cannot import")
        source = FileSource(file, caller, model=self._model)
        source.check()
        await self._refuse_taken_views(source)
        target = Target(self._stores, holdings, source, transfer=source.name, now=self._now)
        if dry_run:
            return await self._compared(source, target)
        transfer = TransferService(
            source=source,
            target=target,
            ledger=ledger,
            journal=self._stores.journal,
            transfer=source.name,
            now=self._now,
        )
        report = await transfer.run(kinds=source.kinds, tell=tell, quarantine=_never, removes=False)
        self._wake()
        await self._finish(ledger, source)
        return _imported(source, report)

    async def _refuse_taken_views(self, source: FileSource) -> None:
        """A summary is written to its view: one that is somebody else's must not get any."""
        for view_id, owner in source.views.items():
            standing = await self._stores.summary_views.get(ScopeSelector(owner.tenant), view_id=view_id)
            if standing is not None and standing.owner != owner:
                raise InvalidInput(
                    f"the id of the summary view {view_id} is taken", field=("body",), kind="import_view"
                )

    async def _compared(self, source: FileSource, target: Target) -> Imported:
        """What a run would find there; nothing is changed."""
        missing = 0
        for kind in source.kinds:
            after: str | None = None
            while True:
                portion = await source.walk(kind, after=after, limit=_FORGOTTEN_AT_ONCE)
                keys = [each.record.key for each in portion.records]
                missing += sum(standing is None for standing in await target.read(kind, keys))
                after = portion.next
                if after is None:
                    break
        total = sum(source.found.get(name, 0) for name in _KINDS)
        return Imported(found=source.found, written=missing, unchanged=total - missing, kept=0, dry_run=True)

    async def _finish(self, ledger: Ledger, source: FileSource) -> None:
        """Forget what was noted: a later import of the same file brings back what was deleted since."""
        for kind in source.kinds:
            after: str | None = None
            while True:
                portion = await source.walk(kind, after=after, limit=_FORGOTTEN_AT_ONCE)
                names = [ledger_name(item.ref) for item in portion.records]
                await ledger.drop(source.name, kind.value, names)
                after = portion.next
                if after is None:
                    break


def _imported(source: FileSource, report: TransferReport) -> Imported:
    tallies = report.tallies.values()
    written = sum(each.carried + each.updated for each in tallies)
    kept = sum(each.kept for each in tallies)
    total = sum(source.found.get(name, 0) for name in _KINDS)
    return Imported(
        found=source.found, written=written, unchanged=max(0, total - written - kept), kept=kept, dry_run=False
    )


def _never(_: Kind, unreadable: Unreadable) -> None:
    raise AssertionError(f"every line was checked before: {unreadable.ref}")


class FileSource:
    """``ports.transfer.Source`` over a seekable file of lines. ``check`` comes first and reads it all once."""

    def __init__(self, file: BinaryIO, caller: Principal, *, model: str) -> None:
        self._file = file
        self._caller = caller
        self._tenant = caller.tenant
        self._model = model
        self._places: dict[Kind, list[int]] = {kind: [] for kind in self.kinds}
        self._sessions: dict[Key, int] = {}
        """Where each session's line is."""
        self._read_on: dict[Key, tuple[int, int]] = {}
        """(sequence, place behind it) of what was read last of a long session."""
        self.views: dict[str, ScopeSelector] = {}
        """The owner of each summary view."""
        self.found: dict[str, int] = {}
        self.name = ""

    def describe(self) -> str:
        return "an export file"

    @property
    def kinds(self) -> Sequence[Kind]:
        return Kind.MEMORIES, Kind.SESSIONS, Kind.SUMMARY_VIEWS, Kind.PARTITIONS

    async def count(self, kind: Kind, /) -> int:
        return len(self._places[kind])

    def refs(self, kind: Kind, key: Key, /) -> Sequence[str]:
        del kind
        return (ref_of(key),)

    async def present(self, kind: Kind, refs: Sequence[str], /) -> Sequence[bool]:
        del kind
        return [True] * len(refs)

    async def walk(self, kind: Kind, /, *, after: str | None, limit: int) -> Portion[Item]:
        first = int(after or 0)
        places = self._places[kind][first : first + limit]
        items = [self._item(kind, place) for place in places]
        end = first + len(places)
        return Portion(items, str(end) if end < len(self._places[kind]) else None)

    async def messages(self, record: SessionRecord, /, *, after: int, limit: int) -> Sequence[SessionMessage]:
        sequence, place = self._read_on.get(record.key, (0, 0))
        if sequence != after or not place:
            place = self._behind(self._sessions[record.key])
        found, place = self._messages(place, after=after, limit=limit)
        if found:
            self._read_on[record.key] = (found[-1].sequence, place)
        return found

    # -- checking

    def check(self) -> None:
        """Read every line once. Raises InvalidInput that names the first one that is wrong."""
        digest = hashlib.blake2b(digest_size=12)
        counts: Counter[str] = Counter()
        state = _Order()
        number = 0
        self._file.seek(0)
        while True:
            place = self._file.tell()
            raw = self._file.readline(LINE_BYTES_MAX + 1)
            if not raw:
                break
            number += 1
            digest.update(raw)
            if not raw.strip():
                continue
            try:
                self._checked(_line(raw), place, counts, state)
            except BadLine as error:
                raise InvalidInput(f"line {number}: {error}", field=("body", number), kind="import_line") from error
        if not state.has_begun:
            raise InvalidInput("there is no export in it: the first line says so", field=("body",), kind="import_empty")
        if not state.has_ended:
            raise InvalidInput(
                f"it was cut after line {number}: the line that ends an export is missing; nothing was imported",
                field=("body", number),
                kind="import_cut",
            )
        self.found = dict(counts)
        self.name = derived_id("import", self._tenant, digest.hexdigest())

    def _checked(self, line: dict[str, Any], place: int, counts: Counter[str], state: _Order) -> None:
        kind = line.get("kind")
        state.check(kind)
        reading = Reading(line)
        if kind == "export":
            _check_header(line)
            return
        if kind == "end":
            said = {name: count for name, count in (reading.object_or_none("counts") or {}).items() if count}
            if said != dict(counts):
                raise BadLine("the export's own counts are others than what is in it: lines are missing")
            return
        if not isinstance(kind, str) or (kind not in _KINDS and kind != "message" and kind not in _UNUSED):
            raise BadLine("this kind of line is not known here")
        counts[kind] += 1
        if kind in _UNUSED:
            return
        if kind == "message":
            state.check_message(read_message(reading))
            return
        record = self._record(_KINDS[kind], reading)
        self._places[_KINDS[kind]].append(place)
        if isinstance(record, ViewRecord):
            self.views[record.view.id] = record.view.owner
        if isinstance(record, PartitionRecord) and record.partition.view_id not in self.views:
            raise BadLine("this summary stands before its view, or without it")
        if isinstance(record, SessionRecord):
            state.session()
            if record.key in self._sessions:
                raise BadLine("this session is in it twice")
            self._sessions[record.key] = place

    def _record(self, kind: Kind, line: Reading) -> Any:
        if kind is Kind.MEMORIES:
            return self._memory(line)
        if kind is Kind.SESSIONS:
            record = read_session(line, self._tenant, epoch="")
            self._within(record.session.scope)
            epoch = derived_id("imported session", *(part or "" for part in record.key))
            return replace(record, session=replace(record.session, epoch=epoch))
        if kind is Kind.SUMMARY_VIEWS:
            view = read_view(line, self._tenant)
            self._within(view.view.owner_scope)
            return view
        return read_summary(line, self._tenant)

    def _memory(self, line: Reading) -> MemoryRecord:
        record = read_memory(line, self._tenant)
        memory = record.memory
        self._within(memory.scope)
        known = any(each.model == self._model and each.kind == "text" for each in record.vectors)
        memory = replace(
            memory,
            memory_hash=memory.memory_hash or content_hash(memory.text, memory.scope, memory.memory_type),
            embedding=EmbeddingStatus.READY if known else EmbeddingStatus.PENDING,
        )
        return replace(record, memory=memory)

    def _within(self, scope: Scope) -> None:
        try:
            owner = self._caller.owner(scope.namespace, scope.user_id)
        except OutsideReach:
            raise BadLine("it belongs to a namespace or user that your credential does not reach") from None
        if (owner.namespace, owner.user_id) != (scope.namespace, scope.user_id):
            raise BadLine("it belongs to nobody, which your credential does not reach")

    # -- reading

    def _item(self, kind: Kind, place: int) -> Item:
        self._file.seek(place)
        record = self._record(kind, Reading(_line(self._file.readline(LINE_BYTES_MAX + 1))))
        if not isinstance(record, SessionRecord):
            return Item(ref_of(record.key), record)
        first, behind = self._messages(self._file.tell(), after=0, limit=MESSAGES_AT_ONCE)
        more = len(first) == MESSAGES_AT_ONCE
        if more:
            self._read_on[record.key] = (first[-1].sequence, behind)
        return Item(ref_of(record.key), record, tuple(first), more)

    def _behind(self, place: int) -> int:
        self._file.seek(place)
        self._file.readline(LINE_BYTES_MAX + 1)
        return self._file.tell()

    def _messages(self, place: int, *, after: int, limit: int) -> tuple[list[SessionMessage], int]:
        """The session's next messages from ``place`` on, and the place behind them."""
        self._file.seek(place)
        found: list[SessionMessage] = []
        while len(found) < limit:
            raw = self._file.readline(LINE_BYTES_MAX + 1)
            if not raw.strip():
                if raw:
                    continue
                break
            line = _line(raw)
            if line.get("kind") != "message":
                break
            message = read_message(Reading(line))
            if message.sequence > after:
                found.append(message)
        return found, self._file.tell()


class _Order:
    """What may follow what."""

    def __init__(self) -> None:
        self.has_begun = False
        self.has_ended = False
        self._is_session = False
        self._sequence = 0
        self._ids: set[str] = set()

    def check(self, kind: object) -> None:
        if not self.has_begun:
            if kind != "export":
                raise BadLine(
                    f"this is no export of this server: its first line has the kind export and the format {FORMAT}"
                )
            self.has_begun = True
        elif kind == "export":
            raise BadLine("a second export begins here: import one at a time")
        if self.has_ended:
            raise BadLine("something follows the line that ends the export")
        self.has_ended = kind == "end"
        if kind not in ("session", "message"):
            self._is_session = False

    def session(self) -> None:
        self._is_session, self._sequence, self._ids = True, 0, set()

    def check_message(self, message: SessionMessage) -> None:
        if not self._is_session:
            raise BadLine("a message stands apart from its session")
        if message.sequence <= self._sequence:
            raise BadLine("sequence must ascend within a session")
        if message.message.id in self._ids:
            raise BadLine("two messages of a session have the same id")
        self._sequence = message.sequence
        self._ids.add(message.message.id)


def _check_header(line: Mapping[str, Any]) -> None:
    if line.get("format") != FORMAT:
        raise BadLine(f"the format is not {FORMAT}")
    version = line.get("version")
    if version != VERSION:
        raise BadLine(
            f"the export has version {version!r:.20}; this server reads version {VERSION}: use a newer server"
        )


def _line(raw: bytes) -> dict[str, Any]:
    if len(raw) > LINE_BYTES_MAX:
        raise BadLine(f"it is longer than {LINE_BYTES_MAX} bytes")
    try:
        value = json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise BadLine("it is no JSON") from None
    if not isinstance(value, dict):
        raise BadLine("it is no JSON object")
    return value  # pyright: ignore[reportUnknownVariableType]


def _no_number(said: str) -> float:
    """NaN and its kin are no JSON, whatever the library thinks."""
    raise ValueError(said)
