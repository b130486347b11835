"""An export as a source that is carried from: checked as a whole first, then read where each record stands in it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from agent_memory_server.domain.export_lines import (
    FORMAT,
    OUTSIDE_SUMMARY,
    VERSION,
    read_memory,
    read_message,
    read_session,
    read_summary,
    read_view,
)
from agent_memory_server.domain.identity import OutsideReach, Principal, Scope, ScopeSelector
from agent_memory_server.domain.line_reading import BadLine, Reading, SureReading
from agent_memory_server.domain.past import PastRevision
from agent_memory_server.domain.past_lines import read_gone, read_revision
from agent_memory_server.domain.records import EmbeddingStatus, MemoryKey, content_hash, derived_id
from agent_memory_server.domain.transfer import (
    HistoryRecord,
    Key,
    Kind,
    MemoryRecord,
    PartitionRecord,
    Record,
    SessionMessage,
    SessionRecord,
    ViewRecord,
)
from agent_memory_server.errors import InvalidInput
from agent_memory_server.ports.transfer import Item
from agent_memory_server.services.transfer_source import MESSAGES_AT_ONCE, ref_of

LINE_BYTES_MAX = 16 * 1024 * 1024
_KINDS = {
    "memory": Kind.MEMORIES,
    "gone": Kind.HISTORY,
    "session": Kind.SESSIONS,
    "summary_view": Kind.SUMMARY_VIEWS,
    "summary": Kind.PARTITIONS,
}
_FOLLOWING = frozenset({"revision", "message"})
"""Lines that belong to the record before them."""
_LINES_A_TURN = 64
"""So many are checked before the requests of others have their turn: a few milliseconds."""


class FileSource:
    """A seekable file of lines. ``check`` comes first and reads it all once; then its records can be read in portions."""

    def __init__(self, file: BinaryIO, caller: Principal, *, model: str, parse: Callable[[bytes], Any]) -> None:
        """``parse`` reads JSON faster than the standard library, or raises ValueError for what it does not read as exactly."""
        self._file = file
        self._place = -1
        """Where the next line is that is read; -1: not known."""
        self._caller = caller
        self._tenant = caller.tenant
        self._model = model
        self._parse = parse
        # Numbers alone: there may be millions of them.
        self._places: dict[Kind, array[int]] = {kind: array("q") for kind in self.kinds}
        self._revisions: dict[Kind, array[int]] = {kind: array("q") for kind in self.kinds}
        """How many revisions follow each record."""
        self._seen: set[int] = set()
        self._sessions: dict[Key, int] = {}
        """Where each session's line is."""
        self._read_on: dict[Key, tuple[int, int]] = {}
        """(sequence, place behind it) of what was read last of a long session."""
        self.views: dict[str, ScopeSelector] = {}
        """The owner of each summary view."""
        self.found: dict[str, int] = {}
        self.dimensions: set[int] = set()
        """Of the vectors that say they are of the embedding model in use."""
        self.name = ""

    def describe(self) -> str:
        return "an export file"

    @property
    def kinds(self) -> Sequence[Kind]:
        """In the order in which they are taken in. The pasts of memories come with them; ``HISTORY`` is of what is gone."""
        return Kind.MEMORIES, Kind.HISTORY, Kind.SESSIONS, Kind.SUMMARY_VIEWS, Kind.PARTITIONS

    def count(self, kind: Kind, /) -> int:
        return len(self._places[kind])

    @property
    def records(self) -> int:
        """How many there are in it, without the pasts of memories."""
        return sum(len(places) for kind, places in self._places.items() if kind is not Kind.HISTORY)

    async def items(self, kind: Kind, /, *, first: int, limit: int) -> list[Item]:
        """Those from number ``first`` on, read in turns with the requests of others."""
        found: list[Item] = []
        for number in range(first, min(first + limit, len(self._places[kind]))):
            if number % _LINES_A_TURN == 0:
                await asyncio.sleep(0)
            found.append(self._item(kind, number))
        return found

    async def messages(self, record: SessionRecord, /, *, after: int, limit: int) -> Sequence[SessionMessage]:
        sequence, place = self._read_on.get(record.key, (0, 0))
        if sequence != after or not place:
            self._go_to(self._sessions[record.key])
            self._next()
            place = self._place
        found, place = self._messages(place, after=after, limit=limit)
        if found:
            self._read_on[record.key] = (found[-1].sequence, place)
        return found

    def _go_to(self, place: int) -> None:
        if place != self._place:
            self._file.seek(place)
            self._place = place

    def _next(self) -> bytes:
        raw = self._file.readline(LINE_BYTES_MAX + 1)
        self._place += len(raw)
        return raw

    # -- checking

    async def check(self) -> None:
        """Read every line once, in turns with others. Raises InvalidInput that names the first one that is wrong."""
        digest = hashlib.blake2b(digest_size=12)
        counts: Counter[str] = Counter()
        state = _Order()
        number = 0
        self._go_to(0)
        while True:
            place = self._place
            raw = self._next()
            if not raw:
                break
            number += 1
            if number % _LINES_A_TURN == 0:
                await asyncio.sleep(0)
            digest.update(raw)
            if not raw.strip():
                continue
            try:
                self._checked(self._line(raw), place, counts, state)
            except BadLine as error:
                raise _refusal(error, raw, number, state) from None
        if not state.has_begun:
            raise InvalidInput("it is empty: there is no export in it", field=("body",), kind="import_empty")
        if not state.has_ended:
            raise InvalidInput(
                f"it was cut after line {number}: the line that ends an export is missing; nothing was imported",
                field=("body", number),
                kind="import_cut",
            )
        self._seen.clear()
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
        if not isinstance(kind, str) or (kind not in _KINDS and kind not in _FOLLOWING and kind != OUTSIDE_SUMMARY):
            raise BadLine("this kind of line is not known here")
        counts[kind] += 1
        if kind == OUTSIDE_SUMMARY:
            return
        if kind == "message":
            state.check_message(read_message(reading))
            return
        if kind == "revision":
            self._told(reading, state)
            return
        if kind == "gone":
            state.memory(self._gone(reading), Kind.HISTORY, place)
            return
        self._noted(self._record(_KINDS[kind], reading), _KINDS[kind], place, state)

    def _noted(self, record: Record, kind: Kind, place: int, state: _Order) -> None:
        self._note(kind, place)
        self._once(kind, record.key)
        if isinstance(record, MemoryRecord):
            state.memory(record.memory.key, kind, place)
        elif isinstance(record, ViewRecord):
            self.views[record.view.id] = record.view.owner
        elif isinstance(record, PartitionRecord):
            self._check_sources(record)
        elif isinstance(record, SessionRecord):
            state.session()
            self._sessions[record.key] = place

    def _once(self, kind: Kind, key: Key) -> None:
        """Known by a number alone, as there may be millions: that two of a file share one does not happen in practice."""
        number = hash((kind, key))
        if number in self._seen:
            raise BadLine("it is in the file twice")
        self._seen.add(number)

    def _check_sources(self, record: PartitionRecord) -> None:
        """Within the view's reach: the store is asked whether they are there, which must tell nobody of memories of others."""
        owner = self.views.get(record.partition.view_id)
        if owner is None:
            raise BadLine("this summary stands before its view, or without it")
        if not all(owner.admits(Scope(key.tenant, key.namespace, key.user_id)) for key in record.sources or ()):
            raise BadLine("its sources lie beyond the reach of its view")

    def _note(self, kind: Kind, place: int) -> None:
        self._places[kind].append(place)
        self._revisions[kind].append(0)

    def _told(self, line: Reading, state: _Order) -> None:
        key, kind, place = state.memory_told_of()
        read_revision(line, key)
        if kind is Kind.HISTORY and not state.is_told:
            # One that is gone, and of which something is told.
            self._note(kind, place)
        state.is_told = True
        self._revisions[kind][-1] += 1

    def _gone(self, line: Reading) -> MemoryKey:
        key = read_gone(line, self._tenant)
        self._within(Scope(key.tenant, key.namespace, key.user_id))
        # It may stand there as a memory too: one that was forgotten while it was exported. Then that is what it is.
        self._once(Kind.HISTORY, key)
        return key

    def _record(self, kind: Kind, line: Reading) -> Record:
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
        ours = [each for each in record.vectors if each.model == self._model]
        known = any(each.kind == "text" for each in ours)
        self.dimensions.update(len(each.vector) for each in ours if each.vector is not None)
        if memory.memory_hash and not known:
            return record
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

    def _line(self, raw: bytes) -> dict[str, Any]:
        if len(raw) > LINE_BYTES_MAX:
            raise BadLine(f"it is longer than {LINE_BYTES_MAX} bytes")
        try:
            value = self._parse(raw)
        except ValueError:
            value = _exactly(raw)
        if not isinstance(value, dict):
            raise BadLine("it is no JSON object")
        return value  # pyright: ignore[reportUnknownVariableType]

    # -- reading what was checked

    def _item(self, kind: Kind, number: int) -> Item:
        self._go_to(self._places[kind][number])
        line = SureReading(self._line(self._next()))
        if kind is Kind.HISTORY:
            key = read_gone(line, self._tenant)
            history = HistoryRecord(memory_key=key, revisions=self._past(kind, number, key))
            return Item(ref_of(key), history)
        record = self._record(kind, line)
        if isinstance(record, MemoryRecord):
            return Item(record.memory.id, record, past=self._past(kind, number, record.memory.key))
        if not isinstance(record, SessionRecord):
            return Item(ref_of(record.key), record)
        first, behind = self._messages(self._place, after=0, limit=MESSAGES_AT_ONCE)
        more = len(first) == MESSAGES_AT_ONCE
        if more:
            self._read_on[record.key] = (first[-1].sequence, behind)
        return Item(ref_of(record.key), record, tuple(first), more)

    def _past(self, kind: Kind, number: int, key: MemoryKey) -> tuple[PastRevision, ...]:
        """The revisions that follow the line that was read last, which is of this record."""
        revisions: list[PastRevision] = []
        while len(revisions) < self._revisions[kind][number]:
            raw = self._next()
            if raw.strip():
                revisions.append(read_revision(SureReading(self._line(raw)), key))
        return tuple(revisions)

    def _messages(self, place: int, *, after: int, limit: int) -> tuple[list[SessionMessage], int]:
        """The session's next messages from ``place`` on, and the place behind them."""
        self._go_to(place)
        found: list[SessionMessage] = []
        while len(found) < limit:
            raw = self._next()
            if not raw.strip():
                if raw:
                    continue
                break
            line = self._line(raw)
            if line.get("kind") != "message":
                break
            message = read_message(SureReading(line))
            if message.sequence > after:
                found.append(message)
        return found, self._place


class _Order:
    """What may follow what."""

    def __init__(self) -> None:
        self.has_begun = False
        self.has_ended = False
        self._is_session = False
        self._sequence = 0
        self._ids: set[str] = set()
        self._memory: tuple[MemoryKey, Kind, int] | None = None
        self.is_told = False
        """A revision of the last memory came already."""

    def check(self, kind: object) -> None:
        if not self.has_begun:
            if kind != "export":
                raise BadLine("it is another kind of line")
            self.has_begun = True
        elif kind == "export":
            raise BadLine("a second export begins here: import one at a time")
        if self.has_ended:
            raise BadLine("something follows the line that ends the export")
        self.has_ended = kind == "end"
        if kind not in ("session", "message"):
            self._is_session = False
        if kind != "revision":
            self._memory = None

    def memory(self, key: MemoryKey, kind: Kind, place: int) -> None:
        self._memory, self.is_told = (key, kind, place), False

    def memory_told_of(self) -> tuple[MemoryKey, Kind, int]:
        """Key, kind and place of the line that a revision follows."""
        if self._memory is None:
            raise BadLine("a revision stands apart from its memory")
        return self._memory

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
    if type(version) is not int or version != VERSION:
        is_newer = isinstance(version, int) and version > VERSION
        raise BadLine(
            f"the export has version {version!r:.20}; this server reads version {VERSION}"
            f"{': use a newer server' if is_newer else ''}"
        )


def _refusal(error: BadLine, raw: bytes, number: int, state: _Order) -> InvalidInput:
    """What is wrong with the file, for a person."""
    field, kind, said = ("body", number), "import_line", f"line {number}: {error}"
    if not state.has_begun:
        is_packed = raw.startswith((b"\x1f\x8b", b"PK\3\4"))
        said = "it is compressed: unpack it first" if is_packed else f"line {number}: {_NOT_OURS}"
    elif isinstance(error, _NoJson) and not raw.endswith(b"\n"):
        kind, said = "import_cut", f"it was cut in line {number}, which is no whole JSON; nothing was imported"
    return InvalidInput(said, field=field, kind=kind)


_NOT_OURS = (
    f"this is no export of this server, whose first line has the kind export and the format {FORMAT}; a file of another system "
    "is read with its name (--from, or from= of a request): mem0, zep, langgraph, mcp-memory, markdown, chatgpt or claude"
)


class _NoJson(BadLine):
    pass


def _exactly(raw: bytes) -> Any:
    """Any JSON, with integers of any size and halves of characters, so that what is wrong can be said. Else BadLine."""
    try:
        return _JSON.decode(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise _NoJson("it is no JSON") from None


def _no_number(said: str) -> float:
    """NaN and its kin are no JSON, whatever the library thinks."""
    raise ValueError(said)


# Made once: ``json.loads`` with options makes a decoder for every call.
_JSON = json.JSONDecoder(parse_constant=_no_number)
